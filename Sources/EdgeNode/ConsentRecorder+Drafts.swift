import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation

extension ConsentRecorder {
  /// Entries on their way to events, with the histories that they follow. Nothing is written.
  struct Drafts {
    private let recorder: ConsentRecorder
    private let circumstances: Circumstances
    private let rules: LedgerRules
    private let logSize: UInt64
    private let known: [String: SubjectTag]
    private var histories: [SubjectTag: [IndexedEvent]]
    private let taken: Set<EventID>
    private var strangers: [String: SubjectTag] = [:]
    private var identifiers: Set<EventID> = []
    private var random = RandomStream.system()
    private var forms: [Form: ConsentEvent] = [:]
    /// The latest time that an entry may have.
    private let latestMs: Int64
    private(set) var drafted: [(event: ConsentEvent, recordedAt: UInt64?)] = []

    /// - Parameter tags: the customers' tags with those that were only just made; nil looks them up.
    init(
      _ recorder: ConsentRecorder, _ entries: [Entry], _ circumstances: Circumstances,
      tags: (known: [String: SubjectTag], made: Set<SubjectTag>)? = nil
    ) throws {
      self.recorder = recorder
      self.circumstances = circumstances
      rules = try recorder.view.rules()
      latestMs = Int64(recorder.client.clock()) + EntryCoding.allowedClockSkewMs
      logSize = try recorder.view.size()
      known = try tags?.known ?? recorder.vault.tags(for: entries.map(\.subject), create: false)
      // Who was unknown until now has no history.
      histories = try recorder.view.events(Array(Set(known.values).subtracting(tags?.made ?? [])))
      taken = try recorder.view.known(entries.filter { !$0.hasMadeID }.compactMap(\.eventID))
    }

    /// Drafts entries in their order; returns what is wrong, each with its position.
    mutating func add(
      _ entries: some Sequence<(Int, Entry)>, checkingIdentifiers: Bool
    ) -> [Refusal] {
      var refusals: [Refusal] = []
      for (position, entry) in entries {
        do throws(Refusal) { try add(entry, position: position, checkingIdentifiers) } catch {
          refusals.append(error)
        }
      }
      return refusals
    }

    private mutating func add(
      _ entry: Entry, position: Int, _ checkingIdentifiers: Bool
    ) throws(Refusal) {
      let tag = tag(of: entry.subject)
      let eventID: EventID
      do {
        eventID = try entry.eventID ?? EventID.ordered(timeMs: max(0, entry.timeMs), using: &random)
      } catch { throw .record(position: position, "\(error)") }
      guard !checkingIdentifiers || identifiers.insert(eventID).inserted else {
        throw .record(position: position, "the event id \(eventID) is there twice")
      }
      let history = histories[tag] ?? []
      if let earlier = history.first(where: { $0.event.eventID == eventID }), earlier.index.value < logSize {
        try recorder.checkSame(entry, earlier.event, circumstances, position: position)
        drafted.append((earlier.event, earlier.index.value))
        return
      }
      guard !taken.contains(eventID) else {
        throw .record(
          position: position,
          "the event id \(eventID) stands for another customer's entry already; use another one")
      }
      var event = try draft(entry, tag: tag, eventID: eventID, position: position)
      if let policy = rules.current?.policy {
        try recorder.checkTransition(event, history, policy, position: position)
      }
      event.previous = history.last { $0.event.purpose.id == event.purpose.id }?.event.eventID
      drafted.append((event, nil))
      // Later entries of the batch follow this one; their real index is not known yet, only their order.
      let index = LeafIndex(max(logSize, (history.last?.index.value ?? 0) + 1))
      histories[tag, default: []].append(IndexedEvent(index: index, event: event))
    }

    /// The event of an entry. Entries of one form differ in customer, identifier and time alone, and neither policy
    /// nor rules look at these but for their distances: what was found out about the first holds for all.
    private mutating func draft(
      _ entry: Entry, tag: SubjectTag, eventID: EventID, position: Int
    ) throws(Refusal) -> ConsentEvent {
      let form = Form(entry)
      guard var event = forms[form], !entry.subject.isEmpty, (0...latestMs).contains(entry.timeMs) else {
        let event = try recorder.draft(
          entry, circumstances, rules, tag: tag, eventID: eventID, position: position)
        if forms.count < Self.maximumForms { forms[form] = event }
        return event
      }
      let delay = entry.timeMs - event.eventTimeMs
      for time in [\ConsentEvent.expiresAtMs, \.askAgainAtMs] {
        guard let value = event[keyPath: time] else { continue }
        let (moved, overflow) = value.addingReportingOverflow(delay)
        guard !overflow, (0...ConsentEvent.latestTimeMs).contains(moved) else {
          return try recorder.draft(
            entry, circumstances, rules, tag: tag, eventID: eventID, position: position)
        }
        event[keyPath: time] = moved
      }
      event.eventTimeMs = entry.timeMs
      event.eventID = eventID
      event.subject = tag
      event.recordID = EventID.record(of: tag, purpose: event.purpose.id)
      return event
    }

    private static let maximumForms = 1024

    /// What entries have in common whose events differ in customer, identifier and time alone.
    private struct Form: Hashable {
      let state: ConsentState
      let purpose: String?
      let jurisdiction: String?
      let ageBand: AgeBand?
      let steps: Int?
      let durationMs: Int64?
      /// From the decision to the end of the grant; nil for the policy's lifetime.
      let lifetimeMs: Int64?
      let endsAtAll: Bool

      init(_ entry: Entry) {
        state = entry.state
        purpose = entry.purpose
        jurisdiction = entry.jurisdiction
        ageBand = entry.ageBand
        steps = entry.steps
        durationMs = entry.durationMs
        endsAtAll = entry.expiresAtMs != nil
        lifetimeMs = entry.expiresAtMs.flatMap { end in
          let (lifetime, overflow) = end.subtractingReportingOverflow(entry.timeMs)
          return overflow ? nil : lifetime
        }
      }
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

  /// The same identifier for something else is a mistake of the caller's: everything that the caller says is
  /// compared, the words of a payload by their commitment, not what follows from policy and history.
  fileprivate func checkSame(
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
    guard same, try hasSamePayload(entry, known, position: position) else {
      throw .record(
        position: position,
        "the event id \(known.eventID) stands for other content already: \(known.state.rawValue) for "
          + "\(known.purpose); use another one")
    }
  }

  private func hasSamePayload(
    _ entry: Entry, _ known: ConsentEvent, position: Int
  ) throws(Refusal) -> Bool {
    guard let payload = entry.payload else { return true }
    do {
      return try vault.commitment(to: payload, subjectID: entry.subject, eventID: known.eventID)
        == known.commitment
    } catch { throw .record(position: position, "\(error)") }
  }

  fileprivate func checkTransition(
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
  fileprivate func draft(
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
