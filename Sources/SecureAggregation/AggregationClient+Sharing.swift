import Cryptography

extension AggregationClient {
  /// Step 2 on the complete graph: checks the roster and seals a share of each of the two secrets to every
  /// other member.
  ///
  /// - Parameter isEnrolled: whether an identity was enrolled by the operator.
  /// - Throws: `cohortTooSmall`, `cohortTooLarge`, `rosterRootMismatch`, `rosterNotSorted`,
  ///   `duplicateParticipant`, `ownAdvertisementMissing`, `ownAdvertisementSubstituted`, `notEnrolled`,
  ///   `badSignature`, `unusableKey`, `graphMismatch`, `conflictingRetry`, `wrongStep`.
  package mutating func share(
    roster: Roster, isEnrolled: (ParticipantID) -> Bool
  ) throws(AggregationError) -> ShareUpload {
    if let message = sent.upload {
      guard message.root == roster.root else { throw .conflictingRetry(.share) }
      return message
    }
    guard case .advertised(let secrets) = state else { throw wrongStep(.share) }
    guard parameters.graph == .complete else { throw .graphMismatch }
    let ids = roster.members.map(\.id)
    let index = try check(ids: ids, isEnrolled: isEnrolled)
    guard roster.members[index] == sent.advertisement else { throw .ownAdvertisementSubstituted }
    let top = RosterTree.tree(roster.members).top
    guard Roster.root(ids: ids, top: top, sid: parameters.sessionID) == roster.root else {
      throw .rosterRootMismatch
    }
    let cohort = Cohort(
      ids: ids, top: top, root: roster.root, index: index,
      dealt: parameters.graph.drawNeighbours(of: index, cohort: ids.count, using: &random))
    let others = cohort.dealt.map { roster.members[$0] }
    return try deal(secrets, to: others, in: cohort)
  }

  /// Step 2 on the sparse graph, first half: checks who takes part and draws the neighbours, before any of
  /// their keys is known to the participant and after the server committed to all of them. The draw is
  /// made once: whatever the server answers, the same request is repeated.
  ///
  /// - Parameter isEnrolled: whether an identity was enrolled by the operator.
  /// - Throws: `cohortTooSmall`, `cohortTooLarge`, `rosterNotSorted`, `duplicateParticipant`,
  ///   `ownAdvertisementMissing`, `notEnrolled`, `graphTooWeak`, `graphMismatch`, `conflictingRetry`,
  ///   `wrongStep`.
  package mutating func draw(
    _ commitment: RosterCommitment, isEnrolled: (ParticipantID) -> Bool
  ) throws(AggregationError) -> NeighbourRequest {
    if let request = sent.request {
      guard
        request.root
          == Roster.root(ids: commitment.ids, top: commitment.top, sid: parameters.sessionID)
      else { throw .conflictingRetry(.share) }
      return request
    }
    guard case .advertised(let secrets) = state else { throw wrongStep(.share) }
    guard case .sparse = parameters.graph else { throw .graphMismatch }
    let index = try check(ids: commitment.ids, isEnrolled: isEnrolled)
    guard commitment.top.isWellSized else { throw .malformedList(.share, .wrongSize) }
    try graphPolicy.check(parameters, cohort: commitment.ids.count)
    let cohort = Cohort(
      ids: commitment.ids, top: commitment.top,
      root: Roster.root(ids: commitment.ids, top: commitment.top, sid: parameters.sessionID), index: index,
      dealt: parameters.graph.drawNeighbours(of: index, cohort: commitment.ids.count, using: &random))
    let request = NeighbourRequest(id: id, root: cohort.root, neighbours: cohort.dealt)
    state = .drawn(secrets, cohort)
    sent.request = request
    return request
  }

  /// Step 2 on the sparse graph, second half: checks the advertisements of the neighbours that it drew,
  /// and its own, against the roster's root, and seals a share of each of the two secrets to each of them.
  ///
  /// - Throws: `malformedList`, `openingRejected`, `ownAdvertisementSubstituted`, `badSignature`,
  ///   `unusableKey`, `conflictingRetry`, `wrongStep`.
  package mutating func share(opening: RosterOpening) throws(AggregationError) -> ShareUpload {
    if let message = sent.upload { return message }
    guard case .drawn(let secrets, let cohort) = state else { throw wrongStep(.share) }
    guard opening.indices == (cohort.dealt + [cohort.index]).sorted() else {
      throw .malformedList(.share, .wrongEntries)
    }
    try check(opening, of: cohort)
    guard let own = opening.indices.firstIndex(of: cohort.index), opening.members[own] == sent.advertisement
    else { throw .ownAdvertisementSubstituted }
    var others = opening.members
    others.remove(at: own)
    return try deal(secrets, to: others, in: cohort)
  }

  /// Checks the list of identities and finds the own one.
  private func check(
    ids: [ParticipantID], isEnrolled: (ParticipantID) -> Bool
  ) throws(AggregationError) -> Int {
    let minimum = max(parameters.minimumCohort, parameters.graph.minimumCohort)
    guard ids.count >= minimum else { throw .cohortTooSmall(count: ids.count, minimum: minimum) }
    guard ids.count <= parameters.graph.maximumCohort else {
      throw .cohortTooLarge(count: ids.count, maximum: parameters.graph.maximumCohort)
    }
    for (member, next) in zip(ids, ids.dropFirst()) {
      guard member != next else { throw .duplicateParticipant(next) }
      guard member < next else { throw .rosterNotSorted(next) }
    }
    guard let index = ids.firstIndex(of: id) else { throw .ownAdvertisementMissing }
    for (position, member) in ids.enumerated() where position != index {
      guard member.isWellSized, isEnrolled(member) else { throw .notEnrolled(member) }
    }
    return index
  }

  /// Checks that the opened advertisements stand at their places in the committed roster.
  func check(_ opening: RosterOpening, of cohort: Cohort) throws(AggregationError) {
    guard opening.members.count == opening.indices.count else {
      throw .malformedList(.share, .wrongEntries)
    }
    for (index, member) in zip(opening.indices, opening.members) {
      guard member.isWellSized, member.id == cohort.ids[index] else {
        throw .openingRejected(cohort.ids[index])
      }
    }
    guard let top = RosterTree.top(of: opening, count: cohort.count), top == cohort.top else {
      throw .rosterRootMismatch
    }
  }

  /// Checks the advertisements of other members and agrees on the keys under which shares travel.
  func peers(
    _ members: [Advertisement], secrets: Secrets
  ) throws(AggregationError) -> [Peer] {
    let own = (share: secrets.shareKey.publicKey, mask: secrets.maskKey.publicKey)
    let sid = parameters.sessionID
    let schedule = schedule
    return try parallelMap(members) { member throws(AggregationError) in
      guard member.isSigned(sid: sid) else { throw .badSignature(member.id, .advertise) }
      // A reflected key would make a pair of the participant with itself; comparing keys needs one encoding
      // of each.
      guard member.shareKey.isCanonical, member.maskKey.isCanonical, member.shareKey != own.share,
        member.maskKey != own.mask
      else { throw .unusableKey(member.id) }
      return Peer(
        id: member.id, maskKey: member.maskKey,
        shareKey: try schedule.shareKey(of: secrets.shareKey, with: member.shareKey, peerID: member.id))
    }
  }

  private mutating func deal(
    _ secrets: Secrets, to members: [Advertisement], in cohort: Cohort
  ) throws(AggregationError) -> ShareUpload {
    let peers = try peers(members, secrets: secrets)
    let keepsOwn = parameters.graph.keepsOwnShare
    let threshold = parameters.threshold(cohort: cohort.count)
    let xs = cohort.dealt.map { $0 + 1 } + (keepsOwn ? [cohort.index + 1] : [])
    let keyShares = Shamir.split(secrets.maskScalar, threshold: threshold, xs: xs, using: &random)
    let seedShares = Shamir.split(secrets.seed, threshold: threshold, xs: xs, using: &random)
    var sealed: [SealedShare] = []
    sealed.reserveCapacity(peers.count)
    for (position, (holder, peer)) in zip(cohort.dealt, peers).enumerated() {
      sealed.append(
        SealedShare(
          recipient: holder,
          ciphertext: AEAD.seal(
            keyShares[position].exportBytes() + seedShares[position].exportBytes(), key: peer.shareKey,
            additionalData: schedule.shareAdditionalData(
              root: cohort.root, sender: id, recipient: peer.id), using: &random)))
    }
    let own =
      keepsOwn
      ? HeldShares(maskKey: keyShares[peers.count], seed: seedShares[peers.count]) : nil
    let bundle = ShareUpload.bundleDigest(of: sealed)
    let message = ShareUpload(
      id: id, root: cohort.root, shares: sealed,
      signature: identity.sign(
        ShareUpload.signedBytes(sid: parameters.sessionID, root: cohort.root, id: id, bundle: bundle)))
    state = .shared(
      secrets,
      Sharing(
        cohort: cohort, bundleDigest: bundle,
        peers: Dictionary(uniqueKeysWithValues: zip(cohort.dealt, peers)), own: own))
    sent.upload = message
    return message
  }
}
