import Foundation

/// How much noise a budget asks for, and how much of it each node adds.
package enum SkellamCalibration {
  /// The least total variance per coordinate, in grid units squared and to within 0.1 %, with which
  /// `rounds` releases of sums quantised by `clip` stay within the budget, after the `fixed` events.
  ///
  /// `shares`: the number of draws that make up the total (`honestSurvivors`; 1 in central and local mode),
  /// over which the sampler's error adds up. The event to record is then that of `event`.
  /// Throws: as `calibrateVariance`.
  package static func variance(
    forBudget budget: PrivacyBudget, clip: IntegerClip, rounds: Int, shares: Int,
    relation: NeighbouringRelation = .addRemove, fixed: [PrivacyEvent] = []
  ) throws(PrivacyError) -> Double {
    guard shares >= 1 else { throw .parameterOutOfRange(.shares, value: Double(shares)) }
    return try calibrateVariance(budget: budget, fixed: fixed, rounds: rounds) { variance in
      event(clip: clip, variance: variance, shares: shares, relation: relation)
    }
  }

  /// The event of one release of a sum quantised by `clip` under noise of total `variance` (grid units
  /// squared) that `shares` draws of this module's sampler make up. `shares` is at least 1 (a
  /// precondition).
  package static func event(
    clip: IntegerClip, variance: Double, shares: Int, relation: NeighbouringRelation = .addRemove
  ) -> PrivacyEvent {
    precondition(shares >= 1, "a sum has at least one share of noise")
    let drawError = SkellamTable.errorLog2(variance: variance / Double(shares))
    return clip.event(
      variance: variance, samplerErrorLog2: drawError + log2(Double(shares)), relation: relation)
  }

  /// The least variance, to within 0.1 %, with which the `fixed` events and `rounds` times
  /// `event(variance)` stay within the budget. It never exceeds the budget.
  ///
  /// `event` describes one round (its own count is multiplied by `rounds`); its cost must not grow with the
  /// variance. Events that grow with it in kind, say two sums released in each round, go into one call
  /// each, the earlier result being `fixed` in the later.
  ///
  /// Throws: `infiniteBudgetNeedsNoNoise`; `budgetUnreachable` if the fixed events alone reach the budget;
  /// `calibrationFailed` if no variance from 2^-60 to 2^80 is enough, or the least of them is more than
  /// enough; whatever the accountant refuses.
  package static func calibrateVariance(
    budget: PrivacyBudget, fixed: [PrivacyEvent] = [], rounds: Int, event: (Double) -> PrivacyEvent
  ) throws(PrivacyError) -> Double {
    guard rounds >= 1 else { throw .parameterOutOfRange(.rounds, value: Double(rounds)) }
    return try calibrate(budget: budget, fixed: fixed) { (variance) throws(PrivacyError) in
      guard let planned = event(variance).repeated(rounds) else {
        throw .parameterOutOfRange(.rounds, value: Double(rounds))
      }
      return [planned]
    }
  }

  /// The least factor, to within 0.1 %, with which the `fixed` events and `events(factor)` stay within the
  /// budget: `calibrateVariance` for several releases whose variances keep their proportions. The cost of the
  /// events must not grow with the factor.
  ///
  /// Throws: as `calibrateVariance`.
  package static func calibrate(
    budget: PrivacyBudget, fixed: [PrivacyEvent] = [],
    events: (Double) throws(PrivacyError) -> [PrivacyEvent]
  ) throws(PrivacyError) -> Double {
    try budget.validate()
    guard budget.epsilon < .infinity else { throw .infiniteBudgetNeedsNoNoise }
    var base = RenyiAccountant()
    for event in fixed { try base.compose(event) }
    let fixedCost = try base.epsilon(delta: budget.delta).epsilon
    guard fixedCost < budget.epsilon else {
      throw .budgetUnreachable(fixed: fixedCost, budget: budget)
    }
    func fits(_ factor: Double) throws(PrivacyError) -> Bool {
      var accountant = base
      for event in try events(factor) { try accountant.compose(event) }
      return try accountant.epsilon(delta: budget.delta).epsilon <= budget.epsilon
    }
    var exponent = (tooLittle: -60.0, enough: 80.0)
    guard try fits(exp2(exponent.enough)), try !fits(exp2(exponent.tooLittle)) else {
      throw .calibrationFailed(budget: budget)
    }
    // In the logarithm, since the answer's magnitude is unknown: 2^0.0007 is 1.0005.
    while exponent.enough - exponent.tooLittle > 0.0007 {
      let middle = (exponent.tooLittle + exponent.enough) / 2
      if try fits(exp2(middle)) { exponent.enough = middle } else { exponent.tooLittle = middle }
    }
    return exp2(exponent.enough)
  }

  /// As `NoiseDivision.honestSurvivors`.
  package static func honestSurvivors(
    cohort: Int, minimumSurvivors: Int, corruptFraction: Double
  ) throws(PrivacyError) -> Int {
    try NoiseDivision.honestSurvivors(
      cohort: cohort, minimumSurvivors: minimumSurvivors, corruptFraction: corruptFraction)
  }

  /// The variance that each node adds, as `NoiseDivision.shareVariance`. Skellam noise is closed under sums,
  /// so no approximation is involved.
  package static func noiseShare(
    totalVariance: Double, cohort: Int, minimumSurvivors: Int, corruptFraction: Double
  ) throws(PrivacyError) -> Double {
    try NoiseDivision.shareVariance(
      totalVariance: totalVariance, cohort: cohort, minimumSurvivors: minimumSurvivors,
      corruptFraction: corruptFraction)
  }
}
