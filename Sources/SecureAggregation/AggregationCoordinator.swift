import Cryptography

/// The server's side of one secure aggregation: a pure state machine that receives the participants'
/// messages, closes one step after the other, and unmasks the sum. It holds one vector, however many
/// participants there are; keys, signatures and shares add some kilobytes for each of them.
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
  let graphPolicy: GraphPolicy
  let schedule: KeySchedule
  var advertisements: [ParticipantID: Advertisement] = [:]
  /// All keys advertised so far.
  var keys: Set<AgreementPublicKey> = []
  var indices: [ParticipantID: Int] = [:]
  var tree = RosterTree.tree([])
  /// To whom a sharer dealt, ascending, by its index.
  var dealt: [Int: [Int]] = [:]
  /// Sealed shares by recipient, until inputs are closed.
  var inbox: [Int: [DeliveredShare]] = [:]
  var evidence: [Int: ShareEvidence] = [:]
  var inputDigests: [Int: Digest] = [:]
  var confirmations: [Int: ConsistencySignature] = [:]
  /// Who signed the survivor list, ascending, and the tree over their signatures, once that is closed.
  var quorumSigners: [Int]?
  var quorumTree: DigestTree?
  var reveals = RevealBook()
  /// The sum of the masked inputs, modulo 2^32.
  var accumulator: [UInt32] = []

  /// Starts a session.
  ///
  /// - Parameters:
  ///   - graphPolicy: what is demanded of a sparse graph; participants demand it as well.
  ///   - isEnrolled: whether an identity was enrolled by the operator.
  package init(
    parameters: AggregationParameters, graphPolicy: GraphPolicy = .standard,
    isEnrolled: @escaping @Sendable (ParticipantID) -> Bool
  ) {
    self.parameters = parameters
    self.graphPolicy = graphPolicy
    self.isEnrolled = isEnrolled
    schedule = KeySchedule(sid: parameters.sessionID, suite: parameters.suite)
  }

  /// Who is still awaited at this step, sorted. Empty while advertising, when nobody is known yet.
  package var pending: [ParticipantID] {
    switch step {
    case .advertise, .finished: []
    case .share: ids(of: members.indices.filter { evidence[$0] == nil })
    case .mask: ids(of: sharers.filter { inputDigests[$0] == nil })
    case .confirm: ids(of: survivors.filter { confirmations[$0] == nil })
    case .unmask: ids(of: survivors.filter { !reveals.contains($0) })
    }
  }

  /// The number of `pending`, without listing them.
  package var pendingCount: Int {
    switch step {
    case .advertise, .finished: 0
    case .share: members.count - evidence.count
    case .mask: evidence.count - inputDigests.count
    case .confirm: inputDigests.count - confirmations.count
    case .unmask: inputDigests.count - reveals.count
    }
  }

  /// The number of participants that advertised so far.
  package var advertisedCount: Int { advertisements.count }

  /// U2, ascending.
  var sharers: [Int] { evidence.keys.sorted() }
  /// U3, ascending.
  var survivors: [Int] { inputDigests.keys.sorted() }
  var members: [Advertisement] { roster?.members ?? [] }
  var minimumAlive: Int {
    max(
      parameters.minimumAlive(cohort: members.count),
      graphPolicy.minimumSurvivors(parameters, cohort: members.count))
  }

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
    guard message.shareKey != message.maskKey, !keys.contains(message.shareKey),
      !keys.contains(message.maskKey)
    else { throw .unusableKey(message.id) }
    keys.formUnion([message.shareKey, message.maskKey])
    advertisements[message.id] = message
  }

  /// Not a secret: any scalar multiple of a small-order point is refused by X25519.
  private static let probe = AgreementKey(seed: SecretBytes(count: 32) { _ in })

  private static func isUsable(_ key: AgreementPublicKey) -> Bool {
    guard key.isCanonical else { return false }
    do {
      _ = try probe.sharedSecret(with: key)
      return true
    } catch { return false }
  }

  /// Closes step 1 and fixes the roster.
  ///
  /// - Throws: `cohortTooSmall`, `graphTooWeak` (for so few), and the step stays open; `wrongStep`.
  package mutating func closeAdvertising() throws(AggregationError) -> Roster {
    try requireStep(.advertise)
    let minimum = max(parameters.minimumCohort, parameters.graph.minimumCohort)
    guard advertisements.count >= minimum else {
      throw .cohortTooSmall(count: advertisements.count, minimum: minimum)
    }
    try graphPolicy.check(parameters, cohort: advertisements.count)
    let members = advertisements.values.sorted { $0.id < $1.id }
    tree = RosterTree.tree(members)
    let roster = Roster(
      members: members,
      root: Roster.root(ids: members.map(\.id), top: tree.top, sid: parameters.sessionID))
    for (index, member) in members.enumerated() { indices[member.id] = index }
    self.roster = roster
    step = .share
    return roster
  }

  // MARK: Step 2

  /// What participants of the sparse graph draw their neighbours from; nil before the roster is fixed.
  package var commitment: RosterCommitment? {
    roster.map { RosterCommitment(ids: $0.members.map(\.id), top: tree.top) }
  }

  /// Opens the advertisements of the neighbours that a participant drew, and its own.
  ///
  /// - Throws: `graphMismatch`, `unknownParticipant`, `wrongRoster`, `malformed` (not exactly as many
  ///   neighbours as the graph's degree, in order, without oneself), `late`, `wrongStep`.
  package func open(_ request: NeighbourRequest) throws(AggregationError) -> RosterOpening {
    guard let roster else { throw .wrongStep(called: .share, current: step) }
    guard case .sparse(let degree, _) = parameters.graph else { throw .graphMismatch }
    let index = try rosterIndex(of: request.id, at: .share)
    try requireOpen(.share, for: request.id)
    guard request.root == roster.root else { throw .wrongRoster(request.id) }
    let neighbours = request.neighbours
    guard neighbours.count == degree else { throw .malformed(request.id, .share, .wrongEntries) }
    try checkIndices(neighbours, of: request.id, index: index)
    return opening(of: (neighbours + [index]).sorted())
  }

  private func opening(of indices: [Int]) -> RosterOpening {
    RosterOpening(
      indices: indices, members: indices.map { members[$0] }, hashes: tree.hashes(proving: indices))
  }

  private func checkIndices(
    _ indices: [Int], of id: ParticipantID, index: Int
  ) throws(AggregationError) {
    guard indices.allSatisfy({ $0 >= 0 && $0 < members.count }) else {
      throw .malformed(id, .share, .indexOutOfRange)
    }
    guard zip(indices, indices.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw .malformed(id, .share, .notAscending)
    }
    guard !indices.contains(index) else { throw .malformed(id, .share, .selfAddressed) }
  }

  /// Takes the sealed shares of a participant.
  ///
  /// - Throws: `unknownParticipant`, `wrongRoster`, `malformed`, `badSignature`, `inDegreeTooLarge` (too
  ///   many participants drew the one that is named), `conflictingDuplicate`, `late`, `wrongStep`.
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
    try checkIndices(recipients, of: message.id, index: index)
    guard recipients.count == parameters.graph.degree(cohort: members.count) else {
      throw .malformed(message.id, .share, .wrongEntries)
    }
    guard message.shares.allSatisfy({ $0.ciphertext.count == SealedShare.byteCount }) else {
      throw .malformed(message.id, .share, .wrongSize)
    }
    let maximum = parameters.graph.maximumInDegree(cohort: members.count)
    if let crowded = recipients.first(where: { (inbox[$0]?.count ?? 0) >= maximum }) {
      throw .inDegreeTooLarge(members[crowded].id, count: maximum + 1, maximum: maximum)
    }
    let signed = ShareUpload.signedBytes(
      sid: parameters.sessionID, root: roster.root, id: message.id, bundle: bundle)
    guard message.signature.isWellSized, message.id.verifies(message.signature, of: signed) else {
      throw .badSignature(message.id, .share)
    }
    evidence[index] = entry
    dealt[index] = recipients
    for share in message.shares {
      inbox[share.recipient, default: []].append(
        DeliveredShare(sender: index, ciphertext: share.ciphertext))
    }
  }

  /// Closes step 2: who shared is alive (U2). `delivery` then says what to send to each of them.
  ///
  /// - Throws: `tooFewAlive`, and the step stays open; `wrongStep`.
  package mutating func closeSharing() throws(AggregationError) {
    try requireStep(.share)
    guard evidence.count >= minimumAlive else {
      throw .tooFewAlive(.share, count: evidence.count, needed: minimumAlive)
    }
    accumulator = [UInt32](repeating: 0, count: parameters.dimension)
    step = .mask
  }

  /// The answer to a sharer once sharing is closed, until inputs are.
  ///
  /// - Throws: `unknownParticipant` (it did not share), `late`, `wrongStep`.
  package func delivery(for id: ParticipantID) throws(AggregationError) -> ShareDelivery {
    let index = try rosterIndex(of: id, at: .mask)
    try requireOpen(.mask, for: id)
    guard let dealt = dealt[index] else { throw .unknownParticipant(id, .mask) }
    let shares = (inbox[index] ?? []).sorted { $0.sender < $1.sender }
    let proofs = (dealt + [index]).sorted().compactMap { evidence[$0] }
    let known = Set(dealt)
    let strangers = shares.map(\.sender).filter { !known.contains($0) }
    return ShareDelivery(
      evidence: proofs, shares: shares, opening: strangers.isEmpty ? .empty : opening(of: strangers))
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
    inbox = [:]
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
    let signers = confirmations.keys.sorted()
    quorumSigners = signers
    quorumTree = QuorumTree.tree(
      signers: signers, signatures: quorum.signatures.map(\.signature))
    reveals = RevealBook(
      dealt: dealt, keepsOwn: parameters.graph.keepsOwnShare,
      threshold: parameters.threshold(cohort: members.count))
    step = .unmask
    return quorum
  }

  /// Who signed the survivor list, and a commitment to their signatures, for participants that check a
  /// sample; nil before the step is closed.
  package var quorumClaim: QuorumClaim? {
    guard let quorumTree, let quorumSigners else { return nil }
    return QuorumClaim(signers: quorumSigners, top: quorumTree.top)
  }

  /// The signatures of the signers that a participant chose.
  ///
  /// - Throws: `unknownParticipant` (the sender is no survivor), `malformed` (not ascending, or somebody
  ///   who did not sign), `wrongStep`.
  package func quorum(
    of signers: [Int], for id: ParticipantID
  ) throws(AggregationError) -> Quorum {
    guard quorum != nil else { throw .wrongStep(called: .unmask, current: step) }
    let index = try rosterIndex(of: id, at: .unmask)
    guard inputDigests[index] != nil else { throw .unknownParticipant(id, .unmask) }
    guard zip(signers, signers.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw .malformed(id, .unmask, .notAscending)
    }
    guard let quorumTree, let quorumSigners else { throw .wrongStep(called: .unmask, current: step) }
    // Both lists ascend: positions are found in one pass.
    var positions: [Int] = []
    var position = 0
    for signer in signers {
      while position < quorumSigners.count, quorumSigners[position] < signer { position += 1 }
      guard position < quorumSigners.count, quorumSigners[position] == signer else {
        throw .malformed(id, .unmask, .wrongEntries)
      }
      positions.append(position)
    }
    return Quorum(
      signatures: signers.compactMap { confirmations[$0] }, hashes: quorumTree.hashes(proving: positions))
  }
}
