package import Consent
package import Cryptography
import Foundation
package import Learning
package import Privacy

/// One labelled record as the federation's pipeline reads it.
package struct LabelledRecord: Sendable, Equatable {
  /// Cells in the order of the task's schema.
  package let values: RawRecord
  /// The outcome: 0 or 1, the number of a class, or a number.
  package let label: Float

  package init(values: RawRecord, label: Float) {
    self.values = values
    self.label = label
  }

  /// A record of one of two classes.
  package init(values: RawRecord, label: Bool) {
    self.init(values: values, label: label ? 1 : 0)
  }
}

/// Turns consented records into the integer vector of a session, without noise.
package protocol ContributionBuilding: Sendable {
  /// The node's integer sums over the whole vector.
  func build(
    training: ConsentedBatch<LabelledRecord>?, heldOut: ConsentedBatch<LabelledRecord>?,
    random: inout RandomStream
  ) throws(FederationError) -> [Int64]
}

/// Who contributes to a segment: the same rules for every kind of task.
struct Contributors {
  let terms: any TaskTerms
  let maximum: Int
  let training: ConsentedBatch<LabelledRecord>?
  let heldOut: ConsentedBatch<LabelledRecord>?

  /// Consent is specific: who agreed to another purpose did not agree to this one.
  func checkPurpose() throws(FederationError) {
    for (batch, population) in [(training, Population.training), (heldOut, .heldOut)] {
      guard let batch, batch.purpose != terms.consentPurpose else { continue }
      throw .mismatch(
        what: "the purpose of the \(population.rawValue) batch", expected: terms.consentPurpose.description,
        actual: batch.purpose.description)
    }
  }

  /// The records of each contributor of a population, at most `maximum` of them: a uniform choice when there
  /// are more.
  func records(
    of population: Population, random: inout RandomStream
  ) throws(FederationError) -> [[LabelledRecord]] {
    var subjects = (population == .training ? training : heldOut)?.subjects.map(\.records) ?? []
    if let chosen = Self.choice(of: subjects.count, atMost: maximum, random: &random) {
      subjects = chosen.map { subjects[$0] }
    }
    try Self.check(subjects.lazy.map(\.count), terms)
    return subjects
  }

  /// The positions of `maximum` of so many contributors, drawn uniformly; nil if all take part, in their order.
  static func choice(of count: Int, atMost maximum: Int, random: inout RandomStream) -> [Int]? {
    guard count > maximum else { return nil }
    var positions = Array(0..<count)
    for index in 0..<maximum {
      let other = index + Int(random.uniform(below: UInt64(count - index)))
      positions.swapAt(index, other)
    }
    positions.removeLast(count - maximum)
    return positions
  }

  /// Clipping bounds a contributor. It bounds a record only where a contributor has one.
  static func check(
    _ recordCounts: some Sequence<Int>, _ terms: any TaskTerms
  ) throws(FederationError) {
    guard terms.unit != .record || recordCounts.allSatisfy({ $0 == 1 }) else {
      throw .invalidTask(
        field: "unit", reason: "is record, but a contributor has several records; use customer")
    }
  }
}

extension FederationTask {
  /// What builds this node's vector for a session that starts from `artifact`. Throws if the descriptor's
  /// vector is not the one that task and artifact ask for.
  package func contributions(
    descriptor: RoundDescriptor, artifact: TaskArtifact
  ) throws(FederationError) -> any ContributionBuilding {
    switch (self, artifact) {
    case (.training(let task), .model(let artifact)):
      return try ContributionBuilder(task: task, descriptor: descriptor, artifact: artifact)
    case (.statistics(let task), .statistics(let state)):
      return try StatisticsContribution(task: task, descriptor: descriptor, state: state)
    case (.training, .statistics), (.statistics, .model):
      throw .badArtifact(reason: "it belongs to another kind of task")
    }
  }
}

/// Builds the vector of a training task: per contributor a vector of bounded norm, clipped and rounded in
/// integers, summed over the node's contributors.
package struct ContributionBuilder: ContributionBuilding {
  private let task: TaskSpecification
  private let descriptor: RoundDescriptor
  private let artifact: ModelArtifact
  /// C of this session.
  private let clipNorm: Double

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
    clipNorm = try SegmentShape.clipNorm(of: descriptor, task: task)
    // What the server calls the model must be what the operator signed: scores and labels are read as the
    // task's from here on.
    guard artifact.task == task.id, artifact.architecture == task.architecture else {
      throw .badArtifact(reason: "it is of another task or architecture than the signed one")
    }
    if let pipeline = artifact.model?.pipeline, pipeline.schema != task.schema {
      throw .badArtifact(reason: "its features are of other columns than the task's")
    }
    for segment in descriptor.segments {
      let expected = try SegmentShape.of(
        segment.name, task: task, artifact: artifact, clipNorm: clipNorm)
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
      // The event is charged by these bounds: smaller ones would understate it.
      guard expected.sensitivity == segment.sensitivity else {
        throw .mismatch(
          what: "the sensitivity of segment \(segment.name.rawValue)",
          expected: expected.sensitivity.map { "\($0)" } ?? "that of its clip norm",
          actual: segment.sensitivity.map { "\($0)" } ?? "that of its clip norm")
      }
    }
  }

  /// The node's integer sums over the whole vector, without noise.
  package func build(
    training: ConsentedBatch<LabelledRecord>?, heldOut: ConsentedBatch<LabelledRecord>?,
    random: inout RandomStream
  ) throws(FederationError) -> [Int64] {
    let contributors = Contributors(
      terms: task, maximum: descriptor.maximumContributors, training: training, heldOut: heldOut)
    try contributors.checkPurpose()
    return try build(from: .records(contributors), random: &random)
  }

  /// The same integers from records that were encoded before: for who asks the same node again and again.
  /// - Throws: `mismatch` if they were encoded for another pipeline, or the session is one of statistics.
  package func build(
    _ encoded: EncodedContributors, random: inout RandomStream
  ) throws(FederationError) -> [Int64] {
    try encoded.check(task, artifact)
    return try build(from: .encoded(encoded), random: &random)
  }

  /// Where the contributors' records come from.
  private enum Source {
    case records(Contributors)
    case encoded(EncodedContributors)
  }

  private func build(from source: Source, random: inout RandomStream) throws(FederationError) -> [Int64] {
    var vector: [Int64] = []
    vector.reserveCapacity(descriptor.dimension)
    /// Sum of the contributors' bits, found when their updates were computed.
    var bits: Int64 = 0
    for segment in descriptor.segments {
      var sums = [Int64](repeating: 0, count: segment.length)
      switch segment.name {
      case .coarse, .fine: try addStatistics(segment, source, to: &sums, random: &random)
      case .update: bits = try addUpdates(segment, source, to: &sums, random: &random)
      case .clipping: sums = [bits]
      case .evaluation: try addEvaluation(segment, source, to: &sums, random: &random)
      case .query: throw SegmentShape.foreign(segment.name)
      }
      vector.append(contentsOf: sums)
    }
    return vector
  }

  private func addStatistics(
    _ segment: Segment, _ source: Source, to sums: inout [Int64], random: inout RandomStream
  ) throws(FederationError) {
    guard case .records(let contributors) = source else { throw SegmentShape.foreign(segment.name) }
    let subjects = try contributors.records(of: segment.population, random: &random)
    guard !subjects.isEmpty else { return }
    var quantiser = Quantiser(clip: try segment.integerClip())
    let contribution: ([RawRecord]) throws -> [Float]
    if segment.name == .coarse {
      contribution = CoarseStatistics(schema: task.schema).contribution
    } else {
      guard case .bounds(let bounds) = artifact.stage else {
        throw .badArtifact(reason: "fine statistics need agreed bounds")
      }
      contribution = try component("fine statistics") {
        try FineStatistics(schema: task.schema, bounds: bounds)
      }.contribution
    }
    for records in subjects {
      let vector = try component("\(segment.name.rawValue) statistics") {
        try contribution(records.map(\.values))
      }
      quantiser.add(vector, to: &sums, random: &random)
    }
  }

  /// Returns the sum of the bits that say whose update was within C.
  private func addUpdates(
    _ segment: Segment, _ source: Source, to sums: inout [Int64], random: inout RandomStream
  ) throws(FederationError) -> Int64 {
    guard let batch = try batch(segment, source, random: &random) else { return 0 }
    guard let model = artifact.model?.model else {
      throw .badArtifact(reason: "there is no model to train yet")
    }
    var quantiser = Quantiser(clip: try segment.integerClip())
    let worker = try component("algorithm") { try model.makeWorker(algorithm: task.algorithm) }
    var extended = [Float](repeating: 0, count: sums.count)
    let weight = Float(clipNorm * Self.countWeight)
    let limit = Float(clipNorm)
    var bits: Int64 = 0
    try component("local training") {
      try artifact.parameters.withUnsafeBufferPointer { parameters in
        try worker.forEachContribution(
          parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount,
          seed: descriptor.seed
        ) { _, update in
          let norm = clipL2(update, to: limit)
          bits += AdaptiveClipping.encode(norm: Double(norm), clipNorm: Double(limit))
          for index in update.indices { extended[index] = update[index] }
          extended[sums.count - 1] = weight
          quantiser.add(extended, to: &sums, random: &random)
        }
      }
    }
    return bits
  }

  private func addEvaluation(
    _ segment: Segment, _ source: Source, to sums: inout [Int64], random: inout RandomStream
  ) throws(FederationError) {
    guard let batch = try batch(segment, source, random: &random) else { return }
    guard let model = artifact.model?.model else {
      throw .badArtifact(reason: "there is no model to evaluate yet")
    }
    var quantiser = Quantiser(clip: try segment.integerClip())
    let scores = try component("scoring") {
      try model.scores(parameters: artifact.parameters, features: batch.features)
    }
    let layout = try task.evaluationLayout()
    for contributor in 0..<batch.contributorCount {
      let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
      let outputs = layout.objective.outputs
      let vector = layout.contribution(
        scores: Array(scores[rows.lowerBound * outputs..<rows.upperBound * outputs]),
        labels: Array(batch.labels[rows]))
      quantiser.add(vector, to: &sums, random: &random)
    }
  }

  /// The rows of a segment's contributors, at most as many contributors as the session allows; nil if there
  /// is none.
  private func batch(
    _ segment: Segment, _ source: Source, random: inout RandomStream
  ) throws(FederationError) -> TrainingBatch? {
    switch source {
    case .records(let contributors):
      let subjects = try contributors.records(of: segment.population, random: &random)
      guard !subjects.isEmpty else { return nil }
      guard let pipeline = artifact.model?.pipeline else {
        throw .badArtifact(reason: "features are not agreed yet")
      }
      return try EncodedContributors.encode(
        subjects, pipeline: pipeline, architecture: artifact.architecture)
    case .encoded(let encoded):
      return try encoded.batch(
        of: segment.population, atMost: descriptor.maximumContributors, task, random: &random)
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
  package typealias Shape = (
    length: Int, population: Population, clipNorm: Double, sensitivity: StatisticsSensitivity?
  )

  /// What a segment must look like. `clipNorm`: C of the session; nil for the task's.
  package static func of(
    _ name: SegmentName, task: TaskSpecification, artifact: ModelArtifact, clipNorm: Double? = nil
  ) throws(FederationError) -> Shape {
    switch name {
    case .coarse:
      let statistics = CoarseStatistics(schema: task.schema)
      return (statistics.dimension, .training, statistics.l2Bound, nil)
    case .fine:
      guard case .bounds(let bounds) = artifact.stage else {
        throw .badArtifact(reason: "fine statistics need agreed bounds")
      }
      let statistics = try component("fine statistics") {
        try FineStatistics(schema: task.schema, bounds: bounds)
      }
      return (statistics.dimension, .training, statistics.l2Bound, nil)
    case .update:
      guard let model = artifact.model?.model else {
        throw .badArtifact(reason: "there is no model to train yet")
      }
      return (
        model.contributionLength(parameters: artifact.parameters) + 1, .training,
        (clipNorm ?? task.clipNorm) * widening, nil
      )
    case .clipping:
      guard task.adaptiveClipping != nil else { throw foreign(name) }
      return (1, .training, 0.5, AdaptiveClipping.sensitivity)
    case .evaluation:
      let layout = try task.evaluationLayout()
      return (layout.dimension, .heldOut, Double(layout.l2Bound), nil)
    case .query: throw foreign(name)
    }
  }

  /// The segment's bound relative to C: the counting coordinate comes on top.
  private static let widening =
    (1 + ContributionBuilder.countWeight * ContributionBuilder.countWeight).squareRoot()

  /// C of a training session: the task's, or with adaptive clipping what the descriptor says, within the
  /// task's limits.
  static func clipNorm(
    of descriptor: RoundDescriptor, task: TaskSpecification
  ) throws(FederationError) -> Double {
    guard let plan = task.adaptiveClipping,
      let update = descriptor.segments.first(where: { $0.name == .update })
    else { return task.clipNorm }
    let norm = update.clipNorm / widening
    guard norm >= plan.minimumClipNorm * (1 - 1e-9), norm <= plan.maximumClipNorm * (1 + 1e-9) else {
      throw .mismatch(
        what: "the clip norm of segment update",
        expected: "\(plan.minimumClipNorm * widening) to \(plan.maximumClipNorm * widening)",
        actual: "\(update.clipNorm)")
    }
    return norm
  }

  static func foreign(_ name: SegmentName) -> FederationError {
    .mismatch(
      what: "a segment of the session", expected: "one that the task asks for", actual: name.rawValue)
  }
}
