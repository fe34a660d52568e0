package import Cryptography

/// The hashes of RFC 6962 section 2.1 and RFC 9162 section 2.1.1: SHA-256 with separate prefixes, so that a
/// leaf can never pass for a node.
package enum MerkleTree {
  /// The root of the tree without leaves: SHA-256 of nothing.
  package static let emptyRoot = Hash.sha256([])

  /// SHA-256(0x00 ‖ leaf bytes).
  package static func leafHash(_ leaf: [UInt8]) -> Digest { Hash.sha256(prefix: 0, leaf) }

  /// SHA-256(0x01 ‖ left ‖ right).
  package static func nodeHash(_ left: Digest, _ right: Digest) -> Digest {
    Hash.sha256(prefix: 1, left.bytes, right.bytes)
  }

  /// How many complete nodes (leaf hashes included) a tree of `size` leaves has.
  package static func completeNodeCount(size: UInt64) -> UInt64 {
    size == 0 ? 0 : 2 * size - UInt64(size.nonzeroBitCount)
  }

  /// The positions of the maximal complete subtrees of a tree of `size` leaves, from left to right.
  package static func edge(size: UInt64) -> [NodePosition] {
    var positions: [NodePosition] = []
    var start: UInt64 = 0
    for level in stride(from: 63, through: 0, by: -1) where size >> UInt64(level) & 1 == 1 {
      positions.append(NodePosition(level: level, index: start >> UInt64(level)))
      start += 1 << UInt64(level)
    }
    return positions
  }
}

/// The place of a complete node: it is the root of the leaves `index << level ..< (index + 1) << level`.
package struct NodePosition: Hashable, Sendable, CustomStringConvertible {
  /// 0 for leaf hashes.
  package let level: Int
  /// The position within the level, from the left.
  package let index: UInt64

  /// Names a place.
  package init(level: Int, index: UInt64) {
    self.level = level
    self.index = index
  }

  /// `level l, index i`.
  package var description: String { "level \(level), index \(index)" }
}

/// The right edge of a tree: the roots of its maximal complete subtrees. Enough to append and to compute
/// the root; at most 64 digests whatever the size.
package struct CompactRange: Hashable, Sendable {
  /// The number of leaves.
  package private(set) var size: UInt64
  /// The roots of the maximal complete subtrees, from left to right (`MerkleTree.edge(size:)`).
  package private(set) var edge: [Digest]

  /// The empty tree.
  package init() {
    size = 0
    edge = []
  }

  /// Continues a tree whose edge was stored.
  package init(size: UInt64, edge: [Digest]) throws(MerkleLogError) {
    guard edge.count == size.nonzeroBitCount else { throw .malformedEdge(size: size) }
    self.size = size
    self.edge = edge
  }

  /// Appends a leaf's hash. `completed` is told every node that this completes, the leaf's own first:
  /// amortised two nodes a leaf.
  package mutating func append(
    leafHash: Digest, completed: (NodePosition, Digest) -> Void = { _, _ in }
  ) {
    var node = leafHash
    completed(NodePosition(level: 0, index: size), node)
    let merges = size.trailingOnes
    for level in 0..<merges {
      node = MerkleTree.nodeHash(edge.removeLast(), node)
      completed(NodePosition(level: level + 1, index: size >> UInt64(level + 1)), node)
    }
    edge.append(node)
    size += 1
  }

  /// The root of the whole tree.
  package var root: Digest {
    guard var root = edge.last else { return MerkleTree.emptyRoot }
    for left in edge.dropLast().reversed() { root = MerkleTree.nodeHash(left, root) }
    return root
  }
}

extension UInt64 {
  fileprivate var trailingOnes: Int { (~self).trailingZeroBitCount }
}
