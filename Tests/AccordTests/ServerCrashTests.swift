import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import Learning
import Logging
import Messages
import Privacy
import SecureAggregation
import Storage
import Testing

@testable import AggregationServer

/// A server host in this process with nodes that contribute known integers, so that it can be dropped at every
/// step of a session, as a kill would, and opened again from what is on disk.
private final class HostedFederation {
  /// Where a session is cut off.
  enum Cut: String, CaseIterable, Sendable {
    case announced, advertised, shared, uploaded, confirmed, recordNotInLedger
    /// Not cut off: customers withdraw while their node uploads.
    case withdrawal

    static let allCases: [Cut] = [
      .announced, .advertised, .shared, .uploaded, .confirmed, .recordNotInLedger,
    ]
  }

  let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
    "accord-host-\(UUID().uuidString)"
  ).path
  let operatorKey: SigningKey
  let nodes: [SigningKey]
  var host: FederationHost?
  private var random = RandomStream(testSeed: 3)
  private var session: UInt64 = 0

  init() throws {
    var random = RandomStream(testSeed: 1)
    operatorKey = SigningKey(using: &random)
    nodes = (0..<4).map { _ in SigningKey(using: &random) }
  }

  /// - Parameter step: where the ledger fails from then on; nil for every step if `ledgerFails`, else for none.
  func open(ledgerFails: Bool = false, at step: CommitStep? = nil) async throws {
    let data = try DataDirectory(directory, kind: .server)
    let keys = try ServerKeys(data, operatorKey: operatorKey.verifyingKey)
    let isArmed = Flag()
    let ledger = try LedgerStore.open(
      directory: directory, origin: "test.example/consent", logKey: keys.log, freshnessKey: keys.freshness,
      operatorKey: operatorKey.verifyingKey,
      faults: { now in
        if ledgerFails, isArmed.isSet, step ?? now == now { throw Crash(step: "\(now)") }
      })
    host = try FederationHost(
      keys: keys, store: try ServerStore(data), ledger: ledger, budgets: try ServerBudgets(data),
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, gatherMilliseconds: 60_000,
      random: random.fork(), clock: { UInt64(Date().timeIntervalSince1970 * 1000) })
    isArmed.isSet = true
  }

  func close() { host = nil }

  func remove() { try? FileManager.default.removeItem(atPath: directory) }

  func enrol() async throws {
    var random = RandomStream(testSeed: 99)
    let officers = [SigningKey(using: &random), SigningKey(using: &random)]
    let enrolments = (nodes.map { ($0, EnrolledKind.store) } + officers.map { ($0, .officer) }).enumerated()
      .map { index, member in
        EntryBody.enrolment(
          EnrolmentRecord(
            nodeKey: member.0.verifyingKey, name: "member-\(index)", kind: member.1, validFromMs: 0))
      }
    try await append(enrolments, operatorKey)
    let template = try #require(PolicyTemplates.all.first { $0.name == "eu-retail" })
    let policy = PolicyRecord(
      document: try PolicyFile.read(template.yaml, file: "eu-retail.yaml").canonicalBytes, timeMs: 0)
    try await append([.policy(policy)], officers[0])
    let approval = ApprovalRecord(
      id: try EventID([UInt8](repeating: 1, count: 16)), action: .policy, target: policy.digest, text: "yes",
      timeMs: 0)
    try await append([.approval(approval)], officers[1])
  }

  private func append(_ bodies: [EntryBody], _ key: SigningKey) async throws {
    var append = WireLedgerAppend()
    append.statements = try SignedStatement.sign(bodies, key: key).map { Data($0.bytes) }
    _ = try await host?.append(Self.signed(.ledgerAppend, encodeMessage(append), key))
  }

  func submit(rounds: Int) async throws {
    let budget = PrivacyBudget(epsilon: 8, delta: 1e-5)
    let task = TaskSpecification(
      id: "crash", purpose: "churn",
      schema: try FeatureSchema(columns: [FeatureColumn(name: "x", kind: .numeric)]),
      architecture: .logisticRegression, algorithm: .fedSGD, optimizer: .sgd(learningRate: 1), rounds: rounds,
      clipNorm: 1, quantileBins: 2, evaluationBins: 4, statisticsShare: 0.2, finalEvaluationShare: 0.5,
      trainingBudget: budget, evaluationBudget: budget, minimumCohort: 3, minimumSurvivors: 3,
      stepDeadlineMilliseconds: 20_000, trainingDeadlineMilliseconds: 20_000)
    let bytes = try task.canonicalBytes()
    var submission = WireTaskSubmission()
    submission.task = Data(bytes)
    submission.signature = Data(operatorKey.sign(domain: TaskSpecification.signatureDomain, [bytes]).bytes)
    _ = try await host?.submit(Self.signed(.task, encodeMessage(submission), operatorKey))
  }

  private static func signed(
    _ kind: SignedRequest.Kind, _ payload: [UInt8], _ key: SigningKey, _ session: Digest? = nil
  ) throws -> SignedRequest {
    let now = UInt64(Date().timeIntervalSince1970 * 1000)
    return try SignedRequest(
      SignedRequest.sign(kind, payload: payload, session: session, nowMilliseconds: now, key: key),
      expecting: kind, nowMilliseconds: now)
  }

  /// Runs one session with all nodes, up to the cut. Returns the descriptor.
  func runSession(cut: Cut? = nil) async throws -> RoundDescriptor {
    guard let host else { throw Crash(step: "closed") }
    let ticker = Task {
      while !Task.isCancelled {
        try? await host.tick()
        try? await Task.sleep(for: .milliseconds(5))
      }
    }
    let last = session
    do {
      let descriptor = try await runNodes(host, last, cut)
      session += 1
      ticker.cancel()
      await ticker.value
      guard let descriptor else { throw Crash(step: "ledger") }
      return descriptor
    } catch {
      ticker.cancel()
      await ticker.value
      throw error
    }
  }

  private func runNodes(
    _ host: FederationHost, _ last: UInt64, _ cut: Cut?
  ) async throws -> RoundDescriptor? {
    var streams = nodes.map { _ in random.fork() }
    return try await withThrowingTaskGroup(of: RoundDescriptor.self) { group in
      for (index, key) in nodes.enumerated() {
        let stream = streams.removeFirst()
        group.addTask { try await Self.node(key, index, host, last, stream, cut) }
      }
      var result: RoundDescriptor?
      while let next = await group.nextResult() {
        switch next {
        case .success(let descriptor): result = descriptor
        case .failure(let error) where cut == .recordNotInLedger: _ = error
        case .failure(let error): throw error
        }
      }
      return result
    }
  }

  /// One node's side of a session: it contributes its index + 1 in every coordinate.
  private static func node(
    _ key: SigningKey, _ index: Int, _ host: FederationHost, _ last: UInt64, _ random: RandomStream,
    _ cut: Cut?
  ) async throws -> RoundDescriptor {
    func request(_ kind: SignedRequest.Kind, _ payload: [UInt8], _ session: Digest?) throws -> SignedRequest {
      try Self.signed(kind, payload, key, session)
    }
    func answer<Value>(_ value: Value?) throws -> Value {
      guard let value else { throw Crash(step: "no answer") }
      return value
    }
    var ask = WireInvitationRequest()
    ask.lastSession = last
    let invitation = try answer(
      try await host.invitation(try request(.invitation, encodeMessage(ask), nil)))
    let signed = try SignedDescriptor(
      verifying: Array(invitation.descriptor), signature: try Signature(Array(invitation.signature)),
      serverKey: await host.keys.server.verifyingKey)
    let descriptor = signed.descriptor
    if cut == .announced { return descriptor }
    let policy = NodePolicy(purposes: ["churn"], budget: PrivacyBudget(epsilon: 8, delta: 1e-5))
    var round = try NodeRound(
      signed: signed, task: TaskSpecification.decode(Array(invitation.task)), policy: policy, identity: key,
      random: random)
    let sid = signed.sessionID
    let advertisement = try round.advertise()
    let roster = try answer(
      try await host.step(
        try request(.advertise, advertisement.wireBytes, sid), claimed: key.verifyingKey,
        event: .advertisement(advertisement)
      ) { $0.roster(for: key.verifyingKey) })
    if cut == .advertised { return descriptor }
    let shares = try round.share(roster, enrolled: Set(roster.members.map(\.id)))
    let delivery = try answer(
      try await host.deliverShares(try request(.shares, shares.wireBytes, sid), shares))
    if cut == .shared { return descriptor }
    let masked = try round.mask(
      [Int64](repeating: Int64(index + 1), count: descriptor.dimension), delivery: delivery)
    let inputRequest = try request(.input, [], sid)
    var (pending, _) = try await host.beginUpload(inputRequest)
    try pending.append(masked.packed)
    let input = try pending.finish()
    await host.endUpload(key.verifyingKey)
    let checked = await host.ledger.size
    if cut == .withdrawal { try await withdraw(key, index, host, checked, inputRequest, input) }
    let notice = try answer(
      try await host.takeInput(
        ReceivedInput(
          request: inputRequest, input: input, ledgerSize: await host.ledger.size,
          evidenceRoot: Hash.sha256([UInt8(index)]))))
    if cut == .uploaded { return descriptor }
    let confirmation = try round.confirm(notice)
    let quorum = try answer(
      try await host.step(
        try request(.consistency, confirmation.wireBytes, sid), claimed: key.verifyingKey,
        event: .consistency(confirmation)
      ) { $0.quorum(for: key.verifyingKey) })
    if cut == .confirmed { return descriptor }
    let reveal = try round.reveal(quorum)
    _ = try answer(try await host.outcome(try request(.unmask, reveal.wireBytes, sid), message: reveal))
    return descriptor
  }

  /// A withdrawal is acknowledged between the node's last check and the end of its upload: the upload that was
  /// checked before is refused and leaves no trace.
  private static func withdraw(
    _ key: SigningKey, _ index: Int, _ host: FederationHost, _ checked: UInt64, _ request: SignedRequest,
    _ input: CompleteInput
  ) async throws {
    var random = RandomStream(testSeed: 40 + UInt64(index))
    let event = ConsentEvent(
      eventID: try EventID(random.bytes(16)), subject: try SubjectTag(random.bytes(32)),
      purpose: Purpose(id: "churn", version: 1), state: .withdrawn, regime: .optIn,
      legalBasis: "eu-gdpr:A7-3", jurisdiction: "DE", channel: "web", method: "toggle", eventTimeMs: 1,
      recorder: "till", recordID: try EventID(random.bytes(16)))
    var append = WireLedgerAppend()
    append.statements = [Data(try SignedStatement.sign(.consent(event), key: key).bytes)]
    _ = try await host.append(signed(.ledgerAppend, encodeMessage(append), key))
    let stale = ReceivedInput(request: request, input: input, ledgerSize: checked, evidenceRoot: nil)
    do {
      _ = try await host.takeInput(stale)
      Issue.record("an input was taken although a withdrawal was acknowledged after its last check")
    } catch let refusal as HostRefusal {
      #expect(refusal.code == .consentChanged, "\(refusal)")
    }
  }

  struct Crash: Error { let step: String }
}

private final class Flag: @unchecked Sendable {
  // Set once before anything else runs, read afterwards.
  var isSet = false
}

@Suite(.serialized) struct ServerCrashTests {
  @Test(arguments: HostedFederation.Cut.allCases)
  fileprivate func `a server dropped at a step of a session carries on and under-counts nothing`(
    cut: HostedFederation.Cut
  ) async throws {
    let federation = try HostedFederation()
    defer { federation.remove() }
    try await federation.open()
    try await federation.enrol()
    try await federation.submit(rounds: 2)
    // Statistics first, then a training session that is cut off.
    _ = try await federation.runSession()
    _ = try await federation.runSession()
    let before = try debits(federation)
    if cut == .recordNotInLedger {
      federation.close()
      try await federation.open(ledgerFails: true)
      try await federation.host?.recover()
      _ = try? await federation.runSession(cut: cut)
      // The sum is stored, its record is not in the ledger: the server must not go on.
      let host = try #require(federation.host)
      await #expect(throws: HostRefusal.self) { try await host.tick() }
    } else {
      _ = try await federation.runSession(cut: cut)
    }
    federation.close()
    let isDebited = ![.announced, .advertised].contains(cut)
    #expect(
      try debits(federation) == before + (isDebited ? 1 : 0), "the cost stays even if the round is lost")

    try await federation.open()
    try await federation.host?.recover()
    // Sessions until the task is over.
    for _ in 0..<6 {
      let status = try await #require(federation.host).status()
      if status.tasks[0].progress.status != .running { break }
      guard status.tasks[0].progress.rounds.count < 2 || !status.tasks[0].progress.isEvaluated else { break }
      _ = try await federation.runSession()
    }
    let status = try await #require(federation.host).status()
    let task = status.tasks[0]
    #expect(task.progress.rounds.count == 2)
    #expect(task.progress.isEvaluated)
    #expect(task.progress.abortedSessions == (cut == .recordNotInLedger ? 0 : 1))
    #expect(try #require(task.spent["training"]).value <= 8)
    federation.close()

    let ledger = LedgerVerifier.verify(directory: federation.directory)
    #expect(ledger.verified, "\(ledger.firstProblem ?? "")")
    // Two statistics, two training, one evaluation, and the one that was lost.
    #expect(ledger.counts.rounds == 5 + (cut == .recordNotInLedger ? 0 : 1))
    let recorded = Set(
      try BudgetBook(path: federation.directory + "/budget.sqlite").debits(of: "training").map(\.round))
    for round in task.progress.rounds { #expect(recorded.contains(round.session)) }
  }

  /// The record of a lost session is in the log, but the server died before it could note that.
  @Test(arguments: [CommitStep.afterStageCommit, .afterSignerState, .afterPublishing])
  fileprivate func `a restart that is cut off in turn is finished by the next one`(step: CommitStep)
    async throws
  {
    let federation = try HostedFederation()
    defer { federation.remove() }
    try await federation.open()
    try await federation.enrol()
    try await federation.submit(rounds: 1)
    _ = try await federation.runSession(cut: .shared)
    federation.close()

    try await federation.open(ledgerFails: true, at: step)
    await #expect(throws: LedgerError.self) { try await federation.host?.recover() }
    federation.close()
    // Later than the first restart, so that a record made anew would differ.
    try await Task.sleep(for: .milliseconds(5))

    try await federation.open()
    try await federation.host?.recover()
    let status = try await #require(federation.host).status()
    #expect(status.tasks[0].progress.abortedSessions == 1)
    _ = try await federation.runSession()
    federation.close()
    let ledger = LedgerVerifier.verify(directory: federation.directory)
    #expect(ledger.verified && ledger.counts.rounds == 2, "\(ledger.firstProblem ?? "")")
  }

  @Test fileprivate func `no input is taken that was checked before an acknowledged withdrawal`() async throws
  {
    let federation = try HostedFederation()
    defer { federation.remove() }
    try await federation.open()
    try await federation.enrol()
    try await federation.submit(rounds: 1)
    _ = try await federation.runSession(cut: .withdrawal)
    federation.close()
    let ledger = LedgerVerifier.verify(directory: federation.directory)
    #expect(ledger.verified, "\(ledger.firstProblem ?? "")")
    #expect(ledger.counts.consents == 4 && ledger.counts.rounds == 1)
    // The round's record names the policy and every survivor's evidence, in order.
    let reader = try LedgerFileReader(directory: federation.directory)
    let records = try reader.leaves(0..<reader.size).compactMap { leaf -> RoundRecord? in
      guard case .round(let record) = try LedgerEntry(leaf: leaf).body else { return nil }
      return record
    }
    let record = try #require(records.first)
    #expect(record.result == .completed)
    #expect(record.evidenceRoots == (0..<4).map { Hash.sha256([UInt8($0)]) }.sorted())
    #expect(try record.policyHash == reader.rules().current?.digest)
  }

  private func debits(_ federation: HostedFederation) throws -> Int {
    try BudgetBook(path: federation.directory + "/budget.sqlite").debits(of: "training").count
  }
}
