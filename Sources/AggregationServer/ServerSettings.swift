package import Cryptography
import Federation
import Foundation
import Storage

/// What a server was first started with, in `server.json`: later starts need not repeat it and cannot
/// change whose server it is.
package struct ServerSettings: Codable, Sendable, Equatable {
  /// Name or address that nodes connect to.
  package var host: String
  /// Port; 0 lets the system choose.
  package var port: Int
  /// The log's origin.
  package var federation: String
  /// The operator's public key, hexadecimal.
  package var operatorKey: String

  /// Why settings cannot be used.
  package enum Problem: Error, Sendable, CustomStringConvertible {
    /// The first start needs an option.
    case missing(option: String)
    /// A fixed setting would change.
    case fixed(setting: String, path: String)
    /// The file is damaged.
    case unreadable(path: String, reason: String)

    package var description: String {
      switch self {
      case .missing(let option): "the first start of a server needs \(option)"
      case .fixed(let setting, let path):
        "the \(setting) is fixed in \(path) and cannot be changed; use a new data directory"
      case .unreadable(let path, let reason): "\(path) cannot be read: \(reason)"
      }
    }
  }

  /// Combines options with what the directory remembers, and remembers the result.
  package static func resolve(
    directory: String, host: String?, port: Int?, federation: String?, operatorKey: VerifyingKey?
  ) throws -> ServerSettings {
    let data = try DataDirectory(directory, kind: .server)
    let path = data.file("server.json")
    var settings: ServerSettings
    if let bytes = try DurableFile.read(path) {
      do { settings = try JSONDecoder().decode(ServerSettings.self, from: Data(bytes)) } catch {
        throw Problem.unreadable(path: path, reason: CanonicalJSON.explain(error))
      }
      if let federation, federation != settings.federation {
        throw Problem.fixed(setting: "federation's name", path: path)
      }
      if let operatorKey, operatorKey.hex != settings.operatorKey {
        throw Problem.fixed(setting: "operator's key", path: path)
      }
    } else {
      guard let federation else { throw Problem.missing(option: "--federation") }
      guard let operatorKey else { throw Problem.missing(option: "--operator-key") }
      settings = ServerSettings(
        host: "127.0.0.1", port: 8443, federation: federation, operatorKey: operatorKey.hex)
    }
    settings.host = host ?? settings.host
    settings.port = port ?? settings.port
    try settings.write(to: path)
    return settings
  }

  /// Remembers the port that the system chose, so that nodes find the server again after a restart.
  static func remember(port: Int, directory: DataDirectory) throws {
    let path = directory.file("server.json")
    guard let bytes = try DurableFile.read(path) else { return }
    var settings = try JSONDecoder().decode(ServerSettings.self, from: Data(bytes))
    settings.port = port
    try settings.write(to: path)
  }

  private func write(to path: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    try DurableFile.write(Array(try encoder.encode(self)) + [10], to: path)
  }
}
