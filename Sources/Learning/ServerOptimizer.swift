/// How the server moves the parameters by the mean of the contributors' updates, with the state that it needs
/// from round to round (Reddi et al., *Adaptive Federated Optimization*, ICLR 2021).
package struct ServerOptimizer: Codable, Equatable, Sendable {
  /// The rule and its settings.
  package enum Kind: Codable, Equatable, Sendable {
    /// parameters += learningRate · update.
    case sgd(learningRate: Float)
    /// velocity = beta · velocity + update; parameters += learningRate · velocity.
    case momentum(learningRate: Float, beta: Float)
    /// Adam with bias correction (Kingma and Ba 2015).
    case adam(learningRate: Float, beta1: Float, beta2: Float, epsilon: Float)

    /// The step size.
    package var learningRate: Float {
      switch self {
      case .sgd(let rate), .momentum(let rate, _), .adam(let rate, _, _, _): rate
      }
    }

    /// Refuses impossible settings. Decoding a kind alone does not check: call this on what came from
    /// outside.
    package func validate() throws(LearningError) {
      guard learningRate.isFinite, learningRate > 0 else {
        throw .invalidSetting(name: "the server's learning rate", reason: "it must be positive and finite")
      }
      var betas: [Float] = []
      switch self {
      case .sgd: break
      case .momentum(_, let beta): betas = [beta]
      case .adam(_, let beta1, let beta2, let epsilon):
        betas = [beta1, beta2]
        guard epsilon.isFinite, epsilon > 0 else {
          throw .invalidSetting(name: "Adam's epsilon", reason: "it must be positive and finite")
        }
      }
      guard betas.allSatisfy({ $0 >= 0 && $0 < 1 }) else {
        throw .invalidSetting(name: "the server's beta", reason: "it must be at least 0 and below 1")
      }
    }
  }

  /// The rule.
  package let kind: Kind
  /// Decoupled decay: every step first shrinks all parameters by learningRate · weightDecay (Loshchilov and
  /// Hutter 2019). It costs no privacy.
  package let weightDecay: Float
  /// The number of steps made.
  package private(set) var step: Int
  /// The velocity or first moment; empty for plain SGD.
  private var firstMoment: [Float]
  /// The second moment; empty but for Adam.
  private var secondMoment: [Float]

  /// A new optimiser for vectors of `parameterCount` values.
  ///
  /// - Parameters:
  ///   - kind: settings that passed `Kind.validate`.
  ///   - weightDecay: at least 0, and below 1 / learning rate.
  package init(kind: Kind, weightDecay: Float = 0, parameterCount: Int) {
    precondition(
      weightDecay >= 0 && weightDecay * kind.learningRate < 1, "weight decay must not flip the parameters")
    let moments = Self.momentCount(of: kind)
    self.init(
      kind: kind, weightDecay: weightDecay, step: 0,
      firstMoment: .init(repeating: 0, count: moments >= 1 ? parameterCount : 0),
      secondMoment: .init(repeating: 0, count: moments >= 2 ? parameterCount : 0))
  }

  private init(kind: Kind, weightDecay: Float, step: Int, firstMoment: [Float], secondMoment: [Float]) {
    self.kind = kind
    self.weightDecay = weightDecay
    self.step = step
    self.firstMoment = firstMoment
    self.secondMoment = secondMoment
  }

  /// Decodes a saved state and checks it.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      kind: try container.decode(Kind.self, forKey: .kind),
      weightDecay: try container.decode(Float.self, forKey: .weightDecay),
      step: try container.decode(Int.self, forKey: .step),
      firstMoment: try container.decode([Float].self, forKey: .firstMoment),
      secondMoment: try container.decode([Float].self, forKey: .secondMoment))
    try validate()
  }

  private enum CodingKeys: String, CodingKey {
    case kind, weightDecay, step, firstMoment, secondMoment
  }

  /// Moves `parameters` by one step. `update` points uphill (it lowers the loss when added); both have the
  /// number of values that the optimiser was made for.
  package mutating func apply(update: [Float], to parameters: inout [Float]) {
    precondition(update.count == parameters.count, "update and parameters have the same length")
    step += 1
    if weightDecay > 0 {
      let keep = 1 - kind.learningRate * weightDecay
      for index in parameters.indices { parameters[index] *= keep }
    }
    switch kind {
    case .sgd(let rate):
      for index in parameters.indices { parameters[index] += rate * update[index] }
    case .momentum(let rate, let beta):
      precondition(firstMoment.count == update.count, "the optimiser was made for this many parameters")
      for index in parameters.indices {
        firstMoment[index] = beta * firstMoment[index] + update[index]
        parameters[index] += rate * firstMoment[index]
      }
    case .adam(let rate, let beta1, let beta2, let epsilon):
      precondition(firstMoment.count == update.count, "the optimiser was made for this many parameters")
      let firstCorrection = Float(1 - Self.power(Double(beta1), step))
      let secondCorrection = Float(1 - Self.power(Double(beta2), step))
      for index in parameters.indices {
        firstMoment[index] = beta1 * firstMoment[index] + (1 - beta1) * update[index]
        secondMoment[index] = beta2 * secondMoment[index] + (1 - beta2) * update[index] * update[index]
        let spread = (secondMoment[index] / secondCorrection).squareRoot() + epsilon
        parameters[index] += rate * (firstMoment[index] / firstCorrection) / spread
      }
    }
  }

  /// base to the `exponent`, by squaring: the same on every machine.
  private static func power(_ base: Double, _ exponent: Int) -> Double {
    var result = 1.0
    var square = base
    var rest = exponent
    while rest > 0 {
      if rest & 1 == 1 { result *= square }
      square *= square
      rest >>= 1
    }
    return result
  }

  private static func momentCount(of kind: Kind) -> Int {
    switch kind {
    case .sgd: 0
    case .momentum: 1
    case .adam: 2
    }
  }

  private func validate() throws(LearningError) {
    try kind.validate()
    guard weightDecay >= 0, weightDecay * kind.learningRate < 1 else {
      throw .invalidSetting(
        name: "the weight decay", reason: "it must be at least 0 and below 1 / learning rate")
    }
    let moments = Self.momentCount(of: kind)
    guard step >= 0, moments >= 1 || firstMoment.isEmpty, moments >= 2 || secondMoment.isEmpty,
      moments < 2 || firstMoment.count == secondMoment.count,
      firstMoment.allSatisfy(\.isFinite), secondMoment.allSatisfy({ $0.isFinite && $0 >= 0 })
    else { throw .invalidSetting(name: "the optimiser's saved state", reason: "it is malformed") }
  }
}
