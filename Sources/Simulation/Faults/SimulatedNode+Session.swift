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

/// One session, from the invitation's check to the last step.
extension SimulatedNode {
  /// Checks an invitation, as `NodeDaemon.check` does.
  func accept(_ bytes: [UInt8]) throws {
    let invitation = try wireMessage(WireInvitation.self, bytes, peer: "the server")
    let serverKey = world.federation.logKey.verifyingKey
    let signed = try SignedDescriptor(
      verifying: Array(invitation.descriptor),
      signature: try fixed(invitation.signature, "the server", "Invitation", "signature"),
      serverKey: serverKey)
    let taskBytes = Array(invitation.task)
    let taskSignature: Signature = try fixed(
      invitation.taskSignature, "the server", "Invitation", "task_signature")
    guard
      world.federation.operatorKey.verifyingKey.verifies(
        taskSignature, domain: TaskSpecification.signatureDomain, [taskBytes])
    else { throw FederationError.badSignature(what: "the task", peer: "the operator") }
    guard TaskSpecification.digest(of: taskBytes) == signed.descriptor.taskDigest else {
      throw Refusal("mismatch", "the task's digest")
    }
    let task = try FederationTask.decode(taskBytes)
    session = Session(signed: signed, task: task, random: world.freshRandom())
    if world.bug != .parametersUnchecked {
      try policy.check(
        signed.descriptor, task: task.terms, federation: FaultFederation.origin,
        lastSession: world.bug == .replayJoined ? 0 : lastSession, now: now)
    }
    try synchronise()
  }

  func fetchModel() throws {
    guard let descriptor = session?.signed.descriptor else { return }
    if let artifact = artifacts[descriptor.modelDigest] { return try join(artifact) }
    session?.step = .model
    var request = WireModelRequest()
    request.digest = Data(descriptor.modelDigest.bytes)
    try ask(.model, encodeMessage(request))
  }

  func takeModel(_ bytes: [UInt8]) throws {
    guard let digest = session?.signed.descriptor.modelDigest, ModelArtifact.digest(of: bytes) == digest
    else {
      throw Refusal("mismatch", "the model's digest")
    }
    let artifact = try TaskArtifact.decode(bytes)
    artifacts = [digest: artifact]
    try join(artifact)
  }

  private func admit(_ session: Session) throws -> GatedBatch<LabelledRecord> {
    let batch = try gate.batch(
      candidates: world.federation.candidates(of: index), purpose: session.task.terms.consentPurpose,
      regime: session.task.terms.regime, nowMs: gateNow)
    guard batch.subjects.count >= policy.minimumContributors else {
      throw FederationError.policy(
        .tooFewContributors(count: batch.subjects.count, required: policy.minimumContributors))
    }
    return batch
  }

  private func join(_ artifact: TaskArtifact) throws {
    guard var session else { return }
    session.artifact = artifact
    let contributions = try session.task.contributions(
      descriptor: session.signed.descriptor, artifact: artifact)
    let batch = try admit(session)
    try checkBudget(session)
    // From here on the session counts as taken part in, whatever happens.
    try remember(session.number)
    session.sums = try contributions.build(
      training: batch.consented, heldOut: nil, random: &session.random)
    session.batch = batch
    var round = try NodeRound(
      signed: session.signed, task: session.task.terms, policy: policy, identity: key,
      random: session.random.fork())
    let advertisement = try round.advertise()
    session.round = round
    session.step = .roster
    self.session = session
    try world.joined(self, session.signed)
    try ask(.advertise, advertisement.wireBytes, session: session.signed.sessionID)
    if malice.remove(.equivocation) != nil { try equivocate(session) }
  }

  func share(_ roster: Roster) throws {
    guard var round = session?.round, let sid = session?.signed.sessionID else { return }
    let upload = try round.share(roster, enrolled: mirror.enrolledKeys)
    session?.round = round
    session?.step = .delivery
    try ask(.shares, upload.wireBytes, session: sid)
  }

  // MARK: Budget

  private func account(_ population: Population, _ session: Session) throws -> String {
    let name = population.accountName
    try budgets.declare(name, unit: session.signed.descriptor.unit, budget: policy.budget)
    return name
  }

  private func checkBudget(_ session: Session) throws {
    for segment in session.signed.descriptor.segments {
      guard var book = try budgets.account(account(segment.population, session)) else { continue }
      try book.debit(try segment.privacyEvent())
    }
  }

  /// Debited before anything leaves the node, even if it then does not leave.
  func debit() throws {
    guard let session, world.bug != .nodeDebitForgotten else { return }
    let descriptor = session.signed.descriptor
    for segment in descriptor.segments {
      let name = try account(segment.population, session)
      try disk.write {
        try budgets.debit(
          id: "\(session.signed.sessionID.hex)/\(segment.name.rawValue)", population: name,
          unit: descriptor.unit, event: try segment.privacyEvent(), task: session.task.terms.id,
          round: descriptor.sessionNumber, timeMs: Int64(now))
      }
    }
    try world.oracle.readDebits(node: index, budgets)
  }

  // MARK: Mask and upload

  func maskAndUpload() throws {
    guard var session, var round = session.round, var batch = session.batch, let artifact = session.artifact,
      let delivery = session.delivery
    else { return }
    if world.bug != .consentNotRechecked, try !gate.recheck(batch, nowMs: gateNow).isEmpty {
      batch = try admit(session)
      let contributions = try session.task.contributions(
        descriptor: session.signed.descriptor, artifact: artifact)
      session.sums = try contributions.build(
        training: batch.consented, heldOut: nil, random: &session.random)
      session.batch = batch
      world.note("node \(index) computed its update again")
    }
    try recordUse(batch, &session)
    let masked = try round.mask(session.sums, delivery: delivery)
    try world.oracle.masked(
      index, session.signed.sessionID,
      FaultOracle.Contribution(integers: round.sentInput, customers: batch.subjects.map(\.subjectID)))
    session.round = round
    session.kept = round
    session.packed = masked.packed
    self.session = session
    try resendInput()
  }

  private func recordUse(_ batch: GatedBatch<LabelledRecord>, _ session: inout Session) throws {
    guard world.bug != .useNotRecorded else { return }
    let sid = session.signed.sessionID
    let number = session.number
    let time = Int64(now)
    try disk.write {
      try vault.recordUse(
        sessionID: sid, round: number, subjects: batch.subjects.map(\.subjectID), timeMs: time)
    }
    guard let evidence = DecisionEvidence.merging([batch.evidence]) else { return }
    try disk.write {
      try vault.storeEvidence(
        evidence, sessionID: sid, subjects: Set(batch.tags.keys).sorted(), timeMs: time)
    }
    session.evidenceRoot = evidence.root
  }

  /// What is masked cannot be changed: if it holds somebody who withdrew, it is never sent.
  func resendInput() throws {
    guard let session, let batch = session.batch else { return }
    // The size first: what arrives during the check is then after it.
    let size = mirror.size
    if world.bug != .consentNotRechecked, try !gate.recheck(batch, nowMs: gateNow).isEmpty {
      throw Refusal("withdrawn", "somebody withdrew after masking")
    }
    self.session?.step = .notice
    let packed = malice.remove(.garbageInput) != nil ? world.garbage(session.packed.count) : session.packed
    if packed != session.packed { world.hostileInputs.insert(index) }
    let signed = session.signed
    let root = session.evidenceRoot
    call = try send(.input) { node in
      var random = node.world.freshRandom()
      return try SealedInput.seal(
        packed, ledgerSize: size, evidenceRoot: root, session: signed, key: node.key, nowMs: node.now,
        random: &random)
    }
  }

  // MARK: Confirm and unmask

  func confirm(_ notice: SurvivorNotice) throws {
    guard var round = session?.round, let sid = session?.signed.sessionID else { return }
    let signature = try round.confirm(notice)
    session?.round = round
    session?.notice = notice
    session?.step = .quorum
    try ask(.consistency, signature.wireBytes, session: sid)
  }

  func reveal(_ quorum: Quorum) throws {
    guard var round = session?.round, let signed = session?.signed, let notice = session?.notice else {
      return
    }
    var message = try round.reveal(quorum)
    session?.round = round
    session?.step = .outcome
    try world.oracle.reveal(index, signed.sessionID, message, survivors: notice.uploaded)
    if malice.remove(.wrongShares) != nil { message = wrong(message) }
    let payload = try SealedBox.seal(message.wireBytes, to: signed.descriptor.uploadKey)
    try ask(.unmask, payload, session: signed.sessionID)
  }
}
