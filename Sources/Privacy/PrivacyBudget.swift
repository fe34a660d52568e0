import Foundation

/// The most that may be spent: (epsilon, delta)-differential privacy.
package struct PrivacyBudget: Codable, Sendable, Hashable {
  /// The largest epsilon, positive; infinity means that anything may be released.
  package var epsilon: Double
  /// The delta at which epsilon is measured, above 0 and below 1.
  package var delta: Double

  /// Holds the two numbers. They are checked wherever the budget is used.
  package init(epsilon: Double, delta: Double) {
    self.epsilon = epsilon
    self.delta = delta
  }

  private enum CodingKeys: String, CodingKey { case epsilon, delta }

  /// Reads a budget; an infinite epsilon is the string "inf". Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    epsilon = try fields.decode(ExtendedReal.self, forKey: .epsilon).value
    delta = try fields.decode(Double.self, forKey: .delta)
    do throws(PrivacyError) { try validate() } catch {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: error.description))
    }
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(ExtendedReal(value: epsilon), forKey: .epsilon)
    try fields.encode(delta, forKey: .delta)
  }

  /// Refuses an epsilon or a delta that means nothing.
  package func validate() throws(PrivacyError) {
    guard epsilon > 0 else { throw .parameterOutOfRange(.epsilon, value: epsilon) }
    guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
  }
}

/// What an accountant proves about everything it composed.
package struct PrivacyGuarantee: Sendable, Hashable {
  /// Epsilon, at least 0; infinity where nothing is proved.
  package let epsilon: Double
  /// The delta that it holds at, the sampler's error included.
  package let delta: Double
  /// The Rényi order that gave epsilon; nil if nothing was composed or nothing is proved.
  package let order: Double?
}

/// A guarantee with everything that gives the number its meaning: the form in which epsilon is shown.
package struct PrivacyStatement: Codable, Sendable, Hashable, CustomStringConvertible {
  /// Epsilon; infinity where nothing is guaranteed.
  package var epsilon: Double
  /// Delta.
  package var delta: Double
  /// Whose contribution is hidden.
  package var unit: PrivacyUnit
  /// Which data sets are neighbours.
  package var relation: NeighbouringRelation
  /// The mechanism's name (`PrivacyMechanism.name`).
  package var mechanism: String
  /// Who adds the noise.
  package var trustMode: TrustMode
  /// Which accountant proved it; nil in statements of versions that had only the Rényi accountant.
  package var accountant: AccountantKind?

  /// Holds the parts of a statement.
  package init(
    epsilon: Double, delta: Double, unit: PrivacyUnit, relation: NeighbouringRelation,
    mechanism: String, trustMode: TrustMode, accountant: AccountantKind? = nil
  ) {
    self.epsilon = epsilon
    self.delta = delta
    self.unit = unit
    self.relation = relation
    self.mechanism = mechanism
    self.trustMode = trustMode
    self.accountant = accountant
  }

  private enum CodingKeys: String, CodingKey {
    case epsilon, delta, unit, relation, mechanism, trustMode, accountant
  }

  /// Reads a statement; an infinite epsilon is the string "inf".
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    epsilon = try fields.decode(ExtendedReal.self, forKey: .epsilon).value
    delta = try fields.decode(Double.self, forKey: .delta)
    unit = try fields.decode(PrivacyUnit.self, forKey: .unit)
    relation = try fields.decode(NeighbouringRelation.self, forKey: .relation)
    mechanism = try fields.decode(String.self, forKey: .mechanism)
    trustMode = try fields.decode(TrustMode.self, forKey: .trustMode)
    accountant = try fields.decodeIfPresent(AccountantKind.self, forKey: .accountant)
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: CodingKeys.self)
    try fields.encode(ExtendedReal(value: epsilon), forKey: .epsilon)
    try fields.encode(delta, forKey: .delta)
    try fields.encode(unit, forKey: .unit)
    try fields.encode(relation, forKey: .relation)
    try fields.encode(mechanism, forKey: .mechanism)
    try fields.encode(trustMode, forKey: .trustMode)
    try fields.encodeIfPresent(accountant, forKey: .accountant)
  }

  /// One line: "ε = 7.93 at δ = 1e-05 per customer (add/remove, Skellam, distributed, rdp accountant)".
  /// Epsilon is rounded up, so that the line never claims more than was proved.
  package var description: String {
    """
    ε = \(Self.roundedUp(epsilon)) at δ = \(delta) per \(unit.rawValue) \
    (\(relation.rawValue), \(mechanism), \(trustMode.rawValue)\
    \(accountant.map { ", \($0.rawValue) accountant" } ?? ""))
    """
  }

  /// Two decimals, or as many as show two digits of a small number, never below `value`.
  static func roundedUp(_ value: Double) -> String {
    guard value.isFinite else { return value > 0 ? "∞" : "\(value)" }
    let small = value > 0 && value < 0.1 ? 1 - Int(log10(value).rounded(.down)) : 2
    let decimals = min(max(small, 2), 15)
    let unit = pow(10, Double(decimals))
    let nearest = (value * unit).rounded()
    let shown = nearest / unit >= value ? nearest : nearest + 1
    return String(format: "%.\(decimals)f", shown / unit)
  }
}
