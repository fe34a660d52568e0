/// Exact measures of a model on rows whose labels are at hand; nil where one is not defined, or not finite
/// because a score is not.
package struct PredictionMetrics: Codable, Equatable, Sendable {
  /// Area under the ROC curve; two classes, both of them present.
  package var auc: Double?
  /// Area under the precision-recall curve as average precision, Σ (Rₙ − Rₙ₋₁) Pₙ; two classes.
  package var averagePrecision: Double?
  /// Fraction of rows whose likeliest class is theirs (for two classes: on the right side of ½).
  package var accuracy: Double?
  /// F1 averaged over the classes that occur.
  package var macroF1: Double?
  /// Mean log loss, in nats; classes.
  package var logLoss: Double?
  /// Expected calibration error: mean distance between confidence and accuracy over ten bins of equal width
  /// of the positive class's probability (Naeini et al. 2015); two classes.
  package var calibrationError: Double?
  /// Root of the mean squared error of predictions; numbers.
  package var rmse: Double?
  /// Mean absolute error of predictions; numbers.
  package var mae: Double?
  /// 1 − squared error / variance of the labels; numbers that are not all equal.
  package var r2: Double?
  /// Mean simplified silhouette: how much nearer rows are to the centre of their segment than to the nearest
  /// other one, −1 to 1 (see `SegmentScores`); two segments or more.
  package var silhouette: Double?
  /// Mean silhouette over all pairs of rows (Rousseeuw 1987): what other libraries report; segments, where the
  /// features are at hand.
  package var pairwiseSilhouette: Double?
  /// Mean squared distance of rows to the centre of their segment; segments.
  package var inertia: Double?
  /// Mean logarithm of the density at a row; mixtures (it is nil where every preference is minus the squared
  /// distance, as in k-means, which has no density).
  package var logLikelihood: Double?
  /// Of the relevant items, how many are among the first ten: hits / min(10, relevant), averaged over users.
  package var recallAt10: Double?
  /// Normalised discounted cumulative gain of the first ten items, averaged over users.
  package var ndcgAt10: Double?
  /// Fraction of nodes whose own model has a lower loss than the global one.
  package var betterNodes: Double?
  /// Rows; for rankings, users.
  package var records: Int

  /// No figure yet.
  package init(records: Int) { self.records = records }

  /// - Parameter scores: rows × `objective.outputs`.
  package init(objective: Objective, scores: [Float], labels: [Float]) {
    precondition(scores.count == labels.count * objective.outputs, "every row has its scores")
    records = labels.count
    guard records > 0 else { return }
    switch objective {
    case .binary:
      auc = ExactMetrics.auc(scores: scores, labels: labels)
      averagePrecision = ExactMetrics.averagePrecision(scores: scores, labels: labels)
      accuracy = ExactMetrics.accuracy(scores: scores, labels: labels)
      logLoss = Self.finite(ExactMetrics.logLoss(scores: scores, labels: labels))
      calibrationError = ExactMetrics.calibrationError(scores: scores, labels: labels)
      macroF1 = ExactMetrics.macroF1(
        predicted: scores.map { $0 >= 0 ? 1 : 0 }, labels: labels.map { Int($0) }, classes: 2)
    case .classes(let count):
      let predicted = (0..<records).map { ExactMetrics.likeliest(scores[$0 * count..<($0 + 1) * count]) }
      let classes = labels.map { Int($0) }
      accuracy = Double(zip(predicted, classes).count { $0 == $1 }) / Double(records)
      macroF1 = ExactMetrics.macroF1(predicted: predicted, labels: classes, classes: count)
      logLoss = Self.finite(ExactMetrics.meanLoss(objective, scores: scores, labels: labels))
    case .squaredError, .huber, .poisson, .tweedie:
      let predictions = scores.map { Double(objective.prediction(of: $0)) }
      let truth = labels.map(Double.init)
      let squares = zip(predictions, truth).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      rmse = Self.finite((squares / Double(records)).squareRoot())
      mae = Self.finite(zip(predictions, truth).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(records))
      let mean = truth.reduce(0, +) / Double(records)
      let variation = truth.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      r2 = variation > 0 ? Self.finite(1 - squares / variation) : nil
    case .segments(let count): measureSegments(count: count, scores: scores)
    }
  }

  private static func finite(_ value: Double?) -> Double? {
    value.flatMap { $0.isFinite ? $0 : nil }
  }
}

extension ExactMetrics {
  /// The position of the largest of the scores, the first of equals.
  package static func likeliest(_ scores: ArraySlice<Float>) -> Int {
    var best = scores.startIndex
    for index in scores.indices where scores[index] > scores[best] { best = index }
    return best - scores.startIndex
  }

  /// Average precision; rows of one score count together. Nil without positives or with a NaN.
  static func averagePrecision(scores: [Float], labels: [Float]) -> Double? {
    guard !scores.contains(where: \.isNaN) else { return nil }
    let positives = labels.count { $0 == 1 }
    guard positives > 0 else { return nil }
    let order = scores.indices.sorted { scores[$0] > scores[$1] }
    var (seen, hits, area) = (0, 0, 0.0)
    var first = 0
    while first < order.count {
      var end = first
      var found = 0
      while end < order.count, scores[order[end]] == scores[order[first]] {
        found += labels[order[end]] == 1 ? 1 : 0
        end += 1
      }
      seen = end
      hits += found
      area += Double(found) / Double(positives) * Double(hits) / Double(seen)
      first = end
    }
    return area
  }

  /// See `PredictionMetrics.calibrationError`; nil with a NaN.
  static func calibrationError(scores: [Float], labels: [Float]) -> Double? {
    guard !scores.isEmpty, !scores.contains(where: \.isNaN) else { return nil }
    var confidence = [Double](repeating: 0, count: 10)
    var positives = [Double](repeating: 0, count: 10)
    for (score, label) in zip(scores, labels) {
      let probability = Double(Objective.binary.prediction(of: score))
      let bin = min(Int(probability * 10), 9)
      confidence[bin] += probability
      positives[bin] += label == 1 ? 1 : 0
    }
    return zip(confidence, positives).reduce(0) { $0 + abs($1.0 - $1.1) } / Double(scores.count)
  }

  /// F1 averaged over the classes that occur among labels or predictions.
  static func macroF1(predicted: [Int], labels: [Int], classes: Int) -> Double? {
    var right = [Int](repeating: 0, count: classes)
    var asked = right
    var there = right
    for (guess, label) in zip(predicted, labels) {
      asked[guess] += 1
      there[label] += 1
      if guess == label { right[label] += 1 }
    }
    var (sum, seen) = (0.0, 0)
    for index in 0..<classes where asked[index] + there[index] > 0 {
      sum += 2 * Double(right[index]) / Double(asked[index] + there[index])
      seen += 1
    }
    return seen == 0 ? nil : sum / Double(seen)
  }

  /// The mean loss of an objective.
  package static func meanLoss(_ objective: Objective, scores: [Float], labels: [Float]) -> Double {
    let outputs = objective.outputs
    let sum = scores.withUnsafeBufferPointer { scores in
      labels.indices.reduce(0.0) { sum, row in
        let own = UnsafeBufferPointer(rebasing: scores[row * outputs..<(row + 1) * outputs])
        return sum + Double(objective.loss(scores: own, label: labels[row]))
      }
    }
    return sum / Double(labels.count)
  }
}
