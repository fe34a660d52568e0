import Consent
import Cryptography
import Foundation
import MerkleLog
import Testing

@testable import ConsentLedger

/// Questions 1, 2, 3 and 6, about one customer.
struct ReportSubjectTests {
  private static let start = ReportFixture.start
  private static let day = ReportFixture.day

  /// 7 requested, 8 given, 9 withdrawn.
  private static func alice() throws -> ReportFixture {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    try fixture.consent(.requested, "alice", at: start + day)
    try fixture.consent(.given, "alice", at: start + 2 * day, delay: 4000) {
      $0.expiresAtMs = start + 30 * day
      $0.screenHash = String(repeating: "cd", count: 32)
    }
    try fixture.consent(.withdrawn, "alice", at: start + 10 * day)
    return fixture
  }

  @Test func `answers what the log said on the day, not what it says now`() throws {
    let fixture = try Self.alice()
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let ask = { (days: Int64) in
      try reports.consent(.customer("alice"), purpose: "recommendations", atMs: Self.start + days * Self.day)
    }
    let before = try ask(1)
    #expect(before.verdict == .information)
    #expect(before.cell("decision", 0, "reason") == .text("unanswered"))
    #expect(before.column("events", "entry") == [.integer(7)])

    let during = try ask(5)
    #expect(during.verdict == .fine)
    #expect(during.cell("decision", 0, "consent") == .text("yes"))
    #expect(during.cell("decision", 0, "entry") == .integer(8))
    #expect(during.summary == "yes: consent to recommendations version 1 was in force, given by entry 8")
    // The events, the policy and its approval.
    #expect(during.evidence == [5, 6, 7, 8])
    #expect(during.basis.checkpointSize == 10)
    #expect(during.basis.policyName == "eu-retail version 1")
    #expect(!during.filters.contains { $0.value.contains("alice") })

    let after = try ask(11)
    #expect(after.cell("decision", 0, "reason") == .text("withdrawn"))
    #expect(after.cell("decision", 0, "entry") == .integer(9))
  }

  @Test func `an event counts from when the ledger took it`() throws {
    let fixture = try Self.alice()
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let at = { (ms: Int64) in
      try reports.consent(
        .customer("alice"), purpose: "recommendations", atMs: Self.start + 2 * Self.day + ms
      )
      .cell("decision", 0, "permitted")
    }
    #expect(try at(3999) == .text("no"))
    #expect(try at(4000) == .text("yes"))
  }

  @Test func `events of one millisecond are ordered by the log`() throws {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    let time = Self.start + Self.day
    try fixture.consent(.given, "bob", at: time)
    try fixture.consent(.withdrawn, "bob", at: time)
    try fixture.consent(.withdrawn, "cleo", at: time)
    try fixture.consent(.given, "cleo", at: time)
    let reports = try fixture.reports(at: time)
    let bob = try reports.consent(.customer("bob"), purpose: "recommendations", atMs: time)
    let cleo = try reports.consent(.customer("cleo"), purpose: "recommendations", atMs: time)
    #expect(bob.cell("decision", 0, "reason") == .text("withdrawn"))
    #expect(cleo.cell("decision", 0, "reason") == .text("granted"))
  }

  @Test func `silence under an opt-out is permitted and never called consent`() throws {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    let ads = Purpose(id: "ads", version: 1)
    try fixture.consent(.requested, "dora", for: ads, at: Self.start)
    try fixture.consent(.optedOut, "dora", for: ads, at: Self.start + Self.day)
    let reports = try fixture.reports(at: Self.start + 9 * Self.day)
    let silent = try reports.consent(.customer("dora"), purpose: "ads", atMs: Self.start + 1)
    #expect(silent.cell("decision", 0, "permitted") == .text("yes"))
    #expect(silent.cell("decision", 0, "consent") == .text("no"))
    #expect(silent.summary.hasPrefix("not consent"))
    #expect(silent.verdict == .information)
    let out = try reports.consent(.customer("dora"), purpose: "ads", atMs: Self.start + 2 * Self.day)
    #expect(out.cell("decision", 0, "reason") == .text("opted-out"))
  }

  @Test func `a restriction holds until it is lifted`() throws {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    try fixture.consent(.given, "bob", at: Self.start)
    try fixture.consent(.restricted, "bob", for: .every, at: Self.start + Self.day)
    try fixture.consent(.restrictionLifted, "bob", for: .every, at: Self.start + 2 * Self.day)
    let reports = try fixture.reports(at: Self.start + 9 * Self.day)
    let reasons = try [0, 1, 2].map { day in
      try reports.consent(.customer("bob"), purpose: "recommendations", atMs: Self.start + day * Self.day + 1)
        .cell("decision", 0, "reason")
    }
    #expect(reasons == [.text("granted"), .text("restricted"), .text("granted")])
  }

  @Test func `nobody, an erased customer, a bare tag and a log without policy are told apart`() throws {
    let fixture = try Self.alice()
    try fixture.consent(.erased, "alice", for: .every, at: Self.start + 20 * Self.day)
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let purpose = "recommendations"
    let unknown = try reports.consent(.customer("nobody"), purpose: purpose, atMs: Self.start)
    #expect(unknown.verdict == .unknown)
    #expect(unknown.evidence.isEmpty)
    let erased = try reports.consent(.customer("alice"), purpose: purpose, atMs: Self.start + 21 * Self.day)
    #expect(erased.cell("decision", 0, "reason") == .text("erased"))
    let before = try reports.consent(.customer("alice"), purpose: purpose, atMs: Self.start + 5 * Self.day)
    #expect(before.remarks.contains { $0.contains("erased later (entry 10)") })
    let byTag = try reports.consent(
      .tag(try fixture.tag("alice")), purpose: purpose, atMs: Self.start + 5 * Self.day)
    #expect(byTag.verdict == .fine)
    #expect(try reports.rounds(.tag(try fixture.tag("alice"))).verdict == .unknown)

    let early = try reports.consent(.customer("alice"), purpose: purpose, atMs: Self.start - 1)
    #expect(early.verdict == .unknown)
    #expect(early.cell("decision", 0, "reason") == .text("no-policy"))
  }

  @Test func `what another store granted does not count at this one`() throws {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    try fixture.consent(.given, "bob", at: Self.start, by: fixture.otherStore)
    let own = try fixture.reports(at: Self.start + 1, nodeKey: fixture.store.verifyingKey)
    let answer = try own.consent(.customer("bob"), purpose: "recommendations", atMs: Self.start + 1)
    #expect(answer.cell("decision", 0, "reason") == .text("unanswered"))
    #expect(answer.cell("events", 0, "counts") == .text("no"))
    let all = try fixture.reports(at: Self.start + 1)
    #expect(
      try all.consent(.customer("bob"), purpose: "recommendations", atMs: Self.start + 1).verdict == .fine)
  }

  @Test func `shows the notice only if its hash is right`() throws {
    let fixture = try Self.alice()
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let shown = try reports.shown(.customer("alice"), purpose: "recommendations")
    #expect(shown.verdict == .fine)
    #expect(shown.column("shown", "entry") == [.integer(7), .integer(8), .integer(9)])
    #expect(shown.cell("shown", 1, "notice") == .text(ReportFixture.noticeHash))
    #expect(shown.cell("shown", 1, "notice_title") == .text("Notice 1"))
    #expect(shown.cell("shown", 1, "language") == .text("en"))
    #expect(shown.cell("shown", 1, "screen") == .text(String(repeating: "cd", count: 32)))
    #expect(shown.cell("notices", 0, "text") == .text(ReportFixture.notice))
    #expect(shown.cell("purposes", 0, "description") == .text("Products that fit."))

    let reader = reports.reader
    let forged = try LedgerReports(
      reader: reader, index: reports.index,
      sources: .init(vault: fixture.vault, noticeText: { _ in Array("something else".utf8) }),
      nowMs: reports.nowMs)
    let answer = try forged.shown(.customer("alice"))
    #expect(answer.verdict == .attention)
    #expect(answer.cell("notices", 0, "text") == ReportCell.none)
  }

  @Test func `says who recorded, over which way, by which clocks`() throws {
    let fixture = try Self.alice()
    try fixture.consent(.given, "late", at: Self.start + 11 * Self.day, delay: 2 * Self.day)
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let answer = try reports.recorder(.customer("alice"))
    #expect(answer.verdict == .fine)
    #expect(answer.cell("recordings", 1, "node") == .text("store-1"))
    #expect(answer.cell("recordings", 1, "recorder") == .text("till 3"))
    #expect(answer.cell("recordings", 1, "delay_seconds") == .number(4))
    #expect(answer.cell("recordings", 1, "recorded") == .text("2026-01-17T12:00:04.000Z"))
    #expect(try reports.recorder(.customer("late")).verdict == .attention)
    let all = try reports.recorder()
    #expect(all.column("recorders", "events") == [.integer(4)])
    #expect(all.cell("recorders", 0, "first_entry") == .integer(7))
  }

  @Test func `a revoked store keeps its name`() throws {
    let fixture = try Self.alice()
    try fixture.append(
      .revocation(
        RevocationRecord(
          key: fixture.store.verifyingKey, reason: "closed", timeMs: Self.start + 20 * Self.day)),
      by: fixture.operatorKey, at: Self.start + 20 * Self.day)
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    #expect(
      try reports.recorder(.customer("alice")).cell("recordings", 0, "node") == .text("store-1 (revoked)"))
  }

  @Test func `lists the rounds that used a customer, and every model that descends from them`() throws {
    let fixture = try Self.alice()
    let start = Self.start
    // 10: with consent (checked at size 9); 11: after the withdrawal; 12, 14: others only, on top; 13:
    // elsewhere.
    try fixture.round(1, from: 0, to: 1, at: start + 11 * Self.day, size: 9, epsilon: 0.5) {
      $0.startedMs = start + 3 * Self.day
    }
    try fixture.round(2, from: 1, to: 2, at: start + 12 * Self.day, epsilon: .infinity)
    try fixture.round(3, from: 2, to: 3, at: start + 13 * Self.day)
    try fixture.round(4, from: 9, to: 8, at: start + 14 * Self.day)
    try fixture.round(5, from: 3, to: 5, at: start + 15 * Self.day)
    for number in [UInt64(1), 2, 77] {
      try fixture.vault.recordUse(
        sessionID: ReportFixture.session(number), round: number, subjects: ["alice"],
        timeMs: start + Int64(number) * Self.day)
    }
    let answer = try fixture.reports(at: start + 50 * Self.day).rounds(.customer("alice"))
    #expect(answer.verdict == .attention)
    #expect(answer.column("rounds", "entry") == [.integer(10), .integer(11), .none])
    #expect(answer.column("rounds", "consent") == [.text("granted"), .text("withdrawn"), .none])
    #expect(answer.column("rounds", "epsilon") == [.number(0.5), .number(.infinity), .none])
    #expect(answer.column("descendants", "entry") == [.integer(11), .integer(12), .integer(14)])
    #expect(answer.column("descendants", "used_again") == [.text("yes"), .text("no"), .text("no")])
    #expect(answer.evidence.contains(10) && answer.evidence.contains(8))
    #expect(answer.summary.contains("1 rounds have no record in the log"))
    let never = try fixture.reports(at: start + 50 * Self.day).rounds(.customer("bob"))
    #expect(never.verdict == .unknown)
  }

  @Test func `writes proofs that verify without the ledger`() throws {
    let fixture = try Self.alice()
    let reports = try fixture.reports(at: Self.start + 50 * Self.day)
    let answer = try reports.consent(
      .customer("alice"), purpose: "recommendations", atMs: Self.start + 5 * Self.day)
    let directory = fixture.path + "/proofs"
    let names = try reports.writeProofs(of: answer, to: directory)
    #expect(names == ["checkpoint"] + [5, 6, 7, 8].map { "entry-\($0).tlog-proof" })
    for name in names.dropFirst() {
      let text = try String(contentsOfFile: directory + "/" + name, encoding: .utf8)
      let proof = try TransparencyProof(parsing: text)
      let leaf = try #require(proof.extra)
      try proof.verify(leafHash: MerkleTree.leafHash(leaf), verifiers: reports.reader.verifiers)
    }
  }
}
