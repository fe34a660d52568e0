import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import Hummingbird
import Logging
import MerkleLog
import Messages
import NIOCore
import Storage
import Synchronization

/// What the last canary found.
package struct CanaryReport: Codable, Sendable, Equatable {
  /// For which purpose.
  package var purpose: String
  /// When it withdrew, ms of UTC since 1970.
  package var timeMs: Int64
  /// From the ledger's acknowledgement of the withdrawal to this node's denial, milliseconds; nil if it was
  /// still permitted when the limit was over.
  package var deniedAfterMs: Int64?
  /// What is wrong; nil if nothing is.
  package var alarm: String?
}

/// What following the log found, for the status.
struct LedgerStanding: Sendable {
  var doubt: String?
  var witnesses: Int?
}

/// What the loop that follows the log remembers.
private struct LedgerFollower {
  var failures = 0
  var comparedMs: UInt64 = 0
  var hasFinishedErasures = false
  var reportsDoubt = false
}

/// The node as a follower and witness of the ledger, beside its sessions.
extension NodeDaemon {
  /// The made-up customer who opts out regularly.
  static let canarySubject = "accord-canary"

  /// Follows the log: every entry is verified as soon as the server shows it, so that a withdrawal denies here
  /// within a moment; every tree is cosigned, and compared with what other witnesses saw. Not on the actor:
  /// training must not keep a withdrawal waiting.
  nonisolated func followLedger() async {
    var follower = LedgerFollower()
    while !Task.isCancelled {
      do {
        let before = mirror.checkpoint?.timestampSeconds
        // At once the first time; then as soon as there is something new.
        try await LedgerSubmission.synchronise(
          mirror, client: client, waitingFor: before == nil ? nil : mirror.size, clock: clock)
        follower.failures = 0
        ledgerStanding.withLock { $0.doubt = nil }
        if !follower.hasFinishedErasures {
          try await finishErasures()
          follower.hasFinishedErasures = true
        }
        if mirror.checkpoint?.timestampSeconds != before, clock() >= follower.comparedMs + 1000 {
          try await bearWitness()
          follower.comparedMs = clock()
        }
      } catch is CancellationError {
        return
      } catch {
        follower.failures += 1
        ledgerStanding.withLock { $0.doubt = mirror.doubt.map { "\($0)" } }
        await report(error, &follower)
        // Capped low: a node that does not follow denies everybody after a minute.
        try? await Task.sleep(for: .milliseconds(min(2000, 100 << min(follower.failures, 5))))
      }
    }
  }

  /// Erasures that a crash cut off, and customers that a restored backup brought back.
  private nonisolated func finishErasures() async throws {
    let replayed = try vault.replayErasures(
      of: mirror, by: files.identity.verifyingKey, store: store)
    if replayed > 0 { logger.notice("\(replayed) erased customers were in a restored vault: erased again") }
    let erasure = Erasure(files: files, vault: vault, store: store, client: client, view: LedgerView(mirror))
    for certificate in try await erasure.completePending() {
      logger.notice("completed the erasure of \(certificate.subject.hex.prefix(16))…")
    }
  }

  /// Cosigns the newest tree, and compares with what others cosigned.
  private nonisolated func bearWitness() async throws {
    guard let signed = mirror.checkpoint else { return }
    var note = try SignedNote(parsing: signed.noteText)
    try note.cosign(asWitness: files.identity, timestampSeconds: clock() / 1000)
    var message = WireCosigned()
    message.note = note.encoded
    _ = try await client.send(
      .cosign, to: "v1/ledger/cosign", payload: encodeMessage(message), key: files.identity)
    let bytes = try await client.get("v1/ledger/witnesses", limit: MessageLimits.control)
    let others = try wireMessage(WireWitnesses.self, bytes, peer: "the server")
    for sighting in others.sightings {
      let key: VerifyingKey = try fixed(sighting.key, "the server", "Witnesses", "key")
      guard key != files.identity.verifyingKey, mirror.isEnrolled(key) else { continue }
      _ = try mirror.witness(noteText: sighting.note, by: key)
    }
    let count = mirror.witnesses(
      nowMs: Int64(clock()), maximumAgeSeconds: Int64(files.policy.maximumCheckpointAgeSeconds)
    ).count
    ledgerStanding.withLock { $0.witnesses = count }
  }

  /// A log that contradicts itself is kept as evidence beside the data, in the log file, and told the server.
  private nonisolated func report(_ error: any Error, _ follower: inout LedgerFollower) async {
    logger.warning("ledger: \(error)")
    guard let doubt = mirror.doubt, !follower.reportsDoubt else { return }
    follower.reportsDoubt = true
    if let evidence = (try? mirror.evidenceOfFork()) ?? nil {
      let path = directory.file("fork-evidence-\(clock()).txt")
      try? Data(evidence.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
      logger.critical("the ledger was forked; the two signed notes are in \(path)")
    }
    let id = Hash.blake2b(
      domain: "accord/v1/doubt", [files.identity.verifyingKey.bytes, Array("\(doubt)".utf8)])
    guard let eventID = try? EventID(Array(id.bytes.prefix(EventID.byteCount))) else { return }
    let notice = NoticeRecord(
      id: eventID, kind: "fork", text: "\(files.name) does not believe this log any more: \(doubt)",
      timeMs: Int64(clock()))
    // Whoever forked the log need not write this down; an honest server that was restored wrongly does.
    _ = try? await LedgerSubmission.send(
      [SignedStatement.sign(.notice(notice), key: files.identity)], client: client, key: files.identity)
    await show(status.activity)
  }

  // MARK: Consent API

  /// Serves the shop's own systems until the node stops.
  func serveConsent(_ address: ConsentAddress) async throws {
    let service = ConsentService(
      recorder: ConsentRecorder(files: files, vault: vault, client: client, view: LedgerView(mirror)),
      gate: gate, mirror: mirror, token: try ConsentService.token(directory), logger: logger, clock: clock)
    let application = Application(
      router: service.router(), configuration: .init(address: .hostname(address.host, port: address.port)),
      onServerRunning: { channel in
        let port = channel.localAddress?.port ?? address.port
        await self.noteConsentURL("http://\(address.host):\(port)/v1/consent")
      }, logger: logger)
    try await application.run()
  }

  private func noteConsentURL(_ url: String) {
    status.consentURL = url
    logger.info("the consent API listens on \(url)")
    show(status.activity)
  }

  // MARK: Canary

  /// Lets a made-up customer agree and withdraw, now and then, and raises an alarm if it stays trainable.
  func runCanaries() async {
    let seconds = files.policy.canarySeconds ?? 3600
    while seconds <= 0, !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    while !Task.isCancelled {
      do { try await Task.sleep(for: .seconds(min(seconds, 60))) } catch { return }
      for purpose in files.policy.purposes.sorted() {
        do {
          guard let report = try await flyCanary(purpose) else { continue }
          status.canary = report
          if let alarm = report.alarm { try await raise(alarm) }
        } catch is CancellationError { return } catch {
          logger.notice("canary for \(purpose): \(error)")
        }
      }
      do { try await Task.sleep(for: .seconds(max(0, seconds - min(seconds, 60)))) } catch { return }
    }
  }

  /// One flight; nil if the policy in force has no such purpose.
  func flyCanary(_ purpose: String) async throws -> CanaryReport? {
    guard let policy = mirror.rules.current?.policy, let entry = policy.purpose(purpose), entry.isActive
    else {
      return nil
    }
    let recorder = ConsentRecorder(files: files, vault: vault, client: client, view: LedgerView(mirror))
    let circumstances = ConsentRecorder.Circumstances(
      purpose: purpose, jurisdiction: policy.establishment, channel: "canary", method: "automatic",
      language: entry.notices.first?.language)
    let limitMs = Int64(policy.limits.withdrawalSeconds) * 1000
    func decision() throws -> ConsentDecision? {
      do {
        return try gate.decision(
          subjectID: Self.canarySubject, purpose: entry.reference, regime: .optIn, nowMs: Int64(clock()))
      } catch LedgerError.behindReceipt { return nil }
    }
    func record(_ state: ConsentState) async throws {
      _ = try await recorder.record(
        [.init(subject: Self.canarySubject, state: state, timeMs: Int64(clock()))], circumstances)
    }
    try await record(.given)
    for _ in 0..<200 where try decision()?.permitted != true { try await Task.sleep(for: .milliseconds(10)) }
    try await record(.withdrawn)
    let acknowledged = Int64(clock())
    var report = CanaryReport(purpose: purpose, timeMs: acknowledged)
    // While this copy is behind its own receipt the gate denies everything; that counts as denied.
    while Int64(clock()) - acknowledged <= limitMs {
      if try decision()?.permitted != true {
        report.deniedAfterMs = Int64(clock()) - acknowledged
        return report
      }
      try await Task.sleep(for: .milliseconds(5))
    }
    report.alarm =
      "the canary withdrew from \(purpose) and was still trainable at \(files.name) after \(limitMs) ms"
    return report
  }

  private func raise(_ alarm: String) async throws {
    logger.critical("\(alarm)")
    status.lastProblem = alarm
    show(status.activity)
    var random = RandomStream.system()
    let notice = NoticeRecord(
      id: try EventID.ordered(timeMs: Int64(clock()), using: &random), kind: "canary", text: alarm,
      timeMs: Int64(clock()))
    _ = try await LedgerSubmission.send(
      [SignedStatement.sign(.notice(notice), key: files.identity)], client: client, key: files.identity)
  }
}
