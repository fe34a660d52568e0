import Consent
package import Cryptography
import Dispatch
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

/// An append that waits for the writer.
struct QueuedAppend: Sendable {
  let batch: [CheckedStatement]
  let nowMs: Int64
  let done: @Sendable (Result<CommittedAppend, LedgerError>) -> Void
}

/// A statement whose form and signature were checked, and what could be prepared without the writer.
final class CheckedStatement: Sendable {
  let body: EntryBody
  let statement: SignedStatement
  let identity: [UInt8]
  let canDeny: Bool
  /// What the rules ask, if it is a consent that is no erasure.
  let claim: ConsentClaim?
  /// The leaf and its hash, if it is taken at the time that was expected.
  let leaf: PreparedLeaf?

  init(_ body: EntryBody, _ statement: SignedStatement, _ leaf: PreparedLeaf?, _ rules: LedgerRules) {
    self.body = body
    self.statement = statement
    self.leaf = leaf
    identity = body.identity
    canDeny = body.canDeny
    // An erasure may need approvals, which only the rules can count.
    if case .consent(let event) = body, event.state != .erased {
      claim = ConsentClaim(
        timeMs: event.eventTimeMs, purpose: event.purpose.id, isGrant: event.state.isGrant,
        permittedBy: rules.policy(permitting: event))
    } else {
      claim = nil
    }
  }
}

/// A leaf as it stands in the log if it is taken at this time.
struct PreparedLeaf: Sendable {
  let recordedMs: Int64
  let bytes: [UInt8]
  let hash: [UInt8]

  init(_ statement: SignedStatement, recordedMs: Int64) throws(LedgerError) {
    self.recordedMs = recordedMs
    bytes = try statement.leaf(recordedMs: recordedMs)
    hash = MerkleTree.leafHash(bytes).bytes
  }
}

/// An append that is durable and signed: everything that its receipts are made of.
struct CommittedAppend: Sendable {
  let places: [PlacedStatement]
  let signed: SignedCheckpoint
  let proofs: BatchProofs
}

extension LedgerStore {
  /// Appends are committed together up to this many entries.
  static let groupLimit = 4096

  /// Appends statements and returns their receipts in order, when everything is durable. Blocks for the disk.
  ///
  /// Each statement has to be validly signed by a key that may say it (`LedgerRules`). One bad statement
  /// refuses the whole append (`refused`). A statement that is in the log already gets a receipt for where it
  /// stands; other content under the same identity is refused. After `commitUncertain` the store has to be
  /// reopened.
  package func append(_ statements: [SignedStatement], nowMs: Int64) throws(LedgerError) -> [LedgerReceipt] {
    let batch = try check(statements, nowMs: nowMs)
    let outcome = Mutex<Result<CommittedAppend, LedgerError>?>(nil)
    committing.sync {
      commitGroup([
        QueuedAppend(batch: batch, nowMs: nowMs) { result in
          outcome.withLock { $0 = result }
        }
      ])
    }
    guard let result = outcome.withLock({ $0 }) else { throw .commitUncertain(step: "queue") }
    return try receipts(try result.get())
  }

  /// The same without blocking the caller's thread; appends that arrive meanwhile share one commit, so that
  /// many callers cost one flush of the disk.
  package func append(
    group statements: [SignedStatement], nowMs: Int64
  ) async throws(LedgerError) -> [LedgerReceipt] {
    try receipts(try await commit(group: statements, nowMs: nowMs))
  }

  /// The same with one proof for each run of consecutive entries instead of one for each entry.
  package func append(
    runs statements: [SignedStatement], nowMs: Int64
  ) async throws(LedgerError) -> RunReceipt {
    let committed = try await commit(group: statements, nowMs: nowMs)
    let size = committed.signed.checkpoint.size
    var runs: [RunProof] = []
    for run in LedgerPlace.runs(committed.places.map(\.index)) {
      let ends = [committed.places[run.lowerBound].index, committed.places[run.upperBound - 1].index]
      let proofs = try ends.map { index throws(LedgerError) in
        index >= committed.proofs.oldSize
          ? committed.proofs.proof(index) : try inclusionProof(index: index, size: size)
      }
      runs.append(RunProof(first: proofs[0], last: proofs[1]))
    }
    return RunReceipt(
      places: committed.places.map {
        LedgerPlace(index: LeafIndex($0.index), recordedMs: $0.recordedMs, earlierLeaf: $0.earlierLeaf)
      }, checkpoint: committed.signed, runs: runs)
  }

  private func commit(
    group statements: [SignedStatement], nowMs: Int64
  ) async throws(LedgerError) -> CommittedAppend {
    let batch = try check(statements, nowMs: nowMs)
    let result = await withCheckedContinuation { continuation in
      let isFirst = queue.withLock {
        $0.append(QueuedAppend(batch: batch, nowMs: nowMs) { continuation.resume(returning: $0) })
        return $0.count == 1
      }
      // Whoever finds others waiting is committed with them.
      if isFirst { committing.async { self.commitQueued() } }
    }
    return try result.get()
  }

  /// Appends one body of the log's own.
  package func append(_ body: EntryBody, signedBy key: SigningKey, nowMs: Int64) throws(LedgerError)
    -> LedgerReceipt
  {
    guard let receipt = try append([try SignedStatement.sign(body, key: key)], nowMs: nowMs).first else {
      throw .commitUncertain(step: "queue")
    }
    return receipt
  }

  /// Form, signatures, and everything else that does not need the writer. Large appends are checked by several
  /// threads.
  private func check(_ statements: [SignedStatement], nowMs: Int64) throws(LedgerError) -> [CheckedStatement]
  {
    guard statements.count <= Self.maximumBatch else { throw .outOfRange(size: UInt64(statements.count)) }
    let rules = rules
    // The writer may find a later time or another policy in force; then it does again what was done here.
    let expectedMs = max(rules.lastRecordedMs, nowMs)
    return try Self.inParts(statements.count) { range throws(LedgerError) in
      var check = SignatureCheck()
      var batch: [CheckedStatement] = []
      batch.reserveCapacity(range.count)
      for position in range {
        let statement = statements[position]
        do throws(LedgerError) {
          let body = try statement.body()
          guard check.isSigned(statement) else { throw .wrongSignature(signer: statement.signer) }
          batch.append(
            CheckedStatement(body, statement, try? PreparedLeaf(statement, recordedMs: expectedMs), rules))
        } catch { throw .refused(position: position, reason: error) }
      }
      return batch
    }
  }

  /// Splits work on positions over the cores if it is worth it; of several errors the first position's is thrown.
  private static func inParts<Element: Sendable>(
    _ count: Int, _ body: @Sendable (Range<Int>) throws(LedgerError) -> [Element]
  ) throws(LedgerError) -> [Element] {
    let parts = min(maximumParts, count / partSize)
    guard parts > 1 else { return try body(0..<count) }
    let results = Mutex([Result<[Element], LedgerError>?](repeating: nil, count: parts))
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      let result: Result<[Element], LedgerError>
      do throws(LedgerError) {
        result = .success(try body((count * part / parts)..<(count * (part + 1) / parts)))
      } catch { result = .failure(error) }
      results.withLock { $0[part] = result }
    }
    var all: [Element] = []
    all.reserveCapacity(count)
    for result in results.withLock({ $0 }) {
      guard let result else { throw .commitUncertain(step: "check") }
      all += try result.get()
    }
    return all
  }

  private static let partSize = 256
  private static let maximumParts = 64

  /// Commits what has queued up, as many together as fit.
  private func commitQueued() {
    while true {
      let group = queue.withLock { queue in
        var count = 0
        var entries = 0
        while count < queue.count, count == 0 || entries + queue[count].batch.count <= Self.groupLimit {
          entries += queue[count].batch.count
          count += 1
        }
        let group = Array(queue.prefix(count))
        queue.removeFirst(count)
        return group
      }
      guard !group.isEmpty else { return }
      commitGroup(group)
    }
  }

  private func commitGroup(_ group: [QueuedAppend]) {
    let results = writer.withLock { state -> [Result<CommittedAppend, LedgerError>] in
      if let step = state.uncertain { return group.map { _ in .failure(.commitUncertain(step: step)) } }
      do throws(LedgerError) { return try commit(group, &state) } catch {
        return group.map { _ in .failure(error) }
      }
    }
    for (append, result) in zip(group, results) { append.done(result) }
  }

  /// The durable order of a commit, and what a crash leaves behind at each step:
  ///
  /// 1. Stage: leaves and tiles in one transaction (synchronous=FULL). Before its commit: nothing was written,
  ///    nobody was told. After it: the entries are durable but no checkpoint covers them; opening checks and
  ///    signs them. They may be in the log without having been acknowledged, and a retry then gets their
  ///    receipt.
  /// 2. Sign: the checkpoint of what is durable, written durably into the signer's state beside the last note, if
  ///    that is still the last one (compare and swap). A checkpoint is thus never signed for what could still be
  ///    lost, so no two trees of one size are ever signed. Crash before the write, or within it: as after step 1,
  ///    the last note counts, and the new one never left this process. After: the checkpoint is in force.
  /// 3. Publish: the note into the database's history, for those who read the file, then to readers and in
  ///    receipts. The history does not wait for the disk: opening adds the newest note from the signer's state,
  ///    whether the crash came before or undid it.
  ///
  /// An error after the commit of step 1 was begun leaves the outcome open: the store takes nothing more.
  private func commit(
    _ group: [QueuedAppend], _ state: inout WriterState
  ) throws(LedgerError) -> [Result<CommittedAppend, LedgerError>] {
    var staged = StagedBatch(state)
    var uncertain: CommitStep?
    var placed: [Result<[PlacedStatement], LedgerError>] = []
    do {
      try faults(.beforeStaging)
      try database.ledgerWrite { db in
        let tables = LedgerTables(db)
        let statements = try LeafStatements(db)
        for append in group { placed.append(try staged.place(append, tables, statements)) }
        guard staged.hasNew else { return try faults(.beforeStageCommit) }
        try staged.complete()
        try tables.writeTiles(staged.tiles)
        try faults(.beforeStageCommit)
        uncertain = .beforeStageCommit
      }
      if staged.hasNew {
        try faults(.afterStageCommit)
        uncertain = .afterStageCommit
        try sign(staged.range, &state.signer, nowMs: group.map(\.nowMs).max() ?? 0)
        let signed = state.signer.signed
        try database.ledgerWriteUnsynced { try LedgerTables($0).insertCheckpoint(signed) }
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
    let signed = state.signer.signed
    let proofs = staged.tree.proofs()
    return placed.map { $0.map { CommittedAppend(places: $0, signed: signed, proofs: proofs) } }
  }

  private func sign(_ range: CompactRange, _ signer: inout SignerState, nowMs: Int64) throws {
    let newest = published.withLock { published in
      published.isSigning = true
      return published.signed.timestampSeconds
    }
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: origin, size: range.size, root: range.root),
      timestampSeconds: max(newest, UInt64(max(0, nowMs / 1000))), logKey: logKey, freshnessKey: freshnessKey)
    try faults(.beforeSignerState)
    try signer.replace(signed)
    try faults(.afterSignerState)
  }

  /// Receipts are made by the thread that asked, from memory but for entries that were in the log before.
  private func receipts(_ committed: CommittedAppend) throws(LedgerError) -> [LedgerReceipt] {
    let size = committed.signed.checkpoint.size
    return try Self.inParts(committed.places.count) { range throws(LedgerError) in
      var receipts: [LedgerReceipt] = []
      receipts.reserveCapacity(range.count)
      for place in committed.places[range] {
        let isNew = place.index >= committed.proofs.oldSize
        receipts.append(
          LedgerReceipt(
            index: LeafIndex(place.index), recordedMs: place.recordedMs, earlierLeaf: place.earlierLeaf,
            checkpoint: committed.signed,
            proof: isNew
              ? committed.proofs.proof(place.index) : try inclusionProof(index: place.index, size: size)))
      }
      return receipts
    }
  }
}

extension SignedStatement {
  /// Whether both have the same signer and words, whatever batch they were signed in.
  package func saysTheSame(as other: SignedStatement) -> Bool {
    kind == other.kind && signer == other.signer && content == other.content
  }
}

extension EntryBody {
  /// Whether the entry can end somebody's permission.
  var canDeny: Bool {
    switch self {
    case .consent(let event): !event.state.isGrant && event.state != .restrictionLifted
    // Another policy or a revoked node may permit less.
    case .approval(let record): record.action == .policy
    case .revocation: true
    case .enrolment, .policy, .request, .round, .notice: false
    }
  }
}
