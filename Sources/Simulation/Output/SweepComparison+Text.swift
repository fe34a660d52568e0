import Foundation

extension SweepComparison {
  /// A row per point.
  package var csv: String {
    let head = [
      "point", "metric", "first", "second", "difference", "margin_95", "first_sd", "second_sd", "first_seeds",
      "second_seeds", "p_holm", "beyond_noise", "identical",
    ]
    func number(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
    let rows = points.map { point in
      [
        point.name, metric, number(point.first), number(point.second), number(point.difference),
        number(point.margin), number(point.firstDeviation), number(point.secondDeviation),
        "\(point.firstSeeds)", "\(point.secondSeeds)", number(point.adjustedP),
        point.isBeyondNoise.map { "\($0)" } ?? "", "\(point.isIdentical)",
      ]
    }
    return ([head] + rows).map { $0.map(ResultsCSV.quoted).joined(separator: ",") }
      .joined(separator: "\n") + "\n"
  }

  /// A table for the terminal, what differs in the configurations, and the rule.
  package var table: String {
    var rows = [["point", "first", "second", "difference", "verdict"]]
    for point in points {
      let margin = point.margin.map { " ± " + FigureText.fixed($0, 4) } ?? ""
      rows.append([
        point.name, FigureText.fixed(point.first, 4), FigureText.fixed(point.second, 4),
        (point.difference < 0 ? "−" : "+") + FigureText.fixed(abs(point.difference), 4) + margin,
        Self.verdict(point),
      ])
    }
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    var lines = ["\(metric), mean over seeds; the difference with Welch's 95 % interval"]
    lines += rows.map { row in
      row.enumerated().map { column, text in
        let space = String(repeating: " ", count: widths[column] - text.count)
        return (1...2).contains(column) ? space + text : column == 4 ? text : text + space
      }.joined(separator: "  ")
    }
    lines.append("")
    lines.append(Self.rule)
    for (name, list) in [("first", onlyFirst), ("second", onlySecond)] where !list.isEmpty {
      lines.append("only in the \(name): \(list.joined(separator: "; "))")
    }
    lines.append(changes.isEmpty ? "the configurations are the same" : "the configurations differ:")
    for change in changes {
      lines.append("  \(change.field): \(change.first ?? "(none)") → \(change.second ?? "(none)")")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func verdict(_ point: Point) -> String {
    if point.isIdentical { return "identical models" }
    switch (point.isBeyondNoise, point.adjustedP) {
    case (true, let p?): return "beyond noise (p \(p < 0.001 ? "< 0.001" : FigureText.fixed(p, 3)))"
    case (false, let p?): return "within noise (p \(FigureText.fixed(p, 3)))"
    default: return "cannot be told from one seed"
    }
  }
}
