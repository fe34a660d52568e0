/// A budget and what was spent of it: a pure value. The durable ledger that outlives a crash keeps one
/// of these per population and unit, and writes it down before anything is released.
package struct BudgetAccount: Codable, Sendable, Hashable {
  /// The most that may be spent.
  package let budget: PrivacyBudget
  /// What was debited, in order of first appearance; like events are merged into one with their count.
  package private(set) var events: [PrivacyEvent] = []

  /// An account of which nothing is spent yet.
  package init(budget: PrivacyBudget) { self.budget = budget }

  /// An account with events that were debited before, read from a durable ledger. They count whatever
  /// they amount to: what was spent is spent.
  ///
  /// Throws: a count that overflows.
  package init(budget: PrivacyBudget, spent events: [PrivacyEvent]) throws(PrivacyError) {
    self.init(budget: budget)
    for event in events { try record(event) }
  }

  /// What everything debited so far amounts to.
  ///
  /// Throws: an event that a later version wrote (`unsupportedMechanism` and its kin), which stops all
  /// further spending on this account too.
  package func spent() throws(PrivacyError) -> PrivacyGuarantee {
    try accountant().epsilon(delta: budget.delta)
  }

  /// The epsilon up to the budget, at least 0. Rényi epsilons do not add up: an event that alone costs
  /// no more than this may fit or not, and only `epsilonAfter` tells.
  package func remaining() throws(PrivacyError) -> Double {
    guard budget.epsilon < .infinity else {
      _ = try spent()
      return .infinity
    }
    return max(0, budget.epsilon - (try spent()).epsilon)
  }

  /// What the account would amount to with `event`; nothing is debited, and nothing is refused for
  /// being too expensive.
  package func epsilonAfter(_ event: PrivacyEvent) throws(PrivacyError) -> PrivacyGuarantee {
    var accountant = try accountant()
    try accountant.compose(event)
    return try accountant.epsilon(delta: budget.delta)
  }

  /// Spends `event`, or throws and leaves the account as it was.
  ///
  /// Throws: `budgetExhausted` if epsilon would exceed the budget; what the accountant refuses.
  package mutating func debit(_ event: PrivacyEvent) throws(PrivacyError) {
    let after = try epsilonAfter(event)
    // Written so that a NaN, which no comparison holds for, is refused.
    guard after.epsilon <= budget.epsilon else {
      throw .budgetExhausted(spent: try spent().epsilon, wouldBe: after.epsilon, budget: budget)
    }
    try record(event)
  }

  private mutating func record(_ event: PrivacyEvent) throws(PrivacyError) {
    for index in events.indices
    where events[index].mechanism == event.mechanism && events[index].sampling == event.sampling {
      let (count, overflow) = events[index].count.addingReportingOverflow(event.count)
      guard !overflow else { throw .parameterOutOfRange(.count, value: .infinity) }
      events[index].count = count
      return
    }
    events.append(event)
  }

  private func accountant() throws(PrivacyError) -> RenyiAccountant {
    try budget.validate()
    var accountant = RenyiAccountant()
    for event in events { try accountant.compose(event) }
    return accountant
  }
}
