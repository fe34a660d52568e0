import Cryptography

@testable import SecureAggregation

/// A message on its way, with everything as it was before it arrived.
struct VectorEvent: Sendable {
  let sender: Int?
  let receiver: Int?
  let message: VectorMessage
  let before: VectorWorld

  var json: JSON { VectorEvent.json(message, from: sender, to: receiver) }

  static func json(
    _ message: VectorMessage, from sender: Int?, to receiver: Int?, body: JSON? = nil
  ) -> JSON {
    [
      "step": .text(message.step.rawValue), "kind": .text(message.kind),
      "from": sender.map { .int($0) } ?? "server", "to": receiver.map { .int($0) } ?? "server",
      "message": body ?? message.json,
    ]
  }
}

/// A round as it runs between real parties, and all its intermediate values.
struct VectorRound: Sendable {
  let plan: VectorPlan
  private(set) var world: VectorWorld
  private(set) var events: [VectorEvent] = []
  private var participants: [JSON] = []

  private struct Incomplete: Error {}

  /// Runs the round.
  init(_ plan: VectorPlan) throws {
    self.plan = plan
    world = try VectorWorld(plan)
    for index in everybody { try advertise(index) }
    try close(.advertise)
    for index in everybody where plan.fates[index].shares { try share(index) }
    try close(.share)
    for index in everybody where plan.fates[index].uploads { try mask(index) }
    try close(.mask)
    for index in everybody where plan.fates[index].confirms { try confirm(index) }
    try close(.confirm)
    for index in everybody where plan.fates[index].reveals { try reveal(index) }
    try close(.unmask)
  }

  private var everybody: Range<Int> { plan.fates.indices }

  /// Records a message, delivers it and returns the answer.
  @discardableResult
  private mutating func send(
    _ message: VectorMessage?, from sender: Int?, to receiver: Int?
  ) throws -> VectorMessage? {
    guard let message else { throw Incomplete() }
    events.append(VectorEvent(sender: sender, receiver: receiver, message: message, before: world))
    return try world.deliver(message, from: sender, to: receiver)
  }

  private mutating func close(_ step: AggregationStep) throws { try send(.close(step), from: nil, to: nil) }

  private mutating func advertise(_ index: Int) throws {
    // The same draws in the same order as the client's.
    var replay = world.clients[index].random
    let z = Scalar(using: &replay)
    let shareKeySeed = replay.secret(32)
    let b = Scalar(using: &replay)
    let message = try world.clients[index].advertise()
    guard message.shareKey == AgreementKey(seed: shareKeySeed).publicKey else { throw Incomplete() }
    let client = world.clients[index]
    participants.append([
      "index": .int(index), "leaves": .text(plan.fates[index].label),
      "identity_seed": .hex(client.identity.exportSeed()), "id": .hex(client.id),
      "share_key_seed": .hex(shareKeySeed), "share_key": .hex(message.shareKey), "z": .hex(z),
      "mask_key_seed": .hex(
        Hash.derive(
          domain: Domain.maskKey, [world.parameters.sessionID.bytes, client.id.bytes], key: z.secretBytes)),
      "mask_key": .hex(message.maskKey), "b": .hex(b), "seed_commitment": .hex(message.seedCommitment),
    ])
    try send(.advertisement(message), from: index, to: nil)
  }

  private mutating func share(_ index: Int) throws {
    var last: VectorMessage?
    if plan.graph == .complete {
      last = world.coordinator.roster.map { .roster($0) }
    } else {
      let request = try send(world.coordinator.commitment.map { .commitment($0) }, from: nil, to: index)
      last = try send(request, from: index, to: nil)
    }
    var replay = world.clients[index].random
    let secrets = try secrets(of: index)
    let upload = try send(last, from: nil, to: index)
    guard case .shared(_, let sharing) = world.clients[index].state,
      let members = world.coordinator.roster?.members
    else { throw Incomplete() }
    let count = world.parameters.threshold(cohort: members.count) - 1
    let z = [secrets.maskScalar] + (0..<count).map { _ in Scalar(using: &replay) }
    let b = [secrets.seed] + (0..<count).map { _ in Scalar(using: &replay) }
    func values(_ holder: Int) -> JSON {
      let x = Scalar(UInt64(holder + 1))
      return [
        "holder": .int(holder), "x": .int(holder + 1), "z_share": .hex(Shamir.evaluate(z, at: x)),
        "b_share": .hex(Shamir.evaluate(b, at: x)),
      ]
    }
    var shares: [JSON] = []
    for holder in sharing.cohort.dealt {
      guard let peer = sharing.peers[holder] else { throw Incomplete() }
      let agreed = try secrets.shareKey.sharedSecret(with: members[holder].shareKey)
      shares.append(
        values(holder) + [
          "agreed": .hex(agreed), "key": .hex(peer.shareKey), "nonce": .hex(replay.bytes(24)),
        ])
    }
    if world.parameters.graph.keepsOwnShare { shares.append(values(index) + ["kept": 1]) }
    participants[index] =
      participants[index] + [
        "z_coefficients": .list(z.dropFirst().map { .hex($0) }),
        "b_coefficients": .list(b.dropFirst().map { .hex($0) }), "dealt": .list(shares),
      ]
    try send(upload, from: index, to: nil)
  }

  private func secrets(of index: Int) throws -> AggregationClient.Secrets {
    switch world.clients[index].state {
    case .advertised(let secrets), .drawn(let secrets, _), .shared(let secrets, _): return secrets
    default: throw Incomplete()
    }
  }

  private mutating func mask(_ index: Int) throws {
    let secrets = try secrets(of: index)
    let client = world.clients[index]
    let delivery = try world.coordinator.delivery(for: client.id)
    guard let roster = world.coordinator.roster else { throw Incomplete() }
    let neighbours = Set(delivery.evidence.map(\.index)).union(delivery.shares.map(\.sender))
      .subtracting([index]).sorted()
    let sid = world.parameters.sessionID.bytes
    let selfSeed = Hash.derive(
      domain: Domain.selfMask, [sid, client.id.bytes], key: secrets.seed.secretBytes)
    let pairs = try neighbours.map { peer -> JSON in
      let member = roster.members[peer]
      let agreed = try secrets.maskKey.sharedSecret(with: member.maskKey)
      let (low, high) = member.id < client.id ? (member.id, client.id) : (client.id, member.id)
      let seed = Hash.derive(
        domain: Domain.pairMask, [sid, roster.root.bytes, low.bytes, high.bytes], key: agreed)
      return [
        "peer": .int(peer), "sign": .text(index < peer ? "+" : "-"), "agreed": .hex(agreed),
        "seed": .hex(seed), "first_words": .ints(try words(seed)),
      ]
    }
    let answer = try send(.delivery(delivery), from: nil, to: index)
    guard case .input(let packed)? = answer else { throw Incomplete() }
    let masked = try RingVector(packed: packed, dimension: plan.dimension, ringBits: plan.ringBits)
    participants[index] =
      participants[index] + [
        "self_mask": ["seed": .hex(selfSeed), "first_words": .ints(try words(selfSeed))],
        "pair_masks": .list(pairs), "input": .ints(world.inputs[index]), "masked_input": .ints(masked.words),
      ]
    try send(answer, from: index, to: nil)
  }

  /// The first four words of a mask.
  private func words(_ seed: SecretBytes) throws -> [UInt32] {
    var words = [UInt32](repeating: 0, count: min(4, plan.dimension))
    let stream = try KeyStream(seed: seed, suite: plan.suite)
    MaskKernel.apply([Mask(stream: stream, isAdded: true)], to: &words, ringBits: plan.ringBits)
    return words
  }

  private mutating func confirm(_ index: Int) throws {
    let answer = try send(world.coordinator.notice.map { .notice($0) }, from: nil, to: index)
    try send(answer, from: index, to: nil)
  }

  private mutating func reveal(_ index: Int) throws {
    var quorum = world.coordinator.quorum.map { VectorMessage.quorum($0) }
    if plan.graph != .complete {
      let choice = try send(world.coordinator.quorumClaim.map { .claim($0) }, from: nil, to: index)
      guard case .choice(let signers)? = choice else { throw Incomplete() }
      participants[index] = participants[index] + ["chosen_signers": .ints(signers)]
      quorum = try send(choice, from: index, to: nil)
    }
    let answer = try send(quorum, from: nil, to: index)
    try send(answer, from: index, to: nil)
  }

  // MARK: The file

  var json: JSON {
    get throws {
      guard let roster = world.coordinator.roster, let result = world.coordinator.result else {
        throw Incomplete()
      }
      let parameters = world.parameters
      let digests = world.coordinator.inputDigests.sorted { $0.key < $1.key }.map { JSON.hex($0.value) }
      return [
        "parameters": [
          "comment":
            "sid = H(accord/secagg/1/vectors; descriptor); descriptor: name=value of the rest, with ;",
          "descriptor": .text(plan.descriptor), "sid": .hex(parameters.sessionID),
        ] + plan.json,
        "derived": [
          "comment": "n, t, the size of a quorum, the packed bytes, and the roster's hashes",
          "cohort": .int(plan.fates.count),
          "shares_needed": .int(parameters.threshold(cohort: plan.fates.count)),
          "quorum": .int(parameters.quorum(plan.fates.count)),
          "packed_bytes": .int(parameters.packedByteCount),
          "leaves": .list(roster.members.map { .hex(VectorRound.leaf($0)) }),
          "top": .hex(RosterTree.tree(roster.members).top), "root": .hex(roster.root),
        ],
        "participants": [
          "comment": "Secrets and intermediate values; leaves: the step from which on it is silent",
          "list": .list(participants),
        ],
        "messages": [
          "comment": "In order; close: the server ends a step; same_as: the position of an equal message",
          "list": .list(messages),
        ],
        "result": [
          "comment": "U2, U3, the digests of the packed inputs of U3, and the sum modulo 2^ring_bits",
          "shared": .ints(world.coordinator.sharers), "survivors": .ints(world.coordinator.survivors),
          "input_digests": .list(digests), "sum": .ints(result.sum), "centred_sum": .ints(result.centredSum),
          "transcript": .hex(result.transcript),
        ],
      ]
    }
  }

  /// The messages; what went to several is written once.
  private var messages: [JSON] {
    var first: [String: Int] = [:]
    return events.enumerated().map { position, event in
      let isShared = event.sender == nil && event.receiver != nil
      let text = event.message.json.text()
      guard isShared, let earlier = first[text] else {
        first[text] = position
        return event.json
      }
      return VectorEvent.json(event.message, from: nil, to: event.receiver, body: ["same_as": .int(earlier)])
    }
  }

  static func leaf(_ member: Advertisement) -> Digest {
    Hash.blake2b(
      domain: Domain.leaf,
      [
        member.id.bytes, member.shareKey.bytes, member.maskKey.bytes, member.seedCommitment.bytes,
        member.signature.bytes,
      ])
  }
}

extension Fate {
  /// The step from which on the participant is silent.
  fileprivate var label: String {
    switch self {
    case .stays: "never"
    case .leavesBeforeSharing: "share"
    case .leavesBeforeUploading: "mask"
    case .leavesBeforeConfirming: "confirm"
    case .leavesBeforeRevealing: "unmask"
    }
  }
}
