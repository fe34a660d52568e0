import Consent
import Cryptography
import Foundation
import GRDB

/// A round's record as the index has it.
struct IndexedRound {
  let index: UInt64
  let session: Digest
  let number: Int64
  let task: String
  let kind: String
  let purpose: Purpose
  let policy: Digest?
  let modelIn: Digest?
  let modelOut: Digest?
  let result: String
  let recordedMs: Int64
  let startedMs: Int64
  let endedMs: Int64
  let checkpointSize: UInt64
  let checkpointAge: Int64
  let participants: Int64
  let survivors: Int64
  let eligible: Int64?
  /// Infinite where nothing is guaranteed.
  let epsilon: Double
  let delta: Double
  let unit: String

  var isCompleted: Bool { result == "completed" }

  init(_ row: Row) throws {
    func digest(_ position: Int) throws -> Digest? {
      try row.decode(Data?.self, atIndex: position).map { try Digest(Array($0)) }
    }
    index = try row.decode(atIndex: 0)
    session = try Digest(Array(try row.decode(Data.self, atIndex: 1)))
    number = try row.decode(atIndex: 2)
    task = try row.decode(atIndex: 3)
    kind = try row.decode(atIndex: 4)
    purpose = Purpose(id: try row.decode(atIndex: 5), version: try row.decode(atIndex: 6))
    policy = try digest(7)
    modelIn = try digest(8)
    modelOut = try digest(9)
    result = try row.decode(atIndex: 10)
    recordedMs = try row.decode(atIndex: 11)
    startedMs = try row.decode(atIndex: 12)
    endedMs = try row.decode(atIndex: 13)
    checkpointSize = try row.decode(atIndex: 14)
    checkpointAge = try row.decode(atIndex: 15)
    participants = try row.decode(atIndex: 16)
    survivors = try row.decode(atIndex: 17)
    eligible = try row.decode(atIndex: 18)
    epsilon = try row.decode(Double?.self, atIndex: 19) ?? .infinity
    delta = try row.decode(atIndex: 20)
    unit = try row.decode(atIndex: 21)
  }
}

extension LedgerReports {
  private static let roundColumns = """
    idx, session, number, task, kind, purpose, version, policy, model_in, model_out, result, recorded, started,
    ended, checkpoint_size, checkpoint_age, participants, survivors, eligible, epsilon, delta, unit
    """

  /// All rounds below the checkpoint, in the order of the log.
  func allRounds() throws(LedgerError) -> [IndexedRound] {
    try query { [size] db in
      try Row.fetchAll(
        db, sql: "SELECT \(Self.roundColumns) FROM round WHERE idx < ? ORDER BY idx", arguments: [size]
      ).map { try IndexedRound($0) }
    }
  }

  // MARK: 6

  /// In which rounds a customer was used, the models that came out, and every model that descends from them.
  package func rounds(_ subject: ReportSubject) throws(LedgerError) -> ReportAnswer {
    let history = try history(of: subject)
    var table = ReportTable(
      "rounds", "Rounds that used the customer's data",
      [
        ReportColumn("entry", "entry"), ReportColumn("session", "session"), ReportColumn("time", "used"),
        ReportColumn("task", "task"), ReportColumn("purpose", "purpose"),
        ReportColumn("consent", "consent then"), ReportColumn("decided_by", "decided by entry"),
        ReportColumn("result", "result"), ReportColumn("model", "model that came out"),
        ReportColumn("epsilon", "ε spent"), ReportColumn("delta", "δ"), ReportColumn("unit", "unit"),
      ])
    var heirs = Self.heirTable()
    guard case .customer(let id) = subject, let vault = sources.vault else {
      return answer(
        .rounds, .unknown,
        "the log does not say who took part; ask at the customer's store with the customer's id, not with a tag",
        filters: filters(history), tables: [table, heirs], remarks: Self.roundRemarks, evidence: [])
    }
    guard history.tag != nil else {
      return unknownSubject(.rounds, history, filters(history), [table, heirs])
    }
    let uses = try vault.rounds(of: id)
    let rounds = try allRounds()
    let bySession = Dictionary(rounds.map { ($0.session, $0) }) { first, _ in first }
    var models: Set<Digest> = []
    var evidence: [UInt64] = []
    var wrong = 0
    var missing = 0
    for use in uses {
      guard let round = bySession[use.sessionID] else {
        missing += 1
        let unknown = [ReportCell](repeating: .none, count: 10)
        table.append(
          [.none, .text(use.sessionID.hex), .text(ReportTime.text(use.timeMs))] + unknown.dropLast())
        continue
      }
      let decision = self.decision(history, round)
      if decision?.permitted != true { wrong += 1 }
      if let model = round.modelOut { models.insert(model) }
      evidence.append(round.index)
      if let entry = decision?.decidedBy { evidence.append(entry.value) }
      table.append([
        .count(round.index), .text(round.session.hex), .text(ReportTime.text(use.timeMs)), .text(round.task),
        .text(round.purpose.description), .text(decision?.reason.rawValue ?? "no-policy"),
        .optional(decision?.decidedBy.map { Int64($0.value) }), .text(round.result),
        .optional(round.modelOut?.hex), .number(round.epsilon), .number(round.delta), .text(round.unit),
      ])
    }
    for round in Self.descendants(of: models, rounds) {
      heirs.append([
        .count(round.index), .optional(round.modelOut?.hex), .optional(round.modelIn?.hex), .text(round.task),
        .text(ReportTime.text(round.endedMs)), .number(round.epsilon),
        .flag(uses.contains { $0.sessionID == round.session }),
      ])
    }
    return answer(
      .rounds, wrong > 0 || missing > 0 ? .attention : uses.isEmpty ? .fine : .information,
      Self.roundSentence(uses.count, models.count, heirs.rows.count, wrong: wrong, missing: missing),
      filters: filters(history), tables: [table, heirs], remarks: Self.roundRemarks, evidence: evidence)
  }

  private static func roundSentence(
    _ uses: Int, _ models: Int, _ heirs: Int, wrong: Int, missing: Int
  ) -> String {
    if uses == 0 { return "the customer's data were never used at this node" }
    var text = "used in \(uses) rounds; \(models) models came out, and \(heirs) later ones descend from them"
    if wrong > 0 { text += "; in \(wrong) rounds the log shows no permission at the round's checkpoint" }
    if missing > 0 { text += "; \(missing) rounds have no record in the log" }
    return text
  }

  private static let roundRemarks = [
    "Who took part is known to the customer's node alone; the log holds salted commitments to it.",
    "“Consent then” is the decision from the entries below the checkpoint that the round named.",
    "ε is what the population had spent after the round; it bounds what any model reveals about one customer, "
      + "and ∞ means that nothing is guaranteed.",
    "A model that descends from a round keeps that influence. Ending consent stops future use; no model is "
      + "called unlearned unless it was trained again from before the first use.",
  ]

  private static func heirTable() -> ReportTable {
    ReportTable(
      "descendants", "Models that descend from these rounds",
      [
        ReportColumn("entry", "entry"), ReportColumn("model", "model"), ReportColumn("from", "made from"),
        ReportColumn("task", "task"), ReportColumn("time", "made"), ReportColumn("epsilon", "ε spent"),
        ReportColumn("used_again", "customer used again"),
      ])
  }

  /// The decision at the round's checkpoint, under the round's policy.
  private func decision(_ history: SubjectHistory, _ round: IndexedRound) -> ConsentDecision? {
    let logged =
      round.policy.flatMap { timeline.policy(hash: $0.hex) } ?? timeline.policy(before: round.checkpointSize)
    guard let logged else { return nil }
    let events = history.events.filter { $0.index.value < round.checkpointSize }
    return decide(events: events, purpose: round.purpose, policy: logged.policy, nowMs: round.startedMs)
  }

  /// The rounds whose model was made, over any number of steps, from one of these models, in the log's order.
  static func descendants(of models: Set<Digest>, _ rounds: [IndexedRound]) -> [IndexedRound] {
    var children: [Digest: [Int]] = [:]
    for (position, round) in rounds.enumerated() {
      if let parent = round.modelIn, round.modelOut != nil { children[parent, default: []].append(position) }
    }
    var tainted = models
    var found: Set<Int> = []
    var queue = Array(models)
    while let model = queue.popLast() {
      for position in children[model] ?? [] {
        guard let out = rounds[position].modelOut else { continue }
        if out != model { found.insert(position) }
        if tainted.insert(out).inserted { queue.append(out) }
      }
    }
    return found.sorted().map { rounds[$0] }
  }

  // MARK: 7

  /// Which consent covers a model: its rounds back to the first model, with policies and checkpoints.
  /// - Parameter prefix: at least 8 hexadecimal digits of the model's digest.
  package func model(_ prefix: String) throws(LedgerError) -> ReportAnswer {
    let rounds = try allRounds()
    let wanted = prefix.lowercased()
    let matches = Set(rounds.compactMap(\.modelOut).filter { $0.hex.hasPrefix(wanted) })
    var table = Self.lineageTable()
    guard wanted.utf8.count >= 8, matches.count == 1, let digest = matches.first else {
      let summary =
        wanted.utf8.count < 8 || matches.count > 1
        ? "\(matches.count) models begin with these digits; give more of them, at least 8"
        : "no round in the log has made this model"
      return answer(
        .model, .unknown, summary, filters: [ReportFilter("model", wanted)], tables: [table],
        remarks: Self.modelRemarks, evidence: [])
    }
    let lineage = Self.ancestors(of: digest, rounds)
    var problems = 0
    var changes = ReportTable(
      "since", "Permissions ended since",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("after_entry", "after entry"),
        ReportColumn("ended", "events that end a permission"),
      ])
    for round in lineage {
      let fault = fault(of: round)
      if fault != nil { problems += 1 }
      table.append(try lineageRow(round, fault))
    }
    for (purpose, latest) in Dictionary(grouping: lineage, by: \.purpose.id).sorted(by: { $0.key < $1.key }) {
      let size = latest.map(\.checkpointSize).max() ?? 0
      changes.append([.text(purpose), .count(size), .count(try endings(of: purpose, from: size))])
    }
    let first = lineage.first
    let verdict: ReportVerdict = problems > 0 ? .attention : .fine
    let purposes = Set(lineage.map(\.purpose.description)).sorted().joined(separator: ", ")
    let summary =
      "\(lineage.count) rounds for \(purposes) made it"
      + (first?.modelIn.map { " from the first model \($0.hex.prefix(16))…" } ?? "")
      + (problems > 0
        ? "; \(problems) of them name no policy that covered them"
        : "; each was covered by the policy in force")
    return answer(
      .model, verdict, summary, filters: [ReportFilter("model", digest.hex)], tables: [table, changes],
      remarks: Self.modelRemarks, evidence: lineage.map(\.index))
  }

  private static let modelRemarks = [
    "Each node checked consent against the checkpoint that the round names; its evidence root in the round's "
      + "record lets the node open the decision about a single customer.",
    "The eligible number is noised or in buckets, never exact.",
    "Whoever ended consent after a round's checkpoint is not in later rounds, but the model keeps what it "
      + "learned before, bounded by ε. It is not called unlearned: only training again from before the first "
      + "use removes it.",
  ]

  private static func lineageTable() -> ReportTable {
    ReportTable(
      "lineage", "The rounds that made it",
      [
        ReportColumn("entry", "entry"), ReportColumn("round", "session"), ReportColumn("task", "task"),
        ReportColumn("kind", "kind"), ReportColumn("purpose", "purpose"), ReportColumn("version", "version"),
        ReportColumn("policy", "policy"), ReportColumn("checkpoint_size", "consent checked at size"),
        ReportColumn("checkpoint_age", "its age, s"), ReportColumn("eligible", "eligible (noised)"),
        ReportColumn("survivors", "nodes in the sum"), ReportColumn("epsilon", "ε spent"),
        ReportColumn("delta", "δ"), ReportColumn("unit", "unit"), ReportColumn("ended", "ended"),
        ReportColumn("model_in", "made from"), ReportColumn("model_out", "model"),
        ReportColumn("problem", "problem"),
      ])
  }

  private func lineageRow(_ round: IndexedRound, _ fault: String?) throws(LedgerError) -> [ReportCell] {
    [
      .count(round.index), .integer(round.number), .text(round.task), .text(round.kind),
      .text(round.purpose.id),
      .count(round.purpose.version),
      .optional(round.policy.map { timeline.policy(hash: $0.hex)?.name ?? "\($0.hex.prefix(16))…" }),
      .count(round.checkpointSize), .integer(round.checkpointAge), .optional(round.eligible),
      .integer(round.survivors), .number(round.epsilon), .number(round.delta), .text(round.unit),
      .text(ReportTime.text(round.endedMs)), .optional(round.modelIn?.hex), .optional(round.modelOut?.hex),
      .optional(fault),
    ]
  }

  /// Why no policy covered the round, or nil.
  func fault(of round: IndexedRound) -> String? {
    guard let hash = round.policy else { return "it names no policy" }
    guard let logged = timeline.policy(hash: hash.hex) else { return "its policy was never in force" }
    guard
      timeline.policy(before: round.checkpointSize)?.digest == hash
        || timeline.policy(before: round.index)?.digest == hash
    else { return "another policy was in force" }
    guard let purpose = logged.policy.purpose(round.purpose.id) else {
      return "its policy has no such purpose"
    }
    if !purpose.isActive { return "the purpose was not active" }
    if purpose.version != round.purpose.version { return "the policy has another version of the purpose" }
    if round.checkpointAge > Int64(logged.policy.limits.maximumCheckpointAgeSeconds) {
      return "the checkpoint was older than the policy allows"
    }
    return nil
  }

  /// The rounds from the first model to this one, in the order of the log.
  static func ancestors(of model: Digest, _ rounds: [IndexedRound]) -> [IndexedRound] {
    var makers: [Digest: [Int]] = [:]
    for (position, round) in rounds.enumerated() {
      if let out = round.modelOut { makers[out, default: []].append(position) }
    }
    var seen: Set<Digest> = [model]
    var found: Set<Int> = []
    var queue = [model]
    while let next = queue.popLast() {
      for position in makers[next] ?? [] {
        found.insert(position)
        if let parent = rounds[position].modelIn, seen.insert(parent).inserted { queue.append(parent) }
      }
    }
    return found.sorted().map { rounds[$0] }
  }

  private func endings(of purpose: String, from size: UInt64) throws(LedgerError) -> Int {
    let states = ConsentState.allCases.filter { Self.endsPermission($0) }.map(\.code)
    return try query { [upper = self.size] db in
      let marks = states.map { _ in "?" }.joined(separator: ", ")
      return try Int.fetchOne(
        db,
        sql: """
          SELECT count(*) FROM event WHERE idx >= ? AND idx < ? AND state IN (\(marks))
            AND circumstance IN (SELECT id FROM circumstance WHERE purpose IN (?, '*'))
          """,
        arguments: [Int64(size), upper] + StatementArguments(states) + [purpose]) ?? 0
    }
  }
}
