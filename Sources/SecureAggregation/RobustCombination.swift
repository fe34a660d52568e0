import Foundation

/// The sum of one group, as its aggregation released it.
package struct GroupSum: Sendable {
  /// The group's number.
  package let group: Int
  /// The noised sum on the integer grid. Integers: there is no coordinate that is not a number.
  package let values: [Int64]
  /// Contributors in the sum, at most; what the sum is divided by and weighted with.
  package let contributors: Int
  /// The most contributors that it can have, where `contributors` is an estimate: for the norm bound.
  package let mostContributors: Int
  /// Variance of all noise that the survivors added, per coordinate, grid units squared.
  package let noiseVariance: Double

  /// Wraps a sum; `RobustCombination.combine` checks it.
  package init(
    group: Int, values: [Int64], contributors: Int, mostContributors: Int? = nil, noiseVariance: Double
  ) {
    self.group = group
    self.values = values
    self.contributors = contributors
    self.mostContributors = mostContributors ?? contributors
    self.noiseVariance = noiseVariance
  }
}

/// Why the sums of groups cannot be combined.
package enum CombinationError: Error, Equatable, Sendable {
  /// The rule's own numbers: a norm or a scale that is not positive, or nothing left after trimming.
  case invalidRule
  /// A group occurs twice.
  case duplicateGroup(Int)
  /// A sum of another length than the first.
  case wrongDimension(group: Int, expected: Int, actual: Int)
  /// A variance that is negative or not a number.
  case invalidVariance(group: Int)
  /// Fewer groups are left than the rule needs.
  case tooFewGroups(count: Int, needed: Int)
}

extension CombinationError: CustomStringConvertible {
  /// A sentence for people.
  package var description: String {
    switch self {
    case .invalidRule:
      "the combination needs a positive contribution norm and scale, and must trim 0 to 499 thousandths"
    case .duplicateGroup(let group): "group \(group) was given twice"
    case .wrongDimension(let group, let expected, let actual):
      "the sum of group \(group) has \(actual) coordinates instead of \(expected)"
    case .invalidVariance(let group): "the noise variance of group \(group) is negative or not a number"
    case .tooFewGroups(let count, let needed):
      "\(count) groups are left but the combination needs \(needed); the round is lost"
    }
  }
}

/// Combines the sums of a cohort's groups into one mean, so that garbage in one group does little harm.
///
/// First every group whose sum cannot be what it claims is left out (`checksNorm`). What is left is combined
/// by a rule; rules differ in how many bad ones of the G groups left they bear without its result leaving the range of the
/// good groups' means, coordinate by coordinate (Yin, Chen, Kannan and Bartlett 2018):
///
/// | rule | bears |
/// |---|---|
/// | mean | none; one bad group moves it by at most its share of the norm bound |
/// | trimmed mean | ⌊fraction·G⌋ groups |
/// | median | groups with less than half of all contributors |
///
/// Every rule works on published, noised sums, so it costs no privacy. It bounds poisoning and does not
/// prevent it: a bad group may place its mean anywhere among the good ones.
package struct RobustCombination: Sendable, Hashable {
  /// How the groups' means become one.
  package enum Rule: Sendable, Hashable {
    /// All contributors weigh the same.
    case mean
    /// Of every coordinate's values the ⌊fraction·G⌋ smallest and largest are dropped, 0 to 499
    /// thousandths at either end; the mean of the others, weighted by contributors.
    case trimmedMean(permille: Int)
    /// The median of every coordinate, weighted by contributors; halfway between two if they split the
    /// contributors evenly.
    case median
  }

  /// Why a group was left out.
  package enum Exclusion: Sendable, Hashable, CustomStringConvertible {
    /// Nobody contributed.
    case empty(group: Int)
    /// The sum's L2 norm, in grid units, exceeds what its contributors and its noise can reach.
    case normExceeded(group: Int, norm: Double, bound: Double)

    /// The group that was left out.
    package var group: Int {
      switch self {
      case .empty(let group), .normExceeded(let group, _, _): group
      }
    }

    /// A sentence for people.
    package var description: String {
      switch self {
      case .empty(let group): "group \(group) is left out: it has no contributors"
      case .normExceeded(let group, let norm, let bound):
        "group \(group) is left out: its sum has norm \(norm), its contributors can reach \(bound)"
      }
    }
  }

  /// A mean, and what it is made of.
  package struct Outcome: Sendable, Equatable {
    /// The combined mean of one contribution, in the contributions' own units.
    package let mean: [Double]
    /// Contributors of the groups that were combined.
    package let contributors: Int
    /// The groups that were combined, in the order given.
    package let groups: [Int]
    /// The groups that were left out, in the order given.
    package let excluded: [Exclusion]
  }

  /// The rule.
  package let rule: Rule
  /// Δ₂: the largest L2 norm of one contribution after rounding, grid units.
  package let contributionNorm: Double
  /// Grid units per unit of a contribution.
  package let scale: Double
  /// Whether groups whose sum exceeds the bound are left out.
  package let checksNorm: Bool

  /// A combination.
  ///
  /// - Throws: `invalidRule`.
  package init(
    rule: Rule, contributionNorm: Double, scale: Double, checksNorm: Bool = true
  ) throws(CombinationError) {
    var trimmed = 0
    if case .trimmedMean(let permille) = rule { trimmed = permille }
    guard contributionNorm > 0, contributionNorm.isFinite, scale > 0, scale.isFinite,
      (0..<500).contains(trimmed)
    else { throw .invalidRule }
    self.rule = rule
    self.contributionNorm = contributionNorm
    self.scale = scale
    self.checksNorm = checksNorm
  }

  /// What the L2 norm of a group's sum exceeds with probability at most 2^-40/`groups`, in grid units: the
  /// norms of its contributions, plus the noise.
  ///
  /// The noise N of d coordinates is independent symmetric Skellam of variance v, so Var(N_i²) = 2v² + v.
  /// With half of the failure no coordinate exceeds x (`RingWidth.maximumAbsoluteSum`); with the other half
  /// Bernstein's inequality for the N_i², cut off at x², gives with L = ln(2·groups·2^40)
  ///
  ///     ‖N‖² ≤ d·v + √(2·d·(2v² + v)·L) + x²·L/3.
  ///
  /// Gaussian noise of the same variance stays below it too: its fourth moment is smaller.
  ///
  /// - Throws: `invalidVariance`.
  package func normBound(
    group: Int, contributors: Int, dimension: Int, noiseVariance v: Double, groups: Int
  ) throws(CombinationError) -> Double {
    let log2Failure = RingWidth.log2Failure - 1 - log2(Double(max(groups, 1)))
    let reach: Int64
    do {
      reach = try RingWidth.maximumAbsoluteSum(
        contributionBound: 0, noiseVariance: v, dimension: max(dimension, 1), log2Failure: log2Failure)
    } catch { throw .invalidVariance(group: group) }
    let needed = -log2Failure * log(2)
    let d = Double(dimension)
    let squared =
      d * v + (2 * d * (2 * v * v + v) * needed).squareRoot()
      + Double(reach) * Double(reach) * needed / 3
    // One part in 10^9 covers the rounding of the norms.
    return (contributionNorm * Double(contributors) + squared.squareRoot()) * (1 + 1e-9)
  }

  /// Combines the groups' sums.
  ///
  /// - Parameter sums: one per group, at least one.
  /// - Throws: `CombinationError`; a group that is left out is no error until too few remain: one for the
  ///   mean, three for the others, which with fewer could not tell good from bad.
  package func combine(_ sums: [GroupSum]) throws(CombinationError) -> Outcome {
    let (kept, excluded) = try sift(sums)
    let needed = rule == .mean ? 1 : 3
    guard kept.count >= needed else { throw .tooFewGroups(count: kept.count, needed: needed) }
    let mean: [Double]
    switch rule {
    case .mean: mean = weightedMean(kept)
    case .trimmedMean(let permille):
      let trimmed = kept.count * permille / 1000
      mean = byCoordinate(kept) { Self.trimmedMean($0, trimmed: trimmed) }
    case .median: mean = byCoordinate(kept, Self.median)
    }
    return Outcome(
      mean: mean, contributors: kept.reduce(0) { $0 + $1.contributors }, groups: kept.map(\.group),
      excluded: excluded)
  }

  private func sift(_ sums: [GroupSum]) throws(CombinationError) -> ([GroupSum], [Exclusion]) {
    var seen: Set<Int> = []
    var kept: [GroupSum] = []
    var excluded: [Exclusion] = []
    let dimension = sums.first?.values.count ?? 0
    for sum in sums {
      guard seen.insert(sum.group).inserted else { throw .duplicateGroup(sum.group) }
      guard sum.values.count == dimension else {
        throw .wrongDimension(group: sum.group, expected: dimension, actual: sum.values.count)
      }
      guard sum.noiseVariance >= 0, sum.noiseVariance.isFinite else {
        throw .invalidVariance(group: sum.group)
      }
      if sum.contributors <= 0 {
        excluded.append(.empty(group: sum.group))
        continue
      }
      if checksNorm {
        let bound = try normBound(
          group: sum.group, contributors: sum.mostContributors, dimension: dimension,
          noiseVariance: sum.noiseVariance, groups: sums.count)
        let norm = sum.values.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        if norm > bound {
          excluded.append(.normExceeded(group: sum.group, norm: norm, bound: bound))
          continue
        }
      }
      kept.append(sum)
    }
    return (kept, excluded)
  }

  private func weightedMean(_ sums: [GroupSum]) -> [Double] {
    var total = [Double](repeating: 0, count: sums.first?.values.count ?? 0)
    for sum in sums {
      for index in total.indices { total[index] += Double(sum.values[index]) }
    }
    let factor = 1 / (scale * sums.reduce(0.0) { $0 + Double($1.contributors) })
    return total.map { $0 * factor }
  }

  /// One group's value at one coordinate.
  private struct Entry {
    var mean: Double
    var weight: Double
  }

  private func byCoordinate(
    _ sums: [GroupSum], _ combined: (ArraySlice<Entry>) -> Double
  ) -> [Double] {
    let factors = sums.map { 1 / (scale * Double($0.contributors)) }
    var entries = sums.map { Entry(mean: 0, weight: Double($0.contributors)) }
    return (0..<(sums.first?.values.count ?? 0)).map { coordinate in
      for index in sums.indices {
        // Insertion keeps the entries sorted: there are few groups, and many coordinates.
        let entry = Entry(
          mean: Double(sums[index].values[coordinate]) * factors[index],
          weight: Double(sums[index].contributors))
        var place = index
        while place > 0, entries[place - 1].mean > entry.mean {
          entries[place] = entries[place - 1]
          place -= 1
        }
        entries[place] = entry
      }
      return combined(entries[...])
    }
  }

  private static func trimmedMean(_ entries: ArraySlice<Entry>, trimmed: Int) -> Double {
    var sum = 0.0
    var weight = 0.0
    for entry in entries.dropFirst(trimmed).dropLast(trimmed) {
      sum += entry.mean * entry.weight
      weight += entry.weight
    }
    return sum / weight
  }

  private static func median(_ entries: ArraySlice<Entry>) -> Double {
    let half = entries.reduce(0.0) { $0 + $1.weight } / 2
    var weight = 0.0
    for index in entries.indices {
      weight += entries[index].weight
      if weight > half { return entries[index].mean }
      if weight == half, index + 1 < entries.endIndex {
        return (entries[index].mean + entries[index + 1].mean) / 2
      }
    }
    return entries.last?.mean ?? 0
  }
}
