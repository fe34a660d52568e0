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

/// What nodes and operators ask of the server.
extension FederationHost {
  // MARK: Node requests

  /// Checks that a sender may speak as a node.
  nonisolated func requireEnrolled(_ sender: VerifyingKey) throws {
    guard ledger.isEnrolled(sender) else {
      throw HostRefusal(
        .unknownNode,
        "the key \(sender.hex.prefix(16))… is not enrolled in \(ledger.origin); ask the operator to enrol this node"
      )
    }
  }

  /// The invitation to a session that this node has not taken part in; nil after the long poll.
  func invitation(_ request: SignedRequest) async throws -> WireInvitation? {
    try requireEnrolled(request.sender)
    let message = try wireMessage(
      WireInvitationRequest.self, request.payload, peer: request.sender.peerName)
    let newest = try store.nextSessionNumber() - 1
    guard message.lastSession <= newest else {
      logger.error("a node knows session \(message.lastSession), this server only \(newest)")
      throw HostRefusal(
        .refused,
        "this server was restored from an older copy: it knows \(newest) sessions, this node took part in session \(message.lastSession)"
      )
    }
    guard message.keyStreams.count <= 8 else {
      throw HostRefusal(.malformed, "\(request.sender.peerName) names more than 8 key streams")
    }
    let suites = Set(message.keyStreams.compactMap(KeyStreamSuite.init(rawValue:)))
    waiting[request.sender, default: WaitingNode()].begin(suites.isEmpty ? [.chacha20] : suites)
    defer {
      waiting[request.sender]?.requests -= 1
      if waiting[request.sender]?.requests == 0 { waiting[request.sender] = nil }
    }
    try tick()
    return try await wait {
      guard let live = current, live.coordinator.phase == .advertising,
        live.number > message.lastSession
      else { return nil }
      var invitation = WireInvitation()
      invitation.descriptor = Data(live.coordinator.signed.bytes)
      invitation.signature = Data(live.coordinator.signed.signature.bytes)
      invitation.task = Data(live.taskBytes)
      invitation.taskSignature = Data(live.taskSignature.bytes)
      return invitation
    }
  }

  /// A model artifact by its digest.
  func model(_ request: SignedRequest) throws -> [UInt8] {
    if request.sender != keys.operatorKey { try requireEnrolled(request.sender) }
    let message = try wireMessage(WireModelRequest.self, request.payload, peer: request.sender.peerName)
    let digest: Digest = try fixed(message.digest, request.sender.peerName, "ModelRequest", "digest")
    guard let bytes = try store.model(digest) else {
      throw HostRefusal(.notFound, "there is no model with the digest \(digest.hex)")
    }
    return bytes
  }

  /// Takes one step's message and waits for the step's answer; nil after the long poll.
  func step<Answer: Sendable>(
    _ request: SignedRequest, claimed id: VerifyingKey?, event: RoundCoordinator.Event,
    answer: @Sendable (RoundCoordinator) -> Answer?
  ) async throws -> Answer? {
    try requireEnrolled(request.sender)
    if let id, id != request.sender {
      throw HostRefusal(
        .unauthorised, "\(request.sender.peerName) sent a message in the name of \(id.peerName)")
    }
    let sessionID = try liveSessionID(request)
    // A session that is over has its answer already; its messages are not taken again.
    if current?.sessionID == sessionID { try handle(event) }
    return try await wait { try probe(sessionID, request.sender, answer) }
  }

  /// Answers a question about the session that changes nothing.
  func ask<Answer: Sendable>(
    _ request: SignedRequest, claimed id: VerifyingKey?,
    answer: @Sendable (RoundCoordinator) throws -> Answer?
  ) async throws -> Answer? {
    try requireEnrolled(request.sender)
    if let id, id != request.sender {
      throw HostRefusal(
        .unauthorised, "\(request.sender.peerName) sent a message in the name of \(id.peerName)")
    }
    return try probe(try liveSessionID(request), request.sender, answer)
  }

  /// Step 3: takes a complete input into the sum, unless somebody's permission may have ended after the node
  /// last asked: then the node has to ask again. What the ledger has acknowledged is visible here, so nobody
  /// whose withdrawal was acknowledged is in an input that is taken after it.
  func takeInput(_ upload: ReceivedInput) async throws -> SurvivorNotice? {
    let sender = upload.request.sender
    try requireEnrolled(sender)
    let sessionID = try liveSessionID(upload.request)
    if current?.sessionID == sessionID, current?.evidence[sender] == nil {
      if let denial = ledger.newestDenial, denial >= upload.ledgerSize {
        throw HostRefusal(
          .consentChanged,
          "entry \(denial) of the ledger may end a permission, but consent was checked against "
            + "\(upload.ledgerSize) entries; synchronise, check again and send the input again")
      }
      try handle(.input(upload.input, from: sender))
      // Only inputs that were taken leave a trace.
      if current?.sessionID == sessionID { current?.evidence[sender] = .some(upload.evidenceRoot) }
    }
    return try await wait { try probe(sessionID, sender) { $0.notice(for: sender) } }
  }

  /// Step 2's answer for one node. Nothing goes out before the budget was debited.
  func deliverShares(_ request: SignedRequest, _ message: ShareUpload) async throws -> ShareDelivery? {
    let sender = request.sender
    return try await step(request, claimed: message.id, event: .shares(message)) { coordinator in
      coordinator.delivery(for: sender)
    }
  }

  private func liveSessionID(_ request: SignedRequest) throws -> Digest {
    guard let sessionID = request.session else {
      throw HostRefusal(.malformed, "\(request.sender.peerName): the request names no session")
    }
    guard current?.sessionID == sessionID || previous?.sessionID == sessionID else {
      throw HostRefusal(
        .unknownSession,
        "session \(sessionID.hex.prefix(16))… is not under way (it ended, or the server restarted)")
    }
    return sessionID
  }

  private func probe<Answer>(
    _ sessionID: Digest, _ sender: VerifyingKey, _ answer: (RoundCoordinator) throws -> Answer?
  ) throws -> Answer? {
    let live = current?.sessionID == sessionID ? current : previous
    guard let live, live.sessionID == sessionID else {
      throw HostRefusal(.unknownSession, "session \(sessionID.hex.prefix(16))… is not under way any more")
    }
    if let value = try answer(live.coordinator) { return value }
    if let reason = live.coordinator.loss(for: sender) {
      throw HostRefusal(.aborted, "this node's group of session \(live.number) was lost: \(reason)")
    }
    if case .aborted(let reason) = live.coordinator.phase {
      throw HostRefusal(.aborted, "session \(live.number) was aborted: \(reason)")
    }
    return nil
  }

  /// What a node needs to know after step 5.
  func outcome(_ request: SignedRequest, message: UnmaskShares) async throws -> WireSessionOutcome? {
    guard
      let completed = try await step(
        request, claimed: message.id, event: .unmask(message),
        answer: { $0.released?.transcript })
    else { return nil }
    var outcome = WireSessionOutcome()
    outcome.transcript = Data(completed.bytes)
    outcome.modelDigest = Data(previous?.outcomeModel?.bytes ?? [])
    return outcome
  }

  /// Opens what was sealed to the session's upload key.
  func openSealed(_ sealed: [UInt8], _ request: SignedRequest) throws -> [UInt8] {
    let sessionID = try liveSessionID(request)
    guard let live = current?.sessionID == sessionID ? current : previous else {
      throw HostRefusal(.unknownSession, "the session is over")
    }
    do { return try live.uploadKey.open(sealed: sealed) } catch {
      throw HostRefusal(.unauthorised, "\(request.sender.peerName): \(error)")
    }
  }

  /// A receiver for one masked input. At most four are open at a time, so memory stays O(d).
  func beginUpload(_ request: SignedRequest) async throws -> (PendingInput, expectedBytes: Int) {
    try requireEnrolled(request.sender)
    let sessionID = try liveSessionID(request)
    let isFree: Bool? = try await wait { uploading.count < Self.concurrentUploads ? true : nil }
    guard isFree == true else {
      throw HostRefusal(.refused, "the server is busy with other uploads; try again")
    }
    guard let live = current?.sessionID == sessionID ? current : previous else {
      throw HostRefusal(.unknownSession, "the session is over")
    }
    guard uploading.insert(request.sender).inserted else {
      throw HostRefusal(.refused, "\(request.sender.peerName) is uploading already")
    }
    guard let pending = live.coordinator.pendingInput(for: request.sender) else {
      uploading.remove(request.sender)
      throw HostRefusal(.aborted, live.coordinator.loss(for: request.sender) ?? "the session is over")
    }
    return (pending, Self.packedBytes(live.coordinator.signed.descriptor))
  }

  private static func packedBytes(_ descriptor: RoundDescriptor) -> Int {
    RingVector.packedByteCount(dimension: descriptor.dimension, ringBits: descriptor.ringBits)
  }

  /// Gives the place of an upload back.
  func endUpload(_ sender: VerifyingKey) {
    uploading.remove(sender)
    announceChange()
  }

  // MARK: Operator

  /// Takes an operator's task.
  func submit(_ request: SignedRequest) throws -> String {
    guard request.sender == keys.operatorKey else {
      throw HostRefusal(.unauthorised, "only the operator's key may submit tasks")
    }
    let message = try wireMessage(WireTaskSubmission.self, request.payload, peer: "the operator")
    let bytes = Array(message.task)
    let signature: Signature = try fixed(message.signature, "the operator", "TaskSubmission", "signature")
    guard keys.operatorKey.verifies(signature, domain: TaskSpecification.signatureDomain, [bytes]) else {
      throw HostRefusal(.unauthorised, "the operator's signature does not match the task")
    }
    let specification = try FederationTask.decode(bytes)
    let task = specification.terms
    guard !tasks.contains(where: { $0.id == task.id }) else {
      throw HostRefusal(.refused, "there is already a task named \(task.id); choose another name")
    }
    guard try specification.canonicalBytes() == bytes else {
      throw HostRefusal(.malformed, "the task is not canonical JSON; submit it with `accord task submit`")
    }
    guard let policy = ledger.rules.current?.policy else {
      throw HostRefusal(.refused, "\(LedgerError.noPolicy)")
    }
    guard let purpose = policy.purpose(task.purpose), purpose.isActive,
      purpose.version == task.purposeVersion
    else {
      throw HostRefusal(
        .refused,
        "the policy in force (\(policy.id) version \(policy.version)) has no active purpose "
          + "\(task.consentPurpose); its purposes: "
          + policy.purposes.filter(\.isActive).map { "\($0.reference)" }.joined(separator: ", "))
    }
    let engine = TaskRun(specification)
    let artifact = try engine.artifact.encode()
    try budgets.declare(task)
    guard
      try store.insert(
        task: task.id, bytes: bytes, signature: signature, progress: engine.progress,
        artifact: artifact, now: clock())
    else { throw HostRefusal(.refused, "there is already a task named \(task.id); choose another name") }
    tasks.append(
      RunningTask(id: task.id, bytes: bytes, signature: signature, engine: engine, artifact: artifact))
    announceChange()
    logger.info("task \(task.id) accepted")
    return task.id
  }

  /// Ends a task at the operator's word. A session under way still completes.
  func cancel(_ request: SignedRequest) throws {
    guard request.sender == keys.operatorKey else {
      throw HostRefusal(.unauthorised, "only the operator's key may cancel tasks")
    }
    let id = String(decoding: request.payload, as: UTF8.self)
    guard let position = tasks.firstIndex(where: { $0.id == id }) else {
      throw HostRefusal(.notFound, "there is no task named \(id)")
    }
    tasks[position].engine.cancel()
    try store.update(task: id, progress: tasks[position].engine.progress)
  }

  /// How the server is doing.
  package func status() throws -> FederationStatus {
    let now = clock()
    return FederationStatus(
      federation: ledger.origin, enrolled: enrolledNodes().count, waiting: waiting.count,
      session: current.map { live in
        let descriptor = live.coordinator.signed.descriptor
        return FederationStatus.Session(
          number: live.number, kind: descriptor.kind, round: descriptor.round,
          phase: live.coordinator.phase.description, cohort: live.coordinator.cohortCount,
          awaited: live.coordinator.awaited.count, elapsedMilliseconds: Self.elapsed(live.startedAt, now))
      },
      tasks: try tasks.map { task in
        FederationStatus.Task(
          id: task.id, specification: task.engine.task, progress: task.engine.progress.public,
          model: ModelArtifact.digest(of: task.artifact).hex,
          spent: Dictionary(
            uniqueKeysWithValues: try budgets.epsilon(task.engine.terms).map {
              ($0.key.rawValue, EpsilonValue($0.value))
            }), statistics: try task.engine.report(own: try budgets.own(task.engine.terms)))
      }, ledgerSize: ledger.size)
  }
}
