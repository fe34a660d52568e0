import Cryptography
import Federation
import Privacy
import SecureAggregation
import Testing

@Suite struct RoundCoordinatorTests {
  private let zeros = [Int64](repeating: 0, count: 11)

  private func session(_ n: Int = 4, seed: UInt64 = 1) throws -> Session {
    try Session(Fixture.descriptor(cohort: n), nodes: n, seed: seed)
  }

  // MARK: Time

  @Test func `every step closes as soon as everybody answered`() throws {
    var session = try session()
    #expect(session.coordinator.awaited == session.everybody.map { session.id($0) })
    try session.advertise([0, 1, 2])
    session = try self.session()
    for node in 0..<3 { try session.handle(.advertisement(session.advertisement(node))) }
    #expect(session.coordinator.phase == .advertising)
    #expect(session.coordinator.awaited == [session.id(3)])
    try session.handle(.advertisement(session.advertisement(3)))
    #expect(session.coordinator.phase == .sharing)
    try session.share()
    #expect(session.coordinator.phase == .debiting)
    #expect(session.coordinator.awaited.isEmpty)
    try session.handle(.debited)
    #expect(session.coordinator.phase == .collecting)
    #expect(session.coordinator.awaited.count == 4)
    try session.upload([zeros, zeros, zeros, zeros])
    #expect(session.coordinator.phase == .confirming)
    try session.confirm()
    #expect(session.coordinator.phase == .unmasking)
    try session.unmask()
    #expect(session.coordinator.phase == .completed)
    #expect(session.now == Fixture.now)
  }

  @Test func `a step with somebody missing closes at its deadline, not before`() throws {
    var session = try session(10)
    for node in 0..<9 { try session.handle(.advertisement(session.advertisement(node))) }
    try session.wait(4_999)
    #expect(session.coordinator.phase == .advertising)
    try session.wait(1)
    #expect(session.coordinator.phase == .sharing)
    for node in 0..<8 { try session.handle(.shares(session.shareUpload(node))) }
    try session.wait(999)
    #expect(session.coordinator.phase == .sharing)
    #expect(session.debits.isEmpty)
    try session.wait(1)
    #expect(session.coordinator.phase == .debiting)
    // The step after the debit is measured from the debit.
    try session.wait(100_000)
    #expect(session.coordinator.phase == .debiting)
    try session.handle(.debited)
    for node in 0..<7 {
      try session.handle(
        .input(session.complete(session.masked(node, zeros).packed), from: session.id(node)))
    }
    try session.wait(999)
    #expect(session.coordinator.phase == .collecting)
    #expect(session.coordinator.awaited == [session.id(7)])
    try session.wait(1)
    #expect(session.coordinator.phase == .confirming)
    for node in 0..<6 { try session.handle(.consistency(session.confirmation(node))) }
    try session.wait(999)
    #expect(session.coordinator.phase == .confirming)
    try session.wait(1)
    #expect(session.coordinator.phase == .unmasking)
    for node in 0..<6 { try session.handle(.unmask(session.reveal(node))) }
    try session.wait(999)
    #expect(session.coordinator.phase == .unmasking)
    // The sixth of nine members is one share short of the threshold ⌊2·9/3⌋ + 1.
    try session.wait(1)
    #expect(session.released == nil)
    #expect(session.abortReason?.contains("6") == true)
  }

  @Test func `a cohort below the minimum is aborted at the deadline`() throws {
    var session = try Session(Fixture.descriptor(cohort: 4, minimumCohort: 4), nodes: 4)
    try session.advertise([0, 1, 2])
    #expect(session.abortReason?.contains("at least 4") == true)
    #expect(session.coordinator.phase.description.hasPrefix("aborted"))
    #expect(session.coordinator.awaited.isEmpty)
    #expect(session.debits.isEmpty)
    #expect(try session.wait(100_000).isEmpty, "an aborted session stays silent")
  }

  @Test func `a node that was not expected may join while the step is open`() throws {
    let descriptor = try Fixture.descriptor(cohort: 4)
    var session = try Session(descriptor, nodes: 4)
    let keys = Set(session.everybody.map { session.id($0) })
    session.coordinator = try RoundCoordinator(
      signed: session.signed, expected: keys.subtracting([session.id(0)]), enrolled: keys, now: session.now)
    for node in 0..<4 { try session.handle(.advertisement(session.advertisement(node))) }
    #expect(session.coordinator.roster(for: session.id(0))?.members.count == 4)
  }

  // MARK: Debit

  @Test func `the debit is asked for before any delivery is available`() throws {
    var session = try session()
    try session.advertise()
    for node in 0..<3 { try session.handle(.shares(session.shareUpload(node))) }
    #expect(session.debits.isEmpty)
    #expect(session.everybody.allSatisfy { session.coordinator.delivery(for: session.id($0)) == nil })
    let actions = try session.handle(.shares(session.shareUpload(3)))
    #expect(actions.count == 1)
    #expect(session.debits.count == 1)
    #expect(session.debits[0].map(\.population) == [.training, .heldOut])
    #expect(
      session.debits[0].map(\.event) == [PrivacyEvent(mechanism: .none), PrivacyEvent(mechanism: .none)])
    #expect(
      session.everybody.allSatisfy { session.coordinator.delivery(for: session.id($0)) == nil },
      "a delivery was out before its cost was on disk")
    try session.handle(.debited)
    #expect(session.everybody.allSatisfy { session.coordinator.delivery(for: session.id($0)) != nil })
    expectRefusal("recording the debit", "collecting") { try session.handle(.debited) }
    #expect(session.debits.count == 1)
  }

  @Test func `the debit is what each segment costs under its noise`() throws {
    let segments = Fixture.segments(noiseVariance: 400)
    var session = try Session(Fixture.descriptor(segments, cohort: 4), nodes: 4)
    try session.advertise()
    try session.share()
    #expect(session.debits[0].map(\.event) == (try segments.map { try $0.privacyEvent() }))
    guard case .skellam(let variance, let squared, _, let dimension, _) = session.debits[0][0].event.mechanism
    else {
      Issue.record("a noised segment costs a Skellam event")
      return
    }
    let clip = try IntegerClip(clipNorm: 4, scale: 32, dimension: 7)
    #expect(variance == 400)
    #expect(squared == clip.sensitivityL2Squared)
    #expect(dimension == 7)
  }

  @Test func `a failed debit aborts with nothing released`() throws {
    var session = try session()
    try session.advertise()
    try session.share()
    try session.handle(.debitFailed("the disk is full"))
    #expect(session.abortReason == "the disk is full")
    #expect(session.coordinator.phase == .aborted("the disk is full"))
    #expect(
      session.everybody.allSatisfy { session.coordinator.delivery(for: session.id($0)) == nil },
      "nodes would upload into a session that is over")
    #expect(session.coordinator.notice(for: session.id(0)) == nil && session.coordinator.released == nil)
    expectRefusal("recording the debit") { try session.handle(.debited) }
    expectRefusal("the session is aborted") {
      try session.handle(.shares(session.shareUpload(0)))
    }
    #expect(try session.handle(.debitFailed("again")).isEmpty)
    #expect(session.coordinator.phase == .aborted("the disk is full"))
  }

  @Test func `a debit failure after completion changes nothing`() throws {
    var session = try session(2)
    try session.run([zeros, zeros])
    #expect(try session.handle(.debitFailed("late")).isEmpty)
    #expect(session.coordinator.phase == .completed)
    #expect(session.coordinator.released != nil)
  }

  // MARK: Order, repetition, conflicts

  @Test func `messages of later steps are refused and change nothing`() throws {
    var done = try session(seed: 2)
    try done.advertise()
    let shares = try done.shareUpload(0)
    try done.share()
    try done.handle(.debited)
    let input = try done.complete(done.masked(0, zeros).packed)
    try done.handle(.input(input, from: done.id(0)))
    for node in 1..<4 {
      try done.handle(.input(done.complete(done.masked(node, zeros).packed), from: done.id(node)))
    }
    let confirmation = try done.confirmation(0)
    try done.confirm()
    let reveal = try done.reveal(0)

    func refuseAll(_ session: inout Session, _ events: [RoundCoordinator.Event]) {
      let phase = session.coordinator.phase
      for event in events {
        expectRefusal("not possible", phase.description) { try session.handle(event) }
        #expect(session.coordinator.phase == phase)
      }
    }
    var session = try session(seed: 2)
    let inputEvent = RoundCoordinator.Event.input(input, from: session.id(0))
    let late: [RoundCoordinator.Event] = [.consistency(confirmation), .unmask(reveal)]
    refuseAll(&session, [.shares(shares), inputEvent, .debited] + late)
    try session.advertise()
    refuseAll(&session, [inputEvent, .debited] + late)
    try session.share()
    refuseAll(&session, [inputEvent] + late)
    try session.handle(.debited)
    refuseAll(&session, late)
    try session.upload([zeros, zeros, zeros, zeros])
    refuseAll(&session, [.unmask(reveal)])
    try session.confirm()
    try session.unmask()
    #expect(session.released?.groups[0].result.centredSum == zeros)
  }

  @Test func `a repeated message is accepted in its step and later, and counts once`() throws {
    let ones = [Int64](repeating: 1, count: 11)
    var session = try session()
    let advertisement = try session.advertisement(0)
    try session.handle(.advertisement(advertisement))
    try session.handle(.advertisement(advertisement))
    try session.advertise()
    try session.handle(.advertisement(advertisement))
    let shares = try session.shareUpload(0)
    for _ in 0..<2 { try session.handle(.shares(shares)) }
    try session.share()
    try session.handle(.shares(shares))
    #expect(session.debits.count == 1)
    try session.handle(.debited)
    let input = try session.complete(session.masked(0, ones).packed)
    for _ in 0..<2 { try session.handle(.input(input, from: session.id(0))) }
    for node in 1..<4 {
      try session.handle(
        .input(session.complete(session.masked(node, ones).packed), from: session.id(node)))
    }
    try session.handle(.input(input, from: session.id(0)))
    let confirmation = try session.confirmation(0)
    for _ in 0..<2 { try session.handle(.consistency(confirmation)) }
    try session.confirm()
    let reveal = try session.reveal(0)
    for _ in 0..<2 { try session.handle(.unmask(reveal)) }
    try session.unmask()
    #expect(session.released?.groups[0].result.centredSum == [Int64](repeating: 4, count: 11))
  }

  @Test func `a second and different message of a step is refused and the first one stays`() throws {
    var session = try session()
    var other = try self.session(seed: 2)
    let first = try session.advertisement(0)
    try session.handle(.advertisement(first))
    expectRefusal("two different messages") {
      try session.handle(.advertisement(other.advertisement(0)))
    }
    try session.advertise()
    #expect(session.coordinator.roster(for: session.id(0))?.members.contains(first) == true)

    var shares = try session.shareUpload(0)
    try session.handle(.shares(shares))
    shares.shares[0].ciphertext[0] ^= 1
    expectRefusal("two different messages") { try session.handle(.shares(shares)) }
    try session.share()
    try session.handle(.debited)

    let packed = try session.masked(0, zeros).packed
    try session.handle(.input(session.complete(packed), from: session.id(0)))
    var changed = packed
    changed[0] ^= 1
    expectRefusal("two different messages") {
      try session.handle(.input(session.complete(changed), from: session.id(0)))
    }
    try session.upload([zeros, zeros, zeros, zeros])

    try session.confirm([0, 1, 2, 3])
    var reveal = try session.reveal(0)
    try session.handle(.unmask(reveal))
    reveal.seedShares[0].bytes[0] ^= 1
    expectRefusal("two different messages") { try session.handle(.unmask(reveal)) }
    try session.unmask()
    #expect(session.released?.groups[0].result.centredSum == zeros)
  }

  @Test func `a message of a node that missed its step is late`() throws {
    var session = try session(10)
    let late = try session.advertisement(9)
    try session.advertise(Array(0..<9))
    expectRefusal("after step “advertise” was closed") { try session.handle(.advertisement(late)) }
    let lateShares = try session.shareUpload(8)
    try session.share(Array(0..<8))
    expectRefusal("after step “share” was closed") { try session.handle(.shares(lateShares)) }
    try session.handle(.debited)
    let lateInput = try session.complete(session.masked(7, zeros).packed)
    try session.upload([[Int64]](repeating: zeros, count: 10), Array(0..<7))
    expectRefusal("after step “mask” was closed") {
      try session.handle(.input(lateInput, from: session.id(7)))
    }
    try session.confirm(Array(0..<7))
    try session.unmask(Array(0..<7))
    #expect(session.released?.groups[0].result.survivors.count == 7)
  }

  @Test func `strangers and forged messages are refused`() throws {
    var session = try session(3)
    var stranger = try Session(Fixture.descriptor(cohort: 4), nodes: 4)
    let foreign = try stranger.advertisement(3)
    expectRefusal("not enrolled") { try session.handle(.advertisement(foreign)) }
    var forged = try session.advertisement(0)
    forged.seedCommitment = Fixture.digest("another seed")
    expectRefusal("signature", "does not verify") { try session.handle(.advertisement(forged)) }
    var otherSession = try Session(
      Fixture.descriptor(cohort: 3) { $0.sessionNumber += 1 }, nodes: 3)
    let replayed = try otherSession.advertisement(1)
    expectRefusal("does not verify") { try session.handle(.advertisement(replayed)) }
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    let input = try session.complete(session.masked(0, zeros).packed)
    expectRefusal("does not take part") { try session.handle(.input(input, from: stranger.id(3))) }
    try session.upload([zeros, zeros, zeros])
    try session.confirm()
    try session.unmask()
    #expect(session.released != nil)
  }

  // MARK: Range

  @Test func `a sum outside its possible range is not released`() throws {
    var session = try Session(Fixture.descriptor(cohort: 3), nodes: 3)
    var garbage = zeros
    garbage[9] = 5_000
    try session.run([zeros, garbage, zeros])
    #expect(session.released == nil)
    #expect(session.coordinator.released == nil)
    #expect(session.abortReason?.contains("segment evaluation is outside its possible range") == true)
  }

  @Test func `an input that is not what was masked is caught by the range of the sum`() throws {
    var session = try Session(Fixture.descriptor(cohort: 3), nodes: 3)
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    var random = RandomStream(testSeed: 8)
    for node in 0..<3 {
      var packed = try session.masked(node, zeros).packed
      if node == 1 { packed = random.bytes(packed.count) }
      try session.handle(.input(session.complete(packed), from: session.id(node)))
    }
    try session.confirm()
    try session.unmask()
    #expect(session.released == nil)
    #expect(session.abortReason?.contains("outside its possible range") == true)
  }

  @Test func `an upload of the wrong length never becomes an input`() throws {
    let session = try session()
    #expect(throws: AggregationError.self) { _ = try session.complete([1, 2, 3]) }
    #expect(throws: AggregationError.self) { _ = try session.complete([UInt8](repeating: 0, count: 1_000)) }
  }
}
