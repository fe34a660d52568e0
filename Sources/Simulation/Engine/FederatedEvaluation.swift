import Federation
import Learning

/// Exact metrics of models on held-out records: what a researcher may see and a deployment may not.
struct FederatedEvaluation: Sendable {
  /// Held-out records of larger populations are measured on their first nodes.
  private static let mostRecords = 1 << 20
  private static let mostNodes = 20_000

  private let population: any VirtualPopulation
  private let nodes: FederatedNodes
  private let work: NodeWork
  private let measuredNodes: Int
  private let objective: Objective

  init(
    population: any VirtualPopulation, nodes: FederatedNodes, work: NodeWork, objective: Objective
  ) {
    self.objective = objective
    self.population = population
    self.nodes = nodes
    self.work = work
    measuredNodes =
      population.approximateRecordCount <= Self.mostRecords
      ? population.nodeCount : min(population.nodeCount, Self.mostNodes)
  }

  private struct Scored: Sendable {
    var scores: [Float] = []
    var labels: [Float] = []
  }

  /// The model on all held-out records.
  func metrics(_ artifact: ModelArtifact) throws -> RunOutcome.Metrics {
    metrics(try scored(artifact))
  }

  /// The final model, on all held-out records and on each node's.
  func final(
    _ artifact: ModelArtifact
  ) throws -> (metrics: RunOutcome.Metrics, nodes: [RunOutcome.Node], note: String?) {
    let scored = try scored(artifact)
    var perNode: [RunOutcome.Node] = []
    for (node, part) in scored.enumerated() where !part.labels.isEmpty {
      guard perNode.count < RunOutcome.maximumNodes else { break }
      perNode.append(
        RunOutcome.Node(node: node, name: population.name(of: node), metrics: metrics([part])))
    }
    let all = metrics(scored)
    let note: String? =
      if all.records == 0 {
        "No record is held out: there is nothing to measure the model on."
      } else if measuredNodes < population.nodeCount {
        "Exact metrics are those of the first \(measuredNodes) of \(population.nodeCount) nodes."
      } else { nil }
    return (all, perNode, note)
  }

  private func scored(_ artifact: ModelArtifact) throws -> [Scored] {
    guard let (pipeline, model) = artifact.model else { return [] }
    let nodes = nodes
    return try work.map("evaluate", measuredNodes) { node in
      guard let rows = try nodes.rows(of: node, pipeline).heldOutRows else { return Scored() }
      return Scored(
        scores: try model.scores(parameters: artifact.parameters, features: rows.features),
        labels: rows.labels)
    }
  }

  private func metrics(_ parts: [Scored]) -> RunOutcome.Metrics {
    RunOutcome.Metrics(
      objective: objective, scores: parts.flatMap(\.scores), labels: parts.flatMap(\.labels))
  }
}
