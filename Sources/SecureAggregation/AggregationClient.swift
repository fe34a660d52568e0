package import Cryptography

/// A participant's masked input: made by `AggregationClient.mask` only.
package struct MaskedInput: Sendable, Equatable {
  /// The values packed to b bits (layout: `RingVector`).
  package let packed: [UInt8]
  /// The number of values.
  package let dimension: Int

  init(packed: [UInt8], dimension: Int) {
    self.packed = packed
    self.dimension = dimension
  }
}

/// One participant of one secure aggregation: a pure state machine. It refuses whatever would let the
/// server learn more than the sum; a refusal is a typed error, sends nothing and changes nothing.
///
/// Call `advertise`, `share`, `mask`, `confirm`, `reveal` in this order. Repeating a call with the same
/// arguments returns the same message; repeating it with others is refused. A client serves one session:
/// the host keeps a durable record of used session identifiers and never makes two clients for one.
///
/// Secure aggregation alone is not differential privacy: the input must already carry its noise share.
package struct AggregationClient: Sendable {
  /// The parameters of the session.
  package let parameters: AggregationParameters
  /// The participant's own identity.
  package var id: ParticipantID { identity.verifyingKey }

  let identity: SigningKey
  let schedule: KeySchedule
  var random: RandomStream
  var state = State.ready
  var sent = Sent()

  /// Where the participant stands, with exactly the secrets that the rest of the protocol needs.
  enum State: Sendable {
    case ready
    case advertised(Secrets)
    case shared(Secrets, Sharing)
    case masked(Holding)
    case confirmed(Holding, SurvivorNotice)
    case revealed
    case aborted
  }

  /// The secrets drawn in step 1.
  struct Secrets: Sendable {
    let shareKey: AgreementKey
    let maskScalar: Scalar
    let maskKey: AgreementKey
    let seed: Scalar
  }

  /// What step 2 adds.
  struct Sharing: Sendable {
    let cohort: Cohort
    let bundleDigest: Digest
    /// The key shared with every member, nil at the own index.
    let shareKeys: [SecretBytes?]
    /// The shares of the own secrets that the participant keeps.
    let own: HeldShares
  }

  /// A checked roster, seen from one of its members.
  struct Cohort: Sendable {
    let members: [Advertisement]
    let root: Digest
    let index: Int
    var count: Int { members.count }
  }

  /// A participant's shares of another's two secrets.
  struct HeldShares: Sendable {
    let maskKey: Scalar
    let seed: Scalar
  }

  /// What remains after step 3: shares of others, none of the own secrets.
  struct Holding: Sendable {
    let cohort: Cohort
    let sharers: [Int]
    let shares: [Int: HeldShares]
  }

  /// Messages already sent, for retries.
  struct Sent: Sendable {
    var advertisement: Advertisement?
    var upload: ShareUpload?
    var input: (plain: [UInt32], delivery: Digest, masked: MaskedInput)?
    var confirmation: (notice: SurvivorNotice, signature: ConsistencySignature)?
    var unmask: UnmaskShares?
  }

  /// Starts a session. All randomness comes from `random`, which must be used for nothing else.
  package init(parameters: AggregationParameters, identity: SigningKey, random: RandomStream) {
    self.parameters = parameters
    self.identity = identity
    self.random = random
    schedule = KeySchedule(sid: parameters.sessionID)
  }

  /// The step whose message comes next.
  package var step: AggregationStep {
    switch state {
    case .ready: .advertise
    case .advertised: .share
    case .shared: .mask
    case .masked: .confirm
    case .confirmed: .unmask
    case .revealed, .aborted: .finished
    }
  }

  /// Wipes all secrets; nothing more can be sent in this session.
  package mutating func abort() {
    state = .aborted
    sent = Sent()
  }

  func wrongStep(_ called: AggregationStep) -> AggregationError {
    if case .aborted = state { return .aborted }
    return .wrongStep(called: called, current: step)
  }

  /// Step 1: draws the keys and advertises their public halves.
  ///
  /// - Throws: `aborted`.
  package mutating func advertise() throws(AggregationError) -> Advertisement {
    if let message = sent.advertisement { return message }
    guard case .ready = state else { throw wrongStep(.advertise) }
    let maskScalar = Scalar(using: &random)
    let secrets = Secrets(
      shareKey: AgreementKey(using: &random), maskScalar: maskScalar,
      maskKey: schedule.maskKey(of: maskScalar, id: id), seed: Scalar(using: &random))
    let commitment = schedule.commitment(to: secrets.seed, id: id)
    let message = Advertisement(
      id: id, shareKey: secrets.shareKey.publicKey, maskKey: secrets.maskKey.publicKey,
      seedCommitment: commitment,
      signature: identity.sign(
        Advertisement.signedBytes(
          sid: parameters.sessionID, id: id, shareKey: secrets.shareKey.publicKey,
          maskKey: secrets.maskKey.publicKey, seedCommitment: commitment)))
    state = .advertised(secrets)
    sent.advertisement = message
    return message
  }

  /// Step 2: checks the roster and seals a share of each of the two secrets to every other member.
  ///
  /// - Parameter isEnrolled: whether an identity was enrolled by the operator.
  /// - Throws: `cohortTooSmall`, `cohortTooLarge`, `rosterRootMismatch`, `rosterNotSorted`,
  ///   `duplicateParticipant`, `ownAdvertisementMissing`, `ownAdvertisementSubstituted`, `notEnrolled`,
  ///   `badSignature`, `unusableKey`, `conflictingRetry`, `wrongStep`.
  package mutating func share(
    roster: Roster, isEnrolled: (ParticipantID) -> Bool
  ) throws(AggregationError) -> ShareUpload {
    if let message = sent.upload {
      guard message.root == roster.root else { throw .conflictingRetry(.share) }
      return message
    }
    guard case .advertised(let secrets) = state else { throw wrongStep(.share) }
    let cohort = try check(roster, isEnrolled: isEnrolled)
    var shareKeys: [SecretBytes?] = []
    for (index, member) in cohort.members.enumerated() {
      guard index != cohort.index else {
        shareKeys.append(nil)
        continue
      }
      try shareKeys.append(schedule.shareKey(of: secrets.shareKey, with: member.shareKey, peerID: member.id))
    }
    let holders = parameters.graph.holders(of: cohort.index, cohort: cohort.count)
    let threshold = parameters.threshold(cohort: cohort.count)
    let xs = holders.map { $0 + 1 }
    let keyShares = Shamir.split(secrets.maskScalar, threshold: threshold, xs: xs, using: &random)
    let seedShares = Shamir.split(secrets.seed, threshold: threshold, xs: xs, using: &random)
    var sealed: [SealedShare] = []
    var own: HeldShares?
    for (position, holder) in holders.enumerated() {
      guard let key = shareKeys[holder] else {
        own = HeldShares(maskKey: keyShares[position], seed: seedShares[position])
        continue
      }
      sealed.append(
        SealedShare(
          recipient: holder,
          ciphertext: AEAD.seal(
            keyShares[position].exportBytes() + seedShares[position].exportBytes(), key: key,
            additionalData: schedule.shareAdditionalData(
              root: cohort.root, sender: id, recipient: cohort.members[holder].id), using: &random)))
    }
    guard let own else { throw .ownEntryMissing(.share) }
    let bundle = ShareUpload.bundleDigest(of: sealed)
    let message = ShareUpload(
      id: id, root: cohort.root, shares: sealed,
      signature: identity.sign(
        ShareUpload.signedBytes(sid: parameters.sessionID, root: cohort.root, id: id, bundle: bundle)))
    state = .shared(
      secrets, Sharing(cohort: cohort, bundleDigest: bundle, shareKeys: shareKeys, own: own))
    sent.upload = message
    return message
  }

  private func check(
    _ roster: Roster, isEnrolled: (ParticipantID) -> Bool
  ) throws(AggregationError) -> Cohort {
    let members = roster.members
    guard members.count >= parameters.minimumCohort else {
      throw .cohortTooSmall(count: members.count, minimum: parameters.minimumCohort)
    }
    guard members.count <= parameters.graph.maximumCohort else {
      throw .cohortTooLarge(count: members.count, maximum: parameters.graph.maximumCohort)
    }
    for (member, next) in zip(members, members.dropFirst()) {
      guard member.id != next.id else { throw .duplicateParticipant(next.id) }
      guard member.id < next.id else { throw .rosterNotSorted(next.id) }
    }
    guard let index = members.firstIndex(where: { $0.id == id }) else { throw .ownAdvertisementMissing }
    guard members[index] == sent.advertisement else { throw .ownAdvertisementSubstituted }
    for (position, member) in members.enumerated() where position != index {
      guard isEnrolled(member.id) else { throw .notEnrolled(member.id) }
      guard member.isSigned(sid: parameters.sessionID) else { throw .badSignature(member.id, .advertise) }
      // A reflected key would make a pair of the participant with itself.
      guard member.shareKey != members[index].shareKey, member.maskKey != members[index].maskKey else {
        throw .unusableKey(member.id)
      }
    }
    guard Roster.root(of: members, sid: parameters.sessionID) == roster.root else {
      throw .rosterRootMismatch
    }
    return Cohort(members: members, root: roster.root, index: index)
  }
}
