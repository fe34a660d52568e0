import GRDB

/// A privacy event that was charged to a population, as it is stored: what it means is for Privacy to say.
package struct BudgetDebit: Hashable, Sendable {
  /// The key of idempotence, such as the round's session identifier.
  package let id: String
  /// Whose budget.
  package let population: String
  /// What one unit of privacy is, such as `user`.
  package let unit: String
  /// The event, opaque JSON.
  package let eventJSON: String
  /// The task that spent it.
  package let task: String
  /// The round of the task.
  package let round: UInt64
  /// When, ms of UTC since 1970.
  package let timeMs: Int64

  /// Describes a debit.
  package init(
    id: String, population: String, unit: String, eventJSON: String, task: String, round: UInt64,
    timeMs: Int64
  ) {
    self.id = id
    self.population = population
    self.unit = unit
    self.eventJSON = eventJSON
    self.task = task
    self.round = round
    self.timeMs = timeMs
  }
}

/// A population with its budget.
package struct BudgetPopulation: Hashable, Sendable {
  /// Its name.
  package let name: String
  /// What one unit of privacy is.
  package let unit: String
  /// The budget, opaque JSON.
  package let budgetJSON: String
}

/// The durable account of spent privacy: a debit that was acknowledged survives power loss, and a debit is
/// never counted twice or taken back.
package struct BudgetLedger: Sendable {
  private let database: DurableDatabase

  private static let schema = DurableDatabase.Schema(
    name: "privacy budget ledger", applicationID: 0x4143_4247, version: 1
  ) { db in
    try db.execute(
      sql: "CREATE TABLE population (name TEXT PRIMARY KEY, unit TEXT NOT NULL, budget TEXT NOT NULL)")
    try db.execute(
      sql: """
        CREATE TABLE debit (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
          population TEXT NOT NULL REFERENCES population (name), unit TEXT NOT NULL, event TEXT NOT NULL,
          task TEXT NOT NULL, round INTEGER NOT NULL, time INTEGER NOT NULL)
        """)
    try db.execute(sql: "CREATE INDEX debit_population ON debit (population, seq)")
  }

  /// Opens the file, or begins one.
  package static func open(path: String) throws(StorageError) -> BudgetLedger {
    BudgetLedger(database: try DurableDatabase.open(path, schema))
  }

  /// Declares a population and its budget. The same declaration again changes nothing; another one is
  /// refused, because a budget that grows later is no budget.
  package func declare(population: String, unit: String, budgetJSON: String) throws(StorageError) {
    try database.write(wrapping: { $0 }) { db in
      if let known = try Self.population(population, db) {
        guard known.unit == unit, known.budgetJSON == budgetJSON else {
          throw StorageError.conflictingPopulation(population)
        }
        return
      }
      try db.execute(
        sql: "INSERT INTO population (name, unit, budget) VALUES (?, ?, ?)",
        arguments: [population, unit, budgetJSON])
    }
  }

  /// The declared populations by name.
  package func populations() throws(StorageError) -> [BudgetPopulation] {
    try database.read(wrapping: { $0 }) { db in
      try Row.fetchAll(db, sql: "SELECT name, unit, budget FROM population ORDER BY name").map {
        BudgetPopulation(
          name: try $0.decode(atIndex: 0), unit: try $0.decode(atIndex: 1),
          budgetJSON: try $0.decode(atIndex: 2))
      }
    }
  }

  /// Charges a debit in one durable transaction; false if the same debit was charged before.
  ///
  /// `authorize` sees the population and its earlier debits inside the transaction, so that two rounds cannot
  /// both spend the last of a budget; if it says no, nothing is charged (`budgetRefused`). A retry of a debit
  /// that was charged is not asked again. Another debit under a used id is refused.
  @discardableResult
  package func debit(
    _ debit: BudgetDebit, authorize: (BudgetPopulation, [BudgetDebit]) -> Bool = { _, _ in true }
  ) throws(StorageError) -> Bool {
    try database.write(wrapping: { $0 }) { db in
      guard let population = try Self.population(debit.population, db), population.unit == debit.unit else {
        throw StorageError.unknownPopulation(debit.population)
      }
      if let known = try Self.debits(db, "id = ?", debit.id).first {
        // The time is when it was first charged, whatever a retry says.
        guard known.isSameCharge(as: debit) else { throw StorageError.conflictingDebit(id: debit.id) }
        return false
      }
      guard authorize(population, try Self.debits(db, "population = ?", debit.population)) else {
        throw StorageError.budgetRefused(population: debit.population)
      }
      try db.execute(
        sql: """
          INSERT INTO debit (id, population, unit, event, task, round, time) VALUES (?, ?, ?, ?, ?, ?, ?)
          """,
        arguments: [
          debit.id, debit.population, debit.unit, debit.eventJSON, debit.task, Int64(bitPattern: debit.round),
          debit.timeMs,
        ])
      return true
    }
  }

  /// The debits of a population in the order in which they were charged.
  package func debits(of population: String) throws(StorageError) -> [BudgetDebit] {
    try database.read(wrapping: { $0 }) { try Self.debits($0, "population = ?", population) }
  }

  /// `PRAGMA synchronous` of the writer: 2 is FULL.
  package func synchronousLevel() throws(StorageError) -> Int { try database.synchronousLevel() }

  private static func population(_ name: String, _ db: Database) throws -> BudgetPopulation? {
    try Row.fetchOne(db, sql: "SELECT unit, budget FROM population WHERE name = ?", arguments: [name])
      .map {
        BudgetPopulation(name: name, unit: try $0.decode(atIndex: 0), budgetJSON: try $0.decode(atIndex: 1))
      }
  }

  private static func debits(_ db: Database, _ condition: String, _ value: String) throws -> [BudgetDebit] {
    try Row.fetchAll(
      db,
      sql: """
        SELECT id, population, unit, event, task, round, time FROM debit WHERE \(condition) ORDER BY seq
        """, arguments: [value]
    ).map {
      BudgetDebit(
        id: try $0.decode(atIndex: 0), population: try $0.decode(atIndex: 1), unit: try $0.decode(atIndex: 2),
        eventJSON: try $0.decode(atIndex: 3), task: try $0.decode(atIndex: 4),
        round: UInt64(bitPattern: try $0.decode(Int64.self, atIndex: 5)), timeMs: try $0.decode(atIndex: 6))
    }
  }
}

extension BudgetDebit {
  fileprivate func isSameCharge(as other: BudgetDebit) -> Bool {
    id == other.id && population == other.population && unit == other.unit && eventJSON == other.eventJSON
      && task == other.task && round == other.round
  }
}
