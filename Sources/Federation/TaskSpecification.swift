package import Consent
package import Cryptography
import Foundation
package import Learning
import Messages
package import Privacy

/// What an operator asks the federation to train: signed by the operator, checked by every node, and the
/// only input of a training run besides the data.
package struct TaskSpecification: Codable, Sendable, Equatable {
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
  /// Training rounds.
  package var rounds: Int
  /// L2 bound C of one contributor's update.
  package var clipNorm: Double
  /// Decoupled weight decay of the server optimiser; costs no privacy.
  package var weightDecay: Float
  /// Quantile bins of a numeric column.
  package var quantileBins: Int
  /// Bins per class of the score histograms from which AUC and accuracy are computed.
  package var evaluationBins: Int
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
    weightDecay: Float = 0, quantileBins: Int, evaluationBins: Int,
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
    self.rounds = rounds
    self.clipNorm = clipNorm
    self.weightDecay = weightDecay
    self.quantileBins = quantileBins
    self.evaluationBins = evaluationBins
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

  /// Checks every field against its range.
  package func validate() throws(FederationError) {
    try require(
      !id.isEmpty && id.utf8.count <= 64 && id.utf8.allSatisfy(Self.isNameByte), "id",
      "must be 1 to 64 letters, digits, '-', '_' or '.'")
    try require(
      !purpose.isEmpty && purpose.utf8.count <= 64, "purpose", "must have 1 to 64 bytes")
    try require((1...1_000_000).contains(purposeVersion), "purposeVersion", "must be 1 or more")
    try component("architecture") { try architecture.validate() }
    try component("algorithm") { try algorithm.validate() }
    try component("optimizer") { try optimizer.validate() }
    try require(
      weightDecay >= 0 && weightDecay * optimizer.learningRate < 1, "weightDecay",
      "must be at least 0 and, times the learning rate, below 1")
    try component("evaluationBins") { _ = try EvaluationLayout(bins: evaluationBins) }
    try require((1...10_000).contains(rounds), "rounds", "must be from 1 to 10,000")
    try require(clipNorm > 0 && clipNorm <= 1e6, "clipNorm", "must be above 0 and at most 1e6")
    try require(
      (1...NumericEncoding.maximumBins).contains(quantileBins), "quantileBins",
      "must be from 1 to \(NumericEncoding.maximumBins)")
    try require(statisticsShare > 0 && statisticsShare <= 0.5, "statisticsShare", "must be in (0, 0.5]")
    try require(
      finalEvaluationShare > 0 && finalEvaluationShare < 1, "finalEvaluationShare", "must be in (0, 1)")
    try require(
      unit != .node, "unit",
      "must be customer or record: updates are clipped per contributor, which bounds no whole node")
    try validate(budget: trainingBudget, "trainingBudget")
    try validate(budget: evaluationBudget, "evaluationBudget")
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

  private func validate(budget: PrivacyBudget, _ field: String) throws(FederationError) {
    try require(budget.epsilon > 0, field, "must have a positive epsilon (or \"inf\")")
    try require(budget.delta > 0 && budget.delta < 0.5, field, "must have a delta between 0 and 0.5")
  }

  private func require(
    _ condition: Bool, _ field: String, _ reason: String
  ) throws(FederationError) {
    if !condition { throw .invalidTask(field: field, reason: reason) }
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case 48...57, 65...90, 97...122, 45, 46, 95: true
    default: false
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
