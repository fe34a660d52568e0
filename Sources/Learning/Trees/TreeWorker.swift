/// Computes contributors' histograms on one thread: see `TreeRound`.
///
/// What it keeps between calls are the parameters that it read last, compared whole before they are used
/// again, and memory.
package final class TreeWorker: ContributionWorker {
  private let model: BoostedTrees
  private let scale: DerivativeScale
  private var ensemble: (parameters: [Float], read: TreeEnsemble, round: TreeRound)?
  private var bins: [UInt8] = []
  private var scores: [Float] = []
  private var nodes: [Int32] = []
  private var vector: [Float] = []
  /// Where the contributor's vector is not 0; each position once, by the mark that `stamps` has there.
  private var touched: [Int32] = []
  private var stamps: [UInt32] = []
  private var stamp: UInt32 = 0

  package var support: [Int32]? { touched }

  init(model: BoostedTrees) {
    self.model = model
    scale = DerivativeScale(model.settings)
  }

  package func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try batch.check(shape: model.shape, objective: model.objective)
    precondition(
      contributors.lowerBound >= 0 && contributors.upperBound <= batch.contributorCount,
      "contributors are positions in the batch")
    let (ensemble, round) = try read(parameters)
    if vector.count != round.length {
      vector = [Float](repeating: 0, count: round.length)
      stamps = [UInt32](repeating: 0, count: round.length)
      stamp = 0
    } else {
      for index in touched { vector[Int(index)] = 0 }
    }
    touched.removeAll(keepingCapacity: true)
    for block in LocalWorker.blocks(offsets: batch.contributorOffsets, contributors: contributors)
    where !block.isEmpty {
      try prepare(batch, rows: batch.contributorOffsets[block.lowerBound], block, ensemble, round)
      for contributor in block {
        let first = batch.contributorOffsets[block.lowerBound]
        let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
        try batch.labels.withUnsafeBufferPointer { labels in
          try vector.withUnsafeMutableBufferPointer { vector in
            for index in touched { vector[Int(index)] = 0 }
            touched.removeAll(keepingCapacity: true)
            nextStamp()
            add(labels, rows: rows, first: first, round, to: vector)
            try body(contributor, vector)
          }
        }
      }
    }
  }

  private func read(
    _ parameters: UnsafeBufferPointer<Float>
  ) throws(LearningError) -> (TreeEnsemble, TreeRound) {
    if let ensemble, ensemble.parameters.elementsEqual(parameters) { return (ensemble.read, ensemble.round) }
    let read = try TreeEnsemble(parameters: parameters, settings: model.settings, shape: model.shape)
    let round = model.round(of: read)
    ensemble = (Array(parameters), read, round)
    return (read, round)
  }

  /// The bins of a block's rows, their scores by the finished trees, and where the open nodes are among those
  /// of the growing one.
  private func prepare(
    _ batch: TrainingBatch, rows first: Int, _ block: Range<Int>, _ ensemble: TreeEnsemble, _ round: TreeRound
  ) throws(LearningError) {
    guard round.nodes > 0 else { return }
    let rows = batch.contributorOffsets[block.upperBound] - first
    let columns = model.shape.columns
    if scores.count < rows {
      scores = [Float](repeating: 0, count: rows)
      nodes = [Int32](repeating: 0, count: rows)
      bins = [UInt8](repeating: 0, count: rows * columns)
    }
    let isValid = batch.features.values.withUnsafeBufferPointer { values in
      bins.withUnsafeMutableBufferPointer { bins in
        model.convert(values.baseAddress! + first * columns, rows: rows, into: bins.baseAddress!)
      }
    }
    guard isValid else { throw BoostedTrees.cellsOutOfRange }
    var openings = [Int32](repeating: -1, count: (ensemble.openNodes.last ?? 0) + 1)
    for (opening, node) in ensemble.openNodes.enumerated() { openings[node] = Int32(opening) }
    bins.withUnsafeBufferPointer { bins in
      scores.withUnsafeMutableBufferPointer { scores in
        ensemble.score(bins: bins.baseAddress!, rows: rows, columns: columns, into: scores.baseAddress!)
      }
      nodes.withUnsafeMutableBufferPointer { nodes in
        openings.withUnsafeBufferPointer { openings in
          ensemble.forEachEnd(bins: bins.baseAddress!, rows: rows, columns: columns) { row, node in
            nodes[row] = node < openings.count ? openings[node] : -1
          }
        }
      }
    }
  }

  /// Makes all marks old.
  private func nextStamp() {
    if stamp == .max {
      stamps = [UInt32](repeating: 0, count: stamps.count)
      stamp = 0
    }
    stamp += 1
  }

  /// Notes a position, always an even one, and the one behind it if there is one.
  private func touch(_ index: Int) {
    guard stamps[index] != stamp else { return }
    stamps[index] = stamp
    touched.append(Int32(index))
    if index + 1 < stamps.count { touched.append(Int32(index + 1)) }
  }

  /// Adds one contributor's average.
  ///
  /// - Parameter first: the row of the batch that the block's memory begins with.
  private func add(
    _ labels: UnsafeBufferPointer<Float>, rows: Range<Int>, first: Int, _ round: TreeRound,
    to vector: UnsafeMutableBufferPointer<Float>
  ) {
    let weight = 1 / Float(rows.count)
    if round.isFirst {
      touch(0)
      for row in rows {
        vector[0] += min(max(labels[row] / scale.labelLimit, -1), 1) * weight
      }
      return
    }
    let columns = model.shape.columns
    let factor = weight * round.share
    let (gradientLimit, curvatureLimit) = (scale.gradientLimit, scale.curvatureLimit)
    for row in rows where round.nodes > 0 {
      let node = Int(nodes[row - first])
      guard node >= 0 else { continue }
      var gradient: Float = 0
      let curvature = withUnsafePointer(to: scores[row - first]) {
        model.objective.gradient(
          scores: UnsafeBufferPointer(start: $0, count: 1), label: labels[row], into: &gradient)
      }
      gradient = min(max(gradient, -gradientLimit), gradientLimit) * scale.gradientFactor * factor
      let cut = min(max(curvature, 0), curvatureLimit) * scale.curvatureFactor * factor
      let start = 2 * node * round.binsPerNode
      if round.columns.isEmpty {
        touch(start)
        vector[start] += gradient
        vector[start + 1] += cut
      }
      for (position, column) in round.columns.enumerated() {
        let bin = Int(bins[(row - first) * columns + column])
        let index = start + 2 * (round.offsets[position] + bin)
        touch(index)
        vector[index] += gradient
        vector[index + 1] += cut
      }
    }
  }
}
