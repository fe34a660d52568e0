import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Testing

@Suite struct MirrorTests {
  @Test func `follows the log and keeps events by subject`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    let mirror = try fixture.mirror()
    #expect(mirror.checkpoint == nil && mirror.checkpointAge(nowMs: startMs) == nil)
    let given = try fixture.event()
    let withdrawn = try fixture.event(.withdrawn, of: given.subject)
    _ = try ledger.append([fixture.enrolment(), fixture.consent(given)], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs)
    _ = try ledger.append(
      [fixture.consent(), .round(fixture.round(), signedBy: fixture.logKey), fixture.consent(withdrawn)],
      nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs + 10_000)
    #expect(mirror.size == 5 && mirror.checkpoint?.checkpoint.root == ledger.root)
    #expect(mirror.checkpointAge(nowMs: startMs + 12_000) == 2)
    #expect(mirror.isEnrolled(fixture.store.verifyingKey))
    let expected = [IndexedEvent(index: 1, event: given), IndexedEvent(index: 4, event: withdrawn)]
    #expect(try mirror.events(for: [given.subject]) == [given.subject: expected])
    #expect(try ledger.events(of: given.subject) == expected)
    // And again from its file.
    let again = try fixture.mirror()
    #expect(again.size == 5 && again.checkpoint == mirror.checkpoint)
    #expect(again.isEnrolled(fixture.store.verifyingKey))
    #expect(try again.events(for: [given.subject])[given.subject] == expected)
  }

  @Test func `refuses a log that shrank and one that was forked`() async throws {
    let fixture = try Fixture()
    let mirror = try fixture.mirror()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.enrolment()] + (0..<5).map { _ in try fixture.consent() }, nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs)
    let honest = mirror.checkpoint

    // The same keys on another directory: a server that shows this node another log.
    let other = try Fixture()
    let fork = try other.open()
    _ = try fork.append([other.enrolment()] + (0..<3).map { _ in try other.consent() }, nowMs: startMs)
    await #expect(throws: LedgerError.shrunk(knownSize: 6, offeredSize: 4)) {
      try await fork.advance(mirror, nowMs: startMs + 10_000)
    }
    _ = try fork.append([other.consent(other.event(.refused)), other.consent()], nowMs: startMs)
    await #expect(throws: LedgerError.forked(size: 6)) {
      try await fork.advance(mirror, nowMs: startMs + 20_000)
    }
    _ = try fork.append([other.consent()], nowMs: startMs)
    await #expect(throws: LedgerError.forked(size: 7)) {
      try await fork.advance(mirror, nowMs: startMs + 30_000)
    }
    #expect(mirror.checkpoint == honest && mirror.size == 6)
    // The honest log is still followed.
    _ = try ledger.append([fixture.consent()], nowMs: startMs)
    try await ledger.advance(mirror, nowMs: startMs + 40_000)
    #expect(mirror.size == 7)
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

  @Test func `refuses leaves that are missing, changed or not signed`() async throws {
    let fixture = try Fixture()
    let mirror = try fixture.mirror()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.enrolment(), fixture.consent(), fixture.consent()], nowMs: startMs)
    let note = try ledger.checkpoint(nowMs: startMs).noteText
    let leaves = try ledger.entries(0..<3)
    let other = try fixture.consent().leafBytes()
    let otherSignature = Array(leaves[2][..<(leaves[2].count - 200)] + leaves[1][(leaves[1].count - 200)...])
    let answers: [([[UInt8]], LedgerError)] = [
      ([leaves[0], leaves[1]], LedgerError.wrongAnswer(requested: 3, received: 2)),
      (leaves + leaves, .wrongAnswer(requested: 3, received: 6)),
      ([leaves[0], leaves[1], [1, 2, 3]], .unreadableEntry(index: 2)),
      ([leaves[0], leaves[1], otherSignature], .unreadableEntry(index: 2)),
      ([leaves[0], leaves[2], leaves[1]], .forked(size: 3)),
      ([leaves[0], leaves[1], other], .forked(size: 3)),
    ]
    for (answer, error) in answers {
      await #expect(throws: error) {
        try await mirror.advance(noteText: note, nowMs: startMs) { _ throws(LedgerError) in answer }
      }
      #expect(mirror.size == 0 && !mirror.isEnrolled(fixture.store.verifyingKey))
    }
  }

  @Test func `enrolments by another operator and events of their nodes do not count`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    let event = try fixture.event()
    _ = try ledger.append([fixture.enrolment(), fixture.consent(event)], nowMs: startMs)
    let mirror = try LedgerMirror.open(
      path: fixture.file("other.sqlite"), verifiers: fixture.verifiers,
      operatorKey: fixture.stranger.verifyingKey)
    try await ledger.advance(mirror, nowMs: startMs)
    #expect(mirror.size == 2 && !mirror.isEnrolled(fixture.store.verifyingKey))
    #expect(try mirror.events(for: [event.subject]).isEmpty)
    #expect(throws: LedgerError.otherLog(path: fixture.file("other.sqlite"), field: "operator key")) {
      try fixture.mirror("other.sqlite")
    }
  }
}
