/// A model without its parameters: they change every round and travel as a flat vector. What it does is up to
/// the `FederatedModel` that its architecture makes.
package struct Model: Equatable, Sendable {
  /// The kind and its settings.
  package let architecture: ModelArchitecture
  /// The rows that the model takes.
  package var shape: FeatureShape { implementation.shape }
  /// The model behind the facade.
  package let implementation: any FederatedModel

  /// A model of an architecture that passed `ModelArchitecture.validate(shape:)`.
  package init(architecture: ModelArchitecture, shape: FeatureShape) {
    self.architecture = architecture
    implementation = architecture.settings.makeModel(shape: shape)
  }

  /// A model of an architecture that passed `ModelArchitecture.validate(inputs:)`, for rows of `inputs`
  /// numbers.
  package init(architecture: ModelArchitecture, inputs: Int) {
    self.init(architecture: architecture, shape: FeatureShape(columns: inputs))
  }

  /// The number of features of a row.
  package var inputs: Int { shape.inputs }
  /// What the model predicts.
  package var objective: Objective { implementation.objective }
  /// The length of the parameter vector that training starts from, and of every one if the model does not
  /// grow.
  package var parameterCount: Int { implementation.initialParameterCount }

  /// Where training starts: see `FederatedModel.initialParameters`.
  package func initialParameters(seed: UInt64) -> [Float] { implementation.initialParameters(seed: seed) }

  /// The length of a contributor's vector in the round that starts from these parameters.
  package func contributionLength(parameters: [Float]) -> Int {
    implementation.contributionLength(parameters: parameters)
  }

  /// What one thread needs to compute contributors' vectors; refuses impossible settings of the algorithm.
  package func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker {
    try implementation.makeWorker(algorithm: algorithm)
  }

  /// Moves the parameters on by the mean of the contributors' vectors: see `FederatedModel.step`.
  package func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError) {
    try implementation.step(
      mean: mean, contributors: contributors, optimizer: &optimizer, parameters: &parameters)
  }

  /// The scores of the rows of `features`, `objective.outputs` for each, row after row. For two classes it is
  /// a logit: above 0 means class 1, and 1 / (1 + e^−logit) is its probability.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    return try implementation.scores(parameters: parameters, features: features)
  }

  /// Refuses a parameter vector of another model, or one with a value that is not finite.
  package func check(parameters: [Float]) throws(LearningError) {
    try implementation.check(parameters: parameters)
  }

  /// Models are equal if they do the same.
  package static func == (left: Model, right: Model) -> Bool {
    left.architecture == right.architecture && left.shape == right.shape
  }

  /// How many rows are computed at a time: enough for full speed, and memory stays bounded.
  static let blockRows = NetworkModel.blockRows
}
