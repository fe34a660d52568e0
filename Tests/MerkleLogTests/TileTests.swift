import Cryptography
import Foundation
import MerkleLog
import Testing

private struct TileVectors: Decodable {
  struct Level: Decodable {
    let full: UInt64?
    let partial_width: Int?
  }
  struct Tiles: Decodable {
    let size_70000: [String: Level]
    let index_1234067_path: String
  }
  let tiles: Tiles
}

private func position(_ level: Int, _ index: UInt64, _ width: Int = 256) throws -> TilePosition {
  try TilePosition(level: level, index: index, width: width)
}

struct TilePathTests {
  @Test(.enabled(if: Vectors.exists("merkle.json"), "merkle.json is not here"))
  func `gives the tiles and the path of the vectors`() throws {
    let vectors = try Vectors.load("merkle.json", as: TileVectors.self).tiles
    let path = vectors.index_1234067_path
    #expect(try position(0, 1_234_067).path == "tile/0/\(path)")
    #expect(try TileResource(path: "tile/entries/\(path)") == .entries(position(0, 1_234_067)))
    #expect(vectors.size_70000.count == 3)
    let tiles = TilePosition.tiles(size: 70_000)
    for (name, expected) in vectors.size_70000 {
      let level = try #require(Int(name.dropFirst("level".count)))
      let (full, partialWidth) = TilePosition.count(size: 70_000, level: level)
      #expect(full == expected.full && partialWidth == expected.partial_width)
      let here = tiles.filter { $0.level == level }
      #expect(here.filter { !$0.isPartial }.map(\.index) == Array(0..<full))
      #expect(here.filter(\.isPartial).map(\.width) == (partialWidth > 0 ? [partialWidth] : []))
    }
    #expect(tiles.count == 273 + 1 + 1 + 1 + 1)
  }

  @Test func `a tree of 256 leaves has a full tile and one hash in the tile above`() throws {
    #expect(TilePosition.tiles(size: 256).map(\.path) == ["tile/0/000", "tile/1/000.p/1"])
    #expect(TilePosition.tiles(size: 0).isEmpty)
    #expect(TilePosition.tiles(size: 255).map(\.path) == ["tile/0/000.p/255"])
    let largest = TilePosition.inTree(size: Checkpoint.maximumSize, level: 6, index: 0)
    #expect(largest?.path == "tile/6/000.p/1")
  }

  @Test(
    arguments: [
      (0, 0, 256, "tile/0/000"), (0, 7, 12, "tile/0/007.p/12"), (1, 999, 256, "tile/1/999"),
      (1, 1000, 255, "tile/1/x001/000.p/255"), (0, 1_234_067, 1, "tile/0/x001/x234/067.p/1"),
      (0, (1 << 40) - 1, 256, "tile/0/x001/x099/x511/x627/775"), (5, 0, 256, "tile/5/000"),
      (6, 0, 1, "tile/6/000.p/1"),
    ] as [(Int, UInt64, Int, String)])
  func `a tile has one path and back`(level: Int, index: UInt64, width: Int, path: String) throws {
    let tile = try position(level, index, width)
    #expect(tile.path == path && TileResource.hashes(tile).path == path)
    #expect(try TileResource(path: path) == .hashes(tile))
    let entries = "tile/entries/" + path.split(separator: "/").dropFirst(2).joined(separator: "/")
    #expect(tile.entriesPath == entries)
    if level == 0 { #expect(try TileResource(path: entries) == .entries(tile)) }
  }

  @Test(arguments: [
    "", "/", "tile", "tile/", "tile/0", "tile/0/", "tile//000", "/tile/0/000", "tile/0/000/", "Tile/0/000",
    "tile/00/000", "tile/01/000", "tile/+0/000", "tile/-1/000", "tile/7/000", "tile/64/000", "tile/x/000",
    "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/000", "tile/0/x00/001", "tile/0/001/002",
    "tile/0/x001", "tile/0/x001/x002", "tile/0/X001/002", "tile/0/x001/ 02", "tile/0/x001/+02",
    "tile/0/0a0", "tile/0/٠٠١", "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256",
    "tile/0/000.p/01", "tile/0/000.p/+1", "tile/0/000.p/-1", "tile/0/000.p/1/", "tile/0/000.p/1/2",
    "tile/0/000.q/1", "tile/0/000p/1", "tile/0/000/1", "tile/0/.p/1", "tile/0/x001.p/000", "tile/0/000 ",
    " tile/0/000", "tile/0/000\n", "tile/0/000?x=1", "tile/0/..", "tile/0/../0/000", "tile/0/%30%30%30",
    "tile/0/x001/x099/x511/x627/776", "tile/0/x999/x999/x999/x999/999", "tile/1/x004/x294/x967/296",
    "tile/6/000", "tile/6/000.p/2", "tile/6/001.p/1", "tile/0/x001/x000/x000/x000/x000/000",
    "tile/0/x000/x001/x234/067", "tile/entries", "tile/entries/", "tile/entries/0/000", "tile/entry/000",
    "tile/entries/000.p/256", "tile/entries/000.p/0", "tile/entries/x000/000", "tile/Entries/000",
    "tile/0/" + String(repeating: "x000/", count: 40) + "000",
  ])
  func `refuses what is no path of a tile`(path: String) {
    #expect(throws: MerkleLogError.self) { try TileResource(path: path) }
  }

  @Test func `no changed byte of a path names the same tile`() throws {
    for path in ["tile/0/x001/x234/067.p/77", "tile/entries/x001/067", "tile/3/012"] {
      let resource = try TileResource(path: path)
      let bytes = Array(path.utf8)
      for index in bytes.indices {
        for value in UInt8.min...UInt8.max where value != bytes[index] {
          var changed = bytes
          changed[index] = value
          let text = String(decoding: changed, as: UTF8.self)
          if let other = try? TileResource(path: text) { #expect(other != resource && other.path == text) }
        }
        let shorter = String(decoding: bytes[..<index], as: UTF8.self)
        if let other = try? TileResource(path: shorter) { #expect(other.path == shorter) }
      }
    }
  }

  @Test func `refuses tiles that no tree has`() {
    for (level, index, width): (Int, UInt64, Int) in [
      (-1, 0, 1), (7, 0, 1), (0, 0, 0), (0, 0, 257), (0, 0, -1), (0, 1 << 40, 1), (0, .max, 256), (6, 0, 2),
      (6, 1, 1), (5, 1, 1), (3, 1 << 16, 1),
    ] {
      #expect(throws: MerkleLogError.self) { try TilePosition(level: level, index: index, width: width) }
    }
    #expect(TilePosition.inTree(size: 300, level: 0, index: 2) == nil)
    #expect(TilePosition.inTree(size: 512, level: 0, index: 2) == nil)
    #expect(TilePosition.inTree(size: 300, level: 7, index: 0) == nil)
    #expect(TilePosition.inTree(size: .max, level: 0, index: 0) == nil)
  }

  @Test func `the tiles that grew are those that differ`() {
    for (old, new): (UInt64, UInt64) in [
      (0, 0), (0, 1), (1, 2), (255, 256), (256, 257), (255, 65_536), (65_535, 65_536), (300, 70_000),
      (70_000, 70_000), (65_536, 131_072),
    ] {
      let before = Set(TilePosition.tiles(size: old))
      let expected = TilePosition.tiles(size: new).filter { !before.contains($0) }
      #expect(TilePosition.tiles(size: new, since: old) == expected)
      #expect(expected.last?.leaves.upperBound ?? 0 <= new)
    }
  }
}

struct EntryBundleTests {
  @Test func `bundles come back`() throws {
    for count in [1, 2, 17, 255, 256] {
      let entries = (0..<count).map { [UInt8](repeating: UInt8($0 & 255), count: $0 % 5 * 100) }
      let bytes = try EntryBundle.encode(entries)
      #expect(try EntryBundle.decode(bytes, width: count) == entries)
    }
    let largest = [[UInt8](repeating: 1, count: 65_535)]
    let bytes = try EntryBundle.encode(largest)
    #expect(bytes.count == 65_537 && bytes[0] == 255 && bytes[1] == 255)
    #expect(try EntryBundle.decode(bytes, width: 1) == largest)
    #expect(try EntryBundle.encode([[7], [], [8, 9]]) == [0, 1, 7, 0, 0, 0, 2, 8, 9])
  }

  @Test func `refuses what is no bundle`() throws {
    for (bytes, width): ([UInt8], Int) in [
      ([], 1), ([0], 1), ([0, 1], 1), ([1, 0, 7], 1), ([0, 1, 7], 2), ([0, 1, 7, 0], 2),
      ([0, 1, 7, 0, 1], 2),
      ([0, 1, 7, 0], 1), ([0, 0, 0, 0], 1), ([0, 1, 7], 0), ([], 0), ([0, 1, 7], -1),
      ([UInt8](repeating: 0, count: 514), 257), ([255, 255], 1), ([0, 2, 7], 1),
    ] {
      #expect(throws: MerkleLogError.self) { try EntryBundle.decode(bytes, width: width) }
    }
    #expect(throws: MerkleLogError.self) { try EntryBundle.encode([]) }
    #expect(throws: MerkleLogError.self) { try EntryBundle.encode(Array(repeating: [1], count: 257)) }
    #expect(throws: MerkleLogError.self) { try EntryBundle.encode([[UInt8](repeating: 1, count: 65_536)]) }
    #expect(throws: MerkleLogError.self) {
      try EntryBundle.decode([0, 5, 1, 2, 3, 4, 5], width: 1, maximumEntryBytes: 4)
    }
    let good = try EntryBundle.encode([[1, 2], [3], []])
    for cut in good.indices {
      #expect(throws: MerkleLogError.self) { try EntryBundle.decode(Array(good[..<cut]), width: 3) }
    }
  }
}

struct TileNodeTests {
  private static let tree = SampleTree(600)

  @Test func `a flat buffer hashes like single nodes`() {
    let leaves = Self.tree.leaves
    for count in 0...300 {
      let flat = leaves[..<count].flatMap(\.bytes)
      #expect(TileHasher.root(of: flat) == Self.tree.roots[count])
    }
    let flat = leaves[..<9].flatMap(\.bytes)
    #expect(TileHasher.root(of: flat, in: 4..<8).bytes == Self.tree.levels[2][1].bytes)
    #expect(TileHasher.root(of: flat, in: 8..<9) == leaves[8])
    var buffer = [9] + flat + [UInt8](repeating: 5, count: 100)
    Hash.sha256Nodes(&buffer, from: 1, count: 3, to: 291)
    #expect(Array(buffer[1..<289]) == flat && buffer[289] == 5 && buffer[387] == 5)
    #expect(Array(buffer[291..<387]) == Self.tree.levels[1][..<3].flatMap(\.bytes))
    Hash.sha256Nodes(&buffer, from: 1, count: 4, to: 0)
    #expect(Array(buffer[..<128]) == Self.tree.levels[1][..<4].flatMap(\.bytes))
  }

  @Test(arguments: 0..<4)
  func `proofs from tiles are those from nodes`(group: Int) throws {
    let tree = Self.tree
    func node(_ place: NodePosition) throws(SampleTree.Missing) -> Digest { try tree.node(place) }
    for size in stride(from: UInt64(group), through: 600, by: 4) {
      let tiles = try Dictionary(
        uniqueKeysWithValues: TilePosition.tiles(size: size).map { ($0, try tree.tile($0)) })
      func tile(_ place: TilePosition) throws(SampleTree.Missing) -> Tile {
        guard let tile = tiles[place] else { throw SampleTree.Missing() }
        return tile
      }
      #expect(try merkleRoot(size: size, tile: tile) == tree.roots[Int(size)])
      // Every node of the tree; of the proofs, which are made of nodes, some that reach into every tile.
      var same = true
      for index in stride(from: size % 37, to: size, by: 37) {
        same =
          try same
          && InclusionProof(index: index, size: size, tile: tile)
            == InclusionProof(index: index, size: size, node: node)
          && ConsistencyProof(oldSize: index, newSize: size, tile: tile)
            == ConsistencyProof(oldSize: index, newSize: size, node: node)
      }
      #expect(same, "tree of \(size) leaves")
      for level in 0..<10 {
        for index in 0..<(size >> UInt64(level)) {
          let place = NodePosition(level: level, index: index)
          same = try same && Tile.node(at: place, size: size, tile: tile) == tree.node(place)
        }
      }
      #expect(same, "tree of \(size) leaves")
    }
  }

  @Test func `a wider tile does as well as the partial one`() throws {
    let tree = Self.tree
    func tile(_ place: TilePosition) throws(SampleTree.Missing) -> Tile {
      guard let wider = TilePosition.inTree(size: 600, level: place.level, index: place.index) else {
        throw SampleTree.Missing()
      }
      return try tree.tile(wider)
    }
    for size in [UInt64(1), 77, 255, 256, 257, 511, 513, 599] {
      #expect(try merkleRoot(size: size, tile: tile) == tree.roots[Int(size)])
      let proof = try InclusionProof(index: size / 2, size: size, tile: tile)
      try proof.verify(leafHash: tree.leaves[Int(size / 2)], root: tree.roots[Int(size)])
    }
  }

  @Test func `a reader's error comes through and each tile is read once`() throws {
    let tree = Self.tree
    #expect(throws: SampleTree.Missing.self) {
      try InclusionProof(
        index: 5, size: 600, tile: { _ throws(SampleTree.Missing) in throw SampleTree.Missing() })
    }
    var reads: [TilePosition: Int] = [:]
    _ = try InclusionProof(
      index: 300, size: 600,
      tile: { place throws(SampleTree.Missing) in
        reads[place, default: 0] += 1
        return try tree.tile(place)
      })
    #expect(reads.values.allSatisfy { $0 == 1 } && reads.count == 3)
  }

  @Test func `refuses a tile with too few or too many bytes`() throws {
    let place = try position(0, 0, 3)
    for count in [0, 1, 64, 95, 97, 128] {
      #expect(throws: MerkleLogError.self) {
        try Tile(position: place, bytes: [UInt8](repeating: 0, count: count))
      }
    }
    let tile = try Tile(position: place, hashes: Array(Self.tree.leaves[..<3]))
    #expect(tile[2] == Self.tree.leaves[2] && tile.root == Self.tree.roots[3])
  }
}
