import Cryptography
import MerkleLog
import Testing

/// Where a store would keep tiles.
private struct TileStore {
  var tiles: [TilePosition: Tile] = [:]

  mutating func put(_ tile: Tile) { tiles[tile.position] = tile }
  func read(_ place: TilePosition) throws(SampleTree.Missing) -> Tile {
    guard let tile = tiles[place] else { throw SampleTree.Missing() }
    return tile
  }
}

struct TileTreeTests {
  private static let sample = SampleTree(700)

  @Test func `one leaf after the other gives every root and every tile`() throws {
    let sample = Self.sample
    var tree = TileTree()
    var store = TileStore()
    #expect(tree.root == sample.roots[0] && tree.partialTiles().isEmpty)
    for (index, leaf) in sample.leaves.enumerated() {
      let before = tree.size
      tree.append(leafHash: leaf) { store.put($0) }
      for tile in tree.partialTiles(since: before) { store.put(tile) }
      #expect(tree.size == UInt64(index + 1) && tree.root == sample.roots[index + 1])
    }
    // Every tile of every size was handed out, and none that no size has.
    let expected = Set((1...UInt64(700)).flatMap { TilePosition.tiles(size: $0) })
    #expect(Set(store.tiles.keys) == expected)
    #expect(try store.tiles.values.allSatisfy { try sample.tile($0.position) == $0 })
  }

  @Test func `what a commit hands out is exactly what changed`() throws {
    let sample = Self.sample
    for (before, after): (Int, Int) in [
      (0, 1), (10, 20), (200, 300), (256, 512), (255, 513), (512, 700), (9, 9),
    ] {
      var tree = TileTree()
      tree.append(leafHashes: sample.leaves[..<before].flatMap(\.bytes))
      var changed: [TilePosition] = []
      tree.append(leafHashes: sample.leaves[before..<after].flatMap(\.bytes)) { changed.append($0.position) }
      changed += tree.partialTiles(since: UInt64(before)).map(\.position)
      #expect(changed.count == Set(changed).count)
      #expect(Set(changed) == Set(TilePosition.tiles(size: UInt64(after), since: UInt64(before))))
    }
  }

  @Test func `any split into bulks gives the same tree and the same tiles`() throws {
    let sample = Self.sample
    let flat = sample.leaves.flatMap(\.bytes)
    var random = RandomStream(testSeed: 5)
    for _ in 0..<40 {
      var tree = TileTree()
      var full: [Tile] = []
      var start = 0
      while start < 700 {
        let count = min(700 - start, Int(random.uniform(below: 400)))
        tree.append(leafHashes: Array(flat[(start * 32)..<((start + count) * 32)])) { full.append($0) }
        start += count
        #expect(tree.root == sample.roots[start])
      }
      #expect(full.map(\.position.path) == ["tile/0/000", "tile/0/001"])
      #expect(try full.allSatisfy { try sample.tile($0.position) == $0 })
      #expect(tree.partialTiles().map(\.position.path) == ["tile/0/002.p/188", "tile/1/000.p/2"])
    }
  }

  @Test func `a tree continues from its stored right edge`() throws {
    let sample = Self.sample
    for size in 0...700 {
      let place = UInt64(size)
      var tree = try TileTree(size: place, tile: sample.tile)
      #expect(tree.root == sample.roots[size] && tree.size == place)
      #expect(try CompactRange(size: place, edge: tree.edge).root == sample.roots[size])
      #expect(try tree.partialTiles().allSatisfy { try sample.tile($0.position) == $0 })
      guard size.isMultiple(of: 23) else { continue }
      var full = 0
      for leaf in sample.leaves[size...] { tree.append(leafHash: leaf) { _ in full += 1 } }
      #expect(tree.root == sample.roots[700] && full == 2 - size / 256)
    }
    #expect(throws: SampleTree.Missing.self) {
      try TileTree(size: 5, tile: { _ throws(SampleTree.Missing) in throw SampleTree.Missing() })
    }
  }

  /// Two levels of full tiles: 65,536 leaves fill a tile of level 1.
  @Test(arguments: [65_535, 65_536, 65_537, 70_000, 131_072 + 300])
  func `large trees give the tiles, roots and proofs of single nodes`(count: Int) throws {
    var range = CompactRange()
    var nodes: [NodePosition: Digest] = [:]
    var flat: [UInt8] = []
    var leaves: [Digest] = []
    for index in 0..<count {
      let bytes = withUnsafeBytes(of: UInt32(index)) { Array($0) }
      leaves.append(Hash.sha256(bytes))
      range.append(leafHash: leaves[index]) { nodes[$0] = $1 }
      flat += leaves[index].bytes
    }
    var tree = TileTree()
    var store = TileStore()
    tree.append(leafHashes: flat) { store.put($0) }
    for tile in tree.partialTiles() { store.put(tile) }
    let size = UInt64(count)
    #expect(tree.root == range.root && tree.edge == range.edge)
    #expect(Set(store.tiles.keys) == Set(TilePosition.tiles(size: size)))
    let all = nodes
    func node(_ place: NodePosition) throws(SampleTree.Missing) -> Digest {
      guard let node = all[place] else { throw SampleTree.Missing() }
      return node
    }
    #expect(try merkleRoot(size: size, tile: store.read) == range.root)
    for index in [0, 1, 255, 256, 65_534, size / 2, size / 3, size - 1] {
      let proof = try InclusionProof(index: index, size: size, tile: store.read)
      #expect(try proof == InclusionProof(index: index, size: size, node: node))
      try proof.verify(leafHash: leaves[Int(index)], root: range.root)
      #expect(
        try ConsistencyProof(oldSize: index, newSize: size, tile: store.read)
          == ConsistencyProof(oldSize: index, newSize: size, node: node))
    }
    #expect(try TileTree(size: size, tile: store.read).root == range.root)
  }
}
