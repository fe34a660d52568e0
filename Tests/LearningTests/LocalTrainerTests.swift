import Foundation
import Testing

@testable import Learning

@Suite struct LocalTrainerTests {
  static let architectures: [ModelArchitecture] = [
    .logisticRegression, .multiLayerPerceptron(hidden: [5]), .multiLayerPerceptron(hidden: [6, 4]),
    .multiLayerPerceptron(hidden: [5, 7, 3]), .multiLayerPerceptron(hidden: [1]),
  ]

  /// The model once more, in double precision and without matrices: mean log loss of the rows.
  private func referenceLoss(
    _ architecture: ModelArchitecture, _ parameters: [Double], _ batch: TrainingBatch
  ) -> Double {
    let columns = batch.features.columns
    var loss = 0.0
    for row in 0..<batch.features.rows {
      var values = (0..<columns).map { Double(batch.features.values[row * columns + $0]) }
      var offset = 0
      let widths = architecture.hiddenUnits + [1]
      for (layer, outputs) in widths.enumerated() {
        let next = (0..<outputs).map { unit in
          values.indices.reduce(parameters[offset + values.count * outputs + unit]) {
            $0 + values[$1] * parameters[offset + $1 * outputs + unit]
          }
        }
        offset += (values.count + 1) * outputs
        values = layer < widths.count - 1 ? next.map { max($0, 0) } : next
      }
      let margin = batch.labels[row] == 1 ? values[0] : -values[0]
      loss += log1p(exp(-margin))
    }
    return loss / Double(batch.features.rows)
  }

  private func startingPoint(_ architecture: ModelArchitecture, inputs: Int) -> [Float] {
    var noise = TestNoise(seed: 5)
    // Not the initial zeros: logistic regression would have no first-layer signal to get wrong.
    return architecture.initialParameters(inputs: inputs, seed: 9).map { $0 + 0.2 * Float(noise.next()) }
  }

  @Test(arguments: architectures)
  func `a FedSGD update is minus the gradient by finite differences`(architecture: ModelArchitecture) throws {
    let batch = try randomBatch(rowCounts: [1, 4, 2, 1, 7], columns: 6, seed: 3)
    let model = Model(architecture: architecture, inputs: 6)
    let parameters = startingPoint(architecture, inputs: 6)
    for (contributor, update) in try updates(model, .fedSGD, parameters, batch).enumerated() {
      let own = try only(contributor, of: batch)
      let point = parameters.map(Double.init)
      let step = 1e-6
      for index in point.indices {
        var above = point
        var below = point
        above[index] += step
        below[index] -= step
        let slope =
          (referenceLoss(architecture, above, own) - referenceLoss(architecture, below, own)) / (2 * step)
        #expect(abs(Double(update[index]) + slope) < 2e-5, "contributor \(contributor), parameter \(index)")
      }
    }
  }

  @Test(arguments: architectures)
  func `scores agree with the reference model`(architecture: ModelArchitecture) throws {
    let batch = try randomBatch(rowCounts: [50], columns: 6, seed: 4)
    let model = Model(architecture: architecture, inputs: 6)
    let parameters = startingPoint(architecture, inputs: 6)
    let scores = try model.scores(parameters: parameters, features: batch.features)
    let loss = try #require(ExactMetrics.logLoss(scores: scores, labels: batch.labels))
    #expect(abs(loss - referenceLoss(architecture, parameters.map(Double.init), batch)) < 1e-5)
  }

  @Test(arguments: [LocalAlgorithm.fedSGD, .fedAvg(epochs: 2, batchSize: 3, learningRate: 0.1)])
  func `an update does not depend on the other contributors`(algorithm: LocalAlgorithm) throws {
    let batch = try randomBatch(rowCounts: [3, 1, 5, 2, 8], columns: 9, seed: 8)
    let architecture = ModelArchitecture.multiLayerPerceptron(hidden: [7, 4])
    let model = Model(architecture: architecture, inputs: 9)
    let parameters = startingPoint(architecture, inputs: 9)
    let together = try updates(model, algorithm, parameters, batch)
    for contributor in 0..<batch.contributorCount {
      let alone = try updates(model, algorithm, parameters, only(contributor, of: batch))
      #expect(distance(together[contributor], alone[0]) < 1e-6)
    }
  }

  @Test func `batches larger than a block are divided between contributors only`() throws {
    let block = Model.blockRows
    func blocks(_ offsets: [Int], from first: Int = 0) -> [Range<Int>] {
      LocalWorker.blocks(offsets: offsets, contributors: first..<offsets.count - 1)
    }
    #expect(blocks([0, block, block + 1]) == [0..<1, 1..<2])
    #expect(blocks([0, 1, 3 * block, 3 * block + 1]) == [0..<1, 1..<2, 2..<3])
    #expect(blocks([0, 1, block]) == [0..<2])
    #expect(blocks([0, 2 * block, 2 * block + 1]) == [0..<1, 1..<2])
    #expect(blocks([0, 2 * block, 2 * block + 1, 2 * block + 2], from: 1) == [1..<3])
    let batch = try randomBatch(rowCounts: [block - 1, 3, block + 5, 1], columns: 3, seed: 2)
    let model = Model(architecture: .multiLayerPerceptron(hidden: [4]), inputs: 3)
    let parameters = startingPoint(model.architecture, inputs: 3)
    let together = try updates(model, .fedSGD, parameters, batch)
    #expect(together.count == 4)
    for contributor in 0..<4 {
      let alone = try updates(model, .fedSGD, parameters, only(contributor, of: batch))
      #expect(distance(together[contributor], alone[0]) < 1e-6)
    }
  }

  @Test func `one FedAvg step over all records is FedSGD times the learning rate`() throws {
    let batch = try randomBatch(rowCounts: [6], columns: 5, seed: 6)
    let architecture = ModelArchitecture.multiLayerPerceptron(hidden: [4])
    let model = Model(architecture: architecture, inputs: 5)
    let parameters = startingPoint(architecture, inputs: 5)
    let gradient = try updates(model, .fedSGD, parameters, batch)[0]
    let local = try updates(
      model, .fedAvg(epochs: 1, batchSize: 100, learningRate: 0.5), parameters, batch)[0]
    #expect(distance(local, gradient.map { 0.5 * $0 }) < 1e-6)
  }

  @Test func `FedAvg is plain SGD over the shuffled records`() throws {
    let batch = try randomBatch(rowCounts: [5], columns: 4, seed: 11)
    let model = Model(architecture: .multiLayerPerceptron(hidden: [3]), inputs: 4)
    let start = startingPoint(model.architecture, inputs: 4)
    var weights = start
    var order = Array(0..<5)
    var generator = SplitMix64(seed: 42)
    for _ in 0..<3 {
      generator.shuffle(&order)
      for rows in [order[0..<2], order[2..<4], order[4..<5]] {
        let chosen = try TrainingBatch(
          features: Matrix(
            rows: rows.count, columns: 4,
            values: rows.flatMap { Array(batch.features.values[$0 * 4..<$0 * 4 + 4]) }),
          labels: rows.map { batch.labels[$0] }, contributorOffsets: [0, rows.count])
        let gradient = try updates(model, .fedSGD, weights, chosen)[0]
        for index in weights.indices { weights[index] += 0.3 * gradient[index] }
      }
    }
    let update = try updates(
      model, .fedAvg(epochs: 3, batchSize: 2, learningRate: 0.3), start, batch, seed: 42)[0]
    #expect(distance(update, zip(weights, start).map { $0 - $1 }) < 1e-5)
    #expect(l2(update) > 0.01)
  }

  @Test func `clipping shortens long vectors, keeps short ones and zeroes broken ones`() {
    func clipped(_ vector: [Float], _ limit: Float) -> (vector: [Float], norm: Float) {
      var vector = vector
      let norm = vector.withUnsafeMutableBufferPointer { clipL2($0, to: limit) }
      return (vector, norm)
    }
    let long = clipped([3, 4], 1)
    #expect(long.norm == 5 && distance(long.vector, [0.6, 0.8]) < 1e-6)
    #expect(clipped([0.3, 0.4], 1).vector == [0.3, 0.4])
    #expect(clipped([0, 0], 1).norm == 0)
    #expect(clipped([3e38, 3e38], 2).vector.allSatisfy { abs($0 - 2.0.squareRoot().float) < 1e-5 })
    for broken in [Float.nan, .infinity, -.infinity] {
      let result = clipped([1, broken], 1)
      #expect(result.vector == [0, 0] && result.norm == .infinity)
    }
  }

  @Test func `refuses vectors and batches of another model, and impossible settings`() throws {
    let batch = try randomBatch(rowCounts: [2], columns: 4, seed: 1)
    let model = Model(architecture: .logisticRegression, inputs: 4)
    #expect(throws: LearningError.wrongCount(what: "the parameter vector", expected: 5, actual: 4)) {
      try updates(model, .fedSGD, [0, 0, 0, 0], batch)
    }
    #expect(throws: LearningError.wrongCount(what: "a row of features", expected: 3, actual: 4)) {
      try updates(Model(architecture: .logisticRegression, inputs: 3), .fedSGD, [0, 0, 0, 0], batch)
    }
    let impossible: [LocalAlgorithm] = [
      .fedAvg(epochs: 0, batchSize: 1, learningRate: 1), .fedAvg(epochs: 1, batchSize: 0, learningRate: 1),
      .fedAvg(epochs: 1, batchSize: 1, learningRate: .nan),
      .fedAvg(epochs: 1, batchSize: 1, learningRate: -1),
    ]
    for algorithm in impossible {
      #expect(throws: LearningError.self) { try updates(model, algorithm, [0, 0, 0, 0, 0], batch) }
    }
  }

  @Test func `what the body throws ends the loop`() throws {
    struct Stop: Error {}
    let batch = try randomBatch(rowCounts: [1, 1, 1], columns: 2, seed: 1)
    let model = Model(architecture: .logisticRegression, inputs: 2)
    var seen: [Int] = []
    #expect(throws: Stop.self) {
      try LocalTrainer(model: model, algorithm: .fedSGD).forEachUpdate(
        parameters: [0, 0, 0], batch: batch, seed: 0
      ) { contributor, _ in
        seen.append(contributor)
        if contributor == 1 { throw Stop() }
      }
    }
    #expect(seen == [0, 1])
  }

  @Test func `an empty batch has no updates`() throws {
    let batch = try TrainingBatch(
      features: Matrix(rows: 0, columns: 2, values: []), labels: [], contributorOffsets: [0])
    let model = Model(architecture: .logisticRegression, inputs: 2)
    #expect(try updates(model, .fedSGD, [0, 0, 0], batch).isEmpty)
    #expect(try model.scores(parameters: [0, 0, 0], features: batch.features).isEmpty)
  }

  @Test func `a batch checks labels, features and offsets`() throws {
    func batch(_ labels: [Float], _ offsets: [Int], value: Float = 1) throws -> TrainingBatch {
      try TrainingBatch(
        features: Matrix(rows: 2, columns: 1, values: [1, value]), labels: labels, contributorOffsets: offsets
      )
    }
    #expect(try batch([0, 1], [0, 1, 2]).contributorCount == 2)
    #expect(throws: LearningError.invalidLabel(row: 1)) { try batch([0, 0.5], [0, 2]) }
    #expect(throws: LearningError.self) { try batch([0], [0, 2]) }
    #expect(throws: LearningError.self) { try batch([0, 1], [0, 2], value: .nan) }
    for offsets in [[], [0], [0, 1], [1, 2], [0, 0, 2], [0, 3, 2], [0, 2, 1, 2]] {
      #expect(throws: LearningError.self) { try batch([0, 1], offsets) }
    }
  }
}

extension Double {
  fileprivate var float: Float { Float(self) }
}
