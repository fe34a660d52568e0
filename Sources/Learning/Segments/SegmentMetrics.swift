#if canImport(Glibc)
  import Glibc
#endif

/// Measures of segments from a row's scores (see `Objective.segments`).
struct SegmentScores {
  /// The segment of the row, the first of equals.
  let segment: Int
  /// The squared distance to its centre, at least 0.
  let squaredDistance: Float
  /// The simplified silhouette, −1 … 1 (Hruschka, de Castro, Campello: *Evolutionary Algorithms for
  /// Clustering Gene-Expression Data*, ICDM 2004): (b − a) / max(a, b), a being the distance to the own
  /// centre and b to the nearest other one; 0 without another segment.
  let silhouette: Float

  /// - Parameter scores: `2 · count` numbers, at least 2; any numbers.
  init(_ scores: ArraySlice<Float>) {
    let count = scores.count / 2
    let distances = scores.dropFirst(count)
    segment = ExactMetrics.likeliest(scores.prefix(count))
    squaredDistance = max(0, distances[distances.startIndex + segment])
    var other = Float.infinity
    for (index, distance) in distances.enumerated() where index != segment { other = min(other, distance) }
    let (own, next) = (squaredDistance.squareRoot(), max(0, other).squareRoot())
    let value = (next - own) / max(own, next)
    let isThere = squaredDistance < Objective.absentSegment && other < Objective.absentSegment
    silhouette = isThere && value.isFinite ? min(max(value, -1), 1) : 0
  }
}

extension PredictionMetrics {
  /// Silhouette, inertia and log likelihood; none if a score is no finite number.
  mutating func measureSegments(count: Int, scores: [Float]) {
    guard scores.allSatisfy(\.isFinite) else { return }
    var (silhouettes, squares, likelihood) = (0.0, 0.0, 0.0)
    var (isMixture, isSeveral) = (false, false)
    for row in 0..<records {
      let own = scores[row * 2 * count..<(row + 1) * 2 * count]
      let measures = SegmentScores(own)
      silhouettes += Double(measures.silhouette)
      squares += Double(measures.squaredDistance)
      let preferences = own.prefix(count)
      let highest = preferences[preferences.startIndex + measures.segment]
      likelihood += Double(highest) + log(preferences.reduce(0.0) { $0 + exp(Double($1 - highest)) })
      let distances = own.dropFirst(count)
      isMixture = isMixture || zip(preferences, distances).contains { $0 != -$1 }
      isSeveral = isSeveral || distances.count { $0 < Objective.absentSegment } > 1
    }
    silhouette = isSeveral ? silhouettes / Double(records) : nil
    inertia = squares / Double(records)
    logLikelihood = isMixture ? likelihood / Double(records) : nil
  }
}

extension ExactMetrics {
  /// The mean silhouette (Rousseeuw, *Silhouettes: A Graphical Aid to the Interpretation and Validation of
  /// Cluster Analysis*, Journal of Computational and Applied Mathematics 20, 1987): of a row (b − a) / max(a,
  /// b), where a is the mean distance to the other rows of its segment and b the smallest mean distance to
  /// the rows of another segment; 0 for the only row of a segment. Nil with fewer than two segments, or with
  /// a feature that is not finite.
  ///
  /// - Parameters:
  ///   - features: the dense columns count alone.
  ///   - segments: of every row, a number of at least 0.
  ///   - limit: of more rows, this many are drawn: the time grows with their square.
  ///   - seed: of the draw.
  package static func silhouette(
    features: Matrix, segments: [Int], limit: Int = 10_000, seed: UInt64 = 0
  ) -> Double? {
    precondition(segments.count == features.rows, "every row has its segment")
    var rows = Array(segments.indices)
    if rows.count > max(limit, 0) {
      var generator = SplitMix64(seed: seed)
      generator.shuffle(&rows)
      rows = rows.prefix(max(limit, 0)).sorted()
    }
    let names = Set(rows.map { segments[$0] }).sorted()
    guard names.count > 1, features.values.allSatisfy(\.isFinite) else { return nil }
    // Rows of a segment side by side, feature after feature: one loop over all of them for each feature.
    var ordered: [Int] = []
    var offsets = [0]
    for name in names {
      ordered += rows.filter { segments[$0] == name }
      offsets.append(ordered.count)
    }
    let columns = features.columns
    let values = (0..<columns).map { column in ordered.map { features.values[$0 * columns + column] } }
    var distances = [Float](repeating: 0, count: ordered.count)
    var sum = 0.0
    for segment in names.indices where offsets[segment + 1] - offsets[segment] > 1 {
      for row in offsets[segment]..<offsets[segment + 1] {
        measure(values, from: row, into: &distances)
        var (own, next) = (0.0, Double.infinity)
        for other in names.indices {
          let range = offsets[other]..<offsets[other + 1]
          let total = distances[range].reduce(0.0) { $0 + Double($1) }
          if other == segment {
            own = total / Double(range.count - 1)
          } else {
            next = min(next, total / Double(range.count))
          }
        }
        let widest = max(own, next)
        if widest > 0, widest.isFinite { sum += (next - own) / widest }
      }
    }
    return sum / Double(ordered.count)
  }

  /// The distances of all rows from one.
  private static func measure(_ columns: [[Float]], from row: Int, into distances: inout [Float]) {
    for index in distances.indices { distances[index] = 0 }
    for column in columns {
      let value = column[row]
      for index in distances.indices {
        let difference = column[index] - value
        distances[index] += difference * difference
      }
    }
    for index in distances.indices { distances[index] = distances[index].squareRoot() }
  }
}
