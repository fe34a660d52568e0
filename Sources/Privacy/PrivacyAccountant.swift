import Foundation

/// The accountants, from the most general to the tightest.
package enum AccountantKind: String, Codable, Sendable, Hashable, CaseIterable {
  /// Rényi divergences over a list of orders (`RenyiAccountant`).
  case rdp
  /// Zero-concentrated differential privacy, one number (`ConcentratedAccountant`).
  case zcdp
  /// Privacy loss distributions, composed by Fourier transform (`PrivacyLossAccountant`).
  case pld

  /// An accountant of this kind that has seen nothing.
  ///
  /// `relation`: the neighbours that the events' sensitivities are for. A sampling that is analysed for
  /// the other relation only is refused.
  package func makeAccountant(relation: NeighbouringRelation = .addRemove) -> any PrivacyAccountant {
    switch self {
    case .rdp: RenyiAccountant(relation: relation)
    case .zcdp: ConcentratedAccountant(relation: relation)
    case .pld: PrivacyLossAccountant(relation: relation)
    }
  }
}

/// Folds events and tells what they amount to. A value: a copy accounts for a plan that may be dropped.
///
/// Every accountant gives an upper bound of epsilon; they differ in how close it is and in what they have
/// theorems for. An event that one does not know is refused with an error that names those that do.
package protocol PrivacyAccountant: Sendable {
  /// Which accountant this is.
  var kind: AccountantKind { get }
  /// The neighbours that the guarantee is about.
  var relation: NeighbouringRelation { get }
  /// Adds an event.
  ///
  /// Throws, and leaves the accountant as it was: an event of an unknown mechanism or sampling, one that
  /// no theorem of this accountant covers, a parameter out of range.
  mutating func compose(_ event: PrivacyEvent) throws(PrivacyError)
  /// The (epsilon, delta) that holds for everything composed; epsilon is infinite if none does.
  ///
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1); `deltaBelowResolution`.
  func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee
  /// The least delta, at most 1, that is proved at `epsilon`.
  ///
  /// Throws: `parameterOutOfRange` for an epsilon that is negative, infinite or not a number.
  func delta(epsilon: Double) throws(PrivacyError) -> Double
  /// What answers many questions about the events so far without composing them anew.
  func summary() throws(PrivacyError) -> any PrivacySummary
}

/// The epsilons and deltas of a fixed list of events.
package protocol PrivacySummary: Sendable {
  /// As `PrivacyAccountant.epsilon(delta:)`.
  func epsilon(delta: Double) throws(PrivacyError) -> PrivacyGuarantee
  /// As `PrivacyAccountant.delta(epsilon:)`.
  func delta(epsilon: Double) throws(PrivacyError) -> Double
}

extension PrivacyAccountant {
  /// Adds events in order.
  ///
  /// Throws: `eventRefused` with the position of the first that is refused; those before it are composed.
  package mutating func compose(all events: [PrivacyEvent]) throws(PrivacyError) {
    for (index, event) in events.enumerated() {
      do throws(PrivacyError) { try compose(event) } catch {
        throw .eventRefused(position: index + 1, reason: error)
      }
    }
  }
}

/// What a sampler that is not exact costs, on top of a guarantee for exact noise.
///
/// A sampler at total-variation distance η from the noise accounted for makes an (ε, δ₀) guarantee an
/// (ε, δ₀ + (1 + e^ε)·η) one.
enum SamplerError {
  /// The least fixed point of "epsilon at what is left of delta", approached from below and rounded up;
  /// nil if nothing is left. `exact` is the guarantee for exact noise at a delta.
  static func epsilon(
    delta: Double, samplerError: Double,
    exact: (Double) throws(PrivacyError) -> (epsilon: Double, order: Double?)
  ) throws(PrivacyError) -> (epsilon: Double, order: Double?)? {
    var (epsilon, order) = try exact(delta)
    guard samplerError > 0 else { return epsilon < .infinity ? (epsilon, order) : nil }
    for _ in 0..<200 {
      let left = delta - (1 + exp(epsilon)) * samplerError
      guard epsilon < .infinity, left > 0 else { return nil }
      let next = try exact(left)
      if next.epsilon <= epsilon { return (epsilon, next.order) }
      epsilon = next.epsilon * (1 + 1e-12)
      order = next.order
    }
    return nil
  }

  /// Delta at `epsilon` with the sampler's error added, at most 1.
  static func delta(_ exact: Double, epsilon: Double, samplerError: Double) -> Double {
    min(1, exact + (samplerError > 0 ? (1 + exp(epsilon)) * samplerError : 0))
  }
}
