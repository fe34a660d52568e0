import Cryptography
import Federation
import Foundation
import GRDB
import Storage

/// What the server must not forget, besides the ledger and the budgets: tasks, models and sessions, in
/// `server.sqlite`.
struct ServerStore: Sendable {
  /// A stored task.
  struct StoredTask: Sendable {
    let id: String
    let bytes: [UInt8]
    let signature: Signature
    let progress: TaskProgress
    let artifact: [UInt8]
    let submittedAt: UInt64
  }

  /// A session that has not been written into the ledger yet.
  struct UnrecordedSession: Sendable {
    let number: UInt64
    let sessionID: Digest
    let task: String
    let kind: String
    let round: Int
    let startedAt: UInt64
    /// Canonical JSON of the ledger record if the session ended, or nil if the process died before.
    let record: [UInt8]?
  }

  private let database: DurableDatabase

  private static let schema = DurableDatabase.Schema(
    name: "server state", applicationID: 0x4143_5356, version: 1
  ) { db in
    try db.execute(
      sql: """
        CREATE TABLE models (
          digest BLOB PRIMARY KEY, task TEXT NOT NULL, version INTEGER NOT NULL, bytes BLOB NOT NULL,
          created_ms INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE tasks (
          id TEXT PRIMARY KEY, bytes BLOB NOT NULL, signature BLOB NOT NULL, progress BLOB NOT NULL,
          model BLOB NOT NULL REFERENCES models (digest), submitted_ms INTEGER NOT NULL);
        CREATE TABLE sessions (
          number INTEGER PRIMARY KEY, sid BLOB NOT NULL, task TEXT NOT NULL, kind TEXT NOT NULL,
          round INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER, record BLOB,
          sum BLOB, ring_bits INTEGER, recorded_index INTEGER);
        """)
  }

  init(_ directory: DataDirectory) throws(StorageError) {
    try self.init(path: directory.file("server.sqlite"))
  }

  init(path: String) throws(StorageError) {
    database = try DurableDatabase.open(path, Self.schema)
  }

  private func write<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
    try database.write(wrapping: { $0 }, body)
  }

  private func read<T>(_ body: (Database) throws -> T) throws(StorageError) -> T {
    try database.read(wrapping: { $0 }, body)
  }

  /// Stores a new task with its first artifact. False if the identifier is taken.
  func insert(
    task id: String, bytes: [UInt8], signature: Signature, progress: TaskProgress, artifact: [UInt8],
    now: UInt64
  ) throws -> Bool {
    let state = try CanonicalJSON.encode(progress)
    return try write { db in
      guard try !Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ?)", arguments: [id])!
      else { return false }
      try Self.insertModel(db, task: id, version: 0, bytes: artifact, now: now)
      try db.execute(
        sql: "INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?)",
        arguments: [
          id, Data(bytes), Data(signature.bytes), Data(state),
          Data(ModelArtifact.digest(of: artifact).bytes), Int64(now),
        ])
      return true
    }
  }

  /// All tasks in the order of their submission.
  func tasks() throws(StorageError) -> [StoredTask] {
    try read { db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT tasks.*, models.bytes AS artifact FROM tasks JOIN models ON models.digest = tasks.model
          ORDER BY submitted_ms, id
          """
      ).map { row in
        let data: Data = row["progress"]
        return StoredTask(
          id: row["id"], bytes: Array(row["bytes"] as Data),
          signature: try Signature(Array(row["signature"] as Data)),
          progress: try JSONDecoder().decode(TaskProgress.self, from: data),
          artifact: Array(row["artifact"] as Data), submittedAt: UInt64(row["submitted_ms"] as Int64))
      }
    }
  }

  /// Changes a task's progress without a session (cancelled, stopped, completed).
  func update(task id: String, progress: TaskProgress) throws {
    let state = try CanonicalJSON.encode(progress)
    try write { db in
      try db.execute(sql: "UPDATE tasks SET progress = ? WHERE id = ?", arguments: [Data(state), id])
    }
  }

  /// The next session number: larger than any that was ever announced.
  func nextSessionNumber() throws(StorageError) -> UInt64 {
    try read { db in
      UInt64(try Int64.fetchOne(db, sql: "SELECT coalesce(max(number), 0) + 1 FROM sessions") ?? 1)
    }
  }

  /// Writes a session down before it is announced. After a crash it shows up as unrecorded without a
  /// record, and is reported in the ledger as aborted.
  func begin(
    session number: UInt64, sessionID: Digest, task: String, kind: SessionKind, round: Int, now: UInt64
  ) throws(StorageError) {
    try write { db in
      try db.execute(
        sql: """
          INSERT INTO sessions (number, sid, task, kind, round, started_ms) VALUES (?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          Int64(number), Data(sessionID.bytes), task, kind.rawValue, round, Int64(now),
        ])
    }
  }

  /// Ends a session: its record for the ledger, and if it completed the new progress, model and sum, in one
  /// transaction. After a crash before it the session counts as aborted; after it the record is
  /// appended to the ledger at the next start.
  func end(
    session number: UInt64, task id: String, record: [UInt8], progress: TaskProgress,
    model: (version: Int, bytes: [UInt8])?, sum: (words: [UInt32], ringBits: Int)?, now: UInt64
  ) throws {
    let state = try CanonicalJSON.encode(progress)
    try write { db in
      if let model {
        try Self.insertModel(db, task: id, version: model.version, bytes: model.bytes, now: now)
        try db.execute(
          sql: "UPDATE tasks SET model = ? WHERE id = ?",
          arguments: [Data(ModelArtifact.digest(of: model.bytes).bytes), id])
      }
      try db.execute(sql: "UPDATE tasks SET progress = ? WHERE id = ?", arguments: [Data(state), id])
      let packed = sum.map { Data(LittleEndian.bytes($0.words)) }
      try db.execute(
        sql: "UPDATE sessions SET ended_ms = ?, record = ?, sum = ?, ring_bits = ? WHERE number = ?",
        arguments: [Int64(now), Data(record), packed, sum?.ringBits, Int64(number)])
    }
  }

  /// Sessions whose record is not in the ledger yet, oldest first.
  func unrecordedSessions() throws(StorageError) -> [UnrecordedSession] {
    try read { db in
      try Row.fetchAll(
        db, sql: "SELECT * FROM sessions WHERE recorded_index IS NULL ORDER BY number"
      ).map { row in
        UnrecordedSession(
          number: UInt64(row["number"] as Int64), sessionID: try Digest(Array(row["sid"] as Data)),
          task: row["task"], kind: row["kind"], round: row["round"],
          startedAt: UInt64(row["started_ms"] as Int64), record: (row["record"] as Data?).map(Array.init))
      }
    }
  }

  /// Notes where in the ledger a session's record stands.
  func markRecorded(session number: UInt64, index: UInt64, record: [UInt8], now: UInt64) throws(StorageError)
  {
    try write { db in
      try db.execute(
        sql: """
          UPDATE sessions SET recorded_index = ?, record = ?, ended_ms = coalesce(ended_ms, ?)
          WHERE number = ?
          """,
        arguments: [Int64(index), Data(record), Int64(now), Int64(number)])
    }
  }

  /// The released sum of a session, as ring elements, with the ring's width.
  func sum(session number: UInt64) throws(StorageError) -> (words: [UInt32], ringBits: Int)? {
    try read { db in
      guard
        let row = try Row.fetchOne(
          db, sql: "SELECT sum, ring_bits FROM sessions WHERE number = ? AND sum IS NOT NULL",
          arguments: [Int64(number)])
      else { return nil }
      return (LittleEndian.words(row["sum"] as Data), row["ring_bits"])
    }
  }

  /// The ledger records of all sessions that ended.
  func records() throws(StorageError) -> [[UInt8]] {
    try read { db in
      try Data.fetchAll(db, sql: "SELECT record FROM sessions WHERE record IS NOT NULL ORDER BY number")
        .map { Array($0) }
    }
  }

  /// A stored artifact.
  func model(_ digest: Digest) throws(StorageError) -> [UInt8]? {
    try read { db in
      try Data.fetchOne(
        db, sql: "SELECT bytes FROM models WHERE digest = ?", arguments: [Data(digest.bytes)]
      ).map(Array.init)
    }
  }

  /// Digest, task and version of every stored model.
  func models() throws(StorageError) -> [(digest: Digest, task: String, version: Int, createdAt: UInt64)] {
    try read { db in
      try Row.fetchAll(
        db, sql: "SELECT digest, task, version, created_ms FROM models ORDER BY task, version"
      ).map { row in
        (
          try Digest(Array(row["digest"] as Data)), row["task"], row["version"],
          UInt64(row["created_ms"] as Int64)
        )
      }
    }
  }

  private static func insertModel(
    _ db: Database, task: String, version: Int, bytes: [UInt8], now: UInt64
  ) throws {
    try db.execute(
      sql: "INSERT OR IGNORE INTO models VALUES (?, ?, ?, ?, ?)",
      arguments: [
        Data(ModelArtifact.digest(of: bytes).bytes), task, version, Data(bytes), Int64(now),
      ])
  }
}
