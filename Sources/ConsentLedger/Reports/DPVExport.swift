package import Consent
package import Cryptography
import Foundation

/// Consent records as JSON-LD in the words of the W3C Data Privacy Vocabulary 2.x, in the structure of
/// ISO/IEC TS 27560:2023 as the vocabulary's guide lays it out (w3id.org/dpv/guides/consent-27560): one
/// `dpv:ConsentRecord` an event, linked to the one before it, so that the history is there and not only its
/// end.
///
/// What DPV has no term for (opting out, objecting, restriction, signals, silence) is named in a vocabulary
/// of this project and never as a consent status that it is not.
package struct DPVExport: Sendable {
  /// The IRI that records, subjects and entries are named under.
  private let base: String
  private let timeline: PolicyTimeline

  /// Names of the records are derived from the log's origin.
  package init(origin: String, timeline: PolicyTimeline) {
    base = "urn:accord:" + (origin.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? "log")
    self.timeline = timeline
  }

  /// The namespace of what DPV has no word for.
  package static let vocabulary = "urn:accord:vocabulary:"

  private static let prefixes: [(String, String)] = [
    ("accord", vocabulary), ("dct", "http://purl.org/dc/terms/"), ("dpv", "https://w3id.org/dpv#"),
    ("eu-gdpr", "https://w3id.org/dpv/legal/eu/gdpr#"), ("loc", "https://w3id.org/dpv/loc#"),
    ("prov", "http://www.w3.org/ns/prov#"), ("rdf", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"),
    ("skos", "http://www.w3.org/2004/02/skos/core#"), ("xsd", "http://www.w3.org/2001/XMLSchema#"),
  ]

  /// Properties whose values are IRIs or times, so that records may give plain strings.
  private static let references = [
    "dct:conformsTo", "dct:creator", "dct:isPartOf", "dpv:hasConsentStatus", "dpv:hasDataController",
    "dpv:hasDataSubject", "dpv:hasJurisdiction", "dpv:hasLegalBasis", "dpv:hasNotice", "dpv:hasPurpose",
    "dpv:isAfter", "dpv:isIndicatedBy", "prov:wasAttributedTo", "skos:broader",
  ]
  private static let times = ["dct:created", "dct:date", "dpv:isIndicatedAtTime", "prov:generatedAtTime"]

  // MARK: Statuses and bases

  /// DPV's consent status of a state; nil where the event is about something else than a consent status.
  package static func status(of state: ConsentState) -> String? {
    switch state {
    case .requested: "dpv:ConsentRequested"
    case .given: "dpv:ConsentGiven"
    case .renewed: "dpv:RenewedConsentGiven"
    case .refused: "dpv:ConsentRefused"
    case .deferred: "dpv:ConsentRequestDeferred"
    case .withdrawn: "dpv:ConsentWithdrawn"
    case .expired: "dpv:ConsentExpired"
    case .invalidated: "dpv:ConsentInvalidated"
    case .revoked: "dpv:ConsentRevoked"
    // DPV has no narrower term for these.
    case .requestExpired, .superseded: "dpv:ConsentStatusInvalidForProcessing"
    case .restricted, .restrictionLifted, .objected, .optedOut, .globalPrivacyControl, .erased: nil
    }
  }

  /// The term of this project for a state: always there, beside DPV's.
  package static func ownStatus(of state: ConsentState) -> String { "accord:state-\(state.rawValue)" }

  private static func type(of type: ConsentType) -> String? {
    switch type {
    case .explicit: "dpv:ExplicitlyExpressedConsent"
    case .expressed: "dpv:ExpressedConsent"
    case .implied: "dpv:ImpliedConsent"
    case .none: nil
    }
  }

  private static func speaker(_ actor: ActorRole) -> String {
    switch actor {
    case .customer: "dpv:DataSubject"
    case .guardian: "dpv:GuardianOfDataSubject"
    case .agent: "dpv:Representative"
    case .controller: "dpv:DataController"
    case .authority: "dpv:Authority"
    case .system: "accord:system"
    }
  }

  /// `eu-gdpr:A6-1-a` is DPV's own; others stay texts, since the vocabulary has no terms for them.
  private static func basis(_ text: String) -> JSON {
    let name = text.dropFirst("eu-gdpr:".count)
    if text.hasPrefix("eu-gdpr:"), !name.isEmpty, name.utf8.allSatisfy(isNameByte) { return .text(text) }
    return .object([("@type", .text("dpv:LegalBasis")), ("dct:identifier", .text(text))])
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
  }

  // MARK: The document

  /// Writes the whole document piece by piece: memory does not grow with the log.
  /// - Parameters:
  ///   - range: the entries to read, below the checkpoint.
  ///   - accepts: which consent events are written.
  ///   - write: takes the next piece.
  /// - Returns: how many records were written.
  package func write(
    reports: LedgerReports, range: Range<UInt64>, accepts: (ConsentEvent) -> Bool,
    to write: (String) throws(LedgerError) -> Void
  ) throws(LedgerError) -> Int {
    try write(head(reports))
    var count = 0
    try reports.forEachConsent(in: range) { index, recordedMs, signer, event throws(LedgerError) in
      guard accepts(event) else { return }
      try write(",\n" + record(index, recordedMs, signer, event))
      count += 1
    }
    try write("\n]}\n")
    return count
  }

  /// Context, the log, and the policies with their purposes, notices and controllers.
  private func head(_ reports: LedgerReports) -> String {
    var context = Self.prefixes.map { ($0.0, JSON.text($0.1)) }
    context += Self.references.map { ($0, JSON.object([("@type", .text("@id"))])) }
    context += Self.times.map { ($0, JSON.object([("@type", .text("xsd:dateTime"))])) }
    let basis = reports.basis
    let log = JSON.object([
      ("@id", .text(base)), ("@type", .text("accord:Log")), ("dct:title", .text(basis.origin)),
      ("accord:checkpoint-size", .number(Int64(basis.checkpointSize))),
      ("accord:checkpoint-root", .text(basis.checkpointRoot)),
      ("prov:generatedAtTime", .text(basis.checkpointTime)),
    ])
    var nodes = [log]
    var seen: Set<Digest> = []
    for change in timeline.changes where seen.insert(change.policy.digest).inserted {
      nodes += policyNodes(change.policy)
    }
    return "{\"@context\":\(JSON.object(context).text),\n\"@graph\":[\n"
      + nodes.map(\.text).joined(separator: ",\n")
  }

  private func policyNodes(_ logged: LoggedPolicy) -> [JSON] {
    let controller = logged.policy.controller
    var nodes: [JSON] = [
      .object([
        ("@id", .text(policyName(logged.digest.hex) + ":controller")), ("@type", .text("dpv:DataController")),
        ("dpv:hasName", .text(controller.name)), ("dpv:hasAddress", .text(controller.address)),
        ("dpv:hasContact", .text(controller.contact)),
      ]),
      .object([
        ("@id", .text(policyName(logged.digest.hex))), ("@type", .text("dpv:Policy")),
        ("dct:title", .text(logged.name)), ("dpv:hasIdentifier", .text(logged.digest.hex)),
        ("dpv:hasDataController", .text(policyName(logged.digest.hex) + ":controller")),
      ]),
    ]
    for purpose in logged.policy.purposes {
      nodes.append(purposeNode(purpose, logged))
      for notice in purpose.notices {
        nodes.append(
          .object([
            ("@id", .text(noticeName(notice.hash))), ("@type", .text("dpv:ConsentNotice")),
            ("dct:title", .text(notice.title)), ("dct:language", .text(notice.language)),
            ("dpv:hasIdentifier", .text(notice.hash)),
          ]))
      }
    }
    return nodes
  }

  private func purposeNode(_ purpose: PolicyPurpose, _ logged: LoggedPolicy) -> JSON {
    var fields: [(String, JSON)] = [
      ("@id", .text(purposeName(purpose.reference, logged.digest.hex))), ("@type", .text("dpv:Purpose")),
      // What stores do here; a policy does not name a term of the taxonomy.
      ("skos:broader", .text("dpv:Personalisation")), ("skos:prefLabel", .text(purpose.title)),
      ("skos:definition", .text(purpose.description)), ("dct:identifier", .text(purpose.id)),
      ("dct:hasVersion", .number(Int64(purpose.version))),
      ("dct:isPartOf", .text(policyName(logged.digest.hex))),
      (
        "dpv:hasPersonalData",
        .list(
          purpose.dataCategories.map { category in
            .object([
              ("@type", .text(purpose.sensitive ? "dpv:SensitivePersonalData" : "dpv:PersonalData")),
              ("skos:prefLabel", .text(category)),
            ])
          })
      ),
      (
        "dpv:hasStorageCondition",
        .object([
          ("@type", .text("dpv:StorageDuration")),
          (
            "dpv:hasDuration",
            .object([
              ("@type", .text("dpv:TemporalDuration")), ("rdf:value", .text("P\(purpose.retentionDays)D")),
            ])
          ),
        ])
      ),
    ]
    if !purpose.recipients.isEmpty {
      fields.append(
        (
          "dpv:hasRecipient",
          .list(
            purpose.recipients.map {
              .object([("@type", .text("dpv:Recipient")), ("dpv:hasName", .text($0))])
            })
        ))
    }
    if let dpia = purpose.dpia {
      fields.append(
        (
          "dpv:hasAssessment", .object([("@type", .text("dpv:DPIA")), ("dct:identifier", .text(dpia))])
        ))
    }
    return .object(fields)
  }

  /// One event as a `dpv:ConsentRecord`, on one line.
  package func record(
    _ index: UInt64, _ recordedMs: Int64, _ signer: VerifyingKey, _ event: ConsentEvent
  ) -> String {
    let policy = event.policyHash ?? timeline.policy(before: index)?.digest.hex
    var process: [(String, JSON)] = [
      ("@type", .text("dpv:Process")), ("dpv:hasConsentStatus", status(event)),
      ("dpv:hasLegalBasis", Self.basis(event.legalBasis)), ("accord:regime", .text(event.regime.rawValue)),
      (
        "dpv:hasPurpose",
        event.purpose.id == Purpose.every.id
          ? .text("accord:every-purpose") : .text(purposeName(event.purpose, policy ?? "none"))
      ),
    ]
    if let policy { process.append(("dpv:hasDataController", .text(policyName(policy) + ":controller"))) }
    if let place = Jurisdiction.place(event.jurisdiction) {
      process.append(("dpv:hasJurisdiction", .text("loc:\(place)")))
    }
    if let notice = event.noticeHash { process.append(("dpv:hasNotice", .text(noticeName(notice)))) }
    var fields: [(String, JSON)] = [
      ("@id", .text("\(base):event:\(event.eventID.hex)")), ("@type", .text("dpv:ConsentRecord")),
      ("dct:conformsTo", .text("https://w3id.org/dpv/schema/dpv-27560#record")),
      ("dpv:hasIdentifier", .text(event.eventID.hex)),
      ("dct:isPartOf", .text("\(base):record:\(event.recordID.hex)")),
      (
        "dpv:hasDataSubject",
        .object([
          ("@id", .text("\(base):subject:\(event.subject.hex)")), ("@type", .text("dpv:DataSubject")),
          ("dpv:hasIdentifier", .text(event.subject.hex)), ("accord:age", .text(event.ageBand.rawValue)),
        ])
      ),
      ("dct:created", .text(ReportTime.text(recordedMs))),
      ("dpv:hasProcess", .list([.object(process)])), ("prov:wasAttributedTo", agent(signer, event)),
      ("accord:entry", .number(Int64(index))),
    ]
    if let language = event.language { fields.append(("dct:language", .text(language))) }
    if let previous = event.previous {
      fields.append(("dpv:isAfter", .text("\(base):event:\(previous.hex)")))
    }
    if let policy { fields.append(("accord:policy", .text(policyName(policy)))) }
    if let screen = event.screenHash { fields.append(("accord:screen-sha256", .text(screen))) }
    return JSON.object(fields).text
  }

  private func status(_ event: ConsentEvent) -> JSON {
    let types = [
      Self.status(of: event.state), Self.ownStatus(of: event.state), Self.type(of: event.consentType),
    ]
    var fields: [(String, JSON)] = [
      ("@type", .list(types.compactMap { $0 }.map { .text($0) })),
      ("dpv:isIndicatedAtTime", .text(ReportTime.text(event.eventTimeMs))),
      ("dpv:isIndicatedBy", .text(Self.speaker(event.actor))),
      ("dpv:hasIndicationMethod", .text("\(event.method) (\(event.channel))")),
    ]
    if let expires = event.expiresAtMs {
      fields.append(
        (
          "dpv:hasDuration",
          .object([("@type", .text("dpv:UntilTimeDuration")), ("rdf:value", .text(ReportTime.text(expires)))])
        ))
    }
    return .object(fields)
  }

  private func agent(_ signer: VerifyingKey, _ event: ConsentEvent) -> JSON {
    .object([
      ("@id", .text("\(base):key:\(signer.hex)")), ("@type", .text("prov:Agent")),
      ("accord:recorder", .text(event.recorder)),
    ])
  }

  private func policyName(_ hash: String) -> String { "\(base):policy:\(hash)" }
  private func noticeName(_ hash: String) -> String { "\(base):notice:\(hash)" }
  private func purposeName(_ purpose: Purpose, _ policy: String) -> String {
    let id = purpose.id.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "purpose"
    return "\(base):purpose:\(policy):\(id):\(purpose.version)"
  }
}

/// JSON with the keys in the order given: identifiers come first for readers.
indirect enum JSON {
  case text(String)
  case number(Int64)
  case list([JSON])
  case object([(String, JSON)])

  var text: String {
    switch self {
    case .text(let text): Self.quoted(text)
    case .number(let number): String(number)
    case .list(let values): "[" + values.map(\.text).joined(separator: ",") + "]"
    case .object(let fields):
      "{" + fields.map { Self.quoted($0.0) + ":" + $0.1.text }.joined(separator: ",") + "}"
    }
  }

  private static func quoted(_ text: String) -> String {
    var bytes: [UInt8] = [0x22]
    for byte in text.utf8 {
      switch byte {
      case 0x22, 0x5c: bytes += [0x5c, byte]
      case 0..<0x20, 0x7f: bytes += "\\u00\(Hex.encode([byte]))".utf8
      default: bytes.append(byte)
      }
    }
    bytes.append(0x22)
    return String(decoding: bytes, as: UTF8.self)
  }
}
