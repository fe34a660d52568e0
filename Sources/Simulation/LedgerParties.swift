import Consent
import ConsentLedger
import Cryptography
import Foundation

/// The parties of a ledger in a benchmark, and the consents that its store records: typical ones, for three
/// purposes on three channels.
struct LedgerParties {
  static let startMs: Int64 = 1_790_000_000_000
  static let origin = "bench.accord.example/log"

  private let logKey: SigningKey
  private let freshnessKey: SigningKey
  private let operatorKey: SigningKey
  private let store: SigningKey
  private let officers: [SigningKey]
  private let policy: Policy
  private let policyHash: Digest
  private var random: RandomStream
  private var made = 0

  init(seed: UInt64) {
    var random = RandomStream(testSeed: seed)
    logKey = SigningKey(using: &random)
    freshnessKey = SigningKey(using: &random)
    operatorKey = SigningKey(using: &random)
    store = SigningKey(using: &random)
    officers = [SigningKey(using: &random), SigningKey(using: &random)]
    self.random = random
    policy = Self.policy()
    policyHash = Hash.sha256(policy.canonicalBytes)
  }

  private static let purposes = ["recommendations", "personal-prices", "store-planning"]
  private static let channels = ["store-till", "web", "app"]
  private static let notice = String(repeating: "5a", count: 32)

  private static func policy() -> Policy {
    Policy(
      id: "bench", version: 1,
      controller: Controller(
        name: "Example GmbH", address: "Hauptstr. 1, 10115 Berlin", contact: "privacy@example.org"),
      establishment: "DE",
      purposes: purposes.map { id in
        PolicyPurpose(
          id: id, version: 1, title: id, description: "What it says.", dpia: "DPIA-1",
          dataCategories: ["purchases"], retentionDays: 365,
          jurisdictions: ["EU": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"])],
          grantLifetimeDays: 730, notices: [PolicyNotice(hash: notice, language: "de", title: "Notice")])
      })
  }

  /// A ledger with the parties enrolled and the policy in force.
  func open(_ directory: String) throws -> LedgerStore {
    let ledger = try LedgerStore.open(
      directory: directory, origin: Self.origin, logKey: logKey, freshnessKey: freshnessKey)
    func enrol(_ key: SigningKey, _ kind: EnrolledKind, _ name: String) -> EntryBody {
      .enrolment(EnrolmentRecord(nodeKey: key.verifyingKey, name: name, kind: kind, validFromMs: 0))
    }
    let enrolments = try SignedStatement.sign(
      [
        enrol(store, .store, "store-1"), enrol(officers[0], .officer, "o1"),
        enrol(officers[1], .officer, "o2"),
      ],
      key: operatorKey)
    let proposal = EntryBody.policy(PolicyRecord(document: policy.canonicalBytes, timeMs: Self.startMs))
    let approval = EntryBody.approval(
      ApprovalRecord(
        id: try EventID([UInt8](repeating: 1, count: 16)), action: .policy, target: policyHash,
        text: "agreed",
        timeMs: Self.startMs))
    _ = try ledger.append(
      enrolments + [
        SignedStatement.sign(proposal, key: officers[0]), SignedStatement.sign(approval, key: officers[1]),
      ], nowMs: Self.startMs)
    return ledger
  }

  /// Signed consents: four grants to one withdrawal.
  mutating func consents(_ count: Int, batchSize: Int) throws -> [SignedStatement] {
    var bodies: [EntryBody] = []
    bodies.reserveCapacity(count)
    for _ in 0..<count { bodies.append(.consent(try event())) }
    return try SignedStatement.sign(bodies, key: store, batchSize: batchSize)
  }

  private mutating func event() throws -> ConsentEvent {
    made += 1
    let isGrant = made % 5 != 0
    let time = Self.startMs + Int64(made % 1000)
    return ConsentEvent(
      eventID: try EventID(random.bytes(16)), subject: try SubjectTag(random.bytes(32)),
      purpose: Purpose(id: Self.purposes[made % 3], version: 1), state: isGrant ? .given : .withdrawn,
      regime: .optIn, legalBasis: "eu-gdpr:A6-1-a", jurisdiction: made % 2 == 0 ? "DE" : "FR",
      channel: Self.channels[made / 3 % 3], method: "toggle", eventTimeMs: time,
      recorder: "till \(made % 40)", recordID: try EventID(random.bytes(16)), noticeHash: Self.notice,
      language: "de", policyHash: isGrant ? policyHash.hex : nil,
      expiresAtMs: isGrant ? time + 700 * 86_400_000 : nil, steps: 2, durationMs: Int64(1000 + made % 9000))
  }
}
