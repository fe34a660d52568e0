package import Cryptography

/// Step 2, from the server: everybody who advertised, sorted by the bytes of the identity. The position
/// of a member is its roster index; its Shamir x-coordinate is the index plus one.
package struct Roster: Sendable, Hashable {
  /// The advertisements, sorted.
  package var members: [Advertisement]
  /// The root over the members (`Roster.root(of:sid:)`).
  package var root: Digest

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(members: [Advertisement], root: Digest) {
    self.members = members
    self.root = root
  }

  /// The root over sid, the number of members, the list of their identities, and the top of a Merkle tree
  /// (`RosterTree`) over their advertisements.
  package static func root(of members: [Advertisement], sid: Digest) -> Digest {
    root(ids: members.map(\.id), top: RosterTree(members).top, sid: sid)
  }

  static func root(ids: [ParticipantID], top: Digest, sid: Digest) -> Digest {
    var list: [UInt8] = []
    list.reserveCapacity(ids.count * ParticipantID.byteCount)
    for id in ids { list.append(contentsOf: id.bytes) }
    return Hash.blake2b(
      domain: Domain.root, [sid.bytes, Canonical.number(ids.count), list, top.bytes])
  }
}

/// Step 2 on the sparse graph, from the server: who takes part, and a commitment to all their keys. A
/// participant draws its neighbours from it before it sees any key but its own.
package struct RosterCommitment: Sendable, Hashable {
  /// The identities, sorted.
  package var ids: [ParticipantID]
  /// The top of the Merkle tree over the advertisements.
  package var top: Digest

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(ids: [ParticipantID], top: Digest) {
    self.ids = ids
    self.top = top
  }
}

/// Step 2 on the sparse graph: the neighbours that a participant drew, whose advertisements it asks for.
package struct NeighbourRequest: Sendable, Hashable {
  /// The sender.
  package var id: ParticipantID
  /// The root of the roster that it drew from.
  package var root: Digest
  /// Roster indices, ascending, without its own.
  package var neighbours: [Int]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(id: ParticipantID, root: Digest, neighbours: [Int]) {
    self.id = id
    self.root = root
    self.neighbours = neighbours
  }
}

/// Some advertisements of a roster with the proof that they belong to it.
package struct RosterOpening: Sendable, Hashable {
  /// The roster indices, ascending.
  package var indices: [Int]
  /// Their advertisements.
  package var members: [Advertisement]
  /// The hashes that the root needs besides them, level by level from the leaves, left to right.
  package var hashes: [Digest]

  /// Nothing opened.
  package static let empty = RosterOpening(indices: [], members: [], hashes: [])

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(indices: [Int], members: [Advertisement], hashes: [Digest]) {
    self.indices = indices
    self.members = members
    self.hashes = hashes
  }
}

/// A BLAKE2b Merkle tree over the advertisements, in the shape of RFC 6962: nodes are paired level by
/// level, and a last one without partner moves up unchanged.
struct RosterTree: Sendable {
  /// Leaves first, the top last.
  private let levels: [[Digest]]

  init(_ members: [Advertisement]) {
    var levels = [members.map(RosterTree.leaf)]
    while let below = levels.last, below.count > 1 {
      levels.append(
        stride(from: 0, to: below.count, by: 2).map { index in
          index + 1 < below.count ? RosterTree.node(below[index], below[index + 1]) : below[index]
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
      for (index, sibling) in RosterTree.siblings(of: opened, count: level.count) where sibling == nil {
        let other = index ^ 1
        if other < level.count { hashes.append(level[other]) }
      }
      opened = RosterTree.parents(of: opened)
    }
    return hashes
  }

  /// The top that an opening of a roster of `count` members leads to, or nil if the opening has another
  /// form than `hashes(proving:)` gives it. Indices are ascending and in range.
  static func top(of opening: RosterOpening, count: Int) -> Digest? {
    guard !opening.indices.isEmpty, opening.indices.count == opening.members.count else { return nil }
    var hashes = opening.hashes[...]
    var indices = opening.indices
    var values = opening.members.map(leaf)
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
        parents.append(index.isMultiple(of: 2) ? node(value, other) : node(other, value))
      }
      indices = RosterTree.parents(of: indices)
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

  private static func leaf(_ member: Advertisement) -> Digest {
    Hash.blake2b(
      domain: Domain.leaf,
      [
        member.id.bytes, member.shareKey.bytes, member.maskKey.bytes, member.seedCommitment.bytes,
        member.signature.bytes,
      ])
  }

  private static func node(_ left: Digest, _ right: Digest) -> Digest {
    Hash.blake2b(domain: Domain.node, [left.bytes, right.bytes])
  }
}
