package import Consent
package import ConsentLedger
import Cryptography
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

  /// Checks entries as they would be recorded, one after another, without recording anything: all that is
  /// wrong.
  package func problems(_ entries: [Entry], _ circumstances: Circumstances) throws -> [Refusal] {
    var drafts = try Drafts(self, entries, circumstances)
    return drafts.add(entries, offset: 0)
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

  /// Makes, checks and signs the events of a batch. Everything is checked before the vault is touched.
  package func prepare(
    _ entries: [Entry], _ circumstances: Circumstances, offset: Int = 0
  ) throws -> Prepared {
    var drafts = try Drafts(self, entries, circumstances)
    if let refusal = drafts.add(entries, offset: offset).first { throw refusal }
    // A tag in the log without its key in the vault could never be opened: the vault before the ledger.
    let tags = try vault.tags(for: entries.map(\.subject), create: true)
    var final: [(event: ConsentEvent, statement: SignedStatement?)] = []
    final.reserveCapacity(entries.count)
    for (entry, drafted) in zip(entries, drafts.drafted) {
      var event = drafted.event
      if let index = drafted.recordedAt {
        // A retry: what was recorded is sent again word for word, and the ledger answers where it stands.
        final.append((event, try SignedStatement.parse(leaf: view.leaf(index)).statement))
        continue
      }
      guard let tag = tags[entry.subject] else { throw LedgerError.subjectBeingErased }
      event.subject = tag
      event.recordID = EventID.record(of: tag, purpose: event.purpose.id)
      if let payload = entry.payload {
        event.commitment = try vault.sealPayload(
          payload, subjectID: entry.subject, eventID: event.eventID
        ).hex
      }
      final.append((event, nil))
    }
    let new = try SignedStatement.sign(
      final.filter { $0.statement == nil }.map { .consent($0.event) }, key: files.identity)
    var next = new.makeIterator()
    return Prepared(events: final.map(\.event), statements: final.compactMap { $0.statement ?? next.next() })
  }

  /// Entries on their way to events, with the histories that they follow. Nothing is written.
  private struct Drafts {
    private let recorder: ConsentRecorder
    private let circumstances: Circumstances
    private let rules: LedgerRules
    private let logSize: UInt64
    private let known: [String: SubjectTag]
    private var histories: [SubjectTag: [IndexedEvent]]
    private var strangers: [String: SubjectTag] = [:]
    private var identifiers: Set<EventID> = []
    private var random = RandomStream.system()
    private(set) var drafted: [(event: ConsentEvent, recordedAt: UInt64?)] = []

    init(_ recorder: ConsentRecorder, _ entries: [Entry], _ circumstances: Circumstances) throws {
      self.recorder = recorder
      self.circumstances = circumstances
      rules = try recorder.view.rules()
      logSize = try recorder.view.size()
      known = try recorder.vault.tags(for: entries.map(\.subject), create: false)
      // Who was unknown until now has no history.
      histories = try recorder.view.events(Array(Set(known.values)))
    }

    /// Drafts entries in their order; returns what is wrong, each with its position.
    mutating func add(_ entries: [Entry], offset: Int) -> [Refusal] {
      var refusals: [Refusal] = []
      for (position, entry) in entries.enumerated() {
        do throws(Refusal) { try add(entry, position: offset + position) } catch { refusals.append(error) }
      }
      return refusals
    }

    private mutating func add(_ entry: Entry, position: Int) throws(Refusal) {
      let tag = tag(of: entry.subject)
      let eventID: EventID
      do {
        eventID = try entry.eventID ?? EventID.ordered(timeMs: max(0, entry.timeMs), using: &random)
      } catch { throw .record(position: position, "\(error)") }
      guard identifiers.insert(eventID).inserted else {
        throw .record(position: position, "the event id \(eventID) is there twice")
      }
      let history = histories[tag] ?? []
      if let earlier = history.first(where: { $0.event.eventID == eventID }), earlier.index.value < logSize {
        try recorder.checkSame(entry, earlier.event, circumstances, position: position)
        drafted.append((earlier.event, earlier.index.value))
        return
      }
      var event = try recorder.draft(
        entry, circumstances, rules, tag: tag, eventID: eventID, position: position)
      if let policy = rules.current?.policy {
        try recorder.checkTransition(event, history, policy, position: position)
      }
      event.previous = history.last { $0.event.purpose.id == event.purpose.id }?.event.eventID
      drafted.append((event, nil))
      // Later entries of the batch follow this one; their real index is not known yet, only their order.
      let index = LeafIndex(max(logSize, (history.last?.index.value ?? 0) + 1))
      histories[tag, default: []].append(IndexedEvent(index: index, event: event))
    }

    /// The customer's tag, or one that stands for it as long as the vault has none.
    private mutating func tag(of subject: String) -> SubjectTag {
      if let tag = known[subject] ?? strangers[subject] { return tag }
      let digest = Hash.blake2b(domain: "accord stranger", [Array(subject.utf8)])
      guard let tag = try? SubjectTag(digest.bytes) else {
        preconditionFailure("a digest has as many bytes as a tag")
      }
      strangers[subject] = tag
      return tag
    }
  }

  /// Sends what was prepared.
  package func submit(_ prepared: Prepared, subjects: [String]) async throws -> [Receipt] {
    // Before the answer: the copy may overtake the receipt.
    let verified = try view.size()
    let answer = try await LedgerSubmission.send(prepared.statements, client: client, key: files.identity)
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

  /// The same identifier for something else is a mistake of the caller's: everything that the caller says is
  /// compared but the words of a payload, not what follows from policy and history.
  private func checkSame(
    _ entry: Entry, _ known: ConsentEvent, _ circumstances: Circumstances, position: Int
  ) throws(Refusal) {
    let same =
      known.state == entry.state && known.purpose.id == entry.purpose ?? circumstances.purpose
      && known.jurisdiction == entry.jurisdiction ?? circumstances.jurisdiction
      && known.ageBand == entry.ageBand ?? circumstances.ageBand && known.actor == circumstances.actor
      && known.channel == circumstances.channel && known.method == circumstances.method
      && known.language == circumstances.language && known.screenHash == circumstances.screenHash
      && known.recorder == circumstances.recorder ?? files.name && known.steps == entry.steps
      && known.durationMs == entry.durationMs
      && (circumstances.noticeHash == nil || known.noticeHash == circumstances.noticeHash)
      && (circumstances.legalBasis == nil || known.legalBasis == circumstances.legalBasis)
      && (entry.expiresAtMs == nil || known.expiresAtMs == entry.expiresAtMs)
      && (!entry.hasOwnTime || known.eventTimeMs == entry.timeMs)
      && (entry.payload == nil) == (known.commitment == nil)
    guard same else {
      throw .record(
        position: position,
        "the event id \(known.eventID) stands for other content already: \(known.state.rawValue) for "
          + "\(known.purpose); use another one")
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
    let latest = Int64(client.clock()) + EntryCoding.allowedClockSkewMs
    guard entry.timeMs >= 0, entry.timeMs <= latest else {
      throw .record(
        position: position, "its time (\(entry.timeMs) ms since 1970) is negative or in the future")
    }
    guard entry.state != .erased else {
      throw .record(position: position, "an erasure is not recorded like this: use `accord subject erase`")
    }
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
