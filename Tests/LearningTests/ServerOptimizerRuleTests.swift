import Foundation
import Testing

@testable import Learning

@Suite struct ServerOptimizerRuleTests {
  /// The rules once more, from the paper's algorithm 2, in double precision.
  private func reference(
    _ kind: ServerOptimizer.Kind, _ schedule: LearningRateSchedule, decay: Double, updates: [[Float]],
    start: [Float]
  ) -> [Double] {
    var parameters = start.map(Double.init)
    var first = [Double](repeating: 0, count: start.count)
    var second = first
    if case .yogi(_, _, _, let epsilon) = kind {
      second = second.map { _ in Double(epsilon) * Double(epsilon) }
    }
    if case .adagrad(_, let epsilon) = kind { second = second.map { _ in Double(epsilon) * Double(epsilon) } }
    for (step, update) in updates.enumerated() {
      let rate = Double(kind.learningRate) * factor(schedule, step)
      for index in parameters.indices {
        let change = Double(update[index])
        parameters[index] -= rate * decay * parameters[index]
        switch kind {
        case .yogi(_, let beta1, let beta2, let epsilon):
          first[index] = Double(beta1) * first[index] + (1 - Double(beta1)) * change
          let distance = second[index] - change * change
          let sign = distance > 0 ? 1.0 : distance < 0 ? -1 : 0
          second[index] -= (1 - Double(beta2)) * change * change * sign
          parameters[index] += rate * first[index] / (second[index].squareRoot() + Double(epsilon))
        case .adagrad(_, let epsilon):
          second[index] += change * change
          parameters[index] += rate * change / (second[index].squareRoot() + Double(epsilon))
        case .momentum(_, let beta):
          first[index] = Double(beta) * first[index] + change
          parameters[index] += rate * first[index]
        case .adam(_, let beta1, let beta2, let epsilon):
          first[index] = Double(beta1) * first[index] + (1 - Double(beta1)) * change
          second[index] = Double(beta2) * second[index] + (1 - Double(beta2)) * change * change
          let mean = first[index] / (1 - pow(Double(beta1), Double(step + 1)))
          let spread = second[index] / (1 - pow(Double(beta2), Double(step + 1)))
          parameters[index] += rate * mean / (spread.squareRoot() + Double(epsilon))
        case .sgd: parameters[index] += rate * change
        }
      }
    }
    return parameters
  }

  private func factor(_ schedule: LearningRateSchedule, _ step: Int) -> Double {
    switch schedule {
    case .constant: 1
    case .linear(let steps, let end):
      step >= steps ? Double(end) : 1 + (Double(end) - 1) * Double(step) / Double(steps)
    case .inverseSquareRoot(let warmup):
      step + 1 < warmup
        ? Double(step + 1) / Double(warmup) : (Double(warmup) / Double(step + 1)).squareRoot()
    }
  }

  static let kinds: [ServerOptimizer.Kind] = [
    .sgd(learningRate: 0.2), .momentum(learningRate: 0.2, beta: 0.8),
    .adam(learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-3),
    .yogi(learningRate: 0.05, beta1: 0.9, beta2: 0.9, epsilon: 1e-3),
    .yogi(learningRate: 0.3, beta1: 0, beta2: 0, epsilon: 0.5),
    .adagrad(learningRate: 0.1, epsilon: 1e-3), .adagrad(learningRate: 0.1, epsilon: 2),
  ]
  static let schedules: [LearningRateSchedule] = [
    .constant, .linear(steps: 8, end: 0.25), .linear(steps: 1, end: 0), .inverseSquareRoot(warmup: 1),
    .inverseSquareRoot(warmup: 5),
  ]

  @Test(arguments: kinds, schedules)
  func `rules and schedules agree with the papers' loops`(
    kind: ServerOptimizer.Kind, schedule: LearningRateSchedule
  ) {
    var noise = TestNoise(seed: 61)
    // Sizes from tiny to large, so that the second moment both rises and falls.
    let updates = (0..<20).map { step in noise.floats(6).map { $0 * Float([1, 0.01, 3, 0][step % 4]) } }
    let start = noise.floats(6)
    var optimizer = ServerOptimizer(
      kind: kind, weightDecay: 0.1, schedule: schedule, parameterCount: 6)
    var parameters = start
    for update in updates { optimizer.apply(update: update, to: &parameters) }
    let plain = reference(kind, schedule, decay: Double(Float(0.1)), updates: updates, start: start)
    #expect(distance(parameters, plain.map { Float($0) }) < 2e-5)
    #expect(distance(parameters, start) > 1e-3 && optimizer.step == 20)
  }

  @Test func `Yogi and Adagrad by hand`() {
    var parameters: [Float] = [0, 0]
    // Adagrad from ε² = ¼: ¼ + 2 = 2¼, and √2¼ + ½ = 2.
    var adagrad = ServerOptimizer(kind: .adagrad(learningRate: 1, epsilon: 0.5), parameterCount: 2)
    adagrad.apply(update: [Float(2).squareRoot(), 0], to: &parameters)
    #expect(distance(parameters, [Float(2).squareRoot() / 2, 0]) < 1e-6)
    // Yogi from ε² = 1: 1 + ¾ · 4 = 4, moment ½ · 2 = 1: 1 / (2 + 1). Then 0 changes nothing but the moment.
    var yogi = ServerOptimizer(
      kind: .yogi(learningRate: 3, beta1: 0.5, beta2: 0.25, epsilon: 1), parameterCount: 2)
    parameters = [0, 0]
    yogi.apply(update: [2, 1], to: &parameters)
    // The second value's square is where its moment already is: it stays.
    #expect(distance(parameters, [1, 0.75]) < 1e-6)
    yogi.apply(update: [0, 0], to: &parameters)
    #expect(distance(parameters, [1.5, 1.125]) < 1e-6)
    // Below the moment: 4 − ¾ · 1.
    yogi.apply(update: [-1, 0], to: &parameters)
    let spread = Float(3.25).squareRoot() + 1
    #expect(abs(parameters[0] - (1.5 + 3 * (0.25 - 0.5) / spread)) < 1e-6)
  }

  @Test func `schedules at their beginning, middle and end`() throws {
    func factors(_ schedule: LearningRateSchedule, _ steps: [Int]) -> [Float] {
      steps.map { schedule.factor(step: $0) }
    }
    #expect(factors(.constant, [0, 7, .max]) == [1, 1, 1])
    let line = LearningRateSchedule.linear(steps: 10, end: 0.5)
    #expect(factors(line, [0, 5, 10, 11, 1000, .max]) == [1, 0.75, 0.5, 0.5, 0.5, 0.5])
    #expect(factors(.linear(steps: 4, end: 0), [0, 2, 4, 9]) == [1, 0.5, 0, 0])
    #expect(factors(.linear(steps: 4, end: 1), [0, 2, 9]) == [1, 1, 1])
    let root = LearningRateSchedule.inverseSquareRoot(warmup: 4)
    #expect(factors(root, [0, 1, 3, 15, 63]) == [0.25, 0.5, 1, 0.5, 0.25])
    #expect(root.factor(step: .max) > 0 && root.factor(step: .max) < 1e-8)
    let impossible: [LearningRateSchedule] = [
      .linear(steps: 0, end: 0.5), .linear(steps: 1_000_001, end: 0.5), .linear(steps: 1, end: -0.1),
      .linear(steps: 1, end: 1.1), .linear(steps: 1, end: .nan), .inverseSquareRoot(warmup: 0),
      .inverseSquareRoot(warmup: -3), .inverseSquareRoot(warmup: 1_000_001),
    ]
    for schedule in impossible { #expect(throws: LearningError.self) { try schedule.validate() } }
    for schedule in Self.schedules {
      try schedule.validate()
      let bytes = try JSONEncoder().encode(schedule)
      #expect(try JSONDecoder().decode(LearningRateSchedule.self, from: bytes) == schedule)
    }
  }

  @Test(arguments: kinds, schedules)
  func `a saved state with a schedule continues exactly`(
    kind: ServerOptimizer.Kind, schedule: LearningRateSchedule
  ) throws {
    var noise = TestNoise(seed: 62)
    var optimizer = ServerOptimizer(kind: kind, weightDecay: 0.01, schedule: schedule, parameterCount: 3)
    var parameters: [Float] = [1, 2, 3]
    for _ in 0..<6 { optimizer.apply(update: noise.floats(3), to: &parameters) }
    var copy = try JSONDecoder().decode(ServerOptimizer.self, from: JSONEncoder().encode(optimizer))
    var other = parameters
    let update = noise.floats(3)
    optimizer.apply(update: update, to: &parameters)
    copy.apply(update: update, to: &other)
    #expect(parameters == other && copy == optimizer)
  }

  private func decoded(_ text: String) throws -> ServerOptimizer {
    try JSONDecoder().decode(ServerOptimizer.self, from: Data(text.utf8))
  }

  @Test func `a saved state without a schedule has a constant one`() throws {
    let old = """
      {"kind":{"momentum":{"learningRate":0.5,"beta":0.5}},"weightDecay":0,"step":3,
       "firstMoment":[1,2],"secondMoment":[]}
      """
    var optimizer = try decoded(old)
    #expect(optimizer.schedule == .constant && optimizer.step == 3)
    var parameters: [Float] = [0, 0]
    optimizer.apply(update: [1, 1], to: &parameters)
    #expect(parameters == [0.75, 1])
  }

  @Test func `hostile saved states are refused`() throws {
    func state(
      _ kind: String, first: String = "[]", second: String = "[]", step: String = "1",
      schedule: String = #"{"constant":{}}"#
    ) -> String {
      #"{"kind":\#(kind),"weightDecay":0,"step":\#(step),"firstMoment":\#(first),"secondMoment":\#(second),"#
        + #""schedule":\#(schedule)}"#
    }
    let sgd = #"{"sgd":{"learningRate":1}}"#
    let yogi = #"{"yogi":{"learningRate":1,"beta1":0.9,"beta2":0.9,"epsilon":0.1}}"#
    let adagrad = #"{"adagrad":{"learningRate":1,"epsilon":0.1}}"#
    _ = try decoded(state(sgd))
    _ = try decoded(state(yogi, first: "[1]", second: "[1]"))
    _ = try decoded(state(adagrad, second: "[1]"))
    let hostile = [
      state(sgd, first: "[1]"), state(sgd, second: "[1]"), state(sgd, step: "-1"),
      state(sgd, step: "9223372036854775807"), state(sgd, step: "9007199254740993"),
      state(sgd, schedule: #"{"linear":{"steps":0,"end":0.5}}"#),
      state(sgd, schedule: #"{"linear":{"steps":5,"end":2}}"#),
      state(sgd, schedule: #"{"inverseSquareRoot":{"warmup":0}}"#), state(sgd, schedule: #""constant""#),
      state(yogi, first: "[1,2]", second: "[1]"), state(yogi, first: "[1]"),
      state(yogi, first: "[1]", second: "[-1]"),
      state(#"{"yogi":{"learningRate":1,"beta1":0.9,"beta2":1,"epsilon":0.1}}"#, first: "[1]", second: "[1]"),
      state(adagrad, first: "[1]", second: "[1]"), state(adagrad, second: "[-0.5]"),
      state(#"{"adagrad":{"learningRate":1,"epsilon":0}}"#, second: "[1]"),
    ]
    for text in hostile { #expect(throws: (any Error).self, "\(text)") { try decoded(text) } }
    // The last step that is accepted can be made.
    var late = try decoded(state(sgd, step: "9007199254740992"))
    var parameters: [Float] = [1]
    late.apply(update: [1], to: &parameters)
    #expect(parameters == [2])
  }

  @Test func `the state of another model's optimiser is refused, not trapped on`() throws {
    let model = NetworkModel(settings: NetworkSettings(), shape: FeatureShape(columns: 2))
    for kind in Self.kinds {
      var parameters: [Float] = [0, 0, 0]
      var other = ServerOptimizer(kind: kind, parameterCount: 2)
      if case .sgd = kind {
        try model.step(mean: [1, 1, 1], contributors: 1, optimizer: &other, parameters: &parameters)
        continue
      }
      #expect(throws: LearningError.self) {
        try model.step(mean: [1, 1, 1], contributors: 1, optimizer: &other, parameters: &parameters)
      }
      #expect(parameters == [0, 0, 0])
    }
  }
}
