package import Consent
import Cryptography
package import Learning

/// A node's consented records as rows of features. Encoding takes longer than a gradient, and the pipeline of a
/// task does not change after its statistics: a simulation encodes once and trains on it in every session.
package struct EncodedContributors: Sendable {
  /// What the rows were encoded with.
  package let pipeline: FeaturePipeline
  private let architecture: ModelArchitecture
  private let purposes: [Purpose]
  private let training: TrainingBatch?
  private let heldOut: TrainingBatch?

  /// Encodes every record of the batches.
  package init(
    training: ConsentedBatch<LabelledRecord>?, heldOut: ConsentedBatch<LabelledRecord>?,
    pipeline: FeaturePipeline, architecture: ModelArchitecture
  ) throws(FederationError) {
    func encode(_ batch: ConsentedBatch<LabelledRecord>?) throws(FederationError) -> TrainingBatch? {
      guard let batch, !batch.subjects.isEmpty else { return nil }
      return try Self.encode(
        batch.subjects.map(\.records), pipeline: pipeline, architecture: architecture)
    }
    self.pipeline = pipeline
    self.architecture = architecture
    self.training = try encode(training)
    self.heldOut = try encode(heldOut)
    purposes = [training?.purpose, heldOut?.purpose].compactMap { $0 }
  }

  /// Contributors of a population.
  package func contributorCount(of population: Population) -> Int {
    (population == .training ? training : heldOut)?.contributorCount ?? 0
  }

  /// The rows of all contributors whose records are held out; nil without any.
  package var heldOutRows: TrainingBatch? { heldOut }

  /// Consent is specific, and rows mean something under their own pipeline only.
  func check(_ task: TaskSpecification, _ artifact: ModelArtifact) throws(FederationError) {
    for purpose in purposes where purpose != task.consentPurpose {
      throw .mismatch(
        what: "the purpose of the encoded records", expected: task.consentPurpose.description,
        actual: purpose.description)
    }
    guard artifact.model?.pipeline == pipeline, artifact.architecture == architecture else {
      throw .mismatch(
        what: "the pipeline of the encoded records", expected: "that of the session's model",
        actual: "another")
    }
  }

  /// What `Contributors.records` chooses, with the same draws.
  func batch(
    of population: Population, atMost maximum: Int, _ task: TaskSpecification, random: inout RandomStream
  ) throws(FederationError) -> TrainingBatch? {
    guard var batch = population == .training ? training : heldOut else { return nil }
    if let chosen = Contributors.choice(of: batch.contributorCount, atMost: maximum, random: &random) {
      batch = batch.selecting(chosen)
    }
    let offsets = batch.contributorOffsets
    try Contributors.check(zip(offsets.dropFirst(), offsets).lazy.map { $0 - $1 }, task)
    return batch
  }

  /// The rows of contributors with these records.
  static func encode(
    _ subjects: [[LabelledRecord]], pipeline: FeaturePipeline, architecture: ModelArchitecture
  ) throws(FederationError) -> TrainingBatch {
    let records = subjects.flatMap { $0 }
    // Segments are learnt without labels, whatever the stores know.
    let labels =
      architecture.objective.isSegmentation
      ? [Float](repeating: 0, count: records.count) : records.map(\.label)
    var offsets = [0]
    for subject in subjects { offsets.append(offsets[offsets.count - 1] + subject.count) }
    return try component("features") {
      try TrainingBatch(
        features: pipeline.encode(records.map(\.values), as: architecture.layout),
        labels: labels, contributorOffsets: offsets, objective: architecture.objective)
    }
  }
}
