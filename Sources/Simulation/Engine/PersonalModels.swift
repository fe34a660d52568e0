import Learning

/// The nodes' own models, as they come about beside the rounds of the global one.
///
/// Every process of a run computes all of them, so that they are the same whatever the number of processes.
protocol PersonalModels: AnyObject, Sendable {
  /// What the nodes of a cohort do, when they have the global parameters of the round.
  ///
  /// - Parameter round: from 1.
  func train(round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool) throws

  /// A node's own model when training is over, and what it chose, for people.
  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String)
}

/// What all methods need to know.
struct PersonalContext: Sendable {
  /// The most bytes of the nodes' own models.
  static let largestState = 2 << 30

  let model: Model
  let descent: PersonalDescent
  /// The shares of the classes over all nodes, if steps are balanced.
  let classShares: [Float]?
  let seed: UInt64
  let nodeCount: Int
  /// The bound on what a node gives to a model that is shared.
  let clipNorm: Double?

  func trainer(part: NetworkPart? = nil, epochs: Int? = nil) throws -> PersonalTrainer {
    try PersonalTrainer(
      model: model, settings: descent.settings(classShares: classShares, part: part, epochs: epochs))
  }

  /// The seed of a node's steps in a round.
  func seed(round: Int) -> UInt64 {
    var generator = SplitMix64(seed: seed ^ 0x7065_7273_6f6e_616c)
    generator = SplitMix64(seed: generator.next() &+ UInt64(round))
    return generator.next()
  }

  /// The mean loss on records; infinite for parameters that diverged.
  func loss(_ parameters: [Float], _ batch: TrainingBatch) throws -> Double {
    guard parameters.allSatisfy(\.isFinite) else { return .infinity }
    let scores = try model.scores(parameters: parameters, features: batch.features)
    return ExactMetrics.meanLoss(model.objective, scores: scores, labels: batch.labels)
  }

  /// Refuses a population whose models would not fit into memory.
  func checkMemory(parametersPerNode: Int) throws {
    let (values, overflow) = parametersPerNode.multipliedReportingOverflow(by: nodeCount)
    guard !overflow, values <= Self.largestState / 4 else {
      throw CentralRunError.invalidSetting(
        name: "the personalization",
        reason: "the own models of \(nodeCount) nodes would not fit into 2 GiB: take fewer nodes or a "
          + "smaller model, or method: fine-tuning, which keeps none")
    }
  }

  /// Calls `body` for the cohort's nodes that have records, on all workers; results in the cohort's order.
  func map<Result: Sendable>(
    _ cohort: [Int], _ batches: some NodeBatches, _ pool: WorkerPool,
    _ body: @escaping @Sendable (Int, TrainingBatch) throws -> Result
  ) throws -> [(node: Int, result: Result)] {
    try pool.map(cohort.count) { index -> (node: Int, result: Result)? in
      guard let batch = try batches.training(of: cohort[index]) else { return nil }
      return (cohort[index], try body(cohort[index], batch))
    }.compactMap { $0 }
  }

  /// `start` plus the mean of the clipped displacements within `range`; those that are not finite count as zeros.
  func moved(_ start: [Float], by displacements: [[Float]], in range: Range<Int>) -> [Float] {
    guard !displacements.isEmpty else { return start }
    var sum = [Double](repeating: 0, count: range.count)
    for displacement in displacements {
      var own = displacement
      own.withUnsafeMutableBufferPointer { buffer in
        _ = clipL2(buffer, to: clipNorm.map { Float($0) } ?? .greatestFiniteMagnitude)
      }
      for (index, value) in own.enumerated() { sum[index] += Double(value) }
    }
    var moved = start
    for (index, value) in zip(range, sum) { moved[index] += Float(value / Double(displacements.count)) }
    return moved
  }
}

extension Personalization {
  /// The models of this method, before the first round.
  func models(_ context: PersonalContext) throws -> any PersonalModels {
    switch self {
    case .fineTuning: FineTunedModels(context)
    case .ditto: try DittoModels(context)
    case .interpolation(_, let share): try InterpolatedModels(context, initialShare: share)
    case .sharedBody(_, let headEpochs): try SharedBodyModels(context, headEpochs: headEpochs)
    case .clusters(_, let count): ClusteredModels(context, count: count)
    }
  }
}
