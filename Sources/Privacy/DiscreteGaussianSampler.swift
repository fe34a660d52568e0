import Foundation

/// Draws discrete Gaussian noise: P(K = k) proportional to e^(−k²/(2σ²)) on the integers (Canonne, Kamath
/// and Steinke 2020, "The Discrete Gaussian for Differential Privacy", definition 1).
///
/// From a table with constant work (`ThresholdTable`); the exact sampler of the same paper
/// (`ExactSampler`) is its oracle in the tests. `variance` is the parameter σ²; the variance of the draws
/// is below it for small σ and equal to it to 1e-6 from σ = 1 on (theirs, section 2).
///
/// Sums of discrete Gaussians are not discrete Gaussian, so above the range nothing is composed from
/// smaller tables: a larger variance is refused, and the remedy is a coarser grid.
package struct DiscreteGaussianSampler: TableSampler {
  /// The smallest and the largest σ², in grid units squared: σ up to 2^16.
  package static let varianceRange: ClosedRange<Double> = 0x1p-32...0x1p32
  /// `errorLog2` of every sampler is below this.
  package static let largestErrorLog2 = -80.0

  package let variance: Double
  package let table: ThresholdTable

  /// Builds the table: 16 bytes times some 12.4 σ, and 8 to 512 KiB of buckets.
  ///
  /// Throws: `outOfRange(.gaussianVariance)`.
  package init(variance: Double) throws(MechanismError) {
    guard Self.varianceRange.contains(variance) else {
      throw .outOfRange(.gaussianVariance, value: variance)
    }
    self.variance = variance
    // k² and 2σ² are exact in doubles: k < 2^20.
    let weights = (0...Self.cut(variance: variance)).map { k in
      DoubleDouble.exponential(ofNegated: .quotient(Double(k) * Double(k), 2 * variance))
    }
    table = ThresholdTable(symmetric: SurvivalThresholds.symmetric(weights))
  }

  /// log2 of the total-variation distance between one draw and the discrete Gaussian, at most: from -92.9
  /// at a small variance over -87 at σ = 1000 to -81 at the largest.
  package var errorLog2: Double { Self.errorLog2(variance: variance) }

  /// The same without building the sampler, for a variance in the range.
  package static func errorLog2(variance: Double) -> Double {
    SurvivalThresholds.errorLog2(thresholds: cut(variance: variance))
  }

  /// N with P(|K| > N) ≤ 2^-110. The discrete Gaussian is sub-Gaussian: E e^(sK) is e^(σ²s²/2) times a sum of
  /// e^(−(k − σ²s)²/(2σ²)) over the integers, divided by the same sum unshifted, which by Poisson's summation
  /// is the larger one. Hence P(K ≥ k) ≤ e^(−k²/(2σ²)), and one bit goes to the two tails.
  private static func cut(variance: Double) -> Int {
    max(1, Int((222 * M_LN2 * variance).squareRoot().rounded(.up)))
  }
}
