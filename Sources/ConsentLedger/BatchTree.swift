import Cryptography
import MerkleLog

/// The part of a tree that an append adds, by level: the new complete nodes side by side, and in front of them the
/// left sibling that the first of them has in the old tree. Enough for the new right edge, the root, the tiles and
/// the inclusion proof of every new leaf, without asking the database.
struct BatchTree: Sendable {
  private struct Level {
    /// The position of the first node; always even, so that siblings stand together.
    let first: UInt64
    /// 32 bytes a node.
    var hashes: [UInt8]

    var end: UInt64 { first + UInt64(hashes.count / 32) }

    func node(_ index: UInt64) -> Digest {
      let start = 32 * Int(index - first)
      return Digest(unchecked: Array(hashes[start..<(start + 32)]))
    }
  }

  /// The leaves of the old tree.
  let oldSize: UInt64
  /// The leaves of the new one.
  var size: UInt64 { levels[0].end }
  private var levels: [Level]

  /// Begins at the right edge of the old tree.
  init(_ old: CompactRange) {
    oldSize = old.size
    levels = []
    var edge = old.edge
    // The edge goes from the highest level to the lowest.
    for level in 0..<max(1, 64 - old.size.leadingZeroBitCount) {
      let position = old.size >> UInt64(level)
      levels.append(Level(first: position & ~1, hashes: position & 1 == 1 ? edge.removeLast().bytes : []))
    }
  }

  /// Adds leaf hashes, 32 bytes each. Nodes above them are made by `complete`.
  mutating func append(leafHash: [UInt8]) { levels[0].hashes += leafHash }

  /// Makes all nodes above the leaves.
  mutating func complete() {
    var level = 0
    while true {
      let pairs = levels[level].hashes.count / 64
      if level + 1 == levels.count {
        guard pairs > 0 else { return }
        levels.append(Level(first: levels[level].first / 2, hashes: []))
      }
      // What stands there already is the left sibling from the old tree, whose children are not in here.
      let first = Int(levels[level + 1].end - levels[level].first / 2)
      let above = levels[level + 1].hashes.count
      let count = pairs - first
      if count > 0 {
        let begin = 64 * first
        var parents = Array(levels[level].hashes[begin..<(begin + 64 * count)])
        Hash.sha256Nodes(&parents, from: 0, count: count, to: 0)
        levels[level + 1].hashes.reserveCapacity(above + 32 * count)
        levels[level + 1].hashes += parents[..<(32 * count)]
      }
      level += 1
    }
  }

  /// The right edge of the new tree; after `complete`.
  var edge: [Digest] {
    MerkleTree.edge(size: size).map { levels[$0.level].node($0.index) }
  }

  /// Calls `body` with the new nodes of each level of tiles: the level, the first node's position, the hashes.
  func newTileNodes(_ body: (_ level: Int, _ first: UInt64, _ hashes: ArraySlice<UInt8>) -> Void) {
    for level in stride(from: 0, to: levels.count, by: StoredTiles.height) {
      let start = oldSize >> UInt64(level)
      guard levels[level].end > start else { return }
      body(
        level / StoredTiles.height, start, levels[level].hashes[(32 * Int(start - levels[level].first))...])
    }
  }

  /// What inclusion proofs are made of; after `complete`, and only if there are new leaves.
  func proofs() -> BatchProofs {
    let nodes = levels.map { level in
      stride(from: 0, to: level.hashes.count, by: 32).map {
        Digest(unchecked: Array(level.hashes[$0..<($0 + 32)]))
      }
    }
    return BatchProofs(oldSize: oldSize, size: size, first: levels.map(\.first), nodes: nodes)
  }
}

/// Inclusion proofs of the leaves that a commit added.
struct BatchProofs: Sendable {
  let oldSize: UInt64
  let size: UInt64
  private let first: [UInt64]
  private let nodes: [[Digest]]
  /// By level: the root of the leaves below the last node, which need not be complete.
  private let last: [Digest]

  fileprivate init(oldSize: UInt64, size: UInt64, first: [UInt64], nodes: [[Digest]]) {
    self.oldSize = oldSize
    self.size = size
    self.first = first
    self.nodes = nodes
    var last: [Digest] = []
    if size > oldSize {
      var node = nodes[0][Int(size - 1 - first[0])]
      var level = 0
      var position = size - 1
      last.append(node)
      while position > 0 {
        if position & 1 == 1 {
          node = MerkleTree.nodeHash(nodes[level][Int(position - 1 - first[level])], node)
        }
        level += 1
        position >>= 1
        last.append(node)
      }
    }
    self.last = last
  }

  /// The proof of a new leaf (RFC 9162, 2.1.3.1, from the leaf upwards).
  func proof(_ index: UInt64) -> InclusionProof {
    precondition(index >= oldSize && index < size, "the leaf is not one of the new ones")
    var path: [Digest] = []
    path.reserveCapacity(last.count)
    var position = index
    var end = size - 1
    var level = 0
    while end > 0 {
      let sibling = position ^ 1
      if sibling < end {
        path.append(nodes[level][Int(sibling - first[level])])
      } else if sibling == end {
        path.append(last[level])
      }
      position >>= 1
      end >>= 1
      level += 1
    }
    return InclusionProof(index: index, size: size, path: path)
  }
}
