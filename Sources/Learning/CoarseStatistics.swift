/// The first private sum of feature fitting: where the values of each column lie.
///
/// A contributor's vector is the average over its records of, for every column, a one-hot vector: for numbers,
/// and for dates as days from their reference, the signed power-of-two bin (`MagnitudeBins`) or missing, for categories the hash bucket (`CategoryHash`)
/// or missing, for texts whether there is one; one last coordinate counts the contributor. Every column's
/// part has an L2 norm of at most 1, so the whole has at most √(columns + 1).
package struct CoarseStatistics: Sendable {
  /// The columns that are measured.
  package let schema: FeatureSchema
  /// The length of a contribution.
  package let dimension: Int
  private let offsets: [Int]

  /// Lays out the statistics of a schema.
  package init(schema: FeatureSchema) {
    self.schema = schema
    var offset = 0
    var offsets: [Int] = []
    for column in schema.columns {
      offsets.append(offset)
      offset += Self.width(of: column.kind) + 1
    }
    self.offsets = offsets
    dimension = offset + 1
  }

  /// A bound on the L2 norm of every contribution (rounding aside, which
  /// for 100,000 records of a contributor is a thousandth: the caller clips to it).
  package var l2Bound: Double { Double(schema.columns.count + 1).squareRoot() }

  private static func width(of kind: FeatureKind) -> Int {
    switch kind {
    case .numeric, .date: MagnitudeBins.count
    case .categorical: CategoryHash.buckets
    case .text: 1
    }
  }

  /// The vector of one contributor from its own records alone.
  package func contribution(of records: [RawRecord]) throws(LearningError) -> [Float] {
    guard !records.isEmpty else { throw .emptyContributor }
    let weight = 1 / Float(records.count)
    var vector = [Float](repeating: 0, count: dimension)
    for record in records {
      try schema.forEachCell(of: record) { column, cell in
        let bin =
          switch cell {
          case .missing: Self.width(of: schema.columns[column].kind)
          case .number(let number): MagnitudeBins.index(of: number)
          case .bucket(let bucket): bucket
          case .text: 0
          case .date(let time):
            MagnitudeBins.index(of: schema.columns[column].dateSettings.days(of: time))
          }
        vector[offsets[column] + bin] += weight
      }
    }
    vector[dimension - 1] = 1
    return vector
  }

  /// Reads the noisy sum of all contributions. Any finite sum gives usable bounds, however noisy.
  ///
  /// - Parameters:
  ///   - sum: `dimension` finite values in units of contributors.
  ///   - noiseStdDev: the standard deviation of the noise in every coordinate, 0 if there is none.
  ///   - quantileBins: what `FineStatistics.decode` will be asked for. For up to 32 a column is measured in
  ///     up to 64 fine bins; for more in up to four times as many as are asked for, if the noise leaves room
  ///     for them.
  package func decode(
    sum: [Double], noiseStdDev: Double, quantileBins: Int = TrainingDefaults.standard.quantileBins
  ) throws(LearningError) -> FeatureBounds {
    try NoiseFloor.check(sum: sum, dimension: dimension, noiseStdDev: noiseStdDev)
    let contributors = max(0, sum[dimension - 1])
    guard (1...NumericEncoding.maximumBins).contains(quantileBins) else {
      throw .invalidSetting(
        name: "the number of quantile bins", reason: "allowed are 1 to \(NumericEncoding.maximumBins)")
    }
    let floor = NoiseFloor(noiseStdDev: noiseStdDev, coordinates: dimension, contributors: contributors)
    let grid = FineGrid(
      contributors: contributors, noiseStdDev: noiseStdDev, quantileBins: quantileBins)
    let columns = schema.columns.enumerated().map { index, column in
      let width = Self.width(of: column.kind)
      let counts = Array(sum[offsets[index]..<offsets[index] + width])
      let missingSeen = sum[offsets[index] + width] > floor.threshold
      switch column.kind {
      case .numeric, .date:
        return ColumnBounds.numeric(
          edges: grid.edges(coarseCounts: counts, threshold: floor.threshold), missingSeen: missingSeen)
      case .categorical:
        return ColumnBounds.categorical(
          buckets: counts.indices.filter { counts[$0] > floor.threshold }, missingSeen: missingSeen)
      case .text: return ColumnBounds.text(isSeen: counts[0] > floor.threshold, missingSeen: missingSeen)
      }
    }
    return FeatureBounds(columns: columns)
  }
}

/// Chooses the second grid of a numeric column from the first one's counts.
private struct FineGrid {
  /// The most bins of a column.
  private let maximumBins: Int
  private static let maximumKeptMagnitudes = 24
  private let bins: Int

  /// So many bins that an average one still stands three deviations above the noise.
  init(contributors: Double, noiseStdDev: Double, quantileBins: Int) {
    maximumBins = quantileBins <= 32 ? 64 : min(4 * quantileBins, FineStatistics.maximumBins)
    let affordable = noiseStdDev > 0 ? contributors / (3 * noiseStdDev) : Double(maximumBins)
    bins = Int(min(max(affordable, 8), Double(maximumBins)))
  }

  private struct Interval {
    var low: Double
    var high: Double
    var mass: Double
    var parts = 1
    /// The bin around zero and the gaps between occupied magnitudes stay whole.
    var isDivisible: Bool
  }

  /// The ascending bounds of the fine bins, or none when nothing stands out of the noise.
  ///
  /// Every occupied magnitude is divided into equal parts, a power of two of them (so that the bounds of
  /// whole numbers stay whole), always halving the parts that hold most.
  func edges(coarseCounts: [Double], threshold: Double) -> [Double] {
    var intervals = occupied(coarseCounts, threshold: threshold)
    guard !intervals.isEmpty else { return [] }
    var total = intervals.count
    while true {
      let candidates = intervals.indices.filter {
        intervals[$0].isDivisible && total + intervals[$0].parts <= max(bins, intervals.count + 1)
          && intervals[$0].parts < maximumBins
      }
      guard
        let widest = candidates.max(by: {
          intervals[$0].mass / Double(intervals[$0].parts) < intervals[$1].mass / Double(intervals[$1].parts)
        })
      else { break }
      total += intervals[widest].parts
      intervals[widest].parts *= 2
    }
    var edges = [intervals[0].low]
    for interval in intervals {
      let step = (interval.high - interval.low) / Double(interval.parts)
      for part in 1..<interval.parts { edges.append(interval.low + Double(part) * step) }
      edges.append(interval.high)
    }
    return edges
  }

  private func occupied(_ counts: [Double], threshold: Double) -> [Interval] {
    let byCount = counts.indices.sorted { (counts[$0], $1) > (counts[$1], $0) }
    var kept = byCount.prefix(Self.maximumKeptMagnitudes).filter { counts[$0] > threshold }
    if kept.isEmpty, let largest = byCount.first, counts[largest] > 0 { kept = [largest] }
    var intervals: [Interval] = []
    for bin in kept.sorted() {
      let (low, high) = (MagnitudeBins.edges[bin], MagnitudeBins.edges[bin + 1])
      if let end = intervals.last?.high, end < low {
        intervals.append(Interval(low: end, high: low, mass: 0, isDivisible: false))
      }
      intervals.append(
        Interval(low: low, high: high, mass: counts[bin], isDivisible: bin != MagnitudeBins.zero))
    }
    return intervals
  }
}
