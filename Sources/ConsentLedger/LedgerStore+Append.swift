import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

extension LedgerStore {
  /// Appends entries as one batch and returns their receipts in order, when everything is durable.
  ///
  /// Each entry has to be validly signed: a consent event by an enrolled store or device, a round or a notice
  /// by the log's key or an enrolled server, an enrolment by the log's operator. One bad entry refuses the
  /// whole batch (`refused`). An entry that is in the log already gets a receipt for where it stands; another
  /// content under the same identity is refused. After `commitUncertain` the store has to be reopened.
  package func append(_ entries: [LedgerEntry], nowMs: Int64) throws(LedgerError) -> [LedgerReceipt] {
    guard entries.count <= Self.maximumBatch else { throw .outOfRange(size: UInt64(entries.count)) }
    var batch: [CheckedEntry] = []
    batch.reserveCapacity(entries.count)
    for (position, entry) in entries.enumerated() {
      do {
        // Checked from the bytes that will be stored, not from the value they came from.
        let bytes = try entry.leafBytes()
        batch.append(CheckedEntry(entry: try LedgerEntry(leaf: bytes), bytes: bytes))
      } catch { throw .refused(position: position, reason: error) }
    }
    return try write(batch, nowMs: nowMs)
  }

  /// Appends leaves that arrived as bytes: `append(_:nowMs:)` without encoding them again.
  package func append(leaves: [[UInt8]], nowMs: Int64) throws(LedgerError) -> [LedgerReceipt] {
    guard leaves.count <= Self.maximumBatch else { throw .outOfRange(size: UInt64(leaves.count)) }
    var batch: [CheckedEntry] = []
    batch.reserveCapacity(leaves.count)
    for (position, bytes) in leaves.enumerated() {
      do {
        batch.append(CheckedEntry(entry: try LedgerEntry(leaf: bytes), bytes: bytes))
      } catch { throw .refused(position: position, reason: error) }
    }
    return try write(batch, nowMs: nowMs)
  }

  private func write(_ batch: [CheckedEntry], nowMs: Int64) throws(LedgerError) -> [LedgerReceipt] {
    try writer.withLock { state throws(LedgerError) in
      if let step = state.uncertain { throw .commitUncertain(step: step) }
      return try commit(batch, &state, nowMs: nowMs)
    }
  }

  /// The durable order of a commit, and what a crash leaves behind at each step:
  ///
  /// 1. Stage: leaves, nodes and derived rows in one transaction (synchronous=FULL). Before its commit:
  ///    nothing was written, nobody was told. After it: the entries are durable but no checkpoint covers
  ///    them; opening checks and signs them. They may be in the log without having been acknowledged, and
  ///    a retry then gets their receipt.
  /// 2. Sign: the checkpoint of what is durable, and the signer's state replaced if it still holds the last
  ///    note (compare and swap). A checkpoint is thus never signed for what could still be lost, so no two
  ///    trees of one size are ever signed. Crash before the swap: as after step 1, and the note never left
  ///    this process. After: the checkpoint is in force.
  /// 3. Publish: the note into the database's history, then to readers and in receipts. Crash before:
  ///    opening adds it from the signer's state.
  ///
  /// An error after the commit of step 1 was begun leaves the outcome open: the store takes nothing more.
  private func commit(
    _ batch: [CheckedEntry], _ state: inout WriterState, nowMs: Int64
  ) throws(LedgerError) -> [LedgerReceipt] {
    var staged = StagedBatch(state)
    var uncertain: CommitStep?
    do {
      try faults(.beforeStaging)
      try database.ledgerWrite { db in
        try staged.place(batch, LedgerTables(db), logKey: verifiers.log.key, nowMs: nowMs)
        try faults(.beforeStageCommit)
        if staged.range.size > state.range.size { uncertain = .beforeStageCommit }
      }
      if staged.range.size > state.range.size {
        try faults(.afterStageCommit)
        uncertain = .afterStageCommit
        state.signed = try sign(staged.range, after: state.signed, nowMs: nowMs)
        try database.ledgerWrite { try LedgerTables($0).insertCheckpoint(state.signed) }
        try faults(.afterPublishing)
        staged.finish(&state)
        let visible = Published(state)
        published.withLock { $0 = visible }
      }
    } catch {
      if let step = uncertain {
        state.uncertain = step.rawValue
        throw .commitUncertain(step: step.rawValue)
      }
      throw error as? LedgerError ?? .commitUncertain(step: CommitStep.beforeStaging.rawValue)
    }
    return try receipts(staged, state.signed)
  }

  private func sign(
    _ range: CompactRange, after last: SignedCheckpoint, nowMs: Int64
  ) throws -> SignedCheckpoint {
    let newest = published.withLock { $0.signed.timestampSeconds }
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: origin, size: range.size, root: range.root),
      timestampSeconds: max(newest, UInt64(max(0, nowMs / 1000))), logKey: logKey, freshnessKey: freshnessKey)
    try faults(.beforeSignerState)
    let path = LedgerFiles.signerState(directory)
    guard let bytes = try DurableFile.read(path), bytes == Array(last.noteText.utf8) else {
      throw LedgerError.signerStateChanged(path: path)
    }
    try DurableFile.write(Array(signed.noteText.utf8), to: path)
    try faults(.afterSignerState)
    return signed
  }

  /// Receipts come from memory: every sibling of a new leaf is either in the batch or on the old right edge.
  private func receipts(
    _ staged: StagedBatch, _ signed: SignedCheckpoint
  ) throws(LedgerError) -> [LedgerReceipt] {
    let size = signed.checkpoint.size
    var receipts: [LedgerReceipt] = []
    receipts.reserveCapacity(staged.indices.count)
    for index in staged.indices {
      let proof =
        index >= staged.firstNew
        ? try InclusionProof(index: index, size: size) { position throws(LedgerError) in
          guard let node = staged.nodes[position] else { throw .inconsistentTree(size: size) }
          return node
        }
        : try inclusionProof(index: index, size: size)
      receipts.append(LedgerReceipt(index: LeafIndex(index), checkpoint: signed, proof: proof))
    }
    return receipts
  }
}

/// An entry whose bytes and signature were checked.
struct CheckedEntry {
  let entry: LedgerEntry
  let bytes: [UInt8]
}

/// A batch on its way into the tree: what the writer's state becomes if the commit succeeds.
struct StagedBatch {
  let firstNew: UInt64
  var range: CompactRange
  var enrolments: [VerifyingKey: EnrolmentRecord]
  var order: [VerifyingKey]
  var operatorKey: VerifyingKey?
  /// Where each entry of the batch stands.
  var indices: [UInt64] = []
  /// The new nodes and the old right edge.
  var nodes: [NodePosition: Digest]

  init(_ state: LedgerStore.WriterState) {
    firstNew = state.range.size
    range = state.range
    enrolments = state.enrolments
    order = state.order
    operatorKey = state.operatorKey
    nodes = Dictionary(
      uniqueKeysWithValues: zip(MerkleTree.edge(size: state.range.size), state.range.edge))
  }

  /// Makes the batch the writer's state.
  func finish(_ state: inout LedgerStore.WriterState) {
    state.range = range
    state.enrolments = enrolments
    state.order = order
    state.operatorKey = operatorKey
  }

  /// Decides about each entry and writes the new ones.
  mutating func place(
    _ batch: [CheckedEntry], _ tables: LedgerTables, logKey: VerifyingKey, nowMs: Int64
  ) throws {
    for (position, candidate) in batch.enumerated() {
      if let index = try tables.index(of: candidate.entry.identity) {
        guard try tables.leaf(index) == candidate.bytes else {
          throw LedgerError.refused(
            position: position, reason: .conflictingEntry(identity: candidate.entry.identity))
        }
        indices.append(index)
        continue
      }
      do {
        try admit(candidate.entry, logKey: logKey, nowMs: nowMs)
      } catch { throw LedgerError.refused(position: position, reason: error) }
      let index = range.size
      try tables.insertLeaf(index, candidate.entry, candidate.bytes)
      var completed: [(NodePosition, Digest)] = []
      range.append(leafHash: MerkleTree.leafHash(candidate.bytes)) { completed.append(($0, $1)) }
      for (position, hash) in completed {
        try tables.insertNode(position, hash)
        nodes[position] = hash
      }
      indices.append(index)
    }
  }

  /// Whether the signer may write this entry after what is in the log. `nowMs` nil: an entry that was
  /// admitted before is read again.
  mutating func admit(_ entry: LedgerEntry, logKey: VerifyingKey, nowMs: Int64?) throws(LedgerError) {
    if case .enrolment(let record) = entry {
      guard record.operatorKey == operatorKey ?? record.operatorKey else {
        throw .foreignOperator(key: record.operatorKey)
      }
      operatorKey = record.operatorKey
      enrolments[record.nodeKey] = record
      order.append(record.nodeKey)
      return
    }
    if entry.kind != .consent, entry.signer == logKey { return }
    guard let enrolment = enrolments[entry.signer], enrolment.kind.maySign(entry.kind),
      nowMs.map({ enrolment.validFromMs <= $0 }) ?? true
    else { throw .notEnrolled(signer: entry.signer) }
  }
}
