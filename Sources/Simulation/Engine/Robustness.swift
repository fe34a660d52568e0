package import Federation
import Learning
import SecureAggregation

/// What poisoned nodes do. They are drawn once, by the seed; everybody else is honest.
package struct Attack: Codable, Equatable, Sendable {
  /// What a poisoned node does.
  package enum Kind: Codable, Equatable, Sendable {
    /// It trains on the opposite of its labels; two classes alone.
    case flipLabels
    /// It multiplies its clipped updates by a factor, which no clipping of its own undoes.
    case scaleUpdates(factor: Float)
  }

  /// Poisoned nodes, in thousandths of the population, rounded down.
  package var permille: Int
  /// What they do.
  package var kind: Kind

  package init(permille: Int, kind: Kind) {
    self.permille = permille
    self.kind = kind
  }

  /// The largest factor.
  package static let largestFactor: Float = 1_000_000

  /// What the largest coordinate of an update grows by.
  var factor: Float {
    if case .scaleUpdates(let factor) = kind { max(1, abs(factor)) } else { 1 }
  }

  /// The poisoned ones of so many nodes.
  func nodes(of nodeCount: Int, seed: UInt64) -> Set<Int> {
    let size = nodeCount * permille / 1000
    guard size > 0 else { return [] }
    return Set(
      CohortSampler(seed: seed ^ 0x706f_6973_6f6e_6564, nodeCount: nodeCount).cohort(round: 0, size: size))
  }
}

/// Groups that a cohort is split into, and how their means become one: what a deployed task calls the same.
package struct RobustGroups: Codable, Equatable, Sendable {
  /// Groups, 3 or more unless they are averaged.
  package var count: Int
  /// How the groups' means become one.
  package var combination: GroupCombination

  package init(count: Int, combination: GroupCombination) {
    self.count = count
    self.combination = combination
  }

  /// The mean of one contribution.
  ///
  /// - Parameters:
  ///   - sums: of every group, in steps of the grid, with the number of its contributors.
  ///   - clipNorm: no honest contribution is longer; nil if nothing bounds them.
  ///   - unit: the value of a step of the grid.
  /// - Returns: the mean, the contributors in it, and how many groups were too long and left out; nil if too few
  ///   are left.
  func combine(
    _ sums: [(values: [Int64], contributors: Int)], clipNorm: Double?, unit: Double
  ) throws -> (mean: [Float], contributors: Int, excluded: Int)? {
    let rule: RobustCombination.Rule =
      switch combination {
      case .mean: .mean
      case .trimmedMean: .trimmedMean(permille: 200)
      case .median: .median
      }
    // Rounding to the grid lengthens a contribution by less than a part in a million.
    let robust = try RobustCombination(
      rule: rule, contributionNorm: (clipNorm ?? 1) / unit * 1.000_01, scale: 1 / unit,
      checksNorm: clipNorm != nil)
    do {
      let outcome = try robust.combine(
        sums.enumerated().map {
          GroupSum(group: $0, values: $1.values, contributors: $1.contributors, noiseVariance: 0)
        })
      // A group without contributors is left out as well, but is nobody's fault.
      let excluded = outcome.excluded.count { if case .normExceeded = $0 { true } else { false } }
      return (outcome.mean.map { Float($0) }, outcome.contributors, excluded)
    } catch {
      guard case .tooFewGroups = error else { throw error }
      return nil
    }
  }
}

extension TrainingBatch {
  /// The same rows with the other class as label.
  func flipped() throws(LearningError) -> TrainingBatch {
    try TrainingBatch(
      features: features, labels: labels.map { 1 - $0 }, contributorOffsets: contributorOffsets,
      objective: objective)
  }
}
