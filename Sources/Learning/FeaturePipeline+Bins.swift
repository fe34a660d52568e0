extension FeaturePipeline {
  /// What a model must know of the rows of `encode(_:as:)`.
  ///
  /// For `bins`: one column for every used one but texts, in the schema's order. A number's bins are those of
  /// its edges, in order, then one for missing values if the encoding has an indicator; a category's are the
  /// kept buckets, "other", and missing values if it has an indicator. A pipeline without used columns has
  /// one column of one bin.
  package func shape(for layout: FeatureLayout) -> FeatureShape {
    switch layout {
    case .dense: return FeatureShape(columns: featureCount, sparseColumns: sparseFeatureCount)
    case .items: return schema.isItemNumber ? .items : FeatureShape(columns: max(schema.columns.count, 2))
    case .bins:
      let columns = encodings.compactMap(\.binned)
      return FeatureShape(
        bins: columns.isEmpty ? [BinnedColumn(count: 1, isOrdered: true, hasMissing: false)] : columns)
    }
  }

  /// The rows of `records`, one each, in a layout: `dense` as `encode(_:)`, `bins` as bin numbers (see
  /// `shape(for:)`). A missing number without an indicator is in the mean's bin, a missing category is
  /// "other".
  package func encode(
    _ records: [RawRecord], as layout: FeatureLayout
  ) throws(LearningError) -> Matrix {
    switch layout {
    case .dense: return try encode(records)
    case .items: return try itemNumbers(of: records)
    case .bins: break
    }
    var positions: [Int?] = []
    var columns = 0
    for encoding in encodings {
      positions.append(encoding.binned == nil ? nil : columns)
      columns += encoding.binned == nil ? 0 : 1
    }
    columns = max(columns, 1)
    var values = [Float](repeating: 0, count: records.count * columns)
    for (row, record) in records.enumerated() {
      try schema.forEachCell(of: record) { column, cell in
        guard let position = positions[column] else { return }
        values[row * columns + position] = Float(encodings[column].bin(of: cell))
      }
    }
    return Matrix(uncheckedRows: records.count, columns: columns, values: values)
  }
}

extension FeatureSchema {
  /// Whether there is nothing but the number of an item.
  package var isItemNumber: Bool { columns.count == 1 && columns[0].kind == .numeric }
}

extension FeaturePipeline {
  /// Numbers as they are; -1, which no catalogue has, where one is missing.
  private func itemNumbers(of records: [RawRecord]) throws(LearningError) -> Matrix {
    var values = [Float](repeating: -1, count: records.count)
    for (row, record) in records.enumerated() {
      try schema.forEachCell(of: record) { column, cell in
        if column == 0, case .number(let number) = cell { values[row] = Float(number) }
      }
    }
    return Matrix(uncheckedRows: records.count, columns: 1, values: values)
  }

  /// A pipeline for item numbers, which needs no statistics.
  package static func items(schema: FeatureSchema) throws(LearningError) -> FeaturePipeline {
    try FeaturePipeline(schema: schema, encodings: schema.columns.map { _ in .unused })
  }
}

extension ColumnEncoding {
  /// The column's bins, nil if it is unused.
  fileprivate var binned: BinnedColumn? {
    switch self {
    case .numeric(let encoding):
      BinnedColumn(
        count: encoding.edges.count + 1 + (encoding.missingIndicator ? 1 : 0), isOrdered: true,
        hasMissing: encoding.missingIndicator)
    case .categorical(let encoding):
      BinnedColumn(count: encoding.width, isOrdered: false, hasMissing: encoding.missingIndicator)
    case .text, .unused: nil
    }
  }

  /// The bin of a cell, 0 for an unused column.
  fileprivate func bin(of cell: Cell) -> Int {
    switch self {
    case .numeric(let encoding): encoding.bin(of: cell)
    case .categorical(let encoding): encoding.position(of: cell)
    case .text, .unused: 0
    }
  }
}

extension NumericEncoding {
  /// The bin of a cell: as many edges are at or below its value; the bin behind them all for missing values
  /// with an indicator.
  fileprivate func bin(of cell: Cell) -> Int {
    var value = mean
    if case .number(let number) = cell {
      value = number
    } else if missingIndicator {
      return edges.count + 1
    }
    var (low, high) = (0, edges.count)
    while low < high {
      let middle = (low + high) / 2
      if edges[middle] <= value { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
