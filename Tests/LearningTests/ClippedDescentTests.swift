import Testing

@testable import Learning

@Suite struct ClippedDescentTests {
  private let model = Model(architecture: .multiLayerPerceptron(hidden: [200, 170]), inputs: 9)

  private func settings(
    clipNorm: Float? = 0.5, noise: Float = 0, shards: Int = 1, rate: Float = 0.1, batchSize: Int = 32
  ) -> ClippedDescent.Settings {
    ClippedDescent.Settings(
      learningRate: rate, batchSize: batchSize, maximumRows: 40, clipNorm: clipNorm, noiseMultiplier: noise,
      shards: shards, seed: 5)
  }

  private func batch() throws -> TrainingBatch {
    try randomBatch(rowCounts: [Int](repeating: 1, count: 100), columns: 9, seed: 3)
  }

  /// Runs the shards backwards: their order must not matter.
  private static func backwards(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    for index in (0..<count).reversed() { body(index) }
  }

  private static func forwards(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    for index in 0..<count { body(index) }
  }

  private func run(
    _ settings: ClippedDescent.Settings, steps: Int, rows: Int = 32,
    forEach: ClippedDescent.ForEach = forwards
  ) throws -> [Float] {
    let start = model.architecture.initialParameters(inputs: 9, seed: 1)
    let descent = try ClippedDescent(model: model, parameters: start, settings: settings)
    for step in 0..<steps {
      let order = (0..<rows).map { Int32(($0 * 7 + step * 13) % 100) }
      try order.withUnsafeBufferPointer { _ = try descent.step(batch(), rows: $0, forEach: forEach) }
    }
    return descent.parameters
  }

  @Test func `a step is the learning rate times the mean of the clipped gradients`() throws {
    let start = model.architecture.initialParameters(inputs: 9, seed: 1)
    let batch = try batch()
    let rows = try updates(model, .fedSGD, start, batch)
    var expected = start.map(Double.init)
    for row in 0..<32 {
      var update = rows[row * 7 % 100]
      update.withUnsafeMutableBufferPointer { _ = clipL2($0, to: 0.5) }
      for index in expected.indices { expected[index] += 0.1 * Double(update[index]) / 32 }
    }
    for shards in [1, 2, 3, 7] {
      let moved = try run(settings(shards: shards), steps: 1)
      let worst = zip(moved, expected).reduce(0) { max($0, abs(Double($1.0) - $1.1)) }
      #expect(worst < 1e-6)
    }
  }

  @Test func `noise has the deviation asked for, independent in every step and coordinate`() throws {
    for shards in [1, 3] {
      let plain = try run(settings(rate: 1, batchSize: 10), steps: 1)
      let noisy = try run(settings(noise: 1.5, shards: shards, rate: 1, batchSize: 10), steps: 1)
      let noise = zip(noisy, plain).map { Double($0 - $1) * 10 / (1.5 * 0.5) }
      let n = Double(noise.count)
      let mean = noise.reduce(0, +) / n
      let variance = noise.reduce(0) { $0 + $1 * $1 } / n
      #expect(abs(mean) < 4 / n.squareRoot())
      #expect(abs(variance - 1) < 4 * (2 / n).squareRoot())
      // Without rows there is nothing but noise, and its variance adds up over the steps.
      let start = model.architecture.initialParameters(inputs: 9, seed: 1)
      let moved = try run(settings(noise: 1.5, shards: shards, rate: 1, batchSize: 10), steps: 4, rows: 0)
      let walk = zip(moved, start).reduce(0) { sum, pair in
        let step = Double(pair.0 - pair.1) * 10 / (1.5 * 0.5)
        return sum + step * step
      }
      #expect(abs(walk / n - 4) < 16 * (2 / n).squareRoot())
    }
  }

  @Test func `the parameters do not depend on who computes the shards when`() throws {
    let settings = settings(noise: 0.7, shards: 4)
    let expected = try run(settings, steps: 5)
    let isEqual = try run(settings, steps: 5, forEach: Self.backwards) == expected
    #expect(isEqual)
    var other = settings
    other.seed = 6
    let differs = try run(other, steps: 5) != expected
    #expect(differs)
  }

  @Test func `impossible settings and rows are refused`() throws {
    let start = model.architecture.initialParameters(inputs: 9, seed: 1)
    func refused(_ change: (inout ClippedDescent.Settings) -> Void) {
      var settings = settings(noise: 1)
      change(&settings)
      #expect(throws: LearningError.self) {
        try ClippedDescent(model: model, parameters: start, settings: settings)
      }
    }
    refused { $0.learningRate = 0 }
    refused { $0.learningRate = .nan }
    refused { $0.batchSize = 0 }
    refused { $0.maximumRows = 0 }
    refused { $0.clipNorm = nil }
    refused { $0.clipNorm = .infinity }
    refused { $0.clipNorm = -1 }
    refused { $0.noiseMultiplier = -1 }
    refused { $0.shards = 0 }
    refused { $0.shards = 257 }
    #expect(throws: LearningError.self) {
      try ClippedDescent(model: model, parameters: [0], settings: settings())
    }
    let descent = try ClippedDescent(model: model, parameters: start, settings: settings())
    let tooMany = (0..<41).map { Int32($0) }
    for rows in [[100], [-1], tooMany] as [[Int32]] {
      #expect(throws: LearningError.self) {
        try rows.withUnsafeBufferPointer { try descent.step(batch(), rows: $0, forEach: Self.forwards) }
      }
    }
    #expect(descent.parameters == start)
  }
}
