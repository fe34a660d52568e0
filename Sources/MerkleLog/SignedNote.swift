package import Cryptography

/// A text with signatures (C2SP signed-note): text, an empty line, and one line a signature,
/// `— name base64(key id ‖ signature)`.
package struct SignedNote: Hashable, Sendable {
  /// One signature line.
  package struct SignatureLine: Hashable, Sendable {
    /// The name of the key that signed.
    package let name: String
    /// The four bytes that hint at the key.
    package let keyID: [UInt8]
    /// The signature as the algorithm defines it.
    package let signature: [UInt8]
  }

  /// Longer notes are refused, in bytes.
  package static let maximumBytes = 65_536
  /// Notes with more signatures are refused.
  package static let maximumSignatures = 32

  /// What is signed; ends with a newline.
  package let text: String
  /// The signatures, in the order of the lines.
  package private(set) var signatures: [SignatureLine] = []

  /// A note without signatures yet. The text must end with a newline and hold no other control character.
  package init(text: String) throws(MerkleLogError) {
    guard text.hasSuffix("\n") else { throw .malformedNote("the text does not end with a newline") }
    try Self.checkCharacters(text)
    self.text = text
  }

  /// Reads a note strictly: what is not exactly in the format is refused.
  package init(parsing note: String) throws(MerkleLogError) {
    guard note.utf8.count <= Self.maximumBytes else { throw .malformedNote("it is too long") }
    try Self.checkCharacters(note)
    let bytes = Array(note.utf8)
    // The last empty line separates the text, which may hold empty lines itself, from the signatures.
    guard let newline = bytes.indices.dropFirst().last(where: { bytes[$0] == 10 && bytes[$0 - 1] == 10 }),
      bytes.last == 10, newline + 1 < bytes.count
    else { throw .malformedNote("it has no signatures after an empty line") }
    try self.init(text: String(decoding: bytes[..<newline], as: UTF8.self))
    let lines = bytes[(newline + 1)..<(bytes.count - 1)].split(
      separator: 10, omittingEmptySubsequences: false)
    guard lines.count <= Self.maximumSignatures else { throw .malformedNote("it has too many signatures") }
    for line in lines { signatures.append(try Self.parse(line)) }
  }

  static func parse(_ line: ArraySlice<UInt8>) throws(MerkleLogError) -> SignatureLine {
    let parts = line.split(separator: 0x20, omittingEmptySubsequences: false)
    guard parts.count == 3, Array(parts[0]) == Array("—".utf8) else {
      throw .malformedNote("a signature line is not of the form “— name base64”")
    }
    let name = String(decoding: parts[1], as: UTF8.self)
    guard NoteVerifier.isValid(name: name),
      let bytes = Base64.decode(String(decoding: parts[2], as: UTF8.self)), bytes.count > 4
    else { throw .malformedNote("a signature line has no valid name or no valid signature") }
    return SignatureLine(name: name, keyID: Array(bytes.prefix(4)), signature: Array(bytes.dropFirst(4)))
  }

  private static func checkCharacters(_ text: String) throws(MerkleLogError) {
    guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 10 }) else {
      throw .malformedNote("it holds control characters")
    }
  }

  /// The note as it is stored and sent.
  package var encoded: String {
    signatures.reduce(into: text + "\n") { note, line in
      note += line.encoded
    }
  }

  /// Adds an Ed25519 signature of the text.
  package mutating func sign(name: String, key: SigningKey) throws(MerkleLogError) {
    let verifier = try NoteVerifier(name: name, algorithm: .ed25519, key: key.verifyingKey)
    try insert(
      SignatureLine(name: name, keyID: verifier.keyID, signature: key.sign(Array(text.utf8)).bytes))
  }

  /// Adds a cosignature/v1: the text as seen at `timestampSeconds` (UTC since 1970).
  package mutating func cosign(
    name: String, key: SigningKey, timestampSeconds: UInt64
  ) throws(MerkleLogError) {
    let verifier = try NoteVerifier(name: name, algorithm: .cosignatureV1, key: key.verifyingKey)
    let time = withUnsafeBytes(of: timestampSeconds.bigEndian) { Array($0) }
    let signature = key.sign(cosignedMessage(timestampSeconds: timestampSeconds)).bytes
    try insert(SignatureLine(name: name, keyID: verifier.keyID, signature: time + signature))
  }

  /// What a key's signature says: for a cosignature the time of signing, for an Ed25519 signature nil.
  /// Lines of other keys are ignored, as the format asks; a line of this key that does not verify is an
  /// error.
  @discardableResult
  package func verify(_ verifier: NoteVerifier) throws(MerkleLogError) -> UInt64? {
    let keyID = verifier.keyID
    guard let line = signatures.first(where: { $0.name == verifier.name && $0.keyID == keyID }) else {
      throw .missingSignature(by: verifier.name)
    }
    switch verifier.algorithm {
    case .ed25519:
      guard line.signature.count == Signature.byteCount,
        verifier.key.verifies(Signature(unchecked: line.signature), of: Array(text.utf8))
      else { throw .wrongSignature(by: verifier.name) }
      return nil
    case .cosignatureV1:
      guard line.signature.count == 8 + Signature.byteCount else {
        throw .wrongSignature(by: verifier.name)
      }
      let timestamp = line.signature.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      let message = cosignedMessage(timestampSeconds: timestamp)
      guard timestamp <= UInt64(Int64.max) / 1000,
        verifier.key.verifies(Signature(unchecked: Array(line.signature.dropFirst(8))), of: message)
      else { throw .wrongSignature(by: verifier.name) }
      return timestamp
    }
  }

  /// Appends a line; a note with `maximumSignatures` lines refuses it, for nobody could read it then.
  mutating func insert(_ line: SignatureLine) throws(MerkleLogError) {
    guard signatures.count < Self.maximumSignatures else {
      throw .malformedNote("it has too many signatures")
    }
    signatures.append(line)
  }

  private func cosignedMessage(timestampSeconds: UInt64) -> [UInt8] {
    Array("cosignature/v1\ntime \(timestampSeconds)\n\(text)".utf8)
  }
}
