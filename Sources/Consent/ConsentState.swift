/// What data are processed for, with the version of its description: a new version asks again.
package struct Purpose: Hashable, Sendable, CustomStringConvertible {
  /// A short identifier such as `recommendations`, or `*` for every purpose (in denials only).
  package let id: String
  /// The version of the purpose's description, from 1. Zero in a denial for every purpose.
  package let version: Int

  /// Names a purpose. `ConsentEvent.validate()` checks the fields of what goes into the log.
  package init(id: String, version: Int) {
    self.id = id
    self.version = version
  }

  /// Stands for all purposes at once. It can deny (withdraw, object, restrict, erase) but never permit:
  /// consent is specific (GDPR Art. 4(11)).
  package static let every = Purpose(id: "*", version: 0)

  /// Whether an event recorded for this purpose speaks about `other`, in any version.
  package func covers(_ other: Purpose) -> Bool { id == "*" || id == other.id }

  /// `id version n`.
  package var description: String { id == "*" ? "every purpose" : "\(id) version \(version)" }
}

/// The rule under which a purpose may be processed (rule 2).
package enum Regime: String, Codable, Hashable, Sendable, CaseIterable {
  /// Nothing without a grant (GDPR Art. 6(1)(a)).
  case optIn = "opt-in"
  /// Permitted until the customer objects (CCPA/CPRA). Silence permits but is never stored as consent.
  case optOut = "opt-out"
  /// Never.
  case prohibited
}

/// What an event says about consent (ISO/IEC TS 27560:2023, W3C DPV 2.3). The raw value is what stands in
/// the log; it never changes its meaning.
package enum ConsentState: String, Hashable, Sendable, CaseIterable {
  /// The customer was asked and has not answered.
  case requested
  /// The customer agreed, on their own initiative or when asked.
  case given
  /// The customer confirmed a grant that still stands.
  case renewed
  /// The customer said no.
  case refused
  /// The customer put the answer off.
  case deferred
  /// A request ran out without an answer.
  case requestExpired = "request-expired"
  /// The customer took a grant back (GDPR Art. 7(3)).
  case withdrawn
  /// A sweeper logged that a grant ran out.
  case expired
  /// An authority declared the consent invalid.
  case invalidated
  /// The controller ended it (DPV `ConsentRevoked`).
  case revoked
  /// Another record took this one's place.
  case superseded
  /// Processing is restricted (GDPR Art. 18).
  case restricted
  /// The restriction ended after the customer was told (GDPR Art. 18(3)).
  case restrictionLifted = "restriction-lifted"
  /// The customer objected (GDPR Art. 21).
  case objected
  /// The customer opted out of sale or sharing (CCPA §1798.120).
  case optedOut = "opted-out"
  /// A Global Privacy Control signal was seen.
  case globalPrivacyControl = "global-privacy-control"
  /// The customer's data were erased (GDPR Art. 17): final.
  case erased

  /// Whether the state can permit processing. Only these two are valid for processing in DPV.
  package var isGrant: Bool { self == .given || self == .renewed }
}
