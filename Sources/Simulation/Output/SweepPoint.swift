import Foundation
import Learning
import Privacy

/// The spread of one figure over the seeds of a point.
package struct Spread: Equatable, Sendable {
  /// The figures, sorted.
  package let values: [Double]

  /// The spread of figures, of which there is at least one that is finite; nil otherwise.
  package init?(_ values: [Double]) {
    let finite = values.filter(\.isFinite).sorted()
    guard !finite.isEmpty else { return nil }
    self.values = finite
  }

  package var low: Double { values[0] }
  package var high: Double { values[values.count - 1] }
  package var median: Double { quantile(0.5) }
  package var mean: Double { values.reduce(0, +) / Double(values.count) }

  /// The sample standard deviation; nil of one figure.
  package var deviation: Double? {
    guard values.count > 1 else { return nil }
    let mean = mean
    let sum = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    return (sum / Double(values.count - 1)).squareRoot()
  }

  /// A quantile between the sorted figures, interpolated linearly.
  package func quantile(_ part: Double) -> Double {
    let place = part * Double(values.count - 1)
    let below = Int(place.rounded(.down))
    guard below + 1 < values.count else { return values[values.count - 1] }
    return values[below] + (place - Double(below)) * (values[below + 1] - values[below])
  }
}

/// A measure of a model on held-out records.
package enum SweepMetric: String, CaseIterable, Sendable {
  case auc, accuracy, logLoss, averagePrecision, macroF1, calibrationError, rmse, mae, r2, recallAt10,
    ndcgAt10
  case betterNodes, silhouette, pairwiseSilhouette, inertia, logLikelihood

  /// What people call it.
  package var title: String {
    switch self {
    case .auc: "AUC"
    case .accuracy: "accuracy"
    case .logLoss: "log loss"
    case .averagePrecision: "average precision"
    case .macroF1: "macro F1"
    case .calibrationError: "calibration error"
    case .rmse: "RMSE"
    case .mae: "MAE"
    case .r2: "R²"
    case .recallAt10: "recall@10"
    case .ndcgAt10: "NDCG@10"
    case .betterNodes: "better nodes"
    case .silhouette: "simplified silhouette"
    case .pairwiseSilhouette: "silhouette"
    case .inertia: "inertia"
    case .logLikelihood: "log likelihood"
    }
  }

  /// The figure; nil if it is not defined.
  package func of(_ metrics: RunOutcome.Metrics) -> Double? {
    switch self {
    case .auc: metrics.auc
    case .accuracy: metrics.accuracy
    case .logLoss: metrics.logLoss
    case .averagePrecision: metrics.averagePrecision
    case .macroF1: metrics.macroF1
    case .calibrationError: metrics.calibrationError
    case .rmse: metrics.rmse
    case .mae: metrics.mae
    case .r2: metrics.r2
    case .recallAt10: metrics.recallAt10
    case .ndcgAt10: metrics.ndcgAt10
    case .betterNodes: metrics.betterNodes
    case .silhouette: metrics.silhouette
    case .pairwiseSilhouette: metrics.pairwiseSilhouette
    case .inertia: metrics.inertia
    case .logLikelihood: metrics.logLikelihood
    }
  }

  /// Whether less is better.
  package var isLoss: Bool {
    switch self {
    case .logLoss, .calibrationError, .rmse, .mae, .inertia: true
    case .auc, .accuracy, .averagePrecision, .macroF1, .r2, .recallAt10, .ndcgAt10, .betterNodes, .silhouette,
      .pairwiseSilhouette, .logLikelihood:
      false
    }
  }

  /// The values that it can have.
  package var bounds: ClosedRange<Double> {
    switch self {
    case .logLoss, .rmse, .mae, .inertia: 0...Double.greatestFiniteMagnitude
    case .r2: -Double.greatestFiniteMagnitude...1
    case .silhouette, .pairwiseSilhouette: -1...1
    case .logLikelihood: -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude
    case .auc, .accuracy, .averagePrecision, .macroF1, .calibrationError, .recallAt10, .ndcgAt10,
      .betterNodes:
      0...1
    }
  }

  /// Which measure says most, in this order.
  static let main: [SweepMetric] = [
    .auc, .recallAt10, .accuracy, .r2, .rmse, .pairwiseSilhouette, .silhouette,
  ]
}

/// All seeds of one combination of swept values.
package struct SweepPoint: Sendable {
  /// One value per axis.
  package let values: [String]
  /// The position of the records in the results' `data`.
  package let data: Int
  /// One for each seed.
  package let runs: [SweepResults.Run]

  /// The fields that all seeds share.
  package var setup: RunSetup { runs[0].setup }
  /// The spread of a metric of the final model; nil if no seed has it.
  package func spread(_ metric: SweepMetric) -> Spread? {
    Spread(runs.compactMap { metric.of($0.outcome.metrics) })
  }
  /// The spread of a quantile over nodes of a metric; nil if no node has it.
  package func nodeSpread(_ metric: SweepMetric, quantile: Double) -> Spread? {
    Spread(
      runs.compactMap { run in
        Spread(run.outcome.nodes.compactMap { metric.of($0.metrics) })?.quantile(quantile)
      })
  }
  /// The budget without limit.
  package var isPrivate: Bool { setup.budget.epsilon.isFinite }
}

extension SweepResults {
  /// The runs by point, in the order of the sweep.
  package var points: [SweepPoint] {
    var order: [String] = []
    var groups: [String: [Run]] = [:]
    for run in runs {
      let key = run.values.joined(separator: "\u{1F}")
      if groups[key] == nil { order.append(key) }
      groups[key, default: []].append(run)
    }
    return order.compactMap { key in
      groups[key].map { SweepPoint(values: $0[0].values, data: $0[0].data, runs: $0) }
    }
  }

  /// The metric that the report shows: AUC where every run has it, else the next that all have.
  package var mainMetric: SweepMetric {
    SweepMetric.main.first { metric in runs.allSatisfy { metric.of($0.outcome.metrics) != nil } } ?? .accuracy
  }

  /// The metrics that some run has.
  package var metrics: [SweepMetric] {
    SweepMetric.allCases.filter { metric in runs.contains { metric.of($0.outcome.metrics) != nil } }
  }
}

extension RunSetup {
  /// The guarantee that the run was planned for, all parts of it; what was proved is in the outcome.
  package var plannedGuarantee: String {
    budget.epsilon.isFinite
      ? "ε = \(FigureText.short(budget.epsilon)) at δ = \(FigureText.short(budget.delta)) per \(unit.rawValue)"
      : "no guarantee (ε = ∞: no noise)"
  }
}

/// Figures as texts, the same on every machine.
enum FigureText {
  /// As few digits as tell the number: 8, 0.5, 1e-05.
  static func short(_ value: Double) -> String {
    guard value.isFinite else { return value > 0 ? "∞" : "\(value)" }
    return String(format: "%g", value)
  }
  /// Three decimals and never below `value`: a guarantee is not made better by rounding.
  static func roundedUp(_ value: Double) -> String {
    value.isFinite ? String(format: "%.3f", (value * 1000 - 1e-9).rounded(.up) / 1000) : "∞"
  }
  static func fixed(_ value: Double?, _ decimals: Int) -> String {
    guard let value, value.isFinite else { return "–" }
    return String(format: "%.\(decimals)f", value)
  }
  static func bytes(_ count: Int) -> String {
    switch count {
    case ..<1_000: "\(count) B"
    case ..<1_000_000: String(format: "%.1f kB", Double(count) / 1e3)
    default: String(format: "%.2f MB", Double(count) / 1e6)
    }
  }
  static func seconds(_ value: Double) -> String {
    switch value {
    case ..<0.1: String(format: "%.3f s", value)
    case ..<10: String(format: "%.2f s", value)
    case ..<120: String(format: "%.1f s", value)
    default: String(format: "%.1f min", value / 60)
    }
  }
}
