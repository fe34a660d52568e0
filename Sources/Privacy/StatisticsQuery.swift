package import Cryptography

/// The most that one contributor's integer vector can hold: what the noise has to hide.
package struct StatisticsSensitivity: Codable, Sendable, Hashable {
  /// The largest Σ|x|.
  package let l1: Int64
  /// The largest Σx².
  package let l2Squared: Int64
  /// The largest |x|.
  package let lInfinity: Int64

  /// Holds the three bounds.
  package init(l1: Int64, l2Squared: Int64, lInfinity: Int64) {
    self.l1 = l1
    self.l2Squared = l2Squared
    self.lInfinity = lInfinity
  }

  /// The bounds of vectors that are multiplied by `scale`; nil if one of them overflows.
  package func scaled(by scale: Int64) -> StatisticsSensitivity? {
    let (square, a) = scale.multipliedReportingOverflow(by: scale)
    let (l1, b) = l1.multipliedReportingOverflow(by: scale)
    let (l2Squared, c) = l2Squared.multipliedReportingOverflow(by: square)
    let (lInfinity, d) = lInfinity.multipliedReportingOverflow(by: scale)
    return a || b || c || d ? nil : StatisticsSensitivity(l1: l1, l2Squared: l2Squared, lInfinity: lInfinity)
  }

  /// Whether a vector keeps the bounds, in integer arithmetic; false if a sum overflows.
  package func holds(for vector: [Int64]) -> Bool {
    var (sum, squares, isWithin) = (Int64(0), Int64(0), true)
    for x in vector {
      let (magnitude, a) = x < 0 ? Int64(0).subtractingReportingOverflow(x) : (x, false)
      let (square, b) = x.multipliedReportingOverflow(by: x)
      let (nextSum, c) = sum.addingReportingOverflow(magnitude)
      let (nextSquares, d) = squares.addingReportingOverflow(square)
      (sum, squares) = (nextSum, nextSquares)
      isWithin = isWithin && !a && !b && !c && !d && magnitude <= lInfinity
    }
    return isWithin && sum <= l1 && squares <= l2Squared
  }

  /// The event of one release of the sum under Skellam noise of total `variance` per coordinate.
  package func event(
    variance: Double, dimension: Int, samplerErrorLog2: Double,
    relation: NeighbouringRelation = .addRemove
  ) -> PrivacyEvent {
    let factor = relation.sensitivityFactor
    let (squared, overflow) = l2Squared.multipliedReportingOverflow(by: factor * factor)
    return PrivacyEvent(
      mechanism: .skellam(
        // The accountant refuses −1; a saturated bound would understate the cost.
        variance: variance, sensitivityL2Squared: overflow ? -1 : squared,
        sensitivityL1: Double(l1) * Double(factor), dimension: dimension,
        samplerErrorLog2: samplerErrorLog2))
  }
}

/// One contributor's records, as a query reads them.
package enum StatisticsRecords: Sendable, Hashable {
  /// Categories, from 0.
  case categories([Int])
  /// Numbers.
  case numbers([Double])
  /// Byte strings.
  case keys([[UInt8]])

  /// What the records are, for messages.
  var kind: String {
    switch self {
    case .categories: "categories"
    case .numbers: "numbers"
    case .keys: "byte strings"
    }
  }

  var count: Int {
    switch self {
    case .categories(let list): list.count
    case .numbers(let list): list.count
    case .keys(let list): list.count
    }
  }
}

/// A question about a population that is answered from one noised sum of integer vectors.
///
/// Each contributor's records become one vector within the stated `sensitivity`, whatever the records are;
/// vectors are added up (through secure aggregation or at a server), noised by any mechanism of this module,
/// and decoded with the noise's variance. Neighbours are as for the mechanism that adds the noise;
/// `sensitivity` is for add/remove.
package enum StatisticsQuery: Codable, Sendable, Hashable {
  /// The number of records (of any kind).
  case count(CountQuery)
  /// The number of records per category.
  case histogram(HistogramQuery)
  /// The mean and the variance of numbers.
  case mean(MeanQuery)
  /// Quantiles of numbers.
  case quantiles(QuantileQuery)
  /// One round of a search for frequent byte strings.
  case heavyHitters(HeavyHitterSearch)

  /// The number of coordinates of a vector.
  package var dimension: Int {
    switch self {
    case .count: 1
    case .histogram(let query): query.categories
    case .mean: 3
    case .quantiles(let query): query.bins
    case .heavyHitters(let search): search.dimension
    }
  }

  /// The most that one contributor's vector can hold.
  package var sensitivity: StatisticsSensitivity {
    switch self {
    case .count(let query): .votes(query.recordsPerContributor)
    case .histogram(let query): .votes(query.recordsPerContributor)
    case .mean(let query): query.sensitivity
    case .quantiles(let query): .votes(query.recordsPerContributor)
    case .heavyHitters(let search): .votes(search.recordsPerContributor)
    }
  }

  /// One contributor's vector. Of more records than the query allows, a random choice counts; records out of
  /// range (an unknown category, a NaN) count as absent. It does not throw for them: a round that aborts
  /// because of one customer's data would tell about that customer.
  ///
  /// Throws: `wrongValues` for records of another kind.
  package func encode(
    _ records: StatisticsRecords, random: inout RandomStream
  ) throws(MechanismError) -> [Int64] {
    var vector = [Int64](repeating: 0, count: dimension)
    switch (self, records) {
    case (.count(let query), _):
      vector[0] = Int64(min(records.count, query.recordsPerContributor))
    case (.histogram(let query), .categories(let list)):
      let known = list.filter { $0 >= 0 && $0 < query.categories }
      for category in random.choose(query.recordsPerContributor, of: known) { vector[category] += 1 }
    case (.mean(let query), .numbers(let list)):
      let known = list.filter { !$0.isNaN }
      for number in random.choose(query.recordsPerContributor, of: known) {
        query.add(number, to: &vector, random: &random)
      }
    case (.quantiles(let query), .numbers(let list)):
      let known = list.filter { !$0.isNaN }
      for number in random.choose(query.recordsPerContributor, of: known) {
        vector[query.bin(of: number)] += 1
      }
    case (.heavyHitters(let search), .keys(let list)):
      for key in random.choose(search.recordsPerContributor, of: list) {
        if let coordinate = search.coordinate(of: key) { vector[coordinate] += 1 }
      }
    case (.histogram, _): throw .wrongValues(expected: "categories", actual: records.kind)
    case (.mean, _), (.quantiles, _):
      throw .wrongValues(expected: "numbers", actual: records.kind)
    case (.heavyHitters, _): throw .wrongValues(expected: "byte strings", actual: records.kind)
    }
    precondition(sensitivity.holds(for: vector), "an encoded contribution keeps its query's bounds")
    return vector
  }

  /// The answer from the noised sum of all vectors.
  ///
  /// `noiseVariance`: of the noise in each coordinate, all of it: that of every node that delivered, not only
  /// of those that the guarantee counts. Standard errors are those of the estimate around the answer that the
  /// same contributors would give without noise; sampling people from a larger population comes on top.
  /// Throws: `wrongDimension`; `outOfRange` for a variance or a confidence out of range; `tooFewRecords`.
  package func decode(
    sum: [Int64], noiseVariance: Double, confidence: Double = 0.95
  ) throws(MechanismError) -> StatisticsAnswer {
    guard sum.count == dimension else {
      throw .wrongDimension(expected: dimension, actual: sum.count)
    }
    guard noiseVariance >= 0, noiseVariance.isFinite else {
      throw .outOfRange(.variance, value: noiseVariance)
    }
    guard confidence > 0, confidence < 1 else { throw .outOfRange(.confidence, value: confidence) }
    let error = noiseVariance.squareRoot()
    switch self {
    case .count: return .count(CountEstimate(value: Double(sum[0]), standardError: error))
    case .histogram:
      return .histogram(sum.map { CountEstimate(value: Double($0), standardError: error) })
    case .mean(let query): return .mean(try query.decode(sum, noiseVariance: noiseVariance))
    case .quantiles(let query):
      return .quantiles(try query.decode(sum, noiseVariance: noiseVariance, confidence: confidence))
    case .heavyHitters(let search):
      return .heavyHitters(try search.advanced(by: sum, noiseVariance: noiseVariance))
    }
  }
}

/// What a query found.
package enum StatisticsAnswer: Codable, Sendable, Hashable {
  /// The number of records.
  case count(CountEstimate)
  /// The number of records per category.
  case histogram([CountEstimate])
  /// Mean and variance.
  case mean(MeanEstimate)
  /// One per probability asked for.
  case quantiles([QuantileEstimate])
  /// The search after this round: the next round's query, or finished.
  case heavyHitters(HeavyHitterSearch)
}

extension CountEstimate {
  /// The interval that holds the true count with this probability, for noise that is nearly Gaussian.
  package func interval(confidence: Double) -> ClosedRange<Double> {
    let reach = NormalDistribution.quantile((1 + confidence) / 2) * standardError
    return (value - reach)...(value + reach)
  }
}

extension StatisticsSensitivity {
  /// Of `count` votes for coordinates, all of which may be the same.
  static func votes(_ count: Int) -> StatisticsSensitivity {
    let count = Int64(count)
    return StatisticsSensitivity(l1: count, l2Squared: count * count, lInfinity: count)
  }
}

extension RandomStream {
  /// All elements, or `limit` of them chosen at random without replacement (Fisher and Yates).
  mutating func choose<Element>(_ limit: Int, of list: [Element]) -> [Element] {
    guard list.count > limit else { return list }
    var list = list
    for index in 0..<limit {
      list.swapAt(index, index + Int(uniform(below: UInt64(list.count - index))))
    }
    return Array(list[..<limit])
  }
}
