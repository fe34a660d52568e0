import Cryptography

/// The server's side of one secure aggregation: a pure state machine that receives the participants'
/// messages, closes one step after the other, and unmasks the sum. Apart from keys, signatures and shares
/// it holds one vector: memory is O(dimension), independent of the number of participants.
///
/// Every message may come twice; a second, different one is refused. An error names the peer and leaves
/// everything as it was. Signatures of steps 1, 2 and 4 are checked here; that a masked input and the
/// revealed shares come from the participant they name is the transport's business.
package struct AggregationCoordinator: Sendable {
  /// The parameters of the session.
  package let parameters: AggregationParameters
  /// The step whose messages are received now.
  package internal(set) var step = AggregationStep.advertise
  /// The roster, once advertising was closed.
  package internal(set) var roster: Roster?
  /// The survivor notice, once inputs were closed.
  package internal(set) var notice: SurvivorNotice?
  /// The quorum, once it was reached and closed.
  package internal(set) var quorum: Quorum?
  /// The result, once it was computed.
  package internal(set) var result: AggregationResult?

  let isEnrolled: @Sendable (ParticipantID) -> Bool
  let schedule: KeySchedule
  var advertisements: [ParticipantID: Advertisement] = [:]
  var indices: [ParticipantID: Int] = [:]
  /// Sealed shares by sender, until they are delivered.
  var uploads: [Int: [SealedShare]] = [:]
  var evidence: [Int: ShareEvidence] = [:]
  var inputDigests: [Int: Digest] = [:]
  var confirmations: [Int: ConsistencySignature] = [:]
  var reveals: [Int: UnmaskShares] = [:]
  /// The sum of the masked inputs, modulo 2^32.
  var accumulator: [UInt32] = []

  /// Starts a session.
  ///
  /// - Parameter isEnrolled: whether an identity was enrolled by the operator.
  package init(
    parameters: AggregationParameters, isEnrolled: @escaping @Sendable (ParticipantID) -> Bool
  ) {
    self.parameters = parameters
    self.isEnrolled = isEnrolled
    schedule = KeySchedule(sid: parameters.sessionID)
  }

  /// Who is still awaited at this step, sorted. Empty while advertising, when nobody is known yet.
  package var pending: [ParticipantID] {
    switch step {
    case .advertise, .finished: []
    case .share: ids(of: members.indices.filter { evidence[$0] == nil })
    case .mask: ids(of: sharers.filter { inputDigests[$0] == nil })
    case .confirm: ids(of: survivors.filter { confirmations[$0] == nil })
    case .unmask: ids(of: survivors.filter { reveals[$0] == nil })
    }
  }

  /// The number of participants that advertised so far.
  package var advertisedCount: Int { advertisements.count }

  /// U2, ascending.
  var sharers: [Int] { evidence.keys.sorted() }
  /// U3, ascending.
  var survivors: [Int] { inputDigests.keys.sorted() }
  var members: [Advertisement] { roster?.members ?? [] }
  var minimumAlive: Int { parameters.minimumAlive(cohort: members.count) }

  func ids(of indices: [Int]) -> [ParticipantID] { indices.map { members[$0].id } }

  func requireStep(_ called: AggregationStep) throws(AggregationError) {
    guard step == called else { throw .wrongStep(called: called, current: step) }
  }

  /// Whether a message of step `called` may be taken now; messages of a closed step are late.
  func requireOpen(_ called: AggregationStep, for id: ParticipantID) throws(AggregationError) {
    guard step != called else { return }
    let order = AggregationStep.allCases
    guard let now = order.firstIndex(of: step), let then = order.firstIndex(of: called), now > then else {
      throw .wrongStep(called: called, current: step)
    }
    throw .late(id, called)
  }

  func rosterIndex(of id: ParticipantID, at step: AggregationStep) throws(AggregationError) -> Int {
    guard let index = indices[id] else { throw .unknownParticipant(id, step) }
    return index
  }

  // MARK: Step 1

  /// Takes an advertisement.
  ///
  /// - Throws: `notEnrolled`, `badSignature`, `unusableKey`, `cohortTooLarge`, `conflictingDuplicate`,
  ///   `late`.
  package mutating func receive(_ message: Advertisement) throws(AggregationError) {
    if let earlier = advertisements[message.id] {
      guard earlier == message else { throw .conflictingDuplicate(message.id, .advertise) }
      return
    }
    try requireOpen(.advertise, for: message.id)
    guard isEnrolled(message.id) else { throw .notEnrolled(message.id) }
    let limit = parameters.graph.maximumCohort
    guard advertisements.count < limit else { throw .cohortTooLarge(count: limit + 1, maximum: limit) }
    guard message.isSigned(sid: parameters.sessionID) else { throw .badSignature(message.id, .advertise) }
    guard AggregationCoordinator.isUsable(message.shareKey), AggregationCoordinator.isUsable(message.maskKey)
    else { throw .unusableKey(message.id) }
    // One participant's keys under another's name would make every receiver refuse the roster.
    guard
      !advertisements.values.contains(where: {
        $0.shareKey == message.shareKey || $0.maskKey == message.maskKey
      })
    else { throw .unusableKey(message.id) }
    advertisements[message.id] = message
  }

  /// Not a secret: any scalar multiple of a small-order point is refused by X25519.
  private static let probe = AgreementKey(seed: SecretBytes(count: 32) { _ in })

  private static func isUsable(_ key: AgreementPublicKey) -> Bool {
    do {
      _ = try probe.sharedSecret(with: key)
      return true
    } catch { return false }
  }

  /// Closes step 1 and fixes the roster.
  ///
  /// - Throws: `cohortTooSmall`, and the step stays open; `wrongStep`.
  package mutating func closeAdvertising() throws(AggregationError) -> Roster {
    try requireStep(.advertise)
    guard advertisements.count >= parameters.minimumCohort else {
      throw .cohortTooSmall(count: advertisements.count, minimum: parameters.minimumCohort)
    }
    let members = advertisements.values.sorted { $0.id < $1.id }
    let roster = Roster(
      members: members, root: Roster.root(of: members, sid: parameters.sessionID))
    for (index, member) in members.enumerated() { indices[member.id] = index }
    self.roster = roster
    step = .share
    return roster
  }

  // MARK: Step 2

  /// Takes the sealed shares of a participant.
  ///
  /// - Throws: `unknownParticipant`, `wrongRoster`, `malformed`, `badSignature`, `conflictingDuplicate`,
  ///   `late`, `wrongStep`.
  package mutating func receive(_ message: ShareUpload) throws(AggregationError) {
    guard let roster else { throw .wrongStep(called: .share, current: step) }
    let index = try rosterIndex(of: message.id, at: .share)
    let bundle = ShareUpload.bundleDigest(of: message.shares)
    let entry = ShareEvidence(index: index, bundleDigest: bundle, signature: message.signature)
    if let earlier = evidence[index] {
      guard earlier == entry, message.root == roster.root else {
        throw .conflictingDuplicate(message.id, .share)
      }
      return
    }
    try requireOpen(.share, for: message.id)
    guard message.root == roster.root else { throw .wrongRoster(message.id) }
    let recipients = message.shares.map(\.recipient)
    guard !recipients.contains(index) else { throw .malformed(message.id, .share, .selfAddressed) }
    let holders = parameters.graph.holders(of: index, cohort: members.count).filter { $0 != index }
    guard recipients == holders else { throw .malformed(message.id, .share, .wrongEntries) }
    guard message.shares.allSatisfy({ $0.ciphertext.count == SealedShare.byteCount }) else {
      throw .malformed(message.id, .share, .wrongSize)
    }
    let signed = ShareUpload.signedBytes(
      sid: parameters.sessionID, root: roster.root, id: message.id, bundle: bundle)
    guard message.signature.isWellSized, message.id.verifies(message.signature, of: signed) else {
      throw .badSignature(message.id, .share)
    }
    evidence[index] = entry
    uploads[index] = message.shares
  }

  /// Closes step 2: who shared is alive (U2); returns what to send to each of them.
  ///
  /// - Throws: `tooFewAlive`, and the step stays open; `wrongStep`.
  package mutating func closeSharing() throws(AggregationError) -> [ParticipantID: ShareDelivery] {
    try requireStep(.share)
    let sharers = sharers
    guard sharers.count >= minimumAlive else {
      throw .tooFewAlive(.share, count: sharers.count, needed: minimumAlive)
    }
    let proofs = sharers.compactMap { evidence[$0] }
    var delivered: [Int: [DeliveredShare]] = [:]
    for sender in sharers {
      for share in uploads[sender] ?? [] where evidence[share.recipient] != nil {
        delivered[share.recipient, default: []].append(
          DeliveredShare(sender: sender, ciphertext: share.ciphertext))
      }
    }
    uploads = [:]
    accumulator = [UInt32](repeating: 0, count: parameters.dimension)
    step = .mask
    return Dictionary(
      uniqueKeysWithValues: sharers.map {
        (members[$0].id, ShareDelivery(evidence: proofs, shares: delivered[$0] ?? []))
      })
  }

  // MARK: Step 3

  /// Adds a complete input of an authenticated participant to the sum. Repeating the same input changes
  /// nothing.
  ///
  /// - Throws: `unknownParticipant` (it did not share), `conflictingDuplicate`, `late`, `wrongStep`,
  ///   `wrongInputLength` (the input was received for other parameters).
  package mutating func accept(_ input: CompleteInput, from id: ParticipantID) throws(AggregationError) {
    let index = try rosterIndex(of: id, at: .mask)
    if let earlier = inputDigests[index] {
      guard earlier == input.digest else { throw .conflictingDuplicate(id, .mask) }
      return
    }
    try requireOpen(.mask, for: id)
    guard evidence[index] != nil else { throw .unknownParticipant(id, .mask) }
    guard input.parameters.dimension == parameters.dimension,
      input.parameters.ringBits == parameters.ringBits
    else { throw .wrongInputLength(expected: parameters.packedByteCount, actual: input.packed.count) }
    RingKernel.add(packed: input.packed, ringBits: parameters.ringBits, to: &accumulator)
    inputDigests[index] = input.digest
  }

  /// Closes step 3: whose input was added survives (U3); everything later is discarded.
  ///
  /// - Throws: `tooFewAlive`, and the step stays open; `wrongStep`.
  package mutating func closeInputs() throws(AggregationError) -> SurvivorNotice {
    try requireStep(.mask)
    guard inputDigests.count >= minimumAlive else {
      throw .tooFewAlive(.mask, count: inputDigests.count, needed: minimumAlive)
    }
    let notice = SurvivorNotice(shared: sharers, uploaded: survivors)
    self.notice = notice
    step = .confirm
    return notice
  }

  // MARK: Step 4

  /// Takes a survivor's signature on the notice.
  ///
  /// - Throws: `unknownParticipant`, `badSignature`, `conflictingDuplicate`, `late`, `wrongStep`.
  package mutating func receive(_ message: ConsistencySignature) throws(AggregationError) {
    guard let roster, let notice else { throw .wrongStep(called: .confirm, current: step) }
    let index = try rosterIndex(of: message.id, at: .confirm)
    if let earlier = confirmations[index] {
      guard earlier == message else { throw .conflictingDuplicate(message.id, .confirm) }
      return
    }
    try requireOpen(.confirm, for: message.id)
    guard inputDigests[index] != nil else { throw .unknownParticipant(message.id, .confirm) }
    let signed = notice.signedBytes(sid: parameters.sessionID, root: roster.root)
    guard message.signature.isWellSized, message.id.verifies(message.signature, of: signed) else {
      throw .badSignature(message.id, .confirm)
    }
    confirmations[index] = message
  }

  /// Closes step 4.
  ///
  /// - Throws: `quorumTooSmall`, and the step stays open; `wrongStep`.
  package mutating func closeConsistency() throws(AggregationError) -> Quorum {
    try requireStep(.confirm)
    let needed = parameters.quorum(members.count)
    guard confirmations.count >= needed else {
      throw .quorumTooSmall(count: confirmations.count, needed: needed)
    }
    let quorum = Quorum(
      signatures: confirmations.keys.sorted().compactMap { confirmations[$0] })
    self.quorum = quorum
    step = .unmask
    return quorum
  }
}
