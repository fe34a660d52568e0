import Cryptography
import Testing

@testable import SecureAggregation

/// The commitment to the roster and the draw of neighbours: a server that could choose whom somebody draws
/// would surround it with corrupt neighbours.
struct SparseRosterTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  private func drawn(_ seed: UInt64 = 7) throws -> (Session, NeighbourRequest, RosterOpening) {
    var session = try Session.attacked(Fixture.smallGraph, seed: seed)
    let request = try session.clients[0].draw(session.commitment(), isEnrolled: Fixture.isEnrolled)
    return (session, request, try session.coordinator.open(request))
  }

  /// Guarded check: `sent.request` in `AggregationClient.draw`, AggregationClient+Sharing.swift. A server that
  /// obtained a second draw for another roster would go on until the neighbours are corrupt.
  @Test func `the neighbours are drawn once, whatever the server offers`() throws {
    var (session, request, _) = try drawn()
    #expect(try session.clients[0].draw(session.commitment(), isEnrolled: Fixture.isEnrolled) == request)
    var seen: Set<[Int]> = [request.neighbours]
    for attempt in 0..<20 as Range<UInt8> {
      var other = try session.commitment()
      if attempt.isMultiple(of: 2) { other.top = Hash.blake2b([attempt]) } else { other.ids.removeLast() }
      let error = refusal {
        seen.insert(try session.clients[0].draw(other, isEnrolled: Fixture.isEnrolled).neighbours)
      }
      #expect(error == .conflictingRetry(.share))
    }
    #expect(seen.count == 1, "the server obtained \(seen.count) draws to choose from")
  }

  /// Guarded check: the order of the two calls: neighbours are drawn from identities and a hash, before any
  /// key is opened, by the participant's own randomness.
  @Test func `nothing is opened before the draw, and the draw does not follow the roster`() throws {
    var session = try Session.attacked(Fixture.smallGraph)
    #expect(throws: AggregationError.wrongStep(called: .share, current: .share)) {
      try session.clients[0].share(opening: .empty)
    }
    #expect(throws: AggregationError.graphMismatch) {
      try session.clients[0].share(roster: session.roster, isEnrolled: Fixture.isEnrolled)
    }
    var complete = try Session.attacked(.complete)
    #expect(throws: AggregationError.graphMismatch) {
      try complete.clients[0].draw(complete.commitment(), isEnrolled: Fixture.isEnrolled)
    }
    var draws: Set<[Int]> = []
    for seed in 0..<12 as Range<UInt64> { draws.insert(try drawn(seed).1.neighbours) }
    #expect(draws.count > 9)
  }

  /// Guarded check: `AggregationClient.share(opening:)` and `check(_: RosterOpening, of:)`,
  /// AggregationClient+Sharing.swift: after the draw the server can open only what it committed to.
  @Test func `an opening of anything else than what was drawn is refused`() throws {
    let (session, request, honest) = try drawn()
    let absent = try #require((1..<12).first { !request.neighbours.contains($0) })
    let first = request.neighbours[0]
    let position = try #require(honest.indices.firstIndex(of: first))
    let mismatch = AggregationError.rosterRootMismatch
    let cases: [(AggregationError, (inout RosterOpening) -> Void)] = [
      (.malformedList(.share, .wrongEntries), { $0.indices[position] = absent }),
      (.malformedList(.share, .wrongEntries), { $0.indices.removeLast() }),
      (.malformedList(.share, .wrongEntries), { $0.indices.append(-1) }),
      (.malformedList(.share, .wrongEntries), { $0.indices.reverse() }),
      (.malformedList(.share, .wrongEntries), { $0.members.removeLast() }),
      (.malformedList(.share, .wrongEntries), { $0 = .empty }),
      (.openingRejected(id(first)), { $0.members[position] = session.roster.members[absent] }),
      (.openingRejected(id(first)), { $0.members[position].id = VerifyingKey(unchecked: [1]) }),
      (mismatch, { $0.members[position].shareKey = session.roster.members[absent].shareKey }),
      (mismatch, { $0.members[position].maskKey = session.roster.members[absent].maskKey }),
      (mismatch, { $0.members[position].seedCommitment = Hash.blake2b([]) }),
      (mismatch, { $0.members[position].signature = session.roster.members[absent].signature }),
      (mismatch, { $0.hashes[0] = Hash.blake2b([]) }),
      (mismatch, { $0.hashes.append(Hash.blake2b([])) }),
      (mismatch, { $0.hashes.removeLast() }),
      (mismatch, { $0.hashes = [] }),
    ]
    for (number, (error, change)) in cases.enumerated() {
      var client = session.clients[0]
      var opening = honest
      change(&opening)
      #expect(opening != honest)
      #expect(throws: error, "case \(number)") { try client.share(opening: opening) }
      _ = try client.share(opening: honest)
    }
  }

  /// Guarded check: the root in `check(_: RosterOpening, of:)`: a neighbour's properly signed second
  /// advertisement, made after the draw, is not the one that was committed to.
  @Test func `keys made after the draw are refused though their owner signed them`() throws {
    var (session, request, opening) = try drawn()
    let neighbour = request.neighbours[0]
    var colluder = AggregationClient(
      parameters: session.parameters, identity: Fixture.identities[neighbour],
      random: RandomStream(testSeed: 404))
    let position = try #require(opening.indices.firstIndex(of: neighbour))
    opening.members[position] = try colluder.advertise()
    #expect(throws: AggregationError.rosterRootMismatch) {
      try session.clients[0].share(opening: opening)
    }
    opening.members[position] = session.roster.members[neighbour]
    let upload = try session.clients[0].share(opening: opening)
    opening.members[position] = try colluder.advertise()
    #expect(try session.clients[0].share(opening: opening) == upload)
  }

  /// Guarded check: `AggregationClient.check(ids:isEnrolled:)` and the size of the top, before the draw.
  @Test func `commitments that are unsorted, repeated, unenrolled or malformed are refused`() throws {
    let session = try Session.attacked(Fixture.smallGraph)
    let cases: [(AggregationError, (inout RosterCommitment) -> Void)] = [
      (.rosterNotSorted(id(4)), { $0.ids.swapAt(4, 5) }),
      (.duplicateParticipant(id(3)), { $0.ids.insert($0.ids[3], at: 3) }),
      (.ownAdvertisementMissing, { $0.ids.remove(at: 0) }),
      (.cohortTooSmall(count: 8, minimum: 9), { $0.ids.removeLast(4) }),
      (.malformedList(.share, .wrongSize), { $0.top = Digest(unchecked: [1, 2]) }),
    ]
    for (error, change) in cases {
      var client = session.clients[0]
      var commitment = try session.commitment()
      change(&commitment)
      #expect(throws: error) { try client.draw(commitment, isEnrolled: Fixture.isEnrolled) }
      _ = try client.draw(session.commitment(), isEnrolled: Fixture.isEnrolled)
    }
    var client = session.clients[0]
    #expect(throws: AggregationError.notEnrolled(id(5))) {
      try client.draw(session.commitment()) { $0 != id(5) }
    }
    var long = try session.commitment()
    long.ids[6] = VerifyingKey(unchecked: id(6).bytes + [0])
    #expect(throws: AggregationError.notEnrolled(long.ids[6])) {
      try client.draw(long) { _ in true }
    }
  }

  /// Guarded check: `AggregationCoordinator.open`, AggregationCoordinator.swift.
  @Test func `a coordinator opens exactly as many neighbours as the graph has`() throws {
    let (session, request, opening) = try drawn()
    #expect(opening.indices == (request.neighbours + [0]).sorted())
    let cases: [(AggregationError, (inout NeighbourRequest) -> Void)] = [
      (.malformed(id(0), .share, .wrongEntries), { $0.neighbours = Array(1..<12) }),
      (.malformed(id(0), .share, .wrongEntries), { $0.neighbours.removeLast() }),
      (.malformed(id(0), .share, .notAscending), { $0.neighbours.reverse() }),
      (.malformed(id(0), .share, .notAscending), { $0.neighbours[1] = $0.neighbours[0] }),
      (.malformed(id(0), .share, .selfAddressed), { $0.neighbours[0] = 0 }),
      (.malformed(id(0), .share, .indexOutOfRange), { $0.neighbours[0] = -1 }),
      (.malformed(id(0), .share, .indexOutOfRange), { $0.neighbours[7] = 12 }),
      (.wrongRoster(id(0)), { $0.root = Hash.blake2b([]) }),
      (.unknownParticipant(id(40), .share), { [id] in $0.id = id(40) }),
    ]
    for (error, change) in cases {
      var bad = request
      change(&bad)
      #expect(throws: error) { try session.coordinator.open(bad) }
    }
    let complete = try Session.attacked(.complete)
    #expect(throws: AggregationError.graphMismatch) { try complete.coordinator.open(request) }
  }
}
