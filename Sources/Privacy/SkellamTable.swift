import Foundation

/// The distribution of |K| for symmetric Skellam K: P(K = k) = e^(−μ)·I_|k|(μ), μ the variance.
///
/// Held as survival thresholds S_j = P(|K| > j) in units of 2^-127 (`ThresholdTable`).
///
/// **Construction.** Miller's backward recurrence I_(k−1) = I_(k+1) + (2k/μ)·I_k in double-double
/// arithmetic from k = N down, normalised by I_0 + 2ΣI_k, so that no exponential is needed. All terms
/// are positive.
///
/// **Error**, as total-variation distance of one draw, with u = 2^-53 and N thresholds:
/// - The recurrence: 13u² per step (3 the quotient, 7 the product, 3 the sum), so at most 14N·u²
///   relative to any I_k, and as much again in the normaliser.
/// - Sums: 3u² per addition, at most 3N·u² in a survival sum and 3N·u² in the normaliser; the last
///   quotient 15u². All together below 32N·u² = N·2^-101.
/// - Cut and start at N, where Chernoff's bound puts at most 2^-110 of the mass beyond: below 2^-107.
/// - Thresholds are truncated to 2^-127, by at most 2 units each: N·2^-126.
///
/// The sum is below (N + 1)·2^-101 (`errorLog2`).
struct SkellamTable: Sendable {
  /// What the draws are made from.
  let thresholds: ThresholdTable

  /// S_0, S_1, …, S_(N−1).
  var survival: ArraySlice<UInt128> { thresholds.thresholds.prefix(largest) }
  /// N: no draw is larger in magnitude.
  var largest: Int { thresholds.largestAbove }

  /// Builds the table of a variance that was checked to be in `SkellamSampler`'s range.
  init(variance: Double) {
    let largest = Self.cut(variance: variance)
    // terms[k] is I_k(μ) up to a common factor. It grows by some 2^150 toward 0: no overflow from here.
    var terms = [DoubleDouble](repeating: DoubleDouble(0), count: largest + 1)
    terms[largest] = DoubleDouble(0x1p-600)
    var above = DoubleDouble(0)
    for k in stride(from: largest, to: 0, by: -1) {
      terms[k - 1] = above + DoubleDouble.quotient(Double(2 * k), variance) * terms[k]
      above = terms[k]
    }
    // From the smallest up; both signs of k have the same term.
    var tails = [DoubleDouble](repeating: DoubleDouble(0), count: largest)
    var tail = DoubleDouble(0)
    for k in stride(from: largest, to: 0, by: -1) {
      tail = tail + DoubleDouble(high: 2 * terms[k].high, low: 2 * terms[k].low)
      tails[k - 1] = tail
    }
    let total = tail + terms[0]
    thresholds = ThresholdTable(symmetric: tails.map { ($0 / total).fixedPoint127 })
  }

  /// log2 of the total-variation distance between one draw and Skellam noise, at most.
  static func errorLog2(variance: Double) -> Double {
    log2(Double(cut(variance: variance)) + 1) - 101
  }

  /// N, the least k with P(|K| ≥ k) ≤ 2^-110 by Chernoff's bound: ln P(K ≥ k) is at most
  /// √(μ² + k²) − μ − k·asinh(k/μ), from the moment generating function e^(μ(cosh t − 1)).
  static func cut(variance: Double) -> Int {
    // One bit for the two tails.
    let limit = -111 * M_LN2
    func isBeyond(_ k: Double) -> Bool {
      // √(μ² + k²) − μ without cancellation.
      let root = k * k / ((variance * variance + k * k).squareRoot() + variance)
      return root - k * asinh(k / variance) <= limit
    }
    var high = 1.0
    while !isBeyond(high) { high *= 2 }
    var low = 0.0
    while high - low > 1 {
      let middle = ((low + high) / 2).rounded(.down)
      if isBeyond(middle) { high = middle } else { low = middle }
    }
    return Int(high)
  }
}
