import Learning
import Privacy
import Yams

/// A swept field as the file has it.
struct SweepAxis {
  let path: String
  let key: Node
  let nodes: [Node]
  let labels: [String]
}

extension ScenarioReader {
  /// The seeds: a list of them, or how many, counted from 1; without them 1 alone.
  mutating func seedList(_ top: ScenarioTable) -> [UInt64] {
    guard let node = top.entries["seeds"] else { return [1] }
    if node.sequence == nil {
      guard let count = integer(node, "seeds", in: 1...10_000) else { return [1] }
      return (1...UInt64(count)).map { $0 }
    }
    var seeds: [UInt64] = []
    for entry in list(node, "seeds") {
      guard let seed = integer(entry, "seeds", in: Self.seeds).map(UInt64.init) else { continue }
      if seeds.contains(seed) { note(entry, "seeds", "seeds names \(seed) twice") }
      seeds.append(seed)
    }
    if seeds.isEmpty, node.sequence?.isEmpty == true { note(node, "seeds", "seeds must not be empty") }
    return seeds
  }

  /// What is swept, in the order of the file.
  mutating func axes(_ top: ScenarioTable) -> [SweepAxis] {
    guard let sweep = table(top, "sweep") else { return [] }
    var axes: [SweepAxis] = []
    for key in sweep.keys {
      guard let node = sweep.entries[key] else { continue }
      let path = "sweep." + key
      let keyNode = sweep.node.mapping?.first { $0.key.scalar?.string == key }?.key ?? node
      let head = key.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
      guard let first = head.first, Self.topKeys.contains(first),
        !["name", "description", "seeds", "sweep", "reference"].contains(first), !head.contains("")
      else {
        note(keyNode, path, "\(path.shortened) is no field that can be swept; write it as privacy.epsilon")
        continue
      }
      // The other way round the inner field is set within each value of the outer one.
      if let inner = axes.first(where: { $0.path.hasPrefix(key + ".") }) {
        note(keyNode, path, "\(path) replaces what sweep.\(inner.path) sets; put it before")
      }
      let nodes = list(node, path)
      if nodes.isEmpty, node.sequence != nil { note(node, path, "\(path) must not be empty") }
      let labels = nodes.map { label($0) }
      for (position, text) in labels.enumerated() where labels[..<position].contains(text) {
        note(
          nodes[position], path,
          "\(path) has \(text.shortened) twice" + (nodes[position].mapping == nil ? "" : "; give each a name")
        )
      }
      axes.append(SweepAxis(path: key, key: keyNode, nodes: nodes, labels: labels))
    }
    return axes
  }

  /// A swept value for people: a word, a table's name, or its entries.
  private func label(_ node: Node) -> String {
    if let scalar = node.scalar { return scalar.string == ".inf" ? "inf" : scalar.string }
    if let sequence = node.sequence { return sequence.map { label($0) }.joined(separator: "-") }
    guard let mapping = node.mapping else { return "" }
    func value(_ key: String) -> String? {
      mapping.first { $0.key.scalar?.string == key }?.value.scalar?.string
    }
    if let name = value("name") { return name }
    if let file = value("file") { return Self.stem(file) }
    if mapping.count == 1, let only = mapping.first { return label(only.value) }
    return mapping.map { "\($0.key.scalar?.string ?? "?") \(label($0.value))" }.joined(separator: ", ")
  }

  /// Every point of the sweep, read and checked. The mistakes of a field that is not swept are noted once.
  mutating func points(_ root: Node, axes: [SweepAxis], name: String) -> [Scenario.Point] {
    var combinations: [[Int]] = [[]]
    for axis in axes {
      combinations = combinations.flatMap { combination in axis.nodes.indices.map { combination + [$0] } }
    }
    var points: [Scenario.Point] = []
    for combination in combinations {
      var node = root
      for (axis, position) in zip(axes, combination) {
        place(axis.nodes[position], at: axis.path, key: axis.key, in: &node)
      }
      // Also within the values of a swept table.
      for setting in overrides { place(setting.value, at: setting.path, key: setting.key, in: &node) }
      guard let top = table(node, "", known: Self.topKeys) else { continue }
      let data = data(top)
      let setup = setup(top, name: name, naturalUnit: data?.naturalUnit ?? "customer")
      guard let data else { continue }
      if case .table(let records) = data.source, records.splitsContributors, setup.aggregation != .off,
        setup.budget.epsilon.isFinite, let node = top.entries["data"]
      {
        note(
          node, "data.hold_out",
          "data.hold_out: records has people in training and in evaluation, whose budgets are each for other "
            + "people; with \(setup.aggregation.rawValue) privacy.epsilon must be inf")
      }
      if case .table(let records) = data.source, records.label == nil,
        !setup.architecture.objective.isSegmentation, let node = top.entries["data"]
      {
        let path = records.transactions == nil ? "data.label" : "data.transactions.label"
        note(node, path, "\(path) is missing: what is to be predicted (segments alone do without)")
      }
      let values = zip(axes, combination).map { $0.labels[$1] }
      points.append(Scenario.Point(values: values, data: data, setup: setup))
    }
    return points
  }

  /// Replaces fields as the command line says; a swept field is no longer swept then.
  mutating func apply(_ settings: [(path: String, yaml: String)], to root: inout Node) {
    for (path, yaml) in settings {
      let option = "--set \(path)=\(yaml)"
      let isSweep = path.hasPrefix("sweep.")
      let field = isSweep ? String(path.dropFirst(6)) : path
      options[path] = option
      options[field] = option
      let value: Node
      do { value = try ScenarioYAML.compose(yaml, file: option) } catch {
        note(1, path, "the value is not YAML; write for example --set privacy.epsilon=4")
        continue
      }
      let key = Node(isSweep ? field : path)
      if isSweep {
        replaceSweep(field, by: (key, value), in: &root)
      } else {
        replaceSweep(field, by: nil, in: &root)
        place(value, at: path, key: key, in: &root)
        overrides.append((path, key, value))
      }
    }
  }

  /// Takes a field out of the sweep, or puts it there.
  private mutating func replaceSweep(_ field: String, by entry: (Node, Node)?, in root: inout Node) {
    let old = root.mapping?.first { $0.key.scalar?.string == "sweep" }?.value
    let kept =
      old?.mapping?.filter { pair in
        let name = pair.key.scalar?.string ?? ""
        return name != field && !name.hasPrefix(field + ".")
      }.map { ($0.key, $0.value) } ?? []
    guard old?.mapping != nil || entry != nil, old == nil || old?.mapping != nil else { return }
    let pairs = kept + (entry.map { [$0] } ?? [])
    let sweep = Node.mapping(.init(pairs, .implicit, .any, old?.mark))
    place(sweep, at: "sweep", key: Node("sweep"), in: &root)
  }

  /// Puts `value` at a dotted path, making the tables on the way.
  private mutating func place(_ value: Node, at path: String, key: Node, in node: inout Node) {
    let words = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard let changed = placed(value, words[...], key, path, in: node) else { return }
    node = changed
  }

  private mutating func placed(
    _ value: Node, _ words: ArraySlice<String>, _ key: Node, _ path: String, in node: Node?
  ) -> Node? {
    guard let word = words.first else { return value }
    if let node, node.mapping == nil {
      let parent = path.split(separator: ".").prefix { $0 != word }.joined(separator: ".")
      note(key, path, "\(path) cannot be set: \(parent.isEmpty ? "the file" : parent) is not a table here")
      return nil
    }
    var pairs = node?.mapping?.map { ($0.key, $0.value) } ?? []
    let position = pairs.firstIndex { $0.0.scalar?.string == word }
    let inner = position.map { pairs[$0].1 }
    let isLast = words.count == 1
    guard let changed = isLast ? value : placed(value, words.dropFirst(), key, path, in: inner) else {
      return nil
    }
    if let position {
      pairs[position].1 = changed
    } else {
      let named = Node.Scalar(word, .implicit, .any, key.mark)
      pairs.append((.scalar(named), changed))
    }
    return .mapping(.init(pairs, .implicit, .any, node?.mark ?? key.mark))
  }
}
