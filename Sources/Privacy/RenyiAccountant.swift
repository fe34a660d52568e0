import Foundation

/// Adds up Rényi differential privacy over a fixed list of orders and converts it to (epsilon, delta).
///
/// Composition: r_α of a sequence of releases is the sum of theirs (Mironov 2017). Conversion, for any
/// α > 1: ε = r_α + ln(1 − 1/α) − ln(δα)/(α − 1) (Canonne, Kamath and Steinke 2020, proposition 12);
/// the least over the orders holds. More orders can only lower the result, never make it wrong.
package struct RenyiAccountant: Sendable {
  /// The orders: 1.01, 1.02, 1.03, 1.05, 1.07; 1.1 to 10.9 in steps of 0.1; all integers from 11 to
  /// 256; eight per octave, integers, up to 2^20. The fractional ones matter where epsilon is large
  /// (28.27 against 35.28 without them at σ = 0.5, q = 0.05, 200 steps), the large ones where it is
  /// tiny (the best order is near 2·ln(1/δ)/ε).
  package static let orders: [Double] = {
    let nearOne = [1.01, 1.02, 1.03, 1.05, 1.07]
    let tenths = (1...99).map { 1 + Double($0) / 10 }
    let integers = (11...256).map(Double.init)
    let octaves = (1...96).map { (256 * exp2(Double($0) / 8)).rounded() }
    return nearOne + tenths + integers + octaves
  }()

  private let orders: [Double]
  private var divergences: [Double]
  /// The total-variation distance between the noise drawn and the noise accounted for.
  private var samplerError = 0.0
  private var isEmpty = true

  /// An accountant that has seen nothing.
  package init() { self.init(orders: Self.orders) }

  /// An accountant over a list of orders of the caller's (all above 1): for tests and comparisons.
  init(orders: [Double]) {
    self.orders = orders
    divergences = [Double](repeating: 0, count: orders.count)
  }

  /// Adds an event.
  ///
  /// Throws, and leaves the accountant as it was: an event of an unknown mechanism or sampling, a
  /// mechanism under a sampling that no theorem here covers, a parameter out of range.
  package mutating func compose(_ event: PrivacyEvent) throws(PrivacyError) {
    guard event.count >= 1 else { throw .parameterOutOfRange(.count, value: Double(event.count)) }
    let mechanism = try CheckedMechanism(event)
    let count = Double(event.count)
    for index in orders.indices {
      divergences[index] += count * mechanism.divergence(order: orders[index])
    }
    samplerError += count * mechanism.samplerError
    isEmpty = false
  }

  /// The (epsilon, delta) that holds for everything composed; epsilon is infinite if none does.
  ///
  /// A sampler at total-variation distance η from the noise accounted for makes an (ε, δ₀) guarantee an
  /// (ε, δ₀ + (1 + e^ε)·η) one. So part of `delta` is set aside for it, and epsilon is the least fixed
  /// point of "epsilon at what is left", approached from below and rounded up.
  ///
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1).
  package func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee {
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    guard !isEmpty else { return PrivacyGuarantee(epsilon: 0, delta: delta, order: nil) }
    let unproved = PrivacyGuarantee(epsilon: .infinity, delta: delta, order: nil)
    var (epsilon, order) = converted(delta: delta)
    guard samplerError > 0 else {
      return epsilon < .infinity
        ? PrivacyGuarantee(epsilon: epsilon, delta: delta, order: order) : unproved
    }
    for _ in 0..<200 {
      let left = delta - (1 + exp(epsilon)) * samplerError
      guard epsilon < .infinity, left > 0 else { return unproved }
      let next = converted(delta: left)
      if next.epsilon <= epsilon {
        return PrivacyGuarantee(epsilon: epsilon, delta: delta, order: next.order)
      }
      epsilon = next.epsilon * (1 + 1e-12)
      order = next.order
    }
    return unproved
  }

  /// The least epsilon over the orders for an exact sampler; a negative one is no better than 0.
  private func converted(delta: Double) -> (epsilon: Double, order: Double) {
    var best = (epsilon: Double.infinity, order: 0.0)
    for (order, divergence) in zip(orders, divergences) {
      let epsilon = divergence + log1p(-1 / order) - log(delta * order) / (order - 1)
      if epsilon < best.epsilon { best = (epsilon, order) }
    }
    return (max(0, best.epsilon), best.order)
  }
}

/// A mechanism whose parameters were checked, with the theorem that covers it.
private enum CheckedMechanism {
  case gaussian(noiseMultiplier: Double)
  case sampledGaussian(SampledGaussian)
  case skellam(SkellamDivergence, samplerError: Double)
  case noNoise

  init(_ event: PrivacyEvent) throws(PrivacyError) {
    var rate: Double?
    switch event.sampling {
    case .none: break
    case .poisson(let poissonRate):
      guard poissonRate > 0, poissonRate <= 1 else {
        throw .parameterOutOfRange(.samplingRate, value: poissonRate)
      }
      rate = poissonRate
    case .unsupported(let name): throw .unsupportedSampling(name: name)
    }
    switch event.mechanism {
    case .unsupported(let name): throw .unsupportedMechanism(name: name)
    case .none: self = .noNoise
    case .gaussian(let noiseMultiplier):
      guard noiseMultiplier > 0, noiseMultiplier.isFinite else {
        throw .parameterOutOfRange(.noiseMultiplier, value: noiseMultiplier)
      }
      self =
        rate.map { .sampledGaussian(SampledGaussian(rate: $0, noiseMultiplier: noiseMultiplier)) }
        ?? .gaussian(noiseMultiplier: noiseMultiplier)
    case .skellam(let variance, let l2Squared, let l1, let dimension, let errorLog2):
      guard rate == nil else { throw .samplingNotSupported(mechanism: event.mechanism.name) }
      guard dimension >= 1, dimension <= IntegerClip.maximumDimension else {
        throw .parameterOutOfRange(.dimension, value: Double(dimension))
      }
      guard errorLog2 <= 0 else { throw .parameterOutOfRange(.samplerErrorLog2, value: errorLog2) }
      self = .skellam(
        try SkellamDivergence(
          variance: variance, sensitivityL2Squared: l2Squared, sensitivityL1: l1),
        samplerError: Double(dimension) * exp2(errorLog2))
    }
  }

  /// An upper bound of the Rényi divergence of one release, in nats.
  func divergence(order: Double) -> Double {
    switch self {
    case .gaussian(let noiseMultiplier): order / (2 * noiseMultiplier * noiseMultiplier)
    case .sampledGaussian(let mechanism): mechanism.divergence(order: order)
    case .skellam(let mechanism, _): mechanism.divergence(order: order)
    case .noNoise: .infinity
    }
  }

  /// The total-variation error of one release's noise.
  var samplerError: Double {
    if case .skellam(_, let samplerError) = self { samplerError } else { 0 }
  }
}

/// The Rényi divergence of symmetric Skellam noise on an integer vector, for neighbours at the given
/// distances (Agarwal, Kairouz and Liu 2021, "The Skellam Mechanism for Differentially Private Federated
/// Learning").
struct SkellamDivergence: Sendable, Hashable {
  private let variance: Double
  private let sensitivityL2Squared: Double
  private let sensitivityL1: Double

  /// Throws: `parameterOutOfRange` for a variance or a sensitivity that is not positive and finite, and
  /// for an L1 sensitivity below the L2 one, which no vector has.
  init(variance: Double, sensitivityL2Squared: Int64, sensitivityL1: Double) throws(PrivacyError) {
    guard variance > 0, variance.isFinite else {
      throw .parameterOutOfRange(.variance, value: variance)
    }
    guard sensitivityL2Squared > 0 else {
      throw .parameterOutOfRange(.sensitivityL2Squared, value: Double(sensitivityL2Squared))
    }
    let sensitivityL2 = Double(sensitivityL2Squared).squareRoot()
    guard sensitivityL1.isFinite, sensitivityL1 >= sensitivityL2 * (1 - 1e-12) else {
      throw .parameterOutOfRange(.sensitivityL1, value: sensitivityL1)
    }
    self.variance = variance
    self.sensitivityL2Squared = Double(sensitivityL2Squared)
    self.sensitivityL1 = sensitivityL1
  }

  /// The bound at `order`. The theorem is for integers above 1; the divergence does not decrease with
  /// its order (van Erven and Harremoës 2014, theorem 3), so a fractional order takes the next one's.
  func divergence(order: Double) -> Double {
    let integer = order.rounded(.up)
    let first =
      ((2 * integer - 1) * sensitivityL2Squared + 6 * sensitivityL1) / (4 * variance * variance)
    let second = 3 * sensitivityL1 / (2 * variance)
    return integer * sensitivityL2Squared / (2 * variance) + min(first, second)
  }
}
