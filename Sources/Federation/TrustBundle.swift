package import Cryptography
import Foundation

/// What a node pins before it talks to a federation: where the server is and which keys speak for it.
/// The server writes it as `trust.json` when it starts; an operator hands it to nodes by a way of their own.
package struct TrustBundle: Codable, Sendable, Equatable {
  /// The file's format.
  package var version = 1
  /// The consent log's origin, which names the federation.
  package var federation: String
  /// `https://host:port`.
  package var url: String
  /// The server's TLS certificate, PEM; nothing else is trusted.
  package var certificate: String
  /// Ed25519 key that signs round descriptors, hexadecimal.
  package var serverKey: String
  /// Ed25519 key of the operator, who enrols nodes and signs tasks, hexadecimal.
  package var operatorKey: String
  /// Ed25519 key that signs the log's checkpoints, hexadecimal.
  package var logKey: String
  /// Ed25519 key that cosigns checkpoints with the time, hexadecimal.
  package var freshnessKey: String

  package init(
    federation: String, url: String, certificate: String, serverKey: VerifyingKey,
    operatorKey: VerifyingKey, logKey: VerifyingKey, freshnessKey: VerifyingKey
  ) {
    self.federation = federation
    self.url = url
    self.certificate = certificate
    self.serverKey = serverKey.hex
    self.operatorKey = operatorKey.hex
    self.logKey = logKey.hex
    self.freshnessKey = freshnessKey.hex
  }

  /// Reads a bundle; `source` names it in errors.
  package static func decode(_ bytes: [UInt8], source: String) throws(FederationError) -> TrustBundle {
    let bundle: TrustBundle
    do { bundle = try JSONDecoder().decode(TrustBundle.self, from: Data(bytes)) } catch {
      throw .component(
        name: source, reason: "this is not a trust bundle: \(CanonicalJSON.explain(error))")
    }
    guard bundle.version == 1 else {
      throw .mismatch(
        what: "the version of \(source)", expected: "1", actual: "\(bundle.version)")
    }
    _ = try bundle.keys(source: source)
    return bundle
  }

  /// Readable JSON with sorted keys.
  package func encode() throws(FederationError) -> [UInt8] {
    try component("trust bundle") {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
      return Array(try encoder.encode(self)) + [10]
    }
  }

  /// The pinned Ed25519 keys.
  package struct Keys: Sendable {
    /// Signs round descriptors.
    package let server: VerifyingKey
    /// Enrols nodes and signs tasks.
    package let `operator`: VerifyingKey
    /// Signs checkpoints.
    package let log: VerifyingKey
    /// Cosigns checkpoints with the time.
    package let freshness: VerifyingKey
  }

  /// The pinned keys; `source` names the file in errors.
  package func keys(source: String = "trust.json") throws(FederationError) -> Keys {
    do {
      return Keys(
        server: try VerifyingKey(hex: serverKey), operator: try VerifyingKey(hex: operatorKey),
        log: try VerifyingKey(hex: logKey), freshness: try VerifyingKey(hex: freshnessKey))
    } catch {
      throw .component(name: source, reason: "\(error)")
    }
  }
}
