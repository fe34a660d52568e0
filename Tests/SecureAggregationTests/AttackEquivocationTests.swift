import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 2: different survivor lists for different participants. Those who believe that the victim
/// survived reveal shares of its self-mask seed, those who believe that it dropped out shares of its mask
/// key; the server that obtains both in sufficient number strips both masks from the victim's input.
struct AttackEquivocationTests {
  private let victim = 0
  /// Eight holders, any four of whom recover a secret: one half of them for each of the two lists.
  private let splittable = NeighbourGraph.sparse(degree: 8, threshold: 4)

  /// A cohort that uploaded, and the server's two lists with the halves that see them.
  private struct Split {
    var session: Session
    var spy: Spy
    let alive: SurvivorNotice
    let dead: SurvivorNotice
    var seesAlive: [Int]
    var seesDead: [Int]
  }

  private func split(_ graph: NeighbourGraph) throws -> Split {
    var session = try Session.attacked(graph)
    try session.share()
    var spy = Spy(session)
    let alive = try session.upload(spy: &spy)
    let holders = session.holders(of: victim)
    let rest = session.everybody.filter { $0 != victim && !holders.contains($0) }
    let half = holders.count / 2
    let seesAlive = [victim] + holders.prefix(half) + rest.prefix(5 - min(half, 5))
    return Split(
      session: session, spy: spy, alive: alive,
      dead: SurvivorNotice(shared: alive.shared, uploaded: alive.uploaded.filter { $0 != victim }),
      seesAlive: seesAlive, seesDead: session.everybody.filter { !seesAlive.contains($0) })
  }

  /// Shows each half its list and has them reveal; the server pads each quorum with what it has.
  /// Returns the refusals.
  private func run(_ split: inout Split, colluders: [Int], isPadded: Bool) throws -> [AggregationError] {
    var refusals: [AggregationError] = []
    let halves = [(split.alive, split.seesAlive, split.dead), (split.dead, split.seesDead, split.alive)]
    var collected: [[Int: ConsistencySignature]] = []
    for (notice, who, _) in halves {
      var signatures = split.session.signatures(
        on: notice, of: colluders.filter { notice.uploaded.contains($0) })
      for index in who { signatures[index] = try split.session.clients[index].confirm(notice) }
      collected.append(signatures)
    }
    for (number, (notice, who, _)) in halves.enumerated() {
      var signatures = collected[number]
      if isPadded {
        // Signatures on the other list, by people who are on this one.
        for (index, signature) in collected[1 - number]
        where signatures[index] == nil && notice.uploaded.contains(index) { signatures[index] = signature }
      }
      for index in who where !colluders.contains(index) {
        do { try split.spy.note(split.session.provoke(index, signatures), from: index) } catch {
          refusals.append(try #require(error as? AggregationError))
        }
      }
    }
    return refusals
  }

  /// Guarded check: the quorum in `AggregationClient.challenge` (sparse graph) and
  /// `AggregationClient.check(_:notice:cohort:)` (complete graph), AggregationClient+Unmasking.swift.
  @Test(arguments: [.complete, .sparse(degree: 8, threshold: 4)] as [NeighbourGraph])
  func `two halves with two lists reach no quorum and reveal nothing`(graph: NeighbourGraph) throws {
    var split = try split(graph)
    let refusals = try run(&split, colluders: [], isPadded: false)
    #expect(try split.spy.input(of: victim) == nil, "the server reads the victim's input")
    #expect(split.spy.seedShares.isEmpty && split.spy.keyShares.isEmpty)
    #expect(refusals == [AggregationError](repeating: .quorumTooSmall(count: 6, needed: 7), count: 12))
  }

  /// Guarded check: the signature of every quorum member in
  /// `AggregationClient.check(_:notice:cohort:)`, AggregationClient+Unmasking.swift.
  @Test(arguments: [.complete, .sparse(degree: 8, threshold: 4)] as [NeighbourGraph])
  func `signatures on the other list do not complete a quorum`(graph: NeighbourGraph) throws {
    var split = try split(graph)
    let refusals = try run(&split, colluders: [], isPadded: true)
    #expect(try split.spy.input(of: victim) == nil, "the server reads the victim's input")
    #expect(refusals.count == 12)
    for refusal in refusals {
      guard case .badSignature(_, .confirm) = refusal else {
        Issue.record("refused for another reason: \(refusal)")
        continue
      }
    }
  }

  /// Guarded check: the size of the quorum, `AggregationParameters.quorum(_:)`: any two quorums share an
  /// honest participant, so with one colluder among twelve only one of two lists can have one.
  @Test(arguments: [.complete, .sparse(degree: 8, threshold: 4)] as [NeighbourGraph])
  func `a colluder who signs both lists completes one quorum only`(graph: NeighbourGraph) throws {
    var split = try split(graph)
    let colluder = try #require(
      split.seesDead.last { !split.session.holders(of: victim).contains($0) }
        ?? split.seesDead.last)
    let refusals = try run(&split, colluders: [colluder], isPadded: false)
    #expect(try split.spy.input(of: victim) == nil, "the server reads the victim's input")
    #expect(split.spy.maskScalar(of: victim) == nil)
    #expect(
      refusals == [AggregationError](repeating: .quorumTooSmall(count: 6, needed: 7), count: 5))
  }

  /// What the attacker gains: with all shares of both kinds the spy's arithmetic yields the input.
  @Test func `the shares of both halves together would yield the input`() throws {
    var split = try split(splittable)
    var both = split.spy
    for index in split.session.everybody { both.collude(split.session.clients[index], index: index) }
    #expect(try both.input(of: victim) == split.session.inputs[victim])
    // The halves alone suffice.
    for index in split.seesAlive { split.spy.collude(split.session.clients[index], index: index) }
    split.spy.keyShares = [:]
    var keys = split.spy
    keys.seedShares = [:]
    for index in split.seesDead { keys.collude(split.session.clients[index], index: index) }
    split.spy.keyShares = keys.keyShares
    #expect(try split.spy.input(of: victim) == split.session.inputs[victim])
  }
}
