package import Cryptography

/// Hashing on flat buffers: nodes of 32 bytes side by side, so that no node costs an allocation.
package enum TileHasher {
  /// The root of the tree over `nodes` (a multiple of 32 bytes) as its leaf hashes, as RFC 6962 defines it:
  /// of the 256 hashes of a full tile the node that the tile above holds; of none the empty root.
  package static func root(of nodes: [UInt8]) -> Digest { root(of: nodes, in: 0..<nodes.count / 32) }

  /// The same for some of the hashes of a buffer, by position.
  package static func root(of nodes: [UInt8], in range: Range<Int>) -> Digest {
    precondition(nodes.count.isMultiple(of: 32) && range.upperBound * 32 <= nodes.count, "no such nodes")
    guard !range.isEmpty else { return MerkleTree.emptyRoot }
    var buffer = Array(nodes[(range.lowerBound * 32)..<(range.upperBound * 32)])
    reduce(&buffer)
    return Digest(unchecked: Array(buffer[..<32]))
  }

  /// Hashes all nodes of the buffer together; the root is in its first 32 bytes then, the rest is undefined.
  static func reduce(_ buffer: inout [UInt8]) {
    var count = buffer.count / 32
    while count > 1 {
      Hash.sha256Nodes(&buffer, from: 0, count: count / 2, to: 0)
      // A last node without sibling moves up unchanged: exactly what splitting at the largest power of two
      // below the count gives.
      if count & 1 == 1 { move(&buffer, from: count - 1, to: count / 2) }
      count = (count + 1) / 2
    }
  }

  /// Copies one node of the buffer to another place, by position.
  static func move(_ buffer: inout [UInt8], from source: Int, to target: Int) {
    for byte in 0..<32 { buffer[target * 32 + byte] = buffer[source * 32 + byte] }
  }
}

extension Digest {
  /// Whether it has all its bytes, which a digest from elsewhere may not.
  var isWhole: Bool { bytes.count == Digest.byteCount }
}

/// One node that a proof leads upwards, hashed in place.
struct NodeFold: Hashable, Sendable {
  /// Left child, right child, and the node itself; the children are only in passing here.
  private var buffer = [UInt8](repeating: 0, count: 96)

  init(_ node: Digest) { put(node, at: 64) }

  /// Replaces the node by its parent with `sibling` on the left.
  mutating func append(left sibling: Digest) {
    put(sibling, at: 0)
    TileHasher.move(&buffer, from: 2, to: 1)
    Hash.sha256Nodes(&buffer, from: 0, count: 1, to: 64)
  }

  /// Replaces the node by its parent with `sibling` on the right.
  mutating func append(right sibling: Digest) {
    put(sibling, at: 32)
    TileHasher.move(&buffer, from: 2, to: 0)
    Hash.sha256Nodes(&buffer, from: 0, count: 1, to: 64)
  }

  static func == (a: NodeFold, b: NodeFold) -> Bool { a.buffer[64...] == b.buffer[64...] }
  func hash(into hasher: inout Hasher) { hasher.combine(buffer[64...]) }

  var digest: Digest { Digest(unchecked: Array(buffer[64...])) }

  private mutating func put(_ node: Digest, at start: Int) {
    precondition(node.isWhole, "the caller checked the digest")
    for byte in 0..<32 { buffer[start + byte] = node.bytes[byte] }
  }
}
