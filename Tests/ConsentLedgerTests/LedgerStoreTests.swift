import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Storage
import Testing

@Suite struct LedgerStoreTests {
  @Test func `every receipt proves its entry under a signed checkpoint`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    var all: [(LedgerEntry, LedgerReceipt)] = []
    for count in [1, 2, 3, 5, 8, 1, 13] {
      let batch = try (0..<count).map { _ in
        try all.isEmpty && count == 1 ? fixture.enrolment() : fixture.consent()
      }
      all += zip(batch, try ledger.append(batch, nowMs: startMs))
      #expect(ledger.size == UInt64(all.count))
    }
    for (index, (entry, receipt)) in all.enumerated() {
      #expect(receipt.index.value == UInt64(index))
      try LedgerReceipt.verify(
        leaf: entry.leafBytes(), noteText: receipt.checkpoint.noteText, proof: receipt.proof,
        verifiers: fixture.verifiers)
      // Another entry's leaf is not proven.
      let other = try all[(index + 1) % all.count].0.leafBytes()
      #expect(throws: LedgerError.log(.wrongProof("inclusion"))) {
        try LedgerReceipt.verify(
          leaf: other, noteText: receipt.checkpoint.noteText, proof: receipt.proof,
          verifiers: fixture.verifiers)
      }
      // Each receipt's tree is a prefix of the newest one.
      let proof = try ledger.consistencyProof(oldSize: receipt.proof.size, newSize: ledger.size)
      try proof.verify(oldRoot: receipt.checkpoint.checkpoint.root, newRoot: ledger.root)
    }
    #expect(try ledger.synchronousLevel() == 2)
  }

  @Test func `a repeated entry gets a receipt for where it stands`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    let entry = try fixture.consent()
    _ = try ledger.append([fixture.enrolment(), entry, fixture.consent()], nowMs: startMs)
    let root = ledger.root
    let again = try ledger.append([entry, entry, fixture.enrolment()], nowMs: startMs + 9)
    #expect(again.map(\.index) == [1, 1, 0])
    #expect(ledger.root == root && ledger.size == 3)
    for receipt in again.prefix(2) {
      try receipt.proof.verify(leafHash: MerkleTree.leafHash(entry.leafBytes()), root: root)
    }
    // Within one batch too.
    let new = try fixture.consent()
    #expect(try ledger.append([new, new], nowMs: startMs).map(\.index) == [3, 3])
    #expect(LedgerVerifier.verify(directory: fixture.path).verified)
  }

  @Test func `the same event id with other content is refused, and the whole batch with it`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    var event = try fixture.event()
    _ = try ledger.append([fixture.enrolment(), fixture.consent(event)], nowMs: startMs)
    event.state = .withdrawn
    let error = LedgerError.refused(
      position: 1, reason: .conflictingEntry(identity: "consent \(event.eventID)"))
    let batch = [try fixture.consent(), try fixture.consent(event)]
    #expect(throws: error) { try ledger.append(batch, nowMs: startMs) }
    #expect(ledger.size == 2)
    // A refusal is not a failure: the store goes on.
    #expect(try ledger.append([batch[0]], nowMs: startMs).first?.index == 2)
  }

  @Test func `only enrolled keys may write, each its kind of entry`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    func refuses(_ entry: LedgerEntry, _ reason: LedgerError, nowMs: Int64 = startMs) {
      #expect(throws: LedgerError.refused(position: 0, reason: reason)) {
        try ledger.append([entry], nowMs: nowMs)
      }
    }
    let store = fixture.store.verifyingKey
    refuses(try fixture.consent(), .notEnrolled(signer: store))
    _ = try ledger.append([fixture.enrolment()], nowMs: startMs)
    #expect(ledger.isEnrolled(store) && ledger.enrolments().map(\.name) == ["store-1"])
    refuses(try fixture.consent(), .notEnrolled(signer: store), nowMs: startMs - 1)
    refuses(try fixture.consent(by: fixture.logKey), .notEnrolled(signer: fixture.logKey.verifyingKey))
    refuses(try .round(fixture.round(), signedBy: fixture.store), .notEnrolled(signer: store))
    let intruder = LedgerEntry.enrolment(
      try EnrolmentRecord(
        nodeKey: fixture.stranger.verifyingKey, name: "x", kind: .server, validFromMs: 0,
        signedBy: fixture.stranger))
    refuses(intruder, .foreignOperator(key: fixture.stranger.verifyingKey))
    _ = try ledger.append([fixture.enrolment(fixture.stranger, kind: .server)], nowMs: startMs)
    refuses(
      try fixture.consent(by: fixture.stranger), .notEnrolled(signer: fixture.stranger.verifyingKey))
    _ = try ledger.append([.round(fixture.round(), signedBy: fixture.stranger)], nowMs: startMs)
  }

  @Test func `an entry whose content was changed after signing is refused`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.enrolment()], nowMs: startMs)
    var event = try fixture.event(.withdrawn)
    guard case .consent(_, let recorder, let signature) = try fixture.consent(event) else { return }
    event.state = .given
    let reason = LedgerError.wrongSignature(signer: recorder)
    #expect(throws: LedgerError.refused(position: 0, reason: reason)) {
      try ledger.append([.consent(event, recorder: recorder, signature: signature)], nowMs: startMs)
    }
  }

  @Test func `everything is there after reopening`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let ledger = try fixture.open()
    #expect(ledger.size == 8 && ledger.isEnrolled(fixture.store.verifyingKey))
    let receipt = try #require(try ledger.append([fixture.consent()], nowMs: startMs + 2000).first)
    #expect(receipt.index == 8)
    #expect(throws: LedgerError.outOfRange(size: 9)) { try ledger.entries(5..<10) }
    #expect(throws: LedgerError.outOfRange(size: 9)) { try ledger.inclusionProof(index: 9, size: 9) }
    #expect(throws: LedgerError.outOfRange(size: 9)) { try ledger.consistencyProof(oldSize: 2, newSize: 10) }
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
    let receipts = try ledger.append([fixture.enrolment()], nowMs: startMs - 60_000)
    // The clock of the append is behind; the note is not dated before the last one.
    #expect(receipts.first?.checkpoint.timestampSeconds == second.timestampSeconds)
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
        directory: fixture.path, origin: "accord.test/log", logKey: fixture.stranger,
        freshnessKey: fixture.freshnessKey)
    }
    #expect(throws: LedgerError.otherLog(path: path, field: "origin")) {
      try LedgerStore.open(
        directory: fixture.path, origin: "accord.test/other", logKey: fixture.logKey,
        freshnessKey: fixture.freshnessKey)
    }
  }

  @Test func `the pinned operator cannot be replaced`() throws {
    let fixture = try Fixture()
    let pinned = try LedgerStore.open(
      directory: fixture.path, origin: "accord.test/log", logKey: fixture.logKey,
      freshnessKey: fixture.freshnessKey, operatorKey: fixture.stranger.verifyingKey)
    let reason = LedgerError.foreignOperator(key: fixture.operatorKey.verifyingKey)
    #expect(throws: LedgerError.refused(position: 0, reason: reason)) {
      try pinned.append([fixture.enrolment()], nowMs: startMs)
    }
  }

  @Test func `appends 5,000 events in batches of 256 and verifies them quickly`() async throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.enrolment()], nowMs: startMs)
    let entries = try (0..<6000).map { _ in try fixture.consent() }
    let clock = ContinuousClock()
    let appending = try clock.measure {
      for start in stride(from: 0, to: 5000, by: 256) {
        _ = try ledger.append(Array(entries[start..<min(start + 256, 5000)]), nowMs: startMs)
      }
    }
    _ = try ledger.append(Array(entries[5000...]), nowMs: startMs)
    let mirror = try fixture.mirror()
    let mirroring = try await clock.measure { try await ledger.advance(mirror, nowMs: startMs) }
    var verification: LedgerVerification?
    let verifying = clock.measure { verification = LedgerVerifier.verify(directory: fixture.path) }
    #expect(verification?.firstProblem == nil && verification?.size == 6001)
    #expect(mirror.size == 6001)
    // Generous: the machines that test are slower and busier than the ones that are measured.
    #expect(appending < .seconds(15) && mirroring < .seconds(15) && verifying < .seconds(15))
    if ProcessInfo.processInfo.environment["ACCORD_SHOW_TIMES"] != nil {
      Issue.record("appending 5,000: \(appending), mirroring 6,001: \(mirroring), verifying: \(verifying)")
    }
  }
}
