import Consent
import Cryptography
import Federation
import Learning
import Privacy
import SecureAggregation
import Testing

/// Keys, tasks and descriptors that the tests share.
enum Fixture {
  static let federation = "accord.test/consent"
  static let now: UInt64 = 1_800_000_000_000
  static let purpose = Purpose(id: "recommendations", version: 1)

  /// Identities sorted by public key, so that position and roster index agree.
  static let identities: [SigningKey] = {
    var random = RandomStream(testSeed: 1)
    return (0..<50).map { _ in SigningKey(using: &random) }.sorted { $0.verifyingKey < $1.verifyingKey }
  }()
  static let serverKey: SigningKey = {
    var random = RandomStream(testSeed: 2)
    return SigningKey(using: &random)
  }()
  static let uploadKey: AgreementKey = {
    var random = RandomStream(testSeed: 3)
    return AgreementKey(using: &random)
  }()

  /// Field 100, varint 1: well formed protobuf, but nobody knows what it says.
  static let unknownField: [UInt8] = [0xa0, 0x06, 0x01]

  static func digest(_ text: String) -> Digest { Hash.blake2b(Array(text.utf8)) }

  static func task(_ change: (inout TaskSpecification) -> Void = { _ in }) throws -> TaskSpecification {
    var task = TaskSpecification(
      id: "task-1", purpose: purpose.id,
      schema: try FeatureSchema(columns: [
        FeatureColumn(name: "visits", kind: .numeric), FeatureColumn(name: "basket", kind: .numeric),
        FeatureColumn(name: "channel", kind: .categorical),
      ]),
      architecture: .logisticRegression, algorithm: .fedSGD, optimizer: .sgd(learningRate: 1), rounds: 4,
      clipNorm: 2, quantileBins: 4, evaluationBins: 8, statisticsShare: 0.1, finalEvaluationShare: 0.4,
      trainingBudget: PrivacyBudget(epsilon: 8, delta: 1e-5),
      evaluationBudget: PrivacyBudget(epsilon: 8, delta: 1e-5), minimumCohort: 3, minimumSurvivors: 3,
      maximumContributors: 500, stepDeadlineMilliseconds: 1_000, trainingDeadlineMilliseconds: 5_000)
    change(&task)
    return task
  }

  static let endless = PrivacyBudget(epsilon: .infinity, delta: 1e-5)

  static func policy(_ change: (inout NodePolicy) -> Void = { _ in }) -> NodePolicy {
    var policy = NodePolicy(purposes: [purpose.id], budget: endless, minimumCohort: 2)
    change(&policy)
    return policy
  }

  /// Two segments of awkward lengths; the ring is as narrow as `cohort` nodes with one contributor allow.
  static func segments(noiseVariance: Double = 0) -> [Segment] {
    [
      Segment(
        name: .update, length: 7, population: .training, clipNorm: 4, scale: 32,
        noiseVariance: noiseVariance),
      Segment(
        name: .evaluation, length: 4, population: .heldOut, clipNorm: 1, scale: 64,
        noiseVariance: noiseVariance),
    ]
  }

  static func descriptor(
    _ segments: [Segment] = segments(), cohort: Int, minimumCohort: Int = 2, minimumSurvivors: Int = 2,
    corruptPermille: Int = 0, maximumContributors: Int = 1,
    _ change: (inout RoundDescriptor) -> Void = { _ in }
  ) throws -> RoundDescriptor {
    var descriptor = RoundDescriptor(
      federation: federation, sessionNumber: 7, kind: .training, round: 1, taskDigest: digest("task"),
      modelDigest: digest("model"), seed: 5, segments: segments,
      ringBits: try VectorPlan(segments).ringBits(
        cohort: cohort, maximumContributors: maximumContributors, minimumSurvivors: minimumSurvivors,
        corruptPermille: corruptPermille),
      minimumCohort: minimumCohort, minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille,
      dropoutPermille: 250, maximumContributors: maximumContributors, stepDeadlineMilliseconds: 1_000,
      trainingDeadlineMilliseconds: 5_000, checkpoint: "a signed note", issuedAtMilliseconds: now,
      uploadKey: uploadKey.publicKey, unit: .customer)
    change(&descriptor)
    return descriptor
  }
}

/// The first position at which two vectors differ, nil if they are equal. For long vectors: a failed
/// comparison of whole arrays would make the test library compute their difference for minutes.
func firstDifference<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Int? {
  zip(a, b).enumerated().first { $1.0 != $1.1 }?.offset ?? (a.count == b.count ? nil : min(a.count, b.count))
}

/// Coordinate-wise sum of vectors of one length.
func sum(_ vectors: [[Int64]]) -> [Int64] {
  guard var total = vectors.first else { return [] }
  for vector in vectors.dropFirst() { for index in total.indices { total[index] += vector[index] } }
  return total
}

/// Expects that `body` is refused with a `FederationError` whose sentence contains every fragment.
func expectRefusal(
  _ fragments: String..., sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  do {
    try body()
    Issue.record(
      "nothing was refused; expected “\(fragments.joined(separator: "”, “"))”", sourceLocation: sourceLocation
    )
  } catch let error as FederationError {
    for fragment in fragments {
      #expect(error.description.contains(fragment), sourceLocation: sourceLocation)
    }
  } catch {
    Issue.record("not a FederationError: \(error)", sourceLocation: sourceLocation)
  }
}

/// Expects that a message with `Fixture.unknownField` at its end is refused: SwiftProtobuf would keep unknown
/// fields and write them again, so only a decoder that discards them sees the difference.
func expectUnknownFieldRefused(
  sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
  expectRefusal("unknown fields", sourceLocation: sourceLocation, body)
}

/// A copy of a message as its receiver reads it from the bytes on the wire.
func overTheWire<Message: WireRepresentable>(_ message: Message) throws -> Message {
  try Message(wireBytes: message.wireBytes, peer: "a test")
}
