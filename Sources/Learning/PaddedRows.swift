import CBLAS

/// A row-major matrix whose rows and columns are rounded up to whole vectors, zeros at first: loops over it
/// have no remainders, as long as everybody leaves the padding as it is.
final class PaddedRows {
  let values: UnsafeMutablePointer<Float>
  /// From one row to the next.
  let stride: Int

  init(rows: Int, columns: Int) {
    let stride = VectorKernels.padded(columns)
    self.stride = stride
    values = VectorKernels.allocate(VectorKernels.padded(rows) * stride)
  }

  deinit { values.deallocate() }

  @inline(__always)
  func row(_ index: Int) -> UnsafeMutablePointer<Float> { values + index * stride }
}

extension BLAS {
  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// How many of `count` rows or columns to take at a time so that OpenBLAS uses its kernels for small
  /// matrices: they are faster than the others where a product has few terms per value. Whole if that leaves
  /// pieces too narrow.
  private static func narrow(_ count: Int, products: Int) -> Int {
    let most = 600_000 / max(products, 1)
    return most < 16 ? count : min(count, most & ~15)
  }

  /// result (m×n) = left (m×k) · right (k×n), where the rows of right lie side by side.
  static func multiply(
    _ left: UnsafePointer<Float>, stride leftStride: Int, _ right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, stride: Int, m: Int, n: Int, k: Int
  ) {
    _ = singleThreaded
    let step = narrow(n, products: m * k)
    for start in Swift.stride(from: 0, to: n, by: step) {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(min(step, n - start)), blasint(k),
        1, left, blasint(leftStride), right + start, blasint(n), 0, result + start, blasint(stride))
    }
  }

  /// result (m×n) = left (m×k) · rightᵀ, where right is n×k and its rows lie side by side.
  static func multiply(
    _ left: UnsafePointer<Float>, stride leftStride: Int, transposed right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, stride: Int, m: Int, n: Int, k: Int
  ) {
    _ = singleThreaded
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(k),
      1, left, blasint(leftStride), right, blasint(k), 0, result, blasint(stride))
  }

  /// result (m×n) += scale · leftᵀ · right, where left is k×m, right is k×n and the rows of result lie side
  /// by side.
  static func add(
    transposed left: UnsafePointer<Float>, stride leftStride: Int, _ right: UnsafePointer<Float>,
    stride rightStride: Int, to result: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int, scale: Float
  ) {
    _ = singleThreaded
    let step = narrow(m, products: n * k)
    for start in Swift.stride(from: 0, to: m, by: step) {
      cblas_sgemm(
        CblasRowMajor, CblasTrans, CblasNoTrans, blasint(min(step, m - start)), blasint(n), blasint(k),
        scale, left + start, blasint(leftStride), right, blasint(rightStride), 1, result + start * n,
        blasint(n))
    }
  }
}
