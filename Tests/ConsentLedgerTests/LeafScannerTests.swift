import Consent
@testable import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Testing

/// The scanner of the verifier reads most consents in place: it has to accept exactly what decoding and the rules
/// accept, and to say the same about it.
@Suite struct LeafScannerTests {
  /// A log whose next entry is asked about, and the two ways to read it.
  private struct Bench {
    let fixture: Fixture
    let rules: LedgerRules
    var scanner: LeafScanner
    let next: UInt64
    var accepted = 0
    var refused = 0

    init(policy: Policy = Fixture.policy()) throws {
      fixture = try Fixture()
      var rules = LedgerRules(
        logKey: fixture.logKey.verifyingKey, operatorKey: fixture.operatorKey.verifyingKey)
      var controls: [ControlEntry] = []
      for statement in try fixture.beginning(policy) {
        let entry = try LedgerEntry(leaf: statement.leaf(recordedMs: startMs))
        let index = UInt64(controls.count)
        try rules.admit(
          entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
        controls.append(ControlEntry(entry, at: index, rules))
      }
      self.rules = rules
      scanner = LeafScanner(
        logKey: fixture.logKey.verifyingKey, operatorKey: fixture.operatorKey.verifyingKey, controls: controls
      )
      next = UInt64(controls.count)
    }

    /// Reads a leaf both ways; nil if they agree.
    mutating func difference(_ leaf: [UInt8]) -> String? {
      var scanner = scanner
      var slow: LedgerEntry?
      do {
        var rules = rules
        let entry = try LedgerEntry(leaf: leaf)
        try rules.admit(
          entry.body, signer: entry.signer, index: next, recordedMs: entry.recordedMs, isNew: false)
        if entry.kind.changesRules { scanner.extend([ControlEntry(entry, at: next, rules)]) }
        slow = entry
      } catch {}
      do {
        try scanner.scan(leaf, at: next)
        // Only the caller sees several entries.
        guard scanner.recordedMs >= rules.lastRecordedMs else { throw LedgerError.timeWentBack }
      } catch {
        refused += 1
        return slow.map { _ in "only the scanner refuses \(String(decoding: leaf, as: UTF8.self)): \(error)" }
      }
      accepted += 1
      guard let slow else { return "only the scanner accepts \(String(decoding: leaf, as: UTF8.self))" }
      return Self.isSame(scanner, slow) ? nil : "another content of \(String(decoding: leaf, as: UTF8.self))"
    }

    private static func isSame(_ scanner: LeafScanner, _ entry: LedgerEntry) -> Bool {
      guard scanner.kind == entry.kind, scanner.recordedMs == entry.recordedMs,
        scanner.identity == entry.body.identity
      else { return false }
      guard case .consent(let event) = entry.body else { return true }
      let (a, b) = (scanner.event, ScannedEvent(event))
      return a.eventID == b.eventID && a.subject == b.subject && a.state == b.state && a.time == b.time
        && a.expires == b.expires && a.notBefore == b.notBefore && a.askAgain == b.askAgain
        && a.steps == b.steps && a.duration == b.duration
        && scanner.form(a.form) == IndexWriter.Circumstance(event, signer: entry.signer)
    }

    /// Lets the scanner learn the form of a leaf.
    mutating func learn(_ leaf: [UInt8]) throws { try scanner.scan(leaf, at: next) }

    /// A leaf of the store with any bytes as its content, rightly signed.
    func signed(_ content: [UInt8], _ kind: EntryKind = .consent, recordedMs: Int64 = startMs) throws
      -> [UInt8]
    {
      let key = fixture.store
      let message = SignedStatement.message(
        root: SignedStatement.item(kind, content), count: 1, signer: key.verifyingKey)
      return try SignedStatement(
        kind: kind, content: content, signer: key.verifyingKey, signature: key.sign(message), batch: nil
      ).leaf(recordedMs: recordedMs)
    }
  }

  /// Every byte changed in some ways, taken out, and others put before it.
  private static func mutations(_ bytes: [UInt8], flips: [UInt8], inserted: [UInt8]) -> [[UInt8]] {
    var all: [[UInt8]] = []
    for place in bytes.indices {
      for flip in flips {
        var changed = bytes
        changed[place] ^= flip
        all.append(changed)
      }
      var shorter = bytes
      shorter.remove(at: place)
      all.append(shorter)
      for byte in inserted {
        var longer = bytes
        longer.insert(byte, at: place)
        all.append(longer)
      }
    }
    return all
  }

  /// A grant with every optional field.
  private static func full(_ fixture: Fixture) throws -> ConsentEvent {
    var event = try fixture.event(expires: startMs + 86_400_000)
    event.askAgainAtMs = startMs + 5
    event.commitment = String(repeating: "0f", count: 32)
    event.notBeforeMs = startMs + 1
    event.previous = try fixture.id()
    event.screenHash = String(repeating: "e1", count: 32)
    event.recorder = #"Käthe "7" \ 東京"#
    return event
  }

  @Test func `alike consents are read in place, others are not`() throws {
    var bench = try Bench()
    let fixture = bench.fixture
    let statements = try fixture.consents(64) + fixture.consents(3, batchSize: 1)
    for statement in statements {
      try bench.scanner.scan(statement.leaf(recordedMs: startMs), at: bench.next)
    }
    // All but the first.
    #expect(bench.scanner.scannedInPlace == 66)
    let withdrawal = try fixture.consent(fixture.event(.withdrawn)).leaf(recordedMs: startMs)
    try bench.learn(withdrawal)
    #expect(bench.scanner.scannedInPlace == 66)
    try bench.learn(withdrawal)
    #expect(bench.scanner.scannedInPlace == 67)
    let full = try fixture.consent(Self.full(fixture)).leaf(recordedMs: startMs)
    for _ in 0..<2 { try bench.learn(full) }
    #expect(bench.scanner.scannedInPlace == 68)
    // What changes the rules makes it forget.
    let revocation = try fixture.sign(
      .revocation(RevocationRecord(key: fixture.store.verifyingKey, reason: "r", timeMs: startMs)),
      by: fixture.operatorKey)
    let entry = try LedgerEntry(leaf: revocation.leaf(recordedMs: startMs))
    bench.scanner.extend([ControlEntry(entry, at: bench.next, bench.rules)])
    #expect(throws: LedgerError.notEnrolled(signer: fixture.store.verifyingKey)) {
      try bench.scanner.scan(full, at: bench.next + 1)
    }
    #expect(bench.scanner.scannedInPlace == 68)
  }

  @Test func `agrees about leaves of every kind with any byte changed, missing or too many`() throws {
    var bench = try Bench()
    let fixture = bench.fixture
    let batch = try fixture.consents(3)
    let revoked = EntryBody.revocation(
      RevocationRecord(key: fixture.store.verifyingKey, reason: "r", timeMs: startMs))
    let statements = try [
      batch[2], fixture.consent(Self.full(fixture)), fixture.sign(fixture.request(), by: fixture.store),
      fixture.sign(.round(fixture.round()), by: fixture.logKey),
      fixture.sign(fixture.notice(), by: fixture.logKey),
      fixture.sign(fixture.enrolment(fixture.stranger), by: fixture.operatorKey),
      fixture.sign(revoked, by: fixture.operatorKey),
      fixture.sign(fixture.proposal(Fixture.tinyPolicy), by: fixture.officer),
      fixture.sign(fixture.approval(of: Hash.sha256([1]), .erasure), by: fixture.officer),
    ]
    var differences: [String] = []
    for statement in statements {
      let leaf = try statement.leaf(recordedMs: startMs)
      if statement.kind == .consent { try bench.learn(leaf) }
      differences += [bench.difference(leaf)].compactMap { $0 }
      for changed in Self.mutations(leaf, flips: [1, 0x20], inserted: [0x30]) {
        if let found = bench.difference(changed) { differences.append(found) }
      }
    }
    #expect(differences.prefix(5) == [])
    // The time at which it was taken is covered by no signature.
    #expect(bench.accepted > statements.count && bench.refused > 20_000)
  }

  /// The signature hides nothing: every content is signed anew.
  @Test func `agrees about signed contents with any byte changed, missing or too many`() throws {
    var bench = try Bench()
    let fixture = bench.fixture
    var differences: [String] = []
    for event in try [Self.full(fixture), fixture.event(.withdrawn)] {
      let content = try event.canonicalContent()
      try bench.learn(bench.signed(content))
      for changed in Self.mutations(content, flips: [1, 2, 0x40], inserted: [0x22, 0x39, 0x5c]) {
        if let found = bench.difference(try bench.signed(changed)) { differences.append(found) }
      }
    }
    #expect(differences.prefix(5) == [])
    #expect(bench.accepted > 500 && bench.refused > 3000)
  }

  @Test func `agrees about random contents`() throws {
    var bench = try Bench(policy: Self.limited)
    var random = RandomStream(testSeed: 7)
    var differences: [String] = []
    var inPlace = 0
    let digest = Hash.sha256(Self.limited.canonicalBytes).hex
    func pick<T>(_ values: [T]) -> T { values[Int(random.word() % UInt64(values.count))] }
    func some<T>(_ values: [T]) -> T? { random.word() % 2 == 0 ? nil : pick(values) }
    let times: [Int64] = [
      0, 1, startMs - 1, startMs, startMs + 1, startMs + 86_400_000, startMs + 86_400_001, startMs + 300_000,
      startMs + 300_001, 253_402_300_799_999, 253_402_300_800_000, 999_999_999_999_999_999, .max, -1,
    ]
    let texts = ["a", "é", "東京", #"a"b\c"#, String(repeating: "x", count: 65), "", "a\u{7f}", "\n", "DE"]
    for _ in 0..<3000 {
      var event = try bench.fixture.event()
      event.state = pick(ConsentState.allCases)
      event.policyHash = event.state.isGrant ? digest : nil
      event.consentType = event.state.isGrant ? .expressed : .none
      event.expiresAtMs = event.state.isGrant ? startMs + 1000 : nil
      for _ in 0..<pick([0, 1, 1, 2, 3]) {
        switch random.word() % 18 {
        case 0: event.actor = pick(ActorRole.allCases)
        case 1: event.ageBand = pick(AgeBand.allCases)
        case 2: event.consentType = pick(ConsentType.allCases)
        case 3: event.regime = pick(Regime.allCases)
        case 4: event.askAgainAtMs = some(times)
        case 5: event.expiresAtMs = some(times)
        case 6: event.notBeforeMs = some(times)
        case 7: event.eventTimeMs = pick(times)
        case 8: event.durationMs = some([0, 86_400_000, 86_400_001])
        case 9: event.steps = some([0, 1000, 1001])
        case 10: event.channel = pick(texts)
        case 11: event.recorder = pick(texts)
        case 12: event.language = some(texts)
        case 13: event.jurisdiction = pick(texts + ["US-CA", "unknown"])
        case 14: event.noticeHash = some([digest, "ab", digest.uppercased()])
        case 15: event.screenHash = some([digest, "ab", digest.uppercased()])
        case 16:
          event.purpose = pick([
            .every, purpose, Purpose(id: "a", version: 1), Purpose(id: purpose.id, version: 2),
          ])
        default: event.previous = some([event.eventID])
        }
      }
      let recordedMs = pick([startMs, startMs, startMs + 1, startMs - 1])
      let leaf = try bench.signed(event.unchecked(), recordedMs: recordedMs)
      let before = bench.scanner.scannedInPlace
      if let found = bench.difference(leaf) { differences.append(found) }
      // Learns along the way, so that later ones are read in place.
      if recordedMs == startMs { try? bench.learn(leaf) }
      if let found = bench.difference(leaf) { differences.append(found) }
      inPlace += bench.scanner.scannedInPlace - before
    }
    #expect(differences.prefix(5) == [])
    #expect(bench.accepted > 1000 && bench.refused > 1000 && inPlace > 100)
  }

  /// Grants last one day at most.
  private static let limited: Policy = {
    var policy = Fixture.policy()
    policy.purposes[0].grantLifetimeDays = 1
    return policy
  }()
}

extension ConsentEvent {
  /// The content as it would be written, whether or not it may be.
  fileprivate func unchecked() -> [UInt8] {
    func quoted(_ text: String) -> String {
      "\"" + text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\"", with: "\\\"")
        + "\""
    }
    let fields: [(String, String?)] = [
      ("actor", quoted(actor.rawValue)), ("age_band", quoted(ageBand.rawValue)),
      ("ask_again", askAgainAtMs.map { "\($0)" }), ("channel", quoted(channel)),
      ("commitment", commitment.map(quoted)), ("consent_type", quoted(consentType.rawValue)),
      ("duration_ms", durationMs.map { "\($0)" }), ("event_id", quoted(eventID.hex)),
      ("expires_at", expiresAtMs.map { "\($0)" }), ("jurisdiction", quoted(jurisdiction)),
      ("language", language.map(quoted)), ("legal_basis", quoted(legalBasis)), ("method", quoted(method)),
      ("not_before", notBeforeMs.map { "\($0)" }), ("notice", noticeHash.map(quoted)),
      ("policy", policyHash.map(quoted)), ("previous", previous.map { quoted($0.hex) }),
      ("purpose", quoted(purpose.id)), ("purpose_version", "\(purpose.version)"),
      ("record_id", quoted(recordID.hex)), ("recorder", quoted(recorder)),
      ("regime", quoted(regime.rawValue)),
      ("screen", screenHash.map(quoted)), ("state", quoted(state.rawValue)), ("steps", steps.map { "\($0)" }),
      ("subject", quoted(subject.hex)), ("time", "\(eventTimeMs)"),
    ]
    let texts = fields.compactMap { name, value in value.map { "\"\(name)\":\($0)" } }
    return Array("{\(texts.joined(separator: ","))}".utf8)
  }
}
