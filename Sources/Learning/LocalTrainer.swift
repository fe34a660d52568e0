/// Computes the update of every contributor from that contributor's records alone.
package struct LocalTrainer: Sendable {
  /// The model that is trained.
  package let model: Model
  /// What an update is.
  package let algorithm: LocalAlgorithm

  /// A trainer; the algorithm's settings are checked when it runs.
  package init(model: Model, algorithm: LocalAlgorithm) {
    self.model = model
    self.algorithm = algorithm
  }

  /// Hands the update of every contributor, in order, to `body`.
  ///
  /// Updates point uphill: adding one to the parameters lowers that contributor's loss. An update is not
  /// clipped and may hold infinities or NaN if training diverged; `clipL2` turns such an update into zeros.
  ///
  /// - Parameters:
  ///   - parameters: the global parameters.
  ///   - batch: the contributors' rows.
  ///   - seed: of the local shuffles of FedAvg; the same for every contributor, so that no update depends on
  ///     which others are in the batch.
  ///   - body: gets the contributor's position in the batch and its update, `parameterCount` values that
  ///     it may change (clip) and that are overwritten afterwards. What it throws ends the loop.
  package func forEachUpdate(
    parameters: [Float], batch: TrainingBatch, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try algorithm.validate()
    try model.check(parameters: parameters)
    guard batch.features.columns == model.inputs else {
      throw LearningError.wrongCount(
        what: "a row of features", expected: model.inputs, actual: batch.features.columns)
    }
    guard batch.contributorCount > 0 else { return }
    switch algorithm {
    case .fedSGD: try gradients(parameters: parameters, batch: batch, body: body)
    case .fedAvg(let epochs, let batchSize, let learningRate):
      let descent = LocalDescent(
        model: model, epochs: epochs, batchSize: batchSize, learningRate: learningRate, seed: seed)
      try descent.forEachUpdate(parameters: parameters, batch: batch, body: body)
    }
  }

  private func gradients(
    parameters: [Float], batch: TrainingBatch,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let offsets = batch.contributorOffsets
    let blocks = Self.blocks(offsets: offsets)
    let largest = blocks.map { offsets[$0.upperBound] - offsets[$0.lowerBound] }.max() ?? 0
    let workspace = Workspace(layers: model.architecture.layers(inputs: model.inputs), rows: largest)
    let update = UnsafeMutableBufferPointer<Float>.allocate(capacity: model.parameterCount)
    defer { update.deallocate() }
    try parameters.withUnsafeBufferPointer { parameters in
      try batch.features.values.withUnsafeBufferPointer { features in
        try batch.labels.withUnsafeBufferPointer { labels in
          for block in blocks {
            let first = offsets[block.lowerBound]
            let rows = offsets[block.upperBound] - first
            let blockFeatures = features.baseAddress! + first * model.inputs
            workspace.forward(parameters: parameters.baseAddress!, features: blockFeatures, rows: rows)
            workspace.backward(
              parameters: parameters.baseAddress!, labels: labels.baseAddress! + first, rows: rows)
            for contributor in block {
              let count = offsets[contributor + 1] - offsets[contributor]
              workspace.gradient(
                features: blockFeatures, first: offsets[contributor] - first, rows: count,
                scale: -1 / Float(count), into: update.baseAddress!)
              try body(contributor, update)
            }
          }
        }
      }
    }
  }

  /// Ranges of contributors of about `Model.blockRows` rows each: never less than one contributor.
  static func blocks(offsets: [Int]) -> [Range<Int>] {
    var blocks: [Range<Int>] = []
    var start = 0
    for contributor in 0..<offsets.count - 1
    where contributor > start && offsets[contributor + 1] - offsets[start] > Model.blockRows {
      blocks.append(start..<contributor)
      start = contributor
    }
    blocks.append(start..<offsets.count - 1)
    return blocks
  }
}

/// Scales `vector` down to an L2 norm of at most `limit` (up to rounding), never up. A vector with a NaN or
/// an infinity becomes zero: it has no direction, and one contributor must not spoil the sum.
///
/// - Parameter limit: positive and finite.
/// - Returns: the norm before, infinity for a vector that was zeroed. It is as private as the vector.
@discardableResult
package func clipL2(_ vector: UnsafeMutableBufferPointer<Float>, to limit: Float) -> Float {
  precondition(limit > 0 && limit.isFinite, "a clip norm is positive and finite")
  var sum = 0.0
  for value in vector { sum += Double(value) * Double(value) }
  let norm = sum.squareRoot()
  guard norm.isFinite else {
    vector.update(repeating: 0)
    return .infinity
  }
  if norm > Double(limit) {
    let factor = Float(Double(limit) / norm)
    for index in vector.indices { vector[index] *= factor }
  }
  return Float(norm)
}
