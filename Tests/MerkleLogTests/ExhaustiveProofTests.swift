import Cryptography
import MerkleLog
import Testing

/// Every tree of 1 to 300 leaves, every inclusion and consistency proof, every byte of every hash flipped.
///
/// A path with one changed hash leads through the same nodes up to that hash, and `ProofFold` is a value: the
/// outcome depends on nothing but its state and the rest of the path. So each byte of each path hash is
/// flipped once for each state and rest that occur in a tree; proofs that share both share the outcome.
/// `holds`, which does nothing but these steps and is all that `verify` does, is run for every proof with a
/// flip in every hash, and in the small trees with every byte of every hash flipped.
struct ExhaustiveProofTests {
  private static let largest = 300
  private static let tree = SampleTree(largest)
  /// Trees up to this one have every byte flipped before `holds` itself.
  private static let small = 40
  private static let groups = 12

  @Test(arguments: 0..<groups)
  func `every proof verifies and no changed one does`(group: Int) throws {
    for size in stride(from: group + 1, through: Self.largest, by: Self.groups) {
      var check = TreeCheck(tree: Self.tree, size: size, allBytes: size <= Self.small)
      for index in 0..<size { try check.inclusion(of: index) }
      for old in 0...size { try check.consistency(from: old) }
      #expect(check.flips > 32 * (size - 1) && check.wronglyAccepted == 0, "tree of \(size) leaves")
    }
  }
}

/// All proofs of one tree.
private struct TreeCheck {
  let tree: SampleTree
  let size: Int
  /// Whether `holds` meets a flip in every byte of a path, or in one byte of each hash.
  let allBytes: Bool
  private let root: Digest
  /// A state of a verification and what it still has to read.
  private struct Step: Hashable {
    let fold: ProofFold
    let rest: ArraySlice<Digest>
  }
  private var done: Set<Step> = []
  private(set) var flips = 0
  private(set) var wronglyAccepted = 0

  init(tree: SampleTree, size: Int, allBytes: Bool) {
    self.tree = tree
    self.size = size
    self.allBytes = allBytes
    root = tree.roots[size]
  }

  // MARK: Steps

  /// Flips every byte of every hash that a verification reads, and of the root.
  private mutating func flip(from start: ProofFold, _ path: ArraySlice<Digest>) {
    var fold = start
    for place in path.indices {
      if done.insert(Step(fold: fold, rest: path[place...])).inserted {
        for byte in 0..<32 {
          var changed = fold
          _ = changed.append(flipped(path[place], byte: byte))
          for sibling in path[(place + 1)...] { _ = changed.append(sibling) }
          count(changed.root == root)
        }
      }
      _ = fold.append(path[place])
    }
    let computed = fold.root
    #expect(computed == root)
    for byte in 0..<32 { count(computed == flipped(root, byte: byte)) }
  }

  private mutating func count(_ accepted: Bool) {
    flips += 1
    if accepted { wronglyAccepted += 1 }
  }

  private func changes(of path: [Digest], salt: Int) -> [[Digest]] {
    path.indices.flatMap { place in
      (allBytes ? Array(0..<32) : [(salt + place * 5) % 32]).map { byte in
        var path = path
        path[place] = flipped(path[place], byte: byte)
        return path
      }
    }
  }

  // MARK: Inclusion

  private mutating func refuse(
    _ index: Int, _ size: Int, _ path: [Digest], leaf: Digest, root: Digest
  ) {
    let proof = InclusionProof(index: UInt64(index), size: UInt64(size), path: path)
    count(proof.holds(leafHash: leaf, root: root))
  }

  /// On which sides the siblings stand, by the recursion of RFC 6962, 2.1.1, from the leaf upwards.
  private func sides(_ index: Int, _ size: Int) -> [Bool] {
    guard size > 1 else { return [] }
    var split = 1
    while split * 2 < size { split *= 2 }
    return index < split ? sides(index, split) + [false] : sides(index - split, size - split) + [true]
  }

  mutating func inclusion(of index: Int) throws {
    let proof = try InclusionProof(index: UInt64(index), size: UInt64(size)) {
      place throws(SampleTree.Missing) in try tree.node(place)
    }
    let leaf = tree.leaves[index]
    let path = proof.path
    try proof.verify(leafHash: leaf, root: root)
    flip(from: ProofFold(node: leaf, position: proof.index, last: proof.size - 1), path[...])
    for path in changes(of: path, salt: index) { refuse(index, size, path, leaf: leaf, root: root) }
    // A changed leaf and its sibling are hashed to the same parent as in the sibling's proof with this leaf
    // changed in the path, and `flip` goes through that one: the rest of both paths is the same.
    let sibling = index ^ 1
    let isCovered = sibling < size && path[0] == tree.leaves[sibling]
    for byte in 0..<32 where allBytes || !isCovered || byte == index % 32 {
      refuse(index, size, path, leaf: flipped(leaf, byte: byte), root: root)
    }
    refuse(index, size, path, leaf: leaf, root: flipped(root, byte: index % 32))

    for extra in [root, leaf] { refuse(index, size, path + [extra], leaf: leaf, root: root) }
    if !path.isEmpty {
      refuse(index, size, Array(path.dropLast()), leaf: leaf, root: root)
      refuse(index, size, Array(path.dropFirst()), leaf: leaf, root: root)
      refuse(index, size, [], leaf: leaf, root: root)
      refuse(
        index, size, path.dropLast() + [Digest(unchecked: Array(path[0].bytes.dropLast()))], leaf: leaf,
        root: root)
    }
    for other in [index - 1, index + 1, index ^ 2, index ^ 64, size - 1 - index, size, size + 1]
    where other >= 0 && other != index {
      refuse(other, size, path, leaf: leaf, root: root)
    }
    // A path of the same form leads to the root whatever the size: the size is bound by the checkpoint.
    let form = sides(index, size)
    for other in [size - 1, size + 1, size * 2, size / 2]
    where other != size && (index >= other || sides(index, other) != form) {
      refuse(index, other, path, leaf: leaf, root: root)
    }
  }

  // MARK: Consistency

  private mutating func refuse(
    _ old: Int, _ size: Int, _ path: [Digest], oldRoot: Digest, root: Digest
  ) {
    let proof = ConsistencyProof(oldSize: UInt64(old), newSize: UInt64(size), path: path)
    count(proof.holds(oldRoot: oldRoot, newRoot: root))
  }

  mutating func consistency(from old: Int) throws {
    let proof = try ConsistencyProof(oldSize: UInt64(old), newSize: UInt64(size)) {
      place throws(SampleTree.Missing) in try tree.node(place)
    }
    let oldRoot = tree.roots[old]
    let path = proof.path
    try proof.verify(oldRoot: oldRoot, newRoot: root)
    if old > 0, old < size {
      let nodes = old.nonzeroBitCount == 1 ? [oldRoot] + path : path
      func start(_ node: Digest) -> ProofFold {
        let level = old.trailingZeroBitCount
        return ProofFold(
          node: node, position: UInt64((old - 1) >> level), last: UInt64((size - 1) >> level))
      }
      flip(from: start(nodes[0]), nodes[1...])
      for byte in 0..<32 {
        var changed = start(flipped(nodes[0], byte: byte))
        for node in nodes[1...] { _ = changed.append(node) }
        count(changed.root == root)
      }
    }
    for path in changes(of: path, salt: old) { refuse(old, size, path, oldRoot: oldRoot, root: root) }
    // The root of a tree that is not complete enters into nothing but the last comparison.
    let computed = old.nonzeroBitCount == 1 ? nil : proof.roots(oldRoot: oldRoot)?.old
    for byte in 0..<32 {
      if let computed, byte != old % 32 {
        count(computed == flipped(oldRoot, byte: byte))
      } else {
        refuse(old, size, path, oldRoot: flipped(oldRoot, byte: byte), root: root)
      }
    }
    if old > 0 { refuse(old, size, path, oldRoot: oldRoot, root: flipped(root, byte: old % 32)) }

    for extra in [root, oldRoot] { refuse(old, size, path + [extra], oldRoot: oldRoot, root: root) }
    if !path.isEmpty {
      refuse(old, size, Array(path.dropLast()), oldRoot: oldRoot, root: root)
      refuse(old, size, Array(path.dropFirst()), oldRoot: oldRoot, root: root)
      refuse(old, size, [], oldRoot: oldRoot, root: root)
    }
    for other in [old - 1, old + 1, 0, size, size + 1] where other >= 0 && other != old {
      refuse(other, size, path, oldRoot: oldRoot, root: root)
    }
  }
}
