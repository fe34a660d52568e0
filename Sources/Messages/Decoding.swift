package import SwiftProtobuf

/// Why bytes from outside are not a message. The peer is named by whoever catches this.
package enum MessageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// More bytes than this message may have.
  case tooLarge(message: String, limit: Int, actual: Int)
  /// Not a protobuf message of this type.
  case malformed(message: String)
  /// Unknown fields, trailing bytes or another encoding of the same values.
  case notCanonical(message: String)
  /// A field has the wrong length or is outside its range.
  case badField(message: String, field: String, reason: String)

  package var description: String {
    switch self {
    case .tooLarge(let message, let limit, let actual):
      "the \(message) message has \(actual) bytes; at most \(limit) are allowed"
    case .malformed(let message): "the bytes are not a \(message) message"
    case .notCanonical(let message):
      "the \(message) message has unknown fields, trailing bytes or a non-canonical encoding"
    case .badField(let message, let field, let reason):
      "the field \(field) of the \(message) message \(reason)"
    }
  }
}

/// Upper bounds of every message (protocol/PROTOCOL.md, "Limits").
package enum MessageLimits {
  /// Any message but an upload, a model and a page of the log.
  package static let control = 4 << 20
  /// A model artifact.
  package static let model = 256 << 20
  /// A page of the log.
  package static let entries = 16 << 20
  /// Leaves in one append, and in one page.
  package static let leavesPerMessage = 2_048
  /// Members of one cohort.
  package static let cohort = 16_384
  /// Members of one cohort on the complete graph.
  package static let completeGraph = 200
}

/// Decodes untrusted bytes: bounded, exact, canonical.
package func decodeMessage<Message: SwiftProtobuf.Message>(
  _ type: Message.Type, from bytes: [UInt8], limit: Int = MessageLimits.control
) throws(MessageError) -> Message {
  let name = Message.protoMessageName.split(separator: ".").last.map(String.init) ?? "unknown"
  guard bytes.count <= limit else {
    throw .tooLarge(message: name, limit: limit, actual: bytes.count)
  }
  var options = BinaryDecodingOptions()
  options.messageDepthLimit = 8
  // Unknown fields, nested ones too, are then missing in the encoding below and give themselves away.
  options.discardUnknownFields = true
  let message: Message
  do { message = try Message(serializedBytes: bytes, options: options) } catch {
    throw .malformed(message: name)
  }
  // The same values have one encoding only: what was signed is what is read, and nothing rides along.
  guard encodeMessage(message) == bytes else { throw .notCanonical(message: name) }
  return message
}

/// Encodes a message. The messages here have no required fields, extensions or `Any`, the only things
/// that make encoding fail; an empty encoding would be refused by every receiver.
package func encodeMessage(_ message: some SwiftProtobuf.Message) -> [UInt8] {
  (try? message.serializedBytes() as [UInt8]) ?? []
}
