import Yams

/// How contributors are spread, by the words of a scenario file.
private enum PartitionKind: String, CaseIterable { case iid, column, dirichlet, contributor }

/// The made-up populations, by the words of a scenario file.
private enum GeneratorKind: String, CaseIterable { case retail, population }

/// What becomes of records that lack a label, a contributor or a store.
private enum IncompleteRecords: String, CaseIterable { case refuse, drop }

/// What stays together when records are held out.
private enum HeldOutUnit: String, CaseIterable { case contributors, records }

extension ScenarioReader {
  private static let tableKeys = [
    "name", "file", "tables", "query", "label", "label_is", "positive", "subject", "categorical", "text",
    "dates", "transactions", "drop",
    "incomplete", "test_rows", "held_out", "hold_out", "hold_out_seed", "partition",
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
    let kinds = ["file", "tables", "generator"].filter(words.contains)
    if kinds.count > 1 {
      note(node, "data", "data has both \(kinds[0]) and \(kinds[1]); keep one")
      return nil
    }
    switch (!Set(kinds).isDisjoint(with: ["file", "tables"]), words.contains("generator")) {
    case (false, false):
      _ = table(node, "data", known: Self.tableKeys + Self.generatorKeys)
      note(node, "data", "data needs file (a CSV table), tables with a query, or generator (made-up records)")
      return nil
    case (true, _):
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
    let query = query(own)
    let file = query == nil ? text(own, "file") : text(own, "name", maximum: 64) ?? "the query"
    let transactions = self.transactions(own)
    let label = transactions?.label ?? text(own, "label")
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
    let kind = choice(own, "label_is", or: TableData.LabelKind.binary)
    if kind == .number, let node = own.entries["positive"] {
      note(
        node, own.path("positive"),
        "\(own.path("positive")) means nothing if label_is is number; leave it out")
    }
    if own.entries["test_rows"] != nil, let node = own.entries["held_out"] {
      note(
        node, own.path("held_out"),
        "\(own.path("held_out")) and test_rows both say what is held out; keep one")
    }
    let splits = choice(own, "hold_out", or: HeldOutUnit.contributors) == .records
    if splits, own.entries["test_rows"] == nil, own.entries["held_out"] == nil,
      let node = own.entries["hold_out"]
    {
      note(
        node, own.path("hold_out"),
        "\(own.path("hold_out")): records needs test_rows or held_out, which name them")
    }
    let partition = partition(own)
    guard let file, let partition, transactions != nil || own.entries["transactions"] == nil else {
      return nil
    }
    return DataSpecification(
      name: text(own, "name", maximum: 64) ?? Self.stem(file),
      source: .table(
        TableData(
          file: file, query: query, label: label, labelKind: transactions == nil ? kind : .number,
          positive: rule, subject: transactions?.columns.subject ?? text(own, "subject"),
          categorical: texts(own, "categorical"), text: texts(own, "text"), dates: dates(own),
          transactions: transactions, drop: texts(own, "drop"),
          dropsIncomplete: choice(own, "incomplete", or: IncompleteRecords.refuse) == .drop,
          testRows: text(own, "test_rows"), heldOutColumn: text(own, "held_out"), splitsContributors: splits,
          holdOutSeed: UInt64(integer(own, "hold_out_seed", in: Self.seeds, or: 0)),
          partition: partition)))
  }

  /// Several files and the query over them; nil without any.
  private mutating func query(_ own: ScenarioTable) -> TableQuery? {
    guard let node = own.entries["tables"] else {
      if let query = own.entries["query"] {
        note(query, own.path("query"), "\(own.path("query")) needs tables, the files that it reads")
      }
      return nil
    }
    let place = own.path("tables")
    guard let mapping = node.mapping, !mapping.isEmpty else {
      note(node, place, "\(place) must name files: {purchases: shop/purchases.csv}")
      return nil
    }
    var tables: [TableQuery.NamedFile] = []
    for (key, value) in mapping {
      guard let name = word(key), !name.isEmpty else {
        note(key, place, "\(place) needs a name for each file")
        continue
      }
      if let file = word(value) {
        tables.append(TableQuery.NamedFile(name: name, file: file))
      } else if let entry = table(value, place + "." + name, known: ["file", "columns"]),
        require(entry, "file", "the file of the table"), let file = text(entry, "file")
      {
        let columns = texts(entry, "columns")
        tables.append(TableQuery.NamedFile(name: name, file: file, columns: columns.isEmpty ? nil : columns))
      }
    }
    _ = require(own, "query", "the SELECT that makes the records from the tables")
    guard let sql = text(own, "query", maximum: 1 << 16) else { return nil }
    if let problem = TableQuery.problem(of: sql) {
      note(own.entries["query"], own.path("query"), "\(own.path("query")) \(problem)")
    }
    return TableQuery(tables: tables, sql: sql)
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
