import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

/// Training tasks that end when their private measurements get no better.
@Suite struct EarlyStoppingTaskTests {
  private func federation(
    epsilon: Double, rounds: Int = 14, rule: EarlyStopping?, learningRate: Float = 1,
    heldOut: Int = 80, _ change: (inout TaskSpecification) -> Void = { _ in }
  ) throws -> TestFederation {
    let task = try Fixture.task {
      $0.trainingBudget.epsilon = epsilon
      $0.evaluationBudget.epsilon = epsilon
      $0.rounds = rounds
      $0.optimizer = .sgd(learningRate: learningRate)
      $0.earlyStopping = rule
      change(&$0)
    }
    let stores = try (0..<3).map { try Store(seed: UInt64(50 + $0), training: 120, heldOut: heldOut) }
    return try TestFederation(task, stores: stores)
  }

  /// No measurement improves by so much, but for the first.
  private static let strict = EarlyStopping(patience: 2, minimumImprovement: 0.9, metric: .auc)

  @Test func `training ends, the best measured model is kept, and the rest of the budget is not spent`()
    throws
  {
    // So large a step that the model jumps back and forth: the best round is not the last.
    var federation = try federation(epsilon: .infinity, rule: Self.strict, learningRate: 60)
    var models: [Int: [Float]] = [:]
    while try federation.runSession() != .over {
      let progress = federation.engine.progress
      if !progress.hasStoppedEarly { models[progress.rounds.count] = federation.engine.artifact.parameters }
    }
    let progress = federation.engine.progress
    let stopping = try #require(progress.earlyStopping)
    #expect(progress.status == .completed && progress.isEvaluated)
    // Round r is measured in the session of round r + 1: the first is the reference, two more are waited for.
    #expect(stopping.endedAfter == 4 && progress.rounds.count == 4)
    #expect(
      federation.plans.map(\.kind)
        == [.coarseStatistics, .fineStatistics, .training, .training, .training, .training, .evaluation])
    let aucs = progress.rounds.prefix(3).map { $0.auc ?? 0 }
    let best = try #require(stopping.state.bestRound)
    // The best round was measured once more at the end, on another grid.
    #expect(
      abs((stopping.state.best ?? 0) - (aucs.max() ?? 1)) < 0.01 && aucs[best - 1] > (aucs.max() ?? 1) - 0.01)
    #expect(federation.engine.artifact.parameters == models[best])
    #expect(progress.modelRound?.round == best && progress.rounds[3].auc == nil)
    #expect(federation.engine.artifact.version == 6, "one version for each session of sums")
    #expect(progress.rounds[3].model == ModelArtifact.digest(of: try federation.engine.artifact.encode()).hex)
    // Who may not have models gets none with the progress.
    let shown = progress.public
    #expect(shown.optimizer == nil && shown.evaluationAverage.isEmpty && progress.optimizer != nil)
    #expect(shown.earlyStopping?.bestParameters == [] && !stopping.bestParameters.isEmpty)
    #expect(shown.rounds == progress.rounds && shown.hasStoppedEarly)
    let sentence = try #require(stopping.sentences(Self.strict, of: 14).first)
    #expect(sentence.contains("after 4 of 14 rounds") && sentence.contains("round \(best)"))
    #expect(sentence.contains("not spent"))
  }

  @Test func `a step that would be thrown away cannot end the task`() throws {
    // The model is finite for four rounds, and the optimiser is not asked for a fifth step.
    var federation = try federation(epsilon: .infinity, rule: Self.strict, learningRate: 60)
    while federation.engine.progress.rounds.count < 3 { _ = try federation.runSession() }
    let before = federation.engine.progress.optimizer
    while try federation.runSession() != .over {}
    #expect(federation.engine.progress.hasStoppedEarly && federation.engine.progress.optimizer == before)
  }

  @Test func `trees must be waited for, and recommenders are not measured`() throws {
    for (patience, splitting, isFine) in [
      (4, TreeSettings.Splitting.best, false), (5, .best, true), (1, .random, true),
    ] {
      let task = try Fixture.task {
        $0.architecture = .boostedTrees(TreeSettings(maximumDepth: 4, splitting: splitting))
        $0.earlyStopping = EarlyStopping(patience: patience, minimumImprovement: 0, metric: .auc)
      }
      if isFine {
        try task.validate()
      } else {
        expectRefusal("earlyStopping", "patient for at least 5") { try task.validate() }
      }
    }
    expectRefusal("earlyStopping", "recommenders") {
      try Fixture.task {
        $0.architecture = .recommendation(ModelKindTests.recommendation)
        $0.labelBound = 4
        $0.earlyStopping = EarlyStopping(patience: 3, minimumImprovement: 0, metric: .rmse)
      }.validate()
    }
  }

  @Test func `with noise less is spent than without early stopping, and the noise is told`() throws {
    var stopped = try federation(epsilon: 8, rule: Self.strict)
    var whole = try federation(epsilon: 8, rule: nil)
    try stopped.runAll()
    try whole.runAll()
    #expect(whole.engine.progress.rounds.count == 14 && whole.engine.progress.earlyStopping == nil)
    #expect(stopped.engine.progress.rounds.count == 4 && stopped.engine.progress.status == .completed)
    let (less, all) = (try stopped.epsilon(.training), try whole.epsilon(.training))
    #expect(less < 0.75 * all && all <= 8)
    #expect(try stopped.epsilon(.heldOut) <= 8)
    // Until then both are the same: looking at what was released costs nothing and adds nothing.
    #expect(stopped.plans.prefix(6) == whole.plans.prefix(6))
    let stopping = try #require(stopped.engine.progress.earlyStopping)
    let deviation = try #require(stopping.deviation)
    #expect(deviation > 0.001 && deviation < 0.2)
    let quiet = EarlyStopping(patience: 2, minimumImprovement: 0.0001, metric: .auc)
    #expect(stopping.sentences(quiet, of: 14).contains { $0.contains("standard deviation") })
    #expect(!stopping.sentences(Self.strict, of: 14).contains { $0.contains("standard deviation") })
  }

  @Test func `patience that never runs out changes nothing`() throws {
    let patient = EarlyStopping(patience: 100, minimumImprovement: 0, metric: .logLoss)
    var (with, without) = (
      try federation(epsilon: 8, rounds: 5, rule: patient), try federation(epsilon: 8, rounds: 5, rule: nil)
    )
    try with.runAll()
    try without.runAll()
    #expect(with.plans == without.plans)
    #expect(with.engine.artifact.parameters == without.engine.artifact.parameters)
    #expect(with.engine.progress.earlyStopping?.endedAfter == nil)
    #expect(with.engine.progress.modelRound?.round == 5)
  }

  @Test func `a restart in the middle continues identically`() throws {
    func run(restarting: Bool) throws -> TestFederation {
      var federation = try federation(epsilon: 8, rule: Self.strict)
      while try federation.runSession() != .over {
        guard restarting else { continue }
        let bytes = try CanonicalJSON.encode(federation.engine.progress)
        let progress = try JSONDecoder().decode(TaskProgress.self, from: Data(bytes))
        federation.engine = TaskEngine(
          task: federation.engine.task, progress: progress,
          artifact: try ModelArtifact.decode(federation.engine.artifact.encode()))
      }
      return federation
    }
    let (whole, interrupted) = (try run(restarting: false), try run(restarting: true))
    #expect(whole.plans == interrupted.plans)
    #expect(whole.engine.progress == interrupted.engine.progress)
    #expect(whole.engine.progress.hasStoppedEarly)
    #expect(try whole.engine.artifact.encode() == interrupted.engine.artifact.encode())
  }

  @Test func `tasks and states without early stopping read and write as before`() throws {
    let task = try Fixture.task()
    let text = String(decoding: try task.canonicalBytes(), as: UTF8.self)
    #expect(!text.contains("earlyStopping"))
    let progress = String(decoding: try CanonicalJSON.encode(TaskProgress()), as: UTF8.self)
    #expect(!progress.contains("earlyStopping"))
    #expect(try JSONDecoder().decode(TaskProgress.self, from: Data(progress.utf8)) == TaskProgress())
    let written = try Fixture.task {
      $0.earlyStopping = EarlyStopping(patience: 3, minimumImprovement: 0.001, metric: .auc)
    }
    let bytes = try written.canonicalBytes()
    #expect(
      String(decoding: bytes, as: UTF8.self).contains(
        #""earlyStopping":{"metric":"auc","minimumImprovement":0.001,"patience":3}"#))
    #expect(try TaskSpecification.decode(bytes) == written)
  }

  @Test func `refuses rules that cannot be, and SCAFFOLD`() throws {
    func refusal(_ change: (inout TaskSpecification) -> Void) throws -> String {
      let task = try Fixture.task(change)
      do { try task.validate() } catch { return "\(error)" }
      return ""
    }
    #expect(
      try refusal { $0.earlyStopping = EarlyStopping(patience: 0, minimumImprovement: 0, metric: .auc) }
        .contains("patience"))
    #expect(
      try refusal { $0.earlyStopping = EarlyStopping(patience: 1, minimumImprovement: 0, metric: .rmse) }
        .contains("auc"))
    let scaffold = LocalSettings(
      epochs: 1, batchSize: 8, learningRate: 0.1, normalise: 4, controlVariates: true)
    #expect(try refusal { $0.algorithm = .local(scaffold) }.contains("control variate of every customer"))
  }
}
