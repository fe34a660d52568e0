import Foundation

/// Curves as a picture: a self-contained SVG file that needs no font, script or style from elsewhere.
package struct CurvePlot: Sendable {
  /// The curves, in order of their colours; at most six are told apart.
  private let curves: [PrivacyCurve]
  private let frame = (left: 84.0, right: 724.0, top: 92.0, bottom: 424.0)
  private static let colours = ["#1f5fa8", "#c8501e", "#2e7d4f", "#7b4ea3", "#8a6d1b", "#3c4650"]

  /// A plot of these curves.
  package init(_ curves: [PrivacyCurve]) { self.curves = curves }

  /// The picture: delta on a logarithmic axis, epsilon on a linear one from 0, the marked point of every
  /// curve with its statement. Curves without a finite epsilon are only named.
  package var svg: String {
    let points = curves.flatMap(\.points).filter(\.epsilon.isFinite)
    let marked = curves.map(\.statement)
    let deltas = points.map(\.delta) + marked.map(\.delta)
    let exponents = deltas.map { log10($0) }
    let low = (exponents.min() ?? -12).rounded(.down)
    let high = max((exponents.max() ?? -2).rounded(.up), low + 1)
    let finite = points.map(\.epsilon) + marked.map(\.epsilon).filter(\.isFinite)
    let (top, tick) = Self.axis(to: finite.max() ?? 1)
    func x(_ delta: Double) -> Double {
      frame.left + (log10(delta) - low) / (high - low) * (frame.right - frame.left)
    }
    func y(_ epsilon: Double) -> Double { frame.bottom - epsilon / top * (frame.bottom - frame.top) }
    let height = frame.bottom + 76 + 22 * Double(curves.count)
    var lines = [
      """
      <svg xmlns="http://www.w3.org/2000/svg" width="760" height="\(Self.number(height))" \
      viewBox="0 0 760 \(Self.number(height))" role="img" \
      font-family="Helvetica, Arial, sans-serif" font-size="13" fill="#222">
      """,
      "<title>\(Self.escaped(marked.map(\.description).joined(separator: "; ")))</title>",
      ##"<rect width="100%" height="100%" fill="#fff"/>"##,
    ]
    lines += heading()
    lines += verticalAxis(top: top, tick: tick, y: y)
    lines += horizontalAxis(low: Int(low), high: Int(high))
    for (index, curve) in curves.enumerated() {
      lines += draw(curve, colour: Self.colours[index % Self.colours.count], x: x, y: y)
    }
    lines += legend()
    return (lines + ["</svg>"]).joined(separator: "\n") + "\n"
  }

  private func heading() -> [String] {
    let statements = curves.map(\.statement)
    func all(_ value: (PrivacyStatement) -> String) -> String {
      var seen: [String] = []
      for statement in statements where !seen.contains(value(statement)) { seen.append(value(statement)) }
      return seen.joined(separator: ", ")
    }
    let subtitle =
      "unit: \(all(\.unit.rawValue))   neighbours: \(all(\.relation.rawValue))   "
      + "trust: \(all(\.trustMode.rawValue))"
    return [
      """
      <text x="\(Self.number(frame.left))" y="36" font-size="18" font-weight="600">\
      \(Self.escaped(Self.shortened("Privacy of " + all(\.mechanism), to: 68)))</text>
      """,
      """
      <text x="\(Self.number(frame.left))" y="60" fill="#555" xml:space="preserve">\
      \(Self.escaped(subtitle))</text>
      """,
    ]
  }

  private func verticalAxis(top: Double, tick: Double, y: (Double) -> Double) -> [String] {
    var lines: [String] = []
    let decimals = max(0, -Int(log10(tick).rounded(.down)))
    for index in 0...Int((top / tick).rounded()) {
      let value = Double(index) * tick
      let place = Self.number(y(value))
      lines.append(
        """
        <line x1="\(Self.number(frame.left))" x2="\(Self.number(frame.right))" y1="\(place)" y2="\(place)" \
        stroke="\(index == 0 ? "#333" : "#e3e3e3")"/>
        """)
      lines.append(
        """
        <text x="\(Self.number(frame.left - 10))" y="\(Self.number(y(value) + 4.5))" \
        text-anchor="end">\(String(format: "%.\(decimals)f", value))</text>
        """)
    }
    let middle = Self.number((frame.top + frame.bottom) / 2)
    lines.append(
      """
      <text transform="translate(28 \(middle)) rotate(-90)" text-anchor="middle">epsilon (ε)</text>
      """)
    return lines
  }

  private func horizontalAxis(low: Int, high: Int) -> [String] {
    var lines: [String] = []
    let every = (high - low + 11) / 12
    for exponent in stride(from: low, through: high, by: every) {
      let place =
        frame.left + Double(exponent - low) / Double(high - low) * (frame.right - frame.left)
      lines.append(
        """
        <line x1="\(Self.number(place))" x2="\(Self.number(place))" y1="\(Self.number(frame.top))" \
        y2="\(Self.number(frame.bottom + 5))" stroke="#e3e3e3"/>
        """)
      lines.append(
        """
        <text x="\(Self.number(place))" y="\(Self.number(frame.bottom + 23))" text-anchor="middle">10\
        <tspan dy="-5" font-size="10">\(exponent < 0 ? "−\(-exponent)" : "\(exponent)")</tspan></text>
        """)
    }
    lines.append(
      """
      <text x="\(Self.number((frame.left + frame.right) / 2))" y="\(Self.number(frame.bottom + 47))" \
      text-anchor="middle">delta (δ), logarithmic</text>
      """)
    return lines
  }

  private func draw(
    _ curve: PrivacyCurve, colour: String, x: (Double) -> Double, y: (Double) -> Double
  ) -> [String] {
    let places = curve.points.filter(\.epsilon.isFinite).map {
      "\(Self.number(x($0.delta))),\(Self.number(y($0.epsilon)))"
    }
    guard !places.isEmpty else { return [] }
    var lines = [
      """
      <polyline fill="none" stroke="\(colour)" stroke-width="2.2" stroke-linejoin="round" \
      points="\(places.joined(separator: " "))"/>
      """
    ]
    if curve.statement.epsilon.isFinite {
      let place = (x: x(curve.statement.delta), y: y(curve.statement.epsilon))
      lines.append(
        """
        <circle cx="\(Self.number(place.x))" cy="\(Self.number(place.y))" r="4.5" fill="#fff" \
        stroke="\(colour)" stroke-width="2.2"/>
        """)
    }
    return lines
  }

  private func legend() -> [String] {
    curves.enumerated().flatMap { index, curve in
      let y = frame.bottom + 76 + 22 * Double(index)
      return [
        """
        <line x1="\(Self.number(frame.left))" x2="\(Self.number(frame.left + 26))" \
        y1="\(Self.number(y - 4.5))" y2="\(Self.number(y - 4.5))" \
        stroke="\(Self.colours[index % Self.colours.count])" stroke-width="3"/>
        """,
        """
        <text x="\(Self.number(frame.left + 36))" y="\(Self.number(y))">\
        \(Self.escaped(Self.shortened(curve.statement.description, to: 100)))</text>
        """,
      ]
    }
  }

  /// The axis' end, at or above `largest`, and its step: 1, 2 or 5 times a power of ten, 4 to 8 of them.
  static func axis(to largest: Double) -> (top: Double, tick: Double) {
    guard largest > 0, largest < 1e300 else { return (1, 0.2) }
    let power = pow(10, log10(largest / 5).rounded(.down))
    let tick = ([1, 2, 5].map { $0 * power }.first { largest / $0 <= 8 }) ?? 10 * power
    return (tick * max(1, (largest / tick * 1.0001).rounded(.up)), tick)
  }

  private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  private static func shortened(_ text: String, to length: Int) -> String {
    text.count <= length ? text : text.prefix(length - 1) + "…"
  }

  /// Text for XML: an event file's author chooses some of it.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
    return result
  }
}
