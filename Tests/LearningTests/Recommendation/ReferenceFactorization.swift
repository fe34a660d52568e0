@testable import Learning

/// The model's definition, densely and naively in double precision.
struct ReferenceFactorization {
  let model: MatrixFactorization
  var parameters: [Double]

  init(_ model: MatrixFactorization, _ parameters: [Float]) {
    self.model = model
    self.parameters = parameters.map(Double.init)
  }

  var width: Int { model.settings.factors + 1 }
  var mean: Double { parameters[1] }
  func popularity(_ item: Int) -> Double { parameters[2 + item] }
  func offset(_ item: Int) -> Int { 2 + model.items + item * width }
  func values(_ item: Int) -> [Double] { Array(parameters[offset(item)..<offset(item) + width]) }

  /// Weighted equations of a user: item, weight, wanted value.
  func equations(_ rows: [(item: Int, label: Float)]) -> [(item: Int, weight: Double, target: Double)] {
    switch model.settings.feedback {
    case .explicit(let lowest, let highest):
      rows.map {
        ($0.item, 1, (Double($0.label) - Double(lowest + highest) / 2) / (Double(highest - lowest) / 2))
      }
    case .implicit(let unobserved, let strength):
      rows.filter { $0.label > 0 }.map { ($0.item, 1 + Double(strength) * Double($0.label), 1) }
        + (0..<model.items).map { ($0, Double(unobserved), 0) }
    }
  }

  /// The regularisation of the user's bias and factor.
  func ridge(_ rows: [(item: Int, label: Float)]) -> (bias: Double, factor: Double) {
    var total = 0.0
    for equation in equations(rows) { total += equation.weight }
    let factor = total.raised(to: Double(model.settings.regularizationExponent))
    return (
      Double(model.settings.userBiasRegularization) * factor,
      Double(model.settings.userRegularization) * factor
    )
  }

  func prediction(_ user: [Double], _ item: Int) -> Double {
    let item = values(item)
    return mean + user[0] + item[0] + (1..<width).reduce(0) { $0 + user[$1] * item[$1] }
  }

  /// The loss of a user without and with its own regularisation.
  func loss(_ user: [Double], _ rows: [(item: Int, label: Float)], isRegularized: Bool = false) -> Double {
    var loss = 0.0
    for (item, weight, target) in equations(rows) {
      let error = target - prediction(user, item)
      loss += weight * error * error / 2
    }
    guard isRegularized else { return loss }
    let (bias, factor) = ridge(rows)
    return loss + bias * user[0] * user[0] / 2 + factor * user.dropFirst().reduce(0) { $0 + $1 * $1 } / 2
  }

  /// The user's best bias and factor.
  func user(_ rows: [(item: Int, label: Float)]) -> [Double] {
    var normal = [[Double]](repeating: .init(repeating: 0, count: width), count: width)
    var right = [Double](repeating: 0, count: width)
    for (item, weight, target) in equations(rows) {
      let values = values(item)
      let row = [model.isExplicit ? 1 : 0] + values.dropFirst()
      for i in 0..<width {
        for j in 0..<width { normal[i][j] += weight * row[i] * row[j] }
        right[i] += weight * row[i] * (target - mean - values[0])
      }
    }
    let (bias, factor) = ridge(rows)
    for i in 0..<width { normal[i][i] += i == 0 ? bias : factor }
    return solveNaively(normal, right)
  }

  /// The derivatives of `loss` by every item's values, by central differences.
  func itemGradient(_ loss: (ReferenceFactorization) -> Double) -> [Double] {
    (offset(0)..<parameters.count).map { index in
      var (up, down) = (self, self)
      up.parameters[index] += 1e-5
      down.parameters[index] -= 1e-5
      return (loss(up) - loss(down)) / 2e-5
    }
  }
}

extension Double {
  /// By repeated square roots: enough for tests' exponents, which are multiples of 1/8.
  func raised(to exponent: Double) -> Double {
    var (result, root, rest) = (1.0, self, exponent)
    for _ in 0..<4 {
      if rest >= 1 {
        result *= root
        rest -= 1
      }
      root = root.squareRoot()
      rest *= 2
    }
    return result
  }
}

/// Gaussian elimination with pivots.
func solveNaively(_ matrix: [[Double]], _ right: [Double]) -> [Double] {
  var (matrix, right) = (matrix, right)
  let count = right.count
  for column in 0..<count {
    let pivot = (column..<count).max { abs(matrix[$0][column]) < abs(matrix[$1][column]) } ?? column
    matrix.swapAt(column, pivot)
    right.swapAt(column, pivot)
    for row in 0..<count where row != column {
      let factor = matrix[row][column] / matrix[column][column]
      for index in column..<count { matrix[row][index] -= factor * matrix[column][index] }
      right[row] -= factor * right[column]
    }
  }
  return (0..<count).map { right[$0] / matrix[$0][$0] }
}

/// What the tests of recommendation share.
enum Recommendation {
  static let ratings = FactorizationSettings(
    feedback: .explicit(lowest: 1, highest: 5), factors: 3, userRegularization: 0.7,
    userBiasRegularization: 0.3,
    itemRegularization: 0.05, itemBiasRegularization: 0.02, initialScale: 1)
  static let purchases = FactorizationSettings(
    feedback: .implicit(unobservedWeight: 0.2, strengthWeight: 0.5), factors: 3, userRegularization: 0.7,
    itemRegularization: 0.05, itemBiasRegularization: 0.02, initialScale: 1)
  static let both = [ratings, purchases]

  /// Users with a few interactions each, of 12 items; the first repeats an item.
  static func rows(_ settings: FactorizationSettings, users: Int = 6) -> [[(item: Int, label: Float)]] {
    var generator = SplitMix64(seed: 5)
    var rows = (0..<users).map { user in
      (0..<3 + user % 4).map { _ in
        (item: Int(generator.next() % 12), label: 1 + Float(generator.next() % 5))
      }
    }
    rows[0].append(rows[0][0])
    return rows
  }

  static func batch(_ rows: [[(item: Int, label: Float)]]) throws -> TrainingBatch {
    var offsets = [0]
    for user in rows { offsets.append(offsets[offsets.count - 1] + user.count) }
    let all = rows.flatMap { $0 }
    return try TrainingBatch(
      features: Matrix(rows: all.count, columns: 1, values: all.map { Float($0.item) }),
      labels: all.map(\.label),
      contributorOffsets: offsets, objective: .squaredError)
  }

  static func contributions(
    _ model: MatrixFactorization, _ parameters: [Float], _ batch: TrainingBatch, _ range: Range<Int>? = nil
  ) throws -> [[Float]] {
    let worker = try model.makeWorker(algorithm: .fedSGD)
    var result: [[Float]] = []
    try parameters.withUnsafeBufferPointer { parameters in
      try worker.forEachContribution(
        parameters: parameters, batch: batch, contributors: range ?? 0..<batch.contributorCount, seed: 0
      ) { _, vector in result.append(Array(vector)) }
    }
    return result
  }

  static func mean(_ vectors: [[Float]]) -> [Float] {
    total(vectors).map { Float($0 / Double(vectors.count)) }
  }

  /// Rounds of all contributors with exact sums.
  static func train(
    _ model: MatrixFactorization, _ batch: TrainingBatch, rounds: Int,
    kind: ServerOptimizer.Kind = .sgd(learningRate: 1)
  ) throws -> [Float] {
    var parameters = model.initialParameters(seed: 3)
    var optimizer = ServerOptimizer(kind: kind, parameterCount: parameters.count)
    for _ in 0..<rounds {
      let mean = mean(try contributions(model, parameters, batch))
      try model.step(
        mean: mean, contributors: Double(batch.contributorCount), optimizer: &optimizer,
        parameters: &parameters)
    }
    return parameters
  }

  /// A model of 12 items after its start round.
  static func started(_ settings: FactorizationSettings) throws -> (
    model: MatrixFactorization, parameters: [Float], rows: [[(item: Int, label: Float)]], batch: TrainingBatch
  ) {
    let model = try MatrixFactorization(settings: settings, items: 12)
    let rows = rows(settings)
    let batch = try batch(rows)
    return (model, try train(model, batch, rounds: settings.startRounds), rows, batch)
  }
}
