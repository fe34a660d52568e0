import Foundation
import Synchronization

/// Runs a plan: finished runs are kept on disk at once, so that a sweep that was stopped goes on.
///
/// Runs on small populations are computed one per core; others one after the other with all cores. The
/// results are the same either way.
package struct SweepRunner {
  /// Computes one run.
  package typealias Engine =
    @Sendable (RunSetup, any VirtualPopulation, RunContext) throws -> RunOutcome

  /// How far a sweep is.
  package struct Progress: Equatable, Sendable {
    /// Finished runs, those of earlier invocations included.
    package var runsDone: Int
    /// All runs.
    package var runs: Int
    /// Runs that an earlier invocation had finished.
    package var kept: Int
    /// The part of all work that is done, 0 to 1, by rounds and cohorts.
    package var fraction: Double
    /// Since the start of this invocation.
    package var seconds: Double
    /// Until the end, if work goes on at the speed so far; nil as long as there is none.
    package var secondsLeft: Double?
  }

  private let plan: SweepPlan
  private let store: RunStore?
  private let workers: Int
  private let reducer: any SumReducer
  private let engine: Engine
  private let isStopped: @Sendable () -> Bool

  /// - Parameters:
  ///   - store: where finished runs are kept; nil on processes that keep none, and in tests.
  ///   - workers: threads.
  ///   - reducer: the other processes, which execute the same plan.
  ///   - engine: computes a run; `simulate` outside tests.
  ///   - isStopped: asked after every round; true ends the sweep.
  package init(
    plan: SweepPlan, store: RunStore?, workers: Int, reducer: any SumReducer = SingleProcess(),
    engine: @escaping Engine,
    isStopped: @escaping @Sendable () -> Bool = { false }
  ) {
    self.plan = plan
    self.store = store
    self.workers = max(1, workers)
    self.reducer = reducer
    self.engine = engine
    self.isStopped = isStopped
  }

  /// The most nodes and records of a population whose runs are computed side by side: each holds its encoded
  /// records.
  private static let smallNodes = 100_000
  private static let smallRecords = 1_000_000

  /// Computes what is not there yet.
  ///
  /// - Parameter progress: called on the caller's thread, a few times a second.
  /// - Returns: every run of the plan, in its order; on other processes than the first without those that only
  ///   the first one has.
  /// - Throws: `ScenarioError.interrupted` if it was stopped, `.runFailed` for the first run that failed;
  ///   what was finished is kept.
  package func run(progress: (Progress) -> Void = { _ in }) throws(ScenarioError) -> [RunRecord] {
    var records: [String: RunRecord] = [:]
    if let store {
      for run in plan.runs where records[run.digest] == nil { records[run.digest] = store.load(run.digest) }
    }
    let kept = try agreed(Set(records.keys))
    records = records.filter { kept.contains($0.key) }
    var todo: [SweepPlan.Run] = []
    var planned = kept
    for run in plan.runs where planned.insert(run.digest).inserted { todo.append(run) }
    let board = SweepBoard(plan: plan, kept: plan.runs.count { kept.contains($0.digest) }, todo: todo)
    let sideBySide = todo.filter { isSmall($0) && workers > 1 && reducer.ranks == 1 }
    let inTurn = todo.filter { run in !sideBySide.contains { $0.digest == run.digest } }
    try compute(sideBySide, threads: min(workers, sideBySide.count), workers: 1, board, progress)
    try compute(inTurn, threads: min(1, inTurn.count), workers: workers, board, progress)
    progress(board.progress)
    records.merge(board.finished) { $1 }
    return plan.runs.compactMap { run in
      guard var record = records[run.digest] else { return nil }
      // A kept run may have been computed under other names.
      record.setup.name = run.setup.name
      record.data = plan.data[run.data].specification
      record.inputs = plan.data[run.data].inputs
      return record
    }
  }

  private func isSmall(_ run: SweepPlan.Run) -> Bool {
    let population = plan.data[run.data].population
    return population.nodeCount <= Self.smallNodes
      && population.approximateRecordCount <= Self.smallRecords
  }

  /// What the first process has of earlier invocations: the others skip the same runs, having them or not.
  private func agreed(_ kept: Set<String>) throws(ScenarioError) -> Set<String> {
    guard reducer.ranks > 1 else { return kept }
    var flags = plan.runs.map { Int64(reducer.rank == 0 && kept.contains($0.digest) ? 1 : 0) }
    do { try reducer.allReduce(&flags) } catch {
      throw .runFailed(run: plan.scenario.name, reason: "\(error)")
    }
    return Set(zip(plan.runs, flags).filter { $1 > 0 }.map(\.0.digest))
  }

  private func compute(
    _ runs: [SweepPlan.Run], threads: Int, workers: Int, _ board: SweepBoard, _ progress: (Progress) -> Void
  ) throws(ScenarioError) {
    guard !runs.isEmpty else { return }
    let queue = Mutex(runs[...])
    let computing = SweepThreads(count: threads) {
      while !board.hasEnded, let run = queue.withLock({ $0.popFirst() }) { one(run, workers, board) }
    }
    while !computing.wait(seconds: 0.2) { progress(board.progress) }
    if let failure = board.failure { throw failure }
    if board.wasStopped {
      let progress = board.progress
      throw .interrupted(
        done: progress.runsDone, of: progress.runs, directory: store?.directory ?? "memory")
    }
  }

  private func one(_ run: SweepPlan.Run, _ workers: Int, _ board: SweepBoard) {
    let data = plan.data[run.data]
    let context = RunContext(workers: workers, reducer: reducer) { done, _ in
      board.note(run.digest, rounds: done)
      if isStopped() || board.hasEnded { throw SweepStop() }
    }
    do {
      let outcome = try engine(run.setup, data.population, context)
      let record = RunRecord(
        digest: run.digest, version: plan.version, setup: run.setup, data: data.specification,
        inputs: data.inputs, outcome: outcome)
      if reducer.rank == 0 { try store?.save(record) }
      board.finish(record)
    } catch is SweepStop {
      board.stop()
    } catch {
      let values = plan.scenario.points[run.point].values
      let name = ([plan.scenario.name] + values + ["seed \(run.setup.seed)"]).joined(separator: ", ")
      board.fail(error as? ScenarioError ?? .runFailed(run: name, reason: "\(error)"))
    }
  }
}

/// Ends a run that is under way.
private struct SweepStop: Error {}

/// Threads that work until there is nothing left, while somebody waits for them.
private final class SweepThreads {
  /// A thread lives a little longer than its work: it must not keep what the work used.
  private final class Work: Sendable {
    let body: Mutex<(@Sendable () -> Void)?>
    init(_ body: @escaping @Sendable () -> Void) { self.body = Mutex(body) }
  }

  private let group = DispatchGroup()
  private let work: Work

  init(count: Int, _ body: @escaping @Sendable () -> Void) {
    work = Work(body)
    for _ in 0..<count {
      group.enter()
      let thread = Thread { [group, work] in
        work.body.withLock(\.self)?()
        group.leave()
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
  }

  /// Whether all have ended, after waiting for it.
  func wait(seconds: Double) -> Bool {
    guard group.wait(timeout: .now() + seconds) == .success else { return false }
    work.body.withLock { $0 = nil }
    return true
  }
}

/// What the threads of a sweep tell each other.
private final class SweepBoard: Sendable {
  private struct State {
    var finished: [String: RunRecord] = [:]
    var rounds: [String: Int] = [:]
    var failure: ScenarioError?
    var isStopped = false
  }

  private let state = Mutex(State())
  private let start = ContinuousClock.now
  private let total: Int
  private let kept: Int
  /// Work per round of every run to compute, and its rounds.
  private let work: [String: (perRound: Double, rounds: Int, copies: Int)]

  init(plan: SweepPlan, kept: Int, todo: [SweepPlan.Run]) {
    total = plan.runs.count
    self.kept = kept
    var copies: [String: Int] = [:]
    for run in plan.runs { copies[run.digest, default: 0] += 1 }
    work = Dictionary(
      uniqueKeysWithValues: todo.map { run in
        (run.digest, (Double(plan.cohortSize(run)), run.setup.rounds, copies[run.digest] ?? 1))
      })
  }

  var finished: [String: RunRecord] { state.withLock(\.finished) }
  var failure: ScenarioError? { state.withLock(\.failure) }
  var wasStopped: Bool { state.withLock(\.isStopped) }
  var hasEnded: Bool { state.withLock { $0.isStopped || $0.failure != nil } }

  func note(_ digest: String, rounds: Int) { state.withLock { $0.rounds[digest] = rounds } }
  func finish(_ record: RunRecord) { state.withLock { $0.finished[record.digest] = record } }
  func stop() { state.withLock { $0.isStopped = true } }
  func fail(_ error: ScenarioError) { state.withLock { $0.failure = $0.failure ?? error } }

  var progress: SweepRunner.Progress {
    let (finished, rounds) = state.withLock { (Set($0.finished.keys), $0.rounds) }
    var all = 0.0
    var done = 0.0
    for (digest, work) in work {
      all += work.perRound * Double(work.rounds)
      let made = finished.contains(digest) ? work.rounds : min(work.rounds, rounds[digest] ?? 0)
      done += work.perRound * Double(made)
    }
    let elapsed = (ContinuousClock.now - start) / .seconds(1)
    let computed = finished.reduce(0) { $0 + (work[$1]?.copies ?? 1) }
    let keptPart = total == 0 ? 1 : Double(kept) / Double(total)
    let part = all == 0 ? 1 : done / all
    return SweepRunner.Progress(
      runsDone: kept + computed, runs: total, kept: kept, fraction: keptPart + (1 - keptPart) * part,
      seconds: elapsed, secondsLeft: part > 0 ? elapsed * (1 - part) / part : nil)
  }
}
