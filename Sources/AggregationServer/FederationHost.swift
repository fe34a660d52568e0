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
  private var consecutiveAborts = 0
  private var notBefore: UInt64 = 0

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
        if let index = tasks.firstIndex(where: { $0.id == session.task }) {
          tasks[index].engine.sessionAborted()
          try store.update(task: session.task, progress: tasks[index].engine.progress)
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
    CheckpointInForce(try ledger.checkpoint(nowMs: Int64(now)), nowMilliseconds: now)
  }

  func appendRecord(_ record: [UInt8], session number: UInt64) throws {
    let receipts = try ledger.append(leaves: [record], nowMs: Int64(clock()))
    guard let index = receipts.first?.index.value else { return }
    try store.markRecorded(session: number, index: index, record: record, now: clock())
  }

  // MARK: Sessions

  func startSessionIfPossible() throws {
    guard let position = tasks.firstIndex(where: { $0.engine.progress.status == .running }) else { return }
    let enrolled = enrolledNodes()
    let present = Set(waiting.keys).intersection(enrolled)
    // Every group needs its own smallest cohort.
    let terms = tasks[position].engine.terms
    let minimum = max(terms.minimumCohort * (terms.groups ?? 1), 2)
    guard present.count >= minimum else {
      enoughSince = nil
      return
    }
    let now = clock()
    if present.count < enrolled.count {
      let since = enoughSince ?? now
      enoughSince = since
      guard now >= since + gatherMilliseconds else { return }
    }
    guard now >= notBefore else { return }
    enoughSince = nil
    do {
      try start(position, enrolled: enrolled, expected: present, now: now)
    } catch let error as FederationError {
      // The task as it stands cannot be run with these nodes: it ends, the server goes on.
      try stopTask(position, reason: "\(error)")
    }
  }

  /// Ends a task that cannot go on, durably and visibly: the refusal is an entry in the ledger.
  private func stopTask(_ position: Int, reason: String) throws {
    tasks[position].engine.stop(reason)
    try store.update(task: tasks[position].id, progress: tasks[position].engine.progress)
    try noteEnd(of: tasks[position].engine, reason: reason)
  }

  /// Writes into the ledger why a task ended without completing.
  private func noteEnd(of engine: TaskRun, reason: String) throws {
    logger.warning("task \(engine.terms.id) stopped: \(reason)")
    let notice = NoticeRecord(
      id: try EventID(random.bytes(16)), kind: "refusal",
      text: SessionRecord.oneLine("task \(engine.terms.id) stopped: \(reason)"), timeMs: Int64(clock()))
    _ = try ledger.append([.notice(notice, signedBy: keys.server)], nowMs: Int64(clock()))
  }

  func start(
    _ position: Int, enrolled: Set<VerifyingKey>, expected: Set<VerifyingKey>, now: UInt64
  ) throws {
    let task = tasks[position].engine.terms
    let before = tasks[position].engine.progress
    guard
      let plan = try tasks[position].engine.nextSession(
        spent: try budgets.spent(task), own: try budgets.own(task),
        cohort: min(enrolled.count, MessageLimits.cohort))
    else {
      try store.update(task: task.id, progress: tasks[position].engine.progress)
      if case .stopped(let reason) = tasks[position].engine.progress.status {
        try noteEnd(of: tasks[position].engine, reason: reason)
      }
      return
    }
    if tasks[position].engine.progress != before {
      try store.update(task: task.id, progress: tasks[position].engine.progress)
    }
    let cohort = try cohortPlan(task, expected: expected, enrolled: enrolled)
    let cohortLimit = min(
      task.plannedCohort(of: min(enrolled.count, MessageLimits.cohort)), cohort.graph.maximumCohort)
    let uploadKey = AgreementKey(using: &random)
    let number = try store.nextSessionNumber()
    let checkpoint = try checkpointInForce(now)
    let descriptor = RoundDescriptor(
      federation: ledger.origin, sessionNumber: number, kind: plan.kind, round: plan.round,
      taskDigest: TaskSpecification.digest(of: tasks[position].bytes),
      modelDigest: ModelArtifact.digest(of: tasks[position].artifact),
      seed: task.seed &+ number, segments: plan.segments,
      ringBits: try VectorPlan(plan.segments).ringBits(
        cohort: cohortLimit, maximumContributors: task.maximumContributors,
        minimumSurvivors: try cohort.assuredSurvivors(task, of: cohortLimit),
        corruptPermille: cohort.corruptPermille),
      minimumCohort: task.minimumCohort, minimumSurvivors: task.minimumSurvivors,
      corruptPermille: cohort.corruptPermille, dropoutPermille: task.dropoutPermille,
      maximumContributors: task.maximumContributors,
      stepDeadlineMilliseconds: task.stepDeadlineMilliseconds,
      trainingDeadlineMilliseconds: task.trainingDeadlineMilliseconds, checkpoint: checkpoint.note,
      issuedAtMilliseconds: now, uploadKey: uploadKey.publicKey, unit: task.unit,
      suite: cohort.suite, graph: cohort.graph, groups: task.groups ?? 1)
    let signed = SignedDescriptor(descriptor, key: keys.server)
    let coordinator = try RoundCoordinator(
      signed: signed, expected: expected, enrolled: enrolled, now: now)
    try store.begin(
      session: number, sessionID: signed.sessionID, task: task.id, kind: plan.kind, round: plan.round,
      now: now)
    current = LiveSession(
      coordinator: coordinator, uploadKey: uploadKey, taskBytes: tasks[position].bytes,
      taskSignature: tasks[position].signature, number: number, startedAt: now, checkpoint: checkpoint)
    logger.info(
      "session \(number) (\(plan.kind.rawValue) \(plan.round)) announced to \(expected.count) nodes")
  }

  /// Feeds one event into the session under way and carries out its actions.
  func handle(_ event: RoundCoordinator.Event) throws {
    guard var live = current else { return }
    var queue: [RoundCoordinator.Event] = [event]
    while !queue.isEmpty {
      // One owner while it is changed: otherwise every input would copy the whole vector.
      current = nil
      let actions: [RoundCoordinator.Action]
      do { actions = try live.coordinator.handle(queue.removeFirst(), now: clock()) } catch {
        current = live
        throw error
      }
      current = live
      for action in actions {
        switch action {
        case .debit(let debits):
          do {
            try debit(debits, live)
            queue.append(.debited)
          } catch {
            queue.append(.debitFailed("the privacy budget was not debited: \(error)"))
          }
        case .completed(let sum):
          do {
            try orStop { try complete(sum, live) }
          } catch let error as FederationError {
            // The sum is right but nothing can be made of it: the cost stays, the task ends.
            try orStop { try abandon("\(error)", live) }
          }
        case .aborted(let reason): try orStop { try abort(reason, live) }
        }
      }
    }
    announceChange()
  }

  /// What ends a session must be on disk: if it is not, or nobody knows, the server stops and reloads.
  func orStop(_ body: () throws -> Void) throws {
    do { try body() } catch let error as FederationError { throw error } catch {
      failure = "the end of a session could not be stored, so the server stops: \(error)"
      throw HostRefusal(.internalError, "the session's end could not be stored")
    }
  }

  /// A session whose sum cannot be used: it ends as aborted, and so does its task.
  func abandon(_ reason: String, _ live: LiveSession) throws {
    try abort(reason, live)
    if let position = tasks.firstIndex(where: { $0.bytes == live.taskBytes }) {
      try stopTask(position, reason: reason)
    }
  }

  func debit(_ debits: [SegmentDebit], _ live: LiveSession) throws {
    guard let task = tasks.first(where: { $0.bytes == live.taskBytes })?.engine.terms else { return }
    for debit in debits {
      try budgets.debit(debit, task: task, session: live.number, sessionID: live.sessionID, now: clock())
    }
  }

  func complete(_ sum: ReleasedSum, _ live: LiveSession) throws {
    guard let position = tasks.firstIndex(where: { $0.bytes == live.taskBytes }) else { return }
    let now = clock()
    let task = tasks[position].engine.terms
    let before = ModelArtifact.digest(of: tasks[position].artifact)
    var engine = tasks[position].engine
    let spent = try budgets.epsilon(task)
    try engine.apply(
      sum, epsilon: spent[.training] ?? 0, seconds: Double(Self.elapsed(live.startedAt, now)) / 1000)
    let artifact = try engine.artifact.encode()
    let after = ModelArtifact.digest(of: artifact)
    let record = try SessionRecord.completed(
      facts(live, task, spent: spent, now: now), sum: sum, modelBefore: before, modelAfter: after,
      eligible: engine.progress.rounds.last(where: { $0.session == live.number })?.eligible,
      key: keys.server)
    try store.end(
      session: live.number, task: task.id, record: record, progress: engine.progress,
      model: after == before ? nil : (engine.artifact.version, artifact),
      sum: sum.ring, now: now)
    tasks[position].engine = engine
    tasks[position].artifact = artifact
    var finished = live
    finished.outcomeModel = after
    previous = finished
    current = nil
    consecutiveAborts = 0
    try appendRecord(record, session: live.number)
    logger.info(
      "session \(live.number) completed: \(sum.survivors.count) of \(sum.cohort.count) nodes")
  }

  func abort(_ reason: String, _ live: LiveSession) throws {
    guard let position = tasks.firstIndex(where: { $0.bytes == live.taskBytes }) else { return }
    let now = clock()
    let task = tasks[position].engine.terms
    tasks[position].engine.sessionAborted()
    let record = try SessionRecord.aborted(
      facts(live, task, spent: try budgets.epsilon(task), now: now),
      model: ModelArtifact.digest(of: tasks[position].artifact), reason: reason, key: keys.server)
    try store.end(
      session: live.number, task: task.id, record: record, progress: tasks[position].engine.progress,
      model: nil, sum: nil, now: now)
    previous = live
    current = nil
    // Sessions that fail one after another are tried ever less often, up to once a minute.
    consecutiveAborts += 1
    notBefore = now + min(60_000, 500 << UInt64(min(consecutiveAborts, 7)))
    try appendRecord(record, session: live.number)
    logger.warning("session \(live.number) aborted: \(reason)")
  }

  func facts(
    _ live: LiveSession, _ task: any TaskTerms, spent: [Population: Double], now: UInt64
  ) -> SessionFacts {
    SessionFacts(
      task: task, number: live.number, sessionID: live.sessionID,
      kind: live.coordinator.signed.descriptor.kind.rawValue,
      round: live.coordinator.signed.descriptor.round, checkpoint: live.checkpoint, spent: spent,
      startedAt: live.startedAt, endedAt: now)
  }

  func enrolledNodes() -> Set<VerifyingKey> {
    Set(ledger.enrolments().filter { $0.kind != .server }.map(\.nodeKey))
  }
}
