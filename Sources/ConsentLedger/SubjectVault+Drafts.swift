package import Consent
import Cryptography
import GRDB
import Synchronization

/// Marks what one append adds to the vault before the ledger has answered. A refusal leaves no trace then: the
/// append takes back what nobody else has used meanwhile.
package struct VaultDraft: Hashable, Sendable {
  let token: Int64
}

extension SubjectVault {
  /// A mark for one append.
  package func newDraft() -> VaultDraft {
    VaultDraft(token: Int64(random.withLock { $0.uniform(below: 1 << 62) }) + 1)
  }

  /// After the ledger refused the append: deletes its payloads, and the keys that it made for customers of whom
  /// nothing was known. What another append, a session or an erasure has touched since stays.
  package func discard(_ draft: VaultDraft) throws(LedgerError) {
    try write(heldKeys) { db in
      try db.execute(sql: "DELETE FROM payload WHERE draft = ?", arguments: [draft.token])
      try db.execute(
        sql: """
          DELETE FROM subject WHERE draft = ?
            AND id NOT IN (SELECT subject FROM payload) AND id NOT IN (SELECT subject FROM use)
            AND id NOT IN (SELECT subject FROM evidence_item)
            AND id NOT IN (SELECT subject FROM erasing WHERE subject IS NOT NULL)
          """, arguments: [draft.token])
    }
  }

  /// What is used by an append belongs to no other append's draft any more.
  func claim(_ subject: SubjectRow, for draft: VaultDraft?, _ db: Database) throws {
    guard let mark = subject.draft, mark != draft?.token else { return }
    let statement = try db.cachedStatement(sql: "UPDATE subject SET draft = NULL WHERE id = ?")
    try statement.execute(arguments: [subject.id])
  }

  /// The commitment that an event of the customer's has if this is its payload; nil for the unknown.
  package func commitment(
    to payload: ConsentPayload, subjectID: String, eventID: EventID
  ) throws(LedgerError) -> String? {
    guard let key = try commitmentKey(of: subjectID) else { return nil }
    return Self.commitment(try payload.canonicalBytes(), eventID, key).hex
  }
}
