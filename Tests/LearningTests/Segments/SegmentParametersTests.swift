import Foundation
import Testing

@testable import Learning

@Suite struct SegmentParametersTests {
  private func trained(
    _ method: SegmentSettings.Method, rounds: Int
  ) throws -> (SegmentTraining, TrainingBatch) {
    let blobs = Blobs(count: 4, columns: 3, rows: 120, apart: 1, seed: 8)
    let batch = try segmentBatch(blobs.rows, rowCounts: [Int](repeating: 3, count: 40), count: 4)
    var training = try SegmentTraining(
      SegmentSettings(method: method, count: 4), columns: 3, seed: 1 << 40 | 5)
    try training.train(batch, rounds: rounds)
    return (training, batch)
  }

  @Test(arguments: SegmentSettings.Method.allCases, [0, 1, 3, 5, 9])
  func `whatever passes the check is safe to compute with`(
    method: SegmentSettings.Method, rounds: Int
  ) throws {
    let (training, batch) = try trained(method, rounds: rounds)
    try training.model.check(parameters: training.parameters)
    let values: [Float] = [
      0, -0.0, 1, -1, 0.5, 2, 3, -3, 3.0001, 1e-7, 0.01, 36, 255, 1e9, -1e9, 1e38, .nan, .infinity,
      -.infinity, .leastNonzeroMagnitude, 16_777_215, 16_777_216,
    ]
    var generator = SplitMix64(seed: UInt64(rounds))
    func pick(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }
    var (accepted, refused) = (0, 0)
    for _ in 0..<500 {
      var other = training
      for _ in 0...pick(3) { other.parameters[pick(other.parameters.count)] = values[pick(values.count)] }
      if pick(4) == 0 { other.parameters.removeLast(pick(other.parameters.count + 1)) }
      if pick(4) == 0 { other.parameters += [Float](repeating: 0.5, count: pick(40)) }
      guard (try? other.model.check(parameters: other.parameters)) != nil else {
        refused += 1
        #expect(other.model.contributionLength(parameters: other.parameters) == 0)
        #expect(throws: LearningError.self) { try other.contributions(batch) }
        #expect(throws: LearningError.self) { try other.step(mean: [], contributors: 1) }
        continue
      }
      accepted += 1
      let length = other.model.contributionLength(parameters: other.parameters)
      let vectors = try other.contributions(batch)
      #expect(vectors.allSatisfy { $0.count == length && $0.allSatisfy { $0.isFinite } })
      let scores = try other.model.scores(parameters: other.parameters, features: batch.features)
      #expect(scores.count == 120 * 8 && scores.allSatisfy { $0.isFinite })
      try other.train(batch, rounds: 2)
      try other.model.check(parameters: other.parameters)
    }
    #expect(accepted > 20 && refused > 100)
  }

  @Test(arguments: SegmentSettings.Method.allCases, [0, 2, 4, 9])
  func `whatever mean arrives, the result passes the check`(
    method: SegmentSettings.Method, rounds: Int
  ) throws {
    let (training, _) = try trained(method, rounds: rounds)
    var generator = SplitMix64(seed: 6)
    let extremes: [Float] = [0, 1e-37, 3e38, -3e38, 1e20, -1e-20, 1, -1]
    let length = training.model.contributionLength(parameters: training.parameters)
    for contributors in [-1e300, 0, 1, 1e4, 1e300] {
      for _ in 0..<100 {
        var other = training
        let mean = (0..<length).map { _ in
          generator.next() % 3 == 0
            ? extremes[Int(generator.next() % UInt64(extremes.count))] : generator.nextSymmetric()
        }
        try other.step(mean: mean, contributors: contributors)
        try other.model.check(parameters: other.parameters)
      }
    }
    for mean in [[Float](repeating: 0, count: length + 1), [Float](repeating: .nan, count: length)] {
      var other = training
      #expect(throws: LearningError.self) { try other.step(mean: mean, contributors: 5) }
      #expect(other.parameters == training.parameters)
    }
    var other = training
    #expect(throws: LearningError.self) {
      try other.step(mean: [Float](repeating: 0, count: length), contributors: .nan)
    }
  }

  @Test(arguments: SegmentSettings.Method.allCases, [0, 2, 9])
  func `a contributor's vector is the average over its rows, whoever else is there`(
    method: SegmentSettings.Method, rounds: Int
  ) throws {
    let (training, batch) = try trained(method, rounds: rounds)
    let vectors = try training.contributions(batch)
    let single = try TrainingBatch(
      features: batch.features, labels: batch.labels, contributorOffsets: Array(0...120),
      objective: batch.objective)
    let rows = try training.contributions(single)
    for (contributor, vector) in vectors.enumerated() {
      let mean = vector.indices.map { index in
        (rows[3 * contributor][index] + rows[3 * contributor + 1][index] + rows[3 * contributor + 2][index])
          / 3
      }
      #expect(distance(vector, mean) < 1e-6)
      #expect(try training.contributions(batch.selecting([contributor])) == [vector])
    }
  }

  @Test(arguments: SegmentSettings.Method.allCases, [0, 3, 9])
  func `outside of the support vectors are zero`(method: SegmentSettings.Method, rounds: Int) throws {
    let (training, batch) = try trained(method, rounds: rounds)
    let worker = try training.model.makeWorker(algorithm: .fedSGD)
    try training.parameters.withUnsafeBufferPointer { parameters in
      try worker.forEachContribution(
        parameters: parameters, batch: batch, contributors: 0..<40, seed: 1
      ) { _, vector in
        guard let support = worker.support else {
          #expect(method == .mixture && rounds == 9)
          return
        }
        let places = Set(support.map { Int($0) })
        #expect(places.count == support.count && places.count <= 3 * 7)
        #expect(vector.indices.allSatisfy { places.contains($0) || vector[$0] == 0 })
      }
    }
  }

  @Test func `rows far beyond the range count as its bounds`() throws {
    for method in SegmentSettings.Method.allCases {
      let training = try trained(method, rounds: 9).0
      let far = try segmentBatch([[1e38, -1e38, 1e38]], count: 4)
      let bound = try segmentBatch([[3, -3, 3]], count: 4)
      #expect(try training.contributions(far) == training.contributions(bound))
      #expect(
        try training.model.scores(parameters: training.parameters, features: far.features)
          == training.model.scores(parameters: training.parameters, features: bound.features))
    }
  }

  @Test func `refuses impossible settings, shapes and algorithms`() throws {
    var impossible = [0, 1, 257, -3].map { SegmentSettings(count: $0) }
    impossible += [-0.1, 0.6, .nan].map { SegmentSettings(count: 3, smallestShare: $0) }
    impossible += [0, -1, 1e4, .nan, .infinity].map { SegmentSettings(count: 3, range: $0) }
    impossible += [0, 2, .nan].map { SegmentSettings(count: 3, smallestVariance: $0) }
    impossible.append(SegmentSettings(count: 3, range: 0.01, smallestVariance: 0.01))
    for settings in impossible {
      #expect(throws: LearningError.self) { try ModelArchitecture.segments(settings).validate() }
    }
    let fine = ModelArchitecture.segments(SegmentSettings(method: .mixture, count: 256))
    try fine.validate(inputs: 300)
    let bins = FeatureShape(bins: [BinnedColumn(count: 3, isOrdered: true, hasMissing: false)])
    for shape in [bins, .items, FeatureShape(columns: 3, sparseColumns: 2), FeatureShape(columns: 1 << 20)] {
      #expect(throws: LearningError.self) { try fine.validate(shape: shape) }
    }
    let model = try Segmentation(settings: SegmentSettings(count: 3), shape: FeatureShape(columns: 2))
    #expect(throws: LearningError.self) {
      try model.makeWorker(algorithm: .fedAvg(epochs: 1, batchSize: 1, learningRate: 1))
    }
    #expect(model.initialParameters(seed: 4).count == model.initialParameterCount)
  }

  @Test func `settings survive JSON, and networks and trees refuse segments`() throws {
    let architecture = ModelArchitecture.segments(
      SegmentSettings(method: .mixture, count: 7, smallestShare: 0.2, range: 2, smallestVariance: 0.03))
    let bytes = try JSONEncoder().encode(architecture)
    #expect(try JSONDecoder().decode(ModelArchitecture.self, from: bytes) == architecture)
    #expect(architecture.objective == .segments(count: 7) && architecture.usualClipNorm == 1)
    #expect(architecture.usualRounds == 19)
    let objective = Objective.segments(count: 3)
    #expect(throws: LearningError.self) { try NetworkSettings(objective: objective).validate() }
    #expect(throws: LearningError.self) { try TreeSettings(objective: objective).validate() }
    #expect(!objective.isClassification && !objective.predictsNumbers && objective.isSegmentation)
    #expect(objective.outputs == 6 && objective.allows(label: 0) && !objective.allows(label: 1))
    for count in [1, 257, -1] {
      #expect(throws: LearningError.self) { try Objective.segments(count: count).validate() }
    }
  }

  @Test func `before training there is one segment and the others are far`() throws {
    for method in SegmentSettings.Method.allCases {
      let training = try SegmentTraining(SegmentSettings(method: method, count: 3), columns: 2)
      let batch = try segmentBatch([[1, -2], [0, 0]], count: 3)
      let scores = try training.model.scores(parameters: training.parameters, features: batch.features)
      #expect(Array(scores[3..<6]) == [5, 1e30, 1e30] && Array(scores[1..<3]) == [-1e30, -1e30])
      #expect(scores[0] > -10)
      let metrics = try training.metrics(batch)
      #expect(metrics.silhouette == nil && metrics.inertia == 2.5)
      #expect((metrics.logLikelihood == nil) == (method == .kMeans))
      #expect(try training.model.segments(parameters: training.parameters).map(\.share) == [1])
    }
  }
}
