package import Cryptography
package import SecureAggregation

/// One session on a node as a pure state machine around `AggregationClient`: each call takes the server's
/// answer to the last step and gives the next message. What is not called in order is refused.
package struct NodeRound: Sendable {
  /// The session's descriptor.
  package let signed: SignedDescriptor
  private let policy: NodePolicy
  private var client: AggregationClient
  private var noise: RandomStream
  private var cohort = 0
  /// The integers that went into the sum, noise included; empty before step 3.
  package private(set) var sentInput: [Int64] = []

  /// Starts a session that the node's policy has accepted. `random` must be fresh for every session: it
  /// makes keys, noise and masks.
  package init(
    signed: SignedDescriptor, policy: NodePolicy, identity: SigningKey, random: RandomStream
  ) throws(FederationError) {
    var random = random
    self.signed = signed
    self.policy = policy
    noise = random.fork()
    client = AggregationClient(
      parameters: try signed.descriptor.aggregationParameters(sessionID: signed.sessionID),
      identity: identity, random: random.fork())
  }

  /// Step 1: this node's keys for the session.
  package mutating func advertise() throws(FederationError) -> Advertisement {
    try run { (c) in try c.advertise() }
  }

  /// Step 2: shares of this node's secrets for the members of the roster.
  package mutating func share(
    _ roster: Roster, isEnrolled: (VerifyingKey) -> Bool
  ) throws(FederationError) -> ShareUpload {
    let descriptor = signed.descriptor
    try policy.checkRing(descriptor, cohort: roster.members.count)
    let upload = try run { (c) in try c.share(roster: roster, isEnrolled: isEnrolled) }
    cohort = roster.members.count
    return upload
  }

  /// Step 3: the contribution with this node's share of the noise, masked. `contribution` holds the
  /// integer sums of the whole vector, without noise. The budget must have been debited before.
  package mutating func mask(
    _ contribution: [Int64], delivery: ShareDelivery
  ) throws(FederationError) -> MaskedInput {
    var values = contribution
    try NoiseShare.add(
      to: &values, descriptor: signed.descriptor, cohort: cohort, random: &noise)
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
    try run { (c) in try c.confirm(notice) }
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
