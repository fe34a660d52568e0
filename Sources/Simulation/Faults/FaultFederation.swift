import Consent
import ConsentLedger
import Cryptography
import Federation
import Learning
import MerkleLog
import Privacy

/// What every run has in common: names, keys, policy, tasks, and whose records lie where.
struct FaultFederation {
  static let origin = "accord.simulation/faults"
  /// When every run begins, ms of UTC since 1970.
  static let epochMs: UInt64 = 1_790_000_000_000
  static let customersPerNode = 3
  static let purpose = Purpose(id: "recommendations", version: 1)
  static let column = "who"

  let nodeCount: Int
  let logKey: SigningKey
  let freshnessKey: SigningKey
  let operatorKey: SigningKey
  let officers: [SigningKey]
  let nodeKeys: [SigningKey]
  let verifiers: CheckpointVerifiers
  let schema: FeatureSchema
  let keyEncryptionKey: SecretBytes

  init(nodes: Int) throws {
    nodeCount = nodes
    // Keys tell nothing about the seed: what is replayed is what happens between the parties.
    var random = RandomStream(testSeed: 0x6661_756c_7473)
    logKey = SigningKey(using: &random)
    freshnessKey = SigningKey(using: &random)
    operatorKey = SigningKey(using: &random)
    officers = [SigningKey(using: &random), SigningKey(using: &random)]
    keyEncryptionKey = random.secret(32)
    nodeKeys = (0..<nodes).map { _ in SigningKey(using: &random) }
    verifiers = try CheckpointVerifiers(
      origin: Self.origin, logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
    schema = try FeatureSchema(columns: [FeatureColumn(name: Self.column, kind: .categorical)])
  }

  /// Fewest nodes of a session: one may be missing of four or more.
  var minimumCohort: Int { max(2, nodeCount > 3 ? nodeCount - 2 : nodeCount - 1) }

  /// All customers; the place of one is its coordinate in every sum.
  var customers: [String] { (0..<nodeCount).flatMap { customers(of: $0) } }

  func customers(of node: Int) -> [String] {
    (0..<Self.customersPerNode).map { "n\(node)-c\($0)" }
  }

  func candidates(of node: Int) -> [(subjectID: String, record: LabelledRecord)] {
    customers(of: node).map { ($0, LabelledRecord(values: [.text($0)], label: false)) }
  }

  /// A statistics task whose only question counts the records of each customer: every customer is a basis
  /// vector, so that loss, repetition and somebody who withdrew show in the sum.
  func task(number: Int) -> FederationTask {
    let endless = PrivacyBudget(epsilon: .infinity, delta: 1e-5)
    return .statistics(
      StatisticsSpecification(
        id: "round-\(number)", purpose: Self.purpose.id, schema: schema,
        questions: [
          StatisticsQuestion(name: "who", column: Self.column, ask: .histogram(categories: customers))
        ], budget: endless, populationBudget: endless, minimumCohort: minimumCohort, minimumSurvivors: 2,
        maximumContributors: Self.customersPerNode, stepDeadlineMilliseconds: 1_500,
        trainingDeadlineMilliseconds: 2_000, seed: UInt64(number)))
  }

  var nodePolicy: NodePolicy {
    NodePolicy(
      purposes: [Self.purpose.id], budget: PrivacyBudget(epsilon: .infinity, delta: 1e-5),
      minimumCohort: minimumCohort, minimumSurvivors: 2, keyStreams: [KeyStreamSuite.chacha20.rawValue])
  }

  // MARK: The log's beginning

  static let policy = Policy(
    id: "retail", version: 1,
    controller: Controller(
      name: "Example GmbH", address: "Hauptstr. 1, 10115 Berlin", contact: "privacy@example.org"),
    establishment: "DE",
    purposes: [
      PolicyPurpose(
        id: purpose.id, version: purpose.version, title: "Recommendations",
        description: "Products that fit what was bought.", dpia: "DPIA-7", dataCategories: ["purchases"],
        retentionDays: 365,
        jurisdictions: ["DE": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"])])
    ])
  static let policyDocument = policy.canonicalBytes
  static let policyDigest = Hash.sha256(policyDocument)

  /// Nodes, two officers, and a policy of the first that the second approved.
  func beginning(timeMs: Int64) throws -> [SignedStatement] {
    func enrolment(_ key: SigningKey, _ kind: EnrolledKind, _ name: String) -> EntryBody {
      .enrolment(
        EnrolmentRecord(nodeKey: key.verifyingKey, name: name, kind: kind, validFromMs: timeMs))
    }
    let parties =
      nodeKeys.enumerated().map { enrolment($1, .store, "node-\($0)") }
      + officers.enumerated().map { enrolment($1, .officer, "officer-\($0)") }
    let proposal = EntryBody.policy(PolicyRecord(document: Self.policyDocument, timeMs: timeMs))
    let approval = EntryBody.approval(
      ApprovalRecord(
        id: try EventID([UInt8](repeating: 9, count: 16)), action: .policy, target: Self.policyDigest,
        text: "read and agreed", timeMs: timeMs))
    return try SignedStatement.sign(parties, key: operatorKey)
      + [
        SignedStatement.sign(proposal, key: officers[0]), SignedStatement.sign(approval, key: officers[1]),
      ]
  }

  /// What a customer decided, as the node records it.
  func event(
    _ state: ConsentState, tag: SubjectTag, id: EventID, timeMs: Int64
  ) -> ConsentEvent {
    ConsentEvent(
      eventID: id, subject: tag, purpose: Self.purpose, state: state, regime: .optIn,
      legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web", method: "toggle", eventTimeMs: timeMs,
      recorder: "till 1", recordID: EventID.ofRecord(tag),
      noticeHash: String(repeating: "ab", count: 32), language: "de",
      policyHash: state.isGrant ? Self.policyDigest.hex : nil, steps: 2, durationMs: 4100)
  }
}

extension EventID {
  /// The record that all decisions of a customer for the purpose belong to.
  static func ofRecord(_ tag: SubjectTag) -> EventID {
    guard let id = try? EventID(Array(tag.bytes.prefix(EventID.byteCount))) else {
      preconditionFailure("a tag has more bytes than an identifier")
    }
    return id
  }
}
