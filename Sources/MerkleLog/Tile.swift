package import Cryptography

/// A tile and its hashes (C2SP tlog-tiles), as it is stored and served: the hashes side by side.
package struct Tile: Hashable, Sendable {
  /// The tile's place; its width is the number of hashes.
  package let position: TilePosition
  /// The hashes, 32 bytes each.
  package let bytes: [UInt8]

  /// Takes the stored bytes of a tile. Another number of bytes than the place asks for is refused.
  package init(position: TilePosition, bytes: [UInt8]) throws(MerkleLogError) {
    guard bytes.count == position.byteCount else {
      throw .malformedTile("\(position.path) has \(bytes.count) bytes instead of \(position.byteCount)")
    }
    self.init(unchecked: position, bytes)
  }

  /// Takes single hashes.
  package init(position: TilePosition, hashes: [Digest]) throws(MerkleLogError) {
    try self.init(position: position, bytes: hashes.flatMap(\.bytes))
  }

  init(unchecked position: TilePosition, _ bytes: [UInt8]) {
    self.position = position
    self.bytes = bytes
  }

  /// One hash, by its place in the tile.
  package subscript(_ place: Int) -> Digest {
    Digest(unchecked: Array(bytes[(32 * place)..<(32 * place + 32)]))
  }

  /// The root over all of the tile's hashes; of a full tile the hash that stands in the tile above.
  package var root: Digest { TileHasher.root(of: bytes) }

  /// A complete node of the tree of `size` leaves, hashed from the tile that it stands in.
  ///
  /// - Parameters:
  ///   - position: Has to be complete in that tree (`(index + 1) << level <= size`); the caller checked it.
  ///   - tile: Reads a tile of that tree. It may return a wider one of the same level and index, since a store
  ///     drops a partial tile when the tree has grown.
  package static func node<Failure: Error>(
    at position: NodePosition, size: UInt64, tile: (TilePosition) throws(Failure) -> Tile
  ) throws(Failure) -> Digest {
    let (wanted, range) = place(of: position, size: size)
    return node(in: try tile(wanted), wanted, range)
  }

  fileprivate static func node(in found: Tile, _ wanted: TilePosition, _ range: Range<Int>) -> Digest {
    let place = found.position
    precondition(
      place.level == wanted.level && place.index == wanted.index && place.width >= wanted.width,
      "the reader returned another tile than asked for")
    return TileHasher.root(of: found.bytes, in: range)
  }

  /// The tile of a tree that holds a node or the hashes below it, and where these are in the tile.
  package static func place(
    of node: NodePosition, size: UInt64
  ) -> (tile: TilePosition, hashes: Range<Int>) {
    let level = min(node.level / TilePosition.height, TilePosition.maximumLevel)
    let rise = UInt64(node.level - level * TilePosition.height)
    let first = node.index << rise
    precondition(
      node.level >= 0 && node.level <= 48 && node.index < Checkpoint.maximumSize
        && (node.index + 1) << UInt64(node.level) <= size, "the node is not complete in this tree")
    guard let tile = TilePosition.inTree(size: size, level: level, index: first >> 8) else {
      preconditionFailure("a complete node stands in a tile of its tree")
    }
    let start = Int(first & 255)
    return (tile, start..<(start + 1 << Int(rise)))
  }
}

/// Reads each tile once for all the nodes of one proof.
private struct TileCache {
  private var tiles: [Tile] = []

  mutating func node<Failure: Error>(
    at position: NodePosition, size: UInt64, _ read: (TilePosition) throws(Failure) -> Tile
  ) throws(Failure) -> Digest {
    let (wanted, range) = Tile.place(of: position, size: size)
    if let tile = tiles.last(where: {
      $0.position.index == wanted.index && $0.position.level == wanted.level
    }) {
      return Tile.node(in: tile, wanted, range)
    }
    let tile = try read(wanted)
    tiles.append(tile)
    return Tile.node(in: tile, wanted, range)
  }
}

extension InclusionProof {
  /// Makes the proof from the tiles of a tree of `size` leaves (see `Tile.node` about the reader): at most
  /// two tiles a level. `index` must be below `size`; the caller checked it.
  package init<Failure: Error>(
    index: UInt64, size: UInt64, tile: (TilePosition) throws(Failure) -> Tile
  ) throws(Failure) {
    var cache = TileCache()
    try self.init(index: index, size: size) { position throws(Failure) in
      try cache.node(at: position, size: size, tile)
    }
  }
}

extension ConsistencyProof {
  /// Makes the proof from the tiles of a tree of `newSize` leaves (see `Tile.node` about the reader).
  /// `oldSize` must not exceed `newSize`; the caller checked it.
  package init<Failure: Error>(
    oldSize: UInt64, newSize: UInt64, tile: (TilePosition) throws(Failure) -> Tile
  ) throws(Failure) {
    var cache = TileCache()
    try self.init(oldSize: oldSize, newSize: newSize) { position throws(Failure) in
      try cache.node(at: position, size: newSize, tile)
    }
  }
}

/// The root of the tree of the first `size` leaves, from its tiles (see `Tile.node` about the reader).
package func merkleRoot<Failure: Error>(
  size: UInt64, tile: (TilePosition) throws(Failure) -> Tile
) throws(Failure) -> Digest {
  var cache = TileCache()
  return try merkleRoot(size: size) { position throws(Failure) in
    try cache.node(at: position, size: size, tile)
  }
}
