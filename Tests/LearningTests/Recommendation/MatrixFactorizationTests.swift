import Foundation
import Testing

@testable import Learning

struct MatrixFactorizationTests {
  // MARK: Learning

  /// Users of two tastes: the even ones take even items, the odd ones odd items.
  private func tastes(users: Int, items: Int) -> [[(item: Int, label: Float)]] {
    var generator = SplitMix64(seed: 11)
    return (0..<users).map { user in
      (0..<items).filter { $0 % 2 == user % 2 && generator.next() % 2 == 0 }.map { ($0, 1) }
    }.filter { !$0.isEmpty }
  }

  @Test func `recommends what users of the same taste take`() throws {
    let model = try MatrixFactorization(settings: Recommendation.purchases, items: 40)
    let batch = try Recommendation.batch(tastes(users: 60, items: 40))
    let parameters = try Recommendation.train(model, batch, rounds: 12, kind: .sgd(learningRate: 0.8))
    for taste in 0...1 {
      let history = try InteractionHistory(items: [taste, taste + 2, taste + 4], labels: [1, 1, 1])
      let top = try model.topItems(
        parameters: parameters, history: history, count: 10, excluding: Set(history.items))
      let isRight = top.allSatisfy { $0 % 2 == taste && !history.items.contains($0) }
      #expect(top.count == 10 && isRight)
    }
  }

  @Test func `predicts ratings that follow factors`() throws {
    var noise = TestNoise(seed: 2)
    let (users, items) = (noise.floats(80), noise.floats(30))
    func rating(_ user: Int, _ item: Int) -> Float {
      min(max(3 + 0.3 * items[item] + 0.8 * users[user] * items[item], 1), 5)
    }
    var generator = SplitMix64(seed: 4)
    var (train, held): ([[(item: Int, label: Float)]], [(Int, Int)]) = ([], [])
    for user in 0..<80 {
      train.append([(0, rating(user, 0))])
      for item in 1..<30 {
        if generator.next() % 3 == 0 {
          held.append((user, item))
        } else {
          train[user].append((item, rating(user, item)))
        }
      }
    }
    var settings = Recommendation.ratings
    (settings.userRegularization, settings.itemRegularization) = (0.1, 0.001)
    let model = try MatrixFactorization(settings: settings, items: 30)
    let parameters = try Recommendation.train(
      model, Recommendation.batch(train), rounds: 20, kind: .sgd(learningRate: 0.8))
    let predictions = try held.map { user, item in
      try model.scores(
        parameters: parameters,
        history: InteractionHistory(items: train[user].map(\.item), labels: train[user].map(\.label)),
        candidates: [item])[0]
    }
    let rmse = try #require(RankingMetrics.rmse(predictions: predictions, ratings: held.map(rating)))
    let constant = try #require(
      RankingMetrics.rmse(predictions: predictions.map { _ in 3 }, ratings: held.map(rating)))
    #expect(rmse < 0.25 * constant)
  }

  @Test(arguments: Recommendation.both)
  func `the same contribution comes from any worker and any split`(_ settings: FactorizationSettings) throws {
    let (model, parameters, rows, batch) = try Recommendation.started(settings)
    let all = try Recommendation.contributions(model, parameters, batch)
    let again = try Recommendation.contributions(model, parameters, batch)
    let last = try Recommendation.contributions(model, parameters, batch, rows.count - 1..<rows.count)
    #expect(all == again)
    #expect(all.last == last.first)
    let first = try Recommendation.train(model, batch, rounds: 4)
    let second = try Recommendation.train(model, batch, rounds: 4)
    #expect(first == second)
    #expect(model.initialParameters(seed: 1) != model.initialParameters(seed: 2))
  }

  @Test(arguments: Recommendation.both)
  func `one worker follows the parameters and what body does to a vector`(_ settings: FactorizationSettings)
    throws
  {
    let (model, parameters, _, batch) = try Recommendation.started(settings)
    let later = try Recommendation.train(model, batch, rounds: 4)
    let worker = try model.makeWorker(algorithm: .fedSGD)
    for values in [parameters, later, model.initialParameters(seed: 3), parameters] {
      var vectors: [[Float]] = []
      try values.withUnsafeBufferPointer { values in
        try worker.forEachContribution(
          parameters: values, batch: batch, contributors: 0..<batch.contributorCount, seed: 0
        ) { _, vector in
          vectors.append(Array(vector))
          vector.update(repeating: .nan)
        }
      }
      let expected = try Recommendation.contributions(model, values, batch)
      #expect(vectors == expected)
      #expect(vectors[0].count == model.contributionLength(parameters: values))
    }
  }

  // MARK: Recommending

  @Test func `ranks by popularity for a user without history`() throws {
    let model = try MatrixFactorization(settings: Recommendation.purchases, items: 5)
    let batch = try Recommendation.batch([[(3, 1), (1, 1)], [(3, 1), (1, 1)], [(3, 1), (4, 1)]])
    let parameters = try Recommendation.train(model, batch, rounds: 5)
    let top = try model.topItems(parameters: parameters, history: .empty, count: 9, excluding: [])
    #expect(top == [3, 1, 4, 0, 2])
    let rest = try model.topItems(parameters: parameters, history: .empty, count: 2, excluding: [1])
    #expect(rest == [3, 4])
    // Strengths of 0 are no history.
    let nothing = try InteractionHistory(items: [0], labels: [0])
    let same = try model.topItems(parameters: parameters, history: nothing, count: 9, excluding: [])
    #expect(same == top)
  }

  @Test func `predicts mean and bias for a user without ratings`() throws {
    let (model, parameters, _, _) = try Recommendation.started(Recommendation.ratings)
    let reference = ReferenceFactorization(model, parameters)
    let features = try Matrix(rows: 12, columns: 1, values: (0..<12).map(Float.init))
    let scores = try model.scores(parameters: parameters, features: features)
    let expected = (0..<12).map { Float(3 + 2 * (reference.mean + reference.values($0)[0])) }
    #expect(distance(scores, expected) < 1e-5)
    let same = try model.scores(parameters: parameters, history: .empty, candidates: Array(0..<12))
    #expect(same == scores)
    let factors = try model.userFactors(parameters: parameters, history: .empty)
    #expect(factors == [0, 0, 0, 0])
  }

  @Test func `scores are in the labels' units`() throws {
    let (model, parameters, rows, _) = try Recommendation.started(Recommendation.ratings)
    let reference = ReferenceFactorization(model, parameters)
    let user = reference.user(rows[2])
    let history = try InteractionHistory(items: rows[2].map(\.item), labels: rows[2].map(\.label))
    let scores = try model.scores(parameters: parameters, history: history, candidates: [4, 7])
    let expected = [4, 7].map { Float(3 + 2 * reference.prediction(user, $0)) }
    #expect(distance(scores, expected) < 1e-4)
  }

  @Test(arguments: Recommendation.both)
  func `knows nothing before training but gives scores`(_ settings: FactorizationSettings) throws {
    let model = try MatrixFactorization(settings: settings, items: 3)
    let parameters = model.initialParameters(seed: 1)
    try model.check(parameters: parameters)
    #expect(parameters.count == model.initialParameterCount)
    let scores = try model.scores(
      parameters: parameters, history: InteractionHistory(items: [0], labels: [2]), candidates: [0, 1, 2])
    #expect(scores == [Float](repeating: model.isExplicit ? 3 : 0, count: 3))
  }

  // MARK: Refusals

  @Test(arguments: Recommendation.both, [-1, 0.5, 12, 1e9, -0.25] as [Float])
  func `refuses an unknown item`(_ settings: FactorizationSettings, item: Float) throws {
    let (model, parameters, _, _) = try Recommendation.started(settings)
    let features = try Matrix(rows: 2, columns: 1, values: [0, item])
    let batch = try TrainingBatch(
      features: features, labels: [1, 1], contributorOffsets: [0, 1, 2], objective: .squaredError)
    #expect(throws: model.unknownItem(row: 1)) {
      try Recommendation.contributions(model, parameters, batch)
    }
    #expect(throws: model.unknownItem(row: 1)) {
      try model.scores(parameters: parameters, features: features)
    }
  }

  @Test func `refuses unknown items and impossible labels of a history`() throws {
    let (model, parameters, _, _) = try Recommendation.started(Recommendation.ratings)
    for items in [[-1], [12], [Int.max], [Int.min]] {
      #expect(throws: model.unknownItem(row: 0)) {
        try model.userFactors(parameters: parameters, history: InteractionHistory(items: items, labels: [3]))
      }
      #expect(throws: model.unknownItem(row: 0)) {
        try model.scores(parameters: parameters, history: .empty, candidates: items)
      }
    }
    #expect(throws: LearningError.invalidLabel(row: 0, allowed: "a rating from 1.0 to 5.0")) {
      try model.userFactors(parameters: parameters, history: InteractionHistory(items: [0], labels: [5.5]))
    }
    #expect(throws: LearningError.wrongCount(what: "the labels of a history", expected: 2, actual: 1)) {
      try InteractionHistory(items: [0, 1], labels: [5])
    }
    #expect(throws: LearningError.self) {
      try model.topItems(parameters: parameters, history: .empty, count: -1, excluding: [])
    }
  }

  @Test(arguments: [(0, 0.5), (0, 5.5), (1, -1)] as [(Int, Float)])
  func `refuses an impossible label`(settings: Int, label: Float) throws {
    let (model, parameters, _, _) = try Recommendation.started(Recommendation.both[settings])
    let batch = try TrainingBatch(
      features: Matrix(rows: 1, columns: 1, values: [0]), labels: [label], contributorOffsets: [0, 1],
      objective: .squaredError)
    #expect(throws: model.impossibleLabel(row: 0)) {
      try Recommendation.contributions(model, parameters, batch)
    }
  }

  @Test func `an enormous strength weighs no more than the most`() throws {
    let (model, parameters, _, _) = try Recommendation.started(Recommendation.purchases)
    let some = try Recommendation.contributions(model, parameters, Recommendation.batch([[(2, 1e9)]]))
    let most = try Recommendation.contributions(
      model, parameters, Recommendation.batch([[(2, .greatestFiniteMagnitude)]]))
    #expect(some == most)
    let isFinite = most[0].allSatisfy(\.isFinite)
    #expect(isFinite)
  }

  @Test func `refuses other rows and algorithms`() throws {
    let (model, parameters, _, batch) = try Recommendation.started(Recommendation.ratings)
    #expect(throws: LearningError.self) {
      try model.makeWorker(algorithm: .fedAvg(epochs: 1, batchSize: 1, learningRate: 1))
    }
    let wide = try Matrix(rows: 1, columns: 2, values: [0, 0])
    #expect(throws: LearningError.wrongCount(what: "a row of features", expected: 1, actual: 2)) {
      try model.scores(parameters: parameters, features: wide)
    }
    let binary = try TrainingBatch(
      features: Matrix(rows: 1, columns: 1, values: [0]), labels: [1], contributorOffsets: [0, 1])
    #expect(throws: LearningError.self) { try Recommendation.contributions(model, parameters, binary) }
    let short = Array(parameters.dropLast())
    #expect(throws: LearningError.self) { try Recommendation.contributions(model, short, batch) }
  }

  @Test func `refuses a mean that is no mean`() throws {
    let (model, before, _, _) = try Recommendation.started(Recommendation.ratings)
    var parameters = before
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
    let length = model.contributionLength(parameters: parameters)
    #expect(throws: LearningError.self) {
      try model.step(
        mean: .init(repeating: 0, count: length + 1), contributors: 1, optimizer: &optimizer,
        parameters: &parameters)
    }
    #expect(throws: LearningError.self) {
      try model.step(
        mean: .init(repeating: .nan, count: length), contributors: 1, optimizer: &optimizer,
        parameters: &parameters)
    }
    #expect(parameters == before)
  }

  @Test(arguments: Recommendation.both)
  func `no mean and no decay leads to parameters that are refused`(_ settings: FactorizationSettings) throws {
    let (model, started, _, _) = try Recommendation.started(settings)
    var noise = TestNoise(seed: 8)
    for scale in [1, 1e3, 1e9, 1e37] as [Float] {
      for start in [started, model.initialParameters(seed: 1)] {
        var parameters = start
        var optimizer = ServerOptimizer(
          kind: .adam(learningRate: 0.1, beta1: 0.9, beta2: 0.9, epsilon: 1e-6), weightDecay: 0.5,
          parameterCount: parameters.count)
        for contributors in [-3, 0, 5] as [Double] {
          let length = model.contributionLength(parameters: parameters)
          let mean = noise.floats(length).map { $0 * scale }
          let (before, state) = (parameters, optimizer)
          try model.step(
            mean: mean, contributors: contributors, optimizer: &optimizer, parameters: &parameters)
          try model.check(parameters: parameters)
          #expect(parameters[0] == 0 || parameters[0] == 1)
          let isStart = before[0] == 0
          let share = mean[isStart ? model.layout.startShareOffset : model.layout.gramOffset]
          // Without users there is nothing but noise.
          if share <= 0 { #expect(parameters == before && optimizer == state) }
        }
      }
    }
  }

  @Test(arguments: Recommendation.both)
  func `whatever passes the check can be computed with`(_ settings: FactorizationSettings) throws {
    let (model, started, rows, batch) = try Recommendation.started(settings)
    var generator = SplitMix64(seed: 21)
    let strange: [Float] = [
      .nan, .infinity, -.infinity, .greatestFiniteMagnitude, 1e4, -1e4, .leastNonzeroMagnitude, -0.0, 0, 1,
      -1, 0.5, 2, 10_001,
    ]
    var accepted = 0
    for trial in 0..<400 {
      var parameters = started
      for _ in 0...generator.next() % 12 {
        let index =
          trial % 3 == 0 ? Int(generator.next() % 14) : Int(generator.next() % UInt64(parameters.count))
        parameters[index] = strange[Int(generator.next() % UInt64(strange.count))]
      }
      if trial % 5 == 0 {
        for index in 14..<parameters.count { parameters[index] = trial % 2 == 0 ? 1e4 : -1e4 }
      }
      if trial % 7 == 0 { parameters.removeLast() }
      guard (try? model.check(parameters: parameters)) != nil else { continue }
      accepted += 1
      let vectors = try Recommendation.contributions(model, parameters, batch)
      let isFinite = vectors.allSatisfy { $0.allSatisfy(\.isFinite) }
      #expect(isFinite)
      let history = try InteractionHistory(items: rows[1].map(\.item), labels: rows[1].map(\.label))
      let top = try model.topItems(parameters: parameters, history: history, count: 3, excluding: [])
      #expect(top.count == 3)
      var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
      try model.step(
        mean: Recommendation.mean(vectors), contributors: 6, optimizer: &optimizer, parameters: &parameters)
      try model.check(parameters: parameters)
    }
    #expect(accepted > 30 && accepted < 300)
  }

  @Test func `refuses impossible settings and sizes`() throws {
    typealias Change = (inout FactorizationSettings) -> Void
    let changes: [Change] = [
      { $0.factors = 0 }, { $0.factors = 257 }, { $0.userRegularization = 0 },
      { $0.userRegularization = .nan },
      { $0.userBiasRegularization = -1 }, { $0.itemRegularization = .infinity },
      { $0.itemBiasRegularization = 1e-9 }, { $0.regularizationExponent = 1.5 }, { $0.startRounds = 0 },
      { $0.startRounds = 101 }, { $0.initialScale = 0 }, { $0.feedback = .explicit(lowest: 1, highest: 1) },
      { $0.feedback = .explicit(lowest: -3e38, highest: 3e38) },
      { $0.feedback = .implicit(unobservedWeight: 0, strengthWeight: 0) },
      { $0.feedback = .implicit(unobservedWeight: 0.1, strengthWeight: -1) },
    ]
    for change in changes {
      var settings = Recommendation.ratings
      change(&settings)
      #expect(throws: LearningError.self) { try MatrixFactorization(settings: settings, items: 3) }
    }
    for items in [0, -1, MatrixFactorization.maximumItems + 1, Int.max] {
      #expect(throws: LearningError.self) {
        try MatrixFactorization(settings: Recommendation.ratings, items: items)
      }
    }
  }

  @Test func `takes rows of one column of item numbers`() throws {
    let model = try MatrixFactorization(settings: Recommendation.ratings, items: 9)
    #expect(model.items == 9)
    #expect(model.shape == .items)
  }

  @Test(arguments: Recommendation.both)
  func `settings survive their encoding`(_ settings: FactorizationSettings) throws {
    let data = try JSONEncoder().encode(settings)
    let decoded = try JSONDecoder().decode(FactorizationSettings.self, from: data)
    #expect(decoded == settings)
  }
}
