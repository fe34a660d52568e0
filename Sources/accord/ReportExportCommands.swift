import ArgumentParser
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog

extension ExportFormat: ExpressibleByArgument {}

/// `accord report export`
struct ReportExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Write consent events as JSON-LD (W3C DPV), CSV or JSON lines.",
    discussion: """
      With --key a manifest (filter, rows, checkpoint, digest) is signed and stands beside the file: FILE.manifest.json
      and FILE.manifest.sig. Every export is recorded in the access log.

      Examples:
        accord report export --data server-data --format dpv --out consents.jsonld --key anna.key
        accord report export --data store-1 --format csv --subject 50001 --out customer.csv
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @Option(help: "dpv, csv or json (one object a line).") var format: ExportFormat
  @Option(help: "The file; an existing one is replaced when the new one is complete.") var out: String
  @Option(help: "Only this purpose.") var purpose: String?
  @Option(help: "Only entries from this position on.") var from: UInt64 = 0

  func run() throws {
    let reports = try source.reports()
    let key = try source.officerKey()
    let subject = try customer.named()
    let tag = try subject.flatMap { try reports.tag(of: $0) }
    if subject != nil, tag == nil {
      throw CommandFailure("the vault does not know this customer, so there is nothing to export")
    }
    let filter = ExportFilter(purpose: purpose, subject: tag, from: from)
    let file = try ExportFile(path: out)
    let rows = try reports.export(format, filter: filter) { text throws(LedgerError) in try file.write(text) }
    let digest = try file.finish()
    var fields = filter.fields
    fields["format"] = format.rawValue
    // On record before the file appears under its name.
    try source.noteAccess(
      "report export", fields.filter { $0.key != "subject" }, subject: tag, rows: rows, reports,
      output: digest)
    try file.publish()
    if let key {
      let manifest = try SignedManifest(
        command: "report export", filter: fields, rows: rows,
        checkpoint: reports.reader.checkpoint.checkpoint,
        createdMs: Int64(nowMilliseconds()), files: [file.name: digest], key: key)
      try ExportFile.write(manifest.bytes, to: out + ".manifest.json")
      try ExportFile.write(manifest.signatureText, to: out + ".manifest.sig")
    }
    Console.write(
      "\(rows) events of \(reports.reader.size) entries are in \(out)"
        + (key == nil ? "; without --key no manifest was signed" : ", with a signed manifest beside it"))
  }
}

/// `accord report audit`
struct ReportAuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Write a print-ready audit: one page, the same as JSON, and every table as CSV.",
    discussion: """
      With --key a manifest over all files is signed.

      Example:
        accord report audit --data server-data --since kept --out audit --key anna.key
      """)
  @OptionGroup var source: ReportSourceOptions
  @Option(help: "The directory, which must be empty or not exist.") var out: String
  @Option(help: "The file with a checkpoint that was kept, for question 8.") var since: String?

  func run() throws {
    let existing = (try? FileManager.default.contentsOfDirectory(atPath: out)) ?? []
    guard existing.isEmpty else {
      throw CommandFailure("\(out) is not empty; an audit gets a directory of its own")
    }
    let reports = try source.reports()
    let key = try source.officerKey()
    let note = try since.map { String(decoding: try readFile($0), as: UTF8.self) }
    let audit = try AuditReport(reports, since: note)
    let files = try audit.write(to: out)
    let filter = since == nil ? [:] : ["since": "a kept checkpoint"]
    try source.noteAccess("report audit", filter, rows: audit.rows, reports, output: files["audit.html"])
    if let key {
      try SignedManifest(
        command: "report audit", filter: filter, rows: audit.rows,
        checkpoint: reports.reader.checkpoint.checkpoint, createdMs: reports.nowMs, files: files, key: key
      ).write(to: out)
    }
    Console.write("open \(out)/audit.html; \(files.count) files")
    for answer in audit.answers where answer.verdict == .attention {
      Console.write("needs attention: \(answer.question.title) \(answer.summary)")
    }
    if key == nil { Console.write("without --key no manifest was signed") }
  }
}
