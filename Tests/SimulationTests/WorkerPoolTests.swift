import Synchronization
import Testing

@testable import Simulation

@Suite struct `Worker pools` {
  @Test(arguments: [1, 2, 3, 5])
  func `every item is done once`(workers: Int) throws {
    let pool = WorkerPool(workers: workers)
    for (count, chunk) in [(1, 1), (2, 5), (7, 2), (1000, 1), (1000, 13), (0, 1)] {
      let squares = try pool.map(count, chunk: chunk) { $0 * $0 }
      let agrees = squares == (0..<count).map { $0 * $0 }
      #expect(agrees)
      let seen = Mutex<Set<Int>>([])
      try pool.run(count, chunk: chunk) { worker, _ in seen.withLock { _ = $0.insert(worker) } }
      #expect(seen.withLock { $0 }.isSubset(of: Set(0..<workers)))
    }
  }

  @Test func `many short jobs follow each other`() throws {
    let pool = WorkerPool(workers: 3)
    let sum = Atomic(0)
    for _ in 0..<3_000 {
      try pool.run(5) { _, items in for item in items { sum.add(item + 1, ordering: .relaxed) } }
    }
    #expect(sum.load(ordering: .relaxed) == 3_000 * 15)
  }

  @Test func `an error ends the work and reaches the caller, and the pool works on`() throws {
    struct Stop: Error {}
    let pool = WorkerPool(workers: 2)
    let calls = Atomic(0)
    #expect(throws: Stop.self) {
      try pool.run(100_000) { _, items in
        calls.add(1, ordering: .relaxed)
        if items.lowerBound == 3 { throw Stop() }
      }
    }
    #expect(calls.load(ordering: .relaxed) < 100_000)
    #expect(try pool.map(3) { $0 } == [0, 1, 2])
  }
}
