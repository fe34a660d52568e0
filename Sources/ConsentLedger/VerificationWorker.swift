import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

/// One thread of a verification: checks ranges of entries, each in the order of the log.
struct VerificationWorker {
  private let work: VerificationWork
  private var scanner: LeafScanner
  private var reached: UInt64 = 0
  private var totals = VerificationTotals()
  private var tree: ChunkTree
  private var leaf: [UInt8] = []
  private var identity: [UInt8] = []
  private var rows: IndexRows?

  init(_ work: VerificationWork) {
    self.work = work
    scanner = Self.scanner(work.plan)
    tree = ChunkTree()
    rows = work.index.map { IndexRows($0) }
  }

  private static func scanner(_ plan: DatabaseVerification.Plan) -> LeafScanner {
    LeafScanner(logKey: plan.verifiers.log.key, operatorKey: plan.operatorKey, controls: plan.controls)
  }

  /// Adds what this thread found to the rest.
  func finish() {
    work.totals.withLock { all in
      all.counts.add(totals.counts)
      all.chunks = (all.chunks + totals.chunks).sorted { $0.range.lowerBound < $1.range.lowerBound }
      all.identities.add(totals.identities)
      all.identityIndex.add(totals.identityIndex)
      all.subjects.add(totals.subjects)
      all.subjectIndex.add(totals.subjectIndex)
      guard let rows else { return }
      all.circumstances.formUnion(rows.used)
      all.rows.merge(rows.rows, uniquingKeysWith: +)
    }
  }

  mutating func check(_ range: Range<UInt64>, _ queue: DatabaseQueue, _ indexQueue: DatabaseQueue?) {
    // Ranges come in ascending order, but for one that a thread took late.
    if range.lowerBound < reached { scanner = Self.scanner(work.plan) }
    reached = range.lowerBound
    var chunk = VerifiedChunk(range: range)
    do {
      if let indexQueue, rows != nil {
        try queue.read { db in try indexQueue.read { try check(&chunk, db, $0) } }
      } else {
        try queue.read { try check(&chunk, $0, nil) }
      }
      totals.chunks.append(chunk)
    } catch { work.findings.add(error, path: work.path, entry: reached) }
  }

  private mutating func check(_ chunk: inout VerifiedChunk, _ db: Database, _ indexDB: Database?) throws {
    let range = chunk.range
    let tables = LedgerTables(db)
    tree.begin(at: range.lowerBound)
    try rows?.begin(range, indexDB)
    let entries = try RawRows(
      db, "SELECT idx, kind, identity, bytes FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
      [Int64(range.lowerBound), Int64(range.upperBound)])
    for index in range {
      reached = index
      guard try entries.next(), entries.integer(0) == Int64(index) else {
        throw Finding("entry \(index) is missing", entry: index)
      }
      do {
        guard entries.blob(3, into: &leaf) else { throw LedgerError.malformedEntry("it is no bytes") }
        tree.append(leaf)
        try scanner.scan(leaf, at: index)
        guard scanner.recordedMs >= chunk.lastMs else { throw LedgerError.timeWentBack }
      } catch {
        // An entry before this one may be another than the tree was made of.
        try tree.compare(tables, throughPartial: true, excludingLast: true)
        throw Finding("entry \(index) is not valid: \(error)", entry: index)
      }
      guard entries.integer(1) == Int64(scanner.kind.code), entries.blob(2, into: &identity),
        identity == scanner.identity
      else {
        try tree.compare(tables, throughPartial: true, excludingLast: true)
        throw Finding("the derived columns of entry \(index) do not match it", entry: index)
      }
      if index == range.lowerBound { chunk.firstMs = scanner.recordedMs }
      chunk.lastMs = scanner.recordedMs
      totals.counts.count(scanner.kind)
      totals.identities.add(identity, index, work.key)
      if rows != nil { try checkRow(index) }
      if tree.isFull { chunk.tileRoots += try tree.compare(tables) }
    }
    if !tree.isEmpty { try tree.compare(tables, throughPartial: true) }
  }

  private mutating func checkRow(_ index: UInt64) throws {
    guard index < work.index?.bound ?? 0 else { return }
    if scanner.kind == .consent { totals.subjects.add(scanner.event.subject, index, work.key) }
    guard try rows?.holds(scanner, leaf, at: index) == true else {
      throw Finding("the lookup tables do not hold what entry \(index) says", entry: index)
    }
  }

  // MARK: Indexes

  /// One part of the index of identities: in strict order, and in the end the same pairs as the table.
  mutating func identities(_ queue: DatabaseQueue, _ part: Int, of parts: Int) {
    scanIndex(
      queue, work.path, part, of: parts,
      sql: "SELECT identity, idx FROM leaf INDEXED BY sqlite_autoindex_leaf_1 WHERE %@ ORDER BY identity",
      column: "identity", bound: work.plan.bound, sum: \.identityIndex,
      "the index of identities is out of order")
  }

  /// The same for the lookup table's index of subjects.
  mutating func subjects(_ queue: DatabaseQueue, _ part: Int, of parts: Int) {
    guard let index = work.index else { return }
    scanIndex(
      queue, index.path, part, of: parts,
      sql: "SELECT subject, idx FROM event INDEXED BY event_subject WHERE %@ ORDER BY subject, idx",
      column: "subject", bound: index.bound, sum: \.subjectIndex, "the index of subjects is out of order")
  }

  private mutating func scanIndex(
    _ queue: DatabaseQueue, _ path: String, _ part: Int, of parts: Int, sql: String, column: String,
    bound: UInt64, sum: WritableKeyPath<VerificationTotals, KeyedSum>, _ problem: String
  ) {
    // Parts by the first byte; what is no blob stands outside all of them and is missed in the sum.
    let step = 256 / parts
    let low = Data([UInt8(part * step)])
    let condition = part == parts - 1 ? "\(column) >= ?" : "\(column) >= ? AND \(column) < ?"
    do {
      try queue.read { db in
        let rows = try RawRows(
          db,
          sql.replacingOccurrences(
            of: "%@",
            with: part == 0
              ? condition.replacingOccurrences(
                of: "\(column) >= ?", with: "(\(column) >= ? OR \(column) IS NOT NULL)") : condition),
          part == parts - 1 ? [low] : [low, Data([UInt8((part + 1) * step)])])
        var bytes: [UInt8] = []
        var last: (bytes: [UInt8], index: Int64)?
        var local = KeyedSum()
        while try rows.next() {
          guard rows.blob(0, into: &bytes), let index = rows.integer(1), index >= 0 else {
            throw Finding(problem)
          }
          if let last {
            let isAfter =
              last.bytes == bytes ? last.index < index : last.bytes.lexicographicallyPrecedes(bytes)
            guard isAfter else { throw Finding(problem) }
          }
          last = (bytes, index)
          if UInt64(index) < bound { local.add(bytes, UInt64(index), work.key) }
        }
        totals[keyPath: sum].add(local)
      }
    } catch { work.findings.add(error, path: path) }
  }
}

/// The tree of one range, a tile at a time.
private struct ChunkTree {
  private static let leafHash = PrefixedHash([0])
  private var hashes = [UInt8](repeating: 0, count: 32 * TilePosition.fullWidth)
  private var width = 0
  private var tile: UInt64 = 0

  var isFull: Bool { width == TilePosition.fullWidth }
  var isEmpty: Bool { width == 0 }

  mutating func begin(at index: UInt64) {
    tile = index / UInt64(TilePosition.fullWidth)
    width = 0
  }

  mutating func append(_ leaf: [UInt8]) {
    Self.leafHash.hash(leaf, in: 0..<leaf.count, to: &hashes, at: 32 * width)
    width += 1
  }

  /// Compares the tile with the stored one, and goes on to the next. Returns the full tile's root.
  @discardableResult
  mutating func compare(
    _ tables: LedgerTables, throughPartial: Bool = false, excludingLast: Bool = false
  ) throws -> [UInt8] {
    let count = excludingLast ? width - 1 : width
    let stored = try tables.tile(level: 0, index: tile) ?? []
    if let place = firstDifference(Array(hashes[..<(32 * max(0, count))]), stored) {
      let entry = tile * UInt64(TilePosition.fullWidth) + UInt64(place)
      throw Finding("entry \(entry) does not give the stored leaf hash", entry: entry)
    }
    defer {
      width = 0
      tile += 1
    }
    return isFull ? TileHasher.root(of: hashes).bytes : []
  }
}
