import CBLAS

/// Small dense systems in double precision, solved by LAPACK (OpenBLAS, one thread).
enum LinearSolvers {
  private static let singleThreaded: Void = openblas_set_num_threads(1)

  /// normal += rowsᵀ · rows, in the upper triangle of a row-major d×d matrix.
  static func addGram(
    of rows: UnsafePointer<Double>, count: Int, columns: Int, to normal: UnsafeMutablePointer<Double>
  ) {
    _ = singleThreaded
    cblas_dsyrk(
      CblasRowMajor, CblasUpper, CblasTrans, blasint(columns), blasint(count), 1, rows, blasint(columns), 1,
      normal, blasint(columns))
  }

  /// result += rowsᵀ · targets.
  static func addProduct(
    transposed rows: UnsafePointer<Double>, _ targets: UnsafePointer<Double>, count: Int, columns: Int,
    to result: UnsafeMutablePointer<Double>
  ) {
    _ = singleThreaded
    cblas_dgemv(
      CblasRowMajor, CblasTrans, blasint(count), blasint(columns), 1, rows, blasint(columns), targets, 1, 1,
      result, 1)
  }

  /// Solves `normal` · x = `vector` in place, for a symmetric positive definite matrix given by the upper
  /// triangle of its row-major form, which is overwritten (Cholesky's factorisation).
  ///
  /// - Returns: false if the matrix is not positive definite; the vector is then unusable.
  static func solve(
    _ normal: UnsafeMutablePointer<Double>, count: Int, vector: UnsafeMutablePointer<Double>
  ) -> Bool {
    _ = singleThreaded
    var (size, one, info) = (blasint(count), blasint(1), blasint(0))
    // The upper triangle by rows is the lower one by columns, LAPACK's order.
    dposv_("L", &size, &one, normal, &size, vector, &size, &info, 1)
    return info == 0
  }

  /// The eigenvalues, ascending, and the eigenvectors (row by row, orthonormal) of a symmetric matrix.
  ///
  /// - Parameter matrix: count × count finite values.
  /// - Returns: nil if the iteration does not converge.
  static func eigen(_ matrix: [Double], count: Int) -> (values: [Double], vectors: [Double])? {
    _ = singleThreaded
    var (vectors, values) = (matrix, [Double](repeating: 0, count: count))
    var work = [Double](repeating: 0, count: max(1, 34 * count))
    var (size, length, info) = (blasint(count), blasint(work.count), blasint(0))
    dsyev_("V", "L", &size, &vectors, &size, &values, &work, &length, &info, 1, 1)
    return info == 0 ? (values, vectors) : nil
  }
}
