import Foundation

/// How much correlated noise a training gets and what that guarantees: a shape and a variance.
package struct CorrelatedNoisePlan: Codable, Sendable, Hashable {
  /// A draw beyond this many standard deviations stops the mechanism: it has a probability below 2^−1000
  /// even over all draws of the largest plan, which needs no place in any delta.
  static let largestDeviation = 40.0
  /// The most state that one training's noise may keep.
  package static let maximumStateBytes = 1 << 34

  /// Everything but the amount.
  package let shape: CorrelatedNoiseShape
  /// σ²: the parameter of the discrete Gaussian N_Z(0, σ²) that each coordinate of each step is drawn from, in
  /// units of the fine grid squared, 2^(−2f) grid units squared.
  package let variance: Double
  /// The L2 sensitivity of the whole training, of one unit, in units of the fine grid, rounded up.
  package let sensitivity: Double
  /// The state that the noise needs, as the kernels keep it.
  let layout: NoiseLayout

  /// A plan with this variance.
  ///
  /// Throws: `varianceOutOfRange` for one that is not positive and finite, `noiseTooLarge`,
  /// `stateTooLarge`.
  package init(shape: CorrelatedNoiseShape, variance: Double) throws(MatrixMechanismError) {
    guard variance > 0, variance.isFinite else {
      throw .varianceOutOfRange(variance)
    }
    let layout = try NoiseLayout(shape: shape, variance: variance)
    let stateBytes = 8 * layout.rows * shape.dimension
    guard stateBytes <= Self.maximumStateBytes else {
      throw .stateTooLarge(bytes: stateBytes)
    }
    let drift = layout.roundingDifference * Double(shape.dimension * (shape.steps - 1)).squareRoot()
    self.shape = shape
    self.variance = variance
    self.layout = layout
    sensitivity = (try shape.exactSensitivity() + drift * (1 + 0x1p-50)).nextUp
  }

  /// The plan with the least variance, a whole number, whose noise is at least `noiseMultiplier` times the
  /// sensitivity.
  ///
  /// Throws: `noiseMultiplierOutOfRange`, `noiseTooLarge`, `stateTooLarge`.
  package init(shape: CorrelatedNoiseShape, noiseMultiplier: Double) throws(MatrixMechanismError) {
    guard noiseMultiplier > 0, noiseMultiplier.isFinite else {
      throw .noiseMultiplierOutOfRange(noiseMultiplier)
    }
    // The difference of rounding errors may depend on the variance (through the fixed point of the
    // state), only ever growing with it, and soon stops to.
    var sensitivity = try shape.exactSensitivity()
    for _ in 0..<64 {
      let deviation = noiseMultiplier * sensitivity * (1 + 0x1p-50)
      let plan = try CorrelatedNoisePlan(shape: shape, variance: (deviation * deviation).rounded(.up))
      guard plan.sensitivity > sensitivity else {
        self = plan
        return
      }
      sensitivity = plan.sensitivity
    }
    throw .noiseTooLarge(bits: 64)
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      shape: values.decode(CorrelatedNoiseShape.self, forKey: .shape),
      variance: values.decode(Double.self, forKey: .variance))
  }

  /// Encodes the shape and the variance; the rest follows from them.
  package func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: CodingKeys.self)
    try values.encode(shape, forKey: .shape)
    try values.encode(variance, forKey: .variance)
  }

  private enum CodingKeys: String, CodingKey { case shape, variance }

  /// The whole training, all steps together, is ρ-zCDP per unit: ρ = sensitivity²/(2σ²), rounded up.
  package var rho: Double { (sensitivity * sensitivity / (2 * variance)).nextUp.nextUp }

  /// σ/sensitivity, rounded down: the whole training has the Rényi divergences of **one** release of a
  /// Gaussian with this noise multiplier. For accountants of RDP or zCDP, without sampling; the privacy
  /// profile that other accountants use is not the Gaussian's.
  package var noiseMultiplier: Double { (variance.squareRoot() / sensitivity).nextDown.nextDown }

  /// How many draws the training takes, for the error of a sampler that is not exact: total-variation
  /// distances of single draws add up over these.
  package var draws: Int { shape.steps * shape.dimension }

  /// The standard deviations, in grid units, of the noise in the sum of steps 0 to t, for all t. Rounding
  /// acts as another 1/12 of a grid unit squared in each step's draw.
  package func prefixStandardDeviations() -> [Double] {
    let perDraw = variance * scalbn(1, -2 * shape.fractionBits) + 1.0 / 12
    var squares = 0.0
    return shape.factor.decoderCoefficients(count: shape.steps).map {
      squares += $0 * $0
      return (perDraw * squares).squareRoot()
    }
  }

  /// Every number of the plan in a fixed order, for hashing.
  var canonicalBytes: [UInt8] {
    var bytes: [UInt8] = []
    func append(_ value: some FixedWidthInteger) {
      withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
    let numbers: [Double]
    switch shape.factor {
    case .toeplitz(let factor):
      append(Int64(0))
      numbers = factor.coefficients
    case .buffered(let factor):
      append(Int64(1))
      numbers = factor.decays + factor.weights
    }
    append(Int64(numbers.count))
    for number in numbers { append(number.bitPattern) }
    for number in [
      shape.steps, shape.participation.maximum, shape.participation.minimumSeparation,
      shape.dimension, Int(shape.contributionL2Squared), shape.fractionBits,
    ] { append(Int64(number)) }
    append(variance.bitPattern)
    return bytes
  }
}
