import Cryptography
import Foundation

/// The number of records: one coordinate, each contributor's count cut at `recordsPerContributor`.
/// Sensitivity m in all three norms (m² for the squared one), m the cut.
package struct CountQuery: Codable, Sendable, Hashable {
  /// The most records that count per contributor.
  package let recordsPerContributor: Int

  /// Throws: `outOfRange`.
  package init(recordsPerContributor: Int = 1) throws(MechanismError) {
    try QueryLimits.check(records: recordsPerContributor)
    self.recordsPerContributor = recordsPerContributor
  }

  /// Reads a query. Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(recordsPerContributor: fields.decode(Int.self, forKey: .recordsPerContributor))
  }
}

/// The number of records per category: one coordinate each.
/// Sensitivity: Σ|x| ≤ m, Σx² ≤ m² (all in one category), |x| ≤ m for m records per contributor.
package struct HistogramQuery: Codable, Sendable, Hashable {
  /// The number of categories.
  package let categories: Int
  /// m.
  package let recordsPerContributor: Int

  /// Throws: `outOfRange`.
  package init(categories: Int, recordsPerContributor: Int = 1) throws(MechanismError) {
    try QueryLimits.check(bins: categories)
    try QueryLimits.check(records: recordsPerContributor)
    self.categories = categories
    self.recordsPerContributor = recordsPerContributor
  }

  /// Reads a query. Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      categories: fields.decode(Int.self, forKey: .categories),
      recordsPerContributor: fields.decode(Int.self, forKey: .recordsPerContributor))
  }
}

/// A mean and a variance with their standard errors.
package struct MeanEstimate: Codable, Sendable, Hashable {
  /// The number of records.
  package let count: CountEstimate
  /// The mean of the records, each moved into the bounds.
  package let mean: Double
  /// Of the mean, from noise and rounding, to first order.
  package let meanStandardError: Double
  /// The variance of the records, moved into the bounds (divided by their number); noise may make it negative,
  /// then it is 0.
  package let variance: Double
  /// Of the variance, from noise and rounding, to first order.
  package let varianceStandardError: Double
}

/// The mean and the variance of numbers within declared bounds.
///
/// A record x becomes u = (x − middle)/half in [−1, 1], moved to the nearer end if it is outside, and adds
/// (R, Ru, Ru²) to its contributor's vector, rounded stochastically: three coordinates of at most R each.
/// Sensitivity for m records: Σ|x| ≤ 3mR, Σx² ≤ 3m²R², |x| ≤ mR.
package struct MeanQuery: Codable, Sendable, Hashable {
  /// The ends of the range, in the records' own units.
  package let lower: Double
  package let upper: Double
  /// R: the grid, in units per half range.
  package let resolution: Int
  /// m.
  package let recordsPerContributor: Int

  /// Throws: `outOfRange`.
  package init(
    lower: Double, upper: Double, resolution: Int = 1 << 10, recordsPerContributor: Int = 1
  ) throws(MechanismError) {
    try QueryLimits.check(lower: lower, upper: upper)
    guard (1...1 << 20).contains(resolution) else {
      throw .outOfRange(.resolution, value: Double(resolution))
    }
    try QueryLimits.check(records: recordsPerContributor)
    self.lower = lower
    self.upper = upper
    self.resolution = resolution
    self.recordsPerContributor = recordsPerContributor
  }

  /// Reads a query. Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      lower: fields.decode(Double.self, forKey: .lower), upper: fields.decode(Double.self, forKey: .upper),
      resolution: fields.decode(Int.self, forKey: .resolution),
      recordsPerContributor: fields.decode(Int.self, forKey: .recordsPerContributor))
  }

  private var middle: Double { lower + half }
  private var half: Double { upper / 2 - lower / 2 }

  var sensitivity: StatisticsSensitivity {
    let most = Int64(recordsPerContributor) * Int64(resolution)
    return StatisticsSensitivity(l1: 3 * most, l2Squared: 3 * most * most, lInfinity: most)
  }

  /// Adds one record that is not NaN.
  func add(_ record: Double, to vector: inout [Int64], random: inout RandomStream) {
    let u = min(max((record - middle) / half, -1), 1)
    let words = random.bytes(16)
    let uniforms = words.withUnsafeBytes { bytes in
      (0..<2).map { Double(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self) >> 11) * 0x1p-53 }
    }
    let scale = Double(resolution)
    // ⌊v + w⌋ for w in [0, 1) is v on average; clamped, for a sum that rounds up to an integer.
    func rounded(_ value: Double, _ uniform: Double) -> Int64 {
      min(max(Int64((value + uniform).rounded(.down)), -Int64(resolution)), Int64(resolution))
    }
    vector[0] += Int64(resolution)
    vector[1] += rounded(u * scale, uniforms[0])
    vector[2] += rounded(u * u * scale, uniforms[1])
  }

  func decode(_ sum: [Int64], noiseVariance: Double) throws(MechanismError) -> MeanEstimate {
    let scale = Double(resolution)
    let count = CountEstimate(
      value: Double(sum[0]) / scale, standardError: noiseVariance.squareRoot() / scale)
    guard count.value > max(4 * count.standardError, 0.5) else {
      throw .tooFewRecords(estimate: count.value, standardError: count.standardError)
    }
    let total = Double(sum[0])
    let (m1, m2) = (Double(sum[1]) / total, Double(sum[2]) / total)
    // Rounding adds at most 1/4 per record to the two rounded sums.
    let rounding = count.value / 4
    let meanVariance = (noiseVariance * (1 + m1 * m1) + rounding) / (total * total)
    // By the derivatives of S₂/S₀ − (S₁/S₀)².
    let slope = m2 - 2 * m1 * m1
    let spreadVariance =
      (noiseVariance * (1 + 4 * m1 * m1 + slope * slope) + rounding * (1 + 4 * m1 * m1)) / (total * total)
    return MeanEstimate(
      count: count, mean: middle + half * m1, meanStandardError: half * meanVariance.squareRoot(),
      variance: max(0, m2 - m1 * m1) * half * half,
      varianceStandardError: half * half * spreadVariance.squareRoot())
  }
}

/// A quantile with the interval that holds it.
package struct QuantileEstimate: Codable, Sendable, Hashable {
  /// The fraction of records below.
  package let probability: Double
  /// The value, interpolated within its bin.
  package let value: Double
  /// The ends of the interval that holds the records' quantile with the confidence asked for. It ends at bins'
  /// edges: a record's place within its bin is not known.
  package let lower: Double
  package let upper: Double
}

/// Quantiles of numbers within declared bounds, from a histogram of equal bins; records outside count in the
/// first and the last bin.
/// Sensitivity: that of a histogram, m, m² and m for m records per contributor.
package struct QuantileQuery: Codable, Sendable, Hashable {
  /// The ends of the range, in the records' own units.
  package let lower: Double
  package let upper: Double
  /// The number of bins. The noise of a rank grows with its root, the interpolation error falls with it.
  package let bins: Int
  /// The quantiles asked for, each above 0 and below 1.
  package let probabilities: [Double]
  /// m.
  package let recordsPerContributor: Int

  /// Throws: `outOfRange`.
  package init(
    lower: Double, upper: Double, bins: Int, probabilities: [Double], recordsPerContributor: Int = 1
  ) throws(MechanismError) {
    try QueryLimits.check(lower: lower, upper: upper)
    try QueryLimits.check(bins: bins)
    for probability in probabilities {
      guard probability > 0, probability < 1 else { throw .outOfRange(.quantile, value: probability) }
    }
    try QueryLimits.check(records: recordsPerContributor)
    self.lower = lower
    self.upper = upper
    self.bins = bins
    self.probabilities = probabilities
    self.recordsPerContributor = recordsPerContributor
  }

  /// Reads a query. Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      lower: fields.decode(Double.self, forKey: .lower), upper: fields.decode(Double.self, forKey: .upper),
      bins: fields.decode(Int.self, forKey: .bins),
      probabilities: fields.decode([Double].self, forKey: .probabilities),
      recordsPerContributor: fields.decode(Int.self, forKey: .recordsPerContributor))
  }

  /// The bin of a record that is not NaN.
  func bin(of record: Double) -> Int {
    let clamped = min(max(record, lower), upper)
    // Halves first: the width of a range may be beyond the largest double.
    let place = (clamped / 2 - lower / 2) / (upper / 2 - lower / 2)
    return min(max(Int(place * Double(bins)), 0), bins - 1)
  }

  /// The value at an edge, from 0 to `bins`.
  private func edge(_ index: Double) -> Double {
    let place = index / Double(bins)
    return lower * (1 - place) + upper * place
  }

  /// For each probability p, the crossing of the cumulated counts with p·n, n the total. The difference
  /// D_k = S_k − p·n has noise of variance v·(k(1 − p)² + (B − k)p²), from which the interval's ends follow:
  /// the first edge at which D_k is not surely negative and the last at which it is not surely positive.
  func decode(
    _ sum: [Int64], noiseVariance: Double, confidence: Double
  ) throws(MechanismError) -> [QuantileEstimate] {
    var cumulated = [0.0]
    for count in sum { cumulated.append(cumulated[cumulated.count - 1] + Double(count)) }
    let total = cumulated[bins]
    let error = (noiseVariance * Double(bins)).squareRoot()
    guard total > max(4 * error, 0.5) else {
      throw .tooFewRecords(estimate: total, standardError: error)
    }
    let z = NormalDistribution.quantile((1 + confidence) / 2)
    return probabilities.map { p in
      let target = p * total
      // Noise makes the counts fall here and there: the value is midway between the first crossing and the
      // last one.
      var (first, last, isFirst) = (0.0, 0.0, true)
      var (least, most) = (Double(bins), 0.0)
      for k in 0...bins {
        let variance = noiseVariance * (Double(k) * (1 - p) * (1 - p) + Double(bins - k) * p * p)
        let reach = z * variance.squareRoot()
        if cumulated[k] - target >= -reach { least = min(least, Double(k)) }
        if cumulated[k] - target <= reach { most = max(most, Double(k)) }
        guard k > 0, cumulated[k - 1] < target, cumulated[k] >= target else { continue }
        last = Double(k - 1) + (target - cumulated[k - 1]) / (cumulated[k] - cumulated[k - 1])
        if isFirst { first = last }
        isFirst = false
      }
      // The edges before the first possible crossing and after the last one.
      return QuantileEstimate(
        probability: p, value: edge((first + last) / 2), lower: edge(max(0, least - 1)),
        upper: edge(min(Double(bins), most + 1)))
    }
  }
}

/// Limits that queries share.
enum QueryLimits {
  static func check(records: Int) throws(MechanismError) {
    guard (1...1 << 10).contains(records) else {
      throw .outOfRange(.recordsPerContributor, value: Double(records))
    }
  }

  static func check(bins: Int) throws(MechanismError) {
    guard (1...1 << 20).contains(bins) else { throw .outOfRange(.bins, value: Double(bins)) }
  }

  static func check(lower: Double, upper: Double) throws(MechanismError) {
    guard lower.isFinite, upper.isFinite, lower < upper, upper / 2 - lower / 2 > 0 else {
      throw .outOfRange(.bounds, value: upper - lower)
    }
  }
}

/// The standard normal distribution.
enum NormalDistribution {
  /// The x with P(X ≤ x) = p, for p above 0 and below 1, by bisection; accurate to 1e-12 for p not too near 1.
  static func quantile(_ p: Double) -> Double {
    var (low, high) = (-40.0, 40.0)
    for _ in 0..<80 {
      let middle = (low + high) / 2
      if erfc(-middle / 2.squareRoot()) / 2 < p { low = middle } else { high = middle }
    }
    return high
  }

  /// The x with P(X > x) = tail: accurate for tails as small as 1e-300.
  static func upperQuantile(_ tail: Double) -> Double { -quantile(tail) }
}
