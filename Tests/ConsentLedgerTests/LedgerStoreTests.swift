import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Storage
import Synchronization
import Testing

@Suite struct LedgerStoreTests {
  @Test func `every receipt proves its entry under a signed checkpoint`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let verifiers = try fixture.verifiers
    var all: [(statement: SignedStatement, receipt: LedgerReceipt)] = []
    for (batch, count) in [1, 2, 3, 5, 8, 1, 13, 300].enumerated() {
      let statements = try fixture.consents(count, batchSize: batch.isMultiple(of: 2) ? 64 : 1)
      let receipts = try ledger.append(statements, nowMs: startMs + Int64(batch))
      all += zip(statements, receipts).map { (statement: $0, receipt: $1) }
      #expect(ledger.size == UInt64(all.count + 5))
    }
    for (index, (statement, receipt)) in all.enumerated() {
      #expect(receipt.index.value == UInt64(index + 5))
      try receipt.prove(statement, verifiers)
      // The leaf that is in the log is the one that the author can put together.
      #expect(try ledger.leaf(receipt.index.value) == statement.leaf(recordedMs: receipt.recordedMs))
      // Another entry's leaf is not proven.
      let other = all[(index + 1) % all.count]
      #expect(throws: LedgerError.log(.wrongProof("inclusion"))) {
        try LedgerReceipt.verify(
          leaf: other.statement.leaf(recordedMs: other.receipt.recordedMs),
          noteText: receipt.checkpoint.noteText, proof: receipt.proof, verifiers: verifiers)
      }
      // Each receipt's tree is a prefix of the newest one, and its proof the same as one made later.
      let proof = try ledger.consistencyProof(oldSize: receipt.proof.size, newSize: ledger.size)
      try proof.verify(oldRoot: receipt.checkpoint.checkpoint.root, newRoot: ledger.root)
      #expect(
        try ledger.inclusionProof(index: receipt.index.value, size: receipt.proof.size) == receipt.proof)
    }
    #expect(try ledger.synchronousLevel() == 2)
  }

  @Test func `the tree is that of RFC 6962 over the leaves at every size`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    for count in [249, 1, 1, 1, 255, 2, 5] {
      _ = try ledger.append(fixture.consents(count, batchSize: 256), nowMs: startMs)
      var range = CompactRange()
      for start in stride(from: UInt64(0), to: ledger.size, by: 512) {
        for leaf in try ledger.entries(start..<min(ledger.size, start + 512)) {
          range.append(leafHash: MerkleTree.leafHash(leaf))
        }
      }
      #expect(range.root == ledger.root && range.size == ledger.size)
    }
    #expect(ledger.size == 519)
  }

  @Test func `a repeated entry gets a receipt for where it stands, whoever signed its batch`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let event = try fixture.event()
    let alone = try fixture.consent(event)
    _ = try ledger.append([alone, fixture.consent()], nowMs: startMs)
    let root = ledger.root
    // The same words in another batch: another signature, the same entry.
    let inBatch = try SignedStatement.sign(
      [.consent(event), .consent(event)], key: fixture.store)
    #expect(inBatch[0].signature != alone.signature)
    let again = try ledger.append(
      [alone, alone] + inBatch + [fixture.sign(fixture.enrolment(), by: fixture.operatorKey)],
      nowMs: startMs + 9)
    #expect(again.map(\.index) == [5, 5, 5, 5, 0])
    #expect(again.map(\.recordedMs) == [startMs, startMs, startMs, startMs, startMs])
    #expect(ledger.root == root && ledger.size == 7)
    for receipt in again.prefix(4) { try receipt.prove(alone, fixture.verifiers) }
    // Within one append too.
    let new = try fixture.consent()
    #expect(try ledger.append([new, new], nowMs: startMs).map(\.index) == [7, 7])
    // Another signer's same words are another entry.
    let other = try fixture.sign(.consent(event), by: fixture.stranger)
    #expect(throws: LedgerError.self) { try ledger.append([other], nowMs: startMs) }
    #expect(ledger.size == 8)
  }

  @Test func `the same event id with other content is refused, and the whole append with it`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    var event = try fixture.event()
    _ = try ledger.append([fixture.consent(event)], nowMs: startMs)
    event.recorder = "till 4"
    let error = LedgerError.refused(
      position: 1, reason: .conflictingEntry(identity: "consent \(event.eventID)"))
    let batch = [try fixture.consent(), try fixture.consent(event)]
    #expect(throws: error) { try ledger.append(batch, nowMs: startMs) }
    #expect(ledger.size == 6)
    // A refusal is not a failure: the store goes on.
    #expect(try ledger.append([batch[0]], nowMs: startMs).first?.index == 6)
    // An identity stands for one entry of whatever kind.
    let notice = NoticeRecord(id: event.eventID, kind: "k", text: "t", timeMs: startMs)
    #expect(throws: LedgerError.self) {
      try ledger.append([fixture.sign(.notice(notice), by: fixture.logKey)], nowMs: startMs)
    }
  }

  @Test func `a statement whose content was changed after signing is refused`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let text = String(decoding: try fixture.consent(fixture.event(.withdrawn)).bytes, as: UTF8.self)
    let changed = text.replacingOccurrences(of: #""withdrawn""#, with: #""refused""#)
    let forged = try SignedStatement(parsing: Array(changed.utf8))
    let reason = LedgerError.wrongSignature(signer: fixture.store.verifyingKey)
    #expect(throws: LedgerError.refused(position: 0, reason: reason)) {
      try ledger.append([forged], nowMs: startMs)
    }
  }

  @Test func `everything is there after reopening`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let ledger = try fixture.open()
    #expect(ledger.size == 20 && ledger.isEnrolled(fixture.store.verifyingKey))
    #expect(!ledger.isEnrolled(fixture.stranger.verifyingKey))
    #expect(ledger.rules.current?.digest == Fixture.policyDigest)
    let receipt = try #require(try ledger.append([fixture.consent()], nowMs: startMs).first)
    #expect(receipt.index == 20 && receipt.recordedMs == startMs + 2000)
    #expect(throws: LedgerError.outOfRange(size: 21)) { try ledger.entries(5..<22) }
    #expect(throws: LedgerError.outOfRange(size: 21)) { try ledger.inclusionProof(index: 21, size: 21) }
    #expect(throws: LedgerError.outOfRange(size: 21)) { try ledger.consistencyProof(oldSize: 2, newSize: 22) }
    #expect(throws: LedgerError.outOfRange(size: 21)) { try ledger.leaf(21) }
  }

  @Test func `a checkpoint is signed anew when it is old, and its time never goes back`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    let first = try ledger.checkpoint(nowMs: startMs)
    #expect(first.timestampSeconds == UInt64(startMs / 1000))
    #expect(try ledger.checkpoint(nowMs: startMs + 3000) == first)
    let second = try ledger.checkpoint(nowMs: startMs + 4000)
    #expect(second.timestampSeconds == first.timestampSeconds + 4)
    #expect(try ledger.checkpoint(nowMs: startMs - 60_000) == second)
    let receipts = try ledger.append(Array(fixture.beginning()[..<3]), nowMs: startMs - 60_000)
    // The clock of the append is behind; the note is not dated before the last one.
    #expect(receipts.first?.checkpoint.timestampSeconds == second.timestampSeconds)
  }

  @Test func `between signing and publishing the old tree is not dated anew`() throws {
    let fixture = try Fixture()
    let seen = Mutex<[SignedCheckpoint]>([])
    let opened = Mutex<LedgerStore?>(nil)
    let ledger = try fixture.open { step in
      guard step == .afterSignerState || step == .beforeSignerState else { return }
      guard let ledger = opened.withLock({ $0 }) else { return }
      // A reader whose clock is ahead asks while a larger tree is signed already.
      let note = try ledger.checkpoint(nowMs: startMs + 60_000)
      seen.withLock { $0.append(note) }
    }
    let first = try ledger.checkpoint(nowMs: startMs)
    opened.withLock { $0 = ledger }
    let receipt = try #require(try ledger.append(fixture.beginning(), nowMs: startMs).first)
    #expect(seen.withLock { $0 } == [first, first])
    #expect(receipt.checkpoint.timestampSeconds < UInt64(startMs / 1000) + 60)
    opened.withLock { $0 = nil }
  }

  @Test func `many entries have one receipt, also where some of them were there before`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let statements = try (0..<9).map { _ in try fixture.consent() }
    let old = try ledger.append([statements[2], statements[6]], nowMs: startMs)
    let receipt = try await ledger.append(runs: statements, nowMs: startMs)
    #expect(receipt.places.map(\.index.value) == [7, 8, 5, 9, 10, 11, 6, 12, 13])
    #expect(old.map(\.index.value) == [5, 6])
    let runs = LedgerPlace.runs(receipt.places.map(\.index.value))
    #expect(runs == [0..<2, 2..<3, 3..<6, 6..<7, 7..<9] && receipt.runs.count == runs.count)
    for (run, proof) in zip(runs, receipt.runs) {
      let hashes = try run.flatMap { place in
        MerkleTree.leafHash(try statements[place].leaf(recordedMs: receipt.places[place].recordedMs)).bytes
      }
      try proof.verify(leafHashes: hashes, root: receipt.checkpoint.checkpoint.root)
      #expect(throws: MerkleLogError.self) {
        try proof.verify(leafHashes: hashes.map { $0 ^ 1 }, root: receipt.checkpoint.checkpoint.root)
      }
    }
    #expect(LedgerPlace.runs([]) == [])
  }

  @Test func `a second store on the same directory and other keys are refused`() throws {
    let fixture = try Fixture()
    let path = fixture.file("ledger.sqlite")
    do {
      let ledger = try fixture.open()
      #expect(throws: LedgerError.storage(.inUse(path: path))) { try fixture.open() }
      try ledger.close()
    }
    #expect(throws: LedgerError.otherLog(path: path, field: "log key")) {
      try LedgerStore.open(
        directory: fixture.path, origin: Fixture.origin, logKey: fixture.stranger,
        freshnessKey: fixture.freshnessKey)
    }
    #expect(throws: LedgerError.otherLog(path: path, field: "origin")) {
      try LedgerStore.open(
        directory: fixture.path, origin: "accord.test/other", logKey: fixture.logKey,
        freshnessKey: fixture.freshnessKey)
    }
  }

  @Test func `the newest denial is what can end a permission`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    #expect(ledger.newestDenial == 4)
    _ = try ledger.append([fixture.consent()], nowMs: startMs)
    #expect(ledger.newestDenial == 4)
    _ = try ledger.append([fixture.consent(fixture.event(.withdrawn)), fixture.consent()], nowMs: startMs)
    #expect(ledger.newestDenial == 6)
    _ = try ledger.append([fixture.consent(fixture.event(.restrictionLifted))], nowMs: startMs)
    #expect(ledger.newestDenial == 6)
  }

  @Test func `an append that is too large is refused before anything else`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let statement = try fixture.consent()
    let many = Array(repeating: statement, count: LedgerStore.maximumBatch + 1)
    #expect(throws: LedgerError.outOfRange(size: 16_385)) { try ledger.append(many, nowMs: startMs) }
    #expect(try ledger.append([], nowMs: startMs).isEmpty)
  }
}

@Suite struct GroupCommitTests {
  @Test func `64 callers share commits and each gets its own receipts`() async throws {
    let fixture = try Fixture()
    let commits = Mutex(0)
    let ledger = try fixture.begun { if $0 == .beforeStaging { commits.withLock { $0 += 1 } } }
    let work = try (0..<64).map { _ in try (0..<4).map { _ in try fixture.consents(3) } }
    let verifiers = try fixture.verifiers
    let before = commits.withLock { $0 }
    let indexes = try await withThrowingTaskGroup(of: [UInt64].self) { group in
      for batches in work {
        group.addTask {
          var indexes: [UInt64] = []
          for batch in batches {
            let receipts = try await ledger.append(group: batch, nowMs: startMs)
            for (statement, receipt) in zip(batch, receipts) {
              try receipt.prove(statement, verifiers)
              indexes.append(receipt.index.value)
            }
          }
          return indexes
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
    #expect(indexes.sorted() == Array(5..<773))
    #expect(ledger.size == 773)
    let after = commits.withLock { $0 }
    #expect(after - before <= 256)
  }

  /// The commit that is under way waits until everybody has queued, so that the rest shares the next one.
  private func grouped(
    _ fixture: Fixture, _ ledger: LedgerStore, _ gate: DispatchSemaphore, _ appends: [[SignedStatement]]
  ) async throws -> [Result<[LedgerReceipt], LedgerError>] {
    let first = try fixture.consent()
    return try await withThrowingTaskGroup(
      of: (Int, Result<[LedgerReceipt], LedgerError>).self
    ) { group in
      group.addTask { (-1, await Self.outcome(ledger, [first])) }
      for (index, append) in appends.enumerated() {
        group.addTask { (index, await Self.outcome(ledger, append)) }
      }
      // Enough for all to have queued; a late one only makes the test weaker.
      try await Task.sleep(for: .milliseconds(100))
      gate.signal()
      var results: [Int: Result<[LedgerReceipt], LedgerError>] = [:]
      for try await (index, result) in group { results[index] = result }
      return try (0..<appends.count).map { try #require(results[$0]) }
    }
  }

  private static func outcome(
    _ ledger: LedgerStore, _ append: [SignedStatement]
  ) async -> Result<[LedgerReceipt], LedgerError> {
    do { return .success(try await ledger.append(group: append, nowMs: startMs)) } catch {
      return .failure(error)
    }
  }

  @Test func `one bad append among good ones refuses only itself`() async throws {
    let fixture = try Fixture()
    let gate = DispatchSemaphore(value: 0)
    let armed = Mutex(false)
    let commits = Mutex(0)
    let ledger = try fixture.begun { step in
      guard step == .beforeStaging, armed.withLock({ $0 }) else { return }
      if commits.withLock({
        $0 += 1; return $0
      }) == 1 {
        gate.wait()
      }
    }
    armed.withLock { $0 = true }
    let repeated = try fixture.consents(2)
    var conflict = try fixture.event()
    let original = try fixture.consent(conflict)
    conflict.recorder = "till 9"
    let appends: [[SignedStatement]] = [
      try fixture.consents(3), [try fixture.consent(), try fixture.consent(fixture.event(policy: nil))],
      repeated, [original], [try fixture.consent(conflict)], repeated, try fixture.consents(2),
      [try fixture.consent(by: fixture.stranger)],
    ]
    let results = try await grouped(fixture, ledger, gate, appends)
    let verifiers = try fixture.verifiers
    for index in [0, 2, 3, 5, 6] where index != 3 {
      let receipts = try results[index].get()
      for (statement, receipt) in zip(appends[index], receipts) { try receipt.prove(statement, verifiers) }
    }
    #expect(throws: LedgerError.refused(position: 1, reason: .otherPolicy)) { try results[1].get() }
    #expect(
      throws: LedgerError.refused(
        position: 0, reason: .notEnrolled(signer: fixture.stranger.verifyingKey))
    ) { try results[7].get() }
    // Of two contents under one identity the first that came is in the log, the other refused.
    let outcomes = [results[3], results[4]].map { (try? $0.get()) != nil }
    #expect(outcomes == [true, false] || outcomes == [false, true])
    // The same statements in two appends stand once.
    #expect(try results[2].get().map(\.index) == results[5].get().map(\.index))
    #expect(ledger.size == 5 + 1 + 3 + 2 + 1 + 2)
    let committed = commits.withLock { $0 }
    #expect(committed <= 3)
  }
}
