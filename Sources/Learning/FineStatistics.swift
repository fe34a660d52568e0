/// The second private sum of feature fitting: a histogram of each column of numbers or dates (days from their
/// reference) between its bounds, and how often the words of each text column occur.
///
/// A contributor's vector is the average over its records of a part per numeric and text column (missing
/// values leave it zero) plus one last coordinate that counts the contributor. Every part has an L2 norm of
/// at most 1, so the whole has at most √(numeric and text columns in use + 1). Categorical columns were
/// settled by the first sum.
///
/// - The part of a number is a one-hot vector.
/// - The part of a text with words in m different hash buckets has 1 / √(m + 1) for each of them and for one
///   more coordinate, which stands for a word that is in every text: its norm is 1. The quotient of a
///   bucket's sum and that coordinate's is the bucket's document frequency, in which a text weighs 1 / √(m +
///   1): a long text has no more influence than a short one, and no bound on the length has to be guessed.
package struct FineStatistics: Sendable {
  /// The most bins that a column is measured in.
  package static let maximumBins = 512
  /// The columns that are measured.
  package let schema: FeatureSchema
  /// What the first round agreed on.
  package let bounds: FeatureBounds
  /// The length of a contribution.
  package let dimension: Int
  /// A bucket whose sum is below so many deviations of the noise is not kept: of buckets that nobody's words
  /// are in, one in 740 is.
  static let textFloor = 3.0

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
      let width = Self.width(of: column, in: schema.columns[offsets.count])
      offsets.append(width > 0 ? offset : nil)
      offset += width
    }
    self.offsets = offsets
    dimension = offset + 1
  }

  private static func width(of bounds: ColumnBounds, in column: FeatureColumn) -> Int {
    switch bounds {
    case .numeric(let edges, _): max(edges.count - 1, 0)
    case .categorical: 0
    case .text(let isSeen, _): isSeen ? column.textSettings.buckets + 1 : 0
    }
  }

  /// A bound on the L2 norm of every contribution (rounding aside, which
  /// for 100,000 records of a contributor is a thousandth: the caller clips to it).
  package var l2Bound: Double { Double(offsets.count { $0 != nil } + 1).squareRoot() }

  /// The vector of one contributor from its own records alone.
  package func contribution(of records: [RawRecord]) throws(LearningError) -> [Float] {
    guard !records.isEmpty else { throw .emptyContributor }
    let weight = 1 / Float(records.count)
    var vector = [Float](repeating: 0, count: dimension)
    for record in records {
      try schema.forEachCell(of: record) { column, cell in
        guard let offset = offsets[column] else { return }
        switch (cell, bounds.columns[column]) {
        case (.number(let number), .numeric(let edges, _)):
          vector[offset + edges.binIndex(of: number)] += weight
        case (.date(let time), .numeric(let edges, _)):
          let days = schema.columns[column].dateSettings.days(of: time)
          vector[offset + edges.binIndex(of: days)] += weight
        case (.text(let text), .text):
          add(text, schema.columns[column].textSettings, weight: weight, to: &vector, at: offset)
        default: break
        }
      }
    }
    vector[dimension - 1] = 1
    return vector
  }

  private func add(
    _ text: String, _ settings: TextSettings, weight: Float, to vector: inout [Float], at offset: Int
  ) {
    var buckets: [Int32] = []
    for bucket in settings.buckets(of: text) where bucket != buckets.last { buckets.append(bucket) }
    let share = weight / Float(buckets.count + 1).squareRoot()
    for bucket in buckets { vector[offset + Int(bucket)] += share }
    vector[offset + settings.buckets] += share
  }

  /// Reads the noisy sum of all contributions. Any finite sum gives a usable pipeline, however noisy.
  ///
  /// - Parameters:
  ///   - sum: `dimension` finite values in units of contributors.
  ///   - noiseStdDev: the standard deviation of the noise in every coordinate, 0 if there is none.
  ///   - quantileBins: how many bins of about equal mass a numeric column is cut into (1 … 128; 1: none).
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
      case .text(_, let missingSeen):
        guard let offset = offsets[index] else { return ColumnEncoding.unused }
        let end = offset + schema.columns[index].textSettings.buckets
        let floor = Self.textFloor * noiseStdDev
        guard sum[end] > floor else { return ColumnEncoding.unused }
        let encoding = TextEncoding(
          sums: sum[offset..<end], whole: sum[end], floor: floor, missingIndicator: missingSeen)
        return encoding.keptBuckets > 0 ? ColumnEncoding.text(encoding) : ColumnEncoding.unused
      case .numeric(let edges, let missingSeen):
        guard let offset = offsets[index] else { return ColumnEncoding.unused }
        let histogram = Histogram(
          edges: edges, noisyCounts: Array(sum[offset..<offset + edges.count - 1]), noiseStdDev: noiseStdDev)
        let encoding = NumericEncoding(
          mean: histogram.mean, standardDeviation: histogram.standardDeviation,
          edges: histogram.quantileEdges(bins: quantileBins), missingIndicator: missingSeen)
        let column = schema.columns[index]
        guard column.kind == .date else { return ColumnEncoding.numeric(encoding) }
        return ColumnEncoding.date(DateEncoding(days: encoding, settings: column.dateSettings))
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
  /// rest is shared out anew, so that one frequent value (often zero) does not use up the others. A bin with
  /// less than a fiftieth, or than 64 % of an even share where that is less, is not worth a parameter.
  func quantileEdges(bins: Int) -> [Double] {
    let leastMass = min(0.02, 0.64 / Double(bins))
    var result: [Double] = []
    var remaining = 1.0
    var open = 0.0
    for bin in 0..<masses.count - 1 where result.count < bins - 1 {
      open += masses[bin]
      let share = remaining / Double(bins - result.count)
      // Closes here when the next bin would overshoot by more than this one falls short.
      if open + masses[bin + 1] / 2 >= share, open > leastMass, remaining - open > leastMass {
        result.append(edges[bin + 1])
        remaining -= open
        open = 0
      }
    }
    return result
  }
}
