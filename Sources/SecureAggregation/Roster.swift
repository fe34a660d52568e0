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
    root(ids: members.map(\.id), top: RosterTree.tree(members).top, sid: sid)
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

/// The Merkle tree over the advertisements of a roster.
enum RosterTree {
  static func tree(_ members: [Advertisement]) -> DigestTree {
    DigestTree(leaves: members.map(leaf), nodeDomain: Domain.node)
  }

  /// The top that an opening of a roster of `count` members leads to, or nil if it has another form than
  /// `DigestTree.hashes(proving:)` gives it. Indices are ascending and in range.
  static func top(of opening: RosterOpening, count: Int) -> Digest? {
    guard opening.indices.count == opening.members.count else { return nil }
    return DigestTree.top(
      opened: opening.indices, leaves: opening.members.map(leaf), hashes: opening.hashes, count: count,
      nodeDomain: Domain.node)
  }

  private static func leaf(_ member: Advertisement) -> Digest {
    Hash.blake2b(
      domain: Domain.leaf,
      [
        member.id.bytes, member.shareKey.bytes, member.maskKey.bytes, member.seedCommitment.bytes,
        member.signature.bytes,
      ])
  }
}
