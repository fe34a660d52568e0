import CBLAS

/// The matrix products that training needs, on row-major single precision buffers (OpenBLAS, one thread:
/// a node trains beside the shop's own work, and results must not depend on the number of cores).
///
/// A product is cut into pieces that OpenBLAS computes with its kernels for small matrices, which do not copy
/// their operands first: with ten rows and 512 × 512 weights that makes three to four times the speed.
enum BLAS {
  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// What the small kernels take: multiplications of a product, and values of the transposed operand.
  private static let pieceProducts = 400_000
  private static let pieceValues = 32_768

  /// How many of the `count` columns (or rows) of the large operand to take at a time when each costs
  /// `products` multiplications and has `values` values. Products of many rows are best left whole.
  private static func piece(of count: Int, products: Int, values: Int) -> Int {
    let most = min(pieceProducts / max(products, 1), pieceValues / max(values, 1))
    return most < 16 ? count : min(count, most & ~15)
  }

  /// result (m×n) = left (m×k) · right (k×n).
  static func multiply(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, into result: UnsafeMutablePointer<Float>,
    m: Int, n: Int, k: Int
  ) {
    _ = singleThreaded
    let step = piece(of: n, products: m * k, values: k)
    for start in stride(from: 0, to: n, by: step) {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(min(step, n - start)), blasint(k),
        1, left, blasint(k), right + start, blasint(n), 0, result + start, blasint(n))
    }
  }

  /// result (m×n) = left (m×k) · rightᵀ, where right is n×k.
  static func multiply(
    _ left: UnsafePointer<Float>, transposed right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int
  ) {
    _ = singleThreaded
    let step = piece(of: n, products: m * k, values: k)
    for start in stride(from: 0, to: n, by: step) {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(min(step, n - start)), blasint(k),
        1, left, blasint(k), right + start * k, blasint(k), 0, result + start, blasint(n))
    }
  }

  /// result (m×n) += scale · leftᵀ · right, where left is k×m and right is k×n: the sum of k outer products.
  static func add(
    transposed left: UnsafePointer<Float>, _ right: UnsafePointer<Float>,
    to result: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int, scale: Float
  ) {
    _ = singleThreaded
    let step = piece(of: m, products: n * k, values: n)
    for start in stride(from: 0, to: m, by: step) {
      cblas_sgemm(
        CblasRowMajor, CblasTrans, CblasNoTrans, blasint(min(step, m - start)), blasint(n), blasint(k),
        scale, left + start, blasint(m), right, blasint(n), 1, result + start * n, blasint(n))
    }
  }
}
