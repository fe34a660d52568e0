package import Cryptography
package import SecureAggregation

/// One session without secure aggregation, for simulations: the nodes' integers and the noise of `NodeRound`,
/// added up modulo the ring, and no key, mask, share or signature. The released sum is that of a session in
/// which the same nodes finish and draw from the same streams; what it costs is debited first, as there.
///
/// It protects nobody from the one who runs it: a deployment has no use for it.
///
/// Where the noise comes from:
/// - Cohorts of up to `mostSeparateShares`: every node adds its own share (`addShare`), bit for bit that of
///   `NodeRound` under the same stream.
/// - Larger ones, and all with a noise cohort: `release` draws the shares of all survivors at once. Skellam
///   noise is closed under sums, so the distribution is the same; the bits are not.
package struct ModelledSession: Sendable {
  /// The largest cohort whose nodes draw their shares of the noise one by one.
  package static let mostSeparateShares = 1_024

  private enum State: Sendable {
    case debiting(PendingDebits)
    case collecting(DebitedSession)
    case released
  }

  /// The session's descriptor; a single group.
  package let signed: SignedDescriptor
  /// Who takes part.
  package let cohort: [ParticipantID]
  /// The cohort whose noise is simulated; nil for this one.
  package let noiseCohort: Int?
  private let share: NoiseShare?
  private var state: State

  /// Starts a session.
  /// - Parameter noiseCohort: simulate, on the mean of this cohort, the noise that the mean of a cohort of so
  ///   many nodes has: every survivor then stands for a share of the larger cohort's noise, scaled by
  ///   cohort / noise cohort.
  package init(
    signed: SignedDescriptor, cohort: [ParticipantID], noiseCohort: Int? = nil
  ) throws(FederationError) {
    let descriptor = signed.descriptor
    guard descriptor.groups == 1 else {
      throw .mismatch(
        what: "the number of groups of a modelled session", expected: "1", actual: "\(descriptor.groups)")
    }
    guard noiseCohort ?? cohort.count >= descriptor.minimumCohort else {
      throw .component(
        name: "the session",
        reason: "its cohort of \(cohort.count) is below the minimum of \(descriptor.minimumCohort)")
    }
    self.signed = signed
    self.cohort = cohort
    self.noiseCohort = noiseCohort
    share =
      noiseCohort == nil && cohort.count <= Self.mostSeparateShares
      ? try NoiseShare(descriptor, cohort: cohort.count) : nil
    state = .debiting(try PendingDebits(of: descriptor))
  }

  /// What has to be debited before anything is released; empty afterwards.
  package var debits: [SegmentDebit] {
    guard case .debiting(let pending) = state else { return [] }
    return pending.list
  }

  /// The debits are on record.
  package mutating func debited() throws(FederationError) {
    guard case .debiting(let pending) = state else {
      throw .outOfOrder(step: "recording the debit", state: "the session is debited already")
    }
    state = .collecting(pending.confirmed())
  }

  /// Whether every node adds its own share.
  package var drawsSeparateShares: Bool { share != nil }

  /// Adds one node's share of the noise to its contribution, as `NodeRound.mask` does; nothing if the shares
  /// are drawn at once.
  /// - Parameter random: the stream that `NodeRound` would be started with.
  package func addShare(to contribution: inout [Int64], random: RandomStream) throws(FederationError) {
    guard let share else { return }
    var random = random
    var noise = random.fork()
    try share.add(to: &contribution, random: &noise)
  }

  /// Releases the sum of the survivors' contributions, shares included where nodes drew them. `random` is for
  /// the noise that is drawn at once.
  /// - Throws: `component` if too few survived, or a sum is outside what contributions and noise can reach: what
  ///   aborts a real session. `outOfOrder` before `debited`, and the second time.
  package mutating func release(
    _ sums: [Int64], survivors: [ParticipantID], random: inout RandomStream
  ) throws(FederationError) -> ReleasedSum {
    guard case .collecting(let debited) = state else {
      throw .outOfOrder(step: "releasing a sum", state: "its cost is not debited, or it was released")
    }
    let descriptor = signed.descriptor
    guard sums.count == descriptor.dimension else {
      throw .mismatch(
        what: "the sums' length", expected: "\(descriptor.dimension)", actual: "\(sums.count)")
    }
    let size = noiseCohort ?? cohort.count
    let counted = noiseCohort.map { survivors.count * $0 / max(1, cohort.count) } ?? survivors.count
    let needed = max(2, try descriptor.assuredSurvivors(cohort: size))
    guard !survivors.isEmpty, counted >= needed else {
      throw .component(
        name: "the session",
        reason: "only \(counted) of \(size) nodes finished; at least \(needed) must")
    }
    var values = sums
    if share == nil {
      try NoiseShare(
        descriptor, cohort: cohort.count, noiseCohort: noiseCohort, nodes: survivors.count
      ).add(to: &values, random: &random)
    }
    let result = try component("the modelled sum") {
      try AggregationResult(
        modelled: values, ringBits: descriptor.ringBits, sessionID: signed.sessionID, cohort: cohort,
        survivors: survivors)
    }
    try ReleasedSum.checkRange(result, descriptor: descriptor, noiseCohort: noiseCohort)
    state = .released
    return ReleasedSum(
      groups: [GroupRelease(group: 0, result: result)], signed: signed, after: debited,
      noiseCohort: noiseCohort)
  }
}
