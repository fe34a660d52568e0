import Foundation
import Testing

@testable import Learning

@Suite struct NetworkModelTests {
  struct Case: CustomTestStringConvertible {
    var settings: NetworkSettings
    var sparseColumns = 0
    var testDescription: String { "\(settings), \(sparseColumns) sparse" }
  }

  static let cases: [Case] = Objective.samples.flatMap { objective in
    [[], [5], [6, 4]].flatMap { hidden in
      [Activation.relu, .gelu].filter { $0 == .relu || !hidden.isEmpty }.map {
        Case(settings: NetworkSettings(hidden: hidden, activation: $0, objective: objective))
      }
    }
  }

  private func start(_ model: NetworkModel) -> [Float] {
    var noise = TestNoise(seed: 5)
    return model.initialParameters(seed: 9).map { $0 + 0.2 * Float(noise.next()) }
  }

  private func updates(
    _ model: NetworkModel, _ algorithm: LocalAlgorithm, _ parameters: [Float], _ batch: TrainingBatch,
    seed: UInt64 = 1
  ) throws -> [[Float]] {
    var result: [[Float]] = []
    try LocalWorker(model: model, algorithm: algorithm).forEachUpdate(
      parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount, seed: seed
    ) { _, update in result.append(Array(update)) }
    return result
  }

  @Test(arguments: cases)
  func `gradients agree with finite differences for every objective`(sample: Case) throws {
    let model = NetworkModel(settings: sample.settings, shape: FeatureShape(columns: 6))
    let batch = try networkBatch(
      rowCounts: [1, 4, 2], columns: 6, objective: model.objective, seed: 3)
    let parameters = start(model)
    let fast = try updates(model, .fedSGD, parameters, batch)
    let reference = ReferenceNetwork(model: model)
    for contributor in 0..<3 {
      let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
      let plain = reference.gradient(parameters.map(Double.init), batch, rows: rows).map { Float(-$0) }
      #expect(distance(fast[contributor], plain) < 2e-5 * Float(1 + l2(plain)), "contributor \(contributor)")
      #expect(l2(plain) > 1e-3)
    }
  }

  @Test(arguments: cases)
  func `one local step over all rows is the gradient times the learning rate`(sample: Case) throws {
    let model = NetworkModel(settings: sample.settings, shape: FeatureShape(columns: 6))
    let batch = try networkBatch(rowCounts: [5], columns: 6, objective: model.objective, seed: 4)
    let parameters = start(model)
    let gradient = try updates(model, .fedSGD, parameters, batch)[0]
    let local = try updates(
      model, .fedAvg(epochs: 1, batchSize: 9, learningRate: 0.25), parameters, batch)[0]
    #expect(distance(local, gradient.map { $0 / 4 }) < 2e-6 * Float(1 + l2(gradient)))
  }

  @Test(arguments: cases)
  func `scores agree with plain loops`(sample: Case) throws {
    let model = NetworkModel(settings: sample.settings, shape: FeatureShape(columns: 6))
    let batch = try networkBatch(rowCounts: [20], columns: 6, objective: model.objective, seed: 6)
    let parameters = start(model)
    let scores = try model.scores(parameters: parameters, features: batch.features)
    let reference = ReferenceNetwork(model: model)
    let plain = (0..<20).flatMap {
      reference.scores(parameters.map(Double.init), batch.features, row: $0).map { Float($0) }
    }
    #expect(scores.count == 20 * model.objective.outputs)
    #expect(distance(scores, plain) < 1e-5)
  }

  /// Trains with all contributors in every round, by the model's own step.
  private func train(
    _ architecture: ModelArchitecture, _ batch: TrainingBatch, rounds: Int,
    optimizer kind: ServerOptimizer.Kind, algorithm: LocalAlgorithm = .fedSGD
  ) throws -> (model: Model, parameters: [Float]) {
    let shape = FeatureShape(columns: batch.features.columns, sparseColumns: batch.features.sparseColumns)
    try architecture.validate(shape: shape)
    let model = Model(architecture: architecture, shape: shape)
    var parameters = model.initialParameters(seed: 1)
    var optimizer = ServerOptimizer(kind: kind, parameterCount: model.parameterCount)
    for round in 0..<rounds {
      var sum = [Float](repeating: 0, count: model.contributionLength(parameters: parameters))
      try LocalTrainer(model: model, algorithm: algorithm).forEachUpdate(
        parameters: parameters, batch: batch, seed: UInt64(round)
      ) { _, update in for index in sum.indices { sum[index] += update[index] } }
      let count = Double(batch.contributorCount)
      try model.step(
        mean: sum.map { $0 / Float(count) }, contributors: count, optimizer: &optimizer,
        parameters: &parameters)
    }
    return (model, parameters)
  }

  @Test func `softmax separates classes that a line cannot`() throws {
    // Three rings around the origin.
    var noise = TestNoise(seed: 8)
    var (values, labels) = ([Float](), [Float]())
    for row in 0..<300 {
      let direction = noise.floats(2)
      let norm = (direction[0] * direction[0] + direction[1] * direction[1]).squareRoot()
      let radius = Float(row % 3) + 0.5 + 0.05 * Float(noise.next())
      values += direction.map { $0 / norm * radius }
      labels.append(Float(row % 3))
    }
    let objective = Objective.classes(count: 3)
    let batch = try TrainingBatch(
      features: Matrix(rows: 300, columns: 2, values: values), labels: labels,
      contributorOffsets: Array(stride(from: 0, through: 300, by: 10)), objective: objective)
    for activation in [Activation.relu, .gelu] {
      let (model, parameters) = try train(
        .network(NetworkSettings(hidden: [16], activation: activation, objective: objective)), batch,
        rounds: 300,
        optimizer: .adam(learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8))
      let scores = try model.scores(parameters: parameters, features: batch.features)
      let right = (0..<300).count { row in
        let own = scores[row * 3..<row * 3 + 3]
        return own.firstIndex(of: own.max() ?? 0) == row * 3 + Int(labels[row])
      }
      #expect(right >= 294, "\(activation)")
    }
  }

  @Test func `regressions find the function behind the data`() throws {
    var noise = TestNoise(seed: 21)
    let values = noise.floats(800)
    let shifts = noise.floats(400)
    for objective in [Objective.squaredError, .huber(delta: 1), .poisson, .tweedie(power: 1.4)] {
      // Linear in the score, with noise of mean 0: the weights are known.
      let labels = (0..<400).map { row -> Float in
        let score = 0.7 * values[2 * row] - 0.4 * values[2 * row + 1] + 0.3
        switch objective {
        case .poisson, .tweedie: return exp(score)
        default: return score + 0.1 * shifts[row]
        }
      }
      let batch = try TrainingBatch(
        features: Matrix(rows: 400, columns: 2, values: values), labels: labels,
        contributorOffsets: Array(stride(from: 0, through: 400, by: 8)), objective: objective)
      let (_, parameters) = try train(
        .network(NetworkSettings(objective: objective)), batch, rounds: 250,
        optimizer: .momentum(learningRate: 0.05, beta: 0.9))
      #expect(distance(parameters, [0.7, -0.4, 0.3]) < 0.02, "\(objective)")
    }
  }

  @Test func `dropout depends on the row, the step and the seed alone`() throws {
    let settings = NetworkSettings(
      hidden: [40, 20], activation: .gelu, dropout: 0.5, objective: .squaredError)
    let model = NetworkModel(settings: settings, shape: FeatureShape(columns: 6))
    let batch = try networkBatch(rowCounts: [3, 1, 5, 2], columns: 6, objective: .squaredError, seed: 7)
    let parameters = start(model)
    var plain = settings
    plain.dropout = 0
    let without = NetworkModel(settings: plain, shape: model.shape)
    for algorithm in [LocalAlgorithm.fedSGD, .fedAvg(epochs: 2, batchSize: 2, learningRate: 0.05)] {
      let all = try updates(model, algorithm, parameters, batch)
      for contributor in 0..<4 {
        let alone = try updates(model, algorithm, parameters, batch.selecting([contributor]))
        #expect(distance(all[contributor], alone[0]) < 1e-5 * Float(1 + l2(alone[0])))
      }
      #expect(try updates(model, algorithm, parameters, batch) == all)
      #expect(try updates(model, algorithm, parameters, batch, seed: 2) != all)
      #expect(try updates(without, algorithm, parameters, batch) != all)
    }
    // Predictions know no dropout.
    #expect(
      try model.scores(parameters: parameters, features: batch.features)
        == without.scores(parameters: parameters, features: batch.features))
  }

  @Test func `dropout keeps the expectation and silences its share`() {
    let dropout = Dropout(rate: 0.3)
    var mask = [Float](repeating: -1, count: 101 * 64)
    var keys: [UInt64] = []
    for row in 0..<64 { keys.append(Dropout.key(identity: UInt64(row), seed: 4, step: 2)) }
    dropout.fill(&mask, layer: 1, units: 101, rows: 64, keys: keys)
    let silent = mask.count { $0 == 0 }
    #expect(abs(Double(silent) / Double(mask.count) - 0.3) < 0.025)
    #expect(mask.allSatisfy { $0 == 0 || abs($0 - 1 / 0.7) < 1e-6 })
    #expect(!Dropout(rate: 0).isActive)
    // A row's units are not the next row's.
    #expect(Array(mask[0..<101]) != Array(mask[101..<202]))
  }

  @Test func `a dropped unit gets no gradient and the others theirs`() throws {
    // With one hidden layer, a unit that is silent in the only row leaves its weights alone.
    let settings = NetworkSettings(hidden: [30], dropout: 0.5, objective: .squaredError)
    let model = NetworkModel(settings: settings, shape: FeatureShape(columns: 2))
    let batch = try TrainingBatch(
      features: Matrix(rows: 1, columns: 2, values: [1, 0.5]), labels: [3], contributorOffsets: [0, 1],
      objective: .squaredError)
    let parameters = [Float](repeating: 0.5, count: model.parameterCount)
    let update = try updates(model, .fedSGD, parameters, batch)[0]
    let active = (0..<30).filter { update[$0] != 0 }
    #expect((8...22).contains(active.count))
    // Of every active unit: activation 1.25, doubled by dropout; error = 0.5 + 1.25 · active − 3.
    let error = 0.5 + 1.25 * Float(active.count) - 3
    for unit in active {
      #expect(abs(update[unit] + error) < 1e-3 && abs(update[30 + unit] + error / 2) < 1e-3)
      #expect(abs(update[90 + unit] + error * 2.5) < 1e-2)
    }
    #expect((0..<30).allSatisfy { active.contains($0) || update[90 + $0] == 0 && update[60 + $0] == 0 })
  }

  @Test func `refuses impossible settings`() throws {
    let impossible: [NetworkSettings] = [
      NetworkSettings(hidden: [0]), NetworkSettings(hidden: Array(repeating: 1, count: 9)),
      NetworkSettings(hidden: [8193]), NetworkSettings(dropout: -0.1), NetworkSettings(dropout: 0.95),
      NetworkSettings(dropout: .nan), NetworkSettings(objective: .classes(count: 2)),
      NetworkSettings(objective: .classes(count: 1025)), NetworkSettings(objective: .huber(delta: 0)),
      NetworkSettings(objective: .tweedie(power: 2)),
    ]
    for settings in impossible {
      #expect(throws: LearningError.self) { try ModelArchitecture.network(settings).validate() }
      #expect(throws: LearningError.self) { try ModelArchitecture.network(settings).validate(inputs: 3) }
    }
    let wide = ModelArchitecture.network(NetworkSettings(hidden: [8192]))
    try wide.validate(inputs: 3)
    #expect(throws: LearningError.self) {
      try wide.validate(shape: FeatureShape(columns: 1, sparseColumns: 65_536))
    }
    for shape in [(0, 1), (1, -1), (1 << 20, 1), (1, Int.max), (Int.max, 1)] {
      #expect(throws: LearningError.self) {
        try ModelArchitecture.logisticRegression.validate(
          shape: FeatureShape(columns: shape.0, sparseColumns: shape.1))
      }
    }
  }

  @Test func `refuses parameters and batches that are not its own`() throws {
    let objective = Objective.classes(count: 4)
    let model = Model(
      architecture: .network(NetworkSettings(objective: objective)), shape: FeatureShape(columns: 3))
    let zeros = [Float](repeating: 0, count: 16)
    try model.check(parameters: zeros)
    #expect(throws: LearningError.self) { try model.check(parameters: zeros + [0]) }
    #expect(throws: LearningError.nonFiniteValue(what: "the parameter vector")) {
      try model.check(parameters: [.infinity] + zeros.dropFirst())
    }
    // Labels up to 6 would write past the scores of 4 classes.
    for other in [Objective.squaredError, .classes(count: 7)] {
      let foreign = try networkBatch(rowCounts: [4], columns: 3, objective: other, seed: 1)
      #expect(throws: LearningError.self) {
        try LocalTrainer(model: model, algorithm: .fedSGD).forEachUpdate(
          parameters: zeros, batch: foreign, seed: 0
        ) { _, _ in }
      }
    }
    for label in [Float(4), -1, 0.5, .nan, .infinity] {
      #expect(throws: LearningError.invalidLabel(row: 0, allowed: "a whole number from 0 to 3")) {
        try TrainingBatch(
          features: Matrix(rows: 1, columns: 3, values: [0, 0, 0]), labels: [label],
          contributorOffsets: [0, 1],
          objective: objective)
      }
    }
    let text = LearningError.invalidLabel(row: 2, allowed: objective.labelDescription).description
    #expect(text.contains("row 2") && text.contains("0 to 3"))
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 16)
    var parameters = zeros
    #expect(throws: LearningError.self) {
      try model.step(mean: [1], contributors: 1, optimizer: &optimizer, parameters: &parameters)
    }
  }

  @Test func `settings survive JSON and equal models are equal`() throws {
    for sample in Self.cases {
      let architecture = ModelArchitecture.network(sample.settings)
      let bytes = try JSONEncoder().encode(architecture)
      #expect(try JSONDecoder().decode(ModelArchitecture.self, from: bytes) == architecture)
      #expect(architecture.objective == sample.settings.objective && architecture.layout == .dense)
      #expect(Model(architecture: architecture, inputs: 3) == Model(architecture: architecture, inputs: 3))
      #expect(Model(architecture: architecture, inputs: 3) != Model(architecture: architecture, inputs: 4))
    }
    // The named cases are networks, bit for bit.
    let named = ModelArchitecture.multiLayerPerceptron(hidden: [4, 3])
    let network = ModelArchitecture.network(NetworkSettings(hidden: [4, 3]))
    let same = named.initialParameters(inputs: 5, seed: 2) == network.initialParameters(inputs: 5, seed: 2)
    #expect(same && named.parameterCount(inputs: 5) == network.parameterCount(inputs: 5))
  }
}
