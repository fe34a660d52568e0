#if canImport(Glibc)
  import Glibc
#endif

/// The activations and deltas of up to `capacity` rows, allocated once and used for every block of rows.
///
/// The pointers live as long as the object, which one call of a trainer or model owns alone.
final class Workspace {
  private let layers: [Layer]
  private let capacity: Int
  /// The outputs of each layer (after ReLU for hidden ones), rows × outputs.
  private let outputs: [UnsafeMutablePointer<Float>]
  /// The derivative of the loss by each layer's pre-activation, rows × outputs.
  private let deltas: [UnsafeMutablePointer<Float>]

  init(layers: [Layer], rows: Int) {
    self.layers = layers
    capacity = rows
    outputs = layers.map { .allocate(capacity: rows * $0.outputs) }
    deltas = layers.map { .allocate(capacity: rows * $0.outputs) }
  }

  deinit {
    for buffer in outputs + deltas { buffer.deallocate() }
  }

  /// Computes the layers' outputs of `rows` rows of features and returns the logits.
  @discardableResult
  func forward(
    parameters: UnsafePointer<Float>, features: UnsafePointer<Float>, rows: Int
  ) -> UnsafePointer<Float> {
    precondition(rows <= capacity, "the workspace is too small for the block")
    var input = features
    for (index, layer) in layers.enumerated() {
      let output = outputs[index]
      let bias = parameters + layer.biasOffset
      for row in 0..<rows { (output + row * layer.outputs).update(from: bias, count: layer.outputs) }
      BLAS.multiply(
        input, parameters + layer.weightOffset, into: output, m: rows, n: layer.outputs, k: layer.inputs,
        keep: 1)
      if index < layers.count - 1 {
        for element in 0..<rows * layer.outputs { output[element] = max(output[element], 0) }
      }
      input = UnsafePointer(output)
    }
    return input
  }

  /// After `forward`: computes every layer's deltas of the log loss of each row, not divided by anything.
  func backward(parameters: UnsafePointer<Float>, labels: UnsafePointer<Float>, rows: Int) {
    let last = layers.count - 1
    for row in 0..<rows { deltas[last][row] = sigmoid(outputs[last][row]) - labels[row] }
    for index in stride(from: last, to: 0, by: -1) {
      let layer = layers[index]
      let below = deltas[index - 1]
      BLAS.multiply(
        deltas[index], transposed: parameters + layer.weightOffset, into: below,
        m: rows, n: layer.inputs, k: layer.outputs)
      let active = outputs[index - 1]
      for element in 0..<rows * layer.inputs where active[element] <= 0 { below[element] = 0 }
    }
  }

  /// After `backward`: writes `scale` times the sum of the gradients of `rows` rows from `first` on.
  ///
  /// - Parameters:
  ///   - features: the rows that `forward` saw, from its first row.
  ///   - gradient: as long as the parameter vector, overwritten.
  func gradient(
    features: UnsafePointer<Float>, first: Int, rows: Int, scale: Float,
    into gradient: UnsafeMutablePointer<Float>
  ) {
    for (index, layer) in layers.enumerated() {
      let input = (index == 0 ? features : UnsafePointer(outputs[index - 1])) + first * layer.inputs
      let delta = UnsafePointer(deltas[index]) + first * layer.outputs
      let weights = gradient + layer.weightOffset
      if rows == 1 {
        Self.outerProduct(input, delta, layer: layer, scale: scale, into: weights)
      } else if layer.outputs == 1 {
        BLAS.multiply(transposed: input, vector: delta, into: weights, m: layer.inputs, k: rows, scale: scale)
      } else {
        BLAS.multiply(
          transposed: input, delta, into: weights, m: layer.inputs, n: layer.outputs, k: rows, scale: scale)
      }
      let biases = gradient + layer.biasOffset
      for unit in 0..<layer.outputs {
        var sum: Float = 0
        for row in 0..<rows { sum += delta[row * layer.outputs + unit] }
        biases[unit] = scale * sum
      }
    }
  }

  /// The gradient of one row. Most features are zeros of one-hot vectors, whose rows need no arithmetic.
  private static func outerProduct(
    _ input: UnsafePointer<Float>, _ delta: UnsafePointer<Float>, layer: Layer, scale: Float,
    into weights: UnsafeMutablePointer<Float>
  ) {
    for i in 0..<layer.inputs {
      let row = weights + i * layer.outputs
      let factor = scale * input[i]
      if factor == 0 {
        row.update(repeating: 0, count: layer.outputs)
      } else {
        for unit in 0..<layer.outputs { row[unit] = factor * delta[unit] }
      }
    }
  }
}

/// 1 / (1 + e^−x) without overflow.
func sigmoid(_ x: Float) -> Float {
  if x >= 0 { return 1 / (1 + exp(-x)) }
  let power = exp(x)
  return power / (1 + power)
}
