package import Cryptography
package import SecureAggregation

/// One session on a node as a pure state machine around `AggregationClient`: each call takes the server's
/// answer to the last step and gives the next message. What is not called in order is refused.
package struct NodeRound: Sendable {
  /// The session's descriptor.
  package let signed: SignedDescriptor
  private let task: any TaskTerms
  private let policy: NodePolicy
  private let group: Int
  private var client: AggregationClient
  private var noise: RandomStream
  private var cohort = 0
  /// The integers that went into the sum, noise included; empty before step 3.
  package private(set) var sentInput: [Int64] = []

  /// Starts a session that the node's policy has accepted. `random` must be fresh for every session: it
  /// makes keys, noise and masks.
  package init(
    signed: SignedDescriptor, task: any TaskTerms, policy: NodePolicy, identity: SigningKey,
    random: RandomStream
  ) throws(FederationError) {
    var random = random
    self.signed = signed
    self.task = task
    self.policy = policy
    noise = random.fork()
    group = try signed.descriptor.group(of: identity.verifyingKey, sessionID: signed.sessionID)
    client = AggregationClient(
      parameters: try signed.descriptor.aggregationParameters(sessionID: signed.sessionID, group: group),
      identity: identity, random: random.fork())
  }

  /// Whether neighbours are drawn (`draw`) before shares are made.
  package var drawsNeighbours: Bool { signed.descriptor.graph != .complete }

  /// Step 1: this node's keys for the session.
  package mutating func advertise() throws(FederationError) -> Advertisement {
    try run { (c) in try c.advertise() }
  }

  /// Step 2 on the complete graph: shares of this node's secrets for the members of the roster. `enrolled`
  /// are all nodes that the operator enrolled.
  package mutating func share(
    _ roster: Roster, enrolled: Set<VerifyingKey>
  ) throws(FederationError) -> ShareUpload {
    try check(roster.members.map(\.id), enrolled: enrolled)
    let upload = try run { (c) in try c.share(roster: roster) { enrolled.contains($0) } }
    cohort = roster.members.count
    return upload
  }

  /// Step 2 on the sparse graph: the neighbours that this node draws.
  package mutating func draw(
    _ commitment: RosterCommitment, enrolled: Set<VerifyingKey>
  ) throws(FederationError) -> NeighbourRequest {
    try check(commitment.ids, enrolled: enrolled)
    let request = try run { (c) in try c.draw(commitment) { enrolled.contains($0) } }
    cohort = commitment.ids.count
    return request
  }

  /// Step 2 on the sparse graph: shares for the neighbours that were drawn.
  package mutating func share(_ opening: RosterOpening) throws(FederationError) -> ShareUpload {
    try run { (c) in try c.share(opening: opening) }
  }

  /// Ring and group must hold the real cohort.
  private func check(_ ids: [VerifyingKey], enrolled: Set<VerifyingKey>) throws(FederationError) {
    let descriptor = signed.descriptor
    try policy.checkRing(descriptor, cohort: ids.count)
    try policy.checkGroup(descriptor, task: task, size: ids.count, enrolled: enrolled.count)
    guard descriptor.groups > 1 else { return }
    for id in ids {
      let theirs = try descriptor.group(of: id, sessionID: signed.sessionID)
      guard theirs == group else {
        throw .mismatch(
          what: "the group of \(id.peerName)", expected: "\(group)", actual: "\(theirs)")
      }
    }
  }

  /// Step 3: the contribution with this node's share of the noise, masked. `contribution` holds the
  /// integer sums of the whole vector, without noise. The budget must have been debited before.
  package mutating func mask(
    _ contribution: [Int64], delivery: ShareDelivery
  ) throws(FederationError) -> MaskedInput {
    var values = contribution
    try NoiseShare(signed.descriptor, cohort: cohort).add(to: &values, random: &noise)
    let ring = try component("ring") {
      try RingVector(centred: values, ringBits: signed.descriptor.ringBits)
    }
    let masked = try run { (c) in try c.mask(ring.words, delivery: delivery) }
    sentInput = values
    return masked
  }

  /// Step 4: a signature that everybody sees the same survivors.
  package mutating func confirm(
    _ notice: SurvivorNotice
  ) throws(FederationError) -> ConsistencySignature {
    // The server has the input: nothing of it is needed any more.
    client.acknowledgeInput()
    return try run { (c) in try c.confirm(notice) }
  }

  /// Step 5 on the sparse graph: the signers whose signatures this node wants to see.
  package mutating func challenge(_ claim: QuorumClaim) throws(FederationError) -> QuorumChallenge {
    QuorumChallenge(signers: try run { (c) in try c.challenge(claim) })
  }

  /// Step 5: for every neighbour one kind of share, never both.
  package mutating func reveal(_ quorum: Quorum) throws(FederationError) -> UnmaskShares {
    try run { (c) in try c.reveal(quorum) }
  }

  private mutating func run<Value>(
    _ body: (inout AggregationClient) throws -> Value
  ) throws(FederationError) -> Value {
    do { return try body(&client) } catch {
      throw .component(name: "secure aggregation", reason: "\(error)")
    }
  }
}
