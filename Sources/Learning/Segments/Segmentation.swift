#if canImport(Glibc)
  import Glibc
#endif

/// Customer segments: k-means, or a mixture of normal distributions with independent features.
///
/// **Rounds.** Every round a contributor says how far its rows are from the centre of their segment
/// (`SegmentWorker`), and the server moves the centres by the mean of these distances: one round is one
/// iteration of Lloyd's algorithm or of expectation maximisation, exactly so without clipping and noise.
/// These end in a local optimum, and a bad start in a bad one. A start from the data, as k-means++ makes it,
/// would have to be paid for in privacy, and a start from random points is often bad. So training grows the
/// segments out of the sums that it has anyway, by splitting as in vector quantisation (Linde, Buzo, Gray,
/// *An Algorithm for Vector Quantizer Design*, IEEE Transactions on Communications 28(1), 1980): it begins
/// with one segment at 0, the middle of standardised features, and at the end of every round splits those
/// with the largest sum of squares along one feature, along that feature. For this the vectors of growing
/// rounds hold second moments, too. At one and a half times the segments asked for it merges the nearest by
/// Ward's criterion: so two segments that share a group of customers find each other, which no later
/// iteration would do. Then the segments are settled, and rounds only move them.
///
/// **Where segments have few contributors** the noise of their sums would move them more than the data: see
/// `SegmentSettings.smallestShare`. An empty one becomes half of the largest, by a step in a direction that
/// the seed and the round decide.
///
/// **Clipping** shortens a contributor's whole vector, its count as well. A centre c then moves by Σ w (x −
/// c) / Σ w, where w ≤ 1 is what the clip norm left of each: an iteratively reweighted mean, whose fixed point
/// is Huber's estimate of the location (Huber, *Robust Estimation of a Location Parameter*, Annals of
/// Mathematical Statistics 35(1), 1964). So rows far out pull no harder than those at the clip norm,
/// which for skewed segments shifts centres towards the bulk, makes shares those of the weights, and a
/// mixture's variances somewhat smaller than the rows'.
///
/// The server's optimiser has no part in this.
package struct Segmentation: FederatedModel {
  /// How many segments, and of what kind.
  package let settings: SegmentSettings
  /// The rows: layout `dense`, without sparse columns.
  package let shape: FeatureShape
  /// Segments.
  package var objective: Objective { settings.objective }

  /// The preference for a segment that does not exist yet, and with the other sign the squared distance to
  /// its centre.
  static let absent = Objective.absentSegment

  /// Refuses what `SegmentSettings.validate(shape:)` refuses.
  package init(settings: SegmentSettings, shape: FeatureShape) throws(LearningError) {
    try settings.validate(shape: shape)
    self.init(validSettings: settings, shape: shape)
  }

  init(validSettings settings: SegmentSettings, shape: FeatureShape) {
    self.settings = settings
    self.shape = shape
  }

  /// One segment at 0.
  ///
  /// - Parameter seed: of the directions in which empty segments leave the largest; its low 24 bits count.
  package func initialParameters(seed: UInt64) -> [Float] {
    let variances = SegmentState.variances(settings)
    let one = CustomerSegment(
      share: 1, centre: [Float](repeating: 0, count: shape.columns),
      variance: [Float](
        repeating: min(max(1, variances.lowerBound), variances.upperBound),
        count: settings.method == .mixture ? shape.columns : 0))
    return SegmentState(seed: seed & SegmentState.seedMask, rounds: 0, isSettled: false, segments: [one])
      .parameters
  }

  package var initialParameterCount: Int {
    SegmentState.headerCount + SegmentState.width(settings, columns: shape.columns)
  }

  package func check(parameters: [Float]) throws(LearningError) { _ = try state(parameters) }

  /// Count and first moments of every segment, and second moments but for k-means that has settled; 0 for
  /// malformed parameters.
  package func contributionLength(parameters: [Float]) -> Int {
    guard let state = try? state(parameters) else { return 0 }
    return state.segments.count * SegmentRound(settings, columns: shape.columns, state).width
  }

  /// A worker; the only algorithm of segments is `fedSGD`: distances from the centres of this round.
  package func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker {
    guard algorithm == .fedSGD else {
      throw .invalidSetting(
        name: "the local algorithm", reason: "segments take one distance of every record: choose FedSGD")
    }
    return SegmentWorker(model: self)
  }

  /// What a row prefers and how far it is from each centre: see `Objective.segments`. While segments grow,
  /// surplus ones are merged first, and missing ones are infinitely far, or nearly.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    let segments = try segments(parameters: parameters)
    try features.check(shape: shape)
    let columns = shape.columns
    let assigner = SegmentAssigner(settings, segments: segments, columns: columns)
    let outputs = objective.outputs
    var scores = [Float](repeating: -Self.absent, count: features.rows * outputs)
    var row = [Float](repeating: 0, count: columns)
    var distances = [Float](repeating: 0, count: segments.count)
    var preferences = distances
    for index in 0..<features.rows {
      for column in 0..<columns {
        // A NaN, which no pipeline makes, becomes a bound of the range.
        row[column] = max(-settings.range, min(settings.range, features.values[index * columns + column]))
      }
      assigner.measure(row, distances: &distances, preferences: &preferences)
      for segment in 0..<settings.count {
        let isThere = segment < segments.count
        scores[index * outputs + segment] = isThere ? preferences[segment] : -Self.absent
        scores[index * outputs + settings.count + segment] = isThere ? distances[segment] : Self.absent
      }
    }
    return scores
  }

  /// The segments that parameters describe, `settings.count` of them once training has grown them; the most
  /// that there are before.
  package func segments(parameters: [Float]) throws(LearningError) -> [CustomerSegment] {
    try state(parameters).merged(to: settings.count)
  }

  func state(_ parameters: [Float]) throws(LearningError) -> SegmentState {
    let result = parameters.withUnsafeBufferPointer { parameters in
      Result { () throws(LearningError) in
        try SegmentState(parameters: parameters, settings: settings, columns: shape.columns)
      }
    }
    return try result.get()
  }
}

/// Measures rows against segments.
struct SegmentAssigner {
  private let columns: Int
  /// Centres, feature after feature: the loops over segments are the inner ones.
  private let centres: [Float]
  /// 1/variance, likewise; empty for k-means.
  private let precisions: [Float]
  /// Of every segment of a mixture: the logarithm of its share and of its density at the centre.
  private let heights: [Float]
  let count: Int

  init(_ settings: SegmentSettings, segments: [CustomerSegment], columns: Int) {
    self.columns = columns
    count = segments.count
    let isMixture = settings.method == .mixture
    var centres = [Float](repeating: 0, count: columns * segments.count)
    var precisions = isMixture ? centres : []
    var heights: [Float] = []
    for (index, segment) in segments.enumerated() {
      for column in 0..<columns { centres[column * segments.count + index] = segment.centre[column] }
      guard isMixture else { continue }
      var height = log(Double(segment.share))
      for column in 0..<columns {
        let variance = segment.variance[column]
        precisions[column * segments.count + index] = 1 / variance
        height -= log(2 * Double.pi * Double(variance)) / 2
      }
      heights.append(Float(height))
    }
    (self.centres, self.precisions, self.heights) = (centres, precisions, heights)
  }

  /// The squared distances of one row from all centres, and its preferences: minus the distances for k-means,
  /// the logarithm of share and density for mixtures.
  func measure(_ row: [Float], distances: inout [Float], preferences: inout [Float]) {
    precondition(row.count == columns && distances.count == count && preferences.count == count)
    for index in 0..<count {
      distances[index] = 0
      preferences[index] = 0
    }
    let isMixture = !precisions.isEmpty
    for column in 0..<columns {
      let (value, start) = (row[column], column * count)
      for index in 0..<count {
        let difference = value - centres[start + index]
        distances[index] += difference * difference
        if isMixture { preferences[index] -= difference * difference * precisions[start + index] / 2 }
      }
    }
    for index in 0..<count {
      preferences[index] = isMixture ? preferences[index] + heights[index] : -distances[index]
    }
  }
}
