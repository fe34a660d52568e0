import Foundation

package import Cryptography

/// Integer noise that one party adds in full.
package enum IntegerNoise: Codable, Sendable, Hashable {
  /// The discrete Gaussian of parameter σ², in grid units squared.
  case discreteGaussian(variance: Double)
  /// The discrete Laplace distribution of scale t, in grid units.
  case discreteLaplace(scale: Double)

  /// Builds the table.
  ///
  /// Throws: `outOfRange` for a parameter that no table holds.
  package func sampler() throws(MechanismError) -> any TableSampler {
    switch self {
    case .discreteGaussian(let variance): try DiscreteGaussianSampler(variance: variance)
    case .discreteLaplace(let scale): try DiscreteLaplaceSampler(scale: scale)
    }
  }
}

/// What one release costs, as the mechanism's own theorem has it.
package enum MechanismCost: Sendable, Hashable {
  /// ρ-zero-concentrated differential privacy (Bun and Steinke 2016): ε(α) = ρα for all orders.
  case zeroConcentrated(rho: Double)
  /// Pure ε-differential privacy.
  case pure(epsilon: Double)
}

/// Integer noise on an integer vector, added in full by one party: by the trusted server to the exact sum
/// (`central`), or by every node to its own vector (`local`).
///
/// - **Discrete Gaussian**: norm L2. A release of integer vectors with ‖x − x'‖₂² ≤ Δ₂² and noise of
///   parameter σ² per coordinate is Δ₂²/(2σ²)-zCDP (Canonne, Kamath and Steinke 2020, "The Discrete Gaussian
///   for Differential Privacy", section 2.2).
/// - **Discrete Laplace**: norm L1. With ‖x − x'‖₁ ≤ Δ₁ and scale t it is Δ₁/t-differentially private, since
///   neighbouring probabilities differ by a factor e^(1/t) per unit (Ghosh, Roughgarden and Sundararajan
///   2012, "Universally Utility-Maximizing Privacy Mechanisms").
/// - **Neighbours**: central, as `relation` says, of sums of vectors that each respect the bound; local, any
///   two vectors that one node could hold, which differ by twice the bound whatever the relation.
package struct AdditiveMechanism: Sendable {
  /// Who adds the noise: `central` or `local`.
  package let trustMode: TrustMode
  /// What is added.
  package let noise: IntegerNoise
  /// The most by which neighbours differ: Δ₂² for Gaussian noise, Δ₁ for Laplace noise.
  package let sensitivity: Int64
  private let sampler: any TableSampler

  /// Noise that the server adds once to a sum of vectors of at most `bound`: the squared L2 norm for
  /// Gaussian noise, the L1 norm for Laplace noise, in grid units (`StatisticsSensitivity`, `IntegerClip`).
  ///
  /// Throws: `outOfRange`.
  package static func central(
    noise: IntegerNoise, bound: Int64, relation: NeighbouringRelation = .addRemove
  ) throws(MechanismError) -> AdditiveMechanism {
    try AdditiveMechanism(.central, noise, bound, factor: relation.sensitivityFactor)
  }

  /// Noise that every node adds to its own vector of at most `bound`. Nobody is trusted, and no cohort is
  /// needed: the guarantee holds for what one node sends. Over n nodes the noise of a sum adds up to n
  /// times `variance`.
  ///
  /// Throws: `outOfRange`.
  package static func local(
    noise: IntegerNoise, bound: Int64
  ) throws(MechanismError) -> AdditiveMechanism {
    // The vector itself is replaced.
    try AdditiveMechanism(.local, noise, bound, factor: 2)
  }

  private init(
    _ trustMode: TrustMode, _ noise: IntegerNoise, _ bound: Int64, factor: Int64
  ) throws(MechanismError) {
    let multiple: Int64
    switch noise {
    case .discreteGaussian: multiple = factor * factor
    case .discreteLaplace: multiple = factor
    }
    let (sensitivity, overflow) = bound.multipliedReportingOverflow(by: multiple)
    guard bound >= 1, !overflow else { throw .outOfRange(.sensitivity, value: Double(bound)) }
    self.trustMode = trustMode
    self.noise = noise
    self.sensitivity = sensitivity
    sampler = try noise.sampler()
  }

  /// Adds one release's noise.
  package func addNoise(to values: inout [Int64], random: inout RandomStream) {
    sampler.addNoise(to: &values, random: &random)
  }

  /// The variance of the noise of one coordinate.
  package var variance: Double { sampler.variance }

  /// log2 of the total-variation distance between one coordinate's noise and the theorem's; d coordinates
  /// take (1 + e^ε)·d·2^errorLog2 from delta.
  package var errorLog2: Double { sampler.errorLog2 }

  /// What one release costs.
  package var cost: MechanismCost {
    switch noise {
    case .discreteGaussian(let variance):
      .zeroConcentrated(rho: (Double(sensitivity) / (2 * variance)).nextUp)
    case .discreteLaplace(let scale): .pure(epsilon: (Double(sensitivity) / scale).nextUp)
    }
  }
}
