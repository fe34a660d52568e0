import Cryptography
import Federation
import MerkleLog
import Privacy
import SecureAggregation
import Storage
import ConsentLedger

/// The life of a session: `AggregationServer/FederationHost+Sessions.swift`.
extension SimulatedServer {
  /// One beat.
  func tick() throws {
    if current != nil { try handle(.tick) } else { try startIfPossible() }
    let nowMs = now
    let over = waiting.filter { $0.untilMs <= nowMs }
    waiting.removeAll { $0.untilMs <= nowMs }
    for entry in over { world.reply(entry.call, .askAgain) }
  }

  func startIfPossible() throws {
    if task == nil || task?.engine.progress.status != .running {
      guard world.wantsSessions else { return }
      try submitNextTask()
    }
    guard world.wantsSessions, ledger.rules.current != nil, !malice.delaysSessions(now), let task else {
      return
    }
    let enrolled = Set(ledger.enrolments().filter { $0.kind.trains }.map(\.nodeKey))
    let present = Set(waiting.filter { $0.call.kind == .invitation }.map(\.request.sender)).intersection(
      enrolled)
    guard present.count >= max(task.engine.terms.minimumCohort, 2) else {
      enoughSince = nil
      return
    }
    let now = now
    if present.count < enrolled.count {
      let since = enoughSince ?? now
      enoughSince = min(since, now)
      guard now >= since + 300 else { return }
    }
    guard now >= notBefore else { return }
    enoughSince = nil
    try start(task, enrolled: enrolled, expected: present, now: now)
  }

  func start(
    _ running: RunningTask, enrolled: Set<VerifyingKey>, expected: Set<VerifyingKey>, now: UInt64
  ) throws {
    var running = running
    let terms = running.engine.terms
    let spent = try budgets.account(Population.training.accountName)?.events ?? []
    let own = try budgets.events(of: Population.training.accountName, task: terms.id)
    guard
      let plan = try running.engine.nextSession(
        spent: [.training: spent], own: own, cohort: enrolled.count)
    else {
      let progress = running.engine.progress
      try disk.rows { rows.tasks[running.position].progress = progress }
      task = running
      return
    }
    let uploadKey = AgreementKey(using: &random)
    let number = (rows.sessions.keys.max() ?? 0) + 1
    let checkpoint = try ledger.checkpoint(nowMs: Int64(now))
    try world.oracle.note(checkpoint.noteText)
    let descriptor = RoundDescriptor(
      federation: FaultFederation.origin, sessionNumber: number, kind: plan.kind, round: plan.round,
      taskDigest: TaskSpecification.digest(of: running.bytes),
      modelDigest: ModelArtifact.digest(of: running.artifact), seed: terms.seed &+ number,
      segments: plan.segments,
      ringBits: try VectorPlan(plan.segments).ringBits(
        cohort: enrolled.count, maximumContributors: terms.maximumContributors,
        minimumSurvivors: terms.minimumSurvivors, corruptPermille: terms.corruptPermille),
      minimumCohort: terms.minimumCohort, minimumSurvivors: terms.minimumSurvivors,
      corruptPermille: terms.corruptPermille, dropoutPermille: terms.dropoutPermille,
      maximumContributors: terms.maximumContributors,
      stepDeadlineMilliseconds: terms.stepDeadlineMilliseconds,
      trainingDeadlineMilliseconds: terms.trainingDeadlineMilliseconds, checkpoint: checkpoint.noteText,
      issuedAtMilliseconds: now, uploadKey: uploadKey.publicKey, unit: terms.unit)
    let signed = SignedDescriptor(descriptor, key: world.federation.logKey)
    let coordinator = try RoundCoordinator(signed: signed, expected: expected, enrolled: enrolled, now: now)
    let row = Rows.Session(sessionID: signed.sessionID, task: terms.id, startedAt: now)
    if world.bug != .sessionRowLost { try disk.rows { rows.sessions[number] = row } }
    task = running
    current = LiveSession(
      coordinator: coordinator, uploadKey: uploadKey, task: running, number: number, startedAt: now,
      checkpoint: checkpoint, policy: ledger.rules.current?.digest)
    try world.announced(signed, expected: expected.count)
    answerWaiting()
  }

  /// Feeds one event into the session under way and carries out its actions.
  func handle(_ event: RoundCoordinator.Event) throws {
    guard var live = current else { return }
    var queue = [event]
    while !queue.isEmpty {
      let actions = try live.coordinator.handle(queue.removeFirst(), now: now)
      current = live
      for action in actions {
        switch action {
        case .debit(let debits):
          live.debits = debits
          current = live
          do {
            if world.bug != .debitAtRelease { try debit(live) }
            queue.append(.debited)
          } catch let refusal as BudgetBook.Refusal {
            queue.append(.debitFailed("the privacy budget was not debited: \(refusal)"))
          }
        case .completed(let sum):
          try complete(sum, live)
          return answerWaiting()
        case .aborted(let reason):
          try abort(reason, live)
          return answerWaiting()
        }
      }
    }
    answerWaiting()
  }

  func debit(_ live: LiveSession) throws {
    guard world.bug != .debitForgotten else { return }
    if world.bug == .costRefunded { try world.keepBudgetCopy() }
    for debit in live.debits {
      try disk.write {
        try budgets.debit(
          id: "\(live.sessionID.hex)/\(debit.segment.rawValue)", population: debit.population.accountName,
          unit: live.task.engine.terms.unit, event: debit.event, task: live.task.engine.terms.id,
          round: live.number, timeMs: Int64(now))
      }
    }
    try world.oracle.readDebits(server: budgets)
  }

  func complete(_ sum: ReleasedSum, _ live: LiveSession) throws {
    var live = live
    let now = now
    let before = ModelArtifact.digest(of: live.task.artifact)
    var integers = sum.integers(of: .query(0)) ?? []
    for stray in live.strays {
      for index in integers.indices { integers[index] += Int64(stray[index]) }
    }
    try world.released(sum, integers)
    if world.bug == .debitAtRelease { try debit(live) }
    let spent = try budgets.account(Population.training.accountName)?.spent().epsilon ?? 0
    var running = live.task
    try running.engine.apply(sum, epsilon: spent, seconds: Double(now &- live.startedAt) / 1000)
    let artifact = try running.engine.artifact.encode()
    let after = ModelArtifact.digest(of: artifact)
    let record = try statement(live, model: before, endedAt: now).completed(
      sum, modelOut: after, evidence: sum.survivors.compactMap { live.evidence[$0] ?? nil }.sorted(),
      key: world.federation.logKey)
    let progress = running.engine.progress
    try disk.rows {
      rows.sessions[live.number, default: row(live)].record = record
      rows.tasks[running.position].progress = progress
      rows.tasks[running.position].artifact = artifact
      rows.last = (live.number, integers)
      add(integers, times: Int64(live.number))
      world.stored(live.number)
    }
    running.artifact = artifact
    task = running
    live.strays = []
    previous = live
    current = nil
    consecutiveAborts = 0
    world.note("server released session \(live.number): \(sum.survivors.count) of \(sum.cohort.count) inputs")
    try appendRecord(record, session: live.number)
    world.sessionEnded(live.number, completed: true)
  }

  func row(_ live: LiveSession) -> Rows.Session {
    Rows.Session(sessionID: live.sessionID, task: live.task.engine.terms.id, startedAt: live.startedAt)
  }

  func abort(_ reason: String, _ live: LiveSession) throws {
    let now = now
    var running = live.task
    running.engine.sessionAborted()
    let record = try statement(live, model: ModelArtifact.digest(of: running.artifact), endedAt: now)
      .aborted(reason, key: world.federation.logKey)
    let progress = running.engine.progress
    try disk.rows {
      rows.sessions[live.number, default: row(live)].record = record
      rows.tasks[running.position].progress = progress
    }
    task = running
    previous = live
    current = nil
    consecutiveAborts += 1
    notBefore = now + min(60_000, 500 << UInt64(min(consecutiveAborts, 7)))
    world.note("server aborted session \(live.number): \(reason)")
    if world.bug == .costRefunded, !live.debits.isEmpty { try world.refund() }
    try appendRecord(record, session: live.number)
    world.sessionEnded(live.number, completed: false)
  }

  func statement(_ live: LiveSession, model: Digest, endedAt: UInt64) throws -> SessionStatement {
    SessionStatement(
      task: live.task.engine.terms, number: live.number, sessionID: live.sessionID,
      startedAt: live.startedAt, endedAt: endedAt, checkpoint: live.checkpoint, policy: live.policy,
      model: model)
  }
}
