import Foundation
import Testing

@testable import Learning

@Suite struct PredictionMetricsTests {
  private func isNear(_ value: Double?, _ expected: Double, _ tolerance: Double = 1e-6) -> Bool {
    value.map { abs($0 - expected) <= tolerance } ?? false
  }

  @Test func `two classes by hand`() {
    // In falling order the labels are 1, 0, (1, 0 tied), 0.
    let metrics = PredictionMetrics(
      objective: .binary, scores: [2, 1, 0, 0, -1], labels: [1, 0, 1, 0, 0])
    // Pairs: the first positive wins 3 of 3; the second loses 1, ties 1, wins 1.
    #expect(isNear(metrics.auc, 4.5 / 6))
    // After the first: ½ · 1. After the tie: ½ · 2/4.
    #expect(isNear(metrics.averagePrecision, 0.75))
    #expect(isNear(metrics.accuracy, 3.0 / 5))
    // Class 1: 2 right of 4 + 2; class 0: 1 right of 1 + 3.
    #expect(isNear(metrics.macroF1, (4.0 / 6 + 2.0 / 4) / 2))
    let loss = (log1p(exp(-2.0)) + log1p(exp(1.0)) + 2 * log(2.0) + log1p(exp(-1.0))) / 5
    #expect(isNear(metrics.logLoss, loss))
    // Bins: 0.881 alone, 0.731 alone and negative, ½ twice with one positive, 0.269 alone.
    let (two, one) = (1 / (1 + exp(-2.0)), 1 / (1 + exp(-1.0)))
    #expect(isNear(metrics.calibrationError, ((1 - two) + one + 0 + (1 - one)) / 5))
    #expect(metrics.rmse == nil && metrics.mae == nil && metrics.r2 == nil && metrics.records == 5)
  }

  @Test func `average precision is the sum over thresholds`() {
    var noise = TestNoise(seed: 41)
    for _ in 0..<20 {
      let scores = noise.floats(60).map { ($0 * 4).rounded() / 4 }
      let labels = scores.map { Double($0) + noise.next() > 0.5 ? Float(1) : 0 }
      let positives = Double(labels.count { $0 == 1 })
      var (area, before) = (0.0, 0.0)
      for threshold in Set(scores).sorted(by: >) {
        let chosen = scores.indices.filter { scores[$0] >= threshold }
        let hits = Double(chosen.count { labels[$0] == 1 })
        area += (hits / positives - before) * hits / Double(chosen.count)
        before = hits / positives
      }
      let metrics = PredictionMetrics(objective: .binary, scores: scores, labels: labels)
      #expect(isNear(metrics.averagePrecision, area, 1e-12))
    }
  }

  @Test func `several classes by hand`() {
    // Predicted 0, 1, 1, 2 (the first of equals for the last but one row); class 3 occurs nowhere.
    let scores: [Float] = [
      3, 0, 0, 0, /**/ 0, 2, 0, 0, /**/ 0, 1, 1, 0, /**/ 0, 0, 5, 0,
    ]
    let metrics = PredictionMetrics(objective: .classes(count: 4), scores: scores, labels: [0, 1, 2, 2])
    #expect(isNear(metrics.accuracy, 0.75))
    #expect(isNear(metrics.macroF1, (1 + 2.0 / 3 + 2.0 / 3) / 3))
    let loss =
      log(1 + 3 * exp(-3.0)) + log(1 + 3 * exp(-2.0)) + log(2 + 2 * exp(-1.0)) + log(1 + 3 * exp(-5.0))
    #expect(isNear(metrics.logLoss, loss / 4))
    #expect(metrics.auc == nil && metrics.averagePrecision == nil && metrics.calibrationError == nil)
  }

  @Test func `numbers by hand`() {
    // Errors 1, −1, 2; labels: mean 3, squared distances 18.
    let metrics = PredictionMetrics(objective: .squaredError, scores: [1, 2, 8], labels: [0, 3, 6])
    #expect(isNear(metrics.rmse, 2.0.squareRoot()) && isNear(metrics.mae, 4.0 / 3))
    #expect(isNear(metrics.r2, 1 - 6.0 / 18))
    #expect(metrics.accuracy == nil && metrics.logLoss == nil && metrics.macroF1 == nil)
    let counts = PredictionMetrics(
      objective: .poisson, scores: [0, Float(log(3.0))], labels: [1, 1])
    #expect(isNear(counts.rmse, 2.0.squareRoot(), 1e-5) && isNear(counts.mae, 1) && counts.r2 == nil)
  }

  @Test func `what is not defined is nil`() {
    for objective in Objective.samples {
      let none = PredictionMetrics(objective: objective, scores: [], labels: [])
      #expect(none == PredictionMetrics(records: 0))
    }
    for label in [0, 1] as [Float] {
      let one = PredictionMetrics(objective: .binary, scores: [0.5, 1], labels: [label, label])
      #expect(one.auc == nil && isNear(one.accuracy, Double(label)))
      #expect(label == 1 ? isNear(one.averagePrecision, 1) : one.averagePrecision == nil)
    }
    let row = PredictionMetrics(objective: .squaredError, scores: [2], labels: [5])
    #expect(row.rmse == 3 && row.mae == 3 && row.r2 == nil)
    for count in [3, 7, 1000] {
      let constant = PredictionMetrics(
        objective: .huber(delta: 1), scores: [Float](repeating: 0, count: count),
        labels: [Float](repeating: 0.1, count: count))
      #expect(constant.r2 == nil && isNear(constant.mae, 0.1))
    }
  }

  @Test func `scores that are no numbers spoil what depends on them and trap nowhere`() throws {
    for broken in [Float.nan, .infinity, -.infinity, -Float.nan] {
      for objective in Objective.samples {
        let outputs = objective.outputs
        let labels: [Float] = [1, 0, 1]
        for position in [0, 2 * outputs, 3 * outputs - 1] {
          var scores = [Float](repeating: 0.25, count: 3 * outputs)
          scores[position] = broken
          let metrics = PredictionMetrics(objective: objective, scores: scores, labels: labels)
          // JSON knows no NaN.
          let bytes = try JSONEncoder().encode(metrics)
          #expect(try JSONDecoder().decode(PredictionMetrics.self, from: bytes) == metrics)
          #expect(metrics.accuracy.map { (0...1).contains($0) } ?? !objective.isClassification)
          #expect(metrics.macroF1.map { (0...1).contains($0) } ?? !objective.isClassification)
          if broken.isNaN {
            #expect(metrics.auc == nil && metrics.averagePrecision == nil && metrics.calibrationError == nil)
            #expect(metrics.logLoss == nil && metrics.rmse == nil && metrics.mae == nil && metrics.r2 == nil)
          }
        }
      }
    }
    let certain = PredictionMetrics(objective: .binary, scores: [.infinity, -.infinity], labels: [1, 0])
    #expect(certain.logLoss == 0 && certain.calibrationError == 0 && certain.auc == 1)
  }

  @Test func `calibration errs by the mean distance of the bins`() {
    // Probability 0.3 for ten rows of which five are positive, 0.999 for ten of which all are.
    let score = Float(log(0.3 / 0.7))
    let scores = [Float](repeating: score, count: 10) + [Float](repeating: 30, count: 10)
    let labels = (0..<20).map { Float($0 % 2 == 0 || $0 >= 10 ? 1 : 0) }
    let metrics = PredictionMetrics(objective: .binary, scores: scores, labels: labels)
    #expect(isNear(metrics.calibrationError, 0.1, 1e-6))
    // On both sides of a bound between bins: nothing cancels.
    let near = PredictionMetrics(
      objective: .binary, scores: [Float(log(0.55 / 0.45)), Float(log(0.45 / 0.55))], labels: [1, 0])
    #expect(isNear(near.calibrationError, 0.45, 1e-6))
  }
}
