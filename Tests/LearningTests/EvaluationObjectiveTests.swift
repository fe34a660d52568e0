import Foundation
import Testing

@testable import Learning

@Suite struct EvaluationObjectiveTests {
  static let objectives = Objective.samples.filter { $0 != .binary }

  private static let extremes: [Float] = [
    0, -0.0, 1e-37, 1, -1, 100, -100, 1e20, -1e20, 3e38, -3e38, .infinity, -.infinity, .nan, -.nan,
  ]

  private func layout(_ objective: Objective, bound: Double = 1) throws -> EvaluationLayout {
    try EvaluationLayout(bins: 16, objective: objective, labelBound: bound)
  }

  @Test(arguments: objectives, [1e-30, 0.5, 1, 1e6, 1e30])
  func `no contribution is longer than its bound, whatever the scores`(
    objective: Objective, bound: Double
  ) throws {
    let layout = try layout(objective, bound: bound)
    var generator = SplitMix64(seed: 51)
    var noise = TestNoise(seed: 52)
    var longest = 0.0
    for _ in 0..<400 {
      let rows = 1 + Int(generator.next() % 5)
      func draw() -> Float {
        let pick = Int(generator.next() % UInt64(2 * Self.extremes.count))
        return pick < Self.extremes.count ? Self.extremes[pick] : Float(noise.next() * 3)
      }
      let labels = (0..<rows).map { _ in
        let label = draw()
        return objective.allows(label: label) ? label : objective.label(noise.next())
      }
      let scores = (0..<rows * objective.outputs).map { _ in draw() }
      let vector = layout.contribution(scores: scores, labels: labels)
      #expect(vector.count == layout.dimension && vector[0] == 1)
      #expect(vector.allSatisfy { $0.isFinite })
      longest = max(longest, l2(vector))
    }
    #expect(longest <= layout.l2Bound * (1 + 1e-6))
    #expect(longest > 1.2)
  }

  @Test(arguments: objectives, [1, 3])
  func `exact sums give the exact measures when nothing is cut off`(
    objective: Objective, records: Int
  ) throws {
    var noise = TestNoise(seed: 53)
    let count = 300
    let labels = (0..<count).map { _ in min(objective.label(noise.next()), 6) }
    let scores: [Float] = (0..<count).flatMap { row -> [Float] in
      if case .classes(let classes) = objective {
        return (0..<classes).map { Float(noise.next()) / 2 + (Int(labels[row]) == $0 ? 0.5 : 0) }
      }
      // Within the bound after the exponential, too.
      let score = labels[row] / 3 + Float(noise.next()) / 4
      return [objective.prediction(of: 0) == 1 ? min(score, 2) : score]
    }
    let layout = try layout(objective, bound: 16)
    let outputs = objective.outputs
    let sum = total(
      stride(from: 0, to: count, by: records).map {
        layout.contribution(
          scores: Array(scores[$0 * outputs..<($0 + records) * outputs]),
          labels: Array(labels[$0..<$0 + records]))
      })
    let metrics = layout.decode(sum: sum)
    let exact = PredictionMetrics(objective: objective, scores: scores, labels: labels)
    func agree(_ a: Double?, _ b: Double?) -> Bool {
      a.flatMap { a in b.map { abs(a - $0) < 2e-5 * (1 + abs($0)) } } ?? (a == nil && b == nil)
    }
    #expect(agree(metrics.accuracy, exact.accuracy) && agree(metrics.logLoss, exact.logLoss))
    #expect(agree(metrics.rmse, exact.rmse) && agree(metrics.mae, exact.mae) && agree(metrics.r2, exact.r2))
    #expect((metrics.accuracy == nil) != (metrics.rmse == nil) && metrics.auc == nil)
    #expect(abs(metrics.positives - Double(count / records)) < 1e-9 && metrics.negatives == 0)
  }

  @Test func `a contributor with many records counts once`() throws {
    let classes = try layout(.classes(count: 3))
    let wrong = classes.contribution(
      scores: (0..<9).flatMap { _ in [5, 0, 0] as [Float] }, labels: [Float](repeating: 1, count: 9))
    let right = classes.contribution(scores: [0, 5, 0], labels: [1])
    #expect(try abs(#require(classes.decode(sum: total([wrong, right])).accuracy) - 0.5) < 1e-6)
    let numbers = try layout(.squaredError, bound: 4)
    let far = numbers.contribution(scores: [0, 0, 0, 0], labels: [2, 2, 2, 2])
    let near = numbers.contribution(scores: [0], labels: [0])
    let metrics = numbers.decode(sum: total([far, near]))
    #expect(try abs(#require(metrics.mae) - 1) < 1e-6)
    #expect(try abs(#require(metrics.rmse) - 2.0.squareRoot()) < 1e-6)
    #expect(try abs(#require(metrics.r2) + 1) < 1e-5)
  }

  @Test func `labels, errors and losses beyond their bounds count as the bounds`() throws {
    let numbers = try layout(.huber(delta: 1), bound: 2)
    #expect(numbers.contribution(scores: [100], labels: [-7]) == [1, -1, 1, 1, 1])
    #expect(numbers.contribution(scores: [.nan], labels: [1]) == [1, 0.5, 0.25, 0.25, 0.5])
    #expect(numbers.contribution(scores: [.infinity], labels: [1]) == [1, 0.5, 0.25, 1, 1])
    let classes = try layout(.classes(count: 3))
    #expect(classes.contribution(scores: [100, 0, 0], labels: [2]) == [1, 0, 0.25])
    let broken = classes.contribution(scores: [.nan, .nan, .nan], labels: [0])
    #expect(broken[1] == 1 && abs(broken[2] - Float(log(3.0)) / 16) < 1e-6)
  }

  @Test func `labels that are all equal have no R², as with the labels at hand`() throws {
    for label in [0.1, 0.7, 5, 0] as [Float] {
      let layout = try layout(.squaredError, bound: 8)
      let sum = total((0..<50).map { layout.contribution(scores: [Float($0)], labels: [label]) })
      #expect(layout.decode(sum: sum).r2 == nil)
    }
  }

  @Test(arguments: Objective.samples)
  func `any sum gives measures within their ranges`(objective: Objective) throws {
    let layout = try layout(objective, bound: 10)
    var noise = TestNoise(seed: 54)
    var generator = SplitMix64(seed: 55)
    let extremes: [Double] = [
      0, -0.0, 1, -1, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 1e-160, 1e14, -1e14, 1e300, .nan,
      .infinity,
    ]
    for round in 0..<3000 {
      var sum = (0..<layout.dimension).map { _ in 3 * noise.next() * (round % 2 == 0 ? 1 : 100) }
      if round % 3 > 0 {
        for index in sum.indices where round % 3 == 1 || generator.next() % 4 == 0 {
          sum[index] = extremes[Int(generator.next() % UInt64(extremes.count))]
        }
      }
      let metrics = layout.decode(sum: sum)
      let isInRange =
        metrics.auc.map { (0...1).contains($0) } ?? true
        && metrics.accuracy.map { (0...1).contains($0) } ?? true
        && metrics.logLoss.map { (0...4).contains($0) } ?? true
        && metrics.rmse.map { (0...10).contains($0) } ?? true
        && metrics.mae.map { (0...10).contains($0) } ?? true
        && metrics.r2.map { $0 <= 1 && $0.isFinite } ?? true
        && metrics.positives >= 0 && metrics.negatives >= 0 && metrics.positives.isFinite
        && metrics.negatives.isFinite
      #expect(isInRange, "\(sum)")
    }
  }

  @Test func `bounds that single precision does not know are refused`() throws {
    for bound in [0, -1, .nan, .infinity, 1e-300, 1e39, 1e300] {
      #expect(throws: LearningError.self) { try layout(.squaredError, bound: bound) }
    }
    #expect(try layout(.classes(count: 5)).dimension == 3 && layout(.poisson).dimension == 5)
  }
}
