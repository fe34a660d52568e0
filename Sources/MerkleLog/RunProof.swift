package import Cryptography

/// A proof that consecutive leaves stand in a tree: the inclusion proofs of the first and of the last of them.
/// What lies between is hashed from the leaves, so thousands of entries cost two paths instead of thousands.
package struct RunProof: Hashable, Sendable {
  /// The proof of the first leaf.
  package let first: InclusionProof
  /// The proof of the last one, for the same tree; the same as `first` for a single leaf.
  package let last: InclusionProof

  /// Puts together a proof that came from elsewhere; `verify` checks it.
  package init(first: InclusionProof, last: InclusionProof) {
    self.first = first
    self.last = last
  }

  /// Checks that the leaf hashes (32 bytes each, side by side) from `first.index` to `last.index` lead to the
  /// root.
  package func verify(leafHashes: [UInt8], root: Digest) throws(MerkleLogError) {
    guard self.root(leafHashes: leafHashes) == root else { throw .wrongProof("inclusion") }
  }

  /// The root that the leaf hashes lead to, or nil if their number or the paths do not fit to the positions.
  ///
  /// Level by level: siblings within the run are hashed, the one that the run's first node may have on its left
  /// comes from the first path, the one that its last node may have on its right from the last path; a last node of
  /// a level without sibling moves up. The paths' other hashes have to be those that follow from the leaves.
  package func root(leafHashes: [UInt8]) -> Digest? {
    guard first.size == last.size, first.index <= last.index, last.index < last.size,
      UInt64(leafHashes.count) == 32 * (last.index - first.index + 1)
    else { return nil }
    var nodes = leafHashes
    var (low, high, end) = (first.index, last.index, last.size - 1)
    var (lower, upper) = (first.path[...], last.path[...])
    while end > 0 {
      // What each path has to say about this level.
      if low & 1 == 1 || low < end {
        guard let sibling = lower.popFirst(), sibling.isWhole else { return nil }
        if low & 1 == 1 {
          nodes = sibling.bytes + nodes
        } else if low < high, sibling.bytes[...] != nodes[32..<64] {
          return nil
        }
      }
      if high & 1 == 1 || high < end {
        guard let sibling = upper.popFirst(), sibling.isWhole else { return nil }
        if high & 1 == 0 {
          nodes += sibling.bytes
        } else if low < high {
          let place = nodes.count - 64
          guard sibling.bytes[...] == nodes[place..<(place + 32)] else { return nil }
        }
      }
      let count = nodes.count / 32
      Hash.sha256Nodes(&nodes, from: 0, count: count / 2, to: 0)
      if count & 1 == 1 { TileHasher.move(&nodes, from: count - 1, to: count / 2) }
      nodes.removeLast(nodes.count - 32 * ((count + 1) / 2))
      low >>= 1
      high >>= 1
      end >>= 1
    }
    guard lower.isEmpty, upper.isEmpty, nodes.count == 32 else { return nil }
    return Digest(unchecked: nodes)
  }
}
