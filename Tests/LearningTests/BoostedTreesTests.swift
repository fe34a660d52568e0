#if canImport(Glibc)
  import Glibc
#endif

import Testing

@testable import Learning

@Suite struct BoostedTreesTests {
  private static let objectives: [Objective] = [
    .binary, .squaredError, .huber(delta: 0.4), .poisson, .tweedie(power: 1.5),
  ]

  private static func model(
    _ objective: Objective = .binary, trees: Int = 4, depth: Int = 3, share: Float = 1,
    limit: Float = 40, leastWeight: Float = 1, splitting: TreeSettings.Splitting = .best
  ) throws -> BoostedTrees {
    try BoostedTrees(
      settings: TreeSettings(
        objective: objective, trees: trees, maximumDepth: depth, learningRate: 0.3, l2: 0.5,
        minimumChildWeight: leastWeight, columnShare: share, gradientLimit: limit, splitting: splitting),
      shape: TreeData.shape)
  }

  @Test(arguments: objectives)
  func `growth by rounds equals gradient boosting`(objective: Objective) throws {
    for seed in 1...6 as ClosedRange<UInt64> {
      let data = TreeData(seed: seed, contributors: 250, objective: objective)
      let model = try Self.model(objective)
      let history = try grow(model, data.batch)
      let scores = try model.scores(parameters: history[history.count - 1], features: data.features)
      let reference = ReferenceBoosting(settings: model.settings, shape: model.shape, data: data).scores()
      let largest = zip(scores, reference).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(largest < 1e-4, "seed \(seed)")
      #expect(Set(scores).count > 20)
    }
  }

  @Test(arguments: objectives)
  func `no contribution is longer than 1`(objective: Objective) throws {
    // The cut is exercised: labels of 1 exceed the limit.
    for limit in [0.2, 40] as [Float] {
      let data = TreeData(seed: 3, contributors: 60, largestCount: 3, objective: objective)
      let model = try Self.model(objective, limit: limit)
      var longest = 0.0
      for parameters in try grow(model, data.batch) {
        let vectors = try contributions(model, parameters, data.batch)
        #expect(vectors.allSatisfy { $0.count == model.contributionLength(parameters: parameters) })
        longest = max(longest, vectors.map(l2).max() ?? 0)
      }
      #expect(longest <= 1 + 1e-6 && longest > 0.02)
    }
  }

  @Test func `the curvature of log loss is as large as the bound allows`() {
    let scale = DerivativeScale(TreeSettings())
    let norms = (1..<100_000).map { step in
      let p = Double(step) / 100_000
      let curvature = p * (1 - p) * Double(scale.curvatureFactor)
      return (p * p + curvature * curvature).squareRoot()
    }
    #expect(norms.allSatisfy { $0 <= 1 })
    let golden = (1 + 5.0.squareRoot()) / 2
    #expect(norms[Int(100_000 / golden) - 1] > 0.9999)
  }

  @Test(arguments: [TreeSettings.Splitting.best, .random])
  func `the sum of contributions is the histogram of derivatives`(splitting: TreeSettings.Splitting) throws {
    let data = TreeData(seed: 8, contributors: 80)
    let model = try Self.model(trees: 2, share: 0.5, splitting: splitting)
    let scale = DerivativeScale(model.settings)
    for parameters in try grow(model, data.batch, seed: 4).dropFirst().dropLast() {
      let trees = nodes(model, parameters)
      let round = try model.round(of: model.ensemble(parameters))
      let open = trees[trees.count - 1].indices.filter { trees[trees.count - 1][$0] == .open }
      let scores = try model.scores(parameters: parameters, features: data.features)
      var expected = [Double](repeating: 0, count: round.length)
      for (row, cells) in data.rows.enumerated() {
        guard let node = open.firstIndex(of: end(of: cells, in: trees[trees.count - 1], shape: model.shape))
        else { continue }
        let p = 1 / (1 + exp(-Double(scores[row])))
        let weight = data.weights[row] * Double(round.share)
        let places =
          splitting == .random ? [0] : zip(round.columns, round.offsets).map { cells[$0] + $1 }
        for place in places {
          let index = 2 * (node * round.binsPerNode + place)
          expected[index] += weight * (p - Double(data.labels[row]))
          expected[index + 1] += weight * p * (1 - p) * Double(scale.curvatureFactor)
        }
      }
      let sum = total(try contributions(model, parameters, data.batch))
      let largest = zip(sum, expected).map { abs($0 - $1) }.max() ?? .infinity
      #expect(sum.count == expected.count && largest < 1e-4)
      #expect(expected.contains { $0 != 0 })
    }
  }

  @Test func `a contribution depends on nothing but its rows and the parameters`() throws {
    let data = TreeData(seed: 5, contributors: 40)
    let (model, batch) = (try Self.model(), try data.batch)
    let history = try grow(model, batch)
    #expect(try grow(model, batch) == history)
    for parameters in [history[0], history[1], history[3], history[6]] {
      let all = try contributions(model, parameters, batch)
      #expect(try contributions(model, parameters, batch, in: 7..<31) == Array(all[7..<31]))
      #expect(try contributions(model, parameters, batch, in: 3..<3).isEmpty)
      #expect(try contributions(model, parameters, only(9, of: batch)) == [all[9]])
    }
    // One worker through all rounds, back and forth, gives what a new one gives.
    let worker = try model.makeWorker(algorithm: .fedSGD)
    let variants = history.flatMap { parameters in
      var other = parameters
      other[3] = 0.125
      return [parameters, other]
    }
    for parameters in variants + variants.reversed() {
      var vectors: [[Float]] = []
      try parameters.withUnsafeBufferPointer {
        try worker.forEachContribution(
          parameters: $0, batch: batch, contributors: 0..<5, seed: 9
        ) {
          vectors.append(Array($1))
          // Each position that may be changed is, and no other was more than 0.
          let support = Set((worker.support ?? []).map(Int.init))
          #expect($1.indices.allSatisfy { index in support.contains(index) || vectors.last?[index] == 0 })
          for index in support { $1[index] = .nan }
        }
      }
      #expect(try vectors == contributions(model, parameters, batch, in: 0..<5))
    }
  }

  @Test func `a finished model has nothing to ask and does not change`() throws {
    let data = TreeData(seed: 2, contributors: 50)
    let (model, batch) = (try Self.model(), try data.batch)
    let history = try grow(model, batch)
    #expect(history.count - 1 <= model.settings.maximumRounds)
    #expect(history.dropLast().allSatisfy { !model.isFinished(parameters: $0) })
    var parameters = history[history.count - 1]
    #expect(model.contributionLength(parameters: parameters) == 0)
    #expect(try contributions(model, parameters, batch).allSatisfy(\.isEmpty))
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 1)
    try model.step(mean: [], contributors: 50, optimizer: &optimizer, parameters: &parameters)
    #expect(parameters == history[history.count - 1])
  }

  @Test func `random trees cost one round each and learn`() throws {
    let data = TreeData(seed: 12, contributors: 400)
    let model = try Self.model(trees: 60, depth: 4, splitting: .random)
    let history = try grow(model, data.batch)
    #expect(history.count == 62)
    let end = history[history.count - 1]
    let scores = try model.scores(parameters: end, features: data.features)
    let auc = ExactMetrics.auc(scores: scores, labels: data.labels) ?? 0
    #expect(auc > 0.9)
    // Every split of a random tree divides what reaches it.
    #expect(nodes(model, end).allSatisfy { $0.count > 15 })
    #expect(try grow(model, data.batch, seed: 2) != history)
  }

  @Test(arguments: [TreeSettings.Splitting.best, .random])
  func `any noise leaves usable trees`(splitting: TreeSettings.Splitting) throws {
    for objective in Self.objectives {
      let data = TreeData(seed: 6, contributors: 40, objective: objective)
      for noise in [1, 100, 1e6] {
        let model = try Self.model(objective, splitting: splitting)
        let history = try grow(model, data.batch, noise: noise)
        #expect(history.count - 1 <= model.settings.maximumRounds)
        let scores = try model.scores(parameters: history[history.count - 1], features: data.features)
        #expect(scores.allSatisfy { $0.isFinite })
      }
    }
  }

  @Test func `one class, one row and constant columns give constants`() throws {
    let data = TreeData(seed: 4, contributors: 30)
    for label in [0, 1] as [Float] {
      let model = try Self.model()
      let single = TreeData(data, labels: [Float](repeating: label, count: data.rows.count))
      let history = try grow(model, single.batch)
      let scores = try model.scores(parameters: history[history.count - 1], features: single.features)
      #expect(scores.allSatisfy { $0.isFinite && ($0 > 3) == (label == 1) && ($0 < -3) == (label == 0) })
    }
    let model = try Self.model()
    let one = TreeData(seed: 4, contributors: 1, largestCount: 1)
    #expect(try grow(model, one.batch).count == 5 + 1)
    let constant = FeatureShape(bins: [BinnedColumn(count: 1, isOrdered: true, hasMissing: false)])
    let regression = TreeData(seed: 4, contributors: 5, objective: .squaredError)
    #expect(throws: LearningError.self) { try contributions(model, [0, 0, 0, 0], regression.batch) }
    for splitting in [TreeSettings.Splitting.best, .random] {
      let flat = try BoostedTrees(
        settings: TreeSettings(trees: 3, splitting: splitting), shape: constant)
      let rows = TreeData(seed: 4, contributors: 30, shape: constant)
      let history = try grow(flat, rows.batch)
      #expect(history.count == 5)
      #expect(Set(try flat.scores(parameters: history[4], features: rows.features)).count == 1)
    }
  }

  @Test func `refuses what is not a row of bins, a mean of its length, or its algorithm`() throws {
    let data = TreeData(seed: 4, contributors: 30)
    let (model, batch) = (try Self.model(), try data.batch)
    let parameters = try grow(model, batch)[2]
    for cell in [-1, 8, 0.5, .nan, 1e30] as [Float] {
      let matrix = try Matrix(rows: 1, columns: 5, values: [cell, 0, 0, 0, 0])
      #expect(throws: LearningError.self) { try model.scores(parameters: parameters, features: matrix) }
      guard cell.isFinite else { continue }
      let bad = try TrainingBatch(features: matrix, labels: [0], contributorOffsets: [0, 1])
      #expect(throws: LearningError.self) { try contributions(model, parameters, bad) }
    }
    let narrow = try Matrix(rows: 1, columns: 2, values: [0, 0])
    #expect(throws: LearningError.self) { try model.scores(parameters: parameters, features: narrow) }
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 1)
    let length = model.contributionLength(parameters: parameters)
    for mean in [[], [Float](repeating: .nan, count: length), [Float](repeating: 0, count: length + 1)] {
      var copy = parameters
      #expect(throws: LearningError.self) {
        try model.step(mean: mean, contributors: 9, optimizer: &optimizer, parameters: &copy)
      }
      #expect(copy == parameters)
    }
    #expect(throws: LearningError.self) {
      _ = try model.makeWorker(algorithm: .fedAvg(epochs: 1, batchSize: 1, learningRate: 1))
    }
  }
}
