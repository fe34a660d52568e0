import Consent
import Cryptography
import Foundation
import GRDB

extension LedgerReports {
  // MARK: 3

  /// Who recorded a customer's events, and how; for nobody in particular, who records how much.
  package func recorder(_ subject: ReportSubject? = nil) throws(LedgerError) -> ReportAnswer {
    guard let subject else { return try recorders() }
    let history = try history(of: subject)
    var table = ReportTable(
      "recordings", "Who recorded it",
      [
        ReportColumn("entry", "entry"), ReportColumn("state", "state"), ReportColumn("purpose", "purpose"),
        ReportColumn("actor", "who spoke"), ReportColumn("channel", "channel"),
        ReportColumn("method", "method"),
        ReportColumn("recorder", "recorder"), ReportColumn("node", "node"),
        ReportColumn("node_key", "node's key"),
        ReportColumn("time", "happened"), ReportColumn("recorded", "taken by the ledger"),
        ReportColumn("delay_seconds", "delay, s"),
      ])
    var slow = 0
    for entry in history.entries {
      let event = entry.event
      let delay = Double(entry.recordedMs - event.eventTimeMs) / 1000
      // A day between a word and its record is no till without a network any more.
      if delay > 86_400 { slow += 1 }
      table.append([
        .count(entry.index), .text(event.state.rawValue), .text(event.purpose.id),
        .text(event.actor.rawValue),
        .text(event.channel), .text(event.method), .text(event.recorder), .text(try name(of: entry.signer)),
        .text(entry.signer.hex), .text(ReportTime.text(event.eventTimeMs)),
        .text(ReportTime.text(entry.recordedMs)), .number(delay),
      ])
    }
    guard !history.entries.isEmpty else {
      return unknownSubject(.recorder, history, filters(history), [table])
    }
    let count = history.entries.count
    return answer(
      .recorder, slow > 0 ? .attention : .fine,
      slow > 0
        ? "\(slow) of \(count) events reached the ledger more than a day after they happened"
        : "all \(count) events are signed by an enrolled node and reached the ledger within a day",
      filters: filters(history), tables: [table], remarks: Self.recorderRemarks,
      evidence: history.entries.map(\.index))
  }

  private static let recorderRemarks = [
    "The node's signature and the ledger's time are proven. Recorder, channel and method are what the node says.",
    "The first time is the recorder's clock, the second the ledger's: only the ledger's decides about order.",
  ]

  private func recorders() throws(LedgerError) -> ReportAnswer {
    let rows = try query { [size] db in
      try Row.fetchAll(
        db,
        sql: """
          SELECT c.signer, c.recorder, c.channel, c.method, c.actor, sum(t.count), min(t.first), max(t.latest)
            FROM (SELECT circumstance, count(*) AS count, min(idx) AS first, max(recorded) AS latest
              FROM event WHERE idx < ? GROUP BY circumstance) t
            JOIN circumstance c ON c.id = t.circumstance
            GROUP BY c.signer, c.recorder, c.channel, c.method, c.actor ORDER BY 6 DESC, 7
          """, arguments: [size]
      ).map { row in
        (
          signer: try VerifyingKey(Array(try row.decode(Data.self, atIndex: 0))),
          texts: try (1...3).map { try row.decode(String.self, atIndex: $0) },
          actor: ActorRole(code: try row.decode(atIndex: 4)),
          count: try row.decode(Int64.self, atIndex: 5), first: try row.decode(UInt64.self, atIndex: 6),
          latest: try row.decode(Int64.self, atIndex: 7)
        )
      }
    }
    var table = ReportTable(
      "recorders", "Who records",
      [
        ReportColumn("node", "node"), ReportColumn("recorder", "recorder"),
        ReportColumn("channel", "channel"),
        ReportColumn("method", "method"), ReportColumn("actor", "who spoke"),
        ReportColumn("events", "events"),
        ReportColumn("first_entry", "first entry"), ReportColumn("latest", "latest, by the ledger"),
      ])
    for row in rows {
      table.append([
        .text(try name(of: row.signer)), .text(row.texts[0]), .text(row.texts[1]), .text(row.texts[2]),
        .optional(row.actor?.rawValue), .integer(row.count), .count(row.first),
        .text(ReportTime.text(row.latest)),
      ])
    }
    let total = rows.reduce(0) { $0 + $1.count }
    return answer(
      .recorder, .information,
      "\(rows.count) combinations of node, recorder, channel and method recorded \(total) events",
      tables: [table], remarks: Self.recorderRemarks, evidence: rows.map(\.first))
  }
}
