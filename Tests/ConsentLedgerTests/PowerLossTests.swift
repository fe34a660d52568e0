import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Storage
import Synchronization
import Testing

/// Copies of a ledger's files as they were at each step of its commits, and every note that was signed.
private final class Recorder: Sendable {
  struct Snapshot {
    let commit: Int
    let step: CommitStep
    let directory: String
    /// The size of the write-ahead log when the last entries had been staged: everything in it was made durable then,
    /// and nothing after it.
    let durableLog: Int
    /// Every note that was in the signer's state until then.
    let notes: Set<String>
    /// What is in the signer's state.
    let signer: [UInt8]
  }
  struct State {
    var commit = 0
    var snapshots: [Snapshot] = []
    var durableLog = 0
    var notes: Set<String> = []
  }

  let path: String
  private let copies: String
  let state = Mutex(State())

  init(path: String, copies: String) {
    self.path = path
    self.copies = copies
  }

  private func size(_ name: String) -> Int {
    (try? FileManager.default.attributesOfItem(atPath: path + "/" + name)[.size] as? Int) ?? 0
  }

  func pass(_ step: CommitStep) throws {
    let signer = try SlotFile.read(path + "/ledger-signer.note") ?? []
    try state.withLock { state in
      for slot in 0..<SlotFile.slots {
        let note = SlotFile.slot(slot, of: signer).prefix { $0 != 0 }
        if !note.isEmpty { state.notes.insert(String(decoding: note, as: UTF8.self)) }
      }
      if step == .beforeStaging { state.commit += 1 }
      // The opening's transaction, and that of the staged entries.
      if step == .afterStageCommit || state.snapshots.isEmpty { state.durableLog = size("ledger.sqlite-wal") }
      let directory = copies + "/\(state.commit)-\(step.rawValue)"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
      for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger-signer.note"]
      where FileManager.default.fileExists(atPath: path + "/" + name) {
        try FileManager.default.copyItem(atPath: path + "/" + name, toPath: directory + "/" + name)
      }
      state.snapshots.append(
        Snapshot(
          commit: state.commit, step: step, directory: directory, durableLog: state.durableLog,
          notes: state.notes, signer: signer))
    }
  }
}

@Suite struct PowerLossTests {
  /// What a power failure at a step leaves of the write-ahead log: what was made durable last, and of what was
  /// written since nothing, all, or a part that ends within a page.
  private static func logs(_ snapshot: Recorder.Snapshot) throws -> [[UInt8]] {
    let path = snapshot.directory + "/ledger.sqlite-wal"
    guard FileManager.default.fileExists(atPath: path) else { return [[]] }
    let bytes = Array(try Data(contentsOf: URL(fileURLWithPath: path)))
    let durable = min(snapshot.durableLog, bytes.count)
    let written = bytes.count - durable
    var sizes = [durable, bytes.count]
    if written > 0 { sizes += [durable + written / 2, durable + written - 1] }
    var logs = Set(sizes).sorted().map { Array(bytes[..<$0]) }
    // Pages of the part that was not durable may also have been written out of order.
    if written > 4096 {
      var holes = bytes
      for index in durable..<(durable + written / 2) { holes[index] = 0 }
      logs.append(holes)
    }
    return logs
  }

  /// What a power failure at a step leaves of the signer's state: the slot that is written next may hold any part of
  /// what is written.
  private static func signerStates(_ snapshot: Recorder.Snapshot, _ all: [Recorder.Snapshot]) -> [[UInt8]] {
    let after = all.first { $0.commit == snapshot.commit && $0.step == .afterSignerState }
    guard snapshot.step == .beforeSignerState, let after else { return [snapshot.signer] }
    return [snapshot.signer]
      + [1, 40, 200, 512, 2048].map { count in
        var torn = snapshot.signer
        for slot in 0..<SlotFile.slots {
          let start = slot * SlotFile.slotBytes
          torn.replaceSubrange(start..<(start + count), with: after.signer[start..<(start + count)])
        }
        return torn
      }
  }

  @Test func `no power failure loses an acknowledged event or makes a fork`() throws {
    let fixture = try Fixture()
    let recorder = Recorder(path: fixture.path, copies: try fixture.directory("copies"))
    // What was acknowledged before each commit began, and what the commit tried to add.
    var acknowledged: [Int: [(SignedStatement, LedgerReceipt)]] = [:]
    var all: [(SignedStatement, LedgerReceipt)] = []
    do {
      let ledger = try fixture.open { try recorder.pass($0) }
      for (commit, batch) in try [
        fixture.beginning(), fixture.consents(3), fixture.consents(1), fixture.consents(270),
      ]
      .enumerated() {
        acknowledged[commit + 1] = all
        all += zip(batch, try ledger.append(batch, nowMs: startMs + Int64(commit)))
      }
    }
    let snapshots = recorder.state.withLock { $0.snapshots }
    #expect(snapshots.count == 24)
    let verifiers = try fixture.verifiers
    var cases = 0
    for snapshot in snapshots {
      // Also after every step but the last one the caller may be told nothing; then only what was acknowledged
      // before the commit has to be there.
      let promised = acknowledged[snapshot.commit] ?? []
      let signers = Self.signerStates(snapshot, snapshots)
      for (log, signer) in try Self.logs(snapshot).flatMap({ log in signers.map { (log, $0) } }) {
        cases += 1
        let directory = try fixture.directory("life-\(cases)")
        try FileManager.default.copyItem(
          atPath: snapshot.directory + "/ledger.sqlite", toPath: directory + "/ledger.sqlite")
        try Data(signer).write(to: URL(fileURLWithPath: directory + "/ledger-signer.note"))
        try Data(log).write(to: URL(fileURLWithPath: directory + "/ledger.sqlite-wal"))
        let ledger = try fixture.open(directory: directory)
        var notes = snapshot.notes
        notes.insert(try LedgerVerifier.newestCheckpoint(directory: directory))
        for (statement, receipt) in promised where receipt.index.value % 31 < 8 {
          #expect(try ledger.leaf(receipt.index.value) == statement.leaf(recordedMs: receipt.recordedMs))
        }
        if let last = promised.last?.1.checkpoint.checkpoint {
          let proof = try ledger.consistencyProof(oldSize: last.size, newSize: ledger.size)
          try proof.verify(oldRoot: last.root, newRoot: ledger.root)
        }
        // The second life takes something else than the first one did.
        if ledger.rules.current == nil { _ = try ledger.append(fixture.beginning(), nowMs: startMs + 50) }
        let receipts = try ledger.append(fixture.consents(2), nowMs: startMs + 60)
        notes.formUnion(receipts.map(\.checkpoint.noteText))
        try Self.checkForks(notes, verifiers)
        try ledger.close()
        let report = LedgerVerifier.verify(directory: directory, pinned: verifiers)
        #expect(report.firstProblem == nil, "\(snapshot.step) of commit \(snapshot.commit)")
        try FileManager.default.removeItem(atPath: directory)
      }
    }
    #expect(cases > 60)
  }

  /// Over the life before the failure and the one after it, no two trees of one size were signed.
  private static func checkForks(_ notes: Set<String>, _ verifiers: CheckpointVerifiers) throws {
    var roots: [UInt64: Digest] = [:]
    for note in notes {
      let checkpoint = try SignedCheckpoint.verify(note, verifiers).checkpoint
      #expect(roots[checkpoint.size] ?? checkpoint.root == checkpoint.root)
      roots[checkpoint.size] = checkpoint.root
    }
  }
}
