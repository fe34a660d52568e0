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

/// The life of a session: from its announcement to its record in the ledger.
extension FederationHost {
  func startSessionIfPossible() throws {
    guard let position = tasks.firstIndex(where: { $0.engine.progress.status == .running }),
      ledger.rules.current != nil
    else { return }
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
    _ = try ledger.append(.notice(notice), signedBy: keys.server, nowMs: Int64(clock()))
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
    let uploadKey = AgreementKey(using: &random)
    let number = try store.nextSessionNumber()
    let checkpoint = try checkpointInForce(now)
    let descriptor = try RoundDescriptor(
      plan, task: task, cohort: cohort, largest: min(enrolled.count, MessageLimits.cohort),
      setting: RoundDescriptor.Setting(
        federation: ledger.origin, sessionNumber: number,
        taskDigest: TaskSpecification.digest(of: tasks[position].bytes),
        modelDigest: ModelArtifact.digest(of: tasks[position].artifact), checkpoint: checkpoint.note,
        issuedAtMilliseconds: now, uploadKey: uploadKey.publicKey))
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
      evidence: sum.survivors.compactMap { live.evidence[$0] ?? nil },
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
    Set(ledger.enrolments().filter { $0.kind.trains }.map(\.nodeKey))
  }
}
