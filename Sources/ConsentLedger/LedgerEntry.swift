package import Consent
package import Cryptography

/// The kinds of entries in the log.
package enum EntryKind: String, Sendable, CaseIterable {
  /// Something about one customer's consent, signed by the node that recorded it.
  case consent
  /// A key that may write to the log, signed by the operator.
  case enrolment
  /// What a round did, signed by the server.
  case round
  /// Something else that must be on record, such as a refusal, signed by the server.
  case notice
}

/// One entry of the log: who says what, with a signature. Its canonical bytes are the leaf.
package enum LedgerEntry: Hashable, Sendable {
  /// A consent event. The recording node signs, so the server cannot invent one.
  case consent(ConsentEvent, recorder: VerifyingKey, signature: Signature)
  /// An enrolment, signed by the operator.
  case enrolment(EnrolmentRecord)
  /// A round, signed by the server: the log's own key or a key enrolled as a server.
  case round(RoundRecord, server: VerifyingKey, signature: Signature)
  /// A notice, signed like a round.
  case notice(NoticeRecord, author: VerifyingKey, signature: Signature)

  /// Which kind of entry it is.
  package var kind: EntryKind {
    switch self {
    case .consent: .consent
    case .enrolment: .enrolment
    case .round: .round
    case .notice: .notice
    }
  }

  /// Who signed.
  package var signer: VerifyingKey {
    switch self {
    case .consent(_, let recorder, _): recorder
    case .enrolment(let record): record.operatorKey
    case .round(_, let server, _): server
    case .notice(_, let author, _): author
    }
  }

  /// The signature over `signingBytes()`.
  package var signature: Signature {
    switch self {
    case .consent(_, _, let signature): signature
    case .enrolment(let record): record.signature
    case .round(_, _, let signature): signature
    case .notice(_, _, let signature): signature
    }
  }

  /// What may be in the log once: a second entry with this identity has to be the same bytes.
  package var identity: String {
    switch self {
    case .consent(let event, _, _): "consent \(event.eventID)"
    case .enrolment(let record): "enrolment \(record.nodeKey)"
    case .round(let record, _, _): "round \(record.sessionID)"
    case .notice(let record, _, _): "notice \(record.id)"
    }
  }

  /// A consent event signed by the node that recorded it.
  package static func consent(
    _ event: ConsentEvent, signedBy key: SigningKey
  ) throws(LedgerError) -> LedgerEntry {
    let bytes = try EntryCoding.signingBytes(.consent, key.verifyingKey, event.canonicalContent())
    return .consent(event, recorder: key.verifyingKey, signature: key.sign(bytes))
  }

  /// A round's record signed by the server.
  package static func round(
    _ record: RoundRecord, signedBy key: SigningKey
  ) throws(LedgerError) -> LedgerEntry {
    let bytes = try EntryCoding.signingBytes(.round, key.verifyingKey, record.canonicalContent())
    return .round(record, server: key.verifyingKey, signature: key.sign(bytes))
  }

  /// A notice signed by a server or a node.
  package static func notice(
    _ record: NoticeRecord, signedBy key: SigningKey
  ) throws(LedgerError) -> LedgerEntry {
    let bytes = try EntryCoding.signingBytes(.notice, key.verifyingKey, record.canonicalContent())
    return .notice(record, author: key.verifyingKey, signature: key.sign(bytes))
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

  /// Whether a key of this kind may sign entries of a kind.
  package func maySign(_ kind: EntryKind) -> Bool {
    switch kind {
    case .consent: self != .server
    case .round: self == .server
    // A node puts on record what it refuses.
    case .notice: true
    case .enrolment: false
    }
  }
}

/// A key that the operator admits to the log.
package struct EnrolmentRecord: Hashable, Sendable {
  /// The admitted key.
  package let nodeKey: VerifyingKey
  /// Its name for people, such as `store-12`.
  package let name: String
  /// What it may do.
  package let kind: EnrolledKind
  /// From when, ms of UTC since 1970.
  package let validFromMs: Int64
  /// The operator who admits it.
  package let operatorKey: VerifyingKey
  /// The operator's signature over `signingBytes()`.
  package let signature: Signature

  /// A record that came from elsewhere; the ledger checks the signature.
  package init(
    nodeKey: VerifyingKey, name: String, kind: EnrolledKind, validFromMs: Int64, operatorKey: VerifyingKey,
    signature: Signature
  ) {
    self.nodeKey = nodeKey
    self.name = name
    self.kind = kind
    self.validFromMs = validFromMs
    self.operatorKey = operatorKey
    self.signature = signature
  }

  /// Enrols a key with the operator's signature.
  package init(
    nodeKey: VerifyingKey, name: String, kind: EnrolledKind, validFromMs: Int64,
    signedBy operatorKey: SigningKey
  ) throws(LedgerError) {
    let unsigned = EnrolmentRecord(
      nodeKey: nodeKey, name: name, kind: kind, validFromMs: validFromMs,
      operatorKey: operatorKey.verifyingKey,
      signature: Signature(unchecked: [UInt8](repeating: 0, count: Signature.byteCount)))
    self.init(
      nodeKey: nodeKey, name: name, kind: kind, validFromMs: validFromMs,
      operatorKey: operatorKey.verifyingKey, signature: operatorKey.sign(try unsigned.signingBytes()))
  }

  /// What the operator signs.
  package func signingBytes() throws(LedgerError) -> [UInt8] {
    EntryCoding.signingBytes(.enrolment, operatorKey, try canonicalContent())
  }

  /// Whether the operator's signature is right. Whether it is the right operator is for the caller to say.
  package func isSigned() throws(LedgerError) -> Bool {
    operatorKey.verifies(signature, of: try signingBytes())
  }
}

/// How a round ended.
package enum RoundResult: Hashable, Sendable {
  /// A sum was released.
  case completed
  /// Nothing was released, for this reason.
  case aborted(reason: String)
}

/// What a round did and what it spent, for the log. Counts are those that the server may know.
package struct RoundRecord: Hashable, Sendable {
  /// The round's session identifier.
  package var sessionID: Digest
  /// The session's number, which increases over all tasks of a server.
  package var round: UInt64
  /// The task.
  package var taskID: String
  /// What kind of task, such as `training` or `statistics`.
  package var kind: String
  /// The model that participants started from; nil for tasks without a model.
  package var modelIn: Digest?
  /// The model that came out; nil if none did.
  package var modelOut: Digest?
  /// What for.
  package var purpose: Purpose
  /// The size of the log that participants checked consent against.
  package var checkpointSize: UInt64
  /// Its root.
  package var checkpointRoot: Digest
  /// How old that checkpoint was when the round began, in seconds.
  package var checkpointAgeSeconds: Int64
  /// Nodes that took part.
  package var participants: Int
  /// Nodes whose input is in the sum.
  package var survivors: Int
  /// Nodes that dropped out.
  package var dropped: Int
  /// The noised number of customers with consent; nil if none was released.
  package var noisedEligible: Int64?
  /// The participants' evidence roots, if they sent them.
  package var evidenceRoots: [Digest]
  /// What the population of this round has spent after it; infinite when noise is off.
  package var epsilon: Double
  /// Failure probability of the guarantee.
  package var delta: Double
  /// What epsilon protects, such as `user` or `example`.
  package var unit: String
  /// The mechanism, in words that an accountant recognises.
  package var mechanism: String
  /// When the round began, ms of UTC since 1970.
  package var startedMs: Int64
  /// When it ended.
  package var endedMs: Int64
  /// How it ended.
  package var result: RoundResult
  /// The digest of the round's public transcript; nil if it ended before there was one.
  package var transcriptDigest: Digest?

  /// Puts a record together.
  package init(
    sessionID: Digest, round: UInt64, taskID: String, kind: String, modelIn: Digest?, modelOut: Digest?,
    purpose: Purpose, checkpointSize: UInt64, checkpointRoot: Digest, checkpointAgeSeconds: Int64,
    participants: Int, survivors: Int, dropped: Int, noisedEligible: Int64?, evidenceRoots: [Digest] = [],
    epsilon: Double, delta: Double, unit: String, mechanism: String, startedMs: Int64, endedMs: Int64,
    result: RoundResult, transcriptDigest: Digest?
  ) {
    self.sessionID = sessionID
    self.round = round
    self.taskID = taskID
    self.kind = kind
    self.modelIn = modelIn
    self.modelOut = modelOut
    self.purpose = purpose
    self.checkpointSize = checkpointSize
    self.checkpointRoot = checkpointRoot
    self.checkpointAgeSeconds = checkpointAgeSeconds
    self.participants = participants
    self.survivors = survivors
    self.dropped = dropped
    self.noisedEligible = noisedEligible
    self.evidenceRoots = evidenceRoots
    self.epsilon = epsilon
    self.delta = delta
    self.unit = unit
    self.mechanism = mechanism
    self.startedMs = startedMs
    self.endedMs = endedMs
    self.result = result
    self.transcriptDigest = transcriptDigest
  }
}

/// Something else that must be on record, such as a task that was refused for lack of budget.
package struct NoticeRecord: Hashable, Sendable {
  /// The key of idempotence.
  package var id: EventID
  /// A short word for programs, such as `refusal`.
  package var kind: String
  /// A sentence for people; no customer's data.
  package var text: String
  /// When, ms of UTC since 1970.
  package var timeMs: Int64

  /// Puts a notice together.
  package init(id: EventID, kind: String, text: String, timeMs: Int64) {
    self.id = id
    self.kind = kind
    self.text = text
    self.timeMs = timeMs
  }
}
