/// When training ends because its measurements no longer get better. Measurements are of the model after a
/// round, on records that nothing is trained on; with noise they are estimates.
package struct EarlyStopping: Codable, Equatable, Sendable {
  /// What is measured.
  package enum Metric: String, Codable, CaseIterable, Sendable {
    case auc, accuracy, logLoss, rmse, mae, r2

    /// Whether smaller values are better.
    package var isError: Bool {
      switch self {
      case .logLoss, .rmse, .mae: true
      case .auc, .accuracy, .r2: false
      }
    }

    /// The measures of models with an objective.
    package static func known(for objective: Objective) -> [Metric] {
      switch objective {
      case .binary: [.auc, .accuracy, .logLoss]
      case .classes: [.accuracy, .logLoss]
      case .squaredError, .huber, .poisson, .tweedie: [.rmse, .mae, .r2]
      case .segments: []
      }
    }

    /// The value of a private measurement.
    package func value(of metrics: EvaluationMetrics) -> Double? {
      switch self {
      case .auc: metrics.auc
      case .accuracy: metrics.accuracy
      case .logLoss: metrics.logLoss
      case .rmse: metrics.rmse
      case .mae: metrics.mae
      case .r2: metrics.r2
      }
    }

    /// The value of an exact measurement.
    package func value(of metrics: PredictionMetrics) -> Double? {
      switch self {
      case .auc: metrics.auc
      case .accuracy: metrics.accuracy
      case .logLoss: metrics.logLoss
      case .rmse: metrics.rmse
      case .mae: metrics.mae
      case .r2: metrics.r2
      }
    }
  }

  /// The most measurements that are waited for.
  package static let maximumPatience = 10_000

  /// Measurements in a row without improvement that end training, 1 to `maximumPatience`.
  package var patience: Int
  /// A measurement is an improvement if it is better by more than this, 0 to 1e6.
  package var minimumImprovement: Double
  /// What is measured.
  package var metric: Metric

  /// A rule; `validate` checks the limits.
  package init(patience: Int, minimumImprovement: Double, metric: Metric) {
    self.patience = patience
    self.minimumImprovement = minimumImprovement
    self.metric = metric
  }

  /// Refuses impossible settings, and measures that models with this objective do not have. Decoding does
  /// not check: call this on whatever came from outside.
  package func validate(objective: Objective) throws(LearningError) {
    guard (1...Self.maximumPatience).contains(patience) else {
      throw .invalidSetting(
        name: "early stopping's patience", reason: "allowed are 1 to \(Self.maximumPatience) measurements")
    }
    guard minimumImprovement >= 0, minimumImprovement <= 1e6 else {
      throw .invalidSetting(
        name: "early stopping's minimum improvement", reason: "allowed are 0 to 1e6")
    }
    let known = Metric.known(for: objective)
    guard known.contains(metric) else {
      throw .invalidSetting(
        name: "early stopping's metric",
        reason: known.isEmpty
          ? "segments have no measure that training could be ended by"
          : "the model has \(known.map(\.rawValue).joined(separator: ", ")), not \(metric.rawValue)")
    }
  }
}

/// The measurements of a training run as its `EarlyStopping` sees them. Everything here follows from
/// measurements that were released already, so with private ones it costs no privacy.
package struct EarlyStoppingState: Codable, Equatable, Sendable {
  /// The round of the best measurement; nil before the first.
  package private(set) var bestRound: Int?
  /// The best measurement.
  package private(set) var best: Double?
  /// What the next measurement must beat by `minimumImprovement`. Not always the best one: several small
  /// steps make an improvement together.
  package private(set) var reference: Double?
  /// Measurements since `reference`.
  package private(set) var waited = 0

  package init() {}

  /// Takes the measurement of the model after a round.
  ///
  /// - Parameter value: nil where the measure is not defined: no improvement.
  /// - Returns: whether the model is the best so far, to be kept.
  package mutating func take(_ value: Double?, round: Int, rule: EarlyStopping) -> Bool {
    func gain(_ value: Double, over other: Double?) -> Double {
      guard let other else { return .infinity }
      return rule.metric.isError ? other - value : value - other
    }
    guard let value, !value.isNaN else {
      // Nothing to go back to yet: training goes on.
      if reference != nil { waited += 1 }
      return false
    }
    if gain(value, over: reference) > rule.minimumImprovement {
      reference = value
      waited = 0
    } else {
      waited += 1
    }
    guard gain(value, over: best) > 0 else { return false }
    best = value
    bestRound = round
    return true
  }

  /// Whether training ends.
  package func isOver(_ rule: EarlyStopping) -> Bool { waited >= rule.patience }
}

extension EvaluationLayout {
  /// The standard deviation of a measure of `decode(sum:)`, to first order in independent noise on every
  /// coordinate; nil where the measure is not defined around the sum.
  ///
  /// - Parameters:
  ///   - sum: as for `decode`.
  ///   - noise: standard deviation on a coordinate, in contributors.
  package func deviation(of metric: EarlyStopping.Metric, sum: [Double], noise: Double) -> Double? {
    guard noise > 0 else { return 0 }
    var shifted = sum
    var variance = 0.0
    for index in sum.indices {
      // Differences over the noise itself: what is cut off at the ends of a measure's range is not counted.
      shifted[index] = sum[index] + noise
      let above = metric.value(of: decode(sum: shifted))
      shifted[index] = sum[index] - noise
      let below = metric.value(of: decode(sum: shifted))
      shifted[index] = sum[index]
      guard let above, let below else { return nil }
      variance += (above - below) * (above - below) / 4
    }
    return variance.squareRoot()
  }
}
