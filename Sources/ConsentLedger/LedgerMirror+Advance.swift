package import Consent
package import Cryptography
import Foundation
import GRDB
import MerkleLog

/// That a witness has seen this log.
package struct WitnessSighting: Hashable, Sendable {
  /// The witness.
  package let key: VerifyingKey
  /// How many entries it saw.
  package let size: UInt64
  /// When it signed, seconds of UTC since 1970, by its clock.
  package let timestampSeconds: UInt64
}

/// When an entry that ends a permission was taken by the ledger, and when a node began to deny.
package struct Enforcement: Hashable, Sendable {
  /// The entry.
  package let index: LeafIndex
  /// When the ledger took it, ms of UTC since 1970 by the ledger's clock.
  package let recordedMs: Int64
  /// From when the node denied, by the node's clock.
  package let enforcedMs: Int64
}

/// Entries on their way into a mirror.
struct Advance {
  let id = UUID()
  private(set) var range: CompactRange
  private(set) var tiles: StoredTiles
  private(set) var rules: LedgerRules
  private(set) var denials: [(index: UInt64, recordedMs: Int64)] = []
  private var pending: [(index: UInt64, body: EntryBody, leaf: [UInt8])] = []
  private var check = SignatureCheck()

  var pendingCount: Int { pending.count }

  init(_ state: LedgerMirror.State) {
    range = state.range
    tiles = state.tiles
    rules = state.rules
  }

  mutating func read(_ leaf: [UInt8]) throws(LedgerError) {
    let index = range.size
    do throws(LedgerError) {
      let entry = try LedgerEntry(leaf: leaf, check: &check)
      try rules.admit(
        entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
      pending.append((index, entry.body, leaf))
      if entry.body.endsPermission { denials.append((index, entry.recordedMs)) }
    } catch { throw .unreadableEntry(index: index) }
    range.append(leafHash: MerkleTree.leafHash(leaf)) { tiles.add($0, $1) }
  }

  func write(_ tables: LedgerTables) throws {
    for row in pending { try tables.insertLeaf(row.index, row.body, row.leaf) }
    var complete = tiles
    complete.collectPartial()
    try tables.writeTiles(complete)
  }

  mutating func settle() {
    pending = []
    tiles.settle()
  }
}

extension EntryBody {
  /// Whether a customer, a controller or an authority ended what was permitted: what latencies are measured of.
  var endsPermission: Bool {
    guard case .consent(let event) = self else { return false }
    switch event.state {
    case .withdrawn, .objected, .optedOut, .globalPrivacyControl, .restricted, .erased, .revoked,
      .invalidated:
      return true
    default: return false
    }
  }
}

extension LedgerTables {
  /// Cuts off entries that no checkpoint covers.
  func truncate(to size: UInt64) throws {
    guard try self.size() > size else { return }
    try db.execute(sql: "DELETE FROM leaf WHERE idx >= ?", arguments: [Int64(size)])
    for level in 0..<8 {
      let count = size >> UInt64(StoredTiles.height * level)
      let edge = StoredTiles.position(level, count / UInt64(StoredTiles.width))
      let width = Int(count % UInt64(StoredTiles.width))
      let hashes = try tile(level: level, index: count / UInt64(StoredTiles.width)) ?? []
      try db.execute(
        sql: "DELETE FROM tile WHERE position >= ? AND position < ?",
        arguments: [edge, StoredTiles.position(level + 1, 0)])
      if width > 0 {
        try db.execute(
          sql: "INSERT INTO tile (position, hashes) VALUES (?, ?)",
          arguments: [edge, Data(hashes.prefix(32 * width))])
      }
    }
  }

  func insertEnforcement(_ index: UInt64, _ recordedMs: Int64, _ enforcedMs: Int64) throws {
    try db.cachedStatement(
      sql: "INSERT OR IGNORE INTO enforcement (idx, recorded, enforced) VALUES (?, ?, ?)"
    ).execute(arguments: [Int64(index), recordedMs, enforcedMs])
  }
}
