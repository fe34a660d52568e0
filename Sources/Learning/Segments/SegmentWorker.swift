#if canImport(Glibc)
  import Glibc
#endif

/// What one round asks of every contributor, and in which units: see `SegmentWorker`.
struct SegmentRound {
  /// What kind of sums a round takes.
  enum Kind {
    /// Counts, first and second moments of rows at their nearest centre.
    case growing
    /// Counts and first moments, likewise.
    case lloyd
    /// Counts, first and second moments of rows at all centres, by their responsibility.
    case expectation
  }

  /// The weight of the counts against the distances.
  static let countWeight: Float = 0.5

  let kind: Kind
  let columns: Int
  /// What a row's count is multiplied by.
  let count: Float
  /// What first moments are multiplied by.
  let first: Float
  /// What second moments are multiplied by.
  let second: Float

  init(_ settings: SegmentSettings, columns: Int, _ state: SegmentState) {
    self.columns = columns
    kind = !state.isSettled ? .growing : settings.method == .kMeans ? .lloyd : .expectation
    let root = Float(columns).squareRoot()
    let share: Float = kind == .lloyd ? 1 : Float(0.5).squareRoot()
    count = Self.countWeight * share
    first = share / root
    switch kind {
    case .growing: second = share / (2 * root)
    case .lloyd: second = 0
    case .expectation: second = share / (root * Float(2).squareRoot())
    }
  }

  /// Values of a segment in a vector.
  var width: Int { 1 + columns * (kind == .lloyd ? 1 : 2) }
}

/// Computes contributors' vectors on one thread.
///
/// A vector holds for every segment (½ n, f / √d, s / √d), d being the number of features, averaged over the
/// contributor's rows:
/// - k-means, settled: for the segment of the row n = 1 and f = x − c; no s; for all others 0.
/// - growing, of both methods: the same with s = ½ (x − c)², everything divided by √2.
/// - mixture, settled: for every segment n = r, its responsibility for the row, f = r z, s = r (z² − 1) / √2,
///   z = (x − c) / deviation, everything divided by √2. These are the row's scores in Fisher's sense: of unit
///   variance where the mixture is right.
///
/// **Norm.** Unbounded by itself but for the range of features: with responsibilities that add up to 1 at
/// most that of a single segment. k-means: √(¼ + |x − c|² / d); a row that is 0.87 off in the root mean
/// square of its features has norm 1, whatever the number of features. Growing rounds: the first, with one
/// segment, has rows of squared norm about (¼ + 1 + ¾) / 2 = 1. A mixture: about (¼ + 1 + 1) / 2 = 1.1. So a
/// clip norm of 1 leaves the bulk of rows as it is; see `Segmentation` for what it does to the others.
package final class SegmentWorker: ContributionWorker {
  private let model: Segmentation
  private var vector: [Float] = []
  private var row: [Float]
  private var distances: [Float] = []
  private var preferences: [Float] = []
  /// The segments whose values are not 0, each once; meaningless for mixtures that have settled.
  private var touched: [Int] = []
  private var isSparse = false
  private var width = 0

  init(model: Segmentation) {
    self.model = model
    row = [Float](repeating: 0, count: model.shape.columns)
  }

  package var support: [Int32]? {
    isSparse ? touched.flatMap { Int32($0 * width)..<Int32(($0 + 1) * width) } : nil
  }

  package func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try batch.check(shape: model.shape, objective: model.objective)
    precondition(
      contributors.lowerBound >= 0 && contributors.upperBound <= batch.contributorCount,
      "contributors are positions in the batch")
    let (settings, columns) = (model.settings, model.shape.columns)
    let state = try SegmentState(parameters: parameters, settings: settings, columns: columns)
    let round = SegmentRound(settings, columns: columns, state)
    let assigner = SegmentAssigner(settings, segments: state.segments, columns: columns)
    isSparse = round.kind != .expectation
    width = round.width
    vector = [Float](repeating: 0, count: state.segments.count * width)
    distances = [Float](repeating: 0, count: state.segments.count)
    preferences = distances
    touched.removeAll(keepingCapacity: true)
    for contributor in contributors {
      clear()
      let rows = batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1]
      for index in rows {
        for column in 0..<columns {
          row[column] = max(
            -settings.range, min(settings.range, batch.features.values[index * columns + column]))
        }
        assigner.measure(row, distances: &distances, preferences: &preferences)
        add(state.segments, round, weight: 1 / Float(rows.count))
      }
      try vector.withUnsafeMutableBufferPointer { try body(contributor, $0) }
    }
  }

  private func clear() {
    if isSparse {
      for segment in touched { for index in 0..<width { vector[segment * width + index] = 0 } }
      touched.removeAll(keepingCapacity: true)
    } else {
      for index in vector.indices { vector[index] = 0 }
    }
  }

  /// Adds the row that was measured last.
  private func add(_ segments: [CustomerSegment], _ round: SegmentRound, weight: Float) {
    guard round.kind == .expectation else {
      var nearest = 0
      for index in distances.indices where distances[index] < distances[nearest] { nearest = index }
      if !touched.contains(nearest) { touched.append(nearest) }
      let start = nearest * width
      vector[start] += weight * round.count
      for column in 0..<round.columns {
        let difference = row[column] - segments[nearest].centre[column]
        vector[start + 1 + column] += weight * round.first * difference
        if round.kind == .growing {
          vector[start + 1 + round.columns + column] += weight * round.second * difference * difference
        }
      }
      return
    }
    let highest = preferences.reduce(-Float.infinity, max)
    var sum: Float = 0
    for index in preferences.indices {
      preferences[index] = exp(preferences[index] - highest)
      sum += preferences[index]
    }
    for (index, segment) in segments.enumerated() where preferences[index] > 0 {
      let part = weight * preferences[index] / sum
      let start = index * width
      vector[start] += part * round.count
      for column in 0..<round.columns {
        let variance = segment.variance[column]
        let difference = row[column] - segment.centre[column]
        vector[start + 1 + column] += part * round.first * difference / variance.squareRoot()
        vector[start + 1 + round.columns + column] +=
          part * round.second * (difference * difference / variance - 1)
      }
    }
  }
}
