import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Testing

@testable import ConsentLedger

/// A vault in a directory that goes with the object.
final class VaultFixture {
  let path: String
  let random: RandomStream
  let key: SecretBytes

  init(seed: UInt64 = 1) throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("accord-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    random = RandomStream(testSeed: seed)
    key = Self.key(5)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var file: String { path + "/vault.sqlite" }

  static func key(_ byte: UInt8) -> SecretBytes { SecretBytes(copying: [UInt8](repeating: byte, count: 32)) }

  func open(
    key: SecretBytes? = nil, pending: SecretBytes? = nil,
    faults: @escaping @Sendable (SubjectVault.Step) throws -> Void = { _ in }
  ) throws -> SubjectVault {
    try SubjectVault.open(
      path: file, keyEncryptionKey: key ?? self.key, pendingKey: pending, random: random, faults: faults)
  }

  /// Which files of the directory hold the bytes somewhere.
  func files(with needle: [UInt8]) throws -> [String] {
    var found: [String] = []
    let enumerator = try #require(FileManager.default.enumerator(atPath: path))
    while let name = enumerator.nextObject() as? String {
      guard enumerator.fileAttributes?[.type] as? FileAttributeType == .typeRegular else { continue }
      let bytes = try Data(contentsOf: URL(fileURLWithPath: path + "/" + name))
      if bytes.range(of: Data(needle)) != nil { found.append(name) }
    }
    return found.sorted()
  }

  /// The POSIX locks that this process holds on the vault's files: file and range.
  func locks() throws -> Set<String> {
    var names: [String: String] = [:]
    for suffix in ["", "-wal", "-shm"] {
      let attributes = try? FileManager.default.attributesOfItem(atPath: file + suffix)
      if let inode = attributes?[.systemFileNumber] as? NSNumber { names["\(inode)"] = "vault\(suffix)" }
    }
    let table = try String(contentsOfFile: "/proc/locks", encoding: .utf8)
    var found: Set<String> = []
    for line in table.split(separator: "\n") {
      // 1: POSIX  ADVISORY  READ 4711 fe:01:1234 128 128
      let fields = line.split(separator: " ").map(String.init)
      guard let place = fields.firstIndex(where: { $0.split(separator: ":").count == 3 }), place > 0,
        fields[place - 1] == "\(getpid())", fields.count > place + 2,
        let name = names[String(fields[place].split(separator: ":")[2])]
      else { continue }
      found.insert("\(name) \(fields[place + 1]) \(fields[place + 2])")
    }
    return found
  }

  /// Runs SQL behind the vault's back.
  func sql<Result>(_ body: (Database) throws -> Result) throws -> Result {
    let queue = try DatabaseQueue(path: file)
    defer { try? queue.close() }
    return try queue.writeWithoutTransaction(body)
  }
}

func eventID(_ number: Int) throws -> EventID {
  try EventID(Array(Hash.sha256(Array("event \(number)".utf8)).bytes.prefix(16)))
}

let annaPayload = ConsentPayload(
  customerID: "anna.schmidt@example.org", ipPrefix: "203.0.113.0/24", userAgent: "Kiosk/7",
  guardianEvidence: nil, text: "asked about „Angebote“\nat till 3")

@Suite struct SubjectVaultTests {
  @Test func `counts its subjects and cannot list them`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    #expect(try vault.count() == 0)
    let names = (0..<500).map { "customer \($0)" }
    let tags = try vault.tags(for: names + names, create: true)
    #expect(try Set(tags.values).count == 500 && vault.count() == 500)
    #expect(try vault.tags(for: names, create: true) == tags)
    #expect(try fixture.files(with: Array("customer".utf8)).isEmpty)
  }

  // MARK: Payloads

  @Test func `a payload opens to what was sealed, and the event commits to it`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    let commitment = try vault.sealPayload(annaPayload, subjectID: "anna", eventID: eventID(1))
    let second = try vault.sealPayload(
      ConsentPayload(customerID: "anna"), subjectID: "anna", eventID: eventID(2))
    _ = try vault.sealPayload(ConsentPayload(customerID: "bert"), subjectID: "bert", eventID: eventID(3))
    let opened = try vault.payloads(of: "anna")
    #expect(opened.count == 2)
    let first = try #require(opened.first { try $0.eventID == eventID(1) })
    #expect(first.payload == annaPayload && first.commitment == commitment && second != commitment)
    #expect(try vault.payloads(of: "nobody").isEmpty)
    // What a customer's own verifier computes (section 8).
    let key = try #require(try vault.commitmentKey(of: "anna"))
    let bytes =
      Array(
        #"{"customer_id":"anna.schmidt@example.org","ip_prefix":"203.0.113.0/24","#.utf8
      ) + Array(#""text":"asked about „Angebote“\nat till 3","user_agent":"Kiosk/7"}"#.utf8)
    #expect(
      try Hash.blake2b(domain: "accord payload v1", [eventID(1).bytes, bytes], key: key) == commitment)
    let tag = try #require(try vault.tag(for: "anna", create: false))
    let event = try event(eventID(1), tag, commitment: commitment.hex)
    #expect(first.belongs(to: event))
    #expect(try !first.belongs(to: self.event(eventID(2), tag, commitment: commitment.hex)))
    #expect(try !first.belongs(to: self.event(eventID(1), tag, commitment: second.hex)))
  }

  private func event(_ id: EventID, _ tag: SubjectTag, commitment: String) throws -> ConsentEvent {
    ConsentEvent(
      eventID: id, subject: tag, purpose: .every, state: .withdrawn, regime: .optIn,
      legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web", method: "toggle",
      eventTimeMs: 1, recorder: "till 3", recordID: id, commitment: commitment)
  }

  @Test func `an event has one payload`() throws {
    let vault = try VaultFixture().open()
    let commitment = try vault.sealPayload(annaPayload, subjectID: "anna", eventID: eventID(1))
    #expect(try vault.sealPayload(annaPayload, subjectID: "anna", eventID: eventID(1)) == commitment)
    var changed = annaPayload
    changed.text = nil
    #expect(throws: LedgerError.conflictingEntry(identity: "the payload of event \(try eventID(1))")) {
      try vault.sealPayload(changed, subjectID: "anna", eventID: eventID(1))
    }
    #expect(try vault.payloads(of: "anna").map(\.payload) == [annaPayload])
    changed.text = String(repeating: "x", count: ConsentPayload.maximumFieldBytes + 1)
    #expect(throws: LedgerError.self) {
      try vault.sealPayload(changed, subjectID: "anna", eventID: eventID(4))
    }
  }

  @Test func `a sealed payload that was changed or moved to another event does not open`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    _ = try vault.sealPayload(annaPayload, subjectID: "anna", eventID: eventID(1))
    try fixture.sql { try $0.execute(sql: "UPDATE payload SET event = zeroblob(16)") }
    #expect(throws: LedgerError.damagedVault(path: fixture.file)) { try vault.payloads(of: "anna") }
  }

  @Test func `what a refused append added is taken back, what others used meanwhile stays`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    let known = try #require(try vault.tag(for: "known", create: true))
    let (mine, other) = (vault.newDraft(), vault.newDraft())
    #expect(mine != other)
    _ = try vault.tags(for: ["known", "new", "shared", "told"], create: true, draft: mine)
    _ = try vault.sealPayloads(
      [
        PayloadToSeal(subjectID: "new", eventID: eventID(1), payload: annaPayload),
        PayloadToSeal(subjectID: "told", eventID: eventID(2), payload: annaPayload),
        PayloadToSeal(subjectID: "known", eventID: eventID(3), payload: annaPayload),
      ], draft: mine)
    let shared = try vault.tags(for: ["shared"], create: true, draft: other)["shared"]
    _ = try vault.sealPayloads(
      [PayloadToSeal(subjectID: "told", eventID: eventID(2), payload: annaPayload)], draft: other)
    try vault.discard(mine)
    #expect(try vault.tag(for: "known", create: false) == known)
    #expect(try vault.tag(for: "new", create: false) == nil)
    #expect(try vault.tag(for: "shared", create: false) == shared && shared != nil)
    #expect(try vault.payloads(of: "told").map(\.eventID) == [eventID(2)])
    #expect(try vault.payloads(of: "known").isEmpty)
    try vault.discard(mine)
    #expect(try vault.count() == 3)
  }

  @Test func `notices are kept by their hash`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    let text = "Wir empfehlen Ihnen Angebote.\nSie können das jederzeit beenden."
    let hash = try vault.storeNotice(text, language: "de")
    #expect(hash == Hash.sha256(Array(text.utf8)))
    #expect(try vault.storeNotice(text, language: "de") == hash)
    #expect(try vault.notice(hash: hash) == StoredNotice(text: text, language: "de"))
    #expect(try vault.notice(hash: Hash.sha256([1])) == nil)
    try fixture.sql { try $0.execute(sql: "UPDATE notice SET text = 'other'") }
    #expect(throws: LedgerError.damagedVault(path: fixture.file)) { try vault.notice(hash: hash) }
  }

  // MARK: Evidence

  private func evidence(_ vault: SubjectVault, _ names: [String], salt: UInt8 = 9) throws -> DecisionEvidence
  {
    let tags = try vault.tags(for: names, create: true)
    let reasons: [ConsentDecision.Reason] = [.granted, .withdrawn, .unanswered]
    let items = names.enumerated().compactMap { index, name in
      tags[name].map {
        DecisionEvidence.Item(
          tag: $0,
          decision: ConsentDecision(
            permitted: index % 3 == 0, reason: reasons[index % 3],
            decidedBy: index % 3 == 2 ? nil : LeafIndex(UInt64(index) << 33)))
      }
    }
    return DecisionEvidence(items, salt: VaultFixture.key(salt))
  }

  @Test func `evidence opens for each subject, also after another one is erased`() throws {
    let vault = try VaultFixture().open()
    let session = Hash.sha256([1])
    for count in [1, 2, 3, 7, 8, 13] {
      let names = (0..<count).map { "\(count): \($0)" }
      let evidence = try evidence(vault, names)
      try vault.storeEvidence(evidence, sessionID: session, subjects: names, timeMs: 10)
      if count > 1 { #expect(try vault.erase(subjectID: "\(count): 1").evidence == 1) }
      for name in names where name != "\(count): 1" {
        let tag = try #require(try vault.tag(for: name, create: false))
        let opening = try #require(try vault.evidenceOpening(sessionID: session, subjectID: name))
        try opening.verify(root: evidence.root)
        #expect(opening == evidence.opening(for: tag))
      }
      #expect(try vault.evidenceOpening(sessionID: session, subjectID: "\(count): 1") == nil)
    }
    #expect(try vault.evidenceOpening(sessionID: Hash.sha256([2]), subjectID: "7: 0") == nil)
  }

  @Test func `a session may have several batches of evidence, stored once each`() throws {
    let vault = try VaultFixture().open()
    let session = Hash.sha256([1])
    let first = try evidence(vault, ["a", "b", "c"], salt: 1)
    let second = try evidence(vault, ["b", "d"], salt: 2)
    for _ in 0..<2 {
      try vault.storeEvidence(first, sessionID: session, subjects: ["a", "b"], timeMs: 10)
      try vault.storeEvidence(second, sessionID: session, subjects: ["b", "d", "unknown"], timeMs: 10)
    }
    #expect(
      try vault.evidenceOpenings(sessionID: session, subjectID: "b").map(\.root) == [first.root, second.root])
    // A leaf whose subject was not named is a hash like the others, but does not open.
    #expect(try vault.evidenceOpenings(sessionID: session, subjectID: "c").isEmpty)
  }

  @Test func `evidence from an older version of the rules still opens`() throws {
    let vault = try VaultFixture().open()
    let tag = try #require(try vault.tag(for: "a", create: true))
    let decision = ConsentDecision(permitted: true, reason: .granted, decidedBy: 4)
    let evidence = DecisionEvidence(
      [DecisionEvidence.Item(tag: tag, decision: decision, rulesVersion: 1)], salt: VaultFixture.key(3))
    try vault.storeEvidence(evidence, sessionID: Hash.sha256([1]), subjects: ["a"], timeMs: 1)
    let opening = try #require(try vault.evidenceOpening(sessionID: Hash.sha256([1]), subjectID: "a"))
    #expect(opening.item.rulesVersion == 1)
    try opening.verify(root: evidence.root)
  }

  @Test func `evidence is pruned by age and by number of sessions`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    func has(_ session: UInt8) throws -> Bool {
      try vault.evidenceOpening(sessionID: Hash.sha256([session]), subjectID: "a") != nil
    }
    for session: UInt8 in 1...6 {
      try vault.storeEvidence(
        evidence(vault, ["a"], salt: session), sessionID: Hash.sha256([session]), subjects: ["a"],
        timeMs: Int64(session) * 10)
    }
    #expect(try vault.pruneEvidence(before: 30) == 2)
    #expect(try (1...6).map { try has($0) } == [false, false, true, true, true, true])
    #expect(try vault.pruneEvidence(keeping: 1) == 3)
    #expect(try (1...6).map { try has($0) } == [false, false, false, false, false, true])
    #expect(try vault.pruneEvidence(keeping: 1) == 0)
    let items = try fixture.sql { try Int.fetchOne($0, sql: "SELECT count(*) FROM evidence_item") }
    #expect(items == 1)
  }

  @Test func `knows the sessions that taint a model`() throws {
    let vault = try VaultFixture().open()
    _ = try vault.tags(for: ["anna", "bert"], create: true)
    try vault.recordUse(sessionID: Hash.sha256([1]), round: 1, subjects: ["anna"], timeMs: 1)
    try vault.recordUse(sessionID: Hash.sha256([2]), round: .max, subjects: ["anna", "bert"], timeMs: 2)
    #expect(try vault.sessions(of: "anna") == [Hash.sha256([1]), Hash.sha256([2])])
    #expect(try vault.rounds(of: "bert").map(\.round) == [.max])
    #expect(try vault.sessions(of: "carl").isEmpty)
  }

  // MARK: Rotation

  @Test func `after a rotation the old key opens nothing and everything is still there`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    let other = try fixture.open()
    let names = (0..<5000).map { "customer \($0)" }
    let tags = try vault.tags(for: names, create: true)
    _ = try vault.sealPayload(annaPayload, subjectID: "customer 7", eventID: eventID(1))
    try vault.recordUse(sessionID: Hash.sha256([1]), round: 1, subjects: ["customer 7"], timeMs: 1)
    let before = try fixture.sql {
      try Row.fetchAll($0, sql: "SELECT lookup, wrapped FROM subject WHERE id % 50 = 0").map {
        ($0[0] as Data, $0[1] as Data)
      }
    }
    let new = VaultFixture.key(6)
    try vault.rotateKey(to: new)
    for (lookup, wrapped) in before {
      #expect(try fixture.files(with: Array(lookup)).isEmpty)
      #expect(try fixture.files(with: Array(wrapped)).isEmpty)
    }
    let wrong = LedgerError.wrongVaultKey(path: fixture.file)
    #expect(throws: wrong) { try fixture.open() }
    // Who has the vault open from before neither misreads it nor writes under the old key.
    #expect(throws: wrong) { try other.tag(for: "customer 7", create: false) }
    #expect(throws: wrong) { try other.tag(for: "new customer", create: true) }
    #expect(throws: wrong) { try other.sealPayload(annaPayload, subjectID: "c", eventID: eventID(2)) }
    for opened in [vault, try fixture.open(key: new)] {
      let same = try opened.tags(for: names, create: true) == tags
      #expect(same)
      #expect(try opened.payloads(of: "customer 7").map(\.payload) == [annaPayload])
      #expect(try opened.rounds(of: "customer 7").count == 1 && opened.count() == 5000)
    }
    // And again: the chain of lookups grows.
    try vault.rotateKey(to: VaultFixture.key(7))
    let same = try fixture.open(key: VaultFixture.key(7)).tags(for: names, create: false) == tags
    #expect(same)
  }

  @Test func `a rotation survives a crash before and after its commit`() throws {
    struct Crash: Error {}
    let fixture = try VaultFixture()
    let new = VaultFixture.key(6)
    let tag = try fixture.open().tag(for: "anna", create: true)
    // Before: the pending key file is there, the vault is under the old one.
    let before = try fixture.open(pending: new)
    #expect(try before.keyInUse == .current && before.tag(for: "anna", create: false) == tag)
    try before.close()
    let wrapped = try fixture.sql { try Data.fetchOne($0, sql: "SELECT wrapped FROM subject") }
    // After: the vault is under the new one, the old key file is still in place.
    let dying = try fixture.open { if case .rotationCommitted = $0 { throw Crash() } }
    #expect(throws: LedgerError.commitUncertain(step: "rotationCommitted")) { try dying.rotateKey(to: new) }
    try dying.close()
    #expect(throws: LedgerError.wrongVaultKey(path: fixture.file)) { try fixture.open() }
    let after = try fixture.open(pending: new)
    #expect(try after.keyInUse == .pending && after.tag(for: "anna", create: false) == tag)
    #expect(try fixture.files(with: Array(try #require(wrapped))).isEmpty)
    // The host puts the file in place.
    #expect(try fixture.open(key: new).keyInUse == .current)
  }

  @Test func `a rotation that fails leaves the old key in force`() throws {
    let fixture = try VaultFixture()
    let vault = try fixture.open()
    let tags = try vault.tags(for: ["anna", "bert"], create: true)
    try fixture.sql { try $0.execute(sql: "UPDATE subject SET wrapped = zeroblob(72) WHERE id = 2") }
    #expect(throws: LedgerError.damagedVault(path: fixture.file)) {
      try vault.rotateKey(to: VaultFixture.key(6))
    }
    let intact = ["anna", "bert"].compactMap { try? vault.tag(for: $0, create: false) }
    #expect(intact.count == 1 && tags.values.contains(intact[0]))
    #expect(throws: LedgerError.wrongVaultKey(path: fixture.file)) {
      try fixture.open(key: VaultFixture.key(6))
    }
  }
}
