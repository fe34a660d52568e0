import Foundation

package import Cryptography

/// Draws symmetric Skellam noise: the difference of two Poisson variables of mean variance/2 each.
///
/// Integers only, from a table of 127-bit cumulative thresholds (`SkellamTable`, where the error is
/// derived) and 128 random bits a draw: one for the sign, 127 for the magnitude. The distribution is
/// symmetric exactly. Every draw takes the same number of steps and none is rejected, so the running
/// time does not depend on the noise; the addresses read in the table do.
package struct SkellamSampler: Sendable {
  /// The smallest and the largest variance, in grid units squared: standard deviations up to 2^16.
  package static let varianceRange: ClosedRange<Double> = 0x1p-32...0x1p32
  /// `errorLog2` of every sampler is below this.
  package static let largestErrorLog2 = -80.0
  /// Draws per request for random bytes: 16 KiB, which stay in the first-level cache.
  private static let block = 1024

  /// The variance of one draw, in grid units squared.
  package let variance: Double
  private let table: SkellamTable

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
    table = SkellamTable(variance: variance)
  }

  /// log2 of the total-variation distance between one draw and Skellam noise, at most: from -99 at the
  /// smallest variance over -87 at a standard deviation of 1000 to -81 at the largest.
  package var errorLog2: Double { SkellamTable.errorLog2(variance: variance) }

  /// The same for the sum of `shares` independent draws, as `PrivacyMechanism.skellam` wants it.
  package func errorLog2(shares: Int) throws(PrivacyError) -> Double {
    try Self.errorLog2(shareVariance: variance, shares: shares)
  }

  /// The same without building the sampler.
  ///
  /// Throws: `parameterOutOfRange` for fewer than one share or a variance that is not positive and finite.
  package static func errorLog2(shareVariance: Double, shares: Int) throws(PrivacyError) -> Double {
    guard shares >= 1 else { throw .parameterOutOfRange(.shares, value: Double(shares)) }
    guard shareVariance > 0, shareVariance.isFinite else {
      throw .parameterOutOfRange(.variance, value: shareVariance)
    }
    return SkellamTable.errorLog2(variance: shareVariance) + log2(Double(shares))
  }

  /// No draw is larger in magnitude.
  package var maximumMagnitude: Int { table.largest }

  /// The probability with which a draw is `value`.
  package func probability(of value: Int) -> Double { table.probability(of: value) }

  /// Adds an independent draw to every element, wrapping around at 64 bits.
  package func addNoise(to sums: inout [Int64], random: inout RandomStream) {
    sums.withUnsafeMutableBufferPointer { addNoise(to: $0, random: &random) }
  }

  /// Adds an independent draw to every element, wrapping around at 64 bits.
  package func addNoise(to sums: UnsafeMutableBufferPointer<Int64>, random: inout RandomStream) {
    var words = [UInt64](repeating: 0, count: 2 * min(Self.block, sums.count))
    let steps = table.steps
    table.survival.withUnsafeBufferPointer { survival in
      words.withUnsafeMutableBytes { bytes in
        let words = bytes.assumingMemoryBound(to: UInt64.self)
        var start = 0
        while start < sums.count {
          let count = min(Self.block, sums.count - start)
          random.fill(UnsafeMutableRawBufferPointer(rebasing: bytes[..<(16 * count)]))
          for offset in 0..<count {
            sums[start &+ offset] &+= Self.draw(
              // Little-endian, so that a seed replays on any machine.
              high: UInt64(littleEndian: words[2 &* offset &+ 1]),
              low: UInt64(littleEndian: words[2 &* offset]), from: survival, steps: steps)
          }
          start += count
        }
        // The words tell the noise. Overwriting with further bytes of the stream is a call that the
        // compiler cannot leave out.
        random.fill(bytes)
      }
    }
  }

  /// The draw that 128 random bits stand for: for tests of single words.
  func draw(high: UInt64, low: UInt64) -> Int64 {
    table.survival.withUnsafeBufferPointer {
      Self.draw(high: high, low: low, from: $0, steps: table.steps)
    }
  }

  /// The top bit is the sign, the other 127 are v; the magnitude is the number of thresholds above v.
  ///
  /// A binary search without branches: the comparison becomes a number that is shifted into place, so
  /// there is nothing for the compiler to jump on.
  @inline(__always)
  private static func draw(
    high: UInt64, low: UInt64, from survival: UnsafeBufferPointer<UInt128>, steps: Int
  ) -> Int64 {
    let v =
      UInt128(truncatingIfNeeded: high & (UInt64.max >> 1)) << 64 | UInt128(truncatingIfNeeded: low)
    var magnitude = 0
    var step = steps
    while step > 0 {
      step &-= 1
      let (_, isBelow) = v.subtractingReportingOverflow(survival[magnitude &+ (1 &<< step) &- 1])
      magnitude &+= (isBelow ? 1 : 0) &<< step
    }
    // 0 or -1; (m ^ -1) - -1 is -m.
    let sign = Int64(bitPattern: high) >> 63
    return (Int64(magnitude) ^ sign) &- sign
  }
}
