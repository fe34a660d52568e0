import Consent
package import Cryptography
import Foundation
import GRDB
import MerkleLog
import Synchronization

/// A round in which a subject's data were used.
package struct RoundUse: Hashable, Sendable {
  /// The round's session identifier.
  package let sessionID: Digest
  /// Its number within the task.
  package let round: UInt64
  /// When the session's first use was recorded, ms of UTC since 1970.
  package let timeMs: Int64
}

extension SubjectVault {
  /// Records that the subjects' data were used in a round: unknown subjects are ignored, repeated calls
  /// change nothing.
  package func recordUse(
    sessionID: Digest, round: UInt64, subjects: [String], timeMs: Int64
  ) throws(LedgerError) {
    let keys = heldKeys
    let lookups = Set(subjects).map { keys.lookup($0) }.sorted { $0.lexicographicallyPrecedes($1) }
    try write(keys) { db in
      try db.execute(
        sql: "INSERT OR IGNORE INTO session (session, round, time) VALUES (?, ?, ?)",
        arguments: [Data(sessionID.bytes), Int64(bitPattern: round), timeMs])
      let session = try Int64.fetchOne(
        db, sql: "SELECT id FROM session WHERE session = ?", arguments: [Data(sessionID.bytes)])
      let insert = try db.cachedStatement(
        sql: "INSERT OR IGNORE INTO use (session, subject) SELECT ?, id FROM subject WHERE lookup = ?")
      for lookup in lookups { try insert.execute(arguments: [session, Data(lookup)]) }
    }
  }

  /// The rounds that used the subject's data, oldest first.
  package func rounds(of subjectID: String) throws(LedgerError) -> [RoundUse] {
    let keys = heldKeys
    return try read(keys) { db in
      // The rounds are few, and a subject's uses are scattered among them: one probe a round.
      try Row.fetchAll(
        db,
        sql: """
          SELECT session.session, session.round, session.time FROM session CROSS JOIN use
            ON use.session = session.id
              AND use.subject = (SELECT id FROM subject WHERE lookup = ?)
            ORDER BY session.time, session.round, session.id
          """, arguments: [Data(keys.lookup(subjectID))]
      ).map { row in
        RoundUse(
          sessionID: try Digest(Array(try row.decode(Data.self, atIndex: 0))),
          round: UInt64(bitPattern: try row.decode(Int64.self, atIndex: 1)),
          timeMs: try row.decode(atIndex: 2))
      }
    }
  }

  /// The sessions that used the subject's data: every model that descends from one of them is tainted when
  /// the consent was invalid from the start. Asked before an erasure, which forgets them.
  package func sessions(of subjectID: String) throws(LedgerError) -> Set<Digest> {
    Set(try rounds(of: subjectID).map(\.sessionID))
  }

  // MARK: Evidence

  /// Keeps what is needed to open each subject's leaf of a round's evidence later. Each leaf's content is
  /// sealed under its subject's own key, and the session's salt is not kept: once a subject is erased, nobody
  /// can tell that its tag was among the leaves, and the others' leaves still open, because all leaf hashes
  /// stay.
  /// - Parameter subjects: the customers that the evidence is about; leaves of others are kept as hashes
  ///   only.
  package func storeEvidence(
    _ evidence: DecisionEvidence, sessionID: Digest, subjects: [String], timeMs: Int64
  ) throws(LedgerError) {
    let keys = heldKeys
    let leaves = evidence.items.map { evidence.leaf(of: $0) }
    let positions = Dictionary(
      evidence.items.enumerated().map { ($1.tag, $0) }, uniquingKeysWith: { first, _ in first })
    let lookups = Set(subjects).map { keys.lookup($0) }.sorted { $0.lexicographicallyPrecedes($1) }
    try write(keys) { db in
      try db.execute(
        sql: "INSERT OR IGNORE INTO evidence (session, root, time, leaves) VALUES (?, ?, ?, ?)",
        arguments: [
          Data(sessionID.bytes), Data(evidence.root.bytes), timeMs, Data(leaves.flatMap(\.hash.bytes)),
        ])
      guard db.changesCount == 1 else { return }
      let id = db.lastInsertedRowID
      let rows = try SubjectRows(db, keys)
      let insert = try db.cachedStatement(
        sql: "INSERT INTO evidence_item (evidence, subject, position, sealed) VALUES (?, ?, ?, ?)")
      var found: [(subject: SubjectRow, position: Int)] = []
      for lookup in lookups {
        guard case .known(let subject) = try rows.find(lookup),
          let position = positions[try subject.key.tag]
        else { continue }
        found.append((subject, position))
      }
      for (subject, position) in found.sorted(by: { $0.subject.id < $1.subject.id }) {
        let content = EvidenceLeaf(evidence.items[position], salt: leaves[position].salt).bytes
        let sealed = random.withLock {
          AEAD.seal(content, key: subject.key.evidence, additionalData: evidence.root.bytes, using: &$0)
        }
        try insert.execute(arguments: [id, subject.id, position, Data(sealed)])
      }
    }
  }

  /// The openings of the subject's leaves of a session, each with its root: one for each batch that decided
  /// about the subject. Empty if it is unknown, was not decided about, or the evidence was pruned.
  package func evidenceOpenings(
    sessionID: Digest, subjectID: String
  ) throws(LedgerError) -> [(root: Digest, opening: DecisionEvidence.Opening)] {
    let keys = heldKeys
    return try read(keys) { db in
      guard case .known(let subject) = try SubjectRows(db, keys).find(keys.lookup(subjectID)) else {
        return []
      }
      return try Row.fetchAll(
        db,
        sql: """
          SELECT root, position, sealed, leaves FROM evidence JOIN evidence_item ON evidence = evidence.id
            WHERE session = ? AND subject = ? ORDER BY evidence.id
          """, arguments: [Data(sessionID.bytes), subject.id]
      ).map { row in
        let root = try Digest(Array(try row.decode(Data.self, atIndex: 0)))
        let hashes = Array(try row.decode(Data.self, atIndex: 3))
        let position: Int = try row.decode(atIndex: 1)
        let sealed = Array(try row.decode(Data.self, atIndex: 2))
        guard
          let bytes = try? AEAD.open(sealed, key: subject.key.evidence, additionalData: root.bytes),
          let leaf = EvidenceLeaf(bytes), hashes.count >= 32 * (position + 1)
        else { throw LedgerError.damagedVault(path: path) }
        let opening = DecisionEvidence.Opening(
          item: try leaf.item(tag: subject.key.tag), leafSalt: leaf.salt,
          proof: Self.proof(position, hashes))
        try opening.verify(root: root)
        return (root, opening)
      }
    }
  }

  /// The opening of the subject's leaf of a session that had one batch of evidence; the first one of several.
  package func evidenceOpening(
    sessionID: Digest, subjectID: String
  ) throws(LedgerError) -> DecisionEvidence.Opening? {
    try evidenceOpenings(sessionID: sessionID, subjectID: subjectID).first?.opening
  }

  /// Forgets the evidence of sessions that was stored before a time; their roots in the log stay.
  /// - Returns: How many batches of evidence are gone.
  @discardableResult
  package func pruneEvidence(before timeMs: Int64) throws(LedgerError) -> Int {
    try prune("SELECT id FROM evidence WHERE time < ?", timeMs)
  }

  /// Forgets the evidence of all but the newest sessions.
  /// - Returns: How many batches of evidence are gone.
  @discardableResult
  package func pruneEvidence(keeping sessions: Int) throws(LedgerError) -> Int {
    try prune(
      """
      SELECT id FROM evidence WHERE session NOT IN
        (SELECT session FROM evidence GROUP BY session ORDER BY max(id) DESC LIMIT ?)
      """, Int64(max(0, sessions)))
  }

  private func prune(_ selection: String, _ limit: Int64) throws(LedgerError) -> Int {
    try database.ledgerWrite { db in
      let ids = try Int64.fetchAll(db, sql: selection, arguments: [limit])
      for id in ids {
        try db.execute(sql: "DELETE FROM evidence_item WHERE evidence = ?", arguments: [id])
        try db.execute(sql: "DELETE FROM evidence WHERE id = ?", arguments: [id])
      }
      return ids.count
    }
  }

  private static func proof(_ position: Int, _ hashes: [UInt8]) -> InclusionProof {
    InclusionProof(index: UInt64(position), size: UInt64(hashes.count / 32)) { node in
      var range = CompactRange()
      let first = Int(node.index) << node.level
      for leaf in first..<(first + 1 << node.level) {
        range.append(leafHash: Digest(unchecked: Array(hashes[(32 * leaf)..<(32 * leaf + 32)])))
      }
      return range.root
    }
  }
}

/// What a subject's leaf of evidence says, as it is sealed: permitted (1 byte), rules version (u32 LE), the
/// deciding entry (u64 LE, all ones for none), salt (32 bytes), reason.
struct EvidenceLeaf {
  let decision: ConsentDecision
  let rulesVersion: Int
  let salt: Digest

  init(_ item: DecisionEvidence.Item, salt: Digest) {
    decision = item.decision
    rulesVersion = item.rulesVersion
    self.salt = salt
  }

  var bytes: [UInt8] {
    var bytes: [UInt8] = [decision.permitted ? 1 : 0]
    withUnsafeBytes(of: UInt32(rulesVersion).littleEndian) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: (decision.decidedBy?.value ?? .max).littleEndian) { bytes.append(contentsOf: $0) }
    return bytes + salt.bytes + Array(decision.reason.rawValue.utf8)
  }

  init?(_ bytes: [UInt8]) {
    guard bytes.count > 45, bytes[0] <= 1,
      let reason = ConsentDecision.Reason(rawValue: String(decoding: bytes[45...], as: UTF8.self))
    else { return nil }
    let index = bytes[5..<13].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    rulesVersion = bytes[1..<5].reversed().reduce(0) { $0 << 8 | Int($1) }
    decision = ConsentDecision(
      permitted: bytes[0] == 1, reason: reason, decidedBy: index == .max ? nil : LeafIndex(index))
    salt = Digest(unchecked: Array(bytes[13..<45]))
  }

  func item(tag: SubjectTag) -> DecisionEvidence.Item {
    DecisionEvidence.Item(tag: tag, decision: decision, rulesVersion: rulesVersion)
  }
}
