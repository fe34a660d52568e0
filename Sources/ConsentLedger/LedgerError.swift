package import Consent
package import Cryptography
package import MerkleLog
package import Storage

/// Why the ledger, a mirror, a vault or the gate said no. Each case is another reaction; payloads are counts,
/// positions and public keys, never a customer's id or a secret.
package enum LedgerError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A file or directory could not be used.
  case storage(StorageError)
  /// A note, checkpoint or proof is wrong.
  case log(MerkleLogError)
  /// The content of an entry breaks a rule of consent records.
  case content(ConsentError)
  /// An entry is not in the canonical form, or a field of it is out of range.
  case malformedEntry(String)
  /// An entry is longer than a leaf may be.
  case entryTooLarge(bytes: Int, maximum: Int)
  /// An entry's signature does not verify.
  case wrongSignature(signer: VerifyingKey)
  /// An entry is signed by a key that the log does not know for this kind of entry.
  case notEnrolled(signer: VerifyingKey)
  /// An enrolment is signed by another operator than the log's.
  case foreignOperator(key: VerifyingKey)
  /// An entry says that it happened later than now: the author's clock is wrong.
  case clockAhead(aheadMs: Int64)
  /// An entry was taken earlier than the one before it.
  case timeWentBack
  /// No policy that was ever in force names the purpose.
  case unknownPurpose(String)
  /// The policy in force asks two officers to approve an erasure.
  case needsApprovals(found: Int)
  /// A grant does not name the policy in force.
  case otherPolicy
  /// A grant is not what the policy in force allows.
  case grantRefused(GrantRefusal)
  /// An approval of a policy that nobody proposed.
  case nothingToApprove
  /// An officer approves what they proposed themselves.
  case approvesOwnProposal
  /// The identity of an entry was used before for other content.
  case conflictingEntry(identity: String)
  /// The entry at this position of a batch was refused, and with it the whole batch.
  indirect case refused(position: Int, reason: LedgerError)
  /// A file belongs to a log with another name or other keys.
  case otherLog(path: String, field: String)
  /// The database is older than what was signed: a restored backup. Signing on would fork the log.
  case rolledBack(signedSize: UInt64, foundSize: UInt64)
  /// The database holds another tree than the one that was signed.
  case inconsistentTree(size: UInt64)
  /// The database holds entries but the signer's state is missing.
  case signerStateMissing(path: String)
  /// Another process wrote the signer's state.
  case signerStateChanged(path: String)
  /// A commit failed in a way that leaves its outcome open: the store takes nothing more and must be
  /// reopened.
  case commitUncertain(step: String)
  /// A position, size or range lies outside the log or is larger than an answer may be.
  case outOfRange(size: UInt64)
  /// A checkpoint is older than allowed, or there is none yet (age nil).
  case staleCheckpoint(ageSeconds: Int64?, maximumSeconds: Int64)
  /// No policy is in force, so nothing is permitted.
  case noPolicy
  /// Too few other witnesses have lately seen the log as this node sees it.
  case noQuorum(found: Int, required: Int)
  /// This node's copy of the log has not reached what the log acknowledged to it.
  case behindReceipt(acknowledged: UInt64, verified: UInt64)
  /// A checkpoint is dated in the future: one of the clocks is wrong.
  case checkpointFromTheFuture(aheadSeconds: Int64)
  /// A checkpoint is older than the one held; nothing changes.
  case outdatedCheckpoint
  /// The log shows another history than before at this size: evidence of a fork.
  case forked(size: UInt64)
  /// The log became shorter: evidence of removed entries.
  case shrunk(knownSize: UInt64, offeredSize: UInt64)
  /// The log's entries did not arrive as asked for.
  case wrongAnswer(requested: UInt64, received: Int)
  /// The log holds an entry that this node cannot read or that nobody signed: the node stops believing it.
  case unreadableEntry(index: UInt64)
  /// Another task advanced the same mirror meanwhile; ask again.
  case concurrentAdvance
  /// The vault was written under another key-encryption key.
  case wrongVaultKey(path: String)
  /// A row of the vault does not open under its key.
  case damagedVault(path: String)
  /// Nothing new is kept about a subject whose erasure was begun.
  case subjectBeingErased
  /// Pieces of an erased key are still in the vault's files.
  case residueRemains(path: String)
  /// A certificate, a manifest or a line of the access log is not in its form.
  case malformedDocument(String)
  /// Nothing was ever recorded of the customer at this node.
  case unknownSubject
  /// A file of an export is not what its manifest says.
  case changedFile(name: String, how: String)
  /// The access log was changed, counted in lines from 1; 0 for the last line.
  case brokenAccessLog(path: String, line: Int, reason: String)
  /// A file cannot go into a zip archive.
  case archive(String)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .storage(let error): error.description
    case .log(let error): error.description
    case .content(let error): error.description
    case .malformedEntry(let why): "the ledger entry is malformed: \(why)"
    case .entryTooLarge(let bytes, let maximum):
      "the ledger entry has \(bytes) bytes but may have \(maximum) at most"
    case .wrongSignature(let signer): "the entry's signature by \(short(signer)) is wrong"
    case .notEnrolled(let signer):
      "the key \(short(signer)) is not enrolled for this kind of entry; the operator has to enrol it first"
    case .foreignOperator(let key):
      "the enrolment is signed by \(short(key)), which is not this log's operator"
    case .clockAhead(let ahead):
      "the entry is dated \(ahead / 1000) s in the future; set the clock of whoever recorded it"
    case .timeWentBack: "the entry was taken earlier than the one before it"
    case .unknownPurpose(let purpose):
      "no policy names the purpose “\(purpose)”; check its spelling, or have a policy with it approved"
    case .needsApprovals(let found):
      "the policy in force asks two officers to approve an erasure, \(found) did"
    case .otherPolicy:
      "the grant does not name the policy in force; synchronise with the ledger and record it again"
    case .grantRefused(let refusal): "the policy does not allow this grant: \(refusal)"
    case .nothingToApprove: "there is no proposed policy with this digest; propose it first"
    case .approvesOwnProposal: "whoever proposed a policy cannot approve it: a second officer has to"
    case .conflictingEntry(let identity): "\(identity) is in the log already with other content"
    case .refused(let position, let reason): "entry \(position) of the batch was refused: \(reason)"
    case .otherLog(let path, let field): "\(path) belongs to a log with another \(field)"
    case .rolledBack(let signed, let found):
      """
      the ledger holds \(found) entries but \(signed) were signed: an older copy was restored; \
      restore the newest one, because signing on would fork the log
      """
    case .inconsistentTree(let size):
      "the ledger's entries do not give the root that was signed at size \(size); restore an intact copy"
    case .signerStateMissing(let path):
      "the signer's state \(path) is missing but the ledger is not empty; restore it"
    case .signerStateChanged(let path): "the signer's state \(path) was changed by another process"
    case .commitUncertain(let step):
      "it is not known whether the last commit was stored (\(step)); reopen the ledger"
    case .outOfRange(let size): "the request lies outside the log of \(size) entries or asks for too much"
    case .staleCheckpoint(let age, let maximum):
      age.map { "the newest checkpoint is \($0) s old but may be \(maximum) s old at most" }
        ?? "there is no checkpoint of the log yet"
    case .noPolicy:
      "no consent policy is in force, so nothing is permitted; an officer has to propose one and another approve it"
    case .noQuorum(let found, let required):
      "only \(found) other witnesses have lately confirmed the ledger, \(required) are required"
    case .behindReceipt(let acknowledged, let verified):
      """
      the log acknowledged an entry of this node in a tree of \(acknowledged) entries, but shows only \
      \(verified): it was restored from an older copy or holds entries back; nothing is permitted until then
      """
    case .checkpointFromTheFuture(let ahead):
      "the checkpoint is dated \(ahead) s in the future; set the clocks of node and server"
    case .outdatedCheckpoint: "the checkpoint is older than the one held"
    case .forked(let size): "the log shows another history at size \(size) than before: it was forked"
    case .shrunk(let known, let offered):
      "the log had \(known) entries and now shows \(offered): entries were removed"
    case .wrongAnswer(let requested, let received):
      "the log sent \(received) entries where \(requested) were asked for"
    case .unreadableEntry(let index): "entry \(index) of the log is not readable or not validly signed"
    case .concurrentAdvance: "another task advanced the mirror at the same time; ask again"
    case .wrongVaultKey(let path):
      "the vault \(path) was written under another key; restore the matching key file"
    case .damagedVault(let path): "a row of the vault \(path) is damaged; restore it from a backup"
    case .subjectBeingErased: "the customer is being erased: nothing new may be kept about them"
    case .residueRemains(let path):
      """
      pieces of an erased key are still in the files of \(path): close every program that has it open and \
      erase again
      """
    case .malformedDocument(let why): "the document is not in its form: \(why)"
    case .unknownSubject: "nothing was ever recorded about that customer at this node"
    case .changedFile(let name, let how): "the file \(name) of the export \(how)"
    case .brokenAccessLog(let path, let line, let reason):
      "the access log \(path) was changed at \(line == 0 ? "its end" : "line \(line)"): \(reason)"
    case .archive(let why): "the file cannot go into the archive: \(why)"
    }
  }

  private func short(_ key: VerifyingKey) -> String { "\(key.hex.prefix(16))…" }
}
