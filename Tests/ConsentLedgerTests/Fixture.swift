import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Testing

let purpose = Purpose(id: "recommendations", version: 1)
let startMs: Int64 = 1_790_000_000_000

/// The parties and files of a small federation, in a directory that goes with the object.
final class Fixture {
  let path: String
  let logKey: SigningKey
  let freshnessKey: SigningKey
  let operatorKey: SigningKey
  let store: SigningKey
  let stranger: SigningKey
  private var random: RandomStream

  init(seed: UInt64 = 1) throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("accord-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    var random = RandomStream(testSeed: seed)
    logKey = SigningKey(using: &random)
    freshnessKey = SigningKey(using: &random)
    operatorKey = SigningKey(using: &random)
    store = SigningKey(using: &random)
    stranger = SigningKey(using: &random)
    self.random = random
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  func open(
    faults: @escaping @Sendable (CommitStep) throws -> Void = { _ in }
  ) throws -> LedgerStore {
    try LedgerStore.open(
      directory: path, origin: "accord.test/log", logKey: logKey, freshnessKey: freshnessKey, faults: faults)
  }

  var verifiers: CheckpointVerifiers {
    get throws {
      try CheckpointVerifiers(
        origin: "accord.test/log", logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
    }
  }

  func mirror(_ name: String = "mirror.sqlite") throws -> LedgerMirror {
    try LedgerMirror.open(path: file(name), verifiers: verifiers, operatorKey: operatorKey.verifyingKey)
  }

  func vault() throws -> SubjectVault {
    try SubjectVault.open(
      path: file("vault.sqlite"), keyEncryptionKey: SecretBytes(copying: [UInt8](repeating: 5, count: 32)),
      random: random.fork())
  }

  func enrolment(_ key: SigningKey? = nil, kind: EnrolledKind = .store) throws -> LedgerEntry {
    .enrolment(
      try EnrolmentRecord(
        nodeKey: (key ?? store).verifyingKey, name: "store-1", kind: kind, validFromMs: startMs,
        signedBy: operatorKey))
  }

  func event(
    _ state: ConsentState = .given, of subject: SubjectTag? = nil, purpose: Purpose = purpose,
    expires: Int64? = nil
  ) throws -> ConsentEvent {
    ConsentEvent(
      eventID: try EventID(random.bytes(16)), subject: try subject ?? SubjectTag(random.bytes(32)),
      purpose: purpose, state: state, regime: .optIn, legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE",
      noticeHash: String(repeating: "ab", count: 32), channel: "web", method: "toggle", eventTimeMs: startMs,
      expiresAtMs: expires, recorder: "till 3")
  }

  func consent(_ event: ConsentEvent? = nil, by key: SigningKey? = nil) throws -> LedgerEntry {
    try .consent(event ?? self.event(), signedBy: key ?? store)
  }

  func round(_ number: UInt64 = 1, result: RoundResult = .completed) throws -> RoundRecord {
    RoundRecord(
      sessionID: Hash.sha256([UInt8(number)]), round: number, taskID: "churn", kind: "training",
      modelIn: Hash.sha256([1]), modelOut: result == .completed ? Hash.sha256([2]) : nil, purpose: purpose,
      checkpointSize: 3, checkpointRoot: Hash.sha256([3]), checkpointAgeSeconds: 4, participants: 5,
      survivors: 4, dropped: 1, noisedEligible: 1017, evidenceRoots: [Hash.sha256([4])], epsilon: 0.1,
      delta: 1e-6, unit: "user", mechanism: "skellam", startedMs: startMs, endedMs: startMs + 5000,
      result: result, transcriptDigest: Hash.sha256([5]))
  }

  /// A ledger with every kind of entry: the store's enrolment, four consents, a round, a notice, a consent.
  func smallLedger() throws {
    let ledger = try open()
    _ = try ledger.append([enrolment()] + (0..<4).map { _ in try consent() }, nowMs: startMs)
    let notice = NoticeRecord(
      id: try EventID(random.bytes(16)), kind: "refusal", text: "no budget left", timeMs: startMs)
    _ = try ledger.append(
      [.round(round(), signedBy: logKey), .notice(notice, signedBy: logKey), consent()], nowMs: startMs + 1000
    )
    try ledger.close()
  }

  /// Changes the ledger's database behind its back.
  func tamper(_ sql: String, _ arguments: StatementArguments = []) throws {
    let queue = try DatabaseQueue(path: file("ledger.sqlite"))
    try queue.write { db in
      try db.execute(sql: sql, arguments: arguments)
      try #require(db.changesCount > 0, "the statement changed nothing: \(sql)")
    }
    try queue.close()
  }

  func leaf(_ index: Int) throws -> [UInt8] {
    let queue = try DatabaseQueue(path: file("ledger.sqlite"))
    let leaf = try queue.read {
      try Data.fetchOne($0, sql: "SELECT bytes FROM leaf WHERE idx = ?", arguments: [index])
    }
    return Array(try #require(leaf))
  }

  /// Every file of the directory whose name begins so, for restoring a copy.
  func copyLedger(to name: String) throws {
    try FileManager.default.createDirectory(atPath: file(name), withIntermediateDirectories: true)
    for entry in try FileManager.default.contentsOfDirectory(atPath: path) where entry.hasPrefix("ledger") {
      try FileManager.default.copyItem(atPath: file(entry), toPath: file(name + "/" + entry))
    }
  }
}

extension LedgerStore {
  /// What a node asks a server for.
  func advance(_ mirror: LedgerMirror, nowMs: Int64) async throws {
    try await mirror.advance(noteText: checkpoint(nowMs: nowMs).noteText, nowMs: nowMs) {
      range throws(LedgerError) in try self.entries(range)
    }
  }
}
