package import Learning

/// What can be wrong with a table, with a file of row numbers, or with the sizes asked of a data source.
///
/// Every description is one sentence for people: which file, where in it, what to do. Records count from 0
/// without the header, as in the split files of the data sets; lines count from 1, header included; columns
/// count from 1.
package enum TableError: Error, Equatable, Sendable {
  /// No such file.
  case fileMissing(path: String)
  /// The path names a directory.
  case isDirectory(path: String)
  /// The operating system refuses to read the file.
  case unreadable(path: String)
  /// More bytes (after decompression) than `limit`.
  case tooLarge(path: String, limit: Int)
  /// A gzip file that stops before its end; `bytes` is the size of the file.
  case gzipEndsTooEarly(path: String, bytes: Int)
  /// A gzip file whose content is damaged; `offset` is where in the file it was noticed.
  case gzipCorrupt(path: String, offset: Int)
  /// No content at all.
  case empty(path: String)
  /// A header without records.
  case headerOnly(path: String)
  /// More columns than `limit`.
  case tooManyColumns(path: String, limit: Int)
  /// The same column name twice.
  case duplicateColumn(path: String, name: String, first: Int, second: Int)
  /// A record whose number of fields differs from the header's.
  case ragged(path: String, place: TablePlace, expected: Int, actual: Int)
  /// A quoted field without its closing quotation mark.
  case unterminatedQuote(path: String, place: TablePlace)
  /// A quotation mark inside an unquoted field, or text after a closing quotation mark.
  case misplacedQuote(path: String, place: TablePlace)
  /// Bytes that are not UTF-8.
  case notUTF8(path: String, place: TablePlace)

  /// A line of a file of row numbers that is not a decimal number.
  case badRowNumber(path: String, line: Int)
  /// A row number that no record has.
  case rowOutOfRange(path: String, line: Int, row: Int, rowCount: Int)
  /// A row number that was already listed.
  case duplicateRow(path: String, line: Int, row: Int, firstLine: Int)

  /// A column that the caller names does not exist.
  case columnMissing(path: String, name: String, role: String, existing: [String])
  /// One column in two roles (label, subject, store).
  case columnInTwoRoles(path: String, name: String)
  /// A label column whose number of different values is not two; `values` are the first few.
  case labelNotBinary(path: String, column: String, values: [String])
  /// A label that is no number where the rule of what is positive compares numbers.
  case labelNotNumber(path: String, place: TablePlace, rule: String)
  /// A label is to be learned as a number but is none.
  case labelNotNumeric(path: String, place: TablePlace)
  /// A cell of the column that says what is held out is neither 0 nor 1.
  case badHeldOutCell(path: String, place: TablePlace)
  /// An empty cell where a value is needed (label, subject, store).
  case cellMissing(path: String, place: TablePlace, role: String)
  /// A cell of a column of dates, or of the time of a transaction, is none.
  case notDate(path: String, place: TablePlace)
  /// The amount of a transaction is no number.
  case amountNotNumber(path: String, place: TablePlace)
  /// Nobody bought anything before the moment that the features look back from.
  case noPurchases(path: String, asOf: CivilTime)
  /// A column has the name of one that is made of the transactions.
  case madeOfTransactions(path: String, name: String)
  /// A column is named as one of two kinds.
  case columnOfTwoKinds(path: String, name: String)
  /// A test row number that no record of the table has.
  case testRowOutOfRange(path: String, row: Int, rowCount: Int)
  /// No column is left to learn from.
  case noFeatures(path: String)
  /// A query cannot be run or gives nothing.
  case queryFailed(name: String, reason: String)
  /// An idx file is cut off, too long, or has no values.
  case idxDamaged(path: String)
  /// The columns left do not make a feature schema: too many, or a name too long.
  case unusableSchema(path: String, reason: LearningError)

  /// The store column has fewer different values than there are nodes.
  case tooFewStores(path: String, stores: Int, nodes: Int)
  /// Fewer contributors for training than nodes.
  case tooFewSubjects(path: String, subjects: Int, nodes: Int)
  /// A node whose stores hold no contributor for training.
  case nodeWithoutTraining(path: String, node: Int, stores: [String])

  /// A number of stores, nodes or customers outside what is supported.
  case sizeOutOfRange(what: String, value: Int, allowed: ClosedRange<Int>)
  /// Shares of refusals, silence or withdrawals that are no probabilities or exceed 1 together.
  case badShares(refuse: Double, unanswered: Double, withdraw: Double)
}

/// Where in a table: the record (nil: the header), the line, the column.
package struct TablePlace: Equatable, Sendable, CustomStringConvertible {
  /// Record number from 0, header not counted; nil in the header.
  package let record: Int?
  /// Line from 1, where the record (for a quote: the field) begins.
  package let line: Int
  /// Column from 1, where one is meant.
  package let column: Int?
  /// The column's name, once the header was read.
  package let columnName: String?

  /// A place.
  package init(record: Int?, line: Int, column: Int? = nil, columnName: String? = nil) {
    self.record = record
    self.line = line
    self.column = column
    self.columnName = columnName
  }

  package var description: String {
    var text = record.map { "record \($0) (line \(line))" } ?? "the header (line \(line))"
    if let column { text += ", column \(column)" }
    if let columnName { text += " (\(columnName.shortened))" }
    return text
  }
}

extension TableError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .fileMissing, .isDirectory, .unreadable, .tooLarge, .gzipEndsTooEarly, .gzipCorrupt:
      fileDescription
    case .empty, .headerOnly, .tooManyColumns, .duplicateColumn, .ragged, .unterminatedQuote,
      .misplacedQuote, .notUTF8:
      formatDescription
    case .badRowNumber, .rowOutOfRange, .duplicateRow:
      rowNumberDescription
    default:
      meaningDescription
    }
  }

  private var fileDescription: String {
    switch self {
    case .fileMissing(let path): "\(path): there is no such file; check the path."
    case .isDirectory(let path): "\(path): this is a directory; name the CSV file in it."
    case .unreadable(let path): "\(path): the file cannot be read; check its permissions."
    case .tooLarge(let path, let limit):
      "\(path): the table has more than \(limit) bytes (decompressed); split it."
    case .gzipEndsTooEarly(let path, let bytes):
      "\(path): the gzip data ends too early (after \(bytes) bytes); copy or download the file again."
    case .gzipCorrupt(let path, let offset):
      "\(path): the gzip data is damaged (near byte \(offset)); copy or download the file again."
    default: ""
    }
  }

  private var formatDescription: String {
    switch self {
    case .empty(let path): "\(path): the file is empty; a header and records are needed."
    case .headerOnly(let path): "\(path): there is a header but not one record."
    case .tooManyColumns(let path, let limit): "\(path): the header has more than \(limit) columns."
    case .duplicateColumn(let path, let name, let first, let second):
      "\(path): columns \(first) and \(second) are both called \(name.shortened.debugDescription); "
        + "rename one."
    case .ragged(let path, let place, let expected, let actual):
      "\(path), \(place): \(actual == 1 ? "1 field" : "\(actual) fields") where the header has \(expected); "
        + "quote fields that contain commas or line breaks."
    case .unterminatedQuote(let path, let place):
      "\(path), \(place): the quotation mark that opens this field is never closed."
    case .misplacedQuote(let path, let place):
      "\(path), \(place): a quotation mark in the wrong place; quote the whole field and double the "
        + "quotation marks inside it."
    case .notUTF8(let path, let place):
      "\(path), \(place): the text is not UTF-8; save the file as UTF-8."
    default: ""
    }
  }

  private var rowNumberDescription: String {
    switch self {
    case .badRowNumber(let path, let line):
      "\(path), line \(line): this is not a record number; each line holds one, counted from 0."
    case .rowOutOfRange(let path, let line, let row, let rowCount):
      "\(path), line \(line): there is no record \(row); the table's records are 0 to \(rowCount - 1)."
    case .duplicateRow(let path, let line, let row, let firstLine):
      "\(path), line \(line): record \(row) was already listed in line \(firstLine)."
    default: ""
    }
  }
}

extension TableError {
  private var meaningDescription: String {
    switch self {
    case .columnMissing(let path, let name, let role, let existing):
      Self.columnMissingDescription(path: path, name: name, role: role, existing: existing)
    case .columnInTwoRoles(let path, let name):
      "\(path): the column \(name.shortened.debugDescription) cannot have two of the roles label, subject "
        + "and store."
    case .labelNotBinary(let path, let column, let values):
      "\(path): the label column \(column.shortened.debugDescription) needs exactly two different values but "
        + (values.count == 1 ? "has only " : "has ")
        + values.map(\.shortened.debugDescription).joined(separator: ", ")
        + (values.count > 4 ? " and perhaps more." : ".")
    case .labelNotNumber(let path, let place, let rule):
      "\(path), \(place): the label is no number, so it cannot be compared (\(rule.shortened))."
    case .labelNotNumeric(let path, let place):
      "\(path), \(place): the label is no number, but label_is says number."
    case .badHeldOutCell(let path, let place):
      "\(path), \(place): what is held out must be 0 or 1."
    case .queryFailed(let name, let reason): "\(name): the query failed: \(reason)."
    case .idxDamaged(let path):
      "\(path): the idx file is damaged: its length is not what its header says; copy or download it again."
    case .cellMissing(let path, let place, let role):
      "\(path), \(place): the \(role) is missing; fill it in or remove the record."
    case .notDate(let path, let place):
      "\(path), \(place): this is no date; write 2011-12-09 or 2011-12-09T08:26:00, the clock's time where the "
        + "store is, or days since 1970-01-01."
    case .amountNotNumber(let path, let place):
      "\(path), \(place): the amount is no number; write it in digits with a decimal point."
    case .noPurchases(let path, let asOf):
      "\(path): no customer bought anything before \(asOf); choose a later date."
    case .madeOfTransactions(let path, let name):
      "\(path): a column \(name.shortened.debugDescription) is made of the transactions; rename yours."
    case .columnOfTwoKinds(let path, let name):
      "\(path): the column \(name.shortened.debugDescription) can be of categories, words, dates, or made of "
        + "transactions, but of one of these only."
    case .testRowOutOfRange(let path, let row, let rowCount):
      "\(path): there is no record \(row) to hold out; the table's records are 0 to \(rowCount - 1)."
    case .noFeatures(let path):
      "\(path): no column is left to learn from besides label, subject and store."
    case .unusableSchema(let path, let reason): "\(path): \(reason)."
    case .tooFewStores(let path, let stores, let nodes):
      "\(path): the store column has only \(stores) different values, too few for \(nodes) nodes; ask for "
        + "fewer nodes or leave the store column out."
    case .tooFewSubjects(let path, let subjects, let nodes):
      "\(path): \(subjects) contributors for training are too few for \(nodes) nodes; ask for fewer nodes."
    case .nodeWithoutTraining(let path, let node, let stores):
      "\(path): node \(node) (stores \(stores.prefix(5).map(\.shortened).joined(separator: ", "))) would "
        + "have nobody to train on; ask for fewer nodes or hold out fewer records."
    case .sizeOutOfRange(let what, let value, let allowed):
      "\(what) must be \(allowed.lowerBound) to \(allowed.upperBound), not \(value)."
    case .badShares(let refuse, let unanswered, let withdraw):
      "The shares refuse \(refuse), unanswered \(unanswered) and withdraw \(withdraw) must each be from 0 to "
        + "1, and the first two at most 1 together."
    default: ""
    }
  }

  private static func columnMissingDescription(
    path: String, name: String, role: String, existing: [String]
  ) -> String {
    var text = "\(path): there is no column \(name.shortened.debugDescription) (\(role))"
    if let nearest = nearestName(to: name, in: existing) {
      text += "; did you mean \(nearest.shortened.debugDescription)?"
    } else {
      text += "."
    }
    text += " The columns are \(existing.prefix(40).map(\.shortened).joined(separator: ", "))"
    return text + (existing.count > 40 ? " and \(existing.count - 40) more." : ".")
  }

  /// The name at the smallest edit distance, letter case aside, if at most a third of `name` differs.
  static func nearestName(to name: String, in names: [String]) -> String? {
    let wanted = Array(name.lowercased().unicodeScalars.prefix(80))
    let allowed = max(2, wanted.count / 3)
    var best: (distance: Int, name: String)?
    for candidate in names.prefix(4_096) {
      let letters = Array(candidate.lowercased().unicodeScalars.prefix(80))
      guard abs(letters.count - wanted.count) <= allowed else { continue }
      let distance = editDistance(wanted, letters)
      if distance <= allowed, distance < best?.distance ?? .max { best = (distance, candidate) }
    }
    return best?.name
  }

  /// Levenshtein's distance.
  private static func editDistance(_ first: [UnicodeScalar], _ second: [UnicodeScalar]) -> Int {
    var row = Array(0...second.count)
    for (i, letter) in first.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, other) in second.enumerated() {
        let substituted = diagonal + (letter == other ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[second.count]
  }
}

extension String {
  /// At most 40 characters, for error sentences.
  var shortened: String { count <= 40 ? self : prefix(39) + "…" }
}
