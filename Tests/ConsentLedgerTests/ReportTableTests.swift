import Consent
import Cryptography
import Foundation
import Testing

@testable import ConsentLedger

/// The forms of tables and exports.
struct ReportTableTests {
  @Test func `quotes fields and disarms formulas`() {
    #expect(CSVText.field("plain") == "plain")
    #expect(CSVText.field("a,b") == "\"a,b\"")
    #expect(CSVText.field("say \"no\"") == "\"say \"\"no\"\"\"")
    #expect(CSVText.field("two\r\nlines") == "\"two\r\nlines\"")
    for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\r\nx"] {
      let field = CSVText.field(text)
      #expect(field.hasPrefix("'") || field.hasPrefix("\"'"), "\(field)")
    }
    #expect(CSVText.field("=HYPERLINK(\"x\",1)") == "\"'=HYPERLINK(\"\"x\"\",1)\"")
    #expect(CSVText.line([ReportCell.integer(-5), .number(0.5), .none, .text("-5")]) == "-5,0.5,,'-5\r\n")
    #expect(CSVText.line([ReportCell.number(.infinity), .number(.nan)]) == "inf,\r\n")
  }

  @Test func `says the same as text, JSON and CSV`() throws {
    let table = ReportTable(
      "t", "Title", [ReportColumn("name", "Name"), ReportColumn("count", "Count")],
      rows: [[.text("=x\u{1b}[2J"), .integer(12)], [.none, .number(.infinity)]])
    #expect(table.csv == "name,count\r\n'=x\u{1b}[2J,12\r\n,inf\r\n")
    #expect(!table.text().contains("\u{1b}"))
    #expect(table.text(limit: 1).hasSuffix("… and 1 more; use --json or --csv"))
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let data = try encoder.encode(table)
    #expect(
      String(decoding: data, as: UTF8.self).contains(
        #""rows":[{"count":12,"name":"=x\u001b[2J"},{"count":"inf","name":null}]"#))
    let back = try JSONDecoder().decode(ReportTable.self, from: data)
    #expect(back.rows[0] == table.rows[0])
  }

  private static let start = ReportFixture.start

  private static func fixture() throws -> ReportFixture {
    let fixture = try ReportFixture()
    try fixture.enrol()
    try fixture.adopt()
    try fixture.consent(.given, "a", at: start) {
      $0.expiresAtMs = start + 9_000_000
      $0.recorder = "=cmd|' /C calc'!A0"
    }
    try fixture.consent(.withdrawn, "a", for: .every, at: start + 1) { $0.recorder = "\"quoted\\ <script>" }
    try fixture.consent(.optedOut, "b", for: Purpose(id: "ads", version: 1), at: start + 2)
    return fixture
  }

  private static func export(_ format: ExportFormat, _ filter: ExportFilter = ExportFilter()) throws -> (
    String, Int
  ) {
    let fixture = try fixture()
    var text = ""
    let count = try fixture.reports(at: start + 3).export(format, filter: filter) { text += $0 }
    return (text, count)
  }

  @Test func `writes consent records in the words of the vocabulary`() throws {
    let (text, count) = try Self.export(.dpv)
    #expect(count == 3)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    let context = try #require(object["@context"] as? [String: Any])
    #expect(context["dpv"] as? String == "https://w3id.org/dpv#")
    let graph = try #require(object["@graph"] as? [[String: Any]])
    let records = graph.filter { $0["@type"] as? String == "dpv:ConsentRecord" }
    #expect(records.count == 3)
    let statuses = records.map { record -> [String] in
      let process = (record["dpv:hasProcess"] as? [[String: Any]])?.first
      return (process?["dpv:hasConsentStatus"] as? [String: Any])?["@type"] as? [String] ?? []
    }
    #expect(
      statuses == [
        ["dpv:ConsentGiven", "accord:state-given", "dpv:ExpressedConsent"],
        ["dpv:ConsentWithdrawn", "accord:state-withdrawn"], ["accord:state-opted-out"],
      ])
    let process = try #require((records[0]["dpv:hasProcess"] as? [[String: Any]])?.first)
    #expect(process["dpv:hasLegalBasis"] as? String == "eu-gdpr:A6-1-a")
    #expect((process["dpv:hasNotice"] as? String)?.hasSuffix(ReportFixture.noticeHash) == true)
    let purposes = Set(
      graph.filter { $0["@type"] as? String == "dpv:Purpose" }.compactMap { $0["@id"] as? String })
    #expect(purposes.contains(process["dpv:hasPurpose"] as? String ?? ""))
    // Every name is an IRI or has a prefix of the context.
    for node in graph {
      let name = try #require(node["@id"] as? String)
      #expect(name.hasPrefix("urn:accord:accord.test/log"))
    }
  }

  @Test func `every state has a status that does not claim too much`() {
    let valid = ConsentState.allCases.filter {
      ["dpv:ConsentGiven", "dpv:RenewedConsentGiven"].contains(DPVExport.status(of: $0))
    }
    #expect(valid == [.given, .renewed])
    #expect(DPVExport.status(of: .optedOut) == nil)
    #expect(Set(ConsentState.allCases.map(DPVExport.ownStatus)).count == ConsentState.allCases.count)
  }

  @Test func `exports lines that spreadsheets and programs read`() throws {
    let (csv, rows) = try Self.export(.csv)
    #expect(rows == 3)
    let lines = csv.components(separatedBy: "\r\n").filter { !$0.isEmpty }
    #expect(lines.count == 4)
    #expect(lines[1].contains(",'=cmd|' /C calc'!A0,"))
    #expect(lines[2].contains("\"\"\"quoted\\ <script>\""))
    let (json, _) = try Self.export(.json)
    let objects = try json.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    #expect(objects.map { $0["entry"] as? Int } == [7, 8, 9])
    #expect(objects[1]["recorder"] as? String == "\"quoted\\ <script>")
    #expect(objects[1]["purpose"] as? String == "*")
  }

  @Test func `an export takes what its filter says`() throws {
    #expect(try Self.export(.json, ExportFilter(purpose: "ads")).1 == 2)
    #expect(try Self.export(.json, ExportFilter(from: 8)).1 == 2)
    #expect(ExportFilter(purpose: "ads", from: 8).fields == ["purpose": "ads", "from": "8"])
  }
}
