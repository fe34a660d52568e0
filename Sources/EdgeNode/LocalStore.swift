import Federation
import Foundation
import GRDB
package import Learning
package import Storage

/// One customer record as it is imported.
package struct StoredRecord: Sendable, Equatable {
  /// Who it is about; never leaves the node.
  package let subject: String
  /// Cells in the order of the schema.
  package let values: RawRecord
  /// The outcome: 0 or 1, the number of a class, or a number.
  package let label: Float
  /// Whether the subject's records only measure models.
  package let isHeldOut: Bool

  package init(subject: String, values: RawRecord, label: Float, isHeldOut: Bool) {
    self.subject = subject
    self.values = values
    self.label = label
    self.isHeldOut = isHeldOut
  }
}

/// The node's customers, in `store.sqlite`. Records leave it only towards the consent gate.
package struct LocalStore: Sendable {
  private let database: DurableDatabase

  private static let schema = DurableDatabase.Schema(
    name: "store", applicationID: 0x4143_5354, version: 1, erasesDeleted: true
  ) { db in
    try db.execute(
      sql: """
        CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE records (
          id INTEGER PRIMARY KEY, subject TEXT NOT NULL, held_out INTEGER NOT NULL,
          label REAL NOT NULL, cells TEXT NOT NULL);
        CREATE INDEX records_subject ON records (subject);
        CREATE TABLE populations (subject TEXT PRIMARY KEY, held_out INTEGER NOT NULL) WITHOUT ROWID;
        """)
  }

  /// Opens or creates the store of a node's data directory.
  package init(_ directory: DataDirectory) throws(StorageError) {
    try self.init(path: directory.file("store.sqlite"))
  }

  /// Opens the store in a file, also beside a running node.
  package init(path: String) throws(StorageError) {
    database = try DurableDatabase.open(path, Self.schema)
  }

  private func write<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
    try database.write(wrapping: { $0 }, body)
  }
  private func read<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
    try database.read(wrapping: { $0 }, body)
  }

  /// Replaces all records, in one transaction. A subject is either held out or not, and stays so over all
  /// later imports, whatever they say: each population has a budget of its own, and nobody may use both. A
  /// record that does not fit the schema, or a subject with both kinds, refuses the whole import.
  ///
  /// - Parameter isLabelled: whether the records have outcomes; without, only segments are learnt from them.
  package func replace(
    schema: FeatureSchema, records: [StoredRecord], isLabelled: Bool = true
  ) throws {
    try schema.validate()
    var heldOut: [String: Bool] = [:]
    for (number, record) in records.enumerated() {
      guard record.values.count == schema.columns.count else {
        throw EdgeNodeError.record(
          number: number, reason: "it has \(record.values.count) cells, the schema \(schema.columns.count)")
      }
      if heldOut.updateValue(record.isHeldOut, forKey: record.subject) == !record.isHeldOut {
        throw EdgeNodeError.record(
          number: number, reason: "its subject has both training and held-out records")
      }
    }
    let schemaBytes = Data(try CanonicalJSON.encode(schema))
    let encoder = JSONEncoder()
    try write { db in
      try db.execute(sql: "DELETE FROM records")
      try db.execute(
        sql: "INSERT OR REPLACE INTO settings VALUES ('schema', ?)", arguments: [schemaBytes])
      try db.execute(
        sql: "INSERT OR REPLACE INTO settings VALUES ('labelled', ?)", arguments: [isLabelled])
      let statement = try db.makeStatement(
        sql: "INSERT INTO records (subject, held_out, label, cells) VALUES (?, ?, ?, ?)")
      let known = try Row.fetchAll(db, sql: "SELECT subject, held_out FROM populations")
      var side: [String: Bool] = [:]
      for row in known { side[row["subject"]] = row["held_out"] }
      let remember = try db.makeStatement(
        sql: "INSERT OR IGNORE INTO populations (subject, held_out) VALUES (?, ?)")
      for (subject, isHeldOut) in heldOut where side[subject] == nil {
        try remember.execute(arguments: [subject, isHeldOut])
        side[subject] = isHeldOut
      }
      for record in records {
        let cells = String(
          decoding: try encoder.encode(record.values.map(Cell.init)), as: UTF8.self)
        try statement.execute(arguments: [
          record.subject, side[record.subject] ?? record.isHeldOut, Double(record.label), cells,
        ])
      }
    }
  }

  /// Deletes everything about a subject, and empties the write-ahead log of it. Again: nothing.
  package func erase(subject: String) throws(StorageError) {
    try write { db in
      try db.execute(sql: "DELETE FROM records WHERE subject = ?", arguments: [subject])
      try db.execute(sql: "DELETE FROM populations WHERE subject = ?", arguments: [subject])
    }
    try database.truncateWriteAheadLog()
  }

  /// The schema of the imported records, or nil before the first import.
  package func schema() throws(StorageError) -> FeatureSchema? {
    try read { db in
      guard let data = try Data.fetchOne(db, sql: "SELECT value FROM settings WHERE name = 'schema'")
      else { return nil }
      return try JSONDecoder().decode(FeatureSchema.self, from: data)
    }
  }

  /// Whether the imported records have outcomes; those of stores that do not say have.
  package func isLabelled() throws(StorageError) -> Bool {
    try read { try Bool.fetchOne($0, sql: "SELECT value FROM settings WHERE name = 'labelled'") ?? true }
  }

  /// Every subject once, in order.
  package func subjects() throws(StorageError) -> [String] {
    try read { try String.fetchAll($0, sql: "SELECT DISTINCT subject FROM records ORDER BY subject") }
  }

  /// Number of records and subjects.
  package func counts() throws(StorageError) -> (records: Int, subjects: Int) {
    try read { db in
      (
        try Int.fetchOne(db, sql: "SELECT count(*) FROM records") ?? 0,
        try Int.fetchOne(db, sql: "SELECT count(DISTINCT subject) FROM records") ?? 0
      )
    }
  }

  /// Records of a population, for the gate. Not visible outside this module: whoever trains gets a
  /// `ConsentedBatch`.
  func candidates(_ population: Population) throws(StorageError) -> [(
    subjectID: String, record: LabelledRecord
  )] {
    try read { db in
      let rows = try Row.fetchCursor(
        db, sql: "SELECT subject, label, cells FROM records WHERE held_out = ? ORDER BY subject, id",
        arguments: [population == .heldOut])
      let decoder = JSONDecoder()
      var result: [(subjectID: String, record: LabelledRecord)] = []
      while let row = try rows.next() {
        let text: String = row["cells"]
        let cells = try decoder.decode([Cell].self, from: Data(text.utf8))
        result.append(
          (row["subject"], LabelledRecord(values: cells.map(\.value), label: Float(row["label"] as Double))))
      }
      return result
    }
  }

  /// The number of the last session this node took part in.
  func lastSession() throws(StorageError) -> UInt64 {
    try read { db in
      UInt64(try Int64.fetchOne(db, sql: "SELECT value FROM settings WHERE name = 'session'") ?? 0)
    }
  }

  /// Remembers a session durably before its first message is sent: it can never be joined again.
  func rememberSession(_ number: UInt64) throws(StorageError) {
    try write { db in
      try db.execute(
        sql: "INSERT OR REPLACE INTO settings VALUES ('session', ?)", arguments: [Int64(number)])
    }
  }
}

/// A cell in JSON: null, a number or a string.
private struct Cell: Codable {
  let value: RawValue
  init(_ value: RawValue) { self.value = value }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      value = .missing
    } else if let number = try? container.decode(Double.self) {
      value = .number(number)
    } else {
      value = .text(try container.decode(String.self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch value {
    case .missing: try container.encodeNil()
    case .number(let number) where number.isFinite: try container.encode(number)
    case .number: try container.encodeNil()
    case .text(let text): try container.encode(text)
    }
  }
}
