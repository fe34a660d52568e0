import Cryptography
import Foundation

extension AggregationClient {
  /// Step 5 in a large cohort, first half: draws the signers whose signatures on the survivor list this
  /// participant wants to see, from all that the server claims. The draw is made once.
  ///
  /// Checking all of a quorum costs thousands of signatures. The claim commits to the signatures, so the
  /// server cannot collect them after it knows which are wanted. A claim of c signers of which fewer than the
  /// quorum q really signed passes a uniform sample of m without replacement with probability at most
  /// Π_{i<m} (q-1-i)/(c-i); m is chosen such that this is at most 2^-41/n. If no m below c is, all are
  /// asked for, and the check is exact.
  ///
  /// - Throws: `malformedList`, `survivorNotSharer` (a signer that did not upload), `quorumTooSmall`,
  ///   `conflictingRetry`, `wrongStep`.
  package mutating func challenge(_ claim: QuorumClaim) throws(AggregationError) -> [Int] {
    if let earlier = sent.challenge {
      guard earlier.claim == claim else { throw .conflictingRetry(.unmask) }
      return earlier.signers
    }
    guard case .confirmed(let holding, let notice) = state else { throw wrongStep(.unmask) }
    let cohort = holding.cohort
    try checkIndices(claim.signers, cohort: cohort, step: .unmask)
    guard claim.top.isWellSized else { throw .malformedList(.unmask, .wrongSize) }
    let survivors = Set(notice.uploaded)
    if let stranger = claim.signers.first(where: { !survivors.contains($0) }) {
      throw .unknownParticipant(cohort.ids[stranger], .confirm)
    }
    let needed = parameters.quorum(cohort.count)
    guard claim.signers.count >= needed else {
      throw .quorumTooSmall(count: claim.signers.count, needed: needed)
    }
    let size = QuorumSample.size(claimed: claim.signers.count, quorum: needed, cohort: cohort.count)
    let positions = UniformSample.draw(size, of: claim.signers.count, using: &random)
    let signers = positions.map { claim.signers[$0] }
    sent.challenge = QuorumChallenged(claim: claim, signers: signers, positions: positions)
    return signers
  }

  /// Step 5: given a quorum on the list that this participant signed, reveals for every neighbour that
  /// dealt to it the share of its self-mask seed if it survived, or of its mask key if it dropped out,
  /// never both; then wipes everything. Later calls return the same message.
  ///
  /// - Parameter quorum: all signatures of a quorum, or exactly those that `challenge` asked for.
  /// - Throws: `unknownParticipant`, `duplicateParticipant`, `badSignature`, `quorumTooSmall`, `wrongStep`.
  package mutating func reveal(_ quorum: Quorum) throws(AggregationError) -> UnmaskShares {
    if let message = sent.unmask { return message }
    guard case .confirmed(let holding, let notice) = state else { throw wrongStep(.unmask) }
    try check(quorum, notice: notice, cohort: holding.cohort)
    let survivors = Set(notice.uploaded)
    var message = UnmaskShares(id: id, seedShares: [], maskKeyShares: [])
    for index in holding.shares.keys.sorted() {
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
    let survivors = Set(notice.uploaded.map { cohort.ids[$0] })
    var signers: Set<ParticipantID> = []
    for entry in quorum.signatures {
      guard survivors.contains(entry.id) else { throw .unknownParticipant(entry.id, .confirm) }
      guard signers.insert(entry.id).inserted else { throw .duplicateParticipant(entry.id) }
    }
    if let challenge = sent.challenge {
      try check(quorum, answers: challenge, cohort: cohort)
    } else {
      let needed = parameters.quorum(cohort.count)
      guard signers.count >= needed else { throw .quorumTooSmall(count: signers.count, needed: needed) }
    }
    let signed = notice.signedBytes(sid: parameters.sessionID, root: cohort.root)
    _ = try parallelMap(quorum.signatures) { entry throws(AggregationError) in
      guard entry.signature.isWellSized, entry.id.verifies(entry.signature, of: signed) else {
        throw .badSignature(entry.id, .confirm)
      }
    }
  }
}

extension AggregationClient {
  /// Exactly the signatures that were asked for, out of those that the claim committed to.
  private func check(
    _ quorum: Quorum, answers challenge: QuorumChallenged, cohort: Cohort
  ) throws(AggregationError) {
    for (position, signer) in challenge.signers.enumerated() {
      guard position < quorum.signatures.count, quorum.signatures[position].id == cohort.ids[signer] else {
        throw .unknownParticipant(cohort.ids[signer], .unmask)
      }
    }
    guard quorum.signatures.count == challenge.signers.count else {
      throw .malformedList(.unmask, .wrongEntries)
    }
    guard quorum.signatures.allSatisfy({ $0.signature.isWellSized }) else {
      throw .malformedList(.unmask, .wrongSize)
    }
    let leaves = zip(challenge.signers, quorum.signatures).map {
      QuorumTree.leaf(signer: $0, signature: $1.signature)
    }
    let top = DigestTree.top(
      opened: challenge.positions, leaves: leaves, hashes: quorum.hashes,
      count: challenge.claim.signers.count, nodeDomain: Domain.quorumNode)
    guard top == challenge.claim.top else { throw .quorumNotCommitted }
  }
}

/// How many signatures of a claimed quorum have to be looked at.
enum QuorumSample {
  /// The smallest sample that a claim without a true quorum passes with probability at most 2^-41/n, or
  /// all of the claim.
  static func size(claimed: Int, quorum: Int, cohort n: Int) -> Int {
    var log2Passing = 0.0
    let limit = -41 - log2(Double(n))
    for size in 0..<claimed {
      guard log2Passing > limit else { return size }
      // All that really signed are drawn already: the next one cannot be genuine.
      guard size < quorum - 1 else { return size + 1 }
      log2Passing += log2(Double(quorum - 1 - size) / Double(claimed - size))
    }
    return claimed
  }
}
