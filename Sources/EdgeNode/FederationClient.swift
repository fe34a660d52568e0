import AsyncHTTPClient
package import Cryptography
package import Federation
import Foundation
import Messages
import NIOCore
import NIOHTTP1
import NIOSSL

/// The HTTPS side of a node or an operator's tool: one pinned certificate, signed requests, bounded answers.
package final class FederationClient: Sendable {
  /// A request is answered or told to ask again within this time.
  private static let timeout = TimeAmount.seconds(40)
  private let http: HTTPClient
  /// What this client trusts.
  package let trust: TrustBundle
  /// Milliseconds of UTC since 1970.
  package let clock: @Sendable () -> UInt64

  /// Prepares a client; nothing is sent yet. Call `shutdown` before it goes.
  package init(trust: TrustBundle, clock: @escaping @Sendable () -> UInt64) throws(EdgeNodeError) {
    self.trust = trust
    self.clock = clock
    do {
      let certificates = try NIOSSLCertificate.fromPEMBytes(Array(trust.certificate.utf8))
      var tls = TLSConfiguration.makeClientConfiguration()
      tls.trustRoots = .certificates(certificates)
      tls.minimumTLSVersion = .tlsv13
      var configuration = HTTPClient.Configuration(
        tlsConfiguration: tls, redirectConfiguration: .disallow,
        timeout: .init(connect: .seconds(5), read: Self.timeout))
      configuration.httpVersion = .http1Only
      // A server that is away is this client's to wait for, so that it can say so.
      configuration.connectionPool.retryConnectionEstablishment = false
      http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    } catch {
      throw .file(path: "trust.json", reason: "its certificate cannot be read: \(error)")
    }
  }

  /// Closes all connections, without waiting: a peer that holds a long poll does not answer TLS's farewell,
  /// and nothing depends on it.
  package func shutdown() async {
    let http = http
    Task.detached { try? await http.shutdown() }
  }

  /// A signed request; nil when the server says "ask again".
  package func send(
    _ kind: SignedRequest.Kind, to path: String, payload: [UInt8], session: Digest? = nil,
    key: SigningKey, limit: Int = MessageLimits.control
  ) async throws -> [UInt8]? {
    let body = SignedRequest.sign(
      kind, payload: payload, session: session, nowMilliseconds: clock(), key: key)
    return try await post(path, body: .bytes(ByteBuffer(bytes: body)), limit: limit)
  }

  /// Sends the same bytes until there is an answer: what a step does while the server waits for others.
  package func sendUntilAnswered(
    _ kind: SignedRequest.Kind, to path: String, payload: [UInt8], session: Digest? = nil,
    key: SigningKey, limit: Int = MessageLimits.control
  ) async throws -> [UInt8] {
    var failures = 0
    while true {
      try Task.checkCancellation()
      do {
        if let answer = try await send(
          kind, to: path, payload: payload, session: session, key: key, limit: limit)
        {
          return answer
        }
        failures = 0
      } catch let error as EdgeNodeError {
        // A lost connection may have lost only the answer: the same message is safe to send again.
        guard case .unreachable = error, failures < 3 else { throw error }
        failures += 1
        try await Task.sleep(for: .milliseconds(200 * failures))
      }
    }
  }

  /// Uploads a masked input: a header, then the chunks of a secret stream sealed to the session's key.
  /// - Parameter consent: the size of the log that consent was checked against last, and the root of the evidence.
  package func upload(
    packed: [UInt8], consent: (ledgerSize: UInt64, evidenceRoot: Digest?), session: SignedDescriptor,
    key: SigningKey, random: inout RandomStream
  ) async throws -> [UInt8] {
    let streamKey = random.secret(32)
    var writer = SecretStreamWriter(key: streamKey)
    let hash = StreamingHash(domain: "accord/v1/input")
    var chunks = ByteBuffer()
    chunks.reserveCapacity(packed.count + packed.count / 1024 + 64)
    var offset = 0
    while offset < packed.count {
      let end = min(offset + KeyStream.chunkBytes, packed.count)
      let sealed = writer.push(Array(packed[offset..<end]), isLast: end == packed.count)
      hash.update(sealed)
      chunks.writeBytes(sealed)
      offset = end
    }
    var header = WireInputHeader()
    header.sealedKey = Data(
      try SealedBox.seal(streamKey.exportBytes(), to: session.descriptor.uploadKey))
    header.streamHeader = Data(writer.header)
    header.plainBytes = UInt64(packed.count)
    header.digest = Data(hash.finalize().bytes)
    header.ledgerSize = consent.ledgerSize
    header.evidenceRoot = Data(consent.evidenceRoot?.bytes ?? [])
    let payload = encodeMessage(header)
    var failures = 0
    while true {
      try Task.checkCancellation()
      let request = SignedRequest.sign(
        .input, payload: payload, session: session.sessionID, nowMilliseconds: clock(), key: key)
      var body = ByteBuffer()
      body.writeInteger(UInt32(request.count), endianness: .little)
      body.writeBytes(request)
      body.writeImmutableBuffer(chunks)
      do {
        if let answer = try await post("v1/session/input", body: .bytes(body), limit: MessageLimits.control) {
          return answer
        }
        failures = 0
      } catch let error as EdgeNodeError {
        guard case .unreachable = error, failures < 3 else { throw error }
        failures += 1
        try await Task.sleep(for: .milliseconds(200 * failures))
      }
    }
  }

  /// A plain read.
  package func get(_ path: String, limit: Int) async throws -> [UInt8] {
    var request = HTTPClientRequest(url: "\(trust.url)/\(path)")
    request.method = .GET
    guard let answer = try await execute(request, limit: limit) else {
      throw EdgeNodeError.badAnswer(what: path, reason: "it is empty")
    }
    return answer
  }

  private func post(
    _ path: String, body: HTTPClientRequest.Body, limit: Int
  ) async throws -> [UInt8]? {
    var request = HTTPClientRequest(url: "\(trust.url)/\(path)")
    request.method = .POST
    request.body = body
    return try await execute(request, limit: limit)
  }

  private func execute(_ request: HTTPClientRequest, limit: Int) async throws -> [UInt8]? {
    let status: HTTPResponseStatus
    let bytes: [UInt8]
    do {
      let response = try await http.execute(request, timeout: Self.timeout)
      status = response.status
      bytes = Array(buffer: try await response.body.collect(upTo: limit))
    } catch is CancellationError {
      throw CancellationError()
    } catch is NIOTooManyBytesError {
      throw EdgeNodeError.badAnswer(what: "answer", reason: "it is larger than \(limit) bytes")
    } catch {
      try Task.checkCancellation()
      throw EdgeNodeError.unreachable(url: trust.url, reason: Self.explain(error))
    }
    switch status.code {
    case 200: return bytes
    case 204: return nil
    default:
      guard let refusal = try? decodeMessage(WireRefusal.self, from: bytes), !refusal.message.isEmpty else {
        throw EdgeNodeError.badAnswer(what: "answer", reason: "HTTP status \(status.code)")
      }
      throw EdgeNodeError.refused(code: refusal.code, message: refusal.message)
    }
  }

  private static func explain(_ error: any Error) -> String {
    if let error = error as? HTTPClientError {
      return switch error {
      case .connectTimeout: "the connection timed out"
      case .deadlineExceeded, .readTimeout: "the answer took too long"
      case .remoteConnectionClosed: "the connection was closed"
      default: error.shortDescription
      }
    }
    let text = "\(error)"
    if text.contains("CERTIFICATE_VERIFY_FAILED") || text.contains("unableToValidateCertificate") {
      return "its TLS certificate is not the one in trust.json"
    }
    if text.contains("refused") { return "the connection was refused (is the server running?)" }
    return text
  }
}
