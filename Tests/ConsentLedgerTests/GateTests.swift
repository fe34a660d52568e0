import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Testing

/// A node with its log, mirror, vault and gate.
private struct Node {
  let fixture: Fixture
  let ledger: LedgerStore
  let mirror: LedgerMirror
  let vault: SubjectVault
  let gate: ConsentGate

  init() throws {
    fixture = try Fixture()
    ledger = try fixture.open()
    mirror = try fixture.mirror()
    vault = try fixture.vault()
    gate = ConsentGate(
      mirror: mirror, vault: vault, recorder: fixture.store.verifyingKey, random: RandomStream(testSeed: 3))
    _ = try ledger.append([fixture.enrolment()], nowMs: startMs)
  }

  func say(_ state: ConsentState, _ subject: String, purpose: Purpose = purpose, expires: Int64? = nil) throws
  {
    let tag = try vault.tag(for: subject, create: true)
    let event = try fixture.event(state, of: tag, purpose: purpose, expires: expires)
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
    try node.vault.noteAcknowledged(treeSize: node.ledger.size)
    // A smaller receipt that arrives late changes nothing.
    try node.vault.noteAcknowledged(treeSize: 1)
    #expect(
      throws: LedgerError.behindReceipt(acknowledged: node.ledger.size, verified: node.mirror.size)
    ) { try node.batch(["agreed"]) }
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    #expect(try node.batch(["agreed"]).subjects.isEmpty)
  }

  @Test func `another store can deny for this one's customers but not consent for them`() async throws {
    let node = try Node()
    var random = RandomStream(testSeed: 99)
    let other = SigningKey(using: &random)
    _ = try node.ledger.append([node.fixture.enrolment(other)], nowMs: startMs)
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
    let node = try Node()
    let other = Purpose(id: "pricing", version: 1)
    let later = Purpose(id: purpose.id, version: 2)
    try node.say(.given, "agreed")
    try node.say(.given, "withdrawn")
    try node.say(.withdrawn, "withdrawn")
    try node.say(.refused, "refused")
    try node.say(.requested, "unanswered")
    try node.say(.given, "expired", expires: startMs + 1)
    try node.say(.given, "other purpose", purpose: other)
    try node.say(.given, "other version", purpose: later)
    try node.say(.given, "erased")
    try node.say(.erased, "erased", purpose: .every)
    _ = try node.vault.tag(for: "silent", create: true)
    try node.say(.withdrawn, "came back")
    try node.say(.given, "came back")
    try await node.ledger.advance(node.mirror, nowMs: startMs)
    let all = [
      "agreed", "withdrawn", "refused", "unanswered", "expired", "other purpose", "other version", "erased",
      "silent", "came back", "unknown", "agreed",
    ]
    let batch = try node.batch(all, nowMs: startMs + 5000)
    #expect(batch.subjects.map(\.subjectID) == ["agreed", "came back"])
    #expect(batch.subjects.map(\.records) == [[0, 11], [9]])
    #expect(batch.checkpoint == node.mirror.checkpoint && batch.checkpointAgeSeconds == 5)
    // Opt-out: silence permits, whatever was refused still denies.
    let optOut = try node.batch(all, regime: .optOut, nowMs: startMs + 5000)
    #expect(
      Set(optOut.subjects.map(\.subjectID))
        == ["agreed", "unanswered", "other purpose", "other version", "silent", "came back", "unknown"])
    #expect(try node.batch(all, regime: .prohibited).subjects.isEmpty)
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
    #expect(throws: LedgerError.staleCheckpoint(ageSeconds: nil, maximumSeconds: 60)) {
      try node.batch(["a"])
    }
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
      ("a", ConsentDecision.Reason.granted, LeafIndex(1)), ("b", .withdrawn, 4), ("c", .granted, 3),
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

@Suite struct VaultTests {
  @Test func `a tag is stable, and nil for the unknown until created`() throws {
    let fixture = try Fixture()
    let vault = try fixture.vault()
    #expect(try vault.tag(for: "anna", create: false) == nil)
    let tag = try vault.tag(for: "anna", create: true)
    #expect(try vault.tag(for: "anna", create: true) == tag)
    let tags = try vault.tags(for: ["bert", "anna", "bert"], create: true)
    #expect(tags.count == 2 && tags["anna"] == tag && tags["bert"] != tag)
    #expect(try fixture.vault().tags(for: ["anna", "bert", "carl"], create: false) == tags)
    // Another vault gives the same person another tag.
    let other = try Fixture(seed: 2)
    #expect(try other.vault().tag(for: "anna", create: true) != tag)
  }

  @Test func `the files hold neither ids nor keys`() throws {
    let fixture = try Fixture()
    // The vault draws from this stream: first the nonce of the key check, then S of the first subject.
    var random = RandomStream(testSeed: 77)
    let vault = try SubjectVault.open(
      path: fixture.file("v.sqlite"),
      keyEncryptionKey: SecretBytes(copying: [UInt8](repeating: 6, count: 32)),
      random: random)
    let tag = try vault.tag(for: "anna.schmidt@example.org", create: true)
    _ = random.bytes(24)
    let secret = random.secret(32)
    #expect(try SubjectTag(Hash.blake2b(Array("tag".utf8), key: secret).bytes) == tag)
    let needles = [secret.exportBytes(), Array("anna.schmidt".utf8), [UInt8](repeating: 6, count: 32)]
    for name in try FileManager.default.contentsOfDirectory(atPath: fixture.path) {
      let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: fixture.file(name))))
      for needle in needles {
        #expect(Data(bytes).range(of: Data(needle)) == nil, "\(name)")
      }
    }
  }

  @Test func `another key file and a damaged row are told apart`() throws {
    let fixture = try Fixture()
    do { _ = try fixture.vault().tag(for: "anna", create: true) }
    let path = fixture.file("vault.sqlite")
    #expect(throws: LedgerError.wrongVaultKey(path: path)) {
      try SubjectVault.open(
        path: path, keyEncryptionKey: SecretBytes(copying: [UInt8](repeating: 9, count: 32)))
    }
    try damage(path)
    #expect(throws: LedgerError.damagedVault(path: path)) {
      try fixture.vault().tag(for: "anna", create: false)
    }
  }

  @Test func `knows the rounds of a customer, each once`() throws {
    let fixture = try Fixture()
    let vault = try fixture.vault()
    _ = try vault.tags(for: ["anna", "bert"], create: true)
    let (first, second) = (Hash.sha256([1]), Hash.sha256([2]))
    try vault.recordUse(sessionID: first, round: 1, subjects: ["anna", "bert", "unknown"], timeMs: 10)
    try vault.recordUse(sessionID: second, round: 2, subjects: ["anna"], timeMs: 20)
    try vault.recordUse(sessionID: second, round: 2, subjects: ["anna"], timeMs: 30)
    #expect(try vault.rounds(of: "anna").map(\.sessionID) == [first, second])
    #expect(try vault.rounds(of: "anna").map(\.timeMs) == [10, 20])
    #expect(try vault.rounds(of: "bert").map(\.round) == [1])
    #expect(try vault.rounds(of: "unknown").isEmpty)
  }
}

private func damage(_ path: String) throws {
  let queue = try DatabaseQueue(path: path)
  try queue.write { try $0.execute(sql: "UPDATE subject SET wrapped = zeroblob(72)") }
  try queue.close()
}
