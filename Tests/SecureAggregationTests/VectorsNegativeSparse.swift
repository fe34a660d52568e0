import Cryptography

@testable import SecureAggregation

extension VectorsNegativeCases {
  @Sendable static func sparseRosters() throws -> [VectorNegative] {
    let base = try VectorBase.sparse()
    let id = base.id(0)
    let stranger = Fixture.identities[20].verifyingKey
    func malformed(_ defect: AggregationError.Defect) -> AggregationError { .malformed(id, .share, defect) }
    return [
      try base.commitment("too-small", "nine of ten", .cohortTooSmall(count: 9, minimum: 10)) {
        $0.ids.removeLast(3)
      },
      try base.commitment("unsorted", "two exchanged", .rosterNotSorted(base.id(4))) { $0.ids.swapAt(4, 5) },
      try base.commitment("duplicate", "one twice", .duplicateParticipant(base.id(4))) {
        $0.ids[5] = $0.ids[4]
      },
      try base.commitment("without-receiver", "its identity is left out", .ownAdvertisementMissing) {
        $0.ids.removeFirst()
      },
      try base.commitment("stranger", "never enrolled", .notEnrolled(stranger)) {
        $0.ids = ($0.ids + [stranger]).sorted()
      },
      try base.commitment("truncated-top", "31 bytes", .malformedList(.share, .wrongSize)) {
        $0.top = Digest(unchecked: Array($0.top.bytes.dropLast()))
      },
      try base.commitment("second", "another one after the draw", again: true, .conflictingRetry(.share)) {
        $0.top = Hash.blake2b([])
      },
      try base.change("roster-instead", "of the complete graph", "roster_commitment", to: 0, .graphMismatch) {
        _, world in world.coordinator.roster.map { .roster($0) }
      },
      try base.request("too-few-neighbours", "five of six", malformed(.wrongEntries)) {
        $0.neighbours.removeLast()
      },
      try base.request("itself", "its own neighbour", malformed(.selfAddressed)) { $0.neighbours[0] = 0 },
      try base.request("other-roster", "another root", .wrongRoster(id)) { $0.root = Hash.blake2b([]) },
      try base.opening("wrong-hash", "one bit of the proof", .rosterRootMismatch) { opening, _ in
        var bytes = opening.hashes[0].bytes
        bytes[7] ^= 4
        opening.hashes[0] = Digest(unchecked: bytes)
      },
      try base.opening("hash-missing", "the proof is too short", .rosterRootMismatch) { opening, _ in
        opening.hashes.removeLast()
      },
      try base.opening("hash-too-many", "the proof is too long", .rosterRootMismatch) { opening, _ in
        opening.hashes.append(Hash.blake2b([]))
      },
      try base.opening("member-changed", "another mask key", .rosterRootMismatch) { opening, _ in
        opening.members[2].maskKey = opening.members[3].maskKey
      },
      try substituted(base),
      try base.opening("other-neighbours", "not those drawn", .malformedList(.share, .wrongEntries)) {
        opening, world in
        guard let roster = world.coordinator.roster else { throw VectorBase.Unsuitable() }
        let indices = Array(0..<12).filter { !opening.indices.dropFirst().contains($0) }.prefix(7)
        opening = RosterOpening(
          indices: Array(indices), members: indices.map { roster.members[$0] },
          hashes: RosterTree.tree(roster.members).hashes(proving: Array(indices)))
      },
      try forged(base, "unsigned-member", "the server committed to a key that nobody signed", own: false),
      try forged(
        base, "receiver-substituted", "the server committed to another key of the receiver", own: true),
    ]
  }

  /// The advertisement of another in the place of a neighbour's.
  private static func substituted(_ base: VectorBase) throws -> VectorNegative {
    let position = try base.position("roster_opening", from: nil, to: 0)
    guard case .opening(let opening) = base.round.events[position].message else {
      throw VectorBase.Unsuitable()
    }
    return try base.opening(
      "member-substituted", "another's advertisement", .openingRejected(base.id(opening.indices[2]))
    ) { opening, _ in opening.members[2] = opening.members[3] }
  }

  /// A commitment to a roster that the server changed, and its opening: the draw does not depend on it.
  private static func forged(
    _ base: VectorBase, _ name: String, _ comment: String, own: Bool
  ) throws -> VectorNegative {
    let position = try base.position("roster_commitment", from: nil, to: 0)
    let drawn = try base.position("neighbour_request", from: 0, to: nil)
    guard case .request(let request) = base.round.events[drawn].message,
      var members = base.round.world.coordinator.roster?.members
    else { throw VectorBase.Unsuitable() }
    let victim = own ? 0 : request.neighbours[1]
    members[victim].maskKey = members[(victim + 1) % 12].maskKey
    let tree = RosterTree.tree(members)
    let indices = ([0] + request.neighbours).sorted()
    let opening = RosterOpening(
      indices: indices, members: indices.map { members[$0] }, hashes: tree.hashes(proving: indices))
    let commitment = RosterCommitment(ids: members.map(\.id), top: tree.top)
    return VectorNegative(
      name: name, comment: comment, base: base, after: position,
      events: [
        .init(message: .commitment(commitment), sender: nil, receiver: 0),
        .init(message: .opening(opening), sender: nil, receiver: 0),
      ],
      error: own ? .ownAdvertisementSubstituted : .badSignature(base.id(victim), .advertise))
  }

  @Sendable static func sparseSteps() throws -> [VectorNegative] {
    let base = try VectorBase.sparse()
    let hidden = try hideable(base)
    guard let signers = base.round.world.coordinator.quorumClaim?.signers else {
      throw VectorBase.Unsuitable()
    }
    return [
      try base.delivery(
        "neighbour-hidden", "a neighbour that sent a share is declared gone", to: hidden.receiver,
        .malformedList(.mask, .wrongEntries)
      ) { delivery, _ in delivery.evidence.removeAll { $0.index == hidden.neighbour } },
      try base.delivery(
        "too-few-neighbours", "three of four", to: hidden.receiver, .tooFewAlive(.mask, count: 3, needed: 4)
      ) { delivery, _ in
        let others = delivery.evidence.map(\.index).filter { $0 != hidden.receiver }.dropFirst(3)
        delivery.evidence.removeAll { others.contains($0.index) }
      },
      try base.delivery(
        "stranger-changed", "a key in the opening", to: hidden.receiver, .rosterRootMismatch
      ) { delivery, _ in
        guard !delivery.opening.members.isEmpty else { throw VectorBase.Unsuitable() }
        delivery.opening.members[0].maskKey = delivery.opening.members[0].shareKey
      },
      try base.delivery(
        "stranger-not-opened", "a sender without its keys", to: hidden.receiver,
        .malformedList(.mask, .wrongEntries)
      ) { delivery, _ in delivery.opening = .empty },
      try base.claim("claim-too-small", "six of seven", .quorumTooSmall(count: 6, needed: 7)) {
        $0.signers = Array($0.signers.prefix(6))
      },
      try base.claim(
        "claim-with-drop-out", "participant 2 did not upload", .unknownParticipant(base.id(2), .confirm)
      ) { $0.signers = ($0.signers + [2]).sorted() },
      try base.claim("claim-not-ascending", "two exchanged", .malformedList(.unmask, .notAscending)) {
        $0.signers.swapAt(0, 1)
      },
      try base.claim("claim-truncated-top", "31 bytes", .malformedList(.unmask, .wrongSize)) {
        $0.top = Digest(unchecked: Array($0.top.bytes.dropLast()))
      },
      try base.claim(
        "second-top", "other signatures after the sample was drawn", again: true, .conflictingRetry(.unmask)
      ) { $0.top = Hash.blake2b([]) },
      try base.claim("second-claim", "after the sample was drawn", again: true, .conflictingRetry(.unmask)) {
        $0.signers.removeLast()
      },
      try base.change(
        "signer-unknown", "a signature that does not exist", "quorum_request", from: 0,
        .malformed(base.id(0), .unmask, .wrongEntries)
      ) { _, _ in .choice((signers.dropFirst() + [2]).sorted()) },
    ] + (try answers(base))
  }

  /// Answers to the challenge of participant 0.
  private static func answers(_ base: VectorBase) throws -> [VectorNegative] {
    let position = try base.position("quorum_request", from: 0, to: nil)
    guard case .choice(let signers) = base.round.events[position].message, let first = signers.first,
      let extra = base.round.world.coordinator.confirmations.keys.sorted().first(where: {
        !signers.contains($0)
      }), let claim = base.round.world.coordinator.quorumClaim
    else { throw VectorBase.Unsuitable() }
    let missing = AggregationError.unknownParticipant(base.id(first), .unmask)
    return [
      try base.quorum("sample-incomplete", "not all that were asked for", missing) { quorum, _ in
        quorum.signatures.removeFirst()
      },
      try base.quorum("sample-misplaced", "in another order", missing) { quorum, _ in
        quorum.signatures.swapAt(0, 1)
      },
      try base.quorum(
        "sample-extra", "one more genuine signature, with its proof",
        .malformedList(.unmask, .wrongEntries)
      ) { quorum, world in
        quorum.signatures += [world.coordinator.confirmations[extra]].compactMap { $0 }
        guard let tree = world.coordinator.quorumTree else { throw VectorBase.Unsuitable() }
        quorum.hashes = tree.hashes(
          proving: claim.signers.indices.filter {
            signers.contains(claim.signers[$0]) || claim.signers[$0] == extra
          })
      },
      try base.quorum("sample-truncated", "63 bytes", .malformedList(.unmask, .wrongSize)) { quorum, _ in
        quorum.signatures[1].signature = Signature(
          unchecked: Array(quorum.signatures[1].signature.bytes.dropLast()))
      },
      try base.quorum("sample-changed", "another's signature", .quorumNotCommitted) { quorum, _ in
        quorum.signatures[0].signature = quorum.signatures[1].signature
      },
      try base.quorum("proof-changed", "one bit of a hash", .quorumNotCommitted) { quorum, _ in
        guard var bytes = quorum.hashes.first?.bytes else { throw VectorBase.Unsuitable() }
        bytes[7] ^= 4
        quorum.hashes[0] = Digest(unchecked: bytes)
      },
      try base.quorum("proof-too-short", "a hash is missing", .quorumNotCommitted) { quorum, _ in
        quorum.hashes.removeLast()
      },
      try base.quorum("proof-too-long", "a hash too many", .quorumNotCommitted) { quorum, _ in
        quorum.hashes.append(Hash.blake2b([]))
      },
      try collectedLater(
        base, "signature-after-claim", "genuine, but the server claimed it before it had it",
        signer: first, isShown: true, .quorumNotCommitted),
      try collectedLater(
        base, "forged-in-sample", "the server committed to another's signature", signer: first,
        isShown: false, .badSignature(base.id(first), .confirm)),
    ]
  }

  /// A claim that has another signature in the place of one. The answer holds the genuine one, or that of
  /// the claim. The draw does not depend on the top.
  private static func collectedLater(
    _ base: VectorBase, _ name: String, _ comment: String, signer: Int, isShown: Bool,
    _ error: AggregationError
  ) throws -> VectorNegative {
    let position = try base.position("quorum_claim", from: nil, to: 0)
    let asked = try base.position("quorum_request", from: 0, to: nil)
    var committed = base.round.world.coordinator.confirmations
    guard case .choice(let signers) = base.round.events[asked].message,
      let other = committed.keys.sorted().first(where: { $0 != signer }),
      let substitute = committed[other]?.signature
    else { throw VectorBase.Unsuitable() }
    let genuine = committed[signer]
    committed[signer]?.signature = substitute
    var quorum = Quorum(of: signers, from: committed)
    if isShown, let genuine {
      quorum.signatures = quorum.signatures.map { $0.id == genuine.id ? genuine : $0 }
    }
    return VectorNegative(
      name: name, comment: comment, base: base, after: position,
      events: [
        .init(message: .claim(QuorumClaim(committingTo: committed)), sender: nil, receiver: 0),
        .init(message: .quorum(quorum), sender: nil, receiver: 0),
      ], error: error)
  }

  /// A receiver with five or more living neighbours, one of whom drew the receiver, and with a stranger.
  private static func hideable(_ base: VectorBase) throws -> (receiver: Int, neighbour: Int) {
    for event in base.round.events {
      guard case .delivery(let delivery) = event.message, let receiver = event.receiver,
        delivery.evidence.count >= 6, !delivery.opening.indices.isEmpty
      else { continue }
      let senders = delivery.shares.map(\.sender)
      if let neighbour = delivery.evidence.map(\.index).first(where: senders.contains) {
        return (receiver, neighbour)
      }
    }
    throw VectorBase.Unsuitable()
  }
}
