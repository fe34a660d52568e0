package import Consent
package import Cryptography
import Dispatch
import Foundation
import GRDB
package import MerkleLog
import Storage
import Synchronization

/// What the author of an entry keeps as proof: where the entry stands, and a signed checkpoint that covers
/// it.
package struct LedgerReceipt: Hashable, Sendable {
  /// The entry's position.
  package let index: LeafIndex
  /// When the ledger took it, ms of UTC since 1970: with the statement, that is the leaf.
  package let recordedMs: Int64
  /// The leaf, if the entry was in the log before and says the same under another batch's signature.
  package let earlierLeaf: [UInt8]?
  /// A signed checkpoint of a tree that holds the entry.
  package let checkpoint: SignedCheckpoint
  /// The proof that it does.
  package let proof: InclusionProof

  /// Checks a receipt without the ledger: the note's signatures, and the proof for the leaf's bytes.
  package static func verify(
    leaf: [UInt8], noteText: String, proof: InclusionProof, verifiers: CheckpointVerifiers
  ) throws(LedgerError) {
    do throws(MerkleLogError) {
      let signed = try SignedCheckpoint.verify(noteText, verifiers)
      guard signed.checkpoint.size == proof.size else { throw MerkleLogError.wrongProof("inclusion") }
      try proof.verify(leafHash: MerkleTree.leafHash(leaf), root: signed.checkpoint.root)
    } catch { throw .log(error) }
  }
}

/// The steps of a commit, for tests that make each of them fail. What a crash at each leaves behind is
/// written in `LedgerStore.commit`.
package enum CommitStep: String, Sendable, CaseIterable {
  /// The batch was accepted; nothing is written.
  case beforeStaging
  /// The transaction is full but not committed.
  case beforeStageCommit
  /// The entries are durable, no checkpoint covers them.
  case afterStageCommit
  /// The checkpoint is signed in memory.
  case beforeSignerState
  /// The signed checkpoint is durable in the signer's state.
  case afterSignerState
  /// The checkpoint is in the history, and nobody was told.
  case afterPublishing
}

/// The log on the server's disk: the single writer of an RFC 6962 tree in SQLite with signed checkpoints.
///
/// All methods may be called from any thread; they block for disk writes. An acknowledged entry survives
/// power loss. Readers see only what a signed checkpoint covers.
package final class LedgerStore: Sendable {
  /// `entries` answers at most this many.
  package static let maximumEntriesPerAnswer: UInt64 = 1024
  /// `append` takes at most this many.
  package static let maximumBatch = 16_384
  /// `checkpoint` signs anew when the last signature is older.
  package static let refreshSeconds: UInt64 = 3

  /// The log's name.
  package let origin: String
  /// The public keys that nodes pin.
  package let verifiers: CheckpointVerifiers
  let directory: String
  let database: DurableDatabase
  let logKey: SigningKey
  let freshnessKey: SigningKey
  let writer: Mutex<WriterState>
  let published: Mutex<Published>
  let queue: Mutex<[QueuedAppend]> = Mutex([])
  /// Commits run here, one at a time: they wait for the disk, which the threads of async code must not.
  let committing = DispatchQueue(label: "accord.ledger.commit")
  let faults: @Sendable (CommitStep) throws -> Void
  private let lock: FileLock

  /// What readers see: changed at the end of a commit, so that they never wait for the disk.
  struct Published {
    var signed: SignedCheckpoint
    var rules: LedgerRules
    var newestDenial: UInt64?
    /// Whether a commit has signed and not published yet: the old tree is not dated anew then, or a tree and a
    /// larger one would be seen in the wrong order.
    var isSigning = false

    init(_ state: WriterState) {
      signed = state.signer.signed
      rules = state.rules
      newestDenial = state.newestDenial
    }
  }

  /// What only the writer changes.
  struct WriterState {
    /// The right edge of what is durable; ahead of the published checkpoint only inside a commit.
    var range: CompactRange
    var tiles: StoredTiles
    /// The last note that was signed.
    var signer: SignerState
    var rules: LedgerRules
    /// The last entry since the log was opened that can end a permission.
    var newestDenial: UInt64?
    /// The step at which a commit's outcome became uncertain.
    var uncertain: String?
  }

  /// Opens the ledger of a directory, or begins one.
  ///
  /// The operator is pinned by `operatorKey`, or else by the first enrolment in the log. A tree that is
  /// smaller than what was signed or gives another root is refused; entries that were staged when a process
  /// died are checked one by one and signed.
  /// - Parameter faults: for tests: called at each step of a commit, may throw.
  package static func open(
    directory: String, origin: String, logKey: SigningKey, freshnessKey: SigningKey,
    operatorKey: VerifyingKey? = nil, faults: @escaping @Sendable (CommitStep) throws -> Void = { _ in }
  ) throws(LedgerError) -> LedgerStore {
    let lock: FileLock
    let database: DurableDatabase
    let verifiers: CheckpointVerifiers
    do {
      lock = try FileLock(path: LedgerFiles.lock(directory), subject: LedgerFiles.database(directory))
      database = try DurableDatabase.open(LedgerFiles.database(directory), LedgerFiles.schema)
    } catch { throw .storage(error) }
    do {
      verifiers = try CheckpointVerifiers(
        origin: origin, logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
    } catch { throw .log(error) }
    let opening = LedgerOpening(
      directory: directory, database: database, verifiers: verifiers, logKey: logKey,
      freshnessKey: freshnessKey)
    let state = try opening.run(operatorKey: operatorKey)
    return LedgerStore(opening, state, lock, faults)
  }

  private init(
    _ opening: LedgerOpening, _ state: WriterState, _ lock: FileLock,
    _ faults: @escaping @Sendable (CommitStep) throws -> Void
  ) {
    origin = opening.verifiers.origin
    verifiers = opening.verifiers
    directory = opening.directory
    database = opening.database
    logKey = opening.logKey
    freshnessKey = opening.freshnessKey
    published = Mutex(Published(state))
    writer = Mutex(state)
    self.lock = lock
    self.faults = faults
  }

  /// Closes the database. The lock goes with the object.
  package func close() throws(LedgerError) {
    do { try database.close() } catch { throw .storage(error) }
  }

  /// `PRAGMA synchronous` of the writer: 2 is FULL.
  package func synchronousLevel() throws(LedgerError) -> Int {
    do { return try database.synchronousLevel() } catch { throw .storage(error) }
  }

  // MARK: Reading

  /// The number of entries that the newest checkpoint covers.
  package var size: UInt64 { published.withLock { $0.signed.checkpoint.size } }
  /// The root of these entries.
  package var root: Digest { published.withLock { $0.signed.checkpoint.root } }

  /// The newest checkpoint, signed anew when its time is more than `refreshSeconds` ago. The time of
  /// signing never goes back, even if the clock does.
  package func checkpoint(nowMs: Int64) throws(LedgerError) -> SignedCheckpoint {
    let now = UInt64(max(0, nowMs / 1000))
    return try published.withLock { published throws(LedgerError) in
      let current = published.signed
      guard now > current.timestampSeconds + Self.refreshSeconds, !published.isSigning else { return current }
      do throws(MerkleLogError) {
        published.signed = try SignedCheckpoint.sign(
          current.checkpoint, timestampSeconds: now, logKey: logKey, freshnessKey: freshnessKey)
      } catch { throw .log(error) }
      return published.signed
    }
  }

  /// The leaves of a range, verbatim. The range has to lie in the log and hold at most
  /// `maximumEntriesPerAnswer` entries.
  package func entries(_ range: Range<UInt64>) throws(LedgerError) -> [[UInt8]] {
    let size = size
    guard range.upperBound <= size, range.upperBound - range.lowerBound <= Self.maximumEntriesPerAnswer else {
      throw .outOfRange(size: size)
    }
    let leaves = try read { tables in
      try Data.fetchAll(
        tables.db, sql: "SELECT bytes FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
        arguments: [Int64(range.lowerBound), Int64(range.upperBound)])
    }
    guard leaves.count == range.count else { throw .inconsistentTree(size: size) }
    return leaves.map { Array($0) }
  }

  /// The proof that the leaf at `index` is in the tree of `size` entries.
  package func inclusionProof(index: UInt64, size: UInt64) throws(LedgerError) -> InclusionProof {
    let published = self.size
    guard index < size, size <= published else { throw .outOfRange(size: published) }
    return try read { tables in
      try InclusionProof(index: index, size: size) { try tables.node($0) }
    }
  }

  /// The proof that the tree of `newSize` entries begins with the tree of `oldSize` entries.
  package func consistencyProof(oldSize: UInt64, newSize: UInt64) throws(LedgerError) -> ConsistencyProof {
    let published = self.size
    guard oldSize <= newSize, newSize <= published else { throw .outOfRange(size: published) }
    return try read { tables in
      try ConsistencyProof(oldSize: oldSize, newSize: newSize) { try tables.node($0) }
    }
  }

  /// The leaf at a position, verbatim.
  package func leaf(_ index: UInt64) throws(LedgerError) -> [UInt8] {
    guard let leaf = try entries(index..<(index + 1)).first else { throw .outOfRange(size: size) }
    return leaf
  }

  /// Who may write what after the newest checkpoint, and the policy in force.
  package var rules: LedgerRules { published.withLock { $0.rules } }

  /// The position of the last entry since this store was opened that can end somebody's permission, among
  /// those that were acknowledged.
  package var newestDenial: UInt64? { published.withLock { $0.newestDenial } }

  /// Whether the operator admitted the key.
  package func isEnrolled(_ key: VerifyingKey) -> Bool {
    published.withLock { $0.rules.enrolments[key] != nil }
  }

  /// The admitted keys in the order of the log.
  package func enrolments() -> [EnrolmentRecord] {
    published.withLock { state in state.rules.order.compactMap { state.rules.enrolments[$0] } }
  }

  func read<Result>(_ body: (LedgerTables) throws -> Result) throws(LedgerError) -> Result {
    try database.ledgerRead { try body(LedgerTables($0)) }
  }
}
