import Foundation
import Privacy

/// Results of scenarios beside what they are compared with, as a Markdown page. Nothing in it is written by hand.
package struct ReferenceTable: Sendable {
  private let results: [SweepResults]
  private let others: [SweepResults]

  /// - Parameter results: sweeps in the order of the rows; those without a reference have tables of their own.
  package init(_ results: [SweepResults]) {
    self.results = results.filter { $0.scenario.reference?.sweepMetric != nil }
    others = results.filter { $0.scenario.reference?.sweepMetric == nil }
  }

  /// Points with a figure that misses its goal.
  package var missed: [String] {
    results.flatMap { sweep in
      sweep.points.compactMap { point -> String? in
        guard let reference = sweep.scenario.reference, let metric = reference.sweepMetric else { return nil }
        guard let spread = point.spread(metric), Self.meets(spread.median, reference, metric) else {
          return name(point, sweep)
        }
        return nil
      }
    }
  }

  private static func meets(_ value: Double, _ reference: ScenarioReference, _ metric: SweepMetric) -> Bool {
    metric.isLoss ? value <= reference.goal : value >= reference.goal
  }

  private func name(_ point: SweepPoint, _ sweep: SweepResults) -> String {
    ([sweep.scenario.name] + point.values).joined(separator: ", ")
  }

  /// The page.
  package var markdown: String {
    let environment = (results + others).first?.environment
    var lines = [
      "# Results on public data", "",
      "Written by `make results` from the scenarios in `simulations/`; no figure is entered by hand. Every row is "
        + "the median over the seeds of its scenario, the lowest and highest seed in brackets. *Nodes* are the 10th "
        + "and the 90th percentile over nodes with held-out records, because an average hides bad stores. "
        + "*Reference* is a centralised model on the same split, without privacy.", "",
    ]
    if let environment {
      lines += [
        "Computed by \(environment.accord) on \(environment.processors) cores (\(environment.architecture)); seconds are "
          + "those of one run on this machine.", "",
      ]
    }
    lines += [
      "| scenario | task, split | nodes | unit, guarantee | metric | Accord | nodes p10 – p90 | reference | goal | "
        + "met | rounds | kB up / round | seconds |",
      "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += results.flatMap { sweep in sweep.points.map { row($0, sweep) } }
    let warnings = results.compactMap { sweep in
      sweep.scenario.reference?.warning.map { "- **\(sweep.scenario.name)**: \($0)" }
    }
    if !warnings.isEmpty { lines += ["", "## Read with care", ""] + warnings }
    for sweep in others { lines += [""] + table(sweep) }
    lines += ["", "## All measures", "", "Medians over seeds.", ""] + (results + others).map(allMeasures)
    return lines.joined(separator: "\n") + "\n"
  }

  private func row(_ point: SweepPoint, _ sweep: SweepResults) -> String {
    guard let reference = sweep.scenario.reference, let metric = reference.sweepMetric else { return "" }
    let spread = point.spread(metric)
    let digits = 3
    let value =
      spread.map {
        "**\(FigureText.fixed($0.median, digits))** (\(FigureText.fixed($0.low, digits)) – "
          + "\(FigureText.fixed($0.high, digits)))"
      } ?? "–"
    let low = FigureText.fixed(point.nodeSpread(metric, quantile: 0.1)?.median, digits)
    let high = FigureText.fixed(point.nodeSpread(metric, quantile: 0.9)?.median, digits)
    let data = sweep.data[point.data]
    let proved = point.runs.compactMap(\.outcome.privacy).max { $0.epsilon < $1.epsilon }
    let guarantee =
      proved.map {
        "\($0.unit.rawValue), ε = \(FigureText.roundedUp($0.epsilon)), δ = \(FigureText.short($0.delta))"
      }
      ?? "\(point.setup.unit.rawValue), no noise"
    let seconds = Spread(point.runs.map(\.outcome.cost.seconds))?.median
    let bytes = Spread(point.runs.map { Double($0.outcome.cost.uploadBytesPerRound) })?.median ?? 0
    let rounds = point.runs[0].outcome.rounds.count
    let met = spread.map { Self.meets($0.median, reference, metric) } ?? false
    let cells: [String] = [
      name(point, sweep), "\(reference.task); \(reference.split)", "\(data.nodes)",
      guarantee + ", " + point.setup.aggregation.rawValue, metric.title, value, "\(low) – \(high)",
      "\(FigureText.fixed(reference.value, digits)) (\(reference.model))",
      (metric.isLoss ? "≤ " : "≥ ") + FigureText.fixed(reference.goal, digits), met ? "yes" : "**no**",
      "\(rounds)",
      FigureText.fixed(bytes / 1_000, 1), FigureText.fixed(seconds, 1),
    ]
    return "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
  }

  /// The points of a sweep that is compared with nothing.
  private func table(_ sweep: SweepResults) -> [String] {
    let metric = sweep.mainMetric
    var lines = ["## \(sweep.scenario.name)", ""]
    if let summary = sweep.scenario.summary { lines += [summary, ""] }
    lines += [
      "| "
        + (sweep.axes.map(\.path) + [metric.title, "nodes p10 – p90", "guarantee"]).joined(separator: " | ")
        + " |",
      "|" + String(repeating: "---|", count: sweep.axes.count + 3),
    ]
    lines += sweep.points.map { point in
      let spread = point.spread(metric)
      let value = spread.map {
        "**\(FigureText.fixed($0.median, 3))** (\(FigureText.fixed($0.low, 3)) – \(FigureText.fixed($0.high, 3)))"
      }
      let low = FigureText.fixed(point.nodeSpread(metric, quantile: 0.1)?.median, 3)
      let high = FigureText.fixed(point.nodeSpread(metric, quantile: 0.9)?.median, 3)
      let cells = point.values + [value ?? "–", "\(low) – \(high)", point.setup.plannedGuarantee]
      return "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |"
    }
    return lines
  }

  private func allMeasures(_ sweep: SweepResults) -> String {
    sweep.points.map { point in
      let parts = SweepMetric.allCases.compactMap { metric in
        point.spread(metric).map { "\(metric.title) \(FigureText.fixed($0.median, 4))" }
      }
      return "- \(name(point, sweep)): " + parts.joined(separator: ", ")
    }.joined(separator: "\n")
  }
}
