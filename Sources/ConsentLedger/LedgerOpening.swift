import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage

/// Opening a ledger: checks that the database continues what was signed, and finishes a commit that a crash
/// cut off.
struct LedgerOpening {
  let directory: String
  let database: DurableDatabase
  let verifiers: CheckpointVerifiers
  let logKey: SigningKey
  let freshnessKey: SigningKey

  func run(operatorKey: VerifyingKey?) throws(LedgerError) -> LedgerStore.WriterState {
    try database.ledgerWrite { db in
      try identify(LedgerTables(db), operatorKey: operatorKey)
      let tables = LedgerTables(db)
      let size = try tables.size()
      let signer = try signerState(isEmpty: size == 0)
      let signedSize = signer.signed.checkpoint.size
      guard signedSize <= size else {
        throw LedgerError.rolledBack(signedSize: signedSize, foundSize: size)
      }
      // A note that power loss cut off is of entries that were staged before: without them it was another damage, and
      // an older database could pass for the newest.
      if let damage = signer.damage, signedSize == size { throw damage }
      let start = try tables.edge(size: signedSize)
      guard start.root == signer.signed.checkpoint.root else {
        throw LedgerError.inconsistentTree(size: signedSize)
      }
      var rules = LedgerRules(logKey: verifiers.log.key, operatorKey: try tables.operatorKey())
      for (index, entry) in try tables.controlEntries(below: signedSize) {
        try rules.admit(
          entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
      }
      rules.resume(lastRecordedMs: try tables.lastRecordedMs(below: signedSize))
      var state = LedgerStore.WriterState(
        range: start, tiles: try StoredTiles(size: signedSize) { try tables.tile(level: $0, index: $1) },
        signer: signer, rules: rules, uncertain: nil)
      if size > signedSize { try recover(&state, to: size, tables) }
      try tables.insertCheckpoint(state.signer.signed)
      return state
    }
  }

  /// The names and keys of the log: set once, then compared.
  private func identify(_ tables: LedgerTables, operatorKey: VerifyingKey?) throws {
    var fields: [(String, [UInt8])] = [
      ("origin", Array(verifiers.origin.utf8)), ("log key", logKey.verifyingKey.bytes),
      ("freshness key", freshnessKey.verifyingKey.bytes),
    ]
    if let operatorKey { fields.append(("operator key", operatorKey.bytes)) }
    for (name, value) in fields {
      if let found = try tables.field(name) {
        guard found == value else { throw LedgerError.otherLog(path: database.path, field: name) }
      } else {
        try tables.setField(name, value)
      }
    }
  }

  /// The last note that was signed; made for an empty log, missing for no other.
  private func signerState(isEmpty: Bool) throws -> SignerState {
    if let state = try SignerState(directory: directory, verifiers) { return state }
    guard isEmpty else { throw LedgerError.signerStateMissing(path: LedgerFiles.signerState(directory)) }
    let empty = try SignedCheckpoint.sign(
      Checkpoint(origin: verifiers.origin, size: 0, root: MerkleTree.emptyRoot), timestampSeconds: 0,
      logKey: logKey, freshnessKey: freshnessKey)
    return try SignerState(creating: empty, directory: directory)
  }

  /// Entries that were staged when the process died: each is checked as if it had just arrived, and the nodes
  /// against what was stored, before the larger tree is signed. Crash in here: the same again.
  private func recover(_ state: inout LedgerStore.WriterState, to size: UInt64, _ tables: LedgerTables) throws
  {
    var staged = StagedBatch(state)
    var check = SignatureCheck()
    for index in staged.tree.oldSize..<size {
      guard let bytes = try tables.leaf(index) else { throw LedgerError.inconsistentTree(size: index) }
      let entry = try LedgerEntry(leaf: bytes, check: &check)
      try staged.rules.admit(
        entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
      staged.tree.append(leafHash: MerkleTree.leafHash(bytes).bytes)
    }
    try staged.complete()
    // The tiles were stored with the entries: they have to be the same.
    for (position, hashes) in staged.tiles.changed {
      let stored = try tables.tile(level: Int(position >> 48), index: UInt64(position & (1 << 48 - 1)))
      guard stored == hashes else { throw LedgerError.inconsistentTree(size: size) }
    }
    staged.finish(&state)
    // Dated like the last one: the time of the crash is not known, and `checkpoint` signs anew at once.
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: verifiers.origin, size: size, root: staged.range.root),
      timestampSeconds: state.signer.signed.timestampSeconds, logKey: logKey, freshnessKey: freshnessKey)
    try state.signer.replace(signed)
  }
}
