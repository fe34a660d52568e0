import Foundation
import Testing

@testable import Learning

@Suite struct ModelTests {
  @Test func `the parameter vector has the documented layout`() throws {
    #expect(ModelArchitecture.logisticRegression.parameterCount(inputs: 7) == 8)
    let network = ModelArchitecture.multiLayerPerceptron(hidden: [2, 3])
    #expect(network.parameterCount(inputs: 4) == 5 * 2 + 3 * 3 + 4)
    // One input, one unit: logit = w₂ · max(w₁x + b₁, 0) + b₂.
    let model = Model(architecture: .multiLayerPerceptron(hidden: [1]), inputs: 1)
    let features = try Matrix(rows: 2, columns: 1, values: [3, -3])
    #expect(try model.scores(parameters: [2, 1, -1.5, 0.25], features: features) == [-10.25, 0.25])
  }

  @Test func `scores are the same however many rows there are`() throws {
    let batch = try randomBatch(rowCounts: [Model.blockRows + 3], columns: 4, seed: 1)
    let model = Model(architecture: .multiLayerPerceptron(hidden: [3]), inputs: 4)
    let parameters = model.architecture.initialParameters(inputs: 4, seed: 2)
    let all = try model.scores(parameters: parameters, features: batch.features)
    let last = try Matrix(rows: 1, columns: 4, values: Array(batch.features.values.suffix(4)))
    #expect(abs(try model.scores(parameters: parameters, features: last)[0] - all[all.count - 1]) < 1e-6)
  }

  @Test func `refuses architectures beyond the limits`() throws {
    for hidden in [[], [0], [-1], [8193], Array(repeating: 1, count: 9)] {
      let architecture = ModelArchitecture.multiLayerPerceptron(hidden: hidden)
      #expect(throws: LearningError.self) { try architecture.validate() }
      #expect(throws: LearningError.self) { try architecture.validate(inputs: 3) }
    }
    try ModelArchitecture.multiLayerPerceptron(hidden: [1, 8192]).validate(inputs: 3)
    #expect(throws: LearningError.self) { try ModelArchitecture.logisticRegression.validate(inputs: 0) }
    #expect(throws: LearningError.self) {
      try ModelArchitecture.multiLayerPerceptron(hidden: [8192, 8192]).validate(inputs: 3)
    }
  }

  @Test func `initial parameters are reproducible and have He's variance`() {
    #expect(ModelArchitecture.logisticRegression.initialParameters(inputs: 3, seed: 1) == [0, 0, 0, 0])
    let network = ModelArchitecture.multiLayerPerceptron(hidden: [200])
    let parameters = network.initialParameters(inputs: 100, seed: 1)
    #expect(parameters == network.initialParameters(inputs: 100, seed: 1))
    #expect(parameters != network.initialParameters(inputs: 100, seed: 2))
    #expect(parameters.count == network.parameterCount(inputs: 100))
    let weights = parameters[..<20_000]
    let variance = weights.reduce(0) { $0 + $1 * $1 } / 20_000
    #expect(abs(variance - 0.02) < 0.0006)
    #expect(parameters[20_000..<20_200].allSatisfy { $0 == 0 })
    let output = parameters[20_200..<20_400]
    #expect(output.map(abs).max().map { $0 > 0.11 && $0 <= (3.0 / 200).squareRoot() } == true)
  }

  @Test func `SplitMix64 gives the published sequence`() {
    var generator = SplitMix64(seed: 1_234_567)
    #expect(
      (0..<3).map { _ in generator.next() }
        == [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423])
  }

  @Test(arguments: [
    ModelArchitecture.logisticRegression, .multiLayerPerceptron(hidden: [64, 32]),
  ]) func `architectures survive JSON`(architecture: ModelArchitecture) throws {
    let bytes = try JSONEncoder().encode(architecture)
    #expect(try JSONDecoder().decode(ModelArchitecture.self, from: bytes) == architecture)
  }

  @Test func `a matrix checks its size`() {
    #expect(throws: LearningError.self) { try Matrix(rows: 2, columns: 2, values: [1, 2, 3]) }
    #expect(throws: LearningError.self) { try Matrix(rows: 1, columns: 0, values: []) }
    #expect(throws: LearningError.self) { try Matrix(rows: .max, columns: 2, values: []) }
  }
}
