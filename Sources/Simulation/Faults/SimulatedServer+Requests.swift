import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages
import SecureAggregation

/// What nodes ask: the checks and answers of `AggregationServer/FederationHost+Requests.swift`.
extension SimulatedServer {
  private static let longPollMs: UInt64 = 20_000

  /// Takes a request; the answer may come later.
  func receive(_ call: Call) throws {
    do {
      if let answer = try process(call) { world.reply(call, answer) }
    } catch let refusal as Refusal {
      world.note("server refused \(call.kind.rawValue) of node \(call.node): \(refusal.reason)")
      world.reply(call, .refused(code: refusal.code, reason: refusal.reason))
    } catch let error as FederationError {
      world.note("server refused \(call.kind.rawValue) of node \(call.node): \(error)")
      world.reply(call, .refused(code: "refused", reason: "\(error)"))
    } catch let error as CryptographyError {
      world.reply(call, .refused(code: "unauthorised", reason: "\(error)"))
    } catch let error as AggregationError {
      world.reply(call, .refused(code: "refused", reason: "\(error)"))
    } catch let error as LedgerError {
      if case .commitUncertain = error { throw error }
      world.note("server refused \(call.kind.rawValue) of node \(call.node): \(error)")
      world.reply(call, .refused(code: "refused", reason: "\(error)"))
    }
  }

  private func process(_ call: Call) throws -> Answer? {
    guard let kind = call.kind.requestKind else { return try synchronisation(call) }
    if call.kind == .input { return try takeInput(call) }
    let request = try SignedRequest(call.bytes, expecting: kind, nowMilliseconds: now)
    try requireEnrolled(request.sender)
    switch call.kind {
    case .invitation: return try invite(call, request)
    case .model: return try model(request)
    case .append: return try appended(request)
    case .cosign: return try cosigned(request)
    case .advertise:
      let message = try Advertisement(wireBytes: request.payload, peer: request.sender.peerName)
      return try step(call, request, claimed: message.id, .advertisement(message))
    case .shares:
      let message = try ShareUpload(wireBytes: request.payload, peer: request.sender.peerName)
      return try step(call, request, claimed: message.id, .shares(message))
    case .consistency:
      let message = try ConsistencySignature(wireBytes: request.payload, peer: request.sender.peerName)
      if let answer = try malice.gather(message, server: self, call, request) { return answer }
      return try step(call, request, claimed: message.id, .consistency(message))
    case .unmask:
      let opened = try live(request).uploadKey.open(sealed: request.payload)
      let message = try UnmaskShares(wireBytes: opened, peer: request.sender.peerName)
      if let answer = try malice.unmask(message, server: self, request) { return answer }
      return try step(call, request, claimed: message.id, .unmask(message))
    case .input, .synchronise: return nil
    }
  }

  private func requireEnrolled(_ sender: VerifyingKey) throws {
    guard ledger.isEnrolled(sender) else { throw Refusal("unknownNode", "the key is not enrolled") }
  }

  func live(_ request: SignedRequest) throws -> LiveSession {
    guard let session = request.session else { throw Refusal("malformed", "the request names no session") }
    if let current, current.sessionID == session { return current }
    if let previous, previous.sessionID == session { return previous }
    throw Refusal("unknownSession", "the session is not under way")
  }

  private func invite(_ call: Call, _ request: SignedRequest) throws -> Answer? {
    let message = try wireMessage(WireInvitationRequest.self, request.payload, peer: request.sender.peerName)
    let newest = rows.sessions.keys.max() ?? 0
    guard message.lastSession <= max(newest, current?.number ?? 0) else {
      throw Refusal("refused", "this server was restored: the node took part in \(message.lastSession)")
    }
    waiting.removeAll { $0.call.kind == .invitation && $0.request.sender == request.sender }
    return answerOrWait(call, request)
  }

  private func model(_ request: SignedRequest) throws -> Answer {
    let message = try wireMessage(WireModelRequest.self, request.payload, peer: request.sender.peerName)
    let digest: Digest = try fixed(message.digest, request.sender.peerName, "ModelRequest", "digest")
    for row in rows.tasks.reversed() where ModelArtifact.digest(of: row.artifact) == digest {
      return .bytes(row.artifact)
    }
    throw Refusal("notFound", "there is no such model")
  }

  private func step(
    _ call: Call, _ request: SignedRequest, claimed id: VerifyingKey, _ event: RoundCoordinator.Event
  ) throws -> Answer? {
    guard id == request.sender else { throw Refusal("unauthorised", "a message in another node's name") }
    let session = try live(request).sessionID
    if current?.sessionID == session { try handle(event) }
    return answerOrWait(call, request)
  }

  private func answerOrWait(_ call: Call, _ request: SignedRequest) -> Answer? {
    if let answer = probe(call, request) { return answer }
    waiting.append((call, request, now + Self.longPollMs))
    return nil
  }

  /// Answers everybody whose answer is there now.
  func answerWaiting() {
    let before = waiting
    waiting = []
    for entry in before {
      if let answer = probe(entry.call, entry.request) {
        world.reply(entry.call, answer)
      } else {
        waiting.append(entry)
      }
    }
  }

  private func probe(_ call: Call, _ request: SignedRequest) -> Answer? {
    if call.kind == .invitation { return invitation(call, request) }
    let live = current?.sessionID == request.session ? current : previous
    guard let live, live.sessionID == request.session else {
      return .refused(code: "unknownSession", reason: "the session is not under way any more")
    }
    let id = request.sender
    let coordinator = live.coordinator
    let bytes: [UInt8]? =
      switch call.kind {
      case .advertise: coordinator.roster(for: id)?.wireBytes
      case .shares: coordinator.delivery(for: id)?.wireBytes
      case .input:
        coordinator.notice(for: id).map { malice.distort($0, live: live, node: call.node).wireBytes }
      case .consistency: coordinator.quorum(for: id)?.wireBytes
      case .unmask: coordinator.released.map { $0.transcript.bytes }
      default: nil
      }
    if let bytes { return .bytes(bytes) }
    if case .aborted(let reason) = coordinator.phase { return .refused(code: "aborted", reason: reason) }
    return nil
  }

  private func invitation(_ call: Call, _ request: SignedRequest) -> Answer? {
    guard let live = current, live.coordinator.phase == .advertising,
      let message = try? wireMessage(WireInvitationRequest.self, request.payload, peer: "a node")
    else { return nil }
    if let distorted = malice.invitation(live: live, node: call.node, server: self) {
      return .bytes(distorted)
    }
    guard live.number > message.lastSession else { return nil }
    return .bytes(Self.invitation(live.coordinator.signed, live.task))
  }

  static func invitation(_ signed: SignedDescriptor, _ task: RunningTask) -> [UInt8] {
    var invitation = WireInvitation()
    invitation.descriptor = Data(signed.bytes)
    invitation.signature = Data(signed.signature.bytes)
    invitation.task = Data(task.bytes)
    invitation.taskSignature = Data(task.signature.bytes)
    return encodeMessage(invitation)
  }

  // MARK: Input

  /// Step 3, as `UploadReceiver` and `FederationHost.takeInput` do it.
  private func takeInput(_ call: Call) throws -> Answer? {
    let parts = try Parcel.unpack(call.bytes, count: 2)
    let request = try SignedRequest(parts[0], expecting: .input, nowMilliseconds: now)
    try requireEnrolled(request.sender)
    let peer = request.sender.peerName
    let header = try wireMessage(WireInputHeader.self, request.payload, peer: peer)
    let digest: Digest = try fixed(header.digest, peer, "InputHeader", "digest")
    let evidence: Digest? =
      header.evidenceRoot.isEmpty ? nil : try fixed(header.evidenceRoot, peer, "InputHeader", "evidence_root")
    let live = try live(request)
    let key = SecretBytes(copying: try live.uploadKey.open(sealed: Array(header.sealedKey)))
    guard key.count == 32, var pending = live.coordinator.pendingInput(for: request.sender) else {
      throw Refusal("malformed", "the stream key is not 32 bytes long")
    }
    var reader = try SecretStreamReader(header: Array(header.streamHeader), key: key)
    let hash = StreamingHash(domain: "accord/v1/input")
    hash.update(parts[1])
    let packed = try reader.pull(parts[1])
    try pending.append(packed)
    guard reader.isFinished, hash.finalize() == digest else {
      throw Refusal("unauthorised", "the upload does not match its signed digest")
    }
    let input = try pending.finish()
    if current?.sessionID == live.sessionID {
      try plantedAdditions(
        packed, node: call.node, live, isListed: live.coordinator.notice(for: request.sender) != nil)
      if current?.evidence[request.sender] == nil {
        if world.bug != .denialIgnored, let denial = ledger.newestDenial, denial >= header.ledgerSize {
          throw Refusal("consentChanged", "entry \(denial) may end a permission")
        }
        let session = live.sessionID
        try handle(.input(input, from: request.sender))
        try world.taken(call.node, session)
        if current?.sessionID == session {
          current?.evidence[request.sender] = .some(evidence)
          current?.packed[call.node] = packed
        }
      }
    }
    return answerOrWait(call, request)
  }

  /// Two planted mistakes: an input that comes twice, or after the survivors were listed, is added as well.
  private func plantedAdditions(_ packed: [UInt8], node: Int, _ live: LiveSession, isListed: Bool) throws {
    let isRepeated = live.packed[node] == packed
    let isLate = live.packed[node] == nil && isListed
    guard world.bug == .duplicateAdded && isRepeated || world.bug == .lateInputAdded && isLate else { return }
    current?.strays.append([UInt32](repeating: 64, count: live.coordinator.signed.descriptor.dimension))
  }

  // MARK: Ledger

  private func appended(_ request: SignedRequest) throws -> Answer {
    let message = try wireMessage(WireLedgerAppend.self, request.payload, peer: request.sender.peerName)
    let statements = try message.statements.map { try SignedStatement(parsing: Array($0)) }
    let receipts = try append(statements)
    var answer = WireLedgerAppended()
    answer.checkpoint = receipts.first?.checkpoint.noteText ?? ""
    for (statement, receipt) in zip(statements, receipts) {
      let leaf = try receipt.earlierLeaf ?? statement.leaf(recordedMs: receipt.recordedMs)
      var event: ConsentEvent?
      if case .consent(let body) = try statement.body() { event = body }
      try world.oracle.acknowledge(event, leaf: leaf, at: receipt.index.value)
      var wire = WireLedgerReceipt()
      wire.index = receipt.index.value
      wire.treeSize = receipt.proof.size
      wire.proof = receipt.proof.path.map { Data($0.bytes) }
      wire.recordedMs = UInt64(receipt.recordedMs)
      wire.leaf = Data(receipt.earlierLeaf ?? [])
      answer.receipts.append(wire)
    }
    return .bytes(encodeMessage(answer))
  }

  /// The newest checkpoint and the leaves up to it, in one answer.
  private func synchronisation(_ call: Call) throws -> Answer {
    let start = call.bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    if let answer = try malice.synchronisation(call, from: start, server: self) { return .bytes(answer) }
    let signed = try ledger.checkpoint(nowMs: Int64(now))
    try world.oracle.note(signed.noteText)
    let size = signed.checkpoint.size
    guard start <= size else { return .bytes(Self.page(signed.noteText, [])) }
    let end = min(size, start + LedgerStore.maximumEntriesPerAnswer)
    return .bytes(Self.page(signed.noteText, try ledger.entries(start..<end)))
  }

  static func page(_ note: String, _ leaves: [[UInt8]]) -> [UInt8] {
    var page = WireLedgerEntries()
    page.leaves = leaves.map { Data($0) }
    return Parcel.pack([Array(note.utf8), encodeMessage(page)])
  }

  /// Takes a cosignature, and tells what others cosigned.
  private func cosigned(_ request: SignedRequest) throws -> Answer {
    let message = try wireMessage(WireCosigned.self, request.payload, peer: request.sender.peerName)
    let note = try SignedNote(parsing: message.note)
    try note.verify(ledger.verifiers.log)
    let verifier = try Witness.verifier(origin: ledger.origin, key: request.sender)
    guard try note.verify(verifier) != nil else { throw Refusal("refused", "not cosigned") }
    witnesses[request.sender] = message.note
    var answer = WireWitnesses()
    answer.sightings = witnesses.sorted { $0.key < $1.key }.map { key, note in
      var wire = WireWitnessSighting()
      wire.key = Data(key.bytes)
      wire.note = note
      return wire
    }
    return .bytes(encodeMessage(answer))
  }
}
