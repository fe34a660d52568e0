import Cryptography
import Testing

@testable import SecureAggregation

struct CoordinatorTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  private func fresh() throws -> AggregationCoordinator {
    try AggregationCoordinator(parameters: Fixture.parameters(), isEnrolled: Fixture.isEnrolled)
  }

  private func advertisement(_ index: Int, seed: UInt64 = 1) throws -> Advertisement {
    var client = try AggregationClient(
      parameters: Fixture.parameters(), identity: Fixture.identities[index],
      random: RandomStream(testSeed: seed))
    return try client.advertise()
  }

  @Test func `refuses advertisements that are unenrolled, unsigned, unusable or conflicting`() throws {
    var coordinator = try fresh()
    var random = RandomStream(testSeed: 77)
    let stranger = SigningKey(using: &random)
    var foreign = try AggregationClient(
      parameters: Fixture.parameters(), identity: stranger, random: random.fork())
    #expect(throws: AggregationError.notEnrolled(stranger.verifyingKey)) {
      try coordinator.receive(foreign.advertise())
    }
    var changed = try advertisement(0)
    changed.seedCommitment = Hash.blake2b([])
    #expect(throws: AggregationError.badSignature(id(0), .advertise)) { try coordinator.receive(changed) }
    var small = try advertisement(0)
    small.maskKey = try AgreementPublicKey([UInt8](repeating: 0, count: 32))
    small.signature = Fixture.identities[0].sign(
      Advertisement.signedBytes(
        sid: coordinator.parameters.sessionID, id: id(0), shareKey: small.shareKey, maskKey: small.maskKey,
        seedCommitment: small.seedCommitment))
    #expect(throws: AggregationError.unusableKey(id(0))) { try coordinator.receive(small) }

    let first = try advertisement(0)
    try coordinator.receive(first)
    try coordinator.receive(first)
    #expect(coordinator.advertisedCount == 1)
    #expect(throws: AggregationError.conflictingDuplicate(id(0), .advertise)) {
      try coordinator.receive(advertisement(0, seed: 2))
    }
    #expect(throws: AggregationError.cohortTooSmall(count: 1, minimum: 2)) {
      try coordinator.closeAdvertising()
    }
    try coordinator.receive(advertisement(1, seed: 3))
    #expect(coordinator.pending.isEmpty)
    _ = try coordinator.closeAdvertising()
    #expect(coordinator.pending == [id(0), id(1)])
    try coordinator.receive(first)
    #expect(throws: AggregationError.late(id(2), .advertise)) {
      try coordinator.receive(advertisement(2, seed: 4))
    }
    #expect(throws: AggregationError.wrongStep(called: .advertise, current: .share)) {
      try coordinator.closeAdvertising()
    }
  }

  @Test func `refuses a participant that copies another's keys`() throws {
    var coordinator = try fresh()
    try coordinator.receive(advertisement(0, seed: 1))
    #expect(throws: AggregationError.unusableKey(id(1))) {
      // The same randomness gives the same share key.
      let first = try advertisement(0, seed: 1)
      var copy = try advertisement(1, seed: 1)
      copy.maskKey = first.maskKey
      copy.signature = Fixture.identities[1].sign(
        Advertisement.signedBytes(
          sid: coordinator.parameters.sessionID, id: id(1), shareKey: copy.shareKey, maskKey: copy.maskKey,
          seedCommitment: copy.seedCommitment))
      try coordinator.receive(copy)
    }
  }

  @Test func `refuses shares that are unsigned, incomplete, for itself or for another roster`() throws {
    var session = try Session(4)
    let honest = try session.upload(of: 1)
    func resigned(_ change: (inout ShareUpload) -> Void) -> ShareUpload {
      var upload = honest
      change(&upload)
      upload.signature = Fixture.identities[1].sign(
        ShareUpload.signedBytes(
          sid: session.parameters.sessionID, root: upload.root, id: id(1),
          bundle: ShareUpload.bundleDigest(of: upload.shares)))
      return upload
    }
    var unsigned = honest
    unsigned.shares[0].ciphertext[60] ^= 1
    var unknown = honest
    unknown.id = id(9)
    let cases: [(ShareUpload, AggregationError)] = [
      (unsigned, .badSignature(id(1), .share)),
      (unknown, .unknownParticipant(id(9), .share)),
      (resigned { $0.root = Hash.blake2b([]) }, .wrongRoster(id(1))),
      (resigned { $0.shares.removeLast() }, .malformed(id(1), .share, .wrongEntries)),
      (resigned { $0.shares.append($0.shares[2]) }, .malformed(id(1), .share, .notAscending)),
      (resigned { $0.shares.swapAt(0, 1) }, .malformed(id(1), .share, .notAscending)),
      (resigned { $0.shares[2].recipient = -1 }, .malformed(id(1), .share, .indexOutOfRange)),
      (resigned { $0.shares[0].recipient = 1 }, .malformed(id(1), .share, .selfAddressed)),
      (resigned { $0.shares[0].ciphertext.removeLast() }, .malformed(id(1), .share, .wrongSize)),
      (resigned { $0.shares[0].ciphertext += [0] }, .malformed(id(1), .share, .wrongSize)),
    ]
    for (upload, error) in cases {
      #expect(throws: error) { try session.coordinator.receive(upload) }
    }
    try session.coordinator.receive(honest)
    try session.coordinator.receive(honest)
    #expect(throws: AggregationError.conflictingDuplicate(id(1), .share)) {
      try session.coordinator.receive(unsigned)
    }
    #expect(session.coordinator.pending == [id(0), id(2), id(3)])
    #expect(throws: AggregationError.tooFewAlive(.share, count: 1, needed: 3)) {
      try session.coordinator.closeSharing()
    }
    let late = try session.upload(of: 3)
    try session.share([0, 2])
    #expect(throws: AggregationError.late(id(3), .share)) { try session.coordinator.receive(late) }
    try session.coordinator.receive(honest)
  }

  @Test func `an upload takes effect only when complete, once, and in time`() throws {
    var session = try Session(4)
    try session.share()
    let bytes = try session.masked(0).packed
    var pending = PendingInput(parameters: session.parameters)
    try pending.append(bytes[..<5])
    #expect(throws: AggregationError.wrongInputLength(expected: 13, actual: 5)) {
      try pending.finish()
    }
    #expect(throws: AggregationError.wrongInputLength(expected: 13, actual: 14)) {
      try pending.append(bytes[4...])
    }
    try pending.append(bytes[5...])
    let complete = try pending.finish()
    #expect(session.coordinator.accumulator == [0, 0, 0, 0, 0])
    #expect(session.coordinator.pending.count == 4)
    try session.coordinator.accept(complete, from: id(0))
    let once = session.coordinator.accumulator
    try session.coordinator.accept(complete, from: id(0))
    #expect(session.coordinator.accumulator == once)
    #expect(session.coordinator.pending == [id(1), id(2), id(3)])

    var other = bytes
    other[0] ^= 1
    let second = try session.complete(other)
    #expect(throws: AggregationError.conflictingDuplicate(id(0), .mask)) {
      try session.coordinator.accept(second, from: id(0))
    }
    #expect(throws: AggregationError.unknownParticipant(id(8), .mask)) {
      try session.coordinator.accept(complete, from: id(8))
    }
    let narrow = try Session(2, parameters: Fixture.parameters(ringBits: 16))
    let foreign = try narrow.complete([UInt8](repeating: 0, count: 10))
    #expect(throws: AggregationError.wrongInputLength(expected: 13, actual: 10)) {
      try session.coordinator.accept(foreign, from: id(1))
    }
    #expect(throws: AggregationError.tooFewAlive(.mask, count: 1, needed: 3)) {
      try session.coordinator.closeInputs()
    }
    #expect(session.coordinator.accumulator == once)

    let late = try session.complete(session.masked(3).packed)
    let notice = try session.upload([1, 2])
    let closed = session.coordinator.accumulator
    #expect(throws: AggregationError.late(id(3), .mask)) {
      try session.coordinator.accept(late, from: id(3))
    }
    try session.coordinator.accept(complete, from: id(0))
    #expect(session.coordinator.accumulator == closed)
    let quorum = try session.confirm(notice)
    try session.reveal(quorum, [0, 1, 2])
    #expect(try session.coordinator.finish().centredSum == session.plainSum([0, 1, 2]))
  }

  @Test func `the padding of a packed input must be zero`() throws {
    let session = try Session(2)
    var pending = PendingInput(parameters: session.parameters)
    try pending.append([UInt8](repeating: 0, count: 12) + [0x10])
    #expect(throws: AggregationError.nonZeroPadding) { try pending.finish() }
  }

  @Test func `takes consistency signatures of survivors on this very list only`() throws {
    var session = try Session(4)
    try session.share()
    let early = ConsistencySignature(id: id(0), signature: Fixture.identities[0].sign([]))
    #expect(throws: AggregationError.wrongStep(called: .confirm, current: .mask)) {
      try session.coordinator.receive(early)
    }
    let notice = try session.upload([0, 1, 2])
    let right = try session.clients[0].confirm(notice)
    let signed = notice.signedBytes(sid: session.parameters.sessionID, root: session.roster.root)
    let dropped = ConsistencySignature(id: id(3), signature: Fixture.identities[3].sign(signed))
    #expect(throws: AggregationError.unknownParticipant(id(3), .confirm)) {
      try session.coordinator.receive(dropped)
    }
    #expect(throws: AggregationError.badSignature(id(1), .confirm)) {
      try session.coordinator.receive(ConsistencySignature(id: id(1), signature: right.signature))
    }
    try session.coordinator.receive(right)
    try session.coordinator.receive(right)
    #expect(throws: AggregationError.conflictingDuplicate(id(0), .confirm)) {
      try session.coordinator.receive(early)
    }
    #expect(session.coordinator.pending == [id(1), id(2)])
    #expect(throws: AggregationError.quorumTooSmall(count: 1, needed: 3)) {
      try session.coordinator.closeConsistency()
    }
    let quorum = try session.confirm(notice)
    try session.coordinator.receive(right)
    #expect(quorum.signatures.map(\.id) == [id(0), id(1), id(2)])
  }

  @Test func `refuses revealed shares that are malformed, early, foreign or conflicting`() throws {
    var session = try Session(5)
    try session.share()
    let notice = try session.upload([0, 1, 2, 3])
    let honest = session
    let quorum = try session.confirm(notice)
    var message = try session.clients[0].reveal(quorum)
    #expect(throws: AggregationError.wrongStep(called: .unmask, current: .confirm)) {
      var early = honest.coordinator
      try early.receive(message)
    }
    let right = message
    let order = try #require(
      Hex.decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"))
    let changes: [(AggregationError.Defect, (inout UnmaskShares) -> Void)] = [
      (.wrongEntries, { $0.seedShares.removeLast() }),
      (.wrongEntries, { $0.maskKeyShares = [] }),
      (.wrongEntries, { $0.maskKeyShares += $0.seedShares }),
      (.wrongEntries, { $0.seedShares[0].index = -7 }),
      (.wrongSize, { $0.seedShares[0].bytes.removeLast() }),
      (.wrongSize, { $0.maskKeyShares[0].bytes = [] }),
      (.nonCanonicalScalar, { $0.seedShares[1].bytes = order }),
      (.nonCanonicalScalar, { $0.maskKeyShares[0].bytes = [UInt8](repeating: 0xFF, count: 32) }),
    ]
    for (defect, change) in changes {
      message = right
      change(&message)
      #expect(throws: AggregationError.malformed(id(0), .unmask, defect)) {
        try session.coordinator.receive(message)
      }
    }
    message = right
    message.id = id(4)
    #expect(throws: AggregationError.unknownParticipant(id(4), .unmask)) {
      try session.coordinator.receive(message)
    }
    try session.coordinator.receive(right)
    try session.coordinator.receive(right)
    message = right
    message.seedShares[0].bytes = try corrupted(right.seedShares[0].bytes)
    #expect(throws: AggregationError.conflictingDuplicate(id(0), .unmask)) {
      try session.coordinator.receive(message)
    }
    #expect(!session.coordinator.canFinish)
    #expect(throws: AggregationError.tooFewAlive(.unmask, count: 1, needed: 4)) {
      try session.coordinator.finish()
    }
    try session.reveal(quorum, [1, 2, 3])
    #expect(session.coordinator.canFinish)
    let result = try session.coordinator.finish()
    #expect(result.centredSum == session.plainSum([0, 1, 2, 3]))
    #expect(try session.coordinator.finish() == result)
    #expect(session.coordinator.step == .finished && session.coordinator.pending.isEmpty)
    #expect(throws: AggregationError.late(id(1), .unmask)) {
      try session.coordinator.receive(session.clients[1].reveal(quorum))
    }
  }

  @Test func `a participant that uploads garbage loses the sum and nothing else`() throws {
    var session = try Session(3)
    try session.share()
    try session.coordinator.accept(
      session.complete([UInt8](repeating: 0, count: 13)), from: id(0))
    _ = try session.masked(0)
    let notice = try session.upload([1, 2])
    let quorum = try session.confirm(notice)
    try session.reveal(quorum, [0, 1, 2])
    let result = try session.coordinator.finish()
    #expect(result.survivors.count == 3)
    #expect(result.centredSum != session.plainSum([0, 1, 2]))
  }

  @Test func `every error is a sentence that names the peer and no secret`() {
    let peer = id(0)
    let errors: [AggregationError] = [
      .aborted, .notEnrolled(peer), .badSignature(peer, .share), .late(peer, .mask),
      .unrecoverable(dealer: peer, shares: 8, needed: 7), .malformed(peer, .unmask, .wrongSize),
      .conflictingDuplicate(peer, .mask), .shareRejected(peer), .wrongRoster(peer), .unusableKey(peer),
    ]
    for error in errors {
      #expect(error.description.count > 20)
      #expect(error == .aborted || error.description.contains(peer.hex.prefix(16)))
      #expect(error.description != "secure aggregation was refused")
    }
  }
}
