import Consent
import ConsentLedger
import Cryptography
import Foundation
import Testing

@Test func `the canonical form of a consent entry does not change`() throws {
  let fixture = try Fixture()
  let event = ConsentEvent(
    eventID: try EventID([UInt8](repeating: 1, count: 16)),
    subject: try SubjectTag([UInt8](repeating: 2, count: 32)), purpose: purpose, state: .given,
    regime: .optIn, legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", noticeHash: "", channel: "web/app",
    method: "Häkchen", eventTimeMs: 7, expiresAtMs: 8, recorder: "till \"3\"")
  let entry = try LedgerEntry.consent(event, signedBy: fixture.store)
  let signature = fixture.store.sign(
    domain: "accord ledger consent v1",
    [
      fixture.store.verifyingKey.bytes,
      Array(
        """
        {"channel":"web/app","event_id":"01010101010101010101010101010101","expires_at":8,\
        "jurisdiction":"DE","legal_basis":"eu-gdpr:A6-1-a","method":"Häkchen","notice":"",\
        "purpose":"recommendations","purpose_version":1,"recorder":"till \\"3\\"","regime":"opt-in",\
        "state":"given","subject":"\(String(repeating: "02", count: 32))","time":7}
        """.utf8),
    ])
  #expect(entry.signature == signature)
  let text = String(decoding: try entry.leafBytes(), as: UTF8.self)
  #expect(text.hasPrefix(#"{"content":{"channel":"web/app","#))
  #expect(
    text.hasSuffix(
      #","kind":"consent","signature":"\#(signature.hex)","signer":"\#(fixture.store.verifyingKey.hex)"}"#))
  #expect(try LedgerEntry(leaf: Array(text.utf8)) == entry)
}

@Test func `every kind of entry comes back from its leaf`() throws {
  let fixture = try Fixture()
  let notice = NoticeRecord(
    id: try EventID([UInt8](repeating: 3, count: 16)), kind: "refusal", text: "no budget", timeMs: 1)
  let aborted = try fixture.round(2, result: .aborted(reason: "too few nodes"))
  for entry in [
    try fixture.consent(), try fixture.enrolment(), try .round(fixture.round(), signedBy: fixture.logKey),
    try .round(aborted, signedBy: fixture.logKey), try .notice(notice, signedBy: fixture.logKey),
  ] {
    let leaf = try entry.leafBytes()
    #expect(try LedgerEntry(leaf: leaf) == entry)
    #expect(entry.signer.verifies(entry.signature, of: try entry.signingBytes()))
    let object = try JSONSerialization.jsonObject(with: Data(leaf)) as? [String: Any]
    #expect(object?["kind"] as? String == entry.kind.rawValue)
  }
}

@Test func `no changed, cut or longer leaf is accepted`() throws {
  let fixture = try Fixture()
  for entry in [try fixture.consent(), try .round(fixture.round(), signedBy: fixture.logKey)] {
    let leaf = try entry.leafBytes()
    for index in leaf.indices {
      var changed = leaf
      changed[index] ^= 1
      #expect(throws: LedgerError.self, "byte \(index)") { try LedgerEntry(leaf: changed) }
    }
    for count in stride(from: 0, to: leaf.count, by: 7) {
      #expect(throws: LedgerError.self) { try LedgerEntry(leaf: Array(leaf[..<count])) }
    }
    #expect(throws: LedgerError.self) { try LedgerEntry(leaf: leaf + [0x20]) }
  }
}

/// Contents that mean the same or hide something, signed by the right key: still refused.
@Test(arguments: [
  (#"{"channel":"#, #"{ "channel":"#), (#""time":"#, #""time":0,"time":"#),
  (#""state":"#, #""zeta":1,"state":"#),
  (#""given""#, #""g\u0069ven""#), (#""expires_at":1790000001000"#, #""expires_at":1790000001000.0"#),
  (#""expires_at":1790000001000,"#, ""), (#""given""#, #""permitted""#), (#""opt-in""#, #""opt-maybe""#),
])
func `a content that is not canonical is refused though it is signed`(change: (String, String)) throws {
  let fixture = try Fixture()
  let leaf = try fixture.consent(fixture.event(expires: startMs + 1000)).leafBytes()
  let text = String(decoding: leaf, as: UTF8.self)
  let end = try #require(text.range(of: #","kind":"consent""#)).lowerBound
  let content = String(text[text.index(text.startIndex, offsetBy: 11)..<end])
  let changed = content.replacingOccurrences(of: change.0, with: change.1)
  #expect(changed != content)
  let key = fixture.store
  let signature = key.sign(EntryCoding.signingBytes(.consent, key.verifyingKey, Array(changed.utf8)))
  let forged =
    #"{"content":\#(changed),"kind":"consent","signature":"\#(signature.hex)","#
    + #""signer":"\#(key.verifyingKey.hex)"}"#
  if change.1.isEmpty {
    // Leaving an optional field out is another event, not another spelling: it needs its own signature.
    #expect(try LedgerEntry(leaf: Array(forged.utf8)).signer == key.verifyingKey)
  } else {
    #expect(throws: LedgerError.self) { try LedgerEntry(leaf: Array(forged.utf8)) }
  }
}

@Test func `a signature for one kind of entry is none for another`() throws {
  let fixture = try Fixture()
  let leaf = String(decoding: try fixture.consent().leafBytes(), as: UTF8.self)
  let other = leaf.replacingOccurrences(of: #""kind":"consent""#, with: #""kind":"notice""#)
  #expect(throws: LedgerError.self) { try LedgerEntry(leaf: Array(other.utf8)) }
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
    var record = try fixture.round()
    fault(&record)
    #expect(throws: LedgerError.self) { try LedgerEntry.round(record, signedBy: fixture.logKey) }
  }
  let long = NoticeRecord(
    id: try EventID([UInt8](repeating: 3, count: 16)), kind: "k", text: String(repeating: "x", count: 8193),
    timeMs: 1)
  #expect(throws: LedgerError.self) { try LedgerEntry.notice(long, signedBy: fixture.logKey) }
}

@Test func `a round without noise is recorded with an infinite epsilon`() throws {
  let fixture = try Fixture()
  var record = try fixture.round()
  record.epsilon = .infinity
  let entry = try LedgerEntry.round(record, signedBy: fixture.logKey)
  let leaf = try entry.leafBytes()
  #expect(String(decoding: leaf, as: UTF8.self).contains(#""epsilon":"inf""#))
  #expect(try LedgerEntry(leaf: leaf) == entry)
}
