package import Consent
package import Cryptography
import Foundation
import GRDB
import Synchronization

/// What a consent event is about in the clear: never in the log, which holds a keyed commitment to it.
package struct ConsentPayload: Codable, Hashable, Sendable {
  /// The customer's id, as given.
  package var customerID: String
  /// The first bytes of the network address, such as `203.0.113.0/24`.
  package var ipPrefix: String?
  /// The browser or app.
  package var userAgent: String?
  /// How a guardian was verified.
  package var guardianEvidence: String?
  /// What else the recorder noted.
  package var text: String?

  /// The longest field, in bytes of UTF-8.
  package static let maximumFieldBytes = 16_384

  /// Puts a payload together.
  package init(
    customerID: String, ipPrefix: String? = nil, userAgent: String? = nil, guardianEvidence: String? = nil,
    text: String? = nil
  ) {
    self.customerID = customerID
    self.ipPrefix = ipPrefix
    self.userAgent = userAgent
    self.guardianEvidence = guardianEvidence
    self.text = text
  }

  private enum CodingKeys: String, CodingKey {
    case customerID = "customer_id"
    case ipPrefix = "ip_prefix"
    case userAgent = "user_agent"
    case guardianEvidence = "guardian_evidence"
    case text
  }

  /// The bytes that are sealed and committed to: JSON with sorted keys, absent fields left out.
  package func canonicalBytes() throws(LedgerError) -> [UInt8] {
    for field in [customerID, ipPrefix, userAgent, guardianEvidence, text] {
      guard field?.utf8.count ?? 0 <= Self.maximumFieldBytes else {
        throw .malformedEntry("a field of its payload is longer than \(Self.maximumFieldBytes) bytes")
      }
    }
    return try EntryCoding.encode(self)
  }
}

/// A payload that is to be sealed.
package struct PayloadToSeal: Sendable {
  /// The customer's id, by which the vault knows the subject.
  package let subjectID: String
  /// The event that the payload belongs to.
  package let eventID: EventID
  /// What to seal.
  package let payload: ConsentPayload

  /// Puts one together.
  package init(subjectID: String, eventID: EventID, payload: ConsentPayload) {
    self.subjectID = subjectID
    self.eventID = eventID
    self.payload = payload
  }
}

/// A payload that was opened.
package struct OpenedPayload: Hashable, Sendable {
  /// The event that it belongs to.
  package let eventID: EventID
  /// What was sealed.
  package let payload: ConsentPayload
  /// The commitment, computed again from what was opened.
  package let commitment: Digest

  /// Whether the event in the log commits to this payload.
  package func belongs(to event: ConsentEvent) -> Bool {
    event.eventID == eventID && event.commitment == commitment.hex
  }
}

/// A notice as customers were shown it.
package struct StoredNotice: Hashable, Sendable {
  /// Its text.
  package let text: String
  /// Its language (BCP 47).
  package let language: String
}

extension SubjectVault {
  /// Seals an event's payload under the subject's key; a subject without a key gets one. The same again
  /// changes nothing; another payload for the event throws `conflictingEntry`.
  /// - Returns: The commitment that goes into the event.
  package func sealPayload(
    _ payload: ConsentPayload, subjectID: String, eventID: EventID
  ) throws(LedgerError) -> Digest {
    try sealPayloads([PayloadToSeal(subjectID: subjectID, eventID: eventID, payload: payload)])[0]
  }

  /// Seals payloads in one transaction. A subject that is being erased throws `subjectBeingErased`. `draft` marks
  /// what is added.
  package func sealPayloads(
    _ payloads: [PayloadToSeal], draft: VaultDraft? = nil
  ) throws(LedgerError) -> [Digest] {
    let keys = heldKeys
    var contents: [[UInt8]] = []
    for item in payloads { contents.append(try item.payload.canonicalBytes()) }
    return try write(keys) { db in
      let rows = try SubjectRows(db, keys)
      let select = try db.cachedStatement(
        sql: "SELECT sealed, draft FROM payload WHERE subject = ? AND event = ?")
      let insert = try db.cachedStatement(
        sql: "INSERT INTO payload (subject, event, sealed, draft) VALUES (?, ?, ?, ?)")
      let keep = try db.cachedStatement(
        sql: "UPDATE payload SET draft = NULL WHERE subject = ? AND event = ?")
      return try zip(payloads, contents).map { item, content in
        let subject = try require(item.subjectID, rows, draft)
        let commitment = Self.commitment(content, item.eventID, subject.key)
        let event = Data(item.eventID.bytes)
        if let row = try Row.fetchOne(select, arguments: [subject.id, event]) {
          let sealed = try row.decode(Data.self, atIndex: 0)
          guard try unseal(Array(sealed), item.eventID, subject.key).commitment == commitment else {
            throw LedgerError.conflictingEntry(identity: "the payload of event \(item.eventID)")
          }
          if let mark = try row.decode(Int64?.self, atIndex: 1), mark != draft?.token {
            try keep.execute(arguments: [subject.id, event])
          }
        } else {
          let sealed = random.withLock {
            AEAD.seal(content, key: subject.key.payload, additionalData: item.eventID.bytes, using: &$0)
          }
          try insert.execute(arguments: [subject.id, event, Data(sealed), draft?.token])
        }
        return commitment
      }
    }
  }

  private func require(
    _ subjectID: String, _ rows: SubjectRows, _ draft: VaultDraft?
  ) throws -> SubjectRow {
    let lookup = rows.keys.lookup(subjectID)
    switch try rows.find(lookup) {
    case .known(let row):
      try claim(row, for: draft, rows.db)
      return row
    case .erasing: throw LedgerError.subjectBeingErased
    case .unknown: return try makeSubject(lookup, rows, draft)
    }
  }

  /// The subject's payloads, in the order of their event ids; none for an unknown subject. Whoever shows them
  /// checks with `belongs(to:)` that the log commits to them.
  package func payloads(of subjectID: String) throws(LedgerError) -> [OpenedPayload] {
    let keys = heldKeys
    return try read(keys) { db in
      guard case .known(let subject) = try SubjectRows(db, keys).find(keys.lookup(subjectID)) else {
        return []
      }
      return try Row.fetchAll(
        db, sql: "SELECT event, sealed FROM payload WHERE subject = ? ORDER BY event", arguments: [subject.id]
      ).map { row in
        try unseal(
          Array(try row.decode(Data.self, atIndex: 1)), EventID(Array(try row.decode(Data.self, atIndex: 0))),
          subject.key)
      }
    }
  }

  /// With this key and a payload, a customer's own verifier computes the commitment again; nil for the
  /// unknown. For the customer alone: it tells nothing about others.
  package func commitmentKey(of subjectID: String) throws(LedgerError) -> SecretBytes? {
    let keys = heldKeys
    return try read(keys) { db in
      guard case .known(let subject) = try SubjectRows(db, keys).find(keys.lookup(subjectID)) else {
        return nil
      }
      return subject.key.commitment
    }
  }

  private func unseal(_ sealed: [UInt8], _ event: EventID, _ key: SubjectKey) throws -> OpenedPayload {
    guard let bytes = try? AEAD.open(sealed, key: key.payload, additionalData: event.bytes),
      let payload = try? EntryCoding.decode(ConsentPayload.self, bytes)
    else { throw LedgerError.damagedVault(path: path) }
    return OpenedPayload(
      eventID: event, payload: payload, commitment: Self.commitment(bytes, event, key))
  }

  private static func commitment(_ content: [UInt8], _ event: EventID, _ key: SubjectKey) -> Digest {
    commitment(content, event, key.commitment)
  }

  static func commitment(_ content: [UInt8], _ event: EventID, _ key: SecretBytes) -> Digest {
    Hash.blake2b(domain: "accord payload v1", [event.bytes, content], key: key)
  }

  // MARK: Notices

  /// Keeps a notice that customers are shown, so that it can be shown again to a regulator. Not about
  /// anybody, so no erasure takes it.
  /// - Returns: SHA-256 of the text, which goes into the events.
  @discardableResult
  package func storeNotice(_ text: String, language: String) throws(LedgerError) -> Digest {
    let hash = Hash.sha256(Array(text.utf8))
    try database.ledgerWrite { db in
      try db.execute(
        sql: "INSERT OR IGNORE INTO notice (hash, language, text) VALUES (?, ?, ?)",
        arguments: [Data(hash.bytes), language, text])
    }
    return hash
  }

  /// The notice with this hash, or nil if this node never stored it.
  package func notice(hash: Digest) throws(LedgerError) -> StoredNotice? {
    let notice = try database.ledgerRead { db -> StoredNotice? in
      guard
        let row = try Row.fetchOne(
          db, sql: "SELECT text, language FROM notice WHERE hash = ?", arguments: [Data(hash.bytes)])
      else { return nil }
      return StoredNotice(text: try row.decode(atIndex: 0), language: try row.decode(atIndex: 1))
    }
    guard let notice else { return nil }
    guard Hash.sha256(Array(notice.text.utf8)) == hash else { throw .damagedVault(path: path) }
    return notice
  }
}
