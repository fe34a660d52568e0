/// How a pipeline hands a record to a model.
package enum FeatureLayout: String, Codable, Equatable, Sendable {
  /// Standardised numbers and one-hot vectors: for everything that multiplies features by weights.
  case dense
  /// The number of a bin for every used column: for trees.
  case bins
  /// The one numeric column as it is, the number of an item: for recommendation. No statistics are taken of
  /// it.
  case items
}

/// One column of the layout `bins`.
package struct BinnedColumn: Equatable, Hashable, Sendable {
  /// Bins, 1 or more; a cell is a whole number 0 ..< `count`.
  package let count: Int
  /// Whether the bins have an order, missing values aside; categories have none.
  package let isOrdered: Bool
  /// Whether the last bin holds the missing values.
  package let hasMissing: Bool

  package init(count: Int, isOrdered: Bool, hasMissing: Bool) {
    self.count = count
    self.isOrdered = isOrdered
    self.hasMissing = hasMissing
  }
}

/// What a model must know of its rows: the same for every node and at prediction time.
package struct FeatureShape: Equatable, Sendable {
  /// How rows are laid out.
  package let layout: FeatureLayout
  /// The columns of the matrix, at least 1.
  package let columns: Int
  /// The sparse columns of the matrix, after the others; 0 without.
  package let sparseColumns: Int
  /// One entry per column for the layout `bins`; empty for others.
  package let bins: [BinnedColumn]

  /// Rows of `columns` numbers, and of so many sparse ones.
  package init(columns: Int, sparseColumns: Int = 0) {
    layout = .dense
    self.columns = columns
    self.sparseColumns = sparseColumns
    bins = []
  }

  /// Rows of bin numbers.
  package init(bins: [BinnedColumn]) {
    layout = .bins
    columns = bins.count
    sparseColumns = 0
    self.bins = bins
  }

  /// Rows of item numbers.
  package static let items = FeatureShape(layout: .items, columns: 1)

  private init(layout: FeatureLayout, columns: Int) {
    self.layout = layout
    self.columns = columns
    sparseColumns = 0
    bins = []
  }

  /// Inputs of a model that multiplies features by weights.
  package var inputs: Int { columns + sparseColumns }
}
