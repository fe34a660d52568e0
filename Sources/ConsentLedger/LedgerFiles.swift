import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage

/// Where a ledger keeps what, and its tables.
enum LedgerFiles {
  static func database(_ directory: String) -> String { directory + "/ledger.sqlite" }
  /// The last checkpoint that was signed, apart from the database: what tells a restored copy.
  static func signerState(_ directory: String) -> String { directory + "/ledger-signer.note" }
  static func lock(_ directory: String) -> String { directory + "/ledger.lock" }

  static let schema = DurableDatabase.Schema(
    name: "consent ledger", applicationID: 0x4143_4c47, version: 1
  ) { db in
    // The truth: names and keys of the log, and the leaves' bytes.
    try db.execute(sql: "CREATE TABLE log (field TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    try db.execute(
      sql: "CREATE TABLE leaf (idx INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, bytes BLOB NOT NULL)")
    // Every complete node of the tree, once.
    try db.execute(
      sql: """
        CREATE TABLE node (level INTEGER NOT NULL, idx INTEGER NOT NULL, hash BLOB NOT NULL,
          PRIMARY KEY (level, idx)) WITHOUT ROWID
        """)
    try db.execute(
      sql: "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, root BLOB NOT NULL, note TEXT NOT NULL)")
    // Derived from the leaves, for looking up.
    try db.execute(
      sql: """
        CREATE TABLE consent (idx INTEGER PRIMARY KEY, subject BLOB NOT NULL, purpose TEXT NOT NULL,
          state TEXT NOT NULL)
        """)
    try db.execute(sql: "CREATE INDEX consent_subject ON consent (subject)")
    try db.execute(
      sql: """
        CREATE TABLE enrolment (idx INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
          kind TEXT NOT NULL, valid_from INTEGER NOT NULL)
        """)
  }
}

extension DurableDatabase {
  /// A durable transaction with this module's errors.
  func ledgerWrite<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try write(wrapping: { LedgerError.storage($0) }, { db in try translating { try body(db) } })
  }

  /// Reads on one snapshot with this module's errors.
  func ledgerRead<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try read(wrapping: { LedgerError.storage($0) }, { db in try translating { try body(db) } })
  }

  private func translating<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as MerkleLogError {
      throw LedgerError.log(error)
    } catch let error as ConsentError {
      throw LedgerError.content(error)
    }
  }
}

/// The statements on the ledger's tables, inside a transaction of the caller.
struct LedgerTables {
  let db: Database

  init(_ db: Database) { self.db = db }

  func field(_ name: String) throws -> [UInt8]? {
    try Data.fetchOne(db, sql: "SELECT value FROM log WHERE field = ?", arguments: [name]).map { Array($0) }
  }

  func setField(_ name: String, _ value: [UInt8]) throws {
    try db.execute(sql: "INSERT INTO log (field, value) VALUES (?, ?)", arguments: [name, Data(value)])
  }

  func size() throws -> UInt64 {
    try UInt64.fetchOne(db, sql: "SELECT coalesce(max(idx) + 1, 0) FROM leaf") ?? 0
  }

  func node(_ position: NodePosition) throws -> Digest {
    let statement = try db.cachedStatement(sql: "SELECT hash FROM node WHERE level = ? AND idx = ?")
    let hash = try Data.fetchOne(statement, arguments: [position.level, Int64(bitPattern: position.index)])
    guard let hash, hash.count == Digest.byteCount else {
      throw LedgerError.inconsistentTree(size: position.index << UInt64(position.level))
    }
    return Digest(unchecked: Array(hash))
  }

  func edge(size: UInt64) throws -> CompactRange {
    try CompactRange(size: size, edge: MerkleTree.edge(size: size).map { try node($0) })
  }

  func leaf(_ index: UInt64) throws -> [UInt8]? {
    let statement = try db.cachedStatement(sql: "SELECT bytes FROM leaf WHERE idx = ?")
    return try Data.fetchOne(statement, arguments: [Int64(bitPattern: index)]).map { Array($0) }
  }

  func index(of identity: String) throws -> UInt64? {
    let statement = try db.cachedStatement(sql: "SELECT idx FROM leaf WHERE identity = ?")
    return try UInt64.fetchOne(statement, arguments: [identity])
  }

  func insertNode(_ position: NodePosition, _ hash: Digest) throws {
    let statement = try db.cachedStatement(sql: "INSERT INTO node (level, idx, hash) VALUES (?, ?, ?)")
    try statement.execute(
      arguments: [position.level, Int64(bitPattern: position.index), Data(hash.bytes)])
  }

  func insertLeaf(_ index: UInt64, _ entry: LedgerEntry, _ bytes: [UInt8]) throws {
    let row = Int64(bitPattern: index)
    try db.cachedStatement(sql: "INSERT INTO leaf (idx, identity, bytes) VALUES (?, ?, ?)")
      .execute(arguments: [row, entry.identity, Data(bytes)])
    switch entry {
    case .consent(let event, _, _):
      try db.cachedStatement(
        sql: "INSERT INTO consent (idx, subject, purpose, state) VALUES (?, ?, ?, ?)"
      )
      .execute(
        arguments: [row, Data(event.subject.bytes), event.purpose.id, event.state.rawValue])
    case .enrolment(let record):
      try db.cachedStatement(
        sql: "INSERT INTO enrolment (idx, key, name, kind, valid_from) VALUES (?, ?, ?, ?, ?)"
      )
      .execute(
        arguments: [
          row, Data(record.nodeKey.bytes), record.name, record.kind.rawValue, record.validFromMs,
        ])
    case .round, .notice: break
    }
  }

  /// The pinned operator, if one was pinned when the log was opened.
  func operatorKey() throws -> VerifyingKey? { try field("operator key").map { try VerifyingKey($0) } }

  /// The enrolments among the first entries, read from the leaves themselves.
  func enrolments(below size: UInt64) throws -> [EnrolmentRecord] {
    let leaves = try Data.fetchAll(
      db, sql: "SELECT bytes FROM leaf JOIN enrolment USING (idx) WHERE idx < ? ORDER BY idx",
      arguments: [Int64(size)])
    return try leaves.compactMap { leaf in
      guard case .enrolment(let record) = try LedgerEntry(leaf: Array(leaf)) else { return nil }
      return record
    }
  }

  func insertCheckpoint(_ signed: SignedCheckpoint) throws {
    try db.execute(
      sql: "INSERT OR REPLACE INTO checkpoint (size, root, note) VALUES (?, ?, ?)",
      arguments: [
        Int64(bitPattern: signed.checkpoint.size), Data(signed.checkpoint.root.bytes), signed.noteText,
      ])
  }
}
