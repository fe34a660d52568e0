import Consent
package import Cryptography
import Foundation
import GRDB
package import MerkleLog
import Storage
import Synchronization

/// Whether the log is believed, and who else sees it.
extension LedgerMirror {
  // MARK: Doubt

  /// Why the log is not believed at the moment; nil if it is. Entries that do not give the signed root, or that
  /// break the log's rules, are doubted until an advance succeeds; two signed trees that contradict each
  /// other for good.
  package var doubt: LedgerError? { doubted.withLock { $0 } }

  func doubt(_ error: LedgerError) { doubted.withLock { $0 = error } }

  /// Keeps the proof that the log's key signed two histories: this copy never believes it again.
  func condemn(_ offered: String, _ error: LedgerError) throws(LedgerError) {
    doubt(error)
    let evidence = "\(checkpoint?.noteText ?? "")\n\(offered)"
    try database.ledgerWrite { db in
      try db.execute(
        sql: "INSERT OR IGNORE INTO log (field, value) VALUES ('condemned', ?)",
        arguments: [Data(evidence.utf8)])
    }
  }

  /// The two signed notes that contradict each other, one after the other; nil if none were seen.
  package func evidenceOfFork() throws(LedgerError) -> String? {
    try database.ledgerRead { try LedgerTables($0).field("condemned") }
      .map { String(decoding: $0, as: UTF8.self) }
  }

  // MARK: Other checkpoints

  /// Whether the tree of a checkpoint is a beginning of this copy. A copy that has not come as far, or that shows
  /// another tree of that size, does not contain it.
  package func contains(_ checkpoint: Checkpoint) throws(LedgerError) -> Bool {
    guard checkpoint.origin == verifiers.origin, checkpoint.size <= size else { return false }
    return try root(size: checkpoint.size) == checkpoint.root
  }

  // MARK: Witnesses

  /// Takes what another witness signed: a checkpoint of this log with its cosignature. The witness has to be
  /// enrolled, and its tree has to be this copy's: another root throws `forked`. A tree that this copy has not
  /// reached yet is not counted; ask again.
  /// - Returns: whether the sighting counts.
  package func witness(noteText: String, by key: VerifyingKey) throws(LedgerError) -> Bool {
    guard enrolment(of: key) != nil else { throw .notEnrolled(signer: key) }
    let checkpoint: Checkpoint
    let timestamp: UInt64
    do throws(MerkleLogError) {
      let note = try SignedNote(parsing: noteText)
      checkpoint = try Checkpoint(text: note.text)
      try note.verify(verifiers.log)
      guard checkpoint.origin == verifiers.origin else {
        throw MerkleLogError.otherLog(expected: verifiers.origin, actual: checkpoint.origin)
      }
      let verifier = try Witness.verifier(origin: verifiers.origin, key: key)
      guard let time = try note.verify(verifier) else { throw .missingSignature(by: verifier.name) }
      timestamp = time
    } catch { throw .log(error) }
    guard checkpoint.size <= size else { return false }
    guard try root(size: checkpoint.size) == checkpoint.root else {
      try condemn(noteText, .forked(size: checkpoint.size))
      throw .forked(size: checkpoint.size)
    }
    seen.withLock { seen in
      if let known = seen[key], known.timestampSeconds >= timestamp { return }
      seen[key] = WitnessSighting(key: key, size: checkpoint.size, timestampSeconds: timestamp)
    }
    return true
  }

  /// The witnesses that have lately confirmed this log.
  package func witnesses(nowMs: Int64, maximumAgeSeconds: Int64) -> [WitnessSighting] {
    seen.withLock { seen in
      seen.values.filter {
        let age = nowMs / 1000 - Int64($0.timestampSeconds)
        return age <= maximumAgeSeconds && age >= -Self.allowedClockSkewSeconds
      }.sorted { $0.key < $1.key }
    }
  }
}
