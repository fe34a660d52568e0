package import Cryptography

/// A tree that grows, in tiles: it keeps the partial tile of every level and hands out each full one once.
/// Storage writes the full tiles and, as often as it commits, the partial ones that changed.
///
/// Appending costs one node hash a leaf (amortised); the root costs at most one a level of the tree.
package struct TileTree: Hashable, Sendable {
  /// The number of leaves.
  package private(set) var size: UInt64 = 0
  /// The hashes of the partial tile of each level, none if the last tile is full.
  private var partial = [[UInt8]](repeating: [], count: TilePosition.maximumLevel + 1)
  /// The roots of the maximal complete subtrees, from left to right, 32 bytes each.
  private var stack: [UInt8] = []

  /// The empty tree.
  package init() {}

  /// Continues a tree from the tiles of its right edge.
  /// - Parameters:
  ///   - size: At most `Checkpoint.maximumSize`; the caller checked it.
  ///   - tile: See `Tile.node`; asked for partial tiles, and for full ones at no level above the first.
  package init<Failure: Error>(
    size: UInt64, tile: (TilePosition) throws(Failure) -> Tile
  ) throws(Failure) {
    precondition(size <= Checkpoint.maximumSize, "the tree is larger than any log")
    self.size = size
    for level in 0...TilePosition.maximumLevel {
      let (full, width) = TilePosition.count(size: size, level: level)
      guard width > 0, let place = TilePosition.inTree(size: size, level: level, index: full) else {
        continue
      }
      let found = try tile(place)
      precondition(
        found.position.level == level && found.position.index == full && found.position.width >= width,
        "the reader returned another tile than asked for")
      partial[level] = Array(found.bytes[..<(width * 32)])
    }
    for node in MerkleTree.edge(size: size) {
      let (place, range) = Tile.place(of: node, size: size)
      stack += TileHasher.root(of: partial[place.level], in: range).bytes
    }
  }

  /// Appends a leaf's hash. `full` is told every tile that this completes, the lowest level first.
  package mutating func append(leafHash: Digest, full: (Tile) -> Void = { _ in }) {
    push(leafHash.bytes[...], level: 0, full)
    size += 1
  }

  /// Appends many leaf hashes, 32 bytes each side by side; the same as one after the other, but faster.
  package mutating func append(leafHashes: [UInt8], full: (Tile) -> Void = { _ in }) {
    precondition(leafHashes.count.isMultiple(of: 32), "leaf hashes have 32 bytes")
    let count = leafHashes.count / 32
    precondition(UInt64(count) <= Checkpoint.maximumSize - size, "the tree is larger than any log")
    var start = 0
    while start < count {
      if size & 255 == 0, count - start >= TilePosition.fullWidth {
        let bytes = Array(leafHashes[(start * 32)..<((start + 256) * 32)])
        close(level: 0, bytes, full)
        push(TileHasher.root(of: bytes).bytes[...], level: 1, full)
        size += 256
        start += 256
      } else {
        push(leafHashes[(start * 32)..<(start * 32 + 32)], level: 0, full)
        size += 1
        start += 1
      }
    }
  }

  /// The root of the whole tree.
  package var root: Digest {
    guard !stack.isEmpty else { return MerkleTree.emptyRoot }
    var nodes = stack
    for left in stride(from: nodes.count / 32 - 2, through: 0, by: -1) {
      Hash.sha256Nodes(&nodes, from: left * 32, count: 1, to: left * 32)
    }
    return Digest(unchecked: Array(nodes[..<32]))
  }

  /// The partial tiles, the lowest level first; with `since` only those that the tree had not or had
  /// narrower when it had that many leaves.
  package func partialTiles(since: UInt64 = 0) -> [Tile] {
    (0...TilePosition.maximumLevel).compactMap { level in
      let shift = UInt64(TilePosition.height * level)
      guard !partial[level].isEmpty, size >> shift != since >> shift,
        let place = TilePosition.inTree(size: size, level: level, index: (size >> shift) >> 8)
      else { return nil }
      return Tile(unchecked: place, partial[level])
    }
  }

  /// The right edge for a `CompactRange` of the same size.
  package var edge: [Digest] {
    stride(from: 0, to: stack.count, by: 32).map { Digest(unchecked: Array(stack[$0..<($0 + 32)])) }
  }

  /// Adds a node of level 8·`level` of the tree and all that it completes. `size` is still the one before.
  private mutating func push(_ node: ArraySlice<UInt8>, level: Int, _ full: (Tile) -> Void) {
    precondition(size < Checkpoint.maximumSize, "the tree is larger than any log")
    stack += node
    var level = level
    var position = size >> UInt64(TilePosition.height * level)
    var rise = 0
    keep(stack[(stack.count - 32)...], level, full)
    while position & 1 == 1 {
      let left = stack.count - 64
      Hash.sha256Nodes(&stack, from: left, count: 1, to: left)
      stack.removeLast(32)
      position >>= 1
      rise += 1
      if rise == TilePosition.height {
        rise = 0
        level += 1
        keep(stack[left..<(left + 32)], level, full)
      }
    }
  }

  /// Adds a hash to the last tile of a level and hands the tile out when it is full.
  private mutating func keep(_ node: ArraySlice<UInt8>, _ level: Int, _ full: (Tile) -> Void) {
    partial[level] += node
    guard partial[level].count == TilePosition.fullWidth * 32 else { return }
    let bytes = partial[level]
    partial[level] = []
    close(level: level, bytes, full)
  }

  private func close(level: Int, _ bytes: [UInt8], _ full: (Tile) -> Void) {
    let index = size >> UInt64(TilePosition.height * (level + 1))
    guard let place = try? TilePosition(level: level, index: index) else {
      preconditionFailure("a full tile stands in the tree")
    }
    full(Tile(unchecked: place, bytes))
  }
}
