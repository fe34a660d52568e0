import GRDB
import GRDBSQLite

/// The two statements that every entry of an append needs, bound to bytes in place: a log takes tens of thousands of
/// entries a second.
struct LeafStatements {
  private let find: RawStatement
  private let insert: RawStatement

  init(_ db: Database) throws {
    find = try RawStatement(db, "SELECT idx FROM leaf WHERE identity = ?")
    insert = try RawStatement(db, "INSERT INTO leaf (idx, kind, identity, bytes) VALUES (?, ?, ?, ?)")
  }

  /// Where the entry of an identity stands.
  func index(of identity: [UInt8]) throws -> UInt64? {
    try find.run { statement in
      try identity.withUnsafeBytes { identity in
        try statement.bind(identity, at: 1)
        return try statement.step() ? UInt64(bitPattern: statement.integer(0)) : nil
      }
    }
  }

  /// Adds an entry.
  func insert(_ index: UInt64, _ kind: EntryKind, identity: [UInt8], _ bytes: [UInt8]) throws {
    try insert.run { statement in
      try identity.withUnsafeBytes { identity in
        try bytes.withUnsafeBytes { bytes in
          try statement.bind(Int64(bitPattern: index), at: 1)
          try statement.bind(Int64(kind.code), at: 2)
          try statement.bind(identity, at: 3)
          try statement.bind(bytes, at: 4)
          _ = try statement.step()
        }
      }
    }
  }
}

/// A statement whose values are bound without copies. They have to stay where they are until `run` ends.
struct RawStatement {
  // Keeps the statement alive.
  private let statement: Statement
  private let handle: SQLiteStatement

  init(_ db: Database, _ sql: String) throws {
    statement = try db.cachedStatement(sql: sql)
    handle = statement.sqliteStatement
  }

  /// Runs the statement once; whatever happens it can be run again then.
  func run<Result>(_ body: (RawStatement) throws -> Result) throws -> Result {
    defer {
      sqlite3_reset(handle)
      sqlite3_clear_bindings(handle)
    }
    return try body(self)
  }

  func bind(_ value: Int64, at place: Int32) throws { try check(sqlite3_bind_int64(handle, place, value)) }

  func bind(_ bytes: UnsafeRawBufferPointer, at place: Int32) throws {
    // No destructor: SQLite reads the bytes in place.
    try check(sqlite3_bind_blob(handle, place, bytes.baseAddress, Int32(bytes.count), nil))
  }

  /// Whether there is a row.
  func step() throws -> Bool {
    let code = sqlite3_step(handle)
    if code == SQLITE_ROW { return true }
    guard code == SQLITE_DONE else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    return false
  }

  func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

  /// Nil for NULL.
  func optionalInteger(_ column: Int32) -> Int64? {
    sqlite3_column_type(handle, column) == SQLITE_NULL ? nil : integer(column)
  }

  func blob(_ column: Int32) -> [UInt8] {
    guard let bytes = sqlite3_column_blob(handle, column) else { return [] }
    return Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, column))))
  }

  private func check(_ code: Int32) throws {
    guard code == SQLITE_OK else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
  }
}
