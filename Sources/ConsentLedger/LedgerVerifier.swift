package import Consent
package import Cryptography
import Foundation
import GRDB
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
    /// Rounds.
    package internal(set) var rounds = 0
    /// Notices.
    package internal(set) var notices = 0
    /// Signed checkpoints in the history.
    package internal(set) var checkpoints = 0
    /// Entries at the end that no checkpoint covers yet: a commit is under way or was cut off.
    package internal(set) var unsigned: UInt64 = 0
  }

  /// The log's name, empty if it could not be read.
  package internal(set) var origin = ""
  /// The entries that were recomputed and are right.
  package internal(set) var size: UInt64 = 0
  /// The root of these entries.
  package internal(set) var root = MerkleTree.emptyRoot
  /// The keys that the checkpoints were verified with; nil if they could not be read.
  package internal(set) var verifiers: CheckpointVerifiers?
  /// The first thing that is wrong, with the entry that it concerns; nil if nothing is.
  package internal(set) var firstProblem: String?
  /// The entry that `firstProblem` concerns, if it concerns one.
  package internal(set) var firstBadEntry: LeafIndex?
  /// How much was checked.
  package internal(set) var counts = Counts()

  /// Whether everything was recomputed and is right.
  package var verified: Bool { firstProblem == nil }
}

/// Recomputes a ledger from its files alone, reading only, also while a server writes it: every leaf hash,
/// every stored node, every checkpoint's root and signatures, the signer's state, every entry's form,
/// signature and enrolment, and every derived row.
package enum LedgerVerifier {
  /// Verifies the ledger of a directory.
  ///
  /// Without `pinned`, the log's keys are taken from the ledger itself: that shows that it is consistent with
  /// these keys, and it is for the caller to compare `verifiers` with the keys it knows.
  package static func verify(directory: String, pinned: CheckpointVerifiers? = nil) -> LedgerVerification {
    var run = VerifierRun(directory: directory, pinned: pinned)
    do {
      // Before the snapshot: a commit stages entries first and signs after, so the snapshot holds all of it.
      let state = try DurableFile.read(LedgerFiles.signerState(directory))
      let queue = try DurableDatabase.openReadOnly(LedgerFiles.database(directory), LedgerFiles.schema)
      try queue.read { try run.check($0, signerState: state) }
    } catch let problem as VerifierRun.Problem {
      run.report.firstProblem = problem.text
      run.report.firstBadEntry = problem.entry.map { LeafIndex($0) }
    } catch let error as LedgerError {
      run.report.firstProblem = error.description
    } catch let error as StorageError {
      run.report.firstProblem = error.description
    } catch {
      let path = LedgerFiles.database(directory)
      run.report.firstProblem = DurableDatabase.translate(error, path).description
    }
    return run.report
  }
}

/// One verification under way.
private struct VerifierRun {
  struct Problem: Error {
    let text: String
    var entry: UInt64?
  }

  let directory: String
  let pinned: CheckpointVerifiers?
  var report = LedgerVerification()
  private var range = CompactRange()
  private var nodeCount: UInt64 = 0
  private var enrolments: [VerifyingKey: EnrolmentRecord] = [:]
  private var operatorKey: VerifyingKey?

  init(directory: String, pinned: CheckpointVerifiers?) {
    self.directory = directory
    self.pinned = pinned
  }

  mutating func check(_ db: Database, signerState: [UInt8]?) throws {
    let tables = LedgerTables(db)
    let verifiers = try readKeys(tables)
    let signed = try readSignerState(signerState, verifiers)
    var roots = try readCheckpoints(db, verifiers)
    if let root = roots[signed.size], root != signed.root {
      throw Problem(text: "the signer's state and the checkpoint of size \(signed.size) show different roots")
    }
    roots[signed.size] = signed.root
    try compareRoot(&roots)

    let leaves = try Row.fetchCursor(db, sql: "SELECT idx, identity, bytes FROM leaf ORDER BY idx")
    while let row = try leaves.next() {
      let index = range.size
      guard try row.decode(Int64.self, atIndex: 0) == Int64(index) else {
        throw Problem(text: "entry \(index) is missing", entry: index)
      }
      let bytes = try row.decode(Data.self, atIndex: 2)
      try checkLeaf(Array(bytes), identity: try row.decode(atIndex: 1), index: index, verifiers, tables)
      try compareRoot(&roots)
      report.size = range.size
      report.root = range.root
    }
    try checkTotals(db, roots, signed)
  }

  // MARK: Keys and checkpoints

  private mutating func readKeys(_ tables: LedgerTables) throws -> CheckpointVerifiers {
    guard let origin = try tables.field("origin"), let logKey = try tables.field("log key"),
      let freshnessKey = try tables.field("freshness key")
    else { throw Problem(text: "the ledger does not name its log and its keys") }
    let verifiers: CheckpointVerifiers
    do {
      verifiers = try CheckpointVerifiers(
        origin: String(decoding: origin, as: UTF8.self), logKey: try VerifyingKey(logKey),
        freshnessKey: try VerifyingKey(freshnessKey))
      operatorKey = try tables.operatorKey()
    } catch { throw Problem(text: "the ledger's name or keys are malformed: \(error)") }
    report.origin = verifiers.origin
    report.verifiers = verifiers
    if let pinned, pinned != verifiers {
      throw Problem(text: "the ledger is signed with other keys than the ones pinned")
    }
    return verifiers
  }

  private func readSignerState(_ bytes: [UInt8]?, _ verifiers: CheckpointVerifiers) throws -> Checkpoint {
    let path = LedgerFiles.signerState(directory)
    guard let bytes else { throw Problem(text: "the signer's state \(path) is missing") }
    do {
      return try SignedCheckpoint.verify(String(decoding: bytes, as: UTF8.self), verifiers).checkpoint
    } catch { throw Problem(text: "the signer's state \(path) is not valid: \(error)") }
  }

  private mutating func readCheckpoints(
    _ db: Database, _ verifiers: CheckpointVerifiers
  ) throws -> [UInt64: Digest] {
    var roots: [UInt64: Digest] = [:]
    let rows = try Row.fetchCursor(db, sql: "SELECT size, root, note FROM checkpoint ORDER BY size")
    while let row = try rows.next() {
      let size = try row.decode(UInt64.self, atIndex: 0)
      let root = try row.decode(Data.self, atIndex: 1)
      let note = try row.decode(String.self, atIndex: 2)
      let checkpoint: Checkpoint
      do {
        checkpoint = try SignedCheckpoint.verify(note, verifiers).checkpoint
      } catch { throw Problem(text: "the checkpoint of size \(size) is not valid: \(error)") }
      guard checkpoint.size == size, checkpoint.root.bytes == Array(root) else {
        throw Problem(text: "the checkpoint of size \(size) does not say what its row says")
      }
      roots[size] = checkpoint.root
      report.counts.checkpoints += 1
    }
    return roots
  }

  private func compareRoot(_ roots: inout [UInt64: Digest]) throws {
    guard let signed = roots.removeValue(forKey: range.size) else { return }
    guard signed == range.root else {
      throw Problem(
        text: "the first \(range.size) entries do not give the root that was signed for them",
        entry: range.size == 0 ? nil : range.size - 1)
    }
  }

  // MARK: Entries

  private mutating func checkLeaf(
    _ bytes: [UInt8], identity: String, index: UInt64, _ verifiers: CheckpointVerifiers,
    _ tables: LedgerTables
  ) throws {
    var completed: [(NodePosition, Digest)] = []
    range.append(leafHash: MerkleTree.leafHash(bytes)) { completed.append(($0, $1)) }
    for (position, hash) in completed {
      let stored: Digest?
      do { stored = try tables.node(position) } catch is LedgerError { stored = nil }
      guard stored == hash else {
        let what = position.level == 0 ? "leaf hash" : "node at \(position)"
        throw Problem(text: "entry \(index) does not give the stored \(what)", entry: index)
      }
      nodeCount += 1
    }
    let entry: LedgerEntry
    do {
      entry = try LedgerEntry(leaf: bytes)
      try admit(entry, verifiers.log.key)
    } catch { throw Problem(text: "entry \(index) is not valid: \(error)", entry: index) }
    guard identity == entry.identity, try derivedRow(of: entry, index, tables.db) else {
      throw Problem(text: "the derived rows of entry \(index) do not match it", entry: index)
    }
  }

  private mutating func admit(_ entry: LedgerEntry, _ logKey: VerifyingKey) throws(LedgerError) {
    switch entry {
    case .enrolment(let record):
      guard record.operatorKey == operatorKey ?? record.operatorKey else {
        throw .foreignOperator(key: record.operatorKey)
      }
      operatorKey = record.operatorKey
      enrolments[record.nodeKey] = record
      report.counts.enrolments += 1
      return
    case .consent: report.counts.consents += 1
    case .round: report.counts.rounds += 1
    case .notice: report.counts.notices += 1
    }
    if entry.kind != .consent, entry.signer == logKey { return }
    guard let enrolment = enrolments[entry.signer], enrolment.kind.maySign(entry.kind) else {
      throw .notEnrolled(signer: entry.signer)
    }
  }

  private func derivedRow(of entry: LedgerEntry, _ index: UInt64, _ db: Database) throws -> Bool {
    let statement: Statement
    let expected: [DatabaseValue]
    switch entry {
    case .consent(let event, _, _):
      statement = try db.cachedStatement(sql: "SELECT subject, purpose, state FROM consent WHERE idx = ?")
      expected = [
        Data(event.subject.bytes).databaseValue, event.purpose.id.databaseValue,
        event.state.rawValue.databaseValue,
      ]
    case .enrolment(let record):
      statement = try db.cachedStatement(
        sql: "SELECT key, name, kind, valid_from FROM enrolment WHERE idx = ?")
      expected = [
        Data(record.nodeKey.bytes).databaseValue, record.name.databaseValue,
        record.kind.rawValue.databaseValue, record.validFromMs.databaseValue,
      ]
    case .round, .notice: return true
    }
    guard let row = try Row.fetchOne(statement, arguments: [Int64(index)]) else { return false }
    return Array(row.databaseValues) == expected
  }

  // MARK: Totals

  /// What is in the tables beside what the leaves account for.
  private mutating func checkTotals(_ db: Database, _ roots: [UInt64: Digest], _ signed: Checkpoint) throws {
    if let size = roots.keys.min() {
      throw Problem(
        text: "\(size) entries were signed but only \(range.size) are there", entry: range.size)
    }
    let expected: [(String, UInt64)] = [
      ("node", nodeCount), ("consent", UInt64(report.counts.consents)),
      ("enrolment", UInt64(report.counts.enrolments)),
    ]
    for (table, count) in expected {
      let found = try UInt64.fetchOne(db, sql: "SELECT count(*) FROM \(table)") ?? 0
      guard found == count else {
        throw Problem(text: "the table \(table) has \(found) rows where the entries account for \(count)")
      }
    }
    report.counts.unsigned = range.size - signed.size
  }
}

extension LedgerVerifier {
  /// The last checkpoint that the ledger of a directory has signed, as a signed note.
  package static func newestCheckpoint(directory: String) throws(LedgerError) -> String {
    let path = LedgerFiles.signerState(directory)
    do throws(StorageError) {
      guard let bytes = try DurableFile.read(path) else { throw .missingFile(path: path) }
      return String(decoding: bytes, as: UTF8.self)
    } catch { throw .storage(error) }
  }
}
