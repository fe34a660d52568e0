import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Testing

@testable import ConsentLedger

/// All questions on a log of many events. `ACCORD_REPORT_EVENTS=1000000 swift test -c release -Xswiftc
/// -enable-testing --filter ReportScaleTests` prints the times of a large one.
struct ReportScaleTests {
  private static let count =
    ProcessInfo.processInfo.environment["ACCORD_REPORT_EVENTS"].flatMap { Int($0) } ?? 20_000

  @Test func `answers agree with each other on a log of many events`() throws {
    let fixture = try ReportFixture()
    var random = RandomStream(testSeed: 3)
    let stores = (0..<20).map { _ in SigningKey(using: &random) }
    let clock = ContinuousClock()
    var filled: (enforcements: [Enforcement], endMs: Int64) = ([], 0)
    let filling = try clock.measure { filled = try fixture.fill(Self.count, stores: stores) }
    let reader = try LedgerFileReader(directory: fixture.path)
    var index: LedgerIndex?
    let indexing = try clock.measure { index = try reader.index() }
    let ledgerIndex = try #require(index)
    for number in UInt64(0)..<20 {
      try fixture.vault.recordUse(
        sessionID: Hash.sha256(Array("session \(number)".utf8)), round: number, subjects: ["alice"],
        timeMs: filled.endMs)
    }
    let model = Hash.sha256(Array("model 8".utf8)).hex
    var lines = ["filled in \(filling), indexed in \(indexing)"]
    var answers: [ReportQuestion: ReportAnswer] = [:]
    let questions: [(ReportQuestion, (LedgerReports) throws -> ReportAnswer)] = [
      (.consent, { try $0.consent(.customer("alice"), purpose: "recommendations", atMs: filled.endMs) }),
      (.shown, { try $0.shown(.customer("alice")) }), (.recorder, { try $0.recorder(.customer("alice")) }),
      (.ease, { try $0.ease() }), (.withdrawals, { try $0.withdrawals() }),
      (.rounds, { try $0.rounds(.customer("alice")) }), (.model, { try $0.model(model) }),
      (.history, { try $0.history(since: $0.reader.checkpoint.noteText) }), (.expiry, { try $0.expiry() }),
      (.minors, { try $0.minors() }), (.requests, { try $0.requests() }),
      (.processing, { try $0.processing() }),
      (.overview, { try $0.overview() }),
    ]
    for (question, ask) in questions {
      // A command asks one question: nothing is remembered from the one before.
      let duration = try clock.measure {
        let reports = try LedgerReports(
          reader: reader, index: ledgerIndex,
          sources: .init(vault: fixture.vault, enforcements: filled.enforcements), nowMs: filled.endMs)
        answers[question] = try ask(reports)
      }
      lines.append("\(question.rawValue): \(duration)")
    }
    if Self.count > 20_000 {
      FileHandle.standardError.write(Data((lines.joined(separator: "\n") + "\n").utf8))
    }

    // In parts with their own customers the fold counts the same.
    func standings(parts: Int) throws -> ConsentStandings {
      try ConsentStandings.read(
        ledgerIndex, size: Int64(reader.size), policy: try reader.rules().current?.policy,
        nowMs: filled.endMs, parts: parts)
    }
    let whole = try standings(parts: 1)
    for parts in [2, 3, 7] {
      let summed = try standings(parts: parts)
      let differences = [
        summed.groups == whole.groups, summed.expiring == whole.expiring, summed.askable == whole.askable,
        summed.changes == whole.changes, summed.movements == whole.movements,
        summed.endless == whole.endless, summed.subjects == whole.subjects,
        summed.erased == whole.erased, summed.events == whole.events,
      ]
      #expect(differences == [Bool](repeating: true, count: 9), "\(parts) parts")
      for (id, circumstance) in whole.circumstances {
        let other = summed.circumstances[id]
        #expect(other?.inForce == circumstance.inForce && other?.firstGrant == circumstance.firstGrant)
      }
    }

    let overview = try #require(answers[.overview])
    #expect(overview.summary.hasPrefix("\(Self.count) events of "))
    let inForce = overview.column("standing", "in_force")
    #expect(answers[.expiry]?.column("totals", "in_force") == inForce)
    // What is in force at the end of the months' rows is what is in force now.
    let last = try #require(overview.table("months")?.rows.last)
    #expect(Array(last.dropFirst()) == inForce)
    #expect(answers[.rounds]?.table("rounds")?.rows.count == min(20, (Self.count + 4095) / 4096 * 8))
    #expect(answers[.model]?.table("lineage")?.rows.count == 8)
    #expect(answers[.recorder]?.table("recordings")?.rows.count == 10)
    #expect(answers[.requests]?.verdict == .fine)
    #expect(answers[.history]?.verdict == .fine)
  }

  @Test func `the pass over the index agrees with the decision about each customer`() throws {
    let fixture = try ReportFixture()
    var random = RandomStream(testSeed: 5)
    let stores = (0..<2).map { _ in SigningKey(using: &random) }
    let end = try fixture.fill(600, stores: stores).endMs
    let reports = try fixture.reports(at: end)
    let standings = try reports.standings()
    let tags = Set(
      try reports.index.read { db in try Data.fetchAll(db, sql: "SELECT subject FROM event") }
        .map { try SubjectTag(Array($0)) })
    let policy = try #require(reports.timeline.current?.policy)
    var granted: [String: Int] = [:]
    for tag in tags {
      let history = try reports.history(of: .tag(tag))
      for purpose in policy.purposes {
        let decision = decide(
          events: history.events, purpose: purpose.reference, policy: policy, nowMs: end)
        if decision.reason == .granted { granted[purpose.id, default: 0] += 1 }
      }
    }
    for (position, purpose) in standings.purposes.enumerated() {
      #expect(standings.groups[position][ConsentStandings.Group.inForce.rawValue] == granted[purpose] ?? 0)
    }
  }
}
