import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 7: a masked input arrives after its sender was declared dropped. The cohort has already revealed
/// the sender's mask key, so its pairwise masks can be computed; only the self-mask still covers the input.
struct AttackLateInputTests {
  private let victim = 0

  /// A session in which the victim is late: its shares say that it dropped.
  private func late(_ graph: NeighbourGraph) throws -> (Session, Spy) {
    var session = try Session.attacked(graph)
    try session.share()
    var spy = Spy(session)
    let input = try session.masked(victim)
    try spy.note(input, of: victim, delivery: session.delivery(for: victim))
    let others = session.everybody.filter { $0 != victim }
    let notice = try session.upload(others, spy: &spy)
    let quorum = try session.confirm(notice)
    for index in others {
      let claim = try #require(session.coordinator.quorumClaim)
      var message = quorum
      if graph != .complete {
        message = try session.coordinator.quorum(
          of: session.clients[index].challenge(claim), for: session.clients[index].id)
      }
      let reveal = try session.clients[index].reveal(message)
      try spy.note(reveal, from: index)
      try session.coordinator.receive(reveal)
    }
    return (session, spy)
  }

  /// Guarded checks: the self-mask in `AggregationClient.masks` (AggregationClient+Masking.swift) and the
  /// one reveal in `AggregationClient.reveal`: the input is still covered although every pairwise mask is
  /// known, and nobody reveals the seed as well.
  @Test(arguments: attackedGraphs)
  func `the self-mask covers a late input`(graph: NeighbourGraph) throws {
    var (session, spy) = try late(graph)
    #expect(spy.maskScalar(of: victim) != nil, "the attack has no chance: nothing is shown")
    let stripped = try #require(try spy.sum(of: [victim], withoutSelfMasks: true))
    #expect(
      zip(stripped, session.inputs[victim]).allSatisfy { $0 != $1 }, "the server reads the late input")
    // The server now says that the victim survived after all.
    let alive = SurvivorNotice(shared: session.everybody, uploaded: session.everybody)
    for index in session.everybody where index != victim {
      _ = try? session.clients[index].confirm(alive)
      let signatures = session.signatures(on: alive, of: session.everybody)
      if let message = try? session.provoke(index, signatures) { try spy.note(message, from: index) }
    }
    #expect(spy.seedShares[victim] == nil)
    #expect(try spy.input(of: victim) == nil, "the server reads the late input")
  }

  /// Guarded check: `requireOpen` in `AggregationCoordinator.accept` (AggregationCoordinator.swift): an
  /// honest server discards the late input, so the sum is of the survivors it announced.
  @Test(arguments: attackedGraphs)
  func `a late input is discarded and the sum is right`(graph: NeighbourGraph) throws {
    var (session, _) = try late(graph)
    let packed = try session.masked(victim).packed
    #expect(throws: AggregationError.late(session.clients[victim].id, .mask)) {
      try session.coordinator.accept(session.complete(packed), from: session.clients[victim].id)
    }
    let result = try session.coordinator.finish()
    #expect(result.centredSum == session.plainSum(Array(1..<12)))
    #expect(result.droppedBeforeUpload == [session.clients[victim].id])
  }
}
