import Foundation
import Learning
import Privacy

/// The points of one picture: they differ in one swept field, the picture's variable.
struct SweepPanel {
  /// What the other swept fields are, for people; empty if nothing else is swept.
  let title: String
  /// The position of the records in the results' `data`.
  let data: Int
  /// The points, in the order of the variable.
  let points: [SweepPoint]
  /// The value of the variable at each point.
  let labels: [String]
  /// Whether the variable is ε: then the point without noise is the line to compare with.
  let isEpsilon: Bool
  /// What the horizontal axis shows.
  let axis: String

  /// The points that are not the line to compare with.
  var drawn: [(point: SweepPoint, label: String)] {
    zip(points, labels).filter { !isEpsilon || $0.0.isPrivate }.map { (point: $0, label: $1) }
  }
  /// The point without noise, if ε is the variable.
  var reference: SweepPoint? { isEpsilon ? points.first { !$0.isPrivate } : nil }

  /// The class of a point's colour.
  func style(_ position: Int) -> String {
    isEpsilon && !points[position].isPrivate ? "ref" : "c\(position % 8)"
  }
}

/// The pictures of a report.
struct SweepPlots {
  let metric: SweepMetric

  private var bounds: ClosedRange<Double> { metric.bounds }

  /// The figures that the panels of one scale must hold, with room above for the name of the line without
  /// noise.
  func range(_ panels: [SweepPanel]) -> [Double] {
    let values = panels.flatMap { $0.points.flatMap { $0.spread(metric).map { [$0.low, $0.high] } ?? [] } }
    guard let low = values.min(), let high = values.max() else { return [] }
    return [low, high + 0.08 * (high - low)]
  }

  /// The variable against the metric: every seed a dot, the median a line, lowest to highest a band.
  func price(_ panel: SweepPanel, id: String, scale: [Double]) -> String {
    let drawn = panel.drawn
    let frame = PlotFrame(values: scale, bounds: bounds, labels: false)
    var content = frame.grid
    if let spread = panel.reference?.spread(metric) {
      let high = frame.y(spread.high)
      let height = max(1, frame.y(spread.low) - high)
      content.append(
        """
        <rect class="refband" x="\(PlotFrame.number(PlotFrame.left))" y="\(PlotFrame.number(high))" \
        width="\(PlotFrame.number(frame.right - PlotFrame.left))" height="\(PlotFrame.number(height))"/>\
        <line class="refline" x1="\(PlotFrame.number(PlotFrame.left))" x2="\(PlotFrame.number(frame.right))" \
        y1="\(PlotFrame.number(frame.y(spread.median)))" y2="\(PlotFrame.number(frame.y(spread.median)))"/>
        """)
      let isHigh = frame.y(spread.high) > PlotFrame.top + 14
      let place = isHigh ? frame.y(spread.high) - 4 : frame.y(spread.low) + 12
      content.append(
        """
        <text class="name ref" x="\(PlotFrame.number(PlotFrame.left + 4))" y="\(PlotFrame.number(place))">\
        no noise (ε = ∞): \(FigureText.fixed(spread.median, 3))</text>
        """)
    }
    let spreads = drawn.map { $0.point.spread(metric) }
    let places = drawn.indices.map { frame.x(slot: $0, of: drawn.count) }
    let known = drawn.indices.filter { spreads[$0] != nil }
    let upper = known.compactMap { index in spreads[index].map { (places[index], frame.y($0.high)) } }
    let lower = known.compactMap { index in spreads[index].map { (places[index], frame.y($0.low)) } }
    content.append("<polygon class=\"band\" points=\"\(PlotFrame.points(upper + lower.reversed()))\"/>")
    let medians = known.compactMap { index in spreads[index].map { (places[index], frame.y($0.median)) } }
    content.append("<polyline class=\"median\" points=\"\(PlotFrame.points(medians))\"/>")
    for (index, item) in drawn.enumerated() {
      content += dots(item.point, label: item.label, at: places[index], frame, panel)
    }
    content += frame.horizontal(
      zip(places, drawn).map { (x: $0, text: $1.label) }, title: panel.axis)
    return PlotFrame.svg(
      id, title: "\(metric.title) against \(panel.axis). \(panel.title)", description: words(panel), content)
  }

  private func dots(
    _ point: SweepPoint, label: String, at x: Double, _ frame: PlotFrame, _ panel: SweepPanel
  ) -> [String] {
    let count = point.runs.count
    return point.runs.enumerated().compactMap { index, run in
      guard let value = metric.of(run.outcome.metrics) else { return nil }
      // Side by side, so that equal figures do not hide each other.
      let shift = (Double(index) - Double(count - 1) / 2) * min(4, 16 / Double(max(1, count)))
      return """
        <circle class="dot" cx="\(PlotFrame.number(x + shift))" cy="\(PlotFrame.number(frame.y(value)))" \
        r="2.6"><title>\(HTMLText.escaped(label)), seed \(run.setup.seed): \
        \(FigureText.fixed(value, 4)); \(HTMLText.escaped(GuaranteeText.of(run)))</title></circle>
        """
    }
  }

  private func words(_ panel: SweepPanel) -> String {
    zip(panel.points, panel.labels).compactMap { point, label in
      point.spread(metric).map {
        "\(label): median \(FigureText.fixed($0.median, 3)), \(FigureText.fixed($0.low, 3)) to "
          + FigureText.fixed($0.high, 3)
      }
    }.joined(separator: "; ")
  }

  // MARK: Learning curves

  /// The median over seeds after each measured round.
  func curve(_ point: SweepPoint) -> [(round: Int, value: Double)] {
    var values: [Int: [Double]] = [:]
    for run in point.runs {
      for round in run.outcome.rounds {
        if let metrics = round.metrics, let value = metric.of(metrics) {
          values[round.round, default: []].append(value)
        }
      }
    }
    return values.keys.sorted().compactMap { round in
      Spread(values[round] ?? []).map { (round: round, value: $0.median) }
    }
  }

  /// Rounds against the metric, a line per value of the variable.
  func learning(_ panel: SweepPanel, id: String, scale: [Double]) -> String {
    let frame = PlotFrame(values: scale, bounds: bounds, labels: true)
    let curves = panel.points.map(curve)
    let last = max(1, curves.compactMap { $0.last?.round }.max() ?? 1)
    func x(_ round: Int) -> Double { frame.x(part: last == 1 ? 0.5 : Double(round - 1) / Double(last - 1)) }
    var content = frame.grid
    var names: [(y: Double, text: String, style: String)] = []
    for (index, curve) in curves.enumerated() {
      guard let end = curve.last else { continue }
      let style = panel.style(index)
      let places = curve.map { (x: x($0.round), y: frame.y($0.value)) }
      if places.count == 1 {
        content.append(
          """
          <circle class="dot \(style)" cx="\(PlotFrame.number(places[0].x))" \
          cy="\(PlotFrame.number(places[0].y))" r="3"/>
          """)
      }
      content.append("<polyline class=\"curve \(style)\" points=\"\(PlotFrame.points(places))\"/>")
      let text = panel.isEpsilon ? "ε = \(FigureText.infinity(panel.labels[index]))" : panel.labels[index]
      names.append((frame.y(end.value), String(text.prefix(9)), style))
    }
    content += frame.names(names)
    let marks = last == 1 ? [1] : [1, (last + 1) / 2, last]
    content += frame.horizontal(
      Set(marks).sorted().map { (x: x($0), text: "\($0)") }, title: "training round")
    let words = zip(panel.labels, curves).compactMap { label, curve in
      curve.last.map { "\(label): \(FigureText.fixed($0.value, 3)) after round \($0.round)" }
    }
    return PlotFrame.svg(
      id, title: "\(metric.title) by round. \(panel.title)", description: words.joined(separator: "; "),
      content)
  }

  // MARK: Nodes

  /// The variable against the spread over nodes: a bar from the 10th to the 90th percentile.
  func nodes(_ panel: SweepPanel, id: String, scale: [Double]) -> String {
    let frame = PlotFrame(values: scale, bounds: bounds, labels: false)
    var content = frame.grid
    let count = panel.points.count
    for (index, point) in panel.points.enumerated() {
      guard let low = point.nodeSpread(metric, quantile: 0.1)?.median,
        let middle = point.nodeSpread(metric, quantile: 0.5)?.median,
        let high = point.nodeSpread(metric, quantile: 0.9)?.median
      else { continue }
      let x = PlotFrame.number(frame.x(slot: index, of: count))
      content.append(
        """
        <line class="bar \(panel.style(index))" x1="\(x)" x2="\(x)" y1="\(PlotFrame.number(frame.y(low)))" \
        y2="\(PlotFrame.number(frame.y(high)))"><title>\(HTMLText.escaped(panel.labels[index])): 10 % of \
        nodes below \(FigureText.fixed(low, 3)), 10 % above \(FigureText.fixed(high, 3))</title></line>\
        <circle class="dot \(panel.style(index))" cx="\(x)" cy="\(PlotFrame.number(frame.y(middle)))" r="4"/>
        """)
    }
    let labels = panel.labels.enumerated().map {
      (x: frame.x(slot: $0, of: count), text: FigureText.infinity($1))
    }
    content += frame.horizontal(labels, title: panel.axis)
    return PlotFrame.svg(
      id, title: "\(metric.title) per node. \(panel.title)",
      description: "Bars from the 10th to the 90th percentile of nodes; the dot is the median node.", content)
  }

  /// The figures that the bars of some panels need.
  func nodeRange(_ panels: [SweepPanel]) -> [Double] {
    panels.flatMap { panel in
      panel.points.flatMap { point in
        [0.1, 0.9].compactMap { point.nodeSpread(metric, quantile: $0)?.median }
      }
    }
  }
}

extension FigureText {
  /// The word of a scenario as the sign that people know.
  static func infinity(_ label: String) -> String { label == "inf" ? "∞" : label }
}
