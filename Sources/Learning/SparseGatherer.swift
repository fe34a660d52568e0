/// Products with sparse rows: what a layer does with its sparse inputs, entry by entry.
final class SparseGatherer {
  /// How many entries of a row are added up at a time.
  private static let chunk = 64
  private let pointers: UnsafeMutablePointer<UnsafePointer<Float>>

  init() {
    pointers = .allocate(capacity: Self.chunk)
  }

  deinit { pointers.deallocate() }

  /// results[r] += row r · weights.
  static func addProducts(
    _ sparse: SparseRows, rows: Int, weights: UnsafePointer<Float>, to results: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      var sum: Float = 0
      for entry in sparse.starts[row]..<sparse.ends[row] {
        sum += sparse.values[entry] * weights[Int(sparse.indices[entry])]
      }
      results[row] += sum
    }
  }

  /// results (rows × columns) += the sparse rows · weights (sparse columns × columns).
  func addRows(
    _ sparse: SparseRows, rows: Int, weights: UnsafePointer<Float>, columns: Int,
    to results: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      let end = sparse.ends[row]
      for first in stride(from: sparse.starts[row], to: end, by: Self.chunk) {
        let count = min(Self.chunk, end - first)
        for index in 0..<count {
          (pointers + index).initialize(to: weights + Int(sparse.indices[first + index]) * columns)
        }
        VectorKernels.addProducts(
          rows: pointers, factors: sparse.values + first, count: count, length: columns,
          to: results + row * columns)
      }
    }
  }

  /// weights (sparse columns × columns) += scale · the sum over rows of the outer product of the sparse row
  /// and the row of `deltas` (rows × columns).
  static func scatter(
    _ sparse: SparseRows, rows: Int, deltas: UnsafePointer<Float>, columns: Int, scale: Float,
    to weights: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      let delta = deltas + row * columns
      for entry in sparse.starts[row]..<sparse.ends[row] {
        let target = weights + Int(sparse.indices[entry]) * columns
        var factor = scale * sparse.values[entry]
        if columns == 1 {
          target[0] += factor * delta[0]
          continue
        }
        withUnsafePointer(to: delta) { source in
          VectorKernels.addProducts(rows: source, factors: &factor, count: 1, length: columns, to: target)
        }
      }
    }
  }
}
