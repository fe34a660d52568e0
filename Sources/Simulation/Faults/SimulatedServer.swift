import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages
import Privacy
import SecureAggregation
import Storage
import Synchronization

/// The server's process around the deployed state machines, ledger and budget book, in the durable order of
/// `AggregationServer/FederationHost.swift`: session row, announcement, debit before share deliveries, inputs, sum
/// and progress and record in one transaction, record into the ledger. Whoever changes the order there changes it
/// here.
final class SimulatedServer {
  /// What the deployed server keeps in `server.sqlite`.
  struct Rows {
    struct Session {
      let sessionID: Digest
      let task: String
      let startedAt: UInt64
      var record: [UInt8]?
      var recordedAt: UInt64?
    }
    struct Task {
      let bytes: [UInt8]
      let signature: Signature
      var progress: TaskProgress
      var artifact: [UInt8]
    }
    var sessions: [UInt64: Session] = [:]
    var tasks: [Task] = []
    /// The sum of all released sums, each times its session's number.
    var total: [Int64]
    /// The last sum that was added, for a mistake that is planted.
    var last: (number: UInt64, sum: [Int64])?
  }

  struct RunningTask {
    let bytes: [UInt8]
    let signature: Signature
    var engine: TaskRun
    var artifact: [UInt8]
    var position: Int
  }

  struct LiveSession {
    var coordinator: RoundCoordinator
    let uploadKey: AgreementKey
    let task: RunningTask
    let number: UInt64
    let startedAt: UInt64
    let checkpoint: SignedCheckpoint
    let policy: Digest?
    var evidence: [VerifyingKey: Digest?] = [:]
    var debits: [SegmentDebit] = []
    /// Inputs that a planted mistake adds to the sum, as ring words.
    var strays: [[UInt32]] = []
    var packed: [Int: [UInt8]] = [:]
    var sessionID: Digest { coordinator.signed.sessionID }
  }

  unowned let world: FaultWorld
  let disk: SimulatedDisk
  var rows: Rows
  var ledger: LedgerStore
  var budgets: BudgetBook
  var random: RandomStream
  var task: RunningTask?
  var current: LiveSession?
  var previous: LiveSession?
  /// Long polls.
  var waiting: [(call: Call, request: SignedRequest, untilMs: UInt64)] = []
  var enoughSince: UInt64?
  var consecutiveAborts = 0
  var notBefore: UInt64 = 0
  var witnesses: [VerifyingKey: String] = [:]
  let malice: Malice

  /// Starts the process on what its disk holds.
  init(world: FaultWorld, disk: SimulatedDisk, rows: Rows) throws {
    self.world = world
    self.disk = disk
    self.rows = rows
    random = world.freshRandom()
    malice = world.malice
    let federation = world.federation
    let trap = disk.trap
    ledger = try LedgerStore.open(
      directory: disk.directory, origin: FaultFederation.origin, logKey: federation.logKey,
      freshnessKey: federation.freshnessKey, operatorKey: federation.operatorKey.verifyingKey
    ) { try trap.pass($0) }
    let size = try FileManager.default.attributesOfItem(atPath: disk.path("ledger.sqlite-wal"))[.size]
    trap.durable.withLock { $0 = size as? Int ?? 0 }
    budgets = try BudgetBook(path: disk.path("budget.sqlite"))
    try loadTask()
  }

  var now: UInt64 { world.clock(of: -1) }

  func loadTask() throws {
    guard let position = rows.tasks.indices.last else { return }
    let row = rows.tasks[position]
    let engine = try TaskRun(
      try FederationTask.decode(row.bytes), progress: row.progress,
      artifact: try TaskArtifact.decode(row.artifact))
    task = RunningTask(
      bytes: row.bytes, signature: row.signature, engine: engine, artifact: row.artifact, position: position)
  }

  /// What the operator does when the last task is over: submits the next one.
  func submitNextTask() throws {
    let specification = world.federation.task(number: rows.tasks.count + 1)
    let bytes = try specification.canonicalBytes()
    let signature = world.federation.operatorKey.sign(domain: TaskSpecification.signatureDomain, [bytes])
    let engine = TaskRun(try FederationTask.decode(bytes))
    let artifact = try engine.artifact.encode()
    for (population, budget) in specification.terms.populationBudgets {
      try disk.write {
        try budgets.declare(population.accountName, unit: specification.terms.unit, budget: budget)
      }
    }
    try disk.rows {
      rows.tasks.append(
        Rows.Task(bytes: bytes, signature: signature, progress: engine.progress, artifact: artifact))
    }
    try loadTask()
  }

  // MARK: Ledger

  /// Appends durably; returns the receipts.
  func append(_ statements: [SignedStatement]) throws -> [LedgerReceipt] {
    if world.bug == .ledgerNotSynced { try world.keepLedgerCopy() }
    if world.bug == .checkpointBeforeStaging { try leakCheckpoint(statements) }
    let receipts = try disk.commit { try ledger.append(statements, nowMs: Int64(now)) }
    try world.oracle.follow(ledger)
    if let note = receipts.first?.checkpoint.noteText { try world.oracle.note(note) }
    return receipts
  }

  /// The planted mistake of a ledger that signs what is not staged.
  private func leakCheckpoint(_ statements: [SignedStatement]) throws {
    var range = CompactRange()
    for leaf in try ledger.entries(0..<ledger.size) { range.append(leafHash: MerkleTree.leafHash(leaf)) }
    for statement in statements {
      range.append(leafHash: MerkleTree.leafHash(try statement.leaf(recordedMs: Int64(now))))
    }
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: FaultFederation.origin, size: range.size, root: range.root),
      timestampSeconds: now / 1000, logKey: world.federation.logKey,
      freshnessKey: world.federation.freshnessKey)
    try world.oracle.note(signed.noteText)
  }

  func appendRecord(_ record: [UInt8], session number: UInt64) throws {
    let receipts = try append([SignedStatement(parsing: record)])
    guard let index = receipts.first?.index.value else { return }
    try disk.rows {
      rows.sessions[number]?.record = record
      rows.sessions[number]?.recordedAt = index
    }
  }

  // MARK: Recovery

  /// Reports sessions that a crash cut off and completes the ledger, before serving.
  func recover() throws {
    if world.bug == .sumAppliedTwice, let last = rows.last, rows.sessions[last.number]?.recordedAt == nil {
      add(last.sum, times: Int64(last.number))
    }
    guard world.bug != .recoverySkipped else { return }
    for (number, session) in rows.sessions.sorted(by: { $0.key < $1.key }) where session.recordedAt == nil {
      let record: [UInt8]
      if let written = session.record {
        record = written
      } else {
        record = try abortedRecord(number, session)
        // Durable before it goes to the ledger: after another crash the same bytes are appended again.
        try storeAborted(number, session, record)
      }
      try appendRecord(record, session: number)
      world.note("server recorded session \(number) after a restart")
    }
    try world.oracle.require(
      rows.total == world.oracle.total, "exact sums",
      "after a restart the server's total is \(rows.total) instead of \(world.oracle.total)")
  }

  private func storeAborted(_ number: UInt64, _ session: Rows.Session, _ record: [UInt8]) throws {
    var task = task
    if task?.engine.terms.id == session.task { task?.engine.sessionAborted() }
    try disk.rows {
      rows.sessions[number]?.record = record
      if let task { rows.tasks[task.position].progress = task.engine.progress }
    }
    self.task = task
  }

  private func abortedRecord(_ number: UInt64, _ session: Rows.Session) throws -> [UInt8] {
    guard let task else { throw Refusal("internalError", "a session without a task") }
    let checkpoint = try ledger.checkpoint(nowMs: Int64(now))
    return try SessionStatement(
      task: task.engine.terms, number: number, sessionID: session.sessionID, startedAt: session.startedAt,
      endedAt: now, checkpoint: checkpoint, policy: ledger.rules.current?.digest,
      model: ModelArtifact.digest(of: task.artifact)
    ).aborted("the server was stopped during the session", key: world.federation.logKey)
  }

  func add(_ sum: [Int64], times factor: Int64) {
    for index in sum.indices { rows.total[index] += sum[index] * factor }
  }
}
