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

  /// What one thread needs to compute updates of any number of batches; refuses impossible settings of the
  /// algorithm.
  package func makeWorker() throws(LearningError) -> any ContributionWorker {
    try model.makeWorker(algorithm: algorithm)
  }

  /// Hands the update of every contributor, in order, to `body`.
  ///
  /// Updates point uphill: adding one to the parameters lowers that contributor's loss. An update is not
  /// clipped and may hold infinities or NaN if training diverged; `clipL2` turns such an update into zeros.
  ///
  /// - Parameters:
  ///   - parameters: the global parameters.
  ///   - batch: the contributors' rows.
  ///   - seed: of the local shuffles of FedAvg and of dropout; the same for every contributor, so that no
  ///     update depends on which others are in the batch.
  ///   - body: gets the contributor's position in the batch and its update, `contributionLength` values that
  ///     it may scale or clear (clip: what is 0 must stay 0) and that are overwritten afterwards. What it
  ///     throws ends the loop.
  package func forEachUpdate(
    parameters: [Float], batch: TrainingBatch, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try model.check(parameters: parameters)
    let worker = try makeWorker()
    try parameters.withUnsafeBufferPointer {
      try worker.forEachContribution(
        parameters: $0, batch: batch, contributors: 0..<batch.contributorCount, seed: seed, body: body)
    }
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
  guard let values = vector.baseAddress else { return 0 }
  let norm = VectorKernels.squaredNorm(values, count: vector.count).squareRoot()
  guard norm.isFinite else {
    vector.update(repeating: 0)
    return .infinity
  }
  if norm > Double(limit) {
    VectorKernels.scale(values, count: vector.count, by: Float(Double(limit) / norm))
  }
  return Float(norm)
}
