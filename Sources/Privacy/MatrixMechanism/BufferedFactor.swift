/// The factor C of A = BC as a buffered linear Toeplitz matrix (BLT): c[0] = 1 and
/// c[k] = Σ_i weight_i · decay_i^(k−1), a sum of a few exponentials.
///
/// Noise C⁻¹Z then costs (number of buffers) · dimension integers of state and two multiplications per
/// buffer and coordinate, whatever the number of steps (Dvijotham et al. 2024, "Efficient and Near-Optimal
/// Noise Generation for Streaming Differential Privacy"; McMahan, Xu and Zhang 2024, "A Hassle-free
/// Algorithm for Strong Differential Privacy in Federated Learning Systems").
package struct BufferedFactor: Sendable, Hashable, Codable {
  /// More buffers bring nothing that 64-bit floating-point optimisation could find.
  package static let maximumBuffers = 16
  /// Decays and weights are multiples of 2^−40, so that integer arithmetic applies them exactly.
  static let parameterBits = 40

  /// θ: by what each buffer is multiplied in every step, from 0 to below 1.
  package let decays: [Double]
  /// ω: with what weight each buffer is read, from 0 to 1.
  package let weights: [Double]

  /// A factor with these parameters, rounded to multiples of 2^−40.
  ///
  /// Throws: `bufferOutOfRange` if one is out of range, or there are none, too many or not as many decays as
  /// weights.
  package init(decays: [Double], weights: [Double]) throws(MatrixMechanismError) {
    guard decays.count == weights.count, (1...Self.maximumBuffers).contains(decays.count) else {
      throw .bufferOutOfRange(index: min(decays.count, weights.count))
    }
    for index in decays.indices {
      guard decays[index] >= 0, decays[index] < 1, weights[index] >= 0, weights[index] <= 1 else {
        throw .bufferOutOfRange(index: index)
      }
    }
    let grid = Double(1 << Self.parameterBits)
    // Rounded down: a decay stays below 1, and weights that sum to at most 1 still do.
    self.decays = decays.map { ($0 * grid).rounded(.down) / grid }
    self.weights = weights.map { ($0 * grid).rounded(.down) / grid }
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      decays: values.decode([Double].self, forKey: .decays),
      weights: values.decode([Double].self, forKey: .weights))
  }

  private enum CodingKeys: String, CodingKey { case decays, weights }

  /// c[0] to c[count − 1].
  func coefficients(count: Int) -> [Double] {
    var output = [Double](repeating: 1, count: count)
    var terms = weights
    for k in 1..<max(1, count) {
      output[k] = terms.reduce(0, +)
      for i in terms.indices { terms[i] *= decays[i] }
    }
    return output
  }

  /// All coefficients are non-negative and decrease from c[1] on; 1 if c[1] is above c[0].
  var firstNotDecreasing: Int? { weights.reduce(0, +) > 1 ? 1 : nil }

  /// x with C·x = `input`, in O(count · buffers).
  func solve(_ input: [Double]) -> [Double] {
    BufferedParameters(decays: decays, weights: weights).solve(input)
  }

  /// At most how much a buffer of this index holds after `steps` inputs of magnitude at most 1.
  func gain(buffer index: Int, steps: Int) -> Double {
    min(Double(steps), 1 / (1 - decays[index]))
  }
}
