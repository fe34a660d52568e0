/// A segment as training left it.
package struct CustomerSegment: Equatable, Sendable {
  /// Its part of all contributors, above 0 and at most 1: an estimate where sums are noisy, and where long
  /// vectors were clipped, rows far from every centre count less.
  package internal(set) var share: Float
  /// One value per feature, in the features' units: encoded, not the customers' own.
  package internal(set) var centre: [Float]
  /// The variance along every feature; empty for k-means.
  package internal(set) var variance: [Float]
}

/// What the parameters of a `Segmentation` say: seed, rounds done, whether the segments are settled (1) or
/// still split and merged (0), then for every segment its share, its centre and, for mixtures, its variances.
///
/// While segments grow, parameters do too: their length tells how many segments there are.
struct SegmentState {
  static let headerCount = 3
  /// Shares are no smaller: a mixture takes their logarithm.
  static let smallestShare: Float = 1e-7
  /// What seeds are cut to: exact in single precision.
  static let seedMask: UInt64 = 0xff_ffff

  var seed: UInt64
  var rounds: Int
  var isSettled: Bool
  var segments: [CustomerSegment]

  init(seed: UInt64, rounds: Int, isSettled: Bool, segments: [CustomerSegment]) {
    self.seed = seed
    self.rounds = rounds
    self.isSettled = isSettled
    self.segments = segments
  }

  /// Reads parameters that may come from anyone.
  init(
    parameters: UnsafeBufferPointer<Float>, settings: SegmentSettings, columns: Int
  ) throws(LearningError) {
    func refuse(_ reason: String) -> LearningError {
      .invalidSetting(name: "the parameter vector", reason: reason)
    }
    let width = Self.width(settings, columns: columns)
    guard parameters.count > Self.headerCount, (parameters.count - Self.headerCount) % width == 0 else {
      throw refuse("it must have \(Self.headerCount) values and \(width) for every segment")
    }
    let count = (parameters.count - Self.headerCount) / width
    guard let seed = Self.whole(parameters[0], below: Int(Self.seedMask) + 1),
      let rounds = Self.whole(parameters[1], below: SegmentSettings.maximumRounds + 1),
      let settled = Self.whole(parameters[2], below: 2)
    else { throw refuse("it must begin with a seed, a number of rounds, and 0 or 1") }
    guard settled == 1 ? count == settings.count : count <= settings.mostWhileGrowing else {
      throw refuse("it has \(count) segments")
    }
    (self.seed, self.rounds, isSettled) = (UInt64(seed), rounds, settled == 1)
    segments = []
    segments.reserveCapacity(count)
    for index in 0..<count {
      let start = Self.headerCount + index * width
      let segment = CustomerSegment(
        share: parameters[start], centre: Array(parameters[start + 1..<start + 1 + columns]),
        variance: Array(parameters[start + 1 + columns..<start + width]))
      guard segment.share >= Self.smallestShare, segment.share <= 1 else {
        throw refuse("the share of segment \(index) must be above 0 and at most 1")
      }
      guard segment.centre.allSatisfy({ abs($0) <= settings.range }) else {
        throw refuse("the centre of segment \(index) is out of the range of features")
      }
      let variances = Self.variances(settings)
      guard segment.variance.allSatisfy({ variances.contains($0) }) else {
        throw refuse("a variance of segment \(index) is not from \(variances.lowerBound) up")
      }
      segments.append(segment)
    }
  }

  private static func whole(_ value: Float, below limit: Int) -> Int? {
    value >= 0 && value < Float(limit) && value == value.rounded() ? Int(value) : nil
  }

  /// Values of a segment.
  static func width(_ settings: SegmentSettings, columns: Int) -> Int {
    1 + columns * (settings.method == .mixture ? 2 : 1)
  }

  /// What variances are within.
  static func variances(_ settings: SegmentSettings) -> ClosedRange<Float> {
    settings.smallestVariance...4 * settings.range * settings.range
  }

  /// The parameters that say this.
  var parameters: [Float] {
    var result = [Float(seed), Float(rounds), isSettled ? 1 : 0]
    result.reserveCapacity(
      Self.headerCount + segments.reduce(0) { $0 + 1 + $1.centre.count + $1.variance.count })
    for segment in segments {
      result.append(segment.share)
      result += segment.centre
      result += segment.variance
    }
    return result
  }

  /// At most so many segments: those whose union adds least to the squared distances become one, again and
  /// again (Ward, *Hierarchical Grouping to Optimize an Objective Function*, JASA 58(301), 1963).
  func merged(to count: Int) -> [CustomerSegment] {
    guard segments.count > count else { return segments }
    var merged = segments
    let all = merged.count
    var costs = [Double](repeating: .infinity, count: all * all)
    func cost(_ a: CustomerSegment, _ b: CustomerSegment) -> Double {
      let weight = Double(a.share) * Double(b.share) / (Double(a.share) + Double(b.share))
      return weight * zip(a.centre, b.centre).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
    }
    for a in 0..<all { for b in a + 1..<all { costs[a * all + b] = cost(merged[a], merged[b]) } }
    var alive = Array(0..<all)
    while alive.count > count {
      var best = (cost: Double.infinity, kept: alive[0], dropped: alive[1])
      for (position, a) in alive.enumerated() {
        for b in alive[(position + 1)...] where costs[a * all + b] < best.cost {
          best = (costs[a * all + b], a, b)
        }
      }
      merged[best.kept].join(merged[best.dropped])
      alive.removeAll { $0 == best.dropped }
      for other in alive where other != best.kept {
        let place = min(other, best.kept) * all + max(other, best.kept)
        costs[place] = cost(merged[other], merged[best.kept])
      }
    }
    return alive.map { merged[$0] }
  }
}

extension CustomerSegment {
  /// The union with another segment: means and variances of both parts together.
  fileprivate mutating func join(_ other: CustomerSegment) {
    let part = other.share / (share + other.share)
    for index in centre.indices {
      let distance = other.centre[index] - centre[index]
      centre[index] += part * distance
      guard !variance.isEmpty else { continue }
      variance[index] += part * (other.variance[index] - variance[index])
      variance[index] += part * (1 - part) * distance * distance
    }
    share = min(share + other.share, 1)
  }
}
