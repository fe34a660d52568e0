import Consent
import Cryptography
import Foundation
import MerkleLog
import Testing

@testable import ConsentLedger

extension Fixture {
  /// One body of every kind, with the key that may sign it.
  func everyKind() throws -> [(EntryBody, SigningKey)] {
    var full = try event(expires: startMs + 1000)
    full.askAgainAtMs = startMs + 5
    full.commitment = String(repeating: "01", count: 32)
    full.notBeforeMs = startMs + 2
    full.previous = try id()
    full.screenHash = String(repeating: "23", count: 32)
    full.recorder = "Kasse \"3\" \\ Müller/Söhne"
    var bare = try event(.withdrawn)
    bare.noticeHash = nil
    bare.language = nil
    bare.steps = nil
    bare.durationMs = nil
    var infinite = round(2, result: .aborted(reason: "too few nodes"))
    infinite.epsilon = .infinity
    return [
      (.consent(full), store), (.consent(bare), store), (enrolment(), operatorKey),
      (.revocation(RevocationRecord(key: store.verifyingKey, reason: "lost", timeMs: 5)), operatorKey),
      (proposal(), officer), (try approval(), secondOfficer),
      (try approval(of: Hash.sha256([1]), .keyRotation), officer), (try request(), store),
      (try request(.denied), officer), (.round(round()), logKey), (.round(infinite), logKey),
      (try notice("Äpfel \"und\" \\ Birnen / mehr"), logKey),
    ]
  }
}

@Suite struct StatementTests {
  @Test func `every kind of entry comes back from its statement and its leaf`() throws {
    let fixture = try Fixture()
    for (body, key) in try fixture.everyKind() {
      let statement = try fixture.sign(body, by: key)
      #expect(try SignedStatement(parsing: statement.bytes) == statement)
      #expect(try statement.body() == body)
      let leaf = try statement.leaf(recordedMs: startMs + 7)
      let entry = try LedgerEntry(leaf: leaf)
      #expect(entry.body == body && entry.statement == statement && entry.recordedMs == startMs + 7)
      #expect(entry.signer == key.verifyingKey && entry.kind == body.kind)
      let object = try JSONSerialization.jsonObject(with: Data(leaf)) as? [String: Any]
      #expect(object?["kind"] as? String == body.kind.rawValue)
      #expect(object?["recorded"] as? Int64 == startMs + 7)
      // A statement is no leaf and a leaf no statement.
      #expect(throws: LedgerError.self) { try SignedStatement.parse(leaf: statement.bytes) }
      #expect(throws: LedgerError.self) { try SignedStatement(parsing: leaf) }
    }
    #expect(Set(try fixture.everyKind().map(\.0.kind)) == Set(EntryKind.allCases))
  }

  @Test func `the bytes are those of the specification`() throws {
    let fixture = try Fixture()
    let event = ConsentEvent(
      eventID: try EventID([UInt8](repeating: 1, count: 16)),
      subject: try SubjectTag([UInt8](repeating: 2, count: 32)), purpose: purpose, state: .given,
      regime: .optIn, legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web/app",
      method: "Häkchen", eventTimeMs: 7, recorder: "till \"3\"",
      recordID: try EventID([UInt8](repeating: 3, count: 16)), expiresAtMs: 8)
    let content = """
      {"actor":"customer","age_band":"adult","channel":"web/app","consent_type":"expressed",\
      "event_id":"01010101010101010101010101010101","expires_at":8,"jurisdiction":"DE",\
      "legal_basis":"eu-gdpr:A6-1-a","method":"Häkchen","purpose":"recommendations","purpose_version":1,\
      "record_id":"03030303030303030303030303030303","recorder":"till \\"3\\"","regime":"opt-in",\
      "state":"given","subject":"\(String(repeating: "02", count: 32))","time":7}
      """
    // The signature by hand: frames, the RFC 6962 leaf hash, the batch of one.
    func frame(_ parts: [[UInt8]]) -> [UInt8] {
      parts.flatMap { part in (0..<8).map { UInt8(truncatingIfNeeded: part.count >> (8 * $0)) } + part }
    }
    let item = Hash.sha256([0] + frame([Array("accord ledger consent v2".utf8), Array(content.utf8)]))
    let message = frame([
      Array("accord ledger batch v2".utf8), fixture.store.verifyingKey.bytes, item.bytes,
      [1, 0, 0, 0, 0, 0, 0, 0],
    ])
    let signature = fixture.store.sign(message).hex
    let tail = #","signature":"\#(signature)","signer":"\#(fixture.store.verifyingKey.hex)"}"#
    let statement = try fixture.consent(event)
    #expect(
      String(decoding: statement.bytes, as: UTF8.self) == #"{"content":\#(content),"kind":"consent""# + tail)
    #expect(
      String(decoding: try statement.leaf(recordedMs: 9), as: UTF8.self)
        == #"{"content":\#(content),"kind":"consent","recorded":9"# + tail)
  }

  @Test(arguments: [2, 3, 7, 64, 255, 256])
  func `every statement of a batch proves itself alone`(size: Int) throws {
    let fixture = try Fixture()
    let statements = try fixture.consents(size, batchSize: 256)
    #expect(Set(statements.map(\.signature)).count == 1)
    for (index, statement) in statements.enumerated() where size < 10 || index % 37 == 0 || index == size - 1
    {
      #expect(statement.batch?.index == index && statement.batch?.size == size)
      let leaf = try statement.leaf(recordedMs: startMs)
      #expect(try LedgerEntry(leaf: leaf).statement == statement)
      let text = String(decoding: leaf, as: UTF8.self)
      // Another place, size or path is another statement, and nobody signed it.
      let changes = [
        ("\"index\":\(index),", "\"index\":\(index == 0 ? 1 : index - 1),"),
        (",\"size\":\(size)}", ",\"size\":\(size == 2 ? 3 : size - 1)}"),
        (",\"size\":\(size)}", ",\"size\":257}"),
        (",\"size\":\(size)}", ",\"size\":0\(size)}"), ("\"index\":\(index),", "\"index\":\(size),"),
      ]
      for (old, new) in changes {
        let changed = text.replacingOccurrences(of: old, with: new)
        #expect(changed != text)
        #expect(throws: LedgerError.self, "\(new)") { try LedgerEntry(leaf: Array(changed.utf8)) }
      }
      let path = try #require(statement.batch?.path)
      let shorter = BatchPosition(index: index, size: size, path: Array(path.dropLast()))
      let longer = BatchPosition(index: index, size: size, path: path + [path[0]])
      for batch in [shorter, longer, nil] {
        let forged = SignedStatement(
          kind: .consent, content: statement.content, signer: statement.signer,
          signature: statement.signature, batch: batch)
        #expect(throws: LedgerError.self) { try LedgerEntry(leaf: forged.leaf(recordedMs: startMs)) }
      }
    }
  }

  @Test func `bodies are batched in their order, and a bad one is named`() throws {
    let fixture = try Fixture()
    var bodies: [EntryBody] = try (0..<10).map { _ in .consent(try fixture.event()) }
    let statements = try SignedStatement.sign(bodies, key: fixture.store, batchSize: 4)
    #expect(try statements.map { try $0.body() } == bodies)
    #expect(statements.map { $0.batch?.size } == [4, 4, 4, 4, 4, 4, 4, 4, 2, 2])
    var bad = try fixture.event()
    bad.recorder = "a\nb"
    bodies[6] = .consent(bad)
    #expect(
      throws: LedgerError.refused(
        position: 6, reason: .content(.invalidText(field: "recorder", maximumBytes: 128)))
    ) { try SignedStatement.sign(bodies, key: fixture.store, batchSize: 4) }
  }

  @Test func `no changed, cut or longer leaf is accepted`() throws {
    let fixture = try Fixture()
    let statements = try fixture.everyKind().map { try fixture.sign($0, by: $1) } + fixture.consents(3)[1...1]
    for statement in statements {
      let leaf = try statement.leaf(recordedMs: startMs)
      var accepted: [Int] = []
      for index in leaf.indices {
        for bit in [UInt8(1), 32] {
          var changed = leaf
          changed[index] ^= bit
          // The time at which the ledger took it is the ledger's word, not the author's.
          if let entry = try? LedgerEntry(leaf: changed),
            entry.statement != statement || entry.recordedMs == startMs
          {
            accepted.append(index)
          }
        }
      }
      #expect(accepted == [])
      for count in stride(from: 0, to: leaf.count, by: 7) {
        #expect(throws: LedgerError.self) { try LedgerEntry(leaf: Array(leaf[..<count])) }
      }
      for extra in [[0x20], [0x7d], Array(leaf)] as [[UInt8]] {
        #expect(throws: LedgerError.self) { try LedgerEntry(leaf: leaf + extra) }
      }
    }
  }

  @Test func `the time of taking has one form`() throws {
    let fixture = try Fixture()
    let leaf = String(decoding: try fixture.consent().leaf(recordedMs: startMs), as: UTF8.self)
    for time in [
      "0\(startMs)", "-\(startMs)", "\(startMs).0", "253402300800000", "", "1e9", "99999999999999999999",
    ] {
      let changed = leaf.replacingOccurrences(of: #""recorded":\#(startMs)"#, with: #""recorded":\#(time)"#)
      #expect(throws: LedgerError.self, "\(time)") { try LedgerEntry(leaf: Array(changed.utf8)) }
    }
    #expect(throws: LedgerError.clockAhead(aheadMs: 300_001)) {
      try LedgerEntry(leaf: fixture.consent().leaf(recordedMs: startMs - 300_001))
    }
  }

  @Test func `a signature for one kind of entry is none for another`() throws {
    let fixture = try Fixture()
    let leaf = String(decoding: try fixture.consent().leaf(recordedMs: startMs), as: UTF8.self)
    let other = leaf.replacingOccurrences(of: #""kind":"consent""#, with: #""kind":"notice""#)
    #expect(throws: LedgerError.self) { try LedgerEntry(leaf: Array(other.utf8)) }
    // Also where the content would read as either.
    let approval = try fixture.sign(fixture.notice(), by: fixture.store)
    let forged = SignedStatement(
      kind: .request, content: approval.content, signer: approval.signer, signature: approval.signature,
      batch: nil)
    var check = SignatureCheck()
    let verdicts = [check.isSigned(forged), check.isSigned(approval)]
    #expect(verdicts == [false, true])
  }

  @Test func `a check that knows a batch still sees a statement that is not in it`() throws {
    let fixture = try Fixture()
    let statements = try fixture.consents(4)
    var check = SignatureCheck()
    let known = [check.isSigned(statements[0]), check.isSigned(statements[3])]
    let other = try fixture.consents(4)[1]
    let forged = SignedStatement(
      kind: .consent, content: other.content, signer: statements[1].signer,
      signature: statements[1].signature, batch: statements[1].batch)
    let verdicts = known + [check.isSigned(forged), check.isSigned(statements[2])]
    #expect(verdicts == [true, true, false, true])
  }

  /// Contents that mean the same or hide something, signed by the right key: still refused.
  @Test(arguments: [
    (#"{"actor":"#, #"{ "actor":"#), (#""time":"#, #""time":0,"time":"#),
    (#""state":"#, #""zeta":1,"state":"#),
    (#""given""#, #""g\u0069ven""#), (#""web""#, #""we\b""#), (#""web""#, "\"w\u{7f}b\""),
    (#""expires_at":1790000001000"#, #""expires_at":1790000001000.0"#), (#""steps":2"#, #""steps":02"#),
    (#""given""#, #""permitted""#), (#""opt-in""#, #""opt-maybe""#), (#""web""#, #""""#),
    (#""purpose_version":1"#, #""purpose_version":0"#), (#""customer""#, #""Customer""#),
    (#""language":"de","#, #""language":null,"#), (#""time":1790000000000"#, #""time":-1"#),
  ])
  func `a consent that is not canonical is refused though it is signed`(change: (String, String)) throws {
    let fixture = try Fixture()
    let statement = try fixture.consent(fixture.event(expires: startMs + 1000))
    let content = String(decoding: statement.content, as: UTF8.self)
    let changed = content.replacingOccurrences(of: change.0, with: change.1)
    #expect(changed != content)
    #expect(throws: LedgerError.self) {
      try LedgerEntry(leaf: fixture.signed(.consent, changed, by: fixture.store).leaf(recordedMs: startMs))
    }
    // The way of signing here is right: what was not changed is accepted.
    #expect(
      try LedgerEntry(leaf: fixture.signed(.consent, content, by: fixture.store).leaf(recordedMs: startMs))
        .statement == statement)
  }

  @Test(arguments: [
    (#"{"id":"#, #"{ "id":"#), (#""time":"#, #""time":0,"time":"#), (#""text":"#, #""tex":1,"text":"#),
    ("left", #"l\u0065ft"#), ("left", #"l\/ft"#), (#""time":1790000000000"#, #""time":1790000000000.0"#),
    (#""time":1790000000000"#, #""time":1.79e12"#), ("refusal", ""), ("no budget left", "a\tb"),
  ])
  func `a notice that is not canonical is refused though it is signed`(change: (String, String)) throws {
    let fixture = try Fixture()
    let content = String(decoding: try fixture.notice().canonicalContent(), as: UTF8.self)
    let changed = content.replacingOccurrences(of: change.0, with: change.1)
    #expect(changed != content)
    #expect(throws: LedgerError.self) {
      try LedgerEntry(leaf: fixture.signed(.notice, changed, by: fixture.logKey).leaf(recordedMs: startMs))
    }
  }

  @Test func `fields out of range are refused before they are signed`() throws {
    let fixture = try Fixture()
    let faults: [(inout RoundRecord) -> Void] = [
      { $0.epsilon = .nan }, { $0.epsilon = -0.5 }, { $0.delta = 1.5 }, { $0.delta = -0.1 },
      { $0.survivors = 9 }, { $0.participants = -1 }, { $0.taskID = "" }, { $0.mechanism = "a\nb" },
      { $0.result = .aborted(reason: "") }, { $0.evidenceRoots = Array(repeating: $0.sessionID, count: 129) },
      { $0.checkpointAgeSeconds = -1 }, { $0.startedMs = -1 },
    ]
    for fault in faults {
      var record = fixture.round()
      fault(&record)
      #expect(throws: LedgerError.self) { try fixture.sign(.round(record), by: fixture.logKey) }
    }
    #expect(throws: LedgerError.self) {
      try fixture.sign(fixture.notice(String(repeating: "x", count: 8193)), by: fixture.logKey)
    }
    #expect(throws: LedgerError.self) {
      try fixture.sign(fixture.enrolment(name: ""), by: fixture.operatorKey)
    }
  }

  @Test func `a leaf of 60,000 bytes is taken and a longer one refused`() throws {
    let fixture = try Fixture()
    func statement(_ count: Int) throws -> SignedStatement {
      try fixture.sign(
        .policy(PolicyRecord(document: [UInt8](repeating: 0x78, count: count), timeMs: 1)),
        by: fixture.officer)
    }
    let overhead = try statement(1).leaf(recordedMs: 1).count - 1
    let largest = try statement(60_000 - overhead)
    #expect(try SignedStatement.parse(leaf: largest.leaf(recordedMs: 1)).statement == largest)
    #expect(throws: LedgerError.entryTooLarge(bytes: 60_001, maximum: 60_000)) {
      try statement(60_001 - overhead).leaf(recordedMs: 1)
    }
  }
}

extension Fixture {
  /// A statement over any bytes, signed as the specification says.
  func signed(_ kind: EntryKind, _ content: String, by key: SigningKey) -> SignedStatement {
    let bytes = Array(content.utf8)
    let message = SignedStatement.message(
      root: SignedStatement.item(kind, bytes), count: 1, signer: key.verifyingKey)
    return SignedStatement(
      kind: kind, content: bytes, signer: key.verifyingKey, signature: key.sign(message), batch: nil)
  }
}
