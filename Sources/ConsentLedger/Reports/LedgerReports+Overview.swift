import Consent
import Cryptography
import Foundation
import MerkleLog

extension LedgerReports {
  /// How consent stands and stood, by purpose, state and month; eligibility by round; witnesses.
  package func overview() throws(LedgerError) -> ReportAnswer {
    let standings = try standings()
    let rounds = try allRounds()
    let inForce = standings.groups.reduce(0) { $0 + $1[ConsentStandings.Group.inForce.rawValue] }
    return answer(
      .overview, .information,
      "\(standings.events) events of \(standings.subjects) customers, \(standings.erased) of them erased; "
        + "\(inForce) grants are in force; \(rounds.count) rounds",
      tables: [
        standingTable(standings), monthTable(standings), movementTable(standings), eligibilityTable(rounds),
        witnessTable(),
      ],
      remarks: [
        "A customer counts once for each purpose that an event named. Erased customers are in no group.",
        "In force means: granted, not ended, not restricted, begun and not run out. What else the policy asks of a "
          + "grant is in the answers about minors and about one customer.",
      ], evidence: [])
  }

  private func standingTable(_ standings: ConsentStandings) -> ReportTable {
    let groups = ConsentStandings.Group.allCases
    return ReportTable(
      "standing", "Customers by purpose and state",
      [ReportColumn("purpose", "purpose")]
        + groups.map { ReportColumn($0.title.replacingOccurrences(of: " ", with: "_"), $0.title) },
      rows: standings.purposes.indices.map { position in
        [.text(standings.purposes[position])] + groups.map { .count(standings.groups[position][$0.rawValue]) }
      })
  }

  /// Grants in force at each month's end, and now in the last row.
  private func monthTable(_ standings: ConsentStandings) -> ReportTable {
    var table = ReportTable(
      "months", "Grants in force at the end of the month",
      [ReportColumn("month", "month")]
        + standings.purposes.map { ReportColumn("purpose_\($0)", $0) })
    let now = ReportTime.month(nowMs)
    guard let first = (standings.changes.flatMap(\.keys) + standings.movements.flatMap(\.keys)).min(),
      first <= now
    else { return table }
    var totals = [Int](repeating: 0, count: standings.purposes.count)
    for month in first..<now {
      for position in totals.indices { totals[position] += standings.changes[position][month] ?? 0 }
      table.append([.text(ReportTime.monthText(month))] + totals.map { .count($0) })
    }
    // The month that is not over: what is in force now, not at its end.
    table.append(
      [.text(ReportTime.monthText(now))]
        + standings.groups.map { .count($0[ConsentStandings.Group.inForce.rawValue]) })
    return table
  }

  private func movementTable(_ standings: ConsentStandings) -> ReportTable {
    let movements = ConsentStandings.Movement.allCases
    var table = ReportTable(
      "movements", "Recorded by month, all purposes",
      [
        ReportColumn("month", "month"), ReportColumn("asked", "asked"), ReportColumn("granted", "granted"),
        ReportColumn("refused", "refused"), ReportColumn("ended", "withdrawn, objected, opted out"),
        ReportColumn("run_out", "run out"), ReportColumn("other", "other"),
      ])
    let months = standings.movements.flatMap(\.keys)
    guard let first = months.min(), let last = months.max() else { return table }
    for month in first...last {
      let counts = movements.map { movement in
        standings.movements.reduce(0) { $0 + ($1[month]?[movement.rawValue] ?? 0) }
      }
      table.append([.text(ReportTime.monthText(month))] + counts.map { .count($0) })
    }
    return table
  }

  private func eligibilityTable(_ rounds: [IndexedRound]) -> ReportTable {
    ReportTable(
      "eligibility", "Customers with consent by round",
      [
        ReportColumn("round", "session"), ReportColumn("entry", "entry"), ReportColumn("purpose", "purpose"),
        ReportColumn("eligible", "eligible (noised)"), ReportColumn("participants", "nodes"),
        ReportColumn("survivors", "nodes in the sum"), ReportColumn("result", "result"),
      ],
      rows: rounds.map { round in
        [
          .integer(round.number), .count(round.index), .text(round.purpose.description),
          .optional(round.eligible), .integer(round.participants), .integer(round.survivors),
          .text(round.result),
        ]
      })
  }

  /// When each witness last signed: what the caller knows, and the checkpoint's own cosignatures by enrolled
  /// keys.
  package func witnesses() -> [ReportedWitness] {
    let checkpoint = reader.checkpoint
    var latest: [String: ReportedWitness] = [:]
    for sighting in sources.witnesses {
      if let known = latest[sighting.name], known.timeMs >= sighting.timeMs { continue }
      latest[sighting.name] = sighting
    }
    guard let note = try? SignedNote(parsing: checkpoint.noteText) else { return Array(latest.values) }
    for (key, enrolment) in rules.enrolments {
      // A line that does not verify is no sighting; other people's lines are none of ours.
      guard let verifier = try? Witness.verifier(origin: checkpoint.checkpoint.origin, key: key),
        let time = try? note.verify(verifier)
      else { continue }
      let sighting = ReportedWitness(
        name: enrolment.name, timeMs: Int64(time) * 1000, size: checkpoint.checkpoint.size)
      if let known = latest[enrolment.name], known.timeMs >= sighting.timeMs { continue }
      latest[enrolment.name] = sighting
    }
    return latest.values.sorted { ($0.timeMs, $0.name) < ($1.timeMs, $1.name) }
  }

  private func witnessTable() -> ReportTable {
    var table = ReportTable(
      "witnesses", "Witnesses of the log",
      [
        ReportColumn("witness", "witness"), ReportColumn("time", "last signed"),
        ReportColumn("size", "at size"),
        ReportColumn("age_seconds", "age, s"),
      ])
    for sighting in witnesses() {
      let age = Double(max(0, nowMs - sighting.timeMs)) / 1000
      table.append([
        .text(sighting.name), .text(ReportTime.text(sighting.timeMs)), .count(sighting.size), .number(age),
      ])
    }
    return table
  }
}
