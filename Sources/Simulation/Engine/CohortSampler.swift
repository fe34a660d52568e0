import Learning

/// Who takes part in a round: a uniformly random subset of the nodes, drawn anew for every round from the seed
/// and the round's number alone, so that every process draws the same.
///
/// Cohorts are sorted: nodes that lie side by side in memory are trained one after the other.
package struct CohortSampler: Sendable {
  private let seed: UInt64
  private let nodeCount: Int

  /// - Parameter nodeCount: at least 1.
  package init(seed: UInt64, nodeCount: Int) {
    precondition(nodeCount > 0, "a cohort is drawn from at least one node")
    self.seed = seed
    self.nodeCount = nodeCount
  }

  /// `size` different nodes, ascending; all of them if there are no more. Takes memory for the cohort, not for
  /// the population.
  ///
  /// Nodes are drawn with replacement until `size` different ones have been seen, or have been left out if
  /// these are fewer: by symmetry every subset of that size is equally likely.
  package func cohort(round: Int, size: Int) -> [Int] {
    precondition(size >= 0, "a cohort has no negative size")
    guard size < nodeCount else { return Array(0..<nodeCount) }
    let excess = nodeCount - size
    guard excess < size else { return different(size, round: round) }
    let absent = different(excess, round: round)
    var cohort: [Int] = []
    cohort.reserveCapacity(size)
    var next = 0
    for node in absent + [nodeCount] {
      cohort.append(contentsOf: next..<node)
      next = node + 1
    }
    return cohort
  }

  private func different(_ count: Int, round: Int) -> [Int] {
    var generator = SplitMix64(seed: seed ^ 0x636f_686f_7274_7321)
    generator = SplitMix64(seed: generator.next() &+ UInt64(truncatingIfNeeded: round))
    generator = SplitMix64(seed: generator.next())
    var drawn: [Int] = []
    drawn.reserveCapacity(count)
    while drawn.count < count {
      for _ in drawn.count..<count {
        drawn.append(Int(generator.next().multipliedFullWidth(by: UInt64(nodeCount)).high))
      }
      drawn.sort()
      var kept = 1
      for index in drawn.indices.dropFirst() where drawn[index] != drawn[kept - 1] {
        drawn[kept] = drawn[index]
        kept += 1
      }
      drawn.removeLast(drawn.count - min(kept, drawn.count))
    }
    return drawn
  }
}
