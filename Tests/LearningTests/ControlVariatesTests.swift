import Testing

@testable import Learning

/// Nodes whose optima lie apart: y = aᵢ x + noise by a linear model on features of different scales.
private struct Heterogeneous {
  let model = NetworkModel(
    settings: NetworkSettings(objective: .squaredError), shape: FeatureShape(columns: 2))
  let batches: [TrainingBatch]

  init(records: (Int) -> Int = { _ in 12 }) throws {
    var generator = SplitMix64(seed: 4)
    let slopes: [(Float, Float)] = [(3, -1), (-2, 2), (1, 4), (-4, 0.5)]
    // Nodes also differ in which direction their records are spread, so that local optima weigh differently.
    let spreads: [(Float, Float)] = [(1.6, 0.2), (0.3, 1.2), (1, 1), (0.5, 0.4)]
    batches = try zip(slopes, spreads).enumerated().map { index, node in
      let count = records(index)
      var values: [Float] = []
      var labels: [Float] = []
      for _ in 0..<count {
        let (x, y) = (generator.nextSymmetric() * node.1.0, generator.nextSymmetric() * node.1.1)
        values += [x, y]
        labels.append(node.0.0 * x + node.0.1 * y + 0.1 * generator.nextSymmetric())
      }
      return try TrainingBatch(
        features: Matrix(rows: count, columns: 2, values: values), labels: labels,
        contributorOffsets: [0, count], objective: .squaredError)
    }
  }

  /// The gradient of the mean over nodes of the mean loss of their records.
  func gradient(_ parameters: [Float]) throws -> [Double] {
    var sum = [Double](repeating: 0, count: parameters.count)
    let worker = try LocalWorker(model: model, algorithm: .fedSGD)
    for batch in batches {
      try worker.forEachUpdate(parameters: parameters, batch: batch, contributors: 0..<1, seed: 1) {
        _, update in
        for index in update.indices { sum[index] -= Double(update[index]) / Double(batches.count) }
      }
    }
    return sum
  }

  func norm(_ vector: [Double]) -> Double { vector.reduce(0) { $0 + $1 * $1 }.squareRoot() }
}

@Suite struct ControlVariatesTests {
  private static func settings(_ epochs: Int = 20, steps: Int = 20, corrected: Bool = true) -> LocalSettings {
    LocalSettings(
      epochs: epochs, batchSize: 100, learningRate: 0.2, normalise: steps,
      controlVariates: corrected ? true : nil)
  }

  /// Rounds in which `asked` of the nodes take part; the parameters after each.
  private func train(
    _ problem: Heterogeneous, _ settings: LocalSettings, rounds: Int, clip: Float? = nil,
    asked: (Int) -> [Int] = { _ in [0, 1, 2, 3] }, each: (ControlVariates?, [Float]) -> Void = { _, _ in }
  ) throws -> [[Float]] {
    let worker = try LocalWorker(model: problem.model, algorithm: .local(settings))
    let count = problem.model.parameterCount
    let variates =
      settings.controlVariates == true
      ? ControlVariates(settings: settings, parameterCount: count, nodeCount: 4) : nil
    let bench = variates?.makeBench()
    var parameters = [Float](repeating: 0, count: count)
    var all: [[Float]] = []
    for round in 0..<rounds {
      var mean = [Double](repeating: 0, count: count)
      let nodes = asked(round)
      for node in nodes {
        func add(_: Int, _ update: UnsafeMutableBufferPointer<Float>) {
          if let clip { clipL2(update, to: clip) }
          for index in update.indices { mean[index] += Double(update[index]) / Double(nodes.count) }
        }
        try parameters.withUnsafeBufferPointer { start in
          if let variates, let bench {
            try variates.train(
              node: node, worker: worker, bench: bench, parameters: start, batch: problem.batches[node],
              seed: UInt64(round), body: add)
          } else {
            try worker.forEachUpdate(
              parameters: start, batch: problem.batches[node], contributors: 0..<1, seed: UInt64(round),
              body: add)
          }
        }
      }
      for index in parameters.indices { parameters[index] += Float(mean[index]) }
      variates?.follow(mean: mean.map { Float($0) }, share: Double(nodes.count) / 4)
      each(variates, parameters)
      all.append(parameters)
    }
    return all
  }

  @Test func `many local steps lead to everybody's optimum, where averaging ends elsewhere`() throws {
    let problem = try Heterogeneous()
    let averaged = try #require(train(problem, Self.settings(corrected: false), rounds: 200).last)
    let corrected = try #require(train(problem, Self.settings(), rounds: 200).last)
    let (far, near) = (
      problem.norm(try problem.gradient(averaged)), problem.norm(try problem.gradient(corrected))
    )
    #expect(far > 0.02, "\(far)")
    #expect(near < 1e-4, "\(near)")
  }

  @Test func `the optimum is also reached when a part of the nodes is asked, and with clipping`() throws {
    let problem = try Heterogeneous()
    let pairs = try train(problem, Self.settings(), rounds: 400) { [$0 % 4, ($0 / 4 + 1 + $0) % 4].uniqued }
    #expect(problem.norm(try problem.gradient(#require(pairs.last))) < 1e-3)
    let clipped = try train(problem, Self.settings(), rounds: 400, clip: 0.3)
    #expect(problem.norm(try problem.gradient(#require(clipped.last))) < 1e-3)
  }

  @Test func `the first round is that of averaging`() throws {
    let problem = try Heterogeneous()
    let (plain, corrected) = (
      try train(problem, Self.settings(corrected: false), rounds: 2),
      try train(problem, Self.settings(), rounds: 2)
    )
    #expect(plain[0] == corrected[0])
    #expect(plain[1] != corrected[1])
  }

  @Test func `the server's variate is what two vectors of every contributor would give`() throws {
    // Contributors with 5, 12, 30 and 7 records take 1, 2, 5 and 1 steps an epoch.
    let problem = try Heterogeneous { [5, 12, 30, 7][$0] }
    let settings = LocalSettings(
      epochs: 3, batchSize: 6, learningRate: 0.05, normalise: 8, controlVariates: true)
    let (count, rate) = (problem.model.parameterCount, 0.05)
    // The paper's form in double precision: contributors send displacement and change of their variate.
    var own = [[Double]](repeating: .init(repeating: 0, count: count), count: 4)
    var server = [Double](repeating: 0, count: count)
    var largest = 0.0
    let asked: [[Int]] = [[0, 1, 2, 3], [0, 2], [1, 2, 3], [3], [0, 1, 2]]
    let plain = LocalSettings(epochs: 3, batchSize: 6, learningRate: 0.05)
    let descent = LocalDescent(model: problem.model, settings: plain)
    var parameters = [Float](repeating: 0, count: count)
    var round = 0
    _ = try train(problem, settings, rounds: asked.count, asked: { asked[$0] }) { variates, next in
      var change = [Double](repeating: 0, count: count)
      for node in asked[round] {
        let batch = problem.batches[node]
        let steps = Double(3 * ((batch.labels.count + 5) / 6))
        let correction = VectorKernels.allocate(count)
        defer { correction.deallocate() }
        for index in 0..<count { correction[index] = Float(own[node][index] - server[index]) }
        let displacement = parameters.withUnsafeBufferPointer { start in
          batch.features.withInputRows { input in
            batch.labels.withUnsafeBufferPointer { labels in
              Array(
                descent.displacement(
                  from: start.baseAddress!, input: input, labels: labels.baseAddress!,
                  rows: batch.labels.count,
                  seed: UInt64(round), correction: correction))
            }
          }
        }
        for index in 0..<count {
          let moved = own[node][index] - server[index] - Double(displacement[index]) / (steps * rate)
          change[index] += (moved - own[node][index]) / Double(asked[round].count)
          own[node][index] = moved
        }
      }
      for index in 0..<count { server[index] += Double(asked[round].count) / 4 * change[index] }
      for index in 0..<count {
        largest = max(largest, abs(Double(variates?.server[index] ?? .nan) - server[index]))
        for node in 0..<4 {
          let variate = variates?.variate(node: node, contributor: 0)[index] ?? .nan
          largest = max(largest, abs(Double(variate) - own[node][index]))
        }
      }
      parameters = next
      round += 1
    }
    #expect(round == 5 && server.contains { abs($0) > 0.1 })
    #expect(largest < 1e-4, "\(largest)")
  }

  @Test func `an update that is not finite leaves no trace in the variates`() throws {
    let problem = try Heterogeneous()
    var settings = Self.settings(400, steps: 400)
    settings.learningRate = 50
    var isFinite = true
    _ = try train(
      problem, settings, rounds: 2, clip: 1,
      each: { variates, _ in
        isFinite = isFinite && variates?.server.allSatisfy(\.isFinite) == true
        for node in 0..<4 {
          isFinite = isFinite && variates?.variate(node: node, contributor: 0).allSatisfy(\.isFinite) == true
        }
      })
    #expect(isFinite)
  }

  @Test func `settings of variates need public steps and no proximal term`() {
    func isRefused(_ change: (inout LocalSettings) -> Void) -> Bool {
      var settings = Self.settings()
      change(&settings)
      do { try settings.validate() } catch { return true }
      return false
    }
    #expect(!isRefused { _ in })
    #expect(isRefused { $0.normalise = nil })
    #expect(isRefused { $0.proximal = 0.1 })
  }

  @Test func `weighted additions are the clipped vector times the weight`() {
    let vector: [Float] = [3, 4, -12, 0.5]
    for limit in [nil, 2, 100] as [Float?] {
      let (whole, half, fused) = (
        ExactSum(count: 4, bound: 128), ExactSum(count: 4, bound: 128), ExactSum(count: 4, bound: 128)
      )
      vector.withUnsafeBufferPointer {
        whole.add($0, clippedTo: limit, weight: 1)
        half.add($0, clippedTo: limit, weight: 0.5)
        if let limit { fused.addClipped($0, to: limit) } else { fused.add($0) }
      }
      #expect(whole.integers == fused.integers)
      let isHalf = zip(half.integers, whole.integers).allSatisfy { abs(2 * $0 - $1) <= 1 }
      #expect(isHalf)
    }
    let sum = ExactSum(count: 1, bound: 1)
    [Float.nan].withUnsafeBufferPointer { sum.add($0, clippedTo: 1, weight: 0.5) }
    #expect(sum.zeroed == 1 && sum.added == 1 && sum.integers == [0])
  }
}

extension Array where Element: Hashable {
  fileprivate var uniqued: [Element] { Array(Set(self)).sorted { "\($0)" < "\($1)" } }
}
