@testable import Learning

/// Standard normal numbers from a fixed seed.
struct TestNoise {
  private var generator: SplitMix64

  init(seed: UInt64) { generator = SplitMix64(seed: seed) }

  /// The sum of twelve uniform numbers, less its mean: near enough to normal for tests.
  mutating func next() -> Double {
    (0..<12).reduce(0.0) { sum, _ in sum + Double(generator.next() >> 11) * 0x1p-53 } - 6
  }

  mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in Float(next()) } }

  mutating func add(to sum: inout [Double], standardDeviation: Double) {
    for index in sum.indices { sum[index] += standardDeviation * next() }
  }
}

/// A batch of normal features and random labels whose contributors have the given numbers of rows.
func randomBatch(rowCounts: [Int], columns: Int, seed: UInt64) throws -> TrainingBatch {
  var noise = TestNoise(seed: seed)
  let rows = rowCounts.reduce(0, +)
  var offsets = [0]
  for count in rowCounts { offsets.append(offsets[offsets.count - 1] + count) }
  return try TrainingBatch(
    features: Matrix(rows: rows, columns: columns, values: noise.floats(rows * columns)),
    labels: (0..<rows).map { _ in noise.next() > 0.5 ? 1 : 0 }, contributorOffsets: offsets)
}

/// The batch of one contributor alone.
func only(_ contributor: Int, of batch: TrainingBatch) throws -> TrainingBatch {
  let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
  let columns = batch.features.columns
  return try TrainingBatch(
    features: Matrix(
      rows: rows.count, columns: columns,
      values: Array(batch.features.values[rows.lowerBound * columns..<rows.upperBound * columns])),
    labels: Array(batch.labels[rows]), contributorOffsets: [0, rows.count])
}

/// All updates of a batch.
func updates(
  _ model: Model, _ algorithm: LocalAlgorithm, _ parameters: [Float], _ batch: TrainingBatch, seed: UInt64 = 1
) throws -> [[Float]] {
  var result: [[Float]] = []
  try LocalTrainer(model: model, algorithm: algorithm).forEachUpdate(
    parameters: parameters, batch: batch, seed: seed
  ) { _, update in result.append(Array(update)) }
  return result
}

/// The largest difference of two vectors.
func distance(_ a: [Float], _ b: [Float]) -> Float {
  a.count == b.count ? zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
}

func l2(_ vector: [Float]) -> Double {
  vector.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
}

/// Adds up contributions.
func total(_ vectors: [[Float]]) -> [Double] {
  var sum = [Double](repeating: 0, count: vectors.first?.count ?? 0)
  for vector in vectors { for (index, value) in vector.enumerated() { sum[index] += Double(value) } }
  return sum
}

extension ModelArchitecture {
  /// The units of a network's hidden layers.
  var hiddenUnits: [Int] { (settings as? NetworkSettings)?.hidden ?? [] }

  /// Where a network's parameters lie.
  func layers(inputs: Int) -> [Layer] {
    (Model(architecture: self, inputs: inputs).implementation as? NetworkModel)?.layers ?? []
  }
}
