import CBLAS

/// The matrix products that training needs, on row-major single precision buffers (OpenBLAS, one thread:
/// a node trains beside the shop's own work, and results must not depend on the number of cores).
enum BLAS {
  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// result (m×n) = scale · left (m×k) · right (k×n) + keep · result.
  static func multiply(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, into result: UnsafeMutablePointer<Float>,
    m: Int, n: Int, k: Int, scale: Float = 1, keep: Float = 0
  ) {
    _ = singleThreaded
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k),
      scale, left, blasint(k), right, blasint(n), keep, result, blasint(n))
  }

  /// result (m×n) = left (m×k) · rightᵀ, where right is n×k.
  static func multiply(
    _ left: UnsafePointer<Float>, transposed right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int
  ) {
    _ = singleThreaded
    cblas_sgemm(
      CblasRowMajor, CblasNoTrans, CblasTrans, blasint(m), blasint(n), blasint(k),
      1, left, blasint(k), right, blasint(k), 0, result, blasint(n))
  }

  /// result (m×n) = scale · leftᵀ · right, where left is k×m and right is k×n: the sum of k outer products.
  static func multiply(
    transposed left: UnsafePointer<Float>, _ right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, m: Int, n: Int, k: Int, scale: Float
  ) {
    _ = singleThreaded
    cblas_sgemm(
      CblasRowMajor, CblasTrans, CblasNoTrans, blasint(m), blasint(n), blasint(k),
      scale, left, blasint(m), right, blasint(n), 0, result, blasint(n))
  }

  /// result (m) = scale · leftᵀ · right, where left is k×m and right has k values.
  static func multiply(
    transposed left: UnsafePointer<Float>, vector right: UnsafePointer<Float>,
    into result: UnsafeMutablePointer<Float>, m: Int, k: Int, scale: Float
  ) {
    _ = singleThreaded
    cblas_sgemv(
      CblasRowMajor, CblasTrans, blasint(k), blasint(m), scale, left, blasint(m), right, 1, 0, result, 1)
  }
}
