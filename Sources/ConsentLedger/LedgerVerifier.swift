package import Consent
package import Cryptography
import Foundation
package import MerkleLog
import Storage

/// What a verification of a ledger found.
package struct LedgerVerification: Sendable {
  /// How many entries of which kind were checked.
  package struct Counts: Hashable, Sendable {
    /// Consent events.
    package internal(set) var consents = 0
    /// Enrolments.
    package internal(set) var enrolments = 0
    /// Ends of enrolments.
    package internal(set) var revocations = 0
    /// Policies, in force or not.
    package internal(set) var policies = 0
    /// Approvals.
    package internal(set) var approvals = 0
    /// Steps of statutory requests.
    package internal(set) var requests = 0
    /// Rounds.
    package internal(set) var rounds = 0
    /// Notices.
    package internal(set) var notices = 0
    /// Signed checkpoints in the history.
    package internal(set) var checkpoints = 0
    /// Entries at the end that no checkpoint covers yet: a commit is under way or was cut off.
    package internal(set) var unsigned: UInt64 = 0

    mutating func add(_ other: Counts) {
      consents += other.consents
      enrolments += other.enrolments
      revocations += other.revocations
      policies += other.policies
      approvals += other.approvals
      requests += other.requests
      rounds += other.rounds
      notices += other.notices
    }

    mutating func count(_ kind: EntryKind) {
      switch kind {
      case .consent: consents += 1
      case .enrolment: enrolments += 1
      case .revocation: revocations += 1
      case .policy: policies += 1
      case .approval: approvals += 1
      case .request: requests += 1
      case .round: rounds += 1
      case .notice: notices += 1
      }
    }
  }

  /// The log's name, empty if it could not be read.
  package internal(set) var origin = ""
  /// The entries that were recomputed and are right.
  package internal(set) var size: UInt64 = 0
  /// The root of these entries.
  package internal(set) var root = MerkleTree.emptyRoot
  /// The keys that the checkpoints were verified with; nil if they could not be read.
  package internal(set) var verifiers: CheckpointVerifiers?
  /// The operator whose enrolments count; nil if none is named and nobody is enrolled.
  package internal(set) var operatorKey: VerifyingKey?
  /// The newest checkpoint that was verified; nil if there is none.
  package internal(set) var checkpoint: SignedCheckpoint?
  /// The first thing that is wrong, with the entry that it concerns; nil if nothing is.
  package internal(set) var firstProblem: String?
  /// The entry that `firstProblem` concerns, if it concerns one.
  package internal(set) var firstBadEntry: LeafIndex?
  /// How many entries the lookup tables beside the log cover; nil if there are none.
  package internal(set) var indexed: UInt64?
  /// How much was checked.
  package internal(set) var counts = Counts()

  /// Whether everything was recomputed and is right.
  package var verified: Bool { firstProblem == nil }
}

/// Recomputes a ledger from its files alone, reading only, also while a server writes it: every entry's form,
/// signature and right to be there, every hash, every checkpoint's root and signatures, the signer's state, every
/// derived column and table, and that there is nothing else.
package enum LedgerVerifier {
  /// Verifies a server's ledger, or a node's copy, by its directory.
  ///
  /// Without `pinned`, the log's keys are taken from the ledger itself: that shows that it is consistent with
  /// these keys, and it is for the caller to compare `verifiers` and `operatorKey` with the keys it knows.
  /// - Parameters:
  ///   - pinned: the keys that have to have signed.
  ///   - operatorKey: whose enrolments count; by default the one that the file names, or the first.
  ///   - since: a checkpoint that somebody kept: the ledger has to continue it.
  ///   - cores: how many threads check entries; by default all.
  package static func verify(
    directory: String, pinned: CheckpointVerifiers? = nil, operatorKey: VerifyingKey? = nil,
    since: SignedCheckpoint? = nil, cores: Int? = nil
  ) -> LedgerVerification {
    let findings = Findings()
    var report = LedgerVerification()
    do {
      let run = try DatabaseVerification(directory: directory, findings: findings, cores: cores ?? Self.cores)
      try run.verify(pinned: pinned, operatorKey: operatorKey, since: since, &report)
    } catch { findings.add(error, path: directory) }
    findings.write(to: &report)
    return report
  }

  static var cores: Int { max(1, ProcessInfo.processInfo.activeProcessorCount) }

  /// The last checkpoint that the ledger of a directory has signed, as a signed note.
  package static func newestCheckpoint(directory: String) throws(LedgerError) -> String {
    try LedgerFileReader.newestSigned(directory: directory).noteText
  }
}
