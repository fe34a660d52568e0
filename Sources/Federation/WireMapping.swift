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

private func bounded(_ count: Int, _ peer: String, _ message: String, _ field: String) throws(FederationError)
{
  guard count <= MessageLimits.cohort else {
    throw badField(peer, message, field, "has \(count) items; at most \(MessageLimits.cohort) are allowed")
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
    try bounded(wire.members.count, peer, "Roster", "members")
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
    self.init(evidence: evidence, shares: shares)
  }
}

extension SurvivorNotice: WireRepresentable {
  package var wire: WireSurvivorNotice {
    var wire = WireSurvivorNotice()
    wire.shared = shared.map(UInt32.init)
    wire.uploaded = uploaded.map(UInt32.init)
    return wire
  }
  package init(wire: WireSurvivorNotice, peer: String) throws(FederationError) {
    try bounded(wire.shared.count, peer, "SurvivorNotice", "shared")
    try bounded(wire.uploaded.count, peer, "SurvivorNotice", "uploaded")
    self.init(shared: wire.shared.map(Int.init), uploaded: wire.uploaded.map(Int.init))
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
    return wire
  }
  package init(wire: WireQuorum, peer: String) throws(FederationError) {
    try bounded(wire.signatures.count, peer, "Quorum", "signatures")
    var signatures: [ConsistencySignature] = []
    for item in wire.signatures { signatures.append(try ConsistencySignature(wire: item, peer: peer)) }
    self.init(signatures: signatures)
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
