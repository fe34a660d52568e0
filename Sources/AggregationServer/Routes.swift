import ConsentLedger
import Cryptography
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Messages
import NIOCore
import SecureAggregation
import SwiftProtobuf

/// The HTTP surface (protocol/PROTOCOL.md). Every handler decodes, asks the host, encodes; every error
/// leaves as a `Refusal` with one sentence.
struct Routes: Sendable {
  let host: FederationHost
  let serverInfo: [UInt8]
  let files: LedgerTileServer
  let logger: Logger
  let clock: @Sendable () -> UInt64

  func router() -> Router<BasicRequestContext> {
    let router = Router()
    router.get("v1/server") { _, _ in Self.binary(serverInfo) }
    router.get("v1/status") { _, _ in
      try await answering { Self.json(try CanonicalJSON.encode(try await host.status())) }
    }
    router.post("v1/invitation") { request, _ in
      try await signed(request, .invitation) { Self.message(try await host.invitation($0)) }
    }
    router.post("v1/model") { request, _ in
      try await signed(request, .model) { Self.binary(try await host.model($0)) }
    }
    addSteps(router)
    addLedger(router)
    LogFiles(files: files).add(to: router)
    router.post("v1/tasks") { request, _ in
      try await signed(request, .task) { signed in
        var accepted = WireTaskAccepted()
        accepted.id = try await host.submit(signed)
        return Self.message(accepted)
      }
    }
    router.post("v1/tasks/cancel") { request, _ in
      try await signed(request, .taskCancel) { signed in
        try await host.cancel(signed)
        return Response(status: .noContent)
      }
    }
    return router
  }

  private func addSteps(_ router: Router<BasicRequestContext>) {
    router.post("v1/session/advertise") { request, _ in
      try await signed(request, .advertise) { signed in
        let message = try Advertisement(wireBytes: signed.payload, peer: signed.sender.peerName)
        let answer = try await host.step(signed, claimed: message.id, event: .advertisement(message)) {
          coordinator -> RosterAnswer? in
          coordinator.signed.descriptor.graph == .complete
            ? coordinator.roster(for: message.id).map { .complete($0) }
            : coordinator.commitment(for: message.id).map { .sparse($0) }
        }
        return switch answer {
        case .complete(let roster): Self.wire(roster)
        case .sparse(let commitment): Self.wire(commitment)
        case nil: Response(status: .noContent)
        }
      }
    }
    router.post("v1/session/neighbours") { request, _ in
      try await signed(request, .neighbours) { signed in
        let message = try NeighbourRequest(wireBytes: signed.payload, peer: signed.sender.peerName)
        return Self.wire(
          try await host.ask(signed, claimed: message.id) { try $0.opening(message) })
      }
    }
    router.post("v1/session/shares") { request, _ in
      try await signed(request, .shares) { signed in
        let message = try ShareUpload(wireBytes: signed.payload, peer: signed.sender.peerName)
        return Self.wire(try await host.deliverShares(signed, message))
      }
    }
    router.post("v1/session/input") { request, _ in
      try await answering {
        let upload = try await UploadReceiver(host: host, nowMilliseconds: clock()).receive(request.body)
        return Self.wire(try await host.takeInput(upload))
      }
    }
    router.post("v1/session/consistency") { request, _ in
      try await signed(request, .consistency) { signed in
        let message = try ConsistencySignature(wireBytes: signed.payload, peer: signed.sender.peerName)
        let answer = try await host.step(signed, claimed: message.id, event: .consistency(message)) {
          coordinator -> QuorumAnswer? in
          coordinator.signed.descriptor.graph == .complete
            ? coordinator.quorum(for: message.id).map { .complete($0) }
            : coordinator.quorumClaim(for: message.id).map { .sparse($0) }
        }
        return switch answer {
        case .complete(let quorum): Self.wire(quorum)
        case .sparse(let claim): Self.wire(claim)
        case nil: Response(status: .noContent)
        }
      }
    }
    router.post("v1/session/quorum") { request, _ in
      try await signed(request, .quorum) { signed in
        let message = try QuorumChallenge(wireBytes: signed.payload, peer: signed.sender.peerName)
        return Self.wire(
          try await host.ask(signed, claimed: nil) { try $0.quorum(message, for: signed.sender) })
      }
    }
    router.post("v1/session/unmask") { request, _ in
      try await signed(request, .unmask) { signed in
        let opened = try await host.openSealed(signed.payload, signed)
        let message = try UnmaskShares(wireBytes: opened, peer: signed.sender.peerName)
        return Self.message(try await host.outcome(signed, message: message))
      }
    }
  }

  private func addLedger(_ router: Router<BasicRequestContext>) {
    router.get("v1/ledger/checkpoint") { request, _ in
      try await answering {
        let after = request.uri.queryParameters.get("after", as: UInt64.self)
        return Self.text(try await host.checkpointNote(largerThan: after))
      }
    }
    router.get("v1/ledger/entries") { request, _ in
      try await answering {
        guard let start = request.uri.queryParameters.get("start", as: UInt64.self),
          let count = request.uri.queryParameters.get("count", as: Int.self), count > 0
        else { throw HostRefusal(.malformed, "entries need the query parameters start and count") }
        return Self.message(try host.leaves(from: start, count: min(count, MessageLimits.leavesPerMessage)))
      }
    }
    router.post("v1/ledger/append") { request, _ in
      try await signed(request, .ledgerAppend) { Self.message(try await host.append($0)) }
    }
    router.post("v1/ledger/cosign") { request, _ in
      try await signed(request, .cosign) { signed in
        try await host.cosigned(signed)
        return Response(status: .noContent)
      }
    }
    router.get("v1/ledger/witnesses") { _, _ in
      try await answering { Self.message(await host.sightings()) }
    }
  }

  /// Answers whose form depends on the graph.
  private enum RosterAnswer: Sendable {
    case complete(Roster)
    case sparse(RosterCommitment)
  }
  private enum QuorumAnswer: Sendable {
    case complete(Quorum)
    case sparse(QuorumClaim)
  }

  // MARK: Plumbing

  private func signed(
    _ request: Request, _ kind: SignedRequest.Kind,
    _ body: @Sendable (SignedRequest) async throws -> Response
  ) async throws -> Response {
    try await answering {
      var collected = ByteBuffer()
      for try await var chunk in request.body {
        guard collected.readableBytes + chunk.readableBytes <= MessageLimits.control else {
          throw HostRefusal(.tooLarge, "the request is larger than \(MessageLimits.control) bytes")
        }
        collected.writeBuffer(&chunk)
      }
      let bytes = Array(buffer: collected)
      return try await body(SignedRequest(bytes, expecting: kind, nowMilliseconds: clock()))
    }
  }

  /// Runs a handler and turns what it throws into a refusal.
  private func answering(_ body: () async throws -> Response) async throws -> Response {
    let refusal: HostRefusal
    do { return try await body() } catch let error as HostRefusal {
      refusal = error
    } catch let error as FederationError {
      refusal = HostRefusal(error)
    } catch let error as CryptographyError {
      refusal = HostRefusal(.unauthorised, "\(error)")
    } catch is CancellationError {
      throw CancellationError()
    } catch let error as AggregationError {
      refusal = HostRefusal(.refused, "\(error)")
    } catch {
      refusal = HostRefusal(.internalError, "\(error)")
    }
    logger.notice("refused: \(refusal.message)", metadata: ["code": "\(refusal.code.rawValue)"])
    var wire = WireRefusal()
    wire.code = refusal.code.rawValue
    wire.message = refusal.message
    return Response(
      status: HTTPResponse.Status(code: refusal.code.httpStatus),
      headers: [.contentType: "application/x-protobuf"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: encodeMessage(wire))))
  }

  private static func respond(_ bytes: some Sequence<UInt8>, _ type: String) -> Response {
    Response(
      status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
  }
  private static func binary(_ bytes: [UInt8]) -> Response { respond(bytes, "application/x-protobuf") }
  private static func json(_ bytes: [UInt8]) -> Response { respond(bytes, "application/json") }
  private static func text(_ text: String) -> Response { respond(text.utf8, "text/plain; charset=utf-8") }

  /// A message, or "ask again" when the long poll ended without an answer.
  private static func message(_ message: (some SwiftProtobuf.Message)?) -> Response {
    guard let message else { return Response(status: .noContent) }
    return binary(encodeMessage(message))
  }
  private static func wire(_ message: (some WireRepresentable)?) -> Response {
    guard let message else { return Response(status: .noContent) }
    return binary(message.wireBytes)
  }
}
