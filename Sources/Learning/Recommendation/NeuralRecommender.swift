#if canImport(Glibc)
  import Glibc
#endif

/// Neural collaborative filtering (He et al., *Neural Collaborative Filtering*, WWW 2017, section 3.4) whose
/// user vectors never leave their user (partially local federated learning: Singhal et al., *Federated
/// Reconstruction*, NeurIPS 2021).
///
/// The predicted preference of user u for item i is b_u + b_i + x_u · y_i + f(x_u, y_i), for ratings in half
/// widths of their range from its middle, for interactions as a logit. The product is the paper's generalised
/// matrix factorisation, whose output weights are part of y_i; f is a perceptron of ReLU layers over both
/// vectors. The two branches share their vectors, which halves what has to be sent; and f starts near 0, so
/// that training begins as that of the product alone, which is what the paper's pretraining is for.
///
/// **Reconstruction.** Parameters are an initial user bias b₀ and vector x₀, the items' b_i and y_i, and the
/// perceptron. Every user, who is one contributor, fits its own b_u and x_u to its own rows with all
/// parameters held fixed: `reconstructionSteps` Newton steps from b₀ and x₀ (Gauss's and Newton's for ratings)
/// on the sum of the rows' losses plus the regularisation, which pulls towards b₀ and x₀; a step that does not
/// lower this is halved, and at last left out. b₀ and x₀ are what a user without history has.
///
/// **Contribution.** Minus the gradient of the user's loss by all parameters, at the reconstructed vector. Near
/// the minimum this is, by the envelope theorem, also the gradient of the loss after reconstruction, so that
/// nothing has to be differentiated through the reconstruction. It is 0 at all items that are not in the
/// user's rows. With `queryShare`, rows are divided as in the paper: some are for reconstruction, the others
/// for the gradient; who has a single row uses it for both. That is for models without regularisation of the
/// user: with it, all rows for both predict better (MovieLens: RMSE 0.860 against 0.876 with a share of 0.3).
///
/// **Norm.** It is divided by n^`rowExponent` for n rows. The errors of different items are in different
/// coordinates, so that the norm of the sum grows with √n: with an exponent of ½ users with many and with few
/// rows have about the same norm, near the root mean square of the errors times √(1 + ‖x_u‖²), and the clip
/// norm bounds all alike. An exponent of 0 gives the loss of centralised training, in which every row counts
/// the same. On MovieLens the norm's median and 90th percentile are 0.53 and 0.79 with ½, 4.5 and 14 with 0,
/// and a clip norm of half the median raises the RMSE by 0.0015 with ½ and by 0.017 with 0. After the gradient
/// comes the same constant for everyone, from whose mean the server knows the share that clipping left:
/// users that are all clipped alike are not clipped at all in effect.
///
/// **Step.** The server subtracts the regularisation's gradient from the mean, so that an item that few have is
/// held back more, and leaves the rest to `ServerOptimizer`. The mean over all users of a rare item's gradient
/// is small: rules that divide by the size of past updates are what moves such items in time (MovieLens, 40
/// rounds: RMSE 0.860 with Adam, 0.858 with Adagrad, 0.875 with momentum).
package struct NeuralRecommender: Recommender {
  /// What is learnt, and from what.
  package let settings: NeuralRecommenderSettings

  /// No parameter is larger than this, either way; steps stop there.
  static let limit: Float = 1_000
  /// The constant of every contribution.
  static let shareScale: Float = 0.25
  /// Clipping is taken to leave no smaller share of the mean contribution.
  static let smallestShare: Float = 1e-3

  /// Refuses impossible settings.
  package init(settings: NeuralRecommenderSettings) throws(LearningError) {
    try settings.validate()
    self.settings = settings
  }

  /// A model of settings that passed `validate`.
  init(validSettings settings: NeuralRecommenderSettings) { self.settings = settings }

  /// The number of items.
  package var items: Int { settings.items }

  /// The range of the ratings; nil for implicit feedback.
  package var ratings: ClosedRange<Float>? {
    guard case .explicit(let lowest, let highest) = settings.feedback else { return nil }
    return lowest...highest
  }

  /// One column, the number of the item.
  package var shape: FeatureShape { .items }

  /// The preference, a number.
  package var objective: Objective { .squaredError }

  var layout: NeuralRecommenderLayout { NeuralRecommenderLayout(settings) }

  /// Initial user, items and perceptron.
  package var initialParameterCount: Int { layout.parameterCount }

  /// Where training starts: embeddings and weights are random, the latter as by He et al. (*Delving Deep into
  /// Rectifiers*, ICCV 2015) but for the last layer's, which are a tenth of that.
  package func initialParameters(seed: UInt64) -> [Float] {
    let layout = layout
    var parameters = [Float](repeating: 0, count: layout.parameterCount)
    var generator = SplitMix64(seed: seed)
    let scale = settings.initialScale / Float(settings.factors).squareRoot()
    for item in 0..<items {
      let start = layout.itemOffset(item)
      for index in start + 1..<start + layout.width { parameters[index] = scale * generator.nextSymmetric() }
    }
    for layer in layout.layers {
      let spread = (6 / Float(layer.inputs)).squareRoot()
      for index in 0..<layer.inputs * layer.outputs {
        parameters[layer.weightOffset + index] = spread * generator.nextSymmetric()
      }
    }
    if let last = layout.layers.last {
      let spread = 0.1 * (6 / Float(last.outputs)).squareRoot()
      for index in 0..<last.outputs {
        parameters[layout.outputOffset + index] = spread * generator.nextSymmetric()
      }
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
  }

  /// One more than there are parameters.
  package func contributionLength(parameters: [Float]) -> Int { layout.contributionLength }

  /// Only minus the gradient is defined.
  package func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker {
    guard algorithm == .fedSGD else {
      throw .invalidSetting(
        name: "the local algorithm", reason: "neural collaborative filtering takes fedSGD alone")
    }
    return NeuralRecommenderWorker(model: self)
  }

  /// One step of the server: see the model's description. Values beyond `limit` stay there, so that the
  /// result passes `check`.
  ///
  /// - Parameters:
  ///   - mean: of the contributions, finite values, with noise or without.
  ///   - contributors: how many.
  ///   - optimizer: made for as many values as there are parameters.
  ///   - parameters: have passed `check`.
  package func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError) {
    try check(parameters: parameters)
    let layout = layout
    guard mean.count == layout.contributionLength else {
      throw .wrongCount(
        what: "the mean of the contributions", expected: layout.contributionLength, actual: mean.count)
    }
    guard mean.allSatisfy(\.isFinite), contributors.isFinite else {
      throw .nonFiniteValue(what: "the mean of the contributions")
    }
    // Without any user's constant it is all noise, which must not be blown up.
    guard mean[layout.shareOffset] > 0 else { return }
    // Users' constants are `shareScale`: dividing by their mean undoes that and the mean clipping.
    let share = max(mean[layout.shareOffset] / Self.shareScale, Self.smallestShare)
    // A mean of absurd size must not spoil the optimiser's moments.
    var update = mean.prefix(layout.parameterCount).map {
      min(max($0 / share, -2 * Self.limit), 2 * Self.limit)
    }
    for item in 0..<items {
      let start = layout.itemOffset(item)
      update[start] -= settings.itemBiasRegularization * parameters[start]
      for index in start + 1..<start + layout.width {
        update[index] -= settings.itemRegularization * parameters[index]
      }
    }
    for index in layout.networkOffset..<layout.parameterCount {
      update[index] -= settings.networkRegularization * parameters[index]
    }
    optimizer.apply(update: update, to: &parameters)
    for index in parameters.indices where !(abs(parameters[index]) <= Self.limit) {
      parameters[index] = parameters[index].isNaN ? 0 : parameters[index] < 0 ? -Self.limit : Self.limit
    }
  }
}

/// Where things lie in the parameters, and just so in a contribution.
struct NeuralRecommenderLayout {
  /// A hidden layer: `inputs` × `outputs` weights, row-major, then `outputs` biases. The first layer's inputs
  /// are the user's vector and then the item's.
  struct Layer {
    let inputs: Int
    let outputs: Int
    let weightOffset: Int
    var biasOffset: Int { weightOffset + inputs * outputs }
    var end: Int { biasOffset + outputs }
  }

  let items: Int
  let factors: Int
  let layers: [Layer]
  /// Values of a user or an item: bias, then vector.
  let width: Int

  init(_ settings: NeuralRecommenderSettings) {
    (items, factors, width) = (settings.items, settings.factors, settings.factors + 1)
    var layers: [Layer] = []
    var (inputs, offset) = (2 * settings.factors, width + settings.items * width)
    for units in settings.hidden {
      layers.append(Layer(inputs: inputs, outputs: units, weightOffset: offset))
      (inputs, offset) = (units, layers[layers.count - 1].end)
    }
    self.layers = layers
  }

  /// The initial user is first; then the items.
  func itemOffset(_ item: Int) -> Int { width + item * width }
  /// The hidden layers.
  var networkOffset: Int { width + items * width }
  /// The weights of the last hidden layer's units in the score.
  var outputOffset: Int { layers.last?.end ?? networkOffset }
  var parameterCount: Int { outputOffset + (layers.last?.outputs ?? 0) }

  /// In a contribution, after the gradient: the same number for every user.
  var shareOffset: Int { parameterCount }
  var contributionLength: Int { parameterCount + 1 }
}
