import Cryptography
import Storage

/// The keys of a server's data directory, made on first start, mode 0600.
struct ServerKeys: Sendable {
  /// Signs round descriptors and the ledger's round records.
  let server: SigningKey
  /// Signs the log's checkpoints.
  let log: SigningKey
  /// Cosigns checkpoints with the time.
  let freshness: SigningKey
  /// The operator's public key: who may enrol nodes and submit tasks.
  let operatorKey: VerifyingKey

  init(_ directory: DataDirectory, operatorKey: VerifyingKey) throws(StorageError) {
    // Records in the ledger are signed by the log's key or an enrolled server: here one key is both.
    log = try directory.loadOrCreateSigningKey(name: "log.key")
    server = log
    freshness = try directory.loadOrCreateSigningKey(name: "freshness.key")
    self.operatorKey = operatorKey
  }
}
