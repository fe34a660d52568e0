import Foundation
import Synchronization

/// Runs many seeds over a few threads; each run is sequential and decided by its seed alone.
package struct FaultSweep: Sendable {
  /// What all runs together did.
  package struct Summary: Sendable {
    /// Runs that ended.
    package var runs = 0
    /// Sessions announced, and completed.
    package var sessions = 0
    package var completed = 0
    /// Messages sent, and processes that were started again.
    package var messages = 0
    package var restarts = 0
    /// Virtual time, milliseconds.
    package var virtualMs: UInt64 = 0
    /// How often each kind of event happened.
    package var counts: [FaultEvent.Kind: Int] = [:]
    /// The violation of the smallest seed among those that were run.
    package var failure: FaultReport?
    /// Every seed that failed, with the law it broke.
    package var failures: [UInt64: String] = [:]

    mutating func add(_ report: FaultReport) {
      runs += 1
      sessions += report.sessions
      completed += report.completed
      messages += report.messages
      restarts += report.restarts
      virtualMs += report.virtualMs
      counts.merge(report.counts, uniquingKeysWith: +)
      guard let violation = report.violation else { return }
      failures[report.setup.seed] = violation.description
      if report.setup.seed < failure?.setup.seed ?? .max { failure = report }
    }
  }

  /// What is run; the seed is the first one.
  package let setup: FaultSetup
  /// How many seeds.
  package let seeds: Int
  /// Threads.
  package let workers: Int
  /// Whether the rest is left out after a violation.
  package let stopsAtViolation: Bool

  package init(setup: FaultSetup, seeds: Int, workers: Int, stopsAtViolation: Bool = true) {
    self.setup = setup
    self.seeds = seeds
    self.workers = workers
    self.stopsAtViolation = stopsAtViolation
  }

  /// Runs all seeds. `progress` is told what has been done, by one thread at a time.
  package func run(progress: @escaping @Sendable (Summary) -> Void = { _ in }) async throws -> Summary {
    let tally = Tally()
    let (setup, seeds, stops) = (setup, seeds, stopsAtViolation)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<max(1, min(workers, seeds)) {
        group.addTask {
          while let position = tally.next(of: seeds, stopsAtViolation: stops) {
            var one = setup
            one.seed = setup.seed &+ UInt64(position)
            tally.add(try await FaultRun.run(one), progress)
          }
        }
      }
      try await group.waitForAll()
    }
    return tally.summary
  }

  /// What the threads share.
  private final class Tally: Sendable {
    private let state = Mutex((next: 0, summary: Summary()))

    var summary: Summary { state.withLock { $0.summary } }

    func next(of seeds: Int, stopsAtViolation: Bool) -> Int? {
      state.withLock { state in
        guard state.next < seeds, !(stopsAtViolation && state.summary.failure != nil) else { return nil }
        state.next += 1
        return state.next - 1
      }
    }

    func add(_ report: FaultReport, _ progress: (Summary) -> Void) {
      state.withLock { state in
        state.summary.add(report)
        progress(state.summary)
      }
    }
  }
}
