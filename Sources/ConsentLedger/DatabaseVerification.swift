import Consent
import Cryptography
import Dispatch
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

/// Verifies the files of a server's ledger or of a node's copy.
///
/// One thread reads what is small on one snapshot: names and keys, checkpoints, the entries that change the rules,
/// and which rows there are. Then all threads take ranges of entries, each on a connection of its own: rows below
/// the bound never change, so that a server that goes on writing does no harm.
struct DatabaseVerification {
  let directory: String
  let path: String
  let isServer: Bool
  let schema: DurableDatabase.Schema
  let findings: Findings
  let cores: Int

  /// What one snapshot said.
  struct Plan {
    var verifiers: CheckpointVerifiers
    var operatorKey: VerifyingKey?
    var controls: [ControlEntry] = []
    var checkpoints: [SignedCheckpoint] = []
    /// Entries below this one are checked.
    var bound: UInt64 = 0
    /// All that are there.
    var rows: UInt64 = 0
    /// What was signed last.
    var signed: SignedCheckpoint?
  }

  init(directory: String, findings: Findings, cores: Int) throws {
    self.directory = directory
    self.findings = findings
    self.cores = cores
    let ledger = LedgerFiles.database(directory)
    let mirror = LedgerFiles.mirror(directory)
    isServer = DurableFile.exists(ledger) || !DurableFile.exists(mirror)
    path = isServer ? ledger : mirror
    schema = isServer ? LedgerFiles.schema : LedgerFiles.mirrorSchema
  }

  func verify(
    pinned: CheckpointVerifiers?, operatorKey: VerifyingKey?, since: SignedCheckpoint?,
    _ report: inout LedgerVerification
  ) throws {
    // Before the snapshot: a commit stages entries first and signs after, so the snapshot holds all of it.
    let state = isServer ? try SignerState.bytes(directory: directory) : nil
    let queue = try DurableDatabase.openReadOnly(path, schema)
    var made: Plan?
    do {
      try queue.read { db in
        try SchemaCheck(schema: schema, path: path).run(db)
        made = try makePlan(db, signerState: state, pinned: pinned, operatorKey: operatorKey, &report)
      }
    } catch {
      // A damaged row makes the end of the transaction fail too: the entries tell which it is.
      guard made != nil, !findings.isEmpty else { throw error }
    }
    guard let plan = made else { return }
    let index = try IndexVerification(directory: directory, bound: plan.bound, findings: findings)
    let work = VerificationWork(
      plan: plan, path: path, schema: schema, index: index, findings: findings)
    DispatchQueue.concurrentPerform(iterations: cores) { _ in work.run() }
    let totals = work.totals.withLock { $0 }
    report.counts.add(totals.counts)
    try finish(queue, plan, totals, since: since, &report)
    if let index { try queue.read { try index.finish(totals, LedgerTables($0)) } }
    report.indexed = index?.size
  }

  // MARK: One snapshot

  private func makePlan(
    _ db: Database, signerState: [UInt8]?, pinned: CheckpointVerifiers?, operatorKey: VerifyingKey?,
    _ report: inout LedgerVerification
  ) throws -> Plan {
    let tables = LedgerTables(db)
    var plan = try readKeys(tables, pinned: pinned, operatorKey: operatorKey)
    report.origin = plan.verifiers.origin
    report.verifiers = plan.verifiers
    plan.rows = try rowCount(db)
    if isServer { plan.signed = try readSignerState(signerState, plan.verifiers) }
    plan.checkpoints = try readCheckpoints(db, plan.verifiers)
    report.counts.checkpoints = plan.checkpoints.count
    let newest = plan.checkpoints.last
    if !isServer { plan.signed = newest }
    let signed = plan.signed?.checkpoint.size ?? 0
    guard max(signed, newest?.checkpoint.size ?? 0) <= plan.rows else {
      throw Finding(
        "\(max(signed, newest?.checkpoint.size ?? 0)) entries were signed but only \(plan.rows) are there",
        entry: plan.rows)
    }
    plan.bound = isServer ? plan.rows : signed
    report.counts.unsigned = plan.rows - signed
    report.checkpoint = plan.signed
    try checkTiles(db, rows: plan.rows)
    readControls(db, &plan)
    report.operatorKey = plan.operatorKey ?? plan.controls.first?.signer
    return plan
  }

  private static let fields: Set<String> = [
    "origin", "log key", "freshness key", "operator key", "condemned",
  ]

  private func readKeys(
    _ tables: LedgerTables, pinned: CheckpointVerifiers?, operatorKey: VerifyingKey?
  ) throws -> Plan {
    let rows = try RawRows(tables.db, "SELECT field, value FROM log ORDER BY field")
    var value: [UInt8] = []
    while try rows.next() {
      guard let field = rows.text(0), Self.fields.contains(field), rows.blob(1, into: &value),
        try tables.field(field) == value
      else { throw Finding("the ledger names something beside its log and its keys") }
    }
    guard let origin = try tables.field("origin"), let logKey = try tables.field("log key"),
      let freshnessKey = try tables.field("freshness key")
    else { throw Finding("the ledger does not name its log and its keys") }
    let verifiers: CheckpointVerifiers
    var named: VerifyingKey?
    do {
      verifiers = try CheckpointVerifiers(
        origin: String(decoding: origin, as: UTF8.self), logKey: try VerifyingKey(logKey),
        freshnessKey: try VerifyingKey(freshnessKey))
      named = try tables.operatorKey()
    } catch { throw Finding("the ledger's name or keys are malformed: \(error)") }
    if let pinned, pinned != verifiers {
      throw Finding("the ledger is signed with other keys than the ones pinned")
    }
    if let operatorKey, let named, operatorKey != named {
      throw Finding("the ledger names another operator than the one pinned")
    }
    return Plan(verifiers: verifiers, operatorKey: operatorKey ?? named)
  }

  private func readSignerState(_ bytes: [UInt8]?, _ verifiers: CheckpointVerifiers) throws -> SignedCheckpoint
  {
    let path = LedgerFiles.signerState(directory)
    guard let bytes else { throw Finding("the signer's state \(path) is missing") }
    do {
      let state = try SignerState(bytes, directory: directory, verifiers)
      // A note that power loss cut off is replaced when the ledger is opened; until then it is a change like others.
      if let damage = state.damage { throw damage }
      return state.signed
    } catch { throw Finding("the signer's state \(path) is not valid: \(error)") }
  }

  private func readCheckpoints(_ db: Database, _ verifiers: CheckpointVerifiers) throws -> [SignedCheckpoint]
  {
    var checkpoints: [SignedCheckpoint] = []
    let rows = try RawRows(db, "SELECT size, time, note FROM checkpoint ORDER BY size")
    while try rows.next() {
      guard let size = rows.integer(0), let time = rows.integer(1), let note = rows.text(2) else {
        throw Finding("a checkpoint's row is damaged")
      }
      let signed: SignedCheckpoint
      do { signed = try SignedCheckpoint.verify(note, verifiers) } catch {
        throw Finding("the checkpoint of size \(size) is not valid: \(error)")
      }
      guard Int64(signed.checkpoint.size) == size, Int64(signed.timestampSeconds) == time else {
        throw Finding("the checkpoint of size \(size) does not say what its row says")
      }
      checkpoints.append(signed)
    }
    return checkpoints
  }

  /// How many entries there are; a gap is a missing entry.
  private func rowCount(_ db: Database) throws -> UInt64 {
    let rows = try RawRows(db, "SELECT min(idx), max(idx) FROM leaf")
    guard try rows.next(), let last = rows.integer(1), let first = rows.integer(0) else { return 0 }
    guard first == 0, last >= 0, last < Int64(Checkpoint.maximumSize) else {
      throw Finding(first > 0 ? "entry 0 is missing" : "an entry has an impossible position", entry: 0)
    }
    return UInt64(last) + 1
  }

  /// Exactly the tiles that a tree of this size has, each of its width; their hashes are compared later.
  private func checkTiles(_ db: Database, rows size: UInt64) throws {
    // A position that was changed may be far beyond all others: more tiles than fit into memory.
    if try UInt64.fetchOne(db, sql: "SELECT count(*) FROM tile") ?? 0 < (size + 255) / 256,
      let gap = try UInt64.fetchOne(
        db, sql: "SELECT min(idx) + 1 FROM leaf WHERE idx + 1 NOT IN (SELECT idx FROM leaf)"), gap < size
    {
      throw Finding("entry \(gap) is missing", entry: gap)
    }
    let rows = try RawRows(
      db,
      "SELECT position, CASE typeof(hashes) WHEN 'blob' THEN length(hashes) ELSE -1 END FROM tile ORDER BY position"
    )
    for tile in TilePosition.tiles(size: size) {
      guard try rows.next(), rows.integer(0) == StoredTiles.position(tile.level, tile.index),
        rows.integer(1) == Int64(tile.byteCount)
      else {
        throw Finding(
          "\(tile.path) is not there as it should be, or another tile is", entry: tile.leaves.upperBound - 1)
      }
    }
    guard try !rows.next() else { throw Finding("there are tiles that the entries do not account for") }
  }

  /// The entries that change the rules, replayed. What is wrong with one of them bounds what is checked.
  private func readControls(_ db: Database, _ plan: inout Plan) {
    var rules = LedgerRules(logKey: plan.verifiers.log.key, operatorKey: plan.operatorKey)
    var check = SignatureCheck()
    var index: UInt64?
    do {
      let rows = try RawRows(
        db,
        """
        SELECT idx, bytes FROM leaf INDEXED BY leaf_control WHERE kind BETWEEN 1 AND 4 AND idx < ? ORDER BY idx
        """, [Int64(plan.bound)])
      let lookup = try db.makeStatement(
        sql: "SELECT 1 FROM leaf INDEXED BY leaf_control WHERE kind BETWEEN 1 AND 4 AND idx = ?")
      var leaf: [UInt8] = []
      while try rows.next() {
        guard let row = rows.integer(0), row >= 0, rows.blob(1, into: &leaf) else {
          throw Finding("the index of entries that change the rules is damaged")
        }
        index = UInt64(row)
        do {
          let entry = try LedgerEntry(leaf: leaf, check: &check)
          guard entry.kind.changesRules else {
            throw LedgerError.malformedEntry("its row names another kind")
          }
          try rules.admit(
            entry.body, signer: entry.signer, index: UInt64(row), recordedMs: entry.recordedMs, isNew: false)
          plan.controls.append(
            ControlEntry(entry, at: UInt64(row), rules))
        } catch { throw Finding("entry \(row) is not valid: \(error)", entry: UInt64(row)) }
        // The index's own key, which the scan takes from the row: a lookup needs it.
        guard try Int.fetchOne(lookup, arguments: [row]) == 1 else {
          throw Finding("the index of entries that change the rules is damaged", entry: UInt64(row))
        }
        // What cannot be read next is no fault of this one.
        index = nil
      }
    } catch { findings.add(error, path: path, entry: index) }
  }

  // MARK: The whole tree

  private func finish(
    _ queue: DatabaseQueue, _ plan: Plan, _ totals: VerificationTotals, since: SignedCheckpoint?,
    _ report: inout LedgerVerification
  ) throws {
    // Ranges were checked alone: times between them.
    for (left, right) in zip(totals.chunks, totals.chunks.dropFirst())
    where left.range.upperBound == right.range.lowerBound && left.lastMs > right.firstMs {
      findings.add(
        Finding(
          "entry \(right.range.lowerBound) is not valid: \(LedgerError.timeWentBack)",
          entry: right.range.lowerBound))
    }
    if findings.bound >= plan.bound, totals.identities != totals.identityIndex {
      findings.add(Finding("the index of identities does not hold what the entries say"))
    }
    try queue.read { db in
      let tables = LedgerTables(db)
      checkUpperTiles(tables, plan, totals)
      let bound = min(plan.bound, findings.bound)
      var signed = plan.checkpoints.map(\.checkpoint)
      if let last = plan.signed?.checkpoint { signed.append(last) }
      for checkpoint in signed.sorted(by: { $0.size < $1.size }) where checkpoint.size <= bound {
        guard try merkleRoot(size: checkpoint.size, node: tables.node) == checkpoint.root else {
          findings.add(
            Finding(
              "the first \(checkpoint.size) entries do not give the root that was signed for them",
              entry: checkpoint.size == 0 ? nil : checkpoint.size - 1))
          break
        }
      }
      if let since { try checkSince(since, tables, plan, bound) }
      report.size = min(plan.bound, findings.bound)
      report.root = try merkleRoot(size: report.size, node: tables.node)
    }
  }

  private func checkSince(
    _ since: SignedCheckpoint, _ tables: LedgerTables, _ plan: Plan, _ bound: UInt64
  ) throws {
    let checkpoint = since.checkpoint
    guard checkpoint.origin == plan.verifiers.origin else {
      return findings.add(Finding("the checkpoint to compare with is of the log \(checkpoint.origin)"))
    }
    guard checkpoint.size <= plan.bound else {
      return findings.add(
        Finding(
          "the log had \(checkpoint.size) entries and now has \(plan.bound): entries were removed",
          entry: plan.bound))
    }
    guard checkpoint.size <= bound,
      try merkleRoot(size: checkpoint.size, node: tables.node) != checkpoint.root
    else { return }
    findings.add(
      Finding(
        "the history of the first \(checkpoint.size) entries was changed since the checkpoint to compare with"
      ))
  }

  /// The levels of tiles above the leaves, from the roots of the full tiles of level 0.
  private func checkUpperTiles(_ tables: LedgerTables, _ plan: Plan, _ totals: VerificationTotals) {
    guard findings.bound >= plan.bound else { return }
    var nodes = totals.tileRoots(count: Int(plan.bound >> 8))
    var level = 1
    do {
      while !nodes.isEmpty {
        var above: [UInt8] = []
        for start in stride(from: 0, to: nodes.count, by: 32 * TilePosition.fullWidth) {
          let hashes = Array(nodes[start..<min(start + 32 * TilePosition.fullWidth, nodes.count)])
          let index = UInt64(start / (32 * TilePosition.fullWidth))
          let stored = try tables.tile(level: level, index: index) ?? []
          if let place = firstDifference(hashes, stored) {
            let node = index * 256 + UInt64(place)
            throw Finding(
              "the entries do not give the stored hash \(node) of level \(level)",
              entry: (node + 1) << UInt64(8 * level) - 1)
          }
          if hashes.count == 32 * TilePosition.fullWidth { above += TileHasher.root(of: hashes).bytes }
        }
        nodes = above
        level += 1
      }
    } catch { findings.add(error, path: path) }
  }
}

/// The first hash of a tile that is not stored; the stored tile may be wider.
func firstDifference(_ hashes: [UInt8], _ stored: [UInt8]) -> Int? {
  if stored.count >= hashes.count, stored[..<hashes.count] == hashes[...] { return nil }
  for place in 0..<(hashes.count / 32) {
    let range = (32 * place)..<(32 * place + 32)
    guard stored.count >= range.upperBound, stored[range] == hashes[range] else { return place }
  }
  return nil
}

/// Whether the tables are those of the schema, and SQLite finds the small ones sound.
struct SchemaCheck {
  let schema: DurableDatabase.Schema
  let path: String

  func run(_ db: Database) throws {
    guard try Self.tables(db) == expected() else {
      throw Finding("\(path) has other tables than a \(schema.name)")
    }
    // No table and no index of ours uses what these could say.
    guard try String.fetchOne(db, sql: "PRAGMA encoding") == "UTF-8" else {
      throw Finding("\(path) is not in UTF-8")
    }
  }

  /// By the schema's name: making them takes longer than checking a small ledger.
  private static let known: Mutex<[String: [String]]> = Mutex([:])

  private func expected() throws -> [String] {
    if let tables = Self.known.withLock({ $0[schema.name] }) { return tables }
    let empty = try DatabaseQueue()
    let tables = try empty.write { db in
      try schema.create(db)
      return try Self.tables(db)
    }
    Self.known.withLock { $0[schema.name] = tables }
    return tables
  }

  private static func tables(_ db: Database) throws -> [String] {
    try Row.fetchAll(db, sql: "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").map {
      row in
      row.databaseValues.map { $0.description }.joined(separator: "|")
    }
  }
}
