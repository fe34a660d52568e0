package import Consent
package import Cryptography

// The contents as they stand in the log. Names and order are part of the format: `sortedKeys` writes the
// keys in the order of their bytes, and all of them are lower-case ASCII.

struct ConsentContent: Codable {
  let channel: String
  let event_id: String
  let expires_at: Int64?
  let jurisdiction: String
  let legal_basis: String
  let method: String
  let notice: String
  let purpose: String
  let purpose_version: Int
  let recorder: String
  let regime: String
  let state: String
  let subject: String
  let time: Int64
}

extension ConsentEvent {
  /// The content's canonical bytes, after `validate()`.
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    do { try validate() } catch { throw .content(error) }
    return try EntryCoding.encode(
      ConsentContent(
        channel: channel, event_id: eventID.hex, expires_at: expiresAtMs, jurisdiction: jurisdiction,
        legal_basis: legalBasis, method: method, notice: noticeHash, purpose: purpose.id,
        purpose_version: purpose.version, recorder: recorder, regime: regime.rawValue,
        state: state.rawValue, subject: subject.hex, time: eventTimeMs))
  }

  /// What the recording node with this key signs.
  package func signingBytes(recorder key: VerifyingKey) throws(LedgerError) -> [UInt8] {
    EntryCoding.signingBytes(.consent, key, try canonicalContent())
  }
}

extension ConsentContent {
  func event() throws(LedgerError) -> ConsentEvent {
    guard let state = ConsentState(rawValue: state), let regime = Regime(rawValue: regime) else {
      throw .malformedEntry("it names a state or regime that this program does not know")
    }
    do {
      let event = ConsentEvent(
        eventID: try EventID(hex: event_id), subject: try SubjectTag(hex: subject),
        purpose: Purpose(id: purpose, version: purpose_version), state: state, regime: regime,
        legalBasis: legal_basis, jurisdiction: jurisdiction, noticeHash: notice, channel: channel,
        method: method, eventTimeMs: time, expiresAtMs: expires_at, recorder: recorder)
      try event.validate()
      return event
    } catch { throw .content(error) }
  }
}

struct EnrolmentContent: Codable {
  let key: String
  let kind: String
  let name: String
  let valid_from: Int64
}

extension EnrolmentRecord {
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try Field.check(name, "name", maximum: 64)
    try Field.check(validFromMs, "valid from")
    return try EntryCoding.encode(
      EnrolmentContent(key: nodeKey.hex, kind: kind.rawValue, name: name, valid_from: validFromMs))
  }
}

extension EnrolmentContent {
  func record(_ signer: VerifyingKey, _ signature: Signature) throws(LedgerError) -> EnrolmentRecord {
    try Field.check(name, "name", maximum: 64)
    try Field.check(valid_from, "valid from")
    guard let kind = EnrolledKind(rawValue: kind) else { throw .malformedEntry("its kind is unknown") }
    return EnrolmentRecord(
      nodeKey: VerifyingKey(unchecked: try Field.bytes(key, 32, "key")), name: name, kind: kind,
      validFromMs: valid_from, operatorKey: signer, signature: signature)
  }
}

struct NoticeContent: Codable {
  let id: String
  let kind: String
  let text: String
  let time: Int64
}

extension NoticeRecord {
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try Field.check(kind, "kind", maximum: 64)
    try Field.check(text, "text", maximum: 8192)
    try Field.check(timeMs, "time")
    return try EntryCoding.encode(NoticeContent(id: id.hex, kind: kind, text: text, time: timeMs))
  }

  /// What the author with this key signs.
  package func signingBytes(author key: VerifyingKey) throws(LedgerError) -> [UInt8] {
    EntryCoding.signingBytes(.notice, key, try canonicalContent())
  }
}

extension NoticeContent {
  func record() throws(LedgerError) -> NoticeRecord {
    let identifier: EventID
    do { identifier = try EventID(hex: id) } catch { throw .content(error) }
    let record = NoticeRecord(id: identifier, kind: kind, text: text, timeMs: time)
    try Field.check(kind, "kind", maximum: 64)
    try Field.check(text, "text", maximum: 8192)
    try Field.check(time, "time")
    return record
  }
}

/// Limits of single fields.
enum Field {
  static func check(_ text: String, _ field: String, maximum: Int) throws(LedgerError) {
    guard !text.isEmpty, text.utf8.count <= maximum,
      text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f })
    else {
      throw .malformedEntry("its \(field) is empty, longer than \(maximum) bytes or holds control characters")
    }
  }

  static func check(_ timeMs: Int64, _ field: String) throws(LedgerError) {
    guard (0...ConsentEvent.latestTimeMs).contains(timeMs) else {
      throw .malformedEntry("its \(field) is out of range")
    }
  }

  static func bytes(_ text: String, _ count: Int, _ field: String) throws(LedgerError) -> [UInt8] {
    guard text.utf8.count == count * 2, let bytes = Hex.decode(text), Hex.encode(bytes) == text else {
      throw .malformedEntry("its \(field) is not lower-case hexadecimal of \(count) bytes")
    }
    return bytes
  }
}
