#if canImport(Glibc)
  import Glibc
#endif

/// Metrics of scores that are at hand: for local reports, simulations with known data, and tests.
package enum ExactMetrics {
  /// The area under the ROC curve by mid-ranks (Mann and Whitney); nil without positives or negatives, or if
  /// a score is NaN.
  package static func auc(scores: [Float], labels: [Float]) -> Double? {
    precondition(scores.count == labels.count, "every score has a label")
    guard !scores.contains(where: \.isNaN) else { return nil }
    let order = scores.indices.sorted { scores[$0] < scores[$1] }
    let positives = labels.count { $0 == 1 }
    let negatives = labels.count - positives
    guard positives > 0, negatives > 0 else { return nil }
    var rankSum = 0.0
    var first = 0
    while first < order.count {
      var end = first
      var tiedPositives = 0
      while end < order.count, scores[order[end]] == scores[order[first]] {
        if labels[order[end]] == 1 { tiedPositives += 1 }
        end += 1
      }
      // Ranks first + 1 … end share their mean.
      rankSum += Double(tiedPositives) * Double(first + 1 + end) / 2
      first = end
    }
    let least = Double(positives) * Double(positives + 1) / 2
    return (rankSum - least) / (Double(positives) * Double(negatives))
  }

  /// The share of scores on the right side of logit 0; nil without scores.
  package static func accuracy(scores: [Float], labels: [Float]) -> Double? {
    precondition(scores.count == labels.count, "every score has a label")
    guard !scores.isEmpty else { return nil }
    return Double(zip(scores, labels).count { ($0 >= 0) == ($1 == 1) }) / Double(scores.count)
  }

  /// The mean log loss in nats; nil without scores.
  package static func logLoss(scores: [Float], labels: [Float]) -> Double? {
    precondition(scores.count == labels.count, "every score has a label")
    guard !scores.isEmpty else { return nil }
    return zip(scores, labels).reduce(0) { $0 + Double(logLoss(score: $1.0, label: $1.1)) }
      / Double(scores.count)
  }

  /// The log loss of one logit: log(1 + e^−score) for label 1, log(1 + e^score) for label 0, without
  /// overflow.
  static func logLoss(score: Float, label: Float) -> Float {
    let margin = label == 1 ? score : -score
    return max(-margin, 0) + log1p(exp(-abs(margin)))
  }
}
