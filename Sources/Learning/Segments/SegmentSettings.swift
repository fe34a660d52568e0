/// How rows are divided into segments.
///
/// A segment is a centre among the features, and for mixtures a spread along every feature. Training starts
/// from one segment, splits segments until there are more than asked for, merges the nearest, and then lets
/// the rest settle: see `Segmentation`.
package struct SegmentSettings: Codable, Equatable, Hashable, Sendable {
  /// What a segment is.
  package enum Method: String, CaseIterable, Codable, Equatable, Hashable, Sendable {
    /// The rows that are nearer to its centre than to any other's (Lloyd, *Least Squares Quantization in
    /// PCM*, IEEE Transactions on Information Theory 28(2), 1982).
    case kMeans = "kmeans"
    /// A normal distribution whose features are independent, fitted by expectation maximisation (Dempster,
    /// Laird, Rubin 1977).
    case mixture
  }

  /// The most segments.
  package static let maximumCount = 256

  /// What a segment is.
  package var method: Method
  /// The number of segments, 2 to `maximumCount`.
  package var count: Int
  /// A segment with a smaller part of an equal share of all contributors than this, 0 to 0.5, is taken to be
  /// noise: its centre stays where it is, and below a quarter of this it moves to the largest segment and
  /// splits that one. With noise of deviation s in a segment's number of contributors, 3 · s · `count` /
  /// contributors or more keeps noise from moving centres; 0 moves all but segments without any contributor.
  package var smallestShare: Float
  /// Features beyond plus or minus this, 0.001 to 1,000, count as this, and centres stay within: the numbers of
  /// a pipeline do anyway.
  package var range: Float
  /// No feature of a mixture's segment has a smaller variance, 0.000001 to 1.
  package var smallestVariance: Float

  /// Segments; `validate` checks the limits.
  package init(
    method: Method = .kMeans, count: Int, smallestShare: Float = 0.1,
    range: Float = Float(NumericEncoding.limit), smallestVariance: Float = 0.01
  ) {
    self.method = method
    self.count = count
    self.smallestShare = smallestShare
    self.range = range
    self.smallestVariance = smallestVariance
  }

  /// The most segments while training splits them: half as many again as asked for. One that starts from
  /// more finds the segments of separate groups more often than one that stops at `count`.
  var mostWhileGrowing: Int { count + (count + 1) / 2 }

  /// How many of so many segments are split at a time.
  func splits(of segments: Int) -> Int { min(max(1, segments / 2), mostWhileGrowing - segments) }

  /// Rounds until no segment is split or merged any more.
  package var growingRounds: Int {
    var (rounds, segments) = (1, 1)
    while segments < mostWhileGrowing {
      segments += splits(of: segments)
      rounds += 1
    }
    return rounds
  }

  /// The most rounds that are counted.
  static let maximumRounds = 1 << 20
}

extension SegmentSettings: ModelSettings {
  /// Nothing: rows are assigned.
  package var objective: Objective { .segments(count: count) }
  /// Numbers.
  package var layout: FeatureLayout { .dense }
  /// The number of segments and what they are.
  package var summary: String {
    switch method {
    case .kMeans: "k-means with \(count) segments"
    case .mixture: "Gaussian mixture of \(count) segments"
    }
  }
  /// Splitting, merging, and eight rounds to settle; twelve for mixtures, which converge more slowly.
  package var usualRounds: Int? { growingRounds + (method == .kMeans ? 8 : 12) }
  /// A row about one deviation of the features from its centre has a vector of this norm: see
  /// `SegmentWorker`.
  package var usualClipNorm: Double? { 1 }

  package func validate() throws(LearningError) {
    guard (2...Self.maximumCount).contains(count) else {
      throw .invalidSetting(name: "the number of segments", reason: "allowed are 2 to \(Self.maximumCount)")
    }
    guard smallestShare >= 0, smallestShare <= 0.5 else {
      throw .invalidSetting(name: "the smallest share of a segment", reason: "allowed are 0 to 0.5")
    }
    guard range >= 0.001, range <= 1_000 else {
      throw .invalidSetting(name: "the range of features", reason: "allowed are 0.001 to 1000")
    }
    guard smallestVariance >= 0.000_001, smallestVariance <= 1, smallestVariance <= range * range else {
      throw .invalidSetting(
        name: "the smallest variance of a segment",
        reason: "allowed are 0.000001 to 1, and at most the square of the range of features")
    }
  }

  /// Refuses rows of other layouts than `dense`, sparse columns, and segments of too many values.
  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    guard shape.layout == .dense, shape.sparseColumns == 0 else {
      throw .invalidSetting(
        name: "the columns", reason: "segments take rows of numbers and categories, without columns of text")
    }
    let most = ModelArchitecture.maximumParameters
    guard (1...ModelArchitecture.maximumInputs).contains(shape.columns),
      SegmentState.headerCount + mostWhileGrowing * (1 + 2 * shape.columns) <= most
    else {
      throw .invalidSetting(
        name: "the number of segments",
        reason: "\(count) segments of \(shape.columns) features have more than \(most) values")
    }
  }

  /// The model, for a shape that `validate` accepts.
  package func makeModel(shape: FeatureShape) -> any FederatedModel {
    Segmentation(validSettings: self, shape: shape)
  }
}
