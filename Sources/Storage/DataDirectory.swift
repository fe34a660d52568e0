package import Cryptography
import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The directory in which a server or a node keeps everything: mode 0700, a `VERSION` file that says what it
/// is, and a lock that keeps a second process out for as long as this object lives.
package final class DataDirectory: KeyDirectory {
  /// Whose directory it is: one role's files are never opened by another.
  package enum Kind: String, Sendable, CaseIterable {
    /// The aggregation server with the ledger.
    case server
    /// An edge node.
    case node
  }

  /// The version of the layout that this program reads and writes.
  package static let formatVersion = 1

  /// The directory, without a slash at its end.
  package let path: String
  /// Whose it is.
  package let kind: Kind
  private let lock: FileLock

  /// Opens a data directory and locks it. With `create`, a missing or empty directory becomes one;
  /// a directory with other content, of another version or of another kind is refused.
  package init(_ path: String, kind: Kind, create: Bool = true) throws(StorageError) {
    let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    var isDirectory: ObjCBool = false
    if !FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) {
      guard create else { throw .noDirectory(path: path) }
      try Self.makeDirectory(path)
    } else if !isDirectory.boolValue {
      throw .notADataDirectory(path: path)
    }
    let hasVersion = try Self.checkVersion(path, kind)
    if !hasVersion { try Self.checkIsFresh(path, create: create) }
    let lock = try FileLock(path: path + "/.lock", subject: path)
    if !hasVersion {
      // Last, and atomic: a directory is an Accord directory once its creation was complete.
      guard chmod(path, 0o700) == 0 else { throw Posix.failure("protect", path) }
      try Self.makeDirectory(path + "/keys")
      let version = "accord \(kind.rawValue) \(Self.formatVersion)\n"
      try DurableFile.write(Array(version.utf8), to: path + "/VERSION")
    }
    self.path = path
    self.kind = kind
    self.lock = lock
  }

  private static func makeDirectory(_ path: String) throws(StorageError) {
    do {
      try FileManager.default.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw Posix.failure("create", path)
    }
  }

  /// Whether there is a VERSION file; one that does not fit is an error.
  fileprivate static func checkVersion(_ path: String, _ kind: Kind) throws(StorageError) -> Bool {
    guard let bytes = try DurableFile.read(path + "/VERSION", limit: 256) else { return false }
    let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard words.count == 3, words[0] == "accord", let found = Kind(rawValue: String(words[1])),
      let version = Int(words[2])
    else { throw .notADataDirectory(path: path) }
    guard version == formatVersion else {
      throw .otherVersion(path: path, expected: formatVersion, found: version)
    }
    guard found == kind else {
      throw .otherKind(path: path, expected: kind.rawValue, found: found.rawValue)
    }
    return true
  }

  /// A directory without VERSION may only be made into one when it is empty, or when its creation was cut
  /// off.
  private static func checkIsFresh(_ path: String, create: Bool) throws(StorageError) {
    let names: [String]
    do {
      names = try FileManager.default.contentsOfDirectory(atPath: path)
    } catch {
      throw Posix.failure("list", path)
    }
    guard create, names.allSatisfy({ [".lock", "keys", "VERSION.new"].contains($0) }) else {
      throw .notADataDirectory(path: path)
    }
  }
}

// MARK: - Key files

/// A directory with key files in `keys/`.
package protocol KeyDirectory: Sendable {
  /// The directory, without a slash at its end.
  var path: String { get }
}

/// Reads a data directory beside the process that holds its lock: tools that look things up, or that write
/// only databases that several processes may share.
package struct DataDirectoryReader: KeyDirectory {
  package let path: String

  /// Checks version and kind; takes no lock and creates nothing.
  package init(_ path: String, kind: DataDirectory.Kind) throws(StorageError) {
    let path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    guard DurableFile.exists(path) else { throw .noDirectory(path: path) }
    guard try DataDirectory.checkVersion(path, kind) else { throw .notADataDirectory(path: path) }
    self.path = path
  }
}

extension KeyDirectory {
  /// The path of a file of this directory.
  package func file(_ name: String) -> String { path + "/" + name }

  /// The secret of the key file `keys/name`: hexadecimal text, mode 0600.
  package func loadSecret(name: String, count: Int = 32) throws(StorageError) -> SecretBytes {
    let path = try keyPath(name)
    let text = try DurableFile.readSecret(path)
    guard text.last == 10,
      let bytes = Hex.decode(String(decoding: text.dropLast(), as: UTF8.self)), bytes.count == count
    else { throw .malformedKeyFile(path: path) }
    return SecretBytes(copying: bytes)
  }

  /// The secret of the key file, drawn and written durably first if there is no such file.
  package func loadOrCreateSecret(
    name: String, count: Int = 32, using random: inout RandomStream
  ) throws(StorageError) -> SecretBytes {
    let path = try keyPath(name)
    if !FileManager.default.fileExists(atPath: path) {
      let secret = random.secret(count)
      try DurableFile.write(Array((Hex.encode(secret.exportBytes()) + "\n").utf8), to: path)
    }
    return try loadSecret(name: name, count: count)
  }

  /// `loadOrCreateSecret` under the operating system's generator.
  package func loadOrCreateSecret(name: String, count: Int = 32) throws(StorageError) -> SecretBytes {
    var random = RandomStream.system()
    return try loadOrCreateSecret(name: name, count: count, using: &random)
  }

  /// The signing key of a key file.
  package func loadSigningKey(name: String) throws(StorageError) -> SigningKey {
    try signingKey(loadSecret(name: name), name)
  }

  /// The signing key of a key file, made first if there is none.
  package func loadOrCreateSigningKey(name: String) throws(StorageError) -> SigningKey {
    try signingKey(loadOrCreateSecret(name: name), name)
  }

  private func signingKey(_ seed: SecretBytes, _ name: String) throws(StorageError) -> SigningKey {
    do {
      return try SigningKey(seed: seed)
    } catch {
      throw .malformedKeyFile(path: try keyPath(name))
    }
  }

  private func keyPath(_ name: String) throws(StorageError) -> String {
    let isFine = name.utf8.allSatisfy {
      (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
        || [45, 46, 95].contains($0)
    }
    guard isFine, !name.isEmpty, name.utf8.count <= 64, !name.hasPrefix(".") else { throw .invalidName(name) }
    return path + "/keys/" + name
  }
}
