import Consent
import Cryptography
import Foundation
#if canImport(FoundationXML)
  import FoundationXML
#endif
import MerkleLog
import Testing

@testable import ConsentLedger

/// The audit's files.
struct ReportAuditTests {
  private static let start = ReportFixture.start
  private static let day = ReportFixture.day
  private static let hostile = "<script>alert('x')</script>\" onload=\"x"

  private static func fixture() throws -> ReportFixture {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    for number in 0..<30 {
      let time = start + Int64(number) * day
      try fixture.consent(.given, "c\(number)", at: time) {
        $0.expiresAtMs = time + Int64(40 + 20 * number) * day
        $0.recorder = number == 3 ? hostile : "till"
        $0.steps = 2
        $0.durationMs = 4000
      }
    }
    for number in 0..<5 {
      try fixture.consent(.withdrawn, "c\(number)", at: start + 40 * day) {
        $0.steps = 1
        $0.durationMs = 2000
      }
    }
    try fixture.round(1, from: 0, to: 1, at: start + 41 * day)
    try fixture.round(2, from: 1, to: 2, at: start + 42 * day) { $0.noisedEligible = 1100 }
    try fixture.step(.received, 1, .access, .gdpr, at: start + 43 * day)
    return fixture
  }

  private static func audit() throws -> (AuditReport, ReportFixture) {
    let fixture = try fixture()
    let enforcements = (37..<42).map {
      Enforcement(index: LeafIndex(UInt64($0)), recordedMs: start, enforcedMs: start + Int64($0) * 100)
    }
    let reports = try fixture.reports(
      at: start + 80 * day, enforcements: enforcements,
      witnesses: [ReportedWitness(name: "store-1", timeMs: start + 80 * day - 5000, size: 40)])
    return (try AuditReport(reports), fixture)
  }

  @Test func `writes a page that is well formed and loads nothing`() throws {
    let (audit, fixture) = try Self.audit()
    let html = try AuditPage(audit: audit).html()
    // Well-formed as XML, which HTML need not be: nothing was left open or unescaped.
    let xml = html.replacingOccurrences(of: "<!DOCTYPE html>", with: "")
    let parser = XMLParser(data: Data(xml.utf8))
    let isWellFormed = parser.parse()
    #expect(
      isWellFormed, "\(parser.parserError.map(String.init(describing:)) ?? "") line \(parser.lineNumber)")
    #expect(!html.contains("<script"))
    #expect(!html.contains("\" onload=\""))
    #expect(html.contains("&lt;script&gt;alert(&#39;x&#39;)"))
    let links = html.components(separatedBy: "http").dropFirst().filter {
      !$0.hasPrefix("://www.w3.org/2000/svg") && !$0.hasPrefix("-equiv")
    }
    #expect(links.isEmpty)
    #expect(html.components(separatedBy: "<svg").count - 1 == audit.charts.compactMap(\.svg).count)
    #expect(audit.charts.count == 7)
    // All twelve are in the summary, those about one customer with how to ask them.
    for question in ReportQuestion.allCases { #expect(html.contains("\">\(question.title)</a>")) }
    if let out = ProcessInfo.processInfo.environment["ACCORD_REPORT_OUT"] {
      _ = try audit.write(to: out)
    }
    withExtendedLifetime(fixture) {}
  }

  @Test func `writes files whose digests it names, and a manifest can be signed over them`() throws {
    let (audit, fixture) = try Self.audit()
    let directory = fixture.path + "/audit"
    let digests = try audit.write(to: directory)
    let names = try FileManager.default.contentsOfDirectory(atPath: directory)
    #expect(Set(names) == Set(digests.keys))
    #expect(digests.keys.contains("audit.html") && digests.keys.contains("requests-requests.csv"))
    let json = try JSONSerialization.jsonObject(
      with: Data(contentsOf: URL(fileURLWithPath: directory + "/audit.json")))
    #expect(((json as? [String: Any])?["answers"] as? [Any])?.count == audit.answers.count)
    let manifest = try SignedManifest(
      command: "report audit", filter: [:], rows: audit.rows, checkpoint: nil, createdMs: Self.start,
      files: digests, key: fixture.officer)
    try manifest.write(to: directory)
    try SignedManifest.verify(directory: directory, signer: fixture.officer.verifyingKey)
  }

  @Test func `escapes scalar by scalar`() {
    #expect(PageText.escaped("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;")
    // A combining mark does not hide a bracket or a quote.
    #expect(PageText.escaped("<\u{301}script \"\u{301}x") == "&lt;\u{301}script &quot;\u{301}x")
    #expect(PageText.escaped("a\u{202e}b\u{0}\u{7f}") == "a\u{fffd}b\u{fffd}\u{fffd}")
  }

  @Test func `draws axes that hold the figures`() {
    for highest in [0.0, 0.3, 1, 4, 5, 7, 99, 1000, 123_456, 5e9] {
      let (top, tick) = ReportChart.axis(to: highest)
      #expect(top >= highest && tick > 0)
      #expect(top / tick <= 6.001, "\(highest)")
    }
    let empty = ReportChart(id: "e", title: "t", unit: "u", categories: [], series: [], style: .bars)
    #expect(empty.svg == nil)
    let one = ReportChart(
      id: "o", title: "a<b", unit: "u", categories: ["x"], series: [.init("s", [3])], style: .areas)
    #expect(one.svg?.contains("a&lt;b") == true)
    #expect(one.svg.map { XMLParser(data: Data($0.utf8)).parse() } == true)
  }

  @Test func `an audit of an empty log is a page too`() throws {
    let fixture = try ReportFixture()
    let audit = try AuditReport(
      try fixture.reports(at: Self.start),
      since: try fixture.reports(at: Self.start).reader.checkpoint.noteText)
    let html = try AuditPage(audit: audit).html()
    #expect(html.contains("No policy is in force"))
    #expect(XMLParser(data: Data(html.replacingOccurrences(of: "<!DOCTYPE html>", with: "").utf8)).parse())
  }
}
