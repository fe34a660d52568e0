package import Consent
package import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

/// About whom a question is asked.
package enum ReportSubject: Hashable, Sendable {
  /// A customer's id, which the node's vault turns into the tag.
  case customer(String)
  /// A tag as it stands in the log.
  case tag(SubjectTag)
}

/// When a witness saw the log: its name, the time of its cosignature and the size that it signed.
package struct ReportedWitness: Hashable, Sendable, Codable {
  /// The witness's name.
  package let name: String
  /// When it signed, ms of UTC since 1970.
  package let timeMs: Int64
  /// The size of the tree that it signed.
  package let size: UInt64

  /// Names a sighting.
  package init(name: String, timeMs: Int64, size: UInt64) {
    self.name = name
    self.timeMs = timeMs
    self.size = size
  }
}

/// Answers an officer's questions from a log's files, below one checkpoint. Counting is done in the index's
/// tables; what an answer about one customer rests on is read from the leaves, with their signatures checked.
package final class LedgerReports: Sendable {
  /// What the caller knows beside the log.
  package struct Sources: Sendable {
    /// The node's vault: turns customers into tags and knows the rounds that used them.
    package var vault: SubjectVault?
    /// When this node began to deny what entries end.
    package var enforcements: [Enforcement]
    /// This node's key. At a node only its own records can grant, as in the gate; nil counts every node's.
    package var nodeKey: VerifyingKey?
    /// The text of a notice by its hash, if it is kept elsewhere than in the vault.
    package var noticeText: @Sendable (Digest) throws(LedgerError) -> [UInt8]?
    /// When witnesses last saw the log, beside those on the checkpoint itself.
    package var witnesses: [ReportedWitness]

    /// Knows what it is told.
    package init(
      vault: SubjectVault? = nil, enforcements: [Enforcement] = [], nodeKey: VerifyingKey? = nil,
      witnesses: [ReportedWitness] = [],
      noticeText: @escaping @Sendable (Digest) throws(LedgerError) -> [UInt8]? = { _ in nil }
    ) {
      self.vault = vault
      self.enforcements = enforcements
      self.nodeKey = nodeKey
      self.witnesses = witnesses
      self.noticeText = noticeText
    }
  }

  /// The log.
  package let reader: LedgerFileReader
  /// Its tables, at least up to the reader's checkpoint.
  package let index: LedgerIndex
  /// What else is known.
  package let sources: Sources
  /// When the questions are asked, ms of UTC since 1970.
  package let nowMs: Int64
  /// Who may write what after the checkpoint.
  package let rules: LedgerRules
  /// Which policy was in force when.
  package let timeline: PolicyTimeline
  private let cache = Mutex(Cache())

  private struct Cache {
    var standings: ConsentStandings?
    var names: [VerifyingKey: String]?
  }

  /// Prepares to answer. Throws `outOfRange` if the index is behind the checkpoint.
  package init(
    reader: LedgerFileReader, index: LedgerIndex, sources: Sources = Sources(), nowMs: Int64
  ) throws(LedgerError) {
    self.reader = reader
    self.index = index
    self.sources = sources
    self.nowMs = nowMs
    guard try index.size() >= reader.size else { throw .outOfRange(size: try index.size()) }
    rules = try reader.rules()
    var changes: [PolicyTimeline.Change] = []
    let approvals = try index.read { [size = reader.size] db in
      try UInt64.fetchAll(
        db, sql: "SELECT idx FROM other WHERE kind = ? AND idx < ? ORDER BY idx",
        arguments: [EntryKind.approval.code, Int64(size)])
    }
    for position in approvals {
      // `rules()` has just checked the signatures of all of these.
      let entry = try LedgerEntry(unsigned: try reader.leaf(position))
      guard case .approval(let record) = entry.body, record.action == .policy,
        let policy = rules.policies[record.target]
      else { continue }
      changes.append(
        PolicyTimeline.Change(index: position, recordedMs: entry.recordedMs, policy: policy))
    }
    timeline = PolicyTimeline(changes)
  }

  /// The number of entries that answers are based on, as SQL wants it.
  var size: Int64 { Int64(reader.size) }

  /// Reads the index on one snapshot.
  func query<Result>(_ body: (Database) throws -> Result) throws(LedgerError) -> Result {
    try index.read(body)
  }

  /// How every customer stands; computed once.
  package func standings() throws(LedgerError) -> ConsentStandings {
    if let known = cache.withLock({ $0.standings }) { return known }
    let standings = try ConsentStandings.read(
      index, size: size, policy: timeline.current?.policy, nowMs: nowMs)
    cache.withLock { $0.standings = standings }
    return standings
  }

  /// The name under which a key was enrolled, also if it was revoked since.
  package func name(of key: VerifyingKey) throws(LedgerError) -> String {
    if let enrolment = rules.enrolments[key] { return enrolment.name }
    if key == rules.logKey { return "the log itself" }
    if key == rules.operatorKey { return "the operator" }
    let names = try formerNames()
    return names[key].map { "\($0) (revoked)" } ?? "\(key.hex.prefix(16))…"
  }

  private func formerNames() throws(LedgerError) -> [VerifyingKey: String] {
    if let known = cache.withLock({ $0.names }) { return known }
    let positions = try query { db in
      try UInt64.fetchAll(
        db, sql: "SELECT idx FROM other WHERE kind = ? AND idx < ? ORDER BY idx",
        arguments: [EntryKind.enrolment.code, self.size])
    }
    var names: [VerifyingKey: String] = [:]
    for position in positions {
      if case .enrolment(let record) = try reader.entry(position).body { names[record.nodeKey] = record.name }
    }
    cache.withLock { $0.names = names }
    return names
  }

  /// Puts an answer together on this basis.
  func answer(
    _ question: ReportQuestion, _ verdict: ReportVerdict, _ summary: String, filters: [ReportFilter] = [],
    tables: [ReportTable], remarks: [String], evidence: some Sequence<UInt64>
  ) -> ReportAnswer {
    let sorted = Set(evidence).sorted()
    return ReportAnswer(
      question: question, verdict: verdict, summary: summary, basis: basis, filters: filters, tables: tables,
      remarks: remarks, evidence: Array(sorted.prefix(ReportAnswer.maximumEvidence)))
  }

  /// What all answers are based on.
  package var basis: ReportBasis {
    let signed = reader.checkpoint
    return ReportBasis(
      origin: signed.checkpoint.origin, checkpointSize: signed.checkpoint.size,
      checkpointRoot: signed.checkpoint.root.hex,
      checkpointTime: ReportTime.text(Int64(signed.timestampSeconds) * 1000),
      policy: timeline.current?.digest.hex, policyName: timeline.current?.name,
      askedAt: ReportTime.text(nowMs))
  }
}

extension LedgerFileReader {
  /// When the node of this directory began to deny what entries end, newest first; empty for a server.
  package func enforcements(limit: Int = 1_000_000) throws(LedgerError) -> [Enforcement] {
    let path = LedgerFiles.mirror(directory)
    guard DurableFile.exists(path) else { return [] }
    let size = size
    do {
      let queue = try DurableDatabase.openReadOnly(path, LedgerFiles.mirrorSchema)
      return try DurableDatabase.passing(path, { LedgerError.storage($0) }) {
        try queue.read { db in
          try Row.fetchAll(
            db,
            sql: "SELECT idx, recorded, enforced FROM enforcement WHERE idx < ? ORDER BY idx DESC LIMIT ?",
            arguments: [Int64(size), limit]
          ).map { row in
            Enforcement(
              index: LeafIndex(try row.decode(atIndex: 0)), recordedMs: try row.decode(atIndex: 1),
              enforcedMs: try row.decode(atIndex: 2))
          }
        }
      }
    } catch let error as LedgerError {
      throw error
    } catch let error as StorageError {
      throw .storage(error)
    } catch {
      throw .storage(DurableDatabase.translate(error, path))
    }
  }
}
