package import Cryptography

/// A share that does not lie on the polynomial of its dealer's secret: either the dealer dealt it wrongly
/// or the holder revealed another one. Several faults with one name in common tell which.
package struct ShareFault: Sendable, Hashable {
  /// Whose secret it is a share of.
  package let dealer: ParticipantID
  /// Who revealed it.
  package let holder: ParticipantID
}

/// What an aggregation yields.
package struct AggregationResult: Sendable, Equatable {
  /// The sum of the survivors' inputs modulo 2^b.
  package let sum: [UInt32]
  /// b.
  package let ringBits: Int
  /// U1: everybody in the roster, sorted.
  package let cohort: [ParticipantID]
  /// U2: who shared.
  package let shared: [ParticipantID]
  /// U3: whose inputs are in the sum.
  package let survivors: [ParticipantID]
  /// U2 \ U3: who shared but did not upload in time.
  package let droppedBeforeUpload: [ParticipantID]
  /// Corrupt shares that were found, and corrected, on the way.
  package let faults: [ShareFault]
  /// BLAKE2b-256 over sid, root, U2, U3 and the digests of the inputs and of the sum.
  package let transcript: Digest

  /// The sum as signed numbers, centred around zero.
  package var centredSum: [Int64] { RingVector(trusted: sum, ringBits: ringBits).centred }
}

extension AggregationCoordinator {
  /// Whether enough participants revealed their shares: the threshold is reached for every sharer.
  package var canFinish: Bool { step == .unmask && reveals.isSufficient }

  /// Takes the revealed shares of a survivor.
  ///
  /// - Throws: `unknownParticipant`, `malformed` (not exactly one share for each sharer that dealt to it,
  ///   wrong sizes, non-canonical scalars), `conflictingDuplicate`, `late`, `wrongStep`.
  package mutating func receive(_ message: UnmaskShares) throws(AggregationError) {
    let index = try rosterIndex(of: message.id, at: .unmask)
    try requireOpen(.unmask, for: message.id)
    guard inputDigests[index] != nil else { throw .unknownParticipant(message.id, .unmask) }
    let flat = try checked(message, from: index)
    if let earlier = reveals.bytes(of: index) {
      guard earlier == flat else { throw .conflictingDuplicate(message.id, .unmask) }
      return
    }
    reveals.record(flat, of: index)
  }

  /// The shares in the order of their dealers.
  private func checked(_ message: UnmaskShares, from index: Int) throws(AggregationError) -> [UInt8] {
    var seeds = message.seedShares[...]
    var keys = message.maskKeyShares[...]
    var flat: [UInt8] = []
    let dealers = reveals.dealers(of: index)
    flat.reserveCapacity(dealers.count * 32)
    for dealer in dealers {
      let next = inputDigests[dealer] != nil ? seeds.popFirst() : keys.popFirst()
      guard let share = next, share.index == dealer else {
        throw .malformed(message.id, .unmask, .wrongEntries)
      }
      guard share.bytes.count == 32 else { throw .malformed(message.id, .unmask, .wrongSize) }
      do { _ = try Scalar(canonical: share.bytes) } catch {
        throw .malformed(message.id, .unmask, .nonCanonicalScalar)
      }
      flat += share.bytes
    }
    guard seeds.isEmpty, keys.isEmpty else { throw .malformed(message.id, .unmask, .wrongEntries) }
    return flat
  }

  /// Reconstructs the secrets, checks each against what was advertised, removes the masks and ends the
  /// session. A corrupt share is corrected from spare shares and named in `faults`. Calling it again
  /// returns the same result.
  ///
  /// - Parameter observe: told when each part begins; for measurements.
  /// - Throws: `tooFewAlive` (more shares are needed), `unrecoverable` (too many are corrupt; more may
  ///   still come, otherwise abort), `wrongStep`. Nothing changes then, and nobody is asked for more than
  ///   the one share that was revealed.
  package mutating func finish(
    observe: (MaskingPhase) -> Void = { _ in }
  ) throws(AggregationError) -> AggregationResult {
    if let result { return result }
    try requireStep(.unmask)
    guard reveals.isSufficient else {
      throw .tooFewAlive(.unmask, count: reveals.fewest, needed: reveals.threshold)
    }
    observe(.recovering)
    var recovery = Recovery(reveals)
    let seeds = try recover(survivors, &recovery) { schedule, member, secret in
      schedule.commitment(to: secret, id: member.id) == member.seedCommitment
    }
    let scalars = try recover(dropped, &recovery) { schedule, member, secret in
      schedule.maskKey(of: secret, id: member.id).publicKey == member.maskKey
    }
    var words = accumulator
    try removeSelfMasks(of: seeds, from: &words, observe: observe)
    try removeResidualMasks(of: scalars, from: &words, observe: observe)
    observe(.concluding)
    RingKernel.reduce(&words, ringBits: parameters.ringBits)
    let result = AggregationResult(
      sum: words, ringBits: parameters.ringBits, cohort: members.map(\.id), shared: ids(of: sharers),
      survivors: ids(of: survivors), droppedBeforeUpload: ids(of: dropped),
      faults: recovery.faults.map {
        ShareFault(dealer: members[$0.dealer].id, holder: members[$0.holder].id)
      },
      transcript: transcript(of: words))
    accumulator = []
    reveals = RevealBook()
    self.result = result
    step = .finished
    return result
  }

  /// U2 \ U3, ascending.
  private var dropped: [Int] { sharers.filter { inputDigests[$0] == nil } }

  private func recover(
    _ dealers: [Int], _ recovery: inout Recovery,
    isRight: @Sendable (KeySchedule, Advertisement, Scalar) -> Bool
  ) throws(AggregationError) -> [Scalar] {
    let schedule = schedule
    let members = members
    do throws(Recovery.Unrecoverable) {
      return try recovery.secrets(of: dealers) { isRight(schedule, members[$0], $1) }
    } catch {
      throw .unrecoverable(
        dealer: members[error.dealer].id, shares: error.shares, needed: reveals.threshold)
    }
  }

  /// How many masks are removed in one pass over the vector: enough to keep it in cache chunk by chunk,
  /// few enough to hold their keys.
  private static let masksPerPass = 4_096

  private func removeSelfMasks(
    of seeds: [Scalar], from words: inout [UInt32], observe: (MaskingPhase) -> Void
  ) throws(AggregationError) {
    let dealers = Array(zip(survivors, seeds))
    for start in stride(from: 0, to: dealers.count, by: AggregationCoordinator.masksPerPass) {
      observe(.agreeing)
      var masks: [Mask] = []
      for (index, seed) in dealers[start..<min(start + AggregationCoordinator.masksPerPass, dealers.count)] {
        masks.append(Mask(stream: try schedule.selfMask(of: seed, id: members[index].id), isAdded: false))
      }
      observe(.expanding(masks: masks.count))
      MaskKernel.apply(masks, to: &words, ringBits: parameters.ringBits)
    }
  }

  /// Removes the pairwise masks towards those that dropped, which nobody cancelled.
  private func removeResidualMasks(
    of scalars: [Scalar], from words: inout [UInt32], observe: (MaskingPhase) -> Void
  ) throws(AggregationError) {
    guard let root = roster?.root else { return }
    let schedule = schedule
    let members = members
    var pairs: [(key: AgreementKey, dealer: Int, survivor: Int)] = []
    func remove(_ words: inout [UInt32]) throws(AggregationError) {
      observe(.agreeing)
      let masks = try parallelMap(pairs) { pair throws(AggregationError) in
        let (member, peer) = (members[pair.dealer], members[pair.survivor])
        // The survivor added it if its index is the lower one; here it is undone.
        return Mask(
          stream: try schedule.pairMask(
            of: pair.key, id: member.id, with: peer.maskKey, peerID: peer.id, root: root),
          isAdded: pair.dealer < pair.survivor)
      }
      observe(.expanding(masks: masks.count))
      MaskKernel.apply(masks, to: &words, ringBits: parameters.ringBits)
      pairs = []
    }
    // Who drew whom, the other way round, among those that uploaded.
    var drawnBy: [Int: [Int]] = [:]
    for survivor in survivors {
      for index in dealt[survivor] ?? [] where inputDigests[index] == nil {
        drawnBy[index, default: []].append(survivor)
      }
    }
    for (dealer, scalar) in zip(dropped, scalars) {
      let key = schedule.maskKey(of: scalar, id: members[dealer].id)
      let drawn = (dealt[dealer] ?? []).filter { inputDigests[$0] != nil }
      for survivor in Set(drawn).union(drawnBy[dealer] ?? []).sorted() {
        pairs.append((key, dealer, survivor))
      }
      if pairs.count >= AggregationCoordinator.masksPerPass { try remove(&words) }
    }
    if !pairs.isEmpty { try remove(&words) }
  }

  private func transcript(of sum: [UInt32]) -> Digest {
    let sumDigest = InputDigest.digest(of: RingKernel.pack(sum, ringBits: parameters.ringBits))
    return Hash.blake2b(
      domain: Domain.transcript,
      [
        parameters.sessionID.bytes, roster?.root.bytes ?? [], Canonical.digest(indices: sharers).bytes,
        Canonical.digest(indices: survivors).bytes,
        survivors.flatMap { inputDigests[$0]?.bytes ?? [] }, sumDigest.bytes,
      ])
  }
}
