import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import Testing

extension Fixture {
  static let tinyPurpose = Purpose(id: "a", version: 1)

  /// A policy of few bytes.
  static let tinyPolicy = Policy(
    id: "p", version: 1, controller: Controller(name: "E", address: "B", contact: "e@e"), establishment: "DE",
    consentAges: [:], twoPersonActions: [],
    purposes: [
      PolicyPurpose(
        id: tinyPurpose.id, version: 1, title: "A", description: "A", dpia: "D", dataCategories: ["d"],
        retentionDays: 1,
        jurisdictions: ["DE": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"])])
    ])

  /// A ledger of 12 entries with every kind, alone and in batches, two alike consents, and two checkpoints in the
  /// history, in files without a write-ahead log and without room between their rows.
  /// - Returns: the leaves.
  func tinyLedger() throws -> [[UInt8]] {
    let digest = Hash.sha256(Self.tinyPolicy.canonicalBytes)
    let ledger = try open()
    _ = try ledger.append(beginning(Self.tinyPolicy), nowMs: startMs)
    let events = try [
      event(purpose: Self.tinyPurpose, expires: startMs + 1_000_000, policy: digest),
      event(purpose: Self.tinyPurpose, expires: startMs + 2_000_000, policy: digest),
      event(.withdrawn, purpose: Self.tinyPurpose),
    ]
    let statements =
      try SignedStatement.sign(events.map { .consent($0) } + [request()], key: store)
      + SignedStatement.sign([.round(round()), notice("n")], key: logKey)
      + [
        sign(
          .revocation(RevocationRecord(key: store.verifyingKey, reason: "r", timeMs: startMs)),
          by: operatorKey)
      ]
    _ = try ledger.append(statements, nowMs: startMs + 61_000)
    try ledger.close()
    let leaves = try (0..<12).map { try leaf($0) }
    try compact("ledger.sqlite")
    return leaves
  }

  /// A ledger of 7 entries that fill every lookup table: denials for every purpose, which need no policy.
  func tinyIndex() throws {
    let ledger = try open()
    var asked = try event(.deferred, purpose: .every)
    asked.askAgainAtMs = startMs + 1
    let bodies: [EntryBody] = try [
      .consent(event(.withdrawn, purpose: .every)), .consent(event(.withdrawn, purpose: .every)),
      .consent(asked),
      request(),
    ]
    let statements =
      try [sign(enrolment(), by: operatorKey)] + SignedStatement.sign(bodies, key: store)
      + SignedStatement.sign([.round(round()), notice("n")], key: logKey)
    _ = try ledger.append(statements, nowMs: startMs)
    try ledger.close()
    _ = try LedgerFileReader(directory: path).index()
    for name in ["ledger.sqlite", "index.sqlite"] { try compact(name) }
  }

  private func compact(_ name: String) throws {
    let queue = try DatabaseQueue(path: file(name))
    try queue.writeWithoutTransaction { db in
      try db.execute(sql: "PRAGMA journal_mode = DELETE")
      try db.execute(sql: "PRAGMA page_size = 512")
      try db.execute(sql: "VACUUM")
    }
    try queue.close()
  }
}

/// Everything that a database says: its tables, every row with its types, every index, and what every lookup by
/// every key finds.
struct LogicalDump {
  private let statements: [String]
  /// What the database said when this was made.
  let content: [String]

  init(path: String) throws {
    let queue = try Self.open(path)
    let statements = try queue.read { try Self.statements($0) }
    self.statements = statements
    content = try queue.read { try Self.run(statements, $0) }
  }

  /// Whether the file says the same now.
  func isSame(_ path: String) -> Bool {
    guard let queue = try? Self.open(path) else { return false }
    return (try? queue.read { try Self.run(statements, $0) }) == content
  }

  private static func open(_ path: String) throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.readonly = true
    return try DatabaseQueue(path: path, configuration: configuration)
  }

  private static func run(_ statements: [String], _ db: Database) throws -> [String] {
    try statements.flatMap { try String?.fetchAll(db, sql: $0).map { $0 ?? "nothing" } }
  }

  /// Each gives one text a row.
  private static func statements(_ db: Database) throws -> [String] {
    func texts(_ columns: [String]) -> String {
      columns.map { "typeof(\($0)) || ' ' || quote(\($0))" }.joined(separator: " || ',' || ")
    }
    var statements = [
      "SELECT quote(type) || quote(name) || quote(tbl_name) || quote(sql) FROM sqlite_schema ORDER BY type, name",
      "SELECT application_id FROM pragma_application_id", "SELECT user_version FROM pragma_user_version",
      "SELECT encoding FROM pragma_encoding",
    ]
    let tables = try String.fetchAll(
      db, sql: "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    for table in tables {
      let columns = try db.columns(in: table).map(\.name)
      let key = try #require(try db.primaryKey(table).columns.first)
      statements.append("SELECT \(texts(columns)) FROM \(table) NOT INDEXED ORDER BY \(key)")
      statements.append(
        "SELECT (SELECT \(texts(columns.map { "b." + $0 })) FROM \(table) b WHERE b.\(key) = a.\(key)) "
          + "FROM \(table) a NOT INDEXED ORDER BY \(key)")
      let indexes = try Row.fetchAll(
        db, sql: "SELECT name, origin, partial FROM pragma_index_list('\(table)')")
      for index in indexes {
        let name: String = index["name"]
        if index["origin"] == "pk" { continue }
        let condition = index["partial"] == 1 ? "kind BETWEEN 1 AND 4" : "1"
        let keys = try String.fetchAll(
          db, sql: "SELECT name FROM pragma_index_info('\(name)') ORDER BY seqno")
        let order = Array(NSOrderedSet(array: keys + [key])).compactMap { $0 as? String }
        statements.append(
          "SELECT \(texts(order)) FROM \(table) INDEXED BY \(name) WHERE \(condition) "
            + "ORDER BY \(order.joined(separator: ", "))")
        let match = keys.map { "b.\($0) IS a.\($0)" }.joined(separator: " AND ")
        statements.append(
          "SELECT (SELECT group_concat(quote(b.\(key))) FROM \(table) b INDEXED BY \(name) "
            + "WHERE \(match) AND \(condition)) FROM \(table) a NOT INDEXED ORDER BY a.\(key)")
      }
    }
    return statements
  }
}

/// Where everything stands in a database's file (sqlite.org/fileformat2.html, sections 1.5 and 1.6).
struct FilePlaces {
  private let bytes: [UInt8]
  private let pageSize: Int
  /// Of one table, by rowid: where each byte of the row's record is.
  private(set) var records: [Int: [Int]] = [:]
  /// The room between the rows of each page and the list of where they are, and behind the ends of records.
  private(set) var unused: [Int] = []

  /// - Parameter table: whose records are looked for.
  init(_ path: String, table: String) throws {
    bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    pageSize = Int(bytes[16]) << 8 | Int(bytes[17])
    let queue = try DatabaseQueue(path: path)
    let roots = try queue.read { db in
      try Row.fetchAll(db, sql: "SELECT rootpage, type || name FROM sqlite_schema WHERE rootpage > 0").map {
        (try $0.decode(Int.self, atIndex: 0), try $0.decode(String.self, atIndex: 1))
      }
    }
    try queue.close()
    walk(1, isTable: false)
    for (root, name) in roots { walk(root, isTable: name == "table" + table) }
  }

  private func number(_ place: Int, _ count: Int) -> Int {
    bytes[place..<(place + count)].reduce(0) { $0 << 8 | Int($1) }
  }

  private func varint(_ place: inout Int) -> Int {
    var value = 0
    while bytes[place] >= 128 {
      value = value << 7 | Int(bytes[place] & 127)
      place += 1
    }
    defer { place += 1 }
    return value << 7 | Int(bytes[place])
  }

  private mutating func walk(_ page: Int, isTable: Bool) {
    let start = (page - 1) * pageSize
    let header = start + (page == 1 ? 100 : 0)
    let isInterior = bytes[header] == 5 || bytes[header] == 2
    let cells = header + (isInterior ? 12 : 8)
    let count = number(header + 3, 2)
    for cell in 0..<count {
      var place = start + number(cells + 2 * cell, 2)
      if isInterior {
        walk(number(place, 4), isTable: isTable)
      } else if isTable {
        let count = varint(&place)
        records[varint(&place)] = record(count, at: place)
      }
    }
    if isInterior { walk(number(header + 8, 4), isTable: isTable) }
    unused += (cells + 2 * count)..<(start + number(header + 5, 2))
  }

  private mutating func record(_ count: Int, at place: Int) -> [Int] {
    guard count > pageSize - 35 else { return Array(place..<(place + count)) }
    let least = (pageSize - 12) * 32 / 255 - 23
    let fitting = least + (count - least) % (pageSize - 4)
    let local = fitting <= pageSize - 35 ? fitting : least
    var places = Array(place..<(place + local))
    var next = number(place + local, 4)
    while next != 0, places.count < count {
      let page = (next - 1) * pageSize
      let end = page + 4 + min(pageSize - 4, count - places.count)
      places += (page + 4)..<end
      unused += end..<(page + pageSize)
      next = number(page, 4)
    }
    return places
  }
}
