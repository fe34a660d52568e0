import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

struct RobustCombinationTests {
  private func combination(
    _ rule: RobustCombination.Rule, checksNorm: Bool = true
  ) throws -> RobustCombination {
    try RobustCombination(rule: rule, contributionNorm: 1_000, scale: 100, checksNorm: checksNorm)
  }

  /// Sums of honest contributors whose mean is near `mean` grid units in every coordinate.
  private func sums(_ groups: Int, contributors: Int = 20, mean: Int64 = 50) -> [GroupSum] {
    (0..<groups).map { group in
      GroupSum(
        group: group, values: (0..<30).map { mean * Int64(contributors) + ($0 + Int64(group)) % 5 - 2 },
        contributors: contributors, noiseVariance: 400)
    }
  }

  @Test func `the mean weighs contributors`() throws {
    let outcome = try combination(.mean).combine([
      GroupSum(group: 4, values: [300, -600], contributors: 1, noiseVariance: 0),
      GroupSum(group: 2, values: [900, 600], contributors: 3, noiseVariance: 0),
    ])
    #expect(outcome.mean == [3, 0])
    #expect(outcome.contributors == 4 && outcome.groups == [4, 2] && outcome.excluded.isEmpty)
  }

  @Test func `median and trimmed mean by hand`() throws {
    let sums = [(100, 1), (-500, 1), (900, 3), (2_000, 2)].enumerated().map {
      GroupSum(
        group: $0, values: [Int64($1.0 * $1.1)], contributors: $1.1, noiseVariance: 0)
    }
    // Means -5, 1, 9, 20 with weights 1, 1, 3, 2: the median has 3.5 on either side.
    #expect(try combination(.median, checksNorm: false).combine(sums).mean == [9])
    // A quarter off at either end leaves 1 and 9 with weights 1 and 3.
    #expect(try combination(.trimmedMean(permille: 250), checksNorm: false).combine(sums).mean == [7])
    let even = [1, 2, 4, 8].map {
      GroupSum(group: $0, values: [Int64($0 * 100)], contributors: 1, noiseVariance: 0)
    }
    #expect(try combination(.median).combine(even).mean == [3])
    #expect(try combination(.trimmedMean(permille: 0)).combine(even).mean == [3.75])
  }

  @Test(arguments: [RobustCombination.Rule.mean, .median, .trimmedMean(permille: 200)])
  func `a group that is scaled by 100 is left out and named`(rule: RobustCombination.Rule) throws {
    var sums = sums(5)
    sums[3] = GroupSum(
      group: 3, values: sums[3].values.map { $0 * 100 }, contributors: 20, noiseVariance: 400)
    let outcome = try combination(rule).combine(sums)
    #expect(outcome.groups == [0, 1, 2, 4])
    #expect(outcome.contributors == 80)
    guard case .normExceeded(group: 3, let norm, let bound)? = outcome.excluded.first else {
      Issue.record("group 3 is not left out")
      return
    }
    #expect(outcome.excluded.count == 1 && norm > bound && bound > 20_000)
    #expect(outcome.mean.allSatisfy { abs($0 - 0.5) < 0.01 })
  }

  @Test func `without the norm check the median and the trimmed mean bound what the mean does not`() throws {
    var sums = sums(7)
    for bad in [1, 5] {
      sums[bad] = GroupSum(
        group: bad, values: [Int64](repeating: .max, count: 30), contributors: 20, noiseVariance: 400)
    }
    let good = 0.5 - 0.001...0.5 + 0.001
    let median = try combination(.median, checksNorm: false).combine(sums).mean
    let trimmed = try combination(.trimmedMean(permille: 300), checksNorm: false).combine(sums).mean
    let mean = try combination(.mean, checksNorm: false).combine(sums).mean
    #expect(median.allSatisfy(good.contains))
    #expect(trimmed.allSatisfy(good.contains))
    #expect(mean.allSatisfy { $0 > 1e12 && $0.isFinite })
  }

  /// The breakdown points: so many bad groups leave the result within the good ones' range, one more does
  /// not.
  @Test func `breakdown points are those that are documented`() throws {
    func worst(_ rule: RobustCombination.Rule, bad: Int) throws -> Double {
      var sums = sums(9)
      for group in 0..<bad {
        sums[group] = GroupSum(
          group: group, values: [Int64](repeating: -1 << 40, count: 30), contributors: 20, noiseVariance: 0)
      }
      return try combination(rule, checksNorm: false).combine(sums).mean.map { abs($0 - 0.5) }.max() ?? 0
    }
    #expect(try worst(.median, bad: 4) < 0.01)
    #expect(try worst(.median, bad: 5) > 1e6)
    #expect(try worst(.trimmedMean(permille: 250), bad: 2) < 0.01)
    #expect(try worst(.trimmedMean(permille: 250), bad: 3) > 1e6)
    #expect(try worst(.mean, bad: 0) < 0.01)
    #expect(try worst(.mean, bad: 1) > 1e6)
  }

  @Test func `the norm bound bears honest noise and is not much larger`() throws {
    var random = RandomStream(testSeed: 12)
    let combination = try combination(.mean)
    for dimension in [1, 30, 2_000] {
      // Skellam noise of variance 32: 64 fair signs, halved in variance by adding only one in two.
      func noise() -> Double {
        let (signs, used) = (random.word(), random.word())
        return Double((signs & used).nonzeroBitCount - (~signs & used).nonzeroBitCount)
      }
      let bound =
        try combination.normBound(
          group: 0, contributors: 0, dimension: dimension, noiseVariance: 32, groups: 8)
      for _ in 0..<40 {
        let norm = (0..<dimension).reduce(0.0) { sum, _ in
          let value = noise()
          return sum + value * value
        }.squareRoot()
        #expect(norm <= bound)
      }
      if dimension == 2_000 { #expect(bound < 1.35 * (2_000.0 * 32).squareRoot()) }
    }
    #expect(
      try combination.normBound(group: 0, contributors: 7, dimension: 3, noiseVariance: 0, groups: 1)
        .rounded() == 7_000)
  }

  @Test func `empty groups are left out, and too few groups are an error`() throws {
    var sums = sums(4)
    sums[0] = GroupSum(group: 0, values: sums[0].values, contributors: 0, noiseVariance: 400)
    let outcome = try combination(.median).combine(sums)
    #expect(outcome.excluded == [.empty(group: 0)])
    #expect("\(outcome.excluded[0])".contains("group 0"))
    sums.removeLast()
    #expect(throws: CombinationError.tooFewGroups(count: 2, needed: 3)) {
      try combination(.median).combine(sums)
    }
    #expect(throws: CombinationError.tooFewGroups(count: 0, needed: 1)) {
      try combination(.mean).combine([])
    }
  }

  @Test func `refuses what is not a sum`() throws {
    let good = sums(3)
    #expect(throws: CombinationError.duplicateGroup(1)) {
      try combination(.mean).combine(good + [good[1]])
    }
    #expect(throws: CombinationError.wrongDimension(group: 9, expected: 30, actual: 2)) {
      try combination(.mean).combine(
        good + [GroupSum(group: 9, values: [1, 2], contributors: 1, noiseVariance: 0)])
    }
    for variance in [-1, Double.nan, .infinity, 1e300] {
      #expect(throws: CombinationError.invalidVariance(group: 9)) {
        try combination(.mean).combine([
          GroupSum(group: 9, values: [1], contributors: 1, noiseVariance: variance)
        ])
      }
    }
    for (norm, scale, permille) in [
      (0.0, 1.0, 0), (.infinity, 1, 0), (1, 0, 0), (1, .nan, 0), (1, 1, 500), (1, 1, -1),
    ] {
      #expect(throws: CombinationError.invalidRule) {
        try RobustCombination(
          rule: .trimmedMean(permille: permille), contributionNorm: norm, scale: scale)
      }
    }
  }
}
