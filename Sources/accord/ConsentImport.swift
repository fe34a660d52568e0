import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Foundation
import Simulation
import Synchronization

/// `accord consent import`
struct ConsentImport: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Record the decisions of a CSV, JSON or NDJSON file.",
    discussion: """
      Fields: subject and state, and optionally event_id (32 hexadecimal digits), purpose, time (ISO 8601 or
      milliseconds), jurisdiction, age_band, expires_at, steps, duration_ms. Every row is checked first: if one
      cannot be recorded, all bad rows are listed with their lines and nothing is recorded. Rows without an
      event_id get one from the file's content and their place in it, so that importing a file again, or going
      on after a crash, records nothing twice.

      Examples:
        accord consent import decisions.csv --data store-1 --jurisdiction DE --language de
        accord consent import export.ndjson --data store-1 --purpose recommendations
      """)
  @Option(help: "The node's data directory.") var data: String
  @Argument(help: "The file; .csv (gzip allowed), .json (an array of objects) or .ndjson.") var file: String
  @Option(help: "How many bad rows are listed.") var listErrors = 100
  @OptionGroup var circumstances: CircumstanceOptions

  func run() async throws {
    let circumstances = try circumstances.circumstances()
    // The same file under other circumstances holds other decisions.
    let salt = try NodeFiles(sharing: data).identity.verifyingKey.bytes + Array("\(circumstances)".utf8)
    let rows = try DecisionFile.read(path: file, nowMs: Int64(nowMilliseconds()), salt: salt)
    var bad = rows.problems
    try await Recording.withRecorder(node: data) { recorder in
      for refusal in try recorder.problems(rows.entries, circumstances) {
        bad.append((rows.lines[refusal.position], refusal.reason))
      }
      bad.sort { $0.line < $1.line }
      guard bad.isEmpty else {
        for (line, reason) in bad.prefix(listErrors) {
          Console.writeError("\(file), line \(line): \(reason)")
        }
        let more = bad.count > listErrors ? " (the first \(listErrors) are listed)" : ""
        throw CommandFailure("\(bad.count) of the rows cannot be recorded\(more); nothing was recorded")
      }
      try await record(rows, circumstances, recorder)
    }
  }

  /// Sends batch after batch: while one is on its way, the next is made and the answer to the last is checked.
  private func record(
    _ rows: DecisionFile, _ circumstances: ConsentRecorder.Circumstances, _ recorder: ConsentRecorder
  ) async throws {
    let (entries, lines, file) = (rows.entries, rows.lines, file)
    let started = Date()
    var bar = ProgressBar(total: entries.count)
    var sending: Task<ConsentRecorder.Sent, any Error>?
    var checking: Task<Void, any Error>?
    var ends: [Int] = []
    func check() async throws {
      try await checking?.value
      if checking != nil { bar.show(ends.removeFirst()) }
      checking = nil
    }
    for start in stride(from: 0, to: entries.count, by: ConsentRecorder.batch) {
      let end = min(start + ConsentRecorder.batch, entries.count)
      let (first, last) = (lines[start], lines[end - 1])
      let prepared: ConsentRecorder.Prepared
      do {
        prepared = try recorder.prepare(
          Array(entries[start..<end]), circumstances, offset: start, isChecked: true)
      } catch {
        try await check()
        if let sent = try await sending?.value { try recorder.confirm(sent) }
        throw Self.failure(error, file, first, last)
      }
      let answered = try await sending?.value
      sending = Task {
        do { return try await recorder.send(prepared) } catch { throw Self.failure(error, file, first, last) }
      }
      try await check()
      if let answered { checking = Task { try recorder.confirm(answered) } }
      ends.append(end)
    }
    try await check()
    if let sent = try await sending?.value { try recorder.confirm(sent) }
    if let end = ends.last { bar.show(end) }
    bar.finish()
    let seconds = Date().timeIntervalSince(started)
    Console.write(
      "recorded \(entries.count) decisions in \(String(format: "%.1f", seconds)) s; "
        + "those that were in the ledger already are there once")
  }
}

extension ConsentImport {
  /// What stopped an import that every check before had passed: another recorder was faster, or the policy changed
  /// meanwhile.
  private static func failure(_ error: any Error, _ file: String, _ first: Int, _ last: Int) -> CommandFailure
  {
    CommandFailure(
      "\(file), lines \(first) to \(last): \(error). None of these lines is recorded, all before them are; "
        + "importing the file again records nothing twice")
  }
}

/// A line on a terminal that shows how far something is.
struct ProgressBar {
  private let total: Int
  private let isLive = Console.isTerminal
  private let started = Date()

  init(total: Int) { self.total = total }

  mutating func show(_ done: Int) {
    guard isLive, total > 0 else { return }
    let fraction = Double(done) / Double(total)
    let filled = Int(fraction * 30)
    let left = Date().timeIntervalSince(started) * (1 - fraction) / max(fraction, 1e-9)
    Console.writeRaw(
      "\r[" + String(repeating: "#", count: filled) + String(repeating: "·", count: 30 - filled)
        + String(format: "] %3.0f %%  %d of %d  %.0f s left   ", fraction * 100, done, total, left))
  }

  func finish() { if isLive { Console.writeRaw("\r" + String(repeating: " ", count: 78) + "\r") } }
}

/// Decisions in a file.
struct DecisionFile {
  var entries: [ConsentRecorder.Entry] = []
  /// The line of each entry, from 1.
  var lines: [Int] = []
  /// What could not be read.
  var problems: [(line: Int, reason: String)] = []

  /// The fields that a row may have.
  private static let fields: Set<String> = [
    "subject", "state", "event_id", "purpose", "time", "jurisdiction", "age_band", "expires_at", "steps",
    "duration_ms",
  ]

  static func read(path: String, nowMs: Int64, salt: [UInt8]) throws -> DecisionFile {
    let lower = path.lowercased()
    if lower.hasSuffix(".ndjson") || lower.hasSuffix(".jsonl") { return try readLines(path, nowMs, salt) }
    if lower.hasSuffix(".json") { return try readArray(path, nowMs, salt) }
    return try readTable(path, nowMs, salt)
  }

  private static func readTable(_ path: String, _ nowMs: Int64, _ salt: [UInt8]) throws -> DecisionFile {
    let table = try TableReader.read(path: path)
    for required in ["subject", "state"] where !table.columns.contains(required) {
      throw CommandFailure(
        "\(path) has no column “\(required)”; it has: \(table.columns.joined(separator: ", "))")
    }
    var file = DecisionFile()
    let identity = RowIdentity(try readFile(path), salt)
    let places = Self.fields.compactMap { name in table.columns.firstIndex(of: name).map { (name, $0) } }
    // In parts on all cores, put together in their order.
    let parts = max(1, min(ProcessInfo.processInfo.activeProcessorCount, table.rows.count / 4096))
    let results = Mutex([DecisionFile](repeating: DecisionFile(), count: parts))
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      var some = DecisionFile()
      for number in (table.rows.count * part / parts)..<(table.rows.count * (part + 1) / parts) {
        let row = table.rows[number]
        var fields: [String: String] = [:]
        for (name, place) in places where !row[place].isEmpty { fields[name] = row[place] }
        some.add(fields, line: table.lines[number], number: number, nowMs, identity)
      }
      results.withLock { $0[part] = some }
    }
    for part in results.withLock({ $0 }) {
      file.entries += part.entries
      file.lines += part.lines
      file.problems += part.problems
    }
    return file
  }

  private static func readLines(_ path: String, _ nowMs: Int64, _ salt: [UInt8]) throws -> DecisionFile {
    let bytes = try readFile(path)
    var file = DecisionFile()
    let identity = RowIdentity(bytes, salt)
    for (line, slice) in bytes.split(separator: 10, omittingEmptySubsequences: false).enumerated() {
      guard slice.contains(where: { $0 != 32 && $0 != 13 && $0 != 9 }) else { continue }
      guard let object = try? JSONSerialization.jsonObject(with: Data(slice)) as? [String: Any] else {
        file.problems.append((line + 1, "it is no JSON object"))
        continue
      }
      file.add(object, line: line + 1, number: line, nowMs, identity)
    }
    return file
  }

  private static func readArray(_ path: String, _ nowMs: Int64, _ salt: [UInt8]) throws -> DecisionFile {
    let bytes = try readFile(path)
    let value: Any
    do { value = try JSONSerialization.jsonObject(with: Data(bytes)) } catch {
      throw CommandFailure("\(path) is no JSON: \((error as NSError).localizedDescription)")
    }
    guard let array = value as? [Any] else { throw CommandFailure("\(path) is no JSON array of objects") }
    var file = DecisionFile()
    let identity = RowIdentity(bytes, salt)
    for (number, element) in array.enumerated() {
      guard let object = element as? [String: Any] else {
        file.problems.append((number + 1, "element \(number) is no object"))
        continue
      }
      file.add(object, line: number + 1, number: number, nowMs, identity)
    }
    return file
  }

  private mutating func add(
    _ object: [String: Any], line: Int, number: Int, _ nowMs: Int64, _ identity: RowIdentity
  ) {
    var fields: [String: String] = [:]
    for (name, value) in object {
      switch value {
      case let text as String: fields[name] = text
      case let value as NSNumber: fields[name] = value.stringValue
      case is NSNull: break
      default:
        problems.append((line, "the field “\(name)” is neither text nor a number"))
        return
      }
    }
    add(fields, line: line, number: number, nowMs, identity)
  }

  private mutating func add(
    _ fields: [String: String], line: Int, number: Int, _ nowMs: Int64, _ identity: RowIdentity
  ) {
    do {
      entries.append(try Self.entry(fields, row: number, nowMs, identity))
      lines.append(line)
    } catch {
      problems.append((line, "\(error)"))
    }
  }

  private static func entry(
    _ fields: [String: String], row: Int, _ nowMs: Int64, _ identity: RowIdentity
  ) throws -> ConsentRecorder.Entry {
    guard let subject = fields["subject"], !subject.isEmpty else {
      throw CommandFailure("the subject is empty")
    }
    guard let stateText = fields["state"] else { throw CommandFailure("the state is empty") }
    let time = try fields["time"].map { try Self.time($0, "time") }
    var entry = ConsentRecorder.Entry(
      subject: subject, state: try parseState(stateText), timeMs: time ?? nowMs,
      eventID: try fields["event_id"].map { try EventID(hex: $0) } ?? identity.id(of: row),
      purpose: fields["purpose"])
    entry.hasOwnTime = time != nil
    entry.hasMadeID = fields["event_id"] == nil
    entry.jurisdiction = fields["jurisdiction"]
    entry.ageBand = try fields["age_band"].map { text in
      guard let age = AgeBand(rawValue: text) else { throw CommandFailure("“\(text)” is no age band") }
      return age
    }
    entry.expiresAtMs = try fields["expires_at"].map { try Self.time($0, "expires_at") }
    entry.steps = try fields["steps"].map { Int(try Self.number($0, "steps")) }
    entry.durationMs = try fields["duration_ms"].map { try Self.number($0, "duration_ms") }
    return entry
  }

  private static func number(_ text: String, _ field: String) throws -> Int64 {
    guard let value = Int64(text) else { throw CommandFailure("\(field) “\(text)” is no whole number") }
    return value
  }

  private static func time(_ text: String, _ field: String) throws -> Int64 {
    if let milliseconds = Int64(text) { return milliseconds }
    for style in [
      Date.ISO8601FormatStyle(), Date.ISO8601FormatStyle(includingFractionalSeconds: true),
      Date.ISO8601FormatStyle().year().month().day(),
    ] {
      if let date = try? style.parse(text) { return Int64((date.timeIntervalSince1970 * 1000).rounded()) }
    }
    throw CommandFailure("\(field) “\(text)” is neither ISO 8601 nor milliseconds since 1970")
  }
}

/// Identifiers of rows that have none: from the file's content and the row's number.
struct RowIdentity {
  private let file: Digest

  init(_ bytes: [UInt8], _ salt: [UInt8]) {
    file = Hash.blake2b(domain: "accord import file v1", [salt, bytes])
  }

  func id(of number: Int) -> EventID? {
    let row = withUnsafeBytes(of: UInt64(number).bigEndian) { Array($0) }
    // In the order of the rows, so that the ledger's index grows at its end.
    return try? EventID(Array(file.bytes.prefix(8)) + row)
  }
}
