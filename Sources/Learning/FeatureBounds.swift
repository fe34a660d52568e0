/// What the first statistics round agreed on for one column.
package enum ColumnBounds: Codable, Equatable, Sendable {
  /// The ascending bounds of the fine bins (none: nothing was seen, the column is left out) and whether
  /// missing values stand out of the noise.
  case numeric(edges: [Double], missingSeen: Bool)
  /// The ascending hash buckets that stand out of the noise, and whether missing values do.
  case categorical(buckets: [Int], missingSeen: Bool)
  /// Whether texts stand out of the noise (if not, the column is left out), and whether missing values do.
  case text(isSeen: Bool, missingSeen: Bool)

  /// The limits that hold for bounds from anywhere.
  var isValid: Bool {
    switch self {
    case .numeric(let edges, _):
      edges.isEmpty
        || (2...FineStatistics.maximumBins + 1).contains(edges.count) && edges.isAscendingAndFinite
    case .categorical(let buckets, _): buckets.areBuckets
    case .text: true
    }
  }

  /// Whether the bounds are for columns of a kind.
  func fits(_ kind: FeatureKind) -> Bool {
    switch self {
    case .numeric: kind == .numeric || kind == .date
    case .categorical: kind == .categorical
    case .text: kind == .text
    }
  }
}

/// What the first statistics round agreed on: the input of `FineStatistics`.
package struct FeatureBounds: Codable, Equatable, Sendable {
  /// One entry per column of the schema.
  package let columns: [ColumnBounds]

  init(columns: [ColumnBounds]) { self.columns = columns }

  /// Refuses bounds that do not belong to `schema` or break a limit.
  package func validate(for schema: FeatureSchema) throws(LearningError) {
    guard columns.count == schema.columns.count else {
      throw .wrongCount(what: "the feature bounds", expected: schema.columns.count, actual: columns.count)
    }
    for (bounds, column) in zip(columns, schema.columns) {
      guard bounds.isValid, bounds.fits(column.kind) else {
        throw .invalidSchema(reason: "the bounds of column \"\(column.name)\" are malformed")
      }
    }
  }
}

extension [Double] {
  /// Whether the values grow strictly and are finite.
  var isAscendingAndFinite: Bool {
    allSatisfy(\.isFinite) && zip(self, dropFirst()).allSatisfy { $0 < $1 }
  }
}

extension [Int] {
  /// Whether these are distinct ascending hash buckets.
  var areBuckets: Bool {
    allSatisfy { (0..<CategoryHash.buckets).contains($0) } && zip(self, dropFirst()).allSatisfy { $0 < $1 }
  }
}
