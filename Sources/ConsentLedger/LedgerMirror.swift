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
  /// The pinned operator: enrolments signed by anyone else do not count.
  package let operatorKey: VerifyingKey
  private let database: DurableDatabase
  private let state: Mutex<State>

  private struct State {
    var range: CompactRange
    var signed: SignedCheckpoint?
    var enrolments: [VerifyingKey: EnrolmentRecord]
  }

  private static let schema = DurableDatabase.Schema(
    name: "ledger mirror", applicationID: 0x4143_4d52, version: 1
  ) { db in
    try db.execute(sql: "CREATE TABLE log (field TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    try db.execute(
      sql: """
        CREATE TABLE tree (id INTEGER PRIMARY KEY CHECK (id = 0), size INTEGER NOT NULL, edge BLOB NOT NULL,
          note TEXT NOT NULL)
        """)
    try db.execute(
      sql: "CREATE TABLE consent (idx INTEGER PRIMARY KEY, subject BLOB NOT NULL, leaf BLOB NOT NULL)")
    try db.execute(sql: "CREATE INDEX consent_subject ON consent (subject, idx)")
    try db.execute(sql: "CREATE TABLE enrolment (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL)")
  }

  /// Opens the mirror's file, or begins one. A file that was made under other pinned keys is refused.
  package static func open(
    path: String, verifiers: CheckpointVerifiers, operatorKey: VerifyingKey, maximumAgeSeconds: Int64 = 60
  ) throws(LedgerError) -> LedgerMirror {
    let database: DurableDatabase
    do { database = try DurableDatabase.open(path, schema) } catch { throw .storage(error) }
    let fields: [(String, [UInt8])] = [
      ("log", Array(verifiers.log.description.utf8)),
      ("freshness key", Array(verifiers.freshness.description.utf8)), ("operator key", operatorKey.bytes),
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
      return try load(db, verifiers)
    }
    return LedgerMirror(database, verifiers, operatorKey, maximumAgeSeconds, state)
  }

  private init(
    _ database: DurableDatabase, _ verifiers: CheckpointVerifiers, _ operatorKey: VerifyingKey,
    _ maximumAgeSeconds: Int64, _ state: State
  ) {
    self.database = database
    self.verifiers = verifiers
    self.operatorKey = operatorKey
    self.maximumAgeSeconds = maximumAgeSeconds
    self.state = Mutex(state)
  }

  private static func load(_ db: Database, _ verifiers: CheckpointVerifiers) throws -> State {
    guard let row = try Row.fetchOne(db, sql: "SELECT size, edge, note FROM tree") else {
      return State(range: CompactRange(), signed: nil, enrolments: [:])
    }
    let size = try row.decode(UInt64.self, atIndex: 0)
    let edge = try row.decode(Data.self, atIndex: 1)
    let bytes = Array(edge)
    let digests = stride(from: 0, to: bytes.count - bytes.count % 32, by: 32).map {
      Digest(unchecked: Array(bytes[$0..<($0 + 32)]))
    }
    let range = try CompactRange(size: size, edge: digests)
    let signed = try SignedCheckpoint.verify(try row.decode(atIndex: 2), verifiers)
    guard range.root == signed.checkpoint.root, size == signed.checkpoint.size else {
      throw LedgerError.inconsistentTree(size: size)
    }
    var enrolments: [VerifyingKey: EnrolmentRecord] = [:]
    for leaf in try Data.fetchAll(db, sql: "SELECT leaf FROM enrolment ORDER BY idx") {
      guard case .enrolment(let record) = try LedgerEntry(leaf: Array(leaf)) else { continue }
      enrolments[record.nodeKey] = record
    }
    return State(range: range, signed: signed, enrolments: enrolments)
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
    state.withLock { Set($0.enrolments.filter { $0.value.kind != .server }.keys) }
  }

  /// The pinned operator's enrolment of a key.
  package func enrolment(of key: VerifyingKey) -> EnrolmentRecord? { state.withLock { $0.enrolments[key] } }

  /// The events of the subjects, each in the order of the log; subjects without events are absent.
  /// - Parameter grantor: only what this key recorded may grant or lift a restriction. Every node sees all
  ///   tags in the log, so another store could otherwise consent for this one's customers. What denies counts
  ///   whoever recorded it.
  package func events(
    for tags: [SubjectTag], grantor: VerifyingKey? = nil
  ) throws(LedgerError) -> [SubjectTag: [IndexedEvent]] {
    try database.ledgerRead { db in
      let statement = try db.cachedStatement(
        sql: "SELECT idx, leaf FROM consent WHERE subject = ? ORDER BY idx")
      var found: [SubjectTag: [IndexedEvent]] = [:]
      for tag in tags {
        let rows = try Row.fetchCursor(statement, arguments: [Data(tag.bytes)])
        while let row = try rows.next() {
          let leaf = try row.decode(Data.self, atIndex: 1)
          let index = try row.decode(UInt64.self, atIndex: 0)
          // Signature and signer were checked before the row was written; this file is the node's own.
          let entry = try LedgerEntry(envelope: EntryCoding.parse(Array(leaf)))
          guard case .consent(let event, let recorder, _) = entry, event.subject == tag else {
            throw LedgerError.unreadableEntry(index: index)
          }
          let isPermissive = event.state.isGrant || event.state == .restrictionLifted
          if let grantor, isPermissive, recorder != grantor { continue }
          found[tag, default: []].append(IndexedEvent(index: LeafIndex(index), event: event))
        }
      }
      return found
    }
  }

  // MARK: Advancing

  /// Takes a new checkpoint and the entries up to it.
  ///
  /// The note has to be signed by the pinned keys and young enough. A smaller log throws `shrunk`, another
  /// root `forked`: nothing changes then, and the checkpoint held grows old, which stops training. An entry
  /// that is unreadable or wrongly signed stops the mirror in the same way; an event whose recorder the
  /// pinned operator did not admit is hashed but does not count.
  /// - Parameter fetch: the leaves of a range of at most `entriesPerFetch`, verbatim.
  package func advance(
    noteText: String, nowMs: Int64,
    fetch: (Range<UInt64>) async throws(LedgerError) -> [[UInt8]]
  ) async throws(LedgerError) {
    let signed: SignedCheckpoint
    do { signed = try SignedCheckpoint.verify(noteText, verifiers) } catch { throw .log(error) }
    try Self.checkAge(signed, nowMs: nowMs, maximumSeconds: maximumAgeSeconds)
    let (start, enrolments) = state.withLock { ($0.range, $0.enrolments) }
    try refuseOlder(signed, than: start)
    var advance = Advance(range: start, enrolments: enrolments, operatorKey: operatorKey)
    while advance.range.size < signed.checkpoint.size {
      let next = advance.range.size
      let range = next..<min(signed.checkpoint.size, next + Self.entriesPerFetch)
      let leaves = try await fetch(range)
      guard leaves.count == range.count else {
        throw .wrongAnswer(requested: UInt64(range.count), received: leaves.count)
      }
      for leaf in leaves { try advance.read(leaf, logKey: verifiers.log.key) }
    }
    guard advance.range.root == signed.checkpoint.root else { throw .forked(size: signed.checkpoint.size) }
    try commit(advance, signed, start: start)
  }

  private func refuseOlder(_ signed: SignedCheckpoint, than range: CompactRange) throws(LedgerError) {
    guard let held = checkpoint else { return }
    let offered = signed.checkpoint
    // An older note may arrive late and proves nothing; a newer one with fewer entries does.
    if signed.timestampSeconds < held.timestampSeconds { throw .outdatedCheckpoint }
    guard offered.size < range.size else { return }
    if signed.timestampSeconds == held.timestampSeconds { throw .outdatedCheckpoint }
    throw .shrunk(knownSize: range.size, offeredSize: offered.size)
  }

  private func commit(
    _ advance: Advance, _ signed: SignedCheckpoint, start: CompactRange
  ) throws(LedgerError) {
    try state.withLock { state throws(LedgerError) in
      // No invariant holds over the awaits above: what was read then has to be what is here now.
      guard state.range == start else { throw .concurrentAdvance }
      if let held = state.signed, signed.timestampSeconds < held.timestampSeconds {
        throw .outdatedCheckpoint
      }
      try database.ledgerWrite { db in
        try advance.write(db)
        try db.execute(
          sql: "INSERT OR REPLACE INTO tree (id, size, edge, note) VALUES (0, ?, ?, ?)",
          arguments: [
            Int64(advance.range.size), Data(advance.range.edge.flatMap(\.bytes)), signed.noteText,
          ])
      }
      state.range = advance.range
      state.enrolments = advance.enrolments
      state.signed = signed
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

/// Entries on their way into a mirror.
private struct Advance {
  var range: CompactRange
  var enrolments: [VerifyingKey: EnrolmentRecord]
  let operatorKey: VerifyingKey
  private var consents: [(index: UInt64, subject: SubjectTag, leaf: [UInt8])] = []
  private var admitted: [(index: UInt64, leaf: [UInt8])] = []

  init(range: CompactRange, enrolments: [VerifyingKey: EnrolmentRecord], operatorKey: VerifyingKey) {
    self.range = range
    self.enrolments = enrolments
    self.operatorKey = operatorKey
  }

  mutating func read(_ leaf: [UInt8], logKey: VerifyingKey) throws(LedgerError) {
    let index = range.size
    let entry: LedgerEntry
    do { entry = try LedgerEntry(leaf: leaf) } catch { throw .unreadableEntry(index: index) }
    range.append(leafHash: MerkleTree.leafHash(leaf))
    switch entry {
    case .consent(let event, let recorder, _):
      guard enrolments[recorder]?.kind.maySign(.consent) == true else { return }
      consents.append((index, event.subject, leaf))
    case .enrolment(let record):
      guard record.operatorKey == operatorKey, enrolments[record.nodeKey] == nil else { return }
      enrolments[record.nodeKey] = record
      admitted.append((index, leaf))
    case .round, .notice: break
    }
  }

  func write(_ db: Database) throws {
    let consent = try db.cachedStatement(sql: "INSERT INTO consent (idx, subject, leaf) VALUES (?, ?, ?)")
    for row in consents {
      try consent.execute(arguments: [Int64(row.index), Data(row.subject.bytes), Data(row.leaf)])
    }
    for row in admitted {
      try db.execute(
        sql: "INSERT INTO enrolment (idx, leaf) VALUES (?, ?)",
        arguments: [Int64(row.index), Data(row.leaf)])
    }
  }
}
