/// What a release did to protect the data, with everything that an accountant needs to know.
///
/// A mechanism is data: it is written to ledgers and read back by programs of another age. One that this
/// program does not know decodes as `unsupported` and is refused by every accountant, never ignored.
/// Sensitivities are those of the neighbouring relation in force.
package enum PrivacyMechanism: Sendable, Hashable {
  /// Gaussian noise of standard deviation `noiseMultiplier` times the L2 sensitivity.
  case gaussian(noiseMultiplier: Double)
  /// A whole run of the matrix mechanism, A = BC with noise B·Z (Denisov et al. 2022): one event for all
  /// its rounds. Z has the standard deviation `noiseMultiplier` times the L2 sensitivity of one
  /// contribution, and `sensitivity` is that of C over the participation pattern, ‖Σ shifted columns‖,
  /// so that ρ = sensitivity²/(2·noiseMultiplier²).
  case matrixGaussian(noiseMultiplier: Double, sensitivity: Double)
  /// Symmetric Skellam noise on a sum of integer vectors (Agarwal, Kairouz and Liu 2021).
  ///
  /// `variance` is the total variance per coordinate, in grid units squared, of the noise that is sure
  /// to be there. The sensitivities are in grid units, of the neighbouring relation in force:
  /// `IntegerClip.event` computes them. `samplerErrorLog2` is log2 of the total-variation distance
  /// between the noise drawn and Skellam noise for one coordinate of the **sum**: with n shares, n
  /// times the error of one draw (`SkellamSampler.errorLog2(shares:)`). It may be -infinity for an
  /// exact sampler.
  case skellam(
    variance: Double, sensitivityL2Squared: Int64, sensitivityL1: Double, dimension: Int,
    samplerErrorLog2: Double)
  /// The sum of `shares` independent discrete Gaussians on a sum of integer vectors (Canonne, Kamath and
  /// Steinke 2020; Kairouz, Liu and Steinke 2021). One share is the central mechanism.
  ///
  /// `varianceParameter` is σ² of one share, in grid units squared. The other values are as for `skellam`.
  case discreteGaussian(
    varianceParameter: Double, shares: Int, sensitivityL2Squared: Int64, sensitivityL1: Double,
    dimension: Int, samplerErrorLog2: Double)
  /// Laplace noise on real numbers: its scale b is `noiseMultiplier` times the L1 sensitivity (Dwork et
  /// al. 2006). Pure epsilon 1/`noiseMultiplier`.
  case laplace(noiseMultiplier: Double)
  /// Two-sided geometric noise on integers, P(k) ∝ e^(−|k|/scale), for an integer L1 `sensitivity`
  /// (Ghosh, Roughgarden and Sundararajan 2009). Pure epsilon sensitivity/scale.
  case discreteLaplace(scale: Double, sensitivity: Int64)
  /// One of `categories` values, the true one e^epsilon times as likely as each other (Warner 1965;
  /// Kairouz, Oh and Viswanath 2014). An absent unit reports through the same randomizer as one that
  /// holds some value, so both relations cost the same.
  case randomizedResponse(epsilon: Double, categories: Int)
  /// Anything that is proved (epsilon, 0)-differentially private and about which no more is known.
  case pureEpsilon(epsilon: Double)
  /// Released without noise: epsilon is infinite from here on, whatever else happens.
  case none
  /// An event that this program has no theorem for. It is refused.
  case unsupported(name: String)

  /// What people call the mechanism.
  package var name: String {
    switch self {
    case .gaussian: "Gaussian"
    case .matrixGaussian: "matrix mechanism"
    case .skellam: "Skellam"
    case .discreteGaussian(_, let shares, _, _, _, _):
      shares == 1 ? "discrete Gaussian" : "distributed discrete Gaussian"
    case .laplace: "Laplace"
    case .discreteLaplace: "discrete Laplace"
    case .randomizedResponse: "randomized response"
    case .pureEpsilon: "pure epsilon"
    case .none: "no noise"
    case .unsupported(let name): name
    }
  }
}

/// How the units of a release were picked.
package enum PrivacySampling: Sendable, Hashable {
  /// Every unit took part, or nothing is claimed from sampling.
  case none
  /// Every unit took part with this probability, independently of all others and in every round
  /// anew, and the observer does not know which did. Add/remove neighbours only. Shuffled batches
  /// are not this (Chua et al. 2024).
  case poisson(rate: Double)
  /// `sampled` of `population` units took part, a uniformly random subset drawn in every round anew,
  /// and the observer does not know which. Replace-one neighbours only, since the size of the population
  /// is public.
  case fixedSizeWithoutReplacement(sampled: Int, population: Int)
  /// A sampling that this program has no theorem for. It is refused.
  case unsupported(name: String)

  /// What people call the sampling.
  package var name: String {
    switch self {
    case .none: "no sampling"
    case .poisson: "Poisson sampling"
    case .fixedSizeWithoutReplacement: "fixed-size sampling without replacement"
    case .unsupported(let name): name
    }
  }
}

/// `count` releases of the same mechanism under the same sampling.
package struct PrivacyEvent: Codable, Sendable, Hashable {
  /// What protected each release.
  package var mechanism: PrivacyMechanism
  /// How the units of each release were picked.
  package var sampling: PrivacySampling
  /// The number of releases, at least 1.
  package var count: Int

  /// Describes `count` releases. The values are checked by the accountant that composes them.
  package init(mechanism: PrivacyMechanism, sampling: PrivacySampling = .none, count: Int = 1) {
    self.mechanism = mechanism
    self.sampling = sampling
    self.count = count
  }

  /// The same event, `times` times as often; nil if the count overflows.
  package func repeated(_ times: Int) -> PrivacyEvent? {
    let (product, overflow) = count.multipliedReportingOverflow(by: times)
    return overflow ? nil : PrivacyEvent(mechanism: mechanism, sampling: sampling, count: product)
  }
}
