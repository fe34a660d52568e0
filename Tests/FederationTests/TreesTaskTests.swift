import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

/// Trees, numbers and items through whole federations.
@Suite struct TreesTaskTests {
  static func federation(
    training: Int = 60, _ change: (inout TaskSpecification) -> Void = { _ in }
  ) throws -> TestFederation {
    try TestFederation(
      Fixture.task {
        $0.architecture = .boostedTrees(ModelKindTests.trees)
        $0.trainingBudget = Fixture.endless
        $0.evaluationBudget = Fixture.endless
        $0.rounds = 50
        $0.clipNorm = 1
        $0.quantileBins = 8
        change(&$0)
      }, stores: (0..<3).map { try Store(seed: UInt64(30 + $0), training: training, heldOut: 30) })
  }

  /// The mean of the contributions of everybody in all stores, computed in one place.
  private func centralMean(_ federation: TestFederation) throws -> (mean: [Float], contributors: Int) {
    let artifact = federation.engine.artifact
    let (pipeline, model) = try #require(artifact.model)
    let worker = try model.makeWorker(algorithm: .fedSGD)
    var sum = [Double](repeating: 0, count: model.contributionLength(parameters: artifact.parameters))
    var contributors = 0
    for store in federation.stores {
      let records = store.training.subjects.map(\.records)
      var offsets = [0]
      for own in records { offsets.append(offsets[offsets.count - 1] + own.count) }
      let batch = try TrainingBatch(
        features: pipeline.encode(records.flatMap { $0.map(\.values) }, as: .bins),
        labels: records.flatMap { $0.map(\.label) }, contributorOffsets: offsets, objective: model.objective)
      try artifact.parameters.withUnsafeBufferPointer { parameters in
        try worker.forEachContribution(
          parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount, seed: 1
        ) { _, vector in
          #expect(clipL2(vector, to: 1) <= 1.000_01, "no contribution is longer than the usual clip norm")
          for index in sum.indices { sum[index] += Double(vector[index]) }
          contributors += 1
        }
      }
    }
    return (sum.map { Float($0 / Double(contributors)) }, contributors)
  }

  @Test func `a federation grows the trees that one place with all records would grow`() throws {
    var federation = try Self.federation()
    for _ in 0..<2 { _ = try federation.runSession() }
    var rounds = 0
    while federation.engine.artifact.model.map({ model in
      model.model.contributionLength(parameters: federation.engine.artifact.parameters) > 0
    }) == true {
      let before = federation.engine.artifact
      let (mean, contributors) = try centralMean(federation)
      #expect(contributors == 180)
      var parameters = before.parameters
      var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: parameters.count)
      try #require(before.model).model.step(
        mean: mean, contributors: Double(contributors), optimizer: &optimizer, parameters: &parameters)
      guard case .completed = try federation.runSession() else { break }
      rounds += 1
      let grown = federation.engine.artifact.parameters
      #expect(grown.count == parameters.count, "round \(rounds)")
      let difference = zip(grown, parameters).map { abs($0 - $1) }.max() ?? .infinity
      // What is left is the rounding of the nodes' integers.
      #expect(difference < 0.02, "round \(rounds)")
    }
    #expect(rounds > 3 && rounds <= ModelKindTests.trees.maximumRounds)
  }

  @Test func `the task ends when the trees are grown, and the model has learned`() throws {
    var federation = try Self.federation()
    try federation.runAll()
    let progress = federation.engine.progress
    #expect(progress.status == .completed && progress.isEvaluated)
    #expect(progress.rounds.count <= ModelKindTests.trees.maximumRounds)
    #expect(federation.plans.last?.kind == .evaluation)
    let last = try #require(progress.rounds.last)
    #expect(try #require(last.auc) > 0.8)
    #expect(last.rmse == nil && last.r2 == nil && last.accuracy != nil)
    // Sums have the length of the round's histogram and the count.
    let lengths = federation.plans.filter { $0.kind == .training }.map { $0.segments[0].length }
    #expect(lengths.first == 2 && Set(lengths).count > 1)
  }

  @Test func `a lost session is repeated from the same trees`() throws {
    var federation = try Self.federation()
    for _ in 0..<4 { _ = try federation.runSession() }
    let before = federation.engine.artifact
    let outcome = try federation.runSession(fates: [.leavesBeforeUploading, .leavesBeforeUploading, .stays])
    guard case .aborted = outcome else {
      Issue.record("not aborted")
      return
    }
    #expect(federation.engine.artifact == before)
    try federation.runAll()
    #expect(federation.engine.progress.status == .completed)
    #expect(federation.engine.progress.abortedSessions == 1)
  }

  @Test func `random trees are grown under a budget`() throws {
    var federation = try Self.federation(training: 200) {
      $0.architecture = .boostedTrees(
        TreeSettings(trees: 4, maximumDepth: 2, learningRate: 0.5, l2: 5, splitting: .random))
      $0.trainingBudget = PrivacyBudget(epsilon: 8, delta: 1e-5)
      $0.evaluationBudget = PrivacyBudget(epsilon: 8, delta: 1e-5)
      $0.rounds = 5
    }
    try federation.runAll()
    #expect(federation.engine.progress.status == .completed)
    #expect(federation.engine.progress.rounds.count == 5)
    #expect(try federation.epsilon(.training) <= 8)
    #expect(try #require(federation.engine.progress.rounds.last?.auc) > 0.6)
  }

  @Test(arguments: [500, 7])
  func `rows of bins that were encoded before give the same integers`(maximumContributors: Int) throws {
    var federation = try Self.federation { $0.maximumContributors = maximumContributors }
    for _ in 0..<4 { _ = try federation.runSession() }
    let plan = try #require(
      try federation.run.nextSession(spent: federation.spent, own: federation.own, cohort: 3))
    let artifact = federation.engine.artifact
    let builder = try ContributionBuilder(
      task: federation.engine.task, descriptor: federation.descriptor(plan), artifact: artifact)
    #expect(plan.segments.map(\.name) == [.update, .evaluation] && plan.segments[0].length > 10)
    let store = federation.stores[0]
    let encoded = try EncodedContributors(
      training: store.training, heldOut: store.heldOut, pipeline: #require(artifact.model).pipeline,
      architecture: artifact.architecture)
    var (one, other) = (RandomStream(testSeed: 5), RandomStream(testSeed: 5))
    let expected = try builder.build(training: store.training, heldOut: store.heldOut, random: &one)
    let actual = try builder.build(encoded, random: &other)
    #expect(firstDifference(actual, expected) == nil)
    #expect(actual.contains { $0 != 0 } && one.word() == other.word())
    // The same columns, as another model takes them.
    let dense = try EncodedContributors(
      training: store.training, heldOut: nil, pipeline: #require(artifact.model).pipeline,
      architecture: .logisticRegression)
    expectRefusal("pipeline") { _ = try builder.build(dense, random: &other) }
  }

  @Test func `numbers are measured within their bound`() throws {
    var federation = try Self.federation {
      $0.architecture = .network(NetworkSettings(objective: .squaredError))
      $0.labelBound = 2
      $0.rounds = 8
      $0.clipNorm = 4
      $0.optimizer = .sgd(learningRate: 0.3)
    }
    try federation.runAll()
    let last = try #require(federation.engine.progress.rounds.last)
    #expect(federation.engine.progress.status == .completed)
    let (rmse, mae, r2) = (try #require(last.rmse), try #require(last.mae), try #require(last.r2))
    #expect(last.auc == nil && last.accuracy == nil && last.loss == nil)
    #expect(mae <= rmse && rmse < 0.48 && r2 > 0.1, "labels are 0 or 1: \(rmse), \(mae), \(r2)")
  }
}

/// Recommendation: one numeric column, no statistics.
@Suite struct RecommendationTaskTests {
  @Test func `training starts without statistics, from the first session on`() throws {
    let schema = try FeatureSchema(columns: [FeatureColumn(name: "item", kind: .numeric)])
    let task = try Fixture.task {
      $0.schema = schema
      $0.architecture = .recommendation(ModelKindTests.recommendation)
      $0.labelBound = 5
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
    }
    var engine = TaskEngine(task: task)
    let plan = try #require(try engine.nextSession(spent: [:], cohort: 3))
    #expect(plan.kind == .training && plan.round == 1 && plan.segments.map(\.name) == [.update])
    let (_, model) = try #require(engine.artifact.model)
    #expect(engine.artifact.version == 1)
    #expect(plan.segments[0].length == model.contributionLength(parameters: engine.artifact.parameters) + 1)
    // Asked again, it plans the same.
    #expect(try engine.nextSession(spent: [:], cohort: 3) == plan && engine.artifact.version == 1)
  }

  @Test func `columns that name no items end the task with a sentence`() throws {
    let task = try Fixture.task {
      $0.architecture = .recommendation(ModelKindTests.recommendation)
      $0.labelBound = 5
    }
    var engine = TaskEngine(task: task)
    expectRefusal("column") { _ = try engine.nextSession(spent: [:], cohort: 3) }
  }
}
