import Consent
import ConsentLedger
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization
import Testing

/// Fails once at one step, when armed.
private final class Trap: Sendable {
  private let step = Mutex<CommitStep?>(nil)
  func arm(_ step: CommitStep?) { self.step.withLock { $0 = step } }
  func pass(_ step: CommitStep) throws {
    if self.step.withLock({ $0 == step }) {
      throw StorageError.system(operation: "write", path: step.rawValue, errno: 5)
    }
  }
}

@Suite struct FaultTests {
  /// What each fault leaves behind: whether the entries are in the log after reopening.
  @Test(arguments: CommitStep.allCases)
  func `no acknowledged event is lost and no fork is signed`(step: CommitStep) async throws {
    let fixture = try Fixture()
    let trap = Trap()
    let lost = [.beforeStaging, .beforeStageCommit].contains(step)
    let before: SignedCheckpoint
    let acknowledged = try fixture.beginning() + fixture.consents(4)
    let attempted = [try fixture.consent(), try fixture.consent()]
    let mirror = try fixture.mirror()
    do {
      let ledger = try fixture.open { try trap.pass($0) }
      _ = try ledger.append(acknowledged, nowMs: startMs)
      try await ledger.advance(mirror, nowMs: startMs)
      before = try ledger.checkpoint(nowMs: startMs)
      trap.arm(step)
      #expect(throws: LedgerError.self) { try ledger.append(attempted, nowMs: startMs + 1000) }
      // Readers still see the last checkpoint, and a writer whose outcome is open takes nothing more.
      #expect(ledger.size == 9 && ledger.root == before.checkpoint.root)
      trap.arm(nil)
      if !lost {
        let error = #expect(throws: LedgerError.self) { try ledger.append([], nowMs: startMs) }
        guard case .commitUncertain = error else {
          Issue.record("the store went on after an uncertain commit: \(String(describing: error))")
          return
        }
      }
      // Dropped without closing, like a killed process.
    }
    let ledger = try fixture.open()
    #expect(ledger.size == (lost ? 9 : 11))
    let report = LedgerVerifier.verify(directory: fixture.path, since: before)
    #expect(report.firstProblem == nil && report.size == ledger.size && report.counts.unsigned == 0)
    for (leaf, statement) in zip(try ledger.entries(0..<9), acknowledged) {
      #expect(try leaf == statement.leaf(recordedMs: startMs))
    }
    // What was signed before is a prefix of what is signed now.
    let proof = try ledger.consistencyProof(oldSize: 9, newSize: ledger.size)
    try proof.verify(oldRoot: before.checkpoint.root, newRoot: ledger.root)
    // The retry gets receipts, once each.
    let receipts = try ledger.append(attempted, nowMs: startMs + 2000)
    #expect(receipts.map(\.index) == [9, 10] && ledger.size == 11)
    for (statement, receipt) in zip(attempted, receipts) { try receipt.prove(statement, fixture.verifiers) }
    try await ledger.advance(mirror, nowMs: startMs + 5000)
    #expect(mirror.size == 11)
  }

  @Test(arguments: CommitStep.allCases)
  func `a fault in the very first batch leaves a ledger that opens`(step: CommitStep) throws {
    let fixture = try Fixture()
    let trap = Trap()
    trap.arm(step)
    let beginning = try fixture.beginning()
    do {
      let ledger = try fixture.open { try trap.pass($0) }
      #expect(throws: LedgerError.self) { try ledger.append(beginning, nowMs: startMs) }
    }
    let ledger = try fixture.open()
    #expect(try ledger.append(beginning, nowMs: startMs).map(\.index) == [0, 1, 2, 3, 4])
    #expect(ledger.rules.current != nil)
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem == nil)
  }

  @Test func `everybody in a group whose outcome is open is told so`() async throws {
    let fixture = try Fixture()
    let trap = Trap()
    let ledger = try fixture.begun { try trap.pass($0) }
    trap.arm(.afterSignerState)
    let statements = try (0..<8).map { _ in try fixture.consents(2) }
    let errors = await withTaskGroup(of: LedgerError?.self) { group in
      for append in statements {
        group.addTask {
          do throws(LedgerError) {
            _ = try await ledger.append(group: append, nowMs: startMs)
            return nil
          } catch { return error }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(errors.count == 8)
    for error in errors {
      guard case .commitUncertain = error else {
        Issue.record("an append was told \(String(describing: error))")
        continue
      }
    }
  }

  @Test func `a verifier accepts staged entries that no checkpoint covers yet and says so`() throws {
    let fixture = try Fixture()
    let trap = Trap()
    let ledger = try fixture.begun { try trap.pass($0) }
    trap.arm(.beforeSignerState)
    #expect(throws: LedgerError.commitUncertain(step: "afterStageCommit")) {
      try ledger.append([fixture.consent()], nowMs: startMs)
    }
    let report = LedgerVerifier.verify(directory: fixture.path)
    #expect(report.firstProblem == nil && report.counts.unsigned == 1 && report.size == 6)
  }

  @Test func `a staged entry that nobody signed stops the opening`() throws {
    let fixture = try Fixture()
    let trap = Trap()
    do {
      let ledger = try fixture.begun { try trap.pass($0) }
      trap.arm(.beforeSignerState)
      #expect(throws: LedgerError.self) { try ledger.append([fixture.consent()], nowMs: startMs) }
    }
    let forged = try fixture.consent(by: fixture.stranger).leaf(recordedMs: startMs)
    try fixture.tamper("UPDATE leaf SET bytes = ? WHERE idx = 5", [Data(forged)])
    #expect(throws: LedgerError.notEnrolled(signer: fixture.stranger.verifyingKey)) { try fixture.open() }
  }
}
