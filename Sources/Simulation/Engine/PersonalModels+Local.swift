import Learning

/// Fine-tuning of the final model: nothing is done before.
final class FineTunedModels: PersonalModels {
  private let context: PersonalContext

  /// The parts of a node's training records that choose α, and the fewest records for that.
  private static let folds = 4
  private static let fewestForChoice = 24
  private static let candidates: [Float] = [0, 0.25, 0.5, 0.75, 1]

  init(_ context: PersonalContext) { self.context = context }

  func train(
    round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool
  ) throws {}

  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String) {
    let trainer = try context.trainer()
    func tuned(on batch: TrainingBatch) throws -> [Float] {
      try trainer.adapt(from: global, anchor: global, batch: batch, seed: context.seed(round: 0))
    }
    let rows = Array(0..<records.labels.count)
    var alpha: Float = 0.5
    if rows.count >= Self.fewestForChoice {
      var losses = [Double](repeating: 0, count: Self.candidates.count)
      for fold in 0..<Self.folds {
        let own = rows.filter { $0 % Self.folds == fold }
        let trial = try tuned(on: records.rows(rows.filter { $0 % Self.folds != fold }))
        let validation = try records.rows(own)
        for (index, candidate) in Self.candidates.enumerated() {
          losses[index] +=
            try context.loss(PersonalTrainer.mixed(trial, candidate, global), validation) * Double(own.count)
        }
      }
      var best = Double.infinity
      for (loss, candidate) in zip(losses, Self.candidates) where loss < best {
        (best, alpha) = (loss, candidate)
      }
    }
    var own = alpha == 0 ? global : PersonalTrainer.mixed(try tuned(on: records), alpha, global)
    // Steps that diverged are none.
    if !own.allSatisfy(\.isFinite) { (own, alpha) = (global, 0) }
    return (own, "\(Int(alpha * 100)) %")
  }
}

/// A model of each node's own, held near the global one.
final class DittoModels: PersonalModels, @unchecked Sendable {
  // `models` is changed between parallel work alone.
  private let context: PersonalContext
  private var models: [Int: [Float]] = [:]

  init(_ context: PersonalContext) throws {
    self.context = context
    try context.checkMemory(parametersPerNode: context.model.parameterCount)
  }

  func train(
    round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool
  ) throws {
    let (context, models) = (context, models)
    let moved = try context.map(cohort, batches, pool) { node, batch in
      try Self.adapted(models[node], global, batch, context, round: round)
    }
    for (node, own) in moved { self.models[node] = own }
  }

  private static func adapted(
    _ own: [Float]?, _ global: [Float], _ batch: TrainingBatch, _ context: PersonalContext, round: Int
  ) throws -> [Float] {
    let trainer = try context.trainer()
    let adapted = try trainer.adapt(
      from: trainer.start(own, global), anchor: global, batch: batch, seed: context.seed(round: round))
    return adapted.allSatisfy(\.isFinite) ? adapted : global
  }

  /// The node's model, once more moved towards its optimum beside the final global one.
  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String) {
    (try Self.adapted(models[node], global, records, context, round: 0), "own")
  }
}

/// A model of each node's own and its share in a mixture with the global one.
final class InterpolatedModels: PersonalModels, @unchecked Sendable {
  private struct Own: Sendable {
    var parameters: [Float]
    var share: Float
  }

  // `models` is changed between parallel work alone.
  private let context: PersonalContext
  private let initialShare: Float
  private var models: [Int: Own] = [:]

  init(_ context: PersonalContext, initialShare: Float) throws {
    self.context = context
    self.initialShare = initialShare
    try context.checkMemory(parametersPerNode: context.model.parameterCount)
  }

  func train(
    round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool
  ) throws {
    let (context, models, initialShare) = (context, models, initialShare)
    let moved = try context.map(cohort, batches, pool) { node, batch in
      try Self.moved(
        models[node] ?? Own(parameters: global, share: initialShare), global, batch, context, round: round)
    }
    for (node, own) in moved { self.models[node] = own }
  }

  private static func moved(
    _ start: Own, _ global: [Float], _ batch: TrainingBatch, _ context: PersonalContext, round: Int
  ) throws -> Own {
    var own = start
    let trainer = try context.trainer()
    own.parameters = trainer.start(start.parameters, global)
    try trainer.interpolate(
      own: &own.parameters, share: &own.share, global: global, batch: batch, seed: context.seed(round: round))
    return own.parameters.allSatisfy(\.isFinite) ? own : Own(parameters: global, share: start.share)
  }

  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String) {
    let start = models[node] ?? Own(parameters: global, share: initialShare)
    let own = try Self.moved(start, global, records, context, round: 0)
    let tenths = Int((own.share * 10).rounded())
    return (PersonalTrainer.mixed(own.parameters, own.share, global), "\(tenths * 10) %")
  }
}
