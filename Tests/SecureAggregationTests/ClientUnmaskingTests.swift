import Cryptography
import Testing

@testable import SecureAggregation

/// What a client refuses after it uploaded: the consistency check and the one reveal.
struct ClientUnmaskingTests {
  private let n = 10

  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  private func afterMasking() throws -> (Session, SurvivorNotice) {
    var session = try Session(n)
    try session.share()
    let notice = try session.upload(Array(0..<9))
    return (session, notice)
  }

  @Test func `refuses survivor lists that do not follow from what it saw`() throws {
    let (session, notice) = try afterMasking()
    let all = Array(0..<10)
    let cases: [(SurvivorNotice, AggregationError)] = [
      (.init(shared: all, uploaded: [0, 1, 2]), .tooFewAlive(.confirm, count: 3, needed: 7)),
      (.init(shared: all, uploaded: [0]), .tooFewAlive(.confirm, count: 1, needed: 7)),
      (.init(shared: all, uploaded: Array(1..<10)), .ownEntryMissing(.confirm)),
      (.init(shared: Array(0..<9), uploaded: Array(0..<9)), .sharersChanged),
      (.init(shared: all, uploaded: [0, 1, 1, 2, 3, 4, 5, 6]), .malformedList(.confirm, .notAscending)),
      (.init(shared: all, uploaded: Array(0...10)), .malformedList(.confirm, .indexOutOfRange)),
      (.init(shared: [-1] + all, uploaded: all), .malformedList(.confirm, .indexOutOfRange)),
      (.init(shared: [], uploaded: []), .sharersChanged),
    ]
    for (forged, error) in cases {
      var client = session.clients[0]
      #expect(throws: error) { try client.confirm(forged) }
      _ = try client.confirm(notice)
    }
  }

  @Test func `refuses a survivor that never shared`() throws {
    var session = try Session(n)
    try session.share(Array(0..<9))
    _ = try session.upload(Array(0..<9))
    #expect(throws: AggregationError.survivorNotSharer(index: 9)) {
      try session.clients[0].confirm(
        SurvivorNotice(shared: Array(0..<9), uploaded: Array(0..<8) + [9]))
    }
  }

  @Test func `refuses to be among fewer survivors than T_min`() throws {
    let parameters = try Fixture.parameters(minimumCohort: 9, minimumSurvivors: 9)
    var session = try Session(n, parameters: parameters)
    try session.share()
    _ = try session.upload()
    #expect(throws: AggregationError.tooFewAlive(.confirm, count: 8, needed: 9)) {
      try session.clients[0].confirm(
        SurvivorNotice(shared: Array(0..<10), uploaded: Array(0..<8)))
    }
  }

  @Test func `never reveals both shares of a peer, whatever the order of the requests`() throws {
    let (start, _) = try afterMasking()
    let all = Array(0..<10)
    let alive = SurvivorNotice(shared: all, uploaded: all)
    let dead = SurvivorNotice(shared: all, uploaded: Array(0..<9))
    for (first, second) in [(alive, dead), (dead, alive)] {
      // Even a server with which everybody but the victim colludes: all sign both lists.
      var session = start
      let victim = 0
      var quorums: [Quorum] = []
      for notice in [first, second] {
        let signed = notice.signedBytes(sid: session.parameters.sessionID, root: session.roster.root)
        quorums.append(
          Quorum(
            signatures: (1..<9).map {
              ConsistencySignature(id: id($0), signature: Fixture.identities[$0].sign(signed))
            }))
      }
      _ = try session.clients[victim].confirm(first)
      #expect(throws: AggregationError.conflictingRetry(.confirm)) {
        try session.clients[victim].confirm(second)
      }
      #expect(throws: AggregationError.badSignature(id(1), .confirm)) {
        try session.clients[victim].reveal(quorums[1])
      }
      let message = try session.clients[victim].reveal(quorums[0])
      #expect(try session.clients[victim].reveal(quorums[1]) == message)
      #expect(throws: AggregationError.wrongStep(called: .confirm, current: .finished)) {
        try session.clients[victim].confirm(second)
      }
      let seeds = Set(message.seedShares.map(\.index))
      let keys = Set(message.maskKeyShares.map(\.index))
      #expect(seeds.isDisjoint(with: keys))
      #expect(seeds == Set(first.uploaded))
      #expect(keys == Set(all).subtracting(first.uploaded))
    }
  }

  @Test func `two different survivor lists fail the quorum`() throws {
    var (session, notice) = try afterMasking()
    let other = SurvivorNotice(shared: Array(0..<10), uploaded: [0, 1, 2, 3, 4, 5, 6, 9])
    var signatures: [ConsistencySignature] = []
    for index in 0..<5 { signatures.append(try session.clients[index].confirm(notice)) }
    for index in 5..<7 {
      let foreign = try session.clients[index].confirm(other)
      signatures.append(foreign)
      #expect(throws: AggregationError.badSignature(id(index), .confirm)) {
        try session.coordinator.receive(foreign)
      }
    }
    for signature in signatures.prefix(5) { try session.coordinator.receive(signature) }
    #expect(throws: AggregationError.quorumTooSmall(count: 5, needed: 6)) {
      try session.coordinator.closeConsistency()
    }
    #expect(throws: AggregationError.quorumTooSmall(count: 5, needed: 6)) {
      try session.clients[0].reveal(Quorum(signatures: Array(signatures.prefix(5))))
    }
    #expect(throws: AggregationError.badSignature(id(5), .confirm)) {
      try session.clients[0].reveal(Quorum(signatures: signatures))
    }
    #expect(throws: AggregationError.duplicateParticipant(id(0))) {
      try session.clients[0].reveal(Quorum(signatures: Array(signatures.prefix(5)) + [signatures[0]]))
    }
    #expect(throws: AggregationError.unknownParticipant(id(9), .confirm)) {
      try session.clients[0].reveal(
        Quorum(signatures: [ConsistencySignature(id: id(9), signature: signatures[0].signature)]))
    }
  }
}
