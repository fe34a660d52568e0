import Cryptography
import Foundation
package import Messages
package import SecureAggregation

/// A list of fixed-size values, one after the other.
func joined(_ values: [some FixedBytes]) -> Data {
  var data = Data(capacity: values.count * 32)
  for value in values { data.append(contentsOf: value.bytes) }
  return data
}

func split<Value: FixedBytes>(
  _ data: Data, _ peer: String, _ message: String, _ field: String
) throws(FederationError) -> [Value] {
  guard data.count.isMultiple(of: Value.byteCount) else {
    throw badField(peer, message, field, "must have a multiple of \(Value.byteCount) bytes")
  }
  let bytes = Array(data)
  return stride(from: 0, to: bytes.count, by: Value.byteCount).map {
    Value(unchecked: Array(bytes[$0..<$0 + Value.byteCount]))
  }
}

extension RosterCommitment: WireRepresentable {
  package var wire: WireRosterCommitment {
    var wire = WireRosterCommitment()
    wire.ids = joined(ids)
    wire.top = Data(top.bytes)
    return wire
  }
  package init(wire: WireRosterCommitment, peer: String) throws(FederationError) {
    let ids: [ParticipantID] = try split(wire.ids, peer, "RosterCommitment", "ids")
    try bounded(ids.count, peer, "RosterCommitment", "ids")
    self.init(ids: ids, top: try fixed(wire.top, peer, "RosterCommitment", "top"))
  }
}

extension NeighbourRequest: WireRepresentable {
  package var wire: WireNeighbourRequest {
    var wire = WireNeighbourRequest()
    wire.id = Data(id.bytes)
    wire.root = Data(root.bytes)
    wire.neighbours = neighbours.map(UInt32.init)
    return wire
  }
  package init(wire: WireNeighbourRequest, peer: String) throws(FederationError) {
    try bounded(wire.neighbours.count, peer, "NeighbourRequest", "neighbours")
    self.init(
      id: try fixed(wire.id, peer, "NeighbourRequest", "id"),
      root: try fixed(wire.root, peer, "NeighbourRequest", "root"),
      neighbours: wire.neighbours.map(Int.init))
  }
}

extension RosterOpening: WireRepresentable {
  package var wire: WireRosterOpening {
    var wire = WireRosterOpening()
    wire.indices = indices.map(UInt32.init)
    wire.members = members.map(\.wire)
    wire.hashes = joined(hashes)
    return wire
  }
  package init(wire: WireRosterOpening, peer: String) throws(FederationError) {
    try bounded(wire.indices.count, peer, "RosterOpening", "indices")
    try bounded(wire.members.count, peer, "RosterOpening", "members")
    var members: [Advertisement] = []
    for member in wire.members { members.append(try Advertisement(wire: member, peer: peer)) }
    self.init(
      indices: wire.indices.map(Int.init), members: members,
      hashes: try split(wire.hashes, peer, "RosterOpening", "hashes"))
  }
}

extension QuorumClaim: WireRepresentable {
  package var wire: WireQuorumClaim {
    var wire = WireQuorumClaim()
    wire.signers = IndexSet.encode(signers)
    wire.top = Data(top.bytes)
    return wire
  }
  package init(wire: WireQuorumClaim, peer: String) throws(FederationError) {
    self.init(
      signers: try IndexSet.decode(wire.signers, peer, "QuorumClaim", "signers"),
      top: try fixed(wire.top, peer, "QuorumClaim", "top"))
  }
}

/// Step 5 on the sparse graph: the signers whose signatures a participant wants to see.
package struct QuorumChallenge: WireRepresentable, Sendable, Hashable {
  /// Roster indices, ascending.
  package var signers: [Int]

  package init(signers: [Int]) { self.signers = signers }

  package var wire: WireQuorumChallenge {
    var wire = WireQuorumChallenge()
    wire.signers = IndexSet.encode(signers)
    return wire
  }
  package init(wire: WireQuorumChallenge, peer: String) throws(FederationError) {
    self.init(signers: try IndexSet.decode(wire.signers, peer, "QuorumChallenge", "signers"))
  }
}
