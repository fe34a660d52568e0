/// Sums of the gradients of single rows, each clipped to an L2 norm, without ever holding the gradient of a
/// row ("ghost norms": Goodfellow, *Efficient Per-Example Gradient Computations*, 2015; Li et al., *Large
/// Language Models Can Be Strong Differentially Private Learners*, 2022, section 4).
///
/// The gradient of an affine layer for one row is the outer product of the layer's input a, with a one behind
/// it for the bias, and of the derivative δ of the loss by the layer's output. So its squared norm is (‖a‖² +
/// 1)·‖δ‖², and the row's norm is the root of the sum over layers. The factor min(1, C / norm) then goes into
/// a or δ, whichever is shorter, and one matrix product per layer adds all clipped gradients to the target in
/// place: a layer's weights and the biases behind them are one matrix of (inputs + 1) × outputs.
///
/// A sum depends on the parameters and the rows alone, never on what was computed before. All memory is
/// allocated once; one thread uses the object at a time.
package final class ClippedGradients {
  /// The features of a row.
  package let columns: Int
  /// The length of a gradient.
  package let parameterCount: Int
  /// The most rows of a sum.
  package let capacity: Int
  private let layers: [Layer]
  /// The input of every layer, the layer below's output after ReLU, with a one behind each row.
  private let inputs: [PaddedRows]
  /// The derivative of the loss by the output of every hidden layer.
  private let deltas: [PaddedRows]
  /// ‖a‖² + 1 of every layer's input, and ‖δ‖² of every layer's output, row after row.
  private let inputSquares: UnsafeMutablePointer<Double>
  private let deltaSquares: UnsafeMutablePointer<Double>
  /// What every row's gradient is multiplied by.
  private let factors: UnsafeMutablePointer<Float>
  private let logits: UnsafeMutablePointer<Float>
  private let labels: UnsafeMutablePointer<Float>
  /// The derivative of the loss by the logit, later times the factor.
  private let logitDeltas: UnsafeMutablePointer<Float>
  /// The last layer's weights with the bias behind them, without it, and the sum of its gradient.
  private let weightsAndBias: PaddedRows
  private let weights: PaddedRows
  private let lastSum: PaddedRows
  /// `capacity`, rounded up to whole vectors.
  private let stride: Int

  /// Memory for sums of up to `rows` rows, at least one. Refuses models other than logistic regression and
  /// ReLU networks for two classes, without dropout and sparse columns.
  package init(model: Model, rows: Int) throws(LearningError) {
    precondition(rows >= 1, "a sum has room for at least one row")
    let network = try Self.network(model)
    columns = network.shape.columns
    parameterCount = network.parameterCount
    capacity = rows
    stride = VectorKernels.padded(rows)
    layers = network.layers
    inputs = layers.map { [stride] in PaddedRows(rows: stride, columns: $0.inputs + 1) }
    deltas = layers.dropLast().map { [stride] in PaddedRows(rows: stride, columns: $0.outputs + 1) }
    let squares = layers.count * stride
    inputSquares = .allocate(capacity: squares)
    inputSquares.initialize(repeating: 0, count: squares)
    deltaSquares = .allocate(capacity: squares)
    deltaSquares.initialize(repeating: 0, count: squares)
    factors = VectorKernels.allocate(rows)
    logits = VectorKernels.allocate(rows)
    labels = VectorKernels.allocate(rows)
    logitDeltas = VectorKernels.allocate(rows)
    let width = layers[layers.count - 1].inputs + 1
    weightsAndBias = PaddedRows(rows: 1, columns: width)
    weights = PaddedRows(rows: 1, columns: width)
    lastSum = PaddedRows(rows: 1, columns: width)
    for (index, layer) in layers.enumerated().dropFirst() {
      for row in 0..<stride { inputs[index].row(row)[layer.inputs] = 1 }
    }
  }

  static func network(_ model: Model) throws(LearningError) -> NetworkModel {
    guard let network = model.implementation as? NetworkModel, network.shape.sparseColumns == 0,
      network.objective == .binary, network.settings.dropout == 0,
      network.settings.activation == .relu || network.settings.hidden.isEmpty
    else {
      throw .invalidSetting(
        name: "clipping of single records",
        reason: "the model must be logistic regression or a ReLU network of dense features, without dropout, "
          + "for two classes")
    }
    return network
  }

  deinit {
    inputSquares.deallocate()
    deltaSquares.deallocate()
    for buffer in [factors, logits, labels, logitDeltas] { buffer.deallocate() }
  }

  /// Adds `scale` · Σ min(1, C / ‖gᵢ‖) · gᵢ to `target`, where gᵢ is the gradient of the log loss of row i by
  /// all parameters. A row whose norm is not finite counts as zero.
  ///
  /// Clipping aims 2⁻¹⁷ of C below C, more than the norm's rounding error: no row counts with more than C but
  /// for the rounding of the sum itself.
  ///
  /// - Parameters:
  ///   - rows: at most `capacity`.
  ///   - parameters: `parameterCount` values, anything: nothing but the sum depends on them.
  ///   - clipNorm: C, positive and finite; nil for the plain sum, which takes every row as it is.
  ///   - target: as long as the parameters, and not overlapping them.
  /// - Returns: how many rows counted as zero. It is as private as the rows.
  @discardableResult
  package func add(
    of rows: RowSelection, parameters: UnsafePointer<Float>, clipNorm: Float?, scale: Float,
    to target: UnsafeMutablePointer<Float>
  ) -> Int {
    precondition(clipNorm.map { $0 > 0 && $0.isFinite } ?? true, "a clip norm is positive and finite")
    precondition(rows.count <= capacity, "more rows than there is memory for")
    guard rows.count > 0 else { return 0 }
    gather(rows)
    forward(parameters, rows: rows.count, squares: clipNorm != nil)
    backward(parameters, rows: rows.count, squares: clipNorm != nil)
    var zeroed = 0
    if let clipNorm {
      zeroed = computeFactors(rows: rows.count, clipNorm: clipNorm)
      applyFactors(rows: rows.count)
    }
    addProducts(rows: rows.count, scale: scale, to: target)
    return zeroed
  }

  /// Copies the rows, which may lie anywhere, side by side.
  private func gather(_ rows: RowSelection) {
    let (target, width) = (inputs[0], layers[0].inputs)
    for first in Swift.stride(from: 0, to: rows.count, by: Self.fetched) {
      let end = min(first + Self.fetched, rows.count)
      rows.fetch(first..<end, width: width)
      for row in first..<end {
        let position = rows.position(row)
        labels[row] = rows.labels[position]
        let values = target.row(row)
        VectorKernels.copy(rows.features + position * width, count: width, to: values)
        values[width] = 1
      }
    }
  }

  /// Rows that are waited for together.
  private static let fetched = 32

  private func forward(_ parameters: UnsafePointer<Float>, rows: Int, squares: Bool) {
    let last = layers.count - 1
    // The norm of the features is the one that no other pass over the rows can give, unless there is one
    // layer.
    if squares, last > 0 { VectorKernels.addSquares(of: inputs[0], rows: rows, to: inputSquares) }
    for index in 0..<last {
      let (layer, input, output) = (layers[index], inputs[index], inputs[index + 1])
      BLAS.multiply(
        input.values, stride: input.stride, parameters + layer.weightOffset, into: output.values,
        stride: output.stride, m: rows, n: layer.outputs, k: layer.inputs + 1)
      if index + 1 < last {
        VectorKernels.rectify(
          output, rows: rows, squares: squares ? inputSquares + (index + 1) * stride : nil)
      }
    }
    let layer = layers[last]
    weightsAndBias.values.update(from: parameters + layer.weightOffset, count: layer.inputs + 1)
    weights.values.update(from: parameters + layer.weightOffset, count: layer.inputs)
    VectorKernels.products(
      inputs[last], rows: rows, weights: weightsAndBias.values, rectify: last > 0, into: logits,
      squares: squares ? inputSquares + last * stride : nil)
  }

  private func backward(_ parameters: UnsafePointer<Float>, rows: Int, squares: Bool) {
    let last = layers.count - 1
    VectorKernels.logisticDeltas(logits: logits, labels: labels, count: rows, scale: 1, into: logitDeltas)
    guard last > 0 else { return }
    VectorKernels.rectifiedOuterProduct(
      factors: logitDeltas, vector: weights.values, activations: inputs[last], rows: rows,
      into: deltas[last - 1], squares: squares ? deltaSquares + (last - 1) * stride : nil)
    for index in Swift.stride(from: last - 1, to: 0, by: -1) {
      let (layer, delta, below) = (layers[index], deltas[index], deltas[index - 1])
      BLAS.multiply(
        delta.values, stride: delta.stride, transposed: parameters + layer.weightOffset, into: below.values,
        stride: below.stride, m: rows, n: layer.inputs, k: layer.outputs)
      VectorKernels.rectifyGradient(
        below, activations: inputs[index], rows: rows,
        squares: squares ? deltaSquares + (index - 1) * stride : nil)
    }
  }

  private func addProducts(rows: Int, scale: Float, to target: UnsafeMutablePointer<Float>) {
    let last = layers.count - 1
    for index in 0..<last {
      let (layer, input, delta) = (layers[index], inputs[index], deltas[index])
      BLAS.add(
        transposed: input.values, stride: input.stride, delta.values, stride: delta.stride,
        to: target + layer.weightOffset, m: layer.inputs + 1, n: layer.outputs, k: rows, scale: scale)
    }
    VectorKernels.sum(inputs[last], rows: rows, factors: logitDeltas, into: lastSum.values)
    let layer = layers[last]
    for index in 0...layer.inputs { target[layer.weightOffset + index] += scale * lastSum.values[index] }
  }
}

// MARK: Clipping

extension ClippedGradients {
  /// How far below the clip norm to aim: the norm is within 68 roundings of single precision in its square.
  private static let margin = 1 - 0x1p-17

  /// - Returns: the rows that count as zero, whose values are zeros now: zero times infinity would not be
  ///   zero.
  private func computeFactors(rows: Int, clipNorm: Float) -> Int {
    let limit = Double(clipNorm) * Self.margin
    let hidden = layers.count - 1
    var zeroed = 0
    for first in Swift.stride(from: 0, to: rows, by: 4) {
      let delta = SIMD4<Double>(VectorKernels.load(logitDeltas + first))
      let input = VectorKernels.load(inputSquares + hidden * stride + first)
      var total = input * (delta * delta)
      // Squares of small values vanish in single precision: at most 1e-38 for each of up to 2¹³ units.
      var lost = SIMD4<Double>.zero
      for index in 0..<hidden {
        let input = VectorKernels.load(inputSquares + index * stride + first)
        let delta = VectorKernels.load(deltaSquares + index * stride + first)
        total += input * delta
        lost.replace(with: lost + input * 1e-33, where: delta .< 1e-24)
      }
      let isClipped = .!(total + lost .<= limit * limit)
      VectorKernels.store(
        SIMD4<Float>(
          SIMD4(repeating: 1).replacing(with: limit / total.squareRoot(), where: isClipped)),
        factors + first)
      let isExact = (lost .== 0) .& (total .< .infinity)
      guard any(isClipped .& .!isExact) else { continue }
      for lane in 0..<min(4, rows - first) where isClipped[lane] && !isExact[lane] {
        zeroed += computeFactor(row: first + lane, limit: limit) ? 0 : 1
      }
    }
    // The rows up to the next multiple of four are multiplied along: as zeros they stay harmless and fast.
    for row in rows..<VectorKernels.padded(rows) { factors[row] = 0 }
    return zeroed
  }

  /// The factor of a row whose squares leave the range of single precision, if it is finite.
  private func computeFactor(row: Int, limit: Double) -> Bool {
    func square(_ values: UnsafePointer<Float>, _ count: Int) -> Double {
      (0..<count).reduce(0) { $0 + Double(values[$1]) * Double(values[$1]) }
    }
    let last = layers.count - 1
    var total = 0.0
    for (index, layer) in layers.enumerated() {
      let delta = index == last ? square(logitDeltas + row, 1) : square(deltas[index].row(row), layer.outputs)
      total += square(inputs[index].row(row), layer.inputs + 1) * delta
    }
    guard total.isFinite else {
      clear(row)
      return false
    }
    factors[row] = total > limit * limit ? Float(limit / total.squareRoot()) : 1
    return true
  }

  private func clear(_ row: Int) {
    factors[row] = 0
    logitDeltas[row] = 0
    for (index, layer) in layers.enumerated() {
      // The one behind the row stays: nobody else writes it again.
      inputs[index].row(row).update(repeating: 0, count: layer.inputs)
      if index < layers.count - 1 { deltas[index].row(row).update(repeating: 0, count: layer.outputs) }
    }
  }

  /// Multiplies the rows by their factors.
  private func applyFactors(rows: Int) {
    for (index, delta) in deltas.enumerated() {
      // Only the features are written anew with the one behind them; elsewhere it has to stay.
      let isInputShorter = index == 0 && inputs[0].stride <= delta.stride
      VectorKernels.scale(isInputShorter ? inputs[0] : delta, rows: rows, by: factors)
    }
    VectorKernels.multiply(logitDeltas, by: factors, count: rows)
  }
}

/// Rows of features and their labels, 0 or 1, that may lie anywhere in a larger table; valid as long as the
/// table. Nothing is checked: the positions are the caller's.
package struct RowSelection {
  /// Row-major, as many columns as the model has inputs.
  let features: UnsafePointer<Float>
  let labels: UnsafePointer<Float>
  /// The rows' positions in the table; nil for the first `count`.
  let order: UnsafePointer<Int32>?
  /// The number of rows.
  package let count: Int

  /// The rows `order[0]`, `order[1]`, …
  package init(
    features: UnsafePointer<Float>, labels: UnsafePointer<Float>, order: UnsafeBufferPointer<Int32>
  ) {
    self.features = features
    self.labels = labels
    self.order = order.baseAddress
    count = order.count
  }

  /// The first `count` rows.
  package init(features: UnsafePointer<Float>, labels: UnsafePointer<Float>, count: Int) {
    self.features = features
    self.labels = labels
    order = nil
    self.count = count
  }

  @inline(__always)
  func position(_ row: Int) -> Int { order.map { Int($0[row]) } ?? row }

  /// Reads a value of every cache line of short rows, so that the lines arrive together.
  @inline(never)
  @discardableResult
  func fetch(_ rows: Range<Int>, width: Int) -> UInt32 {
    guard order != nil, width <= 256 else { return 0 }
    var bits: UInt32 = 0
    for row in rows {
      let position = position(row)
      let values = features + position * width
      bits |= labels[position].bitPattern
      for index in stride(from: 0, to: width, by: 16) { bits |= values[index].bitPattern }
      bits |= values[width - 1].bitPattern
    }
    return bits
  }
}
