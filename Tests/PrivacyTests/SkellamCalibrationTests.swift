import Cryptography
import Foundation
import Testing

@testable import Privacy

/// Noise from budgets, and shares from noise.
struct SkellamCalibrationTests {
  private func epsilon(_ events: [PrivacyEvent], delta: Double) throws -> Double {
    var accountant = RenyiAccountant()
    for event in events { try accountant.compose(event) }
    return try accountant.epsilon(delta: delta).epsilon
  }

  @Test(arguments: [0.05, 0.5, 2, 8, 20])
  func `calibrated noise uses the budget up and never exceeds it`(_ target: Double) throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 2000, dimension: 10_000)
    let budget = PrivacyBudget(epsilon: target, delta: 1e-6)
    for (rounds, relation) in [(1, NeighbouringRelation.addRemove), (100, .replaceOne)] {
      let variance = try SkellamCalibration.variance(
        forBudget: budget, clip: clip, rounds: rounds, shares: 20, relation: relation)
      var event = SkellamCalibration.event(
        clip: clip, variance: variance, shares: 20, relation: relation)
      event.count = rounds
      let spent = try epsilon([event], delta: 1e-6)
      #expect(spent <= target && spent >= 0.995 * target, "\(spent) of \(target)")
      // An account of that budget pays for exactly these rounds.
      var account = BudgetAccount(budget: budget)
      event.count = 1
      for _ in 0..<rounds { try account.debit(event) }
      #expect(try account.remaining() <= 0.005 * target)
    }
  }

  @Test func `events already planned are paid for first`() throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 2000, dimension: 10_000)
    let statistics = try IntegerClip(clipNorm: 1, scale: 500, dimension: 64)
    let budget = PrivacyBudget(epsilon: 8, delta: 1e-6)
    var fixed = SkellamCalibration.event(clip: statistics, variance: 1e6, shares: 20)
    fixed.count = 2
    let variance = try SkellamCalibration.variance(
      forBudget: budget, clip: clip, rounds: 50, shares: 20, fixed: [fixed])
    var event = SkellamCalibration.event(clip: clip, variance: variance, shares: 20)
    event.count = 50
    let spent = try epsilon([fixed, event], delta: 1e-6)
    #expect(spent <= 8 && spent >= 0.995 * 8)
    let alone = try SkellamCalibration.variance(
      forBudget: budget, clip: clip, rounds: 50, shares: 20)
    #expect(variance > 1.01 * alone)
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `calibrated Gaussian noise is a little above the analytic optimum`() throws {
    for vector in try AccountingVectors.load().gaussian_calibration_sensitivity_1 {
      let budget = PrivacyBudget(epsilon: vector.epsilon, delta: vector.delta)
      let sigma = try SkellamCalibration.calibrateVariance(budget: budget, rounds: 1) {
        PrivacyEvent(mechanism: .gaussian(noiseMultiplier: $0.squareRoot()))
      }.squareRoot()
      #expect(sigma >= vector.sigma && sigma <= 1.15 * vector.sigma)
    }
  }

  @Test func `budgets that no noise meets are refused with the reason`() throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 100, dimension: 10)
    let budget = PrivacyBudget(epsilon: 1, delta: 1e-6)
    let fixed = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 1))
    let cost = try epsilon([fixed], delta: 1e-6)
    #expect(throws: PrivacyError.budgetUnreachable(fixed: cost, budget: budget)) {
      try SkellamCalibration.variance(
        forBudget: budget, clip: clip, rounds: 1, shares: 1, fixed: [fixed])
    }
    #expect(throws: PrivacyError.infiniteBudgetNeedsNoNoise) {
      try SkellamCalibration.variance(
        forBudget: PrivacyBudget(epsilon: .infinity, delta: 1e-6), clip: clip, rounds: 1, shares: 1)
    }
    #expect(throws: PrivacyError.calibrationFailed(budget: budget)) {
      try SkellamCalibration.calibrateVariance(budget: budget, rounds: 1) { _ in
        PrivacyEvent(mechanism: .none)
      }
    }
    #expect(throws: PrivacyError.unsupportedMechanism(name: "x")) {
      try SkellamCalibration.calibrateVariance(budget: budget, rounds: 1) { _ in
        PrivacyEvent(mechanism: .unsupported(name: "x"))
      }
    }
    for (rounds, shares) in [(0, 1), (-1, 1), (1, 0)] {
      #expect(throws: PrivacyError.self) {
        try SkellamCalibration.variance(
          forBudget: budget, clip: clip, rounds: rounds, shares: shares)
      }
    }
  }

  @Test func `a share is the total over the honest survivors, not over cohort or survivors`() throws {
    let share = try SkellamCalibration.noiseShare(
      totalVariance: 600, cohort: 10, minimumSurvivors: 8, corruptFraction: 0.2)
    #expect(isClose(share, 100, relative: 1e-12))
    #expect(share * 6 >= 600)
    // The noise itself, of the six nodes that are sure to be there: the full variance.
    let sampler = try SkellamSampler(variance: share)
    var sum = [Int64](repeating: 0, count: 50_000)
    for node in 0..<6 {
      var random = RandomStream(testSeed: UInt64(node))
      sampler.addNoise(to: &sum, random: &random)
    }
    let variance = sum.reduce(0.0) { $0 + Double($1) * Double($1) } / 50_000
    #expect(isClose(variance, 600, relative: 0.03))
  }

  @Test func `corrupt nodes are counted as whole nodes in spite of binary fractions`() throws {
    #expect(
      try SkellamCalibration.honestSurvivors(
        cohort: 100, minimumSurvivors: 80, corruptFraction: 0.29) == 51)
    #expect(
      try SkellamCalibration.honestSurvivors(
        cohort: 10, minimumSurvivors: 8, corruptFraction: 0.19) == 7)
    #expect(
      try SkellamCalibration.honestSurvivors(
        cohort: 3, minimumSurvivors: 3, corruptFraction: 0) == 3)
  }

  @Test func `shares that nobody is sure to add are refused`() {
    #expect(throws: PrivacyError.tooFewHonestSurvivors(minimumSurvivors: 5, corrupt: 5)) {
      try SkellamCalibration.noiseShare(
        totalVariance: 1, cohort: 10, minimumSurvivors: 5, corruptFraction: 0.5)
    }
    let bad: [(Double, Int, Int, Double)] = [
      (0, 10, 5, 0), (.nan, 10, 5, 0), (1, 0, 0, 0), (1, 10, 0, 0), (1, 10, 11, 0),
      (1, 10, 5, -0.1), (1, 10, 5, 1), (1, 10, 5, .nan),
    ]
    for (variance, cohort, survivors, corrupt) in bad {
      #expect(throws: PrivacyError.self) {
        try SkellamCalibration.noiseShare(
          totalVariance: variance, cohort: cohort, minimumSurvivors: survivors,
          corruptFraction: corrupt)
      }
    }
  }
}
