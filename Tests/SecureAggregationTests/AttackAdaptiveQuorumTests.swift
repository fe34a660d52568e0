import Cryptography
import Testing

@testable import SecureAggregation

/// A server that adapts to the quorum samples: it claims everybody's signature, reads which ones are asked
/// for, and only then has these participants sign. A sample is far smaller than a quorum, so it could have
/// two survivor lists confirmed by different people, none of whom signs twice.
struct AttackAdaptiveQuorumTests {
  private static let n = 2_000
  private static let victim = 0
  private static let identities: [SigningKey] = {
    var random = RandomStream(testSeed: 41)
    return (0..<n).map { _ in SigningKey(using: &random) }.sorted { $0.verifyingKey < $1.verifyingKey }
  }()

  /// What the server puts where it has no signature yet.
  private static let placeholder = Signature(unchecked: [UInt8](repeating: 0, count: 64))

  /// Honest participants after masking, each of whom holds a share of the victim's two secrets.
  private struct Cohort {
    let parameters: AggregationParameters
    let root = Hash.blake2b([1])
    let ids = identities.map(\.verifyingKey)
    /// The two lists: with the victim, and without.
    let alive = SurvivorNotice(shared: Array(0..<n), uploaded: Array(0..<n))
    let dead = SurvivorNotice(shared: Array(0..<n), uploaded: Array(1..<n))
    private(set) var clients: [Int: AggregationClient] = [:]

    init() throws {
      parameters = try Fixture.parameters(graph: Fixture.smallGraph)
    }

    private func client(_ index: Int) -> AggregationClient {
      if let client = clients[index] { return client }
      var client = AggregationClient(
        parameters: parameters, identity: identities[index], random: RandomStream(testSeed: UInt64(index)),
        graphPolicy: .unchecked)
      let dealt = (1...8).map { (index + $0) % n }.sorted()
      client.state = .masked(
        AggregationClient.Holding(
          cohort: AggregationClient.Cohort(ids: ids, top: root, root: root, index: index, dealt: dealt),
          alive: dealt, shares: [victim: AggregationClient.HeldShares(maskKey: Scalar(1), seed: Scalar(2))]))
      return client
    }

    /// Lets the server talk to a participant.
    mutating func ask<Answer>(
      _ index: Int, _ call: (inout AggregationClient) throws -> Answer
    ) rethrows -> Answer {
      var client = client(index)
      defer { clients[index] = client }
      return try call(&client)
    }

    /// What a participant would be asked if the server claimed everybody on the list, without asking it.
    func foreseen(_ index: Int, _ notice: SurvivorNotice) throws -> [Int] {
      var copy = client(index)
      return try copy.challenge(QuorumClaim(committingTo: placeholders(notice)))
    }

    func placeholders(_ notice: SurvivorNotice) -> [Int: ConsistencySignature] {
      Dictionary(
        uniqueKeysWithValues: notice.uploaded.map {
          ($0, ConsistencySignature(id: ids[$0], signature: placeholder))
        })
    }
  }

  private struct Target {
    let index: Int
    let notice: SurvivorNotice
    var sample: [Int] = []
  }

  /// One participant of each list such that nobody is in both samples and no other target is in either.
  private func pair(_ alive: [Target], _ dead: [Target]) -> (Target, Target)? {
    let others = Set((alive + dead).map(\.index))
    for one in alive where others.isDisjoint(with: one.sample) {
      for other in dead where others.isDisjoint(with: other.sample) {
        if Set(one.sample).isDisjoint(with: other.sample) { return (one, other) }
      }
    }
    return nil
  }

  /// Ten participants confirm the list with the victim, ten the one without.
  private func targets(_ cohort: inout Cohort) throws -> (alive: [Target], dead: [Target]) {
    let alive = (101...110).map { Target(index: $0, notice: cohort.alive) }
    let dead = (111...120).map { Target(index: $0, notice: cohort.dead) }
    for target in alive + dead { try cohort.ask(target.index) { _ = try $0.confirm(target.notice) } }
    return (alive, dead)
  }

  /// Collects the signatures that a target asks for; nobody signs two lists.
  private func collect(_ target: Target, _ cohort: inout Cohort) throws -> [Int: ConsistencySignature] {
    var signatures: [Int: ConsistencySignature] = [:]
    for signer in target.sample {
      signatures[signer] = try cohort.ask(signer) { try $0.confirm(target.notice) }
    }
    return signatures
  }

  /// Guarded check: the claim's top in `AggregationClient.check(_:answers:cohort:)`,
  /// AggregationClient+Unmasking.swift.
  @Test func `signatures that were collected after the challenge are refused`() throws {
    var cohort = try Cohort()
    var (alive, dead) = try targets(&cohort)
    let aliveClaim = QuorumClaim(committingTo: cohort.placeholders(cohort.alive))
    let deadClaim = QuorumClaim(committingTo: cohort.placeholders(cohort.dead))
    for position in alive.indices {
      alive[position].sample = try cohort.ask(alive[position].index) { try $0.challenge(aliveClaim) }
      dead[position].sample = try cohort.ask(dead[position].index) { try $0.challenge(deadClaim) }
    }
    let (one, other) = try #require(pair(alive, dead))
    for target in [one, other] {
      #expect(target.sample.count < cohort.parameters.quorum(Self.n) / 10)
      let collected = try collect(target, &cohort)
      let committed = cohort.placeholders(target.notice)
      let late = committed.merging(collected) { _, new in new }
      // With the proof of what was claimed, that of what is shown, and none.
      var answers = [Quorum(of: target.sample, from: late)]
      answers.append(Quorum(signatures: answers[0].signatures))
      answers.append(
        Quorum(
          signatures: answers[0].signatures, hashes: Quorum(of: target.sample, from: committed).hashes))
      for answer in answers {
        let error = refusal { try cohort.ask(target.index) { _ = try $0.reveal(answer) } }
        #expect(error == .quorumNotCommitted, "shares were revealed for a list without a quorum")
      }
      // The whole claim instead of the sample is no answer either.
      let error = refusal { try cohort.ask(target.index) { _ = try $0.reveal(Quorum(of: [], from: late)) } }
      #expect(error == .unknownParticipant(cohort.ids[target.sample[0]], .unmask))
    }
  }

  /// What the attacker gains: a server that knew the samples before it commits reads shares of both of the
  /// victim's secrets, with 60 or so signatures on each list. All other checks pass.
  @Test func `a server that foresaw the samples would have two lists accepted`() throws {
    var cohort = try Cohort()
    var (alive, dead) = try targets(&cohort)
    for position in alive.indices {
      alive[position].sample = try cohort.foreseen(alive[position].index, cohort.alive)
      dead[position].sample = try cohort.foreseen(dead[position].index, cohort.dead)
    }
    let (one, other) = try #require(pair(alive, dead))
    var revealed: [UnmaskShares] = []
    for target in [one, other] {
      let signatures = try cohort.placeholders(target.notice).merging(collect(target, &cohort)) { $1 }
      try cohort.ask(target.index) { client in
        #expect(try client.challenge(QuorumClaim(committingTo: signatures)) == target.sample)
        revealed.append(try client.reveal(Quorum(of: target.sample, from: signatures)))
      }
    }
    #expect(revealed[0].seedShares.map(\.index) == [Self.victim])
    #expect(revealed[1].maskKeyShares.map(\.index) == [Self.victim])
  }
}
