import Learning

/// Nodes whose features are in memory as numbers: what benchmarks train on.
package struct DensePopulation: NodeBatches {
  private let nodes: [TrainingBatch]

  /// One contributor on each of `nodes` nodes, with `records` records of `features` numbers from −1 to 1; labels
  /// follow from a linear rule with some noise.
  package init(nodes: Int, records: Int, features: Int, seed: UInt64) throws {
    var generator = SplitMix64(seed: seed)
    func draw() -> Float { Float(generator.next() >> 40) * 0x1p-23 - 1 }
    let rule = (0..<features).map { _ in draw() }
    self.nodes = try (0..<nodes).map { _ in
      let values = (0..<records * features).map { _ in draw() }
      let labels = (0..<records).map { record in
        let signal = (0..<features).reduce(Float(0)) { $0 + values[record * features + $1] * rule[$1] }
        return signal + draw() > 0 ? Float(1) : 0
      }
      return try TrainingBatch(
        features: Matrix(rows: records, columns: features, values: values), labels: labels,
        contributorOffsets: [0, records])
    }
  }

  /// The number of nodes.
  package var nodeCount: Int { nodes.count }

  func training(of node: Int) -> TrainingBatch? { nodes[node] }
}
