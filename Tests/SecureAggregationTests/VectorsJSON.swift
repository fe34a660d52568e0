import Cryptography
import Foundation
import Testing

/// A JSON value whose objects keep the order of their members, so that a file is the same bytes each time.
enum JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral, Sendable
{
  case text(String)
  /// A number as it is written.
  case number(String)
  case null
  case list([JSON])
  case object([(String, JSON)])

  init(stringLiteral value: String) { self = .text(value) }
  init(integerLiteral value: Int) { self = .number(String(value)) }
  init(arrayLiteral elements: JSON...) { self = .list(elements) }
  init(dictionaryLiteral elements: (String, JSON)...) { self = .object(elements) }

  static func hex(_ bytes: some Sequence<UInt8>) -> JSON { .text(Hex.encode(bytes)) }
  static func hex(_ value: some FixedBytes) -> JSON { .text(value.hex) }
  static func hex(_ scalar: Scalar) -> JSON { .hex(scalar.exportBytes()) }
  static func hex(_ secret: SecretBytes) -> JSON { .hex(secret.exportBytes()) }
  static func int(_ value: some BinaryInteger) -> JSON { .number(String(value)) }
  static func ints(_ values: some Sequence<Int>) -> JSON { .list(values.map { .int($0) }) }
  static func ints(_ values: some Sequence<UInt32>) -> JSON { .list(values.map { .int($0) }) }
  static func ints(_ values: some Sequence<Int64>) -> JSON { .list(values.map { .int($0) }) }

  /// The object with more members at its end.
  static func + (object: JSON, more: JSON) -> JSON {
    guard case .object(let first) = object, case .object(let second) = more else { return object }
    return .object(first + second)
  }

  // MARK: Writing

  /// The value on one line.
  private var line: String {
    switch self {
    case .text(let text): JSON.quoted(text)
    case .number(let number): number
    case .null: "null"
    case .list(let values): "[" + values.map(\.line).joined(separator: ", ") + "]"
    case .object(let members):
      "{" + members.map { "\(JSON.quoted($0)): \($1.line)" }.joined(separator: ", ") + "}"
    }
  }

  /// The value, on one line where that is at most 110 characters long.
  func text(indent: Int = 0) -> String {
    let line = line
    guard indent + line.count > 110 else { return line }
    let inner = String(repeating: " ", count: indent + 1)
    let outer = String(repeating: " ", count: indent)
    switch self {
    case .list(let values) where !values.isEmpty:
      let lines = values.map { inner + $0.text(indent: indent + 1) }
      return "[\n" + lines.joined(separator: ",\n") + "\n\(outer)]"
    case .object(let members):
      let lines = members.map { "\(inner)\(JSON.quoted($0)): " + $1.text(indent: indent + 1) }
      return "{\n" + lines.joined(separator: ",\n") + "\n\(outer)}"
    default: return line
    }
  }

  private static func quoted(_ text: String) -> String {
    "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
  }

  // MARK: Reading

  /// What a vector file lacks.
  struct Missing: Error { let name: String }

  /// Reads a file.
  init(_ data: Data) throws { self.init(any: try JSONSerialization.jsonObject(with: data)) }

  private init(any: Any) {
    switch any {
    case let text as String: self = .text(text)
    case let number as NSNumber: self = .number(number.stringValue)
    case let list as [Any]: self = .list(list.map(JSON.init(any:)))
    case let object as [String: Any]: self = .object(object.map { ($0.key, JSON(any: $0.value)) })
    default: self = .null
    }
  }

  subscript(name: String) -> JSON {
    get throws {
      guard let value = self.member(name) else { throw Missing(name: name) }
      return value
    }
  }

  /// A member, or nil.
  func member(_ name: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    return members.first { $0.0 == name }?.1
  }

  var elements: [JSON] {
    get throws {
      guard case .list(let values) = self else { throw Missing(name: "a list") }
      return values
    }
  }

  var string: String {
    get throws {
      guard case .text(let text) = self else { throw Missing(name: "a text") }
      return text
    }
  }

  var integer: Int {
    get throws {
      guard case .number(let number) = self, let value = Int(number) else { throw Missing(name: "a number") }
      return value
    }
  }

  var integers: [Int] { get throws { try elements.map { try $0.integer } } }

  var bytes: [UInt8] {
    get throws {
      guard let bytes = Hex.decode(try string) else { throw Missing(name: "hexadecimal text") }
      return bytes
    }
  }

  /// A value of any length: hostile messages have wrong ones.
  func fixed<Value: FixedBytes>(_ type: Value.Type = Value.self) throws -> Value {
    Value(unchecked: try bytes)
  }
}

/// The files in `protocol/vectors`: written if the environment variable ACCORD_WRITE_VECTORS is 1, compared
/// byte for byte otherwise.
enum VectorFile {
  static let isWriting = ProcessInfo.processInfo.environment["ACCORD_WRITE_VECTORS"] == "1"

  static func url(_ name: String) -> URL {
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { root.deleteLastPathComponent() }
    return root.appendingPathComponent("protocol/vectors/\(name)")
  }

  /// Writes or compares a file.
  static func check(_ name: String, _ contents: JSON) throws {
    let made = Data((contents.text() + "\n").utf8)
    if isWriting { try made.write(to: url(name)) }
    let isSame = (try? Data(contentsOf: url(name))) == made
    #expect(
      isSame,
      """
      protocol/vectors/\(name) is not what the code makes. If the protocol was meant to change, write the \
      vectors again with ACCORD_WRITE_VECTORS=1 and run protocol/verify_vectors.py.
      """)
  }

  static func read(_ name: String) throws -> JSON { try JSON(Data(contentsOf: url(name))) }
}
