package import Consent
package import Cryptography
import Foundation
package import MerkleLog
import Storage

/// Who looked.
package enum AccessActor: Hashable, Sendable, CustomStringConvertible {
  /// A compliance officer, by the key that signs the line.
  case officer(VerifyingKey)
  /// A user of the operating system: the line is not signed.
  case user(String)

  /// As it stands in the log.
  package var description: String {
    switch self {
    case .officer(let key): "officer:\(key.hex)"
    case .user(let name): "user:\(name)"
    }
  }

  init(_ text: String) throws(LedgerError) {
    if text.hasPrefix("officer:") {
      self = .officer(VerifyingKey(unchecked: try Field.bytes(String(text.dropFirst(8)), 32, "officer")))
    } else if text.hasPrefix("user:") {
      self = .user(String(text.dropFirst(5)))
    } else {
      throw .malformedDocument("it does not say who looked")
    }
  }
}

/// Something that was looked at or exported. It names subjects by their tags alone.
package struct AccessRecord: Hashable, Sendable {
  /// When, ms of UTC since 1970.
  package var timeMs: Int64
  /// The command, such as `report rounds`.
  package var command: String
  /// What was asked for, by name: no customer's id.
  package var filter: [String: String]
  /// The subjects whose records were shown one by one.
  package var subjects: [SubjectTag]
  /// How many rows came out.
  package var rows: Int
  /// The tree that the answer was made from; nil without a log.
  package var checkpoint: Checkpoint?
  /// SHA-256 of what came out; nil if nothing was written.
  package var output: Digest?

  /// Puts a record together.
  package init(
    timeMs: Int64, command: String, filter: [String: String] = [:], subjects: [SubjectTag] = [], rows: Int,
    checkpoint: Checkpoint? = nil, output: Digest? = nil
  ) {
    self.timeMs = timeMs
    self.command = command
    self.filter = filter
    self.subjects = subjects
    self.rows = rows
    self.checkpoint = checkpoint
    self.output = output
  }
}

/// A line of the access log.
package struct AccessLine: Hashable, Sendable {
  /// Its number, from 0.
  package let number: Int
  /// Who looked.
  package let actor: AccessActor
  /// At what.
  package let record: AccessRecord
  /// The hash of the line before; of the first line 32 zeros.
  package let previous: Digest
}

/// The log of who looked at or exported what (protocol/CONSENT-LEDGER.md, "Access log"): one line of
/// canonical JSON an access, each with the hash of the line before, durable when `append` returns. Several
/// processes may append. Removing lines at the end is seen only against a `head` that was kept elsewhere.
package struct AccessLog: Sendable {
  /// Where the log ends.
  package struct Head: Hashable, Sendable {
    /// How many lines.
    package let lines: Int
    /// The hash of the last one; 32 zeros if there is none.
    package let hash: Digest

    static let empty = Head(lines: 0, hash: Digest(unchecked: [UInt8](repeating: 0, count: 32)))
  }

  /// What `verify` found.
  package struct Summary: Hashable, Sendable {
    /// Where the log ends.
    package let head: Head
    /// How many lines are signed.
    package let signedLines: Int
    /// Bytes after the last complete line, which a crash left; the next `append` cuts them off.
    package let tornBytes: Int
  }

  /// Longer lines are refused, in bytes.
  package static let maximumLineBytes = 65_536

  /// The file, such as `access.log`.
  package let path: String

  /// Opens the log, or begins one.
  package init(path: String) throws(LedgerError) {
    self.path = path
    guard !DurableFile.exists(path) else { return }
    // Under the lock: two processes may begin it at once.
    let lock = try Self.lock(path)
    defer { withExtendedLifetime(lock) {} }
    guard !DurableFile.exists(path) else { return }
    do { try DurableFile.write([], to: path) } catch { throw .storage(error) }
  }

  /// Appends a line, signed if an officer's key is given.
  /// - Returns: Where the log ends now, and the file to which an unfinished last line was moved if a crash
  ///   had left one: report it.
  @discardableResult
  package func append(
    _ record: AccessRecord, as user: String
  ) throws(LedgerError) -> (head: Head, tornLine: String?) {
    try append(record, .user(user), key: nil)
  }

  /// `append` by an officer, who signs.
  @discardableResult
  package func append(
    _ record: AccessRecord, officer: SigningKey
  ) throws(LedgerError) -> (head: Head, tornLine: String?) {
    try append(record, .officer(officer.verifyingKey), key: officer)
  }

  private func append(
    _ record: AccessRecord, _ actor: AccessActor, key: SigningKey?
  ) throws(LedgerError) -> (head: Head, tornLine: String?) {
    let lock = try Self.lock(path)
    defer { withExtendedLifetime(lock) {} }
    return try Self.opening(path, forWriting: true) { file in
      let tornLine = try cutTornLine(file)
      let head = try lastHead(file)
      let line = try AccessCoding.encode(
        AccessLine(number: head.lines, actor: actor, record: record, previous: head.hash), key: key)
      guard line.count <= Self.maximumLineBytes else {
        throw LedgerError.entryTooLarge(bytes: line.count, maximum: Self.maximumLineBytes)
      }
      try file.seekToEnd()
      try file.write(contentsOf: Data(line + [10]))
      try file.synchronize()
      return (Head(lines: head.lines + 1, hash: Hash.sha256(line)), tornLine)
    }
  }

  // MARK: Reading

  /// Checks every line: its form, its number, the hash of the line before, and the signatures of officers.
  /// Throws `brokenAccessLog` with the first bad line, counted from 1.
  /// - Parameter kept: a head that was kept elsewhere, which the log must still contain.
  package static func verify(path: String, kept: Head? = nil) throws(LedgerError) -> Summary {
    var signed = 0
    var keptSeen = kept == nil || kept == .empty
    let (head, torn) = try read(path) { line, head in
      if case .officer = line.actor { signed += 1 }
      if head == kept { keptSeen = true }
    }
    guard keptSeen else {
      throw .brokenAccessLog(
        path: path, line: head.lines + 1, reason: "lines that were here before are missing or were replaced")
    }
    return Summary(head: head, signedLines: signed, tornBytes: torn)
  }

  /// The lines of a log, checked like `verify`, oldest first.
  package static func lines(path: String) throws(LedgerError) -> [AccessLine] {
    var lines: [AccessLine] = []
    _ = try read(path) { line, _ in lines.append(line) }
    return lines
  }

  private static func read(
    _ path: String, _ body: (AccessLine, Head) -> Void
  ) throws(LedgerError) -> (head: Head, tornBytes: Int) {
    guard DurableFile.exists(path) else { throw .storage(.missingFile(path: path)) }
    return try opening(path, forWriting: false) { file in
      var head = Head.empty
      var rest: [UInt8] = []
      while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty {
        rest += [UInt8](chunk)
        var start = 0
        while let end = rest[start...].firstIndex(of: 10) {
          let bytes = Array(rest[start..<end])
          let line: AccessLine
          do { line = try AccessCoding.decode(bytes, after: head) } catch {
            throw LedgerError.brokenAccessLog(path: path, line: head.lines + 1, reason: "\(error)")
          }
          head = Head(lines: head.lines + 1, hash: Hash.sha256(bytes))
          body(line, head)
          start = end + 1
        }
        rest.removeFirst(start)
        guard rest.count <= maximumLineBytes else {
          throw LedgerError.brokenAccessLog(path: path, line: head.lines + 1, reason: "the line does not end")
        }
      }
      return (head, rest.count)
    }
  }

  // MARK: The end of the file

  /// Moves what stands after the last complete line into a file beside the log.
  private func cutTornLine(_ file: FileHandle) throws -> String? {
    let size = try file.seekToEnd()
    let tail = try Self.tail(file, size)
    guard let torn = tail.split(separator: 10, omittingEmptySubsequences: false).last, !torn.isEmpty else {
      return nil
    }
    let kept = size - UInt64(torn.count)
    guard torn.count < tail.count || kept == 0 else {
      throw LedgerError.brokenAccessLog(path: path, line: 0, reason: "its last line does not end")
    }
    let side = "\(path).torn-\(kept)"
    try DurableFile.write(Array(torn), to: side)
    try file.truncate(atOffset: kept)
    try file.synchronize()
    return side
  }

  /// The number and hash of the last line; the lines before it are for `verify`.
  private func lastHead(_ file: FileHandle) throws -> Head {
    let size = try file.seekToEnd()
    guard size > 0 else { return .empty }
    let lines = try Self.tail(file, size).split(separator: 10)
    guard let last = lines.last.map(Array.init) else { return .empty }
    let line: AccessLine
    do { line = try AccessCoding.decode(last, after: nil) } catch {
      // Nothing is appended to a line that nobody can continue.
      throw LedgerError.brokenAccessLog(path: path, line: 0, reason: "its last line: \(error)")
    }
    return Head(lines: line.number + 1, hash: Hash.sha256(last))
  }

  private static func tail(_ file: FileHandle, _ size: UInt64) throws -> [UInt8] {
    let start = size - min(size, UInt64(2 * maximumLineBytes))
    try file.seek(toOffset: start)
    return [UInt8](try file.read(upToCount: Int(size - start)) ?? Data())
  }

  /// Waits for other processes for up to five seconds.
  private static func lock(_ path: String) throws(LedgerError) -> FileLock {
    let deadline = Date(timeIntervalSinceNow: 5)
    while true {
      do { return try FileLock(path: path + ".lock", subject: path) } catch {
        guard case .inUse = error, Date() < deadline else { throw .storage(error) }
        Thread.sleep(forTimeInterval: 0.002)
      }
    }
  }

  /// Opens the file and closes it again; errors of the system become this module's.
  private static func opening<Result>(
    _ path: String, forWriting: Bool, _ body: (FileHandle) throws -> Result
  ) throws(LedgerError) -> Result {
    do {
      let url = URL(fileURLWithPath: path)
      let file = forWriting ? try FileHandle(forUpdating: url) : try FileHandle(forReadingFrom: url)
      defer { try? file.close() }
      return try body(file)
    } catch let error as LedgerError {
      throw error
    } catch let error as StorageError {
      throw .storage(error)
    } catch {
      throw .storage(.system(operation: "read or write", path: path, errno: EIO))
    }
  }
}

/// The bytes of a line.
enum AccessCoding {
  private static let domain = "accord access v1"

  static func encode(_ line: AccessLine, key: SigningKey?) throws(LedgerError) -> [UInt8] {
    let record = line.record
    try Field.check(record.command, "command", maximum: 512)
    try Field.check(record.timeMs, "time")
    if case .user(let name) = line.actor { try Field.check(name, "user", maximum: 128) }
    guard record.rows >= 0 else { throw .malformedDocument("the number of rows is negative") }
    let entry = Entry(
      checkpoint: record.checkpoint.map(ManifestCheckpoint.init), command: record.command,
      filter: record.filter, number: line.number, output: record.output?.hex, previous: line.previous.hex,
      rows: record.rows, subjects: record.subjects.map(\.hex), time: record.timeMs, who: "\(line.actor)")
    let signature = try key.map { key throws(LedgerError) in
      key.sign(domain: domain, [try EntryCoding.encode(entry)]).hex
    }
    return try EntryCoding.encode(Line(entry: entry, signature: signature))
  }

  /// Reads a line strictly.
  /// - Parameter head: what it must continue; nil if that is not known.
  static func decode(_ bytes: [UInt8], after head: AccessLog.Head?) throws(LedgerError) -> AccessLine {
    try LedgerError.ofDocument { () throws(LedgerError) in try decodeEntry(bytes, after: head) }
  }

  private static func decodeEntry(
    _ bytes: [UInt8], after head: AccessLog.Head?
  ) throws(LedgerError) -> AccessLine {
    let line = try EntryCoding.decode(Line.self, bytes)
    let entry = line.entry
    let actor = try AccessActor(entry.who)
    switch (actor, line.signature) {
    case (.officer(let key), let signature?):
      let signature = Signature(unchecked: try Field.bytes(signature, 64, "signature"))
      guard key.verifies(signature, domain: domain, [try EntryCoding.encode(entry)]) else {
        throw .wrongSignature(signer: key)
      }
    case (.user, nil): break
    default: throw .malformedDocument("an officer's line must be signed, a user's cannot be")
    }
    let previous = Digest(unchecked: try Field.bytes(entry.previous, 32, "hash of the line before"))
    if let head {
      guard entry.number == head.lines else {
        throw .malformedDocument("it is numbered \(entry.number) where \(head.lines) should stand")
      }
      guard previous == head.hash else { throw .malformedDocument("it does not continue the line before") }
    }
    guard (0..<Int.max).contains(entry.number) else { throw .malformedDocument("its number is out of range") }
    return AccessLine(number: entry.number, actor: actor, record: try record(entry), previous: previous)
  }

  private static func record(_ entry: Entry) throws(LedgerError) -> AccessRecord {
    var subjects: [SubjectTag] = []
    for hex in entry.subjects {
      do { subjects.append(try SubjectTag(hex: hex)) } catch { throw .content(error) }
    }
    return AccessRecord(
      timeMs: entry.time, command: entry.command, filter: entry.filter, subjects: subjects, rows: entry.rows,
      checkpoint: try entry.checkpoint.map { value throws(LedgerError) in try value.checkpoint() },
      output: try entry.output.map { hex throws(LedgerError) in
        Digest(unchecked: try Field.bytes(hex, 32, "digest of the output"))
      })
  }

  private struct Line: Codable {
    let entry: Entry
    let signature: String?
  }

  private struct Entry: Codable {
    let checkpoint: ManifestCheckpoint?
    let command: String
    let filter: [String: String]
    let number: Int
    let output: String?
    let previous: String
    let rows: Int
    let subjects: [String]
    let time: Int64
    let who: String
  }
}
