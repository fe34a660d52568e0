import Foundation

/// Adds up Rényi differential privacy over a fixed list of orders and converts it to (epsilon, delta).
///
/// Composition: r_α of a sequence of releases is the sum of theirs (Mironov 2017). Conversion, for any
/// α > 1: ε = r_α + ln(1 − 1/α) − ln(δα)/(α − 1) (Canonne, Kamath and Steinke 2020, proposition 12);
/// the least over the orders holds. More orders can only lower the result, never make it wrong.
package struct RenyiAccountant: PrivacyAccountant, PrivacySummary {
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

  /// The neighbours that the guarantee is about.
  package let relation: NeighbouringRelation
  /// Rényi.
  package var kind: AccountantKind { .rdp }

  private let orders: [Double]
  private var divergences: [Double]
  /// The total-variation distance between the noise drawn and the noise accounted for.
  private var samplerError = 0.0
  private var isEmpty = true

  /// An accountant that has seen nothing, for events whose sensitivities are those of `relation`.
  package init(relation: NeighbouringRelation = .addRemove) {
    self.init(orders: Self.orders, relation: relation)
  }

  /// An accountant over a list of orders of the caller's (all above 1): for tests and comparisons.
  init(orders: [Double], relation: NeighbouringRelation = .addRemove) {
    self.orders = orders
    self.relation = relation
    divergences = [Double](repeating: 0, count: orders.count)
  }

  /// Adds an event.
  ///
  /// Throws, and leaves the accountant as it was: an event of an unknown mechanism or sampling, a
  /// mechanism under a sampling that no theorem here covers, a parameter out of range.
  package mutating func compose(_ event: PrivacyEvent) throws(PrivacyError) {
    let checked = try CheckedEvent(event, relation: relation, accountant: .rdp)
    let divergence = try RenyiDivergence(checked)
    let count = Double(event.count)
    for index in orders.indices {
      divergences[index] += count * divergence.divergence(order: orders[index])
    }
    samplerError += count * checked.samplerError
    isEmpty = false
  }

  /// The (epsilon, delta) that holds for everything composed; epsilon is infinite if none does. Part of
  /// `delta` is set aside for samplers that are not exact (`SamplerError`).
  ///
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1).
  package func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee {
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    guard !isEmpty else { return PrivacyGuarantee(epsilon: 0, delta: delta, order: nil) }
    let proved = try SamplerError.epsilon(delta: delta, samplerError: samplerError) {
      (left) throws(PrivacyError) -> (epsilon: Double, order: Double?) in converted(delta: left)
    }
    return PrivacyGuarantee(epsilon: proved?.epsilon ?? .infinity, delta: delta, order: proved?.order)
  }

  /// The least delta over the orders: δ = e^((α−1)(r_α−ε))·(1−1/α)^α/(α−1) (Canonne, Kamath and Steinke
  /// 2020, the same proposition solved for δ).
  ///
  /// Throws: `parameterOutOfRange` for an epsilon that is negative, infinite or not a number.
  package func delta(epsilon: Double) throws(PrivacyError) -> Double {
    guard epsilon >= 0, epsilon.isFinite else { throw .parameterOutOfRange(.epsilon, value: epsilon) }
    guard !isEmpty else { return 0 }
    var best = 0.0
    for (order, divergence) in zip(orders, divergences) {
      best = min(best, RenyiConversion.logDelta(order: order, divergence: divergence, epsilon: epsilon))
    }
    return SamplerError.delta(exp(best), epsilon: epsilon, samplerError: samplerError)
  }

  /// The accountant itself: a question costs one pass over the orders.
  package func summary() -> any PrivacySummary { self }

  /// The least epsilon over the orders for an exact sampler; a negative one is no better than 0.
  private func converted(delta: Double) -> (epsilon: Double, order: Double?) {
    var best = (epsilon: Double.infinity, order: 0.0)
    for (order, divergence) in zip(orders, divergences) {
      let epsilon = RenyiConversion.epsilon(order: order, divergence: divergence, delta: delta)
      if epsilon < best.epsilon { best = (epsilon, order) }
    }
    return (max(0, best.epsilon), best.order)
  }
}

/// From a Rényi divergence at one order to (epsilon, delta) and back (Canonne, Kamath and Steinke 2020,
/// proposition 12).
enum RenyiConversion {
  /// ε = r + ln(1 − 1/α) − ln(δα)/(α − 1).
  static func epsilon(order: Double, divergence: Double, delta: Double) -> Double {
    divergence + log1p(-1 / order) - log(delta * order) / (order - 1)
  }

  /// ln δ = (α−1)(r−ε) + α·ln(1−1/α) − ln(α−1).
  static func logDelta(order: Double, divergence: Double, epsilon: Double) -> Double {
    (order - 1) * (divergence - epsilon) + order * log1p(-1 / order) - log(order - 1)
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
