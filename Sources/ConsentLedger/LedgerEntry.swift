package import Consent
package import Cryptography

/// The kinds of entries in the log (protocol/CONSENT-LEDGER.md, section 2).
package enum EntryKind: String, Sendable, CaseIterable {
  /// Something about one customer's consent, signed by the node that recorded it.
  case consent
  /// A key that may write to the log, signed by the operator.
  case enrolment
  /// The end of an enrolment, signed by the operator.
  case revocation
  /// A policy that an officer proposes.
  case policy
  /// An officer's agreement to what needs two people.
  case approval
  /// A step of a customer's statutory request.
  case request
  /// What a round did, signed by the server.
  case round
  /// Something else that must be on record, such as a refusal.
  case notice
}

/// What an entry says.
package enum EntryBody: Hashable, Sendable {
  case consent(ConsentEvent)
  case enrolment(EnrolmentRecord)
  case revocation(RevocationRecord)
  case policy(PolicyRecord)
  case approval(ApprovalRecord)
  case request(RequestRecord)
  case round(RoundRecord)
  case notice(NoticeRecord)

  /// Which kind of entry it is.
  package var kind: EntryKind {
    switch self {
    case .consent: .consent
    case .enrolment: .enrolment
    case .revocation: .revocation
    case .policy: .policy
    case .approval: .approval
    case .request: .request
    case .round: .round
    case .notice: .notice
    }
  }

  /// What may be in the log once, 16 bytes: a second entry with this identity has to say the same.
  package var identity: [UInt8] {
    switch self {
    case .consent(let event): event.eventID.bytes
    case .request(let record): record.eventID.bytes
    case .approval(let record): record.id.bytes
    case .notice(let record): record.id.bytes
    case .enrolment(let record): Self.identity(.enrolment, record.nodeKey.hex)
    case .revocation(let record): Self.identity(.revocation, record.key.hex)
    case .policy(let record): Self.identity(.policy, record.digest.hex)
    case .round(let record): Self.identity(.round, record.sessionID.hex)
    }
  }

  private static func identity(_ kind: EntryKind, _ name: String) -> [UInt8] {
    Array(Hash.sha256(Array("\(kind.rawValue) \(name)".utf8)).bytes.prefix(16))
  }

  /// When the author says that it happened; nil for rounds and enrolments, which have other times.
  var timeMs: Int64? {
    switch self {
    case .consent(let event): event.eventTimeMs
    case .revocation(let record): record.timeMs
    case .policy(let record): record.timeMs
    case .approval(let record): record.timeMs
    case .request(let record): record.timeMs
    case .round(let record): record.endedMs
    case .notice(let record): record.timeMs
    case .enrolment: nil
    }
  }

  /// The content's canonical bytes. Throws when a field is out of range.
  package func canonicalContent() throws(LedgerError) -> [UInt8] {
    switch self {
    case .consent(let event): try event.canonicalContent()
    case .enrolment(let record): try record.canonicalContent()
    case .revocation(let record): try record.canonicalContent()
    case .policy(let record): try record.canonicalContent()
    case .approval(let record): try record.canonicalContent()
    case .request(let record): try record.canonicalContent()
    case .round(let record): try record.canonicalContent()
    case .notice(let record): try record.canonicalContent()
    }
  }

  /// Reads a content strictly.
  package init(kind: EntryKind, content: [UInt8]) throws(LedgerError) {
    switch kind {
    case .consent: self = .consent(try ConsentEvent(canonicalContent: content))
    case .enrolment: self = .enrolment(try EntryCoding.decode(EnrolmentContent.self, content).record())
    case .revocation: self = .revocation(try EntryCoding.decode(RevocationContent.self, content).record())
    case .policy: self = .policy(try PolicyRecord(canonicalContent: content))
    case .approval: self = .approval(try EntryCoding.decode(ApprovalContent.self, content).record())
    case .request: self = .request(try EntryCoding.decode(RequestContent.self, content).record())
    case .round: self = .round(try EntryCoding.decode(RoundContent.self, content).record())
    case .notice: self = .notice(try EntryCoding.decode(NoticeContent.self, content).record())
    }
  }
}

/// One entry of the log: who says what, and when the ledger took it.
package struct LedgerEntry: Hashable, Sendable {
  /// What it says.
  package let body: EntryBody
  /// What the author signed.
  package let statement: SignedStatement
  /// When the ledger took it, ms of UTC since 1970; never decreases along the log.
  package let recordedMs: Int64

  /// Who signed.
  package var signer: VerifyingKey { statement.signer }
  /// Which kind of entry it is.
  package var kind: EntryKind { statement.kind }

  /// Reads a leaf strictly, with every field and the signature. Whether the signer may sign is not decided
  /// here.
  package init(leaf: [UInt8]) throws(LedgerError) {
    var check = SignatureCheck()
    try self.init(leaf: leaf, check: &check)
  }

  /// Reads a leaf; a signature that covers its neighbours too is checked once.
  package init(leaf: [UInt8], check: inout SignatureCheck) throws(LedgerError) {
    try self.init(unsigned: leaf)
    guard check.isSigned(statement) else { throw .wrongSignature(signer: statement.signer) }
  }

  /// Reads a leaf whose signature was checked when it was stored.
  init(unsigned leaf: [UInt8]) throws(LedgerError) {
    (statement, recordedMs) = try SignedStatement.parse(leaf: leaf)
    body = try statement.body()
    if let time = body.timeMs, time > recordedMs + EntryCoding.allowedClockSkewMs {
      throw .clockAhead(aheadMs: time - recordedMs)
    }
  }
}

/// What an enrolled key may do.
package enum EnrolledKind: String, Hashable, Sendable, CaseIterable {
  /// A store's node: trains and records consent.
  case store
  /// A customer's device: trains and records its owner's consent.
  case device
  /// An aggregation server: writes rounds and notices.
  case server
  /// A compliance officer: proposes and approves.
  case officer

  /// Whether a key of this kind may sign entries of a kind.
  package func maySign(_ kind: EntryKind) -> Bool {
    switch kind {
    case .consent: self == .store || self == .device
    case .round: self == .server
    case .policy, .approval: self == .officer
    case .request: self != .server
    // A node puts on record what it refuses.
    case .notice: true
    case .enrolment, .revocation: false
    }
  }

  /// Whether a key of this kind takes part in rounds.
  package var trains: Bool { self == .store || self == .device }
}
