import Cryptography
import Federation
import Privacy
import SecureAggregation
import Testing

@Suite struct WholePathTests {
  /// Random integers within what one node may contribute; node 0 sits at one end of the range and node 1
  /// at the other.
  private func contributions(_ descriptor: RoundDescriptor, nodes: Int, seed: UInt64) throws -> [[Int64]] {
    var random = RandomStream(testSeed: seed)
    var result = [[Int64]](repeating: [], count: nodes)
    for segment in descriptor.segments {
      let bound = try segment.integerClip().maximumAbsoluteCoordinate * Int64(descriptor.maximumContributors)
      for node in 0..<nodes {
        for _ in 0..<segment.length {
          let value =
            switch node {
            case 0: bound
            case 1: -bound
            default: Int64(random.uniform(below: UInt64(2 * bound + 1))) - bound
            }
          result[node].append(value)
        }
      }
    }
    return result
  }

  private func check(_ n: Int, _ fates: [Fate], seed: UInt64) throws {
    let descriptor = try Fixture.descriptor(cohort: n)
    let inputs = try contributions(descriptor, nodes: n, seed: seed)
    var session = try Session(descriptor, nodes: n, seed: seed)
    try session.run(inputs, fates: fates)
    let survivors = fates.indices.filter { fates[$0].uploads }
    let expected = sum(survivors.map { inputs[$0] })
    let released = try #require(session.released, "n = \(n), \(session.abortReason ?? "")")
    #expect(released.integers(of: .update) == Array(expected[..<7]))
    #expect(released.integers(of: .evaluation) == Array(expected[7...]))
    #expect(released.values(of: .evaluation) == expected[7...].map { Double($0) / 64 })
    #expect(released.integers(of: .coarse) == nil)
    #expect(released.groups[0].result.survivors == survivors.map { session.id($0) })
    #expect(released.groups[0].result.cohort.count == n)
    #expect(
      released.groups[0].result.droppedBeforeUpload
        == fates.indices.filter { fates[$0] == .leavesBeforeUploading }.map { session.id($0) })
    #expect(released.groups[0].result.faults.isEmpty)
    #expect(session.debits.count == 1)
    #expect(session.coordinator.phase == .completed)
    #expect(session.coordinator.awaited.isEmpty)
    // Time passed only where somebody was missing.
    if fates.allSatisfy({ $0 == .stays }) { #expect(session.now == Fixture.now) }
  }

  @Test(arguments: 2...50)
  func `the sum is exact with as many drop-outs of all kinds as the threshold allows`(n: Int) throws {
    let spare = n - (2 * n / 3 + 1)
    try check(n, Fate.pattern(n, drops: spare, seed: UInt64(n)), seed: UInt64(100 + n))
  }

  @Test(arguments: 2...12)
  func `the sum is exact without and with drop-outs at each single step`(n: Int) throws {
    try check(n, Fate.pattern(n, drops: 0, seed: 0), seed: 9)
    let spare = n - (2 * n / 3 + 1)
    for (offset, fate) in Fate.drops.enumerated() {
      for drops in stride(from: 1, through: spare, by: 1) {
        try check(n, Fate.pattern(n, drops: drops, fate: fate, seed: UInt64(n * 10 + offset)), seed: 11)
      }
    }
  }

  @Test(arguments: Fate.drops, [3, 7, 10])
  func `one drop-out more than the threshold allows aborts and releases nothing`(fate: Fate, n: Int) throws {
    let tooMany = n - (2 * n / 3 + 1) + 1
    let descriptor = try Fixture.descriptor(cohort: n)
    let inputs = try contributions(descriptor, nodes: n, seed: 3)
    // The quorum of the confirming step needs fewer nodes than the threshold of shares.
    let drops = fate == .leavesBeforeConfirming ? n - n / 2 : tooMany
    let fates = Fate.pattern(n, drops: drops, fate: fate, seed: UInt64(n))
    var session = try Session(descriptor, nodes: n)
    try session.run(inputs, fates: fates)
    #expect(session.released == nil)
    #expect(session.coordinator.released == nil)
    #expect(session.abortReason?.isEmpty == false)
    #expect(session.debits.count == (fate == .leavesBeforeSharing ? 0 : 1))
  }

  @Test func `fewer survivors than the minimum abort although the threshold is reached`() throws {
    let descriptor = try Fixture.descriptor(cohort: 9, minimumCohort: 8, minimumSurvivors: 8)
    let inputs = try contributions(descriptor, nodes: 9, seed: 3)
    var session = try Session(descriptor, nodes: 9)
    try session.run(inputs, fates: Fate.pattern(9, drops: 1, fate: .leavesBeforeUploading, seed: 1))
    #expect(session.released != nil)
    session = try Session(descriptor, nodes: 9)
    try session.run(inputs, fates: Fate.pattern(9, drops: 2, fate: .leavesBeforeUploading, seed: 1))
    #expect(session.released == nil)
    #expect(session.abortReason?.contains("7") == true)
  }

  @Test(arguments: [(5, 0, 3), (8, 200, 5), (12, 100, 9)])
  func `with noise the released sum is that of what the survivors sent`(
    n: Int, corruptPermille: Int, minimumSurvivors: Int
  ) throws {
    let descriptor = try Fixture.descriptor(
      Fixture.segments(noiseVariance: 900), cohort: n, minimumCohort: n, minimumSurvivors: minimumSurvivors,
      corruptPermille: corruptPermille)
    let inputs = try contributions(descriptor, nodes: n, seed: 5)
    let spare = n - max(2 * n / 3 + 1, minimumSurvivors)
    let fates = Fate.pattern(n, drops: spare, seed: UInt64(n))
    var session = try Session(descriptor, nodes: n, seed: UInt64(n))
    try session.run(inputs, fates: fates)
    let survivors = fates.indices.filter { fates[$0].uploads }
    let released = try #require(session.released, "\(session.abortReason ?? "")")
    #expect(released.groups[0].result.centredSum == sum(survivors.map { session.nodes[$0].sentInput }))
    #expect(released.groups[0].result.centredSum != sum(survivors.map { inputs[$0] }))
    for node in survivors { #expect(session.nodes[node].sentInput != inputs[node]) }
    for node in fates.indices where !fates[node].uploads {
      #expect(session.nodes[node].sentInput.isEmpty)
    }
  }
}
