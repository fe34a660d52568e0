import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 4: a cohort of Sybils around one victim. The Sybils upload zeros, so the sum is the victim's
/// input; or they hold enough of the victim's shares to unmask it on their own.
struct AttackSybilTests {
  private let victim = 0

  private func surrounded(_ graph: NeighbourGraph) throws -> Session {
    var session = try Session.attacked(graph)
    for index in session.everybody where index != victim {
      session.inputs[index] = [Int64](repeating: 0, count: 16)
    }
    return session
  }

  /// Runs the attack to its end: the victim's input, or the victim's refusal.
  private func steal(
    _ start: Session, isEnrolled: (ParticipantID) -> Bool
  ) -> (input: [Int64]?, refusal: AggregationError?) {
    var session = start
    do {
      if session.parameters.graph == .complete {
        _ = try session.clients[victim].share(roster: session.roster, isEnrolled: isEnrolled)
      } else {
        _ = try session.clients[victim].draw(session.commitment(), isEnrolled: isEnrolled)
      }
      let everybody = [Fate](repeating: .stays, count: session.clients.count)
      return (try session.run(everybody).centredSum, nil)
    } catch { return (nil, error as? AggregationError) }
  }

  /// Guarded check: `isEnrolled` in `AggregationClient.check(ids:isEnrolled:)`,
  /// AggregationClient+Sharing.swift. Without it the server invents a cohort and reads the input.
  @Test(arguments: attackedGraphs)
  func `identities that no operator enrolled are refused`(graph: NeighbourGraph) throws {
    let session = try surrounded(graph)
    let own = session.clients[victim].id
    let honest = Fixture.identities[5].verifyingKey
    // The attack works on whom everybody is enrolled for, one honest stranger among them or not.
    let gain = steal(session) { _ in true }
    #expect(gain.input == session.inputs[victim])
    for known in [[own], [own, honest]] {
      let attack = steal(session) { known.contains($0) }
      #expect(attack.input == nil, "the server reads the victim's input")
      #expect(attack.refusal == .notEnrolled(Fixture.identities[1].verifyingKey))
    }
  }

  /// Guarded check: n_min in `AggregationClient.check(ids:isEnrolled:)`, AggregationClient+Sharing.swift. A
  /// few stolen identities are cheaper than a cohort of them.
  @Test(arguments: attackedGraphs)
  func `a cohort below the participant's own minimum is refused`(graph: NeighbourGraph) throws {
    var session = try surrounded(graph)
    try session.replace(victim, minimumCohort: 13)
    let attack = steal(session, isEnrolled: Fixture.isEnrolled)
    #expect(attack.input == nil, "the server reads the victim's input")
    #expect(attack.refusal == .cohortTooSmall(count: 12, minimum: 13))
  }

  /// Guarded check: `GraphPolicy.check` in `AggregationClient.draw`, AggregationClient+Sharing.swift. On a
  /// graph of too low a degree a fraction of corrupt participants holds a quorum of somebody's shares.
  @Test func `a graph on which the corrupt neighbours of somebody can unmask is refused`() throws {
    let parameters = try Fixture.parameters(
      dimension: 16, ringBits: 32, corruptPermille: 333, graph: Fixture.smallGraph)
    var session = try Session(60, parameters: parameters)
    // The policy of the field does not take part in such a graph.
    var strict = session
    for victim in 0..<3 {
      try strict.replace(victim, policy: .standard)
      let error = refusal {
        _ = try strict.clients[victim].draw(strict.commitment(), isEnrolled: Fixture.isEnrolled)
      }
      #expect(error == .graphTooWeak(cohort: 60, degree: 8, threshold: 5))
    }
    let corrupt = Array(41..<60)
    try session.share()
    var spy = Spy(session)
    _ = try session.upload(spy: &spy)
    for index in corrupt { spy.collude(session.clients[index], index: index) }
    var gained = 0
    for victim in 0..<41 {
      let isUnmasked = session.holders(of: victim).count { corrupt.contains($0) } >= 5
      #expect(try spy.input(of: victim) == (isUnmasked ? session.inputs[victim] : nil))
      if isUnmasked { gained += 1 }
    }
    #expect(gained > 0, "the attack was never possible, so nothing was shown")
  }

  /// Guarded check: the threshold in `GraphParameters.protectsPrivacy` (GraphPolicy.swift). With a threshold
  /// of two any two corrupt neighbours unmask, whatever the degree.
  @Test func `a graph of enough neighbours with too low a threshold is refused`() throws {
    let good = try GraphParameters.search(cohort: 200, corruptPermille: 100, dropoutPermille: 100)
    func refusal(threshold: Int, degree: Int) throws -> AggregationError? {
      let parameters = try Fixture.parameters(graph: .sparse(degree: degree, threshold: threshold))
      do {
        try GraphPolicy.standard.check(parameters, cohort: 200)
        return nil
      } catch { return error }
    }
    #expect(try refusal(threshold: good.threshold, degree: good.degree) == nil)
    for threshold in [2, 5, good.threshold / 2] {
      #expect(
        try refusal(threshold: threshold, degree: good.degree)
          == .graphTooWeak(cohort: 200, degree: good.degree, threshold: threshold))
    }
    #expect(
      try refusal(threshold: 5, degree: 8) == .graphTooWeak(cohort: 200, degree: 8, threshold: 5))
  }
}
