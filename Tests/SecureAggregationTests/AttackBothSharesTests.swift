import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 3: the server asks for both shares of one participant. All but the victim's holders collude with
/// it, so every list has a quorum. With both secrets of the victim it reads the victim's plain input.
struct AttackBothSharesTests {
  private let victim = 0

  /// What the server sends to every holder, in order.
  private enum Request: Sendable { case confirm(alive: Bool), reveal(alive: Bool) }

  /// Every order of the two lists and the two requests in which a first reveal can come.
  private static let orders: [[Request]] = [true, false].flatMap { (first: Bool) -> [[Request]] in
    let second = !first
    return [
      [.confirm(alive: first), .reveal(alive: first), .confirm(alive: second), .reveal(alive: second)],
      [.confirm(alive: first), .confirm(alive: second), .reveal(alive: first), .reveal(alive: second)],
      [.confirm(alive: first), .confirm(alive: second), .reveal(alive: second), .reveal(alive: first)],
      [.confirm(alive: first), .reveal(alive: second), .confirm(alive: second), .reveal(alive: first)],
      [.confirm(alive: first), .reveal(alive: first), .reveal(alive: second), .reveal(alive: first)],
    ]
  }

  private func uploaded(_ graph: NeighbourGraph) throws -> (Session, Spy, [Bool: SurvivorNotice]) {
    var session = try Session.attacked(graph)
    try session.share()
    var spy = Spy(session)
    let alive = try session.upload(spy: &spy)
    let dead = SurvivorNotice(shared: alive.shared, uploaded: alive.uploaded.filter { $0 != victim })
    return (session, spy, [true: alive, false: dead])
  }

  /// Guarded checks: one list is ever signed (`AggregationClient.confirm`, AggregationClient+Masking.swift);
  /// shares are revealed once, and of each participant one (`AggregationClient.reveal`), and the quorum is
  /// for the signed list (`AggregationClient.check(_:notice:cohort:)`, AggregationClient+Unmasking.swift).
  @Test(arguments: attackedGraphs, 0..<10)
  func `no order of requests yields both shares`(graph: NeighbourGraph, order: Int) throws {
    var (session, spy, notices) = try uploaded(graph)
    var refusals = 0
    for holder in session.everybody where holder != victim {
      for request in Self.orders[order] {
        do {
          switch request {
          case .confirm(let alive): _ = try session.clients[holder].confirm(#require(notices[alive]))
          case .reveal(let alive):
            let notice = try #require(notices[alive])
            let others = notice.uploaded.filter { $0 != holder }
            try spy.note(
              session.provoke(holder, session.signatures(on: notice, of: others)), from: holder)
          }
        } catch { refusals += 1 }
      }
    }
    #expect(try spy.input(of: victim) == nil, "the server reads the victim's input")
    for dealer in session.everybody {
      let both = Set((spy.seedShares[dealer] ?? [:]).keys)
        .intersection((spy.keyShares[dealer] ?? [:]).keys)
      #expect(both.isEmpty, "both shares of \(dealer) were revealed")
    }
    // The attack was tried: at least one request of every holder was refused, or answered as before.
    #expect(refusals > 0 || order % 5 == 4)
  }

  /// What the attacker gains, and that the spy's arithmetic is right.
  @Test(arguments: attackedGraphs)
  func `both shares of enough holders would yield the input`(graph: NeighbourGraph) throws {
    var (session, spy, _) = try uploaded(graph)
    let threshold = session.parameters.threshold(cohort: 12)
    let holders = session.holders(of: victim)
    for holder in holders.prefix(threshold - 1) {
      spy.collude(session.clients[holder], index: holder)
    }
    #expect(try spy.input(of: victim) == nil, "fewer than the threshold suffice")
    spy.collude(session.clients[holders[threshold - 1]], index: holders[threshold - 1])
    #expect(try spy.input(of: victim) == session.inputs[victim])
  }

  /// Guarded check: `state = .revealed` and `sent = Sent()` in `AggregationClient.reveal`: after the one
  /// reveal the shares are gone, so nobody who takes over the participant finds the other half.
  @Test(arguments: attackedGraphs)
  func `nothing is left after the one reveal`(graph: NeighbourGraph) throws {
    var (session, _, notices) = try uploaded(graph)
    let notice = try #require(notices[true])
    _ = try session.confirm(notice)
    let signatures = session.signatures(on: notice, of: session.everybody)
    let first = try session.provoke(3, signatures)
    guard case .revealed = session.clients[3].state else {
      Issue.record("the participant still holds shares")
      return
    }
    #expect(session.clients[3].sent.input == nil && session.clients[3].sent.confirmation == nil)
    #expect(try session.clients[3].reveal(Quorum(signatures: [])) == first)
  }
}
