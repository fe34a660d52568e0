import Consent

// A consent event's content, written and read by hand: a log has millions of them, and a general JSON coder
// takes thirty times as long. Names and order are part of the format.

extension ConsentEvent {
  /// The content's canonical bytes, after `validate()`.
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    do { try validate() } catch { throw .content(error) }
    var writer = ContentWriter()
    writer.text(Key.actor, actor.rawValue)
    writer.text(Key.ageBand, ageBand.rawValue)
    writer.integer(Key.askAgain, askAgainAtMs)
    writer.text(Key.channel, channel)
    writer.text(Key.commitment, commitment)
    writer.text(Key.consentType, consentType.rawValue)
    writer.integer(Key.duration, durationMs)
    writer.hex(Key.eventID, eventID.bytes)
    writer.integer(Key.expiresAt, expiresAtMs)
    writer.text(Key.jurisdiction, jurisdiction)
    writer.text(Key.language, language)
    writer.text(Key.legalBasis, legalBasis)
    writer.text(Key.method, method)
    writer.integer(Key.notBefore, notBeforeMs)
    writer.text(Key.notice, noticeHash)
    writer.text(Key.policy, policyHash)
    writer.hex(Key.previous, previous?.bytes)
    writer.text(Key.purpose, purpose.id)
    writer.integer(Key.purposeVersion, Int64(purpose.version))
    writer.hex(Key.recordID, recordID.bytes)
    writer.text(Key.recorder, recorder)
    writer.text(Key.regime, regime.rawValue)
    writer.text(Key.screen, screenHash)
    writer.text(Key.state, state.rawValue)
    writer.integer(Key.steps, steps.map { Int64($0) })
    writer.hex(Key.subject, subject.bytes)
    writer.integer(Key.time, eventTimeMs)
    return writer.finished()
  }

  /// Reads a content strictly.
  init(canonicalContent bytes: [UInt8]) throws(LedgerError) {
    var reader = ContentReader(bytes)
    let actor = try reader.choice(Key.actor, ActorRole.self)
    let ageBand = try reader.choice(Key.ageBand, AgeBand.self)
    let askAgain = try reader.optionalInteger(Key.askAgain)
    let channel = try reader.text(Key.channel)
    let commitment = try reader.optionalText(Key.commitment)
    let consentType = try reader.choice(Key.consentType, ConsentType.self)
    let duration = try reader.optionalInteger(Key.duration)
    let eventID = try reader.hex(Key.eventID, EventID.byteCount)
    let expiresAt = try reader.optionalInteger(Key.expiresAt)
    let jurisdiction = try reader.text(Key.jurisdiction)
    let language = try reader.optionalText(Key.language)
    let legalBasis = try reader.text(Key.legalBasis)
    let method = try reader.text(Key.method)
    let notBefore = try reader.optionalInteger(Key.notBefore)
    let notice = try reader.optionalText(Key.notice)
    let policy = try reader.optionalText(Key.policy)
    let previous = try reader.optionalHex(Key.previous, EventID.byteCount)
    let purpose = try reader.text(Key.purpose)
    let version = try reader.integer(Key.purposeVersion)
    let recordID = try reader.hex(Key.recordID, EventID.byteCount)
    let recorder = try reader.text(Key.recorder)
    let regime = try reader.choice(Key.regime, Regime.self)
    let screen = try reader.optionalText(Key.screen)
    let state = try reader.choice(Key.state, ConsentState.self)
    let steps = try reader.optionalInteger(Key.steps)
    let subject = try reader.hex(Key.subject, SubjectTag.byteCount)
    let time = try reader.integer(Key.time)
    try reader.finish()
    do {
      self.init(
        eventID: try EventID(eventID), subject: try SubjectTag(subject),
        purpose: Purpose(id: purpose, version: Int(version)), state: state, regime: regime,
        legalBasis: legalBasis, jurisdiction: jurisdiction, channel: channel, method: method,
        eventTimeMs: time, recorder: recorder, recordID: try EventID(recordID), actor: actor,
        ageBand: ageBand, consentType: consentType, noticeHash: notice, language: language,
        policyHash: policy,
        previous: try previous.map { bytes throws(ConsentError) in try EventID(bytes) },
        screenHash: screen, notBeforeMs: notBefore, expiresAtMs: expiresAt, askAgainAtMs: askAgain,
        commitment: commitment, steps: steps.map { Int($0) }, durationMs: duration)
      try validate()
    } catch { throw .content(error) }
  }
}

/// `,"name":` of every field; the first one's comma is an opening brace.
private enum Key {
  static let actor = Array(#"{"actor":"#.utf8)
  static let ageBand = field("age_band")
  static let askAgain = field("ask_again")
  static let channel = field("channel")
  static let commitment = field("commitment")
  static let consentType = field("consent_type")
  static let duration = field("duration_ms")
  static let eventID = field("event_id")
  static let expiresAt = field("expires_at")
  static let jurisdiction = field("jurisdiction")
  static let language = field("language")
  static let legalBasis = field("legal_basis")
  static let method = field("method")
  static let notBefore = field("not_before")
  static let notice = field("notice")
  static let policy = field("policy")
  static let previous = field("previous")
  static let purpose = field("purpose")
  static let purposeVersion = field("purpose_version")
  static let recordID = field("record_id")
  static let recorder = field("recorder")
  static let regime = field("regime")
  static let screen = field("screen")
  static let state = field("state")
  static let steps = field("steps")
  static let subject = field("subject")
  static let time = field("time")

  private static func field(_ name: String) -> [UInt8] { Array(",\"\(name)\":".utf8) }
}

private struct ContentWriter {
  private var writer = CanonicalWriter(reserving: 700)

  mutating func text(_ key: [UInt8], _ value: String?) {
    guard let value else { return }
    writer.raw(key)
    writer.text(value)
  }
  mutating func integer(_ key: [UInt8], _ value: Int64?) {
    guard let value else { return }
    writer.raw(key)
    writer.integer(value)
  }
  mutating func hex(_ key: [UInt8], _ value: [UInt8]?) {
    guard let value else { return }
    writer.raw(key)
    writer.hex(value)
  }
  mutating func finished() -> [UInt8] {
    writer.raw([0x7d])
    return writer.bytes
  }
}

private struct ContentReader {
  private static let quote: [UInt8] = [0x22]
  private var reader: CanonicalReader

  init(_ bytes: [UInt8]) { reader = CanonicalReader(bytes) }

  mutating func text(_ key: [UInt8]) throws(LedgerError) -> String {
    try reader.expect(key)
    try reader.expect(Self.quote)
    return try reader.text()
  }
  mutating func optionalText(_ key: [UInt8]) throws(LedgerError) -> String? {
    guard reader.accept(key) else { return nil }
    try reader.expect(Self.quote)
    return try reader.text()
  }
  mutating func integer(_ key: [UInt8]) throws(LedgerError) -> Int64 {
    try reader.expect(key)
    return try reader.integer()
  }
  mutating func optionalInteger(_ key: [UInt8]) throws(LedgerError) -> Int64? {
    guard reader.accept(key) else { return nil }
    return try reader.integer()
  }
  mutating func hex(_ key: [UInt8], _ count: Int) throws(LedgerError) -> [UInt8] {
    try reader.expect(key)
    return try quotedHex(count)
  }
  mutating func optionalHex(_ key: [UInt8], _ count: Int) throws(LedgerError) -> [UInt8]? {
    guard reader.accept(key) else { return nil }
    return try quotedHex(count)
  }
  private mutating func quotedHex(_ count: Int) throws(LedgerError) -> [UInt8] {
    try reader.expect(Self.quote)
    let value = try reader.hex(count)
    try reader.expect(Self.quote)
    return value
  }
  mutating func choice<Value: RawRepresentable<String>>(
    _ key: [UInt8], _ type: Value.Type
  ) throws(LedgerError) -> Value {
    guard let value = Value(rawValue: try text(key)) else {
      throw .malformedEntry("it names a state, regime, role, age or type that this program does not know")
    }
    return value
  }
  mutating func finish() throws(LedgerError) {
    try reader.expect([0x7d])
    try reader.finish()
  }
}
