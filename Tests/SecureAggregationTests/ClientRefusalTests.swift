import Cryptography
import Testing

@testable import SecureAggregation

/// What a client refuses so that a hostile server learns nothing but the sum.
struct ClientRefusalTests {
  private let n = 10

  /// A roster that a hostile server publishes, with a matching root.
  private func roster(_ members: [Advertisement], _ session: Session) -> Roster {
    Roster(members: members, root: Roster.root(of: members, sid: session.parameters.sessionID))
  }

  private func expectRosterRefused(
    _ error: AggregationError, isEnrolled: (ParticipantID) -> Bool = Fixture.isEnrolled,
    _ change: (inout [Advertisement], Session) -> Void
  ) throws {
    var session = try Session(n)
    var members = session.roster.members
    change(&members, session)
    let forged = roster(members, session)
    #expect(throws: error) { try session.clients[0].share(roster: forged, isEnrolled: isEnrolled) }
    // Nothing was sent: the honest roster is still accepted.
    _ = try session.clients[0].share(roster: session.roster, isEnrolled: Fixture.isEnrolled)
  }

  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  @Test func `refuses a roster without, or with another, own advertisement`() throws {
    try expectRosterRefused(.ownAdvertisementMissing) { members, _ in members.remove(at: 0) }
    try expectRosterRefused(.ownAdvertisementSubstituted) { members, _ in
      members[0].maskKey = members[1].maskKey
    }
  }

  @Test func `refuses duplicate and unsorted identities`() throws {
    try expectRosterRefused(.duplicateParticipant(id(3))) { members, _ in members.insert(members[3], at: 3) }
    try expectRosterRefused(.rosterNotSorted(id(4))) { members, _ in members.swapAt(4, 5) }
  }

  @Test func `refuses substituted, unsigned and truncated keys`() throws {
    try expectRosterRefused(.badSignature(id(2), .advertise)) { members, _ in
      members[2].shareKey = members[1].shareKey
    }
    try expectRosterRefused(.badSignature(id(2), .advertise)) { members, _ in
      members[2].signature = Signature(unchecked: [UInt8](repeating: 0, count: 64))
    }
    try expectRosterRefused(.badSignature(id(2), .advertise)) { members, _ in
      members[2].maskKey = AgreementPublicKey(unchecked: [1, 2, 3])
    }
    try expectRosterRefused(.badSignature(id(2), .advertise)) { members, session in
      members[2].signature = members[3].signature
    }
  }

  @Test func `refuses identities that the operator did not enrol`() throws {
    try expectRosterRefused(.notEnrolled(id(5)), isEnrolled: { [id] in $0 != id(5) }) { _, _ in }
  }

  @Test func `refuses a cohort below its minimum or above the graph's maximum`() throws {
    let parameters = try Fixture.parameters(minimumCohort: 5)
    var session = try Session(6, parameters: parameters)
    let small = roster(Array(session.roster.members.prefix(4)), session)
    #expect(throws: AggregationError.cohortTooSmall(count: 4, minimum: 5)) {
      try session.clients[0].share(roster: small, isEnrolled: Fixture.isEnrolled)
    }
    let huge = Roster(
      members: [Advertisement](repeating: session.roster.members[0], count: 201), root: session.roster.root)
    #expect(throws: AggregationError.cohortTooLarge(count: 201, maximum: 200)) {
      try session.clients[0].share(roster: huge, isEnrolled: Fixture.isEnrolled)
    }
  }

  @Test func `refuses a root that is not the roster's, or is another session's`() throws {
    var session = try Session(4)
    let other = Hash.blake2b([1])
    for root in [other, Roster.root(of: session.roster.members, sid: other)] {
      #expect(throws: AggregationError.rosterRootMismatch) {
        try session.clients[0].share(
          roster: Roster(members: session.roster.members, root: root), isEnrolled: Fixture.isEnrolled)
      }
    }
  }

  /// A roster in which participant 1 properly signed a key that is useless.
  private func session(shareKey: [UInt8]?, maskKey: [UInt8]?) throws -> Session {
    var session = try Session(n)
    var bad = session.roster.members[1]
    if let shareKey { bad.shareKey = try AgreementPublicKey(shareKey) }
    if let maskKey { bad.maskKey = try AgreementPublicKey(maskKey) }
    bad.signature = Fixture.identities[1].sign(
      Advertisement.signedBytes(
        sid: session.parameters.sessionID, id: bad.id, shareKey: bad.shareKey, maskKey: bad.maskKey,
        seedCommitment: bad.seedCommitment))
    session.clients[1].sent.advertisement = bad
    session.roster.members[1] = bad
    session.roster = roster(session.roster.members, session)
    session.coordinator.roster = session.roster
    return session
  }

  @Test func `refuses small-order points and its own keys under another name`() throws {
    let zero = [UInt8](repeating: 0, count: 32)
    let one = [1] + [UInt8](repeating: 0, count: 31)
    for point in [zero, one] {
      var session = try session(shareKey: point, maskKey: nil)
      #expect(throws: AggregationError.unusableKey(id(1))) { try session.upload(of: 0) }
    }
    var masking = try session(shareKey: nil, maskKey: zero)
    #expect(throws: AggregationError.unusableKey(id(1))) {
      try masking.share()
      _ = try masking.masked(0)
    }
    let honest = try Session(n)
    var reflected = try session(shareKey: nil, maskKey: honest.roster.members[0].maskKey.bytes)
    #expect(throws: AggregationError.unusableKey(id(1))) { try reflected.upload(of: 0) }
  }

  // MARK: Masking

  private func expectDeliveryRefused(
    _ error: AggregationError, _ change: (inout ShareDelivery) throws -> Void
  ) throws {
    var session = try Session(n)
    try session.share()
    var delivery = try session.delivery(for: 0)
    try change(&delivery)
    let input = try session.ring(0)
    #expect(throws: error) { try session.clients[0].mask(input, delivery: delivery) }
    _ = try session.masked(0)
  }

  @Test func `refuses a list of sharers that is too short, unproven or without itself`() throws {
    try expectDeliveryRefused(.tooFewAlive(.mask, count: 6, needed: 7)) { delivery in
      delivery.evidence.removeLast(4)
      delivery.shares.removeLast(4)
    }
    try expectDeliveryRefused(.ownEntryMissing(.share)) { $0.evidence.removeFirst() }
    try expectDeliveryRefused(.ownEntrySubstituted(.share)) {
      $0.evidence[0].bundleDigest = $0.evidence[1].bundleDigest
    }
    try expectDeliveryRefused(.badSignature(id(3), .share)) {
      $0.evidence[3].bundleDigest = $0.evidence[4].bundleDigest
    }
    try expectDeliveryRefused(.badSignature(id(3), .share)) {
      $0.evidence[3].signature = Signature(unchecked: [])
    }
    try expectDeliveryRefused(.malformedList(.mask, .notAscending)) { $0.evidence.swapAt(1, 2) }
    try expectDeliveryRefused(.malformedList(.mask, .notAscending)) { $0.evidence[2].index = 1 }
    for index in [-1, 10, .min, .max] {
      try expectDeliveryRefused(.malformedList(.mask, .indexOutOfRange)) { $0.evidence[9].index = index }
    }
  }

  @Test func `refuses shares that are missing, misdirected, changed or of the wrong size`() throws {
    try expectDeliveryRefused(.malformedList(.mask, .wrongEntries)) { $0.shares.removeFirst() }
    try expectDeliveryRefused(.malformedList(.mask, .selfAddressed)) { $0.shares[0].sender = 0 }
    try expectDeliveryRefused(.malformedList(.mask, .indexOutOfRange)) { $0.shares[0].sender = .max }
    try expectDeliveryRefused(.shareRejected(id(1))) { $0.shares[0].ciphertext[50] ^= 1 }
    try expectDeliveryRefused(.shareRejected(id(1))) {
      $0.shares[0].ciphertext = $0.shares[1].ciphertext
    }
    try expectDeliveryRefused(.malformed(id(2), .share, .wrongSize)) { $0.shares[1].ciphertext.removeLast() }
    try expectDeliveryRefused(.malformed(id(2), .share, .wrongSize)) { $0.shares[1].ciphertext = [] }
  }

  @Test func `refuses a share that is not a canonical scalar and names the dealer`() throws {
    // l itself, the smallest number that is not canonical.
    let order = try #require(
      Hex.decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"))
    for half in 0...1 {
      var session = try Session(4)
      let forged = try session.tamperedUpload(of: 2) { _, plain in
        half == 0 ? order + plain[32...] : plain[..<32] + order
      }
      for index in [0, 1, 3] { try session.coordinator.receive(session.upload(of: index)) }
      try session.coordinator.receive(forged)
      try session.closeSharing()
      #expect(throws: AggregationError.malformed(id(2), .share, .nonCanonicalScalar)) {
        try session.masked(0)
      }
    }
  }

  @Test func `refuses inputs of the wrong length or outside the ring`() throws {
    var session = try Session(3)
    try session.share()
    let delivery = try session.delivery(for: 0)
    #expect(throws: AggregationError.wrongInputLength(expected: 5, actual: 4)) {
      try session.clients[0].mask([1, 2, 3, 4], delivery: delivery)
    }
    #expect(throws: AggregationError.inputOutOfRing(index: 2)) {
      try session.clients[0].mask([0, 0, 1 << 20, 0, 0], delivery: delivery)
    }
  }

  @Test func `a retry resends the same bytes and a second input is refused`() throws {
    var session = try Session(n)
    try session.share()
    let delivery = try session.delivery(for: 0)
    let first = try session.masked(0)
    #expect(try session.masked(0) == first)
    var other = try session.ring(0)
    other[0] ^= 1
    #expect(throws: AggregationError.conflictingRetry(.mask)) {
      try session.clients[0].mask(other, delivery: delivery)
    }
    // The same input under other masks would reveal the masks that differ.
    var fewer = delivery
    fewer.evidence.removeLast()
    fewer.shares.removeLast()
    let input = try session.ring(0)
    #expect(throws: AggregationError.conflictingRetry(.mask)) {
      try session.clients[0].mask(input, delivery: fewer)
    }
    #expect(try session.masked(0) == first)
  }

  // MARK: Sessions and steps

  @Test func `participants that were shown different descriptors do not cancel`() throws {
    let mine = try Fixture.parameters(sid: "model A")
    let theirs = try Fixture.parameters(sid: "model B")
    var session = try Session(3, parameters: mine)
    var stray = AggregationClient(
      parameters: theirs, identity: Fixture.identities[3], random: RandomStream(testSeed: 3))
    let advertisement = try stray.advertise()
    var coordinator = AggregationCoordinator(parameters: mine, isEnrolled: Fixture.isEnrolled)
    #expect(throws: AggregationError.badSignature(id(3), .advertise)) {
      try coordinator.receive(advertisement)
    }
    let members = session.roster.members + [advertisement]
    let forged = roster(members, session)
    #expect(throws: AggregationError.badSignature(id(3), .advertise)) {
      try session.clients[0].share(roster: forged, isEnrolled: Fixture.isEnrolled)
    }
    // And the masks themselves differ, even between the same keys and under the same root.
    var random = RandomStream(testSeed: 5)
    let (a, b) = (AgreementKey(using: &random), AgreementKey(using: &random))
    var words = [UInt32](repeating: 0, count: 64)
    let left = try KeySchedule(sid: mine.sessionID, suite: .chacha20)
      .pairMask(of: a, id: id(0), with: b.publicKey, peerID: id(1), root: forged.root)
    let right = try KeySchedule(sid: theirs.sessionID, suite: .chacha20)
      .pairMask(of: b, id: id(1), with: a.publicKey, peerID: id(0), root: forged.root)
    MaskKernel.apply([Mask(stream: left, isAdded: true), Mask(stream: right, isAdded: false)], to: &words)
    #expect(!words.contains(0))
    let same = try KeySchedule(sid: mine.sessionID, suite: .chacha20)
      .pairMask(of: b, id: id(1), with: a.publicKey, peerID: id(0), root: forged.root)
    words = [UInt32](repeating: 0, count: 64)
    MaskKernel.apply([Mask(stream: left, isAdded: true), Mask(stream: same, isAdded: false)], to: &words)
    #expect(words.allSatisfy { $0 == 0 })
  }

  @Test func `shares of another session do not open`() throws {
    var old = try Session(4, parameters: Fixture.parameters(sid: "old"))
    var new = try Session(4, parameters: Fixture.parameters(sid: "new"))
    try old.share()
    try new.share()
    var replay = try new.delivery(for: 0)
    replay.shares = try old.delivery(for: 0).shares
    let input = try new.ring(0)
    #expect(throws: AggregationError.shareRejected(id(1))) {
      try new.clients[0].mask(input, delivery: replay)
    }
    replay = try old.delivery(for: 0)
    #expect(throws: AggregationError.ownEntrySubstituted(.share)) {
      try new.clients[0].mask(input, delivery: replay)
    }
  }

  @Test func `steps out of order are refused and repeated steps return the same message`() throws {
    var session = try Session(3)
    let start = session.clients[0]
    var early = start
    #expect(throws: AggregationError.wrongStep(called: .mask, current: .share)) {
      try early.mask([], delivery: ShareDelivery(evidence: [], shares: []))
    }
    #expect(throws: AggregationError.wrongStep(called: .confirm, current: .share)) {
      try early.confirm(SurvivorNotice(shared: [], uploaded: []))
    }
    #expect(throws: AggregationError.wrongStep(called: .unmask, current: .share)) {
      try early.reveal(Quorum(signatures: []))
    }
    var fresh = AggregationClient(
      parameters: session.parameters, identity: Fixture.identities[0], random: RandomStream(testSeed: 1))
    #expect(throws: AggregationError.wrongStep(called: .share, current: .advertise)) {
      try fresh.share(roster: session.roster, isEnrolled: Fixture.isEnrolled)
    }
    #expect(try early.advertise() == session.roster.members[0])
    let upload = try session.upload(of: 0)
    #expect(try session.upload(of: 0) == upload)
    #expect(throws: AggregationError.conflictingRetry(.share)) {
      try session.clients[0].share(
        roster: Roster(members: session.roster.members, root: session.parameters.sessionID),
        isEnrolled: Fixture.isEnrolled)
    }
    try session.share()
    let notice = try session.upload()
    let signature = try session.clients[0].confirm(notice)
    #expect(try session.clients[0].confirm(notice) == signature)
    let quorum = try session.confirm(notice)
    let reveal = try session.clients[0].reveal(quorum)
    #expect(try session.clients[0].reveal(quorum) == reveal)
    #expect(session.clients[0].step == .finished)
  }

  @Test func `holds no own secret after masking and nothing after revealing or aborting`() throws {
    var session = try Session(3)
    try session.share()
    let notice = try session.upload()
    guard case .masked = session.clients[0].state else {
      Issue.record("the client still holds its secrets")
      return
    }
    let quorum = try session.confirm(notice)
    _ = try session.clients[0].reveal(quorum)
    guard case .revealed = session.clients[0].state else {
      Issue.record("the client still holds shares")
      return
    }
    #expect(session.clients[0].sent.input == nil)
    session.clients[1].abort()
    #expect(throws: AggregationError.aborted) { try session.clients[1].reveal(quorum) }
    #expect(throws: AggregationError.aborted) { try session.clients[1].advertise() }
  }

  @Test func `parameters outside their ranges are refused`() throws {
    #expect(throws: AggregationError.invalidParameter(.minimumSurvivors, value: 1, minimum: 2, maximum: 2)) {
      try Fixture.parameters(minimumSurvivors: 1)
    }
    #expect(throws: AggregationError.invalidParameter(.minimumCohort, value: 1, minimum: 2, maximum: 200)) {
      try Fixture.parameters(minimumCohort: 1)
    }
    #expect(throws: AggregationError.invalidParameter(.corruptPermille, value: 334, minimum: 0, maximum: 333))
    {
      try Fixture.parameters(corruptPermille: 334)
    }
    #expect(throws: AggregationError.invalidParameter(.dimension, value: 0, minimum: 1, maximum: 1 << 28)) {
      try Fixture.parameters(dimension: 0)
    }
    #expect(throws: AggregationError.invalidParameter(.ringBits, value: 31, minimum: 16, maximum: 32)) {
      try Fixture.parameters(ringBits: 31)
    }
    let parameters = try Fixture.parameters()
    #expect(parameters.threshold(cohort: 10) == 7)
    #expect(parameters.quorum(10) == 6)
    #expect(try Fixture.parameters(corruptPermille: 333).quorum(10) == 7)
  }
}
