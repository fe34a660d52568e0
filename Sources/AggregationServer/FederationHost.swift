import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import Logging
import MerkleLog
import Messages
import Privacy
import SecureAggregation
import Storage

/// The server's life around the pure state machines: it keeps the time, the files and the waiting requests.
/// Durable order of a session, and what a crash leaves behind:
/// 1. session row written (crash after it: reported as aborted at the next start)
/// 2. descriptor announced, steps 1 and 2
/// 3. budget debited for every population (crash after it: the cost stays, nothing was released)
/// 4. inputs accepted, steps 3 to 5
/// 5. sum, model and progress written in one transaction (crash before: aborted; after: the round counts)
/// 6. record appended to the ledger (crash before: appended at the next start, same content)
///
/// `Simulation/Faults/SimulatedServer.swift` follows the same order; whoever changes it changes both.
package actor FederationHost {
  /// A session and what is only needed while it lives.
  struct LiveSession {
    var coordinator: RoundCoordinator
    let uploadKey: AgreementKey
    let taskBytes: [UInt8]
    let taskSignature: Signature
    let number: UInt64
    let startedAt: UInt64
    let checkpoint: CheckpointInForce
    var outcomeModel: Digest?
    /// Whose input was taken, and the root of the evidence that came with it.
    var evidence: [VerifyingKey: Digest?] = [:]
    var sessionID: Digest { coordinator.signed.sessionID }
  }

  struct RunningTask {
    let id: String
    let bytes: [UInt8]
    let signature: Signature
    var engine: TaskRun
    var artifact: [UInt8]
  }

  /// The longest that a request is kept waiting before it is answered with "ask again".
  static let longPollMilliseconds: UInt64 = 20_000
  /// How long a cohort may gather after enough nodes are waiting, when others are missing.
  let gatherMilliseconds: UInt64
  static let concurrentUploads = 4

  let keys: ServerKeys
  let store: ServerStore
  let ledger: LedgerStore
  let budgets: ServerBudgets
  let logger: Logger
  let clock: @Sendable () -> UInt64
  var random: RandomStream

  var tasks: [RunningTask] = []
  var current: LiveSession?
  var previous: LiveSession?
  var waiting: [VerifyingKey: WaitingNode] = [:]
  var enoughSince: UInt64?
  /// Who is uploading now.
  var uploading: Set<VerifyingKey> = []
  var changeWaiters: [CheckedContinuation<Void, Never>] = []
  var failure: String?
  var isStopping = false
  /// What witnesses saw last.
  var witnesses: [VerifyingKey: Sighting] = [:]
  /// Sessions that failed one after another, and until when the next waits.
  var consecutiveAborts = 0
  var notBefore: UInt64 = 0

  init(
    keys: ServerKeys, store: ServerStore, ledger: LedgerStore, budgets: ServerBudgets, logger: Logger,
    gatherMilliseconds: UInt64, random: RandomStream, clock: @escaping @Sendable () -> UInt64
  ) throws {
    self.keys = keys
    self.store = store
    self.ledger = ledger
    self.budgets = budgets
    self.logger = logger
    self.gatherMilliseconds = gatherMilliseconds
    self.random = random
    self.clock = clock
    for stored in try store.tasks() {
      let task = try FederationTask.decode(stored.bytes)
      var engine: TaskRun
      do {
        engine = try TaskRun(
          task, progress: stored.progress, artifact: try TaskArtifact.decode(stored.artifact))
      } catch {
        // One task's model must not keep the ledger from being served.
        engine = TaskRun(task, progress: stored.progress)
        engine.stop("\(error)")
        try store.update(task: stored.id, progress: engine.progress)
      }
      tasks.append(
        RunningTask(
          id: stored.id, bytes: stored.bytes, signature: stored.signature, engine: engine,
          artifact: stored.artifact))
    }
  }

  /// Milliseconds from `start` to `now`; none if the clock was set back.
  static func elapsed(_ start: UInt64, _ now: UInt64) -> UInt64 { now > start ? now - start : 0 }

  // MARK: Waiting

  /// Suspends until something changed; the ticker makes that at most a quarter of a second.
  func nextChange() async {
    await withCheckedContinuation { changeWaiters.append($0) }
  }

  func announceChange() {
    let waiters = changeWaiters
    changeWaiters = []
    for waiter in waiters { waiter.resume() }
  }

  /// Waits until `probe` gives an answer, the request is abandoned, or the long poll is over (nil).
  func wait<Answer>(_ probe: () throws -> Answer?) async throws -> Answer? {
    let limit = clock() + Self.longPollMilliseconds
    while true {
      if let answer = try probe() { return answer }
      if isStopping || Task.isCancelled || clock() >= limit { return nil }
      await nextChange()
    }
  }

  /// Answers everybody who waits with "ask again", so that the server can stop without cutting them off.
  func stop() {
    isStopping = true
    announceChange()
  }

  /// One beat: moves deadlines, starts sessions, wakes everybody who waits. Called a few times a second.
  /// Throws only what must stop the server.
  package func tick() throws {
    defer { announceChange() }
    if let failure { throw HostRefusal(.internalError, failure) }
    if current != nil {
      try handle(.tick)
    } else {
      try startSessionIfPossible()
    }
  }

  // MARK: Recovery

  /// Reports sessions that a crash cut off and completes the ledger. Called once before serving.
  package func recover() throws {
    for session in try store.unrecordedSessions() {
      let record: [UInt8]
      if let written = session.record {
        record = written
      } else {
        record = try abortedRecord(session, reason: "the server was stopped during the session")
        // Durable before it goes to the ledger: after another crash the same bytes are appended again. A record
        // made anew would say other times of the same session, which the ledger refuses for good.
        if let index = tasks.firstIndex(where: { $0.id == session.task }) {
          tasks[index].engine.sessionAborted()
          try store.end(
            session: session.number, task: session.task, record: record,
            progress: tasks[index].engine.progress, model: nil, sum: nil, now: clock())
        }
      }
      try appendRecord(record, session: session.number)
      logger.info("recorded session \(session.number) in the ledger after a restart")
    }
  }

  func abortedRecord(
    _ session: ServerStore.UnrecordedSession, reason: String
  ) throws -> [UInt8] {
    guard let task = tasks.first(where: { $0.id == session.task }) else {
      throw HostRefusal(
        .internalError, "session \(session.number) belongs to the unknown task \(session.task)")
    }
    let now = clock()
    let facts = SessionFacts(
      task: task.engine.terms, number: session.number, sessionID: session.sessionID, kind: session.kind,
      round: session.round, checkpoint: try checkpointInForce(now),
      spent: try budgets.epsilon(task.engine.terms), startedAt: session.startedAt, endedAt: now)
    return try SessionRecord.aborted(
      facts, model: ModelArtifact.digest(of: task.artifact), reason: reason, key: keys.server)
  }

  func checkpointInForce(_ now: UInt64) throws -> CheckpointInForce {
    CheckpointInForce(
      try ledger.checkpoint(nowMs: Int64(now)), policy: ledger.rules.current?.digest, nowMilliseconds: now)
  }

  func appendRecord(_ record: [UInt8], session number: UInt64) throws {
    let receipts = try ledger.append([SignedStatement(parsing: record)], nowMs: Int64(clock()))
    guard let index = receipts.first?.index.value else { return }
    try store.markRecorded(session: number, index: index, record: record, now: clock())
  }
}
