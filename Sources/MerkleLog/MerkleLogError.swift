/// What can be wrong with a note, a checkpoint or a proof. Payloads are names, counts and sizes.
package enum MerkleLogError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A text is not a signed note (C2SP signed-note).
  case malformedNote(String)
  /// A note's text is not a checkpoint (C2SP tlog-checkpoint).
  case malformedCheckpoint(String)
  /// A verifier key is not in the form `name+hash+key`.
  case malformedVerifierKey
  /// A note carries no signature by a key that has to sign it.
  case missingSignature(by: String)
  /// A signature by a known key does not verify: the note was changed.
  case wrongSignature(by: String)
  /// A checkpoint belongs to another log.
  case otherLog(expected: String, actual: String)
  /// The right edge of a tree does not belong to its size.
  case malformedEdge(size: UInt64)
  /// A path, a tile of hashes or an entry bundle is not in the form of C2SP tlog-tiles.
  case malformedTile(String)
  /// A text is not a proof in the form of C2SP tlog-proof.
  case malformedProof(String)
  /// Two notes are about different trees, so that signatures of one do not belong to the other.
  case otherCheckpoint
  /// A proof does not lead to the root.
  case wrongProof(String)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .malformedNote(let why): "the text is not a signed note: \(why)"
    case .malformedCheckpoint(let why): "the text is not a checkpoint: \(why)"
    case .malformedVerifierKey: "the verifier key is not of the form name+hash+base64"
    case .missingSignature(let name): "the note carries no signature by \(name)"
    case .wrongSignature(let name): "the signature by \(name) is wrong: the note was changed or forged"
    case .otherLog(let expected, let actual):
      "the checkpoint is of the log \(actual), but the log here is \(expected)"
    case .malformedEdge(let size): "the stored right edge does not belong to a tree of \(size) entries"
    case .malformedTile(let why): "the tile is not in the form of C2SP tlog-tiles: \(why)"
    case .malformedProof(let why): "the text is not a transparency proof: \(why)"
    case .otherCheckpoint: "the notes are about different checkpoints: their signatures cannot be merged"
    case .wrongProof(let what): "the \(what) proof does not lead to the root"
    }
  }
}
