import Consent
import Cryptography

// The contents as they stand in the log. Names and order are part of the format: `sortedKeys` writes the
// keys in the order of their bytes, and all of them are lower-case ASCII.

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
  func record() throws(LedgerError) -> EnrolmentRecord {
    try Field.check(name, "name", maximum: 64)
    try Field.check(valid_from, "valid from")
    guard let kind = EnrolledKind(rawValue: kind) else { throw .malformedEntry("its kind is unknown") }
    return EnrolmentRecord(
      nodeKey: VerifyingKey(unchecked: try Field.bytes(key, 32, "key")), name: name, kind: kind,
      validFromMs: valid_from)
  }
}

struct RevocationContent: Codable {
  let key: String
  let reason: String
  let time: Int64
}

extension RevocationRecord {
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try Field.check(reason, "reason", maximum: 512)
    try Field.check(timeMs, "time")
    return try EntryCoding.encode(RevocationContent(key: key.hex, reason: reason, time: timeMs))
  }
}

extension RevocationContent {
  func record() throws(LedgerError) -> RevocationRecord {
    try Field.check(reason, "reason", maximum: 512)
    try Field.check(time, "time")
    return RevocationRecord(
      key: VerifyingKey(unchecked: try Field.bytes(key, 32, "key")), reason: reason, timeMs: time)
  }
}

struct ApprovalContent: Codable {
  let action: String
  let id: String
  let target: String
  let text: String
  let time: Int64
}

extension ApprovalRecord {
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try Field.check(text, "text", maximum: 512)
    try Field.check(timeMs, "time")
    return try EntryCoding.encode(
      ApprovalContent(action: action.rawValue, id: id.hex, target: target.hex, text: text, time: timeMs))
  }
}

extension ApprovalContent {
  func record() throws(LedgerError) -> ApprovalRecord {
    try Field.check(text, "text", maximum: 512)
    try Field.check(time, "time")
    guard let action = ApprovalAction(rawValue: action) else {
      throw .malformedEntry("its action is unknown")
    }
    let identifier: EventID
    do { identifier = try EventID(hex: id) } catch { throw .content(error) }
    return ApprovalRecord(
      id: identifier, action: action, target: Digest(unchecked: try Field.bytes(target, 32, "target")),
      text: text, timeMs: time)
  }
}

extension PolicyRecord {
  private static let head = Array(#"{"document":"#.utf8)
  private static let tail = Array(#","time":"#.utf8)

  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try Field.check(timeMs, "time")
    return Self.head + document + Self.tail + Array("\(timeMs)}".utf8)
  }

  /// What the document says is read where policies are in force; here only its place is found.
  init(canonicalContent bytes: [UInt8]) throws(LedgerError) {
    guard bytes.starts(with: Self.head), bytes.last == UInt8(ascii: "}") else { throw .notCanonical }
    var end = bytes.count - 1
    while end > Self.head.count, bytes[end - 1] &- 48 < 10 { end -= 1 }
    let documentEnd = end - Self.tail.count
    guard documentEnd > Self.head.count, bytes[documentEnd..<end].elementsEqual(Self.tail) else {
      throw .notCanonical
    }
    var reader = CanonicalReader(bytes, end..<(bytes.count - 1))
    let time = try reader.integer()
    try reader.finish()
    try Field.check(time, "time")
    self.init(document: Array(bytes[Self.head.count..<documentEnd]), timeMs: time)
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
