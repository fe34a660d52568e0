import Foundation
import Testing

@testable import Learning

@Suite struct NeuralRecommenderTests {
  // MARK: Learning

  private func rmse(
    _ model: NeuralRecommender, _ parameters: [Float], _ train: [[(item: Int, label: Float)]],
    _ held: [(user: Int, item: Int, label: Float)]
  ) throws -> Double {
    let predictions = try held.map { user, item, _ in
      try model.scores(
        parameters: parameters,
        history: InteractionHistory(items: train[user].map(\.item), labels: train[user].map(\.label)),
        candidates: [item])[0]
    }
    return try #require(RankingMetrics.rmse(predictions: predictions, ratings: held.map(\.label)))
  }

  /// Ratings by how near an item is to what a user likes best: not a product of few factors.
  private func planted() -> (
    train: [[(item: Int, label: Float)]], held: [(user: Int, item: Int, label: Float)]
  ) {
    var generator = SplitMix64(seed: 4)
    let users = (0..<120).map { _ in generator.nextSymmetric() }
    let items = (0..<40).map { _ in generator.nextSymmetric() }
    var (train, held): ([[(item: Int, label: Float)]], [(user: Int, item: Int, label: Float)]) = ([], [])
    for user in 0..<120 {
      train.append([])
      for item in 0..<40 {
        let label = 1 + 4 * max(0, 1 - 1.5 * abs(users[user] - items[item]))
        if item > 0, generator.next() % 4 == 0 {
          held.append((user, item, label))
        } else {
          train[user].append((item, label))
        }
      }
    }
    return (train, held)
  }

  @Test func `predicts ratings that follow no product of few factors`() throws {
    let (train, held) = planted()
    let batch = try Recommendation.batch(train)
    var results: [Double] = []
    for hidden in [[16], []] {
      let model = try NeuralRecommender(
        settings: NeuralRecommenderSettings(
          feedback: .explicit(lowest: 1, highest: 5), items: 40, factors: 2, hidden: hidden,
          userRegularization: 0.05, userBiasRegularization: 0.05, itemRegularization: 1e-4,
          itemBiasRegularization: 1e-4, networkRegularization: 1e-4, reconstructionSteps: 3,
          initialScale: 0.5))
      let parameters = try NeuralRecommendation.train(model, batch, rounds: 150)
      results.append(try rmse(model, parameters, train, held))
    }
    let mean = held.reduce(0) { $0 + $1.label } / Float(held.count)
    let constant = try #require(
      RankingMetrics.rmse(predictions: held.map { _ in mean }, ratings: held.map(\.label)))
    #expect(results[0] < 0.35 * constant, "\(results) of \(constant)")
    #expect(results[0] < 0.75 * results[1], "\(results)")
  }

  @Test func `recommends what users of the same taste take`() throws {
    var generator = SplitMix64(seed: 11)
    let users: [[(item: Int, label: Float)]] = (0..<60).map { user in
      (0..<40).filter { $0 % 2 == user % 2 && generator.next() % 2 == 0 }.map { ($0, 1) }
    }
    let model = try NeuralRecommender(
      settings: NeuralRecommenderSettings(
        feedback: .implicit(negatives: 4), items: 40, factors: 4, hidden: [8], userRegularization: 0.3,
        itemRegularization: 1e-3, itemBiasRegularization: 1e-3, networkRegularization: 1e-3))
    let parameters = try NeuralRecommendation.train(model, Recommendation.batch(users), rounds: 60)
    for taste in 0...1 {
      let history = try InteractionHistory(items: [taste, taste + 2, taste + 4], labels: [1, 1, 1])
      let top = try model.topItems(
        parameters: parameters, history: history, count: 10, excluding: Set(history.items))
      let isRight = top.allSatisfy { $0 % 2 == taste && !history.items.contains($0) }
      #expect(top.count == 10 && isRight)
    }
  }

  @Test(arguments: NeuralRecommendation.both)
  func `the same contribution comes from any worker and any split`(_ settings: NeuralRecommenderSettings)
    throws
  {
    let model = try NeuralRecommender(settings: settings)
    let parameters = NeuralRecommendation.parameters(model)
    let rows = NeuralRecommendation.rows(settings)
    let batch = try Recommendation.batch(rows)
    let all = try NeuralRecommendation.contributions(model, parameters, batch)
    let again = try NeuralRecommendation.contributions(model, parameters, batch)
    #expect(all == again)
    for user in rows.indices.reversed() {
      let alone = try NeuralRecommendation.contributions(model, parameters, batch, user..<user + 1)
      let apart = try NeuralRecommendation.contributions(
        model, parameters, Recommendation.batch([rows[user]]))
      #expect(alone == [all[user]] && apart == alone)
    }
    let first = try NeuralRecommendation.train(model, batch, rounds: 4)
    let second = try NeuralRecommendation.train(model, batch, rounds: 4)
    #expect(first == second)
    #expect(model.initialParameters(seed: 1) != model.initialParameters(seed: 2))
    // The seed draws items; ratings need none.
    let other = try NeuralRecommendation.contributions(model, parameters, batch, seed: 1)
    #expect((other == all) == (model.ratings != nil))
  }

  @Test func `users draw different items that are not their own`() throws {
    let model = try NeuralRecommender(settings: NeuralRecommendation.purchases)
    let first = NeuralRecommendation.divided(model, [(3, 1), (4, 2), (5, 0), (3, 1)], seed: 1).query
    #expect(first.prefix(3).map(\.item) == [3, 4, 3] && first.prefix(3).allSatisfy { $0.target == 1 })
    let drawn = first.dropFirst(3)
    #expect(!drawn.isEmpty && drawn.count <= 6)
    #expect(drawn.allSatisfy { $0.target == 0 && $0.item != 3 && $0.item != 4 && $0.item < 12 })
    let second = NeuralRecommendation.divided(model, [(4, 1), (3, 2), (3, 1)], seed: 1).query
    #expect(second.dropFirst(3).map(\.item) != drawn.map(\.item))
    // Who has everything draws nothing.
    let everything = NeuralRecommendation.divided(model, (0..<12).map { ($0, 1) }, seed: 1).query
    #expect(everything.count == 12)
  }

  @Test func `users that are all clipped alike are not clipped in effect`() throws {
    let model = try NeuralRecommender(settings: NeuralRecommendation.ratings)
    let start = NeuralRecommendation.parameters(model)
    let rows = NeuralRecommendation.rows(NeuralRecommendation.ratings)
    let mean = Recommendation.mean(
      try NeuralRecommendation.contributions(model, start, Recommendation.batch(rows)))
    let steps = try [1, 0.01].map { (share: Float) in
      var (parameters, optimizer) = (
        start, ServerOptimizer(kind: .sgd(learningRate: 0.1), parameterCount: start.count)
      )
      try model.step(
        mean: mean.map { share * $0 }, contributors: 6, optimizer: &optimizer, parameters: &parameters)
      return parameters
    }
    #expect(distance(steps[0], start) > 0.01)
    #expect(distance(steps[0], steps[1]) < 1e-5)
  }

  // MARK: Recommending

  @Test(arguments: NeuralRecommendation.both)
  func `a user without history has the initial vector`(_ settings: NeuralRecommenderSettings) throws {
    let model = try NeuralRecommender(settings: settings)
    let parameters = NeuralRecommendation.parameters(model)
    let reference = ReferenceNeuralRecommender(model, parameters)
    let start = Array(parameters[..<4])
    #expect(try model.userVector(parameters: parameters, history: .empty) == start)
    let scores = try model.scores(parameters: parameters, history: .empty, candidates: Array(0..<12))
    let (center, halfWidth): (Double, Double) = model.ratings == nil ? (0, 1) : (3, 2)
    let expected = (0..<12).map {
      Float(center + halfWidth * reference.score(start.map(Double.init), $0))
    }
    #expect(distance(scores, expected) < 1e-4)
    let features = try Matrix(rows: 12, columns: 1, values: (0..<12).map(Float.init))
    #expect(try model.scores(parameters: parameters, features: features) == scores)
    let order = (0..<12).sorted { (scores[$1], $0) < (scores[$0], $1) }
    let top = try model.topItems(parameters: parameters, history: .empty, count: 3, excluding: [order[0]])
    #expect(top == Array(order[1...3]))
    if model.ratings == nil {
      let nothing = try InteractionHistory(items: [0], labels: [0])
      #expect(try model.userVector(parameters: parameters, history: nothing) == start)
    }
  }

  @Test func `scores are those of the reconstructed user, in the labels' units`() throws {
    var settings = NeuralRecommendation.ratings
    settings.items = 300
    let model = try NeuralRecommender(settings: settings)
    let parameters = NeuralRecommendation.parameters(model)
    let reference = ReferenceNeuralRecommender(model, parameters)
    let history = try InteractionHistory(items: [2, 9, 290], labels: [5, 1, 4.5])
    let user = try model.userVector(parameters: parameters, history: history)
    #expect(user != Array(parameters[..<4]))
    let scores = try model.scores(parameters: parameters, history: history, candidates: Array(0..<300))
    let expected = (0..<300).map { Float(3 + 2 * reference.score(user.map(Double.init), $0)) }
    #expect(distance(scores, expected) < 1e-3)
    #expect(try model.scores(parameters: parameters, history: history, candidates: []).isEmpty)
  }

  // MARK: Refusals

  @Test(arguments: NeuralRecommendation.both, [-1, 0.5, 12, 1e9, -0.25] as [Float])
  func `refuses an unknown item`(_ settings: NeuralRecommenderSettings, item: Float) throws {
    let model = try NeuralRecommender(settings: settings)
    let parameters = model.initialParameters(seed: 1)
    let features = try Matrix(rows: 2, columns: 1, values: [0, item])
    let batch = try TrainingBatch(
      features: features, labels: [1, 1], contributorOffsets: [0, 1, 2], objective: .squaredError)
    #expect(throws: model.unknownItem(row: 1)) {
      try NeuralRecommendation.contributions(model, parameters, batch)
    }
    #expect(throws: model.unknownItem(row: 1)) {
      try model.scores(parameters: parameters, features: features)
    }
    for items in [[-1], [12], [Int.max], [Int.min]] {
      #expect(throws: model.unknownItem(row: 0)) {
        try model.userVector(parameters: parameters, history: InteractionHistory(items: items, labels: [3]))
      }
      #expect(throws: model.unknownItem(row: 0)) {
        try model.scores(parameters: parameters, history: .empty, candidates: items)
      }
    }
  }

  @Test(arguments: [(0, 0.5), (0, 5.5), (1, -1)] as [(Int, Float)])
  func `refuses an impossible label`(settings: Int, label: Float) throws {
    let model = try NeuralRecommender(settings: NeuralRecommendation.both[settings])
    let parameters = model.initialParameters(seed: 1)
    let batch = try TrainingBatch(
      features: Matrix(rows: 1, columns: 1, values: [0]), labels: [label], contributorOffsets: [0, 1],
      objective: .squaredError)
    #expect(throws: model.impossibleLabel(row: 0)) {
      try NeuralRecommendation.contributions(model, parameters, batch)
    }
    #expect(throws: model.impossibleLabel(row: 0)) {
      try model.scores(
        parameters: parameters, history: InteractionHistory(items: [1], labels: [label]), candidates: [0])
    }
  }

  @Test func `refuses other algorithms, parameters and means`() throws {
    let model = try NeuralRecommender(settings: NeuralRecommendation.ratings)
    #expect(throws: LearningError.self) {
      try model.makeWorker(algorithm: .fedAvg(epochs: 1, batchSize: 1, learningRate: 1))
    }
    let before = model.initialParameters(seed: 1)
    let batch = try Recommendation.batch([[(0, 3)]])
    #expect(throws: LearningError.self) {
      try NeuralRecommendation.contributions(model, Array(before.dropLast()), batch)
    }
    for broken in [Float.nan, .infinity, 1_001] {
      #expect(throws: LearningError.self) { try model.check(parameters: [broken] + before.dropFirst()) }
    }
    var parameters = before
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
    for mean in [before, before + [0, 0], before.map { _ in Float.nan } + [1]] {
      #expect(throws: LearningError.self) {
        try model.step(mean: mean, contributors: 1, optimizer: &optimizer, parameters: &parameters)
      }
    }
    #expect(parameters == before)
  }

  @Test func `no mean leads to parameters that are refused`() throws {
    let model = try NeuralRecommender(settings: NeuralRecommendation.ratings)
    var noise = TestNoise(seed: 8)
    for scale in [1, 1e3, 1e9, 1e37] as [Float] {
      var parameters = model.initialParameters(seed: 1)
      var optimizer = ServerOptimizer(
        kind: .momentum(learningRate: 5, beta: 0.9), weightDecay: 0.1, parameterCount: parameters.count)
      for contributors in [-3, 0, 5] as [Double] {
        let mean = noise.floats(parameters.count + 1).map { $0 * scale }
        try model.step(mean: mean, contributors: contributors, optimizer: &optimizer, parameters: &parameters)
        try model.check(parameters: parameters)
      }
    }
  }

  @Test(arguments: NeuralRecommendation.both)
  func `whatever passes the check can be computed with`(_ settings: NeuralRecommenderSettings) throws {
    var settings = settings
    settings.hidden = [9, 8, 7, 6]
    let model = try NeuralRecommender(settings: settings)
    let rows = NeuralRecommendation.rows(settings)
    let batch = try Recommendation.batch(rows)
    let history = try InteractionHistory(items: rows[1].map(\.item), labels: rows[1].map(\.label))
    var generator = SplitMix64(seed: 21)
    let strange: [Float] = [
      .nan, .infinity, -.infinity, .greatestFiniteMagnitude, 1e3, -1e3, .leastNonzeroMagnitude, -0.0, 0, 1,
      -1, 0.5, 2, 1_001,
    ]
    var (accepted, scored) = (0, 0)
    for trial in 0..<200 {
      var parameters = NeuralRecommendation.parameters(model, seed: UInt64(trial))
      for _ in 0...generator.next() % 12 {
        let index = Int(generator.next() % UInt64(parameters.count))
        parameters[index] = strange[Int(generator.next() % UInt64(strange.count))]
      }
      if trial % 5 == 0 {
        for index in parameters.indices { parameters[index] = trial % 2 == 0 ? 1e3 : -1e3 }
      }
      if trial % 7 == 0 { parameters.removeLast() }
      guard (try? model.check(parameters: parameters)) != nil else { continue }
      accepted += 1
      // What overflows is cleared by clipping.
      let vectors = try NeuralRecommendation.contributions(model, parameters, batch).map { vector in
        var vector = vector
        _ = vector.withUnsafeMutableBufferPointer { clipL2($0, to: 10) }
        return vector
      }
      let user = try model.userVector(parameters: parameters, history: history)
      let isFinite = user.allSatisfy(\.isFinite)
      #expect(isFinite)
      do {
        let top = try model.topItems(parameters: parameters, history: history, count: 3, excluding: [])
        #expect(top.count == 3)
        scored += 1
      } catch {
        #expect(error == .nonFiniteValue(what: "a preference"))
      }
      var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
      try model.step(
        mean: Recommendation.mean(vectors), contributors: 6, optimizer: &optimizer, parameters: &parameters)
      try model.check(parameters: parameters)
    }
    #expect(accepted > 20 && accepted < 150 && scored > accepted / 2)
  }

  @Test func `refuses impossible settings and sizes`() throws {
    typealias Change = (inout NeuralRecommenderSettings) -> Void
    let changes: [Change] = [
      { $0.factors = 0 }, { $0.factors = 257 }, { $0.hidden = [0] }, { $0.hidden = [1_025] },
      { $0.hidden = [1, 1, 1, 1, 1] }, { $0.userRegularization = 0 }, { $0.userBiasRegularization = .nan },
      { $0.itemRegularization = -1 }, { $0.itemBiasRegularization = .infinity },
      { $0.networkRegularization = .nan }, { $0.reconstructionSteps = 0 }, { $0.reconstructionSteps = 21 },
      { $0.queryShare = 0.95 }, { $0.rowExponent = -0.1 }, { $0.rowExponent = .nan }, { $0.initialScale = 0 },
      { $0.feedback = .explicit(lowest: 1, highest: 1) },
      { $0.feedback = .explicit(lowest: -3e38, highest: 3e38) }, { $0.feedback = .implicit(negatives: 0) },
      { $0.feedback = .implicit(negatives: 101) }, { $0.items = 0 }, { $0.items = .min }, { $0.items = .max },
      { ($0.items, $0.factors) = (1 << 24, 256) },
    ]
    for change in changes {
      var settings = NeuralRecommendation.ratings
      change(&settings)
      #expect(throws: LearningError.self) { try NeuralRecommender(settings: settings) }
      #expect(throws: LearningError.self) {
        try ModelArchitecture.neuralRecommendation(settings).validate(shape: .items)
      }
    }
  }

  @Test(arguments: NeuralRecommendation.both)
  func `settings survive JSON and make the model`(_ settings: NeuralRecommenderSettings) throws {
    let architecture = ModelArchitecture.neuralRecommendation(settings)
    try architecture.validate(shape: .items)
    let bytes = try JSONEncoder().encode(architecture)
    #expect(try JSONDecoder().decode(ModelArchitecture.self, from: bytes) == architecture)
    #expect(architecture.objective == .squaredError && architecture.layout == .items)
    #expect(settings.summary.contains("12"))
    #expect(throws: LearningError.self) { try architecture.validate(inputs: 1) }
    let model = settings.makeModel(shape: .items)
    #expect(model is any Recommender && model.shape == .items)
    let parameters = model.initialParameters(seed: 5)
    #expect(parameters.count == model.initialParameterCount)
    #expect(model.contributionLength(parameters: parameters) == parameters.count + 1)
    try model.check(parameters: parameters)
  }
}
