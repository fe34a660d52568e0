/// Adds up integer vectors over the processes of a run. Integers, so that neither the number of processes nor
/// the order of the additions changes a bit.
package protocol SumReducer: Sendable {
  /// This process, from 0.
  var rank: Int { get }
  /// All processes.
  var ranks: Int { get }
  /// Replaces `sums` by the sum over all processes, on all of them. Every process calls it in the same order
  /// with the same length.
  func allReduce(_ sums: inout [Int64]) throws
}

/// A run in one process.
package struct SingleProcess: SumReducer {
  package init() {}
  package var rank: Int { 0 }
  package var ranks: Int { 1 }
  package func allReduce(_ sums: inout [Int64]) {}
}

/// Where and how a run is computed: none of it changes the result.
package struct RunContext: Sendable {
  /// Threads that compute.
  package var workers: Int
  /// The other processes.
  package var reducer: any SumReducer
  /// Called after every round with the rounds done and all rounds; a throw ends the run.
  package var progress: @Sendable (_ done: Int, _ of: Int) throws -> Void

  package init(
    workers: Int, reducer: any SumReducer = SingleProcess(),
    progress: @escaping @Sendable (_ done: Int, _ of: Int) throws -> Void = { _, _ in }
  ) {
    self.workers = workers
    self.reducer = reducer
    self.progress = progress
  }
}
