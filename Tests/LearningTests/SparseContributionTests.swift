import Testing

@testable import Learning

@Suite struct SparseContributionTests {
  /// A vector of normal values at some positions and zeros elsewhere; the positions are in no order.
  private func vector(_ count: Int, positions: Int, seed: UInt64) -> (values: [Float], support: [Int32]) {
    var noise = TestNoise(seed: seed)
    var generator = SplitMix64(seed: seed)
    var order = (0..<count).map(Int32.init)
    generator.shuffle(&order)
    let support = Array(order.prefix(positions))
    var values = [Float](repeating: 0, count: count)
    for index in support { values[Int(index)] = Float(noise.next()) }
    return (values, support)
  }

  private func add(_ vector: [Float], _ support: [Int32], _ limit: Float?, to sum: ExactSum) {
    vector.withUnsafeBufferPointer { sum.add($0, support: support, clippedTo: limit) }
  }

  private func addDense(_ vector: [Float], _ limit: Float?, to sum: ExactSum) {
    vector.withUnsafeBufferPointer { dense in
      if let limit { sum.addClipped(dense, to: limit) } else { sum.add(dense) }
    }
  }

  @Test(arguments: [1, 4, 15, 257, 3000])
  func `adding at the support alone gives the dense integers when nothing is clipped`(count: Int) {
    for limit in [nil, 60 as Float] {
      let (sparse, dense) = (ExactSum(count: count, bound: 64), ExactSum(count: count, bound: 64))
      for seed in 0..<20 {
        let (values, support) = vector(count, positions: min(count, 1 + seed * 3), seed: UInt64(seed))
        // A value of the support may be 0.
        add(values, support, limit, to: sparse)
        addDense(values, limit, to: dense)
      }
      let same = sparse.integers == dense.integers
      #expect(same && sparse.added == 20 && sparse.zeroed == 0)
    }
  }

  @Test(arguments: [2, 5, 14])
  func `clipping at the support is within a step of dense clipping`(count: Int) {
    // Vectors this short have norms in double precision either way. Some values are beyond the bound.
    for (seed, size) in [0.5, 1, 3, 100, 1e6, 1e30].enumerated() {
      let (sparse, dense) = (ExactSum(count: count, bound: 2), ExactSum(count: count, bound: 2))
      let (values, support) = vector(count, positions: count - 1, seed: UInt64(seed))
      let scaled = values.map { $0 * Float(size) }
      add(scaled, support, 0.5, to: sparse)
      addDense(scaled, 0.5, to: dense)
      let worst = zip(sparse.integers, dense.integers).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(worst <= 1, "\(size)")
    }
  }

  @Test func `long vectors are clipped to the same norm`() {
    for size in [10, 1e12] as [Float] {
      let (sparse, dense) = (ExactSum(count: 2000, bound: 1), ExactSum(count: 2000, bound: 1))
      let (values, support) = vector(2000, positions: 700, seed: 9)
      add(values.map { $0 * size }, support, 1, to: sparse)
      addDense(values.map { $0 * size }, 1, to: dense)
      let (left, right) = (sparse.integers.map(sparse.value), dense.integers.map(dense.value))
      let worst = zip(left, right).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(worst < 1e-7)
      #expect(abs(left.reduce(0) { $0 + $1 * $1 } - 1) < 1e-6)
    }
  }

  @Test func `without a limit values are cut off at the bound`() {
    let sum = ExactSum(count: 4, bound: 2)
    add([7, 0, -1e30, 0.5], [0, 2, 3], nil, to: sum)
    #expect(sum.integers.map(sum.value) == [2, 0, -2, 0.5])
  }

  @Test func `a vector that is not finite counts as zeros`() {
    let sum = ExactSum(count: 4, bound: 2)
    for limit in [nil, 1 as Float] {
      for broken in [Float.nan, .infinity, -.infinity] { add([0, 1, broken, 0], [1, 2], limit, to: sum) }
    }
    #expect(sum.integers == [0, 0, 0, 0] && sum.added == 6 && sum.zeroed == 6)
    add([0, 0, 0, 0], [], 1, to: sum)
    #expect(sum.integers == [0, 0, 0, 0] && sum.added == 7 && sum.zeroed == 6)
  }

  @Test(arguments: [TreeSettings.Splitting.best, .random])
  func `a tree's vectors are zero outside of their support, call after call`(
    splitting: TreeSettings.Splitting
  ) throws {
    let data = TreeData(seed: 71, contributors: 30, largestCount: 6)
    let batch = try data.batch
    let model = try BoostedTrees(
      settings: TreeSettings(trees: 3, maximumDepth: 3, columnShare: 0.6, splitting: splitting),
      shape: TreeData.shape)
    let history = try grow(model, batch)
    let worker = try model.makeWorker(algorithm: .fedSGD)
    var shortest = Double.infinity
    // Back and forth, so that vectors of all lengths follow each other and some are asked for again.
    for parameters in history + history.reversed() + [history[2], history[2]] {
      let length = model.contributionLength(parameters: parameters)
      let fresh = try contributions(model, parameters, batch)
      let (sparse, dense) = (ExactSum(count: length, bound: 1.5), ExactSum(count: length, bound: 1.5))
      var (isRight, seen) = (true, 0)
      try parameters.withUnsafeBufferPointer { parameters in
        for part in [0..<7, 7..<30] {
          try worker.forEachContribution(
            parameters: parameters, batch: batch, contributors: part, seed: 1
          ) { contributor, vector in
            let support = try #require(worker.support)
            let named = Set(support.map(Int.init))
            isRight = isRight && named.count == support.count && named.allSatisfy(vector.indices.contains)
            isRight = isRight && vector.indices.allSatisfy { vector[$0] == 0 || named.contains($0) }
            isRight = isRight && Array(vector) == fresh[contributor]
            sparse.add(UnsafeBufferPointer(vector), support: support, clippedTo: 1.25)
            dense.addClipped(UnsafeBufferPointer(vector), to: 1.25)
            if !vector.isEmpty { shortest = min(shortest, Double(support.count) / Double(vector.count)) }
            seen += 1
            // Clipping may clear a vector.
            if contributor % 3 == 0 { vector.update(repeating: 0) }
          }
        }
      }
      let same = sparse.integers == dense.integers
      #expect(isRight && same && seen == 30)
    }
    #expect(shortest < 1)
  }

  @Test func `a worker goes on after what its body threw`() throws {
    struct Stop: Error {}
    let batch = try TreeData(seed: 72, contributors: 12).batch
    let model = try BoostedTrees(settings: TreeSettings(trees: 1, maximumDepth: 3), shape: TreeData.shape)
    let parameters = try grow(model, batch)[2]
    let worker = try model.makeWorker(algorithm: .fedSGD)
    let fresh = try contributions(model, parameters, batch)
    try parameters.withUnsafeBufferPointer { parameters in
      #expect(throws: Stop.self) {
        try worker.forEachContribution(parameters: parameters, batch: batch, contributors: 0..<12, seed: 1) {
          if $0 == 3 { throw Stop() }
          $1.update(repeating: 0)
        }
      }
      var vectors: [[Float]] = []
      try worker.forEachContribution(parameters: parameters, batch: batch, contributors: 0..<12, seed: 1) {
        vectors.append(Array($1))
      }
      let same = vectors == fresh
      #expect(same)
    }
  }

  @Test func `networks and recommenders know no support`() throws {
    let network = Model(architecture: .logisticRegression, inputs: 2)
    #expect(try network.makeWorker(algorithm: .fedSGD).support == nil)
  }
}
