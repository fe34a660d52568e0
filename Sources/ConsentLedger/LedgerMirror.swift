package import Consent
package import Cryptography
import Foundation
import GRDB
package import MerkleLog
import Storage
import Synchronization

/// A node's own copy of what it needs from the log. It believes nothing that it did not recompute: every
/// entry is hashed into the node's own tree, and a checkpoint counts only if the tree gives its root. So a
/// server that shows different logs to different nodes, or removes entries, is caught by the next checkpoint.
///
/// All methods but `advance` block for the disk; all may be called from any thread.
package final class LedgerMirror: Sendable {
  /// `advance` asks for at most this many entries at once.
  package static let entriesPerFetch: UInt64 = 512
  /// How far a checkpoint may be dated ahead of this node's clock, in seconds.
  package static let allowedClockSkewSeconds: Int64 = 30

  /// How old a checkpoint may be to be believed at all, in seconds.
  package let maximumAgeSeconds: Int64
  /// The pinned keys of the log.
  package let verifiers: CheckpointVerifiers
  /// The pinned operator: a log with enrolments by anyone else is not believed.
  package let operatorKey: VerifyingKey
  let database: DurableDatabase
  let index: LedgerIndex
  let state: Mutex<State>
  let seen: Mutex<[VerifyingKey: WitnessSighting]> = Mutex([:])
  let doubted: Mutex<LedgerError?> = Mutex(nil)

  struct State {
    var range: CompactRange
    var tiles: StoredTiles
    var signed: SignedCheckpoint?
    var rules: LedgerRules
    /// The advance whose unproven entries are in the file; no other may write meanwhile.
    var stagedBy: UUID?
  }

  /// Opens the copy in a node's directory, or begins one. A file that was made under other pinned keys is
  /// refused.
  package static func open(
    directory: String, verifiers: CheckpointVerifiers, operatorKey: VerifyingKey,
    maximumAgeSeconds: Int64 = 60
  ) throws(LedgerError) -> LedgerMirror {
    let path = LedgerFiles.mirror(directory)
    let database: DurableDatabase
    do { database = try DurableDatabase.open(path, LedgerFiles.mirrorSchema) } catch { throw .storage(error) }
    let fields: [(String, [UInt8])] = [
      ("origin", Array(verifiers.origin.utf8)), ("log key", verifiers.log.key.bytes),
      ("freshness key", verifiers.freshness.key.bytes), ("operator key", operatorKey.bytes),
    ]
    let state = try database.ledgerWrite { db in
      let tables = LedgerTables(db)
      for (name, value) in fields {
        if let found = try tables.field(name) {
          guard found == value else { throw LedgerError.otherLog(path: path, field: name) }
        } else {
          try tables.setField(name, value)
        }
      }
      return try load(tables, verifiers, operatorKey)
    }
    let index = try LedgerIndex.open(path: LedgerFiles.index(directory))
    let mirror = LedgerMirror(database, index, verifiers, operatorKey, maximumAgeSeconds, state)
    let condemned = try database.ledgerRead { try LedgerTables($0).field("condemned") }
    if condemned != nil { mirror.doubt(.forked(size: mirror.size)) }
    try mirror.catchUpIndex()
    return mirror
  }

  private init(
    _ database: DurableDatabase, _ index: LedgerIndex, _ verifiers: CheckpointVerifiers,
    _ operatorKey: VerifyingKey, _ maximumAgeSeconds: Int64, _ state: State
  ) {
    self.database = database
    self.index = index
    self.verifiers = verifiers
    self.operatorKey = operatorKey
    self.maximumAgeSeconds = maximumAgeSeconds
    self.state = Mutex(state)
  }

  private static func load(
    _ tables: LedgerTables, _ verifiers: CheckpointVerifiers, _ operatorKey: VerifyingKey
  ) throws -> State {
    var rules = LedgerRules(logKey: verifiers.log.key, operatorKey: operatorKey)
    let note = try String.fetchOne(
      tables.db, sql: "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
    let signed = try note.map { try SignedCheckpoint.verify($0, verifiers) }
    let size = signed?.checkpoint.size ?? 0
    let range = try tables.edge(size: size)
    guard range.root == signed?.checkpoint.root ?? MerkleTree.emptyRoot else {
      throw LedgerError.inconsistentTree(size: size)
    }
    for (index, entry) in try tables.controlEntries(below: size) {
      try rules.admit(
        entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
    }
    rules.resume(lastRecordedMs: try tables.lastRecordedMs(below: size))
    let tiles = try StoredTiles(size: size) { try tables.tile(level: $0, index: $1) }
    return State(range: range, tiles: tiles, signed: signed, rules: rules)
  }

  // MARK: Reading

  /// The newest checkpoint that was recomputed, or nil before the first.
  package var checkpoint: SignedCheckpoint? { state.withLock { $0.signed } }
  /// The number of entries that were recomputed.
  package var size: UInt64 { state.withLock { $0.range.size } }

  /// The age of the newest checkpoint in seconds (0 if it is dated ahead), or nil if there is none.
  package func checkpointAge(nowMs: Int64) -> Int64? {
    checkpoint.map { max(0, nowMs / 1000 - Int64($0.timestampSeconds)) }
  }

  /// The newest checkpoint if it is young enough, or else an error.
  package func freshCheckpoint(
    nowMs: Int64, maximumAgeSeconds: Int64
  ) throws(LedgerError) -> SignedCheckpoint {
    guard let signed = checkpoint else {
      throw .staleCheckpoint(ageSeconds: nil, maximumSeconds: maximumAgeSeconds)
    }
    try Self.checkAge(signed, nowMs: nowMs, maximumSeconds: maximumAgeSeconds)
    return signed
  }

  /// Whether the pinned operator admitted the key.
  package func isEnrolled(_ key: VerifyingKey) -> Bool { enrolment(of: key) != nil }

  /// All nodes that the pinned operator admitted.
  package var enrolledKeys: Set<VerifyingKey> {
    state.withLock { Set($0.rules.enrolments.filter { $0.value.kind.trains }.keys) }
  }

  /// The pinned operator's enrolment of a key.
  package func enrolment(of key: VerifyingKey) -> EnrolmentRecord? {
    state.withLock { $0.rules.enrolments[key] }
  }

  /// Who may write what after the newest checkpoint, and the policy in force.
  package var rules: LedgerRules { state.withLock { $0.rules } }

  /// A verified leaf, verbatim.
  package func leaf(_ index: UInt64) throws(LedgerError) -> [UInt8] {
    let size = size
    guard index < size else { throw .outOfRange(size: size) }
    guard let leaf = try database.ledgerRead({ try LedgerTables($0).leaf(index) }) else {
      throw .inconsistentTree(size: size)
    }
    return leaf
  }

  /// The root of the tree of the first entries.
  package func root(size: UInt64) throws(LedgerError) -> Digest {
    guard size <= self.size else { throw .outOfRange(size: self.size) }
    return try database.ledgerRead { db in
      try merkleRoot(size: size) { try LedgerTables(db).node($0) }
    }
  }

  /// The events of the subjects, each in the order of the log; subjects without events are absent.
  /// - Parameter grantor: only what this key recorded may grant or lift a restriction. Every node sees all
  ///   tags in the log, so another store could otherwise consent for this one's customers. What denies counts
  ///   whoever recorded it.
  package func events(
    for tags: [SubjectTag], grantor: VerifyingKey? = nil
  ) throws(LedgerError) -> [SubjectTag: [IndexedEvent]] {
    let size = size
    try catchUpIndex()
    let positions = try index.positions(of: Set(tags), size: size)
    return try database.ledgerRead { db in
      let tables = LedgerTables(db)
      var found: [SubjectTag: [IndexedEvent]] = [:]
      for (tag, positions) in positions {
        for position in positions {
          // Signature and signer were checked before the row was written; this file is the node's own.
          guard let leaf = try tables.leaf(position),
            case .consent(let event) = try LedgerEntry(unsigned: leaf).body, event.subject == tag
          else { throw LedgerError.unreadableEntry(index: position) }
          let isPermissive = event.state.isGrant || event.state == .restrictionLifted
          if let grantor, isPermissive, try SignedStatement.parse(leaf: leaf).statement.signer != grantor {
            continue
          }
          found[tag, default: []].append(IndexedEvent(index: LeafIndex(position), event: event))
        }
      }
      return found
    }
  }

  /// When entries that end a permission were taken by the ledger and when this node began to deny, newest
  /// first.
  package func enforcements(limit: Int = 100_000) throws(LedgerError) -> [Enforcement] {
    try database.ledgerRead { db in
      try Row.fetchAll(
        db, sql: "SELECT idx, recorded, enforced FROM enforcement ORDER BY idx DESC LIMIT ?",
        arguments: [limit]
      ).map { row in
        Enforcement(
          index: LeafIndex(try row.decode(atIndex: 0)), recordedMs: try row.decode(atIndex: 1),
          enforcedMs: try row.decode(atIndex: 2))
      }
    }
  }

  /// The tags of all subjects whose erasure a node has signed. Another node's word denies, but deletes nothing.
  package func erasedSubjects(by node: VerifyingKey) throws(LedgerError) -> Set<SubjectTag> {
    try catchUpIndex()
    return try index.erasedSubjects(by: node)
  }

  private func catchUpIndex() throws(LedgerError) {
    try index.catchUp(to: size) { range throws(LedgerError) in
      try self.database.ledgerRead { db in
        try Data.fetchAll(
          db, sql: "SELECT bytes FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
          arguments: [Int64(range.lowerBound), Int64(range.upperBound)]
        ).map { Array($0) }
      }
    }
  }

  // MARK: Advancing

  /// Takes a new checkpoint and the entries up to it.
  ///
  /// The note has to be signed by the pinned keys and young enough. A smaller log throws `shrunk`, another
  /// root `forked`: nothing changes then, and the checkpoint held grows old, which stops training. An entry
  /// that is unreadable, wrongly signed or against the log's rules stops the mirror in the same way.
  /// - Parameters:
  ///   - now: the time when the entries are in force here, for the record of latencies; by default `nowMs`.
  ///   - fetch: the leaves of a range of at most `entriesPerFetch`, verbatim.
  package func advance(
    noteText: String, nowMs: Int64, now: @Sendable () -> Int64? = { nil },
    fetch: (Range<UInt64>) async throws(LedgerError) -> [[UInt8]]
  ) async throws(LedgerError) {
    do {
      try await take(noteText: noteText, nowMs: nowMs, now: now, fetch: fetch)
      doubted.withLock { if case .some = $0, (try? evidenceOfFork()) == .some(nil) { $0 = nil } }
    } catch {
      switch error {
      case .forked, .unreadableEntry: doubt(error)
      case .shrunk: try condemn(noteText, error)
      default: break
      }
      throw error
    }
  }

  private func take(
    noteText: String, nowMs: Int64, now: @Sendable () -> Int64?,
    fetch: (Range<UInt64>) async throws(LedgerError) -> [[UInt8]]
  ) async throws(LedgerError) {
    let signed: SignedCheckpoint
    do { signed = try SignedCheckpoint.verify(noteText, verifiers) } catch { throw .log(error) }
    try Self.checkAge(signed, nowMs: nowMs, maximumSeconds: maximumAgeSeconds)
    let start = try begin()
    try refuseOlder(signed, than: start.range)
    var advance = Advance(start)
    do {
      try await read(&advance, to: signed.checkpoint, start: start, fetch: fetch)
      try commit(&advance, signed, start: start, enforcedMs: now() ?? nowMs)
    } catch {
      giveUp(advance)
      throw error
    }
    try catchUpIndex()
  }

  /// What an advance starts from. Entries that an earlier process fetched but never proved are cut off.
  private func begin() throws(LedgerError) -> State {
    try state.withLock { state throws(LedgerError) in
      guard state.stagedBy == nil else { throw .concurrentAdvance }
      if try database.ledgerRead({ try LedgerTables($0).size() }) > state.range.size {
        try database.ledgerWrite { try LedgerTables($0).truncate(to: state.range.size) }
      }
      return state
    }
  }

  /// Cuts off what this advance staged. If that fails, the next one does it.
  private func giveUp(_ advance: Advance) {
    state.withLock { state in
      guard state.stagedBy == advance.id else { return }
      state.stagedBy = nil
      try? database.ledgerWrite { try LedgerTables($0).truncate(to: state.range.size) }
    }
  }

  private func read(
    _ advance: inout Advance, to checkpoint: Checkpoint, start: State,
    fetch: (Range<UInt64>) async throws(LedgerError) -> [[UInt8]]
  ) async throws(LedgerError) {
    while advance.range.size < checkpoint.size {
      let next = advance.range.size
      let range = next..<min(checkpoint.size, next + Self.entriesPerFetch)
      let leaves = try await fetch(range)
      guard leaves.count == range.count else {
        throw .wrongAnswer(requested: UInt64(range.count), received: leaves.count)
      }
      for leaf in leaves { try advance.read(leaf) }
      // Kept apart from what is believed: without a checkpoint over them they are cut off again.
      if advance.pendingCount >= Self.entriesPerTransaction { try stage(&advance, start: start) }
    }
    guard advance.range.root == checkpoint.root else { throw .forked(size: checkpoint.size) }
  }

  private static let entriesPerTransaction = 8192

  private func refuseOlder(_ signed: SignedCheckpoint, than range: CompactRange) throws(LedgerError) {
    guard let held = checkpoint else { return }
    let offered = signed.checkpoint
    // An older note may arrive late and proves nothing; a newer one with fewer entries does.
    if signed.timestampSeconds < held.timestampSeconds { throw .outdatedCheckpoint }
    guard offered.size < range.size else { return }
    if signed.timestampSeconds == held.timestampSeconds { throw .outdatedCheckpoint }
    throw .shrunk(knownSize: range.size, offeredSize: offered.size)
  }

  private func stage(_ advance: inout Advance, start: State) throws(LedgerError) {
    try state.withLock { state throws(LedgerError) in
      guard state.range == start.range, state.stagedBy ?? advance.id == advance.id else {
        throw .concurrentAdvance
      }
      try database.ledgerWrite { try advance.write(LedgerTables($0)) }
      state.stagedBy = advance.id
    }
    advance.settle()
  }

  private func commit(
    _ advance: inout Advance, _ signed: SignedCheckpoint, start: State, enforcedMs: Int64
  ) throws(LedgerError) {
    let known = start.signed
    let last = advance
    try state.withLock { state throws(LedgerError) in
      // No invariant holds over the awaits above: what was read then has to be what is here now.
      guard state.range == start.range, state.stagedBy ?? last.id == last.id else {
        throw .concurrentAdvance
      }
      if let held = state.signed, signed.timestampSeconds < held.timestampSeconds {
        throw .outdatedCheckpoint
      }
      try database.ledgerWrite { db in
        let tables = LedgerTables(db)
        try last.write(tables)
        try tables.insertCheckpoint(signed)
        guard let known else { return }
        // A checkpoint that is too old denies everything: whatever comes later was denied from then on.
        let closedMs = (Int64(known.timestampSeconds) + maximumAgeSeconds) * 1000
        for denial in last.denials {
          try tables.insertEnforcement(denial.index, denial.recordedMs, min(enforcedMs, closedMs))
        }
      }
      state.range = last.range
      state.tiles = last.tiles
      state.tiles.settle()
      state.rules = last.rules
      state.signed = signed
      state.stagedBy = nil
    }
  }

  /// The enforcements of a node's directory, also while the node runs: oldest first.
  package static func enforcements(directory: String) throws(LedgerError) -> [Enforcement] {
    let path = LedgerFiles.mirror(directory)
    do {
      let queue = try DurableDatabase.openReadOnly(path, LedgerFiles.mirrorSchema)
      return try queue.read { db in
        try Row.fetchAll(db, sql: "SELECT idx, recorded, enforced FROM enforcement ORDER BY idx").map { row in
          Enforcement(
            index: LeafIndex(try row.decode(atIndex: 0)), recordedMs: try row.decode(atIndex: 1),
            enforcedMs: try row.decode(atIndex: 2))
        }
      }
    } catch let error as StorageError { throw .storage(error) } catch {
      throw .storage(DurableDatabase.translate(error, path))
    }
  }

  private static func checkAge(
    _ signed: SignedCheckpoint, nowMs: Int64, maximumSeconds: Int64
  ) throws(LedgerError) {
    let age = nowMs / 1000 - Int64(signed.timestampSeconds)
    guard age <= maximumSeconds else {
      throw .staleCheckpoint(ageSeconds: age, maximumSeconds: maximumSeconds)
    }
    guard age >= -allowedClockSkewSeconds else { throw .checkpointFromTheFuture(aheadSeconds: -age) }
  }
}
