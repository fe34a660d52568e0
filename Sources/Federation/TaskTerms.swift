package import Consent
package import Learning
import Messages
package import Privacy
import SecureAggregation

/// What every task says, whatever it is for: whose records, under which consent, in which cohorts.
/// Sessions, policies and budgets need no more than this.
package protocol TaskTerms: Sendable {
  /// Name of the task, unique in the federation: letters, digits, `-`, `_`, `.`; at most 64.
  var id: String { get }
  /// The purpose that customers must have consented to.
  var purpose: String { get }
  /// The version of the purpose; consent to another version does not count.
  var purposeVersion: Int { get }
  /// How silence is read for this purpose.
  var regime: Regime { get }
  /// The public description of the columns.
  var schema: FeatureSchema { get }
  /// Whose contribution is protected.
  var unit: PrivacyUnit { get }
  /// Fewest nodes that may start a session (n_min).
  var minimumCohort: Int { get }
  /// Fewest nodes that must finish (T_min); noise shares are sized for it.
  var minimumSurvivors: Int { get }
  /// Fraction of the cohort, in thousandths, that may collude with the server (γ).
  var corruptPermille: Int { get }
  /// Fraction of the cohort, in thousandths, expected to drop out (δ of the protocol).
  var dropoutPermille: Int { get }
  /// Disjoint groups that a cohort is split into; nil stands for one.
  var groups: Int? { get }
  /// Most contributors that one node may add to a sum.
  var maximumContributors: Int { get }
  /// Time for each step after the first, milliseconds.
  var stepDeadlineMilliseconds: Int { get }
  /// Time for local work before the first step, milliseconds.
  var trainingDeadlineMilliseconds: Int { get }
  /// Seed of what is public and random. Never of noise or masks.
  var seed: UInt64 { get }
  /// The populations whose records the task reads, each with its budget over all tasks.
  var populationBudgets: [Population: PrivacyBudget] { get }
  /// Whether sums over a population are noised.
  func isNoised(_ population: Population) -> Bool
}

extension TaskTerms {
  package func isNoised(_ population: Population) -> Bool {
    populationBudgets[population]?.epsilon.isFinite ?? true
  }

  /// The task's purpose as consent names it.
  package var consentPurpose: Purpose { Purpose(id: purpose, version: purposeVersion) }

  /// Checks the fields that all tasks have.
  func validateTerms() throws(FederationError) {
    try require(
      !id.isEmpty && id.utf8.count <= 64 && id.utf8.allSatisfy(isNameByte), "id",
      "must be 1 to 64 letters, digits, '-', '_' or '.'")
    try require(
      !purpose.isEmpty && purpose.utf8.count <= 64, "purpose", "must have 1 to 64 bytes")
    try require((1...1_000_000).contains(purposeVersion), "purposeVersion", "must be 1 or more")
    try require(
      unit != .node, "unit",
      "must be customer or record: updates are clipped per contributor, which bounds no whole node")
    try require(
      (2...MessageLimits.cohort).contains(minimumCohort), "minimumCohort",
      "must be from 2 to \(MessageLimits.cohort)")
    try require((1...256).contains(groups ?? 1), "groups", "must be from 1 to 256")
    try require(
      (2...minimumCohort).contains(minimumSurvivors), "minimumSurvivors",
      "must be from 2 to the minimum cohort (\(minimumCohort))")
    try require((0...333).contains(corruptPermille), "corruptPermille", "must be from 0 to 333")
    try require(
      minimumCohort * corruptPermille / 1000 < minimumSurvivors, "minimumSurvivors",
      "must exceed the number of nodes that may collude (\(corruptPermille) in 1000 of \(minimumCohort))")
    try require((0...333).contains(dropoutPermille), "dropoutPermille", "must be from 0 to 333")
    try require(
      (1...10_000_000).contains(maximumContributors), "maximumContributors", "must be 1 to 10,000,000")
    try require(
      (100...3_600_000).contains(stepDeadlineMilliseconds), "stepDeadlineMilliseconds",
      "must be from 100 to 3,600,000")
    try require(
      (100...86_400_000).contains(trainingDeadlineMilliseconds), "trainingDeadlineMilliseconds",
      "must be from 100 to 86,400,000")
  }

  /// Checks one budget.
  func validate(budget: PrivacyBudget, _ field: String) throws(FederationError) {
    try require(budget.epsilon > 0, field, "must have a positive epsilon (or \"inf\")")
    try require(budget.delta > 0 && budget.delta < 0.5, field, "must have a delta between 0 and 0.5")
  }

  /// Refuses the task with a sentence about a field.
  func require(
    _ condition: Bool, _ field: String, _ reason: String
  ) throws(FederationError) {
    if !condition { throw .invalidTask(field: field, reason: reason) }
  }
}

/// Letters, digits, '-', '.' and '_' of ASCII.
func isNameByte(_ byte: UInt8) -> Bool {
  switch byte {
  case 48...57, 65...90, 97...122, 45, 46, 95: true
  default: false
  }
}

// MARK: Planning

extension TaskTerms {
  /// The largest cohort of one aggregation that a session with `count` nodes is planned for: all of them,
  /// or eight standard deviations more than the mean of groups that are drawn by hash.
  package func plannedCohort(of count: Int) -> Int {
    guard let groups, groups > 1 else { return count }
    let mean = Double(count) / Double(groups)
    return min(count, Int((mean + 8 * mean.squareRoot()).rounded(.up)))
  }

  /// The fewest inputs of any sum of a cohort of `count`, to which noise is calibrated.
  private func assuredSurvivors(cohort count: Int) throws(FederationError) -> Int {
    try component("graph parameters") {
      guard count > NeighbourGraph.complete.maximumCohort else {
        return try GraphPolicy.standard.assuredSurvivors(
          graph: .complete, minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille,
          cohort: count)
      }
      let graph = try GraphParameters.search(
        cohort: count, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille)
      return try GraphPolicy.standard.assuredSurvivors(
        graph: .sparse(degree: graph.degree, threshold: graph.threshold),
        minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille, cohort: count)
    }
  }

  /// Crumbs of a budget ask for noise that no node can draw or no ring can hold: it is spent then. A
  /// session that cannot be carried through would only cost more of it.
  func requireDrawable(_ segment: Segment, cohort: Int) throws(FederationError) {
    var silent = segment
    silent.noiseVariance = 0
    _ = try ringBits(silent, cohort: cohort)
    let planned = max(plannedCohort(of: cohort), minimumCohort)
    let share = try segment.noiseShare(
      cohort: planned, minimumSurvivors: try assuredSurvivors(cohort: planned),
      corruptPermille: corruptPermille)
    guard share <= SkellamSampler.varianceRange.upperBound,
      (try? ringBits(segment, cohort: cohort)) != nil
    else {
      throw .budgetSpent(
        population: segment.population.rawValue,
        detail: "what is left asks for noise of variance \(segment.noiseVariance) grid units squared in the "
          + "\(segment.name.rawValue) sum, more than can be drawn; raise the budget")
    }
  }

  private func ringBits(_ segment: Segment, cohort: Int) throws(FederationError) -> Int {
    let cohort = max(plannedCohort(of: cohort), minimumCohort)
    return try VectorPlan([segment]).ringBits(
      cohort: cohort, maximumContributors: maximumContributors,
      minimumSurvivors: try assuredSurvivors(cohort: cohort), corruptPermille: corruptPermille)
  }

  /// The segments of one session must fit together into what is left of their populations' budgets.
  func requireAffordable(
    _ segments: [Segment], spent: [Population: [PrivacyEvent]]
  ) throws(FederationError) {
    var accounts: [Population: BudgetAccount] = [:]
    for segment in segments {
      let population = segment.population
      let event = try segment.privacyEvent()
      do {
        guard let budget = populationBudgets[population] else { continue }
        var account =
          try accounts[population] ?? BudgetAccount(budget: budget, spent: spent[population] ?? [])
        try account.debit(event)
        accounts[population] = account
      } catch {
        throw .budgetSpent(population: population.rawValue, detail: "\(error)")
      }
    }
  }
}
