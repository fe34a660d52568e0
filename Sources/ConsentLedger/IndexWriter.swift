import Consent
import Cryptography
import Foundation
import GRDB

/// Writes entries into the index's tables, inside a transaction of the caller.
struct IndexWriter {
  private let db: Database
  private var circumstances: [Circumstance: Int64] = [:]
  private var events: [(index: Int64, subject: [UInt8], row: StatementArguments)] = []

  /// The texts that many events share.
  struct Circumstance: Hashable {
    let purpose: Purpose
    let regime: Regime
    let legalBasis: String
    let consentType: ConsentType
    let jurisdiction: String
    let ageBand: AgeBand
    let actor: ActorRole
    let channel: String
    let method: String
    let recorder: String
    let notice: String
    let policy: String
    let signer: VerifyingKey

    init(_ event: ConsentEvent, signer: VerifyingKey) {
      purpose = event.purpose
      regime = event.regime
      legalBasis = event.legalBasis
      consentType = event.consentType
      jurisdiction = event.jurisdiction
      ageBand = event.ageBand
      actor = event.actor
      channel = event.channel
      method = event.method
      recorder = event.recorder
      notice = event.noticeHash ?? ""
      policy = event.policyHash ?? ""
      self.signer = signer
    }

    /// The columns after `id`, in the order of the table.
    var row: [any DatabaseValueConvertible] {
      [
        purpose.id, purpose.version, regime.code, legalBasis, consentType.code, jurisdiction, ageBand.code,
        actor.code, channel, method, recorder, notice, policy, Data(signer.bytes),
      ]
    }
  }

  init(_ db: Database) { self.db = db }

  mutating func add(_ leaf: [UInt8], at index: UInt64) throws {
    let (statement, recorded) = try SignedStatement.parse(leaf: leaf)
    let row = Int64(index)
    switch try statement.body() {
    case .consent(let event):
      let circumstance = try id(of: Circumstance(event, signer: statement.signer))
      events.append(
        (
          row, event.subject.bytes,
          [
            row, Data(event.subject.bytes), event.state.code, circumstance, recorded, event.eventTimeMs,
            event.expiresAtMs, event.notBeforeMs, event.askAgainAtMs, event.steps, event.durationMs,
          ]
        ))
    case let body:
      let (table, values) = Self.row(of: body, statement, row, recorded)
      let places = Array(repeating: "?", count: values.count).joined(separator: ", ")
      try db.cachedStatement(sql: "INSERT INTO \(table) VALUES (\(places))").execute(
        arguments: StatementArguments(values))
    }
  }

  /// The row of any entry but a consent, and its table.
  static func row(
    of body: EntryBody, _ statement: SignedStatement, _ row: Int64, _ recorded: Int64
  ) -> (table: String, values: [(any DatabaseValueConvertible)?]) {
    switch body {
    case .request(let record):
      (
        "step",
        [
          row, Data(record.requestID.bytes), record.action.code, record.nature.code, record.law.code,
          record.manner, record.basis, record.response, record.subject.map { Data($0.bytes) }, recorded,
          record.timeMs,
        ]
      )
    case .round(let record):
      (
        "round",
        [
          row, Data(record.sessionID.bytes), Int64(record.round), record.taskID, record.kind,
          record.purpose.id, record.purpose.version, record.policyHash.map { Data($0.bytes) },
          record.modelIn.map { Data($0.bytes) }, record.modelOut.map { Data($0.bytes) }, record.result.text,
          recorded, record.startedMs, record.endedMs, Int64(record.checkpointSize),
          record.checkpointAgeSeconds, record.participants, record.survivors, record.noisedEligible,
          // No number stands for "nothing is guaranteed".
          record.epsilon.isFinite ? record.epsilon : nil, record.delta, record.unit,
        ]
      )
    case .consent, .enrolment, .revocation, .policy, .approval, .notice:
      ("other", [row, statement.kind.code, Data(statement.signer.bytes), recorded])
    }
  }

  /// Whether the row at an entry's position was derived from this leaf, by the columns that tell entries apart.
  static func holds(_ leaf: [UInt8], at index: UInt64, _ db: Database) throws -> Bool {
    let (statement, recorded) = try SignedStatement.parse(leaf: leaf)
    let table: String
    let mark: (column: String, value: [UInt8])
    switch try statement.body() {
    case .consent(let event): (table, mark) = ("event", ("subject", event.subject.bytes))
    case .request(let record): (table, mark) = ("step", ("request", record.requestID.bytes))
    case .round(let record): (table, mark) = ("round", ("session", record.sessionID.bytes))
    case .enrolment, .revocation, .policy, .approval, .notice:
      (table, mark) = ("other", ("signer", statement.signer.bytes))
    }
    return try Int.fetchOne(
      db, sql: "SELECT 1 FROM \(table) WHERE idx = ? AND recorded = ? AND \(mark.column) = ?",
      arguments: [Int64(index), recorded, Data(mark.value)]) != nil
  }

  /// Writes the collected events: the table in the order of the log; SQLite keeps the other order.
  mutating func flush() throws {
    let statement = try db.cachedStatement(
      sql: "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
    for event in events { try statement.execute(arguments: event.row) }
    events = []
  }

  private mutating func id(of circumstance: Circumstance) throws -> Int64 {
    if let known = circumstances[circumstance] { return known }
    let arguments = StatementArguments(circumstance.row)
    let select = try db.cachedStatement(
      sql: """
        SELECT id FROM circumstance WHERE purpose = ? AND version = ? AND regime = ? AND legal_basis = ?
          AND consent_type = ? AND jurisdiction = ? AND age_band = ? AND actor = ? AND channel = ?
          AND method = ? AND recorder = ? AND notice = ? AND policy = ? AND signer = ?
        """)
    let id: Int64
    if let found = try Int64.fetchOne(select, arguments: arguments) {
      id = found
    } else {
      try db.cachedStatement(
        sql: """
          INSERT INTO circumstance (purpose, version, regime, legal_basis, consent_type, jurisdiction, age_band,
            actor, channel, method, recorder, notice, policy, signer)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
          """
      ).execute(arguments: arguments)
      id = db.lastInsertedRowID
    }
    circumstances[circumstance] = id
    return id
  }
}
