package import Cryptography
import Foundation
import Messages

/// A node's or operator's request: who sent it, when, in which session, and the payload, signed.
package struct SignedRequest: Sendable {
  /// What a request asks for; part of what is signed, so that one cannot be passed off as another.
  package enum Kind: String, Sendable, CaseIterable {
    case invitation, model, advertise, neighbours, shares, input, consistency, quorum, unmask, ledgerAppend,
      cosign
    case task, taskCancel
  }

  /// How far the sender's clock may be off, milliseconds. Sessions have their own identifiers; this only
  /// keeps old requests outside sessions from being played again.
  package static let clockToleranceMilliseconds: UInt64 = 300_000
  private static let domain = "accord/v1/request"

  package let kind: Kind
  package let sender: VerifyingKey
  package let sentAtMilliseconds: UInt64
  /// sid, or nil outside a session.
  package let session: Digest?
  package let payload: [UInt8]

  /// Signs a request and returns its bytes on the wire.
  package static func sign(
    _ kind: Kind, payload: [UInt8], session: Digest?, nowMilliseconds: UInt64, key: SigningKey
  ) -> [UInt8] {
    var wire = WireSignedRequest()
    wire.kind = kind.rawValue
    wire.sender = Data(key.verifyingKey.bytes)
    wire.sentAtMs = nowMilliseconds
    wire.session = Data(session?.bytes ?? [])
    wire.payload = Data(payload)
    wire.signature = Data(key.sign(domain: domain, parts(wire)).bytes)
    return encodeMessage(wire)
  }

  /// The size on the wire of a request with a payload of so many bytes.
  package static func byteCount(_ kind: Kind, payload: Int, isInSession: Bool) -> Int {
    var wire = WireSignedRequest()
    wire.kind = kind.rawValue
    wire.sender = Data(count: VerifyingKey.byteCount)
    // As long as any time of this century.
    wire.sentAtMs = 1 << 41
    wire.session = Data(count: isInSession ? Digest.byteCount : 0)
    wire.signature = Data(count: Signature.byteCount)
    guard payload > 0 else { return encodeMessage(wire).count }
    // A tag, the length in groups of seven bits, the bytes.
    let lengthBytes = (Int.bitWidth - payload.leadingZeroBitCount + 6) / 7
    return encodeMessage(wire).count + 1 + lengthBytes + payload
  }

  /// Checks and reads a request of the expected kind.
  package init(
    _ bytes: [UInt8], expecting kind: Kind, nowMilliseconds: UInt64,
    limit: Int = MessageLimits.control
  ) throws(FederationError) {
    let wire = try wireMessage(WireSignedRequest.self, bytes, peer: "a client", limit: limit)
    let sender: VerifyingKey = try fixed(wire.sender, "a client", "SignedRequest", "sender")
    let peer = sender.peerName
    let signature: Signature = try fixed(wire.signature, peer, "SignedRequest", "signature")
    // Nothing is authenticated yet: a text of the sender's choice must not get into errors and logs.
    guard let actual = Kind(rawValue: wire.kind) else {
      throw badField(peer, "SignedRequest", "kind", "is unknown")
    }
    guard actual == kind else {
      throw .mismatch(what: "the kind of request", expected: kind.rawValue, actual: actual.rawValue)
    }
    guard sender.verifies(signature, domain: Self.domain, Self.parts(wire)) else {
      throw .badSignature(what: "the \(kind.rawValue) request", peer: peer)
    }
    let difference =
      wire.sentAtMs > nowMilliseconds
      ? wire.sentAtMs - nowMilliseconds : nowMilliseconds - wire.sentAtMs
    guard difference <= Self.clockToleranceMilliseconds else {
      throw .mismatch(
        what: "the clock of \(peer)",
        expected: "within \(Self.clockToleranceMilliseconds / 1000) s of the server's",
        actual: "\(difference / 1000) s off")
    }
    self.kind = kind
    self.sender = sender
    sentAtMilliseconds = wire.sentAtMs
    session = wire.session.isEmpty ? nil : try fixed(wire.session, peer, "SignedRequest", "session")
    payload = Array(wire.payload)
  }

  private static func parts(_ wire: WireSignedRequest) -> [[UInt8]] {
    [
      Array(wire.kind.utf8), Array(wire.sender),
      withUnsafeBytes(of: wire.sentAtMs.littleEndian) { Array($0) }, Array(wire.session),
      Array(wire.payload),
    ]
  }
}
