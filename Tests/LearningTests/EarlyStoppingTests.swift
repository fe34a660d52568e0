import Learning
import Testing

@Suite struct EarlyStoppingTests {
  private func rounds(
    _ values: [Double?], patience: Int = 2, improvement: Double = 0.01,
    metric: EarlyStopping.Metric = .auc
  ) -> (state: EarlyStoppingState, ended: Int?, kept: [Int]) {
    let rule = EarlyStopping(patience: patience, minimumImprovement: improvement, metric: metric)
    var state = EarlyStoppingState()
    var kept: [Int] = []
    for (index, value) in values.enumerated() {
      if state.take(value, round: index + 1, rule: rule) { kept.append(index + 1) }
      if state.isOver(rule) { return (state, index + 1, kept) }
    }
    return (state, nil, kept)
  }

  @Test func `ends after so many measurements without improvement, with the best model`() {
    let outcome = rounds([0.6, 0.7, 0.705, 0.69, 0.9])
    #expect(outcome.ended == 4)
    #expect(
      outcome.state.bestRound == 3 && outcome.state.best == 0.705, "best, if by less than an improvement")
    #expect(outcome.kept == [1, 2, 3])
  }

  @Test func `small steps add up to an improvement`() {
    #expect(rounds([0.6, 0.606, 0.612, 0.618, 0.624, 0.63]).ended == nil)
    #expect(rounds([0.6, 0.604, 0.608]).ended == 3)
  }

  @Test func `errors improve downwards`() {
    let outcome = rounds([3, 2, 1.5, 1.6, 1.7], metric: .rmse)
    #expect(outcome.ended == 5 && outcome.state.bestRound == 3)
    #expect(rounds([0.1, 0.2, 0.3], improvement: 0, metric: .r2).ended == nil)
    #expect(rounds([0.5, 0.5, 0.5], improvement: 0, metric: .accuracy).ended == 3, "equal is no improvement")
  }

  @Test func `a measure that is not defined is no improvement, and no model to go back to`() {
    #expect(rounds([nil, nil, nil, 0.5]).state.bestRound == 4)
    #expect(rounds([0.5, nil, .nan]).ended == 3)
  }

  @Test func `refuses what cannot be`() throws {
    func refuses(
      _ patience: Int, _ improvement: Double, _ metric: EarlyStopping.Metric, _ objective: Objective
    ) {
      #expect(throws: LearningError.self) {
        try EarlyStopping(patience: patience, minimumImprovement: improvement, metric: metric)
          .validate(objective: objective)
      }
    }
    refuses(0, 0, .auc, .binary)
    refuses(EarlyStopping.maximumPatience + 1, 0, .auc, .binary)
    refuses(1, -0.1, .auc, .binary)
    refuses(1, .nan, .auc, .binary)
    refuses(1, 0, .rmse, .binary)
    refuses(1, 0, .auc, .classes(count: 3))
    refuses(1, 0, .auc, .squaredError)
    for metric in EarlyStopping.Metric.known(for: .classes(count: 3)) {
      try EarlyStopping(patience: 1, minimumImprovement: 0, metric: metric).validate(
        objective: .classes(count: 3))
    }
  }

  @Test(arguments: EarlyStopping.Metric.known(for: .binary))
  func `the noise of a measure is what noise on its sums gives`(metric: EarlyStopping.Metric) throws {
    let layout = try EvaluationLayout(bins: 6)
    // 400 people, with log losses of about a half.
    let sum: [Double] = [60, 55, 40, 25, 15, 5, 5, 15, 25, 40, 55, 60, 12.5]
    let noise = 3.0
    let told = try #require(layout.deviation(of: metric, sum: sum, noise: noise))
    var generator = SplitMix64(seed: 1)
    func normal() -> Double {
      // Twelve uniform numbers have a variance of 1.
      (0..<12).reduce(-6) { total, _ in total + Double(generator.next() >> 11) * 0x1p-53 }
    }
    let values = (0..<4_000).compactMap { _ in
      metric.value(of: layout.decode(sum: sum.map { $0 + noise * normal() }))
    }
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    #expect(abs(told / variance.squareRoot() - 1) < 0.1, "\(told) against \(variance.squareRoot())")
    #expect(layout.deviation(of: metric, sum: sum, noise: 0) == 0)
    #expect(layout.deviation(of: .rmse, sum: sum, noise: 1) == nil)
  }
}
