import Foundation

/// Pictures of tables as SVG that stands by itself: no font, script or style from elsewhere, a title and a
/// description for those who cannot see it, and patterns beside colours, so that it may be printed in black.
package struct ReportChart: Sendable {
  /// One row of figures.
  package struct Series: Hashable, Sendable {
    /// What the legend calls it.
    package let name: String
    /// One value a category.
    package let values: [Double]

    /// Names a row of figures.
    package init(_ name: String, _ values: [Double]) {
      self.name = name
      self.values = values
    }
  }

  /// How the figures are drawn.
  package enum Style: Sendable { case bars, areas, line }

  /// Distinguishes the elements of several pictures on one page.
  package let id: String
  /// The heading.
  package let title: String
  /// The unit of the vertical axis.
  package let unit: String
  /// The names along the horizontal axis.
  package let categories: [String]
  /// What is drawn, from below; stacked unless it is a line.
  package let series: [Series]
  /// How.
  package let style: Style
  /// A vertical line after this many categories, and what it says.
  package let marker: (after: Int, text: String)?

  /// A picture. Every series has one value a category.
  package init(
    id: String, title: String, unit: String, categories: [String], series: [Series], style: Style,
    marker: (after: Int, text: String)? = nil
  ) {
    precondition(series.allSatisfy { $0.values.count == categories.count }, "one value a category")
    self.id = id
    self.title = title
    self.unit = unit
    self.categories = categories
    // What is zero everywhere only fills the legend.
    let drawn = series.filter { $0.values.contains { $0 != 0 } }
    self.series = drawn.isEmpty ? Array(series.prefix(1)) : drawn
    self.style = style
    self.marker = marker
  }

  // All at least 4.5 to 1 against white.
  private static let colours = ["#1f4e79", "#a3470f", "#35682d", "#6a3d8f", "#8f1d2c", "#4b5563"]
  private static let frame = (left: 64.0, right: 748.0, top: 60.0, bottom: 280.0)

  /// The picture, or nil if there is nothing to draw.
  package var svg: String? {
    guard !categories.isEmpty, !series.isEmpty else { return nil }
    let height = Self.frame.bottom + 58 + 20 * Double((series.count + 2) / 3)
    // Room for the figures above the highest bar.
    let isCounted = series.allSatisfy { $0.values.allSatisfy { $0 == $0.rounded() } }
    let (top, tick) = Self.axis(to: highest * 1.06, isCounted: isCounted)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 768 \(Self.number(height))" role="img" \
      aria-labelledby="\(id)-title \(id)-desc" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#1a1a1a">
      <title id="\(id)-title">\(Self.escaped(title))</title>
      <desc id="\(id)-desc">\(Self.escaped(summary))</desc>
      """, patterns,
      "<rect width=\"768\" height=\"\(Self.number(height))\" fill=\"#ffffff\"/>",
      "<text x=\"16\" y=\"22\" font-size=\"15\" font-weight=\"bold\">\(Self.escaped(title))</text>",
    ]
    lines += grid(top: top, tick: tick)
    switch style {
    case .bars: lines += bars(top)
    case .areas: lines += areas(top)
    case .line: lines += curve(top)
    }
    lines += horizontalAxis()
    if let marker { lines += mark(marker) }
    lines += legend()
    lines.append("</svg>")
    return lines.joined(separator: "\n")
  }

  /// What a reader hears instead of seeing.
  private var summary: String {
    let parts = series.map { series in
      let total = series.values.reduce(0, +)
      let peak = series.values.max() ?? 0
      let place = series.values.firstIndex(of: peak).map { categories[$0] } ?? ""
      let last = series.values.last ?? 0
      return style == .bars
        ? "\(series.name): \(Self.label(total)) in all, most at \(place) (\(Self.label(peak)))"
        : "\(series.name): at most \(Self.label(peak)) (\(place)), at the end \(Self.label(last))"
    }
    return "\(unit), from \(categories.first ?? "") to \(categories.last ?? ""). "
      + parts.joined(separator: "; ")
      + ". The figures are in the table of the same name."
  }

  private var highest: Double {
    if style == .line { return series.flatMap(\.values).max() ?? 0 }
    return categories.indices.map { position in series.reduce(0) { $0 + max(0, $1.values[position]) } }.max()
      ?? 0
  }

  /// The top of the axis and the distance of its lines: 1, 2 or 5 times a power of ten, at most six lines.
  /// Counts get whole lines.
  static func axis(to highest: Double, isCounted: Bool = false) -> (top: Double, tick: Double) {
    guard highest > 0, highest.isFinite else { return (1, 1) }
    let power = pow(10, floor(log10(highest / 5)))
    let tick = [1.0, 2, 5, 10].map { $0 * power }.first { $0 * 5 >= highest } ?? 10 * power
    let step = isCounted ? max(1, tick.rounded(.up)) : tick
    return ((highest / step).rounded(.up) * step, step)
  }

  private func y(_ value: Double, _ top: Double) -> Double {
    Self.frame.bottom - value / top * (Self.frame.bottom - Self.frame.top)
  }

  private var slot: Double { (Self.frame.right - Self.frame.left) / Double(categories.count) }

  private func grid(top: Double, tick: Double) -> [String] {
    var lines = ["<text x=\"16\" y=\"38\" fill=\"#4b5563\">\(Self.escaped(unit))</text>"]
    for step in 0...max(1, Int((top / tick).rounded())) {
      let value = Double(step) * tick
      let place = Self.number(y(value, top))
      lines.append(
        """
        <line x1="\(Self.number(Self.frame.left))" x2="\(Self.number(Self.frame.right))" y1="\(place)" \
        y2="\(place)" stroke="\(step == 0 ? "#1a1a1a" : "#d5d9df")"/>
        <text x="\(Self.number(Self.frame.left - 6))" y="\(Self.number(y(value, top) + 4))" \
        text-anchor="end">\(Self.label(value))</text>
        """)
    }
    return lines
  }

  private func bars(_ top: Double) -> [String] {
    var lines: [String] = []
    let width = min(46, slot * 0.72)
    for position in categories.indices {
      var base = 0.0
      let x = Self.frame.left + (Double(position) + 0.5) * slot - width / 2
      for (index, series) in series.enumerated() {
        let value = max(0, series.values[position])
        guard value > 0 else { continue }
        let upper = y(base + value, top)
        lines.append(
          rectangle(
            x, upper, width, y(base, top) - upper, index,
            "\(series.name), \(categories[position]): \(Self.label(value))"))
        base += value
      }
      if base > 0, categories.count <= 16 {
        lines.append(
          """
          <text x="\(Self.number(x + width / 2))" y="\(Self.number(y(base, top) - 4))" text-anchor="middle" \
          font-size="11">\(Self.label(base))</text>
          """)
      }
    }
    return lines
  }

  private func rectangle(
    _ x: Double, _ y: Double, _ width: Double, _ height: Double, _ index: Int, _ title: String
  ) -> String {
    """
    <rect x="\(Self.number(x))" y="\(Self.number(y))" width="\(Self.number(width))" \
    height="\(Self.number(max(0.5, height)))" fill="url(#\(id)-p\(index % Self.colours.count))" \
    stroke="\(Self.colours[index % Self.colours.count])"><title>\(Self.escaped(title))</title></rect>
    """
  }

  private func x(_ position: Int) -> Double { Self.frame.left + (Double(position) + 0.5) * slot }

  private func areas(_ top: Double) -> [String] {
    var lower = [Double](repeating: 0, count: categories.count)
    var lines: [String] = []
    for (index, series) in series.enumerated() {
      let upper = zip(lower, series.values).map { $0 + max(0, $1) }
      // A single month is drawn as wide as its slot.
      let left = categories.count == 1 ? Self.frame.left : x(0)
      let right = categories.count == 1 ? Self.frame.right : x(categories.count - 1)
      var points: [String] = []
      for position in upper.indices {
        let place = categories.count == 1 ? left : x(position)
        points.append("\(Self.number(place)),\(Self.number(y(upper[position], top)))")
      }
      if categories.count == 1 { points.append("\(Self.number(right)),\(Self.number(y(upper[0], top)))") }
      if categories.count == 1 { points.append("\(Self.number(right)),\(Self.number(y(lower[0], top)))") }
      for position in lower.indices.reversed() {
        let place = categories.count == 1 ? left : x(position)
        points.append("\(Self.number(place)),\(Self.number(y(lower[position], top)))")
      }
      lines.append(
        """
        <polygon points="\(points.joined(separator: " "))" fill="url(#\(id)-p\(index % Self.colours.count))" \
        stroke="\(Self.colours[index % Self.colours.count])" stroke-width="1.5"><title>\(Self.escaped(series.name))</title></polygon>
        """)
      lower = upper
    }
    return lines
  }

  private func curve(_ top: Double) -> [String] {
    series.enumerated().flatMap { index, series in
      let points = series.values.indices.map { (x($0), y(max(0, series.values[$0]), top)) }
      let path = points.map { "\(Self.number($0.0)),\(Self.number($0.1))" }.joined(separator: " ")
      let colour = Self.colours[index % Self.colours.count]
      let dash = ["", "6 3", "2 3", "9 3 2 3", "4 4", "1 2"][index % 6]
      var lines = [
        """
        <polyline points="\(path)" fill="none" stroke="\(colour)" stroke-width="2" stroke-dasharray="\(dash)">\
        <title>\(Self.escaped(series.name))</title></polyline>
        """
      ]
      if points.count <= 60 {
        lines += points.map {
          "<circle cx=\"\(Self.number($0.0))\" cy=\"\(Self.number($0.1))\" r=\"2.5\" fill=\"\(colour)\"/>"
        }
      }
      return lines
    }
  }

  private func horizontalAxis() -> [String] {
    let widest = Double(categories.map(\.count).max() ?? 1) * 6.6 + 10
    let stride = max(1, Int((widest / slot).rounded(.up)))
    return categories.indices.filter { $0 % stride == 0 }.map { position in
      """
      <text x="\(Self.number(x(position)))" y="\(Self.number(Self.frame.bottom + 17))" \
      text-anchor="middle">\(Self.escaped(categories[position]))</text>
      """
    }
  }

  private func mark(_ marker: (after: Int, text: String)) -> [String] {
    let place = Self.frame.left + Double(min(marker.after, categories.count)) * slot
    let isLeft = place > (Self.frame.left + Self.frame.right) / 2
    return [
      """
      <line x1="\(Self.number(place))" x2="\(Self.number(place))" y1="\(Self.number(Self.frame.top))" \
      y2="\(Self.number(Self.frame.bottom))" stroke="#8f1d2c" stroke-width="2" stroke-dasharray="5 3"/>
      <text x="\(Self.number(place + (isLeft ? -6 : 6)))" y="\(Self.number(Self.frame.top - 6))" fill="#8f1d2c" \
      text-anchor="\(isLeft ? "end" : "start")">\(Self.escaped(marker.text))</text>
      """
    ]
  }

  private func legend() -> [String] {
    series.enumerated().flatMap { index, series in
      let left = 64 + Double(index % 3) * 230
      let top = Self.frame.bottom + 36 + Double(index / 3) * 20
      return [
        rectangle(left, top, 14, 12, index, series.name),
        "<text x=\"\(Self.number(left + 20))\" y=\"\(Self.number(top + 10))\">\(Self.escaped(Self.shortened(series.name)))</text>",
      ]
    }
  }

  private var patterns: String {
    let marks = [
      "", "<path d=\"M0 8L8 0\" stroke=\"#fff\" stroke-width=\"1.6\"/>",
      "<circle cx=\"4\" cy=\"4\" r=\"1.5\" fill=\"#fff\"/>",
      "<path d=\"M0 4H8\" stroke=\"#fff\" stroke-width=\"1.6\"/>",
      "<path d=\"M0 0L8 8M0 8L8 0\" stroke=\"#fff\" stroke-width=\"1\"/>",
      "<path d=\"M4 0V8\" stroke=\"#fff\" stroke-width=\"1.6\"/>",
    ]
    let patterns = zip(Self.colours, marks).enumerated().map { index, look in
      """
      <pattern id="\(id)-p\(index)" width="8" height="8" patternUnits="userSpaceOnUse">\
      <rect width="8" height="8" fill="\(look.0)"/>\(look.1)</pattern>
      """
    }
    return "<defs>" + patterns.joined() + "</defs>"
  }

  private static func shortened(_ text: String) -> String {
    text.count <= 32 ? text : text.prefix(31) + "…"
  }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  /// A figure with an apostrophe of thousands where it is long.
  private static func label(_ value: Double) -> String {
    if value >= 10_000_000 { return String(format: "%.1f M", value / 1_000_000) }
    if value >= 100_000 { return String(format: "%.0f k", value / 1000) }
    return value == value.rounded() ? String(Int(value)) : String(format: "%.3g", value)
  }

  /// The text for XML; controls that XML forbids and those that change the direction of writing are replaced.
  static func escaped(_ text: String) -> String { PageText.escaped(text) }
}

/// Texts of the log in pages: whatever a recorder wrote stays text.
package enum PageText {
  /// Escapes scalar by scalar: a bracket with a combining mark is one character in Swift, but still a bracket
  /// to a browser.
  package static func escaped(_ text: String) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "<": bytes += "&lt;".utf8
      case ">": bytes += "&gt;".utf8
      case "&": bytes += "&amp;".utf8
      case "\"": bytes += "&quot;".utf8
      case "'": bytes += "&#39;".utf8
      case "\n": bytes.append(10)
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .unassigned:
          bytes += "\u{FFFD}".utf8
        default: bytes += UTF8.encode(scalar).map(Array.init) ?? []
        }
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

extension ReportTable {
  /// A picture of some columns against another one; numbers that are none count as zero.
  /// - Parameter limit: of more rows only so many, evenly spread, are drawn.
  package func chart(
    _ id: String, title: String? = nil, unit: String, category: String, series keys: [String]? = nil,
    style: ReportChart.Style, marker: (after: Int, text: String)? = nil, limit: Int = 240
  ) -> ReportChart {
    let keys = keys ?? columns.map(\.key).filter { $0 != category }
    let step = max(1, (rows.count + limit - 1) / limit)
    let chosen = rows.indices.filter { $0 % step == 0 || ($0 == rows.count - 1 && style == .line) }
    let series = keys.compactMap { key -> ReportChart.Series? in
      guard let position = position(key) else { return nil }
      let values = chosen.map { row -> Double in
        switch rows[row][position] {
        case .integer(let number): Double(number)
        case .number(let number) where number.isFinite: number
        default: 0
        }
      }
      return ReportChart.Series(columns[position].title, values)
    }
    let names = chosen.map { cell($0, category).display }
    return ReportChart(
      id: id, title: title ?? self.title, unit: unit, categories: names, series: series, style: style,
      marker: marker)
  }
}
