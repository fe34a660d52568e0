import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 11: one participant uploads garbage. The sum of its group is lost, which nothing can prevent; what
/// the others reveal is what they would reveal anyway, and other groups are untouched.
struct AttackGarbageInputTests {
  private let vandal = 4

  /// A run in which the vandal's upload is random, or honest.
  private func run(
    _ graph: NeighbourGraph, sid: String = "group 1", isGarbage: Bool
  ) throws -> (Session, Spy, AggregationResult) {
    var session = try Session.attacked(graph, sid: sid)
    try session.share()
    var spy = Spy(session)
    if isGarbage {
      var random = RandomStream(testSeed: 66)
      _ = try session.masked(vandal)
      try session.coordinator.accept(
        session.complete(random.bytes(session.parameters.packedByteCount)), from: session.clients[vandal].id)
    } else {
      try session.coordinator.accept(
        session.complete(session.masked(vandal).packed), from: session.clients[vandal].id)
    }
    let notice = try session.upload(session.everybody.filter { $0 != vandal }, spy: &spy)
    let quorum = try session.confirm(notice)
    for index in session.everybody {
      let message = try session.clients[index].reveal(quorum)
      try spy.note(message, from: index)
      try session.coordinator.receive(message)
    }
    return (session, spy, try session.coordinator.finish())
  }

  /// Guarded checks: none can keep the sum right (range proofs are out of scope); guarded is that the shares
  /// and masks do not depend on anybody's input (`AggregationClient.deal`, `masks`), so garbage buys nothing.
  @Test(arguments: attackedGraphs)
  func `garbage loses the sum and reveals nothing else`(graph: NeighbourGraph) throws {
    let (honest, before, right) = try run(graph, isGarbage: false)
    let (_, after, wrong) = try run(graph, isGarbage: true)
    #expect(right.centredSum == honest.plainSum(honest.everybody))
    #expect(wrong.survivors == right.survivors)
    #expect(zip(wrong.sum, right.sum).allSatisfy { $0 != $1 })
    // What the server saw of the others is the same, byte by byte.
    #expect(before.masked == after.masked)
    for dealer in honest.everybody {
      let shares = before.seedShares[dealer] ?? [:]
      for (holder, share) in shares {
        #expect(after.seedShares[dealer]?[holder]?.constantTimeEquals(share) == true)
      }
      #expect(after.seedShares[dealer]?.count == shares.count)
      #expect(try after.input(of: dealer) == nil)
    }
    #expect(after.keyShares.isEmpty)
  }

  /// Guarded check: sid, and with it every mask, is a group's own (`KeySchedule`): the garbage of one group
  /// does not reach another one's sum.
  @Test(arguments: attackedGraphs)
  func `the garbage of one group leaves the others' sums exact`(graph: NeighbourGraph) throws {
    let (_, _, wrong) = try run(graph, sid: "group 1", isGarbage: true)
    let (second, _, right) = try run(graph, sid: "group 2", isGarbage: false)
    #expect(right.centredSum == second.plainSum(second.everybody))
    #expect(wrong.centredSum != right.centredSum)
  }

  /// Guarded check: `PendingInput.append` and `RingVector.checkPacked`: garbage of another size, or with
  /// bits behind its end, is not added at all.
  @Test(arguments: attackedGraphs)
  func `garbage of another size is refused before it counts`(graph: NeighbourGraph) throws {
    let session = try Session.attacked(graph)
    let size = session.parameters.packedByteCount
    var pending = PendingInput(parameters: session.parameters)
    #expect(throws: AggregationError.wrongInputLength(expected: size, actual: size + 1)) {
      try pending.append([UInt8](repeating: 1, count: size + 1))
    }
    try pending.append([UInt8](repeating: 1, count: size - 1))
    #expect(throws: AggregationError.wrongInputLength(expected: size, actual: size - 1)) {
      try pending.finish()
    }
    let narrow = try Fixture.parameters(dimension: 3, ringBits: 20, graph: graph)
    var padded = PendingInput(parameters: narrow)
    try padded.append([UInt8](repeating: 0, count: 7) + [0x10])
    #expect(throws: AggregationError.nonZeroPadding) { try padded.finish() }
  }
}
