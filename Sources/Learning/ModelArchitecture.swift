/// The kind of a model and its settings, without its parameters.
///
/// Adding a kind is a case here, a line in `settings`, and a file with its `ModelSettings` and its
/// `FederatedModel`.
package enum ModelArchitecture: Codable, Equatable, Sendable {
  /// A linear classifier of two classes.
  case logisticRegression
  /// A classifier of two classes, with hidden layers of these numbers of ReLU units.
  case multiLayerPerceptron(hidden: [Int])
  /// Any network of affine layers, for any objective.
  case network(NetworkSettings)
  /// Gradient-boosted trees.
  case boostedTrees(TreeSettings)
  /// Matrix factorisation with user factors that stay with their user.
  case recommendation(RecommendationSettings)
  /// Customer segments: k-means or a Gaussian mixture.
  case segments(SegmentSettings)
  /// Neural collaborative filtering with user vectors that stay with their user.
  case neuralRecommendation(NeuralRecommenderSettings)

  /// The most hidden layers.
  package static let maximumLayers = 8
  /// The most units of a hidden layer.
  package static let maximumUnits = 8192
  /// The most inputs of a model.
  package static let maximumInputs = 1 << 20
  /// The most parameters of a model.
  package static let maximumParameters = 1 << 26

  /// The settings behind the case.
  package var settings: any ModelSettings {
    switch self {
    case .logisticRegression: NetworkSettings()
    case .multiLayerPerceptron(let hidden): NetworkSettings(hidden: hidden)
    case .network(let settings): settings
    case .boostedTrees(let settings): settings
    case .recommendation(let settings): settings
    case .segments(let settings): settings
    case .neuralRecommendation(let settings): settings
    }
  }

  /// What the model predicts.
  package var objective: Objective { settings.objective }

  /// How the model takes its rows.
  package var layout: FeatureLayout { settings.layout }

  /// The most rounds from one model that predicts something new to the next: trees that grow by levels take
  /// several for each.
  package var roundsPerChange: Int {
    if case .boostedTrees(let settings) = self, settings.splitting == .best {
      settings.maximumDepth + 1
    } else {
      1
    }
  }

  /// The fewest rounds that make anything of the model: segments are split before they settle.
  package var leastRounds: Int {
    if case .segments(let settings) = self { settings.growingRounds + 1 } else { 1 }
  }

  /// Whether local SGD can train it: linear models and networks.
  package var isDescended: Bool { layout == .dense && !objective.isSegmentation }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    if case .multiLayerPerceptron(let hidden) = self, hidden.isEmpty {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it has 0 hidden layers, allowed are 1 to \(Self.maximumLayers)")
    }
    try settings.validate()
  }

  /// Refuses impossible settings, and architectures whose parameter vector would be too long.
  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    try settings.validate(shape: shape)
  }

  /// The same for rows of `inputs` numbers.
  package func validate(inputs: Int) throws(LearningError) {
    try validate(shape: FeatureShape(columns: inputs))
  }

  /// The length of the first parameter vector of a valid architecture, for rows of `inputs` numbers.
  package func parameterCount(inputs: Int) -> Int {
    settings.makeModel(shape: FeatureShape(columns: inputs)).initialParameterCount
  }

  /// The starting point, for rows of `inputs` numbers: see `FederatedModel.initialParameters`.
  package func initialParameters(inputs: Int, seed: UInt64) -> [Float] {
    settings.makeModel(shape: FeatureShape(columns: inputs)).initialParameters(seed: seed)
  }
}

/// The settings of a kind of model.
package protocol ModelSettings: Sendable {
  /// What the model predicts.
  var objective: Objective { get }
  /// How it takes its rows.
  var layout: FeatureLayout { get }
  /// What it is, for people: "perceptron with hidden layers of 64, 32".
  var summary: String { get }
  /// The rounds that training takes if nobody says otherwise; nil for what all models have.
  var usualRounds: Int? { get }
  /// The clip norm if nobody says otherwise; nil for what all models have.
  var usualClipNorm: Double? { get }

  /// Refuses impossible settings.
  func validate() throws(LearningError)

  /// Refuses impossible settings, shapes of another layout, and models that would be too large.
  func validate(shape: FeatureShape) throws(LearningError)

  /// The model, for a shape that `validate` accepts.
  func makeModel(shape: FeatureShape) -> any FederatedModel
}

extension ModelSettings {
  /// The rounds that training takes if nobody says otherwise; nil for what all models have.
  package var usualRounds: Int? { nil }
  /// The clip norm if nobody says otherwise; nil for what all models have.
  package var usualClipNorm: Double? { nil }
}

extension ModelArchitecture {
  /// The rounds that training takes if nobody says otherwise; nil for what all models have.
  package var usualRounds: Int? { settings.usualRounds }
  /// The clip norm if nobody says otherwise; nil for what all models have.
  package var usualClipNorm: Double? { settings.usualClipNorm }
}
