@testable import Learning

/// A segmentation with what tests need to train it, exactly summed.
struct SegmentTraining {
  let model: Segmentation
  var parameters: [Float]
  private var optimizer: ServerOptimizer

  init(_ settings: SegmentSettings, columns: Int, seed: UInt64 = 1) throws {
    model = try Segmentation(settings: settings, shape: FeatureShape(columns: columns))
    parameters = model.initialParameters(seed: seed)
    optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
  }

  var state: SegmentState { get throws { try model.state(parameters) } }

  func contributions(_ batch: TrainingBatch) throws -> [[Float]] {
    var result: [[Float]] = []
    let worker = try model.makeWorker(algorithm: .fedSGD)
    try parameters.withUnsafeBufferPointer { parameters in
      try worker.forEachContribution(
        parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount, seed: 3
      ) { _, vector in result.append(Array(vector)) }
    }
    return result
  }

  mutating func step(mean: [Float], contributors: Double) throws {
    try model.step(
      mean: mean, contributors: contributors, optimizer: &optimizer, parameters: &parameters)
  }

  /// One round; with noise, contributions are clipped to norm 1 and their sum has noise of this deviation.
  mutating func round(_ batch: TrainingBatch, noise: inout TestNoise, deviation: Double = 0) throws {
    var vectors = try contributions(batch)
    if deviation > 0 {
      for index in vectors.indices {
        let norm = Float(max(1, l2(vectors[index])))
        vectors[index] = vectors[index].map { $0 / norm }
      }
    }
    var sum = total(vectors)
    noise.add(to: &sum, standardDeviation: deviation)
    let count = Double(batch.contributorCount)
    try step(mean: sum.map { Float($0 / count) }, contributors: count)
  }

  mutating func train(_ batch: TrainingBatch, rounds: Int? = nil, deviation: Double = 0) throws {
    var noise = TestNoise(seed: 77)
    for _ in 0..<(rounds ?? model.settings.usualRounds ?? 0) {
      try round(batch, noise: &noise, deviation: deviation)
    }
  }

  func metrics(_ batch: TrainingBatch) throws -> PredictionMetrics {
    PredictionMetrics(
      objective: model.objective, scores: try model.scores(parameters: parameters, features: batch.features),
      labels: batch.labels)
  }
}

/// A batch of rows without labels.
func segmentBatch(_ rows: [[Float]], rowCounts: [Int]? = nil, count: Int) throws -> TrainingBatch {
  var offsets = [0]
  for number in rowCounts ?? rows.map({ _ in 1 }) { offsets.append(offsets[offsets.count - 1] + number) }
  return try TrainingBatch(
    features: Matrix(rows: rows.count, columns: rows[0].count, values: rows.flatMap { $0 }),
    labels: [Float](repeating: 0, count: rows.count), contributorOffsets: offsets,
    objective: .segments(count: count))
}

/// Groups of customers around centres that are far from each other, of unequal sizes, and who is in which.
struct Blobs {
  let centres: [[Float]]
  let rows: [[Float]]
  let groups: [Int]

  init(count: Int, columns: Int, rows number: Int, spread: Float = 0.2, apart: Float, seed: UInt64) {
    var generator = SplitMix64(seed: seed)
    var centres: [[Float]] = []
    while centres.count < count {
      let next = (0..<columns).map { _ in 2.4 * generator.nextSymmetric() }
      if centres.allSatisfy({ squaredDistance($0, next) > apart * apart }) { centres.append(next) }
    }
    var noise = TestNoise(seed: seed &+ 1_000)
    groups = (0..<number).map { _ in
      // The first group is about three times as large as the last.
      min(Int(generator.next() % UInt64(count)), Int(generator.next() % UInt64(2 * count)))
    }
    rows = groups.map { group in centres[group].map { $0 + spread * Float(noise.next()) } }
    self.centres = centres
  }
}

func squaredDistance(_ a: [Float], _ b: [Float]) -> Float {
  zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
}
