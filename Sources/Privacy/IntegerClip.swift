/// The sensitivity of one unit's update on the integer grid: what `quantise` enforces and what the
/// accountant is told, from the same numbers.
///
/// An update is clipped to L2 norm C, multiplied by the scale s and rounded stochastically. Rounding
/// lengthens vectors, so the integer bound is (Kairouz, Liu and Steinke 2021; β = e^(−1/2))
///
///     Δ₂² = min{(sC + √d)², s²C² + d/4 + √(2 ln(1/β))·(sC + √d/2)},    Δ₁ = Δ₂·min(√d, Δ₂).
///
/// The first always holds; the second, which with this β is never the larger one, holds with probability
/// at least 1 − β per rounding, hence the retries.
/// Δ₁ holds since ‖x‖₁ ≤ √d·‖x‖₂, and ‖x‖₁ ≤ ‖x‖₂² for integers.
package struct IntegerClip: Sendable, Hashable {
  /// The most coordinates that a vector may have.
  package static let maximumDimension = 1 << 26
  /// The largest sC + √d: below it coordinates fit 32 bits and sums of squares 63.
  static let largestNorm = 0x1p31 - 1

  /// C: the largest L2 norm of an update, in the update's own units.
  package let clipNorm: Double
  /// s: grid units per unit of the update.
  package let scale: Double
  /// d: the number of coordinates.
  package let dimension: Int
  /// Δ₂², in grid units squared, rounded down: what a sum of squared integers may be at most.
  package let sensitivityL2Squared: Int64
  /// Δ₁, in grid units.
  package let sensitivityL1: Double

  /// Computes the bounds.
  ///
  /// Throws: `parameterOutOfRange` for a norm, a scale or a dimension out of range; `gridTooFine` if
  /// sC + √d is 2^31 or more.
  package init(clipNorm: Double, scale: Double, dimension: Int) throws(PrivacyError) {
    guard clipNorm > 0, clipNorm.isFinite else {
      throw .parameterOutOfRange(.clipNorm, value: clipNorm)
    }
    guard scale > 0, scale.isFinite else { throw .parameterOutOfRange(.scale, value: scale) }
    guard dimension >= 1, dimension <= Self.maximumDimension else {
      throw .parameterOutOfRange(.dimension, value: Double(dimension))
    }
    let norm = scale * clipNorm
    let rootDimension = Double(dimension).squareRoot()
    let always = (norm + rootDimension) * (norm + rootDimension)
    guard norm + rootDimension <= Self.largestNorm else {
      throw .gridTooFine(scaledClipNorm: norm, dimension: dimension)
    }
    // √(2 ln(1/β)) is 1 for β = e^(−1/2).
    let usually = norm * norm + Double(dimension) / 4 + (norm + rootDimension / 2)
    let squared = min(always, usually).rounded(.down)
    let sensitivityL2 = squared.squareRoot()
    self.clipNorm = clipNorm
    self.scale = scale
    self.dimension = dimension
    // At least 1: (sC + √d)² > 1, and sC + √d/2 + d/4 > 3/4 falls short of 1 only for a grid so coarse
    // that nearly everything rounds to zero; a bound of 1 is then sound too, if a little loose.
    sensitivityL2Squared = max(1, Int64(squared))
    sensitivityL1 = max(1, sensitivityL2 * min(rootDimension, sensitivityL2))
  }

  /// The largest magnitude of one coordinate of a quantised update, ⌊Δ₂⌋, for sizing the ring: a sum
  /// over n units stays within n times this, plus the noise (`SkellamSampler.maximumMagnitude`).
  package var maximumAbsoluteCoordinate: Int64 {
    var root = Int64(Double(sensitivityL2Squared).squareRoot())
    // The floating-point root of a 62-bit number may be one off.
    while root * root > sensitivityL2Squared { root -= 1 }
    while (root + 1) * (root + 1) <= sensitivityL2Squared { root += 1 }
    return root
  }

  /// A coordinate of a sum in the update's own units.
  package func decode(sum: Int64) -> Double { Double(sum) / scale }

  /// The event of releasing `count` sums of updates quantised by this clip, under Skellam noise of total
  /// `variance` (grid units squared) per coordinate.
  ///
  /// `relation`: replace-one neighbours differ by twice the clip. `samplerErrorLog2`: see
  /// `SkellamSampler.errorLog2(shares:)`.
  package func event(
    variance: Double, samplerErrorLog2: Double, relation: NeighbouringRelation = .addRemove,
    count: Int = 1
  ) -> PrivacyEvent {
    let factor = relation.sensitivityFactor
    // Twice a norm near the limit has a square beyond 63 bits. A sensitivity of -1 makes the accountant
    // refuse the event; a saturated one would understate it.
    let (squared, overflow) = sensitivityL2Squared.multipliedReportingOverflow(by: factor * factor)
    return PrivacyEvent(
      mechanism: .skellam(
        variance: variance, sensitivityL2Squared: overflow ? -1 : squared,
        sensitivityL1: sensitivityL1 * Double(factor), dimension: dimension,
        samplerErrorLog2: samplerErrorLog2),
      count: count)
  }
}
