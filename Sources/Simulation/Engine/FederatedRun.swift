import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import SecureAggregation

/// One run with secure aggregation, `full` or `modelled`, on the state machines that are deployed: the task's
/// engine plans statistics, training and evaluation sessions and calibrates their noise from what was spent,
/// nodes build their integers as a node's daemon does, and every cost is debited before a sum is released.
///
/// - `full`: every message of every node, encoded and counted; computed on every process alike.
/// - `modelled`: the same integers and the same noise without keys and masks (`ModelledSession`), so the same
///   model from the same seed for cohorts of up to `ModelledSession.mostSeparateShares`.
///
/// What takes part in a session is the setup's cohort; noise, ring and grid are planned for exactly that size
/// (or the noise cohort's). Every session is charged to every contributor of its population, as a federation
/// does: sampling of nodes amplifies nothing.
package struct FederatedRun: Sendable {
  private let setup: RunSetup
  private let population: any VirtualPopulation
  private let context: RunContext
  private let task: FederatedTask

  /// Checks the setup.
  /// - Throws: `FederatedRunError.setup`, `FederationError`: one sentence about a field.
  package init(setup: RunSetup, population: any VirtualPopulation, context: RunContext) throws {
    self.setup = setup
    self.population = population
    self.context = context
    task = try FederatedTask(setup, schema: population.schema, nodeCount: population.nodeCount)
  }

  /// Runs until the task is over or its budget is spent.
  /// - Throws: what a session cannot heal, `FederatedRunError`, and what `context.progress` throws.
  package func run() throws -> RunOutcome {
    let started = ContinuousClock.now
    var loop = FederatedLoop(setup: setup, task: task, population: population, context: context)
    while let plan = try loop.nextPlan() { try loop.run(plan) }
    return try loop.outcome(started: started)
  }
}

/// The state of a run between sessions.
struct FederatedLoop {
  private let setup: RunSetup
  private let task: FederatedTask
  private let population: any VirtualPopulation
  private let context: RunContext
  private let nodes: FederatedNodes
  private let work: NodeWork
  private let streams: SimulatedStreams
  private let evaluation: FederatedEvaluation
  private let wire: FederatedWire
  private var engine: TaskEngine
  private var accounts: [Population: BudgetAccount]
  private var number: UInt64 = 0
  private var abortedInARow = 0
  private var rounds: [RunOutcome.Round] = []
  private let clock: PhaseClock
  private var clientUpdates = 0
  private var traffic = FederatedTraffic()
  private var notes: [String] = []

  init(setup: RunSetup, task: FederatedTask, population: any VirtualPopulation, context: RunContext) {
    self.setup = setup
    self.task = task
    self.population = population
    self.context = context
    clock = PhaseClock()
    nodes = FederatedNodes(population, task: task.task)
    work = NodeWork(workers: context.workers, clock: clock)
    streams = SimulatedStreams(seed: setup.seed)
    evaluation = FederatedEvaluation(
      population: population, nodes: nodes, work: work, objective: setup.architecture.objective)
    wire = FederatedWire(task: task, nodes: nodes, work: work, streams: streams)
    engine = TaskEngine(task: task.task)
    accounts = task.task.populationBudgets.mapValues { BudgetAccount(budget: $0) }
  }

  // MARK: Sessions

  /// The next session, or nil when the task is over.
  mutating func nextPlan() throws -> SessionPlan? {
    let (spent, planned) = (accounts.mapValues(\.events), task.plannedCohort)
    return try clock.time("plan") { try engine.nextSession(spent: spent, cohort: planned) }
  }

  /// Runs one session and takes its sum.
  mutating func run(_ plan: SessionPlan) throws {
    number += 1
    let session = try session(plan)
    let sum: ReleasedSum
    do {
      sum = try setup.aggregation == .full ? full(session) : modelled(session)
    } catch let error as FederationError {
      // The session is lost and its cost stays, as in a federation; the engine plans with what is left.
      engine.sessionAborted()
      abortedInARow += 1
      guard abortedInARow < 3 else {
        throw FederatedRunError.stuck(session: number, reason: "\(error)")
      }
      return notes.append("Session \(number) ended without a sum: \(error)")
    }
    abortedInARow = 0
    // Of the population that spent more: nobody is in both.
    let epsilon = try spentEpsilon()
    let before = engine.progress.rounds.count
    try engine.apply(sum, epsilon: epsilon, seconds: 0)
    guard engine.progress.rounds.count > before else { return }
    try finishRound(sum, session: session, epsilon: epsilon)
  }

  private mutating func finishRound(_ sum: ReleasedSum, session: FederatedSession, epsilon: Double) throws {
    let done = engine.progress.rounds.count
    let isMeasured = done.isMultiple(of: max(1, setup.evaluateEvery)) || done == setup.rounds
    let (artifact, evaluation) = (engine.artifact, evaluation)
    rounds.append(
      RunOutcome.Round(
        round: done, participants: sum.survivors.count,
        // After the best model was restored, it is not that of this round.
        metrics: isMeasured && !engine.progress.hasStoppedEarly ? try evaluation.metrics(artifact) : nil,
        privateAUC: done > 1 ? engine.progress.rounds[done - 2].auc : nil,
        epsilon: epsilon.isFinite ? epsilon : nil,
        model: Hash.sha256(try artifact.encode()).hex))
    try context.progress(done, setup.rounds)
  }

  private func session(_ plan: SessionPlan) throws -> FederatedSession {
    let nodes = population.nodeCount
    let members =
      task.cohort == nodes
      ? Array(0..<nodes)
      : CohortSampler(seed: setup.seed, nodeCount: nodes).cohort(round: Int(number), size: task.cohort)
    var server = streams.server
    let key = SigningKey(using: &server)
    let terms = task.task
    let cohort = try CohortPlan(
      task: terms, expected: task.plannedCohort, enrolled: task.plannedCohort, suite: .chacha20)
    let descriptor = try RoundDescriptor(
      plan, task: terms, cohort: cohort, largest: task.plannedCohort,
      setting: RoundDescriptor.Setting(
        federation: FederatedTask.id, sessionNumber: number,
        taskDigest: TaskSpecification.digest(of: try terms.canonicalBytes()),
        modelDigest: ModelArtifact.digest(of: try engine.artifact.encode()), checkpoint: "",
        issuedAtMilliseconds: UInt64(FederatedNodes.decidedAtMs),
        uploadKey: AgreementKey(using: &server).publicKey))
    return FederatedSession(
      number: number, members: members, survivors: survivors(of: members),
      signed: SignedDescriptor(descriptor, key: key), serverKey: key, artifact: engine.artifact)
  }

  /// The members but those that drop out.
  private func survivors(of members: [Int]) -> [Int] {
    var members = members
    var random = streams.dropouts(session: number)
    for _ in 0..<task.dropouts {
      members.remove(at: Int(random.uniform(below: UInt64(members.count))))
    }
    return members
  }

  private func builder(_ session: FederatedSession) throws -> ContributionBuilder {
    try ContributionBuilder(
      task: task.task, descriptor: session.signed.descriptor, artifact: session.artifact)
  }

  private mutating func modelled(_ session: FederatedSession) throws -> ReleasedSum {
    let noiseCohort = task.noiseCohort
    var modelled = try clock.time("noise") {
      try ModelledSession(
        signed: session.signed, cohort: session.members.map(FederatedWire.placeholder),
        noiseCohort: noiseCohort)
    }
    try debit(modelled.debits)
    try modelled.debited()
    if session.signed.descriptor.kind == .training { try estimateTraffic(session) }
    let builder = try builder(session)
    let (work, nodes, streams, reducer) = (work, nodes, streams, context.reducer)
    let mine = session.survivors.enumerated().filter { $0.offset % reducer.ranks == reducer.rank }
    // The last coordinate counts the contributors whose updates were computed.
    let length = session.signed.descriptor.dimension + 1
    var sums = try work.sum("train", mine.count, dimension: length) { [modelled] position, sums in
      var random = streams.node(mine[position].element, session: session.number)
      let (built, updates) = try FederatedWire.contribution(
        of: mine[position].element, builder, nodes, session, random: &random)
      var values = built
      try modelled.addShare(to: &values, random: random.fork())
      for index in values.indices { sums[index] &+= values[index] }
      sums[values.count] &+= Int64(updates)
    }
    return try clock.time("aggregate") {
      try reducer.allReduce(&sums)
      clientUpdates += Int(sums.removeLast())
      var noise = streams.noise(session: session.number)
      return try modelled.release(
        sums, survivors: session.survivors.map(FederatedWire.placeholder), random: &noise)
    }
  }

  private mutating func full(_ session: FederatedSession) throws -> ReleasedSum {
    let builder = try builder(session)
    let (work, nodes, streams) = (work, nodes, streams)
    let contributions = try work.map("train", session.survivors.count) { position in
      let node = session.survivors[position]
      var random = streams.node(node, session: session.number)
      let (values, updates) = try FederatedWire.contribution(
        of: node, builder, nodes, session, random: &random)
      return FederatedWire.Input(values: values, random: random.fork(), updates: updates)
    }
    clientUpdates += contributions.reduce(0) { $0 + $1.updates }
    var exchange = try wire.exchange(session, contributions)
    let sum = try exchange.run { debits in try debit(debits) }
    if session.signed.descriptor.kind == .training { traffic.add(exchange.traffic) }
    return sum
  }

  /// What the nodes of a modelled session would send and receive; with a noise cohort, in a cohort of that size.
  private mutating func estimateTraffic(_ session: FederatedSession) throws {
    let cohort = task.plannedCohort
    let survivors = session.survivors.count * cohort / session.members.count
    let opening = try FederatedTraffic.opening(session, task: task.task)
    let steps = try FederatedTraffic.steps(session.signed, cohort: cohort, survivors: survivors)
    var total = FederatedTraffic(nodes: survivors)
    total.sent = survivors * (opening.sent + steps.sent)
    total.received = survivors * (opening.received + steps.received)
    traffic.add(total)
  }

  /// Debits every population, or none of them.
  private mutating func debit(_ debits: [SegmentDebit]) throws(FederationError) {
    var after = accounts
    for debit in debits {
      do { try after[debit.population]?.debit(debit.event) } catch {
        throw .budgetSpent(population: debit.population.rawValue, detail: "\(error)")
      }
    }
    accounts = after
  }

  private func spentEpsilon() throws -> Double {
    try accounts.values.map { try $0.spent().epsilon }.max() ?? 0
  }

  // MARK: Outcome

  mutating func outcome(started: ContinuousClock.Instant) throws -> RunOutcome {
    guard case .model = engine.artifact.stage else {
      throw FederatedRunError.noModel(reason: stopReason ?? "the task ended before its statistics")
    }
    if let stopReason {
      notes.append("Training stopped after \(rounds.count) of \(setup.rounds) rounds: \(stopReason)")
    }
    describeCohort()
    if let rule = setup.earlyStopping, let stopping = engine.progress.earlyStopping {
      notes += stopping.sentences(rule, of: setup.rounds)
      notes.append(
        "Early stopping looked at private measurements on the held-out people, on whom the exact metrics are "
          + "computed as well.")
    }
    let (artifact, evaluation) = (engine.artifact, evaluation)
    let measured = try evaluation.final(artifact)
    if let note = measured.note { notes.append(note) }
    let bytes = try artifact.encode()
    let perNode = traffic.perNode
    return RunOutcome(
      rounds: rounds, metrics: measured.metrics, nodes: measured.nodes, privacy: try statement(),
      model: Hash.sha256(bytes).hex, parameterCount: artifact.parameters.count,
      cost: RunOutcome.Cost(
        seconds: (ContinuousClock.now - started).inSeconds, phaseSeconds: clock.seconds,
        uploadBytesPerRound: perNode.sent, downloadBytesPerRound: perNode.received,
        bytesAreCounted: setup.aggregation == .full, clientUpdates: clientUpdates),
      notes: notes, privateAUC: engine.progress.isEvaluated ? engine.progress.modelRound?.auc : nil)
  }

  private var stopReason: String? {
    guard case .stopped(let reason) = engine.progress.status else { return nil }
    return reason
  }

  private mutating func describeCohort() {
    if let noiseCohort = task.noiseCohort {
      notes.append(
        "The noise is that of a cohort of \(noiseCohort) on the mean of \(task.cohort): the guarantee is the "
          + "larger cohort's, not that of a federation of \(task.cohort).")
    }
    if task.cohort < population.nodeCount, setup.budget.epsilon.isFinite {
      notes.append(
        "Every session is charged to every contributor, in its cohort of \(task.cohort) of "
          + "\(population.nodeCount) nodes or not: sampling amplifies nothing.")
    }
  }

  private func statement() throws -> PrivacyStatement? {
    guard setup.budget.epsilon.isFinite else { return nil }
    let mechanism = accounts.values.lazy.flatMap(\.events).first?.mechanism ?? .none
    return PrivacyStatement(
      epsilon: try spentEpsilon(), delta: setup.budget.delta, unit: setup.unit, relation: .addRemove,
      mechanism: mechanism.name, trustMode: .distributed, accountant: .rdp)
  }
}
