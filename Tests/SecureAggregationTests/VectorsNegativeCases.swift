import Cryptography

@testable import SecureAggregation

/// The negative vectors, by file.
enum VectorsNegativeCases {
  /// A point of order 8, and of order 1: the shared secret with either is zero.
  private static let smallOrder = [
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "0100000000000000000000000000000000000000000000000000000000000000",
  ]
  /// 2^255 - 19 + 9: the base point, not canonical.
  static let unreducedBasePoint = "f6" + String(repeating: "f", count: 60) + "7f"
  /// l, the smallest number that is not canonical.
  private static let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"
  private static let stranger = Fixture.identities[20]

  static let files: [(name: String, make: @Sendable () throws -> [VectorNegative])] = [
    ("bad_advertisement.json", advertisements), ("bad_roster.json", rosters), ("bad_shares.json", uploads),
    ("bad_delivery.json", deliveries), ("bad_input.json", inputs), ("bad_survivors.json", survivors),
    ("bad_quorum.json", quorums), ("bad_unmask.json", reveals), ("bad_sparse_roster.json", sparseRosters),
    ("bad_sparse_steps.json", sparseSteps),
  ]

  @Sendable private static func advertisements() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    let id = base.id(1)
    return [
      try base.advertisement("unsigned", "an empty signature", .badSignature(id, .advertise)) {
        $0.signature = Signature(unchecked: [UInt8](repeating: 0, count: 64))
      },
      try base.advertisement("truncated", "a mask key of 31 bytes", .badSignature(id, .advertise)) {
        $0.maskKey = AgreementPublicKey(unchecked: Array($0.maskKey.bytes.dropLast()))
      },
      try base.advertisement("commitment-changed", "not what was signed", .badSignature(id, .advertise)) {
        $0.seedCommitment = Hash.blake2b([])
      },
      try base.advertisement("small-order-share-key", "properly signed", .unusableKey(id)) {
        $0.shareKey = try AgreementPublicKey(hex: smallOrder[0])
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("small-order-mask-key", "properly signed", .unusableKey(id)) {
        $0.maskKey = try AgreementPublicKey(hex: smallOrder[1])
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("top-bit", "a share key with 2^255 added, properly signed", .unusableKey(id)) {
        $0.shareKey = withTopBit($0.shareKey)
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("unreduced-mask-key", "2^255 - 19 + 9, properly signed", .unusableKey(id)) {
        $0.maskKey = try AgreementPublicKey(hex: unreducedBasePoint)
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("one-key-twice", "share key and mask key are equal", .unusableKey(id)) {
        $0.maskKey = $0.shareKey
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("another's-key", "the mask key of participant 0", .unusableKey(id)) {
        guard case .advertisement(let other) = base.round.events[0].message else {
          throw VectorBase.Unsuitable()
        }
        $0.maskKey = other.maskKey
        $0 = base.signed($0, by: 1)
      },
      try base.advertisement("not-enrolled", "a stranger", .notEnrolled(stranger.verifyingKey)) {
        $0.id = stranger.verifyingKey
      },
      try base.advertisement("second", "other keys", again: true, .conflictingDuplicate(id, .advertise)) {
        $0.seedCommitment = Hash.blake2b([])
        $0 = base.signed($0, by: 1)
      },
    ]
  }

  /// The same point for X25519, in other bytes.
  private static func withTopBit(_ key: AgreementPublicKey) -> AgreementPublicKey {
    AgreementPublicKey(unchecked: key.bytes.dropLast() + [key.bytes[31] | 0x80])
  }

  @Sendable private static func rosters() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    return [
      try base.change("wrong-root", "the root of nothing", "roster", to: 0, .rosterRootMismatch) {
        message, _ in
        guard case .roster(var roster) = message else { return nil }
        roster.root = Hash.blake2b([])
        return .roster(roster)
      },
      try base.roster("too-small", "one fewer than the least cohort", .cohortTooSmall(count: 4, minimum: 5)) {
        $0.members.removeLast(2)
      },
      try base.roster("duplicate", "participant 3 twice", .duplicateParticipant(base.id(3))) {
        $0.members.insert($0.members[3], at: 3)
      },
      try base.roster("unsorted", "two members exchanged", .rosterNotSorted(base.id(4))) {
        $0.members.swapAt(4, 5)
      },
      try base.roster("without-receiver", "its advertisement is left out", .ownAdvertisementMissing) {
        $0.members.removeFirst()
      },
      try base.roster("receiver-substituted", "its mask key is changed", .ownAdvertisementSubstituted) {
        $0.members[0].maskKey = $0.members[1].maskKey
      },
      try base.roster("stranger", "a member was never enrolled", .notEnrolled(stranger.verifyingKey)) {
        $0.members[5].id = stranger.verifyingKey
        $0.members.sort { $0.id < $1.id }
      },
      try base.roster("member-substituted", "other keys, not signed", .badSignature(base.id(2), .advertise)) {
        $0.members[2].shareKey = $0.members[4].shareKey
      },
      try base.roster("small-order-share-key", "properly signed", .unusableKey(base.id(2))) {
        $0.members[2].shareKey = try AgreementPublicKey(hex: smallOrder[0])
        $0.members[2] = base.signed($0.members[2], by: 2)
      },
      try base.roster("top-bit", "of the receiver's own mask key, properly signed", .unusableKey(base.id(2)))
      {
        $0.members[2].maskKey = withTopBit($0.members[0].maskKey)
        $0.members[2] = base.signed($0.members[2], by: 2)
      },
      try base.roster("unreduced-share-key", "2^255 - 19 + 9, properly signed", .unusableKey(base.id(2))) {
        $0.members[2].shareKey = try AgreementPublicKey(hex: unreducedBasePoint)
        $0.members[2] = base.signed($0.members[2], by: 2)
      },
      try base.roster("reflected-key", "the receiver's mask key as another's", .unusableKey(base.id(2))) {
        $0.members[2].maskKey = $0.members[0].maskKey
        $0.members[2] = base.signed($0.members[2], by: 2)
      },
    ]
  }

  @Sendable private static func uploads() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    let id = base.id(1)
    func malformed(_ defect: AggregationError.Defect) -> AggregationError { .malformed(id, .share, defect) }
    let early = try VectorBase.complete(0)
    let closed = try early.position(closing: .share)
    var late = early.round.events[closed].before
    let roster = early.round.events[try early.position("roster", from: nil, to: 0)].message
    guard let missed = try late.deliver(roster, from: nil, to: 2) else { throw VectorBase.Unsuitable() }
    return [
      try base.upload("changed", "a ciphertext is not what was signed", .badSignature(id, .share)) {
        $0.shares[2].ciphertext[60] ^= 1
      },
      try base.upload("truncated", "a ciphertext of 103 bytes", malformed(.wrongSize)) {
        $0.shares[2].ciphertext.removeLast()
      },
      try base.upload("to-itself", "a share for its own sender", malformed(.selfAddressed)) {
        $0.shares[0].recipient = 0
        $0.shares[1].recipient = 1
      },
      try base.upload("recipient-missing", "one share too few", malformed(.wrongEntries)) {
        $0.shares.removeLast()
      },
      try base.upload("not-ascending", "recipients in another order", malformed(.notAscending)) {
        $0.shares.swapAt(0, 1)
      },
      try base.upload("out-of-range", "a recipient outside the roster", malformed(.indexOutOfRange)) {
        $0.shares[4].recipient = 6
      },
      try base.upload("other-roster", "made for another root", .wrongRoster(id)) {
        $0.root = Hash.blake2b([])
      },
      try base.upload("second", "other shares", again: true, .conflictingDuplicate(id, .share)) {
        $0.shares[0].ciphertext[0] ^= 1
      },
      VectorNegative(
        name: "late", comment: "after sharing was closed", base: early, after: closed + 1,
        events: [.init(message: missed, sender: 2, receiver: nil)], error: .late(early.id(2), .share)),
    ]
  }

  @Sendable private static func deliveries() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    var random = RandomStream(testSeed: 99)
    return [
      try base.delivery("forged-evidence", "another bundle", .badSignature(base.id(3), .share)) {
        delivery, _ in
        delivery.evidence[3].bundleDigest = delivery.evidence[4].bundleDigest
      },
      try base.delivery("receiver-missing", "its evidence is left out", .ownEntryMissing(.share)) {
        delivery, _ in
        delivery.evidence.removeFirst()
      },
      try base.delivery("receiver-changed", "another bundle", .ownEntrySubstituted(.share)) { delivery, _ in
        delivery.evidence[0].bundleDigest = delivery.evidence[1].bundleDigest
      },
      try base.delivery("too-few", "four sharers", .tooFewAlive(.mask, count: 4, needed: 5)) { delivery, _ in
        delivery.evidence.removeLast(2)
        delivery.shares.removeLast(2)
      },
      try base.delivery("not-ascending", "two exchanged", .malformedList(.mask, .notAscending)) {
        delivery, _ in
        delivery.evidence.swapAt(1, 2)
      },
      try base.delivery("out-of-range", "sharer 6 of 6", .malformedList(.mask, .indexOutOfRange)) {
        delivery, _ in
        delivery.evidence[5].index = 6
      },
      try base.delivery("share-missing", "a sharer's share", .malformedList(.mask, .wrongEntries)) {
        delivery, _ in
        delivery.shares.removeFirst()
      },
      try base.delivery("truncated", "103 bytes", .malformed(base.id(2), .share, .wrongSize)) { delivery, _ in
        delivery.shares[1].ciphertext.removeLast()
      },
      try base.delivery("changed", "one bit of a ciphertext", .shareRejected(base.id(1))) { delivery, _ in
        delivery.shares[0].ciphertext[50] ^= 1
      },
      try base.delivery("swapped", "another's share", .shareRejected(base.id(1))) { delivery, _ in
        delivery.shares[0].ciphertext = delivery.shares[1].ciphertext
      },
      try base.delivery(
        "non-canonical", "a sealed share is l", .malformed(base.id(2), .share, .nonCanonicalScalar)
      ) { delivery, world in
        let client = world.clients[0]
        guard case .shared(_, let sharing) = client.state, let peer = sharing.peers[2],
          let plain = Hex.decode(order)
        else { throw VectorBase.Unsuitable() }
        delivery.shares[1].ciphertext = AEAD.seal(
          plain + [UInt8](repeating: 0, count: 32), key: peer.shareKey,
          additionalData: client.schedule.shareAdditionalData(
            root: sharing.cohort.root, sender: peer.id, recipient: client.id), using: &random)
      },
    ]
  }

  @Sendable private static func inputs() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    let early = try VectorBase.complete(0)
    let closed = try base.position(closing: .mask)
    var late = base.round.events[closed].before
    let delivery = VectorMessage.delivery(try late.coordinator.delivery(for: base.id(3)))
    guard let missed = try late.deliver(delivery, from: nil, to: 3) else { throw VectorBase.Unsuitable() }
    let ready = try early.position("share_delivery", from: nil, to: 0)
    let own = base.round.world.inputs[0]
    return [
      try base.input("too-long", "14 bytes", .wrongInputLength(expected: 13, actual: 14)) { $0.append(0) },
      try base.input("too-short", "12 bytes", .wrongInputLength(expected: 13, actual: 12)) {
        $0.removeLast()
      },
      try base.input("padding", "a bit behind the last value", .nonZeroPadding) { $0[12] |= 0x80 },
      try base.input("second", "another input", again: true, .conflictingDuplicate(base.id(0), .mask)) {
        $0[0] ^= 1
      },
      VectorNegative(
        name: "late", comment: "after the survivors were fixed", base: base, after: closed + 1,
        events: [.init(message: missed, sender: 3, receiver: nil)], error: .late(base.id(3), .mask)),
      VectorNegative(
        name: "never-shared", comment: "of a participant that dealt no shares", base: early, after: ready,
        events: [
          .init(message: .input([UInt8](repeating: 0, count: 20)), sender: 2, receiver: nil)
        ], error: .unknownParticipant(early.id(2), .mask)),
      try base.delivery(
        "own-input-too-short", "the receiver's own input has four values", input: Array(own.dropLast()),
        .wrongInputLength(expected: 5, actual: 4)
      ) { _, _ in },
      try base.delivery(
        "own-input-out-of-ring", "a value of 2^20", input: own.dropLast() + [1 << 20],
        .inputOutOfRing(index: 4)
      ) { _, _ in },
      try base.change(
        "second-input", "two inputs under the same masks", "share_delivery", to: 0, again: true,
        input: [own[0] ^ 1] + own.dropFirst(), .conflictingRetry(.mask)
      ) { message, _ in message },
    ]
  }

  @Sendable private static func survivors() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    let early = try VectorBase.complete(0)
    let signature = try base.position("consistency_signature", from: 0, to: nil)
    guard let notice = base.round.events[signature].before.coordinator.notice,
      let root = base.round.world.coordinator.roster?.root
    else { throw VectorBase.Unsuitable() }
    let signed = ConsistencySignature(
      id: base.id(3),
      signature: Fixture.identities[3].sign(
        notice.signedBytes(sid: base.round.world.parameters.sessionID, root: root)))
    return [
      try base.notice("sharers-changed", "a sharer is missing", .sharersChanged) { $0.shared.remove(at: 3) },
      try early.notice("not-a-sharer", "2 did not share", .survivorNotSharer(index: 2)) {
        $0.uploaded = [0, 1, 2, 3, 4]
      },
      try base.notice("receiver-missing", "its input does not count", .ownEntryMissing(.confirm)) {
        $0.uploaded = [1, 2, 3, 4, 5]
      },
      try base.notice("too-few", "four survivors", .tooFewAlive(.confirm, count: 4, needed: 5)) {
        $0.uploaded.removeLast()
      },
      try base.notice("not-ascending", "two exchanged", .malformedList(.confirm, .notAscending)) {
        $0.uploaded.swapAt(0, 1)
      },
      try base.notice("second-list", "another list later", again: true, .conflictingRetry(.confirm)) {
        $0.uploaded = [0, 1, 2, 3, 4, 5]
      },
      try base.change(
        "forged-signature", "participant 1's under 0's name", "consistency_signature", from: 0,
        .badSignature(base.id(0), .confirm)
      ) { message, world in
        guard case .confirmation(var confirmation) = message else { return nil }
        confirmation.signature = Fixture.identities[1].sign(
          notice.signedBytes(sid: world.parameters.sessionID, root: root))
        return .confirmation(confirmation)
      },
      VectorNegative(
        name: "dropped-signer", comment: "its input came too late", base: base, after: signature,
        events: [.init(message: .confirmation(signed), sender: 3, receiver: nil)],
        error: .unknownParticipant(base.id(3), .confirm)),
      VectorNegative(
        name: "closed-without-quorum", comment: "the server closes the step without a signature", base: base,
        after: signature, events: [.init(message: .close(.confirm), sender: nil, receiver: nil)],
        error: .quorumTooSmall(count: 0, needed: 4)),
    ]
  }

  @Sendable private static func quorums() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    return [
      try base.quorum("too-small", "three of four", .quorumTooSmall(count: 3, needed: 4)) { quorum, _ in
        quorum.signatures.removeLast(2)
      },
      try base.quorum("forged", "another's signature", .badSignature(base.id(1), .confirm)) { quorum, _ in
        quorum.signatures[1].signature = quorum.signatures[2].signature
      },
      try base.quorum("duplicate", "one signer twice", .duplicateParticipant(base.id(1))) { quorum, _ in
        quorum.signatures[2] = quorum.signatures[1]
      },
      try base.quorum("dropped-signer", "no survivor", .unknownParticipant(base.id(3), .confirm)) {
        quorum, _ in
        quorum.signatures.append(
          ConsistencySignature(id: base.id(3), signature: quorum.signatures[0].signature))
      },
      try base.quorum("other-list", "signed for other survivors", .badSignature(base.id(0), .confirm)) {
        quorum, world in
        let other = SurvivorNotice(shared: [0, 1, 2, 3, 4, 5], uploaded: [0, 1, 2, 3, 4, 5])
        guard let root = world.coordinator.roster?.root else { throw VectorBase.Unsuitable() }
        quorum.signatures = quorum.signatures.map { entry in
          guard let key = Fixture.identities.first(where: { $0.verifyingKey == entry.id }) else {
            return entry
          }
          return ConsistencySignature(
            id: entry.id, signature: key.sign(other.signedBytes(sid: world.parameters.sessionID, root: root)))
        }
      },
    ]
  }

  @Sendable private static func reveals() throws -> [VectorNegative] {
    let base = try VectorBase.complete(1)
    let id = base.id(0)
    func malformed(_ defect: AggregationError.Defect) -> AggregationError { .malformed(id, .unmask, defect) }
    let quorum = try base.position("quorum", from: nil, to: 0)
    guard case .confirmed(let holding, _) = base.round.events[quorum].before.clients[0].state,
      let dropped = holding.shares[3], let l = Hex.decode(order)
    else { throw VectorBase.Unsuitable() }
    let first = try base.position("unmask_shares", from: 0, to: nil)
    guard case .reveal(var corrupt) = base.round.events[first].message else { throw VectorBase.Unsuitable() }
    corrupt.seedShares[1].bytes = try corrupted(corrupt.seedShares[1].bytes)
    var rest = base.round.events[(first + 1)...].filter { $0.receiver == nil }.map {
      VectorNegative.Event(message: $0.message, sender: $0.sender, receiver: nil)
    }
    rest.insert(.init(message: .reveal(corrupt), sender: 0, receiver: nil), at: 0)
    return [
      try base.reveal("both-shares", "of participant 3, which dropped out", malformed(.wrongEntries)) {
        $0.seedShares.insert(RevealedShare(index: 3, bytes: dropped.seed.exportBytes()), at: 3)
      },
      try base.reveal("wrong-kind", "the seed of a drop-out instead of its key", malformed(.wrongEntries)) {
        $0.maskKeyShares = []
        $0.seedShares.insert(RevealedShare(index: 3, bytes: dropped.seed.exportBytes()), at: 3)
      },
      try base.reveal("missing", "one share too few", malformed(.wrongEntries)) {
        $0.seedShares.removeLast()
      },
      try base.reveal("truncated", "31 bytes", malformed(.wrongSize)) { $0.seedShares[2].bytes.removeLast() },
      try base.reveal("non-canonical", "l instead of a share", malformed(.nonCanonicalScalar)) {
        $0.maskKeyShares[0].bytes = l
      },
      try base.reveal("second", "another share", again: true, .conflictingDuplicate(id, .unmask)) {
        $0.seedShares[0].bytes = $0.seedShares[1].bytes
      },
      VectorNegative(
        name: "corrupt-share", comment: "and no spare share to correct it with", base: base, after: first,
        events: rest, error: .unrecoverable(dealer: base.id(1), shares: 5, needed: 5)),
    ]
  }
}
