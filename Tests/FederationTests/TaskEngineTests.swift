import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

@Suite struct TaskEngineTests {
  private static func stores(_ training: Int = 120, _ heldOut: Int = 80) throws -> [Store] {
    try (0..<3).map { try Store(seed: UInt64(50 + $0), training: training, heldOut: heldOut) }
  }

  private func federation(
    seed: UInt64 = 1, _ change: (inout TaskSpecification) -> Void = { _ in }
  ) throws -> TestFederation {
    try TestFederation(Fixture.task(change), stores: Self.stores(), seed: seed)
  }

  private let pair = [Fate.leavesBeforeUploading, .stays, .stays]

  /// Log loss of the current model over all held-out records, averaged per contributor.
  private func exactLoss(_ federation: TestFederation) throws -> Double {
    let (pipeline, model) = try #require(federation.engine.artifact.model)
    var losses: [Double] = []
    for subject in federation.stores.flatMap(\.heldOut.subjects) {
      let scores = try model.scores(
        parameters: federation.engine.artifact.parameters,
        features: pipeline.encode(subject.records.map(\.values)))
      let each = zip(scores, subject.records).map { score, record in
        Foundation.log(1 + exp(Double(record.label == 1 ? -score : score)))
      }
      losses.append(each.reduce(0, +) / Double(each.count))
    }
    return losses.reduce(0, +) / Double(losses.count)
  }

  /// Training noise off and on: the same path.
  @Test(arguments: [Double.infinity, 8])
  func `a federation agrees on features, trains and measures, and the model improves`(epsilon: Double) throws
  {
    var federation = try federation {
      $0.trainingBudget.epsilon = epsilon
      $0.evaluationBudget.epsilon = epsilon
      $0.rounds = 6
    }
    try federation.runAll()
    #expect(federation.engine.progress.status == .completed)
    #expect(
      federation.plans.map(\.kind)
        == [.coarseStatistics, .fineStatistics] + Array(repeating: .training, count: 6) + [.evaluation])
    #expect(federation.plans.map(\.round) == [0, 0, 1, 2, 3, 4, 5, 6, 0])
    #expect(federation.engine.artifact.version == 8)
    let reports = federation.engine.progress.rounds
    #expect(reports.map(\.round) == Array(1...6))
    #expect(reports.map(\.session) == Array(3...8))
    #expect(reports.allSatisfy { $0.participants == 3 && $0.dropped == 0 })
    let last = try #require(reports.last)
    let exact = try exactLoss(federation)
    #expect(exact < 0.75 * Foundation.log(2), "an untrained model has the loss ln 2")
    #expect(abs(try #require(last.loss) - exact) < (epsilon.isFinite ? 0.1 : 0.01))
    #expect(try #require(last.auc) > 0.85)
    #expect(try #require(last.accuracy) > 0.75)
    #expect(last.model == ModelArtifact.digest(of: try federation.engine.artifact.encode()).hex)
    #expect(federation.engine.progress.isEvaluated)
    #expect(abs(last.eligible - 360) <= (epsilon.isFinite ? 100 : 1))
    #expect(try federation.runSession() == .over)
  }

  @Test func `epsilon after each round is the accountant's and never exceeds the budget`() throws {
    var federation = try federation()
    while try federation.runSession() != .over {
      for population in Population.allCases { #expect(try federation.epsilon(population) <= 8) }
      guard federation.plans.last?.kind == .training else { continue }
      var accountant = RenyiAccountant()
      for plan in federation.plans {
        for segment in plan.segments where segment.population == .training {
          try accountant.compose(segment.privacyEvent())
        }
      }
      let reported = try #require(federation.engine.progress.rounds.last).epsilon.value
      #expect(abs(reported - (try accountant.epsilon(delta: 1e-5).epsilon)) < 1e-9)
    }
    // The plan uses what there is, less what one lost session more would cost.
    #expect(try federation.epsilon(.training) > 6.5)
    #expect(try federation.epsilon(.heldOut) > 6.5)
  }

  @Test func `an infinite budget has no noise and costs everything`() throws {
    var federation = try federation {
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
      $0.rounds = 1
    }
    try federation.runAll()
    for plan in federation.plans {
      for segment in plan.segments {
        #expect(segment.noiseVariance == 0)
        #expect(try segment.privacyEvent() == PrivacyEvent(mechanism: .none))
      }
    }
    let report = try #require(federation.engine.progress.rounds.first)
    #expect(report.epsilon.value == .infinity)
    #expect(String(decoding: try JSONEncoder().encode(report), as: UTF8.self).contains(#""epsilon":"inf""#))
  }

  @Test func `the released sum is the plain sum of what the stores built when noise is off`() throws {
    var federation = try federation {
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
    }
    _ = try federation.runSession()
    let sum = try #require(federation.lastSum?.values(of: .coarse))
    #expect(sum[sum.count - 1] == 360)
    _ = try federation.runSession(fates: [.leavesBeforeUploading, .stays, .stays])
    #expect(federation.engine.progress.abortedSessions == 1, "two of three are below the threshold")
  }

  // MARK: Aborted sessions

  @Test func `noise is planned again after aborted sessions and still fits`() throws {
    var federation = try federation { $0.rounds = 3 }
    var aborted = 0
    for step in 0..<12 {
      // Every other session is aborted after its debit.
      let outcome = try federation.runSession(fates: step.isMultiple(of: 2) ? pair : nil)
      if case .aborted = outcome { aborted += 1 }
      for population in Population.allCases { #expect(try federation.epsilon(population) <= 8) }
    }
    #expect(federation.engine.progress.abortedSessions == aborted)
    let updates = federation.plans.filter { $0.kind == .training }
      .map { ($0.round, $0.segments[0].noiseVariance) }
    // What an aborted session cost is missing afterwards: the same round needs more noise.
    for (earlier, later) in zip(updates, updates.dropFirst()) where earlier.0 == later.0 {
      #expect(later.1 > earlier.1)
    }
    #expect(federation.engine.progress.rounds.isEmpty == false)
  }

  @Test func `the last round and the last measurement may each be lost once after their debit`() throws {
    var federation = try federation { $0.rounds = 2 }
    for _ in 0..<3 { _ = try federation.runSession() }
    _ = try federation.runSession(fates: pair)
    #expect(federation.engine.progress.rounds.count == 1)
    _ = try federation.runSession()
    #expect(federation.engine.progress.rounds.count == 2)
    _ = try federation.runSession(fates: pair)
    try federation.runAll()
    #expect(federation.engine.progress.status == .completed)
    #expect(federation.engine.progress.abortedSessions == 2)
    #expect(federation.engine.progress.isEvaluated)
    for population in Population.allCases { #expect(try federation.epsilon(population) <= 8) }
  }

  @Test func `an aborted session changes neither model nor rounds`() throws {
    var federation = try federation()
    _ = try federation.runSession()
    let artifact = federation.engine.artifact
    guard case .aborted(let plan) = try federation.runSession(fates: pair) else {
      Issue.record("two of three stores must not be enough")
      return
    }
    #expect(federation.engine.artifact == artifact)
    #expect(federation.engine.progress.abortedSessions == 1)
    #expect(federation.engine.progress.rounds.isEmpty)
    guard case .completed(let again) = try federation.runSession() else {
      Issue.record("the session was not repeated")
      return
    }
    #expect(again.kind == plan.kind)
  }

  @Test func `every session that is planned can be run, until the budget ends it`() throws {
    var federation = try federation { $0.rounds = 1 }
    for _ in 0..<2 { _ = try federation.runSession() }
    // The only round fails after its debit again and again: crumbs of the budget are left.
    var attempts = 0
    while let plan = try federation.engine.nextSession(spent: federation.spent, cohort: 3), attempts < 30 {
      attempts += 1
      for segment in plan.segments {
        let share = try segment.noiseShare(cohort: 3, minimumSurvivors: 3, corruptPermille: 0)
        #expect(SkellamSampler.varianceRange.contains(share), "attempt \(attempts)")
        try federation.accounts[segment.population]?.debit(segment.privacyEvent())
      }
      #expect(throws: Never.self) { _ = try federation.descriptor(plan) }
      federation.engine.sessionAborted()
    }
    #expect(attempts < 30)
    guard case .stopped(let reason) = federation.engine.progress.status else {
      Issue.record("the task must stop, but is \(federation.engine.progress.status)")
      return
    }
    #expect(reason.contains("budget of the training population is spent"))
  }

  // MARK: Spent budgets

  /// Spends nearly the whole budget of a population, as another task would.
  private func spend(_ population: Population, _ federation: inout TestFederation) throws {
    let account = try #require(federation.accounts[population])
    let event = { (variance: Double) in
      PrivacyEvent(
        mechanism: .skellam(
          variance: variance, sensitivityL2Squared: 4_000_000, sensitivityL1: 8_000, dimension: 16,
          samplerErrorLog2: -72))
    }
    let variance = try SkellamCalibration.calibrateVariance(
      budget: account.budget, fixed: account.events, rounds: 1, event: event)
    try federation.accounts[population]?.debit(event(variance))
  }

  @Test(arguments: 0...3)
  func `a training budget that another task spent stops the task`(sessionsBefore: Int) throws {
    var federation = try federation()
    for _ in 0..<sessionsBefore { _ = try federation.runSession() }
    try spend(.training, &federation)
    let rounds = federation.engine.progress.rounds.count
    #expect(rounds == max(0, sessionsBefore - 2))
    try federation.runAll(limit: 4)
    guard case .stopped(let reason) = federation.engine.progress.status else {
      Issue.record("the task must stop, but is \(federation.engine.progress.status)")
      return
    }
    #expect(reason.contains("the privacy budget of the training population is spent"))
    #expect(federation.engine.progress.rounds.count == rounds, "nothing was trained any more")
    #expect(try federation.epsilon(.training) <= 8)
    #expect(federation.engine.progress.abortedSessions == 0, "no session without a budget was announced")
    // A model that exists is measured once before the end.
    #expect(federation.engine.progress.isEvaluated == (rounds > 0))
    #expect((federation.engine.progress.rounds.last?.auc != nil) == (rounds > 0))
  }

  @Test func `an evaluation budget that another task spent stops the task`() throws {
    var federation = try federation()
    for _ in 0..<3 { _ = try federation.runSession() }
    try spend(.heldOut, &federation)
    try federation.runAll(limit: 3)
    guard case .stopped(let reason) = federation.engine.progress.status else {
      Issue.record("the task must stop, but is \(federation.engine.progress.status)")
      return
    }
    #expect(reason.contains("heldOut population is spent"))
    #expect(try federation.epsilon(.heldOut) <= 8)
  }

  @Test func `noise that was off for another task leaves nothing of a finite budget`() throws {
    var federation = try federation()
    federation.accounts[.training] = try BudgetAccount(
      budget: federation.engine.task.trainingBudget, spent: [PrivacyEvent(mechanism: .none)])
    #expect(try federation.runSession() == .over)
    guard case .stopped = federation.engine.progress.status else {
      Issue.record("the task must stop, but is \(federation.engine.progress.status)")
      return
    }
  }

  // MARK: State

  @Test func `a task continues from what was stored`() throws {
    var federation = try federation {
      $0.optimizer = .adam(learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8)
    }
    for _ in 0..<4 { _ = try federation.runSession() }
    let stored = try JSONEncoder().encode(federation.engine.progress)
    let artifact = try ModelArtifact.decode(federation.engine.artifact.encode())
    var copy = federation
    copy.engine = TaskEngine(
      task: federation.engine.task, progress: try JSONDecoder().decode(TaskProgress.self, from: stored),
      artifact: artifact)
    #expect(copy.engine.progress == federation.engine.progress)
    try federation.runAll()
    try copy.runAll()
    #expect(copy.engine.progress == federation.engine.progress)
    #expect(copy.engine.artifact == federation.engine.artifact)
  }

  @Test func `a cancelled task plans nothing more, and stays cancelled`() throws {
    var federation = try federation()
    _ = try federation.runSession()
    federation.engine.cancel()
    #expect(federation.engine.progress.status == .cancelled)
    #expect(try federation.runSession() == .over)
    var done = try self.federation {
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
      $0.rounds = 1
    }
    try done.runAll()
    done.engine.cancel()
    #expect(done.engine.progress.status == .completed)
  }

  @Test func `a sum of another session is refused and moves nothing`() throws {
    var federation = try federation {
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
    }
    _ = try federation.runSession()
    let coarse = try #require(federation.lastSum)
    _ = try federation.runSession()
    var engine = TaskEngine(task: federation.engine.task)
    let fine = try #require(federation.lastSum)
    expectRefusal("fine statistics need agreed bounds") { try engine.apply(fine, epsilon: 0, seconds: 0) }
    #expect(engine.progress == TaskProgress())
    #expect(engine.artifact == TaskEngine(task: federation.engine.task).artifact)
    try engine.apply(coarse, epsilon: 0, seconds: 0)
    #expect(engine.artifact.version == 1)
  }
}
