import Foundation
import Learning
import Privacy

/// `results.csv`: a row per run, the swept fields first.
package enum ResultsCSV {
  private static let columns = [
    "data", "seed", "epsilon", "delta", "unit", "relation", "mechanism", "trust", "accountant",
    "epsilon_proved", "aggregation", "nodes", "cohort", "rounds", "rounds_done", "clip", "noise_cohort",
    "auc", "accuracy", "log_loss", "held_out", "auc_nodes_p10", "auc_nodes_p50", "auc_nodes_p90",
    "accuracy_nodes_p10", "accuracy_nodes_p50", "accuracy_nodes_p90", "private_auc", "parameters", "seconds",
    "upload_bytes_per_round", "download_bytes_per_round", "bytes_counted", "client_updates", "model",
    "run", "average_precision", "macro_f1", "calibration_error", "rmse", "mae", "r2", "recall_at_10",
    "ndcg_at_10", "better_nodes", "silhouette", "pairwise_silhouette", "inertia", "log_likelihood",
    "own_auc", "own_accuracy", "own_log_loss", "own_rmse", "main_metric", "main_nodes_p10", "main_nodes_p50",
    "main_nodes_p90",
    "notes",
  ]

  /// The file's text: RFC 4180, a header, line feeds.
  package static func text(_ results: SweepResults) -> String {
    let swept = results.axes.map { "sweep." + $0.path }
    var lines = [(["scenario"] + swept + columns).map(quoted).joined(separator: ",")]
    for run in results.runs { lines.append(row(run, results).map(quoted).joined(separator: ",")) }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func row(_ run: SweepResults.Run, _ results: SweepResults) -> [String] {
    let setup = run.setup
    let outcome = run.outcome
    let data = results.data[run.data]
    let privacy = outcome.privacy
    let cohort: String =
      switch setup.cohort {
      case .all: "all"
      case .fixed(let size): "\(size)"
      }
    func quantiles(_ metric: SweepMetric) -> [String] {
      let spread = Spread(outcome.nodes.compactMap { metric.of($0.metrics) })
      return [0.1, 0.5, 0.9].map { number(spread?.quantile($0)) }
    }
    let asked = [
      data.specification.name, "\(setup.seed)", number(setup.budget.epsilon), number(setup.budget.delta),
      setup.unit.rawValue,
    ]
    let proved = [
      privacy?.relation.rawValue ?? "", privacy?.mechanism ?? "", privacy?.trustMode.rawValue ?? "",
      privacy?.accountant?.rawValue ?? "", number(privacy?.epsilon),
    ]
    let plan = [
      setup.aggregation.rawValue, "\(data.nodes)", cohort, "\(setup.rounds)", "\(outcome.rounds.count)",
      number(setup.clipNorm), setup.noiseCohort.map { "\($0)" } ?? "",
    ]
    let metrics = [
      number(outcome.metrics.auc), number(outcome.metrics.accuracy), number(outcome.metrics.logLoss),
      "\(outcome.metrics.records)",
    ]
    let cost = outcome.cost
    let rest = [
      number(outcome.privateAUC), "\(outcome.parameterCount)",
      String(format: "%.3f", cost.seconds),
      "\(cost.uploadBytesPerRound)", "\(cost.downloadBytesPerRound)", "\(cost.bytesAreCounted)",
      "\(cost.clientUpdates)", outcome.model, run.digest,
    ]
    return [results.scenario.name] + run.values + asked + proved + plan + metrics + quantiles(.auc)
      + quantiles(.accuracy) + rest
      + [
        SweepMetric.averagePrecision, .macroF1, .calibrationError, .rmse, .mae, .r2, .recallAt10, .ndcgAt10,
        .betterNodes, .silhouette, .pairwiseSilhouette, .inertia, .logLikelihood,
      ]
      .map { number($0.of(outcome.metrics)) }
      + [SweepMetric.auc, .accuracy, .logLoss, .rmse].map { metric in
        number(outcome.personal.flatMap { metric.of($0.personal) })
      } + [results.mainMetric.rawValue] + quantiles(results.mainMetric)
      + [outcome.notes.joined(separator: " ")]
  }

  private static func number(_ value: Double?) -> String {
    guard let value else { return "" }
    return value.isFinite ? "\(value)" : value > 0 ? "inf" : "\(value)"
  }

  /// A field in quotes where RFC 4180 needs them. A text that a spreadsheet would take for a formula gets an
  /// apostrophe.
  static func quoted(_ field: String) -> String {
    var field = field
    if let first = field.unicodeScalars.first, ["=", "+", "-", "@", "\t"].contains(first),
      Double(field) == nil
    {
      field = "'" + field
    }
    let needsQuotes = field.utf8.contains { [0x22, 0x2C, 0x0A, 0x0D].contains($0) }
    return needsQuotes ? "\"" + field.replacing("\"", with: "\"\"") + "\"" : field
  }
}
