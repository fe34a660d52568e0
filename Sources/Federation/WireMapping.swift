package import Cryptography
package import Foundation
package import Messages
package import SecureAggregation
package import SwiftProtobuf

/// Decodes bytes of a peer and names the peer in the error.
package func wireMessage<Message: SwiftProtobuf.Message>(
  _ type: Message.Type, _ bytes: [UInt8], peer: String, limit: Int = MessageLimits.control
) throws(FederationError) -> Message {
  do { return try decodeMessage(type, from: bytes, limit: limit) } catch {
    throw .message(error, peer: peer)
  }
}

/// A field error that names the peer.
func badField(_ peer: String, _ message: String, _ field: String, _ reason: String) -> FederationError {
  .message(.badField(message: message, field: field, reason: reason), peer: peer)
}

/// A fixed-size value out of a `bytes` field.
package func fixed<Value: FixedBytes>(
  _ data: Data, _ peer: String, _ message: String, _ field: String
) throws(FederationError) -> Value {
  guard data.count == Value.byteCount else {
    throw badField(
      peer, message, field, "must have \(Value.byteCount) bytes but has \(data.count)")
  }
  return Value(unchecked: Array(data))
}

/// Messages of the secure aggregation that have a form on the wire.
package protocol WireRepresentable {
  /// The protobuf message.
  associatedtype Wire: SwiftProtobuf.Message
  /// Writes the protobuf message.
  var wire: Wire { get }
  /// Reads the protobuf message, checking sizes.
  init(wire: Wire, peer: String) throws(FederationError)
}

extension WireRepresentable {
  /// The bytes on the wire.
  package var wireBytes: [UInt8] { encodeMessage(wire) }
  /// Reads bytes of a peer.
  package init(wireBytes: [UInt8], peer: String) throws(FederationError) {
    try self.init(wire: wireMessage(Wire.self, wireBytes, peer: peer), peer: peer)
  }
}

func bounded(
  _ count: Int, _ peer: String, _ message: String, _ field: String, limit: Int = MessageLimits.cohort
) throws(FederationError) {
  guard count <= limit else {
    throw badField(peer, message, field, "has \(count) items; at most \(limit) are allowed")
  }
}

extension Advertisement: WireRepresentable {
  package var wire: WireAdvertisement {
    var wire = WireAdvertisement()
    wire.id = Data(id.bytes)
    wire.shareKey = Data(shareKey.bytes)
    wire.maskKey = Data(maskKey.bytes)
    wire.seedCommitment = Data(seedCommitment.bytes)
    wire.signature = Data(signature.bytes)
    return wire
  }
  package init(wire: WireAdvertisement, peer: String) throws(FederationError) {
    self.init(
      id: try fixed(wire.id, peer, "Advertisement", "id"),
      shareKey: try fixed(wire.shareKey, peer, "Advertisement", "share_key"),
      maskKey: try fixed(wire.maskKey, peer, "Advertisement", "mask_key"),
      seedCommitment: try fixed(wire.seedCommitment, peer, "Advertisement", "seed_commitment"),
      signature: try fixed(wire.signature, peer, "Advertisement", "signature"))
  }
}

extension Roster: WireRepresentable {
  package var wire: WireRoster {
    var wire = WireRoster()
    wire.members = members.map(\.wire)
    wire.root = Data(root.bytes)
    return wire
  }
  package init(wire: WireRoster, peer: String) throws(FederationError) {
    try bounded(wire.members.count, peer, "Roster", "members", limit: MessageLimits.completeGraph)
    var members: [Advertisement] = []
    for member in wire.members { members.append(try Advertisement(wire: member, peer: peer)) }
    self.init(members: members, root: try fixed(wire.root, peer, "Roster", "root"))
  }
}

private func sealed(_ index: Int, _ ciphertext: [UInt8]) -> WireSealedShare {
  var wire = WireSealedShare()
  wire.index = UInt32(index)
  wire.ciphertext = Data(ciphertext)
  return wire
}

private func ciphertext(_ wire: WireSealedShare, _ peer: String) throws(FederationError) -> [UInt8] {
  guard wire.ciphertext.count == SealedShare.byteCount else {
    throw badField(peer, "SealedShare", "ciphertext", "must have \(SealedShare.byteCount) bytes")
  }
  return Array(wire.ciphertext)
}

extension ShareUpload: WireRepresentable {
  package var wire: WireShareUpload {
    var wire = WireShareUpload()
    wire.id = Data(id.bytes)
    wire.root = Data(root.bytes)
    wire.shares = shares.map { sealed($0.recipient, $0.ciphertext) }
    wire.signature = Data(signature.bytes)
    return wire
  }
  package init(wire: WireShareUpload, peer: String) throws(FederationError) {
    try bounded(wire.shares.count, peer, "ShareUpload", "shares")
    var shares: [SealedShare] = []
    for share in wire.shares {
      shares.append(SealedShare(recipient: Int(share.index), ciphertext: try ciphertext(share, peer)))
    }
    self.init(
      id: try fixed(wire.id, peer, "ShareUpload", "id"),
      root: try fixed(wire.root, peer, "ShareUpload", "root"), shares: shares,
      signature: try fixed(wire.signature, peer, "ShareUpload", "signature"))
  }
}

/// A set of roster indices as a bit map without trailing zero bytes.
enum IndexSet {
  static func encode(_ indices: [Int]) -> Data {
    guard let last = indices.last, last >= 0 else { return Data() }
    var bytes = [UInt8](repeating: 0, count: last / 8 + 1)
    for index in indices where index >= 0 { bytes[index / 8] |= 1 << UInt8(index % 8) }
    return Data(bytes)
  }

  static func decode(
    _ data: Data, _ peer: String, _ message: String, _ field: String
  ) throws(FederationError) -> [Int] {
    guard data.count <= MessageLimits.cohort / 8 else {
      throw badField(
        peer, message, field, "has \(data.count) bytes; at most \(MessageLimits.cohort / 8) are allowed")
    }
    guard data.last != 0 else { throw badField(peer, message, field, "ends with a zero byte") }
    var indices: [Int] = []
    for (position, byte) in data.enumerated() {
      for bit in 0..<8 where byte >> UInt8(bit) & 1 == 1 { indices.append(position * 8 + bit) }
    }
    return indices
  }
}

extension ShareDelivery: WireRepresentable {
  package var wire: WireShareDelivery {
    var wire = WireShareDelivery()
    wire.evidence = evidence.map { item in
      var wire = WireShareEvidence()
      wire.index = UInt32(item.index)
      wire.bundleDigest = Data(item.bundleDigest.bytes)
      wire.signature = Data(item.signature.bytes)
      return wire
    }
    wire.shares = shares.map { sealed($0.sender, $0.ciphertext) }
    if opening != .empty { wire.opening = opening.wire }
    return wire
  }
  package init(wire: WireShareDelivery, peer: String) throws(FederationError) {
    try bounded(wire.evidence.count, peer, "ShareDelivery", "evidence")
    try bounded(wire.shares.count, peer, "ShareDelivery", "shares")
    var evidence: [ShareEvidence] = []
    for item in wire.evidence {
      evidence.append(
        ShareEvidence(
          index: Int(item.index),
          bundleDigest: try fixed(item.bundleDigest, peer, "ShareEvidence", "bundle_digest"),
          signature: try fixed(item.signature, peer, "ShareEvidence", "signature")))
    }
    var shares: [DeliveredShare] = []
    for share in wire.shares {
      shares.append(DeliveredShare(sender: Int(share.index), ciphertext: try ciphertext(share, peer)))
    }
    let opening = wire.hasOpening ? try RosterOpening(wire: wire.opening, peer: peer) : .empty
    // Nothing opened has one form only: no field.
    guard !wire.hasOpening || opening != .empty else {
      throw badField(peer, "ShareDelivery", "opening", "is there but empty")
    }
    self.init(evidence: evidence, shares: shares, opening: opening)
  }
}

extension SurvivorNotice: WireRepresentable {
  package var wire: WireSurvivorNotice {
    var wire = WireSurvivorNotice()
    wire.shared = IndexSet.encode(shared)
    wire.uploaded = IndexSet.encode(uploaded)
    return wire
  }
  package init(wire: WireSurvivorNotice, peer: String) throws(FederationError) {
    self.init(
      shared: try IndexSet.decode(wire.shared, peer, "SurvivorNotice", "shared"),
      uploaded: try IndexSet.decode(wire.uploaded, peer, "SurvivorNotice", "uploaded"))
  }
}

extension ConsistencySignature: WireRepresentable {
  package var wire: WireConsistencySignature {
    var wire = WireConsistencySignature()
    wire.id = Data(id.bytes)
    wire.signature = Data(signature.bytes)
    return wire
  }
  package init(wire: WireConsistencySignature, peer: String) throws(FederationError) {
    self.init(
      id: try fixed(wire.id, peer, "ConsistencySignature", "id"),
      signature: try fixed(wire.signature, peer, "ConsistencySignature", "signature"))
  }
}

extension Quorum: WireRepresentable {
  package var wire: WireQuorum {
    var wire = WireQuorum()
    wire.signatures = signatures.map(\.wire)
    wire.hashes = joined(hashes)
    return wire
  }
  package init(wire: WireQuorum, peer: String) throws(FederationError) {
    try bounded(wire.signatures.count, peer, "Quorum", "signatures")
    var signatures: [ConsistencySignature] = []
    for item in wire.signatures { signatures.append(try ConsistencySignature(wire: item, peer: peer)) }
    self.init(signatures: signatures, hashes: try split(wire.hashes, peer, "Quorum", "hashes"))
  }
}

extension UnmaskShares: WireRepresentable {
  package var wire: WireUnmaskShares {
    func list(_ shares: [RevealedShare]) -> [WireIndexedShare] {
      shares.map { share in
        var wire = WireIndexedShare()
        wire.index = UInt32(share.index)
        wire.share = Data(share.bytes)
        return wire
      }
    }
    var wire = WireUnmaskShares()
    wire.id = Data(id.bytes)
    wire.seedShares = list(seedShares)
    wire.maskKeyShares = list(maskKeyShares)
    return wire
  }
  package init(wire: WireUnmaskShares, peer: String) throws(FederationError) {
    func list(_ shares: [WireIndexedShare], _ field: String) throws(FederationError) -> [RevealedShare] {
      try bounded(shares.count, peer, "UnmaskShares", field)
      var result: [RevealedShare] = []
      for item in shares {
        guard item.share.count == 32 else {
          throw badField(peer, "UnmaskShares", field, "holds a share that is not 32 bytes long")
        }
        result.append(RevealedShare(index: Int(item.index), bytes: Array(item.share)))
      }
      return result
    }
    self.init(
      id: try fixed(wire.id, peer, "UnmaskShares", "id"),
      seedShares: try list(wire.seedShares, "seed_shares"),
      maskKeyShares: try list(wire.maskKeyShares, "mask_key_shares"))
  }
}
