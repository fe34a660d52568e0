import Learning

extension CentralRound {
  /// Trains this process's share of the arrivals, each from the model that it began with, and adds up their clipped
  /// and weighted updates over all processes.
  func total(
    arrivals: [AsynchronousTraining.Arrival], length: Int, batches: some NodeBatches
  ) throws -> Total {
    prepare(length: length)
    let share = Array(arrivals.share(of: reducer.rank, among: reducer.ranks))
    let (benches, clipNorm) = (benches, clipNorm)
    try pool.run(share.count, chunk: 1) { worker, items in
      let bench = benches[worker]
      let begin = ContinuousClock.now
      for item in items {
        let arrival = share[item]
        guard let batch = try batches.training(of: arrival.node) else { continue }
        bench.nodes += 1
        let sum = bench.sums[0]
        try bench.worker.forEachContribution(
          parameters: arrival.parameters.values, batch: batch, contributors: 0..<batch.contributorCount,
          seed: arrival.seed
        ) { _, update in
          sum.add(UnsafeBufferPointer(update), clippedTo: clipNorm, weight: arrival.weight)
        }
      }
      bench.training += ContinuousClock.now - begin
    }
    return try collected(length: length)
  }
}
