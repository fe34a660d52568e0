import Learning

/// Encoded held-out records, for exact metrics of a model.
struct HeldOutRecords: Sendable {
  private static let blockRows = 4_096
  /// Nodes with held-out records, and where theirs are.
  private let nodes: [(node: Int, rows: Range<Int>)]
  private let blocks: [Matrix]
  private let labels: [Float]

  /// - Throws: `CentralRunError.nothingHeldOut` if there is no record.
  init(nodes: [Int], batches: [TrainingBatch?], columns: Int) throws {
    var labels: [Float] = []
    var owners: [(node: Int, rows: Range<Int>)] = []
    var blocks: [Matrix] = []
    var values: [Float] = []
    func close() throws {
      guard !values.isEmpty else { return }
      blocks.append(try Matrix(rows: values.count / columns, columns: columns, values: values))
      values = []
    }
    for (node, batch) in zip(nodes, batches) {
      guard let batch else { continue }
      owners.append((node, labels.count..<labels.count + batch.labels.count))
      labels.append(contentsOf: batch.labels)
      values.append(contentsOf: batch.features.values)
      if values.count >= Self.blockRows * columns { try close() }
    }
    try close()
    guard !labels.isEmpty else { throw CentralRunError.nothingHeldOut }
    self.nodes = owners
    self.blocks = blocks
    self.labels = labels
  }

  /// The logits of all records, in order.
  func scores(of model: Model, parameters: [Float], pool: WorkerPool) throws -> [Float] {
    let blocks = blocks
    return try pool.map(blocks.count) { try model.scores(parameters: parameters, features: blocks[$0]) }
      .flatMap { $0 }
  }

  /// Exact metrics of all records.
  func metrics(scores: [Float]) -> RunOutcome.Metrics { Self.metrics(scores, labels) }

  /// Exact metrics of single nodes, of the first `RunOutcome.maximumNodes`.
  func nodeMetrics(scores: [Float], name: (Int) -> String) -> [RunOutcome.Node] {
    nodes.prefix(RunOutcome.maximumNodes).map { node, rows in
      RunOutcome.Node(
        node: node, name: name(node), metrics: Self.metrics(Array(scores[rows]), Array(labels[rows])))
    }
  }

  private static func metrics(_ scores: [Float], _ labels: [Float]) -> RunOutcome.Metrics {
    RunOutcome.Metrics(
      auc: ExactMetrics.auc(scores: scores, labels: labels),
      accuracy: ExactMetrics.accuracy(scores: scores, labels: labels) ?? 0,
      logLoss: ExactMetrics.logLoss(scores: scores, labels: labels) ?? 0, records: labels.count)
  }
}
