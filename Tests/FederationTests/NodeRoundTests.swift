import Cryptography
import Federation
import Privacy
import SecureAggregation
import Testing

@Suite struct NodeRoundTests {
  private let ones = [Int64](repeating: 1, count: 11)

  private func noisy(corruptPermille: Int = 0, seed: UInt64 = 1) throws -> Session {
    try Session(
      Fixture.descriptor(
        Fixture.segments(noiseVariance: 400), cohort: 4, minimumSurvivors: 2, corruptPermille: corruptPermille
      ),
      nodes: 4, seed: seed)
  }

  @Test func `a node adds its share of the noise, sized for the fewest honest survivors`() throws {
    let length = 4_000
    let segment = Segment(
      name: .update, length: length, population: .training, clipNorm: 1, scale: 2_048, noiseVariance: 9_000)
    // Nine honest nodes of ten survivors carry the noise when one in ten of the twelve is corrupt.
    let descriptor = try Fixture.descriptor(
      [segment], cohort: 12, minimumCohort: 12, minimumSurvivors: 10, corruptPermille: 100)
    var session = try Session(descriptor, nodes: 12)
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    _ = try session.masked(0, [Int64](repeating: 5, count: length))
    let noise = session.nodes[0].sentInput.map { Double($0 - 5) }
    let mean = noise.reduce(0, +) / Double(length)
    let variance = noise.reduce(0) { $0 + $1 * $1 } / Double(length)
    #expect(abs(mean) < 3)
    #expect(abs(variance / 1_000 - 1) < 0.15)
  }

  @Test func `two nodes and two sessions never draw the same noise`() throws {
    var first = try noisy()
    try first.run([[Int64]](repeating: ones, count: 4))
    var second = try noisy(seed: 2)
    try second.run([[Int64]](repeating: ones, count: 4))
    let inputs = Set(first.nodes.map(\.sentInput) + second.nodes.map(\.sentInput))
    #expect(inputs.count == 8)
  }

  @Test func `what was sent stays on record when a second input is refused`() throws {
    var session = try noisy()
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    _ = try session.masked(0, ones)
    let sent = session.nodes[0].sentInput
    expectRefusal("repeated") { _ = try session.masked(0, [Int64](repeating: 2, count: 11)) }
    #expect(session.nodes[0].sentInput == sent)
  }

  @Test func `nothing is on record as sent when masking failed`() throws {
    var session = try noisy()
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    var delivery = try #require(session.coordinator.delivery(for: session.id(0)))
    delivery.shares[0].ciphertext[0] ^= 1
    expectRefusal("does not open") { _ = try session.nodes[0].mask(ones, delivery: delivery) }
    #expect(session.nodes[0].sentInput.isEmpty)
    expectRefusal("the contribution's length", "11", "3") { _ = try session.masked(0, [1, 2, 3]) }
    #expect(session.nodes[0].sentInput.isEmpty)
    expectRefusal("ring") { _ = try session.masked(0, [Int64](repeating: 1 << 40, count: 11)) }
    #expect(session.nodes[0].sentInput.isEmpty)
  }

  @Test func `a refused second roster does not change the share of the noise`() throws {
    let descriptor = try Fixture.descriptor(
      Fixture.segments(noiseVariance: 10_000), cohort: 12, minimumSurvivors: 2, corruptPermille: 100)
    var session = try Session(descriptor, nodes: 12)
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    var confused = session
    var smaller = try #require(session.coordinator.roster(for: session.id(0)))
    smaller.members.removeLast(8)
    smaller.root = Roster.root(of: smaller.members, sid: session.signed.sessionID)
    expectRefusal("repeated") {
      _ = try confused.nodes[0].share(smaller, enrolled: Set(smaller.members.map(\.id)))
    }
    _ = try confused.masked(0, ones)
    _ = try session.masked(0, ones)
    #expect(confused.nodes[0].sentInput == session.nodes[0].sentInput)
  }

  @Test func `steps out of order are refused`() throws {
    var session = try noisy()
    let fresh = session
    try session.advertise()
    let roster = try #require(session.coordinator.roster(for: session.id(0)))
    try session.share()
    try session.handle(.debited)
    let delivery = try #require(session.coordinator.delivery(for: session.id(0)))
    let notice = SurvivorNotice(shared: [0, 1, 2, 3], uploaded: [0, 1, 2, 3])

    var node = fresh.nodes[0]
    expectRefusal("secure aggregation") {
      _ = try node.share(roster, enrolled: Set(roster.members.map(\.id)))
    }
    expectRefusal("cohort") { _ = try node.mask(ones, delivery: delivery) }
    expectRefusal("secure aggregation") { _ = try node.confirm(notice) }
    expectRefusal("secure aggregation") { _ = try node.reveal(Quorum(signatures: [])) }
    #expect(node.sentInput.isEmpty)
    _ = try node.advertise()
    expectRefusal("secure aggregation") { _ = try node.confirm(notice) }
  }

  @Test func `a roster with a stranger is refused`() throws {
    var session = try noisy()
    try session.advertise()
    let roster = try #require(session.coordinator.roster(for: session.id(0)))
    let stranger = session.id(2)
    expectRefusal("not enrolled") {
      _ = try session.nodes[0].share(
        roster, enrolled: Set(roster.members.map(\.id)).subtracting([stranger]))
    }
  }

  @Test func `a ring too narrow for the real cohort is refused`() throws {
    // The descriptor was sized for four nodes, but twelve came.
    let descriptor = try Fixture.descriptor(cohort: 4, maximumContributors: 30)
    #expect(descriptor.ringBits == 16)
    var session = try Session(descriptor, nodes: 12)
    try session.advertise()
    expectRefusal("ringBits is 16", "weaker than the required 20") { _ = try session.shareUpload(0) }
  }

  @Test func `parameters that no session may have are refused at the start`() throws {
    var random = RandomStream(testSeed: 4)
    func start(_ change: (inout RoundDescriptor) -> Void) throws {
      let descriptor = try Fixture.descriptor(cohort: 4, change)
      _ = try NodeRound(
        signed: SignedDescriptor(descriptor, key: Fixture.serverKey), task: Fixture.task(),
        policy: Fixture.policy(),
        identity: Fixture.identities[0], random: random.fork())
    }
    expectRefusal("ring width") { try start { $0.ringBits = 40 } }
    expectRefusal("minimum cohort") { try start { $0.minimumCohort = 201 } }
    expectRefusal("survivors") { try start { $0.minimumSurvivors = 1 } }
    expectRefusal("corrupt") { try start { $0.corruptPermille = 334 } }
  }
}
