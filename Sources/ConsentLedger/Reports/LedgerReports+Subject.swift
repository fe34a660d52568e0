package import Consent
import Cryptography
import Foundation

/// One event of a customer, read from its leaf.
struct SubjectEntry {
  let index: UInt64
  let recordedMs: Int64
  let signer: VerifyingKey
  let event: ConsentEvent
  /// Whether the gate of this node counts it: another node's grant does not.
  let counts: Bool

  var indexed: IndexedEvent { IndexedEvent(index: LeafIndex(index), event: event) }
}

/// A customer's tag and events, or why there are none.
struct SubjectHistory {
  let tag: SubjectTag?
  let entries: [SubjectEntry]

  var erasure: SubjectEntry? { entries.first { $0.event.state == .erased } }
  /// What decisions are made of.
  var events: [IndexedEvent] { entries.filter(\.counts).map(\.indexed) }

  /// The events that speak about a purpose; all for nil.
  func entries(for purpose: String?) -> [SubjectEntry] {
    guard let purpose else { return entries }
    return entries.filter {
      $0.event.state == .erased || $0.event.purpose.covers(Purpose(id: purpose, version: 1))
    }
  }
}

extension LedgerReports {
  /// The tag of a customer, or nil if the vault does not know them.
  package func tag(of subject: ReportSubject) throws(LedgerError) -> SubjectTag? {
    switch subject {
    case .tag(let tag): tag
    case .customer(let id): try sources.vault?.tag(for: id, create: false)
    }
  }

  func history(of subject: ReportSubject) throws(LedgerError) -> SubjectHistory {
    guard let tag = try tag(of: subject) else { return SubjectHistory(tag: nil, entries: []) }
    var entries: [SubjectEntry] = []
    for position in try index.positions(of: [tag])[tag] ?? [] where position < reader.size {
      let entry = try reader.entry(position)
      // The index only says where to look; what counts is the leaf.
      guard case .consent(let event) = entry.body, event.subject == tag else {
        throw .unreadableEntry(index: position)
      }
      let isPermissive = event.state.isGrant || event.state == .restrictionLifted
      let isForeign = sources.nodeKey.map { $0 != entry.signer } ?? false
      entries.append(
        SubjectEntry(
          index: position, recordedMs: entry.recordedMs, signer: entry.signer, event: event,
          counts: !(isPermissive && isForeign)))
    }
    return SubjectHistory(tag: tag, entries: entries)
  }

  func filters(_ history: SubjectHistory, _ others: [ReportFilter] = []) -> [ReportFilter] {
    // The customer's id stays with whoever asks: answers are handed on.
    [ReportFilter("subject", history.tag?.hex ?? "unknown")] + others
  }

  /// What to say about a customer of whom nothing can be found.
  func unknownSubject(
    _ question: ReportQuestion, _ history: SubjectHistory, _ filters: [ReportFilter], _ tables: [ReportTable]
  ) -> ReportAnswer {
    let summary =
      if history.tag != nil {
        "the log has no event with this tag up to the checkpoint"
      } else if sources.vault == nil {
        "there is no vault here that could turn a customer into a tag; ask at the customer's store, or give the tag"
      } else {
        "the vault does not know this customer: nothing was ever recorded here, or the customer was erased "
          + "and nobody can find their entries any more"
      }
    return answer(
      question, .unknown, summary, filters: filters, tables: tables,
      remarks: ["Where nothing is recorded, an opt-in purpose is not permitted."], evidence: [])
  }

  // MARK: 1

  /// Did the customer consent to a purpose at a time?
  /// - Parameters:
  ///   - version: of the purpose; nil for the one in the policy of that time.
  ///   - atMs: the time, ms of UTC since 1970. Only events that the ledger had taken by then count.
  package func consent(
    _ subject: ReportSubject, purpose: String, version: Int? = nil, atMs: Int64
  ) throws(LedgerError) -> ReportAnswer {
    let history = try history(of: subject)
    let logged = timeline.policy(atMs: atMs)
    let entry = logged?.policy.purpose(purpose)
    let asked = Purpose(id: purpose, version: version ?? entry?.version ?? 1)
    let filters = filters(
      history,
      [ReportFilter("purpose", asked.description), ReportFilter("at", ReportTime.text(atMs))])
    var table = Self.historyTable()
    let then = SubjectHistory(tag: history.tag, entries: history.entries.filter { $0.recordedMs <= atMs })
    for entry in then.entries(for: purpose) { table.append(try historyRow(entry)) }
    guard !history.entries.isEmpty else { return unknownSubject(.consent, history, filters, [table]) }
    let decision =
      logged.map { decide(events: then.events, purpose: asked, policy: $0.policy, nowMs: atMs) }
    let facts = decisionTable(decision, asked, logged, atMs)
    var remarks = Self.consentRemarks
    if let erasure = history.erasure, erasure.recordedMs > atMs {
      remarks.append("The customer was erased later (entry \(erasure.index)).")
    }
    if history.entries.contains(where: { !$0.counts }) {
      remarks.append("Grants that other nodes recorded are listed but do not count at this node.")
    }
    let evidence =
      then.entries(for: purpose).map(\.index)
      + timeline.changes.filter { $0.policy.digest == logged?.digest && $0.recordedMs <= atMs }.map(\.index)
      + (logged.map { [$0.proposedAt] } ?? [])
    return answer(
      .consent, decision.map { $0.reason == .granted ? .fine : .information } ?? .unknown,
      Self.sentence(decision, asked, logged), filters: filters, tables: [facts, table], remarks: remarks,
      evidence: evidence)
  }

  private static let consentRemarks = [
    "The decision is that of the policy in force then, from the entries that the ledger had taken by then; "
      + "entries taken later cannot change it.",
    "Proven: that these entries stood in the log and who signed them. Not proven: that no other event happened "
      + "that nobody recorded.",
  ]

  private static func sentence(_ decision: ConsentDecision?, _ purpose: Purpose, _ policy: LoggedPolicy?)
    -> String
  {
    guard let decision, policy != nil else {
      return "no policy was in force then, so nothing was permitted for \(purpose)"
    }
    let entry = decision.decidedBy.map { " by entry \($0)" } ?? ""
    switch decision.reason {
    case .granted: return "yes: consent to \(purpose) was in force, given\(entry)"
    case .permittedByDefault:
      return "not consent: \(purpose) was permitted by default, because the customer had not opted out"
    default: return "no: \(purpose) was not permitted (\(decision.reason.rawValue))\(entry)"
    }
  }

  private func decisionTable(
    _ decision: ConsentDecision?, _ purpose: Purpose, _ policy: LoggedPolicy?, _ atMs: Int64
  ) -> ReportTable {
    ReportTable(
      "decision", "The decision",
      [
        ReportColumn("permitted", "permitted"), ReportColumn("consent", "consent"),
        ReportColumn("reason", "reason"), ReportColumn("entry", "deciding entry"),
        ReportColumn("policy", "policy"), ReportColumn("policy_hash", "policy hash"),
      ],
      rows: [
        [
          .flag(decision?.permitted ?? false), .flag(decision?.reason == .granted),
          .text(decision?.reason.rawValue ?? "no-policy"),
          .optional(decision?.decidedBy.map { Int64($0.value) }), .optional(policy?.name),
          .optional(policy?.digest.hex),
        ]
      ])
  }

  static func historyTable() -> ReportTable {
    ReportTable(
      "events", "The customer's events",
      [
        ReportColumn("entry", "entry"), ReportColumn("recorded", "taken by the ledger"),
        ReportColumn("state", "state"), ReportColumn("purpose", "purpose"),
        ReportColumn("version", "version"), ReportColumn("regime", "regime"),
        ReportColumn("legal_basis", "legal basis"), ReportColumn("jurisdiction", "jurisdiction"),
        ReportColumn("age", "age"), ReportColumn("expires", "expires"), ReportColumn("counts", "counts here"),
      ])
  }

  func historyRow(_ entry: SubjectEntry) throws(LedgerError) -> [ReportCell] {
    let event = entry.event
    return [
      .count(entry.index), .text(ReportTime.text(entry.recordedMs)), .text(event.state.rawValue),
      .text(event.purpose.id), .count(event.purpose.version), .text(event.regime.rawValue),
      .text(event.legalBasis), .text(event.jurisdiction), .text(event.ageBand.rawValue),
      .optional(event.expiresAtMs.map(ReportTime.text)), .flag(entry.counts),
    ]
  }

  // MARK: 2

  /// What exactly was shown: notice, language, screen and the policy's words, event by event.
  package func shown(_ subject: ReportSubject, purpose: String? = nil) throws(LedgerError) -> ReportAnswer {
    let history = try history(of: subject)
    let filters = filters(history, purpose.map { [ReportFilter("purpose", $0)] } ?? [])
    var shown = ReportTable(
      "shown", "What was shown",
      [
        ReportColumn("entry", "entry"), ReportColumn("time", "happened"), ReportColumn("state", "state"),
        ReportColumn("purpose", "purpose"), ReportColumn("language", "language"),
        ReportColumn("notice", "notice hash"), ReportColumn("notice_title", "notice"),
        ReportColumn("listed", "listed in its policy"), ReportColumn("screen", "screen hash"),
        ReportColumn("policy", "policy"), ReportColumn("policy_hash", "policy hash"),
      ])
    let entries = history.entries(for: purpose)
    var notices: [String] = []
    var missing = 0
    for entry in entries {
      let event = entry.event
      let logged =
        event.policyHash.flatMap { timeline.policy(hash: $0) } ?? timeline.policy(before: entry.index)
      let listed = logged?.policy.purpose(event.purpose.id)?.notices.first { $0.hash == event.noticeHash }
      if let hash = event.noticeHash, !notices.contains(hash) { notices.append(hash) }
      if event.state.isGrant, event.noticeHash == nil, event.screenHash == nil { missing += 1 }
      shown.append([
        .count(entry.index), .text(ReportTime.text(event.eventTimeMs)), .text(event.state.rawValue),
        .text(event.purpose.id), .optional(event.language), .optional(event.noticeHash),
        .optional(listed?.title), event.noticeHash == nil ? .none : .flag(listed != nil),
        .optional(event.screenHash), .optional(logged?.name), .optional(event.policyHash),
      ])
    }
    guard !entries.isEmpty else { return unknownSubject(.shown, history, filters, [shown]) }
    let texts = try noticeTable(notices)
    let words = purposeTable(entries)
    let verdict: ReportVerdict = missing > 0 || texts.missing > 0 ? .attention : .fine
    let summary =
      verdict == .fine
      ? "every grant names what was shown, and the texts are here with the right hash"
      : "\(missing) grants name neither notice nor screen; \(texts.missing) notice texts are not kept here"
    return answer(
      .shown, verdict, summary, filters: filters, tables: [shown, texts.table, words],
      remarks: [
        "A notice's text is shown only if its SHA-256 is the hash that the entry names.",
        "A screen is named by hash: the picture itself is with whoever designed the form.",
      ], evidence: entries.map(\.index))
  }

  private func noticeTable(_ hashes: [String]) throws(LedgerError) -> (table: ReportTable, missing: Int) {
    var table = ReportTable(
      "notices", "The notices' texts",
      [ReportColumn("notice", "notice hash"), ReportColumn("text", "text")])
    var missing = 0
    for hash in hashes {
      var text: String?
      if let bytes = Hex.decode(hash), bytes.count == Digest.byteCount,
        let found = try notice(Digest(unchecked: bytes)), Hash.sha256(found).hex == hash
      {
        text = String(decoding: found, as: UTF8.self)
      } else {
        missing += 1
      }
      table.append([.text(hash), .optional(text)])
    }
    return (table, missing)
  }

  private func notice(_ hash: Digest) throws(LedgerError) -> [UInt8]? {
    if let kept = try sources.vault?.notice(hash: hash) { return Array(kept.text.utf8) }
    return try sources.noticeText(hash)
  }

  /// How the policies that the events name describe the purposes.
  private func purposeTable(_ entries: [SubjectEntry]) -> ReportTable {
    var table = ReportTable(
      "purposes", "The policy's words",
      [
        ReportColumn("purpose", "purpose"), ReportColumn("version", "version"),
        ReportColumn("title", "title"),
        ReportColumn("description", "description"), ReportColumn("data", "data"),
        ReportColumn("policy", "policy"),
      ])
    var seen: Set<String> = []
    for entry in entries {
      guard let hash = entry.event.policyHash, let logged = timeline.policy(hash: hash),
        let purpose = logged.policy.purpose(entry.event.purpose.id), seen.insert(hash + purpose.id).inserted
      else { continue }
      table.append([
        .text(purpose.id), .count(purpose.version), .text(purpose.title), .text(purpose.description),
        .text(purpose.dataCategories.joined(separator: ", ")), .text(logged.name),
      ])
    }
    return table
  }
}
