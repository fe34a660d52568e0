import Cryptography

extension AggregationClient {
  /// Step 3: opens the shares of the others and masks the input with the self-mask and one pairwise mask
  /// for every neighbour that shared: those that this participant drew, and those that drew it. Afterwards
  /// the own secrets are wiped; the input itself is kept, to compare retries with, until
  /// `acknowledgeInput`, `reveal` or `abort`.
  ///
  /// - Parameters:
  ///   - input: `dimension` ring values, each below 2^b (encoded, clipped and noised).
  ///   - delivery: who shared, and the shares addressed to this participant.
  ///   - observe: told when each part begins; for measurements.
  /// - Throws: `wrongInputLength`, `inputOutOfRing`, `tooFewAlive`, `inDegreeTooLarge`, `malformedList`,
  ///   `ownEntryMissing`, `ownEntrySubstituted`, `openingRejected`, `rosterRootMismatch`, `badSignature`,
  ///   `shareRejected`, `malformed`, `unusableKey`, `conflictingRetry` (a second input under the same seeds
  ///   would be a two-time pad), `wrongStep`.
  package mutating func mask(
    _ input: [UInt32], delivery: ShareDelivery, observe: (MaskingPhase) -> Void = { _ in }
  ) throws(AggregationError) -> MaskedInput {
    if let earlier = sent.input {
      guard let vectors = earlier.vectors, vectors.plain == input, earlier.delivery == delivery.digest
      else { throw .conflictingRetry(.mask) }
      return vectors.masked
    }
    guard case .shared(let secrets, let sharing) = state else { throw wrongStep(.mask) }
    guard input.count == parameters.dimension else {
      throw .wrongInputLength(expected: parameters.dimension, actual: input.count)
    }
    observe(.recovering)
    let vector = try RingVector(words: input, ringBits: parameters.ringBits)
    let alive = try checkEvidence(delivery.evidence, sharing: sharing)
    let senders = try checkSenders(delivery.shares, alive: alive, sharing: sharing)
    let peers = try allPeers(senders, opening: delivery.opening, secrets: secrets, sharing: sharing)
    let shares = try openShares(delivery.shares, peers: peers, sharing: sharing)
    observe(.agreeing)
    let neighbours = Set(alive).union(senders).sorted()
    let masks = try masks(secrets: secrets, cohort: sharing.cohort, neighbours: neighbours, peers: peers)

    observe(.expanding(masks: masks.count))
    var words = vector.words
    MaskKernel.apply(masks, to: &words, ringBits: parameters.ringBits)
    observe(.concluding)
    RingKernel.reduce(&words, ringBits: parameters.ringBits)
    let masked = MaskedInput(
      packed: RingKernel.pack(words, ringBits: parameters.ringBits), dimension: parameters.dimension)
    state = .masked(Holding(cohort: sharing.cohort, alive: alive, shares: shares))
    sent.input = MaskedOnce(delivery: delivery.digest, vectors: (input, masked))
    return masked
  }

  /// Frees the input and its masked form: the server confirmed that it has it, or the host keeps the masked
  /// bytes itself. From here on `mask` is refused; nothing else changes.
  package mutating func acknowledgeInput() { sent.input?.vectors = nil }

  /// The holders of the own shares that are alive (without oneself), after checking that each proved to
  /// have shared for this very roster.
  private func checkEvidence(
    _ evidence: [ShareEvidence], sharing: Sharing
  ) throws(AggregationError) -> [Int] {
    let cohort = sharing.cohort
    try checkIndices(evidence.map(\.index), cohort: cohort, step: .mask)
    guard let own = evidence.first(where: { $0.index == cohort.index }) else {
      throw .ownEntryMissing(.share)
    }
    guard own.bundleDigest == sharing.bundleDigest else { throw .ownEntrySubstituted(.share) }
    let others = evidence.filter { $0.index != cohort.index }
    guard others.allSatisfy({ sharing.peers[$0.index] != nil }) else {
      throw .malformedList(.mask, .wrongEntries)
    }
    try checkAlive(others.count, cohort: cohort, step: .mask)
    let sid = parameters.sessionID
    _ = try parallelMap(others) { entry throws(AggregationError) in
      let peer = cohort.ids[entry.index]
      let signed = ShareUpload.signedBytes(
        sid: sid, root: cohort.root, id: peer, bundle: entry.bundleDigest)
      guard entry.signature.isWellSized, entry.bundleDigest.isWellSized,
        peer.verifies(entry.signature, of: signed)
      else { throw .badSignature(peer, .share) }
    }
    return others.map(\.index)
  }

  /// Whether enough holders of the own shares are alive: fewer, and corrupt ones among them could unmask
  /// this participant's input. `others` are counted without oneself.
  private func checkAlive(
    _ others: Int, cohort: Cohort, step: AggregationStep
  ) throws(AggregationError) {
    let count = others + (parameters.graph.keepsOwnShare ? 1 : 0)
    var needed = parameters.threshold(cohort: cohort.count)
    // On the complete graph the holders are the cohort.
    if parameters.graph == .complete { needed = max(needed, parameters.minimumSurvivors) }
    guard count >= needed else { throw .tooFewAlive(step, count: count, needed: needed) }
  }

  /// Who dealt to this participant, after checking the form of the list.
  private func checkSenders(
    _ delivered: [DeliveredShare], alive: [Int], sharing: Sharing
  ) throws(AggregationError) -> [Int] {
    let cohort = sharing.cohort
    let senders = delivered.map(\.sender)
    try checkIndices(senders, cohort: cohort, step: .mask)
    guard !senders.contains(cohort.index) else { throw .malformedList(.mask, .selfAddressed) }
    switch parameters.graph {
    case .complete:
      guard senders == alive else { throw .malformedList(.mask, .wrongEntries) }
    case .sparse:
      let maximum = parameters.graph.maximumInDegree(cohort: cohort.count)
      guard senders.count <= maximum else {
        throw .inDegreeTooLarge(id, count: senders.count, maximum: maximum)
      }
      // A neighbour that this participant drew and that sent a share is alive: the server may not
      // claim otherwise.
      let known = Set(alive)
      guard senders.allSatisfy({ sharing.peers[$0] == nil || known.contains($0) }) else {
        throw .malformedList(.mask, .wrongEntries)
      }
    }
    return senders
  }

  /// The checked keys of everybody that this participant drew or was drawn by.
  private func allPeers(
    _ senders: [Int], opening: RosterOpening, secrets: Secrets, sharing: Sharing
  ) throws(AggregationError) -> [Int: Peer] {
    let strangers = senders.filter { sharing.peers[$0] == nil }
    guard opening.indices == strangers else { throw .malformedList(.mask, .wrongEntries) }
    guard !strangers.isEmpty else { return sharing.peers }
    try check(opening, of: sharing.cohort)
    let checked = try peers(opening.members, secrets: secrets)
    return sharing.peers.merging(zip(strangers, checked)) { known, _ in known }
  }

  private func openShares(
    _ delivered: [DeliveredShare], peers: [Int: Peer], sharing: Sharing
  ) throws(AggregationError) -> [Int: HeldShares] {
    let cohort = sharing.cohort
    var shares: [Int: HeldShares] = [:]
    shares[cohort.index] = sharing.own
    for share in delivered {
      guard let peer = peers[share.sender] else { throw .malformedList(.mask, .wrongEntries) }
      guard share.ciphertext.count == SealedShare.byteCount else {
        throw .malformed(peer.id, .share, .wrongSize)
      }
      let plain: [UInt8]
      do {
        plain = try AEAD.open(
          share.ciphertext, key: peer.shareKey,
          additionalData: schedule.shareAdditionalData(root: cohort.root, sender: peer.id, recipient: id))
      } catch { throw .shareRejected(peer.id) }
      do {
        shares[share.sender] = HeldShares(
          maskKey: try Scalar(canonical: Array(plain[..<32])),
          seed: try Scalar(canonical: Array(plain[32...])))
      } catch { throw .malformed(peer.id, .share, .nonCanonicalScalar) }
    }
    return shares
  }

  /// The self-mask, and per neighbour that shared the pairwise mask: added by the lower index,
  /// subtracted by the higher, so that the pair cancels in the sum.
  private func masks(
    secrets: Secrets, cohort: Cohort, neighbours: [Int], peers: [Int: Peer]
  ) throws(AggregationError) -> [Mask] {
    let schedule = schedule
    let id = id
    let pairs = neighbours.compactMap { index in peers[index].map { (index: index, peer: $0) } }
    let pairwise = try parallelMap(pairs) { pair throws(AggregationError) in
      Mask(
        stream: try schedule.pairMask(
          of: secrets.maskKey, id: id, with: pair.peer.maskKey, peerID: pair.peer.id, root: cohort.root),
        isAdded: cohort.index < pair.index)
    }
    return [Mask(stream: try schedule.selfMask(of: secrets.seed, id: id), isAdded: true)] + pairwise
  }

  func checkIndices(
    _ indices: [Int], cohort: Cohort, step: AggregationStep
  ) throws(AggregationError) {
    guard indices.allSatisfy({ $0 >= 0 && $0 < cohort.count }) else {
      throw .malformedList(step, .indexOutOfRange)
    }
    guard zip(indices, indices.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw .malformedList(step, .notAscending)
    }
  }

  /// Step 4: checks the survivor list and signs it. Only one list is ever signed.
  ///
  /// - Throws: `malformedList`, `sharersChanged`, `survivorNotSharer`, `ownEntryMissing`, `tooFewAlive`,
  ///   `conflictingRetry` (another list was signed already), `wrongStep`.
  package mutating func confirm(_ notice: SurvivorNotice) throws(AggregationError) -> ConsistencySignature {
    if let earlier = sent.confirmation {
      guard earlier.notice == notice else { throw .conflictingRetry(.confirm) }
      return earlier.signature
    }
    guard case .masked(let holding) = state else { throw wrongStep(.confirm) }
    let cohort = holding.cohort
    try checkIndices(notice.shared, cohort: cohort, step: .confirm)
    try checkIndices(notice.uploaded, cohort: cohort, step: .confirm)
    let sharers = Set(notice.shared)
    // What the server says of this participant's neighbours must be what it said in step 3.
    guard cohort.dealt.filter({ sharers.contains($0) }) == holding.alive,
      holding.shares.keys.allSatisfy({ sharers.contains($0) })
    else { throw .sharersChanged }
    if let stranger = notice.uploaded.first(where: { !sharers.contains($0) }) {
      throw .survivorNotSharer(index: stranger)
    }
    let survivors = Set(notice.uploaded)
    guard survivors.contains(cohort.index) else { throw .ownEntryMissing(.confirm) }
    let needed = max(
      parameters.minimumAlive(cohort: cohort.count),
      graphPolicy.minimumSurvivors(parameters, cohort: cohort.count))
    guard notice.uploaded.count >= needed else {
      throw .tooFewAlive(.confirm, count: notice.uploaded.count, needed: needed)
    }
    try checkAlive(cohort.dealt.count { survivors.contains($0) }, cohort: cohort, step: .confirm)
    let message = ConsistencySignature(
      id: id, signature: identity.sign(notice.signedBytes(sid: parameters.sessionID, root: cohort.root)))
    state = .confirmed(holding, notice)
    sent.confirmation = (notice, message)
    return message
  }
}
