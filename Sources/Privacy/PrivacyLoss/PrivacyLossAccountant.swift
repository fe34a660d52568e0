import Foundation

/// Composes privacy loss distributions by Fourier transform: the tightest accountant, and the one whose
/// epsilon is shown (Koskela, Jälkö and Honkela 2020; Doroshenko et al. 2022).
///
/// Every approximation is on the safe side: losses move to a grid so that no hockey-stick divergence falls,
/// mass beyond the window counts as a full disclosure, and rounding is allowed for. Under sampling both
/// directions are composed and the worse one is told. Gaussians without sampling compose in closed form to
/// one Gaussian (Dong, Roth and Su 2022); alone they need no grid.
///
/// Skellam and discrete Gaussian noise are covered for one coordinate and one share. For vectors no pair of
/// distributions is known to dominate; they are refused, and the Rényi accountant has their theorems.
package struct PrivacyLossAccountant: PrivacyAccountant {
  /// The neighbours that the guarantee is about.
  package let relation: NeighbouringRelation
  /// PLD.
  package var kind: AccountantKind { .pld }

  private var events: [CheckedEvent] = []
  /// Σ (sensitivity/deviation)² of the Gaussians without sampling.
  private var gaussianSquares = 0.0
  private var samplerError = 0.0
  private var isWithoutNoise = false

  /// An accountant that has seen nothing, for events whose sensitivities are those of `relation`.
  package init(relation: NeighbouringRelation = .addRemove) { self.relation = relation }

  /// Adds an event. The work is done when a question is asked.
  ///
  /// Throws, and leaves the accountant as it was: as `PrivacyAccountant.compose`.
  package mutating func compose(_ event: PrivacyEvent) throws(PrivacyError) {
    let checked = try CheckedEvent(event, relation: relation, accountant: .pld)
    let count = Double(event.count)
    samplerError += count * checked.samplerError
    switch (checked.mechanism, checked.sampling) {
    case (.none, _): isWithoutNoise = true
    case (.gaussian(let multiplier), .none): gaussianSquares += count / (multiplier * multiplier)
    case (.matrixGaussian(let multiplier, let sensitivity), .none):
      gaussianSquares += count * sensitivity / multiplier * sensitivity / multiplier
    default: events.append(checked)
    }
  }

  /// The (epsilon, delta) that holds for everything composed; epsilon is infinite if none does.
  ///
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1); `deltaBelowResolution`.
  package func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee {
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    return try losses().epsilon(delta: delta)
  }

  /// The least delta, at most 1, that is proved at `epsilon`.
  ///
  /// Throws: `parameterOutOfRange` for an epsilon that is negative, infinite or not a number.
  package func delta(epsilon: Double) throws(PrivacyError) -> Double {
    guard epsilon >= 0, epsilon.isFinite else { throw .parameterOutOfRange(.epsilon, value: epsilon) }
    return try losses().delta(epsilon: epsilon)
  }

  /// The composed distributions, to be asked many times.
  package func summary() throws(PrivacyError) -> any PrivacySummary { try losses() }

  private func losses() throws(PrivacyError) -> PrivacyLosses {
    if isWithoutNoise { return PrivacyLosses(form: .unproved, samplerError: samplerError) }
    if events.isEmpty {
      return PrivacyLosses(
        form: gaussianSquares > 0 ? .gaussian(mu: gaussianSquares.squareRoot()) : .nothing,
        samplerError: samplerError)
    }
    var total = events.reduce(0.0) { $0 + Double($1.count) }
    if gaussianSquares > 0 { total += 1 }
    // The masses left out of all releases together are as small as the window's.
    let logTail = LossWindow.logTail - log(total)
    var releases: [LossRelease] = []
    for event in events {
      guard let pair = Self.pair(event.mechanism, logTail: logTail) else {
        throw .unsupportedMechanism(name: event.mechanism.name)
      }
      let rate = if case .poisson(let rate) = event.sampling { rate } else { 1.0 }
      releases.append(LossRelease(pair: pair, rate: rate, count: event.count))
    }
    if gaussianSquares > 0 {
      let pair = LossPair(gaussian: gaussianSquares.squareRoot(), logTail: logTail)
      releases.append(LossRelease(pair: pair, rate: 1, count: 1))
    }
    let composed = LossComposition.compose(releases)
    return PrivacyLosses(form: composed.map { .composed($0) } ?? .unproved, samplerError: samplerError)
  }

  private static func pair(_ mechanism: PrivacyMechanism, logTail: Double) -> LossPair? {
    switch mechanism {
    case .gaussian(let multiplier): LossPair(gaussian: 1 / multiplier, logTail: logTail)
    case .matrixGaussian(let multiplier, let sensitivity):
      LossPair(gaussian: sensitivity / multiplier, logTail: logTail)
    case .skellam(let variance, let squared, _, _, _):
      LossPair(skellam: variance, shift: shift(squared), logTail: logTail)
    case .discreteGaussian(let variance, _, let squared, _, _, _):
      LossPair(discreteGaussian: variance, shift: shift(squared), logTail: logTail)
    case .laplace(let multiplier): LossPair(laplace: 1 / multiplier)
    case .discreteLaplace(let scale, let sensitivity):
      LossPair(discreteLaplace: scale, sensitivity: sensitivity)
    case .randomizedResponse(let epsilon, let categories):
      LossPair(randomizedResponse: epsilon, categories: Double(categories))
    case .pureEpsilon(let epsilon): LossPair(randomizedResponse: epsilon, categories: 2)
    case .none, .unsupported: nil
    }
  }

  /// The largest integer whose square is at most the bound: what one integer coordinate can be.
  private static func shift(_ squared: Int64) -> Int {
    var root = Int(Double(squared).squareRoot())
    while root * root > Int(squared) { root -= 1 }
    while (root + 1) * (root + 1) <= Int(squared) { root += 1 }
    return root
  }
}

/// The losses of a fixed list of events.
struct PrivacyLosses: PrivacySummary {
  /// What is known of them.
  enum Form: Sendable {
    case nothing
    /// Released without noise, or with so little that no grid holds the losses.
    case unproved
    case gaussian(mu: Double)
    /// One distribution for each direction that differs.
    case composed([ComposedLoss])
  }

  let form: Form
  let samplerError: Double

  /// The least epsilon that is proved at `delta`, over both directions the larger one.
  func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee {
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    if case .composed(let directions) = form {
      let resolution = directions.map(\.floor).max() ?? 0
      guard resolution < delta / 2 else {
        throw .deltaBelowResolution(delta: delta, resolution: resolution)
      }
    }
    let proved = try SamplerError.epsilon(delta: delta, samplerError: samplerError) {
      (left) throws(PrivacyError) -> (epsilon: Double, order: Double?) in (exact(delta: left), nil)
    }
    return PrivacyGuarantee(epsilon: proved?.epsilon ?? .infinity, delta: delta, order: nil)
  }

  /// The least delta that is proved at `epsilon`.
  func delta(epsilon: Double) throws(PrivacyError) -> Double {
    guard epsilon >= 0, epsilon.isFinite else { throw .parameterOutOfRange(.epsilon, value: epsilon) }
    let exact =
      switch form {
      case .nothing: 0.0
      case .unproved: 1.0
      case .gaussian(let mu): GaussianTradeoff.delta(mu: mu, epsilon: epsilon)
      case .composed(let directions): directions.map { $0.delta(epsilon: epsilon) }.max() ?? 1
      }
    return SamplerError.delta(exact, epsilon: epsilon, samplerError: samplerError)
  }

  private func exact(delta: Double) -> Double {
    switch form {
    case .nothing: 0
    case .unproved: .infinity
    case .gaussian(let mu): GaussianTradeoff.epsilon(mu: mu, delta: delta)
    case .composed(let directions): directions.map { $0.epsilon(delta: delta) }.max() ?? .infinity
    }
  }
}

/// The Gaussian mechanism in closed form (Balle and Wang 2018, "Improving the Gaussian Mechanism for
/// Differential Privacy", theorem 8): δ(ε) = Φ(μ/2 − ε/μ) − e^ε·Φ(−μ/2 − ε/μ), μ the sensitivity over the
/// standard deviation.
enum GaussianTradeoff {
  /// Delta at `epsilon`, rounded up by more than it may err.
  static func delta(mu: Double, epsilon: Double) -> Double {
    func logNormalTail(_ x: Double) -> Double { SampledGaussian.logErfc(x * 0.5.squareRoot()) - M_LN2 }
    let first = logNormalTail(epsilon / mu - mu / 2)
    let second = epsilon + logNormalTail(epsilon / mu + mu / 2)
    return min(1, exp(first) * max(0, -expm1(min(0, second - first))) * (1 + 1e-10) + 1e-300)
  }

  /// The least epsilon at `delta`, by bisection, on the safe side.
  static func epsilon(mu: Double, delta wanted: Double) -> Double {
    guard delta(mu: mu, epsilon: 0) > wanted else { return 0 }
    var (tooSmall, enough) = (0.0, 1.0)
    while delta(mu: mu, epsilon: enough) > wanted {
      guard enough < 1e300 else { return .infinity }
      (tooSmall, enough) = (enough, 2 * enough)
    }
    for _ in 0..<100 where enough - tooSmall > 1e-14 * enough {
      let middle = (tooSmall + enough) / 2
      if delta(mu: mu, epsilon: middle) > wanted { tooSmall = middle } else { enough = middle }
    }
    return enough
  }
}
