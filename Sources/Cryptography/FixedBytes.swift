/// A public value of a fixed number of bytes: digests, public keys, signatures. Never for secrets.
package protocol FixedBytes: Hashable, Sendable, CustomStringConvertible, Comparable {
  /// The number of bytes of every value of this type.
  static var byteCount: Int { get }
  /// What the value is called in an error.
  static var label: String { get }
  /// The bytes, exactly `byteCount` of them.
  var bytes: [UInt8] { get }
  /// Wraps bytes whose count was already checked.
  init(unchecked bytes: [UInt8])
}

extension FixedBytes {
  /// Checks the length and wraps the bytes.
  package init(_ bytes: [UInt8]) throws(CryptographyError) {
    guard bytes.count == Self.byteCount else {
      throw .wrongLength(what: Self.label, expected: Self.byteCount, actual: bytes.count)
    }
    self.init(unchecked: bytes)
  }

  /// Reads the lower- or upper-case hexadecimal form.
  package init(hex: String) throws(CryptographyError) {
    guard let bytes = Hex.decode(hex) else { throw .malformedText(what: Self.label) }
    try self.init(bytes)
  }

  /// The hexadecimal form, lower case.
  package var hex: String { Hex.encode(bytes) }
  /// The hexadecimal form, lower case.
  package var description: String { hex }

  /// Lexicographic order of the bytes.
  package static func < (a: Self, b: Self) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }
}

/// A 32-byte digest (BLAKE2b-256 or SHA-256, as the context says).
package struct Digest: FixedBytes {
  package static let byteCount = 32
  package static let label = "digest"
  package let bytes: [UInt8]
  package init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

/// An Ed25519 public key.
package struct VerifyingKey: FixedBytes {
  package static let byteCount = 32
  package static let label = "Ed25519 public key"
  package let bytes: [UInt8]
  package init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

/// An Ed25519 signature.
package struct Signature: FixedBytes {
  package static let byteCount = 64
  package static let label = "Ed25519 signature"
  package let bytes: [UInt8]
  package init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

/// An X25519 public key.
package struct AgreementPublicKey: FixedBytes {
  package static let byteCount = 32
  package static let label = "X25519 public key"
  package let bytes: [UInt8]
  package init(unchecked bytes: [UInt8]) { self.bytes = bytes }
}

/// Hexadecimal text.
package enum Hex {
  private static let digits = Array("0123456789abcdef".utf8)

  /// Lower-case hexadecimal of `bytes`.
  package static func encode(_ bytes: some Sequence<UInt8>) -> String {
    var text: [UInt8] = []
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// The bytes of a hexadecimal text, or nil if it is none.
  package static func decode(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count.isMultiple(of: 2) else { return nil }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(characters.count / 2)
    for index in stride(from: 0, to: characters.count, by: 2) {
      guard let high = value(characters[index]), let low = value(characters[index + 1]) else {
        return nil
      }
      bytes.append(high << 4 | low)
    }
    return bytes
  }

  private static func value(_ character: UInt8) -> UInt8? {
    switch character {
    case 48...57: character - 48
    case 97...102: character - 87
    case 65...70: character - 55
    default: nil
    }
  }
}
