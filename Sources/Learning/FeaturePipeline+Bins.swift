extension FeaturePipeline {
  /// What a model must know of the rows of `encode(_:as:)`.
  ///
  /// For `bins`: one column for every used one but texts, and one more for every part of the calendar of a date
  /// (`DateEncoding`), in the schema's order. A number's bins are those of
  /// its edges, in order, then one for missing values if the encoding has an indicator; a category's are the
  /// kept buckets, "other", and missing values if it has an indicator. A pipeline without used columns has
  /// one column of one bin.
  package func shape(for layout: FeatureLayout) -> FeatureShape {
    switch layout {
    case .dense: return FeatureShape(columns: featureCount, sparseColumns: sparseFeatureCount)
    case .items: return schema.isItemNumber ? .items : FeatureShape(columns: max(schema.columns.count, 2))
    case .bins:
      let columns = encodings.flatMap(\.binned)
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
      let count = encoding.binned.count
      positions.append(count == 0 ? nil : columns)
      columns += count
    }
    columns = max(columns, 1)
    var values = [Float](repeating: 0, count: records.count * columns)
    for (row, record) in records.enumerated() {
      try schema.forEachCell(of: record) { column, cell in
        guard let position = positions[column] else { return }
        let place = row * columns + position
        switch encodings[column] {
        case .numeric(let encoding): values[place] = Float(encoding.bin(of: cell))
        case .categorical(let encoding): values[place] = Float(encoding.position(of: cell))
        case .date(let encoding): encoding.addBins(of: cell, into: &values, at: place)
        case .text, .unused: break
        }
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
  /// The columns of the layout `bins`; none for texts and unused columns.
  fileprivate var binned: [BinnedColumn] {
    switch self {
    case .numeric(let encoding): [encoding.binned]
    case .categorical(let encoding):
      [BinnedColumn(count: encoding.width, isOrdered: false, hasMissing: encoding.missingIndicator)]
    case .date(let encoding): encoding.binned
    case .text, .unused: []
    }
  }
}

extension NumericEncoding {
  /// The column of bins.
  var binned: BinnedColumn {
    BinnedColumn(
      count: edges.count + 1 + (missingIndicator ? 1 : 0), isOrdered: true, hasMissing: missingIndicator)
  }

  /// The bin of a cell: as many edges are at or below its value; the bin behind them all for missing values
  /// with an indicator.
  func bin(of cell: Cell) -> Int {
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
