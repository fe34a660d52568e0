import Cryptography
import Foundation
import MerkleLog
import Testing

private struct MerkleVectors: Decodable {
  let leaves_hex: [String]
  let roots_by_size: [String]
  let record_hash_hello_world_base64: String
}

/// A tree with all its complete nodes.
private struct Tree {
  var range = CompactRange()
  var nodes: [NodePosition: Digest] = [:]
  var leaves: [Digest] = []
  var roots = [MerkleTree.emptyRoot]

  init(_ count: Int) {
    for index in 0..<count {
      let leaf = MerkleTree.leafHash([UInt8(index & 255), UInt8(index >> 8)])
      var nodes = nodes
      range.append(leafHash: leaf) { nodes[$0] = $1 }
      self.nodes = nodes
      leaves.append(leaf)
      roots.append(range.root)
    }
  }

  func node(_ position: NodePosition) throws(MissingNode) -> Digest {
    guard let node = nodes[position] else { throw MissingNode() }
    return node
  }
  struct MissingNode: Error {}
}

/// RFC 6962 section 2.1, word for word: what the incremental tree is compared with.
private func definition(_ leaves: ArraySlice<Digest>) -> Digest {
  guard leaves.count > 1 else { return leaves.first ?? MerkleTree.emptyRoot }
  var split = 1
  while split * 2 < leaves.count { split *= 2 }
  let middle = leaves.startIndex + split
  return MerkleTree.nodeHash(definition(leaves[..<middle]), definition(leaves[middle...]))
}

private func flips(_ digest: Digest) -> Digest {
  var bytes = digest.bytes
  bytes[13] ^= 4
  return Digest(unchecked: bytes)
}

@Test(.enabled(if: Vectors.exists("merkle.json"), "merkle.json is not here"))
func `gives the roots of the RFC 6962 vectors`() throws {
  let vectors = try Vectors.load("merkle.json", as: MerkleVectors.self)
  var range = CompactRange()
  #expect(range.root.hex == vectors.roots_by_size[0])
  for (leaf, root) in zip(vectors.leaves_hex, vectors.roots_by_size.dropFirst()) {
    range.append(leafHash: MerkleTree.leafHash(try #require(Hex.decode(leaf))))
    #expect(range.root.hex == root)
  }
  let hello = MerkleTree.leafHash(Array("hello world".utf8))
  #expect(Data(hello.bytes).base64EncodedString() == vectors.record_hash_hello_world_base64)
}

@Test func `every root of sizes 0 to 130 is the one of the definition`() throws {
  let tree = Tree(130)
  for size in 0...130 {
    #expect(tree.roots[size] == definition(tree.leaves[..<size]))
    let root = try merkleRoot(size: UInt64(size)) { position throws(Tree.MissingNode) in
      try tree.node(position)
    }
    #expect(root == tree.roots[size])
  }
  #expect(UInt64(tree.nodes.count) == MerkleTree.completeNodeCount(size: 130))
}

@Test func `a stored right edge continues the tree`() throws {
  let tree = Tree(64)
  for size in 0..<64 {
    let edge = try MerkleTree.edge(size: UInt64(size)).map { try tree.node($0) }
    var range = try CompactRange(size: UInt64(size), edge: edge)
    #expect(range.root == tree.roots[size])
    for leaf in tree.leaves[size...] { range.append(leafHash: leaf) }
    #expect(range == tree.range)
  }
  #expect(throws: MerkleLogError.malformedEdge(size: 6)) { try CompactRange(size: 6, edge: []) }
}

@Test func `all inclusion proofs of sizes 1 to 64 verify and no changed one does`() throws {
  let tree = Tree(64)
  for size in 1...64 {
    for index in 0..<size {
      let proof = try InclusionProof(index: UInt64(index), size: UInt64(size)) {
        position throws(Tree.MissingNode) in try tree.node(position)
      }
      let root = tree.roots[size]
      let leaf = tree.leaves[index]
      try proof.verify(leafHash: leaf, root: root)
      func refuses(_ proof: InclusionProof, _ leaf: Digest, _ root: Digest) {
        #expect(throws: MerkleLogError.wrongProof("inclusion")) {
          try proof.verify(leafHash: leaf, root: root)
        }
      }
      refuses(proof, flips(leaf), root)
      refuses(proof, leaf, flips(root))
      for place in proof.path.indices {
        var path = proof.path
        path[place] = flips(path[place])
        refuses(InclusionProof(index: proof.index, size: proof.size, path: path), leaf, root)
      }
      refuses(InclusionProof(index: proof.index, size: proof.size, path: proof.path + [root]), leaf, root)
      refuses(InclusionProof(index: proof.index + 1, size: proof.size, path: proof.path), leaf, root)
      if !proof.path.isEmpty {
        refuses(
          InclusionProof(index: proof.index, size: proof.size, path: Array(proof.path.dropLast())), leaf, root
        )
      }
    }
  }
}

@Test func `all consistency proofs of sizes 0 to 64 verify and no changed one does`() throws {
  let tree = Tree(64)
  for new in 0...64 {
    for old in 0...new {
      let proof = try ConsistencyProof(oldSize: UInt64(old), newSize: UInt64(new)) {
        position throws(Tree.MissingNode) in try tree.node(position)
      }
      let (oldRoot, newRoot) = (tree.roots[old], tree.roots[new])
      try proof.verify(oldRoot: oldRoot, newRoot: newRoot)
      func refuses(_ proof: ConsistencyProof, _ oldRoot: Digest, _ newRoot: Digest) {
        #expect(throws: MerkleLogError.wrongProof("consistency")) {
          try proof.verify(oldRoot: oldRoot, newRoot: newRoot)
        }
      }
      refuses(proof, flips(oldRoot), newRoot)
      if old > 0 { refuses(proof, oldRoot, flips(newRoot)) }
      for place in proof.path.indices {
        var path = proof.path
        path[place] = flips(path[place])
        refuses(
          ConsistencyProof(oldSize: proof.oldSize, newSize: proof.newSize, path: path), oldRoot, newRoot)
      }
      refuses(
        ConsistencyProof(oldSize: proof.oldSize, newSize: proof.newSize, path: proof.path + [newRoot]),
        oldRoot,
        newRoot)
      if !proof.path.isEmpty {
        refuses(
          ConsistencyProof(
            oldSize: proof.oldSize, newSize: proof.newSize, path: Array(proof.path.dropLast())), oldRoot,
          newRoot)
      }
    }
  }
}

@Test func `a proof for a leaf outside the tree is refused`() {
  let proof = InclusionProof(index: 5, size: 5, path: [])
  #expect(throws: MerkleLogError.wrongProof("inclusion")) {
    try proof.verify(leafHash: MerkleTree.emptyRoot, root: MerkleTree.emptyRoot)
  }
}

@Test func `a path that ends below the root is refused even if that node is taken for the root`() throws {
  let tree = Tree(64)
  for size in 2...64 {
    for index in 0..<size {
      let proof = try InclusionProof(index: UInt64(index), size: UInt64(size)) {
        position throws(Tree.MissingNode) in try tree.node(position)
      }
      var fold = ProofFold(node: tree.leaves[index], position: proof.index, last: proof.size - 1)
      var node = tree.leaves[index]
      for (length, sibling) in proof.path.enumerated() {
        let short = InclusionProof(index: proof.index, size: proof.size, path: Array(proof.path[..<length]))
        #expect(fold.root == nil && !short.holds(leafHash: tree.leaves[index], root: node))
        let side = fold.append(sibling)
        node = side == .left ? MerkleTree.nodeHash(sibling, node) : MerkleTree.nodeHash(node, sibling)
      }
      #expect(fold.root == node && node == tree.roots[size])
    }
  }
  let short = ConsistencyProof(oldSize: 4, newSize: 8, path: [])
  #expect(!short.holds(oldRoot: tree.roots[4], newRoot: tree.roots[4]))
}
