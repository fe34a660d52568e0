import Cryptography
import Testing

@testable import SecureAggregation

/// The sampled quorum: participants of a large cohort check the signatures of signers that they choose. A
/// claim that lacks a true quorum must not pass, or two survivor lists could each have one.
struct SparseQuorumTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// A cohort that confirmed one list, all but the last of which uploaded.
  private func confirmed(_ n: Int = 12) throws -> (Session, SurvivorNotice, [Int: ConsistencySignature]) {
    let graph = NeighbourGraph.sparse(degree: n > 12 ? 20 : 8, threshold: n > 12 ? 11 : 5)
    var session = try Session.attacked(graph, n: n)
    try session.share()
    let notice = try session.upload(Array(0..<(n - 1)))
    for index in notice.uploaded { _ = try session.clients[index].confirm(notice) }
    return (session, notice, session.signatures(on: notice, of: notice.uploaded))
  }

  /// Guarded checks: each guard of `AggregationClient.challenge`, AggregationClient+Unmasking.swift.
  @Test func `claims that are too small, of strangers or malformed are refused`() throws {
    let (session, _, _) = try confirmed()
    let cases: [([Int], AggregationError)] = [
      ([0, 1, 2, 3, 4, 5], .quorumTooSmall(count: 6, needed: 7)),
      ([], .quorumTooSmall(count: 0, needed: 7)),
      (Array(0..<12), .unknownParticipant(id(11), .confirm)),
      ([0, 1, 2, 3, 4, 5, 5], .malformedList(.unmask, .notAscending)),
      ([6, 5, 4, 3, 2, 1, 0], .malformedList(.unmask, .notAscending)),
      ([0, 1, 2, 3, 4, 5, 12], .malformedList(.unmask, .indexOutOfRange)),
      ([-1, 1, 2, 3, 4, 5, 6], .malformedList(.unmask, .indexOutOfRange)),
    ]
    let top = Hash.blake2b([])
    let seven = QuorumClaim(signers: Array(0..<7), top: top)
    for (signers, error) in cases {
      var client = session.clients[0]
      #expect(throws: error) { try client.challenge(QuorumClaim(signers: signers, top: top)) }
      #expect(try client.challenge(seven).count == 7)
    }
    var client = session.clients[0]
    #expect(throws: AggregationError.malformedList(.unmask, .wrongSize)) {
      try client.challenge(QuorumClaim(signers: seven.signers, top: Digest(unchecked: [])))
    }
    var early = try Session.attacked(Fixture.smallGraph)
    #expect(throws: AggregationError.wrongStep(called: .unmask, current: .share)) {
      try early.clients[0].challenge(seven)
    }
  }

  /// Guarded check: `sent.challenge` in `AggregationClient.challenge`: a server that could claim anew would
  /// do so until the sample misses what it lacks.
  @Test func `the sample is drawn once for one claim`() throws {
    var (session, _, signatures) = try confirmed(60)
    let claim = QuorumClaim(committingTo: signatures)
    let sample = try session.clients[0].challenge(claim)
    #expect(sample.count < claim.signers.count && sample.count > 20)
    var samples: Set<[Int]> = [sample]
    for removed in 0..<20 {
      var other = claim
      other.signers.remove(at: removed)
      let error = refusal { samples.insert(try session.clients[0].challenge(other)) }
      #expect(error == .conflictingRetry(.unmask))
    }
    let error = refusal {
      samples.insert(
        try session.clients[0].challenge(QuorumClaim(signers: claim.signers, top: Hash.blake2b([]))))
    }
    #expect(error == .conflictingRetry(.unmask))
    samples.insert(try session.clients[0].challenge(claim))
    #expect(samples.count == 1, "the server obtained \(samples.count) samples to choose from")
    #expect(try session.clients[1].challenge(claim) != sample)
  }

  /// Guarded checks: every guard of `AggregationClient.check(_:answers:cohort:)`, and every signature in
  /// `AggregationClient.check(_:notice:cohort:)`, AggregationClient+Unmasking.swift.
  @Test func `an answer that is not exactly the challenged signatures is refused`() throws {
    let (session, _, signatures) = try confirmed(60)
    var client = session.clients[0]
    let sample = try client.challenge(QuorumClaim(committingTo: signatures))
    let answer = Quorum(of: sample, from: signatures)
    let other = SurvivorNotice(shared: session.everybody, uploaded: session.everybody)
    let substitute = try #require(
      signatures.keys.sorted().first { !sample.contains($0) }.flatMap { signatures[$0] })
    func attempt(_ error: AggregationError, _ change: (inout Quorum) -> Void) {
      var changed = answer
      change(&changed)
      #expect(throws: error) { try client.reveal(changed) }
    }
    for position in [0, sample.count / 2, sample.count - 1] {
      let signer = answer.signatures[position].id
      attempt(.unknownParticipant(signer, .unmask)) { $0.signatures.remove(at: position) }
      // Another signer's genuine signature is no substitute.
      attempt(.unknownParticipant(signer, .unmask)) { $0.signatures[position] = substitute }
      attempt(.quorumNotCommitted) {
        $0.signatures[position] = session.signature(of: sample[position], on: other)
      }
      attempt(.malformedList(.unmask, .wrongSize)) {
        $0.signatures[position].signature = Signature(unchecked: [1])
      }
      attempt(.duplicateParticipant(signer)) { $0.signatures.append($0.signatures[position]) }
    }
    attempt(.unknownParticipant(id(sample[0]), .unmask)) { $0.signatures.swapAt(0, 1) }
    attempt(.unknownParticipant(id(sample[0]), .unmask)) { $0.signatures = [] }
    attempt(.unknownParticipant(id(59), .confirm)) {
      $0.signatures.append(session.signature(of: 59, on: other))
    }
    attempt(.malformedList(.unmask, .wrongEntries)) { $0.signatures.append(substitute) }
    attempt(.malformedList(.unmask, .wrongEntries)) { quorum in
      // With a right proof.
      let more = (sample + signatures.keys.filter { signatures[$0] == substitute }).sorted()
      quorum.signatures.append(substitute)
      quorum.hashes = Quorum(of: more, from: signatures).hashes
    }
    for position in answer.hashes.indices {
      attempt(.quorumNotCommitted) { $0.hashes.remove(at: position) }
      attempt(.quorumNotCommitted) { $0.hashes[position] = Hash.blake2b([]) }
    }
    attempt(.quorumNotCommitted) { $0.hashes.append(Hash.blake2b([])) }
    _ = try client.reveal(answer)
  }

  /// Guarded check: the signatures in `AggregationClient.check(_:notice:cohort:)`: a server may commit to
  /// anything.
  @Test func `a committed signature that is not genuine is refused`() throws {
    let (session, _, signatures) = try confirmed(60)
    let other = SurvivorNotice(shared: session.everybody, uploaded: session.everybody)
    var probe = session.clients[0]
    let sample = try probe.challenge(QuorumClaim(committingTo: signatures))
    for signer in [sample[0], sample[sample.count / 2], sample[sample.count - 1]] {
      for forged in [session.signature(of: signer, on: other).signature, Fixture.identities[59].sign([])] {
        var committed = signatures
        committed[signer]?.signature = forged
        var client = session.clients[0]
        #expect(try client.challenge(QuorumClaim(committingTo: committed)) == sample)
        #expect(throws: AggregationError.badSignature(id(signer), .confirm)) {
          try client.reveal(Quorum(of: sample, from: committed))
        }
      }
    }
  }

  /// Guarded checks: signer and signature in `QuorumTree.leaf`, Messages.swift: a leaf cannot stand for
  /// another signer's, nor for one of the roster.
  @Test func `the commitment binds every signer, signature and place`() throws {
    let (_, _, signatures) = try confirmed(60)
    let ordered = signatures.sorted { $0.key < $1.key }
    let (signers, bytes) = (ordered.map(\.key), ordered.map(\.value.signature))
    var tops = [QuorumTree.tree(signers: signers, signatures: bytes).top]
    for position in [0, 17, signers.count - 1] {
      var other = signers
      other[position] += 100
      tops.append(QuorumTree.tree(signers: other, signatures: bytes).top)
      var forged = bytes
      forged[position] = Signature(unchecked: [UInt8](repeating: 0, count: 64))
      tops.append(QuorumTree.tree(signers: signers, signatures: forged).top)
    }
    var swapped = bytes
    swapped.swapAt(3, 4)
    tops.append(QuorumTree.tree(signers: signers, signatures: swapped).top)
    tops.append(QuorumTree.tree(signers: signers.dropLast(), signatures: bytes.dropLast()).top)
    #expect(Set(tops).count == tops.count)
  }

  /// Guarded check: `QuorumSample.size`, AggregationClient+Unmasking.swift. A server has all genuine
  /// signatures but one of a quorum and claims everybody's; nobody may reveal anything.
  @Test func `a claim of all with one genuine signature too few passes nobody`() throws {
    var (session, notice, signatures) = try confirmed(60)
    let needed = session.parameters.quorum(60)
    for index in notice.uploaded.dropFirst(needed - 1) {
      signatures[index]?.signature = Fixture.identities[index].sign([])
    }
    var spy = Spy(session)
    var refused = 0
    for index in notice.uploaded {
      do { try spy.note(session.provoke(index, signatures), from: index) } catch { refused += 1 }
    }
    #expect(refused == notice.uploaded.count)
    #expect(spy.seedShares.isEmpty && spy.keyShares.isEmpty)
  }

  /// Guarded check: `AggregationCoordinator.quorum(of:for:)`, AggregationCoordinator.swift.
  @Test func `a coordinator answers survivors with what they asked for`() throws {
    var (session, notice, _) = try confirmed()
    #expect(session.coordinator.quorumClaim == nil)
    #expect(throws: AggregationError.wrongStep(called: .unmask, current: .confirm)) {
      try session.coordinator.quorum(of: [0], for: id(0))
    }
    let quorum = try session.confirm(notice, Array(0..<9))
    #expect(session.coordinator.quorumClaim?.signers == Array(0..<9))
    let answer = try session.coordinator.quorum(of: [1, 4], for: id(10))
    #expect(answer.signatures == [quorum.signatures[1], quorum.signatures[4]])
    let signatures = Dictionary(uniqueKeysWithValues: zip(0..<9, quorum.signatures))
    #expect(session.coordinator.quorumClaim == QuorumClaim(committingTo: signatures))
    #expect(answer == Quorum(of: [1, 4], from: signatures))
    #expect(!answer.hashes.isEmpty && quorum.hashes.isEmpty)
    let cases: [([Int], Int, AggregationError)] = [
      ([0, 9], 0, .malformed(id(0), .unmask, .wrongEntries)),
      ([-1], 0, .malformed(id(0), .unmask, .wrongEntries)),
      ([3, 1], 0, .malformed(id(0), .unmask, .notAscending)),
      ([1], 11, .unknownParticipant(id(11), .unmask)),
      ([1], 30, .unknownParticipant(id(30), .unmask)),
    ]
    for (signers, sender, error) in cases {
      #expect(throws: error) { try session.coordinator.quorum(of: signers, for: id(sender)) }
    }
  }

  // MARK: The size of the sample

  /// A natural number of any size, in limbs of 32 bits.
  private struct Natural: Comparable {
    private(set) var limbs: [UInt32] = [1]

    mutating func multiply(by factor: Int) {
      var carry: UInt64 = 0
      for index in limbs.indices {
        carry += UInt64(limbs[index]) * UInt64(factor)
        limbs[index] = UInt32(truncatingIfNeeded: carry)
        carry >>= 32
      }
      if carry > 0 { limbs.append(UInt32(carry)) }
    }

    static func < (a: Natural, b: Natural) -> Bool {
      a.limbs.count != b.limbs.count
        ? a.limbs.count < b.limbs.count : a.limbs.reversed().lexicographicallyPrecedes(b.limbs.reversed())
    }
  }

  /// Whether C(q-1, m) / C(c, m), the probability that m draws without replacement from c signers of which
  /// q-1 are genuine are all genuine, is at most 2^-41/n; in whole numbers.
  private func passesRarely(sample: Int, claimed: Int, quorum: Int, cohort: Int) -> Bool {
    guard sample < quorum else { return true }
    var genuine = Natural()
    var all = Natural()
    for draw in 0..<sample {
      genuine.multiply(by: quorum - 1 - draw)
      all.multiply(by: claimed - draw)
    }
    genuine.multiply(by: cohort)
    genuine.multiply(by: 1 << 21)
    genuine.multiply(by: 1 << 20)
    return genuine <= all
  }

  /// Guarded check: `QuorumSample.size` against the hypergeometric law in whole numbers: large enough, and
  /// no larger than needed.
  @Test(arguments: [9, 10, 30, 60, 100, 200, 500, 1_000, 10_000])
  func `a claim with one signature too few passes with the allowed probability at most`(n: Int) {
    let quorum = (n + n / 10) / 2 + 1
    var wrong: [String] = []
    let step = max(1, (n - quorum) / 12)
    for claimed in Array(stride(from: quorum, through: n, by: step)) + [n] {
      let size = QuorumSample.size(claimed: claimed, quorum: quorum, cohort: n)
      if size > claimed { wrong.append("\(size) of \(claimed)") }
      if !passesRarely(sample: size, claimed: claimed, quorum: quorum, cohort: n) {
        wrong.append("\(size) of \(claimed) are too few")
      }
      // Whole claims of thousands are left out: the arithmetic takes longer than they are worth.
      if size < 1_000, passesRarely(sample: size - 1, claimed: claimed, quorum: quorum, cohort: n) {
        wrong.append("\(size) of \(claimed) are more than needed")
      }
    }
    #expect(wrong.isEmpty, "\(wrong)")
    // A claim of no more than the quorum is checked whole.
    if n < 1_000 { #expect(QuorumSample.size(claimed: quorum, quorum: quorum, cohort: n) == quorum) }
  }

  /// Guarded check: `UniformSample.draw`: every signer, and every neighbour, is drawn equally often, and
  /// pairs are as frequent as chance makes them.
  @Test func `samples are uniform`() {
    var random = RandomStream(testSeed: 77)
    let (draws, size, population) = (20_000, 6, 15)
    var counts = [Int](repeating: 0, count: population)
    var together = 0
    for _ in 0..<draws {
      let sample = UniformSample.draw(size, of: population, using: &random)
      for index in sample { counts[index] += 1 }
      if sample.contains(3), sample.contains(14) { together += 1 }
    }
    // Mean 8,000, standard deviation 69; pairs: mean 2,857, standard deviation 49.
    #expect(counts.allSatisfy { abs($0 - 8_000) < 5 * 69 })
    #expect(abs(together - 2_857) < 5 * 49)
    #expect(UniformSample.draw(15, of: 15, using: &random) == Array(0..<15))
    #expect(UniformSample.draw(0, of: 15, using: &random).isEmpty)
  }
}
