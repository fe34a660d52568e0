import Dispatch
import Synchronization

/// Work on many nodes, on a fixed number of threads, with results that do not depend on their number.
struct NodeWork: Sendable {
  /// Threads.
  let workers: Int
  /// Where their time is added up.
  let clock: PhaseClock

  init(workers: Int, clock: PhaseClock = PhaseClock()) {
    self.workers = max(1, workers)
    self.clock = clock
  }

  /// The results of `body` for 0 ..< count, in order. Of several errors the first in order is thrown.
  func map<Value: Sendable>(
    _ phase: String, _ count: Int, _ body: @Sendable (Int) throws -> Value
  ) throws -> [Value] {
    let next = Atomic(0)
    let results = Mutex([Result<Value, any Error>?](repeating: nil, count: count))
    run(phase, count) {
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < count else { return }
        let result = Result { try body(index) }
        results.withLock { $0[index] = result }
      }
    }
    return try results.withLock { $0 }.compactMap { try $0?.get() }
  }

  /// The sum of the vectors that `body` adds for 0 ..< count: integers, so that the order does not matter.
  func sum(
    _ phase: String, _ count: Int, dimension: Int, _ body: @Sendable (Int, inout [Int64]) throws -> Void
  ) throws -> [Int64] {
    let next = Atomic(0)
    let zero = [Int64](repeating: 0, count: dimension)
    let total = Mutex((sums: zero, failure: (index: Int, error: any Error)?.none))
    run(phase, count) {
      var own = zero
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < count else { break }
        do { try body(index, &own) } catch {
          total.withLock { total in
            if index < total.failure?.index ?? .max { total.failure = (index, error) }
          }
        }
      }
      total.withLock { total in
        for index in own.indices { total.sums[index] &+= own[index] }
      }
    }
    return try total.withLock { total in
      if let failure = total.failure { throw failure.error }
      return total.sums
    }
  }

  private func run(_ phase: String, _ count: Int, _ body: @Sendable () -> Void) {
    let threads = min(workers, count)
    guard threads > 1 else { return clock.time(phase, body) }
    let clock = clock
    withoutActuallyEscaping(body) { body in
      DispatchQueue.concurrentPerform(iterations: threads) { _ in clock.time(phase, body) }
    }
  }
}
