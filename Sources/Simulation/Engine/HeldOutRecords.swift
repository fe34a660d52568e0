import Learning

/// Exact metrics of a model on held-out records.
protocol ModelEvaluation: Sendable {
  /// The metrics of all records, and those of single nodes, of the first `RunOutcome.maximumNodes`, if they are
  /// wanted.
  func measure(
    parameters: [Float], pool: WorkerPool, nodeName: ((Int) -> String)?
  ) throws -> (all: RunOutcome.Metrics, nodes: [RunOutcome.Node])
}

/// Encoded held-out records, for models whose score of a row depends on nothing else.
struct HeldOutRecords: ModelEvaluation {
  private static let blockRows = 4_096
  /// Nodes with held-out records, and where theirs are.
  private let nodes: [(node: Int, rows: Range<Int>)]
  private let blocks: [Matrix]
  private let labels: [Float]
  private let objective: Objective
  private let model: Model

  /// - Throws: `CentralRunError.nothingHeldOut` if there is no record.
  init(nodes: [Int], batches: [TrainingBatch?], model: Model) throws {
    var labels: [Float] = []
    var owners: [(node: Int, rows: Range<Int>)] = []
    var blocks: [Matrix] = []
    var open: [Matrix] = []
    func close() throws {
      guard !open.isEmpty else { return }
      blocks.append(try Matrix.joined(open))
      open = []
    }
    for (node, batch) in zip(nodes, batches) {
      guard let batch else { continue }
      owners.append((node, labels.count..<labels.count + batch.labels.count))
      labels.append(contentsOf: batch.labels)
      open.append(batch.features)
      if open.reduce(0, { $0 + $1.rows }) >= Self.blockRows { try close() }
    }
    try close()
    guard !labels.isEmpty else { throw CentralRunError.nothingHeldOut }
    self.nodes = owners
    self.blocks = blocks
    self.labels = labels
    objective = model.objective
    self.model = model
  }

  func measure(
    parameters: [Float], pool: WorkerPool, nodeName: ((Int) -> String)?
  ) throws -> (all: RunOutcome.Metrics, nodes: [RunOutcome.Node]) {
    let (blocks, model, outputs) = (blocks, model, objective.outputs)
    let scores = try pool.map(blocks.count) { try model.scores(parameters: parameters, features: blocks[$0]) }
      .flatMap { $0 }
    var all = RunOutcome.Metrics(objective: objective, scores: scores, labels: labels)
    guard let nodeName else { return (all, []) }
    if case .segments(let count) = objective {
      all.pairwiseSilhouette = ExactMetrics.silhouette(
        features: try Matrix.joined(blocks),
        segments: labels.indices.map {
          ExactMetrics.likeliest(scores[$0 * outputs..<$0 * outputs + count])
        })
    }
    let single = nodes.prefix(RunOutcome.maximumNodes).map { node, rows in
      RunOutcome.Node(
        node: node, name: nodeName(node),
        metrics: RunOutcome.Metrics(
          objective: objective, scores: Array(scores[rows.lowerBound * outputs..<rows.upperBound * outputs]),
          labels: Array(labels[rows])))
    }
    return (all, single)
  }
}
