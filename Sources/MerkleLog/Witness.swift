package import Cryptography

/// Witnesses of a log: nodes that recomputed its tree and say so with cosignatures of its checkpoints
/// (C2SP tlog-witness, tlog-cosignature).
package enum Witness {
  /// The name of a witness: `origin/witness/` and the first 16 hexadecimal digits of its key.
  package static func name(origin: String, key: VerifyingKey) -> String {
    "\(origin)/witness/\(Hex.encode(key.bytes.prefix(8)))"
  }

  /// What the cosignatures of a witness are verified with.
  package static func verifier(origin: String, key: VerifyingKey) throws(MerkleLogError) -> NoteVerifier {
    try NoteVerifier(name: name(origin: origin, key: key), algorithm: .cosignatureV1, key: key)
  }
}

extension SignedNote.SignatureLine {
  /// Reads one line, with or without its newline.
  package init(parsing line: String) throws(MerkleLogError) {
    let bytes = Array(line.utf8)
    self = try SignedNote.parse(bytes.last == 10 ? bytes.dropLast() : bytes[...])
  }

  /// The line as it stands in a note, with its newline.
  package var encoded: String { "— \(name) \(Base64.encode(keyID + signature))\n" }
}

extension SignedNote {
  /// Adds a witness's cosignature of the checkpoint that this note signs.
  /// - Parameter timestampSeconds: When the witness saw that the tree continues the last one it knew, seconds
  ///   of UTC since 1970.
  /// - Returns: The line, for sending it alone.
  @discardableResult
  package mutating func cosign(
    asWitness key: SigningKey, timestampSeconds: UInt64
  ) throws(MerkleLogError) -> SignatureLine {
    let checkpoint = try Checkpoint(text: text)
    // Signed apart, so that a note which has no room for the line stays as it is.
    var alone = try SignedNote(text: text)
    try alone.cosign(
      name: Witness.name(origin: checkpoint.origin, key: key.verifyingKey), key: key,
      timestampSeconds: timestampSeconds)
    let line = alone.signatures[0]
    try add(line)
    return line
  }

  /// Adds a signature line that came from elsewhere. It is not verified here; a note that has it already
  /// stays as it is, a full one refuses it.
  package mutating func add(_ line: SignatureLine) throws(MerkleLogError) {
    if signatures.contains(line) { return }
    try insert(line)
  }

  /// When a witness saw this checkpoint, in seconds of UTC since 1970: nil if the note has no line by it.
  /// Throws if it has one that does not verify, or is no checkpoint.
  package func cosignatureTime(ofWitness key: VerifyingKey) throws(MerkleLogError) -> UInt64? {
    let checkpoint = try Checkpoint(text: text)
    let verifier = try Witness.verifier(origin: checkpoint.origin, key: key)
    let keyID = verifier.keyID
    guard signatures.contains(where: { $0.name == verifier.name && $0.keyID == keyID }) else { return nil }
    return try verify(verifier)
  }

  /// This note with the cosignatures that any of the notes, this one included, has by the witnesses: of each
  /// the newest that verifies. Lines of this note by other keys stay; lines of the others by other keys, and
  /// lines that do not verify, are left out, so that nobody can crowd out a witness. What exceeds
  /// `maximumSignatures` is left out too, the oldest first.
  ///
  /// All notes must be of the same checkpoint.
  package func merging(
    _ others: [SignedNote], witnesses: [VerifyingKey]
  ) throws(MerkleLogError) -> SignedNote {
    let origin = try Checkpoint(text: text).origin
    guard others.allSatisfy({ $0.text == text }) else { throw .otherCheckpoint }
    var verifiers: [NoteVerifier] = []
    for key in witnesses { verifiers.append(try Witness.verifier(origin: origin, key: key)) }
    let lines = Set(([self] + others).flatMap(\.signatures))
    var found: [(time: UInt64, line: SignatureLine)] = []
    for verifier in Set(verifiers) {
      let keyID = verifier.keyID
      var newest: (time: UInt64, line: SignatureLine)?
      for line in lines where line.name == verifier.name && line.keyID == keyID {
        var alone = try SignedNote(text: text)
        try alone.add(line)
        guard let time = try? alone.verify(verifier), time > newest?.time ?? 0 || newest == nil else {
          continue
        }
        newest = (time, line)
      }
      if let newest { found.append(newest) }
    }
    let names = Set(verifiers.map(\.name))
    var merged = try SignedNote(text: text)
    for line in signatures where !names.contains(line.name) { try merged.add(line) }
    found.sort { ($1.time, $0.line.name) < ($0.time, $1.line.name) }
    for (_, line) in found.prefix(Self.maximumSignatures - merged.signatures.count) { try merged.add(line) }
    return merged
  }
}
