import Federation
import Foundation
import Privacy

/// What a statistics task found, as text.
enum StatisticsTable {
  /// The answers, what they cost and what the intervals mean.
  static func text(_ report: StatisticsReport) -> String {
    var lines = ["spent: \(report.privacy) of \(DemoTable.epsilon(report.budget.epsilon))"]
    let nodes = report.sessions.map { "\($0.participants)" }.joined(separator: ", ")
    lines.append(
      "\(report.sessions.count) sessions of \(nodes.isEmpty ? "0" : nodes) nodes, population "
        + report.population.rawValue)
    var rows = [["question", "item", "value", "± error", "\(Int(report.confidence * 100)) % interval"]]
    for result in report.results {
      if let problem = result.problem { rows.append([result.question, "–", problem, "", ""]) }
      if result.problem == nil, result.estimates.isEmpty {
        rows.append([result.question, "–", "nothing is frequent enough", "", ""])
      }
      for estimate in result.estimates {
        rows.append([
          result.question, estimate.item, number(estimate.value), estimate.standardError.map(number) ?? "–",
          "\(number(estimate.lower)) … \(number(estimate.upper))",
        ])
      }
    }
    guard rows.count > 1 else { return (lines + ["no answers yet"]).joined(separator: "\n") }
    let widths = rows[0].indices.map { column in
      rows.filter { !$0[4].isEmpty }.map { $0[column].count }.max() ?? 0
    }
    for row in rows {
      let cells = zip(row, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
      lines.append(cells.joined(separator: "  ").trimmingSuffix(while: { $0 == " " }))
    }
    return lines.joined(separator: "\n")
  }

  private static func number(_ value: Double) -> String { String(format: "%.6g", value) }
}

extension String {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> String {
    var text = self[...]
    while let last = text.last, predicate(last) { text.removeLast() }
    return String(text)
  }
}
