package import Consent
package import Cryptography
import Foundation
package import Learning
import Messages
package import Privacy

/// What an operator asks the federation to train: signed by the operator, checked by every node, and the
/// only input of a training run besides the data.
package struct TaskSpecification: Codable, Sendable, Equatable, TaskTerms {
  /// Name of the task, unique in the federation: letters, digits, `-`, `_`, `.`; at most 64.
  package var id: String
  /// The purpose that customers must have consented to.
  package var purpose: String
  /// The version of the purpose; consent to another version does not count.
  package var purposeVersion: Int
  /// How silence is read for this purpose.
  package var regime: Regime
  /// The public description of the columns.
  package var schema: FeatureSchema
  /// The model to train.
  package var architecture: ModelArchitecture
  /// What a contributor's update is.
  package var algorithm: LocalAlgorithm
  /// What the server does with the mean update.
  package var optimizer: ServerOptimizer.Kind
  /// How the server's learning rate changes from round to round; nil keeps it.
  package var schedule: LearningRateSchedule?
  /// Training rounds.
  package var rounds: Int
  /// L2 bound C of one contributor's update; with `adaptiveClipping` the first one.
  package var clipNorm: Double
  /// How C follows a quantile of the updates' norms; nil keeps it as it is.
  package var adaptiveClipping: AdaptiveClippingPlan?
  /// When training ends because private measurements no longer get better; nil for after `rounds`.
  package var earlyStopping: EarlyStopping?
  /// Decoupled weight decay of the server optimiser; costs no privacy.
  package var weightDecay: Float
  /// Quantile bins of a numeric column.
  package var quantileBins: Int
  /// Bins per class of the score histograms from which AUC and accuracy are computed.
  package var evaluationBins: Int
  /// Bound on the absolute value of labels and errors in evaluations, for models that predict numbers; nil for two
  /// or more classes.
  package var labelBound: Double?
  /// Share of the training budget (0…0.5) for the two statistics sessions together.
  package var statisticsShare: Double
  /// Share of the evaluation budget (0…1) kept for the final model.
  package var finalEvaluationShare: Double
  /// Whose contribution is protected.
  package var unit: PrivacyUnit
  /// Budget of each contributor whose records train the model.
  package var trainingBudget: PrivacyBudget
  /// Budget of each contributor whose records evaluate the model. They are other people.
  package var evaluationBudget: PrivacyBudget
  /// Fewest nodes that may start a session (n_min).
  package var minimumCohort: Int
  /// Fewest nodes that must finish (T_min); noise shares are sized for it.
  package var minimumSurvivors: Int
  /// Fraction of the cohort, in thousandths, that may collude with the server (γ).
  package var corruptPermille: Int
  /// Fraction of the cohort, in thousandths, expected to drop out (δ of the protocol).
  package var dropoutPermille: Int
  /// Disjoint groups that a cohort is split into, so that a poisoned group's sum can be left out; nil
  /// stands for one. Cohort, survivors and noise then hold for every group.
  package var groups: Int?
  /// How the groups' mean updates become one; nil stands for the median.
  package var combination: GroupCombination?
  /// Most contributors that one node may add to a sum.
  package var maximumContributors: Int
  /// Time for each step after the first, milliseconds.
  package var stepDeadlineMilliseconds: Int
  /// Time for local training before the first step, milliseconds.
  package var trainingDeadlineMilliseconds: Int
  /// Seed of the model's initialisation and of local shuffling. Never of noise or masks.
  package var seed: UInt64

  package init(
    id: String, purpose: String, purposeVersion: Int = 1, regime: Regime = .optIn,
    schema: FeatureSchema, architecture: ModelArchitecture, algorithm: LocalAlgorithm,
    optimizer: ServerOptimizer.Kind, rounds: Int, clipNorm: Double,
    schedule: LearningRateSchedule? = nil, adaptiveClipping: AdaptiveClippingPlan? = nil,
    earlyStopping: EarlyStopping? = nil, weightDecay: Float = 0, quantileBins: Int,
    evaluationBins: Int, labelBound: Double? = nil,
    statisticsShare: Double, finalEvaluationShare: Double, unit: PrivacyUnit = .customer,
    trainingBudget: PrivacyBudget, evaluationBudget: PrivacyBudget, minimumCohort: Int,
    minimumSurvivors: Int, corruptPermille: Int = 0, dropoutPermille: Int = 250, groups: Int? = nil,
    combination: GroupCombination? = nil,
    maximumContributors: Int = 20_000, stepDeadlineMilliseconds: Int = 10_000,
    trainingDeadlineMilliseconds: Int = 60_000, seed: UInt64 = 1
  ) {
    self.id = id
    self.purpose = purpose
    self.purposeVersion = purposeVersion
    self.regime = regime
    self.schema = schema
    self.architecture = architecture
    self.algorithm = algorithm
    self.optimizer = optimizer
    self.schedule = schedule
    self.rounds = rounds
    self.clipNorm = clipNorm
    self.adaptiveClipping = adaptiveClipping
    self.earlyStopping = earlyStopping
    self.weightDecay = weightDecay
    self.quantileBins = quantileBins
    self.evaluationBins = evaluationBins
    self.labelBound = labelBound
    self.statisticsShare = statisticsShare
    self.finalEvaluationShare = finalEvaluationShare
    self.unit = unit
    self.trainingBudget = trainingBudget
    self.evaluationBudget = evaluationBudget
    self.minimumCohort = minimumCohort
    self.minimumSurvivors = minimumSurvivors
    self.corruptPermille = corruptPermille
    self.dropoutPermille = dropoutPermille
    self.groups = groups
    self.combination = combination
    self.maximumContributors = maximumContributors
    self.stepDeadlineMilliseconds = stepDeadlineMilliseconds
    self.trainingDeadlineMilliseconds = trainingDeadlineMilliseconds
    self.seed = seed
  }

  /// The largest accepted task, in bytes of JSON.
  package static let maximumBytes = 1 << 20

  /// Canonical JSON: sorted keys, no spaces. These bytes are what the operator signs.
  package func canonicalBytes() throws(FederationError) -> [UInt8] {
    try component("task") { try CanonicalJSON.encode(self) }
  }

  /// Reads and validates a task.
  package static func decode(_ bytes: [UInt8]) throws(FederationError) -> TaskSpecification {
    guard bytes.count <= maximumBytes else {
      throw .invalidTask(field: "size", reason: "is over \(maximumBytes) bytes")
    }
    let task: TaskSpecification
    do { task = try JSONDecoder().decode(TaskSpecification.self, from: Data(bytes)) } catch {
      throw .invalidTask(field: "JSON", reason: "cannot be read: \(CanonicalJSON.explain(error))")
    }
    try task.validate()
    return task
  }

  /// BLAKE2b-256 of the canonical bytes.
  package static func digest(of bytes: [UInt8]) -> Digest {
    Hash.blake2b(domain: "accord/v1/task-digest", [bytes])
  }

  /// The domain of the operator's signature over a task.
  package static let signatureDomain = "accord/v1/task"

  package var populationBudgets: [Population: PrivacyBudget] {
    [.training: trainingBudget, .heldOut: evaluationBudget]
  }

  /// The layout of the task's evaluations.
  package func evaluationLayout() throws(FederationError) -> EvaluationLayout {
    try component("evaluationBins and labelBound") {
      try EvaluationLayout(
        bins: evaluationBins, objective: architecture.objective, labelBound: labelBound ?? 1)
    }
  }

  /// Checks every field against its range.
  package func validate() throws(FederationError) {
    try validateTerms()
    try require(
      (groups ?? 1) != 2 || combination == .mean, "combination",
      "must be mean for two groups: a median or a trimmed mean needs three")
    try component("architecture") { try architecture.validate() }
    try component("algorithm") { try algorithm.validate() }
    try require(
      architecture.isDescended || algorithm == .fedSGD, "algorithm",
      "must be fedSGD: trees, segments and recommenders take one step a round")
    try require(
      !algorithm.hasControlVariates, "algorithm",
      "must not be SCAFFOLD: a node would have to keep a control variate of every customer from round to round, "
        + "computed from records that may be withdrawn in between; use normalise or proximal")
    try component("optimizer") { try optimizer.validate() }
    if let schedule { try component("schedule") { try schedule.validate() } }
    try require(
      weightDecay >= 0 && weightDecay * optimizer.learningRate < 1, "weightDecay",
      "must be at least 0 and, times the learning rate, below 1")
    try require(
      (labelBound != nil) == architecture.objective.predictsNumbers, "labelBound",
      architecture.objective.predictsNumbers
        ? "is missing: how large labels and errors may count" : "is only for models that predict numbers")
    _ = try evaluationLayout()
    try require(
      (architecture.leastRounds...10_000).contains(rounds), "rounds",
      "must be from \(architecture.leastRounds) to 10,000")
    try require(
      !architecture.objective.isSegmentation || !schema.columns.contains { $0.kind == .text }, "schema",
      "must have no columns of words: segments are found among numbers and categories")
    try require(
      architecture.objective.isSegmentation || schema.transactions.map { $0.label != nil } ?? true, "schema",
      "must say in transactions.label what is to be predicted; segments alone do without")
    if let earlyStopping {
      try component("earlyStopping") { try earlyStopping.validate(objective: architecture.objective) }
      try require(
        architecture.layout != .items, "earlyStopping",
        "cannot be had: recommenders are measured as for a user of whom nothing is known, which says little")
      try require(
        earlyStopping.patience >= architecture.roundsPerChange, "earlyStopping",
        "must be patient for at least \(architecture.roundsPerChange) measurements: so many rounds make a tree"
      )
    }
    try require(clipNorm >= 1e-6 && clipNorm <= 1e6, "clipNorm", "must be from 1e-6 to 1e6")
    try require(
      (1...NumericEncoding.maximumBins).contains(quantileBins), "quantileBins",
      "must be from 1 to \(NumericEncoding.maximumBins)")
    try require(statisticsShare > 0 && statisticsShare <= 0.5, "statisticsShare", "must be in (0, 0.5]")
    try require(
      finalEvaluationShare > 0 && finalEvaluationShare < 1, "finalEvaluationShare", "must be in (0, 1)")
    try validate(budget: trainingBudget, "trainingBudget")
    try validate(budget: evaluationBudget, "evaluationBudget")
    if let adaptiveClipping {
      try require(
        adaptiveClipping.minimumClipNorm >= 1e-6, "adaptiveClipping", "must keep C at 1e-6 or above")
      _ = try component("adaptiveClipping") { try adaptiveClipping.start(clipNorm: clipNorm) }
    }
    if architecture.layout == .items {
      _ = try component("schema") {
        try Model(architecture: architecture, pipeline: .items(schema: schema))
      }
    }
  }
}

/// Adaptive clipping as a task asks for it (`AdaptiveClipping`): the range that C may move in is the operator's,
/// so that a server cannot choose any.
package struct AdaptiveClippingPlan: Codable, Sendable, Equatable {
  /// γ: the fraction of updates that are to be within C.
  package var quantile: Double
  /// η: how fast C moves; nil for 0.2.
  package var learningRate: Double?
  /// How many contributors a round is expected to have.
  package var expectedContributors: Int
  /// σ_b: standard deviation of the noise on the number of contributors within C; nil for a twentieth of
  /// `expectedContributors`. Nothing is noised when the training budget is infinite.
  package var bitNoise: Double?
  /// The smallest C.
  package var minimumClipNorm: Double
  /// The largest C.
  package var maximumClipNorm: Double

  package init(
    quantile: Double, learningRate: Double? = nil, expectedContributors: Int, bitNoise: Double? = nil,
    minimumClipNorm: Double, maximumClipNorm: Double
  ) {
    self.quantile = quantile
    self.learningRate = learningRate
    self.expectedContributors = expectedContributors
    self.bitNoise = bitNoise
    self.minimumClipNorm = minimumClipNorm
    self.maximumClipNorm = maximumClipNorm
  }

  /// σ_b.
  package var bitNoiseDeviation: Double { bitNoise ?? Double(expectedContributors) / 20 }

  /// The state before the first round, with the limits of all numbers checked.
  func start(clipNorm: Double) throws(FederationError) -> AdaptiveClipping {
    guard bitNoiseDeviation > 0, bitNoiseDeviation <= 1e9, maximumClipNorm <= 1e6,
      expectedContributors <= 1 << 30
    else {
      throw .invalidTask(
        field: "adaptiveClipping",
        reason: "must have a bitNoise above 0 and at most 1e9, a maximumClipNorm of at most 1e6 and at most "
          + "2^30 expectedContributors")
    }
    return try component("adaptiveClipping") {
      try AdaptiveClipping(
        clipNorm: clipNorm, targetQuantile: quantile, learningRate: learningRate ?? 0.2,
        expectedContributors: expectedContributors, minimumClipNorm: minimumClipNorm,
        maximumClipNorm: maximumClipNorm)
    }
  }
}

/// How the mean updates of several groups become one (`RobustCombination`).
package enum GroupCombination: String, Codable, Sendable, CaseIterable {
  /// All contributors weigh the same; only groups with an impossible norm are left out.
  case mean
  /// The lowest and the highest fifth of every coordinate are dropped.
  case trimmedMean
  /// The median of every coordinate.
  case median
}

/// One way to write JSON, so that equal values have equal bytes and digests.
package enum CanonicalJSON {
  /// UTF-8 JSON with sorted keys and no spaces.
  package static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }

  /// What is wrong with a JSON text, as one sentence.
  package static func explain(_ error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    func path(_ context: DecodingError.Context) -> String {
      let text = context.codingPath.map(\.stringValue).joined(separator: ".")
      return text.isEmpty ? "the top level" : text
    }
    return switch error {
    case .keyNotFound(let key, let context): "“\(key.stringValue)” is missing at \(path(context))"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      "\(path(context)) has the wrong type"
    case .dataCorrupted(let context): "\(path(context)): \(context.debugDescription)"
    @unknown default: "\(error)"
    }
  }
}
