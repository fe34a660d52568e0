import Testing

@testable import Learning

@Suite struct LocalWorkerTests {
  struct Shape: CustomTestStringConvertible {
    var inputs: Int
    var hidden: [Int]
    var rowCounts: [Int]
    var algorithm: LocalAlgorithm
    var testDescription: String { "\(inputs)-\(hidden), rows \(rowCounts), \(algorithm)" }

    var architecture: ModelArchitecture {
      hidden.isEmpty ? .logisticRegression : .multiLayerPerceptron(hidden: hidden)
    }
    var model: Model { Model(architecture: architecture, inputs: inputs) }

    func start() -> [Float] {
      var noise = TestNoise(seed: 77)
      return architecture.initialParameters(inputs: inputs, seed: 4).map { $0 + 0.05 * Float(noise.next()) }
    }
  }

  static let shapes: [Shape] = [
    Shape(inputs: 30, hidden: [], rowCounts: [50, 50, 7, 1], algorithm: fedAvg(1, 10)),
    Shape(inputs: 30, hidden: [64, 32], rowCounts: [50, 23], algorithm: fedAvg(1, 10)),
    Shape(inputs: 30, hidden: [130, 140], rowCounts: [25], algorithm: fedAvg(1, 10)),
    Shape(inputs: 1, hidden: [], rowCounts: [1, 2, 3, 11], algorithm: fedAvg(2, 4)),
    Shape(inputs: 3, hidden: [], rowCounts: [5], algorithm: fedAvg(3, 1)),
    Shape(inputs: 4, hidden: [], rowCounts: [9], algorithm: fedAvg(1, 5)),
    Shape(inputs: 17, hidden: [], rowCounts: [13, 6], algorithm: fedAvg(2, 6)),
    Shape(inputs: 37, hidden: [1], rowCounts: [13, 1], algorithm: fedAvg(2, 3)),
    Shape(inputs: 1, hidden: [1, 1], rowCounts: [4], algorithm: fedAvg(2, 3)),
    Shape(inputs: 5, hidden: [3, 7, 2], rowCounts: [10, 1, 9], algorithm: fedAvg(2, 4)),
    Shape(inputs: 30, hidden: [], rowCounts: [1, 1, 4, 50], algorithm: .fedSGD),
    Shape(inputs: 19, hidden: [33, 6], rowCounts: [1, 3, 12], algorithm: .fedSGD),
  ]

  private static func fedAvg(_ epochs: Int, _ batchSize: Int) -> LocalAlgorithm {
    .fedAvg(epochs: epochs, batchSize: batchSize, learningRate: 0.1)
  }

  private func updates(
    _ worker: LocalWorker, _ parameters: [Float], _ batch: TrainingBatch, _ contributors: Range<Int>,
    seed: UInt64
  ) throws -> [[Float]] {
    var result: [[Float]] = []
    try worker.forEachUpdate(
      parameters: parameters, batch: batch, contributors: contributors, seed: seed
    ) { contributor, update in
      #expect(contributor == contributors.lowerBound + result.count)
      result.append(Array(update))
    }
    return result
  }

  @Test(arguments: shapes)
  func `updates agree with plain loops in double precision`(shape: Shape) throws {
    let batch = try randomBatch(rowCounts: shape.rowCounts, columns: shape.inputs, seed: 12)
    let reference = ReferenceTrainer(architecture: shape.architecture, inputs: shape.inputs)
    let start = shape.start()
    let worker = try LocalWorker(LocalTrainer(model: shape.model, algorithm: shape.algorithm))
    let fast = try updates(worker, start, batch, 0..<batch.contributorCount, seed: 5)
    for contributor in 0..<batch.contributorCount {
      let plain = reference.update(shape.algorithm, start, batch, contributor: contributor, seed: 5)
      #expect(distance(fast[contributor], plain) < 2e-6 * Float(1 + l2(plain)), "contributor \(contributor)")
      #expect(l2(plain) > 1e-4)
    }
  }

  @Test(arguments: shapes)
  func `a worker's past does not change a bit`(shape: Shape) throws {
    let batch = try randomBatch(rowCounts: shape.rowCounts, columns: shape.inputs, seed: 13)
    let start = shape.start()
    let trainer = LocalTrainer(model: shape.model, algorithm: shape.algorithm)
    let used = try LocalWorker(trainer)
    let all = try updates(used, start, batch, 0..<batch.contributorCount, seed: 5)
    _ = try updates(used, start.map { $0 + 1 }, batch, 0..<batch.contributorCount, seed: 6)
    for contributor in (0..<batch.contributorCount).reversed() {
      let range = contributor..<contributor + 1
      let again = try updates(used, start, batch, range, seed: 5)
      let fresh = try updates(LocalWorker(trainer), start, batch, range, seed: 5)
      #expect(again == fresh)
      // FedSGD computes neighbours in one product: equal up to rounding.
      if shape.algorithm != .fedSGD { #expect(again == [all[contributor]]) }
    }
  }

  @Test func `shuffles that are too long to keep are the same`() {
    for (epochs, rows) in [(3, 7), (300, 1_000), (2, 200_000)] {
      var orders: [[Int32]] = []
      let shuffles = LocalShuffles(epochs: epochs)
      for _ in 0..<2 {
        orders = []
        shuffles.forEachEpoch(rows: rows, seed: 3) {
          orders.append(Array(UnsafeBufferPointer(start: $0, count: rows)))
        }
      }
      var generator = SplitMix64(seed: 3)
      var order = Array(0..<rows)
      for epoch in 0..<min(epochs, 3) {
        generator.shuffle(&order)
        let agrees = orders[epoch].map(Int.init) == order
        #expect(agrees)
      }
      #expect(orders.count == epochs)
    }
  }

  @Test func `diverged training gives an update that is not finite, not a trap`() throws {
    let batch = try randomBatch(rowCounts: [20], columns: 6, seed: 1)
    for hidden in [[], [5, 4]] {
      let shape = Shape(inputs: 6, hidden: hidden, rowCounts: [20], algorithm: Self.fedAvg(1, 3))
      var start = shape.start()
      start[2] = .nan
      let worker = try LocalWorker(LocalTrainer(model: shape.model, algorithm: shape.algorithm))
      let update = try updates(worker, start, batch, 0..<1, seed: 1)[0]
      #expect(update.contains { !$0.isFinite })
    }
  }
}
