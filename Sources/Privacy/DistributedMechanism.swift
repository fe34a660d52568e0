import Foundation

package import Cryptography

/// A distribution whose draws, one per node, make up the noise of a sum.
package enum DistributedNoise: String, Codable, Sendable, Hashable, CaseIterable {
  /// Closed under sums: h shares of variance v are one draw of variance h·v.
  case skellam
  /// Nearly closed under sums; what is missing is `DistributedMechanism.tau`.
  case discreteGaussian
}

/// Noise that nodes add to their integer vectors, each a share, before masking: the server sees the noised
/// sum only.
///
/// - **Norm**: L2 (with L1 for Skellam) of one unit's integer vector, as `IntegerClip` enforces it.
/// - **Neighbours**: add/remove one unit, or replace-one with twice the sensitivity.
/// - **Theorems**: for Skellam, Agarwal, Kairouz and Liu 2021, "The Skellam Mechanism for Differentially
///   Private Federated Learning", the Rényi bound of `SkellamDivergence`. For the discrete Gaussian, Kairouz,
///   Liu and Steinke 2021, "The Distributed Discrete Gaussian Mechanism for Federated Learning with Secure
///   Aggregation": with h honest shares of parameter σ² and S² = h·σ², ε(α) is at most the least of
///   α/2·(Δ₂/S)² + τd, α/2·((Δ₂/S)² + 2(Δ₁/S)τ + τ²d) and α/2·(Δ₂/S + √d·τ)².
/// - **Assumption**: T_min − ⌊γ·n⌋ nodes add their share and keep it to themselves (`NoiseDivision`).
package struct DistributedMechanism: Sendable {
  /// The distribution of a share.
  package let noise: DistributedNoise
  /// The variance of the noise that is sure to be in the sum, per coordinate, in grid units squared.
  package let totalVariance: Double
  /// The shares that make it up, T_min − ⌊γ·n⌋.
  package let shares: Int
  /// What each node draws.
  package let sampler: any TableSampler

  /// Divides the noise and builds a node's sampler.
  ///
  /// Throws: `PrivacyError` as `NoiseDivision.shareVariance`, or if no table holds a share (a discrete
  /// Gaussian one included: `varianceOutOfRange`).
  package init(
    noise: DistributedNoise, totalVariance: Double, cohort: Int, minimumSurvivors: Int,
    corruptFraction: Double
  ) throws(PrivacyError) {
    let share = try NoiseDivision.shareVariance(
      totalVariance: totalVariance, cohort: cohort, minimumSurvivors: minimumSurvivors,
      corruptFraction: corruptFraction)
    shares = try NoiseDivision.honestSurvivors(
      cohort: cohort, minimumSurvivors: minimumSurvivors, corruptFraction: corruptFraction)
    self.noise = noise
    self.totalVariance = totalVariance
    switch noise {
    case .skellam: sampler = try SkellamSampler(variance: share)
    case .discreteGaussian:
      do {
        sampler = try DiscreteGaussianSampler(variance: share)
      } catch {
        throw .varianceOutOfRange(
          variance: share, minimum: DiscreteGaussianSampler.varianceRange.lowerBound,
          maximum: DiscreteGaussianSampler.varianceRange.upperBound)
      }
    }
  }

  /// The variance of one node's share.
  package var shareVariance: Double { sampler.variance }

  /// Adds one node's share to its vector.
  package func addShare(to values: inout [Int64], random: inout RandomStream) {
    sampler.addNoise(to: &values, random: &random)
  }

  /// log2 of the total-variation distance between one coordinate of the summed noise and the theorem's.
  package var errorLog2: Double { sampler.errorLog2 + log2(Double(shares)) }

  /// How far the sum of the shares is from one discrete Gaussian; 0 for Skellam noise.
  package var tau: Double {
    noise == .skellam ? 0 : Self.tau(shareVariance: shareVariance, shares: shares)
  }

  /// τ = 10·Σ_{k=1}^{h−1} e^(−2π²σ²·k/(k+1)) for h shares of parameter σ² (Kairouz, Liu and Steinke 2021,
  /// theorem 1). Below σ² = 1 or so it is too large to be of use.
  package static func tau(shareVariance: Double, shares: Int) -> Double {
    guard shares > 1 else { return 0 }
    return 10
      * (1..<shares).reduce(0.0) { sum, k in
        sum + exp(-2 * Double.pi * Double.pi * shareVariance * Double(k) / Double(k + 1))
      }
  }
}
