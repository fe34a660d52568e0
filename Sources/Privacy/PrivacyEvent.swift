/// What a release did to protect the data, with everything that an accountant needs to know.
///
/// A mechanism is data: it is written to ledgers and read back by programs of another age. One that this
/// program does not know decodes as `unsupported` and is refused by every accountant, never ignored.
package enum PrivacyMechanism: Sendable, Hashable {
  /// Gaussian noise of standard deviation `noiseMultiplier` times the L2 sensitivity.
  case gaussian(noiseMultiplier: Double)
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
  /// Released without noise: epsilon is infinite from here on, whatever else happens.
  case none
  /// An event that this program has no theorem for. It is refused.
  case unsupported(name: String)

  /// What people call the mechanism.
  package var name: String {
    switch self {
    case .gaussian: "Gaussian"
    case .skellam: "Skellam"
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
  /// A sampling that this program has no theorem for. It is refused.
  case unsupported(name: String)
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
  func repeated(_ times: Int) -> PrivacyEvent? {
    let (product, overflow) = count.multipliedReportingOverflow(by: times)
    return overflow ? nil : PrivacyEvent(mechanism: mechanism, sampling: sampling, count: product)
  }
}
