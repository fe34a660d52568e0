import Foundation
import Learning
import Privacy

/// `report.html`: a sweep on one page that needs nothing else: no script, no picture, no network.
package struct ReportPage {
  let results: SweepResults
  let panels: [SweepPanel]
  let plots: SweepPlots
  /// When the page was made, for people; empty to leave it out.
  let made: String

  /// More pictures of one kind hide more than they show; the tables have everything.
  static let maximumPanels = 48

  /// - Parameter made: when, for people; empty to leave it out.
  package init(_ results: SweepResults, made: String = "") {
    self.results = results
    self.made = made
    panels = Self.panels(results)
    plots = SweepPlots(metric: results.mainMetric)
  }

  /// The page.
  package var html: String {
    """
    <!DOCTYPE html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <meta name="color-scheme" content="light dark">
    <title>\(HTMLText.escaped(results.scenario.name)): simulation</title>
    <style>
    \(Self.style)</style>
    </head>
    <body>
    \(header)
    <main>
    \(sections.joined(separator: "\n"))
    </main>
    </body>
    </html>

    """
  }

  private var sections: [String] {
    [
      inShort, prices, guarantees, learningCurves, nodeSpreads, costs, everyPoint, configuration,
      limits,
    ]
  }

  // MARK: Panels

  private static func panels(_ results: SweepResults) -> [SweepPanel] {
    let points = results.points
    let swept = results.axes.indices.filter { results.axes[$0].values.count > 1 }
    let variable =
      swept.first { results.axes[$0].path == "privacy.epsilon" }
      ?? swept.last { results.axes[$0].path != "data" }
    let others = swept.filter { $0 != variable && results.axes[$0].path != "data" }
    var order: [String] = []
    var groups: [String: [SweepPoint]] = [:]
    for point in points {
      let key = (["\(point.data)"] + others.map { point.values[$0] }).joined(separator: "\u{1F}")
      if groups[key] == nil { order.append(key) }
      groups[key, default: []].append(point)
    }
    return order.compactMap { key in
      groups[key].map { points in
        let title = others.map { index in
          FigureText.field(results.axes[index].path) + " " + FigureText.infinity(points[0].values[index])
        }.joined(separator: ", ")
        return panel(points, title, variable, results)
      }
    }
  }

  private static func panel(
    _ points: [SweepPoint], _ title: String, _ variable: Int?, _ results: SweepResults
  ) -> SweepPanel {
    let path = variable.map { results.axes[$0].path }
    let isEpsilon = path == "privacy.epsilon"
    let setup = points[0].setup
    let axis =
      isEpsilon
      ? "ε (δ = \(FigureText.short(setup.budget.delta)), per \(setup.unit.rawValue))"
      : path.map(FigureText.field) ?? ""
    return SweepPanel(
      title: title, data: points[0].data, points: points,
      labels: points.map { point in variable.map { point.values[$0] } ?? results.scenario.name },
      isEpsilon: isEpsilon, axis: axis)
  }

  /// The panels of each source of records.
  var panelsByData: [(name: String, panels: [SweepPanel])] {
    results.data.indices.compactMap { index in
      let own = panels.filter { $0.data == index }
      return own.isEmpty ? nil : (results.data[index].specification.name, own)
    }
  }

  // MARK: Pictures

  /// One kind of picture for all panels; those of one source of records have one scale.
  func figures(
    _ kind: String, scale: ([SweepPanel]) -> [Double],
    draw: (SweepPanel, String, [Double]) -> String, caption: (SweepPanel) -> String
  ) -> String {
    var text = ""
    var drawn = 0
    for (index, group) in panelsByData.enumerated() {
      let values = scale(group.panels)
      guard !values.isEmpty else { continue }
      let shown = group.panels.prefix(max(0, Self.maximumPanels - drawn))
      drawn += shown.count
      guard !shown.isEmpty else { continue }
      if results.data.count > 1 { text += HTMLText.element("h3", group.name) + "\n" }
      text += "<div class=\"panels\">\n"
      for (position, panel) in shown.enumerated() {
        let svg = draw(panel, "\(kind)-\(index)-\(position)", values)
        let title = panel.title.isEmpty ? group.name : panel.title
        text +=
          "<figure>" + HTMLText.element("h4", title) + svg
          + HTMLText.element("figcaption", caption(panel)) + "</figure>\n"
      }
      text += "</div>\n"
    }
    if drawn < panels.count, drawn > 0 {
      text += "<p class=\"small\">\(drawn) of \(panels.count) pictures; the tables have every point.</p>\n"
    }
    return text
  }

  /// What ε means in a panel, all parts of it.
  static func terms(_ panel: SweepPanel) -> String {
    var terms: [String] = []
    for run in panel.points.flatMap(\.runs) {
      if let text = GuaranteeText.terms(run), !terms.contains(text) { terms.append(text) }
    }
    if terms.isEmpty { return "No noise was added: no guarantee." }
    return terms.map { "ε at " + $0 }.joined(separator: "; ") + "."
  }

  private var prices: String {
    let seeds = results.seeds.count
    let text = figures(
      "price", scale: plots.range, draw: { plots.price($0, id: $1, scale: $2) }, caption: Self.terms)
    let lead =
      panels.contains { $0.isEpsilon }
      ? "Each dot is one of \(seeds) seed\(seeds == 1 ? "" : "s"), the line their median, the band from the "
        + "lowest to the highest. The dashed line is the same training without noise. Held-out records, exact "
        + "metrics: the researcher sees them, a deployment would not."
      : "Each dot is one of \(seeds) seed\(seeds == 1 ? "" : "s"), the line their median, the band from the "
        + "lowest to the highest. Held-out records."
    let title = panels.contains { $0.isEpsilon } ? "What privacy costs" : "Results"
    return section("price", "\(title): \(plots.metric.title)", HTMLText.element("p", lead) + text)
  }

  private var learningCurves: String {
    let text = figures(
      "learning",
      scale: { panels in panels.flatMap { $0.points.flatMap { plots.curve($0).map(\.value) } } },
      draw: { plots.learning($0, id: $1, scale: $2) }, caption: Self.terms)
    guard !text.isEmpty else { return "" }
    return section(
      "learning", "Learning curves",
      HTMLText.element(
        "p", "\(plots.metric.title) on held-out records after each round, median over seeds.") + text)
  }

  private var nodeSpreads: String {
    let text = figures(
      "nodes", scale: plots.nodeRange, draw: { plots.nodes($0, id: $1, scale: $2) }, caption: Self.terms)
    guard !text.isEmpty else { return "" }
    let most = results.runs.map(\.outcome.nodes.count).max() ?? 0
    return section(
      "nodes", "How it differs between nodes",
      HTMLText.element(
        "p",
        "The final model on each node's own held-out records: a bar from the 10th to the 90th percentile of "
          + "nodes, the dot is the median node (medians over seeds; up to \(most) nodes with held-out records of "
          + "both kinds). Small nodes scatter by chance alone.") + text)
  }

  func section(_ id: String, _ title: String, _ content: String) -> String {
    "<section aria-labelledby=\"\(id)\">\n<h2 id=\"\(id)\">\(HTMLText.escaped(title))</h2>\n\(content)\n</section>"
  }
}

extension FigureText {
  /// A dotted path for people: its last word without underscores.
  static func field(_ path: String) -> String {
    switch path {
    case "privacy.epsilon": "ε"
    case "data.partition.alpha": "Dirichlet α"
    case "training.local": "local training"
    case "training.server": "server optimiser"
    default: (path.split(separator: ".").last.map(String.init) ?? path).replacing("_", with: " ")
    }
  }
}
