/// What hidden units do with their sums. Buffers have room for `count` rounded up to whole vectors.
extension VectorKernels {
  /// 2 √(2 / π), and 0.044715 times that.
  private static let geluSlope: Float = 1.595_769_1
  private static let geluCube: Float = 0.071_354_816

  /// results[i] = x · σ(2 √(2 / π) (x + 0.044715 x³)) for x = sums[i].
  static func gelu(_ sums: UnsafePointer<Float>, count: Int, into results: UnsafeMutablePointer<Float>) {
    for index in stride(from: 0, to: count, by: width) {
      let x = load(sums + index)
      store(x * sigmoid(x * (geluSlope + geluCube * (x * x))), results + index)
    }
  }

  /// values[i] *= the derivative of GELU at sums[i].
  static func geluGradient(
    _ values: UnsafeMutablePointer<Float>, sums: UnsafePointer<Float>, count: Int
  ) {
    for index in stride(from: 0, to: count, by: width) {
      let x = load(sums + index)
      let square = x * x
      let share = sigmoid(x * (geluSlope + geluCube * square))
      let slope = x * (geluSlope + 3 * geluCube * square)
      store(load(values + index) * (share + share * (1 - share) * slope), values + index)
    }
  }

  /// values[i] *= factors[i].
  static func multiply(
    _ values: UnsafeMutablePointer<Float>, by factors: UnsafePointer<Float>, count: Int
  ) {
    for index in stride(from: 0, to: count, by: width) {
      store(load(values + index) * load(factors + index), values + index)
    }
  }
}
