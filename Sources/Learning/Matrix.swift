/// A matrix of `rows` × `columns` numbers, row after row, and of sparse columns after them if there are any.
package struct Matrix: Equatable, Sendable {
  /// The number of rows, at least 0.
  package let rows: Int
  /// The number of dense columns, at least 1.
  package let columns: Int
  /// The `rows · columns` dense values; row r starts at `r · columns`.
  package internal(set) var values: [Float]
  /// The sparse columns, which come after the dense ones; nil without.
  package let sparse: SparseColumns?

  /// The number of sparse columns.
  package var sparseColumns: Int { sparse?.columns ?? 0 }

  /// Wraps values whose count must be `rows · columns`, and sparse columns of as many rows.
  package init(
    rows: Int, columns: Int, values: [Float], sparse: SparseColumns? = nil
  ) throws(LearningError) {
    guard rows >= 0, columns >= 1 else {
      throw .invalidSetting(name: "a matrix", reason: "it needs at least 0 rows and 1 column")
    }
    let (count, overflow) = rows.multipliedReportingOverflow(by: columns)
    guard !overflow, values.count == count else {
      throw .wrongCount(
        what: "the values of a matrix", expected: overflow ? .max : count, actual: values.count)
    }
    if let sparse, sparse.rows != rows {
      throw .wrongCount(what: "the sparse columns of a matrix", expected: rows, actual: sparse.rows)
    }
    self.init(uncheckedRows: rows, columns: columns, values: values, sparse: sparse)
  }

  init(uncheckedRows rows: Int, columns: Int, values: [Float], sparse: SparseColumns? = nil) {
    self.rows = rows
    self.columns = columns
    self.values = values
    self.sparse = sparse
  }

  /// The rows of the given ranges, one range after the other.
  package func selecting(_ ranges: [Range<Int>]) -> Matrix {
    var values: [Float] = []
    values.reserveCapacity(ranges.reduce(0) { $0 + $1.count } * columns)
    for range in ranges {
      values.append(contentsOf: self.values[range.lowerBound * columns..<range.upperBound * columns])
    }
    return Matrix(
      uncheckedRows: values.count / columns, columns: columns, values: values,
      sparse: sparse?.selecting(ranges)
    )
  }

  /// Refuses rows that are not of the shape.
  package func check(shape: FeatureShape) throws(LearningError) {
    guard columns == shape.columns else {
      throw .wrongCount(what: "a row of features", expected: shape.columns, actual: columns)
    }
    guard sparseColumns == shape.sparseColumns else {
      throw .wrongCount(
        what: "the sparse columns of features", expected: shape.sparseColumns, actual: sparseColumns)
    }
  }
}

/// Columns that are 0 in most rows: of each row only the other entries are kept (compressed sparse rows).
package struct SparseColumns: Equatable, Sendable {
  /// The most columns.
  package static let maximumColumns = 1 << 20

  /// The number of columns, at least 1.
  package let columns: Int
  /// Row r has the entries `offsets[r] ..< offsets[r + 1]`.
  package let offsets: [Int]
  /// The column of every entry, 0 ..< `columns`, strictly ascending within a row.
  package let indices: [Int32]
  /// The value of every entry.
  package let values: [Float]

  /// The number of rows.
  package var rows: Int { offsets.count - 1 }

  /// Checks all that is said above of the parts.
  package init(columns: Int, offsets: [Int], indices: [Int32], values: [Float]) throws(LearningError) {
    guard (1...Self.maximumColumns).contains(columns) else {
      throw .invalidSetting(
        name: "a sparse matrix", reason: "allowed are 1 to \(Self.maximumColumns) columns")
    }
    guard values.count == indices.count else {
      throw .wrongCount(what: "the values of a sparse matrix", expected: indices.count, actual: values.count)
    }
    guard offsets.first == 0, offsets.last == indices.count,
      zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 })
    else {
      throw .invalidSetting(
        name: "a sparse matrix", reason: "its offsets must ascend from 0 to the number of entries")
    }
    for (start, end) in zip(offsets, offsets.dropFirst()) {
      var previous: Int32 = -1
      for index in indices[start..<end] {
        guard index > previous, index < columns else {
          throw .invalidSetting(
            name: "a sparse matrix", reason: "the columns of a row must ascend and be below \(columns)")
        }
        previous = index
      }
    }
    self.init(uncheckedColumns: columns, offsets: offsets, indices: indices, values: values)
  }

  init(uncheckedColumns columns: Int, offsets: [Int], indices: [Int32], values: [Float]) {
    self.columns = columns
    self.offsets = offsets
    self.indices = indices
    self.values = values
  }

  func selecting(_ ranges: [Range<Int>]) -> SparseColumns {
    var offsets = [0]
    var indices: [Int32] = []
    var values: [Float] = []
    for range in ranges {
      let entries = self.offsets[range.lowerBound]..<self.offsets[range.upperBound]
      let shift = indices.count - entries.lowerBound
      offsets.append(contentsOf: range.map { self.offsets[$0 + 1] + shift })
      indices.append(contentsOf: self.indices[entries])
      values.append(contentsOf: self.values[entries])
    }
    return SparseColumns(uncheckedColumns: columns, offsets: offsets, indices: indices, values: values)
  }
}

/// Rows as the first layer reads them; valid as long as what they point into.
struct InputRows {
  /// Row-major dense values.
  var dense: UnsafePointer<Float>
  let columns: Int
  var sparse: SparseRows?

  /// The rows from `count` on.
  func dropFirst(_ count: Int) -> InputRows {
    InputRows(dense: dense + count * columns, columns: columns, sparse: sparse?.dropFirst(count))
  }
}

/// Sparse entries of rows that may lie anywhere.
struct SparseRows {
  /// Where each row's entries begin and end.
  let starts: UnsafePointer<Int>
  let ends: UnsafePointer<Int>
  let indices: UnsafePointer<Int32>
  let values: UnsafePointer<Float>

  func dropFirst(_ count: Int) -> SparseRows {
    SparseRows(starts: starts + count, ends: ends + count, indices: indices, values: values)
  }
}

extension Matrix {
  /// Hands out pointers to the rows; the matrix has at least one.
  func withInputRows<Result>(_ body: (InputRows) throws -> Result) rethrows -> Result {
    try values.withUnsafeBufferPointer { dense in
      guard let sparse else {
        return try body(InputRows(dense: dense.baseAddress!, columns: columns, sparse: nil))
      }
      return try sparse.offsets.withUnsafeBufferPointer { offsets in
        try sparse.indices.withUnsafeBufferPointer { indices in
          try sparse.values.withUnsafeBufferPointer { values in
            // Without entries there is nothing to point to, and nothing is read.
            let nothing = UnsafePointer<Int32>(bitPattern: MemoryLayout<Int32>.alignment)!
            let rows = SparseRows(
              starts: offsets.baseAddress!, ends: offsets.baseAddress! + 1,
              indices: indices.baseAddress ?? nothing,
              values: values.baseAddress ?? dense.baseAddress!)
            return try body(InputRows(dense: dense.baseAddress!, columns: columns, sparse: rows))
          }
        }
      }
    }
  }
}
