import Testing

@testable import Learning

/// A node's own steps, against the same steps by hand.
@Suite struct `Personal training` {
  private static let classes = Objective.classes(count: 3)

  private func batch(_ objective: Objective = classes, rows: Int = 7) throws -> TrainingBatch {
    var generator = SplitMix64(seed: 5)
    let values = (0..<rows * 4).map { _ in generator.nextSymmetric() }
    let labels = (0..<rows).map {
      objective == Self.classes ? Float([0, 0, 1, 2, 0, 1, 0][$0 % 7]) : Float($0 % 2)
    }
    return try TrainingBatch(
      features: Matrix(rows: rows, columns: 4, values: values), labels: labels,
      contributorOffsets: [0, rows], objective: objective)
  }

  private func model(_ objective: Objective = classes, hidden: [Int] = [5]) -> Model {
    Model(architecture: .network(NetworkSettings(hidden: hidden, objective: objective)), inputs: 4)
  }

  /// The mean loss of shifted scores.
  private func loss(
    _ model: Model, _ parameters: [Float], _ batch: TrainingBatch, shifts: [Float]? = nil
  ) throws -> Double {
    var scores = try model.scores(parameters: parameters, features: batch.features)
    if let shifts { for index in scores.indices { scores[index] += shifts[index % shifts.count] } }
    return ExactMetrics.meanLoss(model.objective, scores: scores, labels: batch.labels)
  }

  @Test(arguments: NetworkPart.allCases)
  func `moves the chosen layers alone, by their gradient`(part: NetworkPart) throws {
    let (model, batch) = (model(), try batch())
    let start = model.initialParameters(seed: 3)
    let trainer = try PersonalTrainer(
      model: model, settings: PersonalSettings(epochs: 1, batchSize: 100, learningRate: 0.5, part: part))
    let own = try trainer.adapt(from: start, anchor: start, batch: batch, seed: 1)
    let head = 4 * 5 + 5
    #expect(trainer.trained == (part == .all ? 0..<43 : part == .body ? 0..<head : head..<43))
    for index in start.indices {
      guard trainer.trained.contains(index) else {
        #expect(own[index] == start[index])
        continue
      }
      var (up, down) = (start, start)
      up[index] += 1e-2
      down[index] -= 1e-2
      let slope = try (loss(model, up, batch) - loss(model, down, batch)) / 2e-2
      #expect(abs(Double(own[index] - start[index]) + 0.5 * slope) < 2e-3)
    }
  }

  @Test(arguments: [Objective.binary, classes])
  func `with shares of classes follows the gradient of shifted scores`(objective: Objective) throws {
    let (model, batch) = (model(objective, hidden: [3]), try batch(objective))
    let start = model.initialParameters(seed: 3)
    let shares: [Float] = objective == .binary ? [0.8, 0.2] : [0.2, 0.3, 0.5]
    let settings = PersonalSettings(epochs: 1, batchSize: 100, learningRate: 0.5, classShares: shares)
    let own = try PersonalTrainer(model: model, settings: settings)
      .adapt(from: start, anchor: start, batch: batch, seed: 1)
    let shifts = try #require(settings.shifts(labels: batch.labels, objective: objective))
    // Seven rows of the node, and as many of the federation as there are classes.
    let expected: [Double] =
      objective == .binary
      ? [(3 + 0.4) / 9 / 0.2 / ((4 + 1.6) / 9 / 0.8)]
      : [(4 + 0.6) / 10 / 0.2, (2 + 0.9) / 10 / 0.3, (1 + 1.5) / 10 / 0.5]
    for (shift, ratio) in zip(shifts, expected) { #expect(abs(Double(shift) - logarithm(ratio)) < 1e-5) }
    for index in start.indices {
      var (up, down) = (start, start)
      up[index] += 1e-2
      down[index] -= 1e-2
      let slope =
        try (loss(model, up, batch, shifts: shifts) - loss(model, down, batch, shifts: shifts)) / 2e-2
      #expect(abs(Double(own[index] - start[index]) + 0.5 * slope) < 2e-3)
    }
  }

  /// ∫ 1 / t dt, so that no other library is needed.
  private func logarithm(_ value: Double) -> Double {
    let steps = 20_000
    let width = (value - 1) / Double(steps)
    return (0..<steps).reduce(0) { $0 + width / (1 + width * (Double($1) + 0.5)) }
  }

  @Test func `ends where the pull and the gradient are equal`() throws {
    // Without a gradient the model is pulled home.
    let model = model(.squaredError, hidden: [])
    let still = try TrainingBatch(
      features: Matrix(rows: 1, columns: 4, values: [0, 0, 0, 0]), labels: [0], contributorOffsets: [0, 1],
      objective: .squaredError)
    let anchor: [Float] = [1, -1, 2, 0, 0]
    let settings = PersonalSettings(epochs: 3, batchSize: 1, learningRate: 0.5, proximal: 1)
    let own = try PersonalTrainer(model: model, settings: settings)
      .adapt(from: [5, 5, 5, 5, 0], anchor: anchor, batch: still, seed: 1)
    for (value, (home, start)) in zip(own, zip(anchor, [Float(5), 5, 5, 5, 0])) {
      #expect(abs(value - (home + (start - home) / 8)) < 1e-5)
    }
  }

  @Test func `interpolation moves model and share by the mixture's gradient`() throws {
    let (model, batch) = (model(), try batch())
    let (global, start) = (model.initialParameters(seed: 3), model.initialParameters(seed: 4))
    let settings = PersonalSettings(epochs: 1, batchSize: 100, learningRate: 0.1)
    var (own, share) = (start, Float(0.4))
    try PersonalTrainer(model: model, settings: settings)
      .interpolate(own: &own, share: &share, global: global, batch: batch, seed: 1)
    func mixtureLoss(_ own: [Float], _ share: Float) throws -> Double {
      try loss(model, PersonalTrainer.mixed(own, share, global), batch)
    }
    let slope = try (mixtureLoss(start, 0.41) - mixtureLoss(start, 0.39)) / 0.02
    #expect(abs(Double(share) - (0.4 - 0.1 * slope)) < 1e-3)
    for index in stride(from: 0, to: start.count, by: 5) {
      var (up, down) = (start, start)
      up[index] += 2e-2
      down[index] -= 2e-2
      let slope = try (mixtureLoss(up, 0.4) - mixtureLoss(down, 0.4)) / 4e-2
      #expect(abs(Double(own[index] - start[index]) + 0.1 * slope) < 1e-3)
    }
  }

  @Test func `starts from the global model of the round but for what the node trains itself`() throws {
    let model = model()
    let (own, global) = (model.initialParameters(seed: 3), model.initialParameters(seed: 4))
    let settings = PersonalSettings(epochs: 1, batchSize: 8, learningRate: 0.1, part: .head)
    let trainer = try PersonalTrainer(model: model, settings: settings)
    let head = 4 * 5 + 5
    #expect(trainer.start(own, global) == Array(global[..<head]) + Array(own[head...]))
    #expect(trainer.start(nil, global) == global)
  }

  @Test func `gives the same whatever was done before`() throws {
    let (model, batch) = (model(), try batch())
    let start = model.initialParameters(seed: 3)
    let settings = PersonalSettings(epochs: 3, batchSize: 2, learningRate: 0.5)
    let used = try PersonalTrainer(model: model, settings: settings)
    _ = try used.adapt(from: start, anchor: start, batch: self.batch(rows: 3), seed: 9)
    let fresh = try PersonalTrainer(model: model, settings: settings)
      .adapt(from: start, anchor: start, batch: batch, seed: 1)
    let again = try used.adapt(from: start, anchor: start, batch: batch, seed: 1)
    #expect(again == fresh && again != start)
  }

  @Test func `refuses what cannot be`() throws {
    func refused(_ model: Model, _ settings: PersonalSettings) -> Bool {
      (try? PersonalTrainer(model: model, settings: settings)) == nil
    }
    let fine = PersonalSettings(epochs: 1, batchSize: 1, learningRate: 1)
    func with(_ change: (inout PersonalSettings) -> Void) -> PersonalSettings {
      var settings = fine
      change(&settings)
      return settings
    }
    #expect(!refused(model(), fine))
    #expect(refused(model(hidden: []), with { $0.part = .body }))
    #expect(refused(model(hidden: []), with { $0.part = .head }))
    #expect(refused(model(), with { $0.epochs = 0 }))
    #expect(refused(model(), with { $0.proximal = 2 }))
    #expect(refused(model(), with { $0.classShares = [0.5, 0.5] }))
    #expect(refused(model(), with { $0.classShares = [0, 0.5, 0.5] }))
    #expect(refused(model(), with { $0.classShares = [0.4, 0.4, 0.4] }))
    #expect(!refused(model(), with { $0.classShares = [0.2, 0.3, 0.5] }))
    #expect(refused(model(.squaredError), with { $0.classShares = [1] }))
    let trees = Model(
      architecture: .boostedTrees(TreeSettings(trees: 1, maximumDepth: 1)),
      shape: FeatureShape(bins: [BinnedColumn(count: 2, isOrdered: true, hasMissing: false)]))
    #expect(refused(trees, fine))
    let trainer = try PersonalTrainer(model: model(), settings: fine)
    #expect(throws: LearningError.self) {
      try trainer.adapt(from: [0], anchor: [0], batch: batch(), seed: 1)
    }
  }
}
