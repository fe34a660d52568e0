package import Consent
package import Cryptography
import Foundation
import GRDB
package import MerkleLog

/// What a customer gets who asks for their data (GDPR Art. 15 and 20, CCPA §1798.110): every record with its
/// proof, the notices that were shown, the rounds with the evidence of the decision, and the verifier
/// (protocol/CONSENT-LEDGER.md, "Exports and packages").
package struct SubjectPackage: Sendable {
  /// The files.
  package let archive: ZipArchive
  /// Whose.
  package let tag: SubjectTag
  /// How many records.
  package let events: Int
  /// How many rounds with evidence.
  package let rounds: Int
  /// The checkpoint that the proofs lead to.
  package let checkpoint: Checkpoint

  private struct Summary: Encodable {
    let checkpoint_root: String
    let checkpoint_size: UInt64
    let created: Int64
    let customer: String
    let decisions: [Decision]
    let events: [UInt64]
    let origin: String
    let payloads: [Payload]
    let policy: String?
    let subject: String
    let uses: [Use]
  }
  private struct Decision: Encodable {
    let decided_by: UInt64?
    let permitted: Bool
    let purpose: String
    let reason: String
  }
  private struct Payload: Encodable {
    let event: String
    let payload: ConsentPayload
  }
  private struct Use: Encodable {
    let round: UInt64
    let session: String
    let time: Int64
  }
  private struct Evidence: Encodable {
    struct Decision: Encodable {
      let index: Position
      let reason: String
      let rules: String
    }
    let decision: Decision
    let path: String
    let position: UInt64
    let salt: String
    let session: String
    let size: UInt64
    let tag: String
  }
  /// An index, or `none`.
  private enum Position: Encodable {
    case none
    case index(UInt64)
    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .none: try container.encode("none")
      case .index(let value): try container.encode(value)
      }
    }
  }
  private struct Manifest: Encodable {
    let created: Int64
    let files: [String: String]
    let format: String
    let origin: String
    let signer: String
  }

  /// Collects everything that a node has about a customer.
  /// - Parameters:
  ///   - directory: the node's data directory, for its copy of the log.
  ///   - key: the node's key, which signs the manifest.
  ///   - verifier: the bytes of `verify_ledger.py`, which go with the package.
  package static func make(
    subject: String, vault: SubjectVault, directory: String, key: SigningKey, verifier: [UInt8], nowMs: Int64
  ) throws -> SubjectPackage {
    guard let tag = try vault.tag(for: subject, create: false) else {
      throw LedgerError.unknownSubject
    }
    let reader = try LedgerFileReader(directory: directory)
    let index = try reader.index()
    var collected = Collector(reader: reader, nowMs: nowMs)
    let positions = (try index.positions(of: [tag])[tag] ?? []).filter { $0 < reader.size }
    let steps = try index.requestSteps(of: tag).filter { $0 < reader.size }
    var events: [IndexedEvent] = []
    for position in (positions + steps).sorted() {
      let entry = try reader.entry(position)
      try collected.add("events/\(position).tlog-proof", proofOf: position)
      guard case .consent(let event) = entry.body else { continue }
      try collected.addNotice(event.noticeHash, vault)
      // As the gate reads it: what another node granted does not count here.
      let isPermissive = event.state.isGrant || event.state == .restrictionLifted
      if isPermissive, entry.signer != key.verifyingKey { continue }
      events.append(IndexedEvent(index: LeafIndex(position), event: event))
    }
    let uses = try vault.rounds(of: subject)
    let evidence = try collected.addRounds(uses, subject, vault, index, known: Set(positions))
    try collected.addJSON("rounds.json", evidence)
    let policy = try reader.rules().current
    let decisions = policy.map { Self.decisions(events, $0.policy, nowMs: nowMs) }
    try collected.addJSON(
      "summary.json",
      Summary(
        checkpoint_root: reader.checkpoint.checkpoint.root.hex, checkpoint_size: reader.size, created: nowMs,
        customer: subject, decisions: decisions ?? [], events: (positions + steps).sorted(),
        origin: reader.verifiers.origin,
        payloads: try vault.payloads(of: subject).map { Payload(event: $0.eventID.hex, payload: $0.payload) },
        policy: policy?.digest.hex, subject: tag.hex,
        uses: uses.map { Use(round: $0.round, session: $0.sessionID.hex, time: $0.timeMs) }))
    guard let enrolment = try index.enrolment(of: key.verifyingKey, reader) else {
      throw LedgerError.notEnrolled(signer: key.verifyingKey)
    }
    try collected.add("enrolment.tlog-proof", proofOf: enrolment)
    try collected.add(
      "keys.json",
      LedgerKeys(verifiers: reader.verifiers, operatorKey: try reader.rules().operatorKey).bytes)
    try collected.add("verify_ledger.py", verifier)
    try collected.seal(key: key)
    return SubjectPackage(
      archive: collected.archive, tag: tag, events: positions.count + steps.count, rounds: evidence.count,
      checkpoint: reader.checkpoint.checkpoint)
  }

  private static func decisions(_ events: [IndexedEvent], _ policy: Policy, nowMs: Int64) -> [Decision] {
    policy.purposes.map { purpose in
      let decision = decide(events: events, purpose: purpose.reference, policy: policy, nowMs: nowMs)
      return Decision(
        decided_by: decision.decidedBy?.value, permitted: decision.permitted, purpose: purpose.id,
        reason: decision.reason.rawValue)
    }
  }

  private struct Collector {
    let reader: LedgerFileReader
    let nowMs: Int64
    var archive: ZipArchive
    private var digests: [String: String] = [:]

    init(reader: LedgerFileReader, nowMs: Int64) {
      self.reader = reader
      self.nowMs = nowMs
      archive = ZipArchive(timeMs: nowMs)
    }

    mutating func add(_ name: String, _ bytes: [UInt8]) throws {
      try archive.add(name, bytes)
      digests[name] = Hash.sha256(bytes).hex
    }

    mutating func addJSON(_ name: String, _ value: some Encodable) throws {
      try add(name, try EntryCoding.encode(value))
    }

    mutating func add(_ name: String, proofOf position: UInt64) throws {
      guard digests[name] == nil else { return }
      try add(name, Array(try reader.proof(position).encoded.utf8))
    }

    mutating func addNotice(_ hash: String?, _ vault: SubjectVault) throws {
      guard let hash, let digest = try? Digest(hex: hash), digests["notices/\(hash).txt"] == nil,
        let notice = try vault.notice(hash: digest)
      else { return }
      try add("notices/\(hash).txt", Array(notice.text.utf8))
    }

    mutating func addRounds(
      _ uses: [RoundUse], _ subject: String, _ vault: SubjectVault, _ index: LedgerIndex, known: Set<UInt64>
    ) throws -> [Evidence] {
      var evidence: [Evidence] = []
      for use in uses {
        guard let position = try index.round(session: use.sessionID), position < reader.size,
          case .round(let record) = try reader.entry(position).body
        else { continue }
        for (root, opening) in try vault.evidenceOpenings(sessionID: use.sessionID, subjectID: subject)
        where record.evidenceRoots.contains(root) {
          try add("rounds/\(use.sessionID.hex).tlog-proof", proofOf: position)
          let decision = opening.item.decision
          evidence.append(
            Evidence(
              decision: Evidence.Decision(
                index: decision.decidedBy.map { .index($0.value) } ?? .none,
                reason: decision.reason.rawValue, rules: String(opening.item.rulesVersion)),
              path: Data(opening.proof.path.flatMap(\.bytes)).base64EncodedString(),
              position: opening.proof.index, salt: opening.leafSalt.hex, session: use.sessionID.hex,
              size: opening.proof.size, tag: opening.item.tag.hex))
        }
      }
      return evidence
    }

    mutating func seal(key: SigningKey) throws {
      let manifest = try EntryCoding.encode(
        Manifest(
          created: nowMs, files: digests, format: "accord-subject-package-v1",
          origin: reader.verifiers.origin, signer: key.verifyingKey.hex))
      try archive.add("manifest.json", manifest)
      try archive.add(
        "manifest.sig", Array(key.sign(domain: "accord manifest v1", [manifest]).hex.utf8))
    }
  }
}

extension LedgerFileReader {
  /// The receipt of an entry under the checkpoint in the file.
  package func proof(_ index: UInt64) throws(LedgerError) -> TransparencyProof {
    TransparencyProof(
      extra: try leaf(index), index: index, path: try inclusionProof(index).path,
      checkpointNote: checkpoint.noteText)
  }
}

extension LedgerIndex {
  /// Where a session's record stands.
  package func round(session: Digest) throws(LedgerError) -> UInt64? {
    try read { db in
      try UInt64.fetchOne(
        db, sql: "SELECT idx FROM round WHERE session = ?", arguments: [Data(session.bytes)])
    }
  }

  /// Where the steps of a customer's requests stand.
  package func requestSteps(of tag: SubjectTag) throws(LedgerError) -> [UInt64] {
    try read { db in
      try UInt64.fetchAll(
        db, sql: "SELECT idx FROM step WHERE subject = ? ORDER BY idx", arguments: [Data(tag.bytes)])
    }
  }

  /// Where the enrolment of a key stands.
  package func enrolment(of key: VerifyingKey, _ reader: LedgerFileReader) throws(LedgerError) -> UInt64? {
    let positions = try read { db in
      try UInt64.fetchAll(
        db, sql: "SELECT idx FROM other WHERE kind = ? ORDER BY idx", arguments: [EntryKind.enrolment.code])
    }
    for position in positions where position < reader.size {
      if case .enrolment(let record) = try reader.entry(position).body, record.nodeKey == key {
        return position
      }
    }
    return nil
  }
}
