package import Cryptography

/// A proof that a leaf stands at `index` of the tree of `size` leaves (RFC 9162, 2.1.3).
package struct InclusionProof: Hashable, Sendable {
  /// The leaf's position.
  package let index: UInt64
  /// The size of the tree that the proof is for.
  package let size: UInt64
  /// The siblings from the leaf to the root, at most 64.
  package let path: [Digest]

  /// Puts together a proof that came from elsewhere; `verify` checks it.
  package init(index: UInt64, size: UInt64, path: [Digest]) {
    self.index = index
    self.size = size
    self.path = path
  }

  /// Makes the proof from the complete nodes of a tree that has at least `size` leaves.
  /// `index` must be below `size`; the caller checked it.
  package init<Failure: Error>(
    index: UInt64, size: UInt64, node: (NodePosition) throws(Failure) -> Digest
  ) throws(Failure) {
    precondition(index < size, "an inclusion proof is for a leaf of the tree")
    var path: [Digest] = []
    var range = 0..<size
    while range.upperBound - range.lowerBound > 1 {
      let split = range.lowerBound + largestPowerOfTwo(below: range.upperBound - range.lowerBound)
      if index < split {
        path.append(try subtreeRoot(split..<range.upperBound, node))
        range = range.lowerBound..<split
      } else {
        path.append(try subtreeRoot(range.lowerBound..<split, node))
        range = split..<range.upperBound
      }
    }
    self.init(index: index, size: size, path: path.reversed())
  }

  /// Checks that the leaf hash leads to the root (RFC 9162, 2.1.3.2).
  package func verify(leafHash: Digest, root: Digest) throws(MerkleLogError) {
    guard index < size else { throw .wrongProof("inclusion") }
    var position = index
    var last = size - 1
    var computed = leafHash
    for sibling in path {
      guard last != 0 else { throw .wrongProof("inclusion") }
      if position & 1 == 1 || position == last {
        computed = MerkleTree.nodeHash(sibling, computed)
        while position & 1 == 0, position != 0 {
          position >>= 1
          last >>= 1
        }
      } else {
        computed = MerkleTree.nodeHash(computed, sibling)
      }
      position >>= 1
      last >>= 1
    }
    guard last == 0, computed == root else { throw .wrongProof("inclusion") }
  }
}

/// A proof that the tree of `newSize` leaves begins with the tree of `oldSize` leaves (RFC 9162, 2.1.4).
package struct ConsistencyProof: Hashable, Sendable {
  /// The size of the earlier tree.
  package let oldSize: UInt64
  /// The size of the later tree.
  package let newSize: UInt64
  /// The nodes that both roots are computed from; none when one tree is empty or both are the same.
  package let path: [Digest]

  /// Puts together a proof that came from elsewhere; `verify` checks it.
  package init(oldSize: UInt64, newSize: UInt64, path: [Digest]) {
    self.oldSize = oldSize
    self.newSize = newSize
    self.path = path
  }

  /// Makes the proof from the complete nodes of a tree that has at least `newSize` leaves.
  /// `oldSize` must not exceed `newSize`; the caller checked it.
  package init<Failure: Error>(
    oldSize: UInt64, newSize: UInt64, node: (NodePosition) throws(Failure) -> Digest
  ) throws(Failure) {
    precondition(oldSize <= newSize, "a consistency proof leads from an earlier tree to a later one")
    var path: [Digest] = []
    guard oldSize > 0, oldSize < newSize else {
      self.init(oldSize: oldSize, newSize: newSize, path: path)
      return
    }
    var range = 0..<newSize
    // Whether the old tree's root for this range is the old root itself, which the verifier has.
    var isOldRoot = true
    while range.upperBound != oldSize {
      let split = range.lowerBound + largestPowerOfTwo(below: range.upperBound - range.lowerBound)
      if oldSize <= split {
        path.append(try subtreeRoot(split..<range.upperBound, node))
        range = range.lowerBound..<split
      } else {
        path.append(try subtreeRoot(range.lowerBound..<split, node))
        range = split..<range.upperBound
        isOldRoot = false
      }
    }
    if !isOldRoot { path.append(try subtreeRoot(range, node)) }
    self.init(oldSize: oldSize, newSize: newSize, path: path.reversed())
  }

  /// Checks that the proof leads from one root to the other (RFC 9162, 2.1.4.2).
  package func verify(oldRoot: Digest, newRoot: Digest) throws(MerkleLogError) {
    guard oldSize <= newSize else { throw .wrongProof("consistency") }
    if oldSize == newSize || oldSize == 0 {
      let isFine = path.isEmpty && (oldSize == 0 ? oldRoot == MerkleTree.emptyRoot : oldRoot == newRoot)
      guard isFine, newSize != 0 || newRoot == MerkleTree.emptyRoot else { throw .wrongProof("consistency") }
      return
    }
    let nodes = oldSize.nonzeroBitCount == 1 ? [oldRoot] + path : path
    guard let first = nodes.first else { throw .wrongProof("consistency") }
    var position = oldSize - 1
    var last = newSize - 1
    while position & 1 == 1 {
      position >>= 1
      last >>= 1
    }
    var old = first
    var new = first
    for node in nodes.dropFirst() {
      guard last != 0 else { throw .wrongProof("consistency") }
      if position & 1 == 1 || position == last {
        old = MerkleTree.nodeHash(node, old)
        new = MerkleTree.nodeHash(node, new)
        while position & 1 == 0, position != 0 {
          position >>= 1
          last >>= 1
        }
      } else {
        new = MerkleTree.nodeHash(new, node)
      }
      position >>= 1
      last >>= 1
    }
    guard last == 0, old == oldRoot, new == newRoot else { throw .wrongProof("consistency") }
  }
}

/// The root of the tree of the first `size` leaves, from the complete nodes of a larger tree.
package func merkleRoot<Failure: Error>(
  size: UInt64, node: (NodePosition) throws(Failure) -> Digest
) throws(Failure) -> Digest {
  size == 0 ? MerkleTree.emptyRoot : try subtreeRoot(0..<size, node)
}

/// The largest power of two that is smaller than `count` (k of RFC 6962, 2.1); `count` is at least 2.
private func largestPowerOfTwo(below count: UInt64) -> UInt64 {
  1 << UInt64(63 - (count - 1).leadingZeroBitCount)
}

/// The root of the leaves of a range that starts where a subtree of its size may start.
private func subtreeRoot<Failure: Error>(
  _ range: Range<UInt64>, _ node: (NodePosition) throws(Failure) -> Digest
) throws(Failure) -> Digest {
  let count = range.upperBound - range.lowerBound
  if count.nonzeroBitCount == 1 {
    let level = count.trailingZeroBitCount
    return try node(NodePosition(level: level, index: range.lowerBound >> UInt64(level)))
  }
  let split = range.lowerBound + largestPowerOfTwo(below: count)
  return MerkleTree.nodeHash(
    try subtreeRoot(range.lowerBound..<split, node), try subtreeRoot(split..<range.upperBound, node))
}
