/// What kind of values a column of the stores' tables holds.
package enum FeatureKind: String, Codable, Equatable, Sendable {
  /// Numbers whose order and distance mean something.
  case numeric
  /// Names: only equality means something. A number in such a column is taken by its decimal text.
  case categorical
  /// Prose: its words mean something. A number in such a column is taken by its decimal text.
  case text
  /// Dates, with a time or without: a text of ISO 8601 (`CivilTime`), or a number of days since 1970-01-01. A
  /// cell that is neither is an error.
  case date
}

/// One input column of a task.
package struct FeatureColumn: Codable, Equatable, Sendable {
  /// The name of the column, 1 to 128 bytes of UTF-8, unique within a schema.
  package let name: String
  /// What the column holds.
  package let kind: FeatureKind
  /// How texts are divided; nil for other kinds, and for `TextSettings.standard`.
  package let text: TextSettings?
  /// What is made of dates; nil for other kinds, and for `DateSettings.standard`.
  package let date: DateSettings?

  /// Describes a column; the limits are checked by the schema.
  package init(name: String, kind: FeatureKind, text: TextSettings? = nil, date: DateSettings? = nil) {
    self.name = name
    self.kind = kind
    self.text = text
    self.date = date
  }

  /// How texts of this column are divided.
  var textSettings: TextSettings { text ?? .standard }
  /// What is made of dates of this column.
  var dateSettings: DateSettings { date ?? .standard }
}

/// The input columns that all nodes of a task share, in the order of every `RawRecord`.
package struct FeatureSchema: Codable, Equatable, Sendable {
  /// The most columns that a schema may have.
  package static let maximumColumns = 1_024
  /// The longest column name in bytes of UTF-8.
  package static let maximumNameBytes = 128
  /// The most hash buckets of all text columns together: each is a coordinate of a statistics round.
  package static let maximumTextBuckets = 1 << 20

  /// The columns, 1 to `maximumColumns` of them, with distinct names.
  package let columns: [FeatureColumn]
  /// What is told of a customer's transactions; its columns are among `columns`, numeric. Nil if no column is
  /// computed from transactions.
  package let transactions: TransactionSettings?

  /// Checks the limits.
  package init(
    columns: [FeatureColumn], transactions: TransactionSettings? = nil
  ) throws(LearningError) {
    self.columns = columns
    self.transactions = transactions
    try validate()
  }

  /// Checks the limits; every initialiser has done so.
  package func validate() throws(LearningError) {
    guard (1...Self.maximumColumns).contains(columns.count) else {
      throw .invalidSchema(reason: "it has \(columns.count) columns, allowed are 1 to \(Self.maximumColumns)")
    }
    var seen: Set<String> = []
    var buckets = 0
    for (index, column) in columns.enumerated() {
      guard (1...Self.maximumNameBytes).contains(column.name.utf8.count) else {
        throw .invalidSchema(
          reason: "the name of column \(index) must have 1 to \(Self.maximumNameBytes) bytes")
      }
      guard seen.insert(column.name).inserted else {
        throw .invalidSchema(reason: "column name \"\(column.name)\" occurs twice")
      }
      guard column.text == nil || column.kind == .text, column.textSettings.isValid else {
        throw .invalidSchema(
          reason: "the text settings of column \"\(column.name)\" are impossible: allowed are runs of 1 to "
            + "\(TextSettings.maximumNgrams) words and \(TextSettings.allowedBits.lowerBound) to "
            + "\(TextSettings.allowedBits.upperBound) bits, for texts alone")
      }
      guard column.date == nil || column.kind == .date else {
        throw .invalidSchema(reason: "column \"\(column.name)\" has settings of dates but is of another kind")
      }
      if column.kind == .text { buckets += column.textSettings.buckets }
    }
    guard buckets <= Self.maximumTextBuckets else {
      throw .invalidSchema(
        reason: "its texts have \(buckets) hash buckets, allowed are \(Self.maximumTextBuckets) together")
    }
    guard let transactions else { return }
    let numeric = Set(columns.filter { $0.kind == .numeric }.map(\.name))
    if let name = transactions.columnNames.first(where: { !numeric.contains($0) }) {
      throw .invalidSchema(reason: "its transactions tell \"\(name)\", which is no numeric column of it")
    }
  }

  /// Decodes and checks the limits.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    var list = try container.nestedUnkeyedContainer(forKey: .columns)
    var columns: [FeatureColumn] = []
    while !list.isAtEnd {
      guard columns.count < Self.maximumColumns else {
        throw LearningError.invalidSchema(reason: "it has more than \(Self.maximumColumns) columns")
      }
      columns.append(try list.decode(FeatureColumn.self))
    }
    try self.init(
      columns: columns,
      transactions: try container.decodeIfPresent(TransactionSettings.self, forKey: .transactions))
  }

  private enum CodingKeys: String, CodingKey {
    case columns, transactions
  }
}

/// One cell as the data source gives it.
package enum RawValue: Equatable, Sendable {
  /// There is no value.
  case missing
  /// A number; one that is not finite counts as missing.
  case number(Double)
  /// A text; an error in a numeric column, and in one of dates if it is none.
  case text(String)
}

/// One record: a value for every column of the schema, in its order.
package typealias RawRecord = [RawValue]

/// A cell after the schema's rules were applied.
enum Cell: Equatable {
  case missing
  case number(Double)
  case bucket(Int)
  case text(String)
  case date(CivilTime)
}

extension FeatureSchema {
  /// Applies the rules of `RawValue` to every value of a record and hands each cell to `body`.
  func forEachCell(
    of record: RawRecord, _ body: (Int, Cell) -> Void
  ) throws(LearningError) {
    guard record.count == columns.count else {
      throw .wrongColumnCount(expected: columns.count, actual: record.count)
    }
    for (index, value) in record.enumerated() {
      body(index, try cell(value, in: columns[index]))
    }
  }

  private func cell(_ value: RawValue, in column: FeatureColumn) throws(LearningError) -> Cell {
    switch (column.kind, value) {
    case (_, .missing): return .missing
    case (_, .number(let number)) where !number.isFinite: return .missing
    case (.numeric, .number(let number)): return .number(number)
    case (.numeric, .text): throw .textInNumericColumn(name: column.name)
    case (.categorical, .number(let number)): return .bucket(CategoryHash.bucket(of: Self.text(of: number)))
    case (.categorical, .text(let text)): return .bucket(CategoryHash.bucket(of: text))
    case (.text, .number(let number)): return .text(Self.text(of: number))
    case (.text, .text(let text)): return TextWords.hasWord(text) ? .text(text) : .missing
    case (.date, .number(let number)): return .date(try date(CivilTime(days: number), in: column))
    case (.date, .text(let text)): return .date(try date(CivilTime(iso8601: text), in: column))
    }
  }

  private func date(_ time: CivilTime?, in column: FeatureColumn) throws(LearningError) -> CivilTime {
    guard let time else { throw .invalidDate(name: column.name) }
    return time
  }

  /// The decimal text of a number in a categorical column: whole numbers without a point, so that "3", 3
  /// and 3.0 are one category.
  package static func text(of number: Double) -> String {
    if let whole = Int64(exactly: number) { return String(whole) }
    return number.description
  }
}
