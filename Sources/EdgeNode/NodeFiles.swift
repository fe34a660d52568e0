package import ConsentLedger
package import Cryptography
package import Federation
import Foundation
import MerkleLog
package import Storage

/// A node's data directory and what is in it: keys, the pinned federation, policy, records, vault, mirror of
/// the log and budgets. Only one process at a time runs a node; tools that record consent share its files
/// without taking its lock.
package struct NodeFiles: Sendable {
  /// Who the node is.
  package struct Settings: Codable, Sendable {
    /// Its name for people.
    package var name: String
  }

  /// The directory.
  package let path: String
  /// What the node trusts.
  package let trust: TrustBundle
  /// What the node allows.
  package let policy: NodePolicy
  /// Its name for people.
  package let name: String
  /// The node's identity.
  package let identity: SigningKey
  /// The vault's key-encryption key.
  let vaultKey: SecretBytes

  /// Creates a node's files, or completes what is missing; what exists stays as it is.
  package static func create(
    path: String, name: String, trust: [UInt8], policy: NodePolicy
  ) throws -> NodeFiles {
    let bundle = try TrustBundle.decode(trust, source: "the trust bundle")
    let directory = try DataDirectory(path, kind: .node)
    _ = try directory.loadOrCreateSigningKey(name: "identity.key")
    _ = try directory.loadOrCreateSecret(name: "vault.key")
    if let known = try DurableFile.read(directory.file("trust.json")) {
      let pinned = try TrustBundle.decode(known, source: directory.file("trust.json"))
      // Address and certificate may change; the keys may not.
      guard pinned.serverKey == bundle.serverKey, pinned.operatorKey == bundle.operatorKey,
        pinned.logKey == bundle.logKey, pinned.freshnessKey == bundle.freshnessKey,
        pinned.federation == bundle.federation
      else {
        throw EdgeNodeError.file(
          path: directory.file("trust.json"), reason: "this node is pinned to other keys; use a new directory"
        )
      }
    }
    try DurableFile.write(try bundle.encode(), to: directory.file("trust.json"))
    if !DurableFile.exists(directory.file("policy.json")) {
      try DurableFile.write(try pretty(policy), to: directory.file("policy.json"))
    }
    if !DurableFile.exists(directory.file("node.json")) {
      try DurableFile.write(try pretty(Settings(name: name)), to: directory.file("node.json"))
    }
    return try NodeFiles(directory)
  }

  /// Reads the files of a directory that this process holds.
  package init(_ directory: DataDirectory) throws { try self.init(reading: directory) }

  /// Reads the files of a node that may be running: for tools that record consent or look things up.
  package init(sharing path: String) throws {
    try self.init(reading: try DataDirectoryReader(path, kind: .node))
  }

  private init(reading directory: some KeyDirectory) throws {
    path = directory.path
    trust = try TrustBundle.decode(
      try Self.required(directory.file("trust.json")), source: directory.file("trust.json"))
    policy = try Self.json(NodePolicy.self, directory.file("policy.json"))
    name = try Self.json(Settings.self, directory.file("node.json")).name
    identity = try directory.loadSigningKey(name: "identity.key")
    vaultKey = try directory.loadSecret(name: "vault.key")
  }

  /// The node's vault.
  package func openVault() throws(LedgerError) -> SubjectVault {
    try SubjectVault.open(path: path + "/vault.sqlite", keyEncryptionKey: vaultKey)
  }

  /// The node's copy of the log.
  package func openMirror() throws -> LedgerMirror {
    let keys = try trust.keys(source: path + "/trust.json")
    let verifiers = try CheckpointVerifiers(
      origin: trust.federation, logKey: keys.log, freshnessKey: keys.freshness)
    return try LedgerMirror.open(
      directory: path, verifiers: verifiers, operatorKey: keys.operator,
      maximumAgeSeconds: Int64(policy.maximumCheckpointAgeSeconds))
  }

  private static func required(_ path: String) throws -> [UInt8] {
    guard let bytes = try DurableFile.read(path) else {
      throw EdgeNodeError.file(path: path, reason: "it is missing; enrol the node with `accord node enrol`")
    }
    return bytes
  }

  private static func json<Value: Decodable>(_ type: Value.Type, _ path: String) throws -> Value {
    do { return try JSONDecoder().decode(type, from: Data(try required(path))) } catch let error
      as DecodingError
    {
      throw EdgeNodeError.file(path: path, reason: CanonicalJSON.explain(error))
    }
  }

  private static func pretty(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    return Array(try encoder.encode(value)) + [10]
  }
}
