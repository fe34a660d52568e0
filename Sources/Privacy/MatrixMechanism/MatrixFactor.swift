import Foundation

/// What a factorisation costs, per unit of contribution and of accountant noise multiplier.
package struct MatrixLoss: Sendable, Hashable {
  /// The L2 sensitivity of CX for contributions of norm at most 1.
  package let sensitivity: Double
  /// The largest row norm of B: the standard deviation of the worst prefix sum for unit noise Z.
  package let maximumError: Double
  /// The root mean square of the row norms of B.
  package let rmsError: Double

  /// The standard deviation of the worst prefix sum at a noise multiplier of 1.
  package var maximumLoss: Double { sensitivity * maximumError }
  /// The root mean square standard deviation of the prefix sums at a noise multiplier of 1.
  package var rmsLoss: Double { sensitivity * rmsError }
}

/// The factor C of A = BC, where A is the matrix of prefix sums: AX + BZ = B(CX + Z) is released, so the
/// sensitivity of CX decides the privacy and the rows of B the error (Denisov et al. 2022, "Improved
/// Differential Privacy for SGD via Optimal Private Linear Operators on Adaptive Streams").
package enum MatrixFactor: Sendable, Hashable, Codable {
  /// Any coefficients, possibly banded.
  case toeplitz(ToeplitzFactor)
  /// A sum of exponentials.
  case buffered(BufferedFactor)

  /// The most steps that can be planned.
  package static let maximumSteps = 1 << 16

  /// Throws: `stepsOutOfRange`.
  static func check(steps: Int) throws(MatrixMechanismError) {
    guard (1...maximumSteps).contains(steps) else {
      throw .stepsOutOfRange(steps)
    }
  }

  /// The first column of C, `count` numbers.
  func coefficients(count: Int) -> [Double] {
    switch self {
    case .toeplitz(let factor):
      let kept = factor.coefficients.prefix(count)
      return kept + [Double](repeating: 0, count: count - kept.count)
    case .buffered(let factor): return factor.coefficients(count: count)
    }
  }

  /// The first column of C⁻¹, `count` numbers: how the draw of a step enters the noise of later ones.
  func noiseCoefficients(count: Int) -> [Double] {
    var impulse = [Double](repeating: 0, count: count)
    impulse[0] = 1
    return solve(impulse)
  }

  /// The first column of B = AC⁻¹, `count` numbers: how it enters later prefix sums.
  func decoderCoefficients(count: Int) -> [Double] {
    solve([Double](repeating: 1, count: count))
  }

  private func solve(_ input: [Double]) -> [Double] {
    switch self {
    case .toeplitz(let factor): factor.solve(input)
    case .buffered(let factor): factor.solve(input)
    }
  }

  /// The L2 sensitivity of CX over `steps` steps for contributions of L2 norm at most 1 (vectors of any
  /// dimension), rounded up by more than the arithmetic can be wrong.
  ///
  /// For one participation it is the norm of the first column, whatever the coefficients. For several the
  /// coefficients must be non-negative, so that contributions which all point the same way are the worst,
  /// and must not increase, so that participating from the first step on and as densely as allowed is:
  /// ‖Σ_j C[:, j·b]‖ (Kalinin and Lampert 2024, "Banded Square Root Matrix Factorization for Differentially
  /// Private Model Training"). No other case is claimed.
  ///
  /// Throws: `stepsOutOfRange`, `sensitivityNotProven`.
  package func sensitivity(
    steps: Int, participation: Participation = .once
  ) throws(MatrixMechanismError) -> Double {
    try Self.check(steps: steps)
    if participation.count(steps: steps) > 1, let index = firstNotDecreasing {
      throw .sensitivityNotProven(index: index)
    }
    let column = Self.superposition(
      coefficients(count: steps), participation: participation, steps: steps)
    let norm = column.reduce(0) { $0 + $1 * $1 }.squareRoot()
    // A coefficient is off by at most (steps + buffers) units in the last place, the sums of non-negative
    // numbers by one for each addition: under 3 (steps + 16) in all for the root of their squares.
    return norm * (1 + 4 * Double(steps + 64) * 0x1p-53)
  }

  private var firstNotDecreasing: Int? {
    switch self {
    case .toeplitz(let factor): factor.firstNotDecreasing
    case .buffered(let factor): factor.firstNotDecreasing
    }
  }

  /// Σ_j C[:, j·b]: the column `coefficients` and its copies shifted by b, as many as may participate.
  static func superposition(
    _ coefficients: [Double], participation: Participation, steps: Int
  ) -> [Double] {
    let count = participation.count(steps: steps)
    let shift = participation.minimumSeparation
    var column = coefficients
    guard count > 1 else { return column }
    if (steps - 1) / shift + 1 == count {
      // Nothing but the end cuts the pattern off, so each entry adds to the one a period before it.
      for t in shift..<steps { column[t] += column[t - shift] }
    } else {
      for j in 1..<count {
        for t in (j * shift)..<steps { column[t] += coefficients[t - j * shift] }
      }
    }
    return column
  }

  /// The sensitivity and the errors over `steps` steps.
  ///
  /// Throws: `stepsOutOfRange`, `sensitivityNotProven`.
  package func loss(
    steps: Int, participation: Participation = .once
  ) throws(MatrixMechanismError) -> MatrixLoss {
    let sensitivity = try sensitivity(steps: steps, participation: participation)
    let decoder = decoderCoefficients(count: steps)
    var squares = 0.0
    var mean = 0.0
    for t in 0..<steps {
      squares += decoder[t] * decoder[t]
      mean += squares / Double(steps)
    }
    return MatrixLoss(
      sensitivity: sensitivity, maximumError: squares.squareRoot(), rmsError: mean.squareRoot())
  }
}
