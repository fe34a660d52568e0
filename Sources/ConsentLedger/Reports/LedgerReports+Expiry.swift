import Consent
import Foundation

extension LedgerReports {
  // MARK: 9

  /// What expires when, and when may we ask again: by month and purpose.
  /// - Parameter horizonMonths: later months are one row.
  package func expiry(purpose: String? = nil, horizonMonths: Int = 24) throws(LedgerError) -> ReportAnswer {
    let standings = try standings()
    let chosen = standings.purposes.indices.filter { purpose == nil || standings.purposes[$0] == purpose }
    let columns = chosen.map { ReportColumn("purpose_\(standings.purposes[$0])", standings.purposes[$0]) }
    var expiring = ReportTable(
      "expiring", "Grants in force that run out", [ReportColumn("month", "month")] + columns)
    var askable = ReportTable(
      "askable", "Customers without consent who may be asked again",
      [ReportColumn("month", "from month")] + columns)
    let now = ReportTime.month(nowMs)
    fill(&expiring, chosen.map { standings.expiring[$0] }, from: now, count: horizonMonths)
    fill(&askable, chosen.map { standings.askable[$0] }, from: now, count: horizonMonths)
    let totals = ReportTable(
      "totals", "Grants in force",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("in_force", "in force"),
        ReportColumn("endless", "without an end"), ReportColumn("this_month", "run out this month"),
        ReportColumn("run_out", "run out already"), ReportColumn("ask_now", "may be asked now"),
      ],
      rows: chosen.map { position in
        let groups = standings.groups[position]
        return [
          .text(standings.purposes[position]), .count(groups[ConsentStandings.Group.inForce.rawValue]),
          .count(standings.endless[position]), .count(standings.expiring[position][now] ?? 0),
          .count(groups[ConsentStandings.Group.runOut.rawValue]),
          .count(standings.askable[position][now] ?? 0),
        ]
      })
    let soon = chosen.reduce(0) { sum, position in
      sum + (0..<3).reduce(0) { $0 + (standings.expiring[position][now + $1] ?? 0) }
    }
    let inForce = chosen.reduce(0) { $0 + standings.groups[$1][ConsentStandings.Group.inForce.rawValue] }
    return answer(
      .expiry, .information,
      "of \(inForce) grants in force \(soon) run out in this and the next two months",
      filters: purpose.map { [ReportFilter("purpose", $0)] } ?? [], tables: [totals, expiring, askable],
      remarks: [
        "Expiry is evaluated when data are read: a grant that ran out permits nothing, logged or not.",
        "Asking again: after a no the policy's waiting time from the event's own time, or the event's if later; "
          + "a withdrawn or expired customer may give consent at any time on their own initiative.",
        "Opt-out customers who never answered are not counted: silence is no consent.",
      ], evidence: [])
  }

  private func fill(_ table: inout ReportTable, _ months: [[Int: Int]], from now: Int, count: Int) {
    func row(_ title: String, _ value: ([Int: Int]) -> Int) -> [ReportCell] {
      [.text(title)] + months.map { .count(value($0)) }
    }
    for month in now..<(now + max(1, count)) {
      table.append(row(ReportTime.monthText(month)) { $0[month] ?? 0 })
    }
    let end = now + max(1, count)
    table.append(row("later") { $0.reduce(0) { $1.key >= end ? $0 + $1.value : $0 } })
  }

  /// The same for one customer, purpose by purpose.
  package func expiry(of subject: ReportSubject) throws(LedgerError) -> ReportAnswer {
    let history = try history(of: subject)
    var table = ReportTable(
      "customer", "This customer",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("permitted", "permitted now"),
        ReportColumn("reason", "reason"), ReportColumn("entry", "deciding entry"),
        ReportColumn("expires", "expires"), ReportColumn("ask_again", "not asked before"),
      ])
    guard !history.entries.isEmpty else { return unknownSubject(.expiry, history, filters(history), [table]) }
    guard let logged = timeline.current else {
      return answer(
        .expiry, .unknown, "no policy is in force, so nothing is permitted and nothing may be asked",
        filters: filters(history), tables: [table], remarks: [], evidence: [])
    }
    for purpose in logged.policy.purposes {
      let decision = decide(
        events: history.events, purpose: purpose.reference, policy: logged.policy, nowMs: nowMs)
      let standing = ConsentStanding(
        events: history.events, purpose: purpose.reference, policy: logged.policy)
      let grant = history.entries.last { $0.index == decision.decidedBy?.value }
      table.append([
        .text(purpose.id), .flag(decision.permitted), .text(decision.reason.rawValue),
        .optional(decision.decidedBy.map { Int64($0.value) }),
        .optional(grant?.event.expiresAtMs.map(ReportTime.text)),
        .optional(standing.askAgainAtMs.map(ReportTime.text)),
      ])
    }
    return answer(
      .expiry, .information, "as of \(ReportTime.text(nowMs)) under \(logged.name)",
      filters: filters(history),
      tables: [table], remarks: [], evidence: history.entries.map(\.index))
  }

  // MARK: 10

  /// Minors and sensitive purposes: whose grants are in force, and which of them should not be.
  package func minors() throws(LedgerError) -> ReportAnswer {
    let standings = try standings()
    let policy = timeline.current?.policy
    var table = ReportTable(
      "grants", "Grants in force of minors, of unknown age, and for sensitive purposes",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("version", "version"),
        ReportColumn("sensitive", "sensitive"), ReportColumn("minors", "minors"),
        ReportColumn("age", "age"), ReportColumn("jurisdiction", "jurisdiction"),
        ReportColumn("consent_age", "may agree alone from"), ReportColumn("actor", "who spoke"),
        ReportColumn("type", "expressed"), ReportColumn("grants", "grants in force"),
        ReportColumn("first_entry", "first entry"), ReportColumn("problem", "problem"),
      ])
    var wrong = 0
    var young = 0
    var sensitive = 0
    var evidence: [UInt64] = []
    for circumstance in Self.merged(standings) {
      let purpose = policy?.purpose(circumstance.purpose.id)
      let isMinor = circumstance.ageBand.isBelow(18) ?? false
      guard isMinor || circumstance.ageBand == .unknown || purpose?.sensitive == true else { continue }
      let consentAge = policy?.consentAge(
        residences: Jurisdiction.place(circumstance.jurisdiction).map { [$0] } ?? [])
      let problem = Self.problem(circumstance, purpose, consentAge: consentAge)
      if problem != nil { wrong += circumstance.inForce }
      if isMinor { young += circumstance.inForce }
      if purpose?.sensitive == true { sensitive += circumstance.inForce }
      if let first = circumstance.firstGrant { evidence.append(first) }
      table.append([
        .text(circumstance.purpose.id), .count(circumstance.purpose.version),
        purpose.map { .flag($0.sensitive) } ?? .none, .optional(purpose?.minors.rawValue),
        .text(circumstance.ageBand.rawValue), .text(circumstance.jurisdiction),
        .optional(consentAge.map { Int64($0) }), .text(circumstance.actor.rawValue),
        .text(circumstance.consentType.rawValue), .count(circumstance.inForce),
        .optional(circumstance.firstGrant.map { Int64($0) }), .optional(problem),
      ])
    }
    let verdict: ReportVerdict = policy == nil ? .unknown : wrong > 0 ? .attention : .fine
    let summary =
      policy == nil
      ? "no policy is in force, so nothing says what minors may agree to"
      : "\(young) grants of minors and \(sensitive) for sensitive purposes are in force; "
        + (wrong > 0
          ? "\(wrong) grants would not permit anything under the policy in force"
          : "none of them lacks what the policy asks for")
    return answer(
      .minors, verdict, summary, tables: [table, purposeRules(policy)],
      remarks: [
        "The age is the band recorded with the grant; a later event may have named another, which the decision "
          + "about one customer weighs.",
        "A grant that the policy does not accept permits nothing: it is listed so that somebody asks again.",
      ], evidence: evidence)
  }

  /// Circumstances with grants in force, those that differ in nothing that counts here together.
  private static func merged(_ standings: ConsentStandings) -> [ConsentStandings.Circumstance] {
    var merged: [String: ConsentStandings.Circumstance] = [:]
    for circumstance in standings.circumstances.values where circumstance.inForce > 0 {
      let key = [
        circumstance.purpose.id, String(format: "%07d", circumstance.purpose.version),
        String(circumstance.ageBand.code), circumstance.jurisdiction, circumstance.actor.rawValue,
        circumstance.consentType.rawValue, circumstance.regime.rawValue,
      ].joined(separator: "\u{1}")
      if var known = merged[key] {
        known.inForce += circumstance.inForce
        known.firstGrant = [known.firstGrant, circumstance.firstGrant].compactMap { $0 }.min()
        merged[key] = known
      } else {
        merged[key] = circumstance
      }
    }
    return merged.sorted { $0.key < $1.key }.map(\.value)
  }

  private static func problem(
    _ circumstance: ConsentStandings.Circumstance, _ purpose: PolicyPurpose?, consentAge: Int?
  ) -> String? {
    guard let purpose else { return "the policy in force has no such purpose" }
    if circumstance.purpose.version != purpose.version { return "another version of the purpose is in force" }
    if !purpose.isActive { return "the purpose is not active" }
    if circumstance.ageBand == .unknown, purpose.asksAge { return "the purpose asks for the age" }
    if circumstance.ageBand.isBelow(18) == true, purpose.minors == .never { return "closed to minors" }
    if let consentAge, circumstance.ageBand.isBelow(consentAge) == true, circumstance.actor != .guardian {
      return "too young to agree alone"
    }
    if purpose.sensitive, circumstance.regime == .optIn, circumstance.consentType != .explicit {
      return "a sensitive purpose needs explicit consent"
    }
    return nil
  }

  private func purposeRules(_ policy: Policy?) -> ReportTable {
    ReportTable(
      "rules", "What the policy in force says",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("sensitive", "sensitive"),
        ReportColumn("minors", "minors"), ReportColumn("asks_age", "age asked"),
        ReportColumn("dpia", "impact assessment"),
      ],
      rows: (policy?.purposes ?? []).map { purpose in
        [
          .text(purpose.id), .flag(purpose.sensitive), .text(purpose.minors.rawValue), .flag(purpose.asksAge),
          .optional(purpose.dpia),
        ]
      })
  }
}
