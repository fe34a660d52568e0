/// What a unit of a hidden layer does with its sum.
package enum Activation: String, Codable, Equatable, Hashable, Sendable {
  /// max(x, 0).
  case relu
  /// x · σ(2 √(2 / π) (x + 0.044715 x³)), smooth everywhere: the tanh form of Hendrycks and Gimpel, *Gaussian
  /// Error Linear Units*, arXiv:1606.08415, section 2.
  case gelu
}

/// A network of affine layers: logistic, linear, softmax or Poisson regression without hidden layers, a
/// perceptron with some.
///
/// All parameters form one flat vector, layer after layer from the input: first the layer's weights,
/// row-major as inputs × outputs (the weight from input i to unit j is at i · outputs + j), then its
/// `outputs` biases. The last layer has `objective.outputs` units and no activation. The inputs of the first
/// layer are the dense columns, then the sparse ones: there, row i of the weights is the embedding of sparse
/// column i, and the layer adds up the embeddings of a row's entries times their values, which is an
/// embedding bag.
package struct NetworkSettings: Codable, Equatable, Hashable, Sendable {
  /// The highest dropout rate.
  package static let maximumDropout: Float = 0.9

  /// The units of every hidden layer; empty for a linear model.
  package var hidden: [Int]
  /// What hidden units do with their sum.
  package var activation: Activation
  /// The rate at which hidden units are silenced while training; the others are divided by 1 − rate
  /// (Srivastava et al., *Dropout*, JMLR 15, 2014). Which ones depends on the seed of the round, the local
  /// step, the row's position within its contributor and its content: not on the other contributors.
  package var dropout: Float
  /// What is predicted.
  package var objective: Objective

  /// A network; `validate` checks the limits.
  package init(
    hidden: [Int] = [], activation: Activation = .relu, dropout: Float = 0, objective: Objective = .binary
  ) {
    self.hidden = hidden
    self.activation = activation
    self.dropout = dropout
    self.objective = objective
  }
}

extension NetworkSettings: ModelSettings {
  package var layout: FeatureLayout { .dense }
  package var summary: String {
    guard hidden.isEmpty else {
      return "perceptron with hidden layers of \(hidden.map(String.init).joined(separator: ", "))"
    }
    return switch objective {
    case .binary: "logistic regression"
    case .classes(let count): "softmax regression over \(count) classes"
    case .squaredError: "linear regression"
    case .huber: "linear regression with Huber's loss"
    case .poisson: "Poisson regression"
    case .tweedie: "Tweedie regression"
    case .segments(let count): "a network of \(count) segments, which there is not"
    }
  }

  package func validate() throws(LearningError) {
    guard hidden.count <= ModelArchitecture.maximumLayers else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it has \(hidden.count) hidden layers, allowed are at most \(ModelArchitecture.maximumLayers)"
      )
    }
    guard hidden.allSatisfy({ (1...ModelArchitecture.maximumUnits).contains($0) }) else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "hidden layers must have 1 to \(ModelArchitecture.maximumUnits) units"
      )
    }
    guard dropout >= 0, dropout <= Self.maximumDropout else {
      throw .invalidSetting(name: "the dropout rate", reason: "allowed are 0 to \(Self.maximumDropout)")
    }
    try objective.validate()
    try objective.refuseSegments("networks")
  }

  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    guard shape.layout == .dense else {
      throw .invalidSetting(name: "the architecture", reason: "a network takes rows of numbers")
    }
    guard shape.columns >= 1, shape.sparseColumns >= 0, shape.columns <= ModelArchitecture.maximumInputs,
      shape.sparseColumns <= ModelArchitecture.maximumInputs - shape.columns
    else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it needs 1 to \(ModelArchitecture.maximumInputs) inputs but would have \(shape.columns) and "
          + "\(shape.sparseColumns) sparse ones")
    }
    let count = NetworkModel(settings: self, shape: shape).parameterCount
    guard count <= ModelArchitecture.maximumParameters else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it has \(count) parameters, allowed are at most \(ModelArchitecture.maximumParameters)")
    }
  }

  package func makeModel(shape: FeatureShape) -> any FederatedModel {
    NetworkModel(settings: self, shape: shape)
  }
}
