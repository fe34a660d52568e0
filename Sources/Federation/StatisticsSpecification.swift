package import Consent
package import Learning
package import Privacy

/// What an operator asks the federation to count and measure: signed by the operator and checked by every
/// node, as a training task is, but without a model.
package struct StatisticsSpecification: Codable, Sendable, Equatable, TaskTerms {
  /// The most questions of one task.
  package static let maximumQueries = 64
  /// The most that one question's vector may have coordinates.
  static let maximumDimension = 1 << 20

  /// Tells the task from one that trains.
  package private(set) var kind = FederationTask.Kind.statistics
  package var id: String
  package var purpose: String
  package var purposeVersion: Int
  package var regime: Regime
  package var schema: FeatureSchema
  /// Whose records are read.
  package var population: Population
  /// What is asked.
  package var questions: [StatisticsQuestion]
  /// What all sessions of the task together may cost a contributor.
  package var budget: PrivacyBudget
  /// What a contributor of the population may spend over all tasks; the same in all of them.
  package var populationBudget: PrivacyBudget
  package var unit: PrivacyUnit
  package var minimumCohort: Int
  package var minimumSurvivors: Int
  package var corruptPermille: Int
  package var dropoutPermille: Int
  package var groups: Int?
  package var maximumContributors: Int
  package var stepDeadlineMilliseconds: Int
  package var trainingDeadlineMilliseconds: Int
  package var seed: UInt64

  package init(
    id: String, purpose: String, purposeVersion: Int = 1, regime: Regime = .optIn, schema: FeatureSchema,
    population: Population = .training, questions: [StatisticsQuestion], budget: PrivacyBudget,
    populationBudget: PrivacyBudget, unit: PrivacyUnit = .customer, minimumCohort: Int,
    minimumSurvivors: Int, corruptPermille: Int = 0, dropoutPermille: Int = 250, groups: Int? = nil,
    maximumContributors: Int = 20_000, stepDeadlineMilliseconds: Int = 10_000,
    trainingDeadlineMilliseconds: Int = 60_000, seed: UInt64 = 1
  ) {
    self.id = id
    self.purpose = purpose
    self.purposeVersion = purposeVersion
    self.regime = regime
    self.schema = schema
    self.population = population
    self.questions = questions
    self.budget = budget
    self.populationBudget = populationBudget
    self.unit = unit
    self.minimumCohort = minimumCohort
    self.minimumSurvivors = minimumSurvivors
    self.corruptPermille = corruptPermille
    self.dropoutPermille = dropoutPermille
    self.groups = groups
    self.maximumContributors = maximumContributors
    self.stepDeadlineMilliseconds = stepDeadlineMilliseconds
    self.trainingDeadlineMilliseconds = trainingDeadlineMilliseconds
    self.seed = seed
  }

  package var populationBudgets: [Population: PrivacyBudget] { [population: populationBudget] }

  package func isNoised(_ population: Population) -> Bool { budget.epsilon.isFinite }

  /// The part of the budget that a question gets over all its sessions, above 0 and at most 1.
  func share(of question: StatisticsQuestion) -> Double {
    (question.weight ?? 1) / questions.reduce(0) { $0 + ($1.weight ?? 1) }
  }

  /// What events amount to at the task's delta.
  func epsilon(of events: [PrivacyEvent]) throws(FederationError) -> Double {
    try component("accounting") {
      let unlimited = PrivacyBudget(epsilon: .infinity, delta: budget.delta)
      return try BudgetAccount(budget: unlimited, spent: events).spent().epsilon
    }
  }

  /// Checks every field against its range.
  package func validate() throws(FederationError) {
    try require(kind == .statistics, "kind", "must be statistics")
    try validateTerms()
    try validate(budget: budget, "budget")
    try validate(budget: populationBudget, "populationBudget")
    try require(
      budget.epsilon <= populationBudget.epsilon && budget.delta <= populationBudget.delta, "budget",
      "must not exceed the populationBudget")
    try require(
      (1...Self.maximumQueries).contains(questions.count), "questions",
      "must be from 1 to \(Self.maximumQueries)")
    try require(
      Set(questions.map(\.name)).count == questions.count, "questions", "must have different names")
    for question in questions {
      try question.validate(schema: schema)
      let query = try question.query()
      try require(
        StatisticsShape.largestDimension(query) <= Self.maximumDimension, "question \(question.name)",
        "has more than \(Self.maximumDimension) coordinates; ask for fewer bins or prefixes")
    }
  }
}
