package import Consent
import Cryptography

/// A customer's statutory request and what was done with it, one entry a step (GDPR Art. 12–22; CCPA §1798.100
/// ff.; the fields are those of CCPA regulations §7101).
package struct RequestRecord: Hashable, Sendable {
  /// What happened.
  package enum Action: String, Hashable, Sendable, CaseIterable {
    case received, acknowledged, extended, completed, denied
  }
  /// What the customer asks for.
  package enum Nature: String, Hashable, Sendable, CaseIterable {
    case access, erasure, rectification, restriction, portability, objection
    case optOut = "opt-out"
    case limit, know, delete, correct
  }
  /// Whose clock runs.
  package enum Law: String, Hashable, Sendable, CaseIterable {
    case gdpr, ccpa
  }

  /// The key of idempotence.
  package var eventID: EventID
  /// The request that the step belongs to.
  package var requestID: EventID
  /// The step.
  package var action: Action
  /// What is asked for.
  package var nature: Nature
  /// Under which law.
  package var law: Law
  /// How the request was made, such as `web form`.
  package var manner: String
  /// Why it was denied or extended.
  package var basis: String?
  /// What was answered.
  package var response: String?
  /// The customer's tag, if the request is about one whom the vault knows.
  package var subject: SubjectTag?
  /// When, ms of UTC since 1970.
  package var timeMs: Int64

  /// Puts a record together.
  package init(
    eventID: EventID, requestID: EventID, action: Action, nature: Nature, law: Law, manner: String,
    basis: String? = nil, response: String? = nil, subject: SubjectTag? = nil, timeMs: Int64
  ) {
    self.eventID = eventID
    self.requestID = requestID
    self.action = action
    self.nature = nature
    self.law = law
    self.manner = manner
    self.basis = basis
    self.response = response
    self.subject = subject
    self.timeMs = timeMs
  }
}

struct RequestContent: Codable {
  let action: String
  let basis: String?
  let event_id: String
  let manner: String
  let nature: String
  let regime: String
  let request_id: String
  let response: String?
  let subject: String?
  let time: Int64
}

extension RequestRecord {
  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try validate()
    return try EntryCoding.encode(
      RequestContent(
        action: action.rawValue, basis: basis, event_id: eventID.hex, manner: manner, nature: nature.rawValue,
        regime: law.rawValue, request_id: requestID.hex, response: response, subject: subject?.hex,
        time: timeMs))
  }

  fileprivate func validate() throws(LedgerError) {
    try Field.check(manner, "manner", maximum: 64)
    if let basis { try Field.check(basis, "basis", maximum: 512) }
    if let response { try Field.check(response, "response", maximum: 512) }
    try Field.check(timeMs, "time")
    if action == .denied || action == .extended, basis == nil {
      throw .malformedEntry("a request that is denied or extended needs its basis")
    }
  }
}

extension RequestContent {
  func record() throws(LedgerError) -> RequestRecord {
    guard let action = RequestRecord.Action(rawValue: action),
      let nature = RequestRecord.Nature(rawValue: nature), let law = RequestRecord.Law(rawValue: regime)
    else { throw .malformedEntry("its action, nature or regime is unknown") }
    let record: RequestRecord
    do {
      record = RequestRecord(
        eventID: try EventID(hex: event_id), requestID: try EventID(hex: request_id), action: action,
        nature: nature, law: law, manner: manner, basis: basis, response: response,
        subject: try subject.map { text throws(ConsentError) in try SubjectTag(hex: text) }, timeMs: time)
    } catch { throw .content(error) }
    try record.validate()
    return record
  }
}
