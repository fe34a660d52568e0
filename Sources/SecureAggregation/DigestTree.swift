import Cryptography

/// A BLAKE2b Merkle tree in the shape of RFC 6962: nodes are paired level by level, and a last one without
/// partner moves up unchanged.
struct DigestTree: Sendable {
  /// Leaves first, the top last.
  private let levels: [[Digest]]

  init(leaves: [Digest], nodeDomain: String) {
    var levels = [leaves]
    while let below = levels.last, below.count > 1 {
      levels.append(
        stride(from: 0, to: below.count, by: 2).map { index in
          index + 1 < below.count
            ? DigestTree.node(below[index], below[index + 1], nodeDomain) : below[index]
        })
    }
    self.levels = levels
  }

  /// The hash over all leaves; all zero for none.
  var top: Digest { levels.last?.first ?? Digest(unchecked: [UInt8](repeating: 0, count: 32)) }

  /// The hashes that prove the leaves at `indices` (ascending, in range).
  func hashes(proving indices: [Int]) -> [Digest] {
    var hashes: [Digest] = []
    var opened = indices
    for level in levels.dropLast() {
      for (index, sibling) in DigestTree.siblings(of: opened, count: level.count) where sibling == nil {
        let other = index ^ 1
        if other < level.count { hashes.append(level[other]) }
      }
      opened = DigestTree.parents(of: opened)
    }
    return hashes
  }

  /// The top that opened leaves of a tree of `count` lead to, or nil if the hashes beside them have another
  /// form than `hashes(proving:)` gives them. Positions are ascending and in range.
  static func top(
    opened: [Int], leaves: [Digest], hashes proof: [Digest], count: Int, nodeDomain: String
  ) -> Digest? {
    guard !opened.isEmpty, opened.count == leaves.count else { return nil }
    var hashes = proof[...]
    var indices = opened
    var values = leaves
    var width = count
    while width > 1 {
      var parents: [Digest] = []
      var position = 0
      for (index, sibling) in siblings(of: indices, count: width) {
        let value = values[position]
        position += sibling == nil ? 1 : 2
        guard index ^ 1 < width else {
          parents.append(value)
          continue
        }
        guard let other = sibling.map({ values[$0] }) ?? hashes.popFirst() else { return nil }
        parents.append(
          index.isMultiple(of: 2) ? node(value, other, nodeDomain) : node(other, value, nodeDomain))
      }
      indices = DigestTree.parents(of: indices)
      values = parents
      width = (width + 1) / 2
    }
    return hashes.isEmpty ? values.first : nil
  }

  /// Every opened node of a level once, with the position of its partner if that is opened too.
  private static func siblings(of opened: [Int], count: Int) -> [(index: Int, sibling: Int?)] {
    var pairs: [(index: Int, sibling: Int?)] = []
    var position = 0
    while position < opened.count {
      let index = opened[position]
      if index.isMultiple(of: 2), position + 1 < opened.count, opened[position + 1] == index + 1 {
        pairs.append((index, position + 1))
        position += 2
      } else {
        pairs.append((index, nil))
        position += 1
      }
    }
    return pairs
  }

  private static func parents(of opened: [Int]) -> [Int] {
    var parents: [Int] = []
    for index in opened where parents.last != index >> 1 { parents.append(index >> 1) }
    return parents
  }

  private static func node(_ left: Digest, _ right: Digest, _ domain: String) -> Digest {
    Hash.blake2b(domain: domain, [left.bytes, right.bytes])
  }
}
