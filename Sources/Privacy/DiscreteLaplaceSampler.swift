import Foundation

/// Draws discrete Laplace noise: P(K = k) proportional to e^(−|k|/t) on the integers (the two-sided
/// geometric distribution of Ghosh, Roughgarden and Sundararajan 2012).
///
/// From a table with constant work (`ThresholdTable`). Sums of discrete Laplace variables are not discrete
/// Laplace: a scale above the range is refused.
package struct DiscreteLaplaceSampler: TableSampler {
  /// The smallest and the largest scale t, in grid units.
  package static let scaleRange: ClosedRange<Double> = 0x1p-16...0x1p13
  /// `errorLog2` of every sampler is below this.
  package static let largestErrorLog2 = -80.0

  /// t, in grid units.
  package let scale: Double
  package let table: ThresholdTable

  /// Builds the table: 16 bytes times some 77 t.
  ///
  /// Throws: `outOfRange(.laplaceScale)`.
  package init(scale: Double) throws(MechanismError) {
    guard Self.scaleRange.contains(scale) else { throw .outOfRange(.laplaceScale, value: scale) }
    self.scale = scale
    let weights = (0...Self.cut(scale: scale)).map { k in
      DoubleDouble.exponential(ofNegated: .quotient(Double(k), scale))
    }
    table = ThresholdTable(symmetric: SurvivalThresholds.symmetric(weights))
  }

  /// 2e^(−1/t)/(1 − e^(−1/t))², in grid units squared.
  package var variance: Double {
    let ratio = exp(-1 / scale)
    return 2 * ratio / (expm1(-1 / scale) * expm1(-1 / scale))
  }

  /// log2 of the total-variation distance between one draw and the discrete Laplace distribution, at most.
  package var errorLog2: Double { Self.errorLog2(scale: scale) }

  /// The same without building the sampler, for a scale in the range.
  package static func errorLog2(scale: Double) -> Double {
    SurvivalThresholds.errorLog2(thresholds: cut(scale: scale))
  }

  /// N with P(|K| > N) = 2e^(−(N+1)/t)/(1 + e^(−1/t)) ≤ 2^-110.
  private static func cut(scale: Double) -> Int {
    max(1, Int((111 * M_LN2 * scale).rounded(.up)))
  }
}
