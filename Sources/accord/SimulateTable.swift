import Foundation
import Privacy
import Simulation

/// A finished sweep as a table for the terminal.
enum SimulateTable {
  /// The most rows; the files have all.
  private static let maximumRows = 60

  static func text(_ results: SweepResults, directory: String) -> String {
    let points = results.points
    let metric = results.mainMetric
    let second = Self.second(metric, results)
    var rows = [["point", metric.title, "over seeds", second.title, "seconds", "guarantee"]]
    for point in points.prefix(maximumRows) {
      let spread = point.spread(metric)
      let seconds = Spread(point.runs.map(\.outcome.cost.seconds))?.median
      let strongest = point.runs.max {
        ($0.outcome.privacy?.epsilon ?? 0) < ($1.outcome.privacy?.epsilon ?? 0)
      }
      rows.append([
        name(point, results), figure(spread?.median, 4),
        spread.map { figure($0.low, 4) + " – " + figure($0.high, 4) } ?? "–",
        figure(point.spread(second)?.median, 4), figure(seconds, 2),
        strongest?.outcome.privacy.map { "\($0)" } ?? "none",
      ])
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    var lines = rows.map { row in
      row.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return (1...4).contains(column) ? space + text : text + space
      }.joined(separator: "  ").trimmingTrailingSpaces
    }
    if points.count > maximumRows { lines.append("… and \(points.count - maximumRows) more points") }
    // What ended before its time is no measurement of its settings.
    for point in points.prefix(maximumRows) {
      for note in Set(point.runs.flatMap(\.outcome.notes)).sorted() where note.hasPrefix("Training stopped") {
        lines.append("\(name(point, results)): \(note)")
      }
    }
    let seeds = results.seeds.count
    lines.append("\(seeds == 1 ? "One seed" : "Median over \(seeds) seeds"); held-out records.")
    lines.append("\(directory)/report.html  \(directory)/results.csv  \(directory)/results.json")
    return lines.joined(separator: "\n")
  }

  /// Another measure beside the main one.
  private static func second(_ metric: SweepMetric, _ results: SweepResults) -> SweepMetric {
    let wanted: [SweepMetric] = [.betterNodes, .logLoss, .ndcgAt10, .rmse, .mae, .inertia]
    return wanted.first { $0 != metric && results.metrics.contains($0) } ?? .logLoss
  }

  private static func name(_ point: SweepPoint, _ results: SweepResults) -> String {
    let parts = zip(results.axes, point.values).map { axis, value in
      axis.path == "data" ? value : "\(axis.path.split(separator: ".").last ?? "") \(value)"
    }
    return parts.isEmpty ? results.scenario.name : parts.joined(separator: ", ")
  }

  static func figure(_ value: Double?, _ decimals: Int) -> String {
    guard let value, value.isFinite else { return "–" }
    return String(format: "%.\(decimals)f", value)
  }
}

extension String {
  /// Without the spaces at the end.
  var trimmingTrailingSpaces: String {
    var text = self
    while text.last == " " { text.removeLast() }
    return text
  }
}
