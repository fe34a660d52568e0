package import Consent
package import Cryptography
import Foundation
package import GRDB
import MerkleLog
import Storage

/// Lookup tables over a log, derived from its leaves and derivable again: by customer, and with the columns
/// that reports count. Lives in a file of its own (`index.sqlite`), so that appending costs no random writes.
///
/// Tables: `event` (consent events), `circumstance` (the texts that events share), `step` (steps of statutory
/// requests), `round`, `other` (every other entry). Enumerations are stored by their position in `allCases`.
package final class LedgerIndex: Sendable {
  /// The file.
  package let path: String
  let database: DurableDatabase

  static let schema = DurableDatabase.Schema(
    name: "ledger index", applicationID: 0x4143_4958, version: 1
  ) { db in
    try db.execute(
      sql:
        "CREATE TABLE progress (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, last BLOB NOT NULL)"
    )
    try db.execute(sql: "INSERT INTO progress VALUES (0, 0, x'')")
    try db.execute(
      sql: """
        CREATE TABLE event (idx INTEGER PRIMARY KEY, subject BLOB NOT NULL, state INTEGER NOT NULL,
          circumstance INTEGER NOT NULL, recorded INTEGER NOT NULL, time INTEGER NOT NULL, expires INTEGER,
          not_before INTEGER, ask_again INTEGER, steps INTEGER, duration INTEGER)
        """)
    try db.execute(sql: "CREATE UNIQUE INDEX event_subject ON event (subject, idx)")
    try db.execute(
      sql: """
        CREATE TABLE circumstance (id INTEGER PRIMARY KEY, purpose TEXT NOT NULL, version INTEGER NOT NULL,
          regime INTEGER NOT NULL, legal_basis TEXT NOT NULL, consent_type INTEGER NOT NULL,
          jurisdiction TEXT NOT NULL, age_band INTEGER NOT NULL, actor INTEGER NOT NULL, channel TEXT NOT NULL,
          method TEXT NOT NULL, recorder TEXT NOT NULL, notice TEXT NOT NULL, policy TEXT NOT NULL,
          signer BLOB NOT NULL,
          UNIQUE (purpose, version, regime, legal_basis, consent_type, jurisdiction, age_band, actor, channel,
            method, recorder, notice, policy, signer))
        """)
    try db.execute(
      sql: """
        CREATE TABLE step (idx INTEGER PRIMARY KEY, request BLOB NOT NULL, action INTEGER NOT NULL,
          nature INTEGER NOT NULL, law INTEGER NOT NULL, manner TEXT NOT NULL, basis TEXT, response TEXT,
          subject BLOB, recorded INTEGER NOT NULL, time INTEGER NOT NULL)
        """)
    try db.execute(sql: "CREATE INDEX step_request ON step (request, idx)")
    try db.execute(
      sql: """
        CREATE TABLE round (idx INTEGER PRIMARY KEY, session BLOB NOT NULL UNIQUE, number INTEGER NOT NULL,
          task TEXT NOT NULL, kind TEXT NOT NULL, purpose TEXT NOT NULL, version INTEGER NOT NULL,
          policy BLOB, model_in BLOB, model_out BLOB, result TEXT NOT NULL, recorded INTEGER NOT NULL,
          started INTEGER NOT NULL, ended INTEGER NOT NULL, checkpoint_size INTEGER NOT NULL,
          checkpoint_age INTEGER NOT NULL, participants INTEGER NOT NULL, survivors INTEGER NOT NULL,
          eligible INTEGER, epsilon REAL, delta REAL NOT NULL, unit TEXT NOT NULL)
        """)
    try db.execute(sql: "CREATE INDEX round_model ON round (model_out)")
    try db.execute(
      sql: """
        CREATE TABLE other (idx INTEGER PRIMARY KEY, kind INTEGER NOT NULL, signer BLOB NOT NULL,
          recorded INTEGER NOT NULL)
        """)
  }

  /// Opens the file, or begins one.
  package static func open(path: String) throws(LedgerError) -> LedgerIndex {
    do { return LedgerIndex(path: path, database: try DurableDatabase.open(path, schema)) } catch {
      throw .storage(error)
    }
  }

  private init(path: String, database: DurableDatabase) {
    self.path = path
    self.database = database
  }

  /// How many entries of the log are indexed.
  package func size() throws(LedgerError) -> UInt64 {
    try database.ledgerRead { try UInt64.fetchOne($0, sql: "SELECT size FROM progress") ?? 0 }
  }

  /// Reads on one snapshot.
  package func read<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try database.ledgerRead(body)
  }

  /// Indexes the entries that are not indexed yet, up to `size`. The leaves' signatures are not checked here.
  /// An index of another log is derived anew; one that has come further is left as it is.
  /// - Parameter leaves: the leaves of a range, verbatim and all of them.
  package func catchUp(
    to size: UInt64, leaves: (Range<UInt64>) throws(LedgerError) -> [[UInt8]]
  ) throws(LedgerError) {
    var next = try resume(at: size, leaves)
    while next < size {
      let range = next..<min(size, next + Self.entriesPerTransaction)
      let batch = try leaves(range)
      guard batch.count == range.count else {
        throw .wrongAnswer(requested: UInt64(range.count), received: batch.count)
      }
      try database.ledgerWrite { db in
        // Another process may have been here meanwhile.
        guard try UInt64.fetchOne(db, sql: "SELECT size FROM progress") == range.lowerBound else { return }
        var writer = IndexWriter(db)
        for (offset, leaf) in batch.enumerated() {
          try writer.add(leaf, at: range.lowerBound + UInt64(offset))
        }
        try writer.flush()
        try db.execute(
          sql: "UPDATE progress SET size = ?, last = ?",
          arguments: [Int64(range.upperBound), Data(Self.mark(batch[batch.count - 1]))])
      }
      next = try self.size()
    }
  }

  private static let entriesPerTransaction: UInt64 = 16_384
  private static func mark(_ leaf: [UInt8]) -> [UInt8] { MerkleTree.leafHash(leaf).bytes }

  /// Where to go on; from the start if what was indexed is not what the log holds.
  private func resume(
    at size: UInt64, _ leaves: (Range<UInt64>) throws(LedgerError) -> [[UInt8]]
  ) throws(LedgerError) -> UInt64 {
    let (done, last) = try database.ledgerRead { db -> (UInt64, [UInt8]) in
      guard let row = try Row.fetchOne(db, sql: "SELECT size, last FROM progress") else { return (0, []) }
      return (try row.decode(UInt64.self, atIndex: 0), Array(try row.decode(Data.self, atIndex: 1)))
    }
    guard done > 0 else { return 0 }
    if done <= size {
      if try leaves((done - 1)..<done).first.map(Self.mark) == last { return done }
    } else if size == 0 {
      return done
    } else if let leaf = try leaves((size - 1)..<size).first,
      try database.ledgerRead({ try IndexWriter.holds(leaf, at: size - 1, $0) })
    {
      // Somebody who saw more of the same log was here.
      return done
    }
    try database.ledgerWrite { db in
      for table in ["event", "circumstance", "step", "round", "other"] {
        try db.execute(sql: "DELETE FROM \(table)")
      }
      try db.execute(sql: "UPDATE progress SET size = 0, last = x''")
    }
    return 0
  }

  /// Where the events of the subjects stand, each in the order of the log; subjects without events are absent.
  /// - Parameter size: only entries below it; all that are indexed if nil. An index that has not come so far
  ///   throws `outOfRange`: an answer that lacks a withdrawal would permit.
  package func positions(
    of tags: some Sequence<SubjectTag>, size: UInt64? = nil
  ) throws(LedgerError) -> [SubjectTag: [UInt64]] {
    try database.ledgerRead { db in
      let indexed = try UInt64.fetchOne(db, sql: "SELECT size FROM progress") ?? 0
      let size = size ?? indexed
      guard size <= indexed else { throw LedgerError.outOfRange(size: indexed) }
      let statement = try db.cachedStatement(
        sql: "SELECT idx FROM event WHERE subject = ? AND idx < ? ORDER BY idx")
      var found: [SubjectTag: [UInt64]] = [:]
      for tag in tags {
        let positions = try UInt64.fetchAll(statement, arguments: [Data(tag.bytes), Int64(size)])
        if !positions.isEmpty { found[tag] = positions }
      }
      return found
    }
  }

  /// The tags of all subjects whose erasure a node has signed.
  package func erasedSubjects(by node: VerifyingKey) throws(LedgerError) -> Set<SubjectTag> {
    let code = ConsentState.erased.code
    return try database.ledgerRead { db in
      Set(
        try Data.fetchAll(
          db,
          sql: """
            SELECT DISTINCT subject FROM event JOIN circumstance ON circumstance = circumstance.id
              WHERE state = ? AND signer = ?
            """, arguments: [code, Data(node.bytes)]
        ).map { try SubjectTag(Array($0)) })
    }
  }
}

extension CaseIterable where Self: Equatable, AllCases: RandomAccessCollection<Self> {
  /// The code in tables: the position among all cases.
  package var code: Int {
    Self.allCases.firstIndex(of: self).map { Self.allCases.distance(from: Self.allCases.startIndex, to: $0) }
      ?? -1
  }

  /// Reads a code.
  package init?(code: Int) {
    guard code >= 0, code < Self.allCases.count else { return nil }
    self = Self.allCases[Self.allCases.index(Self.allCases.startIndex, offsetBy: code)]
  }
}
