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

/// One thing that a customer, a signal or the controller said about consent, as it stands in the log.
/// All times are milliseconds of UTC since 1970.
package struct ConsentEvent: Hashable, Sendable {
  /// The key of idempotence.
  package var eventID: EventID
  /// Whose consent.
  package var subject: SubjectTag
  /// For what.
  package var purpose: Purpose
  /// What was said.
  package var state: ConsentState
  /// The rule under which it was recorded.
  package var regime: Regime
  /// Such as `eu-gdpr:A6-1-a` or `us-ca:opt-out`.
  package var legalBasis: String
  /// Such as `DE` or `US-CA`.
  package var jurisdiction: String
  /// Lower-case hexadecimal digest of the notice that was shown, or empty when none was.
  package var noticeHash: String
  /// Such as `store-till`, `web`, `app`, `gpc`.
  package var channel: String
  /// Such as `signature-pad`, `toggle`, `header`.
  package var method: String
  /// When it happened, by the recorder's clock: shown, never used for order.
  package var eventTimeMs: Int64
  /// When a grant runs out; nil if it does not.
  package var expiresAtMs: Int64?
  /// Who recorded it, for people: an employee number, a till, a service. Never a customer.
  package var recorder: String

  /// Puts an event together; `validate()` checks it.
  package init(
    eventID: EventID, subject: SubjectTag, purpose: Purpose, state: ConsentState, regime: Regime,
    legalBasis: String, jurisdiction: String, noticeHash: String, channel: String, method: String,
    eventTimeMs: Int64, expiresAtMs: Int64? = nil, recorder: String
  ) {
    self.eventID = eventID
    self.subject = subject
    self.purpose = purpose
    self.state = state
    self.regime = regime
    self.legalBasis = legalBasis
    self.jurisdiction = jurisdiction
    self.noticeHash = noticeHash
    self.channel = channel
    self.method = method
    self.eventTimeMs = eventTimeMs
    self.expiresAtMs = expiresAtMs
    self.recorder = recorder
  }
}

extension ConsentEvent {
  /// The latest time a record may carry: the end of the year 9999.
  package static let latestTimeMs: Int64 = 253_402_300_799_999

  /// Refuses records that no decision should ever see: empty or oversized texts, impossible times, a grant
  /// for every purpose, a grant under a prohibition, an expiry on anything but a grant.
  package func validate() throws(ConsentError) {
    try Self.check(purpose.id, "purpose", maximum: 64)
    try Self.check(legalBasis, "legal basis", maximum: 64)
    try Self.check(jurisdiction, "jurisdiction", maximum: 16)
    try Self.check(channel, "channel", maximum: 64)
    try Self.check(method, "method", maximum: 64)
    try Self.check(recorder, "recorder", maximum: 128)
    guard noticeHash.isEmpty || noticeHash.utf8.count == 64 && HexText.decode(noticeHash) != nil else {
      throw .malformedText(field: "notice hash")
    }
    let isForEvery = purpose.id == Purpose.every.id
    guard isForEvery ? purpose.version == 0 : (1...1_000_000).contains(purpose.version) else {
      throw .outOfRange(field: "purpose version")
    }
    guard (0...Self.latestTimeMs).contains(eventTimeMs) else { throw .outOfRange(field: "event time") }
    if isForEvery, state.isGrant { throw .contradiction("a grant must name its purpose") }
    if regime == .prohibited, state.isGrant { throw .contradiction("a prohibited purpose was granted") }
    if let expiresAtMs {
      guard (0...Self.latestTimeMs).contains(expiresAtMs) else { throw .outOfRange(field: "expiry") }
      guard state.isGrant else { throw .contradiction("only a grant can expire") }
      guard expiresAtMs > eventTimeMs else { throw .contradiction("it expires before it begins") }
    }
  }

  private static func check(_ text: String, _ field: String, maximum: Int) throws(ConsentError) {
    let bytes = text.utf8
    guard !bytes.isEmpty, bytes.count <= maximum, bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      throw .invalidText(field: field, maximumBytes: maximum)
    }
  }
}
