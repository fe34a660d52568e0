import Foundation
import Synchronization

/// Threads that take pieces of work from a common counter until none is left. Who computes a piece is left to
/// chance: results that are to be the same for any number of threads are made of exact sums, or lie in a place
/// of each item's own.
///
/// The caller's thread is worker 0. Waiting threads look for work for some microseconds before they sleep, since
/// a round of a small model takes no longer; a thread that comes too late is not waited for.
package final class WorkerPool: Sendable {
  /// The number of threads, the caller's included.
  package let workers: Int
  private let board: JobBoard

  /// - Parameter workers: at least 1.
  package init(workers: Int) {
    precondition(workers >= 1, "a pool has at least one worker")
    self.workers = workers
    board = JobBoard()
    for worker in 1..<max(workers, 1) {
      let thread = Thread { [board] in board.serve(worker: worker) }
      thread.name = "accord worker \(worker)"
      thread.stackSize = 1 << 21
      thread.start()
    }
  }

  deinit { board.close() }

  /// Calls `body` for all of 0 ..< `count`, in ranges, on all workers, and returns when all calls have returned.
  /// One call at a time, not from within `body`.
  ///
  /// - Parameters:
  ///   - chunk: how many items are taken at a time.
  ///   - body: gets the worker, 0 ..< `workers`, and a range of items. What it throws ends the work early; of
  ///     several errors one is thrown.
  package func run(
    _ count: Int, chunk: Int = 1,
    _ body: @escaping @Sendable (_ worker: Int, _ items: Range<Int>) throws -> Void
  ) throws {
    guard count > 0 else { return }
    guard workers > 1, count > chunk else { return try body(0, 0..<count) }
    try board.run(Job(count: count, chunk: max(chunk, 1), body: body))
  }
}

extension WorkerPool {
  /// The results of `body` for all of 0 ..< `count`, in order.
  package func map<Value: Sendable>(
    _ count: Int, chunk: Int = 1, _ body: @escaping @Sendable (Int) throws -> Value
  ) throws -> [Value] {
    let results = Results<Value>(count: count)
    try run(count, chunk: chunk) { _, items in
      for item in items { results.set(item, try body(item)) }
    }
    return results.all
  }
}

/// Results of items, each in a place of its own.
private final class Results<Value: Sendable>: @unchecked Sendable {
  // Each item is written once, by the thread that computed it; the caller reads when all have returned.
  private let places: UnsafeMutableBufferPointer<Value?>

  init(count: Int) {
    places = .allocate(capacity: count)
    places.initialize(repeating: nil)
  }

  deinit {
    places.deinitialize()
    places.deallocate()
  }

  func set(_ index: Int, _ value: Value) { places[index] = value }
  var all: [Value] { places.compactMap { $0 } }
}

/// One call of `WorkerPool.run`.
private final class Job: Sendable {
  private let count: Int
  private let chunk: Int
  private let body: @Sendable (Int, Range<Int>) throws -> Void
  private let next = Atomic(0)
  private let failure = Mutex<(any Error)?>(nil)

  init(count: Int, chunk: Int, body: @escaping @Sendable (Int, Range<Int>) throws -> Void) {
    self.count = count
    self.chunk = chunk
    self.body = body
  }

  func work(as worker: Int) {
    while true {
      let first = next.add(chunk, ordering: .relaxed).oldValue
      guard first < count else { return }
      do { try body(worker, first..<min(first + chunk, count)) } catch {
        failure.withLock { if $0 == nil { $0 = error } }
        next.store(count, ordering: .relaxed)
      }
    }
  }

  func rethrow() throws {
    if let error = failure.withLock({ $0 }) { throw error }
  }
}

/// Where the caller pins a job and workers find it.
private final class JobBoard: Sendable {
  /// Odd numbers while a job is open, even ones between jobs; negative when the pool is gone.
  private let turn = Atomic(0)
  /// Workers that may be at the job.
  private let active = Atomic(0)
  private let job = Mutex<Job?>(nil)
  private let gate = Gate()

  func run(_ job: Job) throws {
    self.job.withLock { $0 = job }
    turn.add(1, ordering: .sequentiallyConsistent)
    gate.open()
    job.work(as: 0)
    turn.add(1, ordering: .sequentiallyConsistent)
    gate.wait { self.active.load(ordering: .sequentiallyConsistent) == 0 }
    self.job.withLock { $0 = nil }
    try job.rethrow()
  }

  func close() {
    turn.store(-1, ordering: .sequentiallyConsistent)
    gate.open()
  }

  func serve(worker: Int) {
    var last = 0
    while true {
      gate.wait {
        let turn = self.turn.load(ordering: .sequentiallyConsistent)
        return turn < 0 || (turn & 1 == 1 && turn != last)
      }
      // Announced before looking again: the caller cannot have missed a worker that still sees the job.
      active.add(1, ordering: .sequentiallyConsistent)
      let now = turn.load(ordering: .sequentiallyConsistent)
      if now & 1 == 1, now > 0, let job = job.withLock({ $0 }) { job.work(as: worker) }
      last = now
      active.subtract(1, ordering: .sequentiallyConsistent)
      gate.open()
      if now < 0 { return }
    }
  }
}

/// Lets threads wait for a condition on atomics.
private final class Gate: Sendable {
  private static let looks = 200
  private let sleepers = Atomic(0)
  private let condition = NSCondition()

  /// Returns when `isOpen` holds; it is looked at again whenever somebody calls `open`.
  func wait(_ isOpen: () -> Bool) {
    for look in 0..<Self.looks {
      if isOpen() { return }
      if look > 100 { sched_yield() }
    }
    condition.lock()
    // Announced before looking again: whoever changes the condition afterwards sees a sleeper.
    sleepers.add(1, ordering: .sequentiallyConsistent)
    while !isOpen() { condition.wait() }
    sleepers.subtract(1, ordering: .sequentiallyConsistent)
    condition.unlock()
  }

  /// Wakes who waits. Call it after every change of a condition.
  func open() {
    guard sleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
    condition.lock()
    condition.broadcast()
    condition.unlock()
  }
}
