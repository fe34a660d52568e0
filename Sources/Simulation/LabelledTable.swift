package import Learning

/// A table read as records of contributors with a two-valued label, split into training and evaluation.
///
/// Cells count without the spaces around them. A cell is missing if it is empty, "NA", "NaN" or "null", in
/// any letter case. A column is numeric if it is not in `categorical` and every cell that is not missing is a
/// finite decimal number, else categorical, unless it is named as one of words or dates; columns that are
/// missing everywhere are dropped, but those that are made of transactions. The label,
/// subject and store columns are never features.
///
/// Positive is the label value that alone is "1", "true" or "yes" (in any letter case); of two others, the
/// one that is larger in lexicographic order.
///
/// Training and evaluation budgets are per person, so a contributor is in one of them only: who has a
/// held-out record is held out entirely, and their training records are left out (`setAsideRows`).
package struct LabelledTable: Sendable {
  /// The features, in the order of the table's columns.
  package let schema: FeatureSchema
  /// The records in file order, without those set aside.
  package let records: [StoreRecord]
  /// The label value that counts as positive; empty where labels are numbers.
  package let positiveLabel: String
  /// The other label value; empty where labels are numbers.
  package let negativeLabel: String
  /// How many training records were left out because their contributor is held out.
  package let setAsideRows: Int
  /// What the reader should know, one sentence each: dropped columns, records set aside.
  package let notes: [String]
  /// The store of each record, if the table has a store column.
  let stores: [String]?
  let path: String

  /// Reads a table.
  ///
  /// - Parameters:
  ///   - label: The column of the target, with exactly two different values unless `labelKind` is number. Nil for
  ///     records without one, whose label is 0: segments are learnt from them.
  ///   - labelKind: How the target is read.
  ///   - subject: The column that identifies the contributor; without it every record is its own contributor,
  ///     `record-<n>`, n from 0.
  ///   - store: A column by which `partition` keeps contributors together.
  ///   - testRows: The held-out record numbers (from 0); without them a fifth of the contributors is held
  ///     out, drawn with `holdOutSeed`.
  ///   - splitsContributors: Whether a contributor may have records on both sides of `testRows`.
  ///   - categorical: Columns to take as categories although they look like numbers.
  ///   - text: Columns of words.
  ///   - dates: Columns of dates.
  ///   - transactions: What the table's columns tell of transactions (`TransactionRecords`).
  package init(
    _ table: Table, label: String?, labelKind: TableData.LabelKind = .binary, subject: String? = nil,
    store: String? = nil, testRows: Set<Int>? = nil, splitsContributors: Bool = false,
    categorical: Set<String> = [], text: Set<String> = [], dates: [DateColumn] = [],
    transactions: TransactionSettings? = nil, holdOutSeed: UInt64 = 0
  ) throws(TableError) {
    let roles = try Roles(table, label: label, subject: subject, store: store)
    for name in categorical.sorted() { _ = try table.index(of: name, role: "a categorical column") }
    for name in text.sorted() { _ = try table.index(of: name, role: "a column of words") }
    for date in dates { _ = try table.index(of: date.name, role: "a column of dates") }
    let (values, targets) = try Self.targets(table, column: roles.label, kind: labelKind)
    let subjects =
      if let column = roles.subject {
        try Self.requiredCells(table, column: column, role: "subject")
      } else {
        table.rows.indices.map { "record-\($0)" }
      }
    let rowStores: [String]? =
      if let column = roles.store {
        try Self.requiredCells(table, column: column, role: "store")
      } else { nil }
    let heldOut = try Self.heldOutSubjects(subjects, testRows: testRows, seed: holdOutSeed, table: table)
    let bothSides = splitsContributors ? testRows : nil
    let features = try FeatureColumns(
      table, excluding: roles.all,
      kinds: Self.kinds(table, categorical: categorical, text: text, dates: dates, transactions),
      transactions: transactions)

    var kept: [Int] = []
    for row in table.rows.indices
    where bothSides != nil || Self.isKept(row, subjects[row], testRows, heldOut) {
      kept.append(row)
    }
    path = table.path
    schema = features.schema
    (positiveLabel, negativeLabel) = (values.positive, values.negative)
    setAsideRows = table.rows.count - kept.count
    stores = rowStores.map { stores in kept.map { stores[$0] } }
    records = kept.map { row in
      StoreRecord(
        subject: subjects[row], values: features.values(of: table.rows[row]),
        label: targets[row], isHeldOut: bothSides?.contains(row) ?? heldOut.contains(subjects[row]))
    }
    notes =
      features.notes + Self.setAsideNote(table.rows.count - kept.count)
      + (bothSides == nil ? [] : [Self.bothSidesNote])
  }

  /// The columns whose kind is not read off their cells.
  private static func kinds(
    _ table: Table, categorical: Set<String>, text: Set<String>, dates: [DateColumn],
    _ transactions: TransactionSettings?
  ) throws(TableError) -> [String: FeatureColumn] {
    let named =
      categorical.sorted().map { FeatureColumn(name: $0, kind: .categorical) }
      + text.sorted().map { FeatureColumn(name: $0, kind: .text) }
      + dates.map { FeatureColumn(name: $0.name, kind: .date, date: $0.settings) }
      + (transactions?.columns ?? [])
    var kinds: [String: FeatureColumn] = [:]
    for column in named where kinds.updateValue(column, forKey: column.name) != nil {
      throw .columnOfTwoKinds(path: table.path, name: column.name)
    }
    return kinds
  }

  /// A held-out contributor's record is kept if it is a test record or if contributors were drawn.
  private static func isKept(
    _ row: Int, _ subject: String, _ testRows: Set<Int>?, _ heldOut: Set<String>
  ) -> Bool {
    guard let testRows, heldOut.contains(subject) else { return true }
    return testRows.contains(row)
  }

  private static func setAsideNote(_ count: Int) -> [String] {
    guard count > 0 else { return [] }
    let records = count == 1 ? "1 training record was" : "\(count) training records were"
    return ["\(records) left out because their contributors are held out."]
  }

  /// The trimmed cells of a column in which none may be missing.
  private static func requiredCells(
    _ table: Table, column: Int, role: String
  ) throws(TableError) -> [String] {
    var cells: [String] = []
    cells.reserveCapacity(table.rows.count)
    for (record, row) in table.rows.enumerated() {
      guard let cell = TextCell.present(row[column]) else {
        throw .cellMissing(
          path: table.path, place: table.place(record: record, column: column), role: role)
      }
      cells.append(cell)
    }
    return cells
  }

  private static let bothSidesNote =
    "The same contributors are in training and evaluation, with other records: metrics are about people who are "
    + "already known."

  /// The two values of the label, if it has two, and the target of every record.
  private static func targets(
    _ table: Table, column: Int?, kind: TableData.LabelKind
  ) throws(TableError) -> (values: (positive: String, negative: String), targets: [Float]) {
    guard let column else { return (("", ""), [Float](repeating: 0, count: table.rows.count)) }
    let labels = try Self.requiredCells(table, column: column, role: "label")
    guard kind == .number else {
      let values = try labelValues(labels, table: table, column: table.columns[column])
      return (values, labels.map { $0 == values.positive ? 1 : 0 })
    }
    var targets: [Float] = []
    for (record, cell) in labels.enumerated() {
      guard let number = TextCell.number(cell), Float(number).isFinite else {
        throw .labelNotNumeric(path: table.path, place: table.place(record: record, column: column))
      }
      targets.append(Float(number))
    }
    return (("", ""), targets)
  }

  private static func labelValues(
    _ labels: [String], table: Table, column: String
  ) throws(TableError) -> (positive: String, negative: String) {
    var values: [String] = []
    for label in labels where !values.contains(label) {
      values.append(label)
      // Four say what is wrong; a label column mistaken for another may hold personal data.
      if values.count == 4 { break }
    }
    values.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    guard values.count == 2 else {
      throw .labelNotBinary(path: table.path, column: column, values: values)
    }
    let affirmative = values.filter { ["1", "true", "yes"].contains($0.lowercased()) }
    let positive = affirmative.count == 1 ? affirmative[0] : values[1]
    return (positive, positive == values[0] ? values[1] : values[0])
  }

  private static func heldOutSubjects(
    _ subjects: [String], testRows: Set<Int>?, seed: UInt64, table: Table
  ) throws(TableError) -> Set<String> {
    if let testRows {
      if let row = testRows.filter({ !subjects.indices.contains($0) }).min() {
        throw .testRowOutOfRange(path: table.path, row: row, rowCount: subjects.count)
      }
      return Set(testRows.map { subjects[$0] })
    }
    let distinct = Set(subjects).sorted()
    return holdOut(from: distinct, seed: seed, purpose: "hold-out")
  }

  /// A fifth of the subjects, rounded, at least one if there are two.
  static func holdOut(from subjects: [String], seed: UInt64, purpose: String) -> Set<String> {
    guard subjects.count > 1 else { return [] }
    var draws = SeededDraws(seed: seed, purpose: purpose)
    return Set(draws.shuffled(subjects).prefix(max(1, (subjects.count + 2) / 5)))
  }
}

/// The columns that are no features.
private struct Roles {
  let label: Int?
  let subject: Int?
  let store: Int?
  var all: Set<Int> { Set([label, subject, store].compactMap(\.self)) }

  init(_ table: Table, label: String?, subject: String?, store: String?) throws(TableError) {
    self.label = if let label { try table.index(of: label, role: "the label") } else { nil }
    self.subject =
      if let subject { try table.index(of: subject, role: "the subject") } else { nil }
    self.store = if let store { try table.index(of: store, role: "the store") } else { nil }
    var seen: Set<String> = []
    for name in [label, subject, store].compactMap(\.self) where !seen.insert(name).inserted {
      throw .columnInTwoRoles(path: table.path, name: name)
    }
  }
}

/// The columns to learn from and how to read their cells.
private struct FeatureColumns {
  let schema: FeatureSchema
  let notes: [String]
  private let indices: [Int]

  /// - Parameters:
  ///   - kinds: Columns whose kind is known, by name; others are numeric if all present cells are numbers, else
  ///     categorical.
  init(
    _ table: Table, excluding roles: Set<Int>, kinds: [String: FeatureColumn],
    transactions: TransactionSettings?
  ) throws(TableError) {
    var described: [FeatureColumn] = []
    var indices: [Int] = []
    var notes: [String] = []
    let made = Set(transactions?.columnNames ?? [])
    for (index, name) in table.columns.enumerated() where !roles.contains(index) {
      let cells = table.rows.lazy.compactMap { TextCell.present($0[index]) }
      if cells.isEmpty, !made.contains(name) {
        notes.append("The column \(name.shortened.debugDescription) has no values and was dropped.")
        continue
      }
      let isNumeric = kinds[name] == nil && cells.allSatisfy { TextCell.number($0) != nil }
      let column = kinds[name] ?? FeatureColumn(name: name, kind: isNumeric ? .numeric : .categorical)
      if column.kind == .date { try Self.requireDates(table, index) }
      described.append(column)
      indices.append(index)
    }
    guard !indices.isEmpty else { throw .noFeatures(path: table.path) }
    self.indices = indices
    self.notes = notes
    do {
      schema = try FeatureSchema(columns: described, transactions: transactions)
    } catch {
      throw .unusableSchema(path: table.path, reason: error)
    }
  }

  private static func requireDates(_ table: Table, _ column: Int) throws(TableError) {
    for (record, row) in table.rows.enumerated() {
      guard let cell = TextCell.present(row[column]), TextCell.time(cell) == nil else { continue }
      throw .notDate(path: table.path, place: table.place(record: record, column: column))
    }
  }

  func values(of row: [String]) -> RawRecord {
    zip(indices, schema.columns).map { index, column in
      guard let cell = TextCell.present(row[index]) else { return .missing }
      switch column.kind {
      case .numeric: return TextCell.number(cell).map { .number($0) } ?? .missing
      case .date: return TextCell.number(cell).map { .number($0) } ?? .text(cell)
      case .categorical, .text: return .text(cell)
      }
    }
  }
}

/// How a cell is read.
enum TextCell {
  /// The cell without the spaces around it; nil if it is missing.
  static func present(_ cell: String) -> String? {
    let cell = cell.trimmed
    switch cell.utf8.count {
    case 0: return nil
    case 2...4: return ["na", "nan", "null"].contains(cell.lowercased()) ? nil : cell
    default: return cell
    }
  }

  /// The moment that the cell is: a date of ISO 8601, or a number of days since 1970-01-01.
  static func time(_ cell: String) -> CivilTime? {
    CivilTime(iso8601: cell) ?? number(cell).flatMap { CivilTime(days: $0) }
  }

  /// The finite decimal number that the cell is, if it is one.
  static func number(_ cell: String) -> Double? {
    // `Double(_:)` would also take hexadecimal and names of infinity.
    let isDecimal = cell.utf8.allSatisfy {
      (0x30...0x39).contains($0) || $0 == 0x2E || $0 == 0x2D || $0 == 0x2B || $0 | 0x20 == 0x65
    }
    guard isDecimal, let number = Double(cell), number.isFinite else { return nil }
    return number
  }
}
