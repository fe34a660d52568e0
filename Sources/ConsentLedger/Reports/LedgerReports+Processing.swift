import Consent
import Cryptography
import Foundation

extension LedgerReports {
  // MARK: 12

  /// What do we process and why: the record of processing activities (GDPR Art. 30(1)) from the policy in
  /// force, and what the rounds in the log really did.
  package func processing() throws(LedgerError) -> ReportAnswer {
    let rounds = try allRounds()
    let standings = try standings()
    let policy = timeline.current?.policy
    var problems: [String] = []
    let faulty = rounds.filter { fault(of: $0) != nil }
    if !faulty.isEmpty { problems.append("\(faulty.count) rounds name no policy that covered them") }
    let strangers = Set(rounds.map(\.purpose.id)).subtracting((policy?.purposes ?? []).map(\.id)).sorted()
    if !strangers.isEmpty {
      problems.append(
        "rounds ran for purposes that the policy in force does not have: \(strangers.joined(separator: ", "))"
      )
    }
    let verdict: ReportVerdict = policy == nil ? .unknown : problems.isEmpty ? .fine : .attention
    let summary =
      policy == nil
      ? "no policy is in force: there is no record of processing activities to show"
      : problems.isEmpty
        ? "\(policy?.purposes.count ?? 0) purposes; every round was covered by the policy of its time"
        : problems.joined(separator: "; ")
    let tables = [
      controllerTable(policy), activityTable(policy, standings), basisTable(policy), useTable(rounds, policy),
    ]
    return answer(
      .processing, verdict, summary, tables: tables,
      remarks: [
        "The first tables are what the controller declares in the policy, which two officers put in force; the "
          + "last is what the log says was done.",
        "Technical and organisational measures (Art. 30(1)(g)): data stay on the stores' and customers' own "
          + "nodes; training takes part only with consent checked against the log; sums are masked by secure "
          + "aggregation and noised under differential privacy with the ε shown; the log is append-only and signed.",
        "No transfers to third countries are part of training; recipients are those named by the policy.",
      ],
      evidence: faulty.map(\.index) + timeline.changes.suffix(1).flatMap { [$0.policy.proposedAt, $0.index] })
  }

  private func controllerTable(_ policy: Policy?) -> ReportTable {
    var table = ReportTable(
      "controller", "Who is responsible (Art. 30(1)(a))",
      [ReportColumn("field", "field"), ReportColumn("value", "value")])
    guard let policy else { return table }
    let fields: [(String, String?)] = [
      ("name", policy.controller.name), ("address", policy.controller.address),
      ("contact", policy.controller.contact),
      ("data protection officer", policy.controller.dataProtectionOfficer),
      ("representative in the Union", policy.controller.representative),
      ("establishment", policy.establishment),
      ("policy", timeline.current?.name), ("policy hash", timeline.current?.digest.hex),
    ]
    for (field, value) in fields where value != nil { table.append([.text(field), .optional(value)]) }
    return table
  }

  private func activityTable(_ policy: Policy?, _ standings: ConsentStandings) -> ReportTable {
    ReportTable(
      "activities", "Purposes (Art. 30(1)(b)–(f))",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("version", "version"),
        ReportColumn("title", "title"),
        ReportColumn("description", "description"), ReportColumn("subjects", "whose data"),
        ReportColumn("data", "data"), ReportColumn("recipients", "recipients"),
        ReportColumn("retention_days", "kept, days"), ReportColumn("sensitive", "sensitive"),
        ReportColumn("minors", "minors"), ReportColumn("dpia", "impact assessment"),
        ReportColumn("active", "active"), ReportColumn("in_force", "grants in force"),
      ],
      rows: (policy?.purposes ?? []).map { purpose in
        let position = standings.purposes.firstIndex(of: purpose.id)
        let inForce = position.map { standings.groups[$0][ConsentStandings.Group.inForce.rawValue] } ?? 0
        return [
          .text(purpose.id), .count(purpose.version), .text(purpose.title), .text(purpose.description),
          .text("customers"), .text(purpose.dataCategories.joined(separator: ", ")),
          .text(purpose.recipients.isEmpty ? "nobody" : purpose.recipients.joined(separator: ", ")),
          .count(purpose.retentionDays), .flag(purpose.sensitive), .text(purpose.minors.rawValue),
          .optional(purpose.dpia), .flag(purpose.isActive), .count(inForce),
        ]
      })
  }

  private func basisTable(_ policy: Policy?) -> ReportTable {
    var table = ReportTable(
      "bases", "Regime and legal basis by place",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("place", "place"), ReportColumn("regime", "regime"),
        ReportColumn("legal_bases", "legal bases"),
      ])
    for purpose in policy?.purposes ?? [] {
      for (place, rule) in purpose.jurisdictions.sorted(by: { $0.key < $1.key }) {
        table.append([
          .text(purpose.id), .text(place), .text(rule.regime.rawValue),
          .text(rule.legalBases.joined(separator: ", ")),
        ])
      }
    }
    return table
  }

  private func useTable(_ rounds: [IndexedRound], _ policy: Policy?) -> ReportTable {
    var table = ReportTable(
      "use", "What was done",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("version", "version"), ReportColumn("kind", "kind"),
        ReportColumn("task", "task"), ReportColumn("rounds", "rounds"),
        ReportColumn("completed", "completed"),
        ReportColumn("first", "first"), ReportColumn("latest", "latest"), ReportColumn("epsilon", "ε spent"),
        ReportColumn("delta", "δ"), ReportColumn("unit", "unit"), ReportColumn("uncovered", "without cover"),
      ])
    struct Use: Hashable {
      let purpose: Purpose
      let kind: String
      let task: String
    }
    let uses = Dictionary(grouping: rounds) { Use(purpose: $0.purpose, kind: $0.kind, task: $0.task) }
    for (use, rounds) in uses.sorted(by: { ($0.value.first?.index ?? 0) < ($1.value.first?.index ?? 0) }) {
      let worst = rounds.max { $0.epsilon < $1.epsilon }
      table.append([
        .text(use.purpose.id), .count(use.purpose.version), .text(use.kind), .text(use.task),
        .count(rounds.count), .count(rounds.filter(\.isCompleted).count),
        .optional(rounds.map(\.startedMs).min().map(ReportTime.text)),
        .optional(rounds.map(\.endedMs).max().map(ReportTime.text)),
        worst.map { .number($0.epsilon) } ?? .none,
        worst.map { .number($0.delta) } ?? .none, .optional(worst?.unit),
        .count(rounds.filter { fault(of: $0) != nil }.count),
      ])
    }
    for purpose in policy?.purposes ?? [] where !uses.keys.contains(where: { $0.purpose.id == purpose.id }) {
      table.append(
        [.text(purpose.id), .count(purpose.version), .text("not used")]
          + [ReportCell](repeating: .none, count: 9))
    }
    return table
  }
}
