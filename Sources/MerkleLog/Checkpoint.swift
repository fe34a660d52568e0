package import Cryptography

/// What a log commits to: its name, its size and its root (C2SP tlog-checkpoint, without extension lines).
package struct Checkpoint: Hashable, Sendable {
  /// Larger logs are refused: far beyond any log, far below an overflow.
  package static let maximumSize: UInt64 = 1 << 48

  /// The log's name.
  package let origin: String
  /// The number of entries.
  package let size: UInt64
  /// The root of the tree of these entries.
  package let root: Digest

  /// Names a tree of a log.
  package init(origin: String, size: UInt64, root: Digest) {
    self.origin = origin
    self.size = size
    self.root = root
  }

  /// Reads the text of a checkpoint strictly.
  package init(text: String) throws(MerkleLogError) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.count == 4, lines[3].isEmpty else {
      throw .malformedCheckpoint("it has not exactly the three lines origin, size and root")
    }
    guard NoteVerifier.isValid(name: lines[0]) else {
      throw .malformedCheckpoint("the origin is no valid name")
    }
    guard let size = UInt64(lines[1]), String(size) == lines[1], size <= Self.maximumSize else {
      throw .malformedCheckpoint("the size is no decimal number in range")
    }
    guard let root = Base64.decode(lines[2]), root.count == Digest.byteCount else {
      throw .malformedCheckpoint("the root is no base64 of 32 bytes")
    }
    self.init(origin: lines[0], size: size, root: Digest(unchecked: root))
  }

  /// The text that is signed.
  package var text: String { "\(origin)\n\(size)\n\(Base64.encode(root.bytes))\n" }
}

/// The public keys that a node pins for one log.
package struct CheckpointVerifiers: Hashable, Sendable {
  /// The log's name.
  package let origin: String
  /// Signs every checkpoint.
  package let log: NoteVerifier
  /// Cosigns every checkpoint with the time, so that nodes can tell its age.
  package let freshness: NoteVerifier

  /// Names the keys. The origin has to be a valid key name (no spaces, no plus signs).
  package init(origin: String, logKey: VerifyingKey, freshnessKey: VerifyingKey) throws(MerkleLogError) {
    self.origin = origin
    log = try NoteVerifier(name: origin, algorithm: .ed25519, key: logKey)
    freshness = try NoteVerifier(
      name: Self.freshnessName(of: origin), algorithm: .cosignatureV1, key: freshnessKey)
  }

  /// The name of the key that cosigns a log's checkpoints with the time.
  package static func freshnessName(of origin: String) -> String { origin + "/freshness" }
}

/// A checkpoint whose signatures were verified, and the time it was signed at.
package struct SignedCheckpoint: Hashable, Sendable {
  /// What was signed.
  package let checkpoint: Checkpoint
  /// When, by the freshness key: seconds of UTC since 1970.
  package let timestampSeconds: UInt64
  /// The note itself, as stored and sent.
  package let noteText: String

  private init(checkpoint: Checkpoint, timestampSeconds: UInt64, noteText: String) {
    self.checkpoint = checkpoint
    self.timestampSeconds = timestampSeconds
    self.noteText = noteText
  }

  /// Signs a checkpoint with the log's key and cosigns it with the freshness key.
  package static func sign(
    _ checkpoint: Checkpoint, timestampSeconds: UInt64, logKey: SigningKey, freshnessKey: SigningKey
  ) throws(MerkleLogError) -> SignedCheckpoint {
    var note = try SignedNote(text: checkpoint.text)
    try note.sign(name: checkpoint.origin, key: logKey)
    try note.cosign(
      name: CheckpointVerifiers.freshnessName(of: checkpoint.origin), key: freshnessKey,
      timestampSeconds: timestampSeconds)
    return SignedCheckpoint(
      checkpoint: checkpoint, timestampSeconds: timestampSeconds, noteText: note.encoded)
  }

  /// Reads a note and checks both signatures. The age is the caller's to judge.
  package static func verify(
    _ noteText: String, _ verifiers: CheckpointVerifiers
  ) throws(MerkleLogError) -> SignedCheckpoint {
    let note = try SignedNote(parsing: noteText)
    let checkpoint = try Checkpoint(text: note.text)
    guard checkpoint.origin == verifiers.origin else {
      throw .otherLog(expected: verifiers.origin, actual: checkpoint.origin)
    }
    try note.verify(verifiers.log)
    guard let timestamp = try note.verify(verifiers.freshness) else {
      throw .missingSignature(by: verifiers.freshness.name)
    }
    return SignedCheckpoint(checkpoint: checkpoint, timestampSeconds: timestamp, noteText: noteText)
  }
}
