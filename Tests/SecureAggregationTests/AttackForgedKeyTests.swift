import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 10: substituted and unsigned keys, small-order points, self-edges, duplicate identities, and
/// messages of wrong sizes, on both graphs: rejected with a typed error that names the peer.
/// `HostileMessageTests` damages messages at random; here is what each check is for.
struct AttackForgedKeyTests {
  private let victim = 0
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// Publishes other members under a root of their own, as a hostile server can before anybody shared.
  private func publish(_ session: inout Session, _ change: (inout [Advertisement]) throws -> Void) throws {
    var members = session.roster.members
    try change(&members)
    session.roster = Roster(
      members: members, root: Roster.root(of: members, sid: session.parameters.sessionID))
    session.coordinator.roster = session.roster
    session.coordinator.tree = RosterTree.tree(members)
  }

  private func sign(_ member: inout Advertisement, as index: Int, _ sid: Digest) {
    member.signature = Fixture.identities[index].sign(
      Advertisement.signedBytes(
        sid: sid, id: member.id, shareKey: member.shareKey,
        maskKey: member.maskKey, seedCommitment: member.seedCommitment))
  }

  /// Guarded check: `isSigned` in `AggregationClient.peers`, AggregationClient+Sharing.swift. Without it the
  /// server puts its own keys in everybody's name, opens the victim's shares and has both its secrets.
  @Test(arguments: attackedGraphs)
  func `a server's own keys in others' names do not open the victim's shares`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    var random = RandomStream(testSeed: 21)
    let serverKey = AgreementKey(using: &random)
    let secrets = try session.secrets(of: victim)
    try publish(&session) { members in
      for index in 1..<12 {
        members[index].shareKey = serverKey.publicKey
        members[index].maskKey = AgreementKey(using: &random).publicKey
      }
    }
    var stolen: Scalar?
    let error = refusal {
      let upload = try session.upload(of: victim)
      let schedule = session.clients[victim].schedule
      let key = try schedule.shareKey(
        of: serverKey, with: session.roster.members[victim].shareKey, peerID: id(victim))
      var shares: [Int: Scalar] = [:]
      for share in upload.shares {
        let plain = try AEAD.open(
          share.ciphertext, key: key,
          additionalData: schedule.shareAdditionalData(
            root: session.roster.root, sender: id(victim), recipient: id(share.recipient)))
        shares[share.recipient + 1] = try Scalar(canonical: Array(plain[32...]))
      }
      let xs = Array(shares.keys.sorted().prefix(session.parameters.threshold(cohort: 12)))
      stolen = LagrangeWeights(xs: xs).secret(of: xs.compactMap { shares[$0] })
    }
    let isStolen = stolen.map { $0.constantTimeEquals(secrets.seed) } ?? false
    #expect(!isStolen, "the server reads the victim's self-mask seed")
    guard case .badSignature(_, .advertise) = error else {
      Issue.record("refused for another reason: \(String(describing: error))")
      return
    }
  }

  /// Guarded check: `sent.advertisement` in `AggregationClient.share` (both graphs): with another key in its
  /// own name the others would seal shares, and make masks, for the server.
  @Test(arguments: attackedGraphs)
  func `another advertisement in its own name is refused`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try publish(&session) { $0[victim].seedCommitment = $0[1].seedCommitment }
    #expect(throws: AggregationError.ownAdvertisementSubstituted) { try session.upload(of: victim) }
  }

  /// Guarded check: `KeySchedule.agree` and `AgreementKey.sharedSecret`: with a point of small order
  /// everybody knows the shared secret, so the share could be opened and the pairwise mask computed.
  @Test(arguments: attackedGraphs, [true, false])
  func `signed points of small order are refused`(graph: NeighbourGraph, isMaskKey: Bool) throws {
    let points = [
      String(repeating: "00", count: 32),
      "01" + String(repeating: "00", count: 31),
      "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
      "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ]
    for point in points {
      let key = try AgreementPublicKey(#require(Hex.decode(point)))
      var session = try Session.attacked(graph)
      let sid = session.parameters.sessionID
      // Everybody but the victim signs it, so that the victim draws one in any case.
      try publish(&session) { members in
        for index in 1..<12 {
          if isMaskKey { members[index].maskKey = key } else { members[index].shareKey = key }
          sign(&members[index], as: index, sid)
        }
      }
      let error = refusal {
        _ = try session.upload(of: victim)
        guard isMaskKey else { return }
        // Evidence by the others, who collude, and no shares from strangers.
        var delivery = ShareDelivery(evidence: [], shares: [])
        guard case .shared(_, let sharing) = session.clients[victim].state else { return }
        for index in ([victim] + sharing.cohort.dealt).sorted() {
          let bundle = index == victim ? sharing.bundleDigest : Hash.blake2b([UInt8(index)])
          delivery.evidence.append(
            ShareEvidence(
              index: index, bundleDigest: bundle,
              signature: Fixture.identities[index].sign(
                ShareUpload.signedBytes(
                  sid: session.parameters.sessionID, root: session.roster.root, id: id(index),
                  bundle: bundle))))
          guard index != victim, graph == .complete else { continue }
          let peer = try #require(sharing.peers[index])
          var random = RandomStream(testSeed: UInt64(index))
          delivery.shares.append(
            DeliveredShare(
              sender: index,
              ciphertext: AEAD.seal(
                Scalar(1).exportBytes() + Scalar(2).exportBytes(), key: peer.shareKey,
                additionalData: session.clients[victim].schedule.shareAdditionalData(
                  root: session.roster.root, sender: id(index), recipient: id(victim)),
                using: &random)))
        }
        _ = try session.clients[victim].mask(session.ring(victim), delivery: delivery)
      }
      guard case .unusableKey(let culprit) = error else {
        Issue.record("\(point) was accepted: \(String(describing: error))")
        continue
      }
      #expect(culprit != id(victim))
    }
  }

  /// Guarded check: `isUsable` in `AggregationCoordinator.receive(_: Advertisement)`: one such key would make
  /// every honest participant leave.
  @Test(arguments: attackedGraphs, [true, false])
  func `a coordinator refuses points of small order and repeated keys`(
    graph: NeighbourGraph, isMaskKey: Bool
  ) throws {
    let session = try Session.attacked(graph)
    var coordinator = AggregationCoordinator(
      parameters: session.parameters, graphPolicy: .unchecked, isEnrolled: Fixture.isEnrolled)
    try coordinator.receive(session.roster.members[0])
    let zero = try AgreementPublicKey([UInt8](repeating: 0, count: 32))
    for key in [zero, session.roster.members[0].shareKey, session.roster.members[0].maskKey] {
      var bad = session.roster.members[4]
      if isMaskKey { bad.maskKey = key } else { bad.shareKey = key }
      sign(&bad, as: 4, session.parameters.sessionID)
      #expect(throws: AggregationError.unusableKey(id(4))) { try coordinator.receive(bad) }
    }
  }

  /// Another encoding of a key: the same point with 2^255 added, or an unreduced one.
  private func disguises(of key: AgreementPublicKey) throws -> [AgreementPublicKey] {
    [
      AgreementPublicKey(unchecked: key.bytes.dropLast() + [key.bytes[31] | 0x80]),
      try AgreementPublicKey(hex: VectorsNegativeCases.unreducedBasePoint),
    ]
  }

  /// Guarded check: `isCanonical` in `AggregationCoordinator.isUsable` and `AggregationClient.peers`. Without
  /// it a participant's keys pass for somebody else's if one bit is set that X25519 ignores.
  @Test(arguments: attackedGraphs, [true, false])
  func `other encodings of a participant's keys are refused`(graph: NeighbourGraph, isMaskKey: Bool) throws {
    let honest = try Session.attacked(graph)
    let sid = honest.parameters.sessionID
    let own = honest.roster.members[victim]
    for key in try disguises(of: isMaskKey ? own.maskKey : own.shareKey) {
      var session = honest
      try publish(&session) { members in
        for index in 1..<12 {
          if isMaskKey { members[index].maskKey = key } else { members[index].shareKey = key }
          sign(&members[index], as: index, sid)
        }
      }
      let error = refusal { _ = try session.upload(of: victim) }
      guard case .unusableKey(let culprit) = error else {
        Issue.record("another encoding was accepted: \(String(describing: error))")
        continue
      }
      #expect(culprit != id(victim))
      var coordinator = AggregationCoordinator(
        parameters: honest.parameters, graphPolicy: .unchecked, isEnrolled: Fixture.isEnrolled)
      try coordinator.receive(own)
      #expect(throws: AggregationError.unusableKey(id(4))) {
        try coordinator.receive(session.roster.members[4])
      }
    }
  }

  /// Guarded check: own keys in `AggregationClient.peers`: a pair of the victim with itself has a mask that
  /// the reflecting participant need not know to remove, and a seal that opens what the victim sealed.
  @Test(arguments: attackedGraphs, [true, false])
  func `the victim's own keys in others' names are refused`(graph: NeighbourGraph, isMaskKey: Bool) throws {
    var session = try Session.attacked(graph)
    let own = session.roster.members[victim]
    let sid = session.parameters.sessionID
    try publish(&session) { members in
      for index in 1..<12 {
        if isMaskKey { members[index].maskKey = own.maskKey } else { members[index].shareKey = own.shareKey }
        sign(&members[index], as: index, sid)
      }
    }
    let error = refusal { _ = try session.upload(of: victim) }
    guard case .unusableKey = error else {
      Issue.record("a reflected key was accepted: \(String(describing: error))")
      return
    }
  }

  /// Guarded check: the order of identities in `AggregationClient.check(ids:isEnrolled:)`: somebody listed
  /// twice has two shares of everybody and two votes.
  @Test(arguments: attackedGraphs)
  func `duplicate and unsorted identities are refused`(graph: NeighbourGraph) throws {
    for (error, change) in [
      (AggregationError.duplicateParticipant(id(3)), { (m: inout [Advertisement]) in m.insert(m[3], at: 3) }),
      (.rosterNotSorted(id(4)), { $0.swapAt(4, 5) }),
      (.ownAdvertisementMissing, { $0.remove(at: 0) }),
    ] {
      var session = try Session.attacked(graph)
      try publish(&session, change)
      #expect(throws: error) { try session.upload(of: victim) }
    }
  }

  /// Guarded checks: order, self-address, count and sizes in `AggregationCoordinator.checkIndices` and
  /// `receive(_: ShareUpload)`: a self-edge is a mask that never cancels, a share for a stranger traps.
  @Test(arguments: attackedGraphs)
  func `shares for oneself, for nobody, twice or of a wrong size are refused`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    let honest = try session.upload(of: 1)
    let cases: [(AggregationError.Defect, (inout ShareUpload) -> Void)] = [
      (
        .selfAddressed,
        { upload in
          upload.shares[0].recipient = 1
          upload.shares.sort { $0.recipient < $1.recipient }
          if let twice = upload.shares.firstIndex(where: { $0.recipient == 1 }) {
            upload.shares.swapAt(
              twice, upload.shares.indices.last { upload.shares[$0].recipient <= 1 } ?? twice)
          }
        }
      ),
      (.indexOutOfRange, { $0.shares[$0.shares.count - 1].recipient = 12 }),
      (.indexOutOfRange, { $0.shares[0].recipient = -1 }),
      (.indexOutOfRange, { $0.shares[0].recipient = .min }),
      (.notAscending, { $0.shares.append($0.shares[2]) }),
      (.notAscending, { $0.shares.swapAt(0, 1) }),
      (.wrongEntries, { $0.shares.removeLast() }),
      (.wrongEntries, { $0.shares = [] }),
      (.wrongSize, { $0.shares[1].ciphertext.removeLast() }),
      (.wrongSize, { $0.shares[1].ciphertext.append(0) }),
      (.wrongSize, { $0.shares[1].ciphertext = [] }),
    ]
    for (defect, change) in cases {
      var upload = honest
      change(&upload)
      upload.signature = Fixture.identities[1].sign(
        ShareUpload.signedBytes(
          sid: session.parameters.sessionID, root: upload.root, id: id(1),
          bundle: ShareUpload.bundleDigest(of: upload.shares)))
      #expect(throws: AggregationError.malformed(id(1), .share, defect)) {
        try session.coordinator.receive(upload)
      }
    }
    try session.coordinator.receive(honest)
  }

  /// Guarded check: `Scalar(canonical:)` in `AggregationClient.openShares` and
  /// `AggregationCoordinator.checked`: other encodings of one share would make two different messages of it.
  @Test(arguments: attackedGraphs)
  func `shares that are no canonical scalars are refused with the dealer's name`(graph: NeighbourGraph) throws
  {
    let order = try #require(
      Hex.decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"))
    for half in 0...1 {
      var session = try Session.attacked(graph)
      let forged = try session.tamperedUpload(of: 2) { _, plain in
        half == 0 ? order + plain[32...] : plain[..<32] + order
      }
      for index in session.everybody where index != 2 {
        try session.coordinator.receive(session.upload(of: index))
      }
      try session.coordinator.receive(forged)
      try session.closeSharing()
      let holder = try #require(session.holders(of: 2).first)
      #expect(throws: AggregationError.malformed(id(2), .share, .nonCanonicalScalar)) {
        try session.masked(holder)
      }
    }
    var session = try Session.attacked(graph)
    try session.share()
    let quorum = try session.confirm(session.upload())
    for bytes in [order, [UInt8](repeating: 0xFF, count: 32)] {
      var message = try session.clients[3].reveal(quorum)
      message.seedShares[0].bytes = bytes
      #expect(throws: AggregationError.malformed(id(3), .unmask, .nonCanonicalScalar)) {
        try session.coordinator.receive(message)
      }
    }
  }
}
