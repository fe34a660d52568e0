package import Cryptography

/// A participant is named by its long-term Ed25519 key.
package typealias ParticipantID = VerifyingKey

/// The steps of one secure aggregation, in order.
package enum AggregationStep: String, Sendable, Hashable, CaseIterable {
  /// Participants publish their keys and the commitment to their self-mask seed.
  case advertise
  /// Participants send each other sealed Shamir shares.
  case share
  /// Participants upload their masked inputs.
  case mask
  /// Participants sign the list of survivors.
  case confirm
  /// Participants reveal the shares that unmask the sum.
  case unmask
  /// The aggregation is over.
  case finished
}

/// What both sides must agree on before an aggregation. All of it is part of the signed round
/// descriptor, whose digest is `sessionID`; every key, mask, share and signature is bound to that digest,
/// so participants that were shown different descriptors never produce masks that cancel.
package struct AggregationParameters: Sendable, Equatable {
  /// The largest dimension that is accepted (1 GiB of 32-bit words).
  package static let maximumDimension = 1 << 28

  /// BLAKE2b-256 of the signed round descriptor ("sid").
  package let sessionID: Digest
  /// Number of coordinates of every input.
  package let dimension: Int
  /// Width b of the ring Z_2^b: 16, 20, 24 or 32 bits.
  package let ringBits: Int
  /// The smallest roster a participant accepts (n_min).
  package let minimumCohort: Int
  /// The smallest number of summed inputs a participant agrees to unmask (T_min).
  package let minimumSurvivors: Int
  /// The assumed fraction of participants that collude with the server, in thousandths (gamma·1000).
  package let corruptPermille: Int
  /// The suite that expands mask seeds.
  package let suite: KeyStreamSuite
  /// Who masks against, and holds shares of, whom.
  package let graph: NeighbourGraph

  /// Checks and wraps the parameters.
  ///
  /// - Throws: `invalidParameter` naming the field and the values that it may have.
  package init(
    sessionID: Digest, dimension: Int, ringBits: Int, minimumCohort: Int, minimumSurvivors: Int,
    corruptPermille: Int, suite: KeyStreamSuite = .chacha20, graph: NeighbourGraph = .complete
  ) throws(AggregationError) {
    func check(
      _ parameter: AggregationError.Parameter, _ value: Int, _ allowed: ClosedRange<Int>
    ) throws(AggregationError) {
      guard allowed.contains(value) else {
        throw .invalidParameter(
          parameter, value: value, minimum: allowed.lowerBound, maximum: allowed.upperBound)
      }
    }
    try check(.sessionID, sessionID.bytes.count, Digest.byteCount...Digest.byteCount)
    try check(.dimension, dimension, 1...AggregationParameters.maximumDimension)
    guard RingWidth.all.contains(ringBits) else {
      throw .invalidParameter(.ringBits, value: ringBits, minimum: 16, maximum: 32)
    }
    try check(.minimumCohort, minimumCohort, 2...graph.maximumCohort)
    try check(.minimumSurvivors, minimumSurvivors, 2...minimumCohort)
    try check(.corruptPermille, corruptPermille, 0...333)
    if case .sparse(let degree, let threshold) = graph {
      try check(.degree, degree, 2...NeighbourGraph.maximumDegree)
      try check(.threshold, threshold, 2...degree)
    }
    self.sessionID = sessionID
    self.dimension = dimension
    self.ringBits = ringBits
    self.minimumCohort = minimumCohort
    self.minimumSurvivors = minimumSurvivors
    self.corruptPermille = corruptPermille
    self.suite = suite
    self.graph = graph
  }

  /// The number of shares that reconstruct a secret in a cohort of `n` (t).
  package func threshold(cohort n: Int) -> Int { graph.threshold(cohort: n) }

  /// The number of signatures on one survivor list that a cohort of `n` needs:
  /// ⌊(n + ⌊gamma·n⌋)/2⌋ + 1, so that any two quorums share an honest participant.
  package func quorum(_ n: Int) -> Int { (n + n * corruptPermille / 1000) / 2 + 1 }

  /// Bytes of one packed masked input.
  package var packedByteCount: Int {
    RingVector.packedByteCount(dimension: dimension, ringBits: ringBits)
  }

  /// The fewest participants of the whole cohort that must be alive at any step. On the sparse graph the
  /// threshold concerns a participant's own neighbours and is checked apart.
  func minimumAlive(cohort n: Int) -> Int {
    switch graph {
    case .complete: max(threshold(cohort: n), minimumSurvivors)
    case .sparse: minimumSurvivors
    }
  }
}
