import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Testing

/// A node with its log, mirror, vault and gate.
private struct Node {
  let fixture: Fixture
  let ledger: LedgerStore
  let mirror: LedgerMirror
  let vault: SubjectVault
  let gate: ConsentGate
  let digest: Digest

  init(policy: Policy = Fixture.policy()) throws {
    fixture = try Fixture()
    digest = Hash.sha256(policy.canonicalBytes)
    ledger = try fixture.open()
    _ = try ledger.append(fixture.beginning(policy), nowMs: startMs)
    mirror = try fixture.mirror()
    vault = try fixture.vault()
    gate = ConsentGate(
      mirror: mirror, vault: vault, recorder: fixture.store.verifyingKey, random: RandomStream(testSeed: 3))
  }

  func say(_ state: ConsentState, _ subject: String, purpose: Purpose = purpose, expires: Int64? = nil) throws
  {
    let tag = try vault.tag(for: subject, create: true)
    let event = try fixture.event(state, of: tag, purpose: purpose, expires: expires, policy: digest)
    _ = try ledger.append([fixture.consent(event)], nowMs: startMs)
  }

  func batch(
    _ subjects: [String], regime: Regime = .optIn, nowMs: Int64 = startMs
  ) throws -> GatedBatch<Int> {
    try gate.batch(
      candidates: subjects.enumerated().map { ($1, $0) }, purpose: purpose, regime: regime, nowMs: nowMs)
  }
}

@Suite struct GateTests {
  @Test func `nothing is permitted while the copy of the log lacks what was acknowledged`() async throws {
    let node = try Node()
    try node.say(.given, "agreed")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    #expect(try node.batch(["agreed"]).subjects.count == 1)
    try node.say(.withdrawn, "agreed")
    let root = node.ledger.root
    try node.vault.noteAcknowledged(treeSize: node.ledger.size, root: root)
    // A smaller receipt that arrives late changes nothing.
    try node.vault.noteAcknowledged(treeSize: 1, root: Hash.sha256([1]))
    #expect(
      throws: LedgerError.behindReceipt(acknowledged: node.ledger.size, verified: node.mirror.size)
    ) { try node.batch(["agreed"]) }
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    #expect(try node.batch(["agreed"]).subjects.isEmpty)
  }

  @Test func `nothing is permitted while the copy of the log is not the one of the receipts`() async throws {
    let node = try Node()
    try node.say(.given, "agreed")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    try node.vault.noteAcknowledged(treeSize: node.ledger.size, root: node.ledger.root)
    #expect(try node.batch(["agreed"]).subjects.count == 1)
    // A receipt of another log that had as many entries when it acknowledged, and fewer than this copy has now.
    let size = node.ledger.size
    try node.say(.given, "another")
    try node.vault.noteAcknowledged(treeSize: size + 1, root: Hash.sha256([7]))
    try node.say(.given, "one more")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    #expect(throws: LedgerError.forked(size: size + 1)) { try node.batch(["agreed"]) }
  }

  @Test func `another store can deny for this one's customers but not consent for them`() async throws {
    let node = try Node()
    var random = RandomStream(testSeed: 99)
    let other = SigningKey(using: &random)
    _ = try node.ledger.append(
      [node.fixture.sign(node.fixture.enrolment(other, name: "store-2"), by: node.fixture.operatorKey)],
      nowMs: startMs)
    func foreign(_ state: ConsentState, _ subject: String) throws {
      let tag = try #require(try node.vault.tag(for: subject, create: true))
      _ = try node.ledger.append(
        [node.fixture.consent(try node.fixture.event(state, of: tag), by: other)], nowMs: startMs)
    }
    try foreign(.given, "never asked")
    try node.say(.given, "withdrew")
    try node.say(.withdrawn, "withdrew")
    try foreign(.given, "withdrew")
    try node.say(.given, "withdrew elsewhere")
    try foreign(.withdrawn, "withdrew elsewhere")
    try node.say(.given, "agreed")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let batch = try node.batch(["never asked", "withdrew", "withdrew elsewhere", "agreed"])
    #expect(batch.subjects.map(\.subjectID) == ["agreed"])
  }

  @Test func `only customers who permit the purpose now are in a batch`() async throws {
    let other = Purpose(id: "pricing", version: 1)
    let node = try Node(policy: Fixture.policy(purposes: [purpose, other]))
    try node.say(.given, "agreed")
    try node.say(.given, "withdrawn")
    try node.say(.withdrawn, "withdrawn")
    try node.say(.refused, "refused")
    try node.say(.requested, "unanswered")
    try node.say(.given, "expired", expires: startMs + 1)
    try node.say(.given, "other purpose", purpose: other)
    try node.say(.given, "erased")
    try node.say(.erased, "erased", purpose: .every)
    _ = try node.vault.tag(for: "silent", create: true)
    try node.say(.withdrawn, "came back")
    try node.say(.given, "came back")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let all = [
      "agreed", "withdrawn", "refused", "unanswered", "expired", "other purpose", "erased",
      "silent", "came back", "unknown", "agreed",
    ]
    let batch = try node.batch(all, nowMs: startMs + 5000)
    #expect(batch.subjects.map(\.subjectID) == ["agreed", "came back"])
    #expect(batch.subjects.map(\.records) == [[0, 10], [8]])
    #expect(batch.checkpoint == node.mirror.checkpoint && batch.checkpointAgeSeconds == 5)
  }

  @Test func `silence permits only under an opt-out that both the policy and the caller name`() async throws {
    var policy = Fixture.policy()
    policy.establishment = "US-CA"
    let node = try Node(policy: policy)
    func say(_ state: ConsentState, _ subject: String) throws {
      let tag = try node.vault.tag(for: subject, create: true)
      var event = try node.fixture.event(state, of: tag, policy: node.digest)
      event.regime = .optOut
      event.jurisdiction = "US-CA"
      event.legalBasis = "us-ca:opt-out"
      _ = try node.ledger.append([node.fixture.consent(event)], nowMs: startMs)
    }
    try say(.optedOut, "opted out")
    try say(.globalPrivacyControl, "signal")
    try say(.requested, "asked")
    try say(.given, "agreed")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let all = ["opted out", "signal", "asked", "agreed"]
    #expect(try node.batch(all, regime: .optOut).subjects.map(\.subjectID) == ["asked", "agreed"])
    #expect(try node.batch(all, regime: .optIn).subjects.map(\.subjectID) == ["agreed"])
  }

  @Test func `a withdrawn customer is absent from every later round`() async throws {
    let node = try Node()
    let names = (0..<20).map { "customer \($0)" }
    for name in names { try node.say(.given, name) }
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    var now = startMs
    let before = try node.batch(names, nowMs: now)
    #expect(before.subjects.count == 20)
    try node.say(.withdrawn, "customer 7")
    for _ in 0..<5 {
      now += 10_000
      try await node.ledger.advance(node.mirror, nowMs: now)
      let batch = try node.batch(names, nowMs: now)
      #expect(batch.subjects.map(\.subjectID) == names.filter { $0 != "customer 7" })
      #expect(try node.gate.recheck(batch, nowMs: now).isEmpty)
    }
    #expect(try node.gate.recheck(before, nowMs: now) == ["customer 7"])
  }

  @Test func `an old or missing checkpoint means no batch at all`() async throws {
    let node = try Node()
    try node.say(.given, "a")
    #expect(throws: LedgerError.noPolicy) { try node.batch(["a"]) }
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let batch = try node.batch(["a"], nowMs: startMs + 60_000)
    #expect(batch.subjects.count == 1)
    #expect(throws: LedgerError.staleCheckpoint(ageSeconds: 61, maximumSeconds: 60)) {
      try node.batch(["a"], nowMs: startMs + 61_000)
    }
    #expect(throws: LedgerError.staleCheckpoint(ageSeconds: 61, maximumSeconds: 60)) {
      try node.gate.recheck(batch, nowMs: startMs + 61_000)
    }
  }

  @Test func `a grant that runs out during a round is found before the upload`() async throws {
    let node = try Node()
    try node.say(.given, "a", expires: startMs + 30_000)
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let batch = try node.batch(["a"], nowMs: startMs + 29_000)
    #expect(try node.gate.recheck(batch, nowMs: startMs + 29_999).isEmpty)
    #expect(try node.gate.recheck(batch, nowMs: startMs + 30_000) == ["a"])
  }

  @Test func `the evidence opens for one customer and shows no other`() async throws {
    let node = try Node()
    for name in ["a", "b", "c"] { try node.say(.given, name) }
    try node.say(.withdrawn, "b")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let batch = try node.batch(["a", "b", "c"])
    for (name, reason, index) in [
      ("a", ConsentDecision.Reason.granted, LeafIndex(5)), ("b", .withdrawn, 8), ("c", .granted, 7),
    ] {
      let tag = try #require(try node.vault.tag(for: name, create: false))
      let opening = try #require(batch.evidence.opening(for: tag))
      try opening.verify(root: batch.evidenceRoot)
      #expect(opening.item.decision.reason == reason && opening.item.decision.decidedBy == index)
      #expect(throws: MerkleLogError.self) { try opening.verify(root: MerkleTree.emptyRoot) }
    }
    // The same decisions under another salt give another root: the root tells nothing by itself.
    #expect(try node.batch(["a", "b", "c"]).evidenceRoot != batch.evidenceRoot)
    #expect(batch.evidence.opening(for: try SubjectTag([UInt8](repeating: 0, count: 32))) == nil)
  }
}
