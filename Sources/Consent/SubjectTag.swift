/// The pseudonym of one customer in the log: 32 bytes derived from a key that only the node's vault holds,
/// so that destroying the key severs the log from the person (docs: Erasure against an append-only log).
package struct SubjectTag: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The number of bytes of every tag.
  package static let byteCount = 32
  /// The bytes, exactly 32.
  package let bytes: [UInt8]

  /// Checks the length and wraps the bytes.
  package init(_ bytes: [UInt8]) throws(ConsentError) {
    guard bytes.count == Self.byteCount else {
      throw .wrongLength(field: "subject tag", expected: Self.byteCount, actual: bytes.count)
    }
    self.bytes = bytes
  }

  /// Reads the lower-case hexadecimal form.
  package init(hex: String) throws(ConsentError) {
    guard let bytes = HexText.decode(hex) else { throw .malformedText(field: "subject tag") }
    try self.init(bytes)
  }

  /// Lower-case hexadecimal.
  package var hex: String { HexText.encode(bytes) }
  /// Lower-case hexadecimal.
  package var description: String { hex }

  /// Lexicographic order of the bytes.
  package static func < (a: SubjectTag, b: SubjectTag) -> Bool {
    a.bytes.lexicographicallyPrecedes(b.bytes)
  }
}

/// The identity of one consent event: 16 random bytes chosen by the recorder, the key of idempotence.
package struct EventID: Hashable, Sendable, CustomStringConvertible {
  /// The number of bytes of every identifier.
  package static let byteCount = 16
  /// The bytes, exactly 16.
  package let bytes: [UInt8]

  /// Checks the length and wraps the bytes.
  package init(_ bytes: [UInt8]) throws(ConsentError) {
    guard bytes.count == Self.byteCount else {
      throw .wrongLength(field: "event id", expected: Self.byteCount, actual: bytes.count)
    }
    self.bytes = bytes
  }

  /// Reads the lower-case hexadecimal form.
  package init(hex: String) throws(ConsentError) {
    guard let bytes = HexText.decode(hex) else { throw .malformedText(field: "event id") }
    try self.init(bytes)
  }

  /// Lower-case hexadecimal.
  package var hex: String { HexText.encode(bytes) }
  /// Lower-case hexadecimal.
  package var description: String { hex }
}

/// The position of an entry in the log, counted from zero: the only order that decisions know.
package struct LeafIndex: Hashable, Sendable, Comparable, CustomStringConvertible, ExpressibleByIntegerLiteral
{
  /// The number of entries in front of this one.
  package let value: UInt64

  /// Wraps a position.
  package init(_ value: UInt64) { self.value = value }
  /// Wraps a literal position.
  package init(integerLiteral value: UInt64) { self.value = value }
  /// Decimal.
  package var description: String { String(value) }
  /// Order in the log.
  package static func < (a: LeafIndex, b: LeafIndex) -> Bool { a.value < b.value }
}

/// Strict lower-case hexadecimal; this module depends on nothing, so it has its own.
enum HexText {
  private static let digits = Array("0123456789abcdef".utf8)

  static func encode(_ bytes: [UInt8]) -> String {
    var text: [UInt8] = []
    text.reserveCapacity(bytes.count * 2)
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  static func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (97...102).contains(byte) }

  static func decode(_ text: String) -> [UInt8]? {
    var bytes: [UInt8] = []
    var high: UInt8?
    for character in text.utf8 {
      let value: UInt8
      switch character {
      case 48...57: value = character - 48
      case 97...102: value = character - 87
      default: return nil
      }
      if let first = high {
        bytes.append(first << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return high == nil ? bytes : nil
  }
}
