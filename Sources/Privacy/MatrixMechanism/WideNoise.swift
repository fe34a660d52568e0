import Cryptography
import Foundation

/// How a discrete Gaussian too wide for a table is made of two that are not: z = z₁ + k·z₂ with
/// σ² = σ₁² + k²σ₂².
///
/// The probability of x is ρ_σ(x)·Σ_j ρ_s(j − cx) up to a constant, where ρ_σ(x) = e^(−x²/(2σ²)),
/// c = kσ₂²/σ² and s² = σ₁²σ₂²/σ². By Poisson summation the sum over j lies within a factor 1 ± 2.1·e^(−2π²s²)
/// of a constant, for every x (Micciancio and Walter 2017, "Gaussian Sampling over the Integers", section 3).
/// Here s² ≥ 64: z is N_Z(0, σ²) up to a factor of 1 ± 2^−1800 in every single probability, which needs
/// no place in any budget. Errors of the two samplers add up.
package struct WideNoise: Sendable, Hashable {
  /// The widest variance that a table holds.
  package static let largestNarrowVariance = 0x1p32
  /// The widest variance that can be split: standard deviations up to 2^28.
  package static let largestVariance = 0x1p56
  private static let leastFineVariance = 0x1p31

  /// σ₁², at most `largestNarrowVariance`.
  package let fineVariance: Double
  /// σ₂², at most `largestNarrowVariance`; a whole number, 0 where σ₁² alone will do.
  package let coarseVariance: Double
  /// k: a power of two up to 2^12.
  package let factor: Int64

  /// Splits a variance, exactly: σ₁² + k²σ₂² is `variance`.
  ///
  /// Throws: `varianceOutOfRange` above `largestVariance`, or if it is not positive.
  package init(variance: Double) throws(MatrixMechanismError) {
    guard variance > 0, variance <= Self.largestVariance else { throw .varianceOutOfRange(variance) }
    guard variance > Self.largestNarrowVariance else {
      fineVariance = variance
      coarseVariance = 0
      factor = 1
      return
    }
    var factor = 1.0
    while variance > Self.largestNarrowVariance * factor * factor { factor *= 2 }
    coarseVariance = ((variance - Self.leastFineVariance) / (factor * factor)).rounded(.down)
    // Both products and the difference are exact: powers of two, and at most 2^25 left of 53 bits.
    fineVariance = variance - factor * factor * coarseVariance
    self.factor = Int64(factor)
  }
}

extension IntegerNoiseSource {
  /// A source of wide noise from the draws of its two parts.
  ///
  /// `fine`, `coarse`: as `draw`, with the variances of `parts`; `coarse` is not called where its is 0.
  package init(
    name: String, variance: Double, parts: WideNoise, fine: @escaping Draw, coarse: @escaping Draw
  ) {
    self.init(name: name, variance: variance) { random, buffer in
      fine(&random, buffer)
      guard parts.coarseVariance > 0 else { return }
      var high = [Int64](repeating: 0, count: buffer.count)
      high.withUnsafeMutableBufferPointer { high in
        coarse(&random, high)
        for i in 0..<buffer.count { buffer[i] &+= parts.factor &* high[i] }
        // The draws tell the noise.
        random.fill(UnsafeMutableRawBufferPointer(high))
      }
    }
  }
}
