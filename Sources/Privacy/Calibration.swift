import Foundation

/// The value of a parameter with which a budget is just met, under any accountant.
///
/// By bisection: the cost falls with the noise, and grows with the number of releases and with the sampling
/// rate. What is returned was itself accounted and meets the budget; the value next to it on the other side,
/// within the tolerance, does not.
package enum Calibration {
  /// A parameter's value and what it costs.
  package struct Result<Value: Sendable & Codable>: Sendable, Codable {
    /// The value found.
    package let value: Value
    /// Epsilon at that value, at most the budget's.
    package let epsilon: Double
  }

  /// The least noise, to within 1e-6 of itself, with which `fixed` and then `events(noise)` meet the budget.
  ///
  /// `range`: where to search, in the unit that `events` takes (a noise multiplier, a standard deviation, a
  /// scale). `parameter` names it in errors.
  /// Throws: `infiniteBudgetNeedsNoNoise`; `targetUnreachable` if the largest noise is too little;
  /// whatever the accountant refuses.
  package static func noise(
    forBudget budget: PrivacyBudget, accountant: AccountantKind = .pld,
    relation: NeighbouringRelation = .addRemove, fixed: [PrivacyEvent] = [],
    range: ClosedRange<Double> = 1e-3...1e6, parameter: PrivacyParameter = .noiseMultiplier,
    events: (Double) -> [PrivacyEvent]
  ) throws(PrivacyError) -> Result<Double> {
    let search = try Search(budget: budget, accountant: accountant, relation: relation, fixed: fixed)
    let bounds = (enough: range.upperBound, tooLittle: range.lowerBound)
    return try search.real(parameter, meeting: bounds.enough, missing: bounds.tooLittle, events)
  }

  /// The largest sampling rate, to within 1e-6 of itself, with which `fixed` and then `events(rate)` meet the
  /// budget; 1 if all of them may take part.
  ///
  /// Throws: `targetUnreachable` if even a rate of 1e-9 costs too much; as `noise`.
  package static func samplingRate(
    forBudget budget: PrivacyBudget, accountant: AccountantKind = .pld, fixed: [PrivacyEvent] = [],
    events: (Double) -> [PrivacyEvent]
  ) throws(PrivacyError) -> Result<Double> {
    let search = try Search(budget: budget, accountant: accountant, relation: .addRemove, fixed: fixed)
    return try search.real(.samplingRate, meeting: 1e-9, missing: 1, events)
  }

  /// The largest number of releases, up to 2^30, with which `fixed` and then `events(count)` meet the budget.
  ///
  /// Throws: `targetUnreachable` if one release costs too much; as `noise`.
  package static func releases(
    forBudget budget: PrivacyBudget, accountant: AccountantKind = .pld,
    relation: NeighbouringRelation = .addRemove, fixed: [PrivacyEvent] = [],
    events: (Int) -> [PrivacyEvent]
  ) throws(PrivacyError) -> Result<Int> {
    let search = try Search(budget: budget, accountant: accountant, relation: relation, fixed: fixed)
    var enough = 1
    var epsilon = try search.epsilon(events(enough))
    guard epsilon <= budget.epsilon else {
      throw .targetUnreachable(.count, from: 1, to: 0x1p30, budget: budget)
    }
    var tooMany = 2
    while tooMany <= 1 << 30 {
      let cost = try search.epsilon(events(tooMany))
      guard cost <= budget.epsilon else { break }
      (enough, epsilon) = (tooMany, cost)
      tooMany *= 2
    }
    guard enough < 1 << 30 else { return Result(value: enough, epsilon: epsilon) }
    while tooMany - enough > 1 {
      let middle = (enough + tooMany) / 2
      let cost = try search.epsilon(events(middle))
      if cost <= budget.epsilon { (enough, epsilon) = (middle, cost) } else { tooMany = middle }
    }
    return Result(value: enough, epsilon: epsilon)
  }

  /// What all searches share.
  private struct Search {
    let budget: PrivacyBudget
    let base: any PrivacyAccountant

    init(
      budget: PrivacyBudget, accountant: AccountantKind, relation: NeighbouringRelation,
      fixed: [PrivacyEvent]
    ) throws(PrivacyError) {
      try budget.validate()
      guard budget.epsilon < .infinity else { throw .infiniteBudgetNeedsNoNoise }
      var base = accountant.makeAccountant(relation: relation)
      try base.compose(all: fixed)
      let spent = try base.epsilon(delta: budget.delta).epsilon
      guard spent < budget.epsilon else { throw .budgetUnreachable(fixed: spent, budget: budget) }
      self.budget = budget
      self.base = base
    }

    func epsilon(_ events: [PrivacyEvent]) throws(PrivacyError) -> Double {
      var accountant = base
      try accountant.compose(all: events)
      let epsilon = try accountant.epsilon(delta: budget.delta).epsilon
      // A NaN, which no comparison holds for, must not pass.
      return epsilon.isNaN ? .infinity : epsilon
    }

    /// Between a value that should meet the budget and one that should miss it, in the logarithm.
    func real(
      _ parameter: PrivacyParameter, meeting: Double, missing: Double, _ events: (Double) -> [PrivacyEvent]
    ) throws(PrivacyError) -> Result<Double> {
      var cost = try epsilon(events(missing))
      if cost <= budget.epsilon { return Result(value: missing, epsilon: cost) }
      cost = try epsilon(events(meeting))
      guard cost <= budget.epsilon else {
        throw .targetUnreachable(
          parameter, from: min(meeting, missing), to: max(meeting, missing), budget: budget)
      }
      var (enough, notEnough) = (log(meeting), log(missing))
      var value = meeting
      while abs(enough - notEnough) > 1e-6 {
        let middle = (enough + notEnough) / 2
        let tried = exp(middle)
        let epsilon = try epsilon(events(tried))
        if epsilon <= budget.epsilon {
          (enough, value, cost) = (middle, tried, epsilon)
        } else {
          notEnough = middle
        }
      }
      return Result(value: value, epsilon: cost)
    }
  }
}
