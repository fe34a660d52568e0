import Testing

@testable import Learning

@Suite struct NeuralRecommenderGradientTests {
  /// Every shape of the model: no, one and more hidden layers, both kinds of feedback, with and without query.
  static let shapes: [NeuralRecommenderSettings] = NeuralRecommendation.both.flatMap { settings in
    [[], [5], [3, 5, 2]].flatMap { hidden in
      [Float(0), 0.4].map { share in
        var settings = settings
        (settings.hidden, settings.queryShare) = (hidden, share)
        return settings
      }
    }
  }

  /// Users of few rows, and one of more than a block.
  private func rows(_ settings: NeuralRecommenderSettings) -> [[(item: Int, label: Float)]] {
    var generator = SplitMix64(seed: 17)
    let many = (0..<300).map { _ in
      (item: Int(generator.next() % 12), label: 1 + Float(generator.next() % 5))
    }
    return Recommendation.rows(Recommendation.ratings, users: 3) + [[many[0]], many]
  }

  @Test(arguments: shapes)
  func `a contribution is minus the gradient with the user's vector held fixed`(
    _ settings: NeuralRecommenderSettings
  ) throws {
    let model = try NeuralRecommender(settings: settings)
    let parameters = NeuralRecommendation.parameters(model)
    let reference = ReferenceNeuralRecommender(model, parameters)
    let rows = rows(settings)
    let vectors = try NeuralRecommendation.contributions(
      model, parameters, Recommendation.batch(rows), seed: 9)
    for (user, vector) in zip(rows, vectors) {
      let (support, query) = NeuralRecommendation.divided(model, user, seed: 9)
      let fitted = NeuralRecommendation.reconstruct(model, parameters, support)
      let scale = pow(Double(query.count), -settings.rowExponent)
      let expected = reference.gradient(fitted, query).map { -scale * $0 }
      let size = expected.map(abs).max() ?? 0
      let worst = zip(vector, expected).map { abs(Double($0) - $1) }.max() ?? .infinity
      #expect(size > 0.05 && worst < 1e-4 * max(size, 1), "\(user.count) rows")
      #expect(vector.count == expected.count + 1 && vector.last == 0.25)
    }
  }

  private func pow(_ base: Double, _ exponent: Float) -> Double {
    exponent == 0 ? 1 : 1 / base.squareRoot()
  }

  @Test(arguments: shapes)
  func `reconstruction lowers the user's loss, and ends where nothing is left to gain`(
    _ settings: NeuralRecommenderSettings
  ) throws {
    for user in rows(settings) {
      var (losses, slope): ([Double], [Double]) = ([], [])
      for steps in [1, 2, 4, 20] {
        var settings = settings
        settings.reconstructionSteps = steps
        let model = try NeuralRecommender(settings: settings)
        let parameters = NeuralRecommendation.parameters(model)
        let reference = ReferenceNeuralRecommender(model, parameters)
        let (support, _) = NeuralRecommendation.divided(model, user, seed: 2)
        let start = parameters.prefix(settings.factors + 1).map(Double.init)
        let fitted = NeuralRecommendation.reconstruct(model, parameters, support)
        if losses.isEmpty { losses.append(reference.loss(start, support)) }
        losses.append(reference.loss(fitted, support))
        slope = reference.userGradient(fitted, support)
      }
      #expect(losses[1] < losses[0])
      let isFalling = zip(losses.dropFirst(), losses.dropFirst(2)).allSatisfy { $1 <= $0 * (1 + 1e-6) }
      #expect(isFalling, "\(losses)")
      // At a kink of the perceptron there is a slope on either side; without one there is none.
      if settings.hidden.isEmpty {
        let steepest = slope.map(abs).max() ?? .infinity
        #expect(steepest < 1e-3 * Double(max(user.count, 10)))
      }
    }
  }

  @Test func `a single step solves the ridge regression that is left without a perceptron`() throws {
    var settings = NeuralRecommendation.ratings
    (settings.hidden, settings.reconstructionSteps) = ([], 1)
    let model = try NeuralRecommender(settings: settings)
    let parameters = NeuralRecommendation.parameters(model)
    let reference = ReferenceNeuralRecommender(model, parameters)
    for user in rows(settings) {
      let (support, _) = NeuralRecommendation.divided(model, user, seed: 0)
      let fitted = NeuralRecommendation.reconstruct(model, parameters, support)
      let slope = reference.userGradient(fitted, support).map(abs).max() ?? .infinity
      #expect(slope < 1e-4 * Double(max(user.count, 10)))
    }
  }

  @Test(arguments: NeuralRecommendation.both)
  func `vectors are zero outside of their support, call after call`(_ settings: NeuralRecommenderSettings)
    throws
  {
    for share in [0, 0.5] as [Float] {
      var settings = settings
      (settings.items, settings.queryShare) = (200, share)
      let model = try NeuralRecommender(settings: settings)
      let parameters = NeuralRecommendation.parameters(model)
      let rows = rows(settings)
      let batch = try Recommendation.batch(rows)
      let fresh = try NeuralRecommendation.contributions(model, parameters, batch)
      let worker = try model.makeWorker(algorithm: .fedSGD)
      var (isRight, seen) = (true, 0)
      try parameters.withUnsafeBufferPointer { parameters in
        for contributors in [0..<2, 2..<5, 0..<5] {
          try worker.forEachContribution(
            parameters: parameters, batch: batch, contributors: contributors, seed: 0
          ) { contributor, vector in
            let support = try #require(worker.support)
            let named = Set(support.map(Int.init))
            isRight = isRight && named.count == support.count && named.allSatisfy(vector.indices.contains)
            isRight = isRight && vector.indices.allSatisfy { vector[$0] == 0 || named.contains($0) }
            isRight = isRight && Array(vector) == fresh[contributor]
            // No other item's values are named.
            let most = (rows[contributor].count * 3 + 1) * 4 + vector.count - 201 * 4
            isRight = isRight && support.count <= most
            seen += 1
            for position in support { vector[Int(position)] = contributor % 2 == 0 ? .nan : 0 }
          }
        }
      }
      #expect(isRight && seen == 10)
    }
  }

  @Test func `rows of the query alone give the gradient`() throws {
    var settings = NeuralRecommendation.ratings
    settings.queryShare = 0.5
    let model = try NeuralRecommender(settings: settings)
    let user = (0..<10).map { (item: $0, label: Float(1 + $0 % 5)) }
    let (support, query) = NeuralRecommendation.divided(model, user, seed: 4)
    #expect(support.count == 5 && query.count == 5)
    #expect(Set(support.map(\.item)).union(query.map(\.item)).count == 10)
    let other = NeuralRecommendation.divided(model, user, seed: 5)
    #expect(other.query.map(\.item) != query.map(\.item))
    let vector = try NeuralRecommendation.contributions(
      model, NeuralRecommendation.parameters(model), Recommendation.batch([user]), seed: 4)[0]
    let moved = Set((0..<12).filter { vector[4 + 4 * $0] != 0 })
    #expect(moved == Set(query.map(\.item)))
  }
}
