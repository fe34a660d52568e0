import Foundation

/// The widths of the ring, and the choice among them. A sum that wraps is silent garbage, so a width is
/// chosen from a proven bound or refused.
package enum RingWidth {
  /// The widths that exist, ascending.
  package static let all = [16, 20, 24, 32]

  /// The narrowest ring that holds every sum of magnitude up to `maximumAbsoluteSum`, both signs.
  ///
  /// - Throws: `ringTooNarrow` above 2^31 - 1, `invalidBound` below zero.
  package static func required(maximumAbsoluteSum: Int64) throws(AggregationError) -> Int {
    guard maximumAbsoluteSum >= 0 else { throw .invalidBound }
    for bits in all where maximumAbsoluteSum < Int64(1) << (bits - 1) { return bits }
    throw .ringTooNarrow(neededMagnitude: maximumAbsoluteSum)
  }

  /// The narrowest ring in which no coordinate of the noised sum wraps, except with probability at most
  /// 2^-40 over all coordinates together.
  ///
  /// The tail is Chernoff's bound for a symmetric Skellam variable of variance v (difference of two
  /// Poisson variables of mean v/2, moment generating function exp(v(cosh θ - 1))), optimised at
  /// θ = asinh(x/v):
  ///
  ///     Pr[N ≥ x] ≤ exp(-g(x)),   g(x) = x·asinh(x/v) - v(√(1 + (x/v)²) - 1)
  ///
  /// Gaussians and discrete Gaussians of parameter v are sub-Gaussian with exp(vθ²/2) ≤ exp(v(cosh θ - 1))
  /// (Canonne, Kamath, Steinke 2020, Corollary 9), so the same bound holds for them and for sums of all
  /// these. Both signs and `dimension` coordinates are covered by the union bound 2·d·exp(-g).
  ///
  /// - Parameters:
  ///   - contributionBound: an integer bound of |sum of all encoded contributions| per coordinate.
  ///   - noiseVariance: the total variance (for discrete Gaussians: the parameter σ²) in squared units
  ///     of the ring, of the noise of all participants together.
  ///   - dimension: the number of coordinates.
  /// - Throws: `ringTooNarrow` if 32 bits do not suffice, `invalidBound` for nonsense.
  package static func choose(
    contributionBound: Int64, noiseVariance: Double, dimension: Int
  ) throws(AggregationError) -> Int {
    guard contributionBound >= 0, noiseVariance >= 0, noiseVariance.isFinite, dimension > 0 else {
      throw .invalidBound
    }
    let tail = try noiseTail(variance: noiseVariance, dimension: dimension)
    let (magnitude, overflow) = contributionBound.addingReportingOverflow(tail)
    guard !overflow else { throw .ringTooNarrow(neededMagnitude: .max) }
    return try required(maximumAbsoluteSum: magnitude)
  }

  /// The smallest x such that some coordinate's noise exceeds x with probability at most 2^-40.
  static func noiseTail(variance: Double, dimension: Int) throws(AggregationError) -> Int64 {
    guard variance > 0 else { return 0 }
    // One part in 10^9 more than the bound asks for covers the rounding of the logarithms.
    let needed = (log(2 * Double(dimension)) + 40 * log(2)) * (1 + 1e-9)
    // The bound grows with the variance; the floor keeps the quotient x/v finite.
    let variance = max(variance, 1e-9)
    func suffices(_ x: Int64) -> Bool { exponent(Double(x), variance: variance) >= needed }
    var low: Int64 = 0
    var high: Int64 = 1 << 31
    guard suffices(high) else { throw .ringTooNarrow(neededMagnitude: high) }
    while low < high {
      let middle = (low + high) / 2
      if suffices(middle) { high = middle } else { low = middle + 1 }
    }
    return low
  }

  private static func exponent(_ x: Double, variance: Double) -> Double {
    let ratio = x / variance
    // √(1 + r²) - 1 without cancellation for small r.
    let excess = ratio * ratio / ((1 + ratio * ratio).squareRoot() + 1)
    return x * asinh(ratio) - variance * excess
  }

  static func check(_ bits: Int) throws(AggregationError) {
    guard all.contains(bits) else {
      throw .invalidParameter(.ringBits, value: bits, minimum: 16, maximum: 32)
    }
  }

  /// 2^b - 1.
  static func mask(_ bits: Int) -> UInt32 { UInt32.max >> UInt32(32 - bits) }
}
