/// A product of two large square matrices, again and again: what a core can do at most, to compare training
/// with.
package final class ProductProbe {
  /// Rows and columns of the matrices.
  package let size: Int
  private let left: PaddedRows
  private let right: PaddedRows
  private let result: PaddedRows

  /// Memory for matrices of size × size, a multiple of four.
  package init(size: Int) {
    precondition(size >= 4 && size % VectorKernels.width == 0, "the size is a multiple of four")
    self.size = size
    left = PaddedRows(rows: size, columns: size)
    right = PaddedRows(rows: size, columns: size)
    result = PaddedRows(rows: size, columns: size)
    var generator = SplitMix64(seed: 1)
    for index in 0..<size * size {
      left.values[index] = generator.nextSymmetric()
      right.values[index] = generator.nextSymmetric()
    }
  }

  /// Multiplications and additions of a product.
  package var operations: Double { 2 * Double(size) * Double(size) * Double(size) }

  /// Computes the product once.
  ///
  /// - Returns: one of its values.
  @discardableResult
  package func multiply() -> Float {
    BLAS.multiply(
      left.values, stride: size, right.values, into: result.values, stride: size, m: size, n: size, k: size)
    return result.values[size + 1]
  }
}

extension ClippedGradients {
  /// Multiplications and additions in the matrix products of one row's gradient: forward, backward and the
  /// sum over rows. What clipping and noise add is not counted.
  package static func operations(of model: Model) throws(LearningError) -> Double {
    let layers = try network(model).layers
    let products = layers.reduce(0) { $0 + 2 * ($1.inputs + 1) * $1.outputs }
    return Double(2 * (products + layers.dropFirst().reduce(0) { $0 + $1.inputs * $1.outputs }))
  }
}
