import Federation
import Learning
import Privacy
import Simulation

/// Where the demo's customers come from.
struct DemoSource: Sendable {
  let name: String
  let schema: FeatureSchema
  let shares: [StoreShare]
  let unit: PrivacyUnit
  let notes: [String]
}

/// What a demo is to do.
struct DemoPlan: Sendable {
  static let purpose = "churn"
  /// The training round in which nodes are killed.
  static let dropRound = 3

  let source: DemoSource
  let rounds: Int
  let budget: PrivacyBudget
  let architecture: ModelArchitecture
  let algorithm: LocalAlgorithm
  let optimizer: ServerOptimizer.Kind
  let clip: Double
  let drop: Int
  let consent: ConsentPlan
  let seed: UInt64

  /// The round after which the withdrawals are recorded.
  var withdrawalRound: Int { drop > 0 ? max(Self.dropRound, rounds / 2) : max(1, rounds / 2) }

  /// The fewest nodes that must finish: the threshold of the complete graph.
  static func minimumSurvivors(_ nodes: Int) -> Int { 2 * nodes / 3 + 1 }

  /// The task that the demo's operator submits.
  func task() -> TaskSpecification {
    let nodes = source.shares.count
    let survivors = Self.minimumSurvivors(nodes)
    let defaults = TrainingDefaults.standard
    let isNoisy = budget.epsilon.isFinite
    return TaskSpecification(
      id: "demo-churn", purpose: Self.purpose, schema: source.schema, architecture: architecture,
      algorithm: algorithm, optimizer: optimizer, rounds: rounds, clipNorm: clip,
      weightDecay: defaults.weightDecay,
      quantileBins: architecture.layout == .bins ? 32 : defaults.quantileBins,
      evaluationBins: isNoisy ? defaults.evaluationBins : defaults.exactEvaluationBins,
      statisticsShare: defaults.statisticsShare, finalEvaluationShare: 0.37, unit: source.unit,
      trainingBudget: budget, evaluationBudget: budget, minimumCohort: survivors,
      minimumSurvivors: survivors, dropoutPermille: 1000 * (nodes - survivors) / nodes,
      stepDeadlineMilliseconds: drop > 0 ? 3000 : 10_000, trainingDeadlineMilliseconds: 30_000,
      seed: seed)
  }

  /// What each node allows: this purpose, this budget, and no smaller cohorts.
  func policy() -> NodePolicy {
    let survivors = Self.minimumSurvivors(source.shares.count)
    return NodePolicy(
      purposes: [Self.purpose], budget: budget, minimumCohort: min(3, survivors),
      minimumSurvivors: min(3, survivors))
  }
}
