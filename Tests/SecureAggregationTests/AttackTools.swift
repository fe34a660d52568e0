import Cryptography

@testable import SecureAggregation

/// What a hostile server gathers from the cohort, and the arithmetic with which it tries to read more than
/// the sum. It accepts no secret that does not match what was advertised, so whatever it returns is right.
struct Spy {
  let parameters: AggregationParameters
  let members: [Advertisement]
  let root: Digest
  /// Masked inputs by roster index.
  var masked: [Int: [UInt32]] = [:]
  /// With whom each participant masked, as far as the server let it know.
  var neighbours: [Int: [Int]] = [:]
  /// Shares by dealer and holder.
  var seedShares: [Int: [Int: Scalar]] = [:]
  /// Shares by dealer and holder.
  var keyShares: [Int: [Int: Scalar]] = [:]
  /// Mask scalars of participants that collude.
  var colluding: [Int: Scalar] = [:]

  init(_ session: Session) {
    parameters = session.parameters
    members = session.roster.members
    root = session.roster.root
  }

  private var schedule: KeySchedule { KeySchedule(sid: parameters.sessionID, suite: parameters.suite) }

  mutating func note(_ input: MaskedInput, of index: Int, delivery: ShareDelivery) throws {
    masked[index] = try RingVector(
      packed: input.packed, dimension: input.dimension, ringBits: parameters.ringBits
    ).words
    let known = delivery.evidence.map(\.index).filter { $0 != index }
    neighbours[index] = Set(known).union(delivery.shares.map(\.sender)).sorted()
  }

  mutating func note(_ message: UnmaskShares, from holder: Int) throws {
    for share in message.seedShares {
      seedShares[share.index, default: [:]][holder] = try Scalar(canonical: share.bytes)
    }
    for share in message.maskKeyShares {
      keyShares[share.index, default: [:]][holder] = try Scalar(canonical: share.bytes)
    }
  }

  /// A participant that colludes hands over everything that it knows.
  mutating func collude(_ client: AggregationClient, index: Int) {
    let held: [Int: AggregationClient.HeldShares]
    switch client.state {
    case .masked(let holding), .confirmed(let holding, _): held = holding.shares
    default: held = [:]
    }
    for (dealer, shares) in held {
      seedShares[dealer, default: [:]][index] = shares.seed
      keyShares[dealer, default: [:]][index] = shares.maskKey
    }
  }

  private func secret(_ shares: [Int: Scalar]?) -> Scalar? {
    let threshold = parameters.threshold(cohort: members.count)
    guard let shares, shares.count >= threshold else { return nil }
    let holders = shares.keys.sorted().prefix(threshold)
    return LagrangeWeights(xs: holders.map { $0 + 1 }).secret(of: holders.compactMap { shares[$0] })
  }

  /// b of a participant, if enough shares were gathered.
  func seed(of index: Int) -> Scalar? {
    guard let found = secret(seedShares[index]),
      schedule.commitment(to: found, id: members[index].id) == members[index].seedCommitment
    else { return nil }
    return found
  }

  /// z of a participant, if enough shares were gathered.
  func maskScalar(of index: Int) -> Scalar? {
    if let known = colluding[index] { return known }
    guard let found = secret(keyShares[index]),
      schedule.maskKey(of: found, id: members[index].id).publicKey == members[index].maskKey
    else { return nil }
    return found
  }

  /// The sum of the inputs of `group` alone, if every mask that does not cancel within it can be removed.
  /// With one member that is its plain input.
  func sum(of group: [Int], withoutSelfMasks: Bool = false) throws -> [Int64]? {
    var words = [UInt32](repeating: 0, count: parameters.dimension)
    for member in group {
      guard let input = masked[member] else { return nil }
      for index in words.indices { words[index] &+= input[index] }
      if withoutSelfMasks { continue }
      guard let seed = seed(of: member) else { return nil }
      let mask = Mask(stream: try schedule.selfMask(of: seed, id: members[member].id), isAdded: false)
      MaskKernel.apply([mask], to: &words, ringBits: parameters.ringBits)
    }
    let inside = Set(group)
    for member in group {
      for peer in neighbours[member] ?? [] where !(inside.contains(peer) && masks(peer, with: member)) {
        guard let stream = try pairMask(member, peer) else { return nil }
        MaskKernel.apply(
          [Mask(stream: stream, isAdded: member > peer)], to: &words, ringBits: parameters.ringBits)
      }
    }
    RingKernel.reduce(&words, ringBits: parameters.ringBits)
    return RingVector(trusted: words, ringBits: parameters.ringBits).centred
  }

  /// The plain input of one participant.
  func input(of victim: Int) throws -> [Int64]? { try sum(of: [victim]) }

  private func masks(_ member: Int, with peer: Int) -> Bool { neighbours[member]?.contains(peer) ?? false }

  private func pairMask(_ a: Int, _ b: Int) throws -> KeyStream? {
    for (known, other) in [(a, b), (b, a)] {
      guard let scalar = maskScalar(of: known) else { continue }
      let key = schedule.maskKey(of: scalar, id: members[known].id)
      return try schedule.pairMask(
        of: key, id: members[known].id, with: members[other].maskKey, peerID: members[other].id, root: root)
    }
    return nil
  }
}

/// The graphs on which attacks are tried. The sparse one is too small for any guarantee, but all its
/// messages and checks are those of a large one.
let attackedGraphs: [NeighbourGraph] = [.complete, Fixture.smallGraph]

extension Session {
  /// Twelve participants.
  static func attacked(
    _ graph: NeighbourGraph, n: Int = 12, sid: String = "session", minimumSurvivors: Int = 2,
    seed: UInt64 = 7
  ) throws -> Session {
    let parameters = try Fixture.parameters(
      sid: sid, dimension: 16, ringBits: 32, minimumCohort: minimumSurvivors,
      minimumSurvivors: minimumSurvivors, graph: graph)
    return try Session(n, parameters: parameters, seed: seed)
  }

  /// Uploads as `upload` does, under the eyes of the spy.
  mutating func upload(_ who: [Int]? = nil, spy: inout Spy) throws -> SurvivorNotice {
    for index in who ?? everybody {
      let input = try masked(index)
      try spy.note(input, of: index, delivery: delivery(for: index))
      try coordinator.accept(complete(input.packed), from: clients[index].id)
    }
    return try coordinator.closeInputs()
  }

  /// A signature that a participant who colludes gives on any list.
  func signature(of index: Int, on notice: SurvivorNotice) -> ConsistencySignature {
    ConsistencySignature(
      id: clients[index].id,
      signature: clients[index].identity.sign(
        notice.signedBytes(sid: parameters.sessionID, root: roster.root)))
  }

  /// Signatures of everybody but those named, as if all of them colluded.
  func signatures(
    on notice: SurvivorNotice, of who: [Int]
  ) -> [Int: ConsistencySignature] {
    Dictionary(uniqueKeysWithValues: who.map { ($0, signature(of: $0, on: notice)) })
  }

  /// Has a participant reveal for signatures of the server's choice, in the way of its graph.
  mutating func provoke(
    _ index: Int, _ signatures: [Int: ConsistencySignature]
  ) throws -> UnmaskShares {
    guard parameters.graph != .complete else {
      return try clients[index].reveal(
        Quorum(signatures: signatures.keys.sorted().compactMap { signatures[$0] }))
    }
    let chosen = try clients[index].challenge(QuorumClaim(committingTo: signatures))
    return try clients[index].reveal(Quorum(of: chosen, from: signatures))
  }

  /// Who holds shares of a sharer, without itself.
  func holders(of index: Int) -> [Int] { coordinator.dealt[index] ?? [] }

  /// Gives a participant other demands than the rest of the cohort has; what it sent and holds stays.
  mutating func replace(
    _ index: Int, minimumCohort: Int = 2, minimumSurvivors: Int = 2, policy: GraphPolicy = .unchecked
  ) throws {
    let client = clients[index]
    var other = AggregationClient(
      parameters: try AggregationParameters(
        sessionID: parameters.sessionID, dimension: parameters.dimension, ringBits: parameters.ringBits,
        minimumCohort: minimumCohort, minimumSurvivors: minimumSurvivors,
        corruptPermille: parameters.corruptPermille, suite: parameters.suite, graph: parameters.graph),
      identity: client.identity, random: client.random, graphPolicy: policy)
    other.state = client.state
    other.sent = client.sent
    clients[index] = other
  }

  /// Gives a participant of the sparse graph the neighbours named, as if it had drawn them.
  mutating func force(_ index: Int, draws neighbours: [Int]) throws {
    guard case .advertised(let secrets) = clients[index].state else {
      throw clients[index].wrongStep(.share)
    }
    let commitment = try commitment()
    clients[index].state = .drawn(
      secrets,
      AggregationClient.Cohort(
        ids: commitment.ids, top: commitment.top, root: roster.root, index: index, dealt: neighbours))
    clients[index].sent.request = NeighbourRequest(
      id: clients[index].id, root: roster.root, neighbours: neighbours)
  }

  /// The secrets of a participant that has not masked yet.
  func secrets(of index: Int) throws -> AggregationClient.Secrets {
    switch clients[index].state {
    case .advertised(let secrets), .drawn(let secrets, _), .shared(let secrets, _): return secrets
    default: throw clients[index].wrongStep(.mask)
    }
  }
}

extension QuorumClaim {
  /// A claim of all these signatures, by roster index.
  init(committingTo signatures: [Int: ConsistencySignature]) {
    self.init(signers: signatures.keys.sorted(), top: QuorumTree.tree(of: signatures).top)
  }
}

extension Quorum {
  /// The answer to a challenge out of the signatures that a claim committed to.
  init(of chosen: [Int], from signatures: [Int: ConsistencySignature]) {
    let signers = signatures.keys.sorted()
    self.init(
      signatures: chosen.compactMap { signatures[$0] },
      hashes: QuorumTree.tree(of: signatures).hashes(
        proving: signers.indices.filter { chosen.contains(signers[$0]) }))
  }
}

extension QuorumTree {
  /// The tree over signatures by roster index.
  static func tree(of signatures: [Int: ConsistencySignature]) -> DigestTree {
    let ordered = signatures.sorted { $0.key < $1.key }
    return tree(signers: ordered.map(\.key), signatures: ordered.map(\.value.signature))
  }
}

/// The refusal of a call, nil if it was answered.
func refusal(_ call: () throws -> Void) -> AggregationError? {
  do {
    try call()
    return nil
  } catch { return error as? AggregationError }
}
