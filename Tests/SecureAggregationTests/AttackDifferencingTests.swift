import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 8: a round is aborted, or finished, and run again without one participant; the difference of the
/// sums is that participant's input. Masks cannot prevent it: the sums are what the server may learn. What
/// does is differential privacy: the budget is debited before the upload even if the round then aborts
/// (NodeDaemon, BudgetLedger), and every session draws fresh noise (NodeRound). Here is what belongs to
/// secure aggregation: an aborted run yields nothing, and two runs share no mask.
struct AttackDifferencingTests {
  private let victim = 0

  /// What the attacker gains without noise and budget, and why "secure aggregation alone is not
  /// differential privacy".
  @Test(arguments: attackedGraphs)
  func `two sums that differ by one participant reveal its input`(graph: NeighbourGraph) throws {
    var first = try Session.attacked(graph, sid: "with")
    var second = try Session.attacked(graph, sid: "without", seed: 8)
    second.inputs = first.inputs
    var fates = [Fate](repeating: .stays, count: 12)
    let with = try first.run(fates).centredSum
    fates[victim] = .leavesBeforeUploading
    let without = try second.run(fates).centredSum
    #expect(zip(with, without).map { $0 - $1 } == first.inputs[victim])
  }

  /// Guarded checks: `step` in `AggregationCoordinator.finish`, and the quorum before any reveal
  /// (`AggregationClient.reveal`): a run that is aborted before step 5 leaves the server with masked inputs
  /// of which no part cancels against those of the next run.
  @Test(arguments: attackedGraphs)
  func `an aborted run yields nothing that a second run could be subtracted from`(
    graph: NeighbourGraph
  ) throws {
    var aborted = try Session.attacked(graph, sid: "first")
    try aborted.share()
    var spy = Spy(aborted)
    let notice = try aborted.upload(spy: &spy)
    #expect(throws: AggregationError.wrongStep(called: .unmask, current: .confirm)) {
      try aborted.coordinator.finish()
    }
    for index in aborted.everybody {
      let early = refusal { _ = try aborted.clients[index].reveal(Quorum(signatures: [])) }
      #expect(early == .wrongStep(called: .unmask, current: .confirm))
      _ = try aborted.clients[index].confirm(notice)
      aborted.clients[index].abort()
      #expect(throws: AggregationError.aborted) {
        try aborted.provoke(index, aborted.signatures(on: notice, of: aborted.everybody))
      }
    }
    #expect(try spy.sum(of: aborted.everybody) == nil)
    // The second run, with the very same inputs and without the victim: what was uploaded in the first
    // is no masked form of them under the same masks.
    var second = try Session.attacked(graph, sid: "second", seed: 8)
    second.inputs = aborted.inputs
    let others = second.everybody.filter { $0 != victim }
    try second.share(others)
    var later = Spy(second)
    _ = try second.upload(others, spy: &later)
    for index in others {
      let (a, b) = (try #require(spy.masked[index]), try #require(later.masked[index]))
      #expect(zip(a, b).allSatisfy { $0 != $1 })
    }
    var difference = [UInt32](repeating: 0, count: 16)
    for (sign, masked) in [(true, spy.masked), (false, later.masked)] {
      for words in masked.values {
        for index in words.indices {
          difference[index] = sign ? difference[index] &+ words[index] : difference[index] &- words[index]
        }
      }
    }
    let plain = try second.ring(victim)
    #expect(zip(difference, plain).allSatisfy { $0 != $1 })
  }
}
