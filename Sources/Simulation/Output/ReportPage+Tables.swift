import Foundation
import Learning
import Privacy

extension ReportPage {
  var header: String {
    let runs = results.runs.count
    let seeds = results.seeds.map(String.init)
    let records = results.data.map {
      "\($0.specification.name) (\(ScenarioReader.grouped($0.records)) records on "
        + "\(ScenarioReader.grouped($0.nodes)) nodes)"
    }
    let modes = Set(results.runs.map(\.setup.aggregation.rawValue)).sorted().joined(separator: ", ")
    let facts = [
      ("Runs", "\(runs) (\(results.points.count) points × \(seeds.count) seeds)"),
      ("Records", records.joined(separator: "; ")), ("Aggregation", modes),
      ("Computed by", results.environment.accord), ("Scenario", results.scenario.sha256),
    ]
    let list = facts.map {
      HTMLText.element("dt", $0.0) + HTMLText.element("dd", $0.1, class: $0.0 == "Scenario" ? "mono" : nil)
    }.joined()
    let summary = results.scenario.summary.map { HTMLText.element("p", $0, class: "summary") } ?? ""
    let when = made.isEmpty ? "" : HTMLText.element("p", "Made \(made).", class: "small")
    return """
      <header><p class="kicker">Accord · simulation</p>\(HTMLText.element("h1", results.scenario.name))\(summary)
      <dl class="facts">\(list)</dl>\(when)</header>
      """
  }

  // MARK: In short

  /// Per source of records: a row per panel, a column per value of the variable.
  var inShort: String {
    let metric = plots.metric
    var text = ""
    for group in panelsByData {
      guard let first = group.panels.first else { continue }
      let labels = first.labels
      let title = first.isEpsilon ? "ε" : first.axis
      text += results.data.count > 1 ? HTMLText.element("h3", group.name) : ""
      text += "<div class=\"scroll\"><table class=\"matrix\"><thead><tr><th></th>"
      text += labels.map {
        HTMLText.element("th", title.isEmpty ? $0 : "\(title) = \(FigureText.infinity($0))", class: "n")
      }.joined()
      text += "</tr></thead><tbody>\n"
      for panel in group.panels where panel.labels == labels {
        text += "<tr>" + HTMLText.element("th", panel.title.isEmpty ? group.name : panel.title)
        text += panel.points.map { cell($0, panel.reference, metric) }.joined() + "</tr>\n"
      }
      text += "</tbody></table></div>\n"
      if first.isEpsilon {
        text += HTMLText.element("p", sentences(group.panels, metric).joined(separator: " "))
      }
      for note in Set(group.panels.map(Self.terms)).sorted() {
        text += HTMLText.element("p", note, class: "small")
      }
    }
    return section("short", "In short", text)
  }

  private func cell(_ point: SweepPoint, _ reference: SweepPoint?, _ metric: SweepMetric) -> String {
    guard let spread = point.spread(metric) else { return "<td class=\"n\">–</td>" }
    var text = "<td class=\"n\"><b>\(FigureText.fixed(spread.median, 3))</b>"
    if let base = reference?.spread(metric), point.isPrivate {
      let difference = spread.median - base.median
      text += "<br><span class=\"small\">\(difference < 0 ? "−" : "+")"
      text += "\(FigureText.fixed(abs(difference), 3))</span>"
    } else if point.runs.count > 1 {
      text += "<br><span class=\"small\">\(FigureText.fixed(spread.low, 3)) – "
      text += "\(FigureText.fixed(spread.high, 3))</span>"
    }
    return text + "</td>"
  }

  /// The smallest ε whose median is within a hundredth of training without noise.
  private func sentences(_ panels: [SweepPanel], _ metric: SweepMetric) -> [String] {
    panels.compactMap { panel in
      guard let base = panel.reference?.spread(metric)?.median else { return nil }
      let sign = metric.isLoss ? -1.0 : 1.0
      let near = panel.drawn.filter { item in
        item.point.spread(metric).map { sign * (base - $0.median) <= 0.01 } ?? false
      }.min { $0.point.setup.budget.epsilon < $1.point.setup.budget.epsilon }
      let place = panel.title.isEmpty ? "" : "With \(panel.title): "
      guard let near else {
        return place + "no ε of this sweep comes within 0.01 of training without noise."
      }
      return place + "ε\u{A0}=\u{A0}\(near.label) is the smallest within 0.01 of training without noise."
    }
  }

  // MARK: Guarantees

  var guarantees: String {
    struct Row: Hashable {
      let terms: String
      let trust: String
    }
    var rows: [Row] = []
    var highest: [Row: Double] = [:]
    var places: [Row: [String]] = [:]
    for run in results.runs {
      guard let privacy = run.outcome.privacy, let terms = GuaranteeText.terms(run) else { continue }
      let row = Row(terms: terms, trust: GuaranteeText.trust(privacy.trustMode))
      if highest[row] == nil { rows.append(row) }
      highest[row] = max(highest[row] ?? 0, privacy.epsilon)
      let name = results.data[run.data].specification.name
      if places[row]?.contains(name) != true { places[row, default: []].append(name) }
    }
    guard !rows.isEmpty else {
      return section(
        "guarantee", "The guarantee",
        HTMLText.element("p", "No run added noise: none of them guarantees anything to a contributor."))
    }
    let items = rows.map { row in
      let names = (places[row] ?? []).joined(separator: ", ")
      return HTMLText.element(
        "li",
        "\(names): ε at \(row.terms); \(row.trust). Highest ε proved: "
          + "\(FigureText.roundedUp(highest[row] ?? 0)).")
    }.joined(separator: "\n")
    let cohorts = Set(results.runs.compactMap(\.setup.noiseCohort)).sorted()
    let simulated =
      cohorts.isEmpty
      ? ""
      : HTMLText.element(
        "p",
        "Noise was scaled to what cohorts of \(cohorts.map(ScenarioReader.grouped).joined(separator: ", ")) "
          + "nodes would have: ε holds for such a deployment, not for the simulated cohort.")
    let lead =
      "ε bounds what anyone who sees all published models can tell about one contributor; the smaller, the "
      + "stronger. The number alone says nothing: these are its terms."
    return section(
      "guarantee", "The guarantee", HTMLText.element("p", lead) + "<ul>\(items)</ul>" + simulated)
  }

  // MARK: Cost

  /// A row per panel: ε changes no cost that is worth a row.
  var costs: String {
    let titles = [
      "points", "seconds per run", "sent per node and round", "received per node and round",
      "whole training per node", "bytes are", "client updates", "parameters",
    ]
    let head = titles.enumerated().map { HTMLText.element("th", $1, class: $0 == 0 ? nil : "n") }.joined()
    let rows = panels.map { panel -> String in
      let runs = panel.points.flatMap(\.runs)
      let costs = runs.map(\.outcome.cost)
      func span(_ values: [Int], _ text: (Int) -> String) -> String {
        let (low, high) = (text(values.min() ?? 0), text(values.max() ?? 0))
        return low == high ? low : "\(low) – \(high)"
      }
      let totals = runs.map {
        ($0.outcome.cost.uploadBytesPerRound + $0.outcome.cost.downloadBytesPerRound)
          * $0.outcome.rounds.count
      }
      let cells = [
        FigureText.seconds(Spread(costs.map(\.seconds))?.median ?? 0),
        span(costs.map(\.uploadBytesPerRound), FigureText.bytes),
        span(costs.map(\.downloadBytesPerRound), FigureText.bytes), span(totals, FigureText.bytes),
        costs.allSatisfy(\.bytesAreCounted) ? "counted" : "computed",
        span(costs.map(\.clientUpdates), ScenarioReader.grouped),
        span(runs.map(\.outcome.parameterCount), ScenarioReader.grouped),
      ].map { HTMLText.element("td", $0, class: "n") }.joined()
      let data = results.data[panel.data].specification.name
      let parts = [
        results.data.count > 1 || panel.title.isEmpty ? data : nil, panel.title.isEmpty ? nil : panel.title,
      ]
      let name = parts.compactMap(\.self).joined(separator: ", ")
      return "<tr>" + HTMLText.element("td", name) + cells + "</tr>"
    }
    let note =
      "Seconds are of this machine, median over the runs, while other runs may have been computed beside. Bytes "
      + "leave out HTTP's framing. A node takes part only in the rounds it is drawn for: whole training is that of "
      + "a node that is in all of them."
    return section(
      "cost", "Cost",
      "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\n\(rows.joined(separator: "\n"))"
        + "\n</tbody></table></div>" + HTMLText.element("p", note, class: "small"))
  }

  /// A point for people: its records and swept values.
  func name(_ point: SweepPoint) -> String {
    let parts = zip(results.axes, point.values).filter { $0.0.path != "data" }.map {
      FigureText.field($0.path) + "\u{A0}" + FigureText.infinity($1)
    }
    let own = results.data.count > 1 || parts.isEmpty ? [results.data[point.data].specification.name] : []
    return (own + parts).joined(separator: ", ")
  }

  // MARK: Every point

  var everyPoint: String {
    let measured = results.metrics
    let titles =
      ["point", "guarantee"] + measured.map(\.title) + ["AUC a deployment would see", "rounds"]
    let head = titles.enumerated().map { HTMLText.element("th", $1, class: $0 < 2 ? nil : "n") }.joined()
    let rows = results.points.map { point -> String in
      let run = point.runs.max { ($0.outcome.privacy?.epsilon ?? 0) < ($1.outcome.privacy?.epsilon ?? 0) }
      let seen = Spread(point.runs.compactMap(\.outcome.privateAUC))
      let rounds = Set(point.runs.map(\.outcome.rounds.count)).sorted().map(String.init)
      let metrics = measured.map { metric -> String in
        guard let spread = point.spread(metric) else { return "–" }
        let deviation = spread.deviation.map { " ± " + FigureText.fixed($0, 4) } ?? ""
        return FigureText.fixed(spread.mean, 4) + deviation
      }
      let cells = metrics + [FigureText.fixed(seen?.mean, 4), rounds.joined(separator: "–")]
      return "<tr>" + HTMLText.element("td", name(point))
        + HTMLText.element("td", run.map(GuaranteeText.of) ?? "", class: "g")
        + cells.map {
          HTMLText.element("td", $0, class: "n")
        }.joined() + "</tr>"
    }
    var notes: [String] = []
    for note in results.runs.flatMap(\.outcome.notes) + results.data.flatMap(\.notes)
    where !notes.contains(note) { notes.append(note) }
    let list = notes.isEmpty ? "" : "<ul>" + notes.map { HTMLText.element("li", $0) }.joined() + "</ul>"
    return section(
      "points", "Every point",
      HTMLText.element("p", "Mean ± standard deviation over seeds; every run is in results.csv.")
        + "<div class=\"scroll\"><table><thead><tr>\(head)</tr></thead><tbody>\n"
        + rows.joined(separator: "\n") + "\n</tbody></table></div>" + list)
  }
}
