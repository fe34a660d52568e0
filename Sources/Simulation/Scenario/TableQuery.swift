import Foundation
import GRDB

/// Records that are made from several files by one SQL query (SQLite's dialect, window functions and dates
/// included): sums over transactions, what was known at a date, joins, splits.
package struct TableQuery: Codable, Equatable, Sendable {
  /// A file as a table of the query.
  package struct NamedFile: Codable, Equatable, Sendable {
    /// The name of the table.
    package var name: String
    /// CSV, idx (MNIST's format), or a list without a header; each may be gzip.
    package var file: String
    /// The columns of a file without a header; nil if it has one.
    package var columns: [String]?

    package init(name: String, file: String, columns: [String]? = nil) {
      self.name = name
      self.file = file
      self.columns = columns
    }
  }

  /// The tables.
  package var tables: [NamedFile]
  /// One SELECT. Every column of its result is a column of the records.
  package var sql: String

  package init(tables: [NamedFile], sql: String) {
    self.tables = tables
    self.sql = sql
  }

  /// The column that every table has besides its own: the record's number, from 0.
  static let recordColumn = "record_number"

  /// Why the text is no query that may be run; nil if it is one. It reads the named tables and nothing else:
  /// no statement that could open or change a file begins with SELECT or WITH, and a second statement is
  /// refused by who prepares it.
  static func problem(of sql: String) -> String? {
    let first = withoutLeadingComments(sql).prefix { $0.isLetter || $0 == "_" }.uppercased()
    guard first == "SELECT" || first == "WITH" else { return "must begin with SELECT or WITH" }
    let words = Set(sql.uppercased().split { !$0.isLetter && $0 != "_" })
    if !words.isDisjoint(with: ["RANDOM", "RANDOMBLOB"]) {
      return "must not use random(): the same scenario gives the same records"
    }
    // Functions of dates take the present where they are given nothing else.
    let asksForTime =
      /(?i)'now'|\b(date|time|datetime|julianday|unixepoch)\s*\(\s*\)|\bstrftime\s*\([^,()]*\)/
    if !words.isDisjoint(with: ["CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"])
      || sql.contains(asksForTime)
    {
      return "must not ask for the time: the same scenario gives the same records"
    }
    return nil
  }

  /// The text from where SQLite begins to read: words in a comment say nothing about the statement behind it.
  private static func withoutLeadingComments(_ sql: String) -> Substring {
    var rest = Substring(sql)
    while true {
      rest = rest.drop(while: \.isWhitespace)
      if rest.hasPrefix("--") {
        rest = rest.drop { !$0.isNewline }
      } else if rest.hasPrefix("/*"), let end = rest.dropFirst(2).range(of: "*/") {
        rest = rest[end.upperBound...]
      } else {
        return rest
      }
    }
  }

  /// Reads the files, whose paths stand in the order of `tables`, and runs the query.
  ///
  /// A column is numeric if each of its present cells is a decimal number, else text; missing cells are NULL.
  ///
  /// - Throws: `TableError`, for a query that SQLite refuses with its own sentence.
  func run(paths: [String], name: String) throws(TableError) -> Table {
    if let problem = Self.problem(of: sql) { throw .queryFailed(name: name, reason: "the query \(problem)") }
    let queue: DatabaseQueue
    do { queue = try DatabaseQueue() } catch { throw .queryFailed(name: name, reason: "\(error)") }
    for (named, path) in zip(tables, paths) {
      let table = try TableReader.read(path: path, columns: named.columns)
      do { try queue.write { try Self.fill($0, named.name, table) } } catch {
        throw .queryFailed(name: name, reason: Self.sentence(error))
      }
    }
    do {
      let (columns, rows) = try queue.read { try select($0) }
      guard !rows.isEmpty else { throw TableError.queryFailed(name: name, reason: "it gives no records") }
      return Table(columns: columns, rows: rows, path: name)
    } catch {
      if let error = error as? TableError { throw error }
      throw .queryFailed(name: name, reason: Self.sentence(error))
    }
  }

  private static func quoted(_ name: String) -> String {
    "\"" + name.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }

  private static func sentence(_ error: any Error) -> String {
    (error as? DatabaseError)?.message ?? "\(error)"
  }

  private static func fill(_ db: Database, _ name: String, _ table: Table) throws {
    let isNumeric = table.columns.indices.map { column in
      table.rows.allSatisfy { row in TextCell.present(row[column]).map { TextCell.number($0) != nil } ?? true
      }
    }
    let columns = table.columns.map(quoted).joined(separator: ", ")
    try db.execute(
      sql: "CREATE TABLE \(quoted(name)) (\(quoted(recordColumn)) INTEGER PRIMARY KEY, \(columns))")
    let marks = repeatElement("?", count: table.columns.count + 1).joined(separator: ", ")
    let statement = try db.makeStatement(sql: "INSERT INTO \(quoted(name)) VALUES (\(marks))")
    for (number, row) in table.rows.enumerated() {
      var values: [DatabaseValue] = [number.databaseValue]
      values.reserveCapacity(row.count + 1)
      for (column, cell) in row.enumerated() {
        guard let text = TextCell.present(cell) else {
          values.append(.null)
          continue
        }
        if isNumeric[column] {
          values.append(Int64(text)?.databaseValue ?? Double(text)?.databaseValue ?? .null)
        } else {
          values.append(text.databaseValue)
        }
      }
      statement.setUncheckedArguments(StatementArguments(values))
      try statement.execute()
    }
  }

  private func select(_ db: Database) throws -> (columns: [String], rows: [[String]]) {
    let statement = try db.makeStatement(sql: sql)
    guard statement.isReadonly else { throw DatabaseError(message: "it must only read") }
    let columns = statement.columnNames
    guard Set(columns).count == columns.count, columns.allSatisfy({ !$0.isEmpty }) else {
      throw DatabaseError(message: "two columns of the result have one name; name them with AS")
    }
    guard columns.count <= TableReader.maximumColumns else {
      throw DatabaseError(message: "the result has more than \(TableReader.maximumColumns) columns")
    }
    var rows: [[String]] = []
    let cursor = try Row.fetchCursor(statement)
    while let row = try cursor.next() {
      rows.append(
        columns.indices.map { column in
          switch row.databaseValue(at: column).storage {
          case .null: ""
          case .int64(let value): String(value)
          case .double(let value): value.isFinite ? value.description : ""
          case .string(let text): text
          case .blob: ""
          }
        })
    }
    return (columns, rows)
  }
}

extension Row {
  /// The value of a column by its position.
  fileprivate func databaseValue(at index: Int) -> DatabaseValue { self[index] }
}
