/// What a simulated contributor does when asked for consent.
package enum ConsentIntent: String, CaseIterable, Sendable {
  /// Gives consent and keeps it.
  case gives
  /// Gives consent and withdraws it later.
  case givesThenWithdraws
  /// Refuses.
  case refuses
  /// Never answers.
  case neverAnswers
}

/// Who of the contributors gives consent, refuses, never answers, and will later withdraw.
package struct ConsentPlan: Equatable, Sendable {
  /// The intent of every contributor.
  package let intents: [String: ConsentIntent]

  /// The contributors of an intent, sorted.
  package func subjects(_ intent: ConsentIntent) -> [String] {
    intents.filter { $0.value == intent }.keys.sorted()
  }
}

/// Draws a consent plan that depends on the set of contributors and the seed only.
///
/// The counts are exact: of n different contributors, `refuse`·n refuse and `unanswered`·n never answer (each
/// rounded to the nearest whole number); of those who give, `withdraw` times their number withdraw later.
///
/// - Throws: `TableError.badShares` unless all shares are in 0...1 and the first two at most 1 together.
package func consentPlan(
  subjects: [String], seed: UInt64, refuse: Double = 0.10, unanswered: Double = 0.06,
  withdraw: Double = 0.03
) throws(TableError) -> ConsentPlan {
  let isProbability = [refuse, unanswered, withdraw].allSatisfy { (0...1).contains($0) }
  guard isProbability, refuse + unanswered <= 1 else {
    throw .badShares(refuse: refuse, unanswered: unanswered, withdraw: withdraw)
  }
  var draws = SeededDraws(seed: seed, purpose: "consent plan")
  let order = draws.shuffled(Set(subjects).sorted())
  func count(_ share: Double, of total: Int) -> Int { Int((share * Double(total)).rounded()) }
  let refusing = count(refuse, of: order.count)
  // Two shares of one half, both rounded up, may exceed an odd total.
  let silent = min(count(unanswered, of: order.count), order.count - refusing)
  let withdrawing = count(withdraw, of: order.count - refusing - silent)
  var intents: [String: ConsentIntent] = [:]
  for (position, subject) in order.enumerated() {
    intents[subject] =
      switch position {
      case ..<refusing: .refuses
      case ..<(refusing + silent): .neverAnswers
      case ..<(refusing + silent + withdrawing): .givesThenWithdraws
      default: .gives
      }
  }
  return ConsentPlan(intents: intents)
}
