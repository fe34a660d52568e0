/// Neural collaborative filtering over a catalogue whose items are numbered from 0, the same for every node.
///
/// A user's weights are in units of that user's interactions; those of what is shared are in units of the
/// mean over users of their contributions.
package struct NeuralRecommenderSettings: Codable, Equatable, Sendable {
  /// What an interaction says.
  package enum Feedback: Codable, Equatable, Sendable {
    /// Labels are ratings of `lowest` … `highest`; the model predicts the rating. Loss: ½ error².
    case explicit(lowest: Float, highest: Float)
    /// Labels are strengths of at least 0, of which only those above 0 are interactions, all alike. The model
    /// predicts the logit of an interaction. Loss: log loss of the interactions and of `negatives` times as
    /// many items drawn evenly from the catalogue, less those that the user has (He et al., section 3.1).
    case implicit(negatives: Int)
  }

  /// What an interaction says.
  package var feedback: Feedback
  /// Items of the catalogue.
  package var items: Int
  /// Numbers that describe a user, and an item, besides the bias.
  package var factors: Int
  /// The units of the perceptron's hidden layers; empty leaves the product alone, which is matrix
  /// factorisation.
  package var hidden: [Int]
  /// Weight of ½ ‖user vector − initial user vector‖².
  package var userRegularization: Float
  /// Weight of ½ (user bias − initial user bias)².
  package var userBiasRegularization: Float
  /// Weight of ½ ‖item embedding‖².
  package var itemRegularization: Float
  /// Weight of ½ (item bias)².
  package var itemBiasRegularization: Float
  /// Weight of ½ ‖weights and biases of the perceptron‖². It must be large enough: all users together fit the
  /// perceptron, and it is the first to learn them by heart.
  package var networkRegularization: Float
  /// Newton steps of a user's reconstruction. A second one pays (MovieLens: RMSE 0.865, then 0.861).
  package var reconstructionSteps: Int
  /// The share of a user's rows that are kept from reconstruction and alone give the gradient; 0: all rows
  /// are for both.
  package var queryShare: Float
  /// A contribution of n rows is divided by n to this power (0: all rows count alike; 1: all users). With a
  /// clip norm, ½ makes norms alike. The weights of what is shared get smaller with it.
  package var rowExponent: Float
  /// The spread of the initial item embeddings: they are drawn from −1 … 1 times this over √factors.
  package var initialScale: Float

  /// The most factors.
  package static let maximumFactors = 256
  /// The most hidden layers.
  package static let maximumLayers = 4
  /// The most units of a hidden layer.
  package static let maximumUnits = 1_024
  /// The most steps of a reconstruction.
  package static let maximumSteps = 20
  /// The most drawn items for an interaction.
  package static let maximumNegatives = 100

  package init(
    feedback: Feedback, items: Int, factors: Int = 16, hidden: [Int] = [16], userRegularization: Float = 1,
    userBiasRegularization: Float = 1, itemRegularization: Float = 0.01, itemBiasRegularization: Float = 0.01,
    networkRegularization: Float = 0.1, reconstructionSteps: Int = 2, queryShare: Float = 0,
    rowExponent: Float = 0, initialScale: Float = 0.1
  ) {
    self.feedback = feedback
    self.items = items
    self.factors = factors
    self.hidden = hidden
    self.userRegularization = userRegularization
    self.userBiasRegularization = userBiasRegularization
    self.itemRegularization = itemRegularization
    self.itemBiasRegularization = itemBiasRegularization
    self.networkRegularization = networkRegularization
    self.reconstructionSteps = reconstructionSteps
    self.queryShare = queryShare
    self.rowExponent = rowExponent
    self.initialScale = initialScale
  }
}

extension NeuralRecommenderSettings: ModelSettings {
  /// A preference.
  package var objective: Objective { .squaredError }
  /// The number of an item.
  package var layout: FeatureLayout { .items }
  /// The sizes.
  package var summary: String {
    let layers =
      hidden.isEmpty
      ? "no hidden layers" : "hidden layers of \(hidden.map(String.init).joined(separator: ", "))"
    return "neural collaborative filtering with \(factors) factors and \(layers) over \(items) items"
  }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    try validateSizes()
    for (name, value) in [
      ("the users' regularisation", userRegularization),
      ("the user biases' regularisation", userBiasRegularization),
    ] {
      guard value >= 1e-6, value <= 1e6 else {
        throw .invalidSetting(name: name, reason: "allowed are 0.000001 to 1000000")
      }
    }
    for (name, value) in [
      ("the items' regularisation", itemRegularization),
      ("the item biases' regularisation", itemBiasRegularization),
      ("the network's regularisation", networkRegularization),
    ] {
      guard value >= 0, value <= 1e6 else {
        throw .invalidSetting(name: name, reason: "allowed are 0 to 1000000")
      }
    }
    guard queryShare >= 0, queryShare <= 0.9 else {
      throw .invalidSetting(name: "the share of query rows", reason: "allowed are 0 to 0.9")
    }
    guard rowExponent >= 0, rowExponent <= 1 else {
      throw .invalidSetting(name: "the exponent of a user's rows", reason: "allowed are 0 to 1")
    }
    guard initialScale > 0, initialScale <= 10 else {
      throw .invalidSetting(name: "the initial scale", reason: "it must be above 0 and at most 10")
    }
    switch feedback {
    case .explicit(let lowest, let highest):
      guard lowest.isFinite, highest.isFinite, lowest < highest, (highest - lowest).isNormal,
        (highest - lowest).isFinite
      else { throw .invalidSetting(name: "the range of ratings", reason: "it must be finite and not empty") }
    case .implicit(let negatives):
      guard (1...Self.maximumNegatives).contains(negatives) else {
        throw .invalidSetting(
          name: "the number of negatives", reason: "allowed are 1 to \(Self.maximumNegatives)")
      }
    }
  }

  private func validateSizes() throws(LearningError) {
    guard (1...Self.maximumFactors).contains(factors) else {
      throw .invalidSetting(name: "the number of factors", reason: "allowed are 1 to \(Self.maximumFactors)")
    }
    guard hidden.count <= Self.maximumLayers,
      hidden.allSatisfy({ (1...Self.maximumUnits).contains($0) })
    else {
      throw .invalidSetting(
        name: "the hidden layers",
        reason: "allowed are at most \(Self.maximumLayers), of 1 to \(Self.maximumUnits) units")
    }
    guard (1...Self.maximumSteps).contains(reconstructionSteps) else {
      throw .invalidSetting(
        name: "the steps of a reconstruction", reason: "allowed are 1 to \(Self.maximumSteps)")
    }
    // Numbers of items are exact in single precision.
    guard (1...MatrixFactorization.maximumItems).contains(items),
      NeuralRecommenderLayout(self).parameterCount <= ModelArchitecture.maximumParameters
    else {
      throw .invalidSetting(
        name: "the number of items",
        reason: "allowed are 1 to \(MatrixFactorization.maximumItems), and with their embeddings "
          + "\(ModelArchitecture.maximumParameters) values")
    }
  }

  /// Refuses rows of other layouts than `items`.
  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    guard shape.layout == .items, shape.columns == 1 else {
      throw .invalidSetting(
        name: "the columns", reason: "a recommender takes one numeric column, the number of the item")
    }
  }

  /// The recommender, of settings that passed `validate`.
  package func makeModel(shape: FeatureShape) -> any FederatedModel {
    NeuralRecommender(validSettings: self)
  }
}

extension NeuralRecommenderSettings {
  /// The middle of the ratings and half their width; logits are left as they are.
  var ratingScale: (center: Float, halfWidth: Float) {
    guard case .explicit(let lowest, let highest) = feedback else { return (0, 1) }
    return (lowest + (highest - lowest) / 2, (highest - lowest) / 2)
  }
}
