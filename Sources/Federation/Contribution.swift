package import Consent
package import Cryptography
import Foundation
package import Learning
import Privacy

/// One labelled record as the federation's pipeline reads it.
package struct LabelledRecord: Sendable, Equatable {
  /// Cells in the order of the task's schema.
  package let values: RawRecord
  /// The outcome.
  package let label: Bool

  package init(values: RawRecord, label: Bool) {
    self.values = values
    self.label = label
  }
}

/// Turns consented records into the integer vector of a session: per contributor a vector of bounded norm,
/// clipped and rounded in integers, summed over the node's contributors.
package struct ContributionBuilder: Sendable {
  private let task: TaskSpecification
  private let descriptor: RoundDescriptor
  private let artifact: ModelArtifact

  /// Weight of the coordinate that counts contributors, relative to the clip norm: it widens the
  /// sensitivity by 3 % and gives the denominator of the mean to within a few contributors.
  package static let countWeight = 0.25

  /// Checks that the descriptor's vector is the one that the task and the model ask for.
  package init(
    task: TaskSpecification, descriptor: RoundDescriptor, artifact: ModelArtifact
  ) throws(FederationError) {
    self.task = task
    self.descriptor = descriptor
    self.artifact = artifact
    for segment in descriptor.segments {
      let expected = try SegmentShape.of(segment.name, task: task, artifact: artifact)
      guard expected.length == segment.length else {
        throw .mismatch(
          what: "the length of segment \(segment.name.rawValue)", expected: "\(expected.length)",
          actual: "\(segment.length)")
      }
      guard expected.population == segment.population else {
        throw .mismatch(
          what: "the population of segment \(segment.name.rawValue)",
          expected: expected.population.rawValue, actual: segment.population.rawValue)
      }
      // A smaller bound than a vector can have is clipped to; a larger one would only waste noise.
      guard abs(expected.clipNorm - segment.clipNorm) <= 1e-9 * expected.clipNorm else {
        throw .mismatch(
          what: "the clip norm of segment \(segment.name.rawValue)",
          expected: "\(expected.clipNorm)", actual: "\(segment.clipNorm)")
      }
    }
  }

  /// The node's integer sums over the whole vector, without noise.
  package func build(
    training: ConsentedBatch<LabelledRecord>?, heldOut: ConsentedBatch<LabelledRecord>?,
    random: inout RandomStream
  ) throws(FederationError) -> [Int64] {
    let purpose = Purpose(id: task.purpose, version: task.purposeVersion)
    for (batch, population) in [(training, Population.training), (heldOut, .heldOut)] {
      // Consent is specific: who agreed to another purpose did not agree to this one.
      guard let batch, batch.purpose != purpose else { continue }
      throw .mismatch(
        what: "the purpose of the \(population.rawValue) batch", expected: purpose.description,
        actual: batch.purpose.description)
    }
    var vector: [Int64] = []
    vector.reserveCapacity(descriptor.dimension)
    for segment in descriptor.segments {
      let batch = segment.population == .training ? training : heldOut
      var sums = [Int64](repeating: 0, count: segment.length)
      let subjects = limited(batch?.subjects.map(\.records) ?? [], random: &random)
      // Clipping bounds a contributor. It bounds a record only where a contributor has one.
      guard task.unit != .record || subjects.allSatisfy({ $0.count == 1 }) else {
        throw .invalidTask(
          field: "unit", reason: "is record, but a contributor has several records; use customer")
      }
      if !subjects.isEmpty {
        try add(segment, subjects, to: &sums, random: &random)
      }
      vector.append(contentsOf: sums)
    }
    return vector
  }

  /// At most `maximumContributors`, a uniform choice when there are more.
  private func limited(
    _ subjects: [[LabelledRecord]], random: inout RandomStream
  ) -> [[LabelledRecord]] {
    guard subjects.count > descriptor.maximumContributors else { return subjects }
    var subjects = subjects
    for index in 0..<descriptor.maximumContributors {
      let other = index + Int(random.uniform(below: UInt64(subjects.count - index)))
      subjects.swapAt(index, other)
    }
    return Array(subjects[..<descriptor.maximumContributors])
  }

  private func add(
    _ segment: Segment, _ subjects: [[LabelledRecord]], to sums: inout [Int64],
    random: inout RandomStream
  ) throws(FederationError) {
    var quantiser = Quantiser(clip: try segment.integerClip())
    switch segment.name {
    case .coarse:
      let statistics = CoarseStatistics(schema: task.schema)
      for records in subjects {
        let vector = try component("coarse statistics") {
          try statistics.contribution(of: records.map(\.values))
        }
        quantiser.add(vector, to: &sums, random: &random)
      }
    case .fine:
      guard case .bounds(let bounds) = artifact.stage else {
        throw .badArtifact(reason: "fine statistics need agreed bounds")
      }
      let statistics = try component("fine statistics") {
        try FineStatistics(schema: task.schema, bounds: bounds)
      }
      for records in subjects {
        let vector = try component("fine statistics") {
          try statistics.contribution(of: records.map(\.values))
        }
        quantiser.add(vector, to: &sums, random: &random)
      }
    case .update: try addUpdates(subjects, &quantiser, to: &sums, random: &random)
    case .evaluation: try addEvaluation(subjects, &quantiser, to: &sums, random: &random)
    }
  }

  private func addUpdates(
    _ subjects: [[LabelledRecord]], _ quantiser: inout Quantiser, to sums: inout [Int64],
    random: inout RandomStream
  ) throws(FederationError) {
    let batch = try trainingBatch(subjects)
    guard let model = artifact.model?.model else {
      throw .badArtifact(reason: "there is no model to train yet")
    }
    let trainer = LocalTrainer(model: model, algorithm: task.algorithm)
    var extended = [Float](repeating: 0, count: sums.count)
    let weight = Float(task.clipNorm * Self.countWeight)
    try component("local training") {
      try trainer.forEachUpdate(
        parameters: artifact.parameters, batch: batch, seed: descriptor.seed
      ) { _, update in
        _ = clipL2(update, to: Float(task.clipNorm))
        for index in update.indices { extended[index] = update[index] }
        extended[sums.count - 1] = weight
        quantiser.add(extended, to: &sums, random: &random)
      }
    }
  }

  private func addEvaluation(
    _ subjects: [[LabelledRecord]], _ quantiser: inout Quantiser, to sums: inout [Int64],
    random: inout RandomStream
  ) throws(FederationError) {
    let batch = try trainingBatch(subjects)
    guard let model = artifact.model?.model else {
      throw .badArtifact(reason: "there is no model to evaluate yet")
    }
    let scores = try component("scoring") {
      try model.scores(parameters: artifact.parameters, features: batch.features)
    }
    let layout = try component("evaluation") { try EvaluationLayout(bins: task.evaluationBins) }
    for contributor in 0..<subjects.count {
      let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
      let vector = layout.contribution(
        scores: Array(scores[rows]), labels: Array(batch.labels[rows]))
      quantiser.add(vector, to: &sums, random: &random)
    }
  }

  private func trainingBatch(
    _ subjects: [[LabelledRecord]]
  ) throws(FederationError) -> TrainingBatch {
    guard let pipeline = artifact.model?.pipeline else {
      throw .badArtifact(reason: "features are not agreed yet")
    }
    let records = subjects.flatMap { $0 }
    var offsets = [0]
    for subject in subjects { offsets.append(offsets[offsets.count - 1] + subject.count) }
    return try component("features") {
      try TrainingBatch(
        features: pipeline.encode(records.map(\.values)),
        labels: records.map { $0.label ? 1 : 0 }, contributorOffsets: offsets)
    }
  }
}

/// A segment's integer clip with its scratch memory.
private struct Quantiser {
  let clip: IntegerClip
  private var scratch: IntegerClip.Scratch

  init(clip: IntegerClip) {
    self.clip = clip
    scratch = IntegerClip.Scratch(dimension: clip.dimension)
  }

  /// Clips, rounds and adds one contributor's vector. What became of it depends on private data and
  /// stays here.
  mutating func add(_ vector: [Float], to sums: inout [Int64], random: inout RandomStream) {
    clip.quantise(vector, scratch: &scratch, random: &random, addingInto: &sums)
  }
}

/// Length, population and bound of a segment, from the task and the stage of the model alone.
package enum SegmentShape {
  /// What a segment must look like.
  package static func of(
    _ name: SegmentName, task: TaskSpecification, artifact: ModelArtifact
  ) throws(FederationError) -> (length: Int, population: Population, clipNorm: Double) {
    switch name {
    case .coarse:
      let statistics = CoarseStatistics(schema: task.schema)
      return (statistics.dimension, .training, statistics.l2Bound)
    case .fine:
      guard case .bounds(let bounds) = artifact.stage else {
        throw .badArtifact(reason: "fine statistics need agreed bounds")
      }
      let statistics = try component("fine statistics") {
        try FineStatistics(schema: task.schema, bounds: bounds)
      }
      return (statistics.dimension, .training, statistics.l2Bound)
    case .update:
      let weight = ContributionBuilder.countWeight
      return (
        artifact.parameters.count + 1, .training,
        task.clipNorm * (1 + weight * weight).squareRoot()
      )
    case .evaluation:
      let layout = try component("evaluation") { try EvaluationLayout(bins: task.evaluationBins) }
      return (layout.dimension, .heldOut, Double(layout.l2Bound))
    }
  }
}

/// Adds a node's share of every segment's noise.
enum NoiseShare {
  static func add(
    to values: inout [Int64], descriptor: RoundDescriptor, cohort: Int, random: inout RandomStream
  ) throws(FederationError) {
    guard values.count == descriptor.dimension else {
      throw .mismatch(
        what: "the contribution's length", expected: "\(descriptor.dimension)",
        actual: "\(values.count)")
    }
    var offset = 0
    for segment in descriptor.segments {
      let range = offset..<offset + segment.length
      offset = range.upperBound
      let share = try segment.noiseShare(
        cohort: cohort, minimumSurvivors: descriptor.minimumSurvivors,
        corruptPermille: descriptor.corruptPermille)
      guard share > 0 else { continue }
      let sampler = try component("noise") { try SkellamSampler(variance: share) }
      var part = Array(values[range])
      sampler.addNoise(to: &part, random: &random)
      values.replaceSubrange(range, with: part)
    }
  }
}
