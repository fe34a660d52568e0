import Consent
import Cryptography
import Federation
import Learning
import Privacy
import SecureAggregation
import Testing

/// Records of one store, per population, with everybody's consent.
struct Store {
  var training: ConsentedBatch<LabelledRecord>
  var heldOut: ConsentedBatch<LabelledRecord>

  /// Customers whose label follows from visits and channel, with some noise; every third one has two records.
  init(seed: UInt64, training: Int, heldOut: Int) throws {
    var random = RandomStream(testSeed: seed)
    func batch(_ count: Int, _ offset: Int) throws -> ConsentedBatch<LabelledRecord> {
      var candidates: [Candidate<LabelledRecord>] = []
      for index in 0..<count {
        let records = (0..<(index.isMultiple(of: 3) ? 2 : 1)).map { _ in Store.record(&random) }
        candidates.append(try Consenting.candidate(offset + index, records))
      }
      return Consenting.admitted(candidates)
    }
    self.training = try batch(training, 0)
    self.heldOut = try batch(heldOut, 100_000)
  }

  private static func record(_ random: inout RandomStream) -> LabelledRecord {
    func unit() -> Double { Double(random.word() >> 11) * 0x1p-53 }
    let visits = unit() * 20
    let basket = 5 + unit() * 95
    let isOnline = unit() < 0.5
    let score = (visits - 10) / 4 + (isOnline ? 1.0 : -1) + (unit() - 0.5) * 2
    return LabelledRecord(
      values: [.number(visits), .number(basket), .text(isOnline ? "online" : "store")], label: score > 0)
  }
}

/// Batches of customers whose consent is in a history of events.
enum Consenting {
  static func tag(_ number: Int) throws -> SubjectTag {
    try SubjectTag(Fixture.digest("customer \(number)").bytes)
  }

  static func event(
    _ number: Int, at index: UInt64 = 0, _ state: ConsentState = .given, purpose: Purpose = Fixture.purpose
  ) throws -> IndexedEvent {
    IndexedEvent(
      index: LeafIndex(index),
      event: ConsentEvent(
        eventID: try EventID(Array(Fixture.digest("event \(number) \(index)").bytes.prefix(16))),
        subject: try tag(number), purpose: purpose, state: state, regime: .optIn,
        legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web", method: "toggle",
        eventTimeMs: 1_000, recorder: "till 1",
        recordID: try EventID(Array(Fixture.digest("record \(number)").bytes.prefix(16)))))
  }

  static func candidate(
    _ number: Int, _ records: [LabelledRecord], events: [IndexedEvent]? = nil
  ) throws -> Candidate<LabelledRecord> {
    Candidate(
      subjectID: "c\(number)", tag: try tag(number), events: try events ?? [event(number)], records: records)
  }

  static func admitted(
    _ candidates: [Candidate<LabelledRecord>], purpose: Purpose = Fixture.purpose
  ) -> ConsentedBatch<LabelledRecord> {
    admit(candidates, purpose: purpose, regime: .optIn, nowMs: Int64(Fixture.now))
  }
}

/// A whole federation in one process: the engine, the budgets of both populations, and stores that check,
/// build and take part as the hosts do.
struct TestFederation {
  enum Outcome: Equatable {
    case completed(SessionPlan)
    case aborted(SessionPlan)
    case over
  }

  let stores: [Store]
  let policy: NodePolicy
  var run: TaskRun
  var accounts: [Population: BudgetAccount]
  /// Every plan that was run, in order.
  private(set) var plans: [SessionPlan] = []
  private(set) var lastSum: ReleasedSum?
  /// What was debited for this task.
  private(set) var own: [PrivacyEvent] = []
  private var number: UInt64 = 0
  private var random: RandomStream

  init(
    _ task: TaskSpecification, stores: [Store], policy: NodePolicy = Fixture.policy(), seed: UInt64 = 1
  ) throws {
    try self.init(.training(task), stores: stores, policy: policy, seed: seed)
  }

  init(
    _ task: FederationTask, stores: [Store], policy: NodePolicy = Fixture.policy(), seed: UInt64 = 1
  ) throws {
    try task.validate()
    self.stores = stores
    self.policy = policy
    run = TaskRun(task)
    accounts = task.terms.populationBudgets.mapValues { BudgetAccount(budget: $0) }
    random = RandomStream(testSeed: seed)
  }

  /// The engine of a training task.
  var engine: TaskEngine {
    get {
      guard case .training(let engine) = run else { preconditionFailure("not a training task") }
      return engine
    }
    set { run = .training(newValue) }
  }

  var spent: [Population: [PrivacyEvent]] { accounts.mapValues(\.events) }

  func epsilon(_ population: Population) throws -> Double {
    try #require(accounts[population]).spent().epsilon
  }

  /// The descriptor of a plan, as the server writes it.
  mutating func descriptor(_ plan: SessionPlan) throws -> RoundDescriptor {
    let task = run.terms
    number += 1
    let taskDigest = TaskSpecification.digest(of: try run.task.canonicalBytes())
    let modelDigest = TaskArtifact.digest(of: try run.artifact.encode())
    return try Fixture.descriptor(
      plan.segments, cohort: stores.count, minimumCohort: task.minimumCohort,
      minimumSurvivors: task.minimumSurvivors, corruptPermille: task.corruptPermille,
      maximumContributors: task.maximumContributors
    ) {
      $0.sessionNumber = number
      $0.kind = plan.kind
      $0.round = plan.round
      $0.taskDigest = taskDigest
      $0.modelDigest = modelDigest
      $0.seed = task.seed &+ number
      $0.unit = task.unit
    }
  }

  /// Runs the next session. `fates` of the stores; when too many of them leave, it is aborted.
  mutating func runSession(fates: [Fate]? = nil) throws -> Outcome {
    guard let plan = try run.nextSession(spent: spent, own: own, cohort: 3) else { return .over }
    plans.append(plan)
    let descriptor = try descriptor(plan)
    let artifact = try TaskArtifact.decode(run.artifact.encode())
    var session = try Session(descriptor, nodes: stores.count, policy: policy, seed: random.word())
    var contributions: [[Int64]] = []
    for store in stores {
      try policy.check(
        descriptor, task: run.terms, federation: Fixture.federation, lastSession: number - 1,
        now: Fixture.now)
      let builder = try run.task.contributions(descriptor: descriptor, artifact: artifact)
      contributions.append(
        try builder.build(training: store.training, heldOut: store.heldOut, random: &random))
    }
    var (accounts, own) = (accounts, own)
    try session.run(contributions, fates: fates) { debits in
      var copy = accounts
      for debit in debits {
        do { try copy[debit.population]?.debit(debit.event) } catch { return .debitFailed("\(error)") }
      }
      accounts = copy
      own += debits.map(\.event)
      return .debited
    }
    (self.accounts, self.own) = (accounts, own)
    guard let released = session.released else {
      run.sessionAborted()
      return .aborted(plan)
    }
    lastSum = released
    try run.apply(released, epsilon: accounts[.training]?.spent().epsilon ?? 0, seconds: 1)
    return .completed(plan)
  }

  /// Runs sessions until the task is over, at most `limit`.
  mutating func runAll(limit: Int = 40) throws {
    for _ in 0..<limit where try runSession() == .over { return }
    Issue.record("the task was not over after \(limit) sessions")
  }
}
