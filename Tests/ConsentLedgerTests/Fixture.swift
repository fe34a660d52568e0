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
  static let origin = "accord.test/log"

  let path: String
  let logKey: SigningKey
  let freshnessKey: SigningKey
  let operatorKey: SigningKey
  let store: SigningKey
  let officer: SigningKey
  let secondOfficer: SigningKey
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
    officer = SigningKey(using: &random)
    secondOfficer = SigningKey(using: &random)
    stranger = SigningKey(using: &random)
    self.random = random
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }

  func directory(_ name: String) throws -> String {
    try FileManager.default.createDirectory(atPath: file(name), withIntermediateDirectories: true)
    return file(name)
  }

  func open(
    directory: String? = nil, faults: @escaping @Sendable (CommitStep) throws -> Void = { _ in }
  ) throws -> LedgerStore {
    try LedgerStore.open(
      directory: directory ?? path, origin: Self.origin, logKey: logKey, freshnessKey: freshnessKey,
      faults: faults)
  }

  /// A ledger with `beginning`: five entries.
  func begun(
    faults: @escaping @Sendable (CommitStep) throws -> Void = { _ in }
  ) throws -> LedgerStore {
    let ledger = try open(faults: faults)
    _ = try ledger.append(beginning(), nowMs: startMs)
    return ledger
  }

  var verifiers: CheckpointVerifiers {
    get throws {
      try CheckpointVerifiers(
        origin: Self.origin, logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
    }
  }

  func mirror(
    _ name: String = "node", operatorKey: VerifyingKey? = nil
  ) throws -> LedgerMirror {
    try LedgerMirror.open(
      directory: directory(name), verifiers: verifiers,
      operatorKey: operatorKey ?? self.operatorKey.verifyingKey)
  }

  func vault() throws -> SubjectVault {
    try SubjectVault.open(
      path: file("vault.sqlite"), keyEncryptionKey: SecretBytes(copying: [UInt8](repeating: 5, count: 32)),
      random: random.fork())
  }

  // MARK: Bodies

  func id() throws -> EventID { try EventID(random.bytes(16)) }
  func tag() throws -> SubjectTag { try SubjectTag(random.bytes(32)) }

  func enrolment(_ key: SigningKey? = nil, kind: EnrolledKind = .store, name: String = "store-1") -> EntryBody
  {
    .enrolment(
      EnrolmentRecord(
        nodeKey: (key ?? store).verifyingKey, name: name, kind: kind, validFromMs: startMs))
  }

  static func policy(
    version: Int = 1, purposes: [Purpose] = [purpose], twoPersonActions: [TwoPersonAction] = [.policy]
  ) -> Policy {
    Policy(
      id: "retail", version: version,
      controller: Controller(
        name: "Example GmbH", address: "Hauptstr. 1, 10115 Berlin", contact: "privacy@example.org"),
      establishment: "DE", twoPersonActions: twoPersonActions,
      purposes: purposes.map { purpose in
        PolicyPurpose(
          id: purpose.id, version: purpose.version, title: "Recommendations",
          description: "Products that fit what was bought.", dpia: "DPIA-7", dataCategories: ["purchases"],
          retentionDays: 365,
          jurisdictions: [
            "DE": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"]),
            "US-CA": JurisdictionRule(regime: .optOut, legalBases: ["us-ca:opt-out"]),
          ])
      })
  }

  static let policyDocument = policy().canonicalBytes
  static let policyDigest = Hash.sha256(policyDocument)

  func proposal(_ policy: Policy = policy()) -> EntryBody {
    .policy(PolicyRecord(document: policy.canonicalBytes, timeMs: startMs))
  }

  func approval(of target: Digest = policyDigest, _ action: ApprovalAction = .policy) throws -> EntryBody {
    .approval(
      ApprovalRecord(id: try id(), action: action, target: target, text: "read and agreed", timeMs: startMs))
  }

  func event(
    _ state: ConsentState = .given, of subject: SubjectTag? = nil, purpose: Purpose = purpose,
    expires: Int64? = nil, policy: Digest? = policyDigest
  ) throws -> ConsentEvent {
    ConsentEvent(
      eventID: try id(), subject: try subject ?? tag(), purpose: purpose, state: state, regime: .optIn,
      legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web", method: "toggle",
      eventTimeMs: startMs, recorder: "till 3", recordID: try id(),
      noticeHash: String(repeating: "ab", count: 32), language: "de",
      policyHash: state.isGrant ? policy?.hex : nil, expiresAtMs: expires, steps: 2, durationMs: 4100)
  }

  func request(_ action: RequestRecord.Action = .received) throws -> EntryBody {
    .request(
      RequestRecord(
        eventID: try id(), requestID: try id(), action: action, nature: .erasure, law: .gdpr,
        manner: "web form", basis: action == .denied ? "no proof of identity" : nil, response: "noted",
        subject: try tag(), timeMs: startMs))
  }

  func round(_ number: UInt64 = 1, result: RoundResult = .completed) -> RoundRecord {
    RoundRecord(
      sessionID: Hash.sha256([UInt8(number)]), round: number, taskID: "churn", kind: "training",
      modelIn: Hash.sha256([1]), modelOut: result == .completed ? Hash.sha256([2]) : nil, purpose: purpose,
      checkpointSize: 3, checkpointRoot: Hash.sha256([3]), checkpointAgeSeconds: 4, participants: 5,
      survivors: 4, dropped: 1, noisedEligible: 1017, evidenceRoots: [Hash.sha256([4])],
      policyHash: Self.policyDigest, epsilon: 0.1, delta: 1e-6, unit: "user", mechanism: "skellam",
      startedMs: startMs - 5000, endedMs: startMs, result: result, transcriptDigest: Hash.sha256([5]))
  }

  func notice(_ text: String = "no budget left") throws -> EntryBody {
    .notice(NoticeRecord(id: try id(), kind: "refusal", text: text, timeMs: startMs))
  }

  // MARK: Statements

  func sign(_ body: EntryBody, by key: SigningKey) throws -> SignedStatement {
    try SignedStatement.sign(body, key: key)
  }

  func consent(_ event: ConsentEvent? = nil, by key: SigningKey? = nil) throws -> SignedStatement {
    try sign(.consent(event ?? self.event()), by: key ?? store)
  }

  /// Consents under one signature of the store.
  func consents(_ count: Int, batchSize: Int = 64) throws -> [SignedStatement] {
    try SignedStatement.sign(
      try (0..<count).map { _ in .consent(try event()) }, key: store, batchSize: batchSize)
  }

  /// A store, two officers, and a policy of the first that the second approved.
  func beginning(_ policy: Policy = policy()) throws -> [SignedStatement] {
    try SignedStatement.sign(
      [
        enrolment(), enrolment(officer, kind: .officer, name: "officer-1"),
        enrolment(secondOfficer, kind: .officer, name: "officer-2"),
      ], key: operatorKey) + [
        sign(proposal(policy), by: officer), sign(.approval(Self.approval(of: policy)), by: secondOfficer),
      ]
  }

  static func approval(of policy: Policy) throws -> ApprovalRecord {
    ApprovalRecord(
      id: try EventID([UInt8](repeating: 9, count: 16)), action: .policy,
      target: Hash.sha256(policy.canonicalBytes), text: "read and agreed", timeMs: startMs)
  }

  /// A ledger of 20 entries with every kind, in batches of one and of several, committed four times.
  func smallLedger() throws {
    let ledger = try begun()
    _ = try ledger.append(consents(5), nowMs: startMs)
    let subject = try tag()
    _ = try ledger.append(
      [
        sign(.round(round()), by: logKey), sign(notice(), by: logKey), sign(request(), by: officer),
        consent(event(.withdrawn, of: subject)),
        sign(.consent(event(.erased, of: subject, purpose: .every)), by: store),
      ], nowMs: startMs + 1000)
    let revoked = EntryBody.revocation(
      RevocationRecord(key: stranger.verifyingKey, reason: "closed", timeMs: startMs + 2000))
    _ = try ledger.append(
      [sign(enrolment(stranger, kind: .server, name: "old"), by: operatorKey)]
        + [sign(revoked, by: operatorKey)] + consents(3), nowMs: startMs + 2000)
    try ledger.close()
  }

  // MARK: Behind the ledger's back

  func tamper(_ sql: String, _ arguments: StatementArguments = [], file name: String = "ledger.sqlite") throws
  {
    let queue = try DatabaseQueue(path: file(name))
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

extension LedgerReceipt {
  /// The leaf that the ledger made of a statement, proven by this receipt.
  func prove(_ statement: SignedStatement, _ verifiers: CheckpointVerifiers) throws {
    try LedgerReceipt.verify(
      leaf: statement.leaf(recordedMs: recordedMs), noteText: checkpoint.noteText, proof: proof,
      verifiers: verifiers)
  }
}
