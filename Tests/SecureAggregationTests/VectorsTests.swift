import Cryptography
import Testing

@testable import SecureAggregation

/// The test vectors in `protocol/vectors`, from which others can implement the protocol.
@Suite struct VectorsTests {
  static let rounds: [(name: String, plans: [VectorPlan])] = [
    ("round-complete-chacha20.json", VectorPlan.completeChaCha20),
    ("round-sparse-chacha20.json", VectorPlan.sparseChaCha20),
  ]

  static func file(_ plans: [VectorPlan]) throws -> JSON {
    [
      "comment": "Rounds of secure aggregation; see protocol/SECURE-AGGREGATION.md. Secrets are test values.",
      "format": "accord/secagg/1/rounds", "rounds": .list(try plans.map { try VectorRound($0).json }),
    ]
  }

  @Test(arguments: [0, 1]) func `the rounds with ChaCha20 are those of the vectors`(file: Int) throws {
    let (name, plans) = VectorsTests.rounds[file]
    try VectorFile.check(name, VectorsTests.file(plans))
  }

  @Test(
    .enabled(
      if: KeyStreamSuite.aes256CTR.isAvailable,
      "this processor has no instructions for AES: round-complete-aes256-ctr.json is not compared"))
  func `the rounds with AES-256-CTR are those of the vectors`() throws {
    try VectorFile.check("round-complete-aes256-ctr.json", VectorsTests.file(VectorPlan.completeAES))
  }

  @Test func `sharing, hashing, packing and parameters are those of the vectors`() throws {
    try VectorFile.check("shamir.json", VectorsPrimitives.shamir())
    try VectorFile.check("hashing.json", VectorsPrimitives.hashing())
    try VectorFile.check("ring.json", VectorsPrimitives.ring())
    try VectorFile.check("graph-parameters.json", VectorsPrimitives.graphParameters())
    for vector in try VectorFile.read("ring.json")["refused"].elements {
      let (width, dimension) = (try vector["ring_bits"].integer, try vector["dimension"].integer)
      let packed = try vector["packed"].bytes
      let expected = RingVector.packedByteCount(dimension: dimension, ringBits: width)
      let error: AggregationError =
        try vector["error"].string == "nonZeroPadding"
        ? .nonZeroPadding : .wrongInputLength(expected: expected, actual: packed.count)
      #expect(throws: error) { try RingVector(packed: packed, dimension: dimension, ringBits: width) }
    }
  }

  @Test(
    .enabled(
      if: KeyStreamSuite.aes256CTR.isAvailable,
      "this processor has no instructions for AES: key-streams.json is not compared"))
  func `the key streams are those of the vectors`() throws {
    try VectorFile.check("key-streams.json", VectorsPrimitives.keyStreams())
  }

  @Test func `the sums of the recorded rounds are those of the inputs`() throws {
    for plan in VectorPlan.completeChaCha20 + VectorPlan.sparseChaCha20 {
      let round = try VectorRound(plan)
      let result = try #require(round.world.coordinator.result)
      let survivors = plan.fates.indices.filter { plan.fates[$0].uploads }
      let expected = (0..<plan.dimension).map { coordinate in
        survivors.reduce(UInt32(0)) { $0 &+ round.world.inputs[$1][coordinate] }
          & RingWidth.mask(plan.ringBits)
      }
      #expect(result.sum == expected && result.faults.isEmpty)
    }
  }

  @Test(arguments: VectorsNegativeCases.files.indices)
  func `every bad message of the vectors is refused with its error`(file: Int) throws {
    let (name, make) = VectorsNegativeCases.files[file]
    let cases = try make()
    try VectorFile.check(
      name,
      [
        "comment": "After that many messages of a round of a file, the last of these messages is refused.",
        "format": "accord/secagg/1/bad", "vectors": .list(cases.map(\.json)),
      ])
    // What is fed to the parties is what the file says, not what it was made from.
    let vectors = try VectorFile.read(name)["vectors"].elements
    #expect(vectors.count == cases.count && Set(cases.map(\.name)).count == cases.count)
    for (vector, bad) in zip(vectors, cases) { try expectRefused(vector, bad) }
  }

  private func expectRefused(_ vector: JSON, _ bad: VectorNegative) throws {
    let name = try vector["name"].string
    let after = try vector["after"].integer
    #expect(name == bad.name)
    var world = bad.base.round.events[after].before
    let messages = try vector["messages"].elements
    for (position, event) in messages.enumerated() {
      let message = try VectorMessage(
        kind: event["kind"].string, step: event["step"].string, event["message"])
      let sender = try? event["from"].integer
      let receiver = try? event["to"].integer
      let input = try event.member("input")?.integers.map { UInt32($0) }
      guard position == messages.count - 1 else {
        _ = try world.deliver(message, from: sender, to: receiver, input: input)
        continue
      }
      #expect(throws: bad.error, "\(name)") {
        try world.deliver(message, from: sender, to: receiver, input: input)
      }
    }
  }
}
