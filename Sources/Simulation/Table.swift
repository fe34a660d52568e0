/// A rectangular table of text: a header and at least one record, each with as many cells as the header.
package struct Table: Equatable, Sendable {
  /// The column names, all different. A column without a name is called `column-<n>`, n from 1.
  package let columns: [String]
  /// The records in file order; every record has `columns.count` cells.
  package let rows: [[String]]
  /// Where the table came from, for error sentences.
  package let path: String
  /// The line (from 1) on which each record begins.
  package let lines: [Int]

  /// A table whose records have one line each.
  ///
  /// - Precondition: every record has as many cells as there are columns.
  package init(columns: [String], rows: [[String]], path: String) {
    self.init(columns: columns, rows: rows, path: path, lines: Array(2..<(rows.count + 2)))
  }

  init(columns: [String], rows: [[String]], path: String, lines: [Int]) {
    precondition(rows.allSatisfy { $0.count == columns.count }, "a table is rectangular")
    self.columns = columns
    self.rows = rows
    self.path = path
    self.lines = lines
  }

  /// The index of the column called `name`; `role` says in the error what it was wanted for.
  func index(of name: String, role: String) throws(TableError) -> Int {
    guard let index = columns.firstIndex(of: name) else {
      throw .columnMissing(path: path, name: name, role: role, existing: columns)
    }
    return index
  }

  /// The place of a cell, for an error.
  func place(record: Int, column: Int) -> TablePlace {
    TablePlace(
      record: record, line: lines[record], column: column + 1, columnName: columns[column])
  }
}
