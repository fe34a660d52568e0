package import Consent
import Cryptography
import Foundation
import GRDB
import Storage
import Synchronization

/// What an erasure deleted.
package struct ErasureCounts: Codable, Hashable, Sendable {
  /// Leaves of evidence that can no longer be opened.
  package var evidence: Int
  /// Keys of subjects: 1, or 0 if there was none any more.
  package var keys: Int
  /// Sealed payloads.
  package var payloads: Int
  /// Links to rounds.
  package var rounds: Int

  /// Counts; nothing by default.
  package init(evidence: Int = 0, keys: Int = 0, payloads: Int = 0, rounds: Int = 0) {
    self.evidence = evidence
    self.keys = keys
    self.payloads = payloads
    self.rounds = rounds
  }
}

/// An erasure that was begun: denied from then on, also after a crash, until it is finished.
package struct PendingErasure: Hashable, Sendable {
  let id: Int64
  /// The subject's tag.
  package let tag: SubjectTag
  /// The event id under which `erased` is appended to the log, so that trying again appends it once.
  package let eventID: EventID
  /// When it was begun, ms of UTC since 1970.
  package let beganMs: Int64
  /// The customer's id, for deleting the customer's records elsewhere; nil once the vault forgot it.
  package let subjectID: String?
  /// What the vault deleted; nil if it did not yet.
  package let deleted: ErasureCounts?
}

extension SubjectVault {
  static let cleaningDue = "cleaning due"
  /// More subjects at once are not searched for: the file is rewritten without looking.
  private static let maximumSearched = 256

  // MARK: Steps of an erasure

  /// Begins an erasure: from now on the subject has no tag here, so that every gate denies it. Then: append
  /// the `erased` entry under `eventID`, delete the customer's records, `erase`, write the certificate,
  /// `finishErasure`; after a crash, `pendingErasures` says where to go on.
  /// - Returns: The erasure, the one begun before if there is one; nil for an unknown subject.
  package func markErasing(
    _ subjectID: String, eventID: EventID, timeMs: Int64
  ) throws(LedgerError) -> PendingErasure? {
    let keys = heldKeys
    return try write(keys) { db in
      let rows = try SubjectRows(db, keys)
      switch try rows.find(keys.lookup(subjectID)) {
      case .unknown: return nil
      case .erasing(let subject):
        return try pending(rows, "WHERE subject = ?", [subject]).first
      case .known(let subject):
        let tag = try subject.key.tag
        let sealed = random.withLock {
          AEAD.seal(
            Array(subjectID.utf8), key: subject.key.payload, additionalData: tag.bytes, using: &$0)
        }
        try db.execute(
          sql: "INSERT INTO erasing (subject, tag, event, time, sealed) VALUES (?, ?, ?, ?, ?)",
          arguments: [subject.id, Data(tag.bytes), Data(eventID.bytes), timeMs, Data(sealed)])
        return PendingErasure(
          id: db.lastInsertedRowID, tag: tag, eventID: eventID, beganMs: timeMs, subjectID: subjectID,
          deleted: nil)
      }
    }
  }

  /// The erasures that were begun and not finished, in their order.
  package func pendingErasures() throws(LedgerError) -> [PendingErasure] {
    let keys = heldKeys
    return try read(keys) { db in try pending(SubjectRows(db, keys), "", []) }
  }

  /// Deletes a subject: its key and with it its tag's meaning, payloads, links to rounds, leaves of evidence.
  /// Then empties the write-ahead log and searches the files for the key and the lookup; if SQLite left a
  /// copy somewhere, the file is rewritten. Throws `residueRemains` if one is there even then. Again: no
  /// counts.
  package func erase(subjectID: String) throws(LedgerError) -> ErasureCounts {
    let keys = heldKeys
    let lookup = keys.lookup(subjectID)
    return try delete(keys) { db in
      let id = try Int64.fetchOne(
        db, sql: "SELECT id FROM subject WHERE lookup = ?", arguments: [Data(lookup)])
      return id.map { [$0] } ?? []
    }
  }

  /// `erase` for an erasure that was begun; again: the counts of the first time.
  package func erase(_ pending: PendingErasure) throws(LedgerError) -> ErasureCounts {
    let keys = heldKeys
    let counts = try delete(keys) { db in
      try Int64.fetchAll(
        db, sql: "SELECT subject FROM erasing WHERE id = ? AND subject IS NOT NULL", arguments: [pending.id])
    }
    if counts.keys > 0 { return counts }
    // Deleted before, but perhaps a crash came before the cleaning.
    try finishCleaning()
    return try pendingErasures().first { $0.id == pending.id }?.deleted ?? pending.deleted ?? counts
  }

  /// Forgets an erasure whose certificate is written. Changes nothing before `erase`.
  package func finishErasure(_ pending: PendingErasure) throws(LedgerError) {
    try database.ledgerWrite { db in
      try db.execute(sql: "DELETE FROM erasing WHERE id = ? AND subject IS NULL", arguments: [pending.id])
    }
  }

  /// Deletes every subject whose tag is among those that the log says are erased: after a backup of the vault
  /// was put back. Opens every key, some 300,000 a second.
  /// - Returns: How many subjects were deleted.
  @discardableResult
  package func replayErasures(erased tags: Set<SubjectTag>) throws(LedgerError) -> Int {
    guard !tags.isEmpty else { return 0 }
    let keys = heldKeys
    var found: [(id: Int64, lookup: [UInt8])] = []
    try read(keys) { db in
      let rows = try SubjectRows(db, keys)
      var last: Int64 = -1
      while case let batch = try rows.after(last), let end = batch.last {
        for row in batch {
          let (subject, lookup) = try rows.open(row)
          if tags.contains(try subject.key.tag) { found.append((subject.id, lookup)) }
        }
        last = try end.decode(atIndex: 0)
      }
    }
    guard !found.isEmpty else { return 0 }
    return try delete(keys) { db in
      try found.compactMap { id, lookup in
        try Int64.fetchOne(
          db, sql: "SELECT id FROM subject WHERE id = ? AND lookup = ?", arguments: [id, Data(lookup)])
      }
    }.keys
  }

  private func pending(
    _ rows: SubjectRows, _ condition: String, _ arguments: StatementArguments
  ) throws -> [PendingErasure] {
    try Row.fetchAll(
      rows.db,
      sql: """
        SELECT erasing.id, tag, event, time, sealed, counts, subject.id, lookup, wrapped FROM erasing
          LEFT JOIN subject ON subject.id = erasing.subject \(condition) ORDER BY erasing.id
        """, arguments: arguments
    ).map { row in
      let tag = try SubjectTag(Array(try row.decode(Data.self, atIndex: 1)))
      var subjectID: String?
      if let id = try row.decode(Int64?.self, atIndex: 6) {
        let subject = try rows.open(
          id, Array(try row.decode(Data.self, atIndex: 7)), Array(try row.decode(Data.self, atIndex: 8)))
        let sealed = Array(try row.decode(Data.self, atIndex: 4))
        guard
          let name = try? AEAD.open(sealed, key: subject.key.payload, additionalData: tag.bytes)
        else { throw LedgerError.damagedVault(path: path) }
        subjectID = String(decoding: name, as: UTF8.self)
      }
      let counts = try row.decode(String?.self, atIndex: 5)
      return PendingErasure(
        id: try row.decode(atIndex: 0), tag: tag,
        eventID: try EventID(Array(try row.decode(Data.self, atIndex: 2))),
        beganMs: try row.decode(atIndex: 3), subjectID: subjectID,
        deleted: try counts.map { try EntryCoding.decode(ErasureCounts.self, Array($0.utf8)) })
    }
  }

  // MARK: Deleting

  /// Deletes the selected subjects in one transaction and cleans the files.
  private func delete(
    _ keys: VaultKeys, _ selection: (Database) throws -> [Int64]
  ) throws(LedgerError) -> ErasureCounts {
    let mark = random.withLock { $0.bytes(8) }
    var total = ErasureCounts()
    var residue = ResidueSearch()
    try write(keys) { db in
      for id in try selection(db) {
        guard
          let row = try Row.fetchOne(
            db, sql: "SELECT lookup, wrapped FROM subject WHERE id = ?", arguments: [id])
        else { continue }
        for column in 0...1 { residue.look(for: Array(try row.decode(Data.self, atIndex: column))) }
        let counts = try Self.delete(id, db)
        total.evidence += counts.evidence
        total.keys += counts.keys
        total.payloads += counts.payloads
        total.rounds += counts.rounds
      }
      if total.keys > 0 { try Self.setField(Self.cleaningDue, mark, db) }
    }
    guard total.keys > 0 else { return total }
    try passing(.erasureCommitted)
    try clean(total.keys <= Self.maximumSearched ? residue : nil)
    try cleaned(mark)
    return total
  }

  private static func delete(_ id: Int64, _ db: Database) throws -> ErasureCounts {
    func count(_ sql: String) throws -> Int {
      let statement = try db.cachedStatement(sql: sql)
      try statement.execute(arguments: [id])
      return db.changesCount
    }
    let counts = ErasureCounts(
      evidence: try count(
        "DELETE FROM evidence_item WHERE evidence IN (SELECT id FROM evidence) AND subject = ?"),
      keys: try count("DELETE FROM subject WHERE id = ?"),
      payloads: try count("DELETE FROM payload WHERE subject = ?"),
      rounds: try count("DELETE FROM use WHERE session IN (SELECT id FROM session) AND subject = ?"))
    let text = String(decoding: try EntryCoding.encode(counts), as: UTF8.self)
    try db.execute(
      sql: "UPDATE erasing SET subject = NULL, sealed = NULL, counts = ? WHERE subject = ?",
      arguments: [text, id])
    return counts
  }

  // MARK: Cleaning

  /// Rewrites the files if a crash came between a deletion or rotation and its cleaning.
  func finishCleaning() throws(LedgerError) {
    guard let mark = try database.ledgerRead({ try Self.field(Self.cleaningDue, $0) }) else { return }
    try clean(nil)
    try cleaned(mark)
  }

  /// Another erasure that began meanwhile has another mark and cleans for itself.
  private func cleaned(_ mark: [UInt8]) throws(LedgerError) {
    try database.ledgerWrite { db in
      try db.execute(
        sql: "DELETE FROM vault WHERE field = ? AND value = ?", arguments: [Self.cleaningDue, Data(mark)])
    }
  }

  /// Empties the write-ahead log and makes sure that nothing deleted is left in the files: by looking, or by
  /// rewriting them when it is not known what to look for.
  private func clean(_ residue: ResidueSearch?) throws(LedgerError) {
    try truncate()
    if let residue, try !residue.finds(in: files) { return }
    try withoutTransaction { try $0.execute(sql: "VACUUM") }
    try truncate()
    if let residue, try residue.finds(in: files) { throw .residueRemains(path: path) }
  }

  private func truncate() throws(LedgerError) {
    do { try database.truncateWriteAheadLog() } catch { throw .storage(error) }
  }

  private var files: [String] { ["", "-wal", "-shm"].map { path + $0 } }
}

/// Searches files for pieces of what was deleted: every eight bytes, so that a cell which was overwritten in
/// part is found too. A match by chance has a probability of 2^-30 in a gigabyte.
private struct ResidueSearch {
  private var pieces: Set<UInt64> = []
  /// Which ends of pieces there are: spares the set a question for nearly every byte.
  private var ends = [Bool](repeating: false, count: 1 << 16)

  mutating func look(for bytes: [UInt8]) {
    for start in stride(from: 0, to: bytes.count - 7, by: 8) {
      let piece = bytes[start..<(start + 8)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      pieces.insert(piece)
      ends[Int(piece & 0xffff)] = true
    }
  }

  func finds(in paths: [String]) throws(LedgerError) -> Bool {
    for path in paths where DurableFile.exists(path) {
      do { if try finds(in: path) { return true } } catch {
        throw .storage(.system(operation: "search", path: path, errno: EIO))
      }
    }
    return false
  }

  private func finds(in path: String) throws -> Bool {
    let file = try SearchedFiles.shared.handle(path)
    try file.seek(toOffset: 0)
    var window: UInt64 = 0
    while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty {
      for byte in [UInt8](chunk) {
        window = window << 8 | UInt64(byte)
        if ends[Int(window & 0xffff)], pieces.contains(window) { return true }
      }
    }
    return false
  }
}

/// The files that were searched, open for the life of the process: closing any descriptor of a file drops every
/// POSIX lock that the process holds on it, SQLite's too, and another process would then take the database for
/// closed (sqlite.org/howtocorrupt.html, 2.2).
private final class SearchedFiles: Sendable {
  static let shared = SearchedFiles()
  private let open: Mutex<[File: FileHandle]> = Mutex([:])

  private struct File: Hashable {
    let device: UInt64
    let inode: UInt64
  }

  func handle(_ path: String) throws -> FileHandle {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    let file = File(
      device: (attributes[.systemNumber] as? NSNumber)?.uint64Value ?? 0,
      inode: (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0)
    return try open.withLock { open in
      if let known = open[file] { return known }
      let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
      open[file] = handle
      return handle
    }
  }
}
