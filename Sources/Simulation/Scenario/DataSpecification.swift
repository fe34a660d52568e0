package import Learning

/// Where the records of a scenario come from and how they are spread over nodes.
package struct DataSpecification: Codable, Equatable, Sendable {
  /// How results call it.
  package var name: String
  /// A table or a generator.
  package var source: Source

  /// Records from a file, or made up.
  package enum Source: Codable, Equatable, Sendable {
    /// One table.
    case table(TableData)
    /// The retail chain of `RetailGenerator`, whole in memory.
    case retail(seed: UInt64, stores: Int, customersPerStore: Int)
    /// A population that is made up node by node when it is asked for, however many there are.
    case population(seed: UInt64, nodes: Int, customersPerNode: Int)
  }

  /// Whose contribution a run protects if the scenario does not say: the customer, where records name one.
  package var naturalUnit: String {
    if case .table(let table) = source, table.subject == nil { "record" } else { "customer" }
  }
}

/// A CSV file and the roles of its columns.
package struct TableData: Codable, Equatable, Sendable {
  /// The file: absolute, or relative to the scenario file or to the data directory. With `query` a name for its
  /// result.
  package var file: String
  /// How the records are made from several files; nil for the file itself.
  package var query: TableQuery?
  /// The column of the target; nil for records without one, of which only segments are learnt.
  package var label: String?
  /// How cells of the label are read.
  package var labelKind: LabelKind
  /// What counts as positive; nil leaves it to the two values themselves (`LabelledTable`).
  package var positive: LabelRule?
  /// The column that names the contributor; nil if every record is its own.
  package var subject: String?
  /// Columns to take as categories although they look like numbers.
  package var categorical: [String]
  /// Columns of words.
  package var text: [String]
  /// Columns of dates; nil without any.
  package var dates: [DateColumn]? = nil
  /// How records are made of the rows, which are transactions; nil if they are the records.
  package var transactions: TransactionRecords? = nil
  /// Columns that are not learned from.
  package var drop: [String]
  /// Leave out records without a label, contributor or store instead of refusing the file.
  package var dropsIncomplete: Bool
  /// A file of held-out record numbers; nil, without `heldOutColumn`, holds a fifth of the contributors out.
  package var testRows: String?
  /// A column with 1 for held-out records and 0 for others, never learned from.
  package var heldOutColumn: String?
  /// Whether a contributor may have records on both sides: a split by time or by record. Else who has a held-out
  /// record is held out entirely.
  package var splitsContributors: Bool
  /// Of the held-out contributors, where no file lists them.
  package var holdOutSeed: UInt64
  /// How contributors are spread over nodes.
  package var partition: Partition

  /// How cells of the label are read.
  package enum LabelKind: String, Codable, Equatable, Sendable, CaseIterable {
    /// Two values, one of which is positive.
    case binary
    /// Numbers: amounts, or classes counted from 0.
    case number
  }

  /// Every file that is read.
  package var files: [String] {
    (query?.tables.map(\.file) ?? [file]) + (testRows.map { [$0] } ?? [])
  }

  /// How contributors are spread over nodes. Every one is on one node.
  package enum Partition: Codable, Equatable, Sendable {
    /// Dealt evenly after a shuffle.
    case iid(nodes: Int, seed: UInt64)
    /// By a column: a node per value, or the values dealt to `nodes` nodes.
    case column(String, nodes: Int?)
    /// Shares of each label's contributors drawn from a symmetric Dirichlet distribution.
    case dirichlet(alpha: Double, nodes: Int, seed: UInt64)
    /// A node per contributor.
    case contributor
  }
}

/// A column of dates of a table.
package struct DateColumn: Codable, Equatable, Sendable {
  /// The column.
  package var name: String
  /// What is made of it; nil for `DateSettings.standard`.
  package var settings: DateSettings?

  package init(name: String, settings: DateSettings? = nil) {
    self.name = name
    // One form for one meaning: stores' schemas are compared.
    self.settings = settings == .standard ? nil : settings
  }
}

/// Which values of the label column are positive: a comparison written as a text, such as `>= 4`.
package struct LabelRule: Codable, Equatable, Sendable {
  /// The comparison.
  package enum Comparison: String, Codable, CaseIterable, Sendable {
    case equal = "="
    case notEqual = "!="
    case atLeast = ">="
    case atMost = "<="
    case above = ">"
    case below = "<"
    case startsWith = "starts with"

    var isOfNumbers: Bool { [.atLeast, .atMost, .above, .below].contains(self) }
  }

  /// The comparison.
  package let comparison: Comparison
  /// What a cell is compared with.
  package let operand: String

  /// Reads a rule; nil if it is none.
  package init?(_ text: String) {
    let text = text.trimmed
    // The longer signs first: `>=` begins with `>`.
    let found = Comparison.allCases.sorted { $0.rawValue.count > $1.rawValue.count }
      .first { text.hasPrefix($0.rawValue) }
    guard let found else { return nil }
    let operand = String(text.dropFirst(found.rawValue.count)).trimmed
    guard !operand.isEmpty, !found.isOfNumbers || ScenarioReader.number(operand) != nil else { return nil }
    comparison = found
    self.operand = operand
  }

  /// Whether a cell is positive; nil if it is no number where one is needed.
  package func isPositive(_ cell: String) -> Bool? {
    let cell = cell.trimmed
    switch comparison {
    case .startsWith: return cell.hasPrefix(operand)
    case .equal, .notEqual:
      let isEqual: Bool
      if let value = ScenarioReader.number(operand), let number = ScenarioReader.number(cell) {
        isEqual = value == number
      } else {
        isEqual = cell == operand
      }
      return isEqual == (comparison == .equal)
    case .atLeast, .atMost, .above, .below:
      guard let value = ScenarioReader.number(operand), let number = ScenarioReader.number(cell) else {
        return nil
      }
      switch comparison {
      case .atLeast: return number >= value
      case .atMost: return number <= value
      case .above: return number > value
      default: return number < value
      }
    }
  }

  /// As it is written in a scenario.
  package var text: String { comparison.rawValue + " " + operand }
}
