package import Consent
package import ConsentLedger
import Cryptography
import Federation
import Foundation
import Messages
import Synchronization

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
    /// Whether the identifier was made for this entry, from what it came from or at random, so that it cannot
    /// stand for anything else.
    package var hasMadeID = false
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
  let files: NodeFiles
  let vault: SubjectVault
  let client: FederationClient
  let view: LedgerView

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
  /// wrong. Each customer's entries are looked at in their order, different customers on all cores.
  package func problems(_ entries: [Entry], _ circumstances: Circumstances) throws -> [Refusal] {
    let parts = entries.count < 4096 ? 1 : max(1, ProcessInfo.processInfo.activeProcessorCount)
    var places = [[Int]](repeating: [], count: parts)
    var refusals: [Refusal] = []
    var identifiers: Set<EventID> = []
    for (position, entry) in entries.enumerated() {
      places[Int(UInt(bitPattern: entry.subject.hashValue) % UInt(parts))].append(position)
      if !entry.hasMadeID, let id = entry.eventID, !identifiers.insert(id).inserted {
        refusals.append(.record(position: position, "the event id \(id) is there twice"))
      }
    }
    let results = Mutex([Result<[Refusal], any Error>](repeating: .success([]), count: parts))
    let all = places
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      let result = Result { try self.problems(entries, at: all[part], circumstances) }
      results.withLock { $0[part] = result }
    }
    for result in results.withLock({ $0 }) { refusals += try result.get() }
    return refusals.sorted { $0.position < $1.position }
  }

  private func problems(
    _ entries: [Entry], at places: [Int], _ circumstances: Circumstances
  ) throws -> [Refusal] {
    var drafts = try Drafts(self, places.map { entries[$0] }, circumstances)
    // An identifier that is there twice was found for all customers together.
    return drafts.add(places.lazy.map { ($0, entries[$0]) }, checkingIdentifiers: false)
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
    /// What the vault got for them.
    let draft: VaultDraft
  }

  /// Makes, checks and signs the events of a batch.
  /// - Parameter isChecked: `problems` found nothing wrong in the entries; then the vault is asked only once. Else
  ///   everything is checked before the vault is touched.
  package func prepare(
    _ entries: [Entry], _ circumstances: Circumstances, offset: Int = 0, isChecked: Bool = false
  ) throws -> Prepared {
    let subjects = entries.map(\.subject)
    if !isChecked { try check(entries, circumstances, offset: offset, tags: nil) }
    // A tag in the log without its key in the vault could never be opened: the vault before the ledger.
    let draft = vault.newDraft()
    do {
      var made: Set<SubjectTag> = []
      let tags = try vault.tags(for: subjects, create: true, draft: draft, made: &made)
      let drafts = try check(entries, circumstances, offset: offset, tags: (tags, made))
      return try prepare(entries, drafts, tags, draft)
    } catch {
      try vault.discard(draft)
      throw error
    }
  }

  @discardableResult
  private func check(
    _ entries: [Entry], _ circumstances: Circumstances, offset: Int,
    tags: (known: [String: SubjectTag], made: Set<SubjectTag>)?
  ) throws -> Drafts {
    var drafts = try Drafts(self, entries, circumstances, tags: tags)
    let placed = entries.lazy.enumerated().map { (offset + $0, $1) }
    if let refusal = drafts.add(placed, checkingIdentifiers: true).first { throw refusal }
    return drafts
  }

  private func prepare(
    _ entries: [Entry], _ drafts: Drafts, _ tags: [String: SubjectTag], _ draft: VaultDraft
  ) throws -> Prepared {
    let recorded = drafts.drafted.compactMap(\.recordedAt)
    let known = Dictionary(zip(recorded, try view.leaves(recorded)), uniquingKeysWith: { first, _ in first })
    var final: [(event: ConsentEvent, statement: SignedStatement?)] = []
    final.reserveCapacity(entries.count)
    for (entry, drafted) in zip(entries, drafts.drafted) {
      var event = drafted.event
      if let index = drafted.recordedAt {
        // A retry: what was recorded is sent again word for word, and the ledger answers where it stands.
        guard let leaf = known[index] else { throw LedgerError.unreadableEntry(index: index) }
        final.append((event, try SignedStatement.parse(leaf: leaf).statement))
        continue
      }
      guard let tag = tags[entry.subject] else { throw LedgerError.subjectBeingErased }
      event.subject = tag
      event.recordID = EventID.record(of: tag, purpose: event.purpose.id)
      if let payload = entry.payload {
        let item = PayloadToSeal(subjectID: entry.subject, eventID: event.eventID, payload: payload)
        event.commitment = try vault.sealPayloads([item], draft: draft)[0].hex
      }
      final.append((event, nil))
    }
    let new = try SignedStatement.sign(
      final.filter { $0.statement == nil }.map { .consent($0.event) }, key: files.identity)
    var next = new.makeIterator()
    return Prepared(
      events: final.map(\.event), statements: final.compactMap { $0.statement ?? next.next() }, draft: draft)
  }

  /// Sends what was prepared.
  package func submit(_ prepared: Prepared, subjects: [String]) async throws -> [Receipt] {
    // Before the answer: the copy may overtake the receipt.
    let verified = try view.size()
    let answer = try await discardingRefused(prepared) {
      try await LedgerSubmission.send(prepared.statements, client: client, key: files.identity)
    }
    if let first = answer.first { try note((first.treeSize, first.root), verified: verified) }
    return zip(zip(subjects, prepared.events), answer).map {
      Receipt(subject: $0.0, event: $0.1, proven: $1)
    }
  }

  /// What was sent and answered; `confirm` checks the answer.
  package struct Sent: Sendable {
    fileprivate let answer: LedgerSubmission.Unchecked
    fileprivate let verified: UInt64
  }

  /// Sends what was prepared, for `confirm`: without a receipt for each event.
  package func send(_ prepared: Prepared) async throws -> Sent {
    let verified = try view.size()
    let answer = try await discardingRefused(prepared) {
      try await LedgerSubmission.sendRuns(prepared.statements, client: client, key: files.identity)
    }
    return Sent(answer: answer, verified: verified)
  }

  /// Checks that everything that was sent is in the log.
  package func confirm(_ sent: Sent) throws {
    try note(try LedgerSubmission.check(sent.answer), verified: sent.verified)
  }

  private func discardingRefused<Answer>(
    _ prepared: Prepared, _ body: () async throws -> Answer
  ) async throws -> Answer {
    do { return try await body() } catch let error as EdgeNodeError {
      // A definite answer: nothing of the append was taken, and nothing of it stays here. (An append that was
      // taken before its answer was lost is answered with its receipts, whatever was decided since.)
      if case .refused(LedgerSubmission.refusalCode, _) = error { try vault.discard(prepared.draft) }
      throw error
    }
  }

  private func note(_ tree: (size: UInt64, root: Digest), verified: UInt64) throws {
    guard tree.size >= verified else {
      throw EdgeNodeError.badAnswer(
        what: "receipt",
        reason:
          "it is for a log of \(tree.size) entries, but this node has verified \(verified): the "
          + "server was restored from an older copy, and what it acknowledges now may be lost")
    }
    // The gate denies until this node's copy of the log has come as far.
    try vault.noteAcknowledged(treeSize: tree.size, root: tree.root)
  }
}
