import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages
import SecureAggregation

/// The node as an author of consent and as a witness.
extension SimulatedNode {
  /// A customer decides at this node's till: the event is signed and sent until the ledger acknowledges it.
  func decide(_ customer: String, _ state: ConsentState) throws {
    decisions.append((customer, state))
    try sendDecision()
  }

  private func sendDecision() throws {
    guard appending == nil, !decisions.isEmpty else { return }
    let (customer, state) = decisions.removeFirst()
    // The vault before the ledger: a tag in the log without its key could never be opened.
    guard let tag = try disk.write({ try vault.tag(for: customer, create: true) }) else { return }
    let event = world.federation.event(state, tag: tag, id: try world.freshEventID(), timeMs: Int64(now))
    let statement = try SignedStatement.sign(.consent(event), key: key)
    var message = WireLedgerAppend()
    message.statements = [Data(statement.bytes)]
    let payload = encodeMessage(message)
    appending = (try send(.append, signed(.append, payload)), statement, customer)
  }

  /// Checks a receipt as `EdgeNode/LedgerSubmission` does, and remembers how far the log has to come here.
  func receiveReceipt(_ answer: Answer) throws {
    guard let (open, statement, customer) = appending else { return }
    switch answer {
    case .askAgain: appending?.call = try sendAgain(open)
    case .refused(let code, let reason):
      world.note("node \(index): the decision of \(customer) was refused (\(code)): \(reason)")
      appending = nil
      try sendDecision()
    case .bytes(let bytes):
      do {
        let proven = try verify(bytes, statement)
        try disk.write { try vault.noteAcknowledged(treeSize: proven.size, root: proven.root) }
        world.note("node \(index): the decision of \(customer) is entry \(proven.index)")
      } catch let error as SimulatedCrash { throw error } catch {
        world.note("node \(index): a receipt is wrong: \(error)")
      }
      appending = nil
      try sendDecision()
    }
  }

  private func verify(
    _ bytes: [UInt8], _ statement: SignedStatement
  ) throws -> (index: UInt64, size: UInt64, root: Digest) {
    let answer = try wireMessage(
      WireLedgerAppended.self, bytes, peer: "the server", limit: MessageLimits.entries)
    guard let receipt = answer.receipts.first else { throw Refusal("badAnswer", "no receipt") }
    let leaf =
      receipt.leaf.isEmpty ? try statement.leaf(recordedMs: Int64(receipt.recordedMs)) : Array(receipt.leaf)
    let proof = InclusionProof(
      index: receipt.index, size: receipt.treeSize, path: try receipt.proof.map { try Digest(Array($0)) })
    try LedgerReceipt.verify(
      leaf: leaf, noteText: answer.checkpoint, proof: proof, verifiers: world.federation.verifiers)
    let root = try SignedCheckpoint.verify(answer.checkpoint, world.federation.verifiers).checkpoint.root
    return (receipt.index, receipt.treeSize, root)
  }

  // MARK: Witness

  /// Cosigns the newest tree; the answer tells what others cosigned.
  func cosign() throws {
    guard cosigning == nil, let checkpoint = mirror.checkpoint else { return }
    var note = try SignedNote(parsing: checkpoint.noteText)
    try note.cosign(asWitness: key, timestampSeconds: now / 1000)
    var message = WireCosigned()
    message.note = note.encoded
    cosigning = try send(.cosign, signed(.cosign, encodeMessage(message)))
  }

  func receiveSightings(_ answer: Answer) throws {
    cosigning = nil
    guard case .bytes(let bytes) = answer else { return }
    do {
      for sighting in try wireMessage(WireWitnesses.self, bytes, peer: "the server").sightings {
        let witness: VerifyingKey = try fixed(sighting.key, "the server", "Witnesses", "key")
        guard witness != key.verifyingKey, mirror.isEnrolled(witness) else { continue }
        _ = try mirror.witness(noteText: sighting.note, by: witness)
      }
    } catch { world.note("node \(index) doubts the log: \(error)") }
  }

  // MARK: A hostile node

  /// What leaves a hostile node instead of a message.
  func distorted(_ kind: CallKind, _ bytes: [UInt8]) throws -> [UInt8] {
    guard !malice.isEmpty else {
      earlierBytes[kind] = bytes
      return bytes
    }
    let isOfSession = [.advertise, .shares, .input, .consistency, .unmask].contains(kind)
    if isOfSession, malice.remove(.garbage) != nil {
      var damaged = bytes
      for _ in 0..<(1 + world.roll(4)) {
        damaged[Int(world.roll(UInt64(bytes.count)))] ^= UInt8(1 + world.roll(255))
      }
      world.inject(Call(id: world.nextCallID(), node: index, kind: kind, bytes: damaged))
    }
    if isOfSession, malice.remove(.replay) != nil, let earlier = earlierBytes[kind] {
      world.inject(Call(id: world.nextCallID(), node: index, kind: kind, bytes: earlier))
    }
    if kind == .advertise || kind == .consistency, malice.remove(.forgery) != nil {
      try forge(kind, session: session?.signed.sessionID)
    }
    earlierBytes[kind] = bytes
    return bytes
  }

  /// The own words in another's name.
  private func forge(_ kind: CallKind, session sid: Digest?) throws {
    let other = world.key(of: 0)
    let payload: [UInt8]
    if kind == .advertise, let own = try? session?.round?.advertise() {
      payload =
        Advertisement(
          id: other, shareKey: own.shareKey, maskKey: own.maskKey, seedCommitment: own.seedCommitment,
          signature: own.signature
        ).wireBytes
    } else {
      payload = ConsistencySignature(id: other, signature: key.sign(domain: "forged", [[1]])).wireBytes
    }
    let request = SignedRequest.sign(
      kind.requestKind ?? .advertise, payload: payload, session: sid, nowMilliseconds: now, key: key)
    world.inject(Call(id: world.nextCallID(), node: index, kind: kind, bytes: request))
  }

  /// Other keys for the same session.
  func equivocate(_ session: Session) throws {
    var second = try NodeRound(
      signed: session.signed, task: session.task.terms, policy: policy, identity: key,
      random: world.freshRandom())
    let bytes = try signed(
      .advertise, try second.advertise().wireBytes, session: session.signed.sessionID)(self)
    world.inject(Call(id: world.nextCallID(), node: index, kind: .advertise, bytes: bytes))
  }

  /// Shares of which one was never dealt.
  func wrong(_ message: UnmaskShares) -> UnmaskShares {
    func altered(_ shares: [RevealedShare]) -> [RevealedShare] {
      shares.map { share in
        var bytes = share.bytes
        bytes[0] ^= 1
        return RevealedShare(index: share.index, bytes: bytes)
      }
    }
    return UnmaskShares(
      id: message.id, seedShares: altered(message.seedShares), maskKeyShares: altered(message.maskKeyShares))
  }
}
