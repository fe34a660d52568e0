package import Consent
package import Cryptography

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

  /// Puts a record together.
  package init(nodeKey: VerifyingKey, name: String, kind: EnrolledKind, validFromMs: Int64) {
    self.nodeKey = nodeKey
    self.name = name
    self.kind = kind
    self.validFromMs = validFromMs
  }
}

/// The end of an enrolment: a lost key, a closed store, an officer who left.
package struct RevocationRecord: Hashable, Sendable {
  /// The key that signs nothing any more.
  package let key: VerifyingKey
  /// Why.
  package let reason: String
  /// When, ms of UTC since 1970.
  package let timeMs: Int64

  /// Puts a record together.
  package init(key: VerifyingKey, reason: String, timeMs: Int64) {
    self.key = key
    self.reason = reason
    self.timeMs = timeMs
  }
}

/// A policy that an officer proposes: in force once another officer approved it.
package struct PolicyRecord: Hashable, Sendable {
  /// The policy's canonical JSON.
  package let document: [UInt8]
  /// When, ms of UTC since 1970.
  package let timeMs: Int64

  /// Puts a record together.
  package init(document: [UInt8], timeMs: Int64) {
    self.document = document
    self.timeMs = timeMs
  }

  /// The policy hash that grants name.
  package var digest: Digest { Hash.sha256(document) }
}

/// What an officer agrees to.
package enum ApprovalAction: String, Hashable, Sendable, CaseIterable {
  /// A policy; the target is its digest.
  case policy
  /// The erasure of a customer; the target is the tag.
  case erasure
  /// A new key-encryption key of a vault; the target is the digest of the node's public key.
  case keyRotation = "key-rotation"
}

/// An officer's agreement to what needs two people.
package struct ApprovalRecord: Hashable, Sendable {
  /// The key of idempotence.
  package let id: EventID
  /// What kind of action.
  package let action: ApprovalAction
  /// What exactly.
  package let target: Digest
  /// For people.
  package let text: String
  /// When, ms of UTC since 1970.
  package let timeMs: Int64

  /// Puts a record together.
  package init(id: EventID, action: ApprovalAction, target: Digest, text: String, timeMs: Int64) {
    self.id = id
    self.action = action
    self.target = target
    self.text = text
    self.timeMs = timeMs
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
