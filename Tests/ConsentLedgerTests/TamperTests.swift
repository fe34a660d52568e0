import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Testing

@Suite struct TamperTests {
  @Test func `an untouched ledger verifies, from its files alone`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let report = LedgerVerifier.verify(directory: fixture.path, pinned: try fixture.verifiers)
    #expect(report.firstProblem == nil && report.verified && report.size == 8)
    #expect(report.counts.consents == 5 && report.counts.enrolments == 1)
    #expect(report.counts.rounds == 1 && report.counts.notices == 1 && report.counts.checkpoints == 3)
    #expect(report.root == (try fixture.open().root))
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }

  @Test func `other pinned keys are named`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let other = try CheckpointVerifiers(
      origin: "accord.test/log", logKey: fixture.stranger.verifyingKey,
      freshnessKey: fixture.freshnessKey.verifyingKey)
    let report = LedgerVerifier.verify(directory: fixture.path, pinned: other)
    #expect(report.firstProblem == "the ledger is signed with other keys than the ones pinned")
  }

  @Test func `any changed bit of any leaf is found and named`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    for index in 0..<8 {
      let leaf = try fixture.leaf(index)
      for place in stride(from: index, to: leaf.count, by: 97) {
        var changed = leaf
        changed[place] ^= 1
        try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = ?", [Data(changed), index])
        let report = LedgerVerifier.verify(directory: fixture.path)
        #expect(report.firstBadEntry == LeafIndex(UInt64(index)))
        #expect(report.firstProblem == "entry \(index) does not give the stored leaf hash")
      }
      try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = ?", [Data(leaf), index])
    }
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }

  @Test func `any changed node is found at the entry that completes it`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    for level in 0..<4 {
      for index in 0..<(8 >> level) {
        let flip = "UPDATE node SET hash = ? WHERE level = ? AND idx = ?"
        let queue = try DatabaseQueue(path: fixture.file("ledger.sqlite"))
        let hash = try queue.read {
          try Data.fetchOne(
            $0, sql: "SELECT hash FROM node WHERE level = ? AND idx = ?", arguments: [level, index])
        }
        try queue.close()
        let good = try #require(hash)
        var bad = good
        bad[5] ^= 1
        try fixture.tamper(flip, [bad, level, index])
        let report = LedgerVerifier.verify(directory: fixture.path)
        #expect(report.firstBadEntry?.value == UInt64((index + 1) << level) - 1)
        try fixture.tamper(flip, [good, level, index])
      }
    }
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }

  /// One statement behind the ledger's back, and the entry or the words that the report must name.
  private struct Change: Sendable, CustomTestStringConvertible {
    let sql: String
    let entry: UInt64?
    let words: String
    var testDescription: String { sql }
  }

  private static let changes = [
    Change(sql: "DELETE FROM leaf WHERE idx = 3", entry: 3, words: "entry 3 is missing"),
    Change(sql: "DELETE FROM leaf WHERE idx = 7", entry: 7, words: "8 entries were signed but only 7"),
    Change(sql: "DELETE FROM node WHERE level = 1 AND idx = 2", entry: 5, words: "entry 5"),
    Change(sql: "INSERT INTO node VALUES (5, 9, zeroblob(32))", entry: nil, words: "table node has 16 rows"),
    Change(sql: "UPDATE node SET hash = 'text' WHERE level = 0 AND idx = 2", entry: 2, words: "entry 2"),
    Change(sql: "UPDATE leaf SET identity = 'x' WHERE idx = 4", entry: 4, words: "derived rows of entry 4"),
    Change(sql: "UPDATE consent SET state = 'withdrawn' WHERE idx = 2", entry: 2, words: "derived rows"),
    Change(sql: "UPDATE consent SET subject = zeroblob(32) WHERE idx = 7", entry: 7, words: "derived rows"),
    Change(sql: "DELETE FROM consent WHERE idx = 1", entry: 1, words: "derived rows of entry 1"),
    Change(
      sql: "INSERT INTO consent VALUES (99, zeroblob(32), 'p', 'given')", entry: nil,
      words: "table consent has 6 rows"),
    Change(sql: "UPDATE enrolment SET name = 'x'", entry: 0, words: "derived rows of entry 0"),
    Change(sql: "UPDATE enrolment SET key = zeroblob(32)", entry: 0, words: "derived rows of entry 0"),
    Change(
      sql: "UPDATE checkpoint SET root = zeroblob(32) WHERE size = 5", entry: nil,
      words: "checkpoint of size 5 does not say"),
    Change(
      sql:
        "UPDATE checkpoint SET note = replace(note, char(10, 53, 10), char(10, 54, 10)) "
        + "WHERE size = 5", entry: nil, words: "checkpoint of size 5 is not valid"),
    Change(
      sql: "UPDATE checkpoint SET size = 4 WHERE size = 5", entry: nil, words: "checkpoint of size 4 does not"
    ),
    Change(sql: "UPDATE checkpoint SET note = x'ff00' WHERE size = 8", entry: nil, words: "size 8"),
    Change(sql: "UPDATE checkpoint SET size = -1 WHERE size = 5", entry: nil, words: "damaged"),
    Change(
      sql: "UPDATE log SET value = zeroblob(32) WHERE field = 'log key'", entry: nil,
      words: "signer's state"),
    Change(sql: "UPDATE log SET value = x'00' WHERE field = 'log key'", entry: nil, words: "malformed"),
    Change(sql: "DELETE FROM log WHERE field = 'origin'", entry: nil, words: "does not name its log"),
  ]

  @Test(arguments: changes)
  private func `each changed row is found and named`(change: Change) throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    try fixture.tamper(change.sql)
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(!report.verified)
    #expect(report.firstBadEntry?.value == change.entry)
    #expect(report.firstProblem?.contains(change.words) == true, "\(report.firstProblem ?? "nothing")")
  }

  /// Whoever can write every table still lacks the keys: the rewritten tree is consistent but not signed.
  @Test func `a ledger rewritten from one entry on does not give the signed roots`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    var leaves = try (0..<8).map { try fixture.leaf($0) }
    let replacement = try fixture.consent()
    leaves[2] = try replacement.leafBytes()
    try fixture.tamper(
      "UPDATE leaf SET bytes = ?, identity = ? WHERE idx = 2", [Data(leaves[2]), replacement.identity])
    guard case .consent(let event, _, _) = replacement else { return }
    try fixture.tamper("UPDATE consent SET subject = ? WHERE idx = 2", [Data(event.subject.bytes)])
    var range = CompactRange()
    for leaf in leaves {
      var nodes: [(NodePosition, Digest)] = []
      range.append(leafHash: MerkleTree.leafHash(leaf)) { nodes.append(($0, $1)) }
      for (position, hash) in nodes {
        try fixture.tamper(
          "UPDATE node SET hash = ? WHERE level = ? AND idx = ?",
          [Data(hash.bytes), position.level, Int(position.index)])
      }
    }
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstProblem == "the first 5 entries do not give the root that was signed for them")
    #expect(report.firstBadEntry == 4)
    #expect(throws: LedgerError.inconsistentTree(size: 8)) { try fixture.open() }
  }

  /// Entries written into the tables with a right tree but by nobody who may: found by their signature.
  @Test func `an entry of a key that is not enrolled is named`() throws {
    let fixture = try Fixture()
    do { _ = try fixture.open().append([fixture.enrolment()], nowMs: startMs) }
    let entry = try fixture.consent(by: fixture.stranger)
    let leaf = try entry.leafBytes()
    try fixture.tamper("INSERT INTO leaf VALUES (1, ?, ?)", [entry.identity, Data(leaf)])
    let hash = MerkleTree.leafHash(leaf)
    let parent = MerkleTree.nodeHash(MerkleTree.leafHash(try fixture.leaf(0)), hash)
    try fixture.tamper("INSERT INTO node VALUES (0, 1, ?)", [Data(hash.bytes)])
    try fixture.tamper("INSERT INTO node VALUES (1, 0, ?)", [Data(parent.bytes)])
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstBadEntry == 1)
    #expect(report.firstProblem?.contains("is not enrolled") == true)
  }

  @Test func `every changed byte of the signer's state is found`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let path = fixture.file("ledger-signer.note")
    let good = try #require(try DurableFile.read(path))
    for index in stride(from: 0, to: good.count, by: 5) {
      var bad = good
      bad[index] ^= 1
      try Data(bad).write(to: URL(fileURLWithPath: path))
      #expect(
        LedgerVerifier.verify(directory: fixture.path).firstProblem?.hasPrefix("the signer's state") == true)
      #expect(throws: LedgerError.self) { try fixture.open() }
    }
    try FileManager.default.removeItem(atPath: path)
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem?.hasSuffix("is missing") == true)
    #expect(throws: LedgerError.signerStateMissing(path: path)) { try fixture.open() }
  }

  @Test func `a restored older database is refused`() throws {
    let fixture = try Fixture()
    do {
      let ledger = try fixture.open()
      _ = try ledger.append([fixture.enrolment(), fixture.consent()], nowMs: startMs)
      try ledger.close()
    }
    try fixture.copyLedger(to: "backup")
    do {
      let ledger = try fixture.open()
      _ = try ledger.append([fixture.consent(), fixture.consent()], nowMs: startMs)
      try ledger.close()
    }
    for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] {
      try? FileManager.default.removeItem(atPath: fixture.file(name))
      try? FileManager.default.copyItem(atPath: fixture.file("backup/" + name), toPath: fixture.file(name))
    }
    #expect(throws: LedgerError.rolledBack(signedSize: 4, foundSize: 2)) { try fixture.open() }
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstProblem == "4 entries were signed but only 2 are there")
  }

  @Test func `a file that is no ledger and a missing one are named`() throws {
    let fixture = try Fixture()
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem?.contains("is missing") == true)
    try Data(repeating: 7, count: 9000).write(to: URL(fileURLWithPath: fixture.file("ledger.sqlite")))
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem?.contains("damaged") == true)
  }

  @Test func `verifies while a server has the ledger open and writes`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.enrolment()], nowMs: startMs)
    for count in 2...12 {
      _ = try ledger.append([fixture.consent()], nowMs: startMs)
      let report = LedgerVerifier.verify(directory: fixture.path)
      #expect(report.firstProblem == nil && report.size == UInt64(count))
    }
  }
}
