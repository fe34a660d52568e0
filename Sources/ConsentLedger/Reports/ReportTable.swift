import Foundation

/// One value of a report's table.
package enum ReportCell: Hashable, Sendable {
  /// A text, as it stands in the log: hostile until it is escaped for where it goes.
  case text(String)
  /// A count or a position.
  case integer(Int64)
  /// A measured value.
  case number(Double)
  /// Nothing is known.
  case none

  /// A text, or nothing.
  package static func optional(_ text: String?) -> ReportCell { text.map { .text($0) } ?? .none }
  /// A number, or nothing.
  package static func optional(_ number: Int64?) -> ReportCell { number.map { .integer($0) } ?? .none }
  /// A count.
  package static func count(_ number: some BinaryInteger) -> ReportCell { .integer(Int64(clamping: number)) }
  /// `yes` or `no`.
  package static func flag(_ flag: Bool) -> ReportCell { .text(flag ? "yes" : "no") }

  /// The cell as a text for people.
  package var display: String {
    switch self {
    case .text(let text): text
    case .integer(let number): String(number)
    case .number(let number): Self.short(number)
    case .none: "–"
    }
  }

  /// Whether it is set to the right.
  package var isNumeric: Bool {
    switch self {
    case .integer, .number: true
    case .text, .none: false
    }
  }

  /// Up to six significant digits.
  static func short(_ number: Double) -> String {
    if number.isInfinite { return number > 0 ? "∞" : "−∞" }
    return number.isNaN ? "–" : String(format: "%.6g", number)
  }
}

extension ReportCell: Codable {
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .none
    } else if let number = try? container.decode(Int64.self) {
      self = .integer(number)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .integer(let number): try container.encode(number)
    // JSON has no infinity.
    case .number(let number) where number.isFinite: try container.encode(number)
    case .number(let number) where number.isInfinite: try container.encode(number > 0 ? "inf" : "-inf")
    case .number, .none: try container.encodeNil()
    }
  }
}

/// A column: its name for programs, its heading for people.
package struct ReportColumn: Hashable, Sendable, Codable {
  /// The name in JSON and CSV, lower case with underscores.
  package let key: String
  /// The heading in tables and pages.
  package let title: String

  /// Names a column.
  package init(_ key: String, _ title: String) {
    self.key = key
    self.title = title
  }
}

/// Rows under columns: the one form that text, JSON, CSV and pages are made from.
package struct ReportTable: Hashable, Sendable {
  /// Its name for programs; unique within an answer.
  package let name: String
  /// Its heading for people.
  package let title: String
  /// The columns.
  package let columns: [ReportColumn]
  /// The rows, each with one cell a column.
  package private(set) var rows: [[ReportCell]]

  /// A table with these rows.
  package init(_ name: String, _ title: String, _ columns: [ReportColumn], rows: [[ReportCell]] = []) {
    self.name = name
    self.title = title
    self.columns = columns
    self.rows = []
    for row in rows { append(row) }
  }

  /// Adds a row.
  package mutating func append(_ row: [ReportCell]) {
    precondition(row.count == columns.count, "a row has one cell a column")
    rows.append(row)
  }

  /// Where a column stands.
  package func position(_ key: String) -> Int? { columns.firstIndex { $0.key == key } }

  /// A cell by row and column; `none` if there is no such column.
  package func cell(_ row: Int, _ key: String) -> ReportCell { position(key).map { rows[row][$0] } ?? .none }

  /// Aligned text for a terminal.
  /// - Parameter limit: rows beyond it are counted, not shown.
  package func text(limit: Int = .max) -> String {
    guard !rows.isEmpty else { return "\(title)\n  (nothing)" }
    let shown = rows.prefix(limit)
    let cells = shown.map { row in row.map { Self.printable($0.display) } }
    let widths = columns.indices.map { column in
      max(columns[column].title.count, cells.map { $0[column].count }.max() ?? 0)
    }
    let isRight = columns.indices.map { column in
      shown.contains { $0[column].isNumeric }
        && shown.allSatisfy { $0[column].isNumeric || $0[column] == .none }
    }
    func line(_ row: [String]) -> String {
      let padded = row.indices.map { column in
        let space = String(repeating: " ", count: widths[column] - row[column].count)
        return isRight[column] ? space + row[column] : row[column] + space
      }
      var text = "  " + padded.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      return text
    }
    var lines = [title, line(columns.map(\.title))]
    lines += cells.map(line)
    if rows.count > limit { lines.append("  … and \(rows.count - limit) more; use --json or --csv") }
    return lines.joined(separator: "\n")
  }

  /// What a log's text must not do to a terminal.
  private static func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "\u{FFFD}" : $0 }))
  }

  private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}

extension ReportTable: Codable {
  private enum CodingKeys: String, CodingKey { case name, title, columns, rows }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let columns = try container.decode([ReportColumn].self, forKey: .columns)
    let rows = try container.decode([[String: ReportCell]].self, forKey: .rows)
    self.init(
      try container.decode(String.self, forKey: .name), try container.decode(String.self, forKey: .title),
      columns, rows: rows.map { row in columns.map { row[$0.key] ?? .none } })
  }

  /// Rows are written as objects, so that a program needs no column numbers.
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(name, forKey: .name)
    try container.encode(title, forKey: .title)
    try container.encode(columns, forKey: .columns)
    let objects = rows.map { row in
      Dictionary(zip(columns.map(\.key), row)) { first, _ in first }
    }
    try container.encode(objects, forKey: .rows)
  }
}

/// Comma-separated values (RFC 4180) that a spreadsheet does not run: a field that would be taken for a
/// formula (OWASP "CSV Injection": a leading = + - @, tab or carriage return) gets an apostrophe in front.
package enum CSVText {
  /// A line with its end.
  package static func line(_ fields: [String]) -> String {
    fields.map(field).joined(separator: ",") + "\r\n"
  }

  /// A line of cells. Numbers are written as they are: a minus sign in front of digits is no formula.
  package static func line(_ cells: [ReportCell]) -> String {
    cells.map { cell in
      switch cell {
      case .text(let text): field(text)
      case .integer(let number): String(number)
      case .number(let number):
        number.isFinite ? "\(number)" : number.isNaN ? "" : number > 0 ? "inf" : "'-inf"
      case .none: ""
      }
    }.joined(separator: ",") + "\r\n"
  }

  /// One field.
  package static func field(_ text: String) -> String {
    var text = text
    // By scalars: CR and LF are one character in Swift.
    if let first = text.unicodeScalars.first, "=+-@\t\r".unicodeScalars.contains(first) { text = "'" + text }
    guard text.unicodeScalars.contains(where: { "\",\r\n".unicodeScalars.contains($0) }) else { return text }
    return "\"" + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }
}

extension ReportTable {
  /// The table as CSV with a heading.
  package var csv: String {
    CSVText.line(columns.map(\.key)) + rows.map { CSVText.line($0) }.joined()
  }
}
