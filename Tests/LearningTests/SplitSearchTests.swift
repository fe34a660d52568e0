import Testing

@testable import Learning

@Suite struct SplitSearchTests {
  private static let shape = TreeData.shape

  /// Random sums in every bin; `sparse` bins are empty.
  private static func histogram(_ round: TreeRound, seed: UInt64, sparse: Bool) -> [DerivativeSums] {
    var noise = TestNoise(seed: seed)
    // Every column's bins must add up to the same.
    let records = (0..<60).map { _ in
      (
        gradient: noise.next(), curvature: abs(noise.next()) + 0.01,
        draws: (0..<5).map { _ in abs(noise.next()) }
      )
    }
    var result = [DerivativeSums](repeating: DerivativeSums(), count: round.binsPerNode)
    for record in records {
      for (position, column) in round.columns.enumerated() {
        let count = shape.bins[column].count
        let bin = min(Int(record.draws[position] * Double(sparse ? count * 2 : count) / 3), count - 1)
        let index = round.offsets[position] + (sparse ? bin / 2 * 2 % count : bin)
        result[index].gradient += record.gradient
        result[index].curvature += record.curvature
      }
    }
    return result
  }

  private static let round: TreeRound = {
    let columns = [0, 1, 2, 3]
    return TreeRound(columns: columns, bins: columns.map { shape.bins[$0].count }, nodes: 1)
  }()

  /// The largest gain over all partitions that a column allows: thresholds, or all subsets.
  private static func exhaustive(_ histogram: [DerivativeSums], _ settings: TreeSettings) -> Double {
    let l2 = Double(settings.l2)
    var best = 0.0
    for (position, column) in round.columns.enumerated() {
      let bins = shape.bins[column]
      let ordered = bins.count - (bins.hasMissing ? 1 : 0)
      for subset in 1..<(1 << bins.count) - 1 {
        if bins.isOrdered {
          let low = subset & ((1 << ordered) - 1)
          guard low != 0, low & (low + 1) == 0 else { continue }
        }
        var (left, right) = (DerivativeSums(), DerivativeSums())
        for bin in 0..<bins.count {
          let sums = histogram[round.offsets[position] + bin]
          if subset >> bin & 1 == 1 { left = left + sums } else { right = right + sums }
        }
        guard left.curvature > 0, right.curvature > 0,
          min(left.curvature, right.curvature) >= Double(settings.minimumChildWeight)
        else { continue }
        let gain = (left.score(l2: l2) + right.score(l2: l2) - (left + right).score(l2: l2)) / 2
        if gain > Double(settings.minimumGain) { best = max(best, gain) }
      }
    }
    return best
  }

  private static func find(_ histogram: [DerivativeSums], _ settings: TreeSettings) -> FoundSplit? {
    let total = SplitSearch.total(histogram: histogram, offsets: round.offsets)
    return SplitSearch(settings).best(histogram: histogram, round: round, shape: shape, total: total)
  }

  @Test func `without regularisation the split is the best of all partitions`() throws {
    let settings = TreeSettings(l2: 0, minimumChildWeight: 0)
    for seed in 1...300 as ClosedRange<UInt64> {
      let histogram = Self.histogram(Self.round, seed: seed, sparse: seed % 3 == 0)
      let best = Self.exhaustive(histogram, settings)
      let found = try #require(Self.find(histogram, settings))
      #expect(abs(found.gain - best) < 1e-9 * max(1, best))
    }
  }

  /// With λ the order of categories is no longer a proof, so those columns may fall short by a little.
  @Test func `with regularisation thresholds are the best and category sets nearly so`() throws {
    let settings = TreeSettings(l2: 3, minimumChildWeight: 2, minimumGain: 0.5)
    var (found, best) = (0.0, 0.0)
    for seed in 1...300 as ClosedRange<UInt64> {
      let histogram = Self.histogram(Self.round, seed: seed, sparse: seed % 3 == 0)
      let exhaustive = Self.exhaustive(histogram, settings)
      let split = Self.find(histogram, settings)
      #expect((split?.gain ?? 0) <= exhaustive * (1 + 1e-9))
      if case .ordered = split?.node { #expect((split?.gain ?? 0) > 0.9 * exhaustive) }
      found += split?.gain ?? 0
      best += exhaustive
    }
    #expect(found > 0.97 * best)
  }

  @Test func `the sums of both sides are those of the bins that go there`() throws {
    let settings = TreeSettings(l2: 1, minimumChildWeight: 0)
    var kinds: Set<Bool> = []
    for seed in 1...100 as ClosedRange<UInt64> {
      let histogram = Self.histogram(Self.round, seed: seed, sparse: seed % 2 == 0)
      let found = try #require(Self.find(histogram, settings))
      let (column, left) = try #require(found.node.split(shape: Self.shape))
      kinds.insert(Self.shape.bins[column].isOrdered)
      let offset = Self.round.offsets[column]
      let sums = (0..<Self.shape.bins[column].count).filter(left.contains)
        .reduce(DerivativeSums()) { $0 + histogram[offset + $1] }
      #expect(abs(sums.gradient - found.left.gradient) < 1e-9)
      #expect(abs(sums.curvature - found.left.curvature) < 1e-9)
      let whole = SplitSearch.total(histogram: histogram, offsets: Self.round.offsets)
      #expect(abs((found.left + found.right - whole).curvature) < 1e-9)
    }
    #expect(kinds.count == 2)
  }

  @Test func `missing values are parted from all others when only that helps`() throws {
    var histogram = [DerivativeSums](
      repeating: DerivativeSums(gradient: 1, curvature: 1), count: Self.round.binsPerNode)
    let missing = Self.round.offsets[1] + 5
    histogram[missing] = DerivativeSums(gradient: -50, curvature: 3)
    // The other columns are flat and add up to the same.
    for (position, column) in Self.round.columns.enumerated() where column != 1 {
      let count = Self.shape.bins[column].count
      for bin in 0..<count {
        histogram[Self.round.offsets[position] + bin] =
          DerivativeSums(gradient: -45 / Double(count), curvature: 8 / Double(count))
      }
    }
    let found = try #require(Self.find(histogram, TreeSettings()))
    #expect(found.node == .ordered(column: 1, last: 4, missingLeft: false))
  }

  @Test func `no noise makes a child without curvature`() {
    var noise = TestNoise(seed: 5)
    let settings = TreeSettings(l2: 0, minimumChildWeight: 0)
    for _ in 0..<300 {
      let histogram = (0..<Self.round.binsPerNode).map { _ in
        DerivativeSums(gradient: 100 * noise.next(), curvature: 100 * noise.next())
      }
      guard let found = Self.find(histogram, settings) else { continue }
      #expect(found.left.curvature > 0 && found.right.curvature > 0 && found.gain.isFinite)
    }
  }

  @Test func `a total is the average of the columns' totals weighted by their precision`() {
    let histogram = [1.0, 2, 3, 30].map { DerivativeSums(gradient: $0, curvature: -$0) }
    // Columns of three bins and of one: 6 with the weight 1/3, 30 with the weight 1.
    let total = SplitSearch.total(histogram: histogram, offsets: [0, 3])
    #expect(abs(total.gradient - 24) < 1e-12 && abs(total.curvature + 24) < 1e-12)
  }
}
