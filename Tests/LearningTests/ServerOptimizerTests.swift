import Foundation
import Testing

@testable import Learning

@Suite struct ServerOptimizerTests {
  private func run(
    _ kind: ServerOptimizer.Kind, weightDecay: Float = 0, steps: [[Float]], from start: [Float]
  ) -> [Float] {
    var optimizer = ServerOptimizer(kind: kind, weightDecay: weightDecay, parameterCount: start.count)
    var parameters = start
    for update in steps { optimizer.apply(update: update, to: &parameters) }
    return parameters
  }

  @Test func `SGD adds the update`() {
    #expect(run(.sgd(learningRate: 0.5), steps: [[1, -2], [1, 0]], from: [1, 1]) == [2, 0])
  }

  @Test func `momentum accumulates`() {
    // Velocities 1, 1.5, 1.75.
    let result = run(.momentum(learningRate: 0.1, beta: 0.5), steps: [[1], [1], [1]], from: [0])
    #expect(distance(result, [0.425]) < 1e-6)
  }

  @Test func `Adam gives the known answers of three steps`() {
    // From the definition in double precision: lr 0.1, β 0.9 and 0.999, ε 1e-8, updates (1, −2, 0.5).
    let kind = ServerOptimizer.Kind.adam(learningRate: 0.1, beta1: 0.9, beta2: 0.999, epsilon: 1e-8)
    #expect(distance(run(kind, steps: [[1]], from: [0]), [0.1]) < 1e-6)
    #expect(distance(run(kind, steps: [[1], [-2]], from: [0]), [0.063_389_6]) < 1e-6)
    #expect(distance(run(kind, steps: [[1], [-2], [0.5]], from: [0]), [0.049_720_6]) < 1e-6)
  }

  @Test func `weight decay shrinks by the learning rate times the decay before the step`() {
    let result = run(.sgd(learningRate: 0.5), weightDecay: 0.2, steps: [[1], [0]], from: [10])
    #expect(distance(result, [(10 * 0.9 + 0.5) * 0.9]) < 1e-5)
  }

  @Test(arguments: [
    ServerOptimizer.Kind.sgd(learningRate: 0.3), .momentum(learningRate: 0.3, beta: 0.9),
    .adam(learningRate: 0.3, beta1: 0.9, beta2: 0.99, epsilon: 1e-6),
  ]) func `a saved state continues exactly`(kind: ServerOptimizer.Kind) throws {
    var noise = TestNoise(seed: 3)
    var optimizer = ServerOptimizer(kind: kind, weightDecay: 0.01, parameterCount: 4)
    var parameters: [Float] = [1, 2, 3, 4]
    for _ in 0..<5 { optimizer.apply(update: noise.floats(4), to: &parameters) }
    var copy = try JSONDecoder().decode(ServerOptimizer.self, from: JSONEncoder().encode(optimizer))
    #expect(copy == optimizer && copy.step == 5)
    var other = parameters
    let update = noise.floats(4)
    optimizer.apply(update: update, to: &parameters)
    copy.apply(update: update, to: &other)
    #expect(parameters == other)
  }

  @Test func `refuses impossible settings and malformed states`() throws {
    let impossible: [ServerOptimizer.Kind] = [
      .sgd(learningRate: 0), .sgd(learningRate: .infinity), .sgd(learningRate: .nan),
      .momentum(learningRate: 1, beta: 1), .momentum(learningRate: 1, beta: -0.1),
      .adam(learningRate: 1, beta1: 0.9, beta2: 1, epsilon: 1),
      .adam(learningRate: 1, beta1: 0, beta2: 0, epsilon: 0),
      .adam(learningRate: 1, beta1: .nan, beta2: 0.9, epsilon: 1),
    ]
    for kind in impossible { #expect(throws: LearningError.self) { try kind.validate() } }
    try TrainingDefaults.standard.optimizer.validate()
    let optimizer = ServerOptimizer(
      kind: .adam(learningRate: 1, beta1: 0.9, beta2: 0.9, epsilon: 1), parameterCount: 2)
    let good = String(decoding: try JSONEncoder().encode(optimizer), as: UTF8.self)
    for (part, broken) in [
      (#""step":0"#, #""step":-1"#), (#""secondMoment":[0,0]"#, #""secondMoment":[0]"#),
      (#""secondMoment":[0,0]"#, #""secondMoment":[0,-1]"#), (#""weightDecay":0"#, #""weightDecay":2"#),
    ] {
      #expect(good.contains(part))
      let text = good.replacingOccurrences(of: part, with: broken)
      #expect(throws: (any Error).self) {
        try JSONDecoder().decode(ServerOptimizer.self, from: Data(text.utf8))
      }
    }
  }
}
