import Foundation

/// The Rényi divergence of one release, as a function of the order.
enum RenyiDivergence: Sendable {
  case gaussian(noiseMultiplier: Double)
  case sampledGaussian(SampledGaussian)
  case withoutReplacement(WithoutReplacementGaussian)
  case skellam(SkellamDivergence)
  case discreteGaussian(DiscreteGaussianDivergence)
  case laplace(epsilon: Double)
  case discreteLaplace(inverseScale: Double, sensitivity: Double)
  /// One of `categories`, the true one e^epsilon times as likely; two are the worst of all that is pure
  /// epsilon (Kairouz, Oh and Viswanath 2017).
  case randomizedResponse(epsilon: Double, categories: Double)
  case noNoise

  /// Throws: `parameterOutOfRange` where a theorem asks for more than `CheckedEvent` did.
  init(_ event: CheckedEvent) throws(PrivacyError) {
    switch event.mechanism {
    case .none: self = .noNoise
    case .unsupported(let name): throw .unsupportedMechanism(name: name)
    case .gaussian(let multiplier):
      switch event.sampling {
      case .none: self = .gaussian(noiseMultiplier: multiplier)
      case .poisson(let rate):
        self = .sampledGaussian(SampledGaussian(rate: rate, noiseMultiplier: multiplier))
      case .withoutReplacement(let rate):
        self = .withoutReplacement(WithoutReplacementGaussian(rate: rate, noiseMultiplier: multiplier))
      }
    case .matrixGaussian(let multiplier, let sensitivity):
      self = .gaussian(noiseMultiplier: multiplier / sensitivity)
    case .skellam(let variance, let squared, let l1, _, _):
      self = .skellam(
        try SkellamDivergence(variance: variance, sensitivityL2Squared: squared, sensitivityL1: l1))
    case .discreteGaussian(let variance, let shares, let squared, let l1, let dimension, _):
      self = .discreteGaussian(
        DiscreteGaussianDivergence(
          varianceParameter: variance, shares: shares, sensitivityL2Squared: squared, sensitivityL1: l1,
          dimension: dimension))
    case .laplace(let multiplier): self = .laplace(epsilon: 1 / multiplier)
    case .discreteLaplace(let scale, let sensitivity):
      self = .discreteLaplace(inverseScale: 1 / scale, sensitivity: Double(sensitivity))
    case .randomizedResponse(let epsilon, let categories):
      self = .randomizedResponse(epsilon: epsilon, categories: Double(categories))
    case .pureEpsilon(let epsilon): self = .randomizedResponse(epsilon: epsilon, categories: 2)
    }
  }

  /// An upper bound of the divergence at `order` > 1, in nats.
  func divergence(order: Double) -> Double {
    switch self {
    case .gaussian(let noiseMultiplier): return order / (2 * noiseMultiplier * noiseMultiplier)
    case .sampledGaussian(let mechanism): return mechanism.divergence(order: order)
    case .withoutReplacement(let mechanism): return mechanism.divergence(order: order)
    case .skellam(let mechanism): return mechanism.divergence(order: order)
    case .discreteGaussian(let mechanism): return mechanism.divergence(order: order)
    case .laplace(let epsilon):
      // Mironov 2017, table II: α/(2α−1)·e^((α−1)ε) + (α−1)/(2α−1)·e^(−αε).
      var moment = LogSum()
      moment.add(log(order / (2 * order - 1)) + (order - 1) * epsilon)
      moment.add(log((order - 1) / (2 * order - 1)) - order * epsilon)
      return min(epsilon, max(0, moment.value) / (order - 1))
    case .discreteLaplace(let inverseScale, let sensitivity):
      return Self.discreteLaplace(order: order, inverseScale: inverseScale, sensitivity: sensitivity)
    case .randomizedResponse(let epsilon, let categories):
      // Two categories trade places and the k − 2 others stay as likely as they were.
      let logRest = log(exp(-epsilon) * (categories - 1) + 1)
      var moment = LogSum()
      moment.add((order - 1) * epsilon - logRest)
      moment.add(-order * epsilon - logRest)
      if categories > 2 { moment.add(log(categories - 2) - epsilon - logRest) }
      return min(epsilon, max(0, moment.value) / (order - 1))
    case .noNoise: return .infinity
    }
  }

  /// Σ P^α Q^(1−α) for P(k) ∝ e^(−|k−Δ|a), Q(k) ∝ e^(−|k|a) is three geometric sums: below 0, above Δ and
  /// between them; the normalisation is tanh(a/2).
  private static func discreteLaplace(order: Double, inverseScale a: Double, sensitivity: Double) -> Double {
    let epsilon = a * sensitivity
    let logTails = -log(-expm1(-a))
    var moment = LogSum()
    moment.add((order - 1) * epsilon + logTails)
    moment.add(-order * epsilon + logTails)
    if sensitivity > 1 {
      // Σ_{0<k<Δ} e^(−αΔa + (2α−1)ka), from the largest term down.
      let ratio = (2 * order - 1) * a
      let largest = -order * epsilon + ratio * (sensitivity - 1)
      moment.add(largest + log(-expm1(-ratio * (sensitivity - 1))) - log(-expm1(-ratio)))
    }
    let value = moment.value + log(tanh(a / 2))
    return min(epsilon, max(0, value) / (order - 1))
  }
}

/// The sum of n discrete Gaussians on an integer vector (Kairouz, Liu and Steinke 2021, "The Distributed
/// Discrete Gaussian Mechanism for Federated Learning with Secure Aggregation", theorem 1):
///
///     τ = 10·Σ_{0<k<n} exp(−2π²σ²k/(k+1)),    S = √n·σ,
///     ε(α) ≤ min{α/2·(Δ₂/S)² + τd, α/2·((Δ₂/S)² + 2(Δ₁/S)τ + τ²d), α/2·(Δ₂/S + √d·τ)²}.
///
/// With n = 1, τ is 0 and this is proposition 5 of Canonne, Kamath and Steinke 2020.
struct DiscreteGaussianDivergence: Sendable, Hashable {
  /// τ, the distance of the sum of n from one discrete Gaussian.
  let tau: Double
  /// The part that is multiplied by α, without the additive term.
  private let slope: Double
  /// The first bound: its part multiplied by α, and τd.
  private let first: (slope: Double, constant: Double)

  /// The values are those of a `CheckedEvent`: positive, finite, and fitting one another.
  init(
    varianceParameter: Double, shares: Int, sensitivityL2Squared: Int64, sensitivityL1: Double,
    dimension: Int
  ) {
    // τ ≤ 10(n − 1)·e^(−π²σ²) at any n: past a million shares that bound, far below anything that counts
    // unless the noise is useless, takes the sum's place.
    var tau = 0.0
    let exponent = 2 * Double.pi * Double.pi * varianceParameter
    let summed = min(shares, 1 << 20)
    if summed > 1 { for k in 1..<summed { tau += exp(-exponent * Double(k) / Double(k + 1)) } }
    if shares > summed { tau += Double(shares - summed) * exp(-exponent / 2) }
    tau *= 10
    self.tau = tau
    let deviation = (Double(shares) * varianceParameter).squareRoot()
    let l2 = Double(sensitivityL2Squared).squareRoot() / deviation
    let d = Double(dimension)
    first = (l2 * l2 / 2, tau * d)
    let second = (l2 * l2 + 2 * sensitivityL1 / deviation * tau + tau * tau * d) / 2
    let third = (l2 + d.squareRoot() * tau) * (l2 + d.squareRoot() * tau) / 2
    slope = min(second, third)
  }

  /// The bound at `order`, in nats.
  func divergence(order: Double) -> Double {
    min(order * first.slope + first.constant, order * slope)
  }

  /// ρ of zero-concentrated differential privacy: the divergence is at most ρα at every order above 1,
  /// where a constant is at most itself times α.
  var concentration: Double { min(first.slope + first.constant, slope) }

  static func == (a: Self, b: Self) -> Bool {
    a.tau == b.tau && a.slope == b.slope && a.first == b.first
  }

  func hash(into hasher: inout Hasher) { hasher.combine(slope) }
}
