import Cryptography
import MerkleLog

/// A tree with all its complete nodes, its tiles cut from them by their definition, and all its roots.
struct SampleTree: Sendable {
  struct Missing: Error {}

  private(set) var levels: [[Digest]] = [[]]
  private(set) var roots = [MerkleTree.emptyRoot]
  var leaves: [Digest] { levels[0] }
  var size: UInt64 { UInt64(leaves.count) }

  init(_ count: Int) {
    var range = CompactRange()
    for index in 0..<count {
      var levels = levels
      self.levels = []
      range.append(leafHash: MerkleTree.leafHash([UInt8(index & 255), UInt8(index >> 8 & 255)])) {
        place, node in
        if place.level == levels.count { levels.append([]) }
        levels[place.level].append(node)
      }
      self.levels = levels
      roots.append(range.root)
    }
  }

  func node(_ place: NodePosition) throws(Missing) -> Digest {
    guard place.level < levels.count, place.index < UInt64(levels[place.level].count) else { throw Missing() }
    return levels[place.level][Int(place.index)]
  }

  /// The tile's hashes as C2SP tlog-tiles defines them: nodes of level 8·L.
  func tile(_ place: TilePosition) throws(Missing) -> Tile {
    var hashes: [Digest] = []
    for offset in 0..<place.width {
      let index = place.index * 256 + UInt64(offset)
      hashes.append(try node(NodePosition(level: 8 * place.level, index: index)))
    }
    do { return try Tile(position: place, hashes: hashes) } catch { throw Missing() }
  }
}

/// Flips one bit of one byte.
func flipped(_ digest: Digest, byte: Int) -> Digest {
  var bytes = digest.bytes
  bytes[byte] ^= 1 << UInt8(byte % 8)
  return Digest(unchecked: bytes)
}
