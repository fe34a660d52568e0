import ConsentLedger
import Consent
package import Cryptography
import Federation
import Foundation
package import Logging
import MerkleLog
import Messages
import Privacy
import SecureAggregation
import Storage
import Synchronization

/// What a node shows of itself in `status.json`: for `accord node status`, monitoring and the demo.
package struct NodeStatus: Codable, Sendable {
  /// The node's name.
  package var name: String
  /// The process.
  package var processID: Int32
  /// What it is doing: waiting, training, advertise, shares, upload, confirm, unmask.
  package var activity: String
  /// The session it works on, or worked on last.
  package var session: UInt64
  /// Training round of that session, 0 outside training.
  package var round: Int
  /// Sessions it completed since it started.
  package var completedSessions: Int
  /// Entries of the log that it has verified.
  package var ledgerSize: UInt64
  /// When the newest verified checkpoint was signed, seconds of UTC since 1970.
  package var checkpointSeconds: UInt64?
  /// Other nodes that have lately seen the same log.
  package var witnesses: Int?
  /// Why the log is not believed; nil if it is.
  package var ledgerDoubt: String?
  /// What the last canary found.
  package var canary: CanaryReport?
  /// Where the consent API listens.
  package var consentURL: String?
  /// The last thing that went wrong.
  package var lastProblem: String?
  /// When this was written, ms of UTC since 1970.
  package var updatedMs: UInt64
}

/// The node's life: waits for sessions, checks them against its policy, trains on consented records, and
/// takes part. One session at a time. It survives everything but a lost identity.
package actor NodeDaemon {
  /// For drills: the daemon stops before this step of this training round and waits to be killed.
  package struct Drill: Sendable {
    /// shares, upload, confirm or unmask.
    package let step: String
    /// Training round.
    package let round: Int
    package init(step: String, round: Int) {
      self.step = step
      self.round = round
    }
  }

  let directory: DataDirectory
  let files: NodeFiles
  let store: LocalStore
  let vault: SubjectVault
  let mirror: LedgerMirror
  let gate: ConsentGate
  let budgets: BudgetBook
  let client: FederationClient
  let serverKey: VerifyingKey
  let operatorKey: VerifyingKey
  let logger: Logger
  let clock: @Sendable () -> UInt64
  let drill: Drill?
  let keepsInputs: Bool
  /// What a session draws from, by its number.
  let sessionRandom: @Sendable (UInt64) -> RandomStream
  let consentAddress: ConsentAddress?
  var status: NodeStatus
  var artifact: (digest: Digest, artifact: TaskArtifact)?
  var refusals = RefusalNotices()
  let ledgerStanding = Mutex(LedgerStanding())

  /// Where the consent API listens.
  package struct ConsentAddress: Sendable {
    /// Name or address to bind.
    package let host: String
    /// Port; 0 lets the system choose.
    package let port: Int
    package init(host: String, port: Int) {
      self.host = host
      self.port = port
    }
  }

  /// Opens a node's files and takes the directory's lock.
  /// - Parameter sessionRandom: what a session draws keys, rounding, noise and masks from. Whoever knows it can
  ///   subtract the node's noise, so a deployed node uses the operating system and there is no setting, option
  ///   or variable for another source: it is for the test that simulated and deployed sums agree.
  package init(
    path: String, drill: Drill? = nil, keepsInputs: Bool = false, consentAddress: ConsentAddress? = nil,
    sessionRandom: @escaping @Sendable (_ session: UInt64) -> RandomStream = { _ in .system() },
    logger: Logger,
    clock: @escaping @Sendable () -> UInt64 = { UInt64(Date().timeIntervalSince1970 * 1000) }
  ) throws {
    directory = try DataDirectory(path, kind: .node, create: false)
    files = try NodeFiles(directory)
    store = try LocalStore(directory)
    vault = try files.openVault()
    mirror = try files.openMirror()
    // A vault that was put back from a backup must not bring erased customers back.
    _ = try vault.replayErasures(of: mirror, by: files.identity.verifyingKey, store: store)
    gate = ConsentGate(
      mirror: mirror, vault: vault, recorder: files.identity.verifyingKey,
      maximumCheckpointAgeSeconds: Int64(files.policy.maximumCheckpointAgeSeconds),
      witnessQuorum: files.policy.witnessQuorum ?? 0)
    budgets = try BudgetBook(path: directory.file("budget.sqlite"))
    client = try FederationClient(trust: files.trust, clock: clock)
    let keys = try files.trust.keys()
    serverKey = keys.server
    operatorKey = keys.operator
    self.logger = logger
    self.clock = clock
    self.drill = drill
    self.keepsInputs = keepsInputs
    self.sessionRandom = sessionRandom
    self.consentAddress = consentAddress
    status = NodeStatus(
      name: files.name, processID: ProcessInfo.processInfo.processIdentifier, activity: "starting",
      session: 0, round: 0, completedSessions: 0, ledgerSize: mirror.size, lastProblem: nil,
      updatedMs: clock())
  }

  /// Runs until the task is cancelled. Throws only what waiting cannot heal: an identity that is not
  /// enrolled, files that cannot be used.
  package func run() async throws {
    do { try await serve() } catch {
      await client.shutdown()
      throw error
    }
    await client.shutdown()
  }

  private func serve() async throws {
    show("waiting")
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await self.followLedger() }
      group.addTask { await self.runCanaries() }
      if let consentAddress { group.addTask { try await self.serveConsent(consentAddress) } }
      group.addTask { try await self.takePartForever() }
      // Only taking part can end by itself; the others go with it.
      _ = try await group.next()
      group.cancelAll()
    }
  }

  private func takePartForever() async throws {
    var failures = 0
    while !Task.isCancelled {
      do {
        if try await takePart() { failures = 0 }
      } catch is CancellationError {
        break
      } catch {
        status.lastProblem = "\(error)"
        show("waiting")
        if let error = error as? EdgeNodeError, !error.isTransient, case .refused = error { throw error }
        if error is StorageError { throw error }
        failures += 1
        logger.warning("session \(status.session): \(error)")
        try? await Task.sleep(for: .milliseconds(min(5000, 100 << min(failures, 6))))
      }
    }
  }

  /// Waits for one session and takes part in it. False when the wait ended without one.
  private func takePart() async throws -> Bool {
    var request = WireInvitationRequest()
    request.lastSession = try store.lastSession()
    request.keyStreams = files.policy.suites.map(\.rawValue)
    guard
      let bytes = try await client.send(
        .invitation, to: "v1/invitation", payload: encodeMessage(request), key: files.identity)
    else { return false }
    let invitation = try wireMessage(WireInvitation.self, bytes, peer: "the server")
    let signed = try SignedDescriptor(
      verifying: Array(invitation.descriptor),
      signature: try fixed(invitation.signature, "the server", "Invitation", "signature"),
      serverKey: serverKey)
    let number = signed.descriptor.sessionNumber
    status.session = number
    status.round = signed.descriptor.round
    do {
      try await join(try check(signed, invitation))
      status.completedSessions += 1
      status.lastProblem = nil
    } catch {
      // A session that this node refused or lost is over for it, whatever the reason.
      if try store.lastSession() < number { try store.rememberSession(number) }
      await recordRefusal(error, task: signed.descriptor.taskDigest)
      throw error
    }
    show("waiting")
    return true
  }

  /// Puts a refusal by this node's own rules on record in the ledger. The refusal stands either way.
  private func recordRefusal(_ error: any Error, task: Digest) async {
    guard case .policy(let refusal)? = error as? FederationError,
      let notice = refusals.notice(
        of: refusal, task: task, node: (files.name, files.identity.verifyingKey), timeMs: Int64(clock()))
    else { return }
    do {
      _ = try await LedgerSubmission.send(
        [SignedStatement.sign(.notice(notice), key: files.identity)], client: client, key: files.identity)
    } catch {
      logger.notice("the refusal is not in the ledger: \(error)")
    }
  }

  // MARK: Status and drills

  func show(_ activity: String) {
    status.activity = activity
    status.updatedMs = clock()
    status.ledgerSize = mirror.size
    status.checkpointSeconds = mirror.checkpoint?.timestampSeconds
    (status.ledgerDoubt, status.witnesses) = ledgerStanding.withLock { ($0.doubt, $0.witnesses) }
    // Status is for watching only: a full disk must not stop a session that could still complete.
    if let data = try? JSONEncoder().encode(status) {
      try? data.write(to: URL(fileURLWithPath: directory.file("status.json")), options: .atomic)
    }
  }

  func pause(before step: String, _ descriptor: RoundDescriptor) async throws {
    guard let drill, drill.step == step, drill.round == descriptor.round, descriptor.kind == .training else {
      return
    }
    show("paused before \(step)")
    logger.warning("drill: paused before \(step) of round \(descriptor.round)")
    while true { try await Task.sleep(for: .seconds(3600)) }
  }

  /// For drills and audits of the demo: the integers that this node put into the sum, noise included.
  func keep(_ values: [Int64], _ descriptor: RoundDescriptor) throws {
    let bytes = LittleEndian.bytes(values.map { UInt32(truncatingIfNeeded: $0) })
    try DurableFile.write(bytes, to: directory.file("input-\(descriptor.sessionNumber).bin"))
  }
}
