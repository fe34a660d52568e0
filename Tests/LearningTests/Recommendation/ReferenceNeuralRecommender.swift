@testable import Learning

#if canImport(Glibc)
  import Glibc
#endif

/// The model's definition, naively in double precision.
struct ReferenceNeuralRecommender {
  let model: NeuralRecommender
  var parameters: [Double]

  init(_ model: NeuralRecommender, _ parameters: [Float]) {
    self.model = model
    self.parameters = parameters.map(Double.init)
  }

  /// A row with what it asks the model to predict.
  struct Row: Hashable {
    let item: Int
    let target: Double
  }

  func score(_ user: [Double], _ item: Int) -> Double {
    let settings = model.settings
    let width = settings.factors + 1
    let item = Array(parameters[width * (item + 1)..<width * (item + 2)])
    var score = user[0] + item[0]
    for index in 1..<width { score += user[index] * item[index] }
    var values = Array(user.dropFirst() + item.dropFirst())
    var offset = width * (settings.items + 1)
    for units in settings.hidden {
      let weights = parameters[offset..<offset + values.count * units]
      let biases = parameters[offset + weights.count..<offset + weights.count + units]
      offset += weights.count + units
      values = (0..<units).map { unit in
        let sum = values.indices.reduce(biases[biases.startIndex + unit]) {
          $0 + values[$1] * weights[weights.startIndex + $1 * units + unit]
        }
        return max(sum, 0)
      }
    }
    guard !settings.hidden.isEmpty else { return score }
    return values.indices.reduce(score) { $0 + values[$1] * parameters[offset + $1] }
  }

  /// The sum of the rows' losses, with the user's regularisation.
  func loss(_ user: [Double], _ rows: [Row]) -> Double {
    loss(user, Self.counted(rows))
  }

  /// Rows that are alike are computed once.
  private static func counted(_ rows: [Row]) -> [Row: Double] {
    rows.reduce(into: [:]) { $0[$1, default: 0] += 1 }
  }

  private func loss(_ user: [Double], _ rows: [Row: Double]) -> Double {
    var loss = 0.0
    for (row, count) in rows {
      let score = score(user, row.item)
      loss +=
        model.ratings == nil
        ? count * (max(score, 0) - score * row.target + log1p(exp(-abs(score))))
        : count * (score - row.target) * (score - row.target) / 2
    }
    for index in user.indices {
      let ridge = index == 0 ? model.settings.userBiasRegularization : model.settings.userRegularization
      loss += Double(ridge) * (user[index] - parameters[index]) * (user[index] - parameters[index]) / 2
    }
    return loss
  }

  /// The derivatives of `loss` by all parameters, by central differences.
  func gradient(_ user: [Double], _ rows: [Row]) -> [Double] {
    let rows = Self.counted(rows)
    return parameters.indices.map { index in
      var (up, down) = (self, self)
      up.parameters[index] += 1e-6
      down.parameters[index] -= 1e-6
      return (up.loss(user, rows) - down.loss(user, rows)) / 2e-6
    }
  }

  /// The derivatives by the user's values.
  func userGradient(_ user: [Double], _ rows: [Row]) -> [Double] {
    let rows = Self.counted(rows)
    return user.indices.map { index in
      var (up, down) = (user, user)
      up[index] += 1e-6
      down[index] -= 1e-6
      return (loss(up, rows) - loss(down, rows)) / 2e-6
    }
  }
}

/// What the tests of the neural recommender share.
enum NeuralRecommendation {
  static let ratings = NeuralRecommenderSettings(
    feedback: .explicit(lowest: 1, highest: 5), items: 12, factors: 3, hidden: [6, 4],
    userRegularization: 0.7, userBiasRegularization: 0.3, itemRegularization: 0.02,
    itemBiasRegularization: 0.01, networkRegularization: 0.01, reconstructionSteps: 3, initialScale: 1)
  static let purchases = NeuralRecommenderSettings(
    feedback: .implicit(negatives: 2), items: 12, factors: 3, hidden: [5], userRegularization: 0.7,
    userBiasRegularization: 0.3, itemRegularization: 0.02, itemBiasRegularization: 0.01,
    networkRegularization: 0.01, reconstructionSteps: 3, rowExponent: 0.5, initialScale: 1)
  static let both = [ratings, purchases]

  /// Parameters in which every part matters.
  static func parameters(_ model: NeuralRecommender, seed: UInt64 = 7) -> [Float] {
    var noise = TestNoise(seed: seed)
    return noise.floats(model.initialParameterCount).map { 0.5 * $0 }
  }

  static func rows(_ settings: NeuralRecommenderSettings) -> [[(item: Int, label: Float)]] {
    Recommendation.rows(settings.items == 12 ? Recommendation.ratings : Recommendation.purchases)
  }

  static func contributions(
    _ model: NeuralRecommender, _ parameters: [Float], _ batch: TrainingBatch, _ range: Range<Int>? = nil,
    seed: UInt64 = 0
  ) throws -> [[Float]] {
    let worker = try model.makeWorker(algorithm: .fedSGD)
    var result: [[Float]] = []
    try parameters.withUnsafeBufferPointer { parameters in
      try worker.forEachContribution(
        parameters: parameters, batch: batch, contributors: range ?? 0..<batch.contributorCount, seed: seed
      ) { _, vector in result.append(Array(vector)) }
    }
    return result
  }

  /// Rounds of all contributors with exact sums.
  static func train(
    _ model: NeuralRecommender, _ batch: TrainingBatch, rounds: Int, rate: Float = 0.05
  ) throws -> [Float] {
    var parameters = model.initialParameters(seed: 3)
    var optimizer = ServerOptimizer(
      kind: .adam(learningRate: rate, beta1: 0.9, beta2: 0.99, epsilon: 1e-6),
      schedule: .linear(steps: rounds, end: 0.1), parameterCount: parameters.count)
    for round in 0..<rounds {
      let vectors = try contributions(model, parameters, batch, seed: UInt64(round))
      try model.step(
        mean: Recommendation.mean(vectors), contributors: Double(batch.contributorCount),
        optimizer: &optimizer, parameters: &parameters)
    }
    return parameters
  }

  /// A user's rows as the worker sees them: for reconstruction and for the gradient.
  static func divided(
    _ model: NeuralRecommender, _ rows: [(item: Int, label: Float)], seed: UInt64
  ) -> (support: [ReferenceNeuralRecommender.Row], query: [ReferenceNeuralRecommender.Row]) {
    var reader = InteractionRows(model: model)
    reader.read(
      items: rows.map { Float($0.item) }, labels: rows.map(\.label), range: 0..<rows.count, seed: seed)
    reader.divide(queryShare: model.settings.queryShare)
    var result: ([ReferenceNeuralRecommender.Row], [ReferenceNeuralRecommender.Row]) = ([], [])
    reader.withSupportAndQuery { support, query in
      func rows(_ rows: UserReconstruction.Rows) -> [ReferenceNeuralRecommender.Row] {
        (0..<rows.count).map { .init(item: Int(rows.items[$0]), target: Double(rows.targets[$0])) }
      }
      result = (rows(support), rows(query))
    }
    return result
  }

  /// The user's vector that `UserReconstruction` finds for some rows.
  static func reconstruct(
    _ model: NeuralRecommender, _ parameters: [Float], _ rows: [ReferenceNeuralRecommender.Row]
  ) -> [Double] {
    let reconstruction = UserReconstruction(model: model)
    let (items, targets) = (rows.map { Int32($0.item) }, rows.map { Float($0.target) })
    items.withUnsafeBufferPointer { items in
      targets.withUnsafeBufferPointer { targets in
        guard let items = items.baseAddress, let targets = targets.baseAddress else { return }
        reconstruction.solve(
          parameters: parameters, rows: .init(items: items, targets: targets, count: rows.count))
      }
    }
    return (0...model.settings.factors).map { Double(reconstruction.user[$0]) }
  }
}
