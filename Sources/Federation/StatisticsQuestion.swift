import Foundation
import Learning
package import Privacy

/// One question of a statistics task about one column of the schema.
package struct StatisticsQuestion: Codable, Sendable, Equatable {
  /// What is asked. Bounds, categories and bins are the operator's: nothing about the data may decide them.
  package enum Ask: Codable, Sendable, Equatable {
    /// The number of records; with a column, of those that have a value in it.
    case count
    /// The number of records per category of a categorical column. Other values do not count.
    case histogram(categories: [String])
    /// The number of records between neighbouring edges of a numeric column, the lower edge included.
    /// Values outside do not count.
    case bins(edges: [Double])
    /// Mean and variance of a numeric column, each value moved into the bounds; `resolution` grid units per
    /// half range, nil for 1,024.
    case mean(lower: Double, upper: Double, resolution: Int?)
    /// Quantiles of a numeric column from a histogram of `bins` equal bins.
    case quantiles(lower: Double, upper: Double, bins: Int, probabilities: [Double])
    /// The frequent values of a categorical column, by their first `keyBytes` bytes of UTF-8: a search of
    /// 8·`keyBytes`/`bitsPerRound` sessions (nil for 8 bits) that keeps at most `maximumPrefixes` (nil for 64).
    case heavyHitters(keyBytes: Int, bitsPerRound: Int?, maximumPrefixes: Int?)

    /// What people call it.
    package var name: String {
      switch self {
      case .count: "count"
      case .histogram: "histogram"
      case .bins: "bins"
      case .mean: "mean"
      case .quantiles: "quantiles"
      case .heavyHitters: "heavyHitters"
      }
    }
  }

  /// Its name in the results: letters, digits, `-`, `_`, `.`; at most 64, unique in the task.
  package var name: String
  /// The column; only a count can do without.
  package var column: String?
  /// What is asked.
  package var ask: Ask
  /// Its part of the budget relative to the other questions; nil for 1.
  package var weight: Double?
  /// The most records of one contributor that count; nil for 1. More records need more noise.
  package var recordsPerContributor: Int?

  package init(
    name: String, column: String? = nil, ask: Ask, weight: Double? = nil, recordsPerContributor: Int? = nil
  ) {
    self.name = name
    self.column = column
    self.ask = ask
    self.weight = weight
    self.recordsPerContributor = recordsPerContributor
  }

  /// The query that answers it; of a search the state before its first round.
  package func query() throws(FederationError) -> StatisticsQuery {
    let records = recordsPerContributor ?? 1
    return try component("question \(name)") {
      switch ask {
      case .count: .count(try CountQuery(recordsPerContributor: records))
      case .histogram(let categories):
        .histogram(try HistogramQuery(categories: categories.count, recordsPerContributor: records))
      case .bins(let edges):
        .histogram(try HistogramQuery(categories: edges.count - 1, recordsPerContributor: records))
      case .mean(let lower, let upper, let resolution):
        .mean(
          try MeanQuery(
            lower: lower, upper: upper, resolution: resolution ?? 1024, recordsPerContributor: records))
      case .quantiles(let lower, let upper, let bins, let probabilities):
        .quantiles(
          try QuantileQuery(
            lower: lower, upper: upper, bins: bins, probabilities: probabilities,
            recordsPerContributor: records))
      case .heavyHitters(let keyBytes, let bitsPerRound, let maximumPrefixes):
        .heavyHitters(
          try HeavyHitterSearch(
            keyBytes: keyBytes, bitsPerRound: bitsPerRound ?? 8, maximumPrefixes: maximumPrefixes ?? 64,
            recordsPerContributor: records))
      }
    }
  }

  /// Checks names, limits and that the column is one that can answer.
  func validate(schema: FeatureSchema) throws(FederationError) {
    func require(_ condition: Bool, _ reason: String) throws(FederationError) {
      if !condition { throw .invalidTask(field: "question \(name.prefix(64))", reason: reason) }
    }
    try require(
      !name.isEmpty && name.utf8.count <= 64 && name.utf8.allSatisfy(isNameByte),
      "must be named with 1 to 64 letters, digits, '-', '_' or '.'")
    let weight = weight ?? 1
    try require(weight > 0 && weight <= 1e6, "must have a weight above 0 and at most 1,000,000")
    let kind = column.map { name in schema.columns.first { $0.name == name }?.kind }
    if let column {
      try require(kind != .some(nil), "asks about the column \(column), which the schema lacks")
    }
    switch ask {
    case .count: break
    case .histogram(let categories):
      try require(kind == .categorical, "needs a categorical column")
      try require(
        !categories.isEmpty && Set(categories).count == categories.count,
        "must list one or more categories, each once")
    case .bins(let edges):
      try require(kind == .numeric, "needs a numeric column")
      try require(
        edges.count >= 2 && edges.allSatisfy(\.isFinite)
          && zip(edges, edges.dropFirst()).allSatisfy { $0 < $1 },
        "must have two or more edges in ascending order")
    case .mean: try require(kind == .numeric, "needs a numeric column")
    case .quantiles(_, _, _, let probabilities):
      try require(kind == .numeric, "needs a numeric column")
      try require(!probabilities.isEmpty, "must ask for one or more probabilities")
    case .heavyHitters: try require(kind == .categorical, "needs a categorical column")
    }
    _ = try query()
  }

  /// One contributor's records as the query reads them. What does not fit counts as absent: a refusal would
  /// tell about that contributor.
  func records(of rows: [RawRecord], schema: FeatureSchema) -> StatisticsRecords {
    let index = column.flatMap { name in schema.columns.firstIndex { $0.name == name } }
    let cells = rows.compactMap { row in index.map { $0 < row.count ? row[$0] : .missing } }
    let numbers = cells.compactMap { cell -> Double? in
      guard case .number(let number) = cell, number.isFinite else { return nil }
      return number
    }
    switch ask {
    case .count:
      let present = index == nil ? rows.count : cells.count { Self.text(of: $0) != nil }
      return .categories([Int](repeating: 0, count: present))
    case .histogram(let categories):
      let places = Dictionary(uniqueKeysWithValues: categories.enumerated().map { ($1, $0) })
      return .categories(cells.compactMap { Self.text(of: $0).flatMap { places[$0] } })
    case .bins(let edges):
      return .categories(
        numbers.compactMap { number in
          guard number < edges[edges.count - 1] else { return nil }
          return edges.lastIndex { $0 <= number }
        })
    case .mean, .quantiles: return .numbers(numbers)
    case .heavyHitters: return .keys(cells.compactMap { Self.text(of: $0).map { Array($0.utf8) } })
    }
  }

  private static func text(of cell: RawValue) -> String? {
    switch cell {
    case .missing: nil
    case .number(let number): number.isFinite ? FeatureSchema.text(of: number) : nil
    case .text(let text): text
    }
  }
}
