import Foundation
import Testing

@testable import Learning

@Suite struct LocalSettingsTests {
  struct Case: CustomTestStringConvertible {
    var hidden: [Int]
    var settings: LocalSettings
    var testDescription: String { "\(hidden), \(settings)" }
    var architecture: ModelArchitecture {
      hidden.isEmpty ? .logisticRegression : .multiLayerPerceptron(hidden: hidden)
    }
  }

  static let cases: [Case] = [[], [7, 4]].flatMap { hidden in
    [(0.0, nil), (0.5, nil), (5, nil), (10, nil), (0, 6), (2, 6), (10, 1)].map {
      Case(
        hidden: hidden,
        settings: LocalSettings(
          epochs: 3, batchSize: 2, learningRate: 0.1, proximal: Float($0.0), normalise: $0.1))
    }
  }

  private func start(_ architecture: ModelArchitecture, inputs: Int) -> [Float] {
    var noise = TestNoise(seed: 77)
    return architecture.initialParameters(inputs: inputs, seed: 4).map { $0 + 0.3 * Float(noise.next()) }
  }

  @Test(arguments: cases)
  func `local descent agrees with plain loops, step by step`(sample: Case) throws {
    let batch = try randomBatch(rowCounts: [5, 1, 2, 9], columns: 6, seed: 21)
    let model = Model(architecture: sample.architecture, inputs: 6)
    let start = start(sample.architecture, inputs: 6)
    let fast = try updates(model, .local(sample.settings), start, batch, seed: 3)
    let reference = ReferenceTrainer(architecture: sample.architecture, inputs: 6)
    for contributor in 0..<4 {
      let plain = reference.update(.local(sample.settings), start, batch, contributor: contributor, seed: 3)
      #expect(distance(fast[contributor], plain) < 3e-6 * Float(1 + l2(plain)), "contributor \(contributor)")
      #expect(l2(plain) > 1e-3)
    }
    // Neither the worker's past nor the other contributors matter.
    for contributor in 0..<4 {
      let alone = try updates(model, .local(sample.settings), start, only(contributor, of: batch), seed: 3)
      #expect(alone == [fast[contributor]])
    }
  }

  @Test func `without its settings it is FedAvg, bit for bit`() throws {
    let batch = try randomBatch(rowCounts: [5, 1, 9], columns: 6, seed: 22)
    for hidden in [[], [7, 4]] {
      let architecture = Case(hidden: hidden, settings: Self.cases[0].settings).architecture
      let model = Model(architecture: architecture, inputs: 6)
      let start = start(architecture, inputs: 6)
      let plain = LocalAlgorithm.fedAvg(epochs: 3, batchSize: 2, learningRate: 0.1)
      #expect(plain.descent == Self.cases[0].settings && LocalAlgorithm.fedSGD.descent == nil)
      let same =
        try updates(model, plain, start, batch)
        == updates(
          model, .local(Self.cases[0].settings), start, batch)
      #expect(same)
    }
  }

  @Test func `a strong pull pins training to where it began`() throws {
    let batch = try randomBatch(rowCounts: [30], columns: 4, seed: 23)
    let model = Model(architecture: .logisticRegression, inputs: 4)
    let start = [Float](repeating: 0.2, count: 5)
    // No gradient of the log loss is longer than the longest row with its bias.
    let longest = (0..<30).map { l2(Array(batch.features.values[$0 * 4..<$0 * 4 + 4]) + [1]) }.max() ?? 0
    var lengths: [Double] = []
    for pull in [0, 1, 10, 100, 1000] as [Float] {
      let settings = LocalSettings(epochs: 200, batchSize: 5, learningRate: 0.001, proximal: pull)
      let length = l2(try updates(model, .local(settings), start, batch)[0])
      if pull > 0 { #expect(length <= longest / Double(pull)) }
      lengths.append(length)
    }
    #expect(zip(lengths, lengths.dropFirst()).allSatisfy { $0 > $1 })
    #expect(lengths[0] > 0.2 && lengths[4] < 0.003)
  }

  @Test func `normalised displacements do not grow with the number of records`() throws {
    // Contributors whose records are copies of one: every step has the same gradient at the same place.
    func displacement(rows: Int, _ settings: LocalSettings) throws -> [Float] {
      let batch = try TrainingBatch(
        features: Matrix(rows: rows, columns: 2, values: (0..<rows).flatMap { _ in [1, 2] as [Float] }),
        labels: [Float](repeating: 1, count: rows), contributorOffsets: [0, rows])
      return try updates(
        Model(architecture: .logisticRegression, inputs: 2), .local(settings), [0, 0, 0], batch)[0]
    }
    var settings = LocalSettings(epochs: 1, batchSize: 1, learningRate: 1e-3)
    #expect(distance(try displacement(rows: 1, settings), [0.0005, 0.001, 0.0005]) < 1e-8)
    #expect(try displacement(rows: 12, settings)[0] > 0.0055)
    settings.normalise = 4
    // One step of ½ · (1, 2, 1) · η, times 4; more steps of the same, less what they learnt on the way.
    let one = try displacement(rows: 1, settings)
    #expect(distance(one, [0.002, 0.004, 0.002]) < 1e-8)
    for rows in [2, 5, 12] {
      let other = try displacement(rows: rows, settings)
      #expect(distance(one, other) < 4e-5 && other[0] < one[0])
    }
    // With half of the way taken back at every step, three steps are worth 1 + ½ + ¼ of one.
    settings = LocalSettings(epochs: 3, batchSize: 1, learningRate: 1e-3, proximal: 500, normalise: 7)
    #expect(distance(try displacement(rows: 1, settings), [0.0035, 0.007, 0.0035]) < 5e-5)
    #expect(settings.factor(steps: 3) == 4)
    settings.proximal = 1000
    #expect(settings.factor(steps: 3) == 7)
    settings.proximal = 0
    #expect(settings.factor(steps: 14) == 0.5)
    settings.normalise = nil
    #expect(settings.factor(steps: 3) == nil)
  }

  @Test func `equal weights end at the minimum of the mean loss only if steps are evened out`() throws {
    // One contributor pulls up with one record, another down with nine; both losses are (w ∓ 1)² / 2 in the
    // bias.
    let batch = try TrainingBatch(
      features: Matrix(rows: 10, columns: 1, values: [Float](repeating: 0, count: 10)),
      labels: [1] + [Float](repeating: -1, count: 9), contributorOffsets: [0, 1, 10],
      objective: .squaredError)
    let model = Model(architecture: .network(NetworkSettings(objective: .squaredError)), inputs: 1)
    func end(_ normalise: Int?) throws -> Float {
      var parameters: [Float] = [0, 0]
      let settings = LocalSettings(epochs: 1, batchSize: 1, learningRate: 0.01, normalise: normalise)
      for _ in 0..<600 {
        let both = try updates(model, .local(settings), parameters, batch)
        for index in parameters.indices { parameters[index] += (both[0][index] + both[1][index]) / 2 }
      }
      return parameters[1]
    }
    #expect(try abs(end(3)) < 0.05)
    #expect(try end(nil) < -0.75)
  }

  @Test func `settings survive JSON, FedAvg keeps its form, and impossible ones are refused`() throws {
    let old = #"{"fedAvg":{"batchSize":2,"epochs":3,"learningRate":0.5}}"#
    let plain = LocalAlgorithm.fedAvg(epochs: 3, batchSize: 2, learningRate: 0.5)
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(String(decoding: try encoder.encode(plain), as: UTF8.self) == old)
    #expect(try JSONDecoder().decode(LocalAlgorithm.self, from: Data(old.utf8)) == plain)
    for sample in Self.cases {
      let algorithm = LocalAlgorithm.local(sample.settings)
      try algorithm.validate()
      let bytes = try JSONEncoder().encode(algorithm)
      #expect(try JSONDecoder().decode(LocalAlgorithm.self, from: bytes) == algorithm)
    }
    let impossible: [(inout LocalSettings) -> Void] = [
      { $0.epochs = 0 }, { $0.epochs = 1001 }, { $0.batchSize = 0 }, { $0.learningRate = 0 },
      { $0.learningRate = .infinity }, { $0.proximal = -1 }, { $0.proximal = .nan }, { $0.proximal = 2.01 },
      { $0.proximal = .infinity }, { $0.normalise = 0 }, { $0.normalise = -1 }, { $0.normalise = 1_000_001 },
    ]
    for change in impossible {
      var settings = LocalSettings(epochs: 1, batchSize: 1, learningRate: 0.5, proximal: 2, normalise: 1)
      try settings.validate()
      change(&settings)
      #expect(throws: LearningError.self) { try settings.validate() }
      #expect(throws: LearningError.self) {
        try Model(architecture: .logisticRegression, inputs: 1).makeWorker(algorithm: .local(settings))
      }
    }
  }
}
