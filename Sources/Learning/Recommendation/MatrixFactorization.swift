/// Recommendation by matrix factorisation whose user factors never leave their user (partially local
/// federated learning: Singhal et al., *Federated Reconstruction*, NeurIPS 2021; Ammad-ud-din et al.,
/// *Federated Collaborative Filtering for Privacy-Preserving Personalized Recommendation*, 2019).
///
/// The predicted preference of user u for item i is mean + b_u + b_i + x_u · y_i, in half widths of the
/// ratings from their middle; users have no bias b_u for implicit feedback, and the mean is then 0. Only the
/// mean, the item biases and factors and the items' popularity are parameters. Every user, who is one
/// contributor, reconstructs b_u and x_u from its own rows by the exact ridge solution against the current
/// items, and contributes minus the gradient of its own loss by the items at that point. By the envelope
/// theorem this is also the gradient of the loss after reconstruction: training minimises, over the items
/// alone, what is left once every user has its best factor. Reconstruction and gradient use the same rows, so
/// that the loss is that of the classical model.
///
/// **Rows.** One interaction each, of one column: the item's number 0 ..< `items`. Label: see
/// `FactorizationSettings.Feedback`. Several rows of a user with one item each count.
///
/// **Rounds.** The first `startRounds` contributions hold the weights of a user's items (and the sums of its
/// ratings) and a constant: popularity, mean and first biases. Every later one holds the gradient by each
/// item's bias and factor of the user's own interactions, and the Gram entry x̃ x̃ᵀ of x̃ = (1, x_u), which
/// are `items` · (`factors` + 1) + (`factors` + 1)(`factors` + 2) / 2 values. From the sum of Gram entries
/// the server forms the gradient of the items without interaction (weight `unobservedWeight` · Gram · ỹ_i for
/// every item, the observed ones included), so no user ever computes users × items; and it scales every
/// item's step by the inverse of popularity_i · Gram + regularisation, nearly the curvature of the loss, so
/// that learning rate 1 without momentum is close to a sweep of alternating least squares. Exact sweeps would
/// need each item's own Gram matrix: `factors` / 2 times the values, and so times that in bytes and √ of it
/// in noise, for few rounds less.
///
/// **Norm.** A user with interactions of weights w and errors e has a contribution of the norm √(Σ (w e)² (1
/// + ‖x‖²) + (1 + ‖x‖²)²): it grows with the root of the number of interactions; with errors of 0.4 in units
/// of half the ratings' width 100 ratings give about 4. The start rounds' are scaled down to be no longer.
/// Clipping scales gradient, Gram entry and that entry's constant 1 (in start rounds the constant) alike, so
/// the server knows the mean scale and divides by it: users that are all clipped alike are not clipped at all
/// in effect, and what clipping costs is that users with many interactions weigh less. A heavier weight on
/// users and a lighter one on items, of the same product, give the same model of smaller ‖x‖, and so smaller
/// norms.
package struct MatrixFactorization: Recommender {
  /// What is learnt, and from what.
  package let settings: FactorizationSettings
  /// The number of items.
  package let items: Int

  /// The most items: their numbers are exact in single precision.
  package static let maximumItems = 1 << 24
  /// The most values of the parameters.
  package static let maximumParameters = 1 << 30
  /// No parameter is larger than this, either way; steps stop there.
  static let limit: Float = 10_000
  /// Clipping is taken to leave no smaller share of the mean contribution.
  static let smallestShare: Float = 1e-3
  /// The factor of the start rounds' contributions.
  static let startScale: Float = 0.25

  /// A model of `items` items numbered from 0. Refuses impossible settings and sizes.
  package init(settings: FactorizationSettings, items: Int) throws(LearningError) {
    try settings.validate()
    guard (1...Self.maximumItems).contains(items), items * (settings.factors + 2) < Self.maximumParameters
    else {
      throw .invalidSetting(
        name: "the number of items",
        reason:
          "allowed are 1 to \(Self.maximumItems), and with their factors \(Self.maximumParameters) values")
    }
    self.settings = settings
    self.items = items
  }

  /// A model of settings that the other initialiser accepts.
  init(validSettings settings: FactorizationSettings, items: Int) {
    self.settings = settings
    self.items = items
  }

  /// The range of the ratings; nil for implicit feedback.
  package var ratings: ClosedRange<Float>? {
    guard case .explicit(let lowest, let highest) = settings.feedback else { return nil }
    return lowest...highest
  }

  /// One column, the number of the item.
  package var shape: FeatureShape { .items }

  /// The preference, a number.
  package var objective: Objective { .squaredError }

  /// Stage, mean, and popularity, bias and factor of every item.
  package var initialParameterCount: Int { layout.parameterCount }

  /// Where training starts: nothing is known but random factors.
  package func initialParameters(seed: UInt64) -> [Float] {
    var parameters = [Float](repeating: 0, count: layout.parameterCount)
    var generator = SplitMix64(seed: seed)
    let scale = settings.initialScale / Float(settings.factors).squareRoot()
    for item in 0..<items {
      let start = layout.itemOffset + item * layout.width
      for index in start + 1..<start + layout.width { parameters[index] = scale * generator.nextSymmetric() }
    }
    return parameters
  }

  package func check(parameters: [Float]) throws(LearningError) {
    guard parameters.count == layout.parameterCount else {
      throw .wrongCount(
        what: "the parameter vector", expected: layout.parameterCount, actual: parameters.count)
    }
    guard parameters.allSatisfy({ abs($0) <= Self.limit }) else {
      throw .nonFiniteValue(what: "the parameter vector")
    }
    let stage = parameters[layout.stageOffset]
    guard stage >= 0, stage <= Float(settings.startRounds), stage == stage.rounded() else {
      throw .invalidSetting(
        name: "the parameter vector",
        reason: "its first value must count up to \(settings.startRounds) rounds")
    }
    guard parameters[layout.popularityOffset..<layout.itemOffset].allSatisfy({ $0 >= 0 }) else {
      throw .invalidSetting(name: "the parameter vector", reason: "an item has a negative popularity")
    }
  }

  package func contributionLength(parameters: [Float]) -> Int {
    layout.contributionLength(isStart: isStart(parameters: parameters))
  }

  /// Only minus the gradient is defined: local steps would hide the items without interaction from the
  /// server.
  package func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker {
    guard algorithm == .fedSGD else {
      throw .invalidSetting(name: "the local algorithm", reason: "matrix factorisation takes fedSGD alone")
    }
    return FactorizationWorker(model: self)
  }

  /// The preference of a user of whom nothing is known for each row's item: mean plus bias for ratings; for
  /// implicit feedback popularity / (popularity + weight of unobserved items), which minimises the loss among
  /// predictions that are the same for all users.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    try features.check(shape: shape)
    var scores: [Float] = []
    scores.reserveCapacity(features.rows)
    for (row, value) in features.values.enumerated() {
      guard let item = itemNumber(value) else { throw unknownItem(row: row) }
      scores.append(coldScore(parameters: parameters, item: item))
    }
    return scores
  }

  // MARK: What the parts share

  var layout: FactorizationLayout {
    FactorizationLayout(items: items, factors: settings.factors, isExplicit: isExplicit)
  }

  var isExplicit: Bool {
    if case .explicit = settings.feedback { true } else { false }
  }

  /// Whether the round that starts from these parameters is one of the start rounds.
  func isStart(parameters: [Float]) -> Bool {
    parameters[layout.stageOffset] < Float(settings.startRounds)
  }

  func coldScore(parameters: [Float], item: Int) -> Float {
    guard isExplicit else {
      let popularity = parameters[layout.popularityOffset + item]
      return popularity / (popularity + settings.unobservedWeight)
    }
    let (center, halfWidth) = settings.ratingScale
    guard !isStart(parameters: parameters) else { return center }
    let score = parameters[layout.meanOffset] + parameters[layout.itemOffset + item * layout.width]
    return center + halfWidth * score
  }
}

/// Where things lie in the parameters and in a contribution.
struct FactorizationLayout {
  let items: Int
  let isExplicit: Bool
  /// Values of an item: its bias, then its factor.
  let width: Int

  init(items: Int, factors: Int, isExplicit: Bool) {
    self.items = items
    self.isExplicit = isExplicit
    width = factors + 1
  }

  /// How many start rounds are done.
  let stageOffset = 0
  /// The mean of all ratings.
  let meanOffset = 1
  /// The mean over users of the weight of their interactions with each item.
  let popularityOffset = 2
  /// Bias and factor of each item. During the start rounds an explicit bias is the mean over users of the sum
  /// of their ratings of the item.
  var itemOffset: Int { popularityOffset + items }
  var parameterCount: Int { itemOffset + items * width }

  /// Values of the upper triangle of a Gram matrix.
  var gramCount: Int { width * (width + 1) / 2 }
  var gramOffset: Int { items * width }

  /// In a start round's contribution, after popularity and ratings: the same number for every user.
  var startShareOffset: Int { isExplicit ? 2 * items : items }

  func contributionLength(isStart: Bool) -> Int {
    isStart ? startShareOffset + 1 : items * width + gramCount
  }
}
