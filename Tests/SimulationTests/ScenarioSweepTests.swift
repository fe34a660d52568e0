import Foundation
import Learning
import Privacy
import Synchronization
import Testing

@testable import Simulation

/// A sweep over made-up customers whose runs are made up too: a formula of seed, ε and cohort.
enum FakeSweep {
  static let text = """
    name: fake <b>sweep</b>
    description: Made up & quick.
    data: {generator: retail, seed: 2, nodes: 4, customers_per_node: 10}
    training: {rounds: 3}
    privacy: {epsilon: 1}
    seeds: [1, 2, 3]
    sweep:
      cohort: [2, 4]
      privacy.epsilon: [1, 8, inf]
    """

  static func plan(_ text: String = text, version: String = "accord test") throws -> SweepPlan {
    try SweepPlan(
      scenario: Scenario.read(text, file: "dir/fake.yaml"),
      locator: DataLocator(scenario: "dir/fake.yaml", dataDirectory: nil), version: version)
  }

  static func outcome(_ setup: RunSetup, rounds: Int, shift: Double = 0) -> RunOutcome {
    let epsilon = setup.budget.epsilon
    let cohort: Double = if case .fixed(let size) = setup.cohort { Double(size) } else { 1 }
    func metrics(_ round: Int) -> RunOutcome.Metrics {
      let auc =
        0.7 + 0.02 * cohort + 0.01 * Double(round) - (epsilon.isFinite ? 0.1 / epsilon : 0)
        + 0.001 * Double(setup.seed) + shift
      var metrics = RunOutcome.Metrics(records: 100)
      (metrics.auc, metrics.accuracy, metrics.logLoss) = (auc, auc - 0.01, 1 - auc)
      return metrics
    }
    let statement = PrivacyStatement(
      epsilon: epsilon, delta: setup.budget.delta, unit: setup.unit, relation: .addRemove,
      mechanism: "Skellam", trustMode: .distributed, accountant: .rdp)
    return RunOutcome(
      rounds: (1...rounds).map {
        .init(
          round: $0, participants: Int(cohort), metrics: metrics($0), privateAUC: 0.5,
          epsilon: epsilon.isFinite ? epsilon : nil, model: "00")
      }, metrics: metrics(rounds),
      nodes: (0..<4).map { .init(node: $0, name: "store-\($0)", metrics: metrics($0)) },
      privacy: epsilon.isFinite ? statement : nil,
      model: "m-\(setup.seed)-\(epsilon)-\(cohort)-\(shift)", parameterCount: 9,
      cost: .init(
        seconds: 0.5, phaseSeconds: ["train": 0.25], uploadBytesPerRound: 1_200,
        downloadBytesPerRound: 2_400_000, bytesAreCounted: false, clientUpdates: 12),
      notes: ["A note with <i>signs</i>."])
  }

  static let engine: SweepRunner.Engine = { setup, _, context in
    for round in 1...setup.rounds { try context.progress(round, setup.rounds) }
    return outcome(setup, rounds: setup.rounds)
  }

  static func results(_ text: String = text, shift: Double = 0) throws -> SweepResults {
    let plan = try plan(text)
    let records = try SweepRunner(
      plan: plan, store: nil, workers: 1,
      engine: { setup, _, _ in outcome(setup, rounds: setup.rounds, shift: shift) }
    ).run()
    return SweepResults(plan: plan, records: records, command: "accord simulate 'fake.yaml'")
  }
}

@Suite struct `Sweeps` {
  private func json(_ plan: SweepPlan, _ records: [RunRecord]) throws -> [UInt8] {
    try SweepResults(plan: plan, records: records, command: "c").json()
  }

  @Test func `describes every run by a digest of all that decides it`() throws {
    let plan = try FakeSweep.plan()
    #expect(plan.runs.count == 18 && Set(plan.runs.map(\.digest)).count == 18)
    #expect(plan.runs.map(\.setup.seed) == (0..<6).flatMap { _ in [1, 2, 3] })
    let renamed = try FakeSweep.plan(FakeSweep.text.replacing("name: fake <b>sweep</b>", with: "name: other"))
    #expect(renamed.runs.map(\.digest) == plan.runs.map(\.digest))
    let others = [
      try FakeSweep.plan(version: "accord next"),
      try FakeSweep.plan(FakeSweep.text.replacing("seed: 2", with: "seed: 3")),
      try FakeSweep.plan(FakeSweep.text.replacing("rounds: 3", with: "rounds: 4")),
    ]
    for other in others { #expect(Set(other.runs.map(\.digest)).isDisjoint(with: plan.runs.map(\.digest))) }
  }

  @Test func `refuses a cohort that the nodes cannot fill before anything runs`() throws {
    let error = #expect(throws: ScenarioError.self) {
      try FakeSweep.plan(FakeSweep.text.replacing("[2, 4]", with: "[2, 5]"))
    }
    #expect(error?.description.contains("cohort (5) is larger than the 4 nodes") == true)
    let refused = #expect(throws: ScenarioError.self) {
      try SweepPlan(
        scenario: Scenario.read(FakeSweep.text, file: "fake.yaml"),
        locator: DataLocator(scenario: "fake.yaml", dataDirectory: nil), version: "",
        refusal: { setup, _ in setup.budget.epsilon == 8 ? "eight is odd" : nil })
    }
    #expect(refused?.description == "fake.yaml: generated retail: eight is odd")
  }

  @Test func `gives the same results whatever the number of workers`() throws {
    let plan = try FakeSweep.plan()
    let one = try SweepRunner(plan: plan, store: nil, workers: 1, engine: FakeSweep.engine).run()
    let four = try SweepRunner(plan: plan, store: nil, workers: 4, engine: FakeSweep.engine).run()
    #expect(try json(plan, one) == json(plan, four))
    #expect(one.map(\.digest) == plan.runs.map(\.digest))
  }

  @Test(arguments: [1, 3], [1, 7, 15])
  func `goes on where it was stopped and ends with the same results`(workers: Int, after: Int) throws {
    let scratch = try Scratch()
    let plan = try FakeSweep.plan()
    let whole = try SweepRunner(plan: plan, store: nil, workers: 1, engine: FakeSweep.engine).run()
    let directory = scratch.directory.path + "/out"
    let count = Mutex(0)
    var stopped: ScenarioError?
    do throws(ScenarioError) {
      let store = try RunStore(directory)
      _ = try SweepRunner(
        plan: plan, store: store, workers: workers,
        engine: { setup, population, context in
          let outcome = try FakeSweep.engine(setup, population, context)
          count.withLock { $0 += 1 }
          return outcome
        }, isStopped: { count.withLock { $0 >= after } }
      ).run()
    } catch { stopped = error }
    guard case .interrupted(let done, 18, directory) = stopped else {
      Issue.record("not interrupted: \(String(describing: stopped))")
      return
    }
    #expect(done >= after && done < 18)
    let files = try FileManager.default.contentsOfDirectory(atPath: directory + "/runs")
    #expect(files.count == done)
    var seen: [SweepRunner.Progress] = []
    let computed = Mutex(0)
    let resumed = try SweepRunner(
      plan: plan, store: RunStore(directory), workers: workers,
      engine: { setup, population, context in
        computed.withLock { $0 += 1 }
        return try FakeSweep.engine(setup, population, context)
      }
    ).run { seen.append($0) }
    #expect(computed.withLock { $0 } == 18 - done)
    #expect(seen.last?.kept == done && seen.last?.runsDone == 18 && seen.last?.fraction == 1)
    #expect(try json(plan, resumed) == json(plan, whole))
  }

  @Test func `computes a run again whose file is torn, foreign or of another version`() throws {
    let scratch = try Scratch()
    let directory = scratch.directory.path + "/out"
    let plan = try FakeSweep.plan()
    _ = try SweepRunner(plan: plan, store: RunStore(directory), workers: 2, engine: FakeSweep.engine).run()
    func computed(_ plan: SweepPlan, overwrite: Bool = false) throws -> Int {
      let count = Mutex(0)
      _ = try SweepRunner(
        plan: plan, store: RunStore(directory, overwrite: overwrite), workers: 1,
        engine: { setup, population, context in
          count.withLock { $0 += 1 }
          return try FakeSweep.engine(setup, population, context)
        }
      ).run()
      return count.withLock { $0 }
    }
    #expect(try computed(plan) == 0)
    let path = { (run: Int) in URL(fileURLWithPath: directory + "/runs/\(plan.runs[run].digest).json") }
    try Data(contentsOf: path(0)).prefix(200).write(to: path(0))
    try Data(contentsOf: path(1)).write(to: path(2))
    #expect(try computed(plan) == 2)
    #expect(try computed(FakeSweep.plan(version: "next")) == 18)
    #expect(try computed(plan, overwrite: true) == 18)
  }

  @Test func `computes equal runs once`() throws {
    let text = FakeSweep.text.replacing(
      "privacy.epsilon: [1, 8, inf]", with: "privacy.epsilon: [1, 1.0]")
    let count = Mutex(0)
    let records = try SweepRunner(
      plan: FakeSweep.plan(text), store: nil, workers: 2,
      engine: { setup, population, context in
        count.withLock { $0 += 1 }
        return try FakeSweep.engine(setup, population, context)
      }
    ).run()
    #expect(records.count == 12 && count.withLock { $0 } == 6)
  }

  @Test func `ends with the run that failed and keeps the others`() throws {
    struct Broken: Error, CustomStringConvertible { var description: String { "it broke" } }
    let scratch = try Scratch()
    let directory = scratch.directory.path + "/out"
    let error = #expect(throws: ScenarioError.self) {
      try SweepRunner(
        plan: FakeSweep.plan(), store: RunStore(directory), workers: 1,
        engine: { setup, population, context in
          if setup.budget.epsilon == 8 { throw Broken() }
          return try FakeSweep.engine(setup, population, context)
        }
      ).run()
    }
    #expect(error == .runFailed(run: "fake <b>sweep</b>, 2, 8, seed 1", reason: "it broke"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/runs").count == 3)
  }

  @Test func `leaves foreign directories alone and lets one process in`() throws {
    let scratch = try Scratch()
    let path = try scratch.file("x", name: "thesis.txt")
    #expect(throws: ScenarioError.self) { try RunStore(scratch.directory.path) }
    #expect(throws: ScenarioError.self) { try RunStore(scratch.directory.path, overwrite: true) }
    #expect(throws: ScenarioError.self) { try RunStore(path) }
    #expect(FileManager.default.fileExists(atPath: path))
    let first = try RunStore(scratch.directory.path + "/out")
    #expect(throws: ScenarioError.self) { try RunStore(scratch.directory.path + "/out") }
    withExtendedLifetime(first) {}
  }

  /// Two processes that add up in turn, as threads.
  private final class TwoRanks: SumReducer {
    let rank: Int
    let ranks = 2
    init(rank: Int) { self.rank = rank }
    /// The first process has the first run only.
    func allReduce(_ sums: inout [Int64]) { sums[0] = 1 }
  }

  @Test func `skips on every process what the first one has`() throws {
    let scratch = try Scratch()
    let plan = try FakeSweep.plan()
    let count = Mutex(0)
    let records = try SweepRunner(
      plan: plan, store: nil, workers: 2, reducer: TwoRanks(rank: 1),
      engine: { setup, population, context in
        #expect(context.workers == 2 && context.reducer.ranks == 2)
        count.withLock { $0 += 1 }
        return try FakeSweep.engine(setup, population, context)
      }
    ).run()
    #expect(count.withLock { $0 } == 17 && records.count == 17)
    withExtendedLifetime(scratch) {}
  }
}
