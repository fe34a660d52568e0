import Foundation
import Testing

@testable import Learning

@Suite struct SegmentMetricsTests {
  private func isNear(_ value: Double?, _ expected: Double) -> Bool {
    value.map { abs($0 - expected) <= 1e-6 } ?? false
  }

  /// The silhouette by its definition.
  private func plain(_ rows: [[Float]], _ segments: [Int]) -> Double {
    func mean(_ row: Int, _ others: [Int]) -> Double {
      others.reduce(0.0) { $0 + Double(squaredDistance(rows[row], rows[$1])).squareRoot() }
        / Double(others.count)
    }
    let values = rows.indices.map { row -> Double in
      let own = rows.indices.filter { segments[$0] == segments[row] && $0 != row }
      guard !own.isEmpty else { return 0 }
      let next =
        Set(segments).subtracting([segments[row]]).map { other in
          mean(row, rows.indices.filter { segments[$0] == other })
        }.min() ?? 0
      let within = mean(row, own)
      return max(within, next) == 0 ? 0 : (next - within) / max(within, next)
    }
    return values.reduce(0, +) / Double(rows.count)
  }

  @Test func `the silhouette is Rousseeuw's`() throws {
    var noise = TestNoise(seed: 3)
    var generator = SplitMix64(seed: 4)
    for count in [2, 3, 7] {
      let rows = (0..<90).map { _ in noise.floats(4) }
      var segments = rows.map { row in (Int((row[0] + 4) * 2) + Int(generator.next() % 2)) % count }
      // A segment of one row, and a number that nobody has between two others.
      segments[17] = count + 5
      let features = try Matrix(rows: 90, columns: 4, values: rows.flatMap { $0 })
      let value = try #require(ExactMetrics.silhouette(features: features, segments: segments))
      #expect(abs(value - plain(rows, segments)) < 1e-6)
    }
  }

  @Test func `of many rows the silhouette takes some, the same for a seed`() throws {
    let blobs = Blobs(count: 3, columns: 2, rows: 600, apart: 2, seed: 2)
    let features = try Matrix(rows: 600, columns: 2, values: blobs.rows.flatMap { $0 })
    func value(_ limit: Int, _ seed: UInt64) -> Double? {
      ExactMetrics.silhouette(features: features, segments: blobs.groups, limit: limit, seed: seed)
    }
    let all = try #require(value(600, 0))
    #expect(all > 0.7 && value(1_000, 4) == all)
    let some = try #require(value(150, 1))
    #expect(some != all && abs(some - all) < 0.05 && value(150, 1) == some && value(150, 2) != some)
    #expect(value(1, 0) == nil && value(0, 0) == nil && value(-4, 0) == nil)
    #expect(ExactMetrics.silhouette(features: features, segments: blobs.groups.map { _ in 1 }) == nil)
    let broken = try Matrix(rows: 2, columns: 1, values: [.nan, 0])
    #expect(ExactMetrics.silhouette(features: broken, segments: [0, 1]) == nil)
    let same = try Matrix(rows: 4, columns: 1, values: [1, 1, 1, 1])
    #expect(ExactMetrics.silhouette(features: same, segments: [0, 1, 0, 1]) == 0)
  }

  @Test func `measures from scores by hand`() throws {
    // Squared distances 4 and 16, 9 and 1, 0 and 0.
    let scores: [Float] = [-4, -16, 4, 16, /**/ -9, -1, 9, 1, /**/ 0, 0, 0, 0]
    let metrics = PredictionMetrics(objective: .segments(count: 2), scores: scores, labels: [0, 0, 0])
    #expect(isNear(metrics.silhouette, (0.5 + 2.0 / 3) / 3))
    #expect(isNear(metrics.inertia, 5.0 / 3))
    #expect(metrics.logLikelihood == nil && metrics.records == 3 && metrics.accuracy == nil)
    // A mixture prefers the wider segment although its centre is farther.
    let mixture = PredictionMetrics(
      objective: .segments(count: 2), scores: [-1, -2, 16, 4], labels: [0])
    #expect(isNear(mixture.silhouette, -0.5) && mixture.inertia == 16)
    #expect(isNear(mixture.logLikelihood, log(exp(-1.0) + exp(-2.0))))
    let loss = scores[4..<8].withUnsafeBufferPointer {
      Objective.segments(count: 2).loss(scores: $0, label: 0)
    }
    #expect(loss == 1)
    for broken in [Float.nan, .infinity, -.infinity] {
      for position in scores.indices {
        var spoilt = scores
        spoilt[position] = broken
        let metrics = PredictionMetrics(objective: .segments(count: 2), scores: spoilt, labels: [0, 0, 0])
        #expect(metrics.silhouette == nil && metrics.inertia == nil && metrics.logLikelihood == nil)
      }
    }
  }

  @Test func `a private contribution is no longer than its bound, whatever the scores`() throws {
    let extremes: [Float] = [
      0, -0.0, 1e-37, 1, -1, 1e20, -1e20, 1e30, 3e38, -3e38, .infinity, -.infinity, .nan,
    ]
    var generator = SplitMix64(seed: 8)
    var longest = 0.0
    for count in [2, 3, 9] {
      let layout = try EvaluationLayout(bins: 8, objective: .segments(count: count))
      for _ in 0..<1_000 {
        let rows = 1 + Int(generator.next() % 3)
        let scores = (0..<rows * 2 * count).map { _ in
          let pick = Int(generator.next() % 26)
          return pick < extremes.count ? extremes[pick] : 4 * generator.nextSymmetric()
        }
        let vector = layout.contribution(scores: scores, labels: [Float](repeating: 0, count: rows))
        #expect(vector.count == count + 2 && vector[0] == 1 && vector.allSatisfy { $0.isFinite })
        #expect(abs(vector[2...].reduce(0, +) - 0.5) < 1e-6)
        longest = max(longest, l2(vector) / layout.l2Bound)
      }
    }
    #expect(longest > 0.99 && longest <= 1 + 1e-6)
  }

  @Test func `exact sums give the exact measures`() throws {
    let blobs = Blobs(count: 3, columns: 2, rows: 300, spread: 0.6, apart: 1, seed: 12)
    let batch = try segmentBatch(blobs.rows, rowCounts: [Int](repeating: 2, count: 150), count: 3)
    var training = try SegmentTraining(SegmentSettings(method: .mixture, count: 3), columns: 2)
    try training.train(batch)
    let scores = try training.model.scores(parameters: training.parameters, features: batch.features)
    let layout = try EvaluationLayout(bins: 8, objective: .segments(count: 3))
    var sum = total(
      (0..<150).map {
        layout.contribution(scores: Array(scores[$0 * 12..<($0 + 1) * 12]), labels: [0, 0])
      })
    let metrics = layout.decode(sum: sum)
    let exact = try training.metrics(batch)
    #expect(isNear(metrics.silhouette, try #require(exact.silhouette)))
    #expect(abs(metrics.positives - 150) < 1e-9 && metrics.auc == nil && metrics.rmse == nil)
    let shares = try #require(metrics.segmentShares)
    for segment in 0..<3 {
      let own = (0..<300).count { ExactMetrics.likeliest(scores[$0 * 6..<$0 * 6 + 3]) == segment }
      #expect(abs(shares[segment] - Double(own) / 300) < 1e-6)
    }
    sum[0] = 0.5
    #expect(layout.decode(sum: sum).silhouette == nil)
    var noise = TestNoise(seed: 1)
    for size in [1.0, 1e3, 1e14, 1e300, .infinity, .nan] {
      for _ in 0..<300 {
        let metrics = layout.decode(sum: (0..<5).map { _ in size * noise.next() })
        #expect(metrics.silhouette.map { (-1...1).contains($0) } ?? true)
        #expect(metrics.segmentShares?.allSatisfy { (0...1).contains($0) } ?? true)
        #expect(
          try JSONDecoder().decode(EvaluationMetrics.self, from: JSONEncoder().encode(metrics)) == metrics)
      }
    }
  }
}
