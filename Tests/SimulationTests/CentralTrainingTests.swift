import Foundation
import Learning
import Privacy
import Testing

@testable import Simulation

@Suite struct `Rounds of a trusted server` {
  private func training(
    clipNorm: Double?, noise: CentralTraining.Noise? = nil, workers: Int = 2, dropouts: Int = 0,
    seed: UInt64 = 1
  ) throws -> (CentralTraining, Model, DensePopulation) {
    let population = try DensePopulation(nodes: 40, records: 13, features: 7, seed: 3)
    let model = Model(architecture: .multiLayerPerceptron(hidden: [5]), inputs: 7)
    let setup = RunSetup(
      name: "test", seed: seed, rounds: 1, cohort: .fixed(20), architecture: model.architecture,
      algorithm: .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.5), optimizer: .sgd(learningRate: 1),
      clipNorm: clipNorm, budget: PrivacyBudget(epsilon: .infinity, delta: 1e-6), unit: .node,
      aggregation: .off, dropoutPermille: dropouts)
    return (
      try CentralTraining(
        setup: setup, model: model, nodeCount: 40, noise: noise, pool: WorkerPool(workers: workers),
        reducer: SingleProcess()), model, population
    )
  }

  private func step(_ training: CentralTraining, _ population: DensePopulation) throws -> [Double] {
    let before = training.parameters
    _ = try training.run(round: 1, batches: population)
    return zip(training.parameters, before).map { Double($0) - Double($1) }
  }

  private func norm(_ vector: [Double]) -> Double { vector.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  @Test func `move by the mean of the clipped updates`() throws {
    for clipNorm in [nil, 0.05, 10] as [Double?] {
      let (training, model, population) = try training(clipNorm: clipNorm)
      let start = training.parameters
      var generator = SplitMix64(seed: 1 ^ 0x7368_7566_666c_6573)
      generator = SplitMix64(seed: generator.next() &+ 1)
      let seed = generator.next()
      var sum = [Double](repeating: 0, count: start.count)
      for node in CohortSampler(seed: 1, nodeCount: 40).cohort(round: 1, size: 20) {
        let batch = try #require(population.training(of: node))
        try LocalTrainer(model: model, algorithm: .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.5))
          .forEachUpdate(parameters: start, batch: batch, seed: seed) { _, update in
            if let clipNorm { clipL2(update, to: Float(clipNorm)) }
            for index in update.indices { sum[index] += Double(update[index]) / 20 }
          }
      }
      let moved = try step(training, population)
      let difference = norm(zip(moved, sum).map { $0 - $1 })
      #expect(difference < 1e-6)
      #expect(norm(moved) > 0.01)
      if let clipNorm { #expect(norm(moved) <= clipNorm + 1e-6) }
    }
  }

  @Test func `noise has the asked deviation and shrinks with the noise cohort`() throws {
    func noise(_ cohort: Int?, seed: UInt64 = 1, workers: Int = 2) throws -> [Double] {
      let noise = CentralTraining.Noise(deviation: 60, countIsPrivate: false, cohort: cohort)
      let (noisy, _, population) = try training(clipNorm: 0.05, noise: noise, workers: workers, seed: seed)
      let (plain, _, _) = try training(clipNorm: 0.05, seed: seed)
      return zip(try step(noisy, population), try step(plain, population)).map { $0 - $1 }
    }
    var all: [Double] = []
    for seed in 1...30 { all += try noise(nil, seed: UInt64(seed)) }
    let deviation = norm(all) / Double(all.count).squareRoot()
    // 60 on the sum of 20.
    let tolerance = 15 / Double(all.count).squareRoot()
    let mean = all.reduce(0, +) / Double(all.count)
    #expect(abs(deviation - 3) < tolerance && abs(mean) < tolerance)
    let own = try noise(nil)
    let large = try noise(2_000)
    let difference = norm(zip(own, large).map { $0 - 100 * $1 })
    #expect(difference < 1e-3 * norm(own))
    #expect(try noise(nil, workers: 1) == own)
  }

  @Test func `noise is normal and its chunks are independent`() throws {
    let buffer = NoiseBuffer(count: 20_001)
    try CentralNoise(seed: 4).fill(buffer, deviation: 2, round: 1, pool: WorkerPool(workers: 2))
    let values = buffer.values.map { $0 / 2 }
    let count = Double(values.count)
    // Each moment of a normal number, and its variance.
    let moments: [(power: Double, mean: Double, variance: Double)] = [
      (1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96),
    ]
    for (power, mean, variance) in moments {
      let moment = values.reduce(0) { $0 + pow($1, power) } / count
      let tolerance = 5 * (variance / count).squareRoot()
      #expect(abs(moment - mean) < tolerance, "moment \(power)")
    }
    #expect(Set(values).count == values.count)
  }

  @Test func `lost nodes are not in the sum`() throws {
    let (training, _, population) = try training(clipNorm: nil, dropouts: 250)
    let round = try training.run(round: 1, batches: population)
    #expect(round.nodes == 15 && round.contributors == 15 && training.updates == 15)
  }
}
