import Foundation

/// Draws symmetric Skellam noise: the difference of two Poisson variables of mean variance/2 each.
///
/// Integers only, from a table of 127-bit cumulative thresholds (`SkellamTable`, where the error is
/// derived) and 128 random bits a draw: one for the sign, 127 for the magnitude. The distribution is
/// symmetric exactly. Every draw reads the same number of random bytes and of table entries and none is
/// rejected (`ThresholdTable`), so the running time does not depend on the noise; the addresses read in
/// the table do.
///
/// A larger variance than the range's is refused. Skellam noise is closed under sums, so a caller who
/// needs it may add several draws of smaller variance, each with its own error (`errorLog2(shares:)`).
package struct SkellamSampler: TableSampler {
  /// The smallest and the largest variance, in grid units squared: standard deviations up to 2^16.
  package static let varianceRange: ClosedRange<Double> = 0x1p-32...0x1p32
  /// `errorLog2` of every sampler is below this.
  package static let largestErrorLog2 = -80.0

  /// The variance of one draw, in grid units squared.
  package let variance: Double
  package let table: ThresholdTable

  /// Builds the table: 16 bytes times some 12.4 standard deviations, 16 MiB at the largest variance.
  ///
  /// No noise at all is not a variance of 0 here: record the mechanism `none`.
  /// Throws: `varianceOutOfRange`.
  package init(variance: Double) throws(PrivacyError) {
    guard Self.varianceRange.contains(variance) else {
      throw .varianceOutOfRange(
        variance: variance, minimum: Self.varianceRange.lowerBound,
        maximum: Self.varianceRange.upperBound)
    }
    self.variance = variance
    table = SkellamTable(variance: variance).thresholds
  }

  /// log2 of the total-variation distance between one draw and Skellam noise, at most: from -99 at the
  /// smallest variance over -87 at a standard deviation of 1000 to -81 at the largest.
  package var errorLog2: Double { SkellamTable.errorLog2(variance: variance) }

  /// The same for the sum of `shares` independent draws, without building the sampler.
  ///
  /// Throws: `parameterOutOfRange` for fewer than one share or a variance that is not positive and finite.
  package static func errorLog2(shareVariance: Double, shares: Int) throws(PrivacyError) -> Double {
    guard shares >= 1 else { throw .parameterOutOfRange(.shares, value: Double(shares)) }
    guard shareVariance > 0, shareVariance.isFinite else {
      throw .parameterOutOfRange(.variance, value: shareVariance)
    }
    return SkellamTable.errorLog2(variance: shareVariance) + log2(Double(shares))
  }
}
