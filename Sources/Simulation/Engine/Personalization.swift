package import Learning

/// How a node adapts the final model to its own records, which no other party sees.
package enum Personalization: Codable, Equatable, Sendable {
  /// Local mini-batch SGD from the global model (Wang et al., *Federated Evaluation of On-device Personalization*,
  /// 2019). Each node then keeps global + α · displacement, α among 0 (global), ¼, ½, ¾ and 1 (local), by the loss in
  /// a fourfold cross-validation over its own training records. Nodes with fewer than 24, where that would tell
  /// little but noise, take half of the displacement.
  case fineTuning(epochs: Int, batchSize: Int, learningRate: Float)

  /// Refuses impossible settings.
  package func validate() throws {
    switch self {
    case .fineTuning(let epochs, let batchSize, let learningRate):
      try LocalAlgorithm.fedAvg(epochs: epochs, batchSize: batchSize, learningRate: learningRate).validate()
    }
  }
}

/// What personal models gave on the nodes that have both training and held-out records.
package struct PersonalOutcome: Codable, Equatable, Sendable {
  /// The global model on these nodes' held-out records.
  package var global: PredictionMetrics
  /// Every node's own model on its held-out records.
  package var personal: PredictionMetrics
  /// Nodes.
  package var nodes: Int
  /// Nodes whose own model has a lower loss than the global one.
  package var betterNodes: Int
  /// Nodes whose own model has a higher loss than the global one; others chose the global one or tie.
  package var worseNodes: Int
  /// How many nodes chose each α, by its percentage.
  package var choices: [String: Int]

  /// What came of it, as one sentence.
  package var sentence: String {
    var text =
      "Own models have a lower loss than the global one on \(betterNodes) of \(nodes) nodes and a higher "
    text += "one on \(worseNodes)"
    let pairs = [
      ("accuracy", global.accuracy, personal.accuracy), ("AUC", global.auc, personal.auc),
      ("log loss", global.logLoss, personal.logLoss), ("RMSE", global.rmse, personal.rmse),
    ]
    for (name, before, after) in pairs {
      guard let before, let after else { continue }
      text +=
        "; \(name) \((after * 10_000).rounded() / 10_000) against \((before * 10_000).rounded() / 10_000)"
    }
    return text + "."
  }

  /// Fraction of nodes whose own model is better.
  package var betterShare: Double { nodes == 0 ? 0 : Double(betterNodes) / Double(nodes) }
}

/// Adapts a final model on every node and measures it there.
struct Personalizer {
  let method: Personalization
  let model: Model
  let parameters: [Float]
  let seed: UInt64

  /// The parts of a node's training records that choose α, and the fewest records for that.
  private static let folds = 4
  private static let fewestForChoice = 24
  private static let candidates: [Float] = [0, 0.25, 0.5, 0.75, 1]

  /// One node's scores under both models.
  struct NodeOutcome: Sendable {
    var global: [Float]
    var personal: [Float]
    var labels: [Float]
    var alpha: Float
  }

  /// Adapts on `training` and measures on `heldOut`, both of one node.
  func run(training: TrainingBatch, heldOut: TrainingBatch) throws -> NodeOutcome {
    let rows = Array(0..<training.labels.count)
    var alpha: Float = 0.5
    if rows.count >= Self.fewestForChoice {
      var losses = [Double](repeating: 0, count: Self.candidates.count)
      for fold in 0..<Self.folds {
        let own = rows.filter { $0 % Self.folds == fold }
        let trial = try displacement(on: training.rows(rows.filter { $0 % Self.folds != fold }))
        let validation = try training.rows(own)
        for (index, candidate) in Self.candidates.enumerated() {
          losses[index] += try loss(moved(by: candidate, trial), validation) * Double(own.count)
        }
      }
      var best = Double.infinity
      for (loss, candidate) in zip(losses, Self.candidates) where loss < best {
        (best, alpha) = (loss, candidate)
      }
    }
    var own = alpha == 0 ? parameters : moved(by: alpha, try displacement(on: training.rows(rows)))
    // Steps that diverged are none.
    if !own.allSatisfy(\.isFinite) { (own, alpha) = (parameters, 0) }
    return NodeOutcome(
      global: try model.scores(parameters: parameters, features: heldOut.features),
      personal: try model.scores(parameters: own, features: heldOut.features), labels: heldOut.labels,
      alpha: alpha)
  }

  private func displacement(on batch: TrainingBatch) throws -> [Float] {
    guard case .fineTuning(let epochs, let batchSize, let learningRate) = method else { return [] }
    let worker = try model.makeWorker(
      algorithm: .fedAvg(epochs: epochs, batchSize: batchSize, learningRate: learningRate))
    var result: [Float] = []
    try parameters.withUnsafeBufferPointer { start in
      try worker.forEachContribution(parameters: start, batch: batch, contributors: 0..<1, seed: seed) {
        result = Array($1)
      }
    }
    return result
  }

  private func moved(by alpha: Float, _ displacement: [Float]) -> [Float] {
    // Nothing of a displacement that diverged is still nothing.
    alpha == 0 ? parameters : zip(parameters, displacement).map { $0 + alpha * $1 }
  }

  private func loss(_ parameters: [Float], _ batch: TrainingBatch) throws -> Double {
    guard parameters.allSatisfy(\.isFinite) else { return .infinity }
    let scores = try model.scores(parameters: parameters, features: batch.features)
    return ExactMetrics.meanLoss(model.objective, scores: scores, labels: batch.labels)
  }

  /// What all nodes gave together.
  static func outcome(_ nodes: [NodeOutcome], objective: Objective) -> PersonalOutcome {
    func metrics(_ scores: (NodeOutcome) -> [Float]) -> PredictionMetrics {
      PredictionMetrics(
        objective: objective, scores: nodes.flatMap(scores), labels: nodes.flatMap(\.labels))
    }
    var (better, worse) = (0, 0)
    var choices: [String: Int] = [:]
    for node in nodes {
      let global = ExactMetrics.meanLoss(objective, scores: node.global, labels: node.labels)
      let personal = ExactMetrics.meanLoss(objective, scores: node.personal, labels: node.labels)
      better += personal < global ? 1 : 0
      worse += personal > global ? 1 : 0
      choices["\(Int(node.alpha * 100)) %", default: 0] += 1
    }
    return PersonalOutcome(
      global: metrics(\.global), personal: metrics(\.personal), nodes: nodes.count, betterNodes: better,
      worseNodes: worse, choices: choices)
  }
}
