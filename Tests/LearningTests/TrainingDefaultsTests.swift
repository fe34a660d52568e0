import Foundation
import Testing

@testable import Learning

/// The churn data, if it is on this machine.
private enum ChurnData {
  static let folder: URL = {
    let data =
      ProcessInfo.processInfo.environment["ACCORD_DATA_DIR"].map { URL(fileURLWithPath: $0) }
      ?? URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().appending(path: "shared/data")
    return data.appending(path: "ecommerce_churn")
  }()
  static var isPresent: Bool {
    FileManager.default.fileExists(atPath: folder.appending(path: "ecommerce_churn.csv").path)
  }

  static func lines(_ name: String) throws -> [Substring] {
    try String(contentsOf: folder.appending(path: name), encoding: .utf8).split(whereSeparator: \.isNewline)
  }
}

@Suite struct TrainingDefaultsTests {
  private let defaults = TrainingDefaults.standard

  @Test func `the defaults are valid settings`() throws {
    try defaults.architecture.validate()
    try defaults.algorithm.validate()
    try defaults.optimizer.validate()
    _ = try EvaluationLayout(bins: defaults.evaluationBins)
    _ = try EvaluationLayout(bins: defaults.exactEvaluationBins)
    #expect((1...NumericEncoding.maximumBins).contains(defaults.quantileBins))
    #expect(defaults.rounds > 0 && defaults.clipNormL2 > 0 && (0..<1).contains(defaults.statisticsShare))
  }

  @Test(
    .enabled(if: ChurnData.isPresent, "the churn data is not here: set ACCORD_DATA_DIR"),
    arguments: [true, false])
  func `the defaults reach the promised AUC on churn, private or not`(isPrivate: Bool) throws {
    let table = try ChurnData.lines("ecommerce_churn.csv").map {
      $0.split(separator: ",", omittingEmptySubsequences: false)
    }
    let held = Set(try ChurnData.lines("test_rows_grouped.txt").compactMap { Int($0) })
    let texts: Set<Substring> = [
      "PreferredLoginDevice", "PreferredPaymentMode", "Gender", "PreferedOrderCat", "MaritalStatus",
    ]
    let header = table[0]
    let inputs = header.indices.filter { !["CustomerID", "Churn"].contains(header[$0]) }
    let schema = try FeatureSchema(
      columns: inputs.map {
        FeatureColumn(name: String(header[$0]), kind: texts.contains(header[$0]) ? .categorical : .numeric)
      })
    let records: [RawRecord] = table.dropFirst().map { row in
      inputs.map { column in
        if row[column].isEmpty { return .missing }
        return texts.contains(header[column])
          ? .text(String(row[column])) : Double(row[column]).map { .number($0) } ?? .missing
      }
    }
    let labels: [Float] = table.dropFirst().map { $0[1] == "1" ? 1 : 0 }
    let (training, test) = (
      records.indices.filter { !held.contains($0) }, records.indices.filter(held.contains)
    )
    // ρ = 1.37 of zCDP is ε = 8 at δ = 1e-5; two statistics rounds share theirs.
    let rho = 1.37
    let statistics = isPrivate ? (1 / (rho * defaults.statisticsShare)).squareRoot() : 0
    let multiplier =
      isPrivate ? (Double(defaults.rounds) / (2 * rho * (1 - defaults.statisticsShare))).squareRoot() : 0
    let pipeline = try FeaturePipelineTests.fit(
      training.map { [records[$0]] }, schema: schema, noiseMultiplier: statistics)
    let batch = try TrainingBatch(
      features: pipeline.encode(training.map { records[$0] }), labels: training.map { labels[$0] },
      contributorOffsets: Array(0...training.count))
    let model = Model(architecture: defaults.architecture, inputs: pipeline.featureCount)
    let parameters = try train(model, batch, noiseMultiplier: multiplier)
    let scores = try model.scores(
      parameters: parameters, features: pipeline.encode(test.map { records[$0] }))
    let auc = try #require(ExactMetrics.auc(scores: scores, labels: test.map { labels[$0] }))
    #expect(auc >= (isPrivate ? 0.87 : 0.885))
  }

  private func train(_ model: Model, _ batch: TrainingBatch, noiseMultiplier: Double) throws -> [Float] {
    var noise = TestNoise(seed: 99)
    var parameters = defaults.architecture.initialParameters(inputs: model.inputs, seed: 1)
    var server = ServerOptimizer(
      kind: defaults.optimizer, weightDecay: defaults.weightDecay, parameterCount: parameters.count)
    let trainer = LocalTrainer(model: model, algorithm: defaults.algorithm)
    for round in 0..<defaults.rounds {
      var sum = [Double](repeating: 0, count: parameters.count)
      try trainer.forEachUpdate(parameters: parameters, batch: batch, seed: UInt64(round)) { _, update in
        clipL2(update, to: Float(defaults.clipNormL2))
        for index in update.indices { sum[index] += Double(update[index]) }
      }
      noise.add(to: &sum, standardDeviation: noiseMultiplier * defaults.clipNormL2)
      server.apply(update: sum.map { Float($0 / Double(batch.contributorCount)) }, to: &parameters)
    }
    return parameters
  }
}
