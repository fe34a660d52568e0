import Consent

/// Events and policies for tests; everything that a test does not name has a harmless value.
enum Make {
  static let now: Int64 = 1_790_000_000_000
  static let notice = String(repeating: "ab", count: 32)
  static let staleNotice = String(repeating: "cd", count: 32)
  static let day: Int64 = 86_400_000
  static let year: Int64 = 31_556_952_000

  static func event(
    _ state: ConsentState, for purpose: Purpose = Purpose(id: "churn", version: 2), regime: Regime = .optIn,
    basis: String = "eu-gdpr:A6-1-a", place: String = "DE", time: Int64 = now - 1000, subject: UInt8 = 1,
    actor: ActorRole = .customer, age: AgeBand = .adult, type: ConsentType? = nil, notice: String? = notice,
    begins: Int64? = nil, expires: Int64? = nil, askAgain: Int64? = nil
  ) -> ConsentEvent {
    ConsentEvent(
      eventID: id(9), subject: tag(subject), purpose: purpose, state: state, regime: regime,
      legalBasis: basis,
      jurisdiction: place, channel: "web", method: "toggle", eventTimeMs: time, recorder: "web",
      recordID: id(8), actor: actor, ageBand: age, consentType: type, noticeHash: notice,
      notBeforeMs: begins, expiresAtMs: expires, askAgainAtMs: askAgain)
  }

  static func tag(_ byte: UInt8) -> SubjectTag {
    guard let tag = try? SubjectTag([UInt8](repeating: byte, count: 32)) else { preconditionFailure() }
    return tag
  }

  private static func id(_ byte: UInt8) -> EventID {
    guard let id = try? EventID([UInt8](repeating: byte, count: 16)) else { preconditionFailure() }
    return id
  }

  /// The events at indices 0, 1, …
  static func log(_ events: [ConsentEvent]) -> [IndexedEvent] {
    events.enumerated().map { IndexedEvent(index: LeafIndex(UInt64($0)), event: $1) }
  }

  static func purpose(
    _ id: String = "churn", version: Int = 2, dpia: String? = "DPIA-7", sensitive: Bool = false,
    minors: MinorsRule = .allowed, asksAge: Bool = false,
    places: [String: JurisdictionRule] = [
      "EU": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"]),
      "US-CA": JurisdictionRule(regime: .optOut, legalBases: ["us-ca:opt-out", "us-ca:opt-in"]),
      "BR": JurisdictionRule(regime: .prohibited, legalBases: []),
      "*": JurisdictionRule(regime: .optOut, legalBases: ["other:opt-out"]),
    ], lifetimeDays: Int? = nil, askAgainDays: Int? = nil, notices: [String] = [notice]
  ) -> PolicyPurpose {
    PolicyPurpose(
      id: id, version: version, title: "Churn", description: "Predicts who leaves.", dpia: dpia,
      sensitive: sensitive, minors: minors, asksAge: asksAge, dataCategories: ["purchases"],
      retentionDays: 730, jurisdictions: places, grantLifetimeDays: lifetimeDays,
      askAgainAfterDays: askAgainDays,
      notices: notices.map { PolicyNotice(hash: $0, language: "en", title: "Churn notice") })
  }

  /// Established in Nevada, for which purposes have the rule of everywhere else: opt-out unless told otherwise.
  static func policy(
    _ purposes: [PolicyPurpose] = [purpose()], establishment: String = "US-NV", overridesGPC: Bool = false
  ) -> Policy {
    Policy(
      id: "test", version: 1,
      controller: Controller(name: "Shop", address: "1 High Street", contact: "privacy@example.org"),
      establishment: establishment, laterGrantOverridesGlobalPrivacyControl: overridesGPC, purposes: purposes)
  }
}

/// Numbers that look random and are the same in every run.
struct SeededNumbers {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func below(_ bound: Int) -> Int {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(state >> 33) % bound
  }

  mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }
}
