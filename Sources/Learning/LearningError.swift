/// Why a learning step was refused. Payloads are names, counts and limits, never a person's values.
package enum LearningError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A schema, pipeline or layout breaks one of its limits: do not use it.
  case invalidSchema(reason: String)
  /// A model, algorithm or optimiser was asked for with an impossible setting.
  case invalidSetting(name: String, reason: String)
  /// A record has another number of values than the schema has columns.
  case wrongColumnCount(expected: Int, actual: Int)
  /// A numeric column holds a text.
  case textInNumericColumn(name: String)
  /// A column of dates holds something else.
  case invalidDate(name: String)
  /// A contributor has no record: it has no average and must not be counted.
  case emptyContributor
  /// Two things that belong together have different sizes.
  case wrongCount(what: String, expected: Int, actual: Int)
  /// A label is none that the objective allows.
  case invalidLabel(row: Int, allowed: String = "0 or 1")
  /// The offsets of a batch do not divide its rows among contributors.
  case invalidOffsets(reason: String)
  /// A decoded sum holds a NaN or an infinity.
  case nonFiniteValue(what: String)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .invalidSchema(let reason): "the feature schema is unusable: \(reason)"
    case .invalidSetting(let name, let reason): "\(name) is unusable: \(reason)"
    case .wrongColumnCount(let expected, let actual):
      "a record has \(actual) values but the schema has \(expected) columns: align the columns"
    case .textInNumericColumn(let name):
      "numeric column \"\(name)\" holds a text: declare it categorical or leave the value out"
    case .invalidDate(let name):
      "date column \"\(name)\" holds something else: write 2011-12-09 or 2011-12-09T08:26:00, the clock's time "
        + "where the store is, or days since 1970-01-01"
    case .emptyContributor: "a contributor has no records: leave it out of the batch"
    case .wrongCount(let what, let expected, let actual):
      "\(what) must have \(expected) entries but has \(actual)"
    case .invalidLabel(let row, let allowed): "the label of row \(row) is unusable: it must be \(allowed)"
    case .invalidOffsets(let reason): "the contributors' offsets are unusable: \(reason)"
    case .nonFiniteValue(let what): "\(what) holds a value that is not a finite number"
    }
  }
}
