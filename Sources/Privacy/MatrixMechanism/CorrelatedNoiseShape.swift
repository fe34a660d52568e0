import Foundation

/// Everything about correlated noise but its amount: the factor as integers apply it, the steps, who may
/// participate how often, and the contributions that it has to hide.
///
/// **What is proven.** The server holds exact integer sums x_t of contributions of squared L2 norm at most
/// Δ₂² (`IntegerClip`). With 2^f·C the integer factor, z_t independent draws of the discrete Gaussian
/// N_Z(0, σ²) per coordinate and G_t an integer function of the noise emitted before, it releases
///
///     y_t = x_t + e_t,    e_t = ⌊(z_t − G_t(e_0, …, e_{t−1}))/2^f + 1/2⌋,    G_t ≈ 2^f Σ_{k≥1} c_k e_{t−k}.
///
/// Given what was released before, e_s = y_s − x_s for s < t, so y_t is a fixed function (divide by 2^f and
/// round) of u_t = z_t + 2^f·x_t − G_t(y − x): the discrete Gaussian around an integer centre. For neighbouring
/// data the centres differ by the integer vector
///
///     δ_t = 2^f (CΔ)_t + r_t,    r_t the difference of the rounding errors inside two values of G_t.
///
/// Discrete Gaussians whose integer centres differ by δ have the Rényi divergence α‖δ‖²/(2σ²) at most
/// (Canonne, Kamath and Steinke 2020, Proposition 5), and when Σ_t ‖δ_t‖² ≤ S² on every path, adaptive
/// composition gives S²/(2σ²)-zCDP, also if x_t depends on y_0, …, y_{t−1} (Feldman and Zrnic 2021, "Individual
/// Privacy Accounting via a Rényi Filter", section 3).
/// By the triangle inequality S = 2^f·Δ₂·sens(C) + κ·√(dimension·(steps − 1)), where |r_t| ≤ κ per coordinate and
/// r is 0 up to the first participation. That is `sensitivity`. With a Toeplitz factor G_t is exact, κ = 0,
/// and y is a function of 2^f·CX + Z alone. With a buffered factor κ is a little above 1 (`BufferedKernel`).
///
/// **What is not claimed.** Nothing from sampling or shuffling: the participation pattern has to hold for
/// certain. Nothing of floating-point noise: none is drawn. Not the Gaussian privacy profile at every delta:
/// the theorem bounds Rényi divergences, so the accountant must be one of zCDP or RDP.
package struct CorrelatedNoiseShape: Codable, Sendable, Hashable {
  /// How finely coefficients can be rounded.
  package static let fractionBitsRange = 4...30

  /// C with coefficients (Toeplitz) rounded to multiples of 2^−f, or parameters (buffered) to 2^−40.
  package let factor: MatrixFactor
  /// The number of steps.
  package let steps: Int
  /// How often one unit may take part.
  package let participation: Participation
  /// The number of coordinates of a sum.
  package let dimension: Int
  /// Δ₂²: the largest squared L2 norm of what one unit changes in one sum, in grid units squared. For
  /// replace-one neighbours that is 4 times the clip's.
  package let contributionL2Squared: Int64
  /// f: noise is drawn 2^f times finer than the grid of the sums.
  package let fractionBits: Int

  /// Rounds the factor and checks everything.
  ///
  /// Throws: `stepsOutOfRange`, `sensitivityNotProven`, `fractionBitsOutOfRange`, `dimensionOutOfRange`,
  /// `contributionOutOfRange`.
  package init(
    factor: MatrixFactor, steps: Int, participation: Participation = .once, dimension: Int,
    contributionL2Squared: Int64, fractionBits: Int
  ) throws(MatrixMechanismError) {
    guard Self.fractionBitsRange.contains(fractionBits) else {
      throw .fractionBitsOutOfRange(fractionBits)
    }
    guard dimension >= 1, dimension <= IntegerClip.maximumDimension else {
      throw .dimensionOutOfRange(dimension)
    }
    guard contributionL2Squared >= 1 else {
      throw .contributionOutOfRange(contributionL2Squared)
    }
    try MatrixFactor.check(steps: steps)
    self.factor =
      switch factor {
      case .toeplitz(let factor):
        .toeplitz(
          ToeplitzFactor(unchecked: Array(factor.coefficients.prefix(steps)))
            .rounded(fractionBits: fractionBits))
      case .buffered: factor
      }
    self.steps = steps
    self.participation = participation
    self.dimension = dimension
    self.contributionL2Squared = contributionL2Squared
    self.fractionBits = fractionBits
    _ = try self.factor.sensitivity(steps: steps, participation: participation)
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      factor: values.decode(MatrixFactor.self, forKey: .factor),
      steps: values.decode(Int.self, forKey: .steps),
      participation: values.decode(Participation.self, forKey: .participation),
      dimension: values.decode(Int.self, forKey: .dimension),
      contributionL2Squared: values.decode(Int64.self, forKey: .contributionL2Squared),
      fractionBits: values.decode(Int.self, forKey: .fractionBits))
  }

  private enum CodingKeys: String, CodingKey {
    case factor, steps, participation, dimension, contributionL2Squared, fractionBits
  }

  /// The sensitivity and the errors of the rounded factor, per unit of contribution.
  package func loss() throws(MatrixMechanismError) -> MatrixLoss {
    try factor.loss(steps: steps, participation: participation)
  }

  /// Δ₂·sens(C)·2^f, in units of the fine grid, rounded up.
  func exactSensitivity() throws(MatrixMechanismError) -> Double {
    let sensitivity = try factor.sensitivity(steps: steps, participation: participation)
    let norm = Double(contributionL2Squared).squareRoot() * (1 + 0x1p-50)
    return (norm * sensitivity * scalbn(1, fractionBits)).nextUp.nextUp
  }

  /// Σ|C⁻¹|: by how much a bound on draws grows at most in the noise.
  var noiseGain: Double {
    factor.noiseCoefficients(count: steps).reduce(0) { $0 + abs($1) }
  }
}
