import Foundation

/// The integers that one plan's noise is computed with, sized so that nothing overflows 63 bits.
struct NoiseLayout: Sendable, Hashable {
  /// How C⁻¹ is applied.
  enum Kernel: Sendable, Hashable {
    /// By the noise of the last steps.
    case toeplitz(ToeplitzKernel)
    /// By buffers.
    case buffered(BufferedKernel)
  }

  /// How C⁻¹ is applied.
  let kernel: Kernel
  /// The largest magnitude that a draw may have.
  let largestDraw: Int64
  /// κ: by how much, per coordinate, the integers G_t of two histories may differ beyond what exact
  /// arithmetic would give.
  let roundingDifference: Double

  /// Rows of `dimension` integers of state.
  var rows: Int {
    switch kernel {
    case .toeplitz(let kernel): kernel.numerators.count
    case .buffered(let kernel): kernel.decays.count
    }
  }

  /// Throws: `noiseTooLarge`.
  init(shape: CorrelatedNoiseShape, variance: Double) throws(MatrixMechanismError) {
    let scale = scalbn(1, shape.fractionBits)
    let draw = (CorrelatedNoisePlan.largestDeviation * variance.squareRoot()).rounded(.up) + 1
    // e = C⁻¹(z + r)/2^f, where |r| is at most half of 2^f by rounding e, and for a buffered factor some
    // more by rounding G; a thousandth covers that and the arithmetic here.
    let largest = 1.001 * shape.noiseGain * (draw / scale + 1.5) + 2
    try Self.check(draw)
    switch shape.factor {
    case .toeplitz(let factor):
      let total = factor.coefficients.reduce(0) { $0 + abs($1) }
      try Self.check(draw + scale * largest * total)
      kernel = .toeplitz(
        ToeplitzKernel(
          numerators: factor.coefficients.dropFirst().map { Int64($0 * scale) },
          fractionBits: shape.fractionBits))
      roundingDifference = 0
    case .buffered(let factor):
      let gains = factor.decays.indices.map { factor.gain(buffer: $0, steps: shape.steps) }
      let weighted = zip(gains, factor.weights).reduce(0) { $0 + $1.0 * $1.1 }
      try Self.check(draw + scale * largest * (1 + weighted))
      let held = largest * (gains.max() ?? 1) + 1
      // As fine a state as fits, up to where the error of G no longer shrinks.
      let bits = min(shape.fractionBits + 24, 62 - Int(log2(held).rounded(.up)))
      guard bits >= shape.fractionBits else {
        throw .noiseTooLarge(bits: log2(held) + Double(shape.fractionBits))
      }
      let parameter = Double(1 << BufferedFactor.parameterBits)
      kernel = .buffered(
        BufferedKernel(
          decays: factor.decays.map { Int64($0 * parameter) },
          weights: factor.weights.map { Int64($0 * parameter) },
          fractionBits: shape.fractionBits, stateBits: bits))
      // Rounding down leaves each buffer less than `gain` units of 2^−bits short, and G less than 1
      // short; two histories differ by less than the range of that.
      roundingDifference = (1 + scalbn(weighted, shape.fractionBits - bits)) * (1 + 0x1p-40)
    }
    largestDraw = Int64(draw)
  }

  private static func check(_ magnitude: Double) throws(MatrixMechanismError) {
    guard magnitude < 0x1p62 else { throw .noiseTooLarge(bits: log2(magnitude)) }
  }
}
