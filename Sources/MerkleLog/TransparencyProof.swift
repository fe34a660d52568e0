package import Cryptography

/// A proof that somebody can keep and check without the log (C2SP tlog-proof, `.tlog-proof`): where an entry
/// stands, the path to the root, and the signed checkpoint. A customer's receipt is one.
package struct TransparencyProof: Hashable, Sendable {
  /// The first line.
  package static let header = "c2sp.org/tlog-proof@v1"
  /// Longer texts are refused, in bytes.
  package static let maximumBytes = 160_000
  /// Longer paths are refused: the longest one of a tree of `Checkpoint.maximumSize` entries.
  package static let maximumPath = 48

  /// Data beside the proof, in Accord the leaf. It is proved only as far as `leafHash` was computed from it.
  package let extra: [UInt8]?
  /// The entry's position.
  package let index: UInt64
  /// The siblings from the leaf to the root.
  package let path: [Digest]
  /// The signed checkpoint, as it was issued.
  package let checkpointNote: String

  /// Puts a proof together; `verify` checks it.
  package init(extra: [UInt8]?, index: UInt64, path: [Digest], checkpointNote: String) {
    self.extra = extra
    self.index = index
    self.path = path
    self.checkpointNote = checkpointNote
  }

  /// Reads a proof strictly: a proof has one text. It must end with a signed checkpoint; who signed
  /// that, `verify` checks.
  package init(parsing text: String) throws(MerkleLogError) {
    guard text.utf8.count <= Self.maximumBytes else { throw .malformedProof("it is too long") }
    var lines = text.utf8.split(separator: 10, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self)
    }[...]
    guard lines.popFirst() == Self.header else {
      throw .malformedProof("it does not begin with \(Self.header)")
    }
    var extra: [UInt8]?
    if let line = lines.first, line.hasPrefix("extra ") {
      guard let bytes = Base64.decode(String(line.dropFirst(6))), !bytes.isEmpty else {
        throw .malformedProof("the extra data is no base64")
      }
      extra = bytes
      lines.removeFirst()
    }
    guard let line = lines.popFirst(), line.hasPrefix("index "), let index = UInt64(line.dropFirst(6)),
      line == "index \(index)", index < Checkpoint.maximumSize
    else { throw .malformedProof("the index is no decimal number in range") }
    var path: [Digest] = []
    while let line = lines.popFirst(), !line.isEmpty {
      guard let hash = Base64.decode(line), hash.count == Digest.byteCount else {
        throw .malformedProof("a line of the path is no base64 of 32 bytes")
      }
      guard path.count < Self.maximumPath else { throw .malformedProof("the path is too long") }
      path.append(Digest(unchecked: hash))
    }
    let note = lines.joined(separator: "\n")
    _ = try Checkpoint(text: SignedNote(parsing: note).text)
    self.init(extra: extra, index: index, path: path, checkpointNote: note)
    // The lines are read strictly already; this holds whatever becomes of that.
    guard Array(encoded.utf8) == Array(text.utf8) else {
      throw .malformedProof("it is not in its canonical form")
    }
  }

  /// The proof as it is stored and handed out.
  package var encoded: String {
    var lines = [Self.header]
    if let extra { lines.append("extra \(Base64.encode(extra))") }
    lines.append("index \(index)")
    lines += path.map { Base64.encode($0.bytes) }
    return lines.joined(separator: "\n") + "\n\n" + checkpointNote
  }

  /// Checks that the log of `verifiers` vouches for the leaf at `index`.
  /// - Parameter leafHash: `MerkleTree.leafHash` of the leaf, which the caller has or takes from `extra`.
  /// - Returns: The checkpoint. Its age is the caller's to judge.
  @discardableResult
  package func verify(
    leafHash: Digest, verifiers: CheckpointVerifiers
  ) throws(MerkleLogError) -> SignedCheckpoint {
    let signed = try SignedCheckpoint.verify(checkpointNote, verifiers)
    try InclusionProof(index: index, size: signed.checkpoint.size, path: path).verify(
      leafHash: leafHash, root: signed.checkpoint.root)
    return signed
  }
}
