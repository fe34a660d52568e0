import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Storage

/// Where the log lies and as whom it is read; options of all reports.
struct ReportSourceOptions: ParsableArguments {
  @Option(help: "The data directory of a server or a node.") var data: String
  @Option(help: "The node's data directory whose vault knows the customers, if it is another one.")
  var vault: String?
  @Option(help: "A JSON file with witnesses' sightings: [{\"name\", \"timeMs\", \"size\"}].")
  var witnesses: String?
  @Option(help: "The officer's key file: signs the line in the access log, and manifests.") var key: String?

  /// The answers' source. The index is brought up to date first, which takes a while the first time.
  func reports() throws -> LedgerReports {
    let reader = try LedgerFileReader(directory: data)
    var sources = LedgerReports.Sources()
    if let node = try node() {
      sources.vault = try SubjectVault.open(
        path: node.file("vault.sqlite"), keyEncryptionKey: node.loadSecret(name: "vault.key"))
      // In its own directory a node judges as its gate does; another's vault only names customers.
      if vault == nil { sources.nodeKey = try node.loadSigningKey(name: "identity.key").verifyingKey }
    }
    sources.enforcements = try reader.enforcements()
    if let witnesses {
      do {
        sources.witnesses = try JSONDecoder().decode([ReportedWitness].self, from: Data(readFile(witnesses)))
      } catch let error as DecodingError {
        throw CommandFailure("\(witnesses) is no list of sightings: \(error)")
      }
    }
    return try LedgerReports(
      reader: reader, index: try reader.index(), sources: sources, nowMs: Int64(nowMilliseconds()))
  }

  private func node() throws -> DataDirectoryReader? {
    if let vault { return try DataDirectoryReader(vault, kind: .node) }
    guard DurableFile.exists(data + "/vault.sqlite") else { return nil }
    return try DataDirectoryReader(data, kind: .node)
  }

  /// The officer's key, if one was given.
  func officerKey() throws -> SigningKey? { try key.map { try KeyFile.load($0) } }

  /// Puts on record that somebody looked: before anything is shown, so that nothing is seen unrecorded.
  func noteAccess(
    _ command: String, _ filter: [String: String], subject: SubjectTag? = nil, rows: Int,
    _ reports: LedgerReports, output: Digest? = nil
  ) throws {
    let log = try AccessLog(path: data + "/access.log")
    let record = AccessRecord(
      timeMs: Int64(nowMilliseconds()), command: command, filter: filter,
      subjects: subject.map { [$0] } ?? [],
      rows: rows, checkpoint: reports.reader.checkpoint.checkpoint, output: output)
    let torn =
      if let key = try officerKey() {
        try log.append(record, officer: key).tornLine
      } else {
        try log.append(record, as: NSUserName()).tornLine
      }
    if let torn { Console.writeError("an unfinished line of the access log was moved to \(torn)") }
  }
}

/// How an answer comes out; options of the twelve questions.
struct ReportOutputOptions: ParsableArguments {
  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "Print CSV (RFC 4180; formulas are escaped).") var csv = false
  @Option(help: "With --csv: only the table of this name.") var table: String?
  @Option(help: "Rows of a table that the terminal shows.") var limit = 50
  @Option(help: "Write the proofs of the entries that the answer rests on into this directory.")
  var prove: String?

  func validate() throws {
    if json, csv { throw ValidationError("give --json or --csv, not both") }
    if table != nil, !csv { throw ValidationError("--table goes with --csv") }
    if limit < 1 { throw ValidationError("--limit must be at least 1") }
  }
}

/// About whom; options of the questions about one customer.
struct ReportSubjectOptions: ParsableArguments {
  @Option(help: "The customer's id, which the node's vault turns into the tag.") var subject: String?
  @Option(help: "The tag as it stands in the ledger, 64 hexadecimal digits.") var tag: String?

  /// The customer, or nil if none was named.
  func named() throws -> ReportSubject? {
    switch (subject, tag) {
    case (let id?, nil): return .customer(id)
    case (nil, let text?):
      do { return .tag(try SubjectTag(hex: text)) } catch {
        throw ValidationError("--tag takes 64 hexadecimal digits")
      }
    case (nil, nil): return nil
    default: throw ValidationError("give --subject or --tag, not both")
    }
  }

  /// The customer; naming nobody is wrong usage.
  func required() throws -> ReportSubject {
    guard let subject = try named() else { throw ValidationError("give --subject ID or --tag TAG") }
    return subject
  }
}

/// One question: asks, records the access, writes the proofs, prints.
struct ReportRun {
  let source: ReportSourceOptions
  let output: ReportOutputOptions
  var subject: ReportSubject?

  func callAsFunction(_ ask: (LedgerReports) throws -> ReportAnswer) throws {
    let reports = try source.reports()
    let answer = try ask(reports)
    let text = try text(of: answer)
    let filter = Dictionary(answer.filters.map { ($0.name, $0.value) }) { first, _ in first }
    try source.noteAccess(
      "report \(answer.question.rawValue)", filter.filter { $0.key != "subject" },
      subject: try subject.flatMap { try reports.tag(of: $0) },
      rows: answer.tables.reduce(0) { $0 + $1.rows.count }, reports, output: Hash.sha256(Array(text.utf8)))
    Console.writeRaw(text)
    guard let directory = output.prove else { return }
    let names = try reports.writeProofs(of: answer, to: directory)
    // Standard output may be a file that a program reads.
    Console.writeError("\(names.count - 1) proofs and the checkpoint are in \(directory)")
  }

  private func text(of answer: ReportAnswer) throws -> String {
    if output.json { return String(decoding: try Console.json(answer), as: UTF8.self) + "\n" }
    guard output.csv else { return answer.text(limit: output.limit) + "\n" }
    guard let name = output.table else { return answer.csv }
    guard let table = answer.table(name) else {
      let known = answer.tables.map(\.name).joined(separator: ", ")
      throw CommandFailure("the answer has no table “\(name)”; it has: \(known)")
    }
    return table.csv
  }
}
