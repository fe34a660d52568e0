import Consent
import Foundation
import Testing

@testable import ConsentLedger

/// Question 11, and the calendar under it.
struct ReportRequestTests {
  private static let start = ReportFixture.start
  private static let day = ReportFixture.day

  @Test func `knows the calendar`() {
    #expect(ReportTime.text(0) == "1970-01-01T00:00:00.000Z")
    #expect(ReportTime.text(1_790_000_000_123) == "2026-09-21T14:13:20.123Z")
    #expect(ReportTime.day(year: 2024, month: 2, day: 29) == 19_782)
    #expect(ReportTime.monthText(ReportTime.month(Self.start)) == "2026-01")
    for day in stride(from: Int64(-800_000), through: 3_000_000, by: 997) {
      let date = ReportTime.civil(day)
      #expect(ReportTime.day(year: date.year, month: date.month, day: date.day) == day)
    }
    #expect(ReportTime.day(-1) == -1 && ReportTime.day(0) == 0)
    #expect(ReportTime.parse("2026-01-15") == Self.start + Self.day / 2 - 1)
    #expect(ReportTime.parse("2026-01-15T12:00:00Z") == Self.start)
    #expect(ReportTime.parse("2026-01-15T12:00:00.5Z") == Self.start + 500)
    for text in [
      "2026-02-30", "2026-1-5", "2026-01-15T12:00:00", "2026-01-15T24:00:00Z", "x", "", "+026-01-01",
    ] {
      #expect(ReportTime.parse(text) == nil, "\(text)")
    }
  }

  @Test func `counts business days without weekends`() {
    let thursday = ReportTime.day(Self.start)
    #expect(!ReportTime.isWeekend(thursday))
    #expect(ReportTime.isWeekend(thursday + 2) && ReportTime.isWeekend(thursday + 3))
    #expect(ReportTime.businessDay(0, after: thursday) == thursday)
    #expect(ReportTime.businessDay(1, after: thursday) == thursday + 1)
    #expect(ReportTime.businessDay(2, after: thursday) == thursday + 4)
    #expect(ReportTime.businessDay(10, after: thursday) == thursday + 14)
    #expect(ReportTime.businessDay(1, after: thursday + 2) == thursday + 4)
    #expect(ReportTime.businessDay(5, after: thursday + 3) == thursday + 8)
  }

  private static func fixture() throws -> ReportFixture {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    return fixture
  }

  @Test func `runs each law's clock to the end of its last day`() throws {
    let fixture = try Self.fixture()
    let start = Self.start
    let end = { (days: Int64) in ReportTime.end(ofDay: ReportTime.day(start) + days) }
    try fixture.step(.received, 1, .access, .gdpr, at: start)
    try fixture.step(.received, 2, .access, .gdpr, at: start)
    try fixture.step(.received, 3, .know, .ccpa, at: start)
    try fixture.step(.received, 4, .delete, .ccpa, at: start)
    try fixture.step(.received, 5, .optOut, .ccpa, at: start)
    try fixture.step(.received, 6, .erasure, .gdpr, at: start)
    try fixture.step(.acknowledged, 3, .know, .ccpa, at: end(14))
    try fixture.step(.acknowledged, 4, .delete, .ccpa, at: end(14) + 1)
    try fixture.step(.completed, 5, .optOut, .ccpa, at: end(21) + 1, response: "done")
    try fixture.step(.extended, 6, .erasure, .gdpr, at: end(29), basis: "complex")
    try fixture.step(.completed, 1, .access, .gdpr, at: end(30), response: "copy sent")
    try fixture.step(.denied, 2, .access, .gdpr, at: end(30) + 1, basis: "identity not proven")
    try fixture.step(.extended, 3, .know, .ccpa, at: end(45) + 1, basis: "too late to extend")
    let answer = try fixture.reports(at: end(46)).requests()
    #expect(
      answer.column("requests", "status").map(\.display) == [
        "on time", "late", "overdue", "overdue", "late", "open",
      ])
    #expect(
      answer.column("requests", "acknowledged_in_time") == [
        .none, .none, .text("yes"), .text("no"), .none, .none,
      ])
    #expect(answer.cell("requests", 5, "answer_by") == .text(ReportTime.date(end(90))))
    #expect(answer.cell("requests", 4, "answer_by") == .text(ReportTime.date(end(21))))
    #expect(answer.cell("requests", 1, "outcome") == .text("denied"))
    #expect(answer.cell("requests", 1, "basis") == .text("identity not proven"))
    #expect(answer.verdict == .attention)
    // Three open: one extended, 46 days old, two overdue.
    #expect(answer.column("ageing", "in_time") == [0, 0, 0, 0, 1, 0].map { .integer($0) })
    #expect(answer.column("ageing", "overdue") == [0, 0, 0, 0, 2, 0].map { .integer($0) })
    #expect(answer.cell("natures", 0, "median_days") == .number(30.5))
    #expect(try fixture.reports(at: end(46)).requests(openOnly: true).table("requests")?.rows.count == 3)
  }

  @Test func `takes the limits of the policy in force when the request came`() throws {
    let fixture = try Self.fixture()
    try fixture.step(.received, 1, .access, .gdpr, at: Self.start)
    var stricter = ReportFixture.policy(version: 2)
    stricter.limits.gdprAnswerDays = 7
    try fixture.adopt(stricter, at: Self.start + 1)
    try fixture.step(.received, 2, .access, .gdpr, at: Self.start + 2)
    let answer = try fixture.reports(at: Self.start + 10 * Self.day).requests()
    #expect(answer.column("requests", "status") == [.text("open"), .text("overdue")])
  }

  @Test func `a request without a receipt is told`() throws {
    let fixture = try Self.fixture()
    try fixture.step(.completed, 1, .access, .gdpr, at: Self.start, response: "done")
    let answer = try fixture.reports(at: Self.start).requests()
    #expect(answer.verdict == .attention)
    #expect(answer.summary.contains("1 without a record of their receipt"))
  }

  @Test func `the first answer counts`() throws {
    let fixture = try Self.fixture()
    try fixture.step(.received, 1, .access, .gdpr, at: Self.start)
    try fixture.step(.denied, 1, .access, .gdpr, at: Self.start + 1, basis: "first")
    try fixture.step(.completed, 1, .access, .gdpr, at: Self.start + 90 * Self.day, response: "second")
    let answer = try fixture.reports(at: Self.start + 91 * Self.day).requests()
    #expect(answer.cell("requests", 0, "status") == .text("on time"))
    #expect(answer.cell("requests", 0, "outcome") == .text("denied"))
  }
}
