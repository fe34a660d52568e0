/// How a numeric column becomes features: its standardised value, clipped to ±3, then a one-hot vector over
/// `edges.count + 1` bins (if there are edges), then an indicator of missing values (if they occur). A
/// missing value is imputed by the mean; with an indicator its bins stay zero.
package struct NumericEncoding: Codable, Equatable, Sendable {
  /// The most bins of a column.
  package static let maximumBins = 128
  /// Standardised values are clipped to plus or minus this.
  package static let limit = 3.0

  /// The mean of the column.
  package let mean: Double
  /// Its standard deviation, above 0.
  package let standardDeviation: Double
  /// The inner bounds of the bins, strictly ascending; a bin contains its lower bound.
  package let edges: [Double]
  /// Whether missing values have a feature of their own.
  package let missingIndicator: Bool

  /// The number of features.
  var width: Int { 1 + (edges.isEmpty ? 0 : edges.count + 1) + (missingIndicator ? 1 : 0) }

  var isValid: Bool {
    mean.isFinite && standardDeviation.isFinite && standardDeviation > 0
      && edges.count < Self.maximumBins && edges.isAscendingAndFinite
  }

  func encode(_ cell: Cell, scale: Float, into features: inout [Float], at start: Int) {
    var value = mean
    if case .number(let number) = cell {
      value = number
    } else if missingIndicator {
      features[start + width - 1] = scale
      return
    }
    // The quotient may overflow to infinity; clipping makes it finite again, and NaN cannot occur.
    let standardised = min(max((value - mean) / standardDeviation, -Self.limit), Self.limit)
    features[start] = scale * Float(standardised)
    if !edges.isEmpty {
      let bin = edges.firstIndex { value < $0 } ?? edges.count
      features[start + 1 + bin] = scale
    }
  }
}

/// How a categorical column becomes features: a one-hot vector over the kept hash buckets and "other", then
/// an indicator of missing values (if they occur; else they are "other").
package struct CategoricalEncoding: Codable, Equatable, Sendable {
  /// The kept buckets of `CategoryHash`, ascending.
  package let buckets: [Int]
  /// Whether missing values have a feature of their own.
  package let missingIndicator: Bool

  /// The number of features.
  var width: Int { buckets.count + 1 + (missingIndicator ? 1 : 0) }

  var isValid: Bool { buckets.areBuckets }

  func encode(_ cell: Cell, scale: Float, into features: inout [Float], at start: Int) {
    features[start + position(of: cell)] = scale
  }

  /// The place of a cell in the one-hot vector.
  func position(of cell: Cell) -> Int {
    switch cell {
    case .bucket(let bucket): buckets.firstIndex(of: bucket) ?? buckets.count
    case .missing, .number, .text, .date: missingIndicator ? buckets.count + 1 : buckets.count
    }
  }
}

/// How one column becomes features.
package enum ColumnEncoding: Codable, Equatable, Sendable {
  /// Standardised value, bins, missing indicator.
  case numeric(NumericEncoding)
  /// Kept buckets, other, missing indicator.
  case categorical(CategoricalEncoding)
  /// Kept buckets of words, missing indicator.
  case text(TextEncoding)
  /// Days from the reference as a number's, parts of the calendar.
  case date(DateEncoding)
  /// Nothing of the column stood out of the noise: it has no features.
  case unused

  /// The number of dense features.
  var width: Int {
    switch self {
    case .numeric(let encoding): encoding.width
    case .categorical(let encoding): encoding.width
    case .text(let encoding): encoding.width
    case .date(let encoding): encoding.width
    case .unused: 0
    }
  }

  /// The number of sparse features.
  var sparseWidth: Int {
    if case .text(let encoding) = self { encoding.keptBuckets } else { 0 }
  }

  func fits(_ column: FeatureColumn) -> Bool {
    switch self {
    case .numeric(let encoding): column.kind == .numeric && encoding.isValid
    case .categorical(let encoding): column.kind == .categorical && encoding.isValid
    case .text(let encoding): column.kind == .text && encoding.fits(column.textSettings)
    case .date(let encoding): column.kind == .date && encoding.fits(column.dateSettings)
    case .unused: true
    }
  }
}

/// The agreed way from a record to a row of features: the same on every node and at prediction time.
///
/// All features are multiplied by `scale`, so that a row's norm, and with it the norm of a gradient and the
/// meaning of a clip norm, hardly depends on the number of columns.
package struct FeaturePipeline: Codable, Equatable, Sendable {
  /// The input columns.
  package let schema: FeatureSchema
  /// One entry per column.
  package let encodings: [ColumnEncoding]

  /// Checks that the encodings belong to the schema and keep their limits.
  package init(schema: FeatureSchema, encodings: [ColumnEncoding]) throws(LearningError) {
    guard encodings.count == schema.columns.count else {
      throw .wrongCount(what: "a feature pipeline", expected: schema.columns.count, actual: encodings.count)
    }
    for (encoding, column) in zip(encodings, schema.columns) where !encoding.fits(column) {
      throw .invalidSchema(reason: "the encoding of column \"\(column.name)\" is malformed")
    }
    self.schema = schema
    self.encodings = encodings
  }

  /// Decodes and checks the limits.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      schema: try container.decode(FeatureSchema.self, forKey: .schema),
      encodings: try container.decode([ColumnEncoding].self, forKey: .encodings))
  }

  private enum CodingKeys: String, CodingKey {
    case schema, encodings
  }

  /// The number of dense features of a row, at least 1: a pipeline without any has one that is always 0.
  package var featureCount: Int { max(1, encodings.reduce(0) { $0 + $1.width }) }

  /// The number of sparse features of a row: the kept words of text columns.
  package var sparseFeatureCount: Int { encodings.reduce(0) { $0 + $1.sparseWidth } }

  /// The factor of all features: 1 up to 16 columns, then 4/√columns.
  package var scale: Float {
    let used = encodings.count { $0 != .unused }
    return used <= 16 ? 1 : 4 / Float(used).squareRoot()
  }

  /// The features of `records`, one row each: those of numbers and categories dense, those of texts sparse.
  package func encode(_ records: [RawRecord]) throws(LearningError) -> Matrix {
    let columns = featureCount
    let scale = scale
    var offsets: [Int] = [0]
    for encoding in encodings { offsets.append(offsets[offsets.count - 1] + encoding.width) }
    var words = SparseRowWriter(encodings: encodings, rows: records.count)
    var values = [Float](repeating: 0, count: records.count * columns)
    for (row, record) in records.enumerated() {
      try schema.forEachCell(of: record) { column, cell in
        let start = row * columns + offsets[column]
        switch encodings[column] {
        case .numeric(let encoding): encoding.encode(cell, scale: scale, into: &values, at: start)
        case .categorical(let encoding): encoding.encode(cell, scale: scale, into: &values, at: start)
        case .text(let encoding):
          if case .text(let text) = cell {
            words.add(
              text, encoding, schema.columns[column].textSettings, column: column,
              factor: scale * TextEncoding.norm)
          } else if encoding.missingIndicator {
            values[start] = scale
          }
        case .date(let encoding): encoding.encode(cell, scale: scale, into: &values, at: start)
        case .unused: break
        }
      }
      words.endRow()
    }
    return Matrix(
      uncheckedRows: records.count, columns: columns, values: values, sparse: words.columns)
  }
}
