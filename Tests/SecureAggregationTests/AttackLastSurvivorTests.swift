import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 5: the server declares everybody dropped but the victim and those who collude with it, whose
/// inputs it knows: the sum of the survivors is then the victim's input.
struct AttackLastSurvivorTests {
  private let victim = 0

  /// Twelve participants that uploaded. The survivors are the victim and colluders, one share too few to
  /// unmask the victim without its help.
  private func cornered(_ graph: NeighbourGraph) throws -> (Session, Spy, group: [Int], colluders: [Int]) {
    var session = try Session.attacked(graph)
    let colluders: [Int]
    let group: [Int]
    if graph == .complete {
      colluders = Array(1...8)
      group = [victim]
    } else {
      // On the sparse graph a participant holds no share of its own: an honest neighbour is needed.
      colluders = Array(2...6)
      group = [victim, 1]
      for index in session.everybody {
        let wanted: [Int]
        switch index {
        case 0: wanted = [1, 2, 3, 4, 5, 7, 8, 9]
        case 1: wanted = [0, 2, 3, 4, 5, 7, 8, 9]
        default: wanted = Array(([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].filter { $0 != index }).prefix(8))
        }
        try session.force(index, draws: wanted)
        try session.coordinator.receive(
          session.clients[index].share(
            opening: session.coordinator.open(#require(session.clients[index].sent.request))))
      }
    }
    try session.share()
    var spy = Spy(session)
    for index in colluders { spy.colluding[index] = try session.secrets(of: index).maskScalar }
    _ = try session.upload(spy: &spy)
    for index in colluders { spy.collude(session.clients[index], index: index) }
    return (session, spy, group, colluders)
  }

  /// Names the survivors, and has the honest ones reveal. Returns their refusals.
  private func corner(
    _ session: inout Session, _ spy: inout Spy, _ group: [Int], _ colluders: [Int]
  ) throws -> [AggregationError] {
    let notice = SurvivorNotice(shared: session.everybody, uploaded: (group + colluders).sorted())
    var signatures = session.signatures(on: notice, of: colluders)
    var refusals: [AggregationError] = []
    for index in group {
      do { signatures[index] = try session.clients[index].confirm(notice) } catch {
        refusals.append(error)
      }
    }
    for index in group where signatures[index] != nil {
      try spy.note(session.provoke(index, signatures), from: index)
    }
    return refusals
  }

  /// Guarded check: T_min in `AggregationClient.confirm`, AggregationClient+Masking.swift (and in
  /// `checkAlive` on the complete graph). Without it the server reads the sum of as few as it likes.
  @Test(arguments: attackedGraphs)
  func `fewer survivors than the participant's own minimum are refused`(graph: NeighbourGraph) throws {
    var (session, spy, group, colluders) = try cornered(graph)
    for index in group { try session.replace(index, minimumCohort: 12, minimumSurvivors: 10) }
    let refusals = try corner(&session, &spy, group, colluders)
    #expect(try spy.sum(of: group) == nil, "the server reads the input of \(group)")
    let count = group.count + colluders.count
    #expect(
      refusals
        == [AggregationError](
          repeating: .tooFewAlive(.confirm, count: count, needed: 10), count: group.count))
  }

  /// What the attacker gains where T_min is as low as the number of survivors.
  @Test(arguments: attackedGraphs)
  func `a minimum as low as the survivors yields their inputs`(graph: NeighbourGraph) throws {
    var (session, spy, group, colluders) = try cornered(graph)
    #expect(try spy.sum(of: group) == nil, "the colluders need nobody's help, so nothing is shown")
    #expect(try corner(&session, &spy, group, colluders).isEmpty)
    #expect(try spy.sum(of: group) == session.plainSum(group))
  }

  /// Guarded check: `checkAlive` in `AggregationClient.confirm`, AggregationClient+Masking.swift: t of the
  /// own holders are alive, whatever T_min says.
  @Test(arguments: attackedGraphs)
  func `a survivor list without enough of the own holders is refused`(graph: NeighbourGraph) throws {
    var (session, _, _, _) = try cornered(graph)
    let all = session.everybody
    #expect(throws: AggregationError.self) {
      try session.clients[victim].confirm(SurvivorNotice(shared: all, uploaded: [victim]))
    }
    let holders = session.holders(of: victim)
    let needed = session.parameters.threshold(cohort: 12)
    let kept = graph == .complete ? needed - 2 : needed - 1
    let others = graph == .complete ? [] : all.filter { $0 != victim && !holders.contains($0) }
    let few = SurvivorNotice(shared: all, uploaded: ([victim] + holders.prefix(kept) + others).sorted())
    #expect(throws: AggregationError.tooFewAlive(.confirm, count: needed - 1, needed: needed)) {
      try session.clients[victim].confirm(few)
    }
    let enough = SurvivorNotice(
      shared: all, uploaded: ([victim] + holders.prefix(kept + 1) + others).sorted())
    _ = try session.clients[victim].confirm(enough)
  }

  /// Guarded check: `checkAlive` in `AggregationClient.checkEvidence`, AggregationClient+Masking.swift.
  /// The masked input is not even sent when so few hold shares.
  @Test(arguments: attackedGraphs)
  func `an input is not uploaded while too few holders are alive`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try session.share()
    var delivery = try session.delivery(for: victim)
    let needed = session.parameters.threshold(cohort: 12)
    delivery.evidence.removeLast(delivery.evidence.count - needed + (graph == .complete ? 1 : 0))
    let alive = Set(delivery.evidence.map(\.index))
    let holders = Set(session.holders(of: victim))
    delivery.shares.removeAll { holders.contains($0.sender) && !alive.contains($0.sender) }
    let input = try session.ring(victim)
    #expect(throws: AggregationError.tooFewAlive(.mask, count: needed - 1, needed: needed)) {
      try session.clients[victim].mask(input, delivery: delivery)
    }
    _ = try session.masked(victim)
  }
}
