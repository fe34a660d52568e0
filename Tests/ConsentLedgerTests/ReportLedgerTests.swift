import Consent
import Cryptography
import Foundation
import MerkleLog
import Testing

@testable import ConsentLedger

/// Questions 4, 5, 7 to 10 and 12, about the whole log.
struct ReportLedgerTests {
  private static let start = ReportFixture.start
  private static let day = ReportFixture.day

  private static func fixture() throws -> ReportFixture {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    return fixture
  }

  @Test func `an empty ledger answers everything`() throws {
    let fixture = try ReportFixture()
    let reports = try fixture.reports(at: Self.start)
    #expect(try reports.consent(.customer("x"), purpose: "p", atMs: Self.start).verdict == .unknown)
    #expect(try reports.shown(.customer("x")).verdict == .unknown)
    #expect(try reports.recorder().table("recorders")?.rows.isEmpty == true)
    #expect(try reports.ease().verdict == .unknown)
    #expect(try reports.withdrawals().verdict == .unknown)
    #expect(try reports.rounds(.customer("x")).verdict == .unknown)
    #expect(try reports.model("0011223344").verdict == .unknown)
    #expect(try reports.history(since: reports.reader.checkpoint.noteText).verdict == .fine)
    #expect(try reports.expiry().table("totals")?.rows.isEmpty == true)
    #expect(try reports.minors().verdict == .unknown)
    #expect(try reports.requests().verdict == .fine)
    #expect(try reports.processing().verdict == .unknown)
    #expect(try reports.overview().basis.checkpointSize == 0)
    for question in ReportQuestion.allCases { #expect(!question.title.isEmpty) }
    #expect(ReportQuestion.processing.number == 12 && ReportQuestion.consent.number == 1)
  }

  @Test func `withdrawing is as easy as giving where it takes no more steps and no more time`() throws {
    let fixture = try Self.fixture()
    func add(_ state: ConsentState, _ name: String, _ channel: String, _ steps: Int?, _ ms: Int64?) throws {
      try fixture.consent(state, name, at: Self.start) {
        $0.channel = channel
        $0.steps = steps
        $0.durationMs = ms
      }
    }
    for (name, steps, ms) in [("a", 2, 4000), ("b", 2, 6000), ("c", 3, 5000)] as [(String, Int, Int64)] {
      try add(.given, name, "web", steps, ms)
      try add(.given, name + "2", "till", steps, ms)
    }
    try add(.withdrawn, "a", "web", 1, 5400)
    try add(.withdrawn, "a2", "till", 4, 1000)
    try add(.given, "d", "app", 1, nil)
    // A program's withdrawal says nothing about customers.
    try fixture.consent(.withdrawn, "d", at: Self.start) {
      $0.channel = "app"
      $0.actor = .system
    }
    let answer = try fixture.reports(at: Self.start).ease()
    #expect(answer.column("channels", "channel") == [.text("app"), .text("till"), .text("web")])
    #expect(
      answer.column("channels", "verdict") == [
        .text("not known: nobody withdrew here"), .text("no"), .text("yes"),
      ])
    #expect(answer.cell("channels", 2, "steps_give") == .number(2))
    #expect(answer.cell("channels", 2, "seconds_give") == .number(5))
    #expect(answer.cell("channels", 2, "seconds_withdraw") == .number(5.4))
    #expect(answer.verdict == .attention)
  }

  @Test func `counts withdrawals against the limit of the policy of their time`() throws {
    let fixture = try Self.fixture()
    var enforcements: [Enforcement] = []
    func act(_ state: ConsentState, _ name: String, by key: SigningKey, after ms: Int64, at time: Int64)
      throws
    {
      let index = try fixture.consent(state, name, at: time, by: key)
      enforcements.append(Enforcement(index: LeafIndex(index), recordedMs: time, enforcedMs: time + ms))
    }
    try act(.withdrawn, "a", by: fixture.store, after: 1000, at: Self.start)  // 7: within a second
    try act(.withdrawn, "b", by: fixture.store, after: 1001, at: Self.start)  // 8: late
    try act(.objected, "c", by: fixture.otherStore, after: 59_000, at: Self.start)  // 9
    try act(.requested, "d", by: fixture.store, after: 90_000, at: Self.start)  // 10: ends nothing
    var stricter = ReportFixture.policy(version: 2)
    stricter.limits.maximumCheckpointAgeSeconds = 30
    try fixture.adopt(stricter, at: Self.start + 1)
    try act(.withdrawn, "e", by: fixture.otherStore, after: 59_000, at: Self.start + 2)  // 13: late now
    try act(.erased, "f", by: fixture.store, after: -5, at: Self.start + 3)  // 14: clocks disagree
    let reports = try fixture.reports(
      at: Self.start + 100_000, enforcements: enforcements, nodeKey: fixture.store.verifyingKey)
    let answer = try reports.withdrawals()
    #expect(answer.verdict == .attention)
    #expect(answer.column("violations", "entry") == [.integer(8), .integer(13)])
    #expect(answer.evidence == [8, 13])
    #expect(answer.column("latencies", "withdrawals") == [.integer(3), .integer(2)])
    #expect(answer.column("latencies", "p50_seconds") == [.number(1), .number(59)])
    #expect(answer.column("latencies", "max_seconds") == [.number(1.001), .number(59)])
    let total = answer.column("histogram", "own") + answer.column("histogram", "other")
    let sum = total.reduce(Int64(0)) { sum, cell in
      if case .integer(let count) = cell { sum + count } else { sum }
    }
    #expect(sum == 5)
    #expect(LedgerReports.percentile(Array(1...100), 99) == 99)
    #expect(LedgerReports.percentile([7], 50) == 7)
    #expect(LedgerReports.percentile([], 50) == nil)
  }

  @Test func `follows a model back to the first and never calls it unlearned`() throws {
    let fixture = try Self.fixture()
    try fixture.consent(.given, "a", at: Self.start)  // 7
    try fixture.round(1, from: 0, to: 1, at: Self.start)  // 8, checked at size 8
    try fixture.round(2, from: 1, to: 2, at: Self.start)  // 9
    try fixture.round(3, from: 1, to: 3, at: Self.start)  // 10: another branch
    try fixture.consent(.withdrawn, "a", at: Self.start + 1)  // 11
    try fixture.round(4, from: 2, to: 4, at: Self.start + 2) { $0.policyHash = nil }  // 12
    let reports = try fixture.reports(at: Self.start + 10)
    let fine = try reports.model(ReportFixture.model(2).hex)
    #expect(fine.verdict == .fine)
    #expect(fine.column("lineage", "entry") == [.integer(8), .integer(9)])
    #expect(fine.cell("lineage", 0, "checkpoint_size") == .integer(8))
    #expect(fine.cell("lineage", 0, "policy") == .text("eu-retail version 1"))
    #expect(fine.cell("since", 0, "ended") == .integer(1))
    #expect(fine.remarks.contains { $0.contains("not called unlearned") })
    let bad = try reports.model(String(ReportFixture.model(4).hex.prefix(10)))
    #expect(bad.verdict == .attention)
    #expect(bad.column("lineage", "problem") == [.none, .none, .text("it names no policy")])
    #expect(try reports.model("00").verdict == .unknown)
    #expect(try reports.model(String(repeating: "00", count: 32)).verdict == .unknown)
  }

  @Test func `a loop of models ends`() throws {
    let fixture = try Self.fixture()
    try fixture.round(1, from: 1, to: 1, at: Self.start)
    try fixture.round(2, from: 1, to: 2, at: Self.start)
    try fixture.round(3, from: 2, to: 1, at: Self.start)
    let reports = try fixture.reports(at: Self.start)
    #expect(try reports.model(ReportFixture.model(1).hex).column("lineage", "entry").count == 3)
    #expect(LedgerReports.descendants(of: [ReportFixture.model(1)], try reports.allRounds()).count == 2)
  }

  @Test func `tells a log that grew from one that was changed`() throws {
    let fixture = try Self.fixture()
    let old = try fixture.reports(at: Self.start).reader.checkpoint.noteText
    try fixture.consent(.given, "a", at: Self.start)
    let reports = try fixture.reports(at: Self.start)
    let answer = try reports.history(since: old)
    #expect(answer.verdict == .fine)
    #expect(answer.cell("added", 0, "entries") == .integer(1))
    #expect(answer.filters.first == ReportFilter("since size", "7"))

    // The same log's keys under another tree.
    let forged = try SignedCheckpoint.sign(
      Checkpoint(origin: "accord.test/log", size: 7, root: Hash.sha256([1])), timestampSeconds: 1,
      logKey: fixture.logKey, freshnessKey: fixture.freshnessKey)
    #expect(try reports.history(since: forged.noteText).summary.hasPrefix("HISTORY WAS CHANGED"))
    let longer = try SignedCheckpoint.sign(
      Checkpoint(origin: "accord.test/log", size: 70, root: Hash.sha256([1])), timestampSeconds: 1,
      logKey: fixture.logKey, freshnessKey: fixture.freshnessKey)
    #expect(try reports.history(since: longer.noteText).verdict == .attention)
    let stranger = try SignedCheckpoint.sign(
      Checkpoint(origin: "accord.test/log", size: 7, root: Hash.sha256([1])), timestampSeconds: 1,
      logKey: fixture.store, freshnessKey: fixture.freshnessKey)
    #expect(try reports.history(since: stranger.noteText).verdict == .attention)
    #expect(try reports.history(since: "no note").verdict == .attention)
  }

  @Test func `says what runs out when and who may be asked again`() throws {
    let fixture = try Self.fixture()
    let start = Self.start
    try fixture.consent(.given, "a", at: start) { $0.expiresAtMs = start + 20 * Self.day }  // February
    try fixture.consent(.given, "b", at: start) { $0.expiresAtMs = start + 400 * Self.day }  // February 2027
    try fixture.consent(.given, "c", at: start)
    try fixture.consent(.given, "d", at: start) { $0.expiresAtMs = start + 2 * Self.day }
    try fixture.consent(.refused, "e", at: start)  // 366 days: January 2027
    try fixture.consent(.requested, "f", at: start) { $0.askAgainAtMs = start + 60 * Self.day }  // March
    try fixture.consent(.given, "g", at: start) { $0.expiresAtMs = start + 20 * Self.day }
    try fixture.consent(.erased, "g", for: .every, at: start + 1)
    try fixture.consent(.given, "h", at: start) { $0.expiresAtMs = start + 20 * Self.day }
    try fixture.consent(.renewed, "h", at: start + 1) { $0.expiresAtMs = start + 400 * Self.day }
    let reports = try fixture.reports(at: start + 5 * Self.day)
    let answer = try reports.expiry(horizonMonths: 3)
    #expect(answer.column("expiring", "month").map(\.display) == ["2026-01", "2026-02", "2026-03", "later"])
    #expect(
      answer.column("expiring", "purpose_recommendations") == [
        .integer(0), .integer(1), .integer(0), .integer(2),
      ])
    #expect(
      answer.column("askable", "purpose_recommendations") == [
        .integer(1), .integer(0), .integer(1), .integer(1),
      ])
    #expect(answer.cell("totals", 0, "in_force") == .integer(4))
    #expect(answer.cell("totals", 0, "endless") == .integer(1))
    #expect(answer.cell("totals", 0, "run_out") == .integer(1))
    let one = try reports.expiry(of: .customer("e"))
    #expect(one.cell("customer", 0, "ask_again") == .text(ReportTime.text(start + 366 * Self.day)))
    #expect(one.cell("customer", 0, "permitted") == .text("no"))
    #expect(
      try reports.expiry(of: .customer("a")).cell("customer", 0, "expires")
        == .text("2026-02-04T12:00:00.000Z"))
  }

  @Test func `counts how consent stands and stood`() throws {
    let fixture = try Self.fixture()
    let start = Self.start
    let month = 31 * Self.day
    try fixture.consent(.given, "a", at: start)
    try fixture.consent(.given, "b", at: start) { $0.expiresAtMs = start + 2 * month }
    try fixture.consent(.given, "c", at: start)
    try fixture.consent(.withdrawn, "c", for: .every, at: start + month)
    try fixture.consent(.given, "c", at: start + month + 1)
    try fixture.consent(.restricted, "a", at: start + month + 2)
    try fixture.consent(
      .globalPrivacyControl, "e", for: Purpose(id: "ads", version: 1), at: start + month + 3)
    let reports = try fixture.reports(at: start + 3 * month)
    let answer = try reports.overview()
    let names = answer.column("standing", "purpose")
    #expect(names == [.text("ads"), .text("recommendations")])
    #expect(answer.column("standing", "in_force") == [.integer(0), .integer(1)])
    #expect(answer.column("standing", "run_out") == [.integer(0), .integer(1)])
    #expect(answer.column("standing", "restricted") == [.integer(0), .integer(1)])
    #expect(answer.column("standing", "privacy_signal") == [.integer(1), .integer(0)])
    // January 3, February 2 (one restricted), March 1 (one ran out), April.
    #expect(
      answer.column("months", "purpose_recommendations") == [
        .integer(3), .integer(2), .integer(1), .integer(1),
      ])
    #expect(answer.column("movements", "granted") == [.integer(3), .integer(1)])
  }

  @Test func `finds grants of minors and for sensitive purposes that lack what they need`() throws {
    let fixture = try Self.fixture()
    let health = Purpose(id: "health", version: 1)
    try fixture.consent(.given, "adult", at: Self.start)
    let child = try fixture.consent(.given, "child", at: Self.start) {
      $0.ageBand = .fourteen
      $0.actor = .guardian
    }
    try fixture.consent(.given, "patient", for: health, at: Self.start) { $0.consentType = .explicit }
    let fine = try fixture.reports(at: Self.start).minors()
    #expect(fine.verdict == .fine)
    #expect(fine.column("grants", "purpose") == [.text("health"), .text("recommendations")])
    #expect(fine.cell("grants", 1, "first_entry") == .count(child))
    #expect(fine.cell("grants", 1, "consent_age") == .integer(16))
    #expect(fine.evidence.contains(child))

    // A stricter policy: what was taken before does not count any more.
    var stricter = ReportFixture.policy(version: 2)
    stricter.purposes[0].minors = .never
    stricter.purposes[1].version = 2
    try fixture.adopt(stricter, at: Self.start + 1)
    let answer = try fixture.reports(at: Self.start + 1).minors()
    #expect(answer.verdict == .attention)
    #expect(
      answer.column("grants", "problem")
        == [.text("another version of the purpose is in force"), .text("closed to minors")])
  }

  @Test func `compares what the policy declares with what the rounds did`() throws {
    let fixture = try Self.fixture()
    try fixture.consent(.given, "a", at: Self.start)
    try fixture.round(1, from: 0, to: 1, at: Self.start, epsilon: 0.5)
    try fixture.round(2, from: 1, to: nil, at: Self.start + 1, epsilon: 0.75) {
      $0.result = .aborted(reason: "too few")
    }
    let fine = try fixture.reports(at: Self.start + 2).processing()
    #expect(fine.verdict == .fine)
    #expect(fine.cell("controller", 0, "value") == .text("Muster Handel"))
    #expect(fine.column("activities", "in_force") == [.integer(1), .integer(0), .integer(0)])
    #expect(fine.column("bases", "regime") == [.text("opt-in"), .text("opt-in"), .text("opt-out")])
    #expect(fine.column("use", "rounds") == [.integer(2), .none, .none])
    #expect(fine.cell("use", 0, "completed") == .integer(1))
    #expect(fine.cell("use", 0, "epsilon") == .number(0.75))
    try fixture.round(3, from: 1, to: 2, at: Self.start + 3) {
      $0.purpose = Purpose(id: "secret", version: 1)
    }
    let bad = try fixture.reports(at: Self.start + 4).processing()
    #expect(bad.verdict == .attention)
    #expect(bad.summary.contains("secret"))
    #expect(bad.evidence.contains(10))
  }
}
