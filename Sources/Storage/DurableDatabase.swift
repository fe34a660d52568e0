package import GRDB

/// An SQLite file whose commits survive power loss: write-ahead log and `synchronous=FULL`, verified.
package struct DurableDatabase: Sendable {
  /// What a file has to be to be opened.
  package struct Schema: Sendable {
    /// What the file is, for error sentences, such as `consent ledger`.
    package let name: String
    /// Marks files of this schema (`PRAGMA application_id`); not zero.
    package let applicationID: Int32
    /// The version of the tables (`PRAGMA user_version`), from 1.
    package let version: Int
    /// Whether freed pages are overwritten with zeros.
    package let erasesDeleted: Bool
    /// How many bytes of pages a connection may keep in memory.
    package let cacheBytes: Int
    /// After how many pages the write-ahead log is copied into the file.
    package let checkpointPages: Int
    /// Creates the tables in an empty file.
    package let create: @Sendable (Database) throws -> Void

    /// Describes a schema.
    package init(
      name: String, applicationID: Int32, version: Int, erasesDeleted: Bool = false,
      cacheBytes: Int = 2_048_000, checkpointPages: Int = 1000,
      create: @escaping @Sendable (Database) throws -> Void
    ) {
      precondition(applicationID != 0 && version > 0, "a schema has an application id and a version")
      precondition(cacheBytes >= 1024 && checkpointPages > 0, "without cache or checkpoints nothing ends")
      self.name = name
      self.applicationID = applicationID
      self.version = version
      self.erasesDeleted = erasesDeleted
      self.cacheBytes = cacheBytes
      self.checkpointPages = checkpointPages
      self.create = create
    }
  }

  /// The file.
  package let path: String
  /// One writer and a few readers on snapshots.
  package let pool: DatabasePool

  /// Opens the file, creating it (mode 0600) with its tables if it is missing or empty.
  package static func open(_ path: String, _ schema: Schema) throws(StorageError) -> DurableDatabase {
    try DurableFile.ensureExists(path)
    return try DurableDatabase.mapping(path) {
      let pool = try DatabasePool(path: path, configuration: configuration(schema))
      // GRDB sets synchronous=NORMAL on a WAL writer after `prepareDatabase`, so FULL has to be set here.
      let level = try pool.writeWithoutTransaction { db in
        try db.execute(sql: "PRAGMA synchronous = FULL")
        return try Int.fetchOne(db, sql: "PRAGMA synchronous") ?? -1
      }
      guard level == 2 else { throw StorageError.notDurable(path: path, synchronous: level) }
      try pool.write { try prepare($0, path, schema) }
      return DurableDatabase(path: path, pool: pool)
    }
  }

  /// Opens an existing file for reading only, also while another process writes it.
  package static func openReadOnly(_ path: String, _ schema: Schema) throws(StorageError) -> DatabaseQueue {
    guard DurableFile.exists(path) else { throw .missingFile(path: path) }
    return try mapping(path) {
      var configuration = configuration(schema)
      configuration.readonly = true
      let queue = try DatabaseQueue(path: path, configuration: configuration)
      try queue.read { try check($0, path, schema) }
      return queue
    }
  }

  /// `PRAGMA synchronous` of the writer: 2 is FULL.
  package func synchronousLevel() throws(StorageError) -> Int {
    try DurableDatabase.mapping(path) {
      try pool.writeWithoutTransaction { try Int.fetchOne($0, sql: "PRAGMA synchronous") ?? -1 }
    }
  }

  /// Runs a transaction that is durable when this returns. Errors of SQLite become `StorageError`;
  /// errors of the type `Failure` that the body throws pass through.
  package func write<Result, Failure: Error>(
    wrapping: (StorageError) -> Failure, _ body: (Database) throws -> Result
  ) throws(Failure) -> Result {
    try DurableDatabase.passing(path, wrapping) { try pool.write(body) }
  }

  /// The same without waiting for the disk: a crash of the process keeps the transaction, power loss may undo it,
  /// but none before it and no part of it (synchronous=NORMAL for this one). The next `write` makes it durable.
  package func writeUnsynced<Failure: Error>(
    wrapping: (StorageError) -> Failure, _ body: (Database) throws -> Void
  ) throws(Failure) {
    try DurableDatabase.passing(path, wrapping) {
      try pool.writeWithoutTransaction { db in
        try db.execute(sql: "PRAGMA synchronous = NORMAL")
        let outcome = Result {
          try db.inTransaction(.immediate) {
            try body(db)
            return .commit
          }
        }
        try db.execute(sql: "PRAGMA synchronous = FULL")
        try outcome.get()
      }
    }
  }

  /// Runs reads on one snapshot, with the errors of `write`.
  package func read<Result, Failure: Error>(
    wrapping: (StorageError) -> Failure, _ body: (Database) throws -> Result
  ) throws(Failure) -> Result {
    try DurableDatabase.passing(path, wrapping) { try pool.read(body) }
  }

  /// Copies the write-ahead log into the file and empties it.
  package func truncateWriteAheadLog() throws(StorageError) {
    try DurableDatabase.mapping(path) {
      try pool.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
    }
  }

  /// Closes the file; waits for running reads.
  package func close() throws(StorageError) {
    try DurableDatabase.mapping(path) { try pool.close() }
  }

  private static func configuration(_ schema: Schema) -> Configuration {
    var configuration = Configuration()
    configuration.label = "accord.\(schema.name)"
    configuration.busyMode = .timeout(5)
    configuration.maximumReaderCount = 4
    let secureDelete = schema.erasesDeleted ? "ON" : "OFF"
    configuration.prepareDatabase { db in
      try db.execute(sql: "PRAGMA secure_delete = \(secureDelete)")
      try db.execute(sql: "PRAGMA cache_size = -\(schema.cacheBytes / 1024)")
      try db.execute(sql: "PRAGMA wal_autocheckpoint = \(schema.checkpointPages)")
    }
    return configuration
  }

  private static func prepare(_ db: Database, _ path: String, _ schema: Schema) throws {
    let tables = try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") ?? 0
    let id = try Int32.fetchOne(db, sql: "PRAGMA application_id") ?? 0
    if tables == 0, id == 0 {
      try schema.create(db)
      try db.execute(sql: "PRAGMA application_id = \(schema.applicationID)")
      try db.execute(sql: "PRAGMA user_version = \(schema.version)")
    }
    try check(db, path, schema)
  }

  private static func check(_ db: Database, _ path: String, _ schema: Schema) throws {
    guard try Int32.fetchOne(db, sql: "PRAGMA application_id") == schema.applicationID else {
      throw StorageError.otherDatabase(path: path, expected: schema.name)
    }
    let version = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
    guard version == schema.version else {
      throw StorageError.otherVersion(path: path, expected: schema.version, found: version)
    }
  }

  private static func mapping<Result>(
    _ path: String, _ body: () throws -> Result
  ) throws(StorageError) -> Result {
    try passing(path, { $0 }, body)
  }

  /// Translates SQLite's errors in one place.
  package static func passing<Result, Failure: Error>(
    _ path: String, _ wrapping: (StorageError) -> Failure, _ body: () throws -> Result
  ) throws(Failure) -> Result {
    do {
      return try body()
    } catch let error as Failure {
      throw error
    } catch let error as StorageError {
      throw wrapping(error)
    } catch {
      throw wrapping(translate(error, path))
    }
  }

  /// What an error of GRDB or SQLite about a file means.
  package static func translate(_ error: any Error, _ path: String) -> StorageError {
    // A row that does not decode: the schema is ours, so the bytes are not.
    guard let error = error as? DatabaseError else { return .corrupted(path: path) }
    return switch error.resultCode {
    case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupted(path: path)
    case .SQLITE_BUSY: .inUse(path: path)
    default: .database(path: path, code: error.extendedResultCode.rawValue)
    }
  }
}
