import Foundation

/// The vectors shared by all implementations.
enum Vectors {
  static let directory =
    ProcessInfo.processInfo.environment["ACCORD_VECTORS_DIR"]
    ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "../../../shared/vectors"
    ).standardized.path

  static func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: directory + "/" + name)
  }

  static func load<Value: Decodable>(_ name: String, as type: Value.Type) throws -> Value {
    try JSONDecoder().decode(type, from: Data(contentsOf: URL(fileURLWithPath: directory + "/" + name)))
  }
}
