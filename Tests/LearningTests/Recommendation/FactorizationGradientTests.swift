import Testing

@testable import Learning

struct FactorizationGradientTests {
  /// The gradient by all items that a contribution stands for, unobserved items included.
  private func gradient(_ contribution: [Float], _ reference: ReferenceFactorization) -> [Double] {
    let width = reference.width
    let values = contribution.map(Double.init)
    var gram = [[Double]](repeating: .init(repeating: 0, count: width), count: width)
    var index = reference.model.items * width
    for row in 0..<width {
      for column in row..<width {
        gram[row][column] = values[index] / (row == column ? 1 : 2.0.squareRoot())
        gram[column][row] = gram[row][column]
        index += 1
      }
    }
    return (0..<reference.model.items).flatMap { item in
      let vector = reference.values(item)
      return (0..<width).map { column in
        let unobserved = (0..<width).reduce(0) { $0 + gram[column][$1] * vector[$1] }
        return -values[item * width + column] + Double(reference.model.settings.unobservedWeight) * unobserved
      }
    }
  }

  private func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
    a.count == b.count ? zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
  }

  @Test(arguments: Recommendation.both, [0, 0.5, 1] as [Float])
  func `reconstructs a user as a naive solver does`(_ settings: FactorizationSettings, exponent: Float) throws
  {
    var settings = settings
    settings.regularizationExponent = exponent
    let (model, parameters, rows, _) = try Recommendation.started(settings)
    for user in rows {
      let history = try InteractionHistory(items: user.map(\.item), labels: user.map(\.label))
      let found = try model.userFactors(parameters: parameters, history: history)
      let expected = ReferenceFactorization(model, parameters).user(user)
      #expect(largestDifference(found.map(Double.init), expected) < 1e-5)
    }
  }

  @Test func `reconstructs from more rows than a block holds`() throws {
    let model = try MatrixFactorization(settings: Recommendation.purchases, items: 700)
    var parameters = model.initialParameters(seed: 1)
    parameters[0] = 1
    let rows = (0..<300).map { (item: ($0 * 7) % 700, label: Float(1)) }
    let history = try InteractionHistory(items: rows.map(\.item), labels: rows.map(\.label))
    let found = try model.userFactors(parameters: parameters, history: history)
    let expected = ReferenceFactorization(model, parameters).user(rows)
    #expect(largestDifference(found.map(Double.init), expected) < 1e-5)
  }

  @Test(arguments: Recommendation.both)
  func `contributes minus the gradient with the user held fixed`(_ settings: FactorizationSettings) throws {
    let (model, parameters, rows, batch) = try Recommendation.started(settings)
    let reference = ReferenceFactorization(model, parameters)
    for (user, contribution) in zip(rows, try Recommendation.contributions(model, parameters, batch)) {
      let factor = reference.user(user)
      let expected = reference.itemGradient { $0.loss(factor, user) }
      #expect(largestDifference(gradient(contribution, reference), expected) < 1e-4)
    }
  }

  @Test(arguments: Recommendation.both)
  func `contributes minus the gradient of what reconstruction leaves`(_ settings: FactorizationSettings)
    throws
  {
    let (model, parameters, rows, batch) = try Recommendation.started(settings)
    let reference = ReferenceFactorization(model, parameters)
    for (user, contribution) in zip(rows, try Recommendation.contributions(model, parameters, batch)) {
      let expected = reference.itemGradient { $0.loss($0.user(user), user, isRegularized: true) }
      #expect(largestDifference(gradient(contribution, reference), expected) < 1e-4)
    }
  }

  @Test(arguments: Recommendation.both, [0, 1] as [Float])
  func `steps by the gradient over all items and its curvature`(
    _ settings: FactorizationSettings, exponent: Float
  ) throws {
    var settings = settings
    settings.regularizationExponent = exponent
    let (model, parameters, rows, batch) = try Recommendation.started(settings)
    let reference = ReferenceFactorization(model, parameters)
    let (width, users) = (reference.width, Double(rows.count))
    let factors = rows.map { reference.user($0) }
    let gradient = reference.itemGradient { moved in
      zip(factors, rows).reduce(0) { $0 + moved.loss($1.0, $1.1) } / users
    }
    let unobserved = Double(settings.unobservedWeight)
    let after = try Recommendation.train(model, batch, rounds: 2)
    for item in 0..<model.items {
      let ridges = (0..<width).map { column in
        Double(column == 0 ? settings.itemBiasRegularization : settings.itemRegularization)
          * max(reference.popularity(item) + unobserved, 1e-6).raised(to: Double(exponent))
      }
      let weight = unobserved + reference.popularity(item) + 1 / users
      let curvature = (0..<width).map { row in
        (0..<width).map { column in
          let gram = factors.reduce(0.0) {
            $0 + (row == 0 ? 1 : $1[row]) * (column == 0 ? 1 : $1[column])
          }
          return weight * gram / users + (row == column ? ridges[row] : 0)
        }
      }
      let values = reference.values(item)
      let slope = (0..<width).map { -gradient[item * width + $0] - ridges[$0] * values[$0] }
      let step = solveNaively(curvature, slope)
      for column in 0..<width {
        let index = reference.offset(item) + column
        #expect(abs(Double(after[index]) - values[column] - step[column]) < 1e-4)
      }
    }
    #expect(after[..<reference.offset(0)] == parameters[..<reference.offset(0)])
  }

  @Test(arguments: Recommendation.both)
  func `training ends where the gradient of the whole loss vanishes`(_ settings: FactorizationSettings) throws
  {
    let (model, _, rows, batch) = try Recommendation.started(settings)
    func loss(_ reference: ReferenceFactorization) -> Double {
      let mean =
        rows.reduce(0) { $0 + reference.loss(reference.user($1), $1, isRegularized: true) }
        / Double(rows.count)
      return (0..<model.items).reduce(mean) { sum, item in
        let values = reference.values(item)
        return sum + Double(settings.itemBiasRegularization) * values[0] * values[0] / 2
          + Double(settings.itemRegularization) * values.dropFirst().reduce(0) { $0 + $1 * $1 } / 2
      }
    }
    let early = ReferenceFactorization(model, try Recommendation.train(model, batch, rounds: 2))
    let late = ReferenceFactorization(
      model, try Recommendation.train(model, batch, rounds: 400, kind: .sgd(learningRate: 0.7)))
    #expect(loss(late) < 0.95 * loss(early))
    let steepest = late.itemGradient(loss).reduce(0) { max($0, abs($1)) }
    #expect(steepest < 1e-3)
  }

  @Test func `the start round counts users and ratings`() throws {
    let model = try MatrixFactorization(settings: Recommendation.ratings, items: 4)
    let batch = try Recommendation.batch([[(0, 5), (1, 3)], [(0, 5)], [(0, 1), (3, 5)], [(0, 5)]])
    let parameters = try Recommendation.train(model, batch, rounds: 1)
    #expect(parameters[0] == 1)
    // Ratings of 1 … 5 are −1 … 1: the sum is 1 − 1 + 1 + 1 + 0 + 1 of six.
    #expect(abs(parameters[1] - 0.5) < 1e-6)
    #expect(Array(parameters[2..<6]) == [1, 0.25, 0, 0.25])
    let ridge: Float = 0.02
    let biases = (0..<4).map { parameters[6 + $0 * 4] }
    let expected = [0, (0 - 0.125) / (0.25 + ridge), 0, (0.25 - 0.125) / (0.25 + ridge)] as [Float]
    #expect(distance(biases, expected) < 1e-6)
  }

  @Test func `several start rounds average`() throws {
    var settings = Recommendation.purchases
    settings.startRounds = 2
    let model = try MatrixFactorization(settings: settings, items: 3)
    var parameters = model.initialParameters(seed: 1)
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
    try model.step(
      mean: [0.25, 0, -0.5, 0.25], contributors: 8, optimizer: &optimizer, parameters: &parameters)
    #expect(model.contributionLength(parameters: parameters) == 4)
    try model.step(
      mean: [0.75, 0.125, 0, 0.25], contributors: 8, optimizer: &optimizer, parameters: &parameters)
    #expect(Array(parameters[2..<5]) == [2, 0.25, 0])
    #expect(model.contributionLength(parameters: parameters) == 3 * 4 + 10)
  }

  @Test(arguments: Recommendation.both)
  func `clipping all users alike changes nothing`(_ settings: FactorizationSettings) throws {
    let (model, _, _, batch) = try Recommendation.started(settings)
    var (whole, clipped) = (model.initialParameters(seed: 3), model.initialParameters(seed: 3))
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: whole.count)
    for _ in 0..<3 {
      let mean = Recommendation.mean(try Recommendation.contributions(model, whole, batch))
      let scaled = mean.map { $0 * 0.03125 }
      try model.step(mean: mean, contributors: 6, optimizer: &optimizer, parameters: &whole)
      try model.step(mean: scaled, contributors: 6, optimizer: &optimizer, parameters: &clipped)
    }
    #expect(distance(whole, clipped) < 1e-4)
  }

  @Test func `a contribution has the norm that its description names`() throws {
    let (model, parameters, rows, batch) = try Recommendation.started(Recommendation.ratings)
    let reference = ReferenceFactorization(model, parameters)
    for (index, contribution) in try Recommendation.contributions(model, parameters, batch).enumerated()
    where Set(rows[index].map(\.item)).count == rows[index].count {
      let user = reference.user(rows[index])
      let length = 1 + user.dropFirst().reduce(0) { $0 + $1 * $1 }
      let expected = (2 * reference.loss(user, rows[index]) * length + length * length).squareRoot()
      #expect(abs(l2(contribution) - expected) < 1e-4)
    }
  }
}
