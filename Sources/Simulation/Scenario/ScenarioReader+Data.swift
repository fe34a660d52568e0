import Yams

/// How contributors are spread, by the words of a scenario file.
private enum PartitionKind: String, CaseIterable { case iid, column, dirichlet, contributor }

/// The made-up populations, by the words of a scenario file.
private enum GeneratorKind: String, CaseIterable { case retail, population }

/// What becomes of records that lack a label, a contributor or a store.
private enum IncompleteRecords: String, CaseIterable { case refuse, drop }

extension ScenarioReader {
  private static let tableKeys = [
    "name", "file", "label", "positive", "subject", "categorical", "drop", "incomplete", "test_rows",
    "hold_out_seed", "partition",
  ]
  private static let generatorKeys = ["name", "generator", "seed", "nodes", "customers_per_node"]
  static let seeds = 0...(Int.max - 1)

  /// The `data` of a scenario; nil, after noting why, if it is unusable.
  mutating func data(_ top: ScenarioTable) -> DataSpecification? {
    guard require(top, "data", "a table with file or generator"), let node = top.entries["data"],
      let mapping = node.mapping
    else {
      if let node = top.entries["data"] { note(node, "data", "data must be a table with file or generator") }
      return nil
    }
    let words = mapping.compactMap { $0.key.scalar?.string }
    switch (words.contains("file"), words.contains("generator")) {
    case (true, true):
      note(node, "data", "data has both file and generator; keep one")
      return nil
    case (false, false):
      _ = table(node, "data", known: Self.tableKeys + Self.generatorKeys)
      note(node, "data", "data needs file (a CSV table) or generator (made-up records)")
      return nil
    case (true, false):
      guard let own = table(node, "data", known: Self.tableKeys) else { return nil }
      return tableData(own)
    case (false, true):
      guard let own = table(node, "data", known: Self.generatorKeys) else { return nil }
      return generated(own)
    }
  }

  private mutating func generated(_ own: ScenarioTable) -> DataSpecification? {
    let kind = choice(own, "generator", or: GeneratorKind.retail)
    let seed = UInt64(integer(own, "seed", in: Self.seeds, or: 1))
    let source: DataSpecification.Source
    switch kind {
    case .retail:
      source = .retail(
        seed: seed, stores: integer(own, "nodes", in: 1...RetailGenerator.maximumStores, or: 8),
        customersPerStore: integer(
          own, "customers_per_node", in: 10...RetailGenerator.maximumCustomersPerStore, or: 500))
    case .population:
      source = .population(
        seed: seed, nodes: integer(own, "nodes", in: 1...100_000_000, or: 1_000_000),
        customersPerNode: integer(own, "customers_per_node", in: 1...1_000, or: 1))
    }
    return DataSpecification(
      name: text(own, "name", maximum: 64) ?? "generated \(kind.rawValue)", source: source)
  }

  private mutating func tableData(_ own: ScenarioTable) -> DataSpecification? {
    let file = text(own, "file")
    _ = require(own, "label", "the column of the target")
    let label = text(own, "label")
    var rule: LabelRule?
    if let text = text(own, "positive") {
      rule = LabelRule(text)
      if rule == nil {
        note(
          own.entries["positive"], own.path("positive"),
          "\(own.path("positive")) must be a comparison such as \"= 1\", \"!= No\", \">= 4\" or "
            + "\"starts with C\", not \(text.shortened)")
      }
    }
    let partition = partition(own)
    guard let file, let label, let partition else { return nil }
    return DataSpecification(
      name: text(own, "name", maximum: 64) ?? Self.stem(file),
      source: .table(
        TableData(
          file: file, label: label, positive: rule, subject: text(own, "subject"),
          categorical: texts(own, "categorical"), drop: texts(own, "drop"),
          dropsIncomplete: choice(own, "incomplete", or: IncompleteRecords.refuse) == .drop,
          testRows: text(own, "test_rows"),
          holdOutSeed: UInt64(integer(own, "hold_out_seed", in: Self.seeds, or: 0)),
          partition: partition)))
  }

  private mutating func partition(_ own: ScenarioTable) -> TableData.Partition? {
    guard require(own, "partition", "how contributors are spread over nodes"),
      let node = own.entries["partition"],
      let table = table(node, "data.partition", known: ["by", "column", "nodes", "alpha", "seed"])
    else { return nil }
    guard require(table, "by", "one of iid, column, dirichlet, contributor") else { return nil }
    let kind = choice(table, "by", or: PartitionKind.iid)
    let used: Set<String> =
      switch kind {
      case .iid: ["by", "nodes", "seed"]
      case .column: ["by", "column", "nodes"]
      case .dirichlet: ["by", "nodes", "alpha", "seed"]
      case .contributor: ["by"]
      }
    for key in table.keys where !used.contains(key) {
      note(
        table.entries[key], table.path(key),
        "\(table.path(key)) means nothing if by is \(kind.rawValue); leave it out")
    }
    let limit = 1...LabelledTable.maximumNodes
    if kind == .iid || kind == .dirichlet { _ = require(table, "nodes", "the number of nodes") }
    let nodes = integer(table, "nodes", in: limit, or: 1)
    let seed = UInt64(integer(table, "seed", in: Self.seeds, or: 1))
    switch kind {
    case .iid: return .iid(nodes: nodes, seed: seed)
    case .contributor: return .contributor
    case .column:
      guard require(table, "column", "the column that names the node"), let column = text(table, "column")
      else { return nil }
      return .column(column, nodes: table.entries["nodes"] == nil ? nil : nodes)
    case .dirichlet:
      _ = require(table, "alpha", "how even the nodes are: 0.1 very uneven, 100 nearly IID")
      let alpha = number(table, "alpha", "a number from 0.001 to 1e6", or: 1) { (0.001...1e6).contains($0) }
      return .dirichlet(alpha: alpha, nodes: nodes, seed: seed)
    }
  }

  /// A file's name without directory and extension.
  static func stem(_ path: String) -> String {
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return name.split(separator: ".", maxSplits: 1).first.map(String.init) ?? name
  }
}
