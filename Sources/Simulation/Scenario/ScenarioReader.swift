import Yams

/// A table of a scenario file with its entries by key.
struct ScenarioTable {
  /// Where it stands, such as `data.partition`; empty at the top.
  let path: String
  let node: Node
  /// In the order of the file.
  let keys: [String]
  let entries: [String: Node]

  func path(_ key: String) -> String { path.isEmpty ? key : path + "." + key }
}

/// Reads YAML nodes strictly. A mistake is noted with its place and reading goes on with a stand-in, so that
/// one pass finds all of them; who reads must discard the result if there are `problems`.
struct ScenarioReader {
  let file: String
  /// What the command line replaced: the dotted path and the option as it was typed.
  var options: [String: String] = [:]
  /// The same as nodes.
  var overrides: [(path: String, key: Node, value: Node)] = []
  private(set) var problems: [ScenarioProblem] = []

  init(file: String) { self.file = file }

  // MARK: Mistakes

  mutating func note(_ node: Node?, _ path: String, _ text: String) {
    note(node?.mark?.line ?? 1, path, text)
  }

  mutating func note(_ line: Int, _ path: String, _ text: String) {
    let option = options.first { path == $0.key || path.hasPrefix($0.key + ".") }?.value
    let problem = ScenarioProblem(
      place: option ?? "\(file):\(line)", line: option == nil ? line : 0, text: text)
    if !problems.contains(problem) { problems.append(problem) }
  }

  // MARK: Tables and lists

  /// The table at `path`; nil, after noting it, if there is something else. Keys that are not among `known`
  /// are noted with the nearest that is.
  mutating func table(_ node: Node, _ path: String, known: [String]? = nil) -> ScenarioTable? {
    guard let mapping = node.mapping else {
      note(node, path, "\(path.isEmpty ? "the file" : path) must be a table (key: value)")
      return nil
    }
    var keys: [String] = []
    var entries: [String: Node] = [:]
    for (keyNode, value) in mapping {
      guard let key = keyNode.scalar?.string else {
        note(keyNode, path, "a key of \(path.isEmpty ? "the file" : path) must be a word")
        continue
      }
      let full = path.isEmpty ? key : path + "." + key
      if let known, !known.contains(key) {
        note(keyNode, full, Self.unknown(full, key: key, known: known))
        continue
      }
      // Yams compares keys by value and type: `1` and `"1"` are two keys to it, here they are one.
      guard entries.updateValue(value, forKey: key) == nil else {
        note(keyNode, full, "\(full) stands twice in one table")
        continue
      }
      keys.append(key)
    }
    return ScenarioTable(path: path, node: node, keys: keys, entries: entries)
  }

  private static func unknown(_ full: String, key: String, known: [String]) -> String {
    let start = "\(full.shortened) is no key of a scenario"
    if let nearest = TableError.nearestName(to: key, in: known) {
      return start + "; did you mean \(nearest)?"
    }
    return start + "; here are allowed: " + known.joined(separator: ", ")
  }

  /// The table under a key; nil if the key is absent.
  mutating func table(_ parent: ScenarioTable, _ key: String, known: [String]? = nil) -> ScenarioTable? {
    parent.entries[key].flatMap { table($0, parent.path(key), known: known) }
  }

  /// The entries of a list; none, after noting it, if there is something else.
  mutating func list(_ node: Node, _ path: String) -> [Node] {
    guard let sequence = node.sequence else {
      note(node, path, "\(path) must be a list ([a, b])")
      return []
    }
    return Array(sequence)
  }

  // MARK: Values

  /// Notes a key that must be there.
  mutating func require(_ table: ScenarioTable, _ key: String, _ what: String) -> Bool {
    if table.entries[key] != nil { return true }
    note(table.node, table.path(key), "\(table.path(key)) is missing: \(what)")
    return false
  }

  /// The characters of a scalar, whatever YAML takes them for: `off` is a word here.
  func word(_ node: Node?) -> String? {
    guard let scalar = node?.scalar, !scalar.string.isEmpty, node?.tag.rawValue != "tag:yaml.org,2002:null"
    else { return nil }
    return scalar.string
  }

  mutating func text(_ table: ScenarioTable, _ key: String, maximum: Int = 4_096) -> String? {
    guard let node = table.entries[key] else { return nil }
    guard var text = word(node), text.utf8.count <= maximum else {
      note(node, table.path(key), "\(table.path(key)) must be a text of 1 to \(maximum) bytes")
      return nil
    }
    // Folded and literal blocks end with a line break.
    while text.hasSuffix("\n") { text.removeLast() }
    return text
  }

  mutating func texts(_ table: ScenarioTable, _ key: String) -> [String] {
    guard let node = table.entries[key] else { return [] }
    let path = table.path(key)
    var texts: [String] = []
    for entry in list(node, path) {
      guard let text = word(entry) else {
        note(entry, path, "\(path) must be a list of texts")
        continue
      }
      if texts.contains(text) { note(entry, path, "\(path) names \(text.shortened) twice") }
      texts.append(text)
    }
    return texts
  }

  /// One of the words that a key may have, or `fallback`.
  mutating func choice<Value: RawRepresentable & CaseIterable>(
    _ table: ScenarioTable, _ key: String, or fallback: Value
  ) -> Value where Value.RawValue == String {
    guard let node = table.entries[key] else { return fallback }
    let names = Value.allCases.map(\.rawValue)
    if let word = word(node), let value = Value(rawValue: word) { return value }
    let typed = word(node)
    let hint = typed.flatMap { TableError.nearestName(to: $0, in: names) }.map { "; did you mean \($0)?" }
    note(
      node, table.path(key),
      "\(table.path(key)) must be one of \(names.joined(separator: ", "))"
        + (typed.map { ", not \($0.shortened)" } ?? "") + (hint ?? ""))
    return fallback
  }

  /// A whole number in a range, or `fallback`. Digits may be grouped: 1_000_000.
  mutating func integer(
    _ table: ScenarioTable, _ key: String, in range: ClosedRange<Int>, or fallback: Int
  ) -> Int {
    guard let node = table.entries[key] else { return fallback }
    return integer(node, table.path(key), in: range) ?? fallback
  }

  mutating func integer(_ node: Node, _ path: String, in range: ClosedRange<Int>) -> Int? {
    let typed = word(node)
    if let typed, let value = Self.integer(typed), range.contains(value) { return value }
    note(
      node, path,
      "\(path) must be a whole number from \(Self.grouped(range.lowerBound)) to "
        + Self.grouped(range.upperBound) + (typed.map { ", not \($0.shortened)" } ?? ""))
    return nil
  }

  /// A number that `isAllowed`, or `fallback`.
  mutating func number(
    _ table: ScenarioTable, _ key: String, _ allowed: String, or fallback: Double,
    where isAllowed: (Double) -> Bool
  ) -> Double {
    guard let node = table.entries[key] else { return fallback }
    let typed = word(node)
    if let typed, let value = Self.number(typed), isAllowed(value) { return value }
    note(
      node, table.path(key),
      "\(table.path(key)) must be \(allowed)" + (typed.map { ", not \($0.shortened)" } ?? ""))
    return fallback
  }

  /// A fraction as thousandths.
  mutating func permille(
    _ table: ScenarioTable, _ key: String, in range: ClosedRange<Int>, or fallback: Int
  ) -> Int {
    let low = Double(range.lowerBound) / 1000
    let high = Double(range.upperBound) / 1000
    let value = number(
      table, key, "a fraction from \(low) to \(high) with at most three decimals",
      or: Double(fallback) / 1000
    ) { $0 >= low && $0 <= high && abs(($0 * 1000).rounded() - $0 * 1000) < 1e-6 }
    return Int((value * 1000).rounded())
  }

  // MARK: Numbers as people write them

  static func integer(_ text: String) -> Int? {
    let digits = text.utf8.filter { $0 != 0x5F }
    guard (1...19).contains(digits.count), text.utf8.first != 0x5F, text.utf8.last != 0x5F,
      digits.allSatisfy({ (0x30...0x39).contains($0) })
    else { return nil }
    return Int(String(decoding: digits, as: UTF8.self))
  }

  /// A finite decimal number, or infinity if `inf` stands there.
  static func number(_ text: String) -> Double? {
    if ["inf", ".inf", "∞", "infinity"].contains(text.lowercased()) { return .infinity }
    // `Double(_:)` would also take hexadecimal and `nan`.
    let isDecimal = text.utf8.allSatisfy {
      (0x30...0x39).contains($0) || [0x2E, 0x2D, 0x2B, 0x5F].contains($0) || $0 | 0x20 == 0x65
    }
    guard isDecimal, let value = Double(text.filter { $0 != "_" }), value.isFinite else { return nil }
    return value
  }

  static func grouped(_ value: Int) -> String {
    var text = String(value)
    var place = text.count - 3
    while place > 0 {
      text.insert(",", at: text.index(text.startIndex, offsetBy: place))
      place -= 3
    }
    return text
  }
}
