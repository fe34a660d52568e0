package import Consent
package import MerkleLog

/// Where an entry of an append stands.
package struct LedgerPlace: Hashable, Sendable {
  /// The entry's position.
  package let index: LeafIndex
  /// When the ledger took it, ms of UTC since 1970: with the statement, that is the leaf.
  package let recordedMs: Int64
  /// The leaf, if the entry was in the log before and says the same under another batch's signature.
  package let earlierLeaf: [UInt8]?

  package init(index: LeafIndex, recordedMs: Int64, earlierLeaf: [UInt8]?) {
    self.index = index
    self.recordedMs = recordedMs
    self.earlierLeaf = earlierLeaf
  }

  /// The parts of a list of positions that count up by one, by their places in the list. Both sides of a compact
  /// answer cut it alike.
  package static func runs(_ indices: [UInt64]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var start = 0
    for place in indices.indices.dropFirst() where indices[place] != indices[place - 1] &+ 1 {
      runs.append(start..<place)
      start = place
    }
    if !indices.isEmpty { runs.append(start..<indices.count) }
    return runs
  }
}

/// What the author of many entries keeps: where they stand, and a signed checkpoint that covers them.
package struct RunReceipt: Hashable, Sendable {
  /// In the order of the statements.
  package let places: [LedgerPlace]
  /// A signed checkpoint of a tree that holds all of them.
  package let checkpoint: SignedCheckpoint
  /// One proof for each of `LedgerPlace.runs`.
  package let runs: [RunProof]
}
