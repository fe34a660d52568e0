import Cryptography

extension AggregationClient {
  /// Step 3: opens the shares of the others and masks the input with the self-mask and one pairwise mask
  /// for every neighbour that shared. Afterwards the own secrets are wiped; the input itself is kept, to
  /// compare retries with, until `reveal` or `abort`.
  ///
  /// - Parameters:
  ///   - input: `dimension` ring values, each below 2^b (encoded, clipped and noised).
  ///   - delivery: who shared, and the shares addressed to this participant.
  /// - Throws: `wrongInputLength`, `inputOutOfRing`, `tooFewAlive`, `malformedList`, `ownEntryMissing`,
  ///   `ownEntrySubstituted`, `badSignature`, `shareRejected`, `malformed`, `unusableKey`,
  ///   `conflictingRetry` (a second input under the same seeds would be a two-time pad), `wrongStep`.
  package mutating func mask(
    _ input: [UInt32], delivery: ShareDelivery
  ) throws(AggregationError) -> MaskedInput {
    if let earlier = sent.input {
      guard earlier.plain == input, earlier.delivery == delivery.digest else {
        throw .conflictingRetry(.mask)
      }
      return earlier.masked
    }
    guard case .shared(let secrets, let sharing) = state else { throw wrongStep(.mask) }
    guard input.count == parameters.dimension else {
      throw .wrongInputLength(expected: parameters.dimension, actual: input.count)
    }
    let vector = try RingVector(words: input, ringBits: parameters.ringBits)
    let sharers = try checkEvidence(delivery.evidence, sharing: sharing)
    let shares = try openShares(delivery.shares, sharers: sharers, sharing: sharing)
    let masks = try masks(secrets: secrets, cohort: sharing.cohort, sharers: sharers)

    var words = vector.words
    MaskKernel.apply(masks, to: &words)
    RingKernel.reduce(&words, ringBits: parameters.ringBits)
    let masked = MaskedInput(
      packed: RingKernel.pack(words, ringBits: parameters.ringBits), dimension: parameters.dimension)
    state = .masked(Holding(cohort: sharing.cohort, sharers: sharers, shares: shares))
    sent.input = (input, delivery.digest, masked)
    return masked
  }

  /// U2, after checking that every member proved to have shared for this very roster.
  private func checkEvidence(
    _ evidence: [ShareEvidence], sharing: Sharing
  ) throws(AggregationError) -> [Int] {
    let cohort = sharing.cohort
    let sharers = evidence.map(\.index)
    try checkIndices(sharers, cohort: cohort, step: .mask)
    guard let own = evidence.first(where: { $0.index == cohort.index }) else {
      throw .ownEntryMissing(.share)
    }
    guard own.bundleDigest == sharing.bundleDigest else { throw .ownEntrySubstituted(.share) }
    let needed = parameters.minimumAlive(cohort: cohort.count)
    guard sharers.count >= needed else {
      throw .tooFewAlive(.mask, count: sharers.count, needed: needed)
    }
    for entry in evidence where entry.index != cohort.index {
      let peer = cohort.members[entry.index].id
      let signed = ShareUpload.signedBytes(
        sid: parameters.sessionID, root: cohort.root, id: peer, bundle: entry.bundleDigest)
      guard entry.signature.isWellSized, entry.bundleDigest.isWellSized,
        peer.verifies(entry.signature, of: signed)
      else { throw .badSignature(peer, .share) }
    }
    return sharers
  }

  private func openShares(
    _ delivered: [DeliveredShare], sharers: [Int], sharing: Sharing
  ) throws(AggregationError) -> [Int: HeldShares] {
    let cohort = sharing.cohort
    guard delivered.map(\.sender) == sharers.filter({ $0 != cohort.index }) else {
      throw .malformedList(.mask, .wrongEntries)
    }
    var shares = [cohort.index: sharing.own]
    for share in delivered {
      let peer = cohort.members[share.sender].id
      guard share.ciphertext.count == SealedShare.byteCount else {
        throw .malformed(peer, .share, .wrongSize)
      }
      guard let key = sharing.shareKeys[share.sender] else { throw .malformed(peer, .share, .selfAddressed) }
      let plain: [UInt8]
      do {
        plain = try AEAD.open(
          share.ciphertext, key: key,
          additionalData: schedule.shareAdditionalData(root: cohort.root, sender: peer, recipient: id))
      } catch { throw .shareRejected(peer) }
      do {
        shares[share.sender] = HeldShares(
          maskKey: try Scalar(canonical: Array(plain[..<32])),
          seed: try Scalar(canonical: Array(plain[32...])))
      } catch { throw .malformed(peer, .share, .nonCanonicalScalar) }
    }
    return shares
  }

  /// The self-mask, and per neighbour that shared the pairwise mask: added by the lower index,
  /// subtracted by the higher, so that the pair cancels in the sum.
  private func masks(
    secrets: Secrets, cohort: Cohort, sharers: [Int]
  ) throws(AggregationError) -> [Mask] {
    var masks = [Mask(stream: schedule.selfMask(of: secrets.seed, id: id), isAdded: true)]
    let alive = Set(sharers)
    let neighbours = parameters.graph.neighbours(of: cohort.index, cohort: cohort.count)
    for neighbour in neighbours where alive.contains(neighbour) {
      let peer = cohort.members[neighbour]
      let stream = try schedule.pairMask(
        of: secrets.maskKey, id: id, with: peer.maskKey, peerID: peer.id, root: cohort.root)
      masks.append(Mask(stream: stream, isAdded: cohort.index < neighbour))
    }
    return masks
  }

  private func checkIndices(
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
    guard notice.shared == holding.sharers else { throw .sharersChanged }
    let sharers = Set(holding.sharers)
    if let stranger = notice.uploaded.first(where: { !sharers.contains($0) }) {
      throw .survivorNotSharer(index: stranger)
    }
    guard notice.uploaded.contains(cohort.index) else { throw .ownEntryMissing(.confirm) }
    let needed = parameters.minimumAlive(cohort: cohort.count)
    guard notice.uploaded.count >= needed else {
      throw .tooFewAlive(.confirm, count: notice.uploaded.count, needed: needed)
    }
    let message = ConsistencySignature(
      id: id, signature: identity.sign(notice.signedBytes(sid: parameters.sessionID, root: cohort.root)))
    state = .confirmed(holding, notice)
    sent.confirmation = (notice, message)
    return message
  }

  /// Step 5: given a quorum on the list that this participant signed, reveals for every survivor the
  /// share of its self-mask seed and for every drop-out the share of its mask key, never both; then
  /// wipes everything. Later calls return the same message.
  ///
  /// - Throws: `unknownParticipant`, `duplicateParticipant`, `badSignature`, `quorumTooSmall`, `wrongStep`.
  package mutating func reveal(_ quorum: Quorum) throws(AggregationError) -> UnmaskShares {
    if let message = sent.unmask { return message }
    guard case .confirmed(let holding, let notice) = state else { throw wrongStep(.unmask) }
    try check(quorum, notice: notice, cohort: holding.cohort)
    let survivors = Set(notice.uploaded)
    var message = UnmaskShares(id: id, seedShares: [], maskKeyShares: [])
    for index in holding.sharers {
      guard let shares = holding.shares[index] else { continue }
      if survivors.contains(index) {
        message.seedShares.append(RevealedShare(index: index, bytes: shares.seed.exportBytes()))
      } else {
        message.maskKeyShares.append(RevealedShare(index: index, bytes: shares.maskKey.exportBytes()))
      }
    }
    state = .revealed
    sent = Sent()
    sent.unmask = message
    return message
  }

  private func check(
    _ quorum: Quorum, notice: SurvivorNotice, cohort: Cohort
  ) throws(AggregationError) {
    let survivors = Set(notice.uploaded.map { cohort.members[$0].id })
    let signed = notice.signedBytes(sid: parameters.sessionID, root: cohort.root)
    var signers: Set<ParticipantID> = []
    for entry in quorum.signatures {
      guard survivors.contains(entry.id) else { throw .unknownParticipant(entry.id, .confirm) }
      guard signers.insert(entry.id).inserted else { throw .duplicateParticipant(entry.id) }
      guard entry.signature.isWellSized, entry.id.verifies(entry.signature, of: signed) else {
        throw .badSignature(entry.id, .confirm)
      }
    }
    let needed = parameters.quorum(cohort.count)
    guard signers.count >= needed else { throw .quorumTooSmall(count: signers.count, needed: needed) }
  }
}
