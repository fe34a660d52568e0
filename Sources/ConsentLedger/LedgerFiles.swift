import Consent
import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage

/// Where a ledger keeps what, and its tables.
enum LedgerFiles {
  static func database(_ directory: String) -> String { directory + "/ledger.sqlite" }
  /// The last checkpoint that was signed, apart from the database: what tells a restored copy.
  static func signerState(_ directory: String) -> String { directory + "/ledger-signer.note" }
  static func lock(_ directory: String) -> String { directory + "/ledger.lock" }

  /// The lookup tables, which can be derived again.
  static func index(_ directory: String) -> String { directory + "/index.sqlite" }

  /// A node's copy of the log.
  static func mirror(_ directory: String) -> String { directory + "/mirror.sqlite" }

  /// A node's copy has the same tables, and when this node began to deny what an entry ends.
  static let mirrorSchema = DurableDatabase.Schema(
    name: "ledger mirror", applicationID: 0x4143_4d52, version: 2
  ) { db in
    try createTables(db)
    try db.execute(
      sql: """
        CREATE TABLE enforcement (idx INTEGER PRIMARY KEY, recorded INTEGER NOT NULL,
          enforced INTEGER NOT NULL)
        """)
  }

  static let schema = DurableDatabase.Schema(
    name: "consent ledger", applicationID: 0x4143_4c47, version: 2, cacheBytes: cacheBytes,
    checkpointPages: checkpointPages, create: createTables)

  /// Identities come in no order: every append touches its own pages of their index.
  private static let cacheBytes = 64 << 20
  /// Pages of that index that change again before the log is copied are copied once: 32 MB.
  private static let checkpointPages = 8192

  /// Names and keys of the log, the leaves' bytes, the tree in tiles of 256 hashes (C2SP tlog-tiles: only
  /// nodes of levels 0, 8, 16, … are stored), and the checkpoints that were signed.
  static func createTables(_ db: Database) throws {
    try db.execute(sql: "CREATE TABLE log (field TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
    try db.execute(
      sql: """
        CREATE TABLE leaf (idx INTEGER PRIMARY KEY, kind INTEGER NOT NULL, identity BLOB NOT NULL UNIQUE,
          bytes BLOB NOT NULL)
        """)
    // What changes who may write: few, and needed at every start.
    try db.execute(sql: "CREATE INDEX leaf_control ON leaf (idx) WHERE kind BETWEEN 1 AND 4")
    try db.execute(sql: "CREATE TABLE tile (position INTEGER PRIMARY KEY, hashes BLOB NOT NULL)")
    try db.execute(
      sql: "CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, time INTEGER NOT NULL, note TEXT NOT NULL)")
  }
}

extension DurableDatabase {
  /// A durable transaction with this module's errors.
  func ledgerWrite<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try write(wrapping: { LedgerError.storage($0) }, { db in try translating { try body(db) } })
  }

  /// A transaction that power loss may undo, with this module's errors.
  func ledgerWriteUnsynced(_ body: (Database) throws -> Void) throws(LedgerError) {
    try writeUnsynced(wrapping: { LedgerError.storage($0) }, { db in try translating { try body(db) } })
  }

  /// Reads on one snapshot with this module's errors.
  func ledgerRead<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try read(wrapping: { LedgerError.storage($0) }, { db in try translating { try body(db) } })
  }

  private func translating<Result>(_ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let error as MerkleLogError {
      throw LedgerError.log(error)
    } catch let error as ConsentError {
      throw LedgerError.content(error)
    }
  }
}

/// The statements on the ledger's tables, inside a transaction of the caller.
struct LedgerTables {
  let db: Database

  init(_ db: Database) { self.db = db }

  func field(_ name: String) throws -> [UInt8]? {
    try Data.fetchOne(db, sql: "SELECT value FROM log WHERE field = ?", arguments: [name]).map { Array($0) }
  }

  func setField(_ name: String, _ value: [UInt8]) throws {
    try db.execute(sql: "INSERT INTO log (field, value) VALUES (?, ?)", arguments: [name, Data(value)])
  }

  func size() throws -> UInt64 {
    try UInt64.fetchOne(db, sql: "SELECT coalesce(max(idx) + 1, 0) FROM leaf") ?? 0
  }

  /// The stored hashes of a tile of level `8 * level`; nil if there is none.
  func tile(level: Int, index: UInt64) throws -> [UInt8]? {
    let statement = try db.cachedStatement(sql: "SELECT hashes FROM tile WHERE position = ?")
    return try Data.fetchOne(statement, arguments: [StoredTiles.position(level, index)]).map { Array($0) }
  }

  /// A complete node, from the tile that holds it or its descendants.
  func node(_ position: NodePosition) throws -> Digest {
    let level = position.level / StoredTiles.height
    let span = 1 << (position.level % StoredTiles.height)
    let first = position.index * UInt64(span)
    let offset = Int(first % UInt64(StoredTiles.width))
    let hashes = try tile(level: level, index: first / UInt64(StoredTiles.width)) ?? []
    guard hashes.count >= 32 * (offset + span) else {
      throw LedgerError.inconsistentTree(size: position.index << UInt64(position.level))
    }
    var nodes = (offset..<(offset + span)).map {
      Digest(unchecked: Array(hashes[(32 * $0)..<(32 * $0 + 32)]))
    }
    while nodes.count > 1 {
      nodes = stride(from: 0, to: nodes.count, by: 2).map { MerkleTree.nodeHash(nodes[$0], nodes[$0 + 1]) }
    }
    return nodes[0]
  }

  func edge(size: UInt64) throws -> CompactRange {
    try CompactRange(size: size, edge: MerkleTree.edge(size: size).map { try node($0) })
  }

  func leaf(_ index: UInt64) throws -> [UInt8]? {
    let statement = try db.cachedStatement(sql: "SELECT bytes FROM leaf WHERE idx = ?")
    return try Data.fetchOne(statement, arguments: [Int64(bitPattern: index)]).map { Array($0) }
  }

  func leaves(at positions: [UInt64], below size: UInt64) throws -> [[UInt8]] {
    try positions.map { position in
      guard position < size, let leaf = try leaf(position) else { throw LedgerError.outOfRange(size: size) }
      return leaf
    }
  }

  func known(_ identifiers: [EventID], below size: UInt64) throws -> Set<EventID> {
    let statements = try LeafStatements(db)
    return Set(try identifiers.filter { try statements.index(of: $0.bytes).map { $0 < size } ?? false })
  }

  func insertLeaf(_ index: UInt64, _ body: EntryBody, _ bytes: [UInt8]) throws {
    try LeafStatements(db).insert(index, body.kind, identity: body.identity, bytes)
  }

  func writeTiles(_ tiles: StoredTiles) throws {
    let statement = try db.cachedStatement(
      sql: "INSERT OR REPLACE INTO tile (position, hashes) VALUES (?, ?)")
    for (position, hashes) in tiles.changed {
      try statement.execute(arguments: [position, Data(hashes)])
    }
  }

  /// The pinned operator, if one was pinned when the log was opened.
  func operatorKey() throws -> VerifyingKey? { try field("operator key").map { try VerifyingKey($0) } }

  /// The entries among the first that change who may write, in order.
  func controlEntries(below size: UInt64) throws -> [(index: UInt64, entry: LedgerEntry)] {
    let rows = try Row.fetchAll(
      db, sql: "SELECT idx, bytes FROM leaf WHERE kind BETWEEN 1 AND 4 AND idx < ? ORDER BY idx",
      arguments: [Int64(size)])
    return try rows.map { row in
      let bytes = try row.decode(Data.self, atIndex: 1)
      return (try row.decode(UInt64.self, atIndex: 0), try LedgerEntry(leaf: Array(bytes)))
    }
  }

  /// When the last of the first entries was taken; 0 if there is none.
  func lastRecordedMs(below size: UInt64) throws -> Int64 {
    guard size > 0, let bytes = try leaf(size - 1) else { return 0 }
    return try SignedStatement.parse(leaf: bytes).recordedMs
  }

  /// Adds a checkpoint to the history, which keeps the newest and of older ones one a minute.
  func insertCheckpoint(_ signed: SignedCheckpoint) throws {
    let newest = try db.cachedStatement(sql: "SELECT size, time FROM checkpoint ORDER BY size DESC LIMIT 2")
    let rows = try Row.fetchAll(newest)
    if rows.count == 2 {
      let newest: Int64 = try rows[0].decode(atIndex: 1)
      if newest < (try rows[1].decode(Int64.self, atIndex: 1)) + 60 {
        try db.cachedStatement(sql: "DELETE FROM checkpoint WHERE size = ?")
          .execute(arguments: [try rows[0].decode(Int64.self, atIndex: 0)])
      }
    }
    try db.cachedStatement(sql: "INSERT OR REPLACE INTO checkpoint (size, time, note) VALUES (?, ?, ?)")
      .execute(arguments: [
        Int64(bitPattern: signed.checkpoint.size), Int64(signed.timestampSeconds), signed.noteText,
      ])
  }
}

/// Tiles on their way into the database: the right edge of every level, and what changed.
struct StoredTiles {
  static let height = 8
  static let width = 256

  static func position(_ level: Int, _ index: UInt64) -> Int64 { Int64(level) << 48 | Int64(index) }

  /// By level: the hashes of the tile that is being filled.
  private var edge: [[UInt8]] = []
  /// The tiles that changed since the last `settle`, by position.
  private(set) var changed: [Int64: [UInt8]] = [:]
  private var dirty: Set<Int> = []
  private var size: UInt64 = 0

  init() {}

  /// Continues the tiles of a tree of `size` leaves.
  init(size: UInt64, tile: (_ level: Int, _ index: UInt64) throws -> [UInt8]?) throws {
    self.size = size
    var count = size
    var level = 0
    while count > 0 {
      let width = Int(count % UInt64(Self.width))
      let hashes = width == 0 ? [] : try tile(level, count / UInt64(Self.width)) ?? []
      guard hashes.count >= 32 * width else { throw LedgerError.inconsistentTree(size: size) }
      edge.append(Array(hashes.prefix(32 * width)))
      count /= UInt64(Self.width)
      level += 1
    }
  }

  /// Takes a node that an append completed.
  mutating func add(_ position: NodePosition, _ hash: Digest) {
    guard position.level % Self.height == 0 else { return }
    let level = position.level / Self.height
    while edge.count <= level { edge.append([]) }
    edge[level].append(contentsOf: hash.bytes)
    dirty.insert(level)
    if edge[level].count == 32 * Self.width {
      changed[Self.position(level, position.index / UInt64(Self.width))] = edge[level]
      edge[level] = []
      dirty.remove(level)
    }
    if level == 0 { size = position.index + 1 }
  }

  /// Takes the nodes of one level of tiles that an append completed, 32 bytes each.
  mutating func add(level: Int, first: UInt64, _ hashes: ArraySlice<UInt8>) {
    while edge.count <= level { edge.append([]) }
    var rest = hashes
    var tile = first / UInt64(Self.width)
    while !rest.isEmpty {
      let part = rest.prefix(32 * Self.width - edge[level].count)
      edge[level] += part
      rest = rest.dropFirst(part.count)
      dirty.insert(level)
      if edge[level].count == 32 * Self.width {
        changed[Self.position(level, tile)] = edge[level]
        edge[level] = []
        dirty.remove(level)
        tile += 1
      }
    }
    if level == 0 { size = first + UInt64(hashes.count / 32) }
  }

  /// Adds the partial tiles to what changed.
  mutating func collectPartial() {
    for level in dirty {
      let count = size >> UInt64(Self.height * level)
      changed[Self.position(level, count / UInt64(Self.width))] = edge[level]
    }
    dirty = []
  }

  /// Forgets what changed once it is stored.
  mutating func settle() { changed = [:] }
}
