import Foundation

/// Adds up zero-concentrated differential privacy, D_α ≤ ρα at every α > 1 (Bun and Steinke 2016), and
/// converts the sum to (epsilon, delta) tightly:
///
///     δ = inf_{α>1} e^((α−1)(αρ−ε))·(1−1/α)^α/(α−1)
///
/// (Canonne, Kamath and Steinke 2020, corollary 13). One number tells everything; where every event is a
/// Gaussian without sampling it gives what the Rényi accountant gives over all orders at once.
package struct ConcentratedAccountant: PrivacyAccountant, PrivacySummary {
  /// The neighbours that the guarantee is about.
  package let relation: NeighbouringRelation
  /// zCDP.
  package var kind: AccountantKind { .zcdp }
  /// ρ of everything composed; infinite after a release without noise.
  package private(set) var rho = 0.0
  private var samplerError = 0.0

  /// An accountant that has seen nothing, for events whose sensitivities are those of `relation`.
  package init(relation: NeighbouringRelation = .addRemove) { self.relation = relation }

  /// An accountant that starts with something known to be ρ-zCDP.
  ///
  /// Throws: `parameterOutOfRange` for a ρ that is negative, infinite or not a number.
  package init(rho: Double, relation: NeighbouringRelation = .addRemove) throws(PrivacyError) {
    guard rho >= 0, rho.isFinite else { throw .parameterOutOfRange(.rho, value: rho) }
    self.init(relation: relation)
    self.rho = rho
  }

  /// Adds an event: sampling is refused, and so is Skellam noise, whose bound is for integer orders.
  ///
  /// Throws, and leaves the accountant as it was: as `PrivacyAccountant.compose`.
  package mutating func compose(_ event: PrivacyEvent) throws(PrivacyError) {
    let checked = try CheckedEvent(event, relation: relation, accountant: .zcdp)
    rho += Double(event.count) * (try Self.concentration(checked))
    samplerError += Double(event.count) * checked.samplerError
  }

  private static func concentration(_ event: CheckedEvent) throws(PrivacyError) -> Double {
    switch try RenyiDivergence(event) {
    case .gaussian(let noiseMultiplier): 1 / (2 * noiseMultiplier * noiseMultiplier)
    case .discreteGaussian(let divergence): divergence.concentration
    // Whatever is pure epsilon is (ε²/2)-zCDP (Bun and Steinke 2016, proposition 1.4).
    case .laplace(let epsilon), .randomizedResponse(let epsilon, _): epsilon * epsilon / 2
    case .discreteLaplace(let inverseScale, let sensitivity):
      inverseScale * sensitivity * inverseScale * sensitivity / 2
    case .noNoise: .infinity
    case .sampledGaussian, .withoutReplacement, .skellam:
      throw .notCovered(
        mechanism: event.mechanism.name, sampling: "sampling", accountant: .zcdp, others: [.rdp])
    }
  }

  /// The (epsilon, delta) that holds for everything composed; epsilon is infinite if none does.
  ///
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1).
  package func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee {
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    guard rho > 0 else { return PrivacyGuarantee(epsilon: 0, delta: delta, order: nil) }
    guard rho < .infinity else { return PrivacyGuarantee(epsilon: .infinity, delta: delta, order: nil) }
    let proved = try SamplerError.epsilon(delta: delta, samplerError: samplerError) {
      (left) throws(PrivacyError) -> (epsilon: Double, order: Double?) in
      let best = Self.minimum { order in
        RenyiConversion.epsilon(order: order, divergence: order * rho, delta: left)
      }
      return (max(0, best.value), best.order)
    }
    return PrivacyGuarantee(epsilon: proved?.epsilon ?? .infinity, delta: delta, order: proved?.order)
  }

  /// The least delta, at most 1, that is proved at `epsilon`.
  ///
  /// Throws: `parameterOutOfRange` for an epsilon that is negative, infinite or not a number.
  package func delta(epsilon: Double) throws(PrivacyError) -> Double {
    guard epsilon >= 0, epsilon.isFinite else { throw .parameterOutOfRange(.epsilon, value: epsilon) }
    guard rho > 0 else { return 0 }
    guard rho < .infinity else { return 1 }
    let best = Self.minimum { order in
      RenyiConversion.logDelta(order: order, divergence: order * rho, epsilon: epsilon)
    }
    return SamplerError.delta(exp(min(0, best.value)), epsilon: epsilon, samplerError: samplerError)
  }

  /// The accountant itself: a question costs a search over the orders.
  package func summary() -> any PrivacySummary { self }

  /// The minimum over the order of a bound that falls and then rises, by golden section in ln(α − 1). Any
  /// order gives a bound that holds, so that the search may stop anywhere.
  static func minimum(_ bound: (Double) -> Double) -> (value: Double, order: Double) {
    func at(_ x: Double) -> Double { bound(1 + exp(x)) }
    let golden = (5.0.squareRoot() - 1) / 2
    var (low, high) = (-30.0, 60.0)
    var (left, right) = (high - golden * (high - low), low + golden * (high - low))
    var (atLeft, atRight) = (at(left), at(right))
    for _ in 0..<60 {
      if atLeft <= atRight {
        (high, right, atRight) = (right, left, atLeft)
        left = high - golden * (high - low)
        atLeft = at(left)
      } else {
        (low, left, atLeft) = (left, right, atRight)
        right = low + golden * (high - low)
        atRight = at(right)
      }
    }
    return atLeft <= atRight ? (atLeft, 1 + exp(left)) : (atRight, 1 + exp(right))
  }
}
