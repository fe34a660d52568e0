import Cryptography
import Testing

@testable import SecureAggregation

/// Partial sums: where the masks of a group do not reach the others, the server reads the group's sum.
struct SparseSeparationTests {
  private let group = [0, 1, 2, 3]
  private let rest = [4, 5, 6, 7]

  /// Two cliques of four, and five participants that could have connected them, by an unlucky draw.
  private func cliques(_ draws: (Int) -> [Int]) throws -> Session {
    var session = try Session.attacked(.sparse(degree: 3, threshold: 3), n: 13)
    for index in session.everybody {
      try session.force(index, draws: draws(index))
      let request = try #require(session.clients[index].sent.request)
      try session.coordinator.receive(
        session.clients[index].share(opening: session.coordinator.open(request)))
    }
    try session.closeSharing()
    return session
  }

  private func inCliques(_ index: Int) -> [Int] {
    if group.contains(index) { return group.filter { $0 != index } }
    if rest.contains(index) { return rest.filter { $0 != index } }
    return [0, 1, 2]
  }

  /// Declares those between the cliques dropped and has everybody else reveal. Returns the refusals.
  private func separate(_ session: inout Session, _ spy: inout Spy) throws -> [AggregationError] {
    _ = try session.upload(spy: &spy)
    let notice = SurvivorNotice(shared: session.everybody, uploaded: group + rest)
    var refusals: [AggregationError] = []
    var signatures: [Int: ConsistencySignature] = [:]
    for index in notice.uploaded {
      do { signatures[index] = try session.clients[index].confirm(notice) } catch {
        refusals.append(error)
      }
    }
    for index in signatures.keys.sorted() {
      try spy.note(session.provoke(index, signatures), from: index)
    }
    return refusals
  }

  /// What the attacker gains: nobody colludes, everybody follows the protocol, and yet the server reads two
  /// sums of four instead of one of thirteen.
  @Test func `dropping whoever connects two groups yields their sums one by one`() throws {
    var session = try cliques(inCliques)
    var spy = Spy(session)
    #expect(try separate(&session, &spy).isEmpty)
    #expect(try spy.sum(of: group) == session.plainSum(group))
    #expect(try spy.sum(of: rest) == session.plainSum(rest))
    #expect(try spy.sum(of: [0, 1, 2]) == nil && spy.input(of: 0) == nil)
  }

  /// Guarded check: `GraphPolicy.minimumSurvivors` in `AggregationClient.confirm`
  /// (AggregationClient+Masking.swift): no more may be dropped by choice than the graph was chosen for.
  @Test func `more drop-outs than the graph was chosen for are refused`() throws {
    var session = try cliques(inCliques)
    for index in session.everybody { try session.replace(index, policy: .standard) }
    var spy = Spy(session)
    let refusals = try separate(&session, &spy)
    #expect(try spy.sum(of: group) == nil, "the server reads the sum of four")
    #expect(
      refusals
        == [AggregationError](repeating: .tooFewAlive(.confirm, count: 8, needed: 10), count: 8))
    // Ten of thirteen are enough.
    let enough = SurvivorNotice(shared: session.everybody, uploaded: Array(0..<10))
    _ = try session.clients[0].confirm(enough)
  }

  /// Guarded check: `minimumAlive` of the coordinator (AggregationCoordinator.swift): it does not ask for
  /// what participants refuse.
  @Test func `a coordinator waits for the survivors that the policy asks for`() throws {
    let found = try GraphParameters.search(cohort: 100, corruptPermille: 0, dropoutPermille: 100)
    let parameters = try Fixture.parameters(
      corruptPermille: 0, graph: .sparse(degree: found.degree, threshold: found.threshold))
    var session = try Session(100, parameters: parameters)
    var strict = AggregationCoordinator(parameters: parameters, isEnrolled: Fixture.isEnrolled)
    for member in session.roster.members { try strict.receive(member) }
    _ = try strict.closeAdvertising()
    for index in 0..<69 { try strict.receive(session.upload(of: index)) }
    #expect(throws: AggregationError.tooFewAlive(.share, count: 69, needed: 70)) {
      try strict.closeSharing()
    }
    try strict.receive(session.upload(of: 69))
    try strict.closeSharing()
    // And it does not start on a graph that participants refuse.
    var weak = AggregationCoordinator(
      parameters: try Fixture.parameters(corruptPermille: 333, graph: Fixture.smallGraph),
      isEnrolled: Fixture.isEnrolled)
    let small = try Session(60, parameters: weak.parameters)
    for member in small.roster.members { try weak.receive(member) }
    #expect(throws: AggregationError.graphTooWeak(cohort: 60, degree: 8, threshold: 5)) {
      try weak.closeAdvertising()
    }
  }

  // MARK: Withheld shares

  /// Leaves out the shares of senders whom the participant did not draw itself.
  private func withhold(
    _ session: inout Session, from receiver: Int, senders isWithheld: (Int) -> Bool
  ) throws {
    var delivery = try session.delivery(for: receiver)
    delivery.shares.removeAll { isWithheld($0.sender) }
    let dealt = session.holders(of: receiver)
    let strangers = delivery.shares.map(\.sender).filter { !dealt.contains($0) }
    delivery.opening =
      strangers.isEmpty
      ? .empty
      : RosterOpening(
        indices: strangers, members: strangers.map { session.roster.members[$0] },
        hashes: session.coordinator.tree.hashes(proving: strangers))
    session.deliveries[session.clients[receiver].id] = delivery
  }

  /// A server that withholds the share of an in-neighbour removes that mask from one end only: the sum is
  /// garbage, and it reads nothing of either end. Guarded check: the masks towards the neighbours that the
  /// participant drew itself (`AggregationClient.masks`), of which t must be alive.
  @Test func `a withheld share spoils the sum and reveals nothing`() throws {
    var session = try Session.attacked(Fixture.smallGraph)
    try session.share()
    let victim = 0
    let stranger = try #require(
      session.delivery(for: victim).shares.map(\.sender).first {
        !session.holders(of: victim).contains($0)
      })
    try withhold(&session, from: victim) { $0 == stranger }
    var spy = Spy(session)
    let notice = try session.upload(spy: &spy)
    let quorum = try session.confirm(notice)
    for index in session.everybody {
      let message = try session.clients[index].reveal(quorum)
      #expect(message.seedShares.count + message.maskKeyShares.count > 0)
      try spy.note(message, from: index)
    }
    #expect(spy.keyShares.isEmpty)
    for index in session.everybody {
      #expect(try spy.input(of: index) == nil)
      #expect(try spy.sum(of: session.everybody.filter { $0 != index }) == nil)
    }
    // Not even the sum: one mask of the stranger is left over.
    #expect(try spy.sum(of: session.everybody) == nil)
    #expect(try spy.sum(of: [victim, stranger]) == nil)
  }

  /// What withholding gains: masks along draws of others protect only as long as the server delivers their
  /// shares. A group whose members drew each other alone is separated by withholding, without a single
  /// drop-out; so only draws of its own protect a group (the separation bound has to count those).
  @Test func `a group that drew only itself is separated by withholding others' shares`() throws {
    // All others drew members of the group.
    var session = try cliques { group.contains($0) ? inCliques($0) : [0, 1, 2] }
    for index in group { try withhold(&session, from: index) { !group.contains($0) } }
    var spy = Spy(session)
    let notice = try session.upload(spy: &spy)
    let quorum = try session.confirm(notice)
    for index in group { try spy.note(session.clients[index].reveal(quorum), from: index) }
    #expect(try spy.sum(of: group) == session.plainSum(group))
    // One draw towards the others, in each member or not, and nothing is readable.
    var connected = try cliques { index in
      index == 3 ? [0, 1, 4] : group.contains(index) ? inCliques(index) : [0, 1, 2]
    }
    for index in group {
      let dealt = connected.holders(of: index)
      try withhold(&connected, from: index) { !dealt.contains($0) && !group.contains($0) }
    }
    var blind = Spy(connected)
    let later = try connected.confirm(connected.upload(spy: &blind))
    for index in connected.everybody { try blind.note(connected.clients[index].reveal(later), from: index) }
    #expect(try blind.sum(of: group) == nil)
  }

  // MARK: Isolated survivors

  /// What cannot be excluded: the server drops whoever drew somebody, withholds the shares that this one
  /// dealt, and reads a sum of all other survivors. So noise is calibrated for a few survivors less.
  @Test func `somebody whom few drew can be cut off from a sum that counts it as a survivor`() throws {
    // Only 11 drew 12; nobody else drew either.
    var session = try cliques { index in
      index == 11
        ? [0, 1, 12] : index == 12 ? [0, 1, 2] : Array([0, 1, 2, 3].filter { $0 != index }.prefix(3))
    }
    let isolated = 12
    for index in session.holders(of: isolated) { try withhold(&session, from: index) { $0 == isolated } }
    var spy = Spy(session)
    let survivors = session.everybody.filter { $0 != 11 }
    let notice = try session.upload(survivors, spy: &spy)
    let quorum = try session.confirm(notice)
    for index in survivors { try spy.note(session.clients[index].reveal(quorum), from: index) }
    #expect(notice.uploaded.contains(isolated))
    let rest = survivors.filter { $0 != isolated }
    #expect(try spy.sum(of: rest) == session.plainSum(rest))
    #expect(try spy.input(of: isolated) == nil && spy.sum(of: [isolated]) == nil)
  }

  /// Guarded check: `GraphPolicy.assuredSurvivors`, to which noise is calibrated.
  @Test(arguments: [200, 1_000])
  func `noise is calibrated without those who may be cut off`(n: Int) throws {
    let found = try GraphParameters.search(cohort: n, corruptPermille: 100, dropoutPermille: 100)
    let graph = NeighbourGraph.sparse(degree: found.degree, threshold: found.threshold)
    func assured(_ graph: NeighbourGraph, _ minimum: Int) throws -> Int {
      try GraphPolicy.standard.assuredSurvivors(
        graph: graph, minimumSurvivors: minimum, corruptPermille: 100, cohort: n)
    }
    #expect(found.isolatable > 0 && found.isolatable * 10 <= n * 6 / 10)
    #expect(try assured(graph, 2) == n - n * 3 / 10 - found.isolatable)
    #expect(try assured(graph, n - n / 10) == n - n / 10 - found.isolatable)
    #expect(try assured(.complete, 2) == 2 * n / 3 + 1)
    #expect(try assured(.complete, n) == n)
  }
}
