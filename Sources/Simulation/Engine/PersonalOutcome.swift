package import Learning

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
  /// How many nodes chose what: a share of their own model by its percentage, or a cluster.
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

/// One node's scores under both models.
struct PersonalNode: Sendable {
  var global: [Float]
  var personal: [Float]
  var labels: [Float]
  var choice: String

  /// What all nodes gave together.
  static func outcome(_ nodes: [PersonalNode], objective: Objective) -> PersonalOutcome {
    func metrics(_ scores: (PersonalNode) -> [Float]) -> PredictionMetrics {
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
      choices[node.choice, default: 0] += 1
    }
    return PersonalOutcome(
      global: metrics(\.global), personal: metrics(\.personal), nodes: nodes.count, betterNodes: better,
      worseNodes: worse, choices: choices)
  }
}
