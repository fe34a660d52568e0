/// The activations and deltas of up to `capacity` rows, allocated once and used for every block of rows.
///
/// The pointers live as long as the object, which one thread uses at a time.
final class Workspace {
  /// The most rows of a block.
  let capacity: Int
  private let layers: [Layer]
  /// The outputs of each layer (after ReLU for hidden ones), rows × outputs.
  private let outputs: [UnsafeMutablePointer<Float>]
  /// The derivative of the loss by each layer's pre-activation, rows × outputs.
  private let deltas: [UnsafeMutablePointer<Float>]
  /// Where the rows of the last layer's input begin.
  private let lastInputs: UnsafeMutablePointer<UnsafePointer<Float>>
  /// The last layer's deltas times the step.
  private let factors: UnsafeMutablePointer<Float>

  init(layers: [Layer], rows: Int) {
    self.layers = layers
    capacity = rows
    outputs = layers.map { VectorKernels.allocate(VectorKernels.padded(rows) * $0.outputs) }
    deltas = layers.map { VectorKernels.allocate(VectorKernels.padded(rows) * $0.outputs) }
    factors = VectorKernels.allocate(rows)
    lastInputs = .allocate(capacity: max(rows, 1))
    let below = outputs[max(0, layers.count - 2)]
    for row in 0..<rows { (lastInputs + row).initialize(to: below + row * layers[layers.count - 1].inputs) }
  }

  deinit {
    for buffer in outputs + deltas { buffer.deallocate() }
    factors.deallocate()
    lastInputs.deallocate()
  }

  /// Where the rows of the last layer's input begin; for a single layer these are the features.
  private func inputs(of features: UnsafePointer<Float>, first: Int, rows: Int) -> VectorKernels.RowPointers {
    guard layers.count == 1 else { return UnsafePointer(lastInputs + first) }
    for row in first..<first + rows { lastInputs[row] = features + row * layers[0].inputs }
    return UnsafePointer(lastInputs + first)
  }

  /// Computes the layers' outputs of `rows` rows of features and returns the logits.
  @discardableResult
  func forward(
    parameters: UnsafePointer<Float>, features: UnsafePointer<Float>, rows: Int
  ) -> UnsafePointer<Float> {
    precondition(rows <= capacity, "the workspace is too small for the block")
    var input = features
    let last = layers.count - 1
    for index in 0..<last {
      let (layer, output) = (layers[index], outputs[index])
      BLAS.multiply(
        input, parameters + layer.weightOffset, into: output, m: rows, n: layer.outputs, k: layer.inputs)
      VectorKernels.addBias(
        parameters + layer.biasOffset, to: output, rows: rows, columns: layer.outputs, rectify: true)
      input = UnsafePointer(output)
    }
    let layer = layers[last]
    VectorKernels.products(
      rows: inputs(of: features, first: 0, rows: rows), count: rows, length: layer.inputs,
      weights: parameters + layer.weightOffset, bias: parameters[layer.biasOffset], into: outputs[last])
    return UnsafePointer(outputs[last])
  }

  /// After `forward`: computes every layer's deltas of the log loss of each row, not divided by anything.
  ///
  /// - Parameter labels: with room for `rows` rounded up to whole vectors.
  func backward(parameters: UnsafePointer<Float>, labels: UnsafePointer<Float>, rows: Int) {
    let last = layers.count - 1
    VectorKernels.logisticDeltas(
      logits: outputs[last], labels: labels, count: rows, scale: 1, into: deltas[last])
    guard last > 0 else { return }
    VectorKernels.rectifiedOuterProduct(
      factors: deltas[last], vector: parameters + layers[last].weightOffset, activations: outputs[last - 1],
      rows: rows, columns: layers[last].inputs, into: deltas[last - 1])
    for index in stride(from: last - 1, to: 0, by: -1) {
      let (layer, below) = (layers[index], deltas[index - 1])
      BLAS.multiply(
        deltas[index], transposed: parameters + layer.weightOffset, into: below,
        m: rows, n: layer.inputs, k: layer.outputs)
      VectorKernels.rectifyGradient(below, activations: outputs[index - 1], count: rows * layer.inputs)
    }
  }

  /// After `backward`: adds `scale` times the sum of the gradients of `rows` rows from `first` on. The target
  /// may be the parameters themselves: then this is a step of gradient descent.
  ///
  /// - Parameters:
  ///   - features: the rows that `forward` saw, from its first row.
  ///   - target: as long as the parameter vector.
  func addGradient(
    features: UnsafePointer<Float>, first: Int, rows: Int, scale: Float,
    to target: UnsafeMutablePointer<Float>
  ) {
    let last = layers.count - 1
    for index in 0..<last {
      let layer = layers[index]
      let input = (index == 0 ? features : UnsafePointer(outputs[index - 1])) + first * layer.inputs
      let delta = UnsafePointer(deltas[index]) + first * layer.outputs
      let weights = target + layer.weightOffset
      if rows == 1 {
        Self.addOuterProduct(input, delta, layer: layer, scale: scale, to: weights)
      } else {
        BLAS.add(
          transposed: input, delta, to: weights, m: layer.inputs, n: layer.outputs, k: rows, scale: scale)
      }
      VectorKernels.addColumnSums(
        of: delta, rows: rows, columns: layer.outputs, scale: scale, to: target + layer.biasOffset)
    }
    let layer = layers[last]
    var sum: Float = 0
    for row in 0..<rows {
      factors[row] = deltas[last][first + row] * scale
      sum += factors[row]
    }
    VectorKernels.addProducts(
      rows: inputs(of: features, first: first, rows: rows), factors: factors, count: rows,
      length: layer.inputs, to: target + layer.weightOffset)
    target[layer.biasOffset] += sum
  }

  /// The gradient of one row. Most features are zeros of one-hot vectors, whose rows need no arithmetic.
  private static func addOuterProduct(
    _ input: UnsafePointer<Float>, _ delta: UnsafePointer<Float>, layer: Layer, scale: Float,
    to weights: UnsafeMutablePointer<Float>
  ) {
    var factor: Float = 0
    for i in 0..<layer.inputs where input[i] != 0 {
      factor = scale * input[i]
      withUnsafePointer(to: delta) { row in
        VectorKernels.addProducts(
          rows: row, factors: &factor, count: 1, length: layer.outputs, to: weights + i * layer.outputs)
      }
    }
  }
}
