import Cryptography
import Federation
import Foundation
import Messages

/// What a node asks of the server.
enum CallKind: String, Sendable {
  case invitation, model, advertise, shares, input, consistency, unmask
  /// The newest checkpoint and the entries up to it.
  case synchronise
  case append
  /// The own cosignature of a checkpoint; the answer is what others cosigned.
  case cosign

  var requestKind: SignedRequest.Kind? {
    switch self {
    case .invitation: .invitation
    case .model: .model
    case .advertise: .advertise
    case .shares: .shares
    case .input: .input
    case .consistency: .consistency
    case .unmask: .unmask
    case .append: .ledgerAppend
    case .cosign: .cosign
    case .synchronise: nil
    }
  }
}

/// A request on its way.
struct Call: Sendable {
  let id: UInt64
  let node: Int
  let kind: CallKind
  let bytes: [UInt8]
}

/// What comes back.
enum Answer: Sendable {
  case bytes([UInt8])
  case askAgain
  case refused(code: String, reason: String)
}

/// Why the simulated server says no; the codes are those of the deployed one.
struct Refusal: Error {
  let code: String
  let reason: String

  init(_ code: String, _ reason: String) {
    self.code = code
    self.reason = reason
  }
}

/// Several parts of bytes as one.
enum Parcel {
  static func pack(_ parts: [[UInt8]]) -> [UInt8] {
    var bytes: [UInt8] = []
    for part in parts {
      withUnsafeBytes(of: UInt32(part.count).littleEndian) { bytes.append(contentsOf: $0) }
      bytes.append(contentsOf: part)
    }
    return bytes
  }

  static func unpack(_ bytes: [UInt8], count: Int) throws -> [[UInt8]] {
    var parts: [[UInt8]] = []
    var rest = bytes[...]
    for _ in 0..<count {
      guard rest.count >= 4 else { throw Refusal("malformed", "a part is missing") }
      let length = rest.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) }
      rest = rest.dropFirst(4)
      guard length <= rest.count else { throw Refusal("malformed", "a part is too short") }
      parts.append(Array(rest.prefix(length)))
      rest = rest.dropFirst(length)
    }
    guard rest.isEmpty else { throw Refusal("malformed", "bytes follow the parts") }
    return parts
  }
}

/// The one chunk of an upload, as `EdgeNode/FederationClient.upload` makes it and
/// `AggregationServer/UploadReceiver` reads it.
enum SealedInput {
  static func seal(
    _ packed: [UInt8], ledgerSize: UInt64, evidenceRoot: Digest?, session: SignedDescriptor,
    key: SigningKey, nowMs: UInt64, random: inout RandomStream
  ) throws -> [UInt8] {
    let streamKey = random.secret(32)
    var writer = SecretStreamWriter(key: streamKey)
    let hash = StreamingHash(domain: "accord/v1/input")
    let chunk = writer.push(packed, isLast: true)
    hash.update(chunk)
    var header = WireInputHeader()
    header.sealedKey = Data(try SealedBox.seal(streamKey.exportBytes(), to: session.descriptor.uploadKey))
    header.streamHeader = Data(writer.header)
    header.plainBytes = UInt64(packed.count)
    header.digest = Data(hash.finalize().bytes)
    header.ledgerSize = ledgerSize
    header.evidenceRoot = Data(evidenceRoot?.bytes ?? [])
    let request = SignedRequest.sign(
      .input, payload: encodeMessage(header), session: session.sessionID, nowMilliseconds: nowMs, key: key)
    return Parcel.pack([request, chunk])
  }
}
