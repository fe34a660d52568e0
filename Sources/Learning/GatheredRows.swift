/// Rows of a step of descent, chosen from anywhere and laid side by side, as products of matrices need them.
final class GatheredRows {
  /// The most rows.
  let capacity: Int
  /// The rows that the last `gather` chose.
  private(set) var count = 0
  /// Their labels, with room for `capacity` rounded up to whole vectors.
  let labels: UnsafeMutablePointer<Float>
  private let columns: Int
  private let features: UnsafeMutablePointer<Float>
  private let starts: UnsafeMutablePointer<Int>
  private let ends: UnsafeMutablePointer<Int>
  private var sparse: SparseRows?

  init(columns: Int, capacity: Int) {
    self.capacity = capacity
    self.columns = columns
    features = VectorKernels.allocate(capacity * columns)
    labels = VectorKernels.allocate(capacity)
    starts = .allocate(capacity: max(capacity, 1))
    ends = .allocate(capacity: max(capacity, 1))
    starts.initialize(repeating: 0, count: max(capacity, 1))
    ends.initialize(repeating: 0, count: max(capacity, 1))
  }

  deinit {
    features.deallocate()
    labels.deallocate()
    starts.deallocate()
    ends.deallocate()
  }

  /// The chosen rows; valid until the next `gather`, and as long as what was gathered from.
  var input: InputRows { InputRows(dense: features, columns: columns, sparse: sparse) }

  /// Chooses rows by their positions.
  func gather(
    _ order: UnsafePointer<Int32>, count: Int, input: InputRows, labels source: UnsafePointer<Float>
  ) {
    precondition(count <= capacity && input.columns == columns, "the rows must fit")
    self.count = count
    for row in 0..<count {
      let position = Int(order[row])
      labels[row] = source[position]
      (features + row * columns).update(from: input.dense + position * columns, count: columns)
    }
    guard let source = input.sparse else { return sparse = nil }
    for row in 0..<count {
      starts[row] = source.starts[Int(order[row])]
      ends[row] = source.ends[Int(order[row])]
    }
    sparse = SparseRows(starts: starts, ends: ends, indices: source.indices, values: source.values)
  }
}
