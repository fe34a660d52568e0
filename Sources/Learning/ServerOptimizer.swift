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
    /// FedYogi: as Adam without bias correction, but the second moment moves by a bounded part of its
    /// distance: v −= (1 − beta2) · update² · sign(v − update²); it starts from epsilon².
    case yogi(learningRate: Float, beta1: Float, beta2: Float, epsilon: Float)
    /// FedAdagrad: v += update², from epsilon²; parameters += learningRate · update / (√v + epsilon).
    case adagrad(learningRate: Float, epsilon: Float)

    /// The step size.
    package var learningRate: Float {
      switch self {
      case .sgd(let rate), .momentum(let rate, _), .adam(let rate, _, _, _), .yogi(let rate, _, _, _),
        .adagrad(let rate, _):
        rate
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
      case .adam(_, let beta1, let beta2, let epsilon), .yogi(_, let beta1, let beta2, let epsilon):
        betas = [beta1, beta2]
        try Self.check(epsilon: epsilon)
      case .adagrad(_, let epsilon): try Self.check(epsilon: epsilon)
      }
      guard betas.allSatisfy({ $0 >= 0 && $0 < 1 }) else {
        throw .invalidSetting(name: "the server's beta", reason: "it must be at least 0 and below 1")
      }
    }

    private static func check(epsilon: Float) throws(LearningError) {
      guard epsilon.isFinite, epsilon > 0 else {
        throw .invalidSetting(name: "the server's epsilon", reason: "it must be positive and finite")
      }
    }
  }

  /// A saved state of more steps is no state of ours.
  static let maximumSteps = 1 << 53

  /// The rule.
  package let kind: Kind
  /// How the learning rate changes from step to step.
  package let schedule: LearningRateSchedule
  /// Decoupled decay: every step first shrinks all parameters by learningRate · weightDecay (Loshchilov and
  /// Hutter 2019). It costs no privacy.
  package let weightDecay: Float
  /// The number of steps made.
  package private(set) var step: Int
  /// The velocity or first moment; empty for plain SGD and Adagrad.
  private var firstMoment: [Float]
  /// The second moment; empty but for Adam, Yogi and Adagrad.
  private var secondMoment: [Float]

  /// A new optimiser for vectors of `parameterCount` values.
  ///
  /// - Parameters:
  ///   - kind: settings that passed `Kind.validate`.
  ///   - weightDecay: at least 0, and below 1 / learning rate.
  ///   - schedule: settings that passed `LearningRateSchedule.validate`.
  package init(
    kind: Kind, weightDecay: Float = 0, schedule: LearningRateSchedule = .constant, parameterCount: Int
  ) {
    precondition(
      weightDecay >= 0 && weightDecay * kind.learningRate < 1, "weight decay must not flip the parameters")
    let (hasFirst, start) = Self.moments(of: kind)
    self.init(
      kind: kind, schedule: schedule, weightDecay: weightDecay, step: 0,
      firstMoment: .init(repeating: 0, count: hasFirst ? parameterCount : 0),
      secondMoment: start.map { .init(repeating: $0, count: parameterCount) } ?? [])
  }

  private init(
    kind: Kind, schedule: LearningRateSchedule, weightDecay: Float, step: Int, firstMoment: [Float],
    secondMoment: [Float]
  ) {
    self.kind = kind
    self.schedule = schedule
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
      schedule: try container.decodeIfPresent(LearningRateSchedule.self, forKey: .schedule) ?? .constant,
      weightDecay: try container.decode(Float.self, forKey: .weightDecay),
      step: try container.decode(Int.self, forKey: .step),
      firstMoment: try container.decode([Float].self, forKey: .firstMoment),
      secondMoment: try container.decode([Float].self, forKey: .secondMoment))
    try validate()
  }

  private enum CodingKeys: String, CodingKey {
    case kind, schedule, weightDecay, step, firstMoment, secondMoment
  }

  /// Whether it was made for vectors of so many values: a saved state may be another model's.
  func fits(parameterCount: Int) -> Bool {
    let (hasFirst, second) = Self.moments(of: kind)
    return (!hasFirst || firstMoment.count == parameterCount)
      && (second == nil || secondMoment.count == parameterCount)
  }

  /// Moves `parameters` by one step. `update` points uphill (it lowers the loss when added); both have the
  /// number of values that the optimiser was made for.
  package mutating func apply(update: [Float], to parameters: inout [Float]) {
    precondition(update.count == parameters.count, "update and parameters have the same length")
    let factor = schedule.factor(step: step)
    step += 1
    if weightDecay > 0 {
      let keep = 1 - kind.learningRate * factor * weightDecay
      for index in parameters.indices { parameters[index] *= keep }
    }
    switch kind {
    case .sgd(let base):
      let rate = base * factor
      for index in parameters.indices { parameters[index] += rate * update[index] }
    case .momentum(let base, let beta):
      let rate = base * factor
      precondition(firstMoment.count == update.count, "the optimiser was made for this many parameters")
      for index in parameters.indices {
        firstMoment[index] = beta * firstMoment[index] + update[index]
        parameters[index] += rate * firstMoment[index]
      }
    case .adam(let base, let beta1, let beta2, let epsilon):
      let rate = base * factor
      precondition(firstMoment.count == update.count, "the optimiser was made for this many parameters")
      let firstCorrection = Float(1 - Self.power(Double(beta1), step))
      let secondCorrection = Float(1 - Self.power(Double(beta2), step))
      for index in parameters.indices {
        firstMoment[index] = beta1 * firstMoment[index] + (1 - beta1) * update[index]
        secondMoment[index] = beta2 * secondMoment[index] + (1 - beta2) * update[index] * update[index]
        let spread = (secondMoment[index] / secondCorrection).squareRoot() + epsilon
        parameters[index] += rate * (firstMoment[index] / firstCorrection) / spread
      }
    case .yogi(let base, let beta1, let beta2, let epsilon):
      precondition(firstMoment.count == update.count, "the optimiser was made for this many parameters")
      let rate = base * factor
      for index in parameters.indices {
        let square = update[index] * update[index]
        firstMoment[index] = beta1 * firstMoment[index] + (1 - beta1) * update[index]
        let change = (1 - beta2) * square
        if secondMoment[index] > square {
          secondMoment[index] -= change
        } else if secondMoment[index] < square {
          secondMoment[index] += change
        }
        parameters[index] += rate * firstMoment[index] / (secondMoment[index].squareRoot() + epsilon)
      }
    case .adagrad(let base, let epsilon):
      precondition(secondMoment.count == update.count, "the optimiser was made for this many parameters")
      let rate = base * factor
      for index in parameters.indices {
        secondMoment[index] += update[index] * update[index]
        parameters[index] += rate * update[index] / (secondMoment[index].squareRoot() + epsilon)
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

  /// Whether there is a first moment, and where the second one starts if there is one.
  private static func moments(of kind: Kind) -> (hasFirst: Bool, second: Float?) {
    switch kind {
    case .sgd: (false, nil)
    case .momentum: (true, nil)
    case .adam: (true, 0)
    case .yogi(_, _, _, let epsilon): (true, epsilon * epsilon)
    case .adagrad(_, let epsilon): (false, epsilon * epsilon)
    }
  }

  private func validate() throws(LearningError) {
    try kind.validate()
    guard weightDecay >= 0, weightDecay * kind.learningRate < 1 else {
      throw .invalidSetting(
        name: "the weight decay", reason: "it must be at least 0 and below 1 / learning rate")
    }
    try schedule.validate()
    let (hasFirst, second) = Self.moments(of: kind)
    guard (0...Self.maximumSteps).contains(step), hasFirst || firstMoment.isEmpty,
      second != nil || secondMoment.isEmpty,
      !hasFirst || second == nil || firstMoment.count == secondMoment.count,
      firstMoment.allSatisfy(\.isFinite), secondMoment.allSatisfy({ $0.isFinite && $0 >= 0 })
    else { throw .invalidSetting(name: "the optimiser's saved state", reason: "it is malformed") }
  }
}
