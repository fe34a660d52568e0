import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage

/// Checks the lookup tables beside a log against its leaves: every row, and that there are no others.
final class IndexVerification: Sendable {
  /// What SQLite checks. The index of subjects holds each position twice, in its key and as the row that it leads
  /// to: whether the first is right is seen only by looking up every row, which large logs have no time for.
  var structureChecks: [String] {
    [size <= Self.lookedUp ? "integrity_check(event)" : "quick_check(event)"]
      + ["progress", "circumstance", "step", "round", "other"].map { "integrity_check(\($0))" }
  }
  private static let lookedUp: UInt64 = 1_000_000

  let path: String
  /// How many entries are indexed.
  let size: UInt64
  /// The rows of entries below this one are checked.
  let bound: UInt64
  let findings: Findings
  private let circumstances: [[DatabaseValue]: Int64]
  private let counts: [String: Int]
  /// The leaf hash of the last entry that is indexed.
  private let last: [UInt8]

  /// Nil if there are no lookup tables.
  init?(directory: String, bound: UInt64, findings: Findings) throws {
    path = LedgerFiles.index(directory)
    guard DurableFile.exists(path) else { return nil }
    self.findings = findings
    let queue = try DurableDatabase.openReadOnly(path, LedgerIndex.schema)
    let path = path
    let found = try queue.read { db -> (UInt64, [[DatabaseValue]: Int64], [String: Int], [UInt8]) in
      try SchemaCheck(schema: LedgerIndex.schema, path: path).run(db)
      let rows = try Row.fetchAll(db, sql: "SELECT id, typeof(size), size, typeof(last), last FROM progress")
      guard rows.count == 1, let row = rows.first, row[0] as Int? == 0, row[1] as String? == "integer",
        row[3] as String? == "blob", let size = UInt64.fromDatabaseValue(row[2]),
        let last = Data.fromDatabaseValue(row[4]), last.count == (size == 0 ? 0 : 32)
      else { throw Finding("\(path) does not say how far it has come") }
      var circumstances: [[DatabaseValue]: Int64] = [:]
      for row in try Row.fetchAll(db, sql: "SELECT * FROM circumstance") {
        let values = Array(row.databaseValues)
        circumstances[Array(values.dropFirst())] = try row.decode(Int64.self, atIndex: 0)
      }
      // What lies beyond the bound was added while this ran, or is there for nothing.
      var counts: [String: Int] = [:]
      for table in ["event", "step", "round", "other"] {
        let limit = try Row.fetchOne(db, sql: "SELECT min(idx), max(idx) FROM \(table)")
        if let limit, let first = limit[0] as Int64?, let last = limit[1] as Int64?,
          first < 0 || last >= Int64(size)
        {
          throw Finding("\(path) holds rows that the entries do not account for")
        }
        counts[table] = try Int.fetchOne(
          db, sql: "SELECT count(*) FROM \(table) WHERE idx < ?", arguments: [Int64(min(bound, size))])
      }
      return (size, circumstances, counts, Array(last))
    }
    (size, circumstances, counts, last) = found
    self.bound = min(bound, found.0)
  }

  func open() throws -> DatabaseQueue { try DurableDatabase.openReadOnly(path, LedgerIndex.schema) }

  /// The number of shared texts; nil if they are not there.
  func id(of circumstance: IndexWriter.Circumstance) -> Int64? {
    circumstances[circumstance.row.map { $0.databaseValue }]
  }

  /// What only all ranges together tell.
  func finish(_ totals: VerificationTotals, _ tables: LedgerTables) throws {
    guard findings.isEmpty else { return }
    if size > 0, size <= bound {
      guard let leaf = try tables.leaf(size - 1), MerkleTree.leafHash(leaf).bytes == last else {
        throw Finding("\(path) does not say how far it has come")
      }
    }
    // Every row was compared, so the numbers tell whether there are more.
    let areAll = size > bound || totals.circumstances.count == circumstances.count
    guard areAll, counts.allSatisfy({ totals.rows[$0.key, default: 0] == $0.value }) else {
      throw Finding("\(path) holds rows that the entries do not account for")
    }
    guard totals.subjects == totals.subjectIndex else {
      throw Finding("the index of subjects in \(path) does not hold what the entries say")
    }
  }
}

/// The lookup tables' rows of one range, read beside its leaves.
struct IndexRows {
  private let index: IndexVerification
  private var events: RawRows?
  private var db: Database?
  private var subject: [UInt8] = []
  private var ids: [Int: Int64] = [:]
  private var generation = -1
  /// Which shared texts were used.
  private(set) var used: Set<Int64> = []
  /// How many rows of each table were compared.
  private(set) var rows: [String: Int] = [:]

  init(_ index: IndexVerification) { self.index = index }

  mutating func begin(_ range: Range<UInt64>, _ db: Database?) throws {
    self.db = db
    events = try db.map {
      try RawRows(
        $0,
        """
        SELECT idx, subject, state, circumstance, recorded, time, expires, not_before, ask_again, steps, duration
        FROM event WHERE idx >= ? AND idx < ? ORDER BY idx
        """, [Int64(range.lowerBound), Int64(min(range.upperBound, index.bound))])
    }
  }

  /// Whether the row of the entry that was scanned last is what the entry says.
  mutating func holds(_ scanner: LeafScanner, _ leaf: [UInt8], at position: UInt64) throws -> Bool {
    guard position < index.bound, let db, let events else { return true }
    guard scanner.kind == .consent else { return try holdsOther(leaf, at: position, db) }
    rows["event", default: 0] += 1
    guard try events.next(), let id = id(of: scanner) else { return false }
    let event = scanner.event
    guard events.integer(0) == Int64(position), events.blob(1, into: &subject), subject == event.subject,
      events.integer(2) == Int64(event.state), events.integer(3) == id,
      events.integer(4) == scanner.recordedMs, events.integer(5) == event.time
    else { return false }
    return isSame(6, event.expires, events) && isSame(7, event.notBefore, events)
      && isSame(8, event.askAgain, events) && isSame(9, event.steps, events)
      && isSame(10, event.duration, events)
  }

  private func isSame(_ column: Int32, _ value: Int64?, _ rows: RawRows) -> Bool {
    value == nil ? rows.isNull(column) : rows.integer(column) == value
  }

  private mutating func id(of scanner: LeafScanner) -> Int64? {
    if generation != scanner.generation {
      generation = scanner.generation
      ids = [:]
    }
    if let known = ids[scanner.event.form] { return known }
    guard let form = scanner.form(scanner.event.form), let id = index.id(of: form) else { return nil }
    ids[scanner.event.form] = id
    used.insert(id)
    return id
  }

  private mutating func holdsOther(_ leaf: [UInt8], at position: UInt64, _ db: Database) throws -> Bool {
    let (statement, recorded) = try SignedStatement.parse(leaf: leaf)
    let (table, values) = IndexWriter.row(of: try statement.body(), statement, Int64(position), recorded)
    rows[table, default: 0] += 1
    let row = try Row.fetchOne(db, sql: "SELECT * FROM \(table) WHERE idx = ?", arguments: [Int64(position)])
    return row.map { Array($0.databaseValues) } == values.map { $0?.databaseValue ?? .null }
  }
}
