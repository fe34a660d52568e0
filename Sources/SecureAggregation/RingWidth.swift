import Foundation

/// The widths of the ring, and the choice among them. A sum that wraps is silent garbage, so a width is
/// chosen from a proven bound or refused.
///
/// One bit is kept to spare: the bound fills at most half of the ring. Whatever makes a sum uniform (a
/// wrong recovery, one participant that uploads noise instead of an input) then leaves the bound with
/// probability at least 1/2 in every coordinate, so a check of d coordinates against the same bound
/// overlooks it with probability at most 2^-d. The check sees nothing of what stays within the bound: a
/// participant may still shift the sum by as much as all contributions together could.
package enum RingWidth {
  /// The widths that exist, ascending.
  package static let all = [16, 20, 24, 32]
  /// log2 of the probability with which a sum may leave its bound.
  package static let log2Failure = -40.0
  /// Bits of the ring beyond those that the bound and its sign need.
  package static let spareBits = 1

  /// A ring and the bound that it was chosen for.
  package struct Plan: Sendable, Hashable {
    /// The ring's width in bits.
    package let ringBits: Int
    /// Coordinates that are aggregated; with a rotation, its padded dimension.
    package let dimension: Int
    /// No coordinate of the noised sum exceeds this in magnitude, except with probability 2^-40: what a
    /// decoded sum is checked against.
    package let maximumAbsoluteSum: Int64
  }

  /// The narrowest ring that holds every sum of magnitude up to `maximumAbsoluteSum`, both signs, and has
  /// `spareBits` to spare.
  ///
  /// - Throws: `ringTooNarrow` above 2^30 - 1, `invalidBound` below zero.
  package static func required(maximumAbsoluteSum: Int64) throws(AggregationError) -> Int {
    guard maximumAbsoluteSum >= 0 else { throw .invalidBound }
    for bits in all where maximumAbsoluteSum < Int64(1) << (bits - 1 - spareBits) { return bits }
    throw .ringTooNarrow(neededMagnitude: maximumAbsoluteSum)
  }

  /// The narrowest ring in which no coordinate of the noised sum wraps, except with probability at most
  /// 2^-40 over all coordinates together.
  ///
  /// - Parameters: see `maximumAbsoluteSum(contributionBound:noiseVariance:dimension:)`.
  /// - Throws: `ringTooNarrow` if 32 bits do not suffice, `invalidBound` for nonsense.
  package static func choose(
    contributionBound: Int64, noiseVariance: Double, dimension: Int
  ) throws(AggregationError) -> Int {
    try required(
      maximumAbsoluteSum: maximumAbsoluteSum(
        contributionBound: contributionBound, noiseVariance: noiseVariance, dimension: dimension))
  }

  /// The narrowest ring for the sum of `contributions` vectors of L2 norm at most `clipNorm`, put on a
  /// grid of `scale` units by rounding every coordinate to one of its two neighbours.
  ///
  /// Without a rotation a coordinate of one contribution can be as large as its norm, so the sum is
  /// bounded by n·(⌊C·s⌋ + 1). With a rotation whose signs do not depend on the data, a coordinate of the
  /// sum is bounded by `HadamardRotation.coordinateBound` except with probability 2^-41, and rounding
  /// adds at most one unit per contribution; the noise has the other half of 2^-40.
  ///
  /// - Parameters:
  ///   - contributions: n, all vectors that enter the sum; at least 1.
  ///   - clipNorm: C, in the vectors' own units; the last millionth above it is allowed for, so that
  ///     norms may be computed in `Float`.
  ///   - scale: s, grid units per unit.
  ///   - noiseVariance: the variance of all noise in the sum, grid units squared.
  ///   - dimension: coordinates before a rotation.
  ///   - rotated: whether the vectors are rotated before they are rounded.
  /// - Throws: `ringTooNarrow` if 32 bits do not suffice, `invalidBound` for nonsense.
  package static func choose(
    contributions: Int, clipNorm: Double, scale: Double, noiseVariance: Double, dimension: Int,
    rotated: Bool = false
  ) throws(AggregationError) -> Plan {
    let norm = clipNorm * scale * (1 + 0x1p-20)
    guard contributions > 0, clipNorm > 0, scale > 0, norm.isFinite, noiseVariance >= 0,
      noiseVariance.isFinite, (1...AggregationParameters.maximumDimension).contains(dimension)
    else { throw .invalidBound }
    let aggregated = rotated ? HadamardRotation.rotatedDimension(dimension) : dimension
    let count = Double(contributions)
    var bound = count * (norm.rounded(.down) + 1)
    if rotated {
      let typical = HadamardRotation.coordinateBound(
        sumNorm: count * norm, rotatedDimension: aggregated, log2Failure: log2Failure - 1)
      bound = min(bound, (typical + count).rounded(.up))
    }
    guard bound < 0x1p62 else { throw .ringTooNarrow(neededMagnitude: .max) }
    let maximum = try maximumAbsoluteSum(
      contributionBound: Int64(bound), noiseVariance: noiseVariance, dimension: aggregated,
      log2Failure: rotated ? log2Failure - 1 : log2Failure)
    return Plan(
      ringBits: try required(maximumAbsoluteSum: maximum), dimension: aggregated,
      maximumAbsoluteSum: maximum)
  }

  /// What no coordinate of the noised sum exceeds in magnitude, except with probability at most
  /// 2^`log2Failure` over all coordinates together: the bound from which a ring is chosen, and against
  /// which the decoded sum is checked.
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
  ///   - log2Failure: log2 of the probability of a larger sum.
  /// - Throws: `ringTooNarrow` if no ring can hold it, `invalidBound` for nonsense.
  package static func maximumAbsoluteSum(
    contributionBound: Int64, noiseVariance: Double, dimension: Int, log2Failure: Double = log2Failure
  ) throws(AggregationError) -> Int64 {
    guard contributionBound >= 0, noiseVariance >= 0, noiseVariance.isFinite, dimension > 0,
      log2Failure <= 0, log2Failure.isFinite
    else { throw .invalidBound }
    let tail = try noiseTail(variance: noiseVariance, dimension: dimension, log2Failure: log2Failure)
    let (magnitude, overflow) = contributionBound.addingReportingOverflow(tail)
    guard !overflow else { throw .ringTooNarrow(neededMagnitude: .max) }
    return magnitude
  }

  /// The smallest x such that some coordinate's noise exceeds x with probability at most 2^`log2Failure`.
  static func noiseTail(
    variance: Double, dimension: Int, log2Failure: Double = log2Failure
  ) throws(AggregationError) -> Int64 {
    guard variance > 0 else { return 0 }
    // One part in 10^9 more than the bound asks for covers the rounding of the logarithms.
    let needed = (log(2 * Double(dimension)) - log2Failure * log(2)) * (1 + 1e-9)
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
