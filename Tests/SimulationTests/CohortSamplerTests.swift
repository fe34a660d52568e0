import Testing

@testable import Simulation

@Suite struct `Cohorts` {
  @Test(arguments: [
    (10, 0), (10, 1), (10, 4), (10, 5), (10, 6), (10, 9), (10, 10), (10, 12), (1, 1), (1000, 999),
  ])
  func `are sorted, different nodes of the right number`(nodes: Int, size: Int) {
    let sampler = CohortSampler(seed: 3, nodeCount: nodes)
    for round in 0..<20 {
      let cohort = sampler.cohort(round: round, size: size)
      #expect(cohort.count == min(size, nodes))
      #expect(cohort == Set(cohort).sorted())
      #expect(cohort.allSatisfy { (0..<nodes).contains($0) })
      #expect(cohort == sampler.cohort(round: round, size: size))
    }
  }

  @Test(arguments: [3, 7])
  func `contain every node equally often, and every pair`(size: Int) {
    let nodes = 10
    let rounds = 20_000
    let sampler = CohortSampler(seed: 9, nodeCount: nodes)
    var single = [Int](repeating: 0, count: nodes)
    var pairs = 0
    for round in 0..<rounds {
      let cohort = sampler.cohort(round: round, size: size)
      for node in cohort { single[node] += 1 }
      if cohort.contains(2), cohort.contains(3) { pairs += 1 }
    }
    let rate = Double(size) / Double(nodes)
    for count in single { #expect(isPlausible(count, of: rounds, rate: rate)) }
    let both = rate * Double(size - 1) / Double(nodes - 1)
    #expect(isPlausible(pairs, of: rounds, rate: both))
  }

  /// Whether a binomial count is within five standard deviations of its mean.
  private func isPlausible(_ count: Int, of trials: Int, rate: Double) -> Bool {
    let mean = rate * Double(trials)
    return abs(Double(count) - mean) < 5 * (mean * (1 - rate)).squareRoot()
  }

  @Test func `differ between rounds and seeds`() {
    let cohorts = (0..<50).map { index in
      CohortSampler(seed: UInt64(index / 10), nodeCount: 1_000_000).cohort(round: index % 10, size: 20)
    }
    #expect(Set(cohorts).count == 50)
  }

  @Test func `of a large population take memory for the cohort alone`() {
    // A table of the population would not fit into any memory.
    let cohort = CohortSampler(seed: 1, nodeCount: 1 << 60).cohort(round: 5, size: 10_000)
    #expect(cohort.count == 10_000 && cohort.capacity < 40_000)
    #expect(Set(cohort).count == 10_000)
  }
}
