import Foundation

/// A small picture with two axes as SVG that stands by itself: colours are classes that the page's style
/// gives, so that it suits light, dark and paper.
struct PlotFrame {
  /// The picture's size in its own units, which are pixels at the page's full width.
  static let width = 396.0
  static let height = 262.0
  static let left = 50.0
  static let top = 14.0
  static let bottom = 218.0

  /// Where the horizontal axis ends; the space beyond is for the lines' names.
  let right: Double
  /// The figures at the bottom and the top.
  let low: Double
  let high: Double
  private let tick: Double
  private let decimals: Int

  /// - Parameters:
  ///   - values: everything that will be drawn; the axis gets whole ticks around it.
  ///   - bounds: what the figures cannot leave, such as 0 to 1.
  init(values: [Double], bounds: ClosedRange<Double>, labels: Bool) {
    right = labels ? 340 : 384
    let finite = values.filter(\.isFinite)
    var low = finite.min() ?? 0
    var high = finite.max() ?? 1
    if high - low < 1e-3 { (low, high) = (low - 0.01, high + 0.01) }
    let span = high - low
    let power = pow(10, floor(log10(span / 4)))
    tick = [1.0, 2, 2.5, 5, 10].map { $0 * power }.first { span / $0 <= 5 } ?? 10 * power
    self.low = max(bounds.lowerBound, (low / tick + 1e-9).rounded(.down) * tick)
    self.high = min(bounds.upperBound, (high / tick - 1e-9).rounded(.up) * tick)
    let exponent = -floor(log10(tick) + 1e-9)
    let hasHalf = abs(tick / pow(10, floor(log10(tick) + 1e-9)) - 2.5) < 1e-6
    decimals = max(0, Int(exponent) + (hasHalf ? 1 : 0))
  }

  func y(_ value: Double) -> Double {
    let clamped = min(max(value, low), high)
    return Self.bottom - (clamped - low) / (high - low) * (Self.bottom - Self.top)
  }

  /// The middle of one of `count` slots.
  func x(slot: Int, of count: Int) -> Double {
    Self.left + (Double(slot) + 0.5) / Double(max(1, count)) * (right - Self.left)
  }

  /// A place between the ends of the axis.
  func x(part: Double) -> Double { Self.left + 8 + part * (right - Self.left - 16) }

  /// The horizontal lines with their figures.
  var grid: [String] {
    let count = max(1, Int(((high - low) / tick).rounded()))
    return (0...count).map { step in
      let value = min(high, low + Double(step) * tick)
      let place = y(value)
      return """
        <line class="grid" x1="\(Self.number(Self.left))" x2="\(Self.number(right))" \
        y1="\(Self.number(place))" y2="\(Self.number(place))"/>\
        <text class="tick" x="\(Self.number(Self.left - 6))" y="\(Self.number(place + 3.5))" \
        text-anchor="end">\(String(format: "%.\(decimals)f", value))</text>
        """
    }
  }

  /// Texts below the axis, and what it shows.
  func horizontal(_ labels: [(x: Double, text: String)], title: String) -> [String] {
    let texts = labels.map {
      """
      <text class="tick" x="\(Self.number($0.x))" y="\(Self.number(Self.bottom + 16))" \
      text-anchor="middle">\(HTMLText.escaped($0.text))</text>
      """
    }
    let middle = Self.number((Self.left + right) / 2)
    let axis =
      "<line class=\"axis\" x1=\"\(Self.number(Self.left))\" x2=\"\(Self.number(right))\" "
      + "y1=\"\(Self.number(Self.bottom))\" y2=\"\(Self.number(Self.bottom))\"/>"
    return [axis] + texts + [
      """
      <text class="label" x="\(middle)" y="\(Self.number(Self.bottom + 35))" \
      text-anchor="middle">\(HTMLText.escaped(title))</text>
      """
    ]
  }

  /// The whole picture.
  static func svg(_ id: String, title: String, description: String, _ content: [String]) -> String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(number(width)) \(number(height))" role="img" \
    aria-labelledby="\(id)-t \(id)-d"><title id="\(id)-t">\(HTMLText.escaped(title))</title>\
    <desc id="\(id)-d">\(HTMLText.escaped(description))</desc>
    \(content.joined(separator: "\n"))
    </svg>
    """
  }

  static func number(_ value: Double) -> String { String(format: "%.1f", value) }

  static func points(_ places: [(x: Double, y: Double)]) -> String {
    places.map { "\(number($0.x)),\(number($0.y))" }.joined(separator: " ")
  }

  /// The names of lines at their right ends, moved apart where they would overlap.
  func names(_ lines: [(y: Double, text: String, style: String)]) -> [String] {
    var placed: [(y: Double, text: String, style: String)] = []
    for line in lines.sorted(by: { ($0.y, $0.text) < ($1.y, $1.text) }) {
      var line = line
      if let last = placed.last { line.y = max(line.y, last.y + 11) }
      placed.append(line)
    }
    // Back up from below if the last ones left the picture.
    var limit = Self.bottom + 4
    for index in placed.indices.reversed() {
      placed[index].y = min(placed[index].y, limit)
      limit = placed[index].y - 11
    }
    return placed.map {
      """
      <text class="name \($0.style)" x="\(Self.number(right + 5))" \
      y="\(Self.number($0.y + 3.5))">\(HTMLText.escaped($0.text))</text>
      """
    }
  }
}
