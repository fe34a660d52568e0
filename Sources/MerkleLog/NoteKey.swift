package import Cryptography
import Foundation

/// What a note signature signs (C2SP signed-note, "Signature types").
package enum NoteAlgorithm: UInt8, Hashable, Sendable {
  /// Ed25519 over the note's text.
  case ed25519 = 0x01
  /// cosignature/v1 (C2SP tlog-cosignature): Ed25519 over the text and the time of signing.
  case cosignatureV1 = 0x04
}

/// The public key that a note is verified with: `name+hash+base64(algorithm ‖ key)`.
package struct NoteVerifier: Hashable, Sendable, CustomStringConvertible {
  /// The key's name: a URL without scheme, such as `accord.example/log`.
  package let name: String
  /// What its signatures sign.
  package let algorithm: NoteAlgorithm
  /// The Ed25519 key.
  package let key: VerifyingKey

  /// Names a key. A name that the format does not allow (empty, longer than 255 bytes, spaces, plus signs)
  /// is refused.
  package init(name: String, algorithm: NoteAlgorithm, key: VerifyingKey) throws(MerkleLogError) {
    guard NoteVerifier.isValid(name: name) else { throw .malformedVerifierKey }
    self.name = name
    self.algorithm = algorithm
    self.key = key
  }

  /// Reads the text form and checks its hash.
  package init(text: String) throws(MerkleLogError) {
    let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    guard parts.count == 3, let bytes = Base64.decode(parts[2]), bytes.count == 33,
      let algorithm = NoteAlgorithm(rawValue: bytes[0])
    else { throw .malformedVerifierKey }
    try self.init(
      name: parts[0], algorithm: algorithm, key: VerifyingKey(unchecked: Array(bytes.dropFirst())))
    guard parts[1] == Hex.encode(keyID) else { throw .malformedVerifierKey }
  }

  /// The first four bytes of SHA-256(name ‖ "\n" ‖ algorithm ‖ key): a hint for finding the key, no security.
  package var keyID: [UInt8] {
    Array(Hash.sha256(Array(name.utf8) + [0x0a, algorithm.rawValue] + key.bytes).bytes.prefix(4))
  }

  /// The text form.
  package var description: String {
    "\(name)+\(Hex.encode(keyID))+\(Base64.encode([algorithm.rawValue] + key.bytes))"
  }

  static func isValid(name: String) -> Bool {
    !name.isEmpty && name.utf8.count <= 255
      && name.unicodeScalars.allSatisfy {
        !$0.properties.isWhitespace && $0 != "+" && $0.value >= 0x20 && $0.value != 0x7f
      }
  }
}

/// Strict base64: padded, canonical, no white space.
enum Base64 {
  static func encode(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

  static func decode(_ text: String) -> [UInt8]? {
    // Foundation tolerates leftover bits in the last character; two texts for the same bytes are refused
    // here.
    guard let data = Data(base64Encoded: text), data.base64EncodedString() == text else { return nil }
    return Array(data)
  }
}
