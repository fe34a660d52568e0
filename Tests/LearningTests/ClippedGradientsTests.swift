import Testing

@testable import Learning

@Suite struct ClippedGradientsTests {
  /// Hidden layers, features and rows: from no layer to four, sizes around whole vectors, blocks of squares
  /// and rows.
  private static let shapes: [(hidden: [Int], inputs: Int, rows: Int)] = [
    ([], 30, 257), ([], 1, 1), ([], 3, 6), ([1], 1, 3), ([64, 32], 30, 257), ([64, 32], 30, 1), ([5], 7, 33),
    ([17, 4, 9], 31, 65), ([8, 8, 8, 8], 4, 10), ([300, 3], 2, 5), ([3, 290], 270, 7),
  ]

  private func model(_ hidden: [Int], inputs: Int) -> Model {
    Model(
      architecture: hidden.isEmpty ? .logisticRegression : .multiLayerPerceptron(hidden: hidden),
      inputs: inputs)
  }

  /// Normal parameters of about the size that training gives, biases included.
  private func parameters(_ model: Model, seed: UInt64) -> [Float] {
    var noise = TestNoise(seed: seed)
    return noise.floats(model.parameterCount).map { $0 * 0.4 }
  }

  private func batch(rows: Int, inputs: Int, seed: UInt64) throws -> TrainingBatch {
    try randomBatch(rowCounts: [Int](repeating: 1, count: rows), columns: inputs, seed: seed)
  }

  /// The sum of the clipped gradients of the chosen rows, added to `start`, and how many rows counted as
  /// zero.
  private func sum(
    _ gradients: ClippedGradients, _ parameters: [Float], features: [Float], labels: [Float],
    order: [Int32]? = nil, clipNorm: Float?, scale: Float = 1, start: [Float]? = nil
  ) -> (values: [Float], zeroed: Int) {
    var target = start ?? [Float](repeating: 0, count: parameters.count)
    let zeroed = features.withUnsafeBufferPointer { features in
      labels.withUnsafeBufferPointer { labels in
        (order ?? []).withUnsafeBufferPointer { places in
          let (x, y) = (features.baseAddress!, labels.baseAddress!)
          return gradients.add(
            of: order == nil
              ? RowSelection(features: x, labels: y, count: labels.count)
              : RowSelection(features: x, labels: y, order: places),
            parameters: parameters, clipNorm: clipNorm, scale: scale, to: &target)
        }
      }
    }
    return (target, zeroed)
  }

  /// The gradients of single rows by the path that materialises them.
  private func rowGradients(
    _ model: Model, _ parameters: [Float], _ batch: TrainingBatch
  ) throws -> [[Float]] {
    try updates(model, .fedSGD, parameters, batch).map { $0.map { -$0 } }
  }

  private func clippedTotal(_ rows: [[Float]], to limit: Float?) -> [Double] {
    total(
      rows.map { row in
        guard let limit else { return row }
        var row = row
        row.withUnsafeMutableBufferPointer { _ = clipL2($0, to: limit) }
        return row
      })
  }

  /// The largest difference, over the length of the expected vector.
  private func relativeDistance(_ values: [Float], _ expected: [Double]) -> Double {
    let norm = expected.reduce(0) { $0 + $1 * $1 }.squareRoot()
    let worst = zip(values, expected).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
    return values.count == expected.count ? worst / max(norm, 1e-30) : .infinity
  }

  @Test(arguments: shapes.indices)
  func `a sum equals the gradients of single rows, clipped one by one`(index: Int) throws {
    let shape = Self.shapes[index]
    let model = model(shape.hidden, inputs: shape.inputs)
    let parameters = parameters(model, seed: UInt64(index))
    let batch = try batch(rows: shape.rows, inputs: shape.inputs, seed: 7)
    let rows = try rowGradients(model, parameters, batch)
    let norms = rows.map(l2).sorted()
    let gradients = try ClippedGradients(model: model, rows: shape.rows)
    // All rows above the norm, half of them, none; and no clipping at all.
    // (A saturated row has a gradient of zeros.)
    let limits: [Float?] = [
      max(Float(norms[0] / 3), 1e-3), max(Float(norms[norms.count / 2]), 1e-3), Float(norms.last! * 2 + 1),
      nil,
    ]
    for limit in limits {
      let result = sum(
        gradients, parameters, features: batch.features.values, labels: batch.labels, clipNorm: limit)
      #expect(relativeDistance(result.values, clippedTotal(rows, to: limit)) < 2e-5, "\(shape) \(limit ?? 0)")
      #expect(result.zeroed == 0)
    }
  }

  @Test func `other models are refused`() throws {
    for settings in [
      NetworkSettings(hidden: [4], activation: .gelu), NetworkSettings(hidden: [4], dropout: 0.5),
      NetworkSettings(hidden: [4], objective: .squaredError),
    ] {
      #expect(throws: LearningError.self) {
        try ClippedGradients(model: Model(architecture: .network(settings), inputs: 3), rows: 1)
      }
    }
    let sparse = FeatureShape(columns: 3, sparseColumns: 2)
    #expect(throws: LearningError.self) {
      try ClippedGradients(model: Model(architecture: .logisticRegression, shape: sparse), rows: 1)
    }
    _ = try ClippedGradients(
      model: Model(architecture: .network(NetworkSettings(hidden: [4])), inputs: 3), rows: 1)
  }

  @Test func `a gradient agrees with differences of the loss`() throws {
    let model = model([6, 5], inputs: 4)
    let parameters = parameters(model, seed: 3)
    let batch = try batch(rows: 1, inputs: 4, seed: 5)
    let reference = ReferenceTrainer(architecture: model.architecture, inputs: 4)
    let exact = reference.gradient(parameters.map(Double.init), batch, rows: [0])
    let result = sum(
      try ClippedGradients(model: model, rows: 1), parameters, features: batch.features.values,
      labels: batch.labels, clipNorm: 1e6)
    #expect(relativeDistance(result.values, exact) < 1e-5)
    for index in stride(from: 0, to: parameters.count, by: 3) {
      let step = 1e-3
      func loss(_ sign: Double) -> Double {
        var moved = parameters.map(Double.init)
        moved[index] += sign * step
        return logLoss(model, moved, batch)
      }
      let slope = (loss(1) - loss(-1)) / (2 * step)
      #expect(abs(slope - Double(result.values[index])) < 1e-3)
    }
  }

  /// The log loss of the first row in double precision.
  private func logLoss(_ model: Model, _ parameters: [Double], _ batch: TrainingBatch) -> Double {
    let layers = NetworkModel(settings: NetworkSettings(hidden: [6, 5]), shape: model.shape).layers
    var values = batch.features.values.prefix(model.inputs).map(Double.init)
    for (index, layer) in layers.enumerated() {
      let sums = (0..<layer.outputs).map { unit in
        (0..<layer.inputs).reduce(parameters[layer.biasOffset + unit]) {
          $0 + values[$1] * parameters[layer.weightOffset + $1 * layer.outputs + unit]
        }
      }
      values = index < layers.count - 1 ? sums.map { max($0, 0) } : sums
    }
    let odds = ReferenceTrainer.exponential(batch.labels[0] == 1 ? -values[0] : values[0])
    // ln(1 + odds) by Newton's method on e^y: no library's logarithm is needed for a slope.
    var y = 0.5
    for _ in 0..<60 { y += (1 + odds) / ReferenceTrainer.exponential(y) - 1 }
    return y
  }

  @Test func `a row never counts with more than the clip norm`() throws {
    let model = model([300, 40], inputs: 20)
    let parameters = parameters(model, seed: 8)
    let batch = try batch(rows: 60, inputs: 20, seed: 9)
    let gradients = try ClippedGradients(model: model, rows: 1)
    let norms = try rowGradients(model, parameters, batch).map(l2)
    for row in 0..<60 {
      let result = sum(
        gradients, parameters, features: batch.features.values, labels: batch.labels, order: [Int32(row)],
        clipNorm: 0.01)
      let norm = l2(result.values)
      #expect(norm <= min(norms[row] * 1.000_01, 0.01))
      #expect(norm >= min(norms[row], 0.01) * 0.999_98)
    }
  }

  @Test func `rows without a finite norm count as zero and spoil no other`() throws {
    for hidden in [[], [9], [9, 6]] {
      let model = model(hidden, inputs: 5)
      let parameters = parameters(model, seed: 2)
      let batch = try batch(rows: 11, inputs: 5, seed: 4)
      var features = batch.features.values
      features[2 * 5 + 1] = .nan
      features[7 * 5] = .infinity
      features[10 * 5 + 4] = -.infinity
      let good = [0, 1, 3, 4, 5, 6, 8, 9]
      let rows = try rowGradients(model, parameters, batch)
      for limit: Float in [0.05, 1, 1e6] {
        let result = sum(
          try ClippedGradients(model: model, rows: 11), parameters, features: features, labels: batch.labels,
          clipNorm: limit)
        #expect(relativeDistance(result.values, clippedTotal(good.map { rows[$0] }, to: limit)) < 2e-5)
        #expect(result.zeroed == 3)
      }
    }
  }

  @Test func `parameters that are not finite give zero for every row`() throws {
    let model = model([6, 5], inputs: 4)
    let batch = try batch(rows: 9, inputs: 4, seed: 4)
    let gradients = try ClippedGradients(model: model, rows: 9)
    var parameters = parameters(model, seed: 1)
    parameters[parameters.count - 1] = .nan
    let bad = sum(
      gradients, parameters, features: batch.features.values, labels: batch.labels, clipNorm: 1)
    #expect(bad.zeroed == 9)
    let isZero = bad.values.allSatisfy { $0 == 0 }
    #expect(isZero)
    // And nothing of it is left behind.
    parameters[parameters.count - 1] = 0
    let after = sum(
      gradients, parameters, features: batch.features.values, labels: batch.labels, clipNorm: 1)
    let fresh = sum(
      try ClippedGradients(model: model, rows: 9), parameters, features: batch.features.values,
      labels: batch.labels, clipNorm: 1)
    #expect(after.values == fresh.values && after.zeroed == 0)
  }

  @Test func `squares beyond single precision are computed in double precision`() throws {
    // Features of 1e22 have squares that overflow; small clip norms have squares that vanish.
    for (size, hidden) in [(1e22, []), (1e22, [4]), (1e-3, [4, 3])] as [(Float, [Int])] {
      let model = model(hidden, inputs: 6)
      let parameters = [Float](repeating: size > 1 ? 1e-22 : 1e-9, count: model.parameterCount)
      let random = try batch(rows: 10, inputs: 6, seed: 4)
      let batch = try TrainingBatch(
        features: Matrix(rows: 10, columns: 6, values: random.features.values.map { $0 * size }),
        labels: random.labels, contributorOffsets: random.contributorOffsets)
      let rows = try rowGradients(model, parameters, batch)
      for limit: Float in [1e-25, 1e-12, 1] {
        let result = sum(
          try ClippedGradients(model: model, rows: 10), parameters, features: batch.features.values,
          labels: batch.labels, clipNorm: limit)
        #expect(relativeDistance(result.values, clippedTotal(rows, to: limit)) < 2e-5, "\(hidden) \(limit)")
        #expect(result.zeroed == 0)
      }
    }
  }

  @Test func `deltas whose squares vanish still count`() throws {
    // Logits near −69: the derivative is 1e-30, that of the hidden units 1.5e-29, and its square is 0.
    let model = model([2], inputs: 2)
    let parameters: [Float] = [1, 1, 1, 1, 0, 0, -15, -15, 0]
    let batch = try TrainingBatch(
      features: Matrix(rows: 5, columns: 2, values: [1, 1.3, 1.1, 1.2, 1.3, 0.9, 1.2, 1.1, 1.15, 1.15]),
      labels: [0, 0, 0, 0, 0], contributorOffsets: [0, 1, 2, 3, 4, 5])
    let rows = try rowGradients(model, parameters, batch)
    let result = sum(
      try ClippedGradients(model: model, rows: 5), parameters, features: batch.features.values,
      labels: batch.labels, clipNorm: 1e-29)
    #expect(rows.allSatisfy { l2($0) > 2e-29 })
    #expect(relativeDistance(result.values, clippedTotal(rows, to: 1e-29)) < 2e-5)
  }

  @Test func `a sum is scaled, added to what is there, and takes rows from anywhere`() throws {
    let model = model([12, 7], inputs: 10)
    let parameters = parameters(model, seed: 11)
    let batch = try batch(rows: 90, inputs: 10, seed: 12)
    let order: [Int32] = [89, 0, 41, 41, 7, 66, 3, 20, 19]
    let rows = try rowGradients(model, parameters, batch)
    let start = [Float](repeating: 0.25, count: parameters.count)
    let result = sum(
      try ClippedGradients(model: model, rows: 40), parameters, features: batch.features.values,
      labels: batch.labels, order: order, clipNorm: 0.5, scale: -2, start: start)
    let expected = clippedTotal(order.map { rows[Int($0)] }, to: 0.5).map { 0.25 - 2 * $0 }
    #expect(relativeDistance(result.values, expected) < 2e-5)
    let none = sum(
      try ClippedGradients(model: model, rows: 1), parameters, features: batch.features.values,
      labels: batch.labels, order: [], clipNorm: 0.5, start: start)
    #expect(none.values == start && none.zeroed == 0)
  }

  @Test func `a sum does not depend on what was computed before`() throws {
    let model = model([33, 18], inputs: 13)
    let parameters = parameters(model, seed: 21)
    let batch = try batch(rows: 61, inputs: 13, seed: 22)
    let used = try ClippedGradients(model: model, rows: 128)
    var spoiled = try self.batch(rows: 128, inputs: 13, seed: 23).features.values
    for index in stride(from: 0, to: spoiled.count, by: 29) { spoiled[index] = .infinity }
    for limit: Float? in [0.1, nil, 3] {
      _ = sum(
        used, parameters, features: spoiled, labels: [Float](repeating: 1, count: 128), clipNorm: limit)
      let again = sum(
        used, parameters, features: batch.features.values, labels: batch.labels, clipNorm: 0.3)
      let fresh = sum(
        try ClippedGradients(model: model, rows: 61), parameters, features: batch.features.values,
        labels: batch.labels, clipNorm: 0.3)
      #expect(again.values == fresh.values && again.zeroed == fresh.zeroed)
    }
  }
}
