import ConsentLedger
import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Logging
import Messages
import Privacy
import SecureAggregation
import Storage

/// One session, from the invitation's check to the last step. `Simulation/Faults/SimulatedNode+Session.swift` follows
/// the same order; whoever changes it changes both.
extension NodeDaemon {
  /// A session that passed the checks that need neither data nor network.
  struct Session {
    let signed: SignedDescriptor
    let task: FederationTask
    var terms: any TaskTerms { task.terms }
  }

  func check(_ signed: SignedDescriptor, _ invitation: WireInvitation) throws -> Session {
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

  func join(_ session: Session) async throws {
    let descriptor = session.signed.descriptor
    show("training")
    try await synchronise(session)
    guard try store.schema() == session.terms.schema else {
      throw FederationError.invalidTask(field: "schema", reason: "is not that of this store's records")
    }
    if case .training(let task) = session.task, !task.architecture.objective.isSegmentation,
      try !store.isLabelled()
    {
      throw FederationError.invalidTask(
        field: "architecture", reason: "needs outcomes, and this store's records were imported without")
    }
    let artifact = try await fetchArtifact(descriptor.modelDigest)
    let contributions = try session.task.contributions(descriptor: descriptor, artifact: artifact)
    var batches = try await current(session) { try admit(session) }
    try checkBudget(session)
    // From here on the session counts as taken part in, whatever happens.
    try store.rememberSession(descriptor.sessionNumber)
    var random = sessionRandom(descriptor.sessionNumber)
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
    let evidenceRoot = try recordUse(batches, session)
    let masked = try round.mask(sums, delivery: delivery)
    if keepsInputs { try keep(round.sentInput, descriptor) }
    let answer = try await upload(
      masked.packed, evidenceRoot: evidenceRoot, batches, session, random: &random)
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
    // The loop that follows the ledger may be at work on the same entries; then it is its work that counts.
    for attempt in 0..<20 {
      try await LedgerSubmission.synchronise(mirror, client: client, clock: clock)
      status.ledgerSize = mirror.size
      do { return try mirror.requireReached(session.signed.descriptor.checkpoint) } catch {
        guard attempt < 19 else { throw error }
        try await Task.sleep(for: .milliseconds(25))
      }
    }
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

  /// Step 3. The server takes an input only if no entry after the last check may end a permission; if one
  /// does, consent is checked again. What is masked cannot be changed: if it holds somebody who withdrew, it
  /// is never sent.
  private func upload(
    _ packed: [UInt8], evidenceRoot: Digest?, _ batches: Batches, _ session: Session,
    random: inout RandomStream
  ) async throws -> [UInt8] {
    while true {
      try Task.checkCancellation()
      // The size first: what arrives during the check is then after it.
      let checkedSize = mirror.size
      guard try await !current(session, { try hasWithdrawn(batches) }) else {
        throw EdgeNodeError.withdrawnAfterMasking(session: session.signed.descriptor.sessionNumber)
      }
      do {
        return try await client.upload(
          packed: packed, consent: (checkedSize, evidenceRoot), session: session.signed, key: files.identity,
          random: &random)
      } catch EdgeNodeError.refused(code: "consentChanged", _) {
        try await synchronise(session)
      }
    }
  }

  /// Remembers whose records are used and on what evidence; the root is for the round's record.
  private func recordUse(_ batches: Batches, _ session: Session) throws -> Digest? {
    let both = [batches.training, batches.heldOut].compactMap { $0 }
    try vault.recordUse(
      sessionID: session.signed.sessionID, round: session.signed.descriptor.sessionNumber,
      subjects: both.flatMap { $0.subjects.map(\.subjectID) }, timeMs: Int64(clock()))
    guard let evidence = DecisionEvidence.merging(both.map(\.evidence)) else { return nil }
    try vault.storeEvidence(
      evidence, sessionID: session.signed.sessionID,
      subjects: Set(both.flatMap(\.tags.keys)).sorted(), timeMs: Int64(clock()))
    return evidence.root
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
}
