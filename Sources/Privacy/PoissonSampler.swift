import Foundation

/// Draws Poisson variables from a table with constant work (`ThresholdTable`, around a median).
package struct PoissonSampler: TableSampler {
  /// The smallest and the largest mean.
  package static let meanRange: ClosedRange<Double> = 0x1p-32...0x1p30
  /// `errorLog2` of every sampler is below this.
  package static let largestErrorLog2 = -80.0

  /// The mean λ, which is also the variance.
  package let mean: Double
  package let table: ThresholdTable
  package let errorLog2: Double

  package var variance: Double { mean }

  /// Builds the table: 16 bytes times some 25 √λ.
  ///
  /// Weights follow the recurrences p_(k+1) = p_k·λ/(k + 1) and p_(k−1) = p_k·k/λ from the mode, 10u² a
  /// step (u = 2^-53), so with N entries at most 10N·u², and as much in the total: shifted by at most 10N·u².
  /// Sums, quotients and truncation are those of `SurvivalThresholds`.
  ///
  /// Throws: `outOfRange(.poissonMean)`.
  package init(mean: Double) throws(MechanismError) {
    guard Self.meanRange.contains(mean) else { throw .outOfRange(.poissonMean, value: mean) }
    self.mean = mean
    let (low, high) = Self.support(mean: mean)
    let mode = Int(mean.rounded(.down))
    var weights = [DoubleDouble](repeating: DoubleDouble(0), count: high - low + 1)
    weights[mode - low] = DoubleDouble(1)
    for k in mode..<high {
      weights[k + 1 - low] = weights[k - low] * .quotient(mean, Double(k + 1))
    }
    for k in stride(from: mode, to: low, by: -1) {
      weights[k - 1 - low] = weights[k - low] * .quotient(Double(k), mean)
    }
    table = Self.table(weights, low: low)
    errorLog2 = SurvivalThresholds.errorLog2(thresholds: weights.count)
  }

  /// The table around a median of the distribution on low, low + 1, … with the given weights.
  private static func table(_ weights: [DoubleDouble], low: Int) -> ThresholdTable {
    // fromAbove[i] is the weight of i and all beyond it, toBelow[i] that of i and all before it.
    var fromAbove = weights
    for i in stride(from: weights.count - 2, through: 0, by: -1) {
      fromAbove[i] = fromAbove[i + 1] + weights[i]
    }
    var toBelow = weights
    for i in 1..<weights.count { toBelow[i] = toBelow[i - 1] + weights[i] }
    let half: UInt128 = 1 << 127
    func doubled(_ part: DoubleDouble) -> UInt128 {
      let share = part / fromAbove[0]
      // Those of a half and more serve only to find the median.
      guard share.high < 0.5 else { return half }
      return DoubleDouble(high: 2 * share.high, low: 2 * share.low).fixedPoint127
    }
    let above = fromAbove.map(doubled)
    // The least c with P(K > c) < 1/2; then P(K < c) ≤ 1/2.
    var center = 0
    while center + 1 < above.count && above[center + 1] >= half { center += 1 }
    return ThresholdTable(
      center: Int64(low + center), above: Array(above[(center + 1)...]),
      below: toBelow[..<center].reversed().map(doubled))
  }

  /// The least and the largest value in the table: beyond them lies at most 2^-110 of the mass, by Chernoff's
  /// bound ln P ≤ k − λ − k·ln(k/λ) on either side of the mean.
  private static func support(mean: Double) -> (low: Int, high: Int) {
    let limit = -111 * M_LN2
    func bound(_ k: Double) -> Double { k == 0 ? -mean : (k - mean) - k * log(k / mean) }
    // log loses the difference of k and λ beyond 2^-53 of it: at λ = 2^30 and 12√λ away that is 1e-6 of
    // the bound. The margin of one in a thousand covers it.
    func isBeyond(_ k: Double) -> Bool { bound(k) <= limit * 1.001 }
    var step = 1.0
    while !isBeyond((mean + step).rounded(.up)) { step *= 2 }
    var (inside, outside) = ((mean + step / 2).rounded(.up) - 1, (mean + step).rounded(.up))
    while outside - inside > 1 {
      let middle = ((inside + outside) / 2).rounded(.down)
      if isBeyond(middle) { outside = middle } else { inside = middle }
    }
    let high = Int(outside)
    guard !(bound(0) > limit * 1.001) else { return (0, high) }
    var (least, most) = (0.0, mean.rounded(.down))
    while most - least > 1 {
      let middle = ((least + most) / 2).rounded(.down)
      if isBeyond(middle) { least = middle } else { most = middle }
    }
    return (Int(least), high)
  }
}
