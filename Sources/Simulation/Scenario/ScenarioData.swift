import Cryptography

/// The records of a scenario, loaded, with what makes them recognisable.
package struct ScenarioData: Sendable {
  /// A file that was read.
  package struct Input: Codable, Equatable, Sendable {
    /// As the scenario names it.
    package let file: String
    /// SHA-256 of the file, hex.
    package let sha256: String
    /// Whether the manifest has these bytes under this name; nil if it does not know the name.
    package let isInManifest: Bool?
  }

  /// Where the records come from.
  package let specification: DataSpecification
  /// The nodes.
  package let population: any VirtualPopulation
  /// The files; none for made-up records.
  package let inputs: [Input]
  /// What the reader should know, one sentence each.
  package let notes: [String]

  /// Looks for the files without reading them.
  package static func locate(
    _ specification: DataSpecification, _ locator: DataLocator
  ) throws(ScenarioError) {
    guard case .table(let table) = specification.source else { return }
    for file in table.files { _ = try locator.path(of: file) }
  }

  /// Reads the files, or gets the generator ready.
  package static func load(
    _ specification: DataSpecification, _ locator: DataLocator
  ) throws(ScenarioError) -> ScenarioData {
    do throws(TableError) {
      switch specification.source {
      case .retail(let seed, let stores, let customers):
        let data = try RetailGenerator(seed: seed, stores: stores, customersPerStore: customers).generate()
        let population = StoredPopulation(
          schema: data.schema, shares: data.shares.map(\.grouped),
          names: data.shares.indices.map { "store-\($0 + 1)" })
        return ScenarioData(
          specification: specification, population: population, inputs: [],
          notes: ["The records are made up; results on them say nothing about real customers."])
      case .population(let seed, let nodes, let customers):
        let population = try GeneratedPopulation(seed: seed, nodes: nodes, customersPerNode: customers)
        return ScenarioData(
          specification: specification, population: population, inputs: [],
          notes: ["The records are made up; results on them say nothing about real customers."])
      case .table: break
      }
    } catch {
      throw .unsuitable(data: specification.name, reason: error.description)
    }
    guard case .table(let table) = specification.source else {
      throw .unsuitable(data: specification.name, reason: "there is no such source")
    }
    return try load(table, specification, locator)
  }

  private static func load(
    _ data: TableData, _ specification: DataSpecification, _ locator: DataLocator
  ) throws(ScenarioError) -> ScenarioData {
    var paths: [String] = []
    for file in data.files { paths.append(try locator.path(of: file)) }
    let testPath: String? = if let rows = data.testRows { try locator.path(of: rows) } else { nil }
    do throws(TableError) {
      var inputs: [Input] = []
      for (file, path) in zip(data.files, paths) { inputs.append(try input(file, path)) }
      var notes = inputs.filter { $0.isInManifest == false }.map {
        "\($0.file) is not the file of the manifest (its SHA-256 differs)."
      }
      var table = try read(data, paths)
      if let transactions = data.transactions {
        let made = try transactions.table(
          from: table, heldOut: data.heldOutColumn, dropsIncomplete: data.dropsIncomplete)
        table = made.table
        notes += made.notes
      }
      let prepared = try PreparedTable(
        table, data,
        testRows: { count throws(TableError) in
          guard let testPath else { return nil }
          return try TableReader.readRowNumbers(path: testPath, rowCount: count)
        })
      notes += prepared.notes
      let store: String? = if case .column(let name, _) = data.partition { name } else { nil }
      let labelled = try LabelledTable(
        prepared.table, label: data.label, labelKind: data.labelKind, subject: data.subject, store: store,
        testRows: prepared.testRows, splitsContributors: data.splitsContributors,
        categorical: Set(data.categorical), text: Set(data.text), dates: data.dates ?? [],
        transactions: data.transactions?.settings, holdOutSeed: data.holdOutSeed)
      notes += labelled.notes
      let nodes = try labelled.spread(data.partition)
      return ScenarioData(
        specification: specification,
        population: StoredPopulation(
          schema: labelled.schema, shares: nodes.shares.map(\.grouped), names: nodes.names),
        inputs: inputs, notes: notes)
    } catch {
      throw .unsuitable(data: specification.name, reason: error.description)
    }
  }

  private static func read(_ data: TableData, _ paths: [String]) throws(TableError) -> Table {
    guard let query = data.query else { return try TableReader.read(path: paths[0]) }
    return try query.run(paths: paths, name: data.file)
  }

  private static func input(_ file: String, _ path: String) throws(TableError) -> Input {
    let digest = try FileDigest.sha256(path: path).hex
    let known = DataManifest.standard.files.first { $0.path == file }
    return Input(file: file, sha256: digest, isInManifest: known.map { $0.sha256 == digest })
  }
}

/// A table after columns and records were left out and the label was decided.
struct PreparedTable {
  let table: Table
  /// Held-out records by their number in `table`.
  let testRows: Set<Int>?
  let notes: [String]

  init(
    _ read: Table, _ data: TableData, testRows: (Int) throws(TableError) -> Set<Int>?
  ) throws(TableError) {
    for name in data.drop {
      _ = try read.index(of: name, role: "a column to drop")
    }
    let label: Int? =
      if let name = data.label { try read.index(of: name, role: "the label") } else { nil }
    var needed = [label].compactMap(\.self)
    if let subject = data.subject { needed.append(try read.index(of: subject, role: "the subject")) }
    if case .column(let name, _) = data.partition {
      needed.append(try read.index(of: name, role: "the partition"))
    }
    var heldOut = try testRows(read.rows.count)
    var hidden = Set(data.drop)
    if let name = data.heldOutColumn {
      let column = try read.index(of: name, role: "what is held out")
      heldOut = try Self.heldOut(read, column)
      hidden.insert(name)
    }
    var kept: [Int] = []
    for row in read.rows.indices {
      let isComplete = needed.allSatisfy { TextCell.present(read.rows[row][$0]) != nil }
      if isComplete || !data.dropsIncomplete { kept.append(row) }
    }
    let columns = read.columns.indices.filter { !hidden.contains(read.columns[$0]) }
    let place = label.flatMap { columns.firstIndex(of: $0) }
    let rows = try kept.map { row throws(TableError) -> [String] in
      var cells = columns.map { read.rows[row][$0] }
      if let rule = data.positive, let place, let label {
        cells[place] = try Self.label(cells[place], rule, read, row, label)
      }
      return cells
    }
    table = Table(
      columns: columns.map { read.columns[$0] }, rows: rows, path: read.path,
      lines: kept.map { read.lines[$0] })
    self.testRows = heldOut.map { rows in
      Set(kept.indices.filter { rows.contains(kept[$0]) })
    }
    let missing = read.rows.count - kept.count
    notes =
      missing == 0
      ? [] : ["\(missing) records without a label, contributor or store were left out."]
  }

  private static func heldOut(_ table: Table, _ column: Int) throws(TableError) -> Set<Int> {
    var rows: Set<Int> = []
    for (record, row) in table.rows.enumerated() {
      switch row[column].trimmed {
      case "1": rows.insert(record)
      case "0": break
      default: throw .badHeldOutCell(path: table.path, place: table.place(record: record, column: column))
      }
    }
    return rows
  }

  private static func label(
    _ cell: String, _ rule: LabelRule, _ table: Table, _ row: Int, _ column: Int
  ) throws(TableError) -> String {
    // A missing label stays missing: who reads the table refuses it with its place.
    guard TextCell.present(cell) != nil else { return cell }
    guard let isPositive = rule.isPositive(cell) else {
      throw .labelNotNumber(
        path: table.path, place: table.place(record: row, column: column), rule: rule.text)
    }
    return isPositive ? "1" : "0"
  }
}

extension StoreShare {
  /// The same records with those of one contributor adjacent, contributors in the order of their first record.
  var grouped: StoreShare {
    var order: [String: Int] = [:]
    for record in records where order[record.subject] == nil { order[record.subject] = order.count }
    guard order.count < records.count else { return self }
    var buckets = [[StoreRecord]](repeating: [], count: order.count)
    for record in records { buckets[order[record.subject] ?? 0].append(record) }
    return StoreShare(records: buckets.flatMap(\.self))
  }
}
