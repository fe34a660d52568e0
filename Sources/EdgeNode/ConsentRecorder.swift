package import Consent
package import ConsentLedger
package import Cryptography
import Federation
import Foundation
import Messages

/// Records what customers decided: events signed by this node, acknowledged by the ledger once durable.
package struct ConsentRecorder: Sendable {
  /// What a customer decided, as it is entered. What is nil is filled from the circumstances and the policy.
  package struct Entry: Sendable {
    /// The customer.
    package var subject: String
    /// The decision.
    package var state: ConsentState
    /// When, ms of UTC since 1970.
    package var timeMs: Int64
    /// Whether the time was told by whoever records, and is not just the time of recording.
    package var hasOwnTime = false
    /// Key of idempotence; nil draws one.
    package var eventID: EventID?
    /// What for, if not what the circumstances say.
    package var purpose: String?
    /// Where the customer lives.
    package var jurisdiction: String?
    /// How old the customer is.
    package var ageBand: AgeBand?
    /// When a grant runs out.
    package var expiresAtMs: Int64?
    /// What the customer had to do.
    package var steps: Int?
    /// How long it took, milliseconds.
    package var durationMs: Int64?
    /// What stays in the vault, sealed.
    package var payload: ConsentPayload?

    package init(
      subject: String, state: ConsentState, timeMs: Int64, eventID: EventID? = nil, purpose: String? = nil
    ) {
      self.subject = subject
      self.state = state
      self.timeMs = timeMs
      self.eventID = eventID
      self.purpose = purpose
    }
  }

  /// How the decisions were taken; the same for a batch.
  package struct Circumstances: Sendable {
    /// What for: an id of the policy in force, or `*` for every purpose (denials only).
    package var purpose: String
    /// Which law the customer lives under, such as `DE` or `US-CA`; `unknown` if nobody asked.
    package var jurisdiction: String
    /// How old the customers are.
    package var ageBand: AgeBand
    /// Who spoke.
    package var actor: ActorRole
    /// How it was expressed; nil is `explicit` where the purpose is sensitive, else `expressed`.
    package var consentType: ConsentType?
    /// SHA-256 of the notice shown; nil is the policy's notice in `language`.
    package var noticeHash: String?
    /// The language of the notice.
    package var language: String?
    /// SHA-256 of the screen as it was shown.
    package var screenHash: String?
    /// The legal basis; nil is the policy's.
    package var legalBasis: String?
    /// Where, such as `store-till`.
    package var channel: String
    /// How, such as `signature`.
    package var method: String
    /// Who entered it, for people; nil is the node's name.
    package var recorder: String?

    package init(
      purpose: String, jurisdiction: String = "unknown", ageBand: AgeBand = .adult,
      actor: ActorRole = .customer, channel: String = "store-till", method: String = "spoken",
      language: String? = nil
    ) {
      self.purpose = purpose
      self.jurisdiction = jurisdiction
      self.ageBand = ageBand
      self.actor = actor
      self.channel = channel
      self.method = method
      self.language = language
    }
  }

  /// An acknowledged event.
  package struct Receipt: Sendable {
    /// The customer.
    package let subject: String
    /// The event.
    package let event: ConsentEvent
    /// Where it stands, with the proof.
    package let proven: LedgerSubmission.Proven
    /// Where the event stands in the log.
    package var index: UInt64 { proven.index }
    /// The size of the tree that the proof is for.
    package var treeSize: UInt64 { proven.treeSize }
  }

  /// Why nothing was recorded of a batch.
  package enum Refusal: Error, Sendable, CustomStringConvertible {
    /// The customer's history does not allow the state.
    case transition(position: Int, TransitionRefusal)
    /// The policy in force does not allow the grant.
    case policy(position: Int, GrantRefusal)
    /// The record is malformed or names what the policy does not know.
    case record(position: Int, String)

    /// The entry's position in the batch.
    package var position: Int {
      switch self {
      case .transition(let position, _), .policy(let position, _), .record(let position, _): position
      }
    }
    /// The reason alone.
    package var reason: String {
      switch self {
      case .transition(_, let refusal): "\(refusal)"
      case .policy(_, let refusal): "\(refusal)"
      case .record(_, let reason): reason
      }
    }
    package var description: String { reason }
  }

  /// How many entries go in one request.
  package static let batch = 2048
  private let files: NodeFiles
  private let vault: SubjectVault
  private let client: FederationClient
  private let view: LedgerView

  /// A recorder over a node's vault and keys.
  package init(files: NodeFiles, vault: SubjectVault, client: FederationClient, view: LedgerView) {
    self.files = files
    self.vault = vault
    self.client = client
    self.view = view
  }

  /// Whether a Global Privacy Control signal of the customer stands in the log.
  func hasSignal(subject: String) throws -> Bool {
    guard let tag = try vault.tag(for: subject, create: false) else { return false }
    return try view.events([tag])[tag, default: []].contains { $0.event.state == .globalPrivacyControl }
  }

  /// Checks entries against the policy in force without recording anything: everything that is wrong.
  package func problems(_ entries: [Entry], _ circumstances: Circumstances) throws -> [Refusal] {
    let rules = try view.rules()
    let tag = try SubjectTag([UInt8](repeating: 0, count: SubjectTag.byteCount))
    let placeholder = try EventID([UInt8](repeating: 0, count: EventID.byteCount))
    return entries.enumerated().compactMap { position, entry in
      do throws(Refusal) {
        _ = try draft(entry, circumstances, rules, tag: tag, eventID: placeholder, position: position)
        return nil
      } catch { return error }
    }
  }

  /// Records the entries in order; returns when the ledger has acknowledged all of them, each with a proof
  /// that was checked against a checkpoint signed by the pinned keys. Nothing of a batch is recorded if one of
  /// its entries is refused.
  package func record(_ entries: [Entry], _ circumstances: Circumstances) async throws -> [Receipt] {
    var receipts: [Receipt] = []
    for start in stride(from: 0, to: entries.count, by: Self.batch) {
      let part = Array(entries[start..<min(start + Self.batch, entries.count)])
      let prepared = try prepare(part, circumstances, offset: start)
      receipts += try await submit(prepared, subjects: part.map(\.subject))
    }
    return receipts
  }

  /// Events with their signatures, ready to be sent.
  package struct Prepared: Sendable {
    let events: [ConsentEvent]
    let statements: [SignedStatement]
  }

  /// Makes, checks and signs the events of a batch.
  package func prepare(
    _ entries: [Entry], _ circumstances: Circumstances, offset: Int = 0
  ) throws -> Prepared {
    let rules = try view.rules()
    // The vault first: a tag in the log without its key in the vault could never be opened.
    let known = try vault.tags(for: entries.map(\.subject), create: false)
    let tags = try vault.tags(for: entries.map(\.subject), create: true)
    // Who was unknown until now has no history.
    var histories = try view.events(Array(Set(known.values)))
    var random = RandomStream.system()
    let logSize = try view.size()
    var prepared: [(event: ConsentEvent, statement: SignedStatement?)] = []
    prepared.reserveCapacity(entries.count)
    for (position, entry) in entries.enumerated() {
      guard let tag = tags[entry.subject] else { continue }
      let eventID = try entry.eventID ?? EventID.ordered(timeMs: entry.timeMs, using: &random)
      let history = histories[tag] ?? []
      if let known = history.first(where: { $0.event.eventID == eventID }), known.index.value < logSize {
        // A retry: what was recorded is sent again word for word, and the ledger answers where it stands.
        try checkSame(entry, known.event, circumstances, position: offset + position)
        prepared.append(
          (known.event, try SignedStatement.parse(leaf: view.leaf(known.index.value)).statement))
        continue
      }
      var event = try draft(
        entry, circumstances, rules, tag: tag, eventID: eventID, position: offset + position)
      if let policy = rules.current?.policy {
        try checkTransition(event, history, policy, position: offset + position)
      }
      event.previous = history.last { $0.event.purpose.id == event.purpose.id }?.event.eventID
      if let payload = entry.payload {
        event.commitment = try vault.sealPayload(payload, subjectID: entry.subject, eventID: eventID).hex
      }
      prepared.append((event, nil))
      // Later entries of the batch follow this one; their real index is not known yet, only their order.
      let index = LeafIndex(max(logSize, (history.last?.index.value ?? 0) + 1))
      histories[tag, default: []].append(IndexedEvent(index: index, event: event))
    }
    let new = try SignedStatement.sign(
      prepared.filter { $0.statement == nil }.map { .consent($0.event) }, key: files.identity)
    var next = new.makeIterator()
    return Prepared(
      events: prepared.map(\.event), statements: prepared.compactMap { $0.statement ?? next.next() })
  }

  /// Sends what was prepared.
  package func submit(_ prepared: Prepared, subjects: [String]) async throws -> [Receipt] {
    let answer = try await LedgerSubmission.send(prepared.statements, client: client, key: files.identity)
    let verified = try view.size()
    for receipt in answer where receipt.treeSize < verified {
      throw EdgeNodeError.badAnswer(
        what: "receipt",
        reason:
          "it is for a log of \(receipt.treeSize) entries, but this node has verified \(verified): the "
          + "server was restored from an older copy, and what it acknowledges now may be lost")
    }
    // The gate denies until this node's copy of the log has come as far.
    if let largest = answer.map(\.treeSize).max() { try vault.noteAcknowledged(treeSize: largest) }
    return zip(zip(subjects, prepared.events), answer).map {
      Receipt(subject: $0.0, event: $0.1, proven: $1)
    }
  }

  /// The same identifier for something else is a mistake of the caller's.
  private func checkSame(
    _ entry: Entry, _ known: ConsentEvent, _ circumstances: Circumstances, position: Int
  ) throws(Refusal) {
    guard known.state == entry.state, known.purpose.id == entry.purpose ?? circumstances.purpose,
      !entry.hasOwnTime || known.eventTimeMs == entry.timeMs
    else {
      throw .record(
        position: position,
        "the event id \(known.eventID) was used for another decision of this customer: \(known.state.rawValue) "
          + "for \(known.purpose)")
    }
  }

  private func checkTransition(
    _ event: ConsentEvent, _ history: [IndexedEvent], _ policy: Policy, position: Int
  ) throws(Refusal) {
    let standing = ConsentStanding(events: history, purpose: event.purpose, policy: policy)
    let before = history.last { $0.event.state.isGrant && $0.event.purpose.id == event.purpose.id }?.event
    let isChanged =
      before.map { $0.purpose != event.purpose || $0.noticeHash != event.noticeHash } ?? false
    if let refusal = ConsentTransition.refusal(
      from: standing, to: event.state, ownInitiative: event.actor != .controller && event.actor != .system,
      materialChange: isChanged, nowMs: event.eventTimeMs)
    {
      throw .transition(position: position, refusal)
    }
  }

  /// The event that an entry becomes under the policy in force.
  private func draft(
    _ entry: Entry, _ circumstances: Circumstances, _ rules: LedgerRules, tag: SubjectTag, eventID: EventID,
    position: Int
  ) throws(Refusal) -> ConsentEvent {
    let purposeID = entry.purpose ?? circumstances.purpose
    guard !entry.subject.isEmpty else { throw .record(position: position, "the subject is empty") }
    let policy = rules.current?.policy
    let purpose = policy?.purpose(purposeID)
    guard purposeID == Purpose.every.id || purpose != nil || rules.knownPurposes.contains(purposeID) else {
      let names = policy?.purposes.map(\.id).joined(separator: ", ") ?? "none: no policy is in force"
      throw .record(position: position, "“\(purposeID)” is no purpose of the policy; its purposes: \(names)")
    }
    let jurisdiction = entry.jurisdiction ?? circumstances.jurisdiction
    let residences = Jurisdiction.place(jurisdiction).map { [$0] } ?? []
    let ruling = purpose.flatMap { policy?.ruling(for: $0, residences: residences) }
    let isGrant = entry.state.isGrant
    let notice = circumstances.noticeHash ?? purpose?.notice(in: circumstances.language)?.hash
    var event = ConsentEvent(
      eventID: eventID, subject: tag,
      purpose: purposeID == Purpose.every.id
        ? .every : Purpose(id: purposeID, version: purpose?.version ?? 1),
      state: entry.state, regime: ruling?.regime ?? .optIn,
      legalBasis: circumstances.legalBasis ?? ruling?.legalBases.first ?? "none",
      jurisdiction: jurisdiction, channel: circumstances.channel, method: circumstances.method,
      eventTimeMs: entry.timeMs, recorder: circumstances.recorder ?? files.name,
      recordID: EventID.record(of: tag, purpose: purposeID), actor: circumstances.actor,
      ageBand: entry.ageBand ?? circumstances.ageBand,
      consentType: isGrant
        ? circumstances.consentType ?? (purpose?.sensitive == true ? .explicit : .expressed)
        : ConsentType.none,
      noticeHash: notice, language: circumstances.language,
      policyHash: rules.current?.digest.hex, screenHash: circumstances.screenHash, steps: entry.steps,
      durationMs: entry.durationMs)
    if isGrant {
      event.expiresAtMs =
        entry.expiresAtMs ?? purpose?.grantLifetimeDays.map { entry.timeMs + Int64($0) * 86_400_000 }
    } else if let policy, entry.state == .refused || entry.state == .withdrawn {
      let days = purpose?.askAgainAfterDays ?? policy.limits.askAgainAfterDays
      event.askAgainAtMs = entry.timeMs + Int64(days) * 86_400_000
    }
    do { try event.validate() } catch { throw .record(position: position, "\(error)") }
    if let refusal = policy?.refusal(for: event) { throw .policy(position: position, refusal) }
    return event
  }
}

extension PolicyPurpose {
  /// The notice in a language, or the only one there is.
  fileprivate func notice(in language: String?) -> PolicyNotice? {
    guard let language else { return notices.count == 1 ? notices.first : nil }
    return notices.first { $0.language == language }
  }
}

extension EventID {
  /// An identifier that sorts by time, so that indexes grow at their end: 48 bits of the time in milliseconds,
  /// then 80 random bits (the layout of RFC 9562's UUID version 7 without its version bits).
  package static func ordered(timeMs: Int64, using random: inout RandomStream) throws(ConsentError) -> EventID
  {
    let time = withUnsafeBytes(of: UInt64(bitPattern: timeMs).bigEndian) { Array($0) }
    return try EventID(Array(time.suffix(6)) + random.bytes(10))
  }

  /// The consent record of a subject and purpose.
  package static func record(of tag: SubjectTag, purpose: String) -> EventID {
    let digest = Hash.blake2b(domain: "accord consent record v1", [tag.bytes, Array(purpose.utf8)])
    // 16 bytes are what an identifier has.
    guard let id = try? EventID(Array(digest.bytes.prefix(byteCount))) else {
      preconditionFailure("an identifier has 16 bytes")
    }
    return id
  }
}
