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
  let done: @Sendable (Result<[LedgerReceipt], LedgerError>) -> Void
}

/// A statement whose form and signature were checked.
struct CheckedStatement: Sendable {
  let body: EntryBody
  let statement: SignedStatement
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
    let batch = try Self.check(statements)
    let outcome = Mutex<Result<[LedgerReceipt], LedgerError>?>(nil)
    committing.sync {
      commitGroup([
        QueuedAppend(batch: batch, nowMs: nowMs) { result in
          outcome.withLock { $0 = result }
        }
      ])
    }
    guard let result = outcome.withLock({ $0 }) else { throw .commitUncertain(step: "queue") }
    return try result.get()
  }

  /// The same without blocking the caller's thread; appends that arrive meanwhile share one commit, so that
  /// many callers cost one flush of the disk.
  package func append(
    group statements: [SignedStatement], nowMs: Int64
  ) async throws(LedgerError) -> [LedgerReceipt] {
    let batch = try Self.check(statements)
    let result = await withCheckedContinuation { continuation in
      queue.withLock {
        $0.append(QueuedAppend(batch: batch, nowMs: nowMs) { continuation.resume(returning: $0) })
      }
      committing.async { self.commitQueued() }
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

  /// Form and signatures, before the writer is asked: nothing here needs the log. Large appends are checked by
  /// several threads.
  private static func check(_ statements: [SignedStatement]) throws(LedgerError) -> [CheckedStatement] {
    guard statements.count <= maximumBatch else { throw .outOfRange(size: UInt64(statements.count)) }
    let parts = statements.count / checkedTogether
    guard parts > 1 else { return try check(statements, 0..<statements.count) }
    let results = Mutex([Int: Result<[CheckedStatement], LedgerError>]())
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      let range = (statements.count * part / parts)..<(statements.count * (part + 1) / parts)
      let result: Result<[CheckedStatement], LedgerError>
      do throws(LedgerError) { result = .success(try check(statements, range)) } catch {
        result = .failure(error)
      }
      results.withLock { $0[part] = result }
    }
    var batch: [CheckedStatement] = []
    batch.reserveCapacity(statements.count)
    // The first position that is refused is the one that is named.
    for part in 0..<parts {
      guard let result = results.withLock({ $0[part] }) else { throw .commitUncertain(step: "check") }
      batch += try result.get()
    }
    return batch
  }

  private static let checkedTogether = 512

  private static func check(
    _ statements: [SignedStatement], _ range: Range<Int>
  ) throws(LedgerError) -> [CheckedStatement] {
    var check = SignatureCheck()
    var batch: [CheckedStatement] = []
    batch.reserveCapacity(range.count)
    for position in range {
      let statement = statements[position]
      do throws(LedgerError) {
        let body = try statement.body()
        guard check.isSigned(statement) else { throw .wrongSignature(signer: statement.signer) }
        batch.append(CheckedStatement(body: body, statement: statement))
      } catch { throw .refused(position: position, reason: error) }
    }
    return batch
  }

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
    let results = writer.withLock { state -> [Result<[LedgerReceipt], LedgerError>] in
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
  /// 2. Sign: the checkpoint of what is durable, and the signer's state replaced if it still holds the last
  ///    note (compare and swap). A checkpoint is thus never signed for what could still be lost, so no two
  ///    trees of one size are ever signed. Crash before the swap: as after step 1, and the note never left
  ///    this process. After: the checkpoint is in force.
  /// 3. Publish: the note into the database's history, then to readers and in receipts. Crash before:
  ///    opening adds it from the signer's state.
  ///
  /// An error after the commit of step 1 was begun leaves the outcome open: the store takes nothing more.
  private func commit(
    _ group: [QueuedAppend], _ state: inout WriterState
  ) throws(LedgerError) -> [Result<[LedgerReceipt], LedgerError>] {
    var staged = StagedBatch(state)
    var uncertain: CommitStep?
    var placed: [Result<[PlacedStatement], LedgerError>] = []
    do {
      try faults(.beforeStaging)
      try database.ledgerWrite { db in
        let tables = LedgerTables(db)
        for append in group { placed.append(try staged.place(append, tables)) }
        staged.tiles.collectPartial()
        try tables.writeTiles(staged.tiles)
        try faults(.beforeStageCommit)
        if staged.range.size > state.range.size { uncertain = .beforeStageCommit }
      }
      if staged.range.size > state.range.size {
        try faults(.afterStageCommit)
        uncertain = .afterStageCommit
        state.signed = try sign(staged.range, after: state.signed, nowMs: group.map(\.nowMs).max() ?? 0)
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
    let signed = state.signed
    return placed.map { result in
      do throws(LedgerError) { return .success(try receipts(try result.get(), staged, signed)) } catch {
        return .failure(error)
      }
    }
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
    _ placed: [PlacedStatement], _ staged: StagedBatch, _ signed: SignedCheckpoint
  ) throws(LedgerError) -> [LedgerReceipt] {
    let size = signed.checkpoint.size
    var receipts: [LedgerReceipt] = []
    receipts.reserveCapacity(placed.count)
    for place in placed {
      let proof =
        place.index >= staged.firstNew
        ? try InclusionProof(index: place.index, size: size) { position throws(LedgerError) in
          guard let node = staged.nodes[position] else { throw .inconsistentTree(size: size) }
          return node
        }
        : try inclusionProof(index: place.index, size: size)
      receipts.append(
        LedgerReceipt(
          index: LeafIndex(place.index), recordedMs: place.recordedMs, earlierLeaf: place.earlierLeaf,
          checkpoint: signed, proof: proof))
    }
    return receipts
  }
}

/// Where a statement stands.
struct PlacedStatement {
  let index: UInt64
  let recordedMs: Int64
  /// The leaf, if it says the same under another signature.
  var earlierLeaf: [UInt8]?
}

/// A batch on its way into the tree: what the writer's state becomes if the commit succeeds.
struct StagedBatch {
  let firstNew: UInt64
  private(set) var range: CompactRange
  var tiles: StoredTiles
  var rules: LedgerRules
  private var newestDenial: UInt64?
  /// The new nodes and the old right edge.
  private(set) var nodes: [NodePosition: Digest]

  init(_ state: LedgerStore.WriterState) {
    firstNew = state.range.size
    range = state.range
    tiles = state.tiles
    rules = state.rules
    newestDenial = state.newestDenial
    nodes = Dictionary(
      uniqueKeysWithValues: zip(MerkleTree.edge(size: state.range.size), state.range.edge))
  }

  /// Makes the batch the writer's state.
  func finish(_ state: inout LedgerStore.WriterState) {
    state.range = range
    state.tiles = tiles
    state.tiles.settle()
    state.rules = rules
    state.newestDenial = newestDenial
  }

  mutating func append(leafHash: Digest) {
    range.append(leafHash: leafHash) { position, hash in
      nodes[position] = hash
      tiles.add(position, hash)
    }
  }

  /// Decides about every statement of an append, and only if all may be written writes the new ones.
  mutating func place(
    _ append: QueuedAppend, _ tables: LedgerTables
  ) throws -> Result<[PlacedStatement], LedgerError> {
    var plan = Plan(rules: rules, next: range.size)
    for (position, candidate) in append.batch.enumerated() {
      do {
        try plan.add(candidate, tables, nowMs: append.nowMs)
      } catch let error as LedgerError {
        if case .storage = error { throw error }
        return .failure(.refused(position: position, reason: error))
      }
    }
    for new in plan.new {
      try tables.insertLeaf(range.size, new.body, new.leaf)
      if new.body.canDeny { newestDenial = range.size }
      self.append(leafHash: MerkleTree.leafHash(new.leaf))
    }
    rules = plan.rules
    return .success(plan.places)
  }

  /// What an append would write.
  private struct Plan {
    var rules: LedgerRules
    var next: UInt64
    var places: [PlacedStatement] = []
    var new: [(body: EntryBody, leaf: [UInt8])] = []
    private var inThisAppend: [[UInt8]: (statement: SignedStatement, place: PlacedStatement)] = [:]

    init(rules: LedgerRules, next: UInt64) {
      self.rules = rules
      self.next = next
    }

    mutating func add(_ candidate: CheckedStatement, _ tables: LedgerTables, nowMs: Int64) throws {
      let identity = candidate.body.identity
      if let known = try known(identity, tables) {
        // Another batch's signature over the same words is the same entry.
        guard known.statement.saysTheSame(as: candidate.statement) else {
          throw LedgerError.conflictingEntry(
            identity: "\(candidate.body.kind.rawValue) \(Hex.encode(identity))")
        }
        var place = known.place
        if known.statement != candidate.statement {
          place.earlierLeaf = try known.statement.leaf(recordedMs: place.recordedMs)
        }
        places.append(place)
        return
      }
      let recordedMs = max(rules.lastRecordedMs, nowMs)
      let leaf = try candidate.statement.leaf(recordedMs: recordedMs)
      try rules.admit(
        candidate.body, signer: candidate.statement.signer, index: next, recordedMs: recordedMs, isNew: true)
      let place = PlacedStatement(index: next, recordedMs: recordedMs)
      inThisAppend[identity] = (candidate.statement, place)
      new.append((candidate.body, leaf))
      places.append(place)
      next += 1
    }

    private func known(
      _ identity: [UInt8], _ tables: LedgerTables
    ) throws -> (statement: SignedStatement, place: PlacedStatement)? {
      if let earlier = inThisAppend[identity] { return earlier }
      guard let index = try tables.index(of: identity) else { return nil }
      guard let leaf = try tables.leaf(index) else { throw LedgerError.inconsistentTree(size: index) }
      let (statement, recordedMs) = try SignedStatement.parse(leaf: leaf)
      return (statement, PlacedStatement(index: index, recordedMs: recordedMs))
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
