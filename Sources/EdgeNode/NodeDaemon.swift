import ConsentLedger
import Consent
import Cryptography
import Federation
import Foundation
package import Logging
import Messages
import Privacy
import SecureAggregation
import Storage

/// What a node shows of itself in `status.json`: for `accord node status`, monitoring and the demo.
package struct NodeStatus: Codable, Sendable {
  /// The node's name.
  package var name: String
  /// The process.
  package var processID: Int32
  /// What it is doing: waiting, training, advertise, shares, upload, confirm, unmask.
  package var activity: String
  /// The session it works on, or worked on last.
  package var session: UInt64
  /// Training round of that session, 0 outside training.
  package var round: Int
  /// Sessions it completed since it started.
  package var completedSessions: Int
  /// Entries of the log that it has verified.
  package var ledgerSize: UInt64
  /// The last thing that went wrong.
  package var lastProblem: String?
  /// When this was written, ms of UTC since 1970.
  package var updatedMs: UInt64
}

/// The node's life: waits for sessions, checks them against its policy, trains on consented records, and
/// takes part. One session at a time. It survives everything but a lost identity.
package actor NodeDaemon {
  /// For drills: the daemon stops before this step of this training round and waits to be killed.
  package struct Drill: Sendable {
    /// shares, upload, confirm or unmask.
    package let step: String
    /// Training round.
    package let round: Int
    package init(step: String, round: Int) {
      self.step = step
      self.round = round
    }
  }

  private let directory: DataDirectory
  private let files: NodeFiles
  private let store: LocalStore
  private let vault: SubjectVault
  private let mirror: LedgerMirror
  private let gate: ConsentGate
  private let budgets: BudgetBook
  private let client: FederationClient
  private let serverKey: VerifyingKey
  private let operatorKey: VerifyingKey
  private let logger: Logger
  private let clock: @Sendable () -> UInt64
  private let drill: Drill?
  private let keepsInputs: Bool
  private var status: NodeStatus
  private var artifact: (digest: Digest, artifact: TaskArtifact)?
  private var refusals = RefusalNotices()

  /// Opens a node's files and takes the directory's lock.
  package init(
    path: String, drill: Drill? = nil, keepsInputs: Bool = false, logger: Logger,
    clock: @escaping @Sendable () -> UInt64 = { UInt64(Date().timeIntervalSince1970 * 1000) }
  ) throws {
    directory = try DataDirectory(path, kind: .node, create: false)
    files = try NodeFiles(directory)
    store = try LocalStore(directory)
    vault = try files.openVault()
    mirror = try files.openMirror()
    gate = ConsentGate(
      mirror: mirror, vault: vault, recorder: files.identity.verifyingKey,
      maximumCheckpointAgeSeconds: Int64(files.policy.maximumCheckpointAgeSeconds))
    budgets = try BudgetBook(path: directory.file("budget.sqlite"))
    client = try FederationClient(trust: files.trust, clock: clock)
    let keys = try files.trust.keys()
    serverKey = keys.server
    operatorKey = keys.operator
    self.logger = logger
    self.clock = clock
    self.drill = drill
    self.keepsInputs = keepsInputs
    status = NodeStatus(
      name: files.name, processID: ProcessInfo.processInfo.processIdentifier, activity: "starting",
      session: 0, round: 0, completedSessions: 0, ledgerSize: mirror.size, lastProblem: nil,
      updatedMs: clock())
  }

  /// Runs until the task is cancelled. Throws only what waiting cannot heal: an identity that is not
  /// enrolled, files that cannot be used.
  package func run() async throws {
    do { try await serve() } catch {
      await client.shutdown()
      throw error
    }
    await client.shutdown()
  }

  private func serve() async throws {
    var failures = 0
    show("waiting")
    while !Task.isCancelled {
      do {
        if try await takePart() { failures = 0 }
      } catch is CancellationError {
        break
      } catch {
        status.lastProblem = "\(error)"
        show("waiting")
        if let error = error as? EdgeNodeError, !error.isTransient, case .refused = error { throw error }
        if error is StorageError { throw error }
        failures += 1
        logger.warning("session \(status.session): \(error)")
        try? await Task.sleep(for: .milliseconds(min(5000, 100 << min(failures, 6))))
      }
    }
  }

  /// Waits for one session and takes part in it. False when the wait ended without one.
  private func takePart() async throws -> Bool {
    var request = WireInvitationRequest()
    request.lastSession = try store.lastSession()
    request.keyStreams = files.policy.suites.map(\.rawValue)
    guard
      let bytes = try await client.send(
        .invitation, to: "v1/invitation", payload: encodeMessage(request), key: files.identity)
    else { return false }
    let invitation = try wireMessage(WireInvitation.self, bytes, peer: "the server")
    let signed = try SignedDescriptor(
      verifying: Array(invitation.descriptor),
      signature: try fixed(invitation.signature, "the server", "Invitation", "signature"),
      serverKey: serverKey)
    let number = signed.descriptor.sessionNumber
    status.session = number
    status.round = signed.descriptor.round
    do {
      try await join(try check(signed, invitation))
      status.completedSessions += 1
      status.lastProblem = nil
    } catch {
      // A session that this node refused or lost is over for it, whatever the reason.
      if try store.lastSession() < number { try store.rememberSession(number) }
      await recordRefusal(error, task: signed.descriptor.taskDigest)
      throw error
    }
    show("waiting")
    return true
  }

  /// Puts a refusal by this node's own rules on record in the ledger. The refusal stands either way.
  private func recordRefusal(_ error: any Error, task: Digest) async {
    guard case .policy(let refusal)? = error as? FederationError,
      let notice = refusals.notice(
        of: refusal, task: task, node: (files.name, files.identity.verifyingKey), timeMs: Int64(clock()))
    else { return }
    do {
      let leaf = try LedgerEntry.notice(notice, signedBy: files.identity).leafBytes()
      _ = try await LedgerSubmission.send([leaf], client: client, key: files.identity)
    } catch {
      logger.notice("the refusal is not in the ledger: \(error)")
    }
  }

  /// A session that passed the checks that need neither data nor network.
  private struct Session {
    let signed: SignedDescriptor
    let task: FederationTask
    var terms: any TaskTerms { task.terms }
  }

  private func check(_ signed: SignedDescriptor, _ invitation: WireInvitation) throws -> Session {
    let taskBytes = Array(invitation.task)
    let taskSignature: Signature = try fixed(
      invitation.taskSignature, "the server", "Invitation", "task_signature")
    guard operatorKey.verifies(taskSignature, domain: TaskSpecification.signatureDomain, [taskBytes]) else {
      throw FederationError.badSignature(what: "the task", peer: "the operator")
    }
    guard TaskSpecification.digest(of: taskBytes) == signed.descriptor.taskDigest else {
      throw FederationError.mismatch(
        what: "the task's digest", expected: signed.descriptor.taskDigest.hex,
        actual: TaskSpecification.digest(of: taskBytes).hex)
    }
    let task = try FederationTask.decode(taskBytes)
    try files.policy.check(
      signed.descriptor, task: task.terms, federation: files.trust.federation,
      lastSession: try store.lastSession(), now: clock())
    return Session(signed: signed, task: task)
  }

  // MARK: One session

  private typealias Batches = (
    training: GatedBatch<LabelledRecord>?, heldOut: GatedBatch<LabelledRecord>?
  )

  private func join(_ session: Session) async throws {
    let descriptor = session.signed.descriptor
    show("training")
    try await synchronise(session)
    guard try store.schema() == session.terms.schema else {
      throw FederationError.invalidTask(field: "schema", reason: "is not that of this store's records")
    }
    let artifact = try await fetchArtifact(descriptor.modelDigest)
    let contributions = try session.task.contributions(descriptor: descriptor, artifact: artifact)
    var batches = try await current(session) { try admit(session) }
    try checkBudget(session)
    // From here on the session counts as taken part in, whatever happens.
    try store.rememberSession(descriptor.sessionNumber)
    var random = RandomStream.system()
    var sums = try contributions.build(
      training: batches.training?.consented, heldOut: batches.heldOut?.consented, random: &random)
    var round = try NodeRound(
      signed: session.signed, task: session.terms, policy: files.policy, identity: files.identity,
      random: random.fork())

    try await pause(before: "advertise", descriptor)
    let advertisement = try round.advertise()
    let shares = try await dealShares(&round, advertisement, session)
    let delivery = try await exchange(.shares, "shares", shares, session.signed, answer: ShareDelivery.self)

    // Debited before anything leaves the node, even if it then does not leave.
    try await pause(before: "upload", descriptor)
    try debit(session)
    // Consent is asked again as the last thing before masking; whoever withdrew meanwhile is not in it.
    try await synchronise(session)
    if try await current(session, { try hasWithdrawn(batches) }) {
      batches = try await current(session) { try admit(session) }
      sums = try contributions.build(
        training: batches.training?.consented, heldOut: batches.heldOut?.consented, random: &random)
      logger.info("session \(descriptor.sessionNumber): consent changed, the update was computed again")
    }
    try recordUse(batches, session)
    let masked = try round.mask(sums, delivery: delivery)
    if keepsInputs { try keep(round.sentInput, descriptor) }
    let answer = try await client.upload(
      packed: masked.packed, session: session.signed, key: files.identity, random: &random)
    let notice = try SurvivorNotice(wireBytes: answer, peer: "the server")

    try await pause(before: "confirm", descriptor)
    let confirmation = try round.confirm(notice)
    let quorum = try await agree(&round, confirmation, session)

    try await pause(before: "unmask", descriptor)
    let reveal = try round.reveal(quorum)
    let sealed = try SealedBox.seal(reveal.wireBytes, to: descriptor.uploadKey)
    _ = try await client.sendUntilAnswered(
      .unmask, to: "v1/session/unmask", payload: sealed, session: session.signed.sessionID,
      key: files.identity)
    logger.info("session \(descriptor.sessionNumber) (\(descriptor.kind.rawValue) \(descriptor.round)) done")
  }

  /// Steps 1 and 2: advertises, learns who takes part, and deals shares.
  private func dealShares(
    _ round: inout NodeRound, _ advertisement: Advertisement, _ session: Session
  ) async throws -> ShareUpload {
    // A member that was enrolled a moment ago may be newer than this node's copy of the log.
    func catchUp(_ ids: [VerifyingKey]) async throws -> Set<VerifyingKey> {
      if !ids.allSatisfy({ mirror.isEnrolled($0) }) { try await synchronise(session) }
      return mirror.enrolledKeys
    }
    guard round.drawsNeighbours else {
      let roster = try await exchange(
        .advertise, "advertise", advertisement, session.signed, answer: Roster.self)
      let enrolled = try await catchUp(roster.members.map(\.id))
      try await pause(before: "shares", session.signed.descriptor)
      return try round.share(roster, enrolled: enrolled)
    }
    let commitment = try await exchange(
      .advertise, "advertise", advertisement, session.signed, answer: RosterCommitment.self)
    let enrolled = try await catchUp(commitment.ids)
    let request = try round.draw(commitment, enrolled: enrolled)
    let opening = try await exchange(
      .neighbours, "neighbours", request, session.signed, answer: RosterOpening.self)
    try await pause(before: "shares", session.signed.descriptor)
    return try round.share(opening)
  }

  /// Step 4: the signatures that show that a quorum sees the same survivors.
  private func agree(
    _ round: inout NodeRound, _ confirmation: ConsistencySignature, _ session: Session
  ) async throws -> Quorum {
    guard round.drawsNeighbours else {
      return try await exchange(
        .consistency, "consistency", confirmation, session.signed, answer: Quorum.self)
    }
    let claim = try await exchange(
      .consistency, "consistency", confirmation, session.signed, answer: QuorumClaim.self)
    let challenge = try round.challenge(claim)
    return try await exchange(.quorum, "quorum", challenge, session.signed, answer: Quorum.self)
  }

  private func exchange<Message: WireRepresentable, Answer: WireRepresentable>(
    _ kind: SignedRequest.Kind, _ path: String, _ message: Message, _ signed: SignedDescriptor,
    answer: Answer.Type
  ) async throws -> Answer {
    show(path)
    let bytes = try await client.sendUntilAnswered(
      kind, to: "v1/session/\(path)", payload: message.wireBytes, session: signed.sessionID,
      key: files.identity)
    return try Answer(wireBytes: bytes, peer: "the server")
  }

  private func synchronise(_ session: Session) async throws {
    try await LedgerSubmission.synchronise(mirror, client: client, nowMilliseconds: clock())
    status.ledgerSize = mirror.size
    try mirror.requireReached(session.signed.descriptor.checkpoint)
  }

  private func admit(_ session: Session) throws -> Batches {
    func batch(_ population: Population) throws -> GatedBatch<LabelledRecord>? {
      guard session.signed.descriptor.segments.contains(where: { $0.population == population }) else {
        return nil
      }
      return try gate.batch(
        candidates: try store.candidates(population), purpose: session.terms.consentPurpose,
        regime: session.terms.regime,
        nowMs: Int64(clock()))
    }
    let batches = (training: try batch(.training), heldOut: try batch(.heldOut))
    // Whose records are only measured with have no minimum, unless the measurement is all there is.
    let hiding = session.task.statistics == nil ? batches.training : batches.training ?? batches.heldOut
    if let hiding, hiding.subjects.count < files.policy.minimumContributors {
      throw FederationError.policy(
        .tooFewContributors(count: hiding.subjects.count, required: files.policy.minimumContributors))
    }
    return batches
  }

  /// Asks the gate; when another process of this node got a receipt since the last synchronisation, the copy
  /// of the log is brought up to it first.
  private func current<Value>(_ session: Session, _ ask: () throws -> Value) async throws -> Value {
    for _ in 0..<4 {
      do { return try ask() } catch LedgerError.behindReceipt { try await synchronise(session) }
    }
    return try ask()
  }

  private func hasWithdrawn(_ batches: Batches) throws -> Bool {
    for batch in [batches.training, batches.heldOut].compactMap({ $0 }) {
      if try !gate.recheck(batch, nowMs: Int64(clock())).isEmpty { return true }
    }
    return false
  }

  private func recordUse(_ batches: Batches, _ session: Session) throws {
    let subjects = [batches.training, batches.heldOut].compactMap { $0 }.flatMap {
      $0.subjects.map(\.subjectID)
    }
    try vault.recordUse(
      sessionID: session.signed.sessionID, round: session.signed.descriptor.sessionNumber,
      subjects: subjects, timeMs: Int64(clock()))
  }

  // MARK: Budget

  private func account(_ population: Population, _ session: Session) throws -> String {
    let name = population.accountName
    try budgets.declare(name, unit: session.signed.descriptor.unit, budget: files.policy.budget)
    return name
  }

  /// Refuses before any work when the node's own budget does not allow the session.
  private func checkBudget(_ session: Session) throws {
    for segment in session.signed.descriptor.segments {
      let name = try account(segment.population, session)
      guard var book = try budgets.account(name) else { continue }
      do { try book.debit(try segment.privacyEvent()) } catch let error as PrivacyError {
        throw FederationError.policy(.budget("population \(name): \(error)"))
      }
    }
  }

  /// Debits the node's own budgets durably, before the upload that spends them.
  private func debit(_ session: Session) throws {
    let descriptor = session.signed.descriptor
    for segment in descriptor.segments {
      let name = try account(segment.population, session)
      try budgets.debit(
        id: "\(session.signed.sessionID.hex)/\(segment.name.rawValue)", population: name,
        unit: descriptor.unit, event: try segment.privacyEvent(), task: session.terms.id,
        round: descriptor.sessionNumber, timeMs: Int64(clock()))
    }
  }

  // MARK: Models

  private func fetchArtifact(_ digest: Digest) async throws -> TaskArtifact {
    if let artifact, artifact.digest == digest { return artifact.artifact }
    var request = WireModelRequest()
    request.digest = Data(digest.bytes)
    let bytes = try await client.sendUntilAnswered(
      .model, to: "v1/model", payload: encodeMessage(request), key: files.identity,
      limit: MessageLimits.model)
    guard ModelArtifact.digest(of: bytes) == digest else {
      throw EdgeNodeError.badAnswer(what: "model", reason: "its digest is not the announced one")
    }
    let decoded = try TaskArtifact.decode(bytes)
    artifact = (digest, decoded)
    return decoded
  }

  // MARK: Status and drills

  private func show(_ activity: String) {
    status.activity = activity
    status.updatedMs = clock()
    // Status is for watching only: a full disk must not stop a session that could still complete.
    if let data = try? JSONEncoder().encode(status) {
      try? data.write(to: URL(fileURLWithPath: directory.file("status.json")), options: .atomic)
    }
  }

  private func pause(before step: String, _ descriptor: RoundDescriptor) async throws {
    guard let drill, drill.step == step, drill.round == descriptor.round, descriptor.kind == .training else {
      return
    }
    show("paused before \(step)")
    logger.warning("drill: paused before \(step) of round \(descriptor.round)")
    while true { try await Task.sleep(for: .seconds(3600)) }
  }

  /// For drills and audits of the demo: the integers that this node put into the sum, noise included.
  private func keep(_ values: [Int64], _ descriptor: RoundDescriptor) throws {
    let bytes = LittleEndian.bytes(values.map { UInt32(truncatingIfNeeded: $0) })
    try DurableFile.write(bytes, to: directory.file("input-\(descriptor.sessionNumber).bin"))
  }
}
