import Cryptography
import Testing

@testable import SecureAggregation

struct WholePathTests {
  /// What the design says must happen with these fates: the sum, or the refusal.
  private func expectation(
    _ fates: [Fate], _ parameters: AggregationParameters
  ) -> AggregationError? {
    let n = fates.count
    let needed = max(parameters.threshold(cohort: n), parameters.minimumSurvivors)
    func count(_ does: (Fate) -> Bool) -> Int { fates.filter(does).count }
    if count(\.shares) < needed { return .tooFewAlive(.share, count: count(\.shares), needed: needed) }
    if count(\.uploads) < needed { return .tooFewAlive(.mask, count: count(\.uploads), needed: needed) }
    let quorum = parameters.quorum(n)
    if count(\.confirms) < quorum { return .quorumTooSmall(count: count(\.confirms), needed: quorum) }
    let threshold = parameters.threshold(cohort: n)
    if count(\.reveals) < threshold {
      return .tooFewAlive(.unmask, count: count(\.reveals), needed: threshold)
    }
    return nil
  }

  private func check(_ fates: [Fate], from start: Session) throws {
    var session = start
    if let refusal = expectation(fates, session.parameters) {
      #expect(throws: refusal) { try session.run(fates) }
      return
    }
    let result = try session.run(fates)
    let survivors = fates.indices.filter { fates[$0].uploads }
    #expect(firstDifference(result.centredSum, session.plainSum(survivors)) == nil, "\(fates)")
    #expect(result.survivors == survivors.map { session.clients[$0].id })
    #expect(result.shared.count == fates.filter(\.shares).count)
    #expect(result.cohort.count == fates.count)
    #expect(
      result.droppedBeforeUpload
        == fates.indices.filter { fates[$0] == .leavesBeforeUploading }.map { session.clients[$0].id })
    #expect(result.faults.isEmpty)
  }

  @Test(arguments: 2...6)
  func `sums exactly, or refuses with the right reason, under every pattern of drop-outs`(n: Int) throws {
    var start = try Session(n)
    // Sealed once: retries return the same bytes, and whoever leaves before sharing sends nothing.
    for index in 0..<n { _ = try start.upload(of: index) }
    // At six participants leaving before confirming and before revealing are not told apart.
    let choices = n < 6 ? Fate.allCases : Fate.allCases.dropLast()
    var total = 1
    for _ in 0..<n { total *= choices.count }
    for pattern in 0..<total {
      var rest = pattern
      let fates = (0..<n).map { _ in
        defer { rest /= choices.count }
        return choices[rest % choices.count]
      }
      try check(fates, from: start)
    }
  }

  @Test(arguments: 2...50)
  func `sums exactly with as many drop-outs as the threshold allows`(n: Int) throws {
    let parameters = try Fixture.parameters(
      dimension: 3, ringBits: RingWidth.all[n % 4], corruptPermille: n % 2 == 0 ? 100 : 333)
    let session = try Session(n, parameters: parameters, seed: UInt64(n))
    var random = RandomStream(testSeed: UInt64(1_000 + n))
    var fates = [Fate](repeating: .stays, count: n)
    let leaving: [Fate] = [.leavesBeforeSharing, .leavesBeforeUploading, .leavesBeforeConfirming]
    for _ in 0..<(n - parameters.threshold(cohort: n)) {
      fates[Int(random.uniform(below: UInt64(n)))] = leaving[Int(random.uniform(below: 3))]
    }
    try check(fates, from: session)
  }

  @Test(arguments: 0..<24)
  func `sums exactly under seeded patterns of drop-outs`(seed: UInt64) throws {
    var random = RandomStream(testSeed: seed)
    let n = 7 + Int(random.uniform(below: 9))
    let session = try Session(n, seed: seed)
    let fates = (0..<n).map { _ in
      random.uniform(below: 5) > 0 ? Fate.stays : Fate.allCases[Int(random.uniform(below: 5))]
    }
    try check(fates, from: session)
  }

  @Test(arguments: RingWidth.all)
  func `sums vectors that span several pieces of parallel work`(ringBits: Int) throws {
    let parameters = try Fixture.parameters(dimension: 140_001, ringBits: ringBits)
    let session = try Session(4, parameters: parameters)
    try check([.stays, .leavesBeforeUploading, .stays, .stays], from: session)
  }

  @Test func `holds values at both ends of the ring`() throws {
    for ringBits in RingWidth.all {
      var session = try Session(2, parameters: Fixture.parameters(dimension: 4, ringBits: ringBits))
      let half = Int64(1) << (ringBits - 1)
      session.inputs = [[half - 1, -half, half - 2, -half + 1], [0, 0, 1, -1]]
      let result = try session.run([.stays, .stays])
      #expect(result.centredSum == [half - 1, -half, half - 1, -half])
    }
  }

  @Test func `a masked input looks nothing like the input and differs between sessions`() throws {
    var packed: [[UInt8]] = []
    for sid in ["one", "two"] {
      var session = try Session(3, parameters: Fixture.parameters(sid: sid, dimension: 4_096, ringBits: 32))
      session.inputs[0] = [Int64](repeating: 0, count: 4_096)
      try session.share()
      packed.append(try session.masked(0).packed)
    }
    for bytes in packed {
      // 16,384 uniform bytes: every value about 64 times, standard deviation 8.
      var counts = [Int](repeating: 0, count: 256)
      for byte in bytes { counts[Int(byte)] += 1 }
      #expect(counts.allSatisfy { (16...112).contains($0) })
    }
    #expect(packed[0] != packed[1])
  }

  @Test func `the transcript depends on the inputs and the session and on nothing random`() throws {
    func transcript(_ sid: String, seed: UInt64) throws -> Digest {
      var session = try Session(3, parameters: Fixture.parameters(sid: sid), seed: seed)
      return try session.run([.stays, .stays, .stays]).transcript
    }
    let first = try transcript("a", seed: 1)
    #expect(try transcript("a", seed: 1) == first)
    #expect(try transcript("a", seed: 2) != first)
    #expect(try transcript("b", seed: 1) != first)
  }
}
