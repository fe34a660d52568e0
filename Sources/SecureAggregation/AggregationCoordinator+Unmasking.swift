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
  /// BLAKE2b-256 over sid, root, U2, U3, the digests of the inputs and the sum.
  package let transcript: Digest

  /// The sum as signed numbers, centred around zero.
  package var centredSum: [Int64] { RingVector(trusted: sum, ringBits: ringBits).centred }
}

extension AggregationCoordinator {
  /// Whether enough participants revealed their shares. Every one of them reveals one share for each
  /// sharer, so the threshold is reached for all secrets at once.
  package var canFinish: Bool {
    step == .unmask && reveals.count >= parameters.threshold(cohort: members.count)
  }

  /// Takes the revealed shares of a survivor.
  ///
  /// - Throws: `unknownParticipant`, `malformed` (not exactly one share for each sharer, wrong sizes,
  ///   non-canonical scalars), `conflictingDuplicate`, `late`, `wrongStep`.
  package mutating func receive(_ message: UnmaskShares) throws(AggregationError) {
    let index = try rosterIndex(of: message.id, at: .unmask)
    if let earlier = reveals[index] {
      guard earlier == message else { throw .conflictingDuplicate(message.id, .unmask) }
      return
    }
    try requireOpen(.unmask, for: message.id)
    guard inputDigests[index] != nil else { throw .unknownParticipant(message.id, .unmask) }
    guard message.seedShares.map(\.index) == survivors, message.maskKeyShares.map(\.index) == dropped
    else { throw .malformed(message.id, .unmask, .wrongEntries) }
    for share in message.seedShares + message.maskKeyShares {
      guard share.bytes.count == 32 else { throw .malformed(message.id, .unmask, .wrongSize) }
      do { _ = try Scalar(canonical: share.bytes) } catch {
        throw .malformed(message.id, .unmask, .nonCanonicalScalar)
      }
    }
    reveals[index] = message
  }

  /// Reconstructs the secrets, checks each against what was advertised, removes the masks and ends the
  /// session. A corrupt share is corrected from spare shares and named in `faults`. Calling it again
  /// returns the same result.
  ///
  /// - Throws: `tooFewAlive` (more shares are needed), `unrecoverable` (too many are corrupt; more may
  ///   still come, otherwise abort), `wrongStep`. Nothing changes then, and nobody is asked for more than
  ///   the one share that was revealed.
  package mutating func finish() throws(AggregationError) -> AggregationResult {
    if let result { return result }
    try requireStep(.unmask)
    let needed = parameters.threshold(cohort: members.count)
    guard reveals.count >= needed else {
      throw .tooFewAlive(.unmask, count: reveals.count, needed: needed)
    }
    var recovery = Recovery(holders: reveals.keys.sorted(), threshold: needed)
    let masks = try selfMasks(&recovery) + residualMasks(&recovery)

    MaskKernel.apply(masks, to: &accumulator)
    RingKernel.reduce(&accumulator, ringBits: parameters.ringBits)
    let result = AggregationResult(
      sum: accumulator, ringBits: parameters.ringBits, cohort: members.map(\.id), shared: ids(of: sharers),
      survivors: ids(of: survivors), droppedBeforeUpload: ids(of: dropped),
      faults: recovery.faults.map {
        ShareFault(dealer: members[$0.dealer].id, holder: members[$0.holder].id)
      },
      transcript: transcript(of: accumulator))
    accumulator = []
    reveals = [:]
    self.result = result
    step = .finished
    return result
  }

  /// U2 \ U3, ascending.
  private var dropped: [Int] { sharers.filter { inputDigests[$0] == nil } }

  private func selfMasks(_ recovery: inout Recovery) throws(AggregationError) -> [Mask] {
    var masks: [Mask] = []
    for (position, dealer) in survivors.enumerated() {
      let member = members[dealer]
      let seed = try recover(
        dealer, from: &recovery, share: { $0.seedShares[position].bytes },
        isRight: { schedule.commitment(to: $0, id: member.id) == member.seedCommitment })
      masks.append(Mask(stream: schedule.selfMask(of: seed, id: member.id), isAdded: false))
    }
    return masks
  }

  /// The pairwise masks towards those that dropped, which nobody cancelled.
  private func residualMasks(_ recovery: inout Recovery) throws(AggregationError) -> [Mask] {
    guard let root = roster?.root else { return [] }
    let alive = Set(survivors)
    var masks: [Mask] = []
    for (position, dealer) in dropped.enumerated() {
      let member = members[dealer]
      let scalar = try recover(
        dealer, from: &recovery, share: { $0.maskKeyShares[position].bytes },
        isRight: { schedule.maskKey(of: $0, id: member.id).publicKey == member.maskKey })
      let key = schedule.maskKey(of: scalar, id: member.id)
      let neighbours = parameters.graph.neighbours(of: dealer, cohort: members.count)
      for survivor in neighbours where alive.contains(survivor) {
        let peer = members[survivor]
        let stream = try schedule.pairMask(
          of: key, id: member.id, with: peer.maskKey, peerID: peer.id, root: root)
        // The survivor added it if its index is the lower one; here it is undone.
        masks.append(Mask(stream: stream, isAdded: dealer < survivor))
      }
    }
    return masks
  }

  private func recover(
    _ dealer: Int, from recovery: inout Recovery, share: (UnmaskShares) -> [UInt8],
    isRight: (Scalar) -> Bool
  ) throws(AggregationError) -> Scalar {
    var shares: [Int: Scalar] = [:]
    for (holder, message) in reveals {
      do { shares[holder] = try Scalar(canonical: share(message)) } catch {
        throw .malformed(members[holder].id, .unmask, .nonCanonicalScalar)
      }
    }
    guard let secret = recovery.secret(of: dealer, shares: shares, isRight: isRight) else {
      throw .unrecoverable(
        dealer: members[dealer].id, shares: reveals.count,
        needed: parameters.threshold(cohort: members.count))
    }
    return secret
  }

  private func transcript(of sum: [UInt32]) -> Digest {
    let sumHash = StreamingHash(domain: Domain.input)
    sumHash.update(RingKernel.pack(sum, ringBits: parameters.ringBits))
    return Hash.blake2b(
      domain: Domain.transcript,
      [
        parameters.sessionID.bytes, roster?.root.bytes ?? [], Canonical.digest(indices: sharers).bytes,
        Canonical.digest(indices: survivors).bytes,
        survivors.flatMap { inputDigests[$0]?.bytes ?? [] }, sumHash.finalize().bytes,
      ])
  }
}
