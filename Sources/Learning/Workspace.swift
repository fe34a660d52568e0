/// The activations and deltas of up to `capacity` rows, allocated once and used for every block of rows.
///
/// The pointers live as long as the object, which one thread uses at a time.
final class Workspace {
  /// The most rows of a block.
  let capacity: Int
  private let layers: [Layer]
  private let objective: Objective
  private let activation: Activation
  private let dropout: Dropout
  /// Whether the last layer has a single unit: then it is a product with a vector, not with a matrix.
  private let isScalar: Bool
  /// The outputs of each layer (after the activation for hidden ones), rows × outputs.
  private let outputs: [UnsafeMutablePointer<Float>]
  /// The derivative of the loss by each layer's pre-activation, rows × outputs.
  private let deltas: [UnsafeMutablePointer<Float>]
  /// Of GELU: the hidden layers' pre-activations, rows × outputs.
  private let sums: [UnsafeMutablePointer<Float>]
  /// Of dropout: the factors of the hidden layers' outputs, rows × outputs.
  private let masks: [UnsafeMutablePointer<Float>]
  /// Whether the last `forward` used the masks.
  private var isMasked = false
  /// Where the rows of the last layer's input begin.
  private let lastInputs: UnsafeMutablePointer<UnsafePointer<Float>>
  /// The last layer's deltas times the step.
  private let factors: UnsafeMutablePointer<Float>
  private let gatherer = SparseGatherer()

  init(network: NetworkModel, rows: Int) {
    layers = network.layers
    objective = network.objective
    activation = network.settings.activation
    dropout = Dropout(rate: network.settings.dropout)
    capacity = rows
    func buffers(_ layers: some Sequence<Layer>) -> [UnsafeMutablePointer<Float>] {
      layers.map { VectorKernels.allocate(VectorKernels.padded(rows) * $0.outputs) }
    }
    let last = layers[layers.count - 1]
    isScalar = last.outputs == 1
    outputs = buffers(layers)
    deltas = buffers(layers)
    sums = buffers(activation == .gelu ? layers.dropLast() : [])
    masks = buffers(dropout.isActive ? layers.dropLast() : [])
    factors = VectorKernels.allocate(rows)
    lastInputs = .allocate(capacity: max(rows, 1))
    let below = outputs[max(0, layers.count - 2)]
    for row in 0..<rows { (lastInputs + row).initialize(to: below + row * last.inputs) }
  }

  deinit {
    for buffer in outputs + deltas + sums + masks { buffer.deallocate() }
    factors.deallocate()
    lastInputs.deallocate()
  }

  /// Where the rows of the last layer's dense input begin, and their length; for a single layer these are the
  /// features.
  private func lastInput(_ input: InputRows, first: Int, rows: Int) -> (VectorKernels.RowPointers, Int) {
    guard layers.count == 1 else {
      return (UnsafePointer(lastInputs + first), layers[layers.count - 1].inputs)
    }
    for row in first..<first + rows { lastInputs[row] = input.dense + row * input.columns }
    return (UnsafePointer(lastInputs + first), input.columns)
  }

  /// Computes the layers' outputs of `rows` rows of features and returns the scores, rows × outputs.
  ///
  /// - Parameter keys: of every row when training with dropout: see `Dropout`; nil for predictions.
  @discardableResult
  func forward(
    parameters: UnsafePointer<Float>, input: InputRows, rows: Int, keys: UnsafePointer<UInt64>? = nil
  ) -> UnsafePointer<Float> {
    precondition(rows <= capacity, "the workspace is too small for the block")
    isMasked = keys != nil && dropout.isActive
    let last = layers.count - 1
    for index in 0..<last {
      affine(index, parameters, input, rows, rectify: activation == .relu)
      let (output, count) = (outputs[index], rows * layers[index].outputs)
      if activation == .gelu {
        sums[index].update(from: output, count: count)
        VectorKernels.gelu(sums[index], count: count, into: output)
      }
      if isMasked, let keys {
        dropout.fill(masks[index], layer: index, units: layers[index].outputs, rows: rows, keys: keys)
        VectorKernels.multiply(output, by: masks[index], count: count)
      }
    }
    let layer = layers[last]
    guard isScalar else {
      affine(last, parameters, input, rows, rectify: false)
      return UnsafePointer(outputs[last])
    }
    let (pointers, length) = lastInput(input, first: 0, rows: rows)
    VectorKernels.products(
      rows: pointers, count: rows, length: length, weights: parameters + layer.weightOffset,
      bias: parameters[layer.biasOffset], into: outputs[last])
    if last == 0, let sparse = input.sparse {
      SparseGatherer.addProducts(
        sparse, rows: rows, weights: parameters + input.columns, to: outputs[last])
    }
    return UnsafePointer(outputs[last])
  }

  /// After `forward`: adds a number to every row's scores, one for each output.
  func shiftScores(by shifts: [Float], rows: Int) {
    let scores = outputs[layers.count - 1]
    for row in 0..<rows {
      for (output, shift) in shifts.enumerated() { scores[row * shifts.count + output] += shift }
    }
  }

  /// One layer as a product of matrices. Of sparse inputs the rows of the weights that they name are added
  /// up.
  private func affine(
    _ index: Int, _ parameters: UnsafePointer<Float>, _ input: InputRows, _ rows: Int, rectify: Bool
  ) {
    let (layer, output) = (layers[index], outputs[index])
    let weights = parameters + layer.weightOffset
    let below = index == 0 ? input.dense : UnsafePointer(outputs[index - 1])
    let width = index == 0 ? input.columns : layer.inputs
    BLAS.multiply(below, weights, into: output, m: rows, n: layer.outputs, k: width)
    if index == 0, let sparse = input.sparse {
      gatherer.addRows(
        sparse, rows: rows, weights: weights + width * layer.outputs, columns: layer.outputs, to: output)
    }
    VectorKernels.addBias(
      parameters + layer.biasOffset, to: output, rows: rows, columns: layer.outputs, rectify: rectify)
  }

  /// After `forward`: computes every layer's deltas of the loss of each row, not divided by anything.
  ///
  /// - Parameter labels: with room for `rows` rounded up to whole vectors.
  func backward(parameters: UnsafePointer<Float>, labels: UnsafePointer<Float>, rows: Int) {
    let last = layers.count - 1
    objective.deltas(scores: outputs[last], labels: labels, rows: rows, into: deltas[last])
    for index in stride(from: last, to: 0, by: -1) {
      let (layer, below) = (layers[index], deltas[index - 1])
      let weights = parameters + layer.weightOffset
      if index == last, isScalar, activation == .relu, !isMasked {
        VectorKernels.rectifiedOuterProduct(
          factors: deltas[last], vector: weights, activations: outputs[last - 1],
          rows: rows, columns: layer.inputs, into: below)
        continue
      }
      BLAS.multiply(
        deltas[index], transposed: weights, into: below, m: rows, n: layer.inputs, k: layer.outputs)
      let count = rows * layer.inputs
      switch activation {
      case .relu: VectorKernels.rectifyGradient(below, activations: outputs[index - 1], count: count)
      case .gelu: VectorKernels.geluGradient(below, sums: sums[index - 1], count: count)
      }
      if isMasked { VectorKernels.multiply(below, by: masks[index - 1], count: count) }
    }
  }

  /// After `backward`: adds `scale` times the sum of the gradients of `rows` rows from `first` on. The target
  /// may be the parameters themselves: then this is a step of gradient descent.
  ///
  /// - Parameters:
  ///   - input: the rows that `forward` saw, from its first row.
  ///   - target: as long as the parameter vector.
  func addGradient(
    input: InputRows, first: Int, rows: Int, scale: Float, to target: UnsafeMutablePointer<Float>
  ) {
    let last = layers.count - 1
    for index in 0..<(isScalar ? last : last + 1) {
      let layer = layers[index]
      let width = index == 0 ? input.columns : layer.inputs
      let below = (index == 0 ? input.dense : UnsafePointer(outputs[index - 1])) + first * width
      let delta = UnsafePointer(deltas[index]) + first * layer.outputs
      let weights = target + layer.weightOffset
      if rows == 1 {
        Self.addOuterProduct(below, delta, inputs: width, outputs: layer.outputs, scale: scale, to: weights)
      } else {
        BLAS.add(transposed: below, delta, to: weights, m: width, n: layer.outputs, k: rows, scale: scale)
      }
      if index == 0, let sparse = input.sparse?.dropFirst(first) {
        SparseGatherer.scatter(
          sparse, rows: rows, deltas: delta, columns: layer.outputs, scale: scale,
          to: weights + width * layer.outputs)
      }
      VectorKernels.addColumnSums(
        of: delta, rows: rows, columns: layer.outputs, scale: scale, to: target + layer.biasOffset)
    }
    guard isScalar else { return }
    let layer = layers[last]
    var sum: Float = 0
    for row in 0..<rows {
      factors[row] = deltas[last][first + row] * scale
      sum += factors[row]
    }
    let (pointers, length) = lastInput(input, first: first, rows: rows)
    VectorKernels.addProducts(
      rows: pointers, factors: factors, count: rows, length: length, to: target + layer.weightOffset)
    if last == 0, let sparse = input.sparse?.dropFirst(first) {
      SparseGatherer.scatter(
        sparse, rows: rows, deltas: factors, columns: 1, scale: 1, to: target + input.columns)
    }
    target[layer.biasOffset] += sum
  }

  /// The gradient of one row. Most features are zeros of one-hot vectors, whose rows need no arithmetic.
  private static func addOuterProduct(
    _ input: UnsafePointer<Float>, _ delta: UnsafePointer<Float>, inputs: Int, outputs: Int, scale: Float,
    to weights: UnsafeMutablePointer<Float>
  ) {
    var factor: Float = 0
    for i in 0..<inputs where input[i] != 0 {
      factor = scale * input[i]
      withUnsafePointer(to: delta) { row in
        VectorKernels.addProducts(
          rows: row, factors: &factor, count: 1, length: outputs, to: weights + i * outputs)
      }
    }
  }
}

extension Objective {
  /// The derivatives of every row's loss by its scores, rows × outputs.
  ///
  /// - Parameter scores, labels, deltas: with room for the rows rounded up to whole vectors.
  func deltas(
    scores: UnsafePointer<Float>, labels: UnsafePointer<Float>, rows: Int,
    into deltas: UnsafeMutablePointer<Float>
  ) {
    guard self != .binary else {
      return VectorKernels.logisticDeltas(logits: scores, labels: labels, count: rows, scale: 1, into: deltas)
    }
    let outputs = outputs
    for row in 0..<rows {
      gradient(
        scores: UnsafeBufferPointer(start: scores + row * outputs, count: outputs), label: labels[row],
        into: deltas + row * outputs)
    }
  }
}
