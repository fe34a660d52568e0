/// The scores of one user for up to `capacity` items, and their derivatives: memory that is allocated once
/// and used for block after block.
///
/// What depends on the items alone, their share of the first layer's sums above all, is computed by `load`, so
/// that a user's vector can be changed without doing it again.
final class InteractionBlock {
  /// The most items of a block.
  static let capacity = 256

  private let layout: NeuralRecommenderLayout
  private let biases: UnsafeMutablePointer<Float>
  private let embeddings: UnsafeMutablePointer<Float>
  /// The items' part of the first layer's sums, and the user's.
  private let itemSums: UnsafeMutablePointer<Float>
  private let userSums: UnsafeMutablePointer<Float>
  private let outputs: [UnsafeMutablePointer<Float>]
  /// The derivatives of the score by each layer's sums.
  private let deltas: [UnsafeMutablePointer<Float>]
  private let ones: UnsafeMutablePointer<Float>
  private let products: UnsafeMutablePointer<Float>
  private let embeddingRows: UnsafeMutablePointer<UnsafePointer<Float>>
  private let lastRows: UnsafeMutablePointer<UnsafePointer<Float>>
  private var rows = 0

  /// The scores of the last `score`, with room for a whole number of vectors.
  let scores: UnsafeMutablePointer<Float>
  /// The derivatives of the scores by the user's vector, rows × factors; then by the item's.
  let userSlopes: UnsafeMutablePointer<Float>
  let itemSlopes: UnsafeMutablePointer<Float>

  init(layout: NeuralRecommenderLayout) {
    self.layout = layout
    let capacity = Self.capacity
    biases = VectorKernels.allocate(capacity)
    embeddings = VectorKernels.allocate(capacity * layout.factors)
    itemSums = VectorKernels.allocate(capacity * (layout.layers.first?.outputs ?? 0))
    userSums = VectorKernels.allocate(layout.layers.map(\.outputs).max() ?? 0)
    outputs = layout.layers.map { VectorKernels.allocate(capacity * $0.outputs) }
    deltas = layout.layers.map { VectorKernels.allocate(capacity * $0.outputs) }
    ones = VectorKernels.allocate(capacity)
    ones.update(repeating: 1, count: capacity)
    products = VectorKernels.allocate(capacity)
    scores = VectorKernels.allocate(capacity)
    userSlopes = VectorKernels.allocate(capacity * layout.factors)
    itemSlopes = VectorKernels.allocate(capacity * layout.factors)
    embeddingRows = .allocate(capacity: capacity)
    lastRows = .allocate(capacity: capacity)
    let (last, units) = (outputs.last ?? biases, layout.layers.last?.outputs ?? 0)
    for row in 0..<capacity {
      (embeddingRows + row).initialize(to: embeddings + row * layout.factors)
      (lastRows + row).initialize(to: last + row * units)
    }
  }

  deinit {
    for buffer in [biases, embeddings, itemSums, userSums, ones, products, scores, userSlopes, itemSlopes] {
      buffer.deallocate()
    }
    for buffer in outputs + deltas { buffer.deallocate() }
    embeddingRows.deallocate()
    lastRows.deallocate()
  }

  /// Takes up to `capacity` items, whose numbers are valid.
  func load(parameters: UnsafePointer<Float>, items: UnsafePointer<Int32>, rows: Int) {
    precondition(rows <= Self.capacity, "a block has room for so many items")
    self.rows = rows
    let factors = layout.factors
    for row in 0..<rows {
      let item = parameters + layout.itemOffset(Int(items[row]))
      biases[row] = item[0]
      (embeddings + row * factors).update(from: item + 1, count: factors)
    }
    guard let first = layout.layers.first else { return }
    let weights = parameters + first.weightOffset + factors * first.outputs
    BLAS.multiply(embeddings, weights, into: itemSums, m: rows, n: first.outputs, k: factors)
    VectorKernels.addBias(
      parameters + first.biasOffset, to: itemSums, rows: rows, columns: first.outputs, rectify: false)
  }

  /// Computes the user's `scores` for the loaded items.
  ///
  /// - Parameter user: bias and vector.
  func score(parameters: UnsafePointer<Float>, user: UnsafePointer<Float>) {
    let factors = layout.factors
    VectorKernels.products(
      rows: UnsafePointer(embeddingRows), count: rows, length: factors, weights: user + 1, bias: user[0],
      into: scores)
    for row in 0..<rows { scores[row] += biases[row] }
    guard let first = layout.layers.first, let last = layout.layers.last else { return }
    BLAS.multiply(
      user + 1, parameters + first.weightOffset, into: userSums, m: 1, n: first.outputs, k: factors)
    outputs[0].update(from: itemSums, count: rows * first.outputs)
    VectorKernels.addBias(userSums, to: outputs[0], rows: rows, columns: first.outputs, rectify: true)
    for (index, layer) in layout.layers.enumerated().dropFirst() {
      BLAS.multiply(
        outputs[index - 1], parameters + layer.weightOffset, into: outputs[index], m: rows, n: layer.outputs,
        k: layer.inputs)
      VectorKernels.addBias(
        parameters + layer.biasOffset, to: outputs[index], rows: rows, columns: layer.outputs, rectify: true)
    }
    VectorKernels.products(
      rows: UnsafePointer(lastRows), count: rows, length: last.outputs,
      weights: parameters + layout.outputOffset, bias: 0, into: products)
    for row in 0..<rows { scores[row] += products[row] }
  }

  /// After `score`: the derivatives of every score by the user's vector.
  func differentiate(parameters: UnsafePointer<Float>) {
    let factors = layout.factors
    guard let first = layout.layers.first, let last = layout.layers.last else {
      return userSlopes.update(from: embeddings, count: rows * factors)
    }
    VectorKernels.rectifiedOuterProduct(
      factors: ones, vector: parameters + layout.outputOffset, activations: outputs[outputs.count - 1],
      rows: rows, columns: last.outputs, into: deltas[deltas.count - 1])
    for (index, layer) in layout.layers.enumerated().dropFirst().reversed() {
      BLAS.multiply(
        deltas[index], transposed: parameters + layer.weightOffset, into: deltas[index - 1], m: rows,
        n: layer.inputs, k: layer.outputs)
      VectorKernels.rectifyGradient(
        deltas[index - 1], activations: outputs[index - 1], count: rows * layer.inputs)
    }
    BLAS.multiply(
      deltas[0], transposed: parameters + first.weightOffset, into: userSlopes, m: rows, n: factors,
      k: first.outputs)
    for index in 0..<rows * factors { userSlopes[index] += embeddings[index] }
  }

  /// After `differentiate`: adds Σ errors[r] · the derivative of score r by the items and the perceptron.
  ///
  /// - Parameters:
  ///   - items: those that were loaded.
  ///   - errors: one for each.
  ///   - target: as long as the parameters.
  func addGradient(
    parameters: UnsafePointer<Float>, user: UnsafePointer<Float>, items: UnsafePointer<Int32>,
    errors: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
  ) {
    let factors = layout.factors
    if let first = layout.layers.first {
      let weights = parameters + first.weightOffset + factors * first.outputs
      BLAS.multiply(
        deltas[0], transposed: weights, into: itemSlopes, m: rows, n: factors, k: first.outputs)
      addNetworkGradient(user: user, errors: errors, to: target)
    } else {
      itemSlopes.update(repeating: 0, count: rows * factors)
    }
    for row in 0..<rows {
      let (item, error) = (target + layout.itemOffset(Int(items[row])), errors[row])
      let slopes = itemSlopes + row * factors
      item[0] += error
      for index in 0..<factors { item[1 + index] += error * (user[1 + index] + slopes[index]) }
    }
  }

  private func addNetworkGradient(
    user: UnsafePointer<Float>, errors: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
  ) {
    for (index, layer) in layout.layers.enumerated() {
      for row in 0..<rows {
        VectorKernels.scale(deltas[index] + row * layer.outputs, count: layer.outputs, by: errors[row])
      }
      let weights = target + layer.weightOffset
      userSums.update(repeating: 0, count: layer.outputs)
      VectorKernels.addColumnSums(
        of: deltas[index], rows: rows, columns: layer.outputs, scale: 1, to: userSums)
      for unit in 0..<layer.outputs { target[layer.biasOffset + unit] += userSums[unit] }
      guard index == 0 else {
        BLAS.add(
          transposed: outputs[index - 1], deltas[index], to: weights, m: layer.inputs, n: layer.outputs,
          k: rows,
          scale: 1)
        continue
      }
      // The user's vector is the same in every row.
      for factor in 0..<layout.factors {
        let (row, value) = (weights + factor * layer.outputs, user[1 + factor])
        for unit in 0..<layer.outputs { row[unit] += value * userSums[unit] }
      }
      BLAS.add(
        transposed: embeddings, deltas[0], to: weights + layout.factors * layer.outputs, m: layout.factors,
        n: layer.outputs, k: rows, scale: 1)
    }
    if let last = layout.layers.last {
      VectorKernels.addProducts(
        rows: UnsafePointer(lastRows), factors: errors, count: rows, length: last.outputs,
        to: target + layout.outputOffset)
    }
  }
}
