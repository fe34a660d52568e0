import Testing

@testable import Learning

@Suite struct EvaluationTests {
  private func sample(_ count: Int, seed: UInt64) -> (scores: [Float], labels: [Float]) {
    var noise = TestNoise(seed: seed)
    let labels = (0..<count).map { _ in Float(noise.next() > 0.8 ? 1 : 0) }
    return (labels.map { Float(noise.next()) * 1.5 + ($0 == 1 ? 0.5 : -2) }, labels)
  }

  private func sum(
    _ layout: EvaluationLayout, _ scores: [Float], _ labels: [Float]
  ) -> [Double] {
    total(scores.indices.map { layout.contribution(scores: [scores[$0]], labels: [labels[$0]]) })
  }

  @Test func `the exact AUC counts pairs, ties half`() {
    let (scores, labels) = sample(300, seed: 1)
    let rounded = scores.map { ($0 * 2).rounded() }
    for scores in [scores, rounded] {
      var won = 0.0
      var pairs = 0.0
      for positive in scores.indices where labels[positive] == 1 {
        for negative in scores.indices where labels[negative] == 0 {
          pairs += 1
          won += scores[positive] > scores[negative] ? 1 : scores[positive] == scores[negative] ? 0.5 : 0
        }
      }
      let auc = ExactMetrics.auc(scores: scores, labels: labels)
      #expect(auc.map { abs($0 - won / pairs) < 1e-12 } == true)
    }
    #expect(ExactMetrics.auc(scores: [1, 2], labels: [1, 1]) == nil)
    #expect(ExactMetrics.auc(scores: [1, .nan], labels: [1, 0]) == nil)
    #expect(ExactMetrics.auc(scores: [], labels: []) == nil)
  }

  @Test func `without noise, many bins give the exact metrics`() throws {
    let (scores, labels) = sample(2000, seed: 2)
    let layout = try EvaluationLayout(bins: TrainingDefaults.standard.exactEvaluationBins)
    let metrics = layout.decode(sum: sum(layout, scores, labels))
    let auc = try #require(ExactMetrics.auc(scores: scores, labels: labels))
    #expect(try abs(#require(metrics.auc) - auc) < 1e-3)
    let accuracy = try #require(ExactMetrics.accuracy(scores: scores, labels: labels))
    #expect(try abs(#require(metrics.accuracy) - accuracy) < 1e-9)
    let loss = try #require(ExactMetrics.logLoss(scores: scores, labels: labels))
    #expect(try abs(#require(metrics.logLoss) - loss) < 5e-3)
    #expect(metrics.positives == Double(labels.count { $0 == 1 }))
    #expect(metrics.negatives == Double(labels.count { $0 == 0 }))
  }

  @Test func `with as many bins as distinct scores the AUC is exact`() throws {
    let layout = try EvaluationLayout(bins: 18)
    let (raw, labels) = sample(500, seed: 3)
    // One value inside each bin of width ½.
    let scores = raw.map { (min(max($0, -4.4), 4.4) * 2).rounded(.down) / 2 + 0.25 }
    let metrics = layout.decode(sum: sum(layout, scores, labels))
    let auc = try #require(ExactMetrics.auc(scores: scores, labels: labels))
    #expect(try abs(#require(metrics.auc) - auc) < 1e-9)
  }

  @Test func `the default bins keep the noise of a final evaluation below a hundredth`() throws {
    let layout = try EvaluationLayout(bins: TrainingDefaults.standard.evaluationBins)
    // 950 customers of whom a sixth are positive; ρ = ½ means σ = the bound.
    var noise = TestNoise(seed: 4)
    let labels = (0..<950).map { Float($0 % 6 == 0 ? 1 : 0) }
    let scores = labels.map { Float(noise.next()) * 2 + ($0 == 1 ? 0.3 : -3.5) }
    let exact = sum(layout, scores, labels)
    let truth = try #require(ExactMetrics.auc(scores: scores, labels: labels))
    let errors = try (0..<400).map { _ in
      var noisy = exact
      noise.add(to: &noisy, standardDeviation: layout.l2Bound)
      return try #require(layout.decode(sum: noisy).auc) - truth
    }
    let mean = errors.reduce(0, +) / 400
    let deviation = (errors.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 399).squareRoot()
    #expect(abs(mean) < 0.005)
    #expect(deviation < 0.01 && deviation > 0.002)
  }

  @Test func `every layout has its edge at zero and keeps its bound`() throws {
    for bins in [2, 3, 4, 7, 16, 18, 31, 32, 33, 256, 1024] {
      let layout = try EvaluationLayout(bins: bins)
      #expect(layout.edges.count == bins - 1)
      #expect(layout.edges[(bins + 1) / 2 - 1] == 0)
      #expect(zip(layout.edges, layout.edges.dropFirst()).allSatisfy { $0 < $1 })
      #expect(layout.dimension == 2 * bins + 1)
      let cases: [([Float], [Float])] = [
        ([0], [1]), ([-100], [1]), ([.infinity], [0]), ([.nan], [0]), ([1, 1, -3], [0, 1, 1]),
        ([-.infinity, .infinity], [1, 0]), ([0, -0.0], [0, 0]),
      ]
      for (scores, labels) in cases {
        let vector = layout.contribution(scores: scores, labels: labels)
        #expect(vector.count == layout.dimension)
        #expect(l2(vector) <= layout.l2Bound * (1 + 1e-6))
        #expect(abs(vector.dropLast().reduce(0, +) - 1) < 1e-6)
      }
    }
    for bins in [-1, 0, 1, 4097] {
      #expect(throws: LearningError.self) { try EvaluationLayout(bins: bins) }
    }
  }

  @Test func `garbage sums give values within range or none`() throws {
    let layout = try EvaluationLayout(bins: 8)
    #expect(layout.decode(sum: [Double](repeating: 0, count: 17)).auc == nil)
    #expect(layout.decode(sum: [Double](repeating: -3, count: 17)).accuracy == nil)
    #expect(layout.decode(sum: [Double](repeating: .nan, count: 17)).auc == nil)
    #expect(layout.decode(sum: [Double](repeating: 1e308, count: 17)).logLoss == nil)
    var noise = TestNoise(seed: 5)
    for _ in 0..<500 {
      var sum = [Double](repeating: 1, count: 17)
      noise.add(to: &sum, standardDeviation: 20)
      let metrics = layout.decode(sum: sum)
      #expect(metrics.auc.map { (0...1).contains($0) } ?? true)
      #expect(metrics.accuracy.map { (0...1).contains($0) } ?? true)
      #expect(metrics.logLoss.map { (0...4).contains($0) } ?? true)
      #expect(metrics.positives >= 0 && metrics.negatives >= 0)
    }
  }
}
