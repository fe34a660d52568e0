package import Learning
package import Privacy

/// One run of a scenario, with every field of a sweep resolved: together with the data it decides the result
/// to the last bit, whatever the number of workers or machines.
package struct RunSetup: Codable, Equatable, Sendable {
  /// Who takes part in a round.
  package enum Cohort: Codable, Equatable, Sendable {
    /// Every node.
    case all
    /// This many nodes, drawn without replacement from the seed and the round's number.
    case fixed(Int)
  }

  /// How the nodes' updates become one.
  package enum Aggregation: String, Codable, Equatable, Sendable, CaseIterable {
    /// Every message of secure aggregation: keys, shares, masks, signatures, unmasking.
    case full
    /// The integers and the noise of the nodes as they are deployed, added up without masks: the same sums.
    case modelled
    /// A trusted server that adds the clipped updates and, with a finite ε, Gaussian noise once (central
    /// privacy). This is what other simulators measure; Accord deploys the other two.
    case off
  }

  /// What the guarantee of a trusted server claims from drawing cohorts at random.
  package enum SamplingClaim: String, Codable, Equatable, Sendable, CaseIterable {
    /// Nothing: whoever watches may know every cohort.
    case none
    /// Cohorts are secret, uniformly random and of fixed size; the relation is then replace-one.
    case fixedSize = "fixed-size"
  }

  /// Whose name results carry.
  package var name: String
  /// Of the cohorts, the initial model, local shuffling, rounding and simulated noise.
  package var seed: UInt64
  /// Training rounds.
  package var rounds: Int
  /// Who takes part in a round.
  package var cohort: Cohort
  /// The model.
  package var architecture: ModelArchitecture
  /// What a contributor's update is.
  package var algorithm: LocalAlgorithm
  /// What the server does with the mean update.
  package var optimizer: ServerOptimizer.Kind
  /// How the server's learning rate changes from round to round.
  package var schedule: LearningRateSchedule
  /// Bound on the absolute value of labels and errors in private evaluations; for models that predict numbers.
  package var labelBound: Double?
  /// Decoupled weight decay of the server.
  package var weightDecay: Float
  /// Quantile bins of a numeric column; 0 standardises it instead (only with `aggregation: off`).
  package var quantileBins: Int
  /// Bins per class of the score histograms of private evaluation.
  package var evaluationBins: Int
  /// L2 bound of one contributor's update; nil for none, which only `off` without noise allows.
  package var clipNorm: Double?
  /// ε and δ of each contributor over the whole run; an infinite ε means no noise.
  package var budget: PrivacyBudget
  /// Whose contribution is protected.
  package var unit: PrivacyUnit
  /// Simulate the noise that a cohort of this many nodes would have, on the mean of the simulated cohort:
  /// with noise-cohort size L and cohort size k the noise on the sum is k / L of what it would be. Nil for
  /// the cohort itself. (pfl-research calls it `noise_cohort_size`.)
  package var noiseCohort: Int?
  /// What the guarantee claims from drawing cohorts; `fixedSize` only with `aggregation: off`.
  package var samplingClaim: SamplingClaim
  /// How updates are added up.
  package var aggregation: Aggregation
  /// Share of the budget for the statistics sessions.
  package var statisticsShare: Double
  /// Share of the evaluation budget kept for the final model.
  package var finalEvaluationShare: Double
  /// Fraction of a cohort, in thousandths, that must finish: the noise shares are sized for it.
  package var survivorPermille: Int
  /// Fraction of a cohort, in thousandths, that may collude with the server.
  package var corruptPermille: Int
  /// Fraction of a cohort, in thousandths, that the run loses in each round before its upload.
  package var dropoutPermille: Int
  /// What poisoned nodes do; nil if all are honest.
  package var attack: Attack?
  /// How a cohort is split into groups against poisoned nodes; nil for one sum.
  package var groups: RobustGroups?
  /// How every node adapts the final model to its own records; nil for not at all.
  package var personalization: Personalization?
  /// When training ends because it gets no better; nil for after `rounds`. With `aggregation: off` it needs
  /// `validationPermille`; else it looks at the task's private measurements.
  package var earlyStopping: EarlyStopping?
  /// Share of the training contributors, in thousandths, that do not train: early stopping with `aggregation: off`
  /// measures on them.
  package var validationPermille: Int?
  /// Rounds without waiting; nil for synchronous ones. Only with `aggregation: off`.
  package var asynchronous: AsynchronousRounds?
  /// Held-out records are measured after every so many rounds and after the last.
  package var evaluateEvery: Int

  package init(
    name: String, seed: UInt64 = 1, rounds: Int, cohort: Cohort = .all, architecture: ModelArchitecture,
    algorithm: LocalAlgorithm, optimizer: ServerOptimizer.Kind,
    schedule: LearningRateSchedule = .constant, labelBound: Double? = nil, weightDecay: Float = 0,
    quantileBins: Int = 8, evaluationBins: Int = 18, clipNorm: Double?, budget: PrivacyBudget,
    unit: PrivacyUnit = .customer, noiseCohort: Int? = nil, samplingClaim: SamplingClaim = .none,
    aggregation: Aggregation = .modelled,
    statisticsShare: Double = 0.08, finalEvaluationShare: Double = 0.25, survivorPermille: Int = 1000,
    corruptPermille: Int = 0, dropoutPermille: Int = 0, attack: Attack? = nil, groups: RobustGroups? = nil,
    personalization: Personalization? = nil, earlyStopping: EarlyStopping? = nil,
    validationPermille: Int? = nil, asynchronous: AsynchronousRounds? = nil,
    evaluateEvery: Int = 1
  ) {
    self.name = name
    self.seed = seed
    self.rounds = rounds
    self.cohort = cohort
    self.architecture = architecture
    self.algorithm = algorithm
    self.optimizer = optimizer
    self.schedule = schedule
    self.labelBound = labelBound
    self.weightDecay = weightDecay
    self.quantileBins = quantileBins
    self.evaluationBins = evaluationBins
    self.clipNorm = clipNorm
    self.budget = budget
    self.unit = unit
    self.noiseCohort = noiseCohort
    self.samplingClaim = samplingClaim
    self.aggregation = aggregation
    self.statisticsShare = statisticsShare
    self.finalEvaluationShare = finalEvaluationShare
    self.survivorPermille = survivorPermille
    self.corruptPermille = corruptPermille
    self.dropoutPermille = dropoutPermille
    self.attack = attack
    self.groups = groups
    self.personalization = personalization
    self.earlyStopping = earlyStopping
    self.validationPermille = validationPermille
    self.asynchronous = asynchronous
    self.evaluateEvery = evaluateEvery
  }
}
