/// How old the customer is, as far as the law asks: GDPR Art. 8 (13 to 16 by member state), CCPA §1798.120(c)
/// (13 and 16).
package enum AgeBand: String, Codable, Hashable, Sendable, CaseIterable {
  /// Nobody asked.
  case unknown
  case under13 = "under-13"
  case thirteen = "13"
  case fourteen = "14"
  case fifteen = "15"
  case sixteenOrSeventeen = "16-17"
  case adult

  /// The lowest age of the band in years; nil if unknown.
  package var lowestAge: Int? {
    switch self {
    case .unknown: nil
    case .under13: 0
    case .thirteen: 13
    case .fourteen: 14
    case .fifteen: 15
    case .sixteenOrSeventeen: 16
    case .adult: 18
    }
  }
}

/// Who spoke.
package enum ActorRole: String, Codable, Hashable, Sendable, CaseIterable {
  /// The customer in person.
  case customer
  /// A holder of parental responsibility.
  case guardian
  /// An agent whom the customer authorised (CCPA regulations §7063).
  case agent
  /// The controller.
  case controller
  /// A supervisory authority or a court.
  case authority
  /// A program: a sweeper, a signal's receiver.
  case system
}

/// How a grant was expressed (W3C DPV: ExplicitlyExpressedConsent, ExpressedConsent, ImpliedConsent).
package enum ConsentType: String, Codable, Hashable, Sendable, CaseIterable {
  case explicit
  case expressed
  case implied
  /// The event is no grant.
  case none
}

/// One thing that a customer, a signal or the controller said about consent, as its author signs it
/// (protocol/CONSENT-LEDGER.md, section 3). All times are milliseconds of UTC since 1970.
package struct ConsentEvent: Hashable, Sendable {
  /// Who spoke.
  package var actor: ActorRole
  /// The customer's age.
  package var ageBand: AgeBand
  /// Not before this time may the customer be asked again.
  package var askAgainAtMs: Int64?
  /// Such as `store-till`, `web`, `app`, `gpc`.
  package var channel: String
  /// Keyed commitment to the sealed payload, 64 hexadecimal digits.
  package var commitment: String?
  /// How it was expressed.
  package var consentType: ConsentType
  /// What the customer needed from the first screen to the answer, milliseconds.
  package var durationMs: Int64?
  /// The key of idempotence.
  package var eventID: EventID
  /// When a grant runs out; nil if it does not.
  package var expiresAtMs: Int64?
  /// Where the customer lives, such as `DE` or `US-CA`, or `unknown`.
  package var jurisdiction: String
  /// The notice's language (BCP 47).
  package var language: String?
  /// Such as `eu-gdpr:A6-1-a` or `us-ca:opt-out`.
  package var legalBasis: String
  /// Such as `signature`, `toggle`, `header`.
  package var method: String
  /// From when a grant counts.
  package var notBeforeMs: Int64?
  /// SHA-256 of the notice that was shown, 64 hexadecimal digits; nil when none was.
  package var noticeHash: String?
  /// The policy in force, 64 hexadecimal digits. The ledger takes no grant without it.
  package var policyHash: String?
  /// The event of the same subject and purpose before this one, as far as the recorder knew.
  package var previous: EventID?
  /// For what.
  package var purpose: Purpose
  /// The consent record that the event belongs to: one for each subject and purpose.
  package var recordID: EventID
  /// Who entered it, for people: an employee number, a till, a service. Never a customer.
  package var recorder: String
  /// The rule under which it was recorded.
  package var regime: Regime
  /// SHA-256 of the screen as it was shown, 64 hexadecimal digits.
  package var screenHash: String?
  /// What was said.
  package var state: ConsentState
  /// How many things the customer had to do.
  package var steps: Int?
  /// Whose consent.
  package var subject: SubjectTag
  /// When it happened, by the recorder's clock: shown, never used for order.
  package var eventTimeMs: Int64

  /// Puts an event together; `validate()` checks it.
  package init(
    eventID: EventID, subject: SubjectTag, purpose: Purpose, state: ConsentState, regime: Regime,
    legalBasis: String, jurisdiction: String, channel: String, method: String, eventTimeMs: Int64,
    recorder: String, recordID: EventID, actor: ActorRole = .customer, ageBand: AgeBand = .adult,
    consentType: ConsentType? = nil, noticeHash: String? = nil, language: String? = nil,
    policyHash: String? = nil, previous: EventID? = nil, screenHash: String? = nil,
    notBeforeMs: Int64? = nil, expiresAtMs: Int64? = nil, askAgainAtMs: Int64? = nil,
    commitment: String? = nil, steps: Int? = nil, durationMs: Int64? = nil
  ) {
    self.actor = actor
    self.ageBand = ageBand
    self.askAgainAtMs = askAgainAtMs
    self.channel = channel
    self.commitment = commitment
    self.consentType = consentType ?? (state.isGrant ? .expressed : .none)
    self.durationMs = durationMs
    self.eventID = eventID
    self.expiresAtMs = expiresAtMs
    self.jurisdiction = jurisdiction
    self.language = language
    self.legalBasis = legalBasis
    self.method = method
    self.notBeforeMs = notBeforeMs
    self.noticeHash = noticeHash
    self.policyHash = policyHash
    self.previous = previous
    self.purpose = purpose
    self.recordID = recordID
    self.recorder = recorder
    self.regime = regime
    self.screenHash = screenHash
    self.state = state
    self.steps = steps
    self.subject = subject
    self.eventTimeMs = eventTimeMs
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
    if let language { try Self.check(language, "language", maximum: 35) }
    try Self.check(digest: noticeHash, "notice hash")
    try Self.check(digest: policyHash, "policy hash")
    try Self.check(digest: screenHash, "screen hash")
    try Self.check(digest: commitment, "commitment")
    let isForEvery = purpose.id == Purpose.every.id
    guard isForEvery ? purpose.version == 0 : (1...1_000_000).contains(purpose.version) else {
      throw .outOfRange(field: "purpose version")
    }
    guard (0...Self.latestTimeMs).contains(eventTimeMs) else { throw .outOfRange(field: "event time") }
    for (field, time) in [
      ("expiry", expiresAtMs), ("not before", notBeforeMs), ("ask again", askAgainAtMs),
    ] {
      if let time, !(0...Self.latestTimeMs).contains(time) { throw .outOfRange(field: field) }
    }
    if let steps, !(0...1000).contains(steps) { throw .outOfRange(field: "steps") }
    if let durationMs, !(0...86_400_000).contains(durationMs) { throw .outOfRange(field: "duration") }
    try checkGrant(isForEvery: isForEvery)
  }

  private func checkGrant(isForEvery: Bool) throws(ConsentError) {
    guard state.isGrant else {
      if expiresAtMs != nil || notBeforeMs != nil { throw .contradiction("only a grant can expire or begin") }
      if consentType != .none { throw .contradiction("only a grant has a type of consent") }
      return
    }
    if isForEvery { throw .contradiction("a grant must name its purpose") }
    if regime == .prohibited { throw .contradiction("a prohibited purpose was granted") }
    if consentType == .none { throw .contradiction("a grant needs a type of consent") }
    if let expiresAtMs {
      guard expiresAtMs > max(eventTimeMs, notBeforeMs ?? 0) else {
        throw .contradiction("it expires before it begins")
      }
    }
  }

  private static func check(_ text: String, _ field: String, maximum: Int) throws(ConsentError) {
    let bytes = text.utf8
    guard !bytes.isEmpty, bytes.count <= maximum, bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else {
      throw .invalidText(field: field, maximumBytes: maximum)
    }
  }

  private static func check(digest: String?, _ field: String) throws(ConsentError) {
    guard let digest else { return }
    guard digest.utf8.count == 64, digest.utf8.allSatisfy(HexText.isDigit) else {
      throw .malformedText(field: field)
    }
  }
}
