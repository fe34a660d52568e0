import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import Testing

extension LedgerIndex {
  /// Every row of every table and the index over subjects, as text.
  func dump() throws -> [String] {
    try read { db in
      var lines: [String] = []
      for table in ["progress", "event", "circumstance", "step", "round", "other"] {
        for row in try Row.fetchAll(db, sql: "SELECT * FROM \(table) ORDER BY 1") {
          lines.append("\(table) \(row)")
        }
      }
      for row in try Row.fetchAll(
        db, sql: "SELECT subject, idx FROM event INDEXED BY event_subject ORDER BY 1, 2")
      {
        lines.append("subject \(row)")
      }
      return lines
    }
  }
}

@Suite struct IndexTests {
  @Test func `is the same however the log grew`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let leaves = try (0..<20).map { try fixture.leaf($0) }
    func fetch(_ range: Range<UInt64>) -> [[UInt8]] {
      Array(leaves[Int(range.lowerBound)..<Int(range.upperBound)])
    }
    let once = try LedgerIndex.open(path: fixture.file("once.sqlite"))
    try once.catchUp(to: 20) { range throws(LedgerError) in fetch(range) }
    let steps = try LedgerIndex.open(path: fixture.file("steps.sqlite"))
    for size: UInt64 in [0, 1, 4, 5, 5, 11, 19, 20, 20] {
      try steps.catchUp(to: size) { range throws(LedgerError) in fetch(range) }
      #expect(try steps.size() == size)
    }
    #expect(try once.dump() == steps.dump())
    #expect(try once.dump().filter { $0.hasPrefix("event ") }.count == 10)
    #expect(try once.dump().filter { $0.hasPrefix("subject ") }.count == 10)
    #expect(try once.dump().filter { $0.hasPrefix("other ") }.count == 8)
    #expect(try once.dump().filter { $0.hasPrefix("step ") }.count == 1)
    #expect(try once.dump().filter { $0.hasPrefix("round ") }.count == 1)
  }

  @Test func `finds what a walk over the log finds`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let tags = try (0..<5).map { _ in try fixture.tag() }
    var expected: [SubjectTag: [UInt64]] = [:]
    var erased: Set<SubjectTag> = []
    var random = RandomStream(testSeed: 9)
    for _ in 0..<6 {
      var batch: [SignedStatement] = []
      for _ in 0..<10 {
        let tag = tags[Int(random.uniform(below: 4))]
        let state = ConsentState.allCases[Int(random.uniform(below: UInt64(ConsentState.allCases.count)))]
        if state == .erased { erased.insert(tag) }
        expected[tag, default: []].append(ledger.size + UInt64(batch.count))
        batch.append(try fixture.consent(fixture.event(state, of: tag)))
      }
      _ = try ledger.append(batch, nowMs: startMs)
    }
    try ledger.close()
    let index = try LedgerFileReader(directory: fixture.path).index()
    #expect(try index.positions(of: tags, size: 65) == expected)
    #expect(try index.positions(of: [], size: 65).isEmpty)
    #expect(try index.erasedSubjects(by: fixture.store.verifyingKey) == erased)
    #expect(try index.positions(of: tags, size: 40) == expected.mapValues { $0.filter { $0 < 40 } })
  }

  @Test func `an index of another log is derived anew`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let leaves = try (0..<20).map { try fixture.leaf($0) }
    let other = try Fixture(seed: 2)
    try other.smallLedger()
    let foreign = try (0..<20).map { try other.leaf($0) }
    let index = try LedgerIndex.open(path: fixture.file("i.sqlite"))
    let expected = try LedgerIndex.open(path: fixture.file("e.sqlite"))
    for count in [20, 12] {
      try index.catchUp(to: 20) { range throws(LedgerError) in
        Array(foreign[Int(range.lowerBound)..<Int(range.upperBound)])
      }
      for index in [index, expected] {
        try index.catchUp(to: UInt64(count)) { range throws(LedgerError) in
          Array(leaves[Int(range.lowerBound)..<Int(range.upperBound)])
        }
      }
      #expect(try index.size() == UInt64(count) || count == 12)
      if count == 20 { #expect(try index.dump() == expected.dump()) }
    }
  }

  @Test func `a reader of an older checkpoint does not take away what a newer one indexed`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let subject = try fixture.tag()
    _ = try ledger.append([fixture.consent(fixture.event(of: subject))], nowMs: startMs)
    let early = try LedgerFileReader(directory: fixture.path)
    _ = try ledger.append([fixture.consent(fixture.event(.withdrawn, of: subject))], nowMs: startMs)
    let late = try LedgerFileReader(directory: fixture.path)
    let index = try late.index()
    #expect(try index.positions(of: [subject], size: 7) == [subject: [5, 6]])
    let older = try early.index()
    #expect(try older.positions(of: [subject], size: 6) == [subject: [5]])
    #expect(try index.size() == 7)
    // An index that has not come so far does not answer: an answer without the withdrawal would permit.
    #expect(throws: LedgerError.self) { try index.positions(of: [subject], size: 8) }
  }

  @Test func `two processes that index at once write every row once`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(400), nowMs: startMs)
    let path = fixture.path
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask { _ = try LedgerFileReader(directory: path).index() }
      }
      try await group.waitForAll()
    }
    let index = try LedgerFileReader(directory: path).index()
    #expect(try index.size() == 405)
    #expect(try index.dump().filter { $0.hasPrefix("event ") }.count == 400)
  }

  @Test func `an answer that is too short stops the index where it was`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let leaves = try (0..<20).map { try fixture.leaf($0) }
    let index = try LedgerIndex.open(path: fixture.file("i.sqlite"))
    #expect(throws: LedgerError.wrongAnswer(requested: 20, received: 19)) {
      try index.catchUp(to: 20) { _ throws(LedgerError) in Array(leaves[..<19]) }
    }
    #expect(throws: LedgerError.self) {
      try index.catchUp(to: 20) { _ throws(LedgerError) in Array(leaves[..<19]) + [[1, 2, 3]] }
    }
    #expect(try index.size() == 0)
    #expect(try index.dump().count == 1)
  }
}
