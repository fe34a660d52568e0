/// The place of a tile: up to 256 neighbouring complete nodes of one level of the tree (C2SP tlog-tiles).
///
/// A tile of level L holds the nodes of level 8·L of the tree, tile `index` those from `256 * index` on. A
/// full tile is never changed again; a partial one is the left part of the full one.
package struct TilePosition: Hashable, Sendable, CustomStringConvertible {
  /// The levels of the tree that one tile stands for.
  package static let height = 8
  /// The hashes of a full tile.
  package static let fullWidth = 256
  /// The highest level that a tree of `Checkpoint.maximumSize` entries has.
  package static let maximumLevel = 6

  /// The level of tiles: 0 holds leaf hashes.
  package let level: Int
  /// The position within the level, from the left.
  package let index: UInt64
  /// The number of hashes, 1 to 256.
  package let width: Int

  /// Names a tile. Levels, widths and places that no tree of up to `Checkpoint.maximumSize` entries has are
  /// refused.
  package init(level: Int, index: UInt64, width: Int = fullWidth) throws(MerkleLogError) {
    guard 0...Self.maximumLevel ~= level else {
      throw .malformedTile("the level \(level) is not between 0 and \(Self.maximumLevel)")
    }
    guard 1...Self.fullWidth ~= width else {
      throw .malformedTile("the width \(width) is not between 1 and \(Self.fullWidth)")
    }
    let nodes = Checkpoint.maximumSize >> UInt64(Self.height * level)
    guard index <= nodes / 256, index * 256 + UInt64(width) <= nodes else {
      throw .malformedTile("the index \(index) is beyond the largest tree")
    }
    self.init(unchecked: level, index, width)
  }

  private init(unchecked level: Int, _ index: UInt64, _ width: Int) {
    self.level = level
    self.index = index
    self.width = width
  }

  /// Whether the tile will still grow.
  package var isPartial: Bool { width < Self.fullWidth }
  /// The bytes of its hashes.
  package var byteCount: Int { width * 32 }

  /// The leaves that stand below the tile.
  package var leaves: Range<UInt64> {
    let shift = UInt64(Self.height * level)
    return (index * 256) << shift..<(index * 256 + UInt64(width)) << shift
  }

  // MARK: Tiles of a tree

  /// How many full tiles a level of a tree of `size` leaves has, and how wide its partial tile is (0: none).
  package static func count(size: UInt64, level: Int) -> (full: UInt64, partialWidth: Int) {
    let nodes = size >> UInt64(height * level)
    return (nodes >> 8, Int(nodes & 255))
  }

  /// The tile that begins with node `256 * index` of its level in a tree of `size` leaves, or nil if the tree
  /// has no complete node there.
  package static func inTree(size: UInt64, level: Int, index: UInt64) -> TilePosition? {
    guard size <= Checkpoint.maximumSize, 0...maximumLevel ~= level else { return nil }
    let (full, partialWidth) = count(size: size, level: level)
    if index < full { return TilePosition(unchecked: level, index, fullWidth) }
    guard index == full, partialWidth > 0 else { return nil }
    return TilePosition(unchecked: level, index, partialWidth)
  }

  /// The tiles, full and partial, that a tree of `size` leaves (at most `Checkpoint.maximumSize`) has and one
  /// of `since` leaves had not or had narrower: level by level, each from left to right. `since` 0 gives all.
  package static func tiles(size: UInt64, since: UInt64 = 0) -> [TilePosition] {
    var tiles: [TilePosition] = []
    for level in 0...maximumLevel where count(size: size, level: level) != count(size: since, level: level) {
      var index = count(size: since, level: level).full
      while let tile = inTree(size: size, level: level, index: index) {
        tiles.append(tile)
        index += 1
      }
    }
    return tiles
  }

  // MARK: Paths

  /// Below the log's prefix: `tile/L/N`, of a partial tile `tile/L/N.p/W`.
  package var path: String { "tile/\(level)/\(suffix)" }
  /// The path of the entries below a tile of level 0: `tile/entries/N`, `tile/entries/N.p/W`.
  package var entriesPath: String { "tile/entries/\(suffix)" }

  private var suffix: String {
    var number = Self.group(index % 1000)
    var rest = index / 1000
    while rest > 0 {
      number = "x\(Self.group(rest % 1000))/\(number)"
      rest /= 1000
    }
    return isPartial ? "\(number).p/\(width)" : number
  }

  private static func group(_ value: UInt64) -> String {
    let digits = String(value)
    return String(repeating: "0", count: 3 - digits.count) + digits
  }

  /// The path of the tile's hashes.
  package var description: String { path }
}

/// What a path below a log's prefix names.
package enum TileResource: Hashable, Sendable, CustomStringConvertible {
  /// A tile of hashes.
  case hashes(TilePosition)
  /// The bundle of the entries whose leaf hashes the tile of level 0 holds.
  case entries(TilePosition)

  /// Longer paths are refused, in bytes.
  package static let maximumPathBytes = 64

  /// Reads a path strictly: every resource has exactly one.
  package init(path: String) throws(MerkleLogError) {
    guard path.utf8.count <= Self.maximumPathBytes else { throw .malformedTile("the path is too long") }
    var parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 3, parts[0] == "tile" else {
      throw .malformedTile("the path is not tile/LEVEL/INDEX or tile/entries/INDEX")
    }
    let isEntries = parts[1] == "entries"
    guard let level = isEntries ? 0 : Self.decimal(parts[1], below: 64) else {
      throw .malformedTile("the level is no decimal number")
    }
    parts.removeFirst(2)
    var width = TilePosition.fullWidth
    if parts.count >= 2, parts[parts.count - 2].hasSuffix(".p") {
      guard let partial = Self.decimal(parts.removeLast(), below: UInt64(width)), partial > 0 else {
        throw .malformedTile("the width is not between 1 and 255")
      }
      width = Int(partial)
      parts[parts.count - 1].removeLast(2)
    }
    let tile = try TilePosition(level: Int(level), index: try Self.index(parts), width: width)
    self = isEntries ? .entries(tile) : .hashes(tile)
    // What is left that is written in two ways, such as leading zero groups, is refused here.
    guard self.path == path else { throw .malformedTile("the path is not in its canonical form") }
  }

  /// The path below the log's prefix.
  package var path: String {
    switch self {
    case .hashes(let tile): tile.path
    case .entries(let tile): tile.entriesPath
    }
  }

  /// The path.
  package var description: String { path }

  private static func index(_ groups: [String]) throws(MerkleLogError) -> UInt64 {
    var index: UInt64 = 0
    guard groups.count <= 5 else { throw .malformedTile("the index is too large") }
    for (place, group) in groups.enumerated() {
      var digits = Array(group.utf8)
      if place < groups.count - 1 {
        guard digits.first == UInt8(ascii: "x") else { throw .malformedTile("a group has no x") }
        digits.removeFirst()
      }
      guard digits.count == 3, digits.allSatisfy({ 48...57 ~= $0 }) else {
        throw .malformedTile("a group of the index has not three digits")
      }
      index = digits.reduce(index) { $0 * 10 + UInt64($1 - 48) }
    }
    return index
  }

  /// A decimal number without sign and leading zeroes.
  private static func decimal(_ text: String, below limit: UInt64) -> UInt64? {
    guard let value = UInt64(text), String(value) == text, value < limit else { return nil }
    return value
  }
}
