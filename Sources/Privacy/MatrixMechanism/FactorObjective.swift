import Foundation

/// Which error of the prefix sums is made small.
package enum MatrixObjective: String, Sendable, Hashable, Codable, CaseIterable {
  /// The root mean square over all prefix sums.
  case rootMeanSquare
  /// The worst, that is the last, prefix sum.
  case maximum
}

/// The logarithm of sensitivity times error, with its exact gradient (reverse mode, by hand).
///
/// In terms of the coefficients c of C, with v = Σ_j C[:, j·b], B's first column β = C⁻¹1 and
/// S² = ‖v‖², E² = Σ_t w_t β_t²: ∂S²/∂c_k = 2 Σ_j v[k + j·b], and with λ = C⁻ᵀ(2wβ),
/// ∂E²/∂c_k = −Σ_t λ_t β_{t−k}.
struct FactorObjective {
  let steps: Int
  let participation: Participation
  private let errorWeights: [Double]

  init(steps: Int, participation: Participation, objective: MatrixObjective) {
    self.steps = steps
    self.participation = participation
    errorWeights =
      switch objective {
      case .maximum: [Double](repeating: 1, count: steps)
      case .rootMeanSquare: (0..<steps).map { Double(steps - $0) / Double(steps) }
      }
  }

  /// Whether a unit that participates from the first step on, as densely as allowed, does so in step t.
  private func participates(_ t: Int) -> Bool {
    t % participation.minimumSeparation == 0
      && t / participation.minimumSeparation < participation.count(steps: steps)
  }

  /// The value, and the gradient with respect to c[1], c[2], … of a banded factor.
  func banded(_ coefficients: [Double]) -> QuasiNewton.Evaluation {
    let factor = ToeplitzFactor(unchecked: coefficients)
    let padded = coefficients + [Double](repeating: 0, count: steps - coefficients.count)
    let column = MatrixFactor.superposition(padded, participation: participation, steps: steps)
    let decoder = factor.solve([Double](repeating: 1, count: steps))
    let sensitivity = column.reduce(0) { $0 + $1 * $1 }
    let (error, adjoint) = errorAndAdjoint(decoder: decoder, solve: factor.solve)
    let period = participation.minimumSeparation
    let count = participation.count(steps: steps)
    let gradient = (1..<max(1, coefficients.count)).map { k in
      var sum = 0.0
      for j in 0..<count where k + j * period < steps { sum += column[k + j * period] }
      var slope = 0.0
      for t in k..<steps { slope -= adjoint[t] * decoder[t - k] }
      return sum / sensitivity + slope / (2 * error)
    }
    return QuasiNewton.Evaluation(value: (log(sensitivity) + log(error)) / 2, gradient: gradient)
  }

  /// E² and λ. C⁻ᵀ is C⁻¹ run backwards.
  private func errorAndAdjoint(
    decoder: [Double], solve: ([Double]) -> [Double]
  ) -> (error: Double, adjoint: [Double]) {
    var error = 0.0
    var slopes = decoder
    for t in decoder.indices {
      error += errorWeights[t] * decoder[t] * decoder[t]
      slopes[t] *= 2 * errorWeights[t]
    }
    return (error, Array(solve(slopes.reversed()).reversed()))
  }

  /// The value, and the gradient with respect to all decays, then all weights, of a buffered factor, in
  /// O(steps · buffers).
  func buffered(_ factor: BufferedParameters) -> QuasiNewton.Evaluation {
    let buffers = factor.decays.indices
    let decoder = factor.solve([Double](repeating: 1, count: steps))
    let (error, adjoint) = errorAndAdjoint(decoder: decoder, solve: factor.solve)
    var sensitivity = 0.0
    var ofSensitivity = [Double](repeating: 0, count: 2 * buffers.count)
    var ofError = ofSensitivity
    // Per buffer: what it holds of the pattern and of β, and the derivatives of that by its decay.
    var pattern = [Double](repeating: 0, count: buffers.count)
    var patternSlope = pattern
    var held = pattern
    var heldSlope = pattern
    for t in 0..<steps {
      let input = participates(t) ? 1.0 : 0
      var column = input
      for i in buffers { column += factor.weights[i] * pattern[i] }
      sensitivity += column * column
      for i in buffers {
        ofSensitivity[i] += 2 * column * factor.weights[i] * patternSlope[i]
        ofSensitivity[buffers.count + i] += 2 * column * pattern[i]
        ofError[i] -= adjoint[t] * factor.weights[i] * heldSlope[i]
        ofError[buffers.count + i] -= adjoint[t] * held[i]
        patternSlope[i] = pattern[i] + factor.decays[i] * patternSlope[i]
        pattern[i] = factor.decays[i] * pattern[i] + input
        heldSlope[i] = held[i] + factor.decays[i] * heldSlope[i]
        held[i] = factor.decays[i] * held[i] + decoder[t]
      }
    }
    return QuasiNewton.Evaluation(
      value: (log(sensitivity) + log(error)) / 2,
      gradient: zip(ofSensitivity, ofError).map { $0 / (2 * sensitivity) + $1 / (2 * error) })
  }
}

/// A buffered factor while it is searched for: decays and weights before they are rounded.
struct BufferedParameters {
  var decays: [Double]
  var weights: [Double]

  /// x with C·x = `input`.
  func solve(_ input: [Double]) -> [Double] {
    var output = input
    var held = [Double](repeating: 0, count: decays.count)
    for t in output.indices {
      var value = output[t]
      for i in held.indices { value -= weights[i] * held[i] }
      for i in held.indices { held[i] = decays[i] * held[i] + value }
      output[t] = value
    }
    return output
  }
}
