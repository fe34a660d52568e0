import Consent
import Cryptography
import Foundation
import MerkleLog
import Testing

@testable import ConsentLedger

@Suite struct AccessLogTests {
  private let fixture: VaultFixture
  private let path: String
  private let officer: SigningKey

  init() throws {
    fixture = try VaultFixture()
    path = fixture.path + "/access.log"
    var random = RandomStream(testSeed: 4)
    officer = SigningKey(using: &random)
  }

  private func record(_ number: Int = 0) throws -> AccessRecord {
    AccessRecord(
      timeMs: 1_790_000_000_000 + Int64(number), command: "report rounds",
      filter: ["purpose": "recommendations", "from": "2026-01-01"],
      subjects: [try SubjectTag([UInt8](repeating: UInt8(number), count: 32))], rows: number,
      checkpoint: Checkpoint(origin: "accord.test/log", size: 3, root: Hash.sha256([3])),
      output: Hash.sha256([UInt8(number)]))
  }

  private var bytes: [UInt8] {
    get throws { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }
  }

  private func write(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path)) }

  /// Six lines, every second one signed.
  private func filled() throws -> AccessLog {
    let log = try AccessLog(path: path)
    for number in 0..<6 {
      if number.isMultiple(of: 2) {
        try log.append(record(number), as: "root")
      } else {
        try log.append(record(number), officer: officer)
      }
    }
    return log
  }

  @Test func `lines come back as they were written, over several openings`() throws {
    _ = try filled()
    let head = try AccessLog(path: path).append(record(6), as: "root").head
    let lines = try AccessLog.lines(path: path)
    #expect(try lines.map(\.record) == (0...6).map { try record($0) })
    #expect(lines.map(\.number) == Array(0...6))
    #expect(lines[0].actor == .user("root") && lines[1].actor == .officer(officer.verifyingKey))
    let summary = try AccessLog.verify(path: path, kept: head)
    #expect(summary.head == head && summary.head.lines == 7 && summary.signedLines == 3)
    #expect(summary.tornBytes == 0)
    let empty = AccessRecord(timeMs: 0, command: "ledger verify", rows: 0)
    try AccessLog(path: path).append(empty, as: "root")
    #expect(try AccessLog.lines(path: path).last?.record == empty)
  }

  @Test func `the first line that was changed, removed, moved or repeated is named`() throws {
    _ = try filled()
    let good = try bytes
    let lines = good.split(separator: 10).map(Array.init)
    func firstBad(_ lines: [[UInt8]]) throws -> Int? {
      try write(lines.flatMap { $0 + [10] })
      do {
        _ = try AccessLog.verify(path: path)
        return nil
      } catch {
        guard case .brokenAccessLog(_, let line, _) = error else { return -1 }
        return line
      }
    }
    #expect(try firstBad(lines) == nil)
    for number in lines.indices {
      for position in stride(from: 0, to: lines[number].count, by: 11) {
        var changed = lines
        changed[number][position] ^= 1
        let bad = try firstBad(changed)
        // A change that leaves a well-formed unsigned line is seen by the hash in the next one.
        #expect(bad == number + 1 || bad == number + 2)
      }
    }
    #expect(try firstBad(Array(lines[..<2] + lines[3...])) == 3)
    #expect(try firstBad(lines[..<2] + [lines[3], lines[2]] + lines[4...]) == 3)
    #expect(try firstBad(lines[..<2] + [lines[1]] + lines[2...]) == 3)
    #expect(try firstBad(Array(lines[1...])) == 1)
    #expect(try firstBad(lines[..<2] + [[]] + lines[2...]) == 3)
  }

  @Test func `lines missing at the end are seen against a head that was kept`() throws {
    _ = try filled()
    let kept = try AccessLog.verify(path: path).head
    let good = try bytes
    try write(Array(good.split(separator: 10).dropLast().flatMap { $0 + [10] }))
    #expect(try AccessLog.verify(path: path).head.lines == 5)
    #expect(throws: LedgerError.self) { try AccessLog.verify(path: path, kept: kept) }
    // What replaces them does not help.
    try AccessLog(path: path).append(record(9), as: "root")
    #expect(throws: LedgerError.self) { try AccessLog.verify(path: path, kept: kept) }
    try write(good)
    #expect(try AccessLog.verify(path: path, kept: kept).head == kept)
  }

  @Test func `a line that a crash cut off is reported and moved aside, at every length`() throws {
    _ = try filled()
    let good = try bytes
    let start = (good.dropLast().lastIndex(of: 10) ?? 0) + 1
    for length in [1, 2, 50, good.count - start - 1] {
      try write(Array(good[..<(start + length)]))
      #expect(try AccessLog.verify(path: path).tornBytes == length)
      #expect(try AccessLog.lines(path: path).count == 5)
      let (head, torn) = try AccessLog(path: path).append(record(8), as: "root")
      let side = try #require(torn)
      #expect(
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: side))) == Array(good[start..<(start + length)]))
      #expect(try AccessLog.verify(path: path).head == head && head.lines == 6)
      #expect(try AccessLog(path: path).append(record(9), as: "root").tornLine == nil)
      try FileManager.default.removeItem(atPath: side)
    }
    // Also the very first line.
    try write(Array(good[..<20]))
    #expect(try AccessLog(path: path).append(record(8), as: "root").tornLine != nil)
    #expect(try AccessLog.verify(path: path).head.lines == 1)
  }

  @Test func `nothing is appended after a line that was changed`() throws {
    let log = try filled()
    var changed = try bytes
    changed[changed.count - 5] ^= 1
    try write(changed)
    #expect(throws: LedgerError.self) { try log.append(record(9), as: "root") }
    #expect(try bytes == changed)
  }

  @Test func `several writers at once make one chain`() async throws {
    let path = path
    let record = try record()
    await withTaskGroup(of: Void.self) { group in
      for writer in 0..<4 {
        group.addTask {
          for _ in 0..<10 { _ = try? AccessLog(path: path).append(record, as: "writer \(writer)") }
        }
      }
    }
    #expect(try AccessLog.verify(path: path).head.lines == 40)
  }

  @Test func `an officer's line cannot lose its signature or be another's`() throws {
    let log = try AccessLog(path: path)
    try log.append(record(), officer: officer)
    let line = String(decoding: try bytes, as: UTF8.self)
    let end = try #require(line.range(of: #","signature":""#))
    try write(Array((line[..<end.lowerBound] + "}\n").utf8))
    #expect(throws: LedgerError.self) { try AccessLog.verify(path: path) }
    try write(
      Array(
        line.replacingOccurrences(of: officer.verifyingKey.hex, with: String(repeating: "ab", count: 32)).utf8
      ))
    #expect(throws: LedgerError.self) { try AccessLog.verify(path: path) }
  }

  @Test func `what would not fit a line is refused`() throws {
    let log = try AccessLog(path: path)
    var record = try record()
    record.filter["long"] = String(repeating: "x", count: AccessLog.maximumLineBytes)
    #expect(throws: LedgerError.self) { try log.append(record, as: "root") }
    record.filter = [:]
    record.command = "two\nlines"
    #expect(throws: LedgerError.self) { try log.append(record, as: "root") }
    #expect(try bytes.isEmpty)
  }
}
