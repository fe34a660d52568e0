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
  final class Bench: @unchecked Sendable {
    // Used by the worker of its number alone, and by the caller between rounds.
    let worker: any ContributionWorker
    /// Memory for corrected steps.
    let corrected: (worker: LocalWorker, bench: ControlVariates.Bench)?
    /// One for each group.
    var sums: [ExactSum]
    var nodes = 0
    var training: Duration = .zero

    init(worker: any ContributionWorker, variates: ControlVariates?, sums: [ExactSum]) {
      self.worker = worker
      corrected =
        if let variates, let worker = worker as? LocalWorker { (worker, variates.makeBench()) } else { nil }
      self.sums = sums
    }
  }

  /// The sum of a cohort's updates.
  struct Total {
    /// Of every group, in steps of the grid, with the number of its contributors.
    var groups: [(values: [Int64], contributors: Int)]
    /// Contributors in all sums.
    var contributors: Int
    /// Nodes with at least one of them.
    var nodes: Int
    /// Contributors whose update was not finite and counts as zeros.
    var zeroed: Int
  }

  let benches: [Bench]
  let pool: WorkerPool
  let reducer: any SumReducer
  let clipNorm: Float?
  private let attack: Attack?
  private let poisoned: Set<Int>
  private let groupCount: Int
  private let variates: ControlVariates?

  /// - Parameters:
  ///   - attack: what the `poisoned` nodes do.
  ///   - groups: sums that a cohort is split into, at least 1.
  ///   - variates: of SCAFFOLD; with neither attack nor groups.
  init(
    model: Model, algorithm: LocalAlgorithm, clipNorm: Float?, attack: Attack? = nil, poisoned: Set<Int> = [],
    groups: Int = 1, variates: ControlVariates? = nil, pool: WorkerPool, reducer: any SumReducer
  ) throws {
    self.variates = variates
    self.clipNorm = clipNorm
    self.attack = attack
    self.poisoned = poisoned
    groupCount = groups
    self.pool = pool
    self.reducer = reducer
    // A factor of the clipping in single precision may round up.
    let bound = (clipNorm.map { $0 * 1.000_001 } ?? ExactSum.unclippedBound) * (attack?.factor ?? 1)
    benches = try (0..<pool.workers).map { _ in
      Bench(
        worker: try model.makeWorker(algorithm: algorithm), variates: variates,
        sums: (0..<groups).map { _ in ExactSum(count: 0, bound: bound) })
    }
  }

  /// Seconds of all workers in local training, clipping and adding.
  var trainingSeconds: Double { benches.reduce(0) { $0 + $1.training.inSeconds } }

  /// The value of a step of the grid.
  var unit: Double { benches[0].sums[0].value(of: 1) }

  /// What the integers of a total of one group mean, over `divisor`.
  func means(of total: Total, noise: NoiseBuffer?, divisor: Double) -> [Float] {
    benches[0].sums[0].means(
      of: total.groups[0].values, noise: noise.map { UnsafeBufferPointer($0.values) }, divisor: divisor)
  }

  /// Trains this process's share of the cohort from the same parameters, and adds up over all processes.
  ///
  /// - Parameter length: of a contributor's vector in this round.
  func total(
    parameters: [Float], length: Int, cohort: [Int], seed: UInt64, batches: some NodeBatches
  ) throws -> Total {
    prepare(length: length)
    let share = cohort.share(of: reducer.rank, among: reducer.ranks)
    let (benches, clipNorm, attack, poisoned, variates) = (benches, clipNorm, attack, poisoned, variates)
    let (groupCount, start0) = (groupCount, share.startIndex)
    let order = groupCount > 1 ? Self.shuffled(cohort.count, seed: seed) : []
    let start = SharedParameters(parameters)
    let chunk = max(1, min(share.count / (pool.workers * 6), 64))
    try pool.run(share.count, chunk: chunk) { worker, items in
      let bench = benches[worker]
      let begin = ContinuousClock.now
      for item in items {
        let node = share[start0 + item]
        guard var batch = try batches.training(of: node) else { continue }
        bench.nodes += 1
        let sum = bench.sums[groupCount > 1 ? order[start0 + item] % groupCount : 0]
        if let variates, let corrected = bench.corrected {
          try variates.train(
            node: node, worker: corrected.worker, bench: corrected.bench, parameters: start.values,
            batch: batch, seed: seed
          ) { _, update in
            guard let clipNorm else { return sum.add(UnsafeBufferPointer(update)) }
            sum.addClipped(UnsafeBufferPointer(update), to: clipNorm)
            // The contributor's own variate follows what is sent.
            clipL2(update, to: clipNorm)
          }
          continue
        }
        let isPoisoned = attack != nil && poisoned.contains(node)
        if isPoisoned, attack?.kind == .flipLabels { batch = try batch.flipped() }
        let factor: Float = isPoisoned ? attack?.factor ?? 1 : 1
        try bench.worker.forEachContribution(
          parameters: start.values, batch: batch, contributors: 0..<batch.contributorCount, seed: seed
        ) { _, update in
          if factor != 1 {
            if let clipNorm { clipL2(update, to: clipNorm) }
            for index in update.indices { update[index] *= factor }
            sum.add(UnsafeBufferPointer(update))
          } else if let support = bench.worker.support {
            sum.add(UnsafeBufferPointer(update), support: support, clippedTo: clipNorm)
          } else if let clipNorm {
            sum.addClipped(UnsafeBufferPointer(update), to: clipNorm)
          } else {
            sum.add(UnsafeBufferPointer(update))
          }
        }
      }
      bench.training += ContinuousClock.now - begin
    }
    return try collected(length: length)
  }

  /// Empties the sums.
  func prepare(length: Int) {
    for bench in benches {
      for (group, sum) in bench.sums.enumerated() {
        if sum.count == length {
          sum.reset()
        } else {
          bench.sums[group] = ExactSum(count: length, bound: sum.bound)
        }
      }
      bench.nodes = 0
    }
  }

  /// The sums of all workers and processes.
  func collected(length: Int) throws -> Total {
    for bench in benches.dropFirst() {
      for (sum, other) in zip(benches[0].sums, bench.sums) { sum.add(other) }
    }
    return try reduced(benches[0].sums, length: length)
  }

  /// The sums of all processes.
  private func reduced(_ sums: [ExactSum], length: Int) throws -> Total {
    var integers: [Int64] = []
    integers.reserveCapacity((length + 1) * sums.count + 2)
    for sum in sums {
      integers.append(contentsOf: sum.integers)
      integers.append(Int64(sum.added))
    }
    integers.append(Int64(benches.reduce(0) { $0 + $1.nodes }))
    integers.append(sums.reduce(0) { $0 + Int64($1.zeroed) })
    try reducer.allReduce(&integers)
    let groups = sums.indices.map { group in
      let first = group * (length + 1)
      return (
        values: Array(integers[first..<first + length]), contributors: Int(integers[first + length])
      )
    }
    let contributors = groups.reduce(0) { $0 + $1.contributors }
    guard contributors <= ExactSum.maximumCount else {
      throw CentralRunError.tooManyContributors(contributors, most: ExactSum.maximumCount)
    }
    return Total(
      groups: groups, contributors: contributors, nodes: Int(integers[integers.count - 2]),
      zeroed: Int(integers[integers.count - 1]))
  }

  /// The numbers from 0, shuffled: the places of a cohort's nodes among its groups.
  private static func shuffled(_ count: Int, seed: UInt64) -> [Int] {
    var generator = SplitMix64(seed: seed ^ 0x6772_6f75_7073)
    var order = Array(0..<count)
    for index in stride(from: count - 1, to: 0, by: -1) {
      order.swapAt(index, Int(generator.next() % UInt64(index + 1)))
    }
    return order
  }
}

/// The parameters that all workers start from.
final class SharedParameters: @unchecked Sendable {
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
