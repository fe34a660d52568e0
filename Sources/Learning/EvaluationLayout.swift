#if canImport(Glibc)
  import Glibc
#endif

/// The private sum of an evaluation: AUC, accuracy and log loss without any score leaving a node.
///
/// A contributor's vector is the average over its records of: a one-hot vector over (class, score bin),
/// negatives first, and one last coordinate w · min(log loss, L) / L with L = `lossLimit` and w =
/// `lossWeight`. The first part has an L2 norm of at most 1, so the whole has at most √(1 + w²). A
/// contributor counts once, however many records it has. One edge is 0, so accuracy at probability ½ is
/// exact up to the noise.
package struct EvaluationLayout: Equatable, Sendable {
  /// The most bins per class.
  package static let maximumBins = 4096
  /// A record's log loss counts at most this.
  package static let lossLimit: Float = 4
  /// The weight of the log loss against the counts.
  package static let lossWeight: Float = 0.25

  /// The number of score bins per class.
  package let bins: Int
  /// The `bins − 1` inner bounds of the bins, ascending logits; a bin contains its lower bound.
  package let edges: [Float]

  /// Cuts the logits into bins of equal width around an edge at 0 (with an odd number, one more below 0).
  ///
  /// Up to 32 bins, meant for noisy sums, the inner bounds span ±4 and are at most 1 apart: every bin adds
  /// noise to the AUC, most of it the bins of low scores. More bins, meant for exact sums, span ±8.
  /// - Parameter bins: 2 … `maximumBins`.
  package init(bins: Int) throws(LearningError) {
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
  package var dimension: Int { 2 * bins + 1 }
  /// A bound on the L2 norm of every contribution (rounding aside, about 1e-6: the caller clips to it).
  package var l2Bound: Double { Double(1 + Self.lossWeight * Self.lossWeight).squareRoot() }

  /// The vector of one contributor.
  ///
  /// - Parameters:
  ///   - scores: the logits of its records, at least one; a NaN counts as 0.
  ///   - labels: their classes, 0 or 1, as `TrainingBatch` has checked them.
  package func contribution(scores: [Float], labels: [Float]) -> [Float] {
    precondition(!scores.isEmpty && scores.count == labels.count, "every score has a label")
    var vector = [Float](repeating: 0, count: dimension)
    let weight = 1 / Float(scores.count)
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
  /// The number of contributors with label 1 (contributors with both count in parts), at least 0.
  package let positives: Double
  /// The number of contributors with label 0, at least 0.
  package let negatives: Double
}
