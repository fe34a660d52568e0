/// A dense matrix of `rows` × `columns` numbers, row after row.
package struct Matrix: Equatable, Sendable {
  /// The number of rows, at least 0.
  package let rows: Int
  /// The number of columns, at least 1.
  package let columns: Int
  /// The `rows · columns` values; row r starts at `r · columns`.
  package internal(set) var values: [Float]

  /// Wraps values whose count must be `rows · columns`.
  package init(rows: Int, columns: Int, values: [Float]) throws(LearningError) {
    guard rows >= 0, columns >= 1 else {
      throw .invalidSetting(name: "a matrix", reason: "it needs at least 0 rows and 1 column")
    }
    let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard !overflow, values.count == count else {
      throw .wrongCount(
        what: "the values of a matrix", expected: overflow ? .max : count, actual: values.count)
    }
    self.init(uncheckedRows: rows, columns: columns, values: values)
  }

  init(uncheckedRows rows: Int, columns: Int, values: [Float]) {
    self.rows = rows
    self.columns = columns
    self.values = values
  }
}
