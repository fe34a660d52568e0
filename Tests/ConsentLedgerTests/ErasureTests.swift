import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Testing

@testable import ConsentLedger

/// A vault with many customers beside a log, and everything that must not be left of one of them.
private final class Scene {
  static let customer = "anna.schmidt@example.org"
  static let startMs: Int64 = 1_790_000_000_000
  static let session = Hash.sha256([1])

  let fixture: VaultFixture
  let ledger: LedgerStore
  let vault: SubjectVault
  let store: SigningKey
  let tag: SubjectTag
  /// S.
  let secret: SecretBytes
  /// What is in the files before the erasure.
  let stored: [String: [UInt8]]
  /// What must never be in them in the clear.
  let hidden: [String: [UInt8]]

  init(faults: @escaping @Sendable (SubjectVault.Step) throws -> Void = { _ in }) throws {
    fixture = try VaultFixture(seed: 77)
    var keys = RandomStream(testSeed: 3)
    let (log, freshness) = (SigningKey(using: &keys), SigningKey(using: &keys))
    let operatorKey = SigningKey(using: &keys)
    store = SigningKey(using: &keys)
    ledger = try LedgerStore.open(
      directory: fixture.path, origin: "accord.test/log", logKey: log, freshnessKey: freshness)
    _ = try ledger.append(
      .enrolment(
        EnrolmentRecord(
          nodeKey: store.verifyingKey, name: "store-1", kind: .store, validFromMs: Self.startMs)),
      signedBy: operatorKey, nowMs: Self.startMs)
    vault = try fixture.open(faults: faults)
    // The vault draws from the same stream: the nonce of its key check, then S of the first customer.
    var random = fixture.random
    _ = random.bytes(24)
    secret = random.secret(32)
    let payload = ConsentPayload(
      customerID: Self.customer, ipPrefix: "203.0.113.0/24", text: "Kundenkarte 4711")
    let commitment = try vault.sealPayload(payload, subjectID: Self.customer, eventID: eventID(1))
    tag = try #require(try vault.tag(for: Self.customer, create: false))
    let rows = try fixture.sql { try Row.fetchAll($0, sql: "SELECT lookup, wrapped FROM subject") }
    let (lookup, wrapped): (Data, Data) = (rows[0][0], rows[0][1])
    stored = ["lookup": Array(lookup), "wrapped": Array(wrapped)]
    let bytes = secret.exportBytes()
    hidden = [
      "S": bytes, "S in hexadecimal": Array(Hex.encode(bytes).utf8),
      "S in base64": Array(Data(bytes).base64EncodedString().utf8), "id": Array(Self.customer.utf8),
      "payload": Array("Kundenkarte 4711".utf8), "whole payload": try payload.canonicalBytes(),
      "lookup in hexadecimal": Array(Hex.encode(Array(lookup)).utf8),
      "key-encryption key": fixture.key.exportBytes(),
    ]
    try append(event(1, .withdrawn, commitment: commitment.hex))
    try surround()
  }

  /// Others, before and after, so that pages split and the customer is in the middle of something.
  private func surround() throws {
    for batch in 0..<4 {
      let names = (0..<500).map { "other \(batch) \($0)" }
      let tags = try vault.tags(for: names + [Self.customer], create: true)
      let items = tags.map {
        DecisionEvidence.Item(
          tag: $1, decision: ConsentDecision(permitted: true, reason: .granted, decidedBy: 1))
      }
      let session = Hash.sha256([UInt8(batch)])
      try vault.storeEvidence(
        DecisionEvidence(items, salt: VaultFixture.key(1)), sessionID: session,
        subjects: Array(tags.keys), timeMs: 1)
      try vault.recordUse(sessionID: session, round: UInt64(batch), subjects: Array(tags.keys), timeMs: 1)
    }
  }

  func event(_ number: Int, _ state: ConsentState, commitment: String? = nil) throws -> ConsentEvent {
    try ConsentEvent(
      eventID: eventID(number), subject: tag, purpose: .every, state: state, regime: .optIn,
      legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web", method: "toggle",
      eventTimeMs: Self.startMs, recorder: "till 3", recordID: eventID(0), commitment: commitment)
  }

  @discardableResult func append(_ event: ConsentEvent) throws -> LedgerReceipt {
    try ledger.append(.consent(event), signedBy: store, nowMs: Self.startMs)
  }

  func proof(_ receipt: LedgerReceipt) throws -> TransparencyProof {
    TransparencyProof(
      extra: try ledger.leaf(receipt.index.value), index: receipt.index.value, path: receipt.proof.path,
      checkpointNote: receipt.checkpoint.noteText)
  }

  /// Which needles are in any file of the directory.
  func found(_ needles: [String: [UInt8]]) throws -> [String] {
    try needles.filter { try !fixture.files(with: $0.value).isEmpty }.keys.sorted()
  }

  func copyVault(to name: String) throws {
    let target = fixture.path + "-" + name
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    for file in try FileManager.default.contentsOfDirectory(atPath: fixture.path)
    where file.hasPrefix("vault.sqlite") {
      try FileManager.default.copyItem(atPath: fixture.path + "/" + file, toPath: target + "/" + file)
    }
  }

  func restoreVault(from name: String) throws {
    let source = fixture.path + "-" + name
    for suffix in ["", "-wal", "-shm"] { try? FileManager.default.removeItem(atPath: fixture.file + suffix) }
    for file in try FileManager.default.contentsOfDirectory(atPath: source) {
      try FileManager.default.moveItem(atPath: source + "/" + file, toPath: fixture.path + "/" + file)
    }
    try FileManager.default.removeItem(atPath: source)
  }
}

@Suite struct ErasureTests {
  @Test func `no file holds anything of an erased customer`() throws {
    let scene = try Scene()
    #expect(try SubjectTag(Hash.blake2b(Array("tag".utf8), key: scene.secret).bytes) == scene.tag)
    // The search can find: what is stored, and a file with everything else in it.
    #expect(try scene.found(scene.stored) == ["lookup", "wrapped"])
    let control = scene.fixture.path + "/control"
    try Data(scene.hidden.values.flatMap { $0 }).write(to: URL(fileURLWithPath: control))
    #expect(try scene.found(scene.hidden) == scene.hidden.keys.sorted())
    try FileManager.default.removeItem(atPath: control)
    #expect(try scene.found(scene.hidden).isEmpty)

    try scene.append(scene.event(2, .erased))
    let index = try LedgerFileReader(directory: scene.fixture.path).index()
    #expect(try index.erasedSubjects(by: scene.store.verifyingKey) == [scene.tag])
    let counts = try scene.vault.erase(subjectID: Scene.customer)
    #expect(counts == ErasureCounts(evidence: 4, keys: 1, payloads: 1, rounds: 4))
    #expect(try scene.found(scene.stored).isEmpty)
    #expect(try scene.found(scene.hidden).isEmpty)
    // The log still speaks of the tag, which is now nobody's; the others are all there.
    #expect(try !scene.fixture.files(with: Array(scene.tag.hex.utf8)).isEmpty)
    #expect(try scene.vault.count() == 2000)
    #expect(try scene.vault.rounds(of: "other 0 7").count == 1)
    #expect(try scene.vault.payloads(of: Scene.customer).isEmpty)
    // Again: nothing happens.
    #expect(try scene.vault.erase(subjectID: Scene.customer) == ErasureCounts())
  }

  @Test func `a vault put back from a backup erases again`() throws {
    let scene = try Scene()
    try scene.copyVault(to: "backup")
    try scene.append(scene.event(2, .erased))
    _ = try scene.vault.erase(subjectID: Scene.customer)
    try scene.vault.close()
    try scene.restoreVault(from: "backup")
    let vault = try scene.fixture.open()
    #expect(try vault.tag(for: Scene.customer, create: false) == scene.tag)
    #expect(try scene.found(scene.stored) == ["lookup", "wrapped"])
    let erased = try LedgerFileReader(directory: scene.fixture.path).index().erasedSubjects(
      by: scene.store.verifyingKey)
    #expect(try vault.replayErasures(erased: erased) == 1)
    #expect(try scene.found(scene.stored).isEmpty && scene.found(scene.hidden).isEmpty)
    #expect(try vault.tag(for: Scene.customer, create: false) == nil && vault.count() == 2000)
    #expect(try vault.replayErasures(erased: erased) == 0)
  }

  @Test func `without secure_delete or without emptying the log the search would find the key`() throws {
    for (secureDelete, empties) in [("OFF", true), ("ON", false)] {
      let scene = try Scene()
      try scene.vault.close()
      try scene.fixture.sql { db in
        // A reader that was opened before keeps its snapshot, as another process may.
        try db.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)")
        try db.execute(sql: "PRAGMA secure_delete = \(secureDelete)")
        let lookup = Data(try #require(scene.stored["lookup"]))
        if !empties {
          // The page goes to the write-ahead log with the key and stays there when the key is deleted.
          try db.execute(
            sql: "UPDATE subject SET wrapped = wrapped || x'00' WHERE lookup = ?", arguments: [lookup])
        }
        try db.execute(sql: "DELETE FROM subject WHERE lookup = ?", arguments: [lookup])
        if empties { try db.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
        #expect(try scene.found(scene.stored).contains("wrapped"), "\(secureDelete)")
      }
    }
  }

  @Test(.enabled(if: FileManager.default.fileExists(atPath: "/proc/locks")))
  func `searching the files takes away none of the locks that tell other processes of this one`() throws {
    let scene = try Scene()
    let before = try scene.fixture.locks()
    #expect(!before.isEmpty)
    _ = try scene.vault.erase(subjectID: Scene.customer)
    #expect(try scene.vault.count() == 2000)
    #expect(try scene.fixture.locks() == before)
  }

  @Test func `a copy of the key that SQLite left somewhere is found and removed`() throws {
    let scene = try Scene()
    let wrapped = Data(try #require(scene.stored["wrapped"]))
    try scene.fixture.sql { db in
      try db.execute(sql: "PRAGMA secure_delete = OFF")
      // A part of it, as a page that was split leaves one behind.
      let part = wrapped.suffix(30)
      for hash in [Data([1]), Data([2]), Data([3])] {
        try db.execute(
          sql: "INSERT INTO notice (hash, language, text) VALUES (?, 'de', ?)", arguments: [hash, part])
      }
      try db.execute(sql: "DELETE FROM notice WHERE hash = x'02'")
      try db.execute(sql: "UPDATE notice SET text = 'x'")
    }
    _ = try scene.vault.erase(subjectID: Scene.customer)
    #expect(try scene.fixture.files(with: Array(wrapped.suffix(30))).isEmpty)
    #expect(try scene.vault.count() == 2000)
  }

  @Test func `a key that is still in use elsewhere is not called erased`() throws {
    let scene = try Scene()
    // A live row with the same bytes: rewriting the file cannot remove it.
    let wrapped = Data(try #require(scene.stored["wrapped"]))
    try scene.fixture.sql {
      try $0.execute(
        sql: "INSERT INTO notice (hash, language, text) VALUES (x'01', 'de', ?)", arguments: [wrapped])
    }
    #expect(throws: LedgerError.residueRemains(path: scene.fixture.file)) {
      try scene.vault.erase(subjectID: Scene.customer)
    }
  }

  // MARK: Crashes

  @Test func `an erasure that was begun denies and is completed after a crash`() throws {
    let scene = try Scene()
    let vault = scene.vault
    let begun = try #require(
      try vault.markErasing(Scene.customer, eventID: eventID(2), timeMs: Scene.startMs))
    #expect(begun.tag == scene.tag && begun.subjectID == Scene.customer && begun.deleted == nil)
    #expect(try vault.markErasing("nobody", eventID: eventID(3), timeMs: 1) == nil)
    try vault.close()

    let again = try scene.fixture.open()
    // Denied everywhere: neither the old tag nor a new one, and nothing new is kept.
    #expect(try again.tag(for: Scene.customer, create: false) == nil)
    #expect(try again.tags(for: [Scene.customer, "other 0 0"], create: true).count == 1)
    #expect(throws: LedgerError.subjectBeingErased) {
      try again.sealPayload(annaPayload, subjectID: Scene.customer, eventID: eventID(9))
    }
    let pending = try #require(try again.pendingErasures().first)
    #expect(pending == begun)
    // Another mark is the same erasure, under the event id of the first.
    #expect(try again.markErasing(Scene.customer, eventID: eventID(4), timeMs: 9) == begun)
    #expect(try scene.found(scene.hidden).isEmpty)
    try again.finishErasure(pending)
    #expect(try again.pendingErasures() == [begun])

    let expected = ErasureCounts(evidence: 4, keys: 1, payloads: 1, rounds: 4)
    #expect(try again.erase(pending) == expected)
    #expect(try scene.found(scene.stored).isEmpty && scene.found(scene.hidden).isEmpty)
    let done = try #require(try again.pendingErasures().first)
    #expect(done.deleted == expected && done.subjectID == nil && done.tag == scene.tag)
    #expect(try again.erase(pending) == expected)
    try again.finishErasure(pending)
    #expect(try again.pendingErasures().isEmpty)
    // The customer comes back as somebody new.
    let new = try again.tag(for: Scene.customer, create: true)
    #expect(new != nil && new != scene.tag)
  }

  @Test func `a crash between deleting and cleaning leaves nothing after the next opening`() throws {
    struct Crash: Error {}
    let scene = try Scene { if case .erasureCommitted = $0 { throw Crash() } }
    let begun = try #require(try scene.vault.markErasing(Scene.customer, eventID: eventID(2), timeMs: 1))
    #expect(throws: LedgerError.commitUncertain(step: "erasureCommitted")) { try scene.vault.erase(begun) }
    // The process died here: the deleted key is in the write-ahead log, which nobody copied back.
    try scene.copyVault(to: "after the crash")
    try scene.vault.close()
    try scene.restoreVault(from: "after the crash")
    #expect(try scene.found(scene.stored).contains("wrapped"))
    let vault = try scene.fixture.open()
    #expect(try scene.found(scene.stored).isEmpty && scene.found(scene.hidden).isEmpty)
    let pending = try #require(try vault.pendingErasures().first)
    #expect(try vault.erase(pending) == ErasureCounts(evidence: 4, keys: 1, payloads: 1, rounds: 4))
  }

  // MARK: Certificates

  private func certificate(_ scene: Scene) throws -> ErasureCertificate {
    let receipt = try scene.append(scene.event(2, .erased))
    return try ErasureCertificate.issue(
      subject: scene.tag, proof: scene.proof(receipt), approvals: [],
      deleted: scene.vault.erase(subjectID: Scene.customer), timeMs: Scene.startMs, key: scene.store)
  }

  @Test func `a certificate proves the erasure and names nobody`() throws {
    let scene = try Scene()
    let bytes = try certificate(scene).encoded()
    let certificate = try ErasureCertificate(parsing: bytes)
    #expect(try certificate.encoded() == bytes)
    #expect(certificate.subject == scene.tag && certificate.index == 2 && certificate.deleted.payloads == 1)
    let signed = try certificate.verify(scene.ledger.verifiers, node: scene.store.verifyingKey)
    #expect(signed.checkpoint.size == 3)
    #expect(
      try certificate.verifyApprovals { index throws(LedgerError) in try scene.ledger.leaf(index) } == [])
    for (name, needle) in scene.hidden.merging(scene.stored, uniquingKeysWith: { a, _ in a }) {
      #expect(Data(bytes).range(of: Data(needle)) == nil, "\(name)")
    }
  }

  @Test func `a certificate of another node, entry or log is refused`() throws {
    let scene = try Scene()
    let certificate = try certificate(scene)
    var random = RandomStream(testSeed: 8)
    let other = SigningKey(using: &random)
    #expect(throws: LedgerError.notEnrolled(signer: scene.store.verifyingKey)) {
      try certificate.verify(scene.ledger.verifiers, node: other.verifyingKey)
    }
    let foreign = try CheckpointVerifiers(
      origin: "accord.test/log", logKey: other.verifyingKey, freshnessKey: other.verifyingKey)
    #expect(throws: LedgerError.self) { try certificate.verify(foreign) }
    // An entry that is no erasure of this subject makes no certificate.
    let receipt = try scene.append(scene.event(5, .objected))
    let noErasure = LedgerError.malformedDocument("the entry does not erase this subject")
    #expect(throws: noErasure) {
      try ErasureCertificate.issue(
        subject: scene.tag, proof: scene.proof(receipt), approvals: [], deleted: ErasureCounts(), timeMs: 1,
        key: scene.store)
    }
    #expect(throws: noErasure) {
      try ErasureCertificate.issue(
        subject: SubjectTag([UInt8](repeating: 1, count: 32)),
        proof: TransparencyProof(parsing: certificate.proof), approvals: [], deleted: ErasureCounts(),
        timeMs: 1, key: scene.store)
    }
  }

  @Test func `no byte of a certificate can be changed`() throws {
    let scene = try Scene()
    let bytes = try certificate(scene).encoded()
    let verifiers = scene.ledger.verifiers
    for position in stride(from: 0, to: bytes.count, by: 7) {
      var changed = bytes
      changed[position] ^= 1
      #expect(throws: LedgerError.self) { try ErasureCertificate(parsing: changed).verify(verifiers) }
    }
    #expect(throws: LedgerError.self) { try ErasureCertificate(parsing: bytes + [10]) }
  }

  @Test func `approvals are checked against the log`() throws {
    let scene = try Scene()
    var random = RandomStream(testSeed: 8)
    let officers = [SigningKey(using: &random), SigningKey(using: &random)]
    var keys = RandomStream(testSeed: 3)
    _ = [SigningKey(using: &keys), SigningKey(using: &keys)]
    let operatorKey = SigningKey(using: &keys)
    var approvals: [UInt64] = []
    for (number, officer) in officers.enumerated() {
      _ = try scene.ledger.append(
        .enrolment(
          EnrolmentRecord(
            nodeKey: officer.verifyingKey, name: "officer", kind: .officer, validFromMs: Scene.startMs)),
        signedBy: operatorKey, nowMs: Scene.startMs)
      let approval = ApprovalRecord(
        id: try eventID(100 + number), action: .erasure, target: Digest(unchecked: scene.tag.bytes),
        text: "the customer asked", timeMs: Scene.startMs)
      approvals.append(
        try scene.ledger.append(.approval(approval), signedBy: officer, nowMs: Scene.startMs).index.value)
    }
    let receipt = try scene.append(scene.event(2, .erased))
    let leaf: (UInt64) throws(LedgerError) -> [UInt8] = { index throws(LedgerError) in
      try scene.ledger.leaf(index)
    }
    func issue(_ approvals: [UInt64]) throws -> ErasureCertificate {
      try ErasureCertificate.issue(
        subject: scene.tag, proof: scene.proof(receipt), approvals: approvals, deleted: ErasureCounts(),
        timeMs: 1, key: scene.store)
    }
    #expect(try issue(approvals).verifyApprovals(leaf) == officers.map(\.verifyingKey))
    for wrong in [[approvals[0], approvals[0]], [0, approvals[0]], [receipt.index.value]] {
      #expect(throws: LedgerError.self) { try issue(wrong).verifyApprovals(leaf) }
    }
  }
}
