import Yams

/// Why a file is no policy. Every case names the file and, where there is one, the line.
package enum PolicyFileError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file is larger than any policy.
  case tooLarge(file: String, bytes: Int, maximum: Int)
  /// The text is not YAML.
  case syntax(file: String, line: Int, problem: String)
  /// A key stands twice in one table.
  case duplicateKey(file: String, line: Int, key: String)
  /// A table has a key that no policy has there.
  case unknownKey(file: String, line: Int, key: String, expected: [String])
  /// A table lacks a key.
  case missingKey(file: String, line: Int, key: String)
  /// A value is of another kind than expected.
  case wrongType(file: String, line: Int, key: String, expected: String)
  /// A value is of the right kind but no policy may have it.
  case invalid(file: String, line: Int, key: String, problem: String)

  /// A sentence for people, in the form `file:line: what is wrong`.
  package var description: String {
    switch self {
    case .tooLarge(let file, let bytes, let maximum):
      "\(file): has \(bytes) bytes; a policy file has at most \(maximum)"
    case .syntax(let file, let line, let problem): "\(file):\(line): is not YAML: \(problem)"
    case .duplicateKey(let file, let line, let key): "\(file):\(line): \(key) stands twice in one table"
    case .unknownKey(let file, let line, let key, let expected):
      "\(file):\(line): \(key) is no key of a policy; expected here: \(expected.joined(separator: ", "))"
    case .missingKey(let file, let line, let key): "\(file):\(line): \(key) is missing"
    case .wrongType(let file, let line, let key, let expected):
      "\(file):\(line): \(key) must be \(expected)"
    case .invalid(let file, let line, let key, let problem): "\(file):\(line): \(key) \(problem)"
    }
  }
}

/// A table of the file with its keys, which are all known.
struct PolicyFileTable {
  /// Where it stands, such as `purposes[0].`; empty at the top.
  let prefix: String
  /// The field's name in the policy, such as `purposes[0].`.
  let field: String
  let line: Int
  let entries: [String: Node]
}

/// Reads YAML nodes strictly, and remembers on which line each field of the policy stands.
struct PolicyFileReader {
  let file: String
  /// The line and the file's own name of each field, by the policy's name of it.
  private(set) var places: [String: (line: Int, key: String)] = [:]

  init(file: String) { self.file = file }

  mutating func table(
    _ node: Node, at prefix: String, field: String, keys: [String]? = nil
  ) throws(PolicyFileError) -> PolicyFileTable {
    let line = node.mark?.line ?? 1
    let name = prefix.isEmpty ? "the file" : prefix
    guard let mapping = node.mapping else {
      throw .wrongType(file: file, line: line, key: name, expected: "a table (key: value)")
    }
    places[field] = (line, name)
    var entries: [String: Node] = [:]
    let dot = prefix.isEmpty ? "" : "."
    for entry in mapping {
      let keyLine = entry.key.mark?.line ?? line
      guard let key = entry.key.scalar?.string else {
        throw .wrongType(file: file, line: keyLine, key: "a key of \(name)", expected: "a word")
      }
      if let keys, !keys.contains(key) {
        throw .unknownKey(file: file, line: keyLine, key: prefix + dot + key, expected: keys)
      }
      // Yams compares keys by value and type: `1` and `"1"` are two keys to it, to a policy they are one.
      guard entries.updateValue(entry.value, forKey: key) == nil else {
        throw .duplicateKey(file: file, line: keyLine, key: prefix + dot + key)
      }
    }
    let fieldDot = field.isEmpty ? "" : "."
    return PolicyFileTable(prefix: prefix + dot, field: field + fieldDot, line: line, entries: entries)
  }

  /// The value of a key that must be there.
  mutating func node(
    _ table: PolicyFileTable, _ key: String, field: String? = nil
  ) throws(PolicyFileError) -> Node {
    guard let node = table.entries[key] else {
      throw .missingKey(file: file, line: table.line, key: table.prefix + key)
    }
    note(node, table, key, field)
    return node
  }

  private mutating func note(_ node: Node, _ table: PolicyFileTable, _ key: String, _ field: String?) {
    places[table.field + (field ?? key)] = (node.mark?.line ?? table.line, table.prefix + key)
  }

  mutating func subtable(
    _ table: PolicyFileTable, _ key: String, field: String? = nil, keys: [String]? = nil
  ) throws(PolicyFileError) -> PolicyFileTable {
    let node = try node(table, key, field: field)
    return try self.table(
      node, at: table.prefix + key, field: table.field + (field ?? key), keys: keys)
  }

  /// The entries of a list, each with its path in the file and in the policy.
  mutating func list(
    _ table: PolicyFileTable, _ key: String
  ) throws(PolicyFileError) -> [(node: Node, prefix: String, field: String)] {
    let node = try node(table, key)
    guard let sequence = node.sequence else {
      throw wrong(node, table.prefix + key, "a list")
    }
    var entries: [(node: Node, prefix: String, field: String)] = []
    for (position, entry) in sequence.enumerated() {
      let place = "\(key)[\(position)]"
      places[table.field + place] = (entry.mark?.line ?? table.line, table.prefix + place)
      entries.append((entry, table.prefix + place, table.field + place))
    }
    return entries
  }

  func wrong(_ node: Node, _ key: String, _ expected: String) -> PolicyFileError {
    .wrongType(file: file, line: node.mark?.line ?? 1, key: key, expected: expected)
  }

  /// A scalar's characters whatever YAML takes them for: `NO` is Norway here.
  func word(_ node: Node, _ key: String, _ expected: String) throws(PolicyFileError) -> String {
    guard let scalar = node.scalar, node.tag.rawValue != "tag:yaml.org,2002:null", !scalar.string.isEmpty
    else { throw wrong(node, key, expected) }
    return scalar.string
  }

  /// One of the words that a key may have.
  func choice<Value: RawRepresentable & CaseIterable>(
    _ node: Node, _ key: String, _: Value.Type
  ) throws(PolicyFileError) -> Value where Value.RawValue == String {
    let expected = "one of " + Value.allCases.map(\.rawValue).joined(separator: ", ")
    let word = try word(node, key, expected)
    guard let value = Value(rawValue: word) else { throw wrong(node, key, expected) }
    return value
  }

  /// A text; what YAML reads as a number, a date or a truth value needs quotes.
  func text(_ node: Node, _ key: String) throws(PolicyFileError) -> String {
    guard let scalar = node.scalar, node.tag.rawValue == "tag:yaml.org,2002:str" else {
      throw wrong(node, key, "a text; if it looks like a number, a date, yes or no, put it in quotes")
    }
    // Folded and literal blocks end with a line break.
    var text = scalar.string
    if text.hasSuffix("\n") { text.removeLast() }
    return text
  }

  mutating func text(_ table: PolicyFileTable, _ key: String) throws(PolicyFileError) -> String {
    try text(node(table, key), table.prefix + key)
  }

  mutating func optionalText(_ table: PolicyFileTable, _ key: String) throws(PolicyFileError) -> String? {
    table.entries[key] == nil ? nil : try text(table, key)
  }

  mutating func texts(_ table: PolicyFileTable, _ key: String) throws(PolicyFileError) -> [String] {
    var texts: [String] = []
    for entry in try list(table, key) { texts.append(try text(entry.node, entry.prefix)) }
    return texts
  }

  func integer(_ node: Node, _ key: String) throws(PolicyFileError) -> Int {
    guard let scalar = node.scalar, node.tag.rawValue == "tag:yaml.org,2002:int",
      let value = Self.decimal(scalar.string)
    else { throw wrong(node, key, "a whole number") }
    return value
  }

  mutating func integer(_ table: PolicyFileTable, _ key: String) throws(PolicyFileError) -> Int {
    try integer(node(table, key), table.prefix + key)
  }

  mutating func truth(_ table: PolicyFileTable, _ key: String) throws(PolicyFileError) -> Bool {
    let node = try node(table, key)
    guard let scalar = node.scalar, node.tag.rawValue == "tag:yaml.org,2002:bool",
      scalar.string == "true" || scalar.string == "false"
    else { throw wrong(node, table.prefix + key, "true or false") }
    return scalar.string == "true"
  }

  /// A span of time in the key's unit; nil if the key is not there.
  mutating func span(
    _ table: PolicyFileTable, _ key: String, field: String, _ unit: PolicyFileSpan
  ) throws(PolicyFileError) -> Int? {
    guard table.entries[key] != nil else { return nil }
    let node = try node(table, key, field: field)
    guard let scalar = node.scalar, let value = unit.read(scalar.string) else {
      throw wrong(node, table.prefix + key, unit.expected)
    }
    return value
  }

  /// Digits without sign or leading zeros, at most nine of them.
  static func decimal(_ text: some StringProtocol) -> Int? {
    let digits = text.utf8
    guard (1...9).contains(digits.count), digits.allSatisfy({ (48...57).contains($0) }),
      digits.count == 1 || digits.first != 48
    else { return nil }
    return Int(text)
  }
}

/// Spans of time as people write them, such as `24 months`.
enum PolicyFileSpan {
  /// In days; a month counts 30, a year 365: no deadline gets longer.
  case daysAtMost
  /// In days; a month counts 31, a year 365 and every fourth 366: no waiting time gets shorter.
  case daysAtLeast
  /// In business days.
  case businessDays
  /// In seconds.
  case seconds

  var expected: String {
    switch self {
    case .daysAtMost, .daysAtLeast: "a span of time such as 45 days, 2 weeks, 24 months or 1 year"
    case .businessDays: "a number of business days such as 10 business days"
    case .seconds: "a span of time such as 60 seconds, 5 minutes or 1 hour"
    }
  }

  func read(_ text: String) -> Int? {
    let words = text.split(separator: " ", omittingEmptySubsequences: false)
    guard words.count == (isBusiness ? 3 : 2), let number = PolicyFileReader.decimal(words[0]),
      let last = words.last
    else { return nil }
    let unit = last.hasSuffix("s") ? last.dropLast() : last
    if isBusiness { return words[1] == "business" && unit == "day" ? number : nil }
    switch (self, unit) {
    case (.seconds, "second"): return number
    case (.seconds, "minute"): return number * 60
    case (.seconds, "hour"): return number * 3600
    case (.daysAtMost, "day"), (.daysAtLeast, "day"): return number
    case (.daysAtMost, "week"), (.daysAtLeast, "week"): return number * 7
    case (.daysAtMost, "month"): return number / 12 * 365 + number % 12 * 30
    case (.daysAtMost, "year"): return number * 365
    case (.daysAtLeast, "month"): return Self.yearsAtLeast(number / 12) + number % 12 * 31
    case (.daysAtLeast, "year"): return Self.yearsAtLeast(number)
    default: return nil
    }
  }

  private var isBusiness: Bool {
    if case .businessDays = self { true } else { false }
  }

  private static func yearsAtLeast(_ years: Int) -> Int { years * 365 + (years + 3) / 4 }
}
