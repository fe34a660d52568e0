/// Reads canonical JSON (protocol/CONSENT-LEDGER.md, section 1) front to back: what is not exactly in the form
/// is refused, so nothing has to be encoded again to compare.
struct CanonicalReader {
  let bytes: [UInt8]
  private(set) var position: Int
  private let end: Int

  init(_ bytes: [UInt8]) { self.init(bytes, 0..<bytes.count) }

  init(_ bytes: [UInt8], _ range: Range<Int>) {
    self.bytes = bytes
    position = range.lowerBound
    end = range.upperBound
  }

  /// Whether the next bytes are these; they are not consumed.
  func isNext(_ literal: [UInt8]) -> Bool {
    guard end &- position >= literal.count else { return false }
    for offset in literal.indices where bytes[position &+ offset] != literal[offset] { return false }
    return true
  }

  /// Consumes these bytes or refuses.
  mutating func expect(_ literal: [UInt8]) throws(LedgerError) {
    guard isNext(literal) else { throw .notCanonical }
    position &+= literal.count
  }

  /// Consumes these bytes if they are next.
  mutating func accept(_ literal: [UInt8]) -> Bool {
    guard isNext(literal) else { return false }
    position &+= literal.count
    return true
  }

  /// A number without sign, leading zeros, point or exponent.
  mutating func integer() throws(LedgerError) -> Int64 {
    let start = position
    var value: Int64 = 0
    while position < end, case let digit = bytes[position] &- 48, digit < 10 {
      guard position &- start < 18 else { throw .notCanonical }
      value = value &* 10 &+ Int64(digit)
      position &+= 1
    }
    guard position > start, bytes[start] != 48 || position == start &+ 1 else { throw .notCanonical }
    return value
  }

  /// A text after its opening quotation mark, up to and with its closing one.
  mutating func text() throws(LedgerError) -> String {
    let start = position
    var hasEscapes = false
    while position < end {
      let byte = bytes[position]
      if byte == 0x22 {
        let slice = bytes[start..<position]
        position &+= 1
        return try Self.decode(slice, hasEscapes: hasEscapes)
      }
      guard byte >= 0x20, byte != 0x7f else { throw .notCanonical }
      if byte == 0x5c {
        hasEscapes = true
        position &+= 1
        guard position < end, bytes[position] == 0x22 || bytes[position] == 0x5c else { throw .notCanonical }
      }
      position &+= 1
    }
    throw .notCanonical
  }

  private static func decode(_ slice: ArraySlice<UInt8>, hasEscapes: Bool) throws(LedgerError) -> String {
    guard hasEscapes else {
      guard let text = String(validating: slice, as: UTF8.self) else { throw .notCanonical }
      return text
    }
    var plain: [UInt8] = []
    plain.reserveCapacity(slice.count)
    var escaped = false
    for byte in slice {
      if byte == 0x5c, !escaped {
        escaped = true
      } else {
        plain.append(byte)
        escaped = false
      }
    }
    guard let text = String(validating: plain, as: UTF8.self) else { throw .notCanonical }
    return text
  }

  /// `count` bytes in lower-case hexadecimal, without quotation marks.
  mutating func hex(_ count: Int) throws(LedgerError) -> [UInt8] {
    guard end &- position >= 2 &* count else { throw .notCanonical }
    var output: [UInt8] = []
    output.reserveCapacity(count)
    for _ in 0..<count {
      let high = Self.digit(bytes[position])
      let low = Self.digit(bytes[position &+ 1])
      guard high < 16, low < 16 else { throw .notCanonical }
      output.append(high &<< 4 | low)
      position &+= 2
    }
    return output
  }

  private static func digit(_ byte: UInt8) -> UInt8 {
    switch byte {
    case 48...57: byte &- 48
    case 97...102: byte &- 87
    default: 255
    }
  }

  /// Refuses what follows.
  func finish() throws(LedgerError) {
    guard position == end else { throw .notCanonical }
  }
}

/// Writes canonical JSON.
struct CanonicalWriter {
  private(set) var bytes: [UInt8] = []

  init(reserving count: Int = 0) { bytes.reserveCapacity(count) }

  mutating func raw(_ literal: [UInt8]) { bytes.append(contentsOf: literal) }

  /// A text with its quotation marks.
  mutating func text(_ text: String) {
    bytes.append(0x22)
    for byte in text.utf8 {
      if byte == 0x22 || byte == 0x5c { bytes.append(0x5c) }
      bytes.append(byte)
    }
    bytes.append(0x22)
  }

  mutating func integer(_ value: Int64) {
    bytes.append(contentsOf: String(value).utf8)
  }

  /// Bytes in hexadecimal, with quotation marks.
  mutating func hex(_ value: [UInt8]) {
    bytes.append(0x22)
    bytes.appendHex(value)
    bytes.append(0x22)
  }
}

extension [UInt8] {
  mutating func appendHex(_ value: [UInt8]) {
    for byte in value {
      append(Self.hexDigits[Int(byte &>> 4)])
      append(Self.hexDigits[Int(byte & 15)])
    }
  }

  private static var hexDigits: [UInt8] { hexDigitTable }
}

private let hexDigitTable = Array("0123456789abcdef".utf8)

extension LedgerError {
  static var notCanonical: LedgerError { .malformedEntry("it is not in the canonical form") }
}
