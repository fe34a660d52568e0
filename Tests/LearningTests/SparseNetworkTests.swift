import Testing

@testable import Learning

@Suite struct SparseNetworkTests {
  struct Case: CustomTestStringConvertible {
    var settings: NetworkSettings
    var algorithm: LocalAlgorithm
    var testDescription: String { "\(settings), \(algorithm)" }
  }

  static let settings: [NetworkSettings] = [
    NetworkSettings(), NetworkSettings(objective: .classes(count: 4)), NetworkSettings(objective: .poisson),
    NetworkSettings(hidden: [5]),
    NetworkSettings(hidden: [9, 4], activation: .gelu, objective: .squaredError),
    NetworkSettings(hidden: [1]), NetworkSettings(hidden: [6], objective: .classes(count: 3)),
  ]
  static let cases = settings.flatMap { settings in
    [LocalAlgorithm.fedSGD, .fedAvg(epochs: 2, batchSize: 3, learningRate: 0.1)].map {
      Case(settings: settings, algorithm: $0)
    }
  }
  private static let shape = FeatureShape(columns: 2, sparseColumns: 90)

  private func batch(_ objective: Objective, perRow: Int = 70) throws -> TrainingBatch {
    // Rows of up to 70 entries: more than are added up at a time in some, none in others.
    try networkBatch(
      rowCounts: [1, 4, 2, 7], columns: 2, sparseColumns: 90, perRow: perRow, objective: objective, seed: 31)
  }

  private func dense(_ features: Matrix) throws -> Matrix {
    let sparse = try #require(features.sparse)
    var values: [Float] = []
    for row in 0..<features.rows {
      values += features.values[row * features.columns..<(row + 1) * features.columns]
      var own = [Float](repeating: 0, count: sparse.columns)
      for entry in sparse.offsets[row]..<sparse.offsets[row + 1] {
        own[Int(sparse.indices[entry])] = sparse.values[entry]
      }
      values += own
    }
    return try Matrix(rows: features.rows, columns: features.columns + sparse.columns, values: values)
  }

  private func updates(
    _ model: NetworkModel, _ algorithm: LocalAlgorithm, _ parameters: [Float], _ batch: TrainingBatch
  ) throws -> [[Float]] {
    var result: [[Float]] = []
    try LocalWorker(model: model, algorithm: algorithm).forEachUpdate(
      parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount, seed: 3
    ) { _, update in result.append(Array(update)) }
    return result
  }

  private func start(_ model: NetworkModel) -> [Float] {
    var noise = TestNoise(seed: 5)
    return model.initialParameters(seed: 9).map { $0 + 0.1 * Float(noise.next()) }
  }

  @Test(arguments: cases)
  func `sparse columns do what the same columns do when dense`(sample: Case) throws {
    let model = NetworkModel(settings: sample.settings, shape: Self.shape)
    let wide = NetworkModel(settings: sample.settings, shape: FeatureShape(columns: 92))
    #expect(model.parameterCount == wide.parameterCount)
    let batch = try batch(model.objective)
    let made = try TrainingBatch(
      features: dense(batch.features), labels: batch.labels, contributorOffsets: batch.contributorOffsets,
      objective: model.objective)
    let parameters = start(model)
    let scores = try model.scores(parameters: parameters, features: batch.features)
    #expect(distance(scores, try wide.scores(parameters: parameters, features: made.features)) < 1e-4)
    let sparse = try updates(model, sample.algorithm, parameters, batch)
    for (own, other) in zip(sparse, try updates(wide, sample.algorithm, parameters, made)) {
      #expect(distance(own, other) < 2e-5 * Float(1 + l2(other)))
      #expect(l2(other) > 1e-3)
    }
    // A worker's past and the other contributors do not matter.
    for contributor in 0..<batch.contributorCount {
      let alone = try updates(model, sample.algorithm, parameters, batch.selecting([contributor]))
      #expect(distance(alone[0], sparse[contributor]) < 2e-5 * Float(1 + l2(alone[0])))
    }
  }

  @Test(arguments: settings)
  func `gradients of sparse rows agree with finite differences`(settings: NetworkSettings) throws {
    let model = NetworkModel(settings: settings, shape: FeatureShape(columns: 1, sparseColumns: 8))
    let batch = try networkBatch(
      rowCounts: [3, 1], columns: 1, sparseColumns: 8, objective: model.objective, seed: 14)
    let parameters = start(model)
    let reference = ReferenceNetwork(model: model)
    for (contributor, update) in try updates(model, .fedSGD, parameters, batch).enumerated() {
      let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
      let plain = reference.gradient(parameters.map(Double.init), batch, rows: rows).map { Float(-$0) }
      #expect(distance(update, plain) < 2e-5 * Float(1 + l2(plain)))
    }
  }

  @Test func `dropout reads sparse rows too`() throws {
    let settings = NetworkSettings(hidden: [40], dropout: 0.5)
    let model = NetworkModel(settings: settings, shape: FeatureShape(columns: 1, sparseColumns: 4))
    // Rows that differ in their sparse part alone.
    let batch = try TrainingBatch(
      features: Matrix(
        rows: 2, columns: 1, values: [0, 0],
        sparse: SparseColumns(columns: 4, offsets: [0, 1, 2], indices: [1, 2], values: [1, 1])),
      labels: [1, 1], contributorOffsets: [0, 1, 2])
    let parameters = [Float](repeating: 0.1, count: model.parameterCount)
    let update = try updates(model, .fedSGD, parameters, batch)
    // Without dropout both biases would move alike.
    #expect(Array(update[0][200..<240]) != Array(update[1][200..<240]))
    #expect(try updates(model, .fedSGD, parameters, batch) == update)
  }

  @Test func `weights of sparse columns start small`() {
    let model = NetworkModel(settings: NetworkSettings(hidden: [10]), shape: Self.shape)
    let parameters = model.initialParameters(seed: 1)
    #expect((parameters[..<20].map(abs).max() ?? 0) > 1)
    let sparse = parameters[20..<920].map(abs).max() ?? 0
    #expect(sparse <= 1 / 64 && sparse > 1 / 80)
    let dense = NetworkModel(settings: NetworkSettings(hidden: [10]), shape: FeatureShape(columns: 92))
    #expect(abs((dense.initialParameters(seed: 1)[..<920].map(abs).max() ?? 0) - 0.255) < 0.005)
  }

  @Test func `a sparse matrix checks its parts`() throws {
    func sparse(
      _ columns: Int, _ offsets: [Int], _ indices: [Int32], _ values: [Float]
    ) throws -> SparseColumns {
      try SparseColumns(columns: columns, offsets: offsets, indices: indices, values: values)
    }
    let good = try sparse(3, [0, 2, 2, 3], [0, 2, 1], [1, 2, 3])
    #expect(good.rows == 3)
    let broken: [(Int, [Int], [Int32], [Float])] = [
      (0, [0], [], []), (1 << 20 + 1, [0], [], []), (3, [], [], []), (3, [1], [1], [1]),
      (3, [0, 1], [1], []),
      (3, [0, 2], [1], [1]), (3, [0, 1], [3], [1]), (3, [0, 1], [-1], [1]), (3, [0, 2], [1, 1], [1, 2]),
      (3, [0, 2], [2, 1], [1, 2]), (3, [0, 2, 1, 2], [0, 1], [1, 2]), (3, [0, .max, 2], [0, 1], [1, 2]),
    ]
    for part in broken {
      #expect(throws: LearningError.self, "\(part)") { try sparse(part.0, part.1, part.2, part.3) }
    }
    #expect(throws: LearningError.self) {
      try Matrix(rows: 2, columns: 1, values: [0, 0], sparse: good)
    }
    let matrix = try Matrix(rows: 3, columns: 1, values: [7, 8, 9], sparse: good)
    let chosen = matrix.selecting([2..<3, 0..<2])
    #expect(
      try chosen
        == Matrix(
          rows: 3, columns: 1, values: [9, 7, 8],
          sparse: SparseColumns(columns: 3, offsets: [0, 1, 3, 3], indices: [1, 0, 2], values: [3, 1, 2])))
    let nan = try sparse(3, [0, 1], [0], [.nan])
    #expect(throws: LearningError.nonFiniteValue(what: "the features of a batch")) {
      try TrainingBatch(
        features: Matrix(rows: 1, columns: 1, values: [0], sparse: nan), labels: [0],
        contributorOffsets: [0, 1])
    }
    let model = Model(architecture: .logisticRegression, inputs: 1)
    #expect(throws: LearningError.wrongCount(what: "the sparse columns of features", expected: 0, actual: 3))
    {
      try model.scores(parameters: [0, 0], features: matrix)
    }
  }

  @Test func `a matrix whose rows have no entries is all right`() throws {
    let empty = try SparseColumns(columns: 5, offsets: [0, 0, 0], indices: [], values: [])
    let features = try Matrix(rows: 2, columns: 1, values: [1, 2], sparse: empty)
    for hidden in [[], [3]] {
      let model = NetworkModel(
        settings: NetworkSettings(hidden: hidden), shape: FeatureShape(columns: 1, sparseColumns: 5))
      let batch = try TrainingBatch(features: features, labels: [0, 1], contributorOffsets: [0, 2])
      for sample in Self.cases.prefix(2) {
        let update = try updates(model, sample.algorithm, start(model), batch)
        #expect(update[0].allSatisfy(\.isFinite) && l2(update[0]) > 0)
      }
    }
  }
}
