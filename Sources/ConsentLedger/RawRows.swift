import GRDB
import GRDBSQLite

/// Rows of a query, read column by column without an object a row or a value: for tables of millions of rows.
/// Types are strict: a number stored as text is no number, so that a changed type is noticed.
struct RawRows {
  // Keeps the statement alive.
  private let statement: Statement
  private let handle: SQLiteStatement

  /// Starts a query; it may not be used again before this is gone.
  init(_ db: Database, _ sql: String, _ arguments: StatementArguments = []) throws {
    statement = try db.makeStatement(sql: sql)
    statement.arguments = arguments
    handle = statement.sqliteStatement
  }

  /// Moves to the next row; false after the last.
  func next() throws -> Bool {
    let code = sqlite3_step(handle)
    if code == SQLITE_ROW { return true }
    guard code == SQLITE_DONE else { throw DatabaseError(resultCode: ResultCode(rawValue: code)) }
    return false
  }

  /// An integer; nil if the column holds anything else.
  func integer(_ column: Int32) -> Int64? {
    sqlite3_column_type(handle, column) == SQLITE_INTEGER ? sqlite3_column_int64(handle, column) : nil
  }

  /// Whether the column is null.
  func isNull(_ column: Int32) -> Bool { sqlite3_column_type(handle, column) == SQLITE_NULL }

  /// Replaces the buffer by a blob's bytes; false if the column holds anything else.
  func blob(_ column: Int32, into buffer: inout [UInt8]) -> Bool {
    buffer.removeAll(keepingCapacity: true)
    guard sqlite3_column_type(handle, column) == SQLITE_BLOB else { return false }
    let count = Int(sqlite3_column_bytes(handle, column))
    if let base = sqlite3_column_blob(handle, column) {
      buffer.append(contentsOf: UnsafeRawBufferPointer(start: base, count: count))
    }
    return true
  }

  /// The column as text; nil if it holds anything else.
  func text(_ column: Int32) -> String? {
    guard sqlite3_column_type(handle, column) == SQLITE_TEXT, let base = sqlite3_column_text(handle, column)
    else { return nil }
    return String(cString: base)
  }
}
