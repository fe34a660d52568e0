/// What every kind of model can do, so that one path trains all of them: contributors' vectors of a common
/// length are bounded, summed privately, and the server takes a step with their mean.
///
/// The state is one flat vector, the parameters, whatever it means to the model: weights, trees, centroids. A
/// model is a value without state of its own; adding one is a file with this protocol's functions and a line
/// in `ModelArchitecture`.
package protocol FederatedModel: Sendable {
  /// The rows that the model takes.
  var shape: FeatureShape { get }
  /// What the model predicts.
  var objective: Objective { get }

  /// Where training starts.
  func initialParameters(seed: UInt64) -> [Float]

  /// The length of what `initialParameters` gives.
  var initialParameterCount: Int { get }

  /// Refuses parameters that are not this model's: of another length, not finite, or structurally impossible.
  /// They may come from a hostile peer: whatever passes here must be safe to compute with.
  func check(parameters: [Float]) throws(LearningError)

  /// The length of a contributor's vector in the round that starts from these parameters.
  func contributionLength(parameters: [Float]) -> Int

  /// What one thread needs to compute contributors' vectors.
  func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker

  /// Moves the parameters on, by the mean of the contributors' vectors (of `contributionLength` values) and
  /// their number, which is noisy when the sum is.
  func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError)

  /// The scores of rows, row after row, `objective.outputs` for each. Parameters have passed `check`.
  func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float]
}

extension FederatedModel {
  /// Counts them; a model that knows the number without making them says so itself.
  package var initialParameterCount: Int { initialParameters(seed: 0).count }
}

/// Computes contributors' vectors on one thread, with memory that is allocated once.
///
/// A vector depends on the parameters, the contributor's rows and the seed alone, never on the worker or on
/// what it computed before.
package protocol ContributionWorker: AnyObject {
  /// Hands the vectors of the chosen contributors, in order, to `body`: see `LocalTrainer.forEachUpdate`.
  ///
  /// - Parameters:
  ///   - parameters: have passed `FederatedModel.check`.
  ///   - contributors: positions in the batch.
  ///   - body: gets the contributor's position and its vector, which it may change (clip) within `support`
  ///     and which is overwritten afterwards.
  func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws

  /// While `body` runs: the positions, each once, outside of which the contributor's vector is 0; nil if
  /// nothing is known. A tree's histogram has a few dozen values among many thousands.
  var support: [Int32]? { get }
}

extension ContributionWorker {
  /// Nothing is known of where the vectors are 0.
  package var support: [Int32]? { nil }
}
