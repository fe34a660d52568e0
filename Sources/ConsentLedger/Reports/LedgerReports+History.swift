import Cryptography
import Foundation
import GRDB
import MerkleLog

extension LedgerReports {
  // MARK: 8

  /// Has history been changed since a checkpoint that somebody kept?
  /// - Parameter note: the kept checkpoint's signed note.
  package func history(since note: String) throws(LedgerError) -> ReportAnswer {
    var checks = ReportTable(
      "checks", "What was checked", [ReportColumn("check", "check"), ReportColumn("result", "result")])
    let old: SignedCheckpoint
    do {
      old = try SignedCheckpoint.verify(note, reader.verifiers)
    } catch {
      checks.append([.text("signatures of the kept checkpoint"), .text("\(error)")])
      return historyAnswer(
        .attention, "the kept checkpoint is not one of this log: \(error)", nil, [checks], [])
    }
    checks.append([.text("signatures of the kept checkpoint"), .text("right")])
    let new = reader.checkpoint
    guard old.checkpoint.size <= new.checkpoint.size else {
      checks.append([.text("size"), .text("smaller than the kept checkpoint's")])
      return historyAnswer(
        .attention,
        "this copy has \(new.checkpoint.size) entries, the kept checkpoint \(old.checkpoint.size): "
          + "entries are missing, or this copy is older than the checkpoint", old, [checks], [])
    }
    let proof = try reader.consistencyProof(from: old.checkpoint.size)
    do {
      try proof.verify(oldRoot: old.checkpoint.root, newRoot: new.checkpoint.root)
    } catch {
      checks.append([.text("consistency proof"), .text("does not lead from one root to the other")])
      return historyAnswer(
        .attention, "HISTORY WAS CHANGED: the log does not begin with the entries of the kept checkpoint",
        old,
        [checks], [])
    }
    checks.append([.text("consistency proof"), .text("right, \(proof.path.count) hashes")])
    var hashes = ReportTable(
      "proof", "The consistency proof (RFC 9162, 2.1.4)",
      [ReportColumn("position", "position"), ReportColumn("hash", "SHA-256")])
    for (position, hash) in proof.path.enumerated() { hashes.append([.count(position), .text(hash.hex)]) }
    return historyAnswer(
      .fine,
      "no: the log of \(new.checkpoint.size) entries begins with the \(old.checkpoint.size) entries of the kept "
        + "checkpoint, unchanged", old, [checks, try additions(since: old.checkpoint.size), hashes], [])
  }

  private func historyAnswer(
    _ verdict: ReportVerdict, _ summary: String, _ old: SignedCheckpoint?, _ tables: [ReportTable],
    _ evidence: [UInt64]
  ) -> ReportAnswer {
    var filters: [ReportFilter] = []
    if let old {
      filters = [
        ReportFilter("since size", String(old.checkpoint.size)),
        ReportFilter("since root", old.checkpoint.root.hex),
        ReportFilter("since time", ReportTime.text(Int64(old.timestampSeconds) * 1000)),
      ]
    }
    return answer(
      .history, verdict, summary, filters: filters, tables: tables,
      remarks: [
        "Proven: both checkpoints are signed by the log's key, and the second tree begins with the first one.",
        "Not proven here: that these files hold the leaves of the tree (`accord ledger verify` recomputes every "
          + "hash), nor that everybody saw the same checkpoint (compare with the witnesses').",
      ], evidence: evidence)
  }

  private func additions(since size: UInt64) throws(LedgerError) -> ReportTable {
    let rows = try query { [upper = self.size] db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT 'consent' AS kind, count(*) FROM event WHERE idx >= :from AND idx < :to
          UNION ALL SELECT 'request', count(*) FROM step WHERE idx >= :from AND idx < :to
          UNION ALL SELECT 'round', count(*) FROM round WHERE idx >= :from AND idx < :to
          UNION ALL SELECT 'other', count(*) FROM other WHERE idx >= :from AND idx < :to
          """, arguments: ["from": Int64(size), "to": upper]
      ).map { [ReportCell.text(try $0.decode(atIndex: 0)), .integer(try $0.decode(atIndex: 1))] }
    }
    return ReportTable(
      "added", "Entries added since", [ReportColumn("kind", "kind"), ReportColumn("entries", "entries")],
      rows: rows)
  }
}
