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
    guard holds(leafHash: leafHash, root: root) else { throw .wrongProof("inclusion") }
  }

  /// Whether the leaf hash leads to the root: `verify` for those who check many proofs and count.
  package func holds(leafHash: Digest, root: Digest) -> Bool { self.root(leafHash: leafHash) == root }

  /// The root that the leaf hash leads to, or nil if the path does not fit to index and size.
  package func root(leafHash: Digest) -> Digest? {
    guard index < size, leafHash.isWhole else { return nil }
    var fold = ProofFold(node: leafHash, position: index, last: size - 1)
    for sibling in path {
      guard sibling.isWhole, fold.append(sibling) != nil else { return nil }
    }
    return fold.root
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
    guard holds(oldRoot: oldRoot, newRoot: newRoot) else { throw .wrongProof("consistency") }
  }

  /// Whether the proof leads from one root to the other: `verify` for those who check many and count.
  package func holds(oldRoot: Digest, newRoot: Digest) -> Bool {
    guard oldSize <= newSize else { return false }
    if oldSize == newSize || oldSize == 0 {
      let isFine = path.isEmpty && (oldSize == 0 ? oldRoot == MerkleTree.emptyRoot : oldRoot == newRoot)
      return isFine && (newSize != 0 || newRoot == MerkleTree.emptyRoot)
    }
    guard let (old, new) = roots(oldRoot: oldRoot) else { return false }
    return old == oldRoot && new == newRoot
  }

  /// The two roots that the path leads to, or nil if it does not fit to the sizes (`oldSize` from 1 to below
  /// `newSize`). The old tree's root enters only if that tree is complete, a power of two.
  package func roots(oldRoot: Digest) -> (old: Digest, new: Digest)? {
    guard oldSize > 0, oldSize < newSize else { return nil }
    let nodes = oldSize.nonzeroBitCount == 1 ? [oldRoot] + path : path
    guard let first = nodes.first, nodes.allSatisfy(\.isWhole) else { return nil }
    // The largest complete subtree at the old tree's right edge, which both trees have.
    let level = UInt64(oldSize.trailingZeroBitCount)
    var new = ProofFold(node: first, position: (oldSize - 1) >> level, last: (newSize - 1) >> level)
    var old = NodeFold(first)
    for node in nodes.dropFirst() {
      switch new.append(node) {
      case .left: old.append(left: node)
      case .right: break
      case nil: return nil
      }
    }
    guard let newRoot = new.root else { return nil }
    return (old.digest, newRoot)
  }
}

/// What both verifications do: it leads a complete node, sibling by sibling, to the root of a tree
/// (RFC 9162, 2.1.3.2 and 2.1.4.2).
package struct ProofFold: Hashable, Sendable {
  /// On which side of the node its sibling stands.
  package enum Side: Hashable, Sendable {
    case left, right
  }

  private var node: NodeFold
  private var position: UInt64
  private var last: UInt64

  /// Begins at the node at `position` of its level; `last` is the position of the level's last node, which
  /// may be incomplete.
  package init(node: Digest, position: UInt64, last: UInt64) {
    self.node = NodeFold(node)
    self.position = position
    self.last = last
  }

  /// Goes on to the parent, or returns nil if the node is the root already.
  package mutating func append(_ sibling: Digest) -> Side? {
    guard last != 0 else { return nil }
    let side: Side = position & 1 == 1 || position == last ? .left : .right
    if side == .left {
      node.append(left: sibling)
      while position & 1 == 0, position != 0 {
        position >>= 1
        last >>= 1
      }
    } else {
      node.append(right: sibling)
    }
    position >>= 1
    last >>= 1
    return side
  }

  /// The root, or nil if the node is below it.
  package var root: Digest? { last == 0 ? node.digest : nil }
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
