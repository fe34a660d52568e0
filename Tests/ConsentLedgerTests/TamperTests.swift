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
    #expect(report.firstProblem == nil && report.verified && report.size == 20)
    #expect(report.counts.consents == 10 && report.counts.enrolments == 4 && report.counts.revocations == 1)
    #expect(report.counts.policies == 1 && report.counts.approvals == 1 && report.counts.requests == 1)
    #expect(report.counts.rounds == 1 && report.counts.notices == 1 && report.counts.checkpoints >= 1)
    #expect(report.operatorKey == fixture.operatorKey.verifyingKey && report.indexed == nil)
    _ = try LedgerFileReader(directory: fixture.path).index()
    let indexed = LedgerVerifier.verify(directory: fixture.path)
    #expect(indexed.firstProblem == nil && indexed.indexed == 20)
    #expect(report.root == (try fixture.open().root))
  }

  @Test func `other pinned keys are named`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let other = try CheckpointVerifiers(
      origin: Fixture.origin, logKey: fixture.stranger.verifyingKey,
      freshnessKey: fixture.freshnessKey.verifyingKey)
    let report = LedgerVerifier.verify(directory: fixture.path, pinned: other)
    #expect(report.firstProblem == "the ledger is signed with other keys than the ones pinned")
    let operated = LedgerVerifier.verify(directory: fixture.path, operatorKey: fixture.stranger.verifyingKey)
    #expect(operated.firstBadEntry == 0)
  }

  @Test func `any changed bit of any leaf is found and named`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    for index in 0..<20 {
      let leaf = try fixture.leaf(index)
      for place in stride(from: index, to: leaf.count, by: 197) {
        var changed = leaf
        changed[place] ^= 1
        try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = ?", [Data(changed), index])
        #expect(LedgerVerifier.verify(directory: fixture.path).firstBadEntry == LeafIndex(UInt64(index)))
      }
      // Also when it was taken, which only the tree tells.
      let later = String(decoding: leaf, as: UTF8.self).replacingOccurrences(
        of: #""recorded":17900000"#, with: #""recorded":17900009"#)
      try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = ?", [Data(later.utf8), index])
      #expect(LedgerVerifier.verify(directory: fixture.path).firstBadEntry == LeafIndex(UInt64(index)))
      try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = ?", [Data(leaf), index])
    }
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }

  /// One statement behind the ledger's back, and the entry or the words that the report must name.
  private struct Change: Sendable, CustomTestStringConvertible {
    let sql: String
    var entry: UInt64?
    let words: String
    var file = "ledger.sqlite"
    var testDescription: String { sql }
  }

  private static let changes = [
    Change(sql: "DELETE FROM leaf WHERE idx = 3", entry: 3, words: "entry 3 is missing"),
    Change(sql: "DELETE FROM leaf WHERE idx = 0", entry: 0, words: "entry 0 is missing"),
    Change(sql: "DELETE FROM leaf WHERE idx = 19", entry: 19, words: "20 entries were signed but only 19"),
    Change(sql: "UPDATE leaf SET idx = 99 WHERE idx = 19", entry: 0xff, words: "tile"),
    Change(
      sql: "UPDATE leaf SET identity = zeroblob(16) WHERE idx = 7", entry: 7,
      words: "derived columns of entry 7"),
    Change(
      sql: "UPDATE leaf SET identity = 'text' WHERE idx = 7", entry: 7, words: "derived columns of entry 7"),
    Change(sql: "UPDATE leaf SET kind = 7 WHERE idx = 8", entry: 8, words: "derived columns of entry 8"),
    Change(sql: "UPDATE leaf SET kind = 4 WHERE idx = 8", entry: 8, words: "names another kind"),
    Change(sql: "UPDATE leaf SET kind = 0 WHERE idx = 2", entry: 2, words: "does not name it"),
    Change(sql: "UPDATE leaf SET bytes = CAST(bytes AS TEXT) WHERE idx = 9", entry: 9, words: "no bytes"),
    Change(sql: "DELETE FROM tile", entry: 19, words: "tile/0/000.p/20"),
    Change(sql: "UPDATE tile SET hashes = zeroblob(640)", entry: 0, words: "stored leaf hash"),
    Change(
      sql: "UPDATE tile SET hashes = CAST(substr(hashes, 1, 608) || zeroblob(32) AS BLOB)", entry: 19,
      words: "entry 19"),
    Change(
      sql: "UPDATE tile SET hashes = CAST(hashes || zeroblob(32) AS BLOB)", entry: 19,
      words: "tile/0/000.p/20"),
    Change(sql: "INSERT INTO tile VALUES (1, zeroblob(32))", words: "do not account for"),
    Change(sql: "UPDATE checkpoint SET time = time + 1", words: "does not say what its row says"),
    Change(
      sql:
        "UPDATE checkpoint SET note = replace(note, char(10, 50, 48, 10), char(10, 49, 57, 10)) WHERE size = 20",
      words: "checkpoint of size 20 is not valid"),
    Change(sql: "UPDATE checkpoint SET size = 4 WHERE size = 20", words: "checkpoint of size 4 does not say"),
    Change(sql: "UPDATE checkpoint SET note = x'ff00' WHERE size = 20", words: "row is damaged"),
    Change(sql: "UPDATE checkpoint SET size = -1 WHERE size = 20", words: "size -1"),
    Change(sql: "UPDATE log SET value = zeroblob(32) WHERE field = 'log key'", words: "signer's state"),
    Change(sql: "UPDATE log SET value = x'00' WHERE field = 'log key'", words: "malformed"),
    Change(sql: "DELETE FROM log WHERE field = 'origin'", words: "does not name its log"),
    Change(sql: "INSERT INTO log VALUES ('extra', x'00')", words: "something beside"),
    Change(
      sql: "INSERT INTO log VALUES ('operator key', zeroblob(32))", entry: 0, words: "not this log's operator"
    ),
    Change(sql: "UPDATE event SET state = 3 WHERE idx = 6", entry: 6, words: "entry 6", file: "index.sqlite"),
    Change(
      sql: "UPDATE event SET subject = zeroblob(32) WHERE idx = 6", entry: 6, words: "entry 6",
      file: "index.sqlite"),
    Change(
      sql: "UPDATE event SET expires = 1 WHERE idx = 6", entry: 6, words: "entry 6", file: "index.sqlite"),
    Change(
      sql: "UPDATE event SET recorded = recorded + 1 WHERE idx = 6", entry: 6, words: "entry 6",
      file: "index.sqlite"),
    Change(sql: "DELETE FROM event WHERE idx = 17", entry: 17, words: "entry 17", file: "index.sqlite"),
    Change(
      sql:
        "INSERT INTO event SELECT 1, subject, state, circumstance, recorded, time, expires, not_before, ask_again, steps, duration FROM event WHERE idx = 6",
      entry: 5, words: "entry 5", file: "index.sqlite"),
    Change(
      sql:
        "INSERT INTO event SELECT 77, subject, state, circumstance, recorded, time, expires, not_before, ask_again, steps, duration FROM event WHERE idx = 6",
      words: "do not account for", file: "index.sqlite"),
    Change(sql: "UPDATE circumstance SET channel = 'app'", entry: 5, words: "entry 5", file: "index.sqlite"),
    Change(
      sql: "INSERT INTO other VALUES (6, 1, zeroblob(32), 5)", words: "do not account for",
      file: "index.sqlite"),
    Change(sql: "UPDATE other SET kind = 2 WHERE idx = 0", entry: 0, words: "entry 0", file: "index.sqlite"),
    Change(sql: "UPDATE step SET manner = 'x'", entry: 12, words: "entry 12", file: "index.sqlite"),
    Change(sql: "UPDATE round SET epsilon = NULL", entry: 10, words: "entry 10", file: "index.sqlite"),
    Change(sql: "UPDATE progress SET size = 19", words: "account for", file: "index.sqlite"),
    Change(sql: "UPDATE progress SET last = zeroblob(32)", words: "how far", file: "index.sqlite"),
    Change(sql: "DELETE FROM progress", words: "how far", file: "index.sqlite"),
  ]

  @Test(arguments: changes)
  private func `each changed row is found and named`(change: Change) throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    _ = try LedgerFileReader(directory: fixture.path).index()
    try fixture.tamper(change.sql, file: change.file)
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(!report.verified)
    if change.entry != 0xff { #expect(report.firstBadEntry?.value == change.entry) }
    #expect(report.firstProblem?.contains(change.words) == true, "\(report.firstProblem ?? "nothing")")
  }

  /// Whoever can write every table still lacks the keys: the rewritten tree is consistent but not signed.
  @Test func `a ledger rewritten from one entry on does not give the signed roots`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let kept = try SignedCheckpoint.verify(
      LedgerVerifier.newestCheckpoint(directory: fixture.path), fixture.verifiers)
    var leaves = try (0..<20).map { try fixture.leaf($0) }
    let event = try fixture.event()
    leaves[6] = try fixture.consent(event).leaf(recordedMs: startMs)
    try fixture.tamper(
      "UPDATE leaf SET bytes = ?, identity = ? WHERE idx = 6", [Data(leaves[6]), Data(event.eventID.bytes)])
    try fixture.tamper(
      "UPDATE tile SET hashes = ?", [Data(leaves.flatMap { MerkleTree.leafHash($0).bytes })])
    let report = LedgerVerifier.verify(directory: fixture.path, since: kept)
    #expect(report.firstProblem?.contains("do not give the root that was signed for them") == true)
    #expect(throws: LedgerError.inconsistentTree(size: 20)) { try fixture.open() }
  }

  /// The operator of the server has the log's keys: only who kept a checkpoint notices.
  @Test func `a history that its own keys signed anew contradicts a checkpoint that somebody kept`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let kept = try SignedCheckpoint.verify(
      LedgerVerifier.newestCheckpoint(directory: fixture.path), fixture.verifiers)
    let other = try fixture.directory("other")
    let ledger = try fixture.open(directory: other)
    _ = try ledger.append(fixture.beginning() + fixture.consents(10), nowMs: startMs)
    let shorter = LedgerVerifier.verify(directory: other, since: kept)
    #expect(shorter.firstProblem?.contains("entries were removed") == true)
    _ = try ledger.append(fixture.consents(10), nowMs: startMs)
    #expect(LedgerVerifier.verify(directory: other).verified)
    let report = LedgerVerifier.verify(directory: other, since: kept)
    #expect(report.firstProblem?.contains("was changed since the checkpoint") == true)
    #expect(LedgerVerifier.verify(directory: fixture.path, since: kept).verified)
  }

  /// Entries written into the tables with a right tree but by nobody who may: found by their signature.
  @Test func `an entry of a key that is not enrolled is named`() throws {
    let fixture = try Fixture()
    do { _ = try fixture.begun() }
    let event = try fixture.event()
    let leaf = try fixture.consent(event, by: fixture.stranger).leaf(recordedMs: startMs)
    try fixture.tamper("INSERT INTO leaf VALUES (5, 0, ?, ?)", [Data(event.eventID.bytes), Data(leaf)])
    try fixture.tamper(
      "UPDATE tile SET hashes = CAST(hashes || ? AS BLOB)", [Data(MerkleTree.leafHash(leaf).bytes)])
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstBadEntry == 5)
    #expect(report.firstProblem?.contains("is not enrolled") == true)
  }

  @Test func `every changed byte of the signer's state is found`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let path = fixture.file("ledger-signer.note")
    let good = try #require(try DurableFile.read(path))
    // Five notes were written alternately: the last one stands in the first slot, the one before it in the second.
    #expect(good.count == 8192 && good[0] != 0 && good[4096] != 0)
    for index in good.indices where good[index] != 0 || index.isMultiple(of: 251) {
      var bad = good
      bad[index] ^= 1
      try Data(bad).write(to: URL(fileURLWithPath: path))
      #expect(
        LedgerVerifier.verify(directory: fixture.path).firstProblem?.hasPrefix("the signer's state") == true)
      // The newest note could have been cut off by power loss, but not the one before it.
      if index >= 4096, index.isMultiple(of: 5) { #expect(throws: LedgerError.self) { try fixture.open() } }
    }
    try Data(good.dropLast()).write(to: URL(fileURLWithPath: path))
    #expect(LedgerVerifier.verify(directory: fixture.path).verified == false)
    #expect(throws: LedgerError.self) { try fixture.open() }
    try FileManager.default.removeItem(atPath: path)
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem?.hasSuffix("is missing") == true)
    #expect(throws: LedgerError.signerStateMissing(path: path)) { try fixture.open() }
  }

  @Test func `a newest note that is not whole is signed again after its entries were checked`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let path = fixture.file("ledger-signer.note")
    let good = try #require(try DurableFile.read(path))
    let root = LedgerVerifier.verify(directory: fixture.path).root
    for change in [0, 40, 300, 4095] {
      var torn = good
      torn[change] ^= 1
      try Data(torn).write(to: URL(fileURLWithPath: path))
      do {
        let ledger = try fixture.open()
        #expect(ledger.size == 20 && ledger.root == root)
        try ledger.close()
      }
      let report = LedgerVerifier.verify(directory: fixture.path)
      #expect(report.firstProblem == nil && report.root == root)
    }
    // Among the entries that the note covered one was changed.
    var torn = good
    torn[100] ^= 1
    try Data(torn).write(to: URL(fileURLWithPath: path))
    try fixture.tamper(
      "UPDATE leaf SET bytes = CAST(replace(bytes, 'till 3', 'till 4') AS BLOB) WHERE idx = 19")
    #expect(throws: LedgerError.self) { try fixture.open() }
  }

  @Test func `a restored older database is refused`() throws {
    let fixture = try Fixture()
    do {
      let ledger = try fixture.begun()
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
    #expect(throws: LedgerError.rolledBack(signedSize: 7, foundSize: 5)) { try fixture.open() }
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstProblem == "7 entries were signed but only 5 are there" && report.firstBadEntry == 5)
  }

  @Test func `a file that is no ledger and a missing one are named`() throws {
    let fixture = try Fixture()
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem?.contains("is missing") == true)
    try Data(repeating: 7, count: 9000).write(to: URL(fileURLWithPath: fixture.file("ledger.sqlite")))
    #expect(LedgerVerifier.verify(directory: fixture.path).verified == false)
  }

  @Test func `verifies while a server has the ledger open and writes`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(300), nowMs: startMs)
    let batches = try (0..<40).map { _ in try fixture.consents(7) }
    async let writing: Void = {
      for batch in batches { _ = try await ledger.append(group: batch, nowMs: startMs) }
    }()
    var last: UInt64 = 305
    for _ in 0..<12 {
      let report = LedgerVerifier.verify(directory: fixture.path)
      #expect(report.firstProblem == nil && report.size >= last)
      last = report.size
    }
    try await writing
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstProblem == nil && report.size == 585 && report.counts.unsigned == 0)
  }

  @Test func `a node's copy verifies and its changes are found`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(300), nowMs: startMs)
    let mirror = try fixture.mirror()
    try await ledger.advance(mirror, nowMs: startMs)
    let node = fixture.file("node")
    let report = LedgerVerifier.verify(directory: node, pinned: try fixture.verifiers)
    #expect(report.firstProblem == nil && report.size == 305 && report.indexed == 305)
    #expect(report.root == ledger.root)
    let leaf = try ledger.leaf(40)
    try fixture.tamper(
      "UPDATE leaf SET bytes = ? WHERE idx = 41", [Data(leaf)], file: "node/mirror.sqlite")
    #expect(LedgerVerifier.verify(directory: node).firstBadEntry == 41)
  }

  @Test func `a tree of several levels of tiles verifies, and each changed hash is found`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(1200, batchSize: 256), nowMs: startMs)
    try ledger.close()
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem == nil)
    for (level, index, place, entry) in [
      (0, 0, 255, 255), (0, 3, 7, 775), (0, 4, 100, 1124), (1, 0, 0, 255), (1, 0, 3, 1023),
    ] {
      let position = level << 48 | index
      let flip = """
        UPDATE tile SET hashes = CAST(substr(hashes, 1, \(32 * place)) || zeroblob(32) ||
          substr(hashes, \(32 * place + 33)) AS BLOB) WHERE position = \(position)
        """
      let queue = try DatabaseQueue(path: fixture.file("ledger.sqlite"))
      let found = try queue.read {
        try Data.fetchOne($0, sql: "SELECT hashes FROM tile WHERE position = ?", arguments: [position])
      }
      try queue.close()
      let good = try #require(found)
      try fixture.tamper(flip)
      #expect(LedgerVerifier.verify(directory: fixture.path).firstBadEntry?.value == UInt64(entry))
      try fixture.tamper("UPDATE tile SET hashes = ? WHERE position = ?", [good, position])
    }
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }
}
