package import Consent
package import Cryptography
import Foundation
import GRDB
package import Storage
import Synchronization

/// What links customers to their tags in the log, and everything personal that this node keeps for the log
/// (protocol/CONSENT-LEDGER.md, section 8). Per customer a random 32-byte key S, wrapped under a
/// key-encryption key that lies in another file; tag, payload key and commitment key derive from S, so
/// destroying the row severs the log from the person. Customers' ids are not in the file in the clear: rows
/// are found by a keyed hash of the id, so nobody can list the customers.
///
/// `secure_delete` is on, and an erasure searches the files for what it destroyed.
package final class SubjectVault: Sendable {
  /// Where a crash can be tried.
  package enum Step: Sendable {
    /// The subject's rows are deleted and committed; the files are not cleaned yet.
    case erasureCommitted
    /// The rows are under the new key and committed; the files are not cleaned yet.
    case rotationCommitted
  }

  /// Which of the keys that `open` was given opened the file.
  package enum KeyInUse: Hashable, Sendable {
    /// The key file in force. A pending key file is of a rotation that did not happen: delete or repeat it.
    case current
    /// The pending one: the rotation happened, only its key file was not put in place yet. Do that now.
    case pending
  }

  /// The file, such as `vault.sqlite`.
  package let path: String
  /// Which key opened the file.
  package let keyInUse: KeyInUse
  let database: DurableDatabase
  let keys: Mutex<VaultKeys>
  let random: Mutex<RandomStream>
  let faults: @Sendable (Step) throws -> Void

  /// The tables. Rows about a subject refer to it by the number of its row, which means nothing without it.
  package static let schema = DurableDatabase.Schema(
    name: "subject vault", applicationID: 0x4143_5654, version: 3, erasesDeleted: true
  ) { db in
    for sql in [
      "CREATE TABLE vault (field TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
      // In the order of arrival, so that new subjects fill pages one after another; only the index is random.
      "CREATE TABLE subject (id INTEGER PRIMARY KEY, lookup BLOB NOT NULL, wrapped BLOB NOT NULL, "
        + "draft INTEGER)",
      subjectIndex,
      "CREATE TABLE session (id INTEGER PRIMARY KEY, session BLOB NOT NULL UNIQUE, round INTEGER NOT NULL, "
        + "time INTEGER NOT NULL)",
      "CREATE TABLE use (session INTEGER, subject INTEGER, PRIMARY KEY (session, subject)) WITHOUT ROWID",
      "CREATE TABLE payload (subject INTEGER, event BLOB, sealed BLOB NOT NULL, draft INTEGER, "
        + "PRIMARY KEY (subject, event)) WITHOUT ROWID",
      "CREATE TABLE notice (hash BLOB PRIMARY KEY, language TEXT NOT NULL, text TEXT NOT NULL) WITHOUT ROWID",
      "CREATE TABLE evidence (id INTEGER PRIMARY KEY, session BLOB NOT NULL, root BLOB NOT NULL, "
        + "time INTEGER NOT NULL, leaves BLOB NOT NULL, UNIQUE (session, root))",
      "CREATE TABLE evidence_item (evidence INTEGER, subject INTEGER, position INTEGER NOT NULL, "
        + "sealed BLOB NOT NULL, PRIMARY KEY (evidence, subject)) WITHOUT ROWID",
      "CREATE TABLE erasing (id INTEGER PRIMARY KEY, subject INTEGER UNIQUE, tag BLOB NOT NULL, "
        + "event BLOB NOT NULL, time INTEGER NOT NULL, sealed BLOB, counts TEXT)",
    ] { try db.execute(sql: sql) }
  }

  static let subjectIndex = "CREATE UNIQUE INDEX subject_lookup ON subject (lookup)"

  /// Opens the vault's file, or begins one. Finishes what a crash left of an erasure or a rotation.
  /// - Parameters:
  ///   - keyEncryptionKey: 32 bytes from a file of mode 0600 outside the database.
  ///   - pendingKey: the new key of a rotation that a crash may have cut off; see `rotateKey(to:)`.
  ///   - random: draws the subjects' keys; tests pass a stream from a seed.
  ///   - faults: tests stop at a step by throwing.
  package static func open(
    path: String, keyEncryptionKey: SecretBytes, pendingKey: SecretBytes? = nil,
    random: RandomStream = .system(), faults: @escaping @Sendable (Step) throws -> Void = { _ in }
  ) throws(LedgerError) -> SubjectVault {
    let database: DurableDatabase
    do { database = try DurableDatabase.open(path, schema) } catch { throw .storage(error) }
    var random = random
    let (keys, keyInUse) = try VaultKeys.load(
      database, current: keyEncryptionKey, pending: pendingKey, using: &random)
    let vault = SubjectVault(database, keys, keyInUse, random, faults)
    try vault.configure()
    return vault
  }

  private init(
    _ database: DurableDatabase, _ keys: VaultKeys, _ keyInUse: KeyInUse, _ random: RandomStream,
    _ faults: @escaping @Sendable (Step) throws -> Void
  ) {
    path = database.path
    self.database = database
    self.keys = Mutex(keys)
    self.keyInUse = keyInUse
    self.random = Mutex(random)
    self.faults = faults
  }

  private func configure() throws(LedgerError) {
    try withoutTransaction { db in
      // A temporary file would lie outside the directory, where no erasure looks.
      try db.execute(sql: "PRAGMA temp_store = MEMORY")
      // Batches touch pages all over the index: hold them, and copy each back once for many batches.
      try db.execute(sql: "PRAGMA cache_size = -65536")
      try db.execute(sql: "PRAGMA wal_autocheckpoint = 16384")
    }
    do { try finishCleaning() } catch {
      // Another process holds the file: it or the next opening cleans.
      switch error {
      case .storage(.inUse): break
      default: throw error
      }
    }
  }

  /// Closes the file.
  package func close() throws(LedgerError) {
    do { try database.close() } catch { throw .storage(error) }
  }

  /// How many subjects have a key.
  package func count() throws(LedgerError) -> Int {
    try database.ledgerRead { try Int.fetchOne($0, sql: "SELECT count(*) FROM subject") ?? 0 }
  }

  // MARK: Tags

  /// The subject's tag. An unknown subject gets a key first if `create` is true, else the answer is nil; it
  /// is nil, too, for a subject that is being erased.
  package func tag(for subjectID: String, create: Bool) throws(LedgerError) -> SubjectTag? {
    try tags(for: [subjectID], create: create)[subjectID]
  }

  /// The subjects' tags, in one transaction. Without `create`, unknown subjects are absent; subjects that are
  /// being erased always are, so that every gate denies them from then on. `draft` marks the keys that are made.
  package func tags(
    for subjectIDs: [String], create: Bool, draft: VaultDraft? = nil
  ) throws(LedgerError) -> [String: SubjectTag] {
    var made: Set<SubjectTag> = []
    return try tags(for: subjectIDs, create: create, draft: draft, made: &made)
  }

  /// The same; puts the tags of those who were unknown, and of whom nothing can be in the log, into `made`.
  package func tags(
    for subjectIDs: [String], create: Bool, draft: VaultDraft?, made: inout Set<SubjectTag>
  ) throws(LedgerError) -> [String: SubjectTag] {
    var new: Set<SubjectTag> = []
    let keys = heldKeys
    var wanted = Set(subjectIDs).map { Wanted(id: $0, lookup: keys.lookup($0)) }
    // Index pages are touched in their order, and rows do not tell who was named first.
    wanted.sort { $0.order < $1.order }
    var tags: [String: SubjectTag] = [:]
    tags.reserveCapacity(wanted.count)
    let body: (Database) throws -> Void = { db in
      let rows = try SubjectRows(db, keys)
      for subject in wanted {
        switch try rows.find(subject.lookup) {
        case .known(let row):
          if create { try self.claim(row, for: draft, db) }
          tags[subject.id] = try row.key.tag
        case .erasing: break
        case .unknown where create:
          let tag = try self.makeSubject(subject.lookup, rows, draft).key.tag
          tags[subject.id] = tag
          new.insert(tag)
        case .unknown: break
        }
      }
    }
    // The writer looks up what it may have to insert: its cache holds the pages then.
    if create { try write(keys, body) } else { try read(keys, body) }
    made.formUnion(new)
    return tags
  }

  private struct Wanted {
    let id: String
    let lookup: [UInt8]
    let order: UInt64

    init(id: String, lookup: [UInt8]) {
      self.id = id
      self.lookup = lookup
      order = lookup.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
  }

  /// Gives a subject that was not found a key.
  func makeSubject(_ lookup: [UInt8], _ rows: SubjectRows, _ draft: VaultDraft?) throws -> SubjectRow {
    let (secret, wrapped) = random.withLock { random in
      let secret = random.secret(32)
      let wrapped = AEAD.seal(
        secret.exportBytes(), key: rows.keys.wrap, additionalData: lookup, using: &random)
      return (secret, wrapped)
    }
    return SubjectRow(
      id: try rows.insert(lookup, wrapped, draft?.token), key: SubjectKey(secret), draft: draft?.token)
  }

  // MARK: What the log acknowledged

  /// Remembers the largest tree in which the ledger acknowledged entries of this node.
  /// - Parameter root: of that tree, from the receipt's checkpoint.
  package func noteAcknowledged(treeSize: UInt64, root: Digest) throws(LedgerError) {
    try database.ledgerWrite { db in
      guard try Self.acknowledged(db).map({ $0.size < treeSize }) ?? true else { return }
      try Self.setField("acknowledged", Array("\(treeSize) \(root.hex)".utf8), db)
    }
  }

  /// The largest tree in which the ledger acknowledged entries of this node: a copy of the log that has not
  /// come as far, or is another log's, may lack a withdrawal that this node has promised to honour.
  package func acknowledged() throws(LedgerError) -> (size: UInt64, root: Digest)? {
    try database.ledgerRead { try Self.acknowledged($0) }
  }

  private static func acknowledged(_ db: Database) throws -> (size: UInt64, root: Digest)? {
    guard let value = try field("acknowledged", db) else { return nil }
    let parts = String(decoding: value, as: UTF8.self).split(separator: " ")
    guard parts.count == 2, let size = UInt64(parts[0]), let root = try? Digest(hex: String(parts[1])) else {
      throw LedgerError.malformedDocument("the vault's note of acknowledged entries")
    }
    return (size, root)
  }
}

// MARK: - Access to the file

extension SubjectVault {
  var heldKeys: VaultKeys { keys.withLock { $0 } }

  /// Reads on one snapshot, whose rows are under the keys that this object holds.
  func read<Result>(_ keys: VaultKeys, _ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try database.ledgerRead { db in
      try keys.requireCurrent(db, path)
      return try body(db)
    }
  }

  /// A durable transaction on rows that are under the keys that this object holds: after a rotation by
  /// another process nothing may be written under the old ones.
  func write<Result>(_ keys: VaultKeys, _ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try database.ledgerWrite { db in
      try keys.requireCurrent(db, path)
      return try body(db)
    }
  }

  func withoutTransaction(_ body: (Database) throws -> Void) throws(LedgerError) {
    try DurableDatabase.passing(path, { LedgerError.storage($0) }) {
      try database.pool.writeWithoutTransaction(body)
    }
  }

  static func field(_ name: String, _ db: Database) throws -> [UInt8]? {
    let statement = try db.cachedStatement(sql: "SELECT value FROM vault WHERE field = ?")
    return try Data.fetchOne(statement, arguments: [name]).map { Array($0) }
  }

  static func setField(_ name: String, _ value: [UInt8], _ db: Database) throws {
    try db.execute(
      sql: "INSERT OR REPLACE INTO vault (field, value) VALUES (?, ?)", arguments: [name, Data(value)])
  }
}

/// A subject whose key is open.
struct SubjectRow {
  let id: Int64
  let key: SubjectKey
  /// Whose append made it, as long as nobody else used it (`VaultDraft`).
  var draft: Int64?
}

/// The statements on the table of subjects, inside a transaction of the caller.
struct SubjectRows {
  enum Found {
    case known(SubjectRow)
    /// The row's number.
    case erasing(Int64)
    case unknown
  }

  let db: Database
  let keys: VaultKeys
  private let erasing: Set<Int64>
  private let select: RawStatement
  private let insertion: Statement

  init(_ db: Database, _ keys: VaultKeys) throws {
    self.db = db
    self.keys = keys
    erasing = Set(try Int64.fetchAll(db, sql: "SELECT subject FROM erasing WHERE subject IS NOT NULL"))
    select = try RawStatement(db, "SELECT id, wrapped, draft FROM subject WHERE lookup = ?")
    insertion = try db.cachedStatement(sql: "INSERT INTO subject (lookup, wrapped, draft) VALUES (?, ?, ?)")
  }

  func find(_ lookup: [UInt8]) throws -> Found {
    let row = try select.run { select in
      try lookup.withUnsafeBytes { lookup -> (id: Int64, wrapped: [UInt8], draft: Int64?)? in
        try select.bind(lookup, at: 1)
        return try select.step() ? (select.integer(0), select.blob(1), select.optionalInteger(2)) : nil
      }
    }
    guard let row else { return .unknown }
    if erasing.contains(row.id) { return .erasing(row.id) }
    var subject = try open(row.id, lookup, row.wrapped)
    subject.draft = row.draft
    return .known(subject)
  }

  func open(_ id: Int64, _ lookup: [UInt8], _ wrapped: [UInt8]) throws -> SubjectRow {
    guard let bytes = try? AEAD.open(wrapped, key: keys.wrap, additionalData: lookup), bytes.count == 32
    else {
      throw LedgerError.damagedVault(path: keys.path)
    }
    return SubjectRow(id: id, key: SubjectKey(SecretBytes(copying: bytes)))
  }

  /// The next rows in the order of their numbers, at most 4,096: number, lookup, wrapped key.
  func after(_ id: Int64) throws -> [Row] {
    let statement = try db.cachedStatement(
      sql: "SELECT id, lookup, wrapped FROM subject WHERE id > ? ORDER BY id LIMIT 4096")
    return try Row.fetchAll(statement, arguments: [id])
  }

  /// Opens a row of `after`.
  func open(_ row: Row) throws -> (subject: SubjectRow, lookup: [UInt8]) {
    let lookup = Array(try row.decode(Data.self, atIndex: 1))
    let wrapped = Array(try row.decode(Data.self, atIndex: 2))
    return (try open(row.decode(Int64.self, atIndex: 0), lookup, wrapped), lookup)
  }

  /// The new row's number.
  func insert(_ lookup: [UInt8], _ wrapped: [UInt8], _ draft: Int64?) throws -> Int64 {
    try insertion.execute(arguments: [Data(lookup), Data(wrapped), draft])
    return db.lastInsertedRowID
  }
}
