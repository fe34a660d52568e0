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

  private var signerPath: String { LedgerFiles.signerState(directory) }

  func run(operatorKey: VerifyingKey?) throws(LedgerError) -> LedgerStore.WriterState {
    try database.ledgerWrite { db in
      try identify(LedgerTables(db), operatorKey: operatorKey)
      let tables = LedgerTables(db)
      let size = try tables.size()
      let signed = try signerState(isEmpty: size == 0)
      let signedSize = signed.checkpoint.size
      guard signedSize <= size else {
        throw LedgerError.rolledBack(signedSize: signedSize, foundSize: size)
      }
      let start = try tables.edge(size: signedSize)
      guard start.root == signed.checkpoint.root else {
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
        signed: signed, rules: rules, uncertain: nil)
      if size > signedSize { try recover(&state, to: size, tables) }
      try tables.insertCheckpoint(state.signed)
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
  private func signerState(isEmpty: Bool) throws -> SignedCheckpoint {
    if let bytes = try DurableFile.read(signerPath) {
      return try SignedCheckpoint.verify(String(decoding: bytes, as: UTF8.self), verifiers)
    }
    guard isEmpty else { throw LedgerError.signerStateMissing(path: signerPath) }
    let empty = try SignedCheckpoint.sign(
      Checkpoint(origin: verifiers.origin, size: 0, root: MerkleTree.emptyRoot), timestampSeconds: 0,
      logKey: logKey, freshnessKey: freshnessKey)
    try DurableFile.write(Array(empty.noteText.utf8), to: signerPath)
    return empty
  }

  /// Entries that were staged when the process died: each is checked as if it had just arrived, and the nodes
  /// against what was stored, before the larger tree is signed. Crash in here: the same again.
  private func recover(_ state: inout LedgerStore.WriterState, to size: UInt64, _ tables: LedgerTables) throws
  {
    var staged = StagedBatch(state)
    var check = SignatureCheck()
    while staged.range.size < size {
      let index = staged.range.size
      guard let bytes = try tables.leaf(index) else { throw LedgerError.inconsistentTree(size: index) }
      let entry = try LedgerEntry(leaf: bytes, check: &check)
      try staged.rules.admit(
        entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
      staged.append(leafHash: MerkleTree.leafHash(bytes))
    }
    // The tiles were stored with the entries: they have to be the same.
    staged.tiles.collectPartial()
    for (position, hashes) in staged.tiles.changed {
      let stored = try tables.tile(level: Int(position >> 48), index: UInt64(position & (1 << 48 - 1)))
      guard stored == hashes else { throw LedgerError.inconsistentTree(size: size) }
    }
    staged.finish(&state)
    // Dated like the last one: the time of the crash is not known, and `checkpoint` signs anew at once.
    state.signed = try SignedCheckpoint.sign(
      Checkpoint(origin: verifiers.origin, size: size, root: staged.range.root),
      timestampSeconds: state.signed.timestampSeconds, logKey: logKey, freshnessKey: freshnessKey)
    try DurableFile.write(Array(state.signed.noteText.utf8), to: signerPath)
  }
}
