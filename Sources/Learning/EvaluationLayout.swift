#if canImport(Glibc)
  import Glibc
#endif

/// The private sum of an evaluation: a model's measures without any score leaving a node.
///
/// For two classes a contributor's vector is the average over its records of: a one-hot vector over (class,
/// score bin), negatives first, and one last coordinate w · min(log loss, L) / L with L = `lossLimit` and w =
/// `lossWeight`. The first part has an L2 norm of at most 1, so the whole has at most √(1 + w²). A
/// contributor counts once, however many records it has. One edge is 0, so accuracy at probability ½ is exact
/// up to the noise.
///
/// For more classes it is the average over its records of (1, right or wrong, w · min(log loss, L) / L), with
/// an L2 norm of at most √(2 + w²). For numbers it is the average of (1, y/B, y²/B², e²/B², |e|/B), where y
/// is the label, e the prediction's error and B the task's bound on labels, every entry cut to ±1: a norm of
/// at most √5. For segments it is the average of (1, s, v · a one-hot vector over segments), where s is the
/// simplified silhouette (`SegmentScores`), −1 to 1, and v = `segmentWeight`: a norm of at most √(2 + v²).
package struct EvaluationLayout: Equatable, Sendable {
  /// The most bins per class.
  package static let maximumBins = 4096
  /// A record's log loss counts at most this.
  package static let lossLimit: Float = 4
  /// The weight of the log loss against the counts.
  package static let lossWeight: Float = 0.25
  /// The weight of the counts of segments against the silhouette.
  package static let segmentWeight: Float = 0.5

  /// R² of labels whose variance is a smaller part of their mean square is not told.
  static let leastVariance = 1e-6

  /// The number of score bins per class.
  package let bins: Int
  /// What the model predicts.
  package let objective: Objective
  /// B: labels and errors beyond it count as B; for numbers alone.
  package let labelBound: Double
  /// The `bins − 1` inner bounds of the bins, ascending logits; a bin contains its lower bound.
  package let edges: [Float]

  /// Cuts the logits into bins of equal width around an edge at 0 (with an odd number, one more below 0).
  ///
  /// Up to 32 bins, meant for noisy sums, the inner bounds span ±4 and are at most 1 apart: every bin adds
  /// noise to the AUC, most of it the bins of low scores. More bins, meant for exact sums, span ±8.
  /// - Parameters:
  ///   - bins: 2 … `maximumBins`; for two classes alone.
  ///   - labelBound: positive, a normal number in single precision; for numbers alone.
  package init(
    bins: Int, objective: Objective = .binary, labelBound: Double = 1
  ) throws(LearningError) {
    // Contributions are divided by it in single precision.
    guard labelBound > 0, Float(labelBound).isNormal else {
      throw .invalidSetting(name: "the bound on labels", reason: "allowed are 1e-37 to 1e38")
    }
    self.objective = objective
    self.labelBound = labelBound
    guard (2...Self.maximumBins).contains(bins) else {
      throw .invalidSetting(
        name: "the number of evaluation bins", reason: "allowed are 2 to \(Self.maximumBins)")
    }
    self.bins = bins
    let span: Float = bins <= 32 ? 4 : 8
    let width = min(1, span / Float(max(bins / 2 - 1, 1)))
    let below = (bins + 1) / 2
    edges = (1..<bins).map { Float($0 - below) * width }
  }

  /// The length of a contribution.
  package var dimension: Int {
    switch objective {
    case .binary: 2 * bins + 1
    case .classes: 3
    case .squaredError, .huber, .poisson, .tweedie: 5
    case .segments(let count): 2 + count
    }
  }
  /// A bound on the L2 norm of every contribution (rounding aside, which
  /// for 100,000 records of a contributor is a thousandth: the caller clips to it).
  package var l2Bound: Double {
    let loss = Double(Self.lossWeight * Self.lossWeight)
    return switch objective {
    case .binary: (1 + loss).squareRoot()
    case .classes: (2 + loss).squareRoot()
    case .squaredError, .huber, .poisson, .tweedie: 5.0.squareRoot()
    case .segments: (2 + Double(Self.segmentWeight * Self.segmentWeight)).squareRoot()
    }
  }

  /// The vector of one contributor.
  ///
  /// - Parameters:
  ///   - scores: the scores of its records, at least one; a NaN counts as 0.
  ///   - labels: as `TrainingBatch` has checked them.
  package func contribution(scores: [Float], labels: [Float]) -> [Float] {
    precondition(
      !labels.isEmpty && scores.count == labels.count * objective.outputs, "every row has its scores")
    var vector = [Float](repeating: 0, count: dimension)
    let weight = 1 / Float(labels.count)
    switch objective {
    case .binary: break
    case .classes(let count):
      addClasses(scores, labels, count, weight, to: &vector)
      return vector
    case .squaredError, .huber, .poisson, .tweedie:
      addNumbers(scores, labels, weight, to: &vector)
      return vector
    case .segments(let count):
      addSegments(scores, count, weight, to: &vector)
      return vector
    }
    for (raw, label) in zip(scores, labels) {
      let score = raw.isNaN ? 0 : raw
      let bin = edges.firstIndex { score < $0 } ?? edges.count
      vector[label == 1 ? bins + bin : bin] += weight
      let loss = min(ExactMetrics.logLoss(score: score, label: label), Self.lossLimit)
      vector[dimension - 1] += weight * Self.lossWeight * loss / Self.lossLimit
    }
    return vector
  }

  /// Reads the (noisy) sum of all contributions, in units of contributors. Any sum gives values within their
  /// ranges, or nil where a class is not seen or the sum is not finite.
  package func decode(sum: [Double]) -> EvaluationMetrics {
    precondition(sum.count == dimension, "the sum is of another layout")
    guard sum.allSatisfy({ abs($0) < 1e15 }) else {
      return EvaluationMetrics(auc: nil, accuracy: nil, logLoss: nil, positives: 0, negatives: 0)
    }
    switch objective {
    case .binary: break
    case .classes: return classes(sum)
    case .squaredError, .huber, .poisson, .tweedie: return numbers(sum)
    case .segments: return segments(sum)
    }
    let negative = Array(sum[..<bins])
    let positive = Array(sum[bins..<2 * bins])
    let negatives = negative.reduce(0, +)
    let positives = positive.reduce(0, +)
    let total = negatives + positives
    let firstPositiveBin = (bins + 1) / 2
    let correct = negative[..<firstPositiveBin].reduce(0, +) + positive[firstPositiveBin...].reduce(0, +)
    let limit = Double(Self.lossLimit)
    let loss = sum[dimension - 1] / Double(Self.lossWeight) * limit
    return EvaluationMetrics(
      auc: Self.auc(negative: negative, positive: positive),
      accuracy: total >= 1 ? min(max(correct / total, 0), 1) : nil,
      logLoss: total >= 1 ? min(max(loss / total, 0), limit) : nil,
      positives: max(positives, 0), negatives: max(negatives, 0))
  }

  private func addClasses(
    _ scores: [Float], _ labels: [Float], _ count: Int, _ weight: Float, to vector: inout [Float]
  ) {
    let scores = scores.map { $0.isNaN ? 0 : $0 }
    vector[0] = 1
    for (row, label) in labels.enumerated() {
      let own = scores[row * count..<(row + 1) * count]
      if ExactMetrics.likeliest(own) == Int(label) { vector[1] += weight }
      let loss = own.withUnsafeBufferPointer { objective.loss(scores: $0, label: label) }
      let bounded = loss.isNaN ? Self.lossLimit : min(loss, Self.lossLimit)
      vector[2] += weight * Self.lossWeight * bounded / Self.lossLimit
    }
  }

  private func addNumbers(
    _ scores: [Float], _ labels: [Float], _ weight: Float, to vector: inout [Float]
  ) {
    let bound = Float(labelBound)
    func part(_ value: Float) -> Float { value.isNaN ? 1 : min(max(value / bound, -1), 1) }
    vector[0] = 1
    for (score, label) in zip(scores, labels) {
      let own = part(label)
      let error = part(objective.prediction(of: score.isNaN ? 0 : score) - label)
      vector[1] += weight * own
      vector[2] += weight * own * own
      vector[3] += weight * error * error
      vector[4] += weight * abs(error)
    }
  }

  private func addSegments(_ scores: [Float], _ count: Int, _ weight: Float, to vector: inout [Float]) {
    let scores = scores.map { $0.isNaN ? 0 : $0 }
    vector[0] = 1
    for start in stride(from: 0, to: scores.count, by: 2 * count) {
      let row = SegmentScores(scores[start..<start + 2 * count])
      vector[1] += weight * row.silhouette
      vector[2 + row.segment] += weight * Self.segmentWeight
    }
  }

  private func segments(_ sum: [Double]) -> EvaluationMetrics {
    let total = sum[0]
    var metrics = EvaluationMetrics(
      auc: nil, accuracy: nil, logLoss: nil, positives: max(total, 0), negatives: 0)
    guard total >= 1 else { return metrics }
    metrics.silhouette = min(max(sum[1] / total, -1), 1)
    // Below zero is noise. Parts of the whole, whatever the noise of the number of contributors.
    let sizes = sum.dropFirst(2).map { max($0, 0) }
    let all = sizes.reduce(0, +)
    metrics.segmentShares = all > 0 ? sizes.map { $0 / all } : nil
    return metrics
  }

  private func classes(_ sum: [Double]) -> EvaluationMetrics {
    let total = sum[0]
    let limit = Double(Self.lossLimit)
    return EvaluationMetrics(
      auc: nil, accuracy: total >= 1 ? min(max(sum[1] / total, 0), 1) : nil,
      logLoss: total >= 1 ? min(max(sum[2] / Double(Self.lossWeight) * limit / total, 0), limit) : nil,
      positives: max(total, 0), negatives: 0)
  }

  private func numbers(_ sum: [Double]) -> EvaluationMetrics {
    let total = sum[0]
    var metrics = EvaluationMetrics(
      auc: nil, accuracy: nil, logLoss: nil, positives: max(total, 0), negatives: 0)
    guard total >= 1 else { return metrics }
    let square = min(max(sum[3] / total, 0), 1)
    let mean = sum[1] / total
    let meanSquare = sum[2] / total
    let variance = meanSquare - mean * mean
    metrics.rmse = square.squareRoot() * labelBound
    metrics.mae = min(max(sum[4] / total, 0), 1) * labelBound
    // Where labels are all equal, what is left of their squares is rounding.
    let r2 = 1 - square / variance
    metrics.r2 = variance > Self.leastVariance * meanSquare && r2.isFinite ? r2 : nil
    return metrics
  }

  /// The chance that a positive is in a higher bin than a negative, half for the same bin.
  ///
  /// Negative counts stay as they are: setting them to 0 would bias the sum, and the noise of single bins
  /// cancels.
  private static func auc(negative: [Double], positive: [Double]) -> Double? {
    let negatives = negative.reduce(0, +)
    let positives = positive.reduce(0, +)
    guard negatives >= 0.5, positives >= 0.5 else { return nil }
    var below = 0.0
    var area = 0.0
    for (negative, positive) in zip(negative, positive) {
      area += positive / positives * ((below + negative / 2) / negatives)
      below += negative
    }
    return min(max(area, 0), 1)
  }
}

/// What an evaluation found; with noise these are estimates.
package struct EvaluationMetrics: Codable, Equatable, Sendable {
  /// The area under the ROC curve, 0 … 1; nil without positives or without negatives.
  package let auc: Double?
  /// The share of records on the right side of probability ½, 0 … 1; nil without records.
  package let accuracy: Double?
  /// The mean log loss in nats, each record's clipped to `EvaluationLayout.lossLimit`; nil without records.
  package let logLoss: Double?
  /// Root of the mean squared error, errors beyond the bound cut to it; nil but for numbers.
  package var rmse: Double?
  /// Mean absolute error, likewise.
  package var mae: Double?
  /// 1 − squared error / variance of the labels, likewise.
  package var r2: Double?
  /// Mean simplified silhouette, −1 … 1; nil but for segments. 0 before there are two.
  package var silhouette: Double?
  /// The part of contributors in every segment, each 0 … 1, together 1; nil but for segments.
  package var segmentShares: [Double]?
  /// The number of contributors with label 1 (contributors with both count in parts), at least 0; where there
  /// are not two classes, of all contributors.
  package let positives: Double
  /// The number of contributors with label 0, at least 0.
  package let negatives: Double

  init(auc: Double?, accuracy: Double?, logLoss: Double?, positives: Double, negatives: Double) {
    self.auc = auc
    self.accuracy = accuracy
    self.logLoss = logLoss
    self.positives = positives
    self.negatives = negatives
  }
}
