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
/// On the complete graph call `advertise`, `share(roster:)`, `mask`, `confirm`, `reveal` in this order; on the
/// sparse graph `advertise`, `draw`, `share(opening:)`, `mask`, `confirm`, `challenge`, `reveal`. Repeating a
/// call with the same arguments returns the same message; repeating it with others is refused. A client serves one session:
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
  let graphPolicy: GraphPolicy
  var random: RandomStream
  var state = State.ready
  var sent = Sent()

  /// Where the participant stands, with exactly the secrets that the rest of the protocol needs.
  enum State: Sendable {
    case ready
    case advertised(Secrets)
    case drawn(Secrets, Cohort)
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

  /// A checked roster, seen from one of its members.
  struct Cohort: Sendable {
    /// Everybody, sorted.
    let ids: [ParticipantID]
    let top: Digest
    let root: Digest
    /// The own roster index.
    let index: Int
    /// To whom the own secrets are dealt, ascending, without oneself.
    let dealt: [Int]
    var count: Int { ids.count }
  }

  /// What step 2 adds.
  struct Sharing: Sendable {
    let cohort: Cohort
    let bundleDigest: Digest
    /// Whose keys are checked: those to whom shares were dealt, by roster index.
    let peers: [Int: Peer]
    /// The shares of the own secrets that the participant keeps (complete graph).
    let own: HeldShares?
  }

  /// Another member whose advertisement was checked.
  struct Peer: Sendable {
    let id: ParticipantID
    let maskKey: AgreementPublicKey
    /// The key under which shares travel between the two.
    let shareKey: SecretBytes
  }

  /// A participant's shares of another's two secrets.
  struct HeldShares: Sendable {
    let maskKey: Scalar
    let seed: Scalar
  }

  /// What remains after step 3: shares of others, none of the own secrets.
  struct Holding: Sendable {
    let cohort: Cohort
    /// The holders of the own shares that were shown to be alive, without oneself, ascending.
    let alive: [Int]
    /// Shares of those that dealt to this participant, oneself included on the complete graph.
    let shares: [Int: HeldShares]
  }

  /// Messages already sent, for retries.
  struct Sent: Sendable {
    var advertisement: Advertisement?
    var request: NeighbourRequest?
    var upload: ShareUpload?
    var input: MaskedOnce?
    var confirmation: (notice: SurvivorNotice, signature: ConsistencySignature)?
    var challenge: QuorumChallenged?
    var unmask: UnmaskShares?
  }

  /// The signers whose signatures were asked for.
  struct QuorumChallenged: Sendable {
    let claim: QuorumClaim
    /// Roster indices, ascending, and their positions in the claim.
    let signers: [Int]
    let positions: [Int]
  }

  /// The one input of a session.
  struct MaskedOnce: Sendable {
    let delivery: Digest
    /// Input and output, until the upload was acknowledged.
    var vectors: (plain: [UInt32], masked: MaskedInput)?
  }

  /// Starts a session. All randomness comes from `random`, which must be used for nothing else.
  ///
  /// - Parameter graphPolicy: what the participant demands of a sparse graph, whatever the server plans.
  package init(
    parameters: AggregationParameters, identity: SigningKey, random: RandomStream,
    graphPolicy: GraphPolicy = .standard
  ) {
    self.parameters = parameters
    self.identity = identity
    self.random = random
    self.graphPolicy = graphPolicy
    schedule = KeySchedule(sid: parameters.sessionID, suite: parameters.suite)
  }

  /// The step whose message comes next.
  package var step: AggregationStep {
    switch state {
    case .ready: .advertise
    case .advertised, .drawn: .share
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
  /// - Throws: `suiteUnavailable`, `aborted`.
  package mutating func advertise() throws(AggregationError) -> Advertisement {
    if let message = sent.advertisement { return message }
    guard case .ready = state else { throw wrongStep(.advertise) }
    guard parameters.suite.isAvailable else { throw .suiteUnavailable(parameters.suite) }
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
}
