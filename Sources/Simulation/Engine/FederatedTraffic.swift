import Cryptography
import Federation
import Foundation
import Learning
import Messages
import SecureAggregation

/// Bytes between the server and the nodes that finish a session: signed requests and their answers, without the
/// framing of HTTP and TLS.
struct FederatedTraffic: Sendable, Equatable {
  /// From the nodes.
  var sent = 0
  /// To the nodes.
  var received = 0
  /// Nodes that finished, summed over sessions.
  private(set) var nodes = 0

  init(nodes: Int = 0) { self.nodes = nodes }

  mutating func add(_ other: FederatedTraffic) {
    sent += other.sent
    received += other.received
    nodes += other.nodes
  }

  mutating func add(_ bill: Bill) {
    sent += bill.sent
    received += bill.received
  }

  /// The mean of a node and session, rounded up.
  var perNode: (sent: Int, received: Int) {
    guard nodes > 0 else { return (0, 0) }
    return ((sent + nodes - 1) / nodes, (received + nodes - 1) / nodes)
  }

  /// What one node sends and receives.
  struct Bill: Sendable {
    fileprivate(set) var sent = 0
    fileprivate(set) var received = 0

    /// A message in a signed request; returns its bytes.
    mutating func request(_ kind: SignedRequest.Kind, _ message: some WireRepresentable) -> [UInt8] {
      let bytes = message.wireBytes
      sent += SignedRequest.byteCount(kind, payload: bytes.count, isInSession: true)
      return bytes
    }

    /// The same, sealed to the session's key.
    mutating func sealed(_ kind: SignedRequest.Kind, _ message: some WireRepresentable) -> [UInt8] {
      let bytes = message.wireBytes
      sent += SignedRequest.byteCount(
        kind, payload: bytes.count + SealedBox.overhead, isInSession: true)
      return bytes
    }

    /// An answer; returns its bytes.
    mutating func answer(_ message: some WireRepresentable) -> [UInt8] {
      let bytes = message.wireBytes
      received += bytes.count
      return bytes
    }

    /// A masked input: the length of the request, the request with the stream's header, the sealed chunks.
    mutating func input(packedBytes: Int) {
      var header = WireInputHeader()
      header.sealedKey = Data(count: 32 + SealedBox.overhead)
      header.streamHeader = Data(count: 24)
      header.plainBytes = UInt64(packedBytes)
      header.digest = Data(count: Digest.byteCount)
      header.ledgerSize = 1 << 20
      header.evidenceRoot = Data(count: Digest.byteCount)
      let chunks = (packedBytes + KeyStream.chunkBytes - 1) / KeyStream.chunkBytes
      sent +=
        4 + SignedRequest.byteCount(.input, payload: encodeMessage(header).count, isInSession: true)
        + packedBytes + chunks * SecretStream.overhead
    }

    /// The answer to the last step.
    mutating func outcome() {
      var outcome = WireSessionOutcome()
      outcome.transcript = Data(count: Digest.byteCount)
      outcome.modelDigest = Data(count: Digest.byteCount)
      received += encodeMessage(outcome).count
    }
  }

  /// What every session starts with: the invitation, and the model that it starts from.
  static func opening(_ session: FederatedSession, task: TaskSpecification) throws -> Bill {
    var bill = Bill()
    var ask = WireInvitationRequest()
    ask.lastSession = session.number - 1
    ask.keyStreams = [KeyStreamSuite.chacha20.rawValue]
    var invitation = WireInvitation()
    invitation.descriptor = Data(session.signed.bytes)
    invitation.signature = Data(session.signed.signature.bytes)
    invitation.task = Data(try task.canonicalBytes())
    invitation.taskSignature = Data(count: Signature.byteCount)
    var fetch = WireModelRequest()
    fetch.digest = Data(count: Digest.byteCount)
    bill.add(
      sent: SignedRequest.byteCount(
        .invitation, payload: encodeMessage(ask).count, isInSession: false)
        + SignedRequest.byteCount(.model, payload: encodeMessage(fetch).count, isInSession: false),
      received: encodeMessage(invitation).count + (try session.artifact.encode().count))
    return bill
  }
}

extension FederatedTraffic.Bill {
  fileprivate mutating func add(sent: Int, received: Int) {
    self.sent += sent
    self.received += received
  }
}
