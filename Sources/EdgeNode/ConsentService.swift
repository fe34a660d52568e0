import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Storage

/// The HTTP interface for the shop's own systems (docs/CONSENT-API.md): tills, web shops and apps record what
/// their customers decide, and get a receipt that the customer can keep. JSON; a bearer token; meant for the
/// machine itself or for a reverse proxy with TLS.
struct ConsentService: Sendable {
  /// Larger requests are refused, in bytes.
  static let maximumBytes = 65_536

  let recorder: ConsentRecorder
  let gate: ConsentGate
  let mirror: LedgerMirror
  let token: String
  let logger: Logger
  let clock: @Sendable () -> UInt64

  /// The token of a node's directory, made on first use.
  static func token(_ directory: DataDirectory) throws -> String {
    let path = directory.file("consent-api.token")
    if !DurableFile.exists(path) {
      var random = RandomStream.system()
      try DurableFile.write(Array((Hex.encode(random.bytes(32)) + "\n").utf8), to: path)
    }
    let text = String(decoding: try DurableFile.readSecret(path), as: UTF8.self)
    let token = text.trimmingCharacters(in: .whitespacesAndNewlines)
    guard token.utf8.count >= 32 else { throw StorageError.malformedKeyFile(path: path) }
    return token
  }

  func router() -> Router<BasicRequestContext> {
    let router = Router()
    router.post("v1/consent") { request, _ in
      try await answering(request) {
        let body = try await Self.decode(DecisionRequest.self, request)
        let signal = try await recordSignal(request, subject: body.subject, jurisdiction: body.jurisdiction)
        let receipt = try await record(body)
        return (.created, DecisionAnswer(receipt, signal: signal?.index))
      }
    }
    // A page view of a known customer: only the browser's signal counts.
    router.post("v1/signal") { request, _ in
      try await answering(request) {
        let body = try await Self.decode(SignalRequest.self, request)
        let receipt = try await recordSignal(request, subject: body.subject, jurisdiction: body.jurisdiction)
        return receipt.map { (.created, DecisionAnswer($0, signal: $0.index)) } ?? (.noContent, nil)
      }
    }
    router.get("v1/consent/:subject") { request, context in
      try await answering(request) {
        let encoded = try context.parameters.require("subject")
        guard let subject = encoded.removingPercentEncoding else {
          throw ServiceRefusal(
            .badRequest, "malformed", "the customer in the path is not percent-encoded UTF-8")
        }
        guard let purpose = request.uri.queryParameters["purpose"] else {
          throw ServiceRefusal(.badRequest, "malformed", "name the purpose in the query: ?purpose=…")
        }
        return (.ok, try standing(subject, purpose: String(purpose)))
      }
    }
    return router
  }

  // MARK: Bodies

  struct DecisionRequest: Decodable, Sendable {
    var subject: String
    var purpose: String
    var state: ConsentState
    var jurisdiction: String?
    var age_band: AgeBand?
    var actor: ActorRole?
    var language: String?
    var notice: String?
    var screen: String?
    var channel: String?
    var method: String?
    var recorder: String?
    var event_id: String?
    var time: Int64?
    var expires_at: Int64?
    var steps: Int?
    var duration_ms: Int64?
    var text: String?
    var ip_prefix: String?
    var user_agent: String?
    var guardian: String?
  }

  struct SignalRequest: Decodable, Sendable {
    var subject: String
    var jurisdiction: String?
  }

  struct DecisionAnswer: Encodable, Sendable {
    var index: UInt64
    var event_id: String
    var recorded: Int64
    var tree_size: UInt64
    /// The receipt (C2SP tlog-proof), for the customer.
    var receipt: String
    /// Where a Global Privacy Control signal of the same request stands.
    var signal: UInt64?

    init(_ receipt: ConsentRecorder.Receipt, signal: UInt64?) {
      index = receipt.index
      event_id = receipt.event.eventID.hex
      recorded = receipt.proven.recordedMs
      tree_size = receipt.treeSize
      self.receipt = receipt.proven.text
      self.signal = signal
    }
  }

  struct StandingAnswer: Encodable, Sendable {
    var subject: String
    var purpose: String
    var permitted: Bool
    var reason: String
    var decided_by: UInt64?
    var checkpoint_size: UInt64
  }

  // MARK: Work

  private func record(_ body: DecisionRequest) async throws -> ConsentRecorder.Receipt {
    var circumstances = ConsentRecorder.Circumstances(
      purpose: body.purpose, jurisdiction: body.jurisdiction ?? Jurisdiction.unknown,
      ageBand: body.age_band ?? .unknown, actor: body.actor ?? .customer, channel: body.channel ?? "web",
      method: body.method ?? "form", language: body.language)
    circumstances.noticeHash = body.notice
    circumstances.screenHash = body.screen
    circumstances.recorder = body.recorder
    var entry = ConsentRecorder.Entry(
      subject: body.subject, state: body.state, timeMs: body.time ?? Int64(clock()),
      eventID: try body.event_id.map(Self.eventID))
    entry.hasOwnTime = body.time != nil
    entry.expiresAtMs = body.expires_at
    entry.steps = body.steps
    entry.durationMs = body.duration_ms
    if body.text != nil || body.ip_prefix != nil || body.user_agent != nil || body.guardian != nil {
      entry.payload = ConsentPayload(
        customerID: body.subject, ipPrefix: body.ip_prefix, userAgent: body.user_agent,
        guardianEvidence: body.guardian, text: body.text)
    }
    return try await one(entry, circumstances)
  }

  /// `Sec-GPC: 1` opts a customer out of everything that an opt-out regime would permit. Recorded once.
  private func recordSignal(
    _ request: Request, subject: String, jurisdiction: String?
  ) async throws -> ConsentRecorder.Receipt? {
    guard let name = HTTPField.Name("Sec-GPC"), request.headers[name] == "1" else { return nil }
    guard try !recorder.hasSignal(subject: subject) else { return nil }
    let circumstances = ConsentRecorder.Circumstances(
      purpose: Purpose.every.id, jurisdiction: jurisdiction ?? Jurisdiction.unknown, ageBand: .unknown,
      channel: "gpc", method: "header")
    return try await one(
      .init(subject: subject, state: .globalPrivacyControl, timeMs: Int64(clock())), circumstances)
  }

  private func one(
    _ entry: ConsentRecorder.Entry, _ circumstances: ConsentRecorder.Circumstances
  ) async throws -> ConsentRecorder.Receipt {
    guard let receipt = try await recorder.record([entry], circumstances).first else {
      throw ServiceRefusal(.internalServerError, "internal", "nothing was recorded")
    }
    return receipt
  }

  private func standing(_ subject: String, purpose: String) throws -> StandingAnswer {
    guard let policy = mirror.rules.current?.policy else { throw LedgerError.noPolicy }
    guard let entry = policy.purpose(purpose) else {
      throw ServiceRefusal(.notFound, "unknownPurpose", "the policy in force has no purpose “\(purpose)”")
    }
    let size = mirror.size
    let decision = try gate.decision(
      subjectID: subject, purpose: entry.reference, regime: .optOut, nowMs: Int64(clock()))
    return StandingAnswer(
      subject: subject, purpose: purpose, permitted: decision.permitted, reason: decision.reason.rawValue,
      decided_by: decision.decidedBy?.value, checkpoint_size: size)
  }

  private static func eventID(_ text: String) throws -> EventID {
    do { return try EventID(hex: text) } catch {
      throw ServiceRefusal(.badRequest, "malformed", "event_id: \(error)")
    }
  }

  // MARK: Plumbing

  private static func decode<Body: Decodable>(_ type: Body.Type, _ request: Request) async throws -> Body {
    let buffer: ByteBuffer
    do { buffer = try await request.body.collect(upTo: maximumBytes) } catch {
      throw ServiceRefusal(.contentTooLarge, "tooLarge", "a request has at most \(maximumBytes) bytes")
    }
    do { return try JSONDecoder().decode(type, from: Data(buffer.readableBytesView)) } catch {
      throw ServiceRefusal(.badRequest, "malformed", CanonicalJSON.explain(error))
    }
  }

  private func isAuthorised(_ request: Request) -> Bool {
    guard let header = request.headers[.authorization], header.hasPrefix("Bearer ") else { return false }
    // Compared as digests: the time tells nothing about the token.
    let given = Hash.blake2b(Array(header.dropFirst(7).utf8))
    let expected = Hash.blake2b(Array(token.utf8))
    return zip(given.bytes, expected.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }

  private func answering(
    _ request: Request, _ body: () async throws -> (HTTPResponse.Status, (any Encodable)?)
  ) async throws -> Response {
    do {
      guard isAuthorised(request) else {
        throw ServiceRefusal(
          .unauthorized, "unauthorised", "send the token of consent-api.token: Authorization: Bearer …")
      }
      let (status, answer) = try await body()
      guard let answer else { return Response(status: status) }
      return try Self.json(status, answer)
    } catch let error as CancellationError {
      throw error
    } catch {
      let refusal = ServiceRefusal(error)
      logger.notice("consent API: \(refusal.message)", metadata: ["code": "\(refusal.code)"])
      return try Self.json(refusal.status, ["error": ["code": refusal.code, "message": refusal.message]])
    }
  }

  private static func json(_ status: HTTPResponse.Status, _ value: any Encodable) throws -> Response {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Response(
      status: status, headers: [.contentType: "application/json"],
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: try encoder.encode(value))))
  }
}

/// Why the service does not do what a request asks.
struct ServiceRefusal: Error {
  let status: HTTPResponse.Status
  let code: String
  let message: String

  init(_ status: HTTPResponse.Status, _ code: String, _ message: String) {
    self.status = status
    self.code = code
    self.message = message
  }

  /// The refusal that an error calls for. What the caller can mend is a 4xx, what passes is a 503.
  init(_ error: any Error) {
    switch error {
    case let refusal as ServiceRefusal: self = refusal
    case let refusal as ConsentRecorder.Refusal: self.init(.unprocessableContent, "refused", refusal.reason)
    case EdgeNodeError.unreachable(_, let reason):
      self.init(.serviceUnavailable, "unavailable", "the ledger cannot be reached: \(reason); try again")
    case EdgeNodeError.refused(_, let message): self.init(.unprocessableContent, "refused", message)
    case let error as LedgerError: self.init(.serviceUnavailable, "unavailable", "\(error)")
    default: self.init(.internalServerError, "internal", "\(error)")
    }
  }
}

extension ConsentState: Codable {}
