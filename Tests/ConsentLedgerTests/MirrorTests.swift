import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Synchronization
import Testing

@testable import ConsentLedger

@Suite struct MirrorTests {
  @Test func `follows the log and keeps events by subject`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let mirror = try fixture.mirror()
    #expect(mirror.checkpoint == nil && mirror.checkpointAge(nowMs: startMs) == nil)
    let given = try fixture.event()
    let withdrawn = try fixture.event(.withdrawn, of: given.subject)
    _ = try ledger.append([fixture.consent(given)], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs)
    _ = try ledger.append(
      [
        fixture.consent(), fixture.sign(.round(fixture.round()), by: fixture.logKey),
        fixture.consent(withdrawn),
      ], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs + 10_000)
    #expect(mirror.size == 9 && mirror.checkpoint?.checkpoint.root == ledger.root)
    #expect(mirror.checkpointAge(nowMs: startMs + 12_000) == 2)
    #expect(mirror.isEnrolled(fixture.store.verifyingKey))
    #expect(mirror.enrolledKeys == [fixture.store.verifyingKey])
    #expect(mirror.rules.current == ledger.rules.current)
    let expected = [IndexedEvent(index: 5, event: given), IndexedEvent(index: 8, event: withdrawn)]
    #expect(try mirror.events(for: [given.subject]) == [given.subject: expected])
    // A grant counts from its own recorder only, a denial from everybody.
    #expect(
      try mirror.events(for: [given.subject], grantor: fixture.stranger.verifyingKey)
        == [given.subject: [expected[1]]])
    #expect(
      try mirror.events(for: [given.subject], grantor: fixture.store.verifyingKey)
        == [given.subject: expected])
    // And again from its file.
    let again = try fixture.mirror()
    #expect(again.size == 9 && again.checkpoint == mirror.checkpoint)
    #expect(again.isEnrolled(fixture.store.verifyingKey))
    #expect(try again.events(for: [given.subject])[given.subject] == expected)
    #expect(try again.root(size: 9) == ledger.root)
    #expect(try (0...9).map { try again.root(size: $0) } == Self.roots(ledger))
  }

  private static func roots(_ ledger: LedgerStore) throws -> [Digest] {
    var range = CompactRange()
    var roots = [range.root]
    for leaf in try ledger.entries(0..<ledger.size) {
      range.append(leafHash: MerkleTree.leafHash(leaf))
      roots.append(range.root)
    }
    return roots
  }

  @Test func `refuses a log that shrank and one that was forked`() async throws {
    let fixture = try Fixture()
    let mirror = try fixture.mirror()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(5), nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs)
    let honest = mirror.checkpoint

    // The same keys on another directory: a server that shows this node another log.
    let fork = try fixture.open(directory: fixture.directory("fork"))
    _ = try fork.append(fixture.beginning() + fixture.consents(3), nowMs: startMs)
    await #expect(throws: LedgerError.shrunk(knownSize: 10, offeredSize: 8)) {
      try await fork.advance(mirror, nowMs: startMs + 10_000)
    }
    _ = try fork.append(fixture.consents(2), nowMs: startMs)
    await #expect(throws: LedgerError.forked(size: 10)) {
      try await fork.advance(mirror, nowMs: startMs + 20_000)
    }
    _ = try fork.append(fixture.consents(1), nowMs: startMs)
    await #expect(throws: LedgerError.forked(size: 11)) {
      try await fork.advance(mirror, nowMs: startMs + 30_000)
    }
    #expect(mirror.checkpoint == honest && mirror.size == 10)
    // The honest log is still followed.
    _ = try ledger.append([fixture.consent()], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs + 40_000)
    #expect(mirror.size == 11)
  }

  @Test func `a longer copy of another history does not contain a session's tree`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(3), nowMs: startMs)
    let fork = try fixture.open(directory: fixture.directory("fork"))
    // The same beginning in both; then this node is shown something else, and more of it.
    _ = try fork.append(fixture.beginning() + fixture.consents(6), nowMs: startMs)
    let (mirror, misled) = (try fixture.mirror(), try fixture.mirror("misled"))
    try await ledger.advance(mirror, nowMs: startMs)
    try await fork.advance(misled, nowMs: startMs)
    let session = try ledger.checkpoint(nowMs: startMs).checkpoint
    #expect(try mirror.contains(session))
    #expect(try !misled.contains(session))
    _ = try ledger.append(fixture.consents(1), nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs + 5_000)
    #expect(try mirror.contains(session))
    #expect(try !mirror.contains(fork.checkpoint(nowMs: startMs).checkpoint))
    let later = Checkpoint(origin: Fixture.origin, size: 1_000, root: session.root)
    #expect(try !mirror.contains(later))
  }

  @Test func `refuses notes that are old, ahead of time, outdated or signed by others`() async throws {
    let fixture = try Fixture()
    let mirror = try fixture.mirror()
    let ledger = try fixture.open()
    let old = try ledger.checkpoint(nowMs: startMs).noteText
    func advance(_ note: String, nowMs: Int64) async throws {
      try await mirror.advance(noteText: note, nowMs: nowMs) { range throws(LedgerError) in
        try ledger.entries(range)
      }
    }
    await #expect(throws: LedgerError.staleCheckpoint(ageSeconds: 61, maximumSeconds: 60)) {
      try await advance(old, nowMs: startMs + 61_000)
    }
    await #expect(throws: LedgerError.checkpointFromTheFuture(aheadSeconds: 31)) {
      try await advance(old, nowMs: startMs - 31_000)
    }
    try await advance(ledger.checkpoint(nowMs: startMs + 10_000).noteText, nowMs: startMs + 10_000)
    await #expect(throws: LedgerError.outdatedCheckpoint) { try await advance(old, nowMs: startMs + 10_000) }
    let forged = try SignedCheckpoint.sign(
      Checkpoint(origin: ledger.origin, size: 0, root: MerkleTree.emptyRoot),
      timestampSeconds: UInt64(startMs / 1000) + 20, logKey: fixture.stranger,
      freshnessKey: fixture.freshnessKey)
    await #expect(throws: LedgerError.log(.missingSignature(by: ledger.origin))) {
      try await advance(forged.noteText, nowMs: startMs + 20_000)
    }
  }

  @Test func `refuses leaves that are missing, changed, not signed or against the rules`() async throws {
    let fixture = try Fixture()
    let mirror = try fixture.mirror()
    let ledger = try fixture.begun()
    _ = try ledger.append([fixture.consent(), fixture.consent()], nowMs: startMs)
    let note = try ledger.checkpoint(nowMs: startMs).noteText
    let leaves = try ledger.entries(0..<7)
    func with(_ index: Int, _ leaf: [UInt8]) -> [[UInt8]] {
      var changed = leaves
      changed[index] = leaf
      return changed
    }
    let mixed = Array(leaves[6][..<(leaves[6].count - 200)] + leaves[5][(leaves[5].count - 200)...])
    let answers: [([[UInt8]], LedgerError)] = [
      (Array(leaves[..<6]), LedgerError.wrongAnswer(requested: 7, received: 6)),
      (leaves + leaves, .wrongAnswer(requested: 7, received: 14)),
      (with(5, [1, 2, 3]), .unreadableEntry(index: 5)), (with(6, mixed), .unreadableEntry(index: 6)),
      (with(5, leaves[6]), .forked(size: 7)),
      (with(6, try fixture.consent().leaf(recordedMs: startMs)), .forked(size: 7)),
      (
        with(6, try fixture.consent(by: fixture.stranger).leaf(recordedMs: startMs)),
        .unreadableEntry(index: 6)
      ),
      (
        with(6, try fixture.consent(fixture.event(policy: nil)).leaf(recordedMs: startMs)),
        .unreadableEntry(index: 6)
      ),
      (with(6, try fixture.consent().leaf(recordedMs: startMs - 1)), .unreadableEntry(index: 6)),
      (
        with(4, try fixture.sign(fixture.approval(), by: fixture.officer).leaf(recordedMs: startMs)),
        .unreadableEntry(index: 4)
      ),
    ]
    for (answer, error) in answers {
      await #expect(throws: error) {
        try await mirror.advance(noteText: note, nowMs: startMs) { _ throws(LedgerError) in answer }
      }
      #expect(mirror.size == 0 && !mirror.isEnrolled(fixture.store.verifyingKey))
    }
    try await ledger.advance(mirror, nowMs: startMs)
    #expect(mirror.size == 7)
  }

  @Test func `a log of another operator is not believed`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let mirror = try fixture.mirror("other", operatorKey: fixture.stranger.verifyingKey)
    await #expect(throws: LedgerError.unreadableEntry(index: 0)) {
      try await ledger.advance(mirror, nowMs: startMs)
    }
    #expect(mirror.size == 0)
    #expect(throws: LedgerError.otherLog(path: fixture.file("other/mirror.sqlite"), field: "operator key")) {
      try fixture.mirror("other")
    }
  }

  // MARK: Large advances

  /// 20,000 entries: three transactions. Signed once for all tests of this suite.
  private func large(_ fixture: Fixture) throws -> LedgerStore {
    let ledger = try fixture.begun()
    for _ in 0..<2 { _ = try ledger.append(fixture.consents(10_000, batchSize: 256), nowMs: startMs) }
    return ledger
  }

  private static func rows(_ fixture: Fixture) throws -> [Int] {
    let queue = try DatabaseQueue(path: fixture.file("node/mirror.sqlite"))
    return try queue.read { db in
      try ["leaf", "tile", "enforcement", "checkpoint"].map {
        try Int.fetchOne(db, sql: "SELECT count(*) FROM \($0)") ?? -1
      }
    }
  }

  @Test func `a large advance is stored in parts and believed at its end alone`() async throws {
    let fixture = try Fixture()
    let ledger = try large(fixture)
    let mirror = try fixture.mirror()
    let note = try ledger.checkpoint(nowMs: startMs).noteText
    let asked = Mutex(0)
    // Cut off in the middle: what was staged is not believed, also not by a new process.
    await #expect(throws: LedgerError.outOfRange(size: 0)) {
      try await mirror.advance(noteText: note, nowMs: startMs) { range throws(LedgerError) in
        asked.withLock { $0 += 1 }
        if range.lowerBound >= 17_000 { throw .outOfRange(size: 0) }
        return try ledger.entries(range)
      }
    }
    let fetches = asked.withLock { $0 }
    #expect(fetches == 35 && mirror.size == 0 && mirror.checkpoint == nil)
    #expect(try fixture.mirror().size == 0)
    try await ledger.advance(mirror, nowMs: startMs)
    #expect(mirror.size == 20_005 && mirror.checkpoint?.checkpoint.root == ledger.root)
    #expect(try Self.rows(fixture)[..<2] == [20_005, 80])
    #expect(try mirror.root(size: 12_345) == LedgerFileReader(directory: fixture.path).root(size: 12_345))
    #expect(try fixture.mirror().root(size: 20_005) == ledger.root)
  }

  @Test func `a fork that is found after parts were stored leaves nothing`() async throws {
    let fixture = try Fixture()
    let ledger = try large(fixture)
    let mirror = try fixture.mirror()
    try await ledger.advance(mirror, nowMs: startMs)
    let before = try Self.rows(fixture)
    let root = ledger.root
    _ = try ledger.append(fixture.consents(10_000, batchSize: 256), nowMs: startMs)
    let note = try ledger.checkpoint(nowMs: startMs + 9000).noteText
    let forged = try fixture.consent().leaf(recordedMs: startMs)
    await #expect(throws: LedgerError.forked(size: 30_005)) {
      try await mirror.advance(noteText: note, nowMs: startMs + 9000) { range throws(LedgerError) in
        var leaves = try ledger.entries(range)
        if range.contains(20_500) { leaves[Int(20_500 - range.lowerBound)] = forged }
        return leaves
      }
    }
    #expect(try Self.rows(fixture) == before)
    #expect(mirror.size == 20_005 && mirror.checkpoint?.checkpoint.root == root)
    #expect(try mirror.root(size: 20_005) == root && fixture.mirror().root(size: 20_005) == root)
    try await ledger.advance(mirror, nowMs: startMs + 9000)
    #expect(mirror.size == 30_005 && mirror.checkpoint?.checkpoint.root == ledger.root)
  }

  @Test func `two large advances at once do not mix`() async throws {
    let fixture = try Fixture()
    let ledger = try large(fixture)
    let mirror = try fixture.mirror()
    let outcomes = await withTaskGroup(of: LedgerError?.self) { group in
      for _ in 0..<3 {
        group.addTask {
          do throws(LedgerError) {
            let note = try ledger.checkpoint(nowMs: startMs).noteText
            try await mirror.advance(noteText: note, nowMs: startMs) { range throws(LedgerError) in
              await Task.yield()
              return try ledger.entries(range)
            }
            return nil
          } catch { return error }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(outcomes.contains(nil))
    #expect(outcomes.compactMap { $0 }.allSatisfy { $0 == .concurrentAdvance })
    #expect(mirror.size == 20_005 && mirror.checkpoint?.checkpoint.root == ledger.root)
    #expect(try Self.rows(fixture)[0] == 20_005)
    #expect(try fixture.mirror().root(size: 20_005) == ledger.root)
    #expect(
      try fixture.mirror().root(size: 8_193) == LedgerFileReader(directory: fixture.path).root(size: 8_193))
  }

  @Test func `it is on record when a denial was in force here`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let mirror = try fixture.mirror()
    _ = try ledger.append([fixture.consent(fixture.event(.withdrawn))], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs)
    // What was in the log before this node followed it is no latency.
    #expect(try mirror.enforcements().isEmpty)
    _ = try ledger.append(
      [fixture.consent(), fixture.consent(fixture.event(.optedOut))], nowMs: startMs + 4000)
    func advance(_ nowMs: Int64, enforced: Int64) async throws {
      try await mirror.advance(
        noteText: ledger.checkpoint(nowMs: nowMs).noteText, nowMs: nowMs, now: { enforced }
      ) { range throws(LedgerError) in try ledger.entries(range) }
    }
    try await advance(startMs + 4100, enforced: startMs + 4150)
    #expect(
      try mirror.enforcements() == [
        Enforcement(index: 7, recordedMs: startMs + 4000, enforcedMs: startMs + 4150)
      ])
    // Where the last checkpoint was too old already, everything was denied from then on.
    _ = try ledger.append([fixture.consent(fixture.event(.objected))], nowMs: startMs + 50_000)
    try await advance(startMs + 500_000, enforced: startMs + 500_010)
    #expect(try mirror.enforcements(limit: 1).first?.index == 8)
    #expect(try mirror.enforcements(limit: 1).first?.enforcedMs == startMs + 64_000)
    #expect(try mirror.enforcements().count == 2)
  }
}
