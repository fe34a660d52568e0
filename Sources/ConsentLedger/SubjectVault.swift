package import Consent
package import Cryptography
import Foundation
import GRDB
import Storage
import Synchronization

/// A round in which a subject's data were used.
package struct RoundUse: Hashable, Sendable {
  /// The round's session identifier.
  package let sessionID: Digest
  /// Its number within the task.
  package let round: UInt64
  /// When the use was recorded, ms of UTC since 1970.
  package let timeMs: Int64
}

/// The link between customers and their tags in the log: per customer a random 32-byte key S, wrapped under a
/// key-encryption key that lies in another file. The tag is BLAKE2b(key S, "tag"), so destroying the row
/// severs the log from the person. Customers' ids are not in the file either: rows are found by a keyed hash
/// of the id. The index from customers to rounds lives here too, for the same reason. `secure_delete` is on.
package final class SubjectVault: Sendable {
  /// The file, such as `vault.sqlite`.
  package let path: String
  private let database: DurableDatabase
  private let keyEncryptionKey: SecretBytes
  private let lookupKey: SecretBytes
  private let random: Mutex<RandomStream>

  private static let schema = DurableDatabase.Schema(
    name: "subject vault", applicationID: 0x4143_5654, version: 1, erasesDeleted: true
  ) { db in
    try db.execute(sql: "CREATE TABLE vault (field TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    try db.execute(
      sql: "CREATE TABLE subject (lookup BLOB PRIMARY KEY, wrapped BLOB NOT NULL) WITHOUT ROWID")
    try db.execute(
      sql: """
        CREATE TABLE use (lookup BLOB NOT NULL, session BLOB NOT NULL, round INTEGER NOT NULL,
          time INTEGER NOT NULL, PRIMARY KEY (lookup, session)) WITHOUT ROWID
        """)
  }

  /// Opens the vault's file, or begins one.
  /// - Parameters:
  ///   - keyEncryptionKey: 32 bytes from a file of mode 0600 outside the database.
  ///   - random: draws the subjects' keys; tests pass a stream from a seed.
  package static func open(
    path: String, keyEncryptionKey: SecretBytes, random: RandomStream = .system()
  ) throws(LedgerError) -> SubjectVault {
    precondition(keyEncryptionKey.count == 32, "a key-encryption key has 32 bytes")
    let database: DurableDatabase
    do { database = try DurableDatabase.open(path, schema) } catch { throw .storage(error) }
    let vault = SubjectVault(database, keyEncryptionKey, random)
    try vault.checkKey()
    return vault
  }

  private init(_ database: DurableDatabase, _ key: SecretBytes, _ random: RandomStream) {
    path = database.path
    self.database = database
    // Two uses, two keys.
    keyEncryptionKey = Hash.derive(domain: "accord vault wrap v1", [], key: key)
    lookupKey = Hash.derive(domain: "accord vault lookup v1", [], key: key)
    self.random = Mutex(random)
  }

  /// A known value under the key tells another key's vault apart from a damaged row.
  private func checkKey() throws(LedgerError) {
    let name = Array("key check".utf8)
    try database.ledgerWrite { db in
      if let value = try Data.fetchOne(db, sql: "SELECT value FROM vault WHERE field = 'key check'") {
        guard (try? AEAD.open(Array(value), key: keyEncryptionKey, additionalData: name)) == name else {
          throw LedgerError.wrongVaultKey(path: path)
        }
      } else {
        try db.execute(
          sql: "INSERT INTO vault (field, value) VALUES ('key check', ?)",
          arguments: [Data(seal(name, additionalData: name))])
      }
    }
  }

  /// The subject's tag. An unknown subject gets a key first if `create` is true, else the answer is nil.
  package func tag(for subjectID: String, create: Bool) throws(LedgerError) -> SubjectTag? {
    try tags(for: [subjectID], create: create)[subjectID]
  }

  /// The subjects' tags, in one transaction. Without `create`, unknown subjects are absent.
  package func tags(for subjectIDs: [String], create: Bool) throws(LedgerError) -> [String: SubjectTag] {
    var found = try database.ledgerRead { try lookUp(subjectIDs, $0) }
    guard create, found.count < Set(subjectIDs).count else { return found }
    found = try database.ledgerWrite { db in
      // Read again: another thread may have created some meanwhile.
      var tags = try lookUp(subjectIDs, db)
      let insert = try db.cachedStatement(sql: "INSERT INTO subject (lookup, wrapped) VALUES (?, ?)")
      for id in subjectIDs where tags[id] == nil {
        let secret = random.withLock { $0.secret(32) }
        let lookup = lookup(id)
        try insert.execute(
          arguments: [Data(lookup), Data(seal(secret.exportBytes(), additionalData: lookup))])
        tags[id] = try tag(secret)
      }
      return tags
    }
    return found
  }

  /// Remembers that the ledger acknowledged entries of this node in a tree of `treeSize` entries.
  package func noteAcknowledged(treeSize: UInt64) throws(LedgerError) {
    try database.ledgerWrite { db in
      guard try Self.acknowledged(db) < treeSize else { return }
      try db.execute(
        sql: "INSERT OR REPLACE INTO vault (field, value) VALUES ('acknowledged', ?)",
        arguments: [Data(String(treeSize).utf8)])
    }
  }

  /// The largest tree in which the ledger acknowledged entries of this node: a copy of the log that has not
  /// come as far may lack a withdrawal that this node has promised to honour.
  package func acknowledgedSize() throws(LedgerError) -> UInt64 {
    try database.ledgerRead { try Self.acknowledged($0) }
  }

  private static func acknowledged(_ db: Database) throws -> UInt64 {
    guard let value = try Data.fetchOne(db, sql: "SELECT value FROM vault WHERE field = 'acknowledged'")
    else { return 0 }
    return UInt64(String(decoding: value, as: UTF8.self)) ?? .max
  }

  /// Records that the subjects' data were used in a round: unknown subjects are ignored, repeated calls
  /// change nothing.
  package func recordUse(
    sessionID: Digest, round: UInt64, subjects: [String], timeMs: Int64
  ) throws(LedgerError) {
    try database.ledgerWrite { db in
      let insert = try db.cachedStatement(
        sql: """
          INSERT OR IGNORE INTO use (lookup, session, round, time)
            SELECT lookup, ?, ?, ? FROM subject WHERE lookup = ?
          """)
      for id in subjects {
        try insert.execute(
          arguments: [Data(sessionID.bytes), Int64(bitPattern: round), timeMs, Data(lookup(id))])
      }
    }
  }

  /// The rounds that used the subject's data, oldest first.
  package func rounds(of subjectID: String) throws(LedgerError) -> [RoundUse] {
    try database.ledgerRead { db in
      try Row.fetchAll(
        db, sql: "SELECT session, round, time FROM use WHERE lookup = ? ORDER BY time, round",
        arguments: [Data(lookup(subjectID))]
      ).map { row in
        let session = try row.decode(Data.self, atIndex: 0)
        return RoundUse(
          sessionID: try Digest(Array(session)),
          round: UInt64(bitPattern: try row.decode(Int64.self, atIndex: 1)),
          timeMs: try row.decode(atIndex: 2))
      }
    }
  }

  private func lookUp(_ subjectIDs: [String], _ db: Database) throws -> [String: SubjectTag] {
    let select = try db.cachedStatement(sql: "SELECT wrapped FROM subject WHERE lookup = ?")
    var tags: [String: SubjectTag] = [:]
    for id in subjectIDs where tags[id] == nil {
      let lookup = lookup(id)
      guard let wrapped = try Data.fetchOne(select, arguments: [Data(lookup)]) else { continue }
      guard let bytes = try? AEAD.open(Array(wrapped), key: keyEncryptionKey, additionalData: lookup),
        bytes.count == 32
      else { throw LedgerError.damagedVault(path: path) }
      tags[id] = try tag(SecretBytes(copying: bytes))
    }
    return tags
  }

  private func tag(_ secret: SecretBytes) throws -> SubjectTag {
    try SubjectTag(Hash.blake2b(Array("tag".utf8), key: secret).bytes)
  }

  private func lookup(_ subjectID: String) -> [UInt8] {
    Hash.blake2b(domain: "accord vault subject v1", [Array(subjectID.utf8)], key: lookupKey).bytes
  }

  private func seal(_ bytes: [UInt8], additionalData: [UInt8]) -> [UInt8] {
    random.withLock {
      AEAD.seal(bytes, key: keyEncryptionKey, additionalData: additionalData, using: &$0)
    }
  }
}
