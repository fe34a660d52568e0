/// The shape of a binary classifier: affine layers with ReLU between them and one logit at the end.
///
/// All parameters form one flat vector, layer after layer from the input: first the layer's weights,
/// row-major as inputs × outputs (the weight from input i to unit j is at i · outputs + j), then its
/// `outputs` biases.
package enum ModelArchitecture: Codable, Equatable, Sendable {
  /// No hidden layer.
  case logisticRegression
  /// Hidden layers with these numbers of ReLU units.
  case multiLayerPerceptron(hidden: [Int])

  /// The most hidden layers.
  package static let maximumLayers = 8
  /// The most units of a hidden layer.
  package static let maximumUnits = 8192
  /// The most inputs of a model.
  package static let maximumInputs = 1 << 20
  /// The most parameters of a model.
  package static let maximumParameters = 1 << 26

  /// The units of the hidden layers, none for logistic regression.
  package var hiddenUnits: [Int] {
    switch self {
    case .logisticRegression: []
    case .multiLayerPerceptron(let hidden): hidden
    }
  }

  /// Refuses hidden layers beyond the limits. Decoding does not check: call this on whatever came from
  /// outside.
  package func validate() throws(LearningError) {
    guard case .multiLayerPerceptron(let hidden) = self else { return }
    guard (1...Self.maximumLayers).contains(hidden.count) else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it has \(hidden.count) hidden layers, allowed are 1 to \(Self.maximumLayers)")
    }
    guard hidden.allSatisfy({ (1...Self.maximumUnits).contains($0) }) else {
      throw .invalidSetting(
        name: "the architecture", reason: "hidden layers must have 1 to \(Self.maximumUnits) units")
    }
  }

  /// Refuses hidden layers beyond the limits, and architectures whose parameter vector would be too long.
  package func validate(inputs: Int) throws(LearningError) {
    try validate()
    guard (1...Self.maximumInputs).contains(inputs) else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it needs 1 to \(Self.maximumInputs) inputs but would have \(inputs)")
    }
    let count = parameterCount(inputs: inputs)
    guard count <= Self.maximumParameters else {
      throw .invalidSetting(
        name: "the architecture",
        reason: "it has \(count) parameters, allowed are at most \(Self.maximumParameters)")
    }
  }

  /// The length of the parameter vector of a valid architecture.
  package func parameterCount(inputs: Int) -> Int {
    layers(inputs: inputs).reduce(0) { $0 + $1.parameterCount }
  }

  /// Where each layer's parameters lie.
  func layers(inputs: Int) -> [Layer] {
    var layers: [Layer] = []
    var width = inputs
    var offset = 0
    for outputs in hiddenUnits + [1] {
      let layer = Layer(inputs: width, outputs: outputs, weightOffset: offset)
      layers.append(layer)
      offset += layer.parameterCount
      width = outputs
    }
    return layers
  }

  /// The starting point: zeros for logistic regression; else biases 0 and weights uniform in ±√(6 / inputs)
  /// for the hidden layers (He et al. 2015, variance 2 / inputs) and ±√(3 / inputs) for the linear output.
  /// Uniform, because that needs no function whose last bit differs between machines.
  package func initialParameters(inputs: Int, seed: UInt64) -> [Float] {
    var parameters = [Float](repeating: 0, count: parameterCount(inputs: inputs))
    guard !hiddenUnits.isEmpty else { return parameters }
    var generator = SplitMix64(seed: seed)
    for layer in layers(inputs: inputs) {
      let limit =
        (Float(layer.outputs == 1 && layer.endOffset == parameters.count ? 3 : 6) / Float(layer.inputs))
        .squareRoot()
      for index in layer.weightOffset..<layer.biasOffset {
        parameters[index] = limit * generator.nextSymmetric()
      }
    }
    return parameters
  }
}

/// One affine layer within the flat parameter vector.
struct Layer {
  let inputs: Int
  let outputs: Int
  let weightOffset: Int

  var biasOffset: Int { weightOffset + inputs * outputs }
  var endOffset: Int { biasOffset + outputs }
  var parameterCount: Int { (inputs + 1) * outputs }
}
