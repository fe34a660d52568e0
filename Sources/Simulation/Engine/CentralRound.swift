import Learning

/// Where the records of the nodes are, ready for training.
protocol NodeBatches: Sendable {
  /// The training records of a node; nil if it has none.
  func training(of node: Int) throws -> TrainingBatch?
}

/// Adds up the clipped updates of a cohort, on all workers.
///
/// Each worker has one local model and one exact sum, allocated once; what a round needs in memory does not grow
/// with the cohort.
final class CentralRound: Sendable {
  /// What one worker has for itself: nobody else touches it while a round runs.
  private final class Bench: @unchecked Sendable {
    // Used by the worker of its number alone, and by the caller between rounds.
    let worker: LocalWorker
    let sum: ExactSum
    var nodes = 0
    var training: Duration = .zero

    init(worker: LocalWorker, sum: ExactSum) {
      self.worker = worker
      self.sum = sum
    }
  }

  /// The sum of a cohort's updates.
  struct Total {
    /// In steps of the grid.
    var integers: [Int64]
    /// Contributors in the sum.
    var contributors: Int
    /// Nodes with at least one of them.
    var nodes: Int
    /// Contributors whose update was not finite and counts as zeros.
    var zeroed: Int
  }

  private let benches: [Bench]
  private let pool: WorkerPool
  private let reducer: any SumReducer
  private let clipNorm: Float?
  private let parameterCount: Int

  init(trainer: LocalTrainer, clipNorm: Float?, pool: WorkerPool, reducer: any SumReducer) throws {
    parameterCount = trainer.model.parameterCount
    self.clipNorm = clipNorm
    self.pool = pool
    self.reducer = reducer
    // A factor of the clipping in single precision may round up.
    let bound = clipNorm.map { $0 * 1.000_001 } ?? ExactSum.unclippedBound
    benches = try (0..<pool.workers).map { _ in
      Bench(
        worker: try LocalWorker(trainer), sum: ExactSum(count: trainer.model.parameterCount, bound: bound))
    }
  }

  /// Seconds of all workers in local training, clipping and adding.
  var trainingSeconds: Double { benches.reduce(0) { $0 + $1.training.inSeconds } }

  /// What the integers of a total mean, over `divisor`.
  func means(of total: Total, noise: NoiseBuffer?, divisor: Double) -> [Float] {
    benches[0].sum.means(
      of: total.integers, noise: noise.map { UnsafeBufferPointer($0.values) }, divisor: divisor)
  }

  /// Trains this process's share of the cohort from the same parameters, and adds up over all processes.
  func total(
    parameters: [Float], cohort: [Int], seed: UInt64, batches: some NodeBatches
  ) throws -> Total {
    for bench in benches {
      bench.sum.reset()
      bench.nodes = 0
    }
    let share = cohort.share(of: reducer.rank, among: reducer.ranks)
    let (benches, clipNorm) = (benches, clipNorm)
    let start = SharedParameters(parameters)
    let chunk = max(1, min(share.count / (pool.workers * 6), 64))
    try pool.run(share.count, chunk: chunk) { worker, items in
      let bench = benches[worker]
      let begin = ContinuousClock.now
      for item in items {
        guard let batch = try batches.training(of: share[share.startIndex + item]) else { continue }
        bench.nodes += 1
        try bench.worker.forEachUpdate(
          parameters: start.values, batch: batch, contributors: 0..<batch.contributorCount, seed: seed
        ) { _, update in
          let update = UnsafeBufferPointer(update)
          if let clipNorm { bench.sum.addClipped(update, to: clipNorm) } else { bench.sum.add(update) }
        }
      }
      bench.training += ContinuousClock.now - begin
    }
    let sum = benches[0].sum
    for bench in benches.dropFirst() { sum.add(bench.sum) }
    var integers = sum.integers
    integers.append(contentsOf: [
      Int64(sum.added), Int64(benches.reduce(0) { $0 + $1.nodes }), Int64(sum.zeroed),
    ])
    try reducer.allReduce(&integers)
    let contributors = Int(integers[parameterCount])
    guard contributors <= ExactSum.maximumCount else {
      throw CentralRunError.tooManyContributors(contributors, most: ExactSum.maximumCount)
    }
    let (nodes, zeroed) = (Int(integers[parameterCount + 1]), Int(integers[parameterCount + 2]))
    integers.removeLast(3)
    return Total(integers: integers, contributors: contributors, nodes: nodes, zeroed: zeroed)
  }
}

/// The parameters that all workers start from.
private final class SharedParameters: @unchecked Sendable {
  // Written before the workers start, and only read afterwards.
  let values: UnsafeBufferPointer<Float>

  init(_ parameters: [Float]) {
    let copy = UnsafeMutableBufferPointer<Float>.allocate(capacity: parameters.count)
    _ = copy.initialize(from: parameters)
    values = UnsafeBufferPointer(copy)
  }

  deinit { values.deallocate() }
}

extension Array {
  /// The part of process `rank` of `ranks`: all parts together are the whole, in order.
  func share(of rank: Int, among ranks: Int) -> ArraySlice<Element> {
    self[count * rank / ranks..<count * (rank + 1) / ranks]
  }
}
