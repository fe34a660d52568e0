import Cryptography
import Federation
import Hummingbird
import Messages
import NIOCore
import SecureAggregation

/// A masked input that arrived completely.
struct ReceivedInput: Sendable {
  let request: SignedRequest
  let input: CompleteInput
  /// The size of the log that the node checked consent against last.
  let ledgerSize: UInt64
  /// The root of its evidence.
  let evidenceRoot: Digest?
}

/// Receives one masked input while it streams in: a signed header, then the chunks of a secret stream that
/// only this session's upload key opens. Nothing reaches the sum before the last chunk was authenticated.
struct UploadReceiver {
  /// Plain bytes of every chunk but the last.
  static let chunkBytes = 65_536
  private static let headerLimit = 4096

  private let host: FederationHost
  private let nowMilliseconds: UInt64

  init(host: FederationHost, nowMilliseconds: UInt64) {
    self.host = host
    self.nowMilliseconds = nowMilliseconds
  }

  /// The authenticated header and the complete input.
  func receive(_ body: RequestBody) async throws -> ReceivedInput {
    var iterator = body.makeAsyncIterator()
    var buffered = ByteBuffer()
    func fill(_ count: Int) async throws -> Bool {
      while buffered.readableBytes < count {
        guard var next = try await iterator.next() else { return false }
        buffered.discardReadBytes()
        buffered.writeBuffer(&next)
      }
      return true
    }
    guard try await fill(4), let length = buffered.readInteger(endianness: .little, as: UInt32.self),
      length <= Self.headerLimit, try await fill(Int(length)),
      let headerBytes = buffered.readBytes(length: Int(length))
    else {
      throw HostRefusal(.malformed, "an upload starts with a header of at most \(Self.headerLimit) bytes")
    }
    let request = try SignedRequest(headerBytes, expecting: .input, nowMilliseconds: nowMilliseconds)
    let peer = request.sender.peerName
    let header = try wireMessage(WireInputHeader.self, request.payload, peer: peer)
    let digest: Digest = try fixed(header.digest, peer, "InputHeader", "digest")
    let evidenceRoot: Digest? =
      header.evidenceRoot.isEmpty
      ? nil : try fixed(header.evidenceRoot, peer, "InputHeader", "evidence_root")
    let key = SecretBytes(copying: try await host.openSealed(Array(header.sealedKey), request))
    guard key.count == 32 else {
      throw HostRefusal(.malformed, "\(peer): the stream key is not 32 bytes long")
    }
    var (pending, expectedBytes) = try await host.beginUpload(request)
    do {
      guard header.plainBytes == UInt64(expectedBytes) else {
        throw HostRefusal(
          .malformed, "\(peer): the input has \(header.plainBytes) bytes, not \(expectedBytes)")
      }
      var reader = try SecretStreamReader(header: Array(header.streamHeader), key: key)
      let hash = StreamingHash(domain: "accord/v1/input")
      var remaining = expectedBytes
      while remaining > 0 {
        let plain = min(remaining, Self.chunkBytes)
        let size = plain + SecretStream.overhead
        guard try await fill(size), let chunk = buffered.readBytes(length: size) else {
          throw HostRefusal(.malformed, "\(peer): the upload ends too early, \(remaining) bytes are missing")
        }
        hash.update(chunk)
        try pending.append(try reader.pull(chunk))
        remaining -= plain
      }
      guard reader.isFinished, hash.finalize() == digest, try await !fill(1) else {
        throw HostRefusal(.unauthorised, "\(peer): the upload does not match its signed digest")
      }
      let input = try pending.finish()
      await host.endUpload(request.sender)
      return ReceivedInput(
        request: request, input: input, ledgerSize: header.ledgerSize, evidenceRoot: evidenceRoot)
    } catch {
      await host.endUpload(request.sender)
      throw error
    }
  }
}
