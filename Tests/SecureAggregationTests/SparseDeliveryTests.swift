import Cryptography
import Testing

@testable import SecureAggregation

/// Step 3 on the sparse graph: evidence for the neighbours that were drawn, shares of those that drew.
struct SparseDeliveryTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// A participant that masks for `Session.attacked(.sparse)`, with a stranger among its dealers.
  private func delivered() throws -> (Session, ShareDelivery, dealt: [Int]) {
    var session = try Session.attacked(Fixture.smallGraph)
    try session.share()
    return (session, try session.delivery(for: 0), session.holders(of: 0))
  }

  /// Guarded checks: each guard of `checkEvidence`, `checkSenders`, `allPeers` and `openShares`,
  /// AggregationClient+Masking.swift.
  @Test func `deliveries that do not follow from the draws are refused`() throws {
    let (session, honest, dealt) = try delivered()
    let stranger = try #require(honest.opening.indices.first)
    let outsider = try #require((1..<12).first { !dealt.contains($0) })
    let foreign = try #require(session.coordinator.evidence[outsider])
    let known = try #require(honest.shares.map(\.sender).first { dealt.contains($0) })
    let wrong = AggregationError.malformedList(.mask, .wrongEntries)
    let cases: [(String, AggregationError, (inout ShareDelivery) -> Void)] = [
      (
        "evidence for somebody not drawn", wrong,
        { delivery in
          delivery.evidence.append(foreign)
          delivery.evidence.sort { $0.index < $1.index }
        }
      ),
      (
        "evidence of another neighbour", .badSignature(id(dealt[1]), .share),
        { delivery in
          delivery.evidence[2].bundleDigest = delivery.evidence[1].bundleDigest
          delivery.evidence[2].signature = delivery.evidence[1].signature
        }
      ),
      ("evidence without itself", .ownEntryMissing(.share), { $0.evidence.removeFirst() }),
      (
        "evidence of other shares of its own", .ownEntrySubstituted(.share),
        {
          $0.evidence[0].bundleDigest = $0.evidence[1].bundleDigest
        }
      ),
      ("too few alive", .tooFewAlive(.mask, count: 4, needed: 5), { $0.evidence.removeLast(4) }),
      (
        "a dealer that was drawn but is not alive", wrong,
        { delivery in
          delivery.evidence.removeAll { $0.index == known }
        }
      ),
      (
        "a share of its own", .malformedList(.mask, .selfAddressed),
        {
          $0.shares.insert(DeliveredShare(sender: 0, ciphertext: $0.shares[0].ciphertext), at: 0)
        }
      ),
      ("a stranger without opening", wrong, { $0.opening = .empty }),
      (
        "an opening without a share", wrong,
        { delivery in
          delivery.shares.removeAll { $0.sender == stranger }
        }
      ),
      (
        "a stranger with another's keys", .openingRejected(id(stranger)),
        { delivery in
          delivery.opening.members[0] = session.roster.members[known]
        }
      ),
      (
        "a stranger with a changed key", .rosterRootMismatch,
        { delivery in
          delivery.opening.members[0].maskKey = session.roster.members[known].maskKey
        }
      ),
      (
        "an opening with an extra hash", .rosterRootMismatch,
        { delivery in
          delivery.opening.hashes.append(Hash.blake2b([]))
        }
      ),
      (
        "a stranger's share changed", .shareRejected(id(stranger)),
        { delivery in
          for position in delivery.shares.indices where delivery.shares[position].sender == stranger {
            delivery.shares[position].ciphertext[70] ^= 1
          }
        }
      ),
      (
        "a share of another dealer", .shareRejected(id(stranger)),
        { delivery in
          let other = delivery.shares.first { $0.sender == known }?.ciphertext ?? []
          for position in delivery.shares.indices where delivery.shares[position].sender == stranger {
            delivery.shares[position].ciphertext = other
          }
        }
      ),
      ("shares out of order", .malformedList(.mask, .notAscending), { $0.shares.reverse() }),
      (
        "a sender outside the roster", .malformedList(.mask, .indexOutOfRange),
        {
          $0.shares[$0.shares.count - 1].sender = 12
        }
      ),
    ]
    let input = try session.ring(0)
    for (name, error, change) in cases {
      var client = session.clients[0]
      var delivery = honest
      change(&delivery)
      #expect(throws: error, "\(name)") { try client.mask(input, delivery: delivery) }
      _ = try client.mask(input, delivery: honest)
    }
  }

  /// A share that was sealed for one recipient is shown to another that the dealer drew as well.
  /// Guarded check: sender and recipient in `KeySchedule.shareAdditionalData` and the pair's own key.
  @Test func `a share sealed for somebody else does not open`() throws {
    let (session, honest, _) = try delivered()
    let dealer = honest.shares[0].sender
    let other = try #require(session.holders(of: dealer).first { $0 != 0 })
    let misdirected = try #require(
      session.deliveries[id(other)]?.shares.first { $0.sender == dealer })
    var delivery = honest
    delivery.shares[0].ciphertext = misdirected.ciphertext
    var client = session.clients[0]
    #expect(throws: AggregationError.shareRejected(id(dealer))) {
      try client.mask(session.ring(0), delivery: delivery)
    }
  }

  /// Guarded checks: `maximumInDegree` in `AggregationCoordinator.receive(_: ShareUpload)` and
  /// `AggregationClient.checkSenders`: whoever is drawn by everybody has a mask to make for each.
  @Test func `more than the cap of participants cannot draw the same one`() throws {
    let graph = NeighbourGraph.sparse(degree: 2, threshold: 2)
    let maximum = graph.maximumInDegree(cohort: 20)
    #expect(maximum == 13)
    var session = try Session.attacked(graph, n: 20)
    try session.force(0, draws: [1, 2])
    for index in 1..<20 { try session.force(index, draws: index == 1 ? [0, 2] : [0, 1]) }
    var crowd: [ShareUpload] = []
    for index in 0..<20 {
      let request = try #require(session.clients[index].sent.request)
      crowd.append(try session.clients[index].share(opening: session.coordinator.open(request)))
    }
    for index in 0...maximum { try session.coordinator.receive(crowd[index]) }
    #expect(
      throws: AggregationError.inDegreeTooLarge(id(0), count: maximum + 1, maximum: maximum)
    ) { try session.coordinator.receive(crowd[maximum + 1]) }
    try session.closeSharing()
    // A coordinator that does not keep the cap: one dealer more than the participant accepts.
    let honest = try session.delivery(for: 0)
    #expect(honest.shares.count == maximum)
    var crowded = honest
    let late = try #require(crowd[maximum + 1].shares.first { $0.recipient == 0 })
    crowded.shares.append(DeliveredShare(sender: maximum + 1, ciphertext: late.ciphertext))
    let strangers = crowded.shares.map(\.sender).filter { $0 > 2 }
    crowded.opening = RosterOpening(
      indices: strangers, members: strangers.map { session.roster.members[$0] },
      hashes: session.coordinator.tree.hashes(proving: strangers))
    let input = try session.ring(0)
    #expect(
      throws: AggregationError.inDegreeTooLarge(id(0), count: maximum + 1, maximum: maximum)
    ) { try session.clients[0].mask(input, delivery: crowded) }
    _ = try session.clients[0].mask(input, delivery: honest)
  }

  /// Guarded check: `sharersChanged` in `AggregationClient.confirm`: a neighbour that was alive in step 3
  /// cannot be said never to have shared, so that its mask key is not asked for.
  @Test func `neighbours that were alive cannot vanish afterwards`() throws {
    var (session, honest, dealt) = try delivered()
    let notice = try session.upload()
    let stranger = try #require(honest.opening.indices.first)
    for vanished in [dealt[0], stranger] {
      let all = session.everybody.filter { $0 != vanished }
      #expect(throws: AggregationError.sharersChanged) {
        try session.clients[0].confirm(SurvivorNotice(shared: all, uploaded: all))
      }
    }
    _ = try session.clients[0].confirm(notice)
  }
}
