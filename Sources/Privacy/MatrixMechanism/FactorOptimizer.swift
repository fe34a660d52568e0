import Foundation

extension ToeplitzFactor {
  /// Directions searched for a banded factor.
  static let searchIterations = 200

  /// The banded Toeplitz factor with the smallest loss that a deterministic search finds.
  ///
  /// Only decreasing, non-negative coefficients are searched, c[k] = c[k−1] / (1 + e^(−u_k)), so that
  /// the sensitivity is proven for every pattern. With `bands` at most the minimum separation the
  /// participations of one unit do not overlap (Choquette-Choo et al. 2023).
  ///
  /// `bands`: the number of coefficients, at most `steps`.
  /// Throws: `stepsOutOfRange`, `coefficientOutOfRange`.
  package static func optimizedBanded(
    bands: Int, steps: Int, participation: Participation = .once,
    objective: MatrixObjective = .rootMeanSquare
  ) throws(MatrixMechanismError) -> ToeplitzFactor {
    try MatrixFactor.check(steps: steps)
    guard bands >= 1, bands <= steps else {
      throw .coefficientOutOfRange(index: max(0, bands))
    }
    let loss = FactorObjective(steps: steps, participation: participation, objective: objective)
    // (1 − x)^(−1/2) has the ratios (2k − 1)/(2k), that is u_k = ln(2k − 1).
    let start = (1..<bands).map { log(Double(2 * $0 - 1)) }
    let (point, _) = QuasiNewton(iterations: searchIterations).minimise(from: start) { logits in
      let coefficients = decreasing(logits)
      var evaluation = loss.banded(coefficients)
      // ∂c_j/∂u_k = c_j (1 − ratio_k) for all j ≥ k.
      var tail = 0.0
      for k in (1..<bands).reversed() {
        tail += coefficients[k] * evaluation.gradient[k - 1]
        evaluation.gradient[k - 1] = tail / (1 + exp(logits[k - 1]))
      }
      return evaluation
    }
    return ToeplitzFactor(unchecked: decreasing(point))
  }

  private static func decreasing(_ logits: [Double]) -> [Double] {
    var coefficients = [1.0]
    coefficients.reserveCapacity(logits.count + 1)
    for logit in logits { coefficients.append(coefficients[coefficients.count - 1] / (1 + exp(-logit))) }
    return coefficients
  }
}

extension BufferedFactor {
  /// Directions searched from each start.
  static let searchIterations = 400

  /// The buffered factor with the smallest loss that a deterministic search from three starts finds.
  ///
  /// Decays are 1/(1 + e^(−u)), weights e^v/(1 + Σ e^v): all non-negative with a sum below 1, so that the
  /// coefficients decrease and the sensitivity is proven for every pattern.
  ///
  /// `buffers`: 1 to `maximumBuffers`; two to five are nearly as good as any number.
  /// Throws: `stepsOutOfRange`, `bufferOutOfRange`.
  package static func optimized(
    buffers: Int, steps: Int, participation: Participation = .once,
    objective: MatrixObjective = .rootMeanSquare
  ) throws(MatrixMechanismError) -> BufferedFactor {
    try MatrixFactor.check(steps: steps)
    guard (1...maximumBuffers).contains(buffers) else {
      throw .bufferOutOfRange(index: max(0, buffers))
    }
    let loss = FactorObjective(steps: steps, participation: participation, objective: objective)
    let separation = min(steps, participation.minimumSeparation)
    var best: (point: [Double], value: Double)?
    for horizon in [Double(steps), 4 * Double(separation), Double(steps).squareRoot()] {
      let found = QuasiNewton(iterations: searchIterations).minimise(
        from: start(buffers: buffers, horizon: max(2, horizon))
      ) { point in evaluate(loss, at: point) }
      // A later start has to be better by more than rounding to win.
      if best.map({ found.value < $0.value - 1e-9 }) ?? found.value.isFinite { best = found }
    }
    let parameters = parameters(best?.point ?? start(buffers: buffers, horizon: Double(steps)))
    let largest = 1 - 1 / Double(1 << parameterBits)
    return try BufferedFactor(
      decays: parameters.decays.map { min($0, largest) }, weights: parameters.weights)
  }

  /// 1/√(πk) = (1/π)∫ e^(−ks) √s d(ln s): one exponential for each of some equal pieces of ln s, from
  /// 1/horizon to 1, approximates the coefficients of (1 − x)^(−1/2).
  private static func start(buffers: Int, horizon: Double) -> [Double] {
    let width = log(horizon) / Double(buffers)
    let rates = (0..<buffers).map { exp(-width * (Double($0) + 0.5)) }
    let weights = rates.map { max(1e-6, width / .pi * $0.squareRoot()) }
    let total = weights.reduce(0, +)
    // Kept to a sum of at most 9/10, inside what the parameters can express.
    let scaled = weights.map { $0 * min(1, 0.9 / total) }
    let rest = 1 - scaled.reduce(0, +)
    // 1/(1 + e^(−u)) = e^(−rate).
    return rates.map { -log(expm1($0)) } + scaled.map { log($0 / rest) }
  }

  private static func parameters(_ point: [Double]) -> BufferedParameters {
    let buffers = point.count / 2
    let powers = point[buffers...].map { exp($0) }
    let total = 1 + powers.reduce(0, +)
    return BufferedParameters(
      decays: point[..<buffers].map { 1 / (1 + exp(-$0)) }, weights: powers.map { $0 / total })
  }

  /// The loss and its gradient in the unbounded parameters.
  static func evaluate(_ loss: FactorObjective, at point: [Double]) -> QuasiNewton.Evaluation {
    let buffers = point.count / 2
    let parameters = parameters(point)
    var evaluation = loss.buffered(parameters)
    var mean = 0.0
    for i in 0..<buffers { mean += parameters.weights[i] * evaluation.gradient[buffers + i] }
    for i in 0..<buffers {
      evaluation.gradient[i] *= parameters.decays[i] * (1 - parameters.decays[i])
      evaluation.gradient[buffers + i] = parameters.weights[i] * (evaluation.gradient[buffers + i] - mean)
    }
    return evaluation
  }
}
