/// The second private sum of feature fitting: a histogram of each numeric column between its bounds.
///
/// A contributor's vector is the average over its records of a one-hot vector per numeric column (missing
/// values leave it zero) plus one last coordinate that counts the contributor; its L2 norm is at most
/// √(numeric columns in use + 1). Categorical columns were settled by the first sum.
package struct FineStatistics: Sendable {
  /// The columns that are measured.
  package let schema: FeatureSchema
  /// What the first round agreed on.
  package let bounds: FeatureBounds
  /// The length of a contribution.
  package let dimension: Int
  /// Where each column's bins start, nil for columns without bins.
  private let offsets: [Int?]

  /// Lays out the histograms; refuses bounds that do not belong to the schema.
  package init(schema: FeatureSchema, bounds: FeatureBounds) throws(LearningError) {
    try bounds.validate(for: schema)
    self.schema = schema
    self.bounds = bounds
    var offset = 0
    var offsets: [Int?] = []
    for column in bounds.columns {
      guard case .numeric(let edges, _) = column, !edges.isEmpty else {
        offsets.append(nil)
        continue
      }
      offsets.append(offset)
      offset += edges.count - 1
    }
    self.offsets = offsets
    dimension = offset + 1
  }

  /// A bound on the L2 norm of every contribution (rounding aside, about 1e-6: the caller clips to it).
  package var l2Bound: Double { Double(offsets.count { $0 != nil } + 1).squareRoot() }

  /// The vector of one contributor from its own records alone.
  package func contribution(of records: [RawRecord]) throws(LearningError) -> [Float] {
    guard !records.isEmpty else { throw .emptyContributor }
    let weight = 1 / Float(records.count)
    var vector = [Float](repeating: 0, count: dimension)
    for record in records {
      try schema.forEachCell(of: record) { column, cell in
        guard let offset = offsets[column], case .number(let number) = cell,
          case .numeric(let edges, _) = bounds.columns[column]
        else { return }
        vector[offset + edges.binIndex(of: number)] += weight
      }
    }
    vector[dimension - 1] = 1
    return vector
  }

  /// Reads the noisy sum of all contributions. Any finite sum gives a usable pipeline, however noisy.
  ///
  /// - Parameters:
  ///   - sum: `dimension` finite values in units of contributors.
  ///   - noiseStdDev: the standard deviation of the noise in every coordinate, 0 if there is none.
  ///   - quantileBins: how many bins of about equal mass a numeric column is cut into (1 … 32; 1: none).
  package func decode(
    sum: [Double], noiseStdDev: Double, quantileBins: Int = TrainingDefaults.standard.quantileBins
  ) throws(LearningError) -> FeaturePipeline {
    try NoiseFloor.check(sum: sum, dimension: dimension, noiseStdDev: noiseStdDev)
    guard (1...NumericEncoding.maximumBins).contains(quantileBins) else {
      throw .invalidSetting(
        name: "the number of quantile bins", reason: "allowed are 1 to \(NumericEncoding.maximumBins)")
    }
    let encodings = bounds.columns.enumerated().map { index, column in
      switch column {
      case .categorical(let buckets, let missingSeen):
        return ColumnEncoding.categorical(
          CategoricalEncoding(buckets: buckets, missingIndicator: missingSeen))
      case .numeric(let edges, let missingSeen):
        guard let offset = offsets[index] else { return ColumnEncoding.unused }
        let histogram = Histogram(
          edges: edges, noisyCounts: Array(sum[offset..<offset + edges.count - 1]), noiseStdDev: noiseStdDev)
        return ColumnEncoding.numeric(
          NumericEncoding(
            mean: histogram.mean, standardDeviation: histogram.standardDeviation,
            edges: histogram.quantileEdges(bins: quantileBins), missingIndicator: missingSeen))
      }
    }
    return try FeaturePipeline(schema: schema, encodings: encodings)
  }
}

/// A histogram made usable: no mass is negative and the whole is 1.
private struct Histogram {
  private let edges: [Double]
  private let masses: [Double]
  let mean: Double
  let standardDeviation: Double

  /// Counts below one deviation of the noise are taken for empty; if that leaves nothing, all positive counts
  /// are believed, and if there is none, all bins are alike.
  init(edges: [Double], noisyCounts: [Double], noiseStdDev: Double) {
    var counts = noisyCounts.map { $0 > noiseStdDev ? $0 : 0 }
    if counts.allSatisfy({ $0 == 0 }) { counts = noisyCounts.map { max($0, 0) } }
    if counts.allSatisfy({ $0 == 0 }) { counts = noisyCounts.map { _ in 1 } }
    // Divided by the largest first: a sum of huge counts must not overflow.
    let largest = counts.max() ?? 1
    counts = counts.map { $0 / largest }
    let total = counts.reduce(0, +)
    let masses = counts.map { $0 / total }
    let middles = zip(edges, edges.dropFirst()).map { ($0 + $1) / 2 }
    let mean = zip(masses, middles).reduce(0) { $0 + $1.0 * $1.1 }
    let variance = zip(masses, middles).reduce(0) { $0 + $1.0 * ($1.1 - mean) * ($1.1 - mean) }
    self.edges = edges
    self.masses = masses
    self.mean = mean
    // Within one bin nothing is known: a uniform distribution's deviation is the least that is claimed.
    let narrowest = zip(edges, edges.dropFirst()).map { $1 - $0 }.min() ?? 1
    standardDeviation = max(variance.squareRoot(), narrowest / 12.0.squareRoot())
  }

  /// Inner bounds that cut the mass into at most `bins` parts. After a bin that holds more than its share the
  /// rest is shared out anew, so that one frequent value (often zero) does not use up the others.
  func quantileEdges(bins: Int) -> [Double] {
    var result: [Double] = []
    var remaining = 1.0
    var open = 0.0
    for bin in 0..<masses.count - 1 where result.count < bins - 1 {
      open += masses[bin]
      let share = remaining / Double(bins - result.count)
      // Closes here when the next bin would overshoot by more than this one falls short.
      if open + masses[bin + 1] / 2 >= share, open > Self.leastMass, remaining - open > Self.leastMass {
        result.append(edges[bin + 1])
        remaining -= open
        open = 0
      }
    }
    return result
  }

  /// A bin with less than this is not worth a parameter.
  private static let leastMass = 0.02
}
