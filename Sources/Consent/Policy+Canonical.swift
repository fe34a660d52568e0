import Foundation

extension Policy {
  /// No policy is larger: a leaf of the ledger has to hold it.
  package static let maximumBytes = 50_000

  /// The document: canonical JSON (sorted keys, no spaces, slashes as they are, absent optionals left out). The
  /// policy's hash is the SHA-256 of these bytes.
  package var canonicalBytes: [UInt8] {
    // A policy is texts, integers, lists and tables of them: encoding these cannot fail, and an empty
    // document would be refused by every reader.
    guard let data = try? JSONEncoder().encode(self),
      let value = try? JSONDecoder().decode(CanonicalValue.self, from: data)
    else { return [] }
    var bytes: [UInt8] = []
    value.write(to: &bytes)
    return bytes
  }

  /// Reads a document that is canonical and valid; nothing else is a policy.
  package init(canonicalBytes bytes: [UInt8]) throws(ConsentError) {
    guard bytes.count <= Self.maximumBytes else {
      throw .policy(field: "document", problem: "has \(bytes.count) bytes, more than \(Self.maximumBytes)")
    }
    let policy: Policy
    do {
      policy = try JSONDecoder().decode(Policy.self, from: Data(bytes))
    } catch {
      throw .policy(field: Self.field(of: error), problem: "is missing or is not what a policy has there")
    }
    // Unknown and repeated keys, spaces and other spellings all come out differently.
    guard policy.canonicalBytes == bytes else {
      throw .policy(field: "document", problem: "is not canonical JSON or holds fields that no policy has")
    }
    try policy.validate()
    self = policy
  }

  private static func field(of error: any Error) -> String {
    guard let error = error as? DecodingError else { return "document" }
    let path: [any CodingKey]
    switch error {
    case .keyNotFound(let key, let context): path = context.codingPath + [key]
    case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
      path = context.codingPath
    @unknown default: path = []
    }
    var text = ""
    for key in path {
      if let index = key.intValue {
        text += "[\(index)]"
      } else {
        text += (text.isEmpty ? "" : ".") + key.stringValue.prefix(64)
      }
    }
    return text.isEmpty ? "document" : text
  }
}

/// JSON without null and fractions, which no policy holds.
private indirect enum CanonicalValue: Decodable {
  case text(String)
  case number(Int64)
  case truth(Bool)
  case list([CanonicalValue])
  case table([String: CanonicalValue])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let value = try? container.decode(String.self) {
      self = .text(value)
    } else if let value = try? container.decode(Bool.self) {
      self = .truth(value)
    } else if let value = try? container.decode(Int64.self) {
      self = .number(value)
    } else if let value = try? container.decode([CanonicalValue].self) {
      self = .list(value)
    } else {
      self = .table(try container.decode([String: CanonicalValue].self))
    }
  }

  func write(to bytes: inout [UInt8]) {
    switch self {
    case .text(let text): Self.write(text, to: &bytes)
    case .number(let number): bytes += String(number).utf8
    case .truth(let truth): bytes += (truth ? "true" : "false").utf8
    case .list(let values):
      bytes.append(UInt8(ascii: "["))
      for (position, value) in values.enumerated() {
        if position > 0 { bytes.append(UInt8(ascii: ",")) }
        value.write(to: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .table(let values):
      bytes.append(UInt8(ascii: "{"))
      // By the bytes of the keys, as sorting code points does in every language.
      let sorted = values.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
      for (position, entry) in sorted.enumerated() {
        if position > 0 { bytes.append(UInt8(ascii: ",")) }
        Self.write(entry.key, to: &bytes)
        bytes.append(UInt8(ascii: ":"))
        entry.value.write(to: &bytes)
      }
      bytes.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ text: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case 0..<0x20: bytes += "\\u00\(HexText.encode([byte]))".utf8
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
