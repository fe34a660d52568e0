import Foundation

/// The factor C of A = BC as a lower-triangular Toeplitz matrix, by the coefficients of its first column:
/// C[t, s] = c[t − s]. A is the matrix of prefix sums. With fewer coefficients than steps C is banded.
///
/// Noise C⁻¹Z costs (number of coefficients − 1) · dimension integers of state and as many
/// multiplications per step.
package struct ToeplitzFactor: Sendable, Hashable, Codable {
  /// c[0] = 1, c[1], …; all further ones are 0.
  package let coefficients: [Double]

  /// A factor with these coefficients. Trailing zeros are dropped.
  ///
  /// Throws: `coefficientOutOfRange` if one is not finite or above 1 in magnitude, the first is not 1, or
  /// there are none or more than `MatrixFactor.maximumSteps`.
  package init(coefficients: [Double]) throws(MatrixMechanismError) {
    guard coefficients.first == 1 else { throw .coefficientOutOfRange(index: 0) }
    guard coefficients.count <= MatrixFactor.maximumSteps else {
      throw .coefficientOutOfRange(index: MatrixFactor.maximumSteps)
    }
    if let index = coefficients.firstIndex(where: { !(abs($0) <= 1) }) {
      throw .coefficientOutOfRange(index: index)
    }
    self.init(unchecked: coefficients)
  }

  init(unchecked coefficients: [Double]) {
    let last = coefficients.lastIndex { $0 != 0 } ?? 0
    self.coefficients = Array(coefficients[...last])
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(coefficients: values.decode([Double].self, forKey: .coefficients))
  }

  private enum CodingKeys: String, CodingKey { case coefficients }

  /// C = 1: independent noise in every step.
  package static let independent = ToeplitzFactor(unchecked: [1])

  /// The factorisation A = C², c[k] = Π_{i≤k} (2i−1)/(2i): for one participation the best of all Toeplitz
  /// factors in the maximal loss (Fichtenberger, Henzinger and Upadhyay 2023, "Constant Matters"; Dvijotham
  /// et al. 2024).
  ///
  /// `steps`: the number of coefficients.
  /// Throws: `stepsOutOfRange`.
  package static func optimal(steps: Int) throws(MatrixMechanismError) -> ToeplitzFactor {
    try MatrixFactor.check(steps: steps)
    return ToeplitzFactor(unchecked: squareRoot(count: steps))
  }

  /// The power series of (1 − x)^(−1/2).
  static func squareRoot(count: Int) -> [Double] {
    var coefficients = [Double](repeating: 1, count: count)
    for k in 1..<max(1, count) {
      coefficients[k] = coefficients[k - 1] * Double(2 * k - 1) / Double(2 * k)
    }
    return coefficients
  }

  /// The factor whose coefficients are rounded to multiples of 2^(−bits): the one that integer arithmetic
  /// applies exactly. Rounding to nearest keeps decreasing coefficients decreasing.
  func rounded(fractionBits bits: Int) -> ToeplitzFactor {
    let scale = scalbn(1, bits)
    return ToeplitzFactor(unchecked: coefficients.map { ($0 * scale).rounded() / scale })
  }

  /// The index of the first coefficient that is negative or above the one before it.
  var firstNotDecreasing: Int? {
    coefficients.indices.first { index in
      coefficients[index] < 0 || index > 0 && coefficients[index] > coefficients[index - 1]
    }
  }

  /// x with C·x = `input`.
  func solve(_ input: [Double]) -> [Double] {
    var output = input
    coefficients.withUnsafeBufferPointer { c in
      output.withUnsafeMutableBufferPointer { x in
        for t in 0..<x.count {
          var value = x[t]
          for k in 1..<max(1, min(c.count, t + 1)) { value -= c[k] * x[t - k] }
          x[t] = value
        }
      }
    }
    return output
  }
}
