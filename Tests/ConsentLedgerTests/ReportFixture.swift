import Consent
import Cryptography
import Foundation
import MerkleLog
import Storage

@testable import ConsentLedger

/// A small ledger with a policy of two officers, two stores, a server and a vault, in a directory that goes
/// with the object.
final class ReportFixture {
  /// 15 January 2026, 12:00 UTC, a Thursday.
  static let start: Int64 = ReportTime.day(year: 2026, month: 1, day: 15) * ReportTime.dayMs + 43_200_000
  static let day = ReportTime.dayMs
  static let notice = "We use your purchases to recommend products."
  static let noticeHash = Hash.sha256(Array(notice.utf8)).hex
  static let recommendations = Purpose(id: "recommendations", version: 1)

  let path: String
  let logKey, freshnessKey, operatorKey, officer, colleague, store, otherStore, server: SigningKey
  private var random: RandomStream
  let ledger: LedgerStore
  let vault: SubjectVault
  private(set) var policyHash: String?

  init(seed: UInt64 = 7) throws {
    path =
      FileManager.default.temporaryDirectory.appendingPathComponent("accord-report-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    var random = RandomStream(testSeed: seed)
    logKey = SigningKey(using: &random)
    freshnessKey = SigningKey(using: &random)
    operatorKey = SigningKey(using: &random)
    officer = SigningKey(using: &random)
    colleague = SigningKey(using: &random)
    store = SigningKey(using: &random)
    otherStore = SigningKey(using: &random)
    server = SigningKey(using: &random)
    vault = try SubjectVault.open(
      path: path + "/vault.sqlite", keyEncryptionKey: SecretBytes(copying: [UInt8](repeating: 5, count: 32)),
      random: random.fork())
    ledger = try LedgerStore.open(
      directory: path, origin: "accord.test/log", logKey: logKey, freshnessKey: freshnessKey)
    self.random = random
  }

  deinit {
    try? ledger.close()
    try? FileManager.default.removeItem(atPath: path)
  }

  @discardableResult
  func append(_ body: EntryBody, by key: SigningKey, at ms: Int64) throws -> UInt64 {
    try ledger.append(body, signedBy: key, nowMs: ms).index.value
  }

  /// Entries 0 to 4: the officers, the stores, the server.
  func enrol() throws {
    let parties: [(SigningKey, String, EnrolledKind)] = [
      (officer, "officer-1", .officer), (colleague, "officer-2", .officer), (store, "store-1", .store),
      (otherStore, "store-2", .store), (server, "server-1", .server),
    ]
    for (key, name, kind) in parties {
      try append(
        .enrolment(
          EnrolmentRecord(nodeKey: key.verifyingKey, name: name, kind: kind, validFromMs: Self.start)),
        by: operatorKey, at: Self.start)
    }
  }

  /// Entries 5 and 6: the policy and its approval.
  @discardableResult
  func adopt(_ policy: Policy = ReportFixture.policy(), at ms: Int64 = start) throws -> String {
    let record = PolicyRecord(document: policy.canonicalBytes, timeMs: ms)
    try append(.policy(record), by: officer, at: ms)
    try append(
      .approval(
        ApprovalRecord(
          id: try EventID(random.bytes(16)), action: .policy, target: record.digest, text: "agreed",
          timeMs: ms)),
      by: colleague, at: ms)
    policyHash = record.digest.hex
    return record.digest.hex
  }

  static func policy(version: Int = 1) -> Policy {
    let optIn = JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"])
    let optOut = JurisdictionRule(regime: .optOut, legalBases: ["us-ca:opt-out"])
    return Policy(
      id: "eu-retail", version: version,
      controller: Controller(
        name: "Muster Handel", address: "Hauptstraße 1, Köln", contact: "privacy@example.com"),
      establishment: "DE", twoPersonActions: [.policy],
      purposes: [
        PolicyPurpose(
          id: "recommendations", version: 1, title: "Recommendations", description: "Products that fit.",
          dpia: "DPIA-7", dataCategories: ["purchases"], retentionDays: 365, jurisdictions: ["*": optIn],
          notices: [PolicyNotice(hash: noticeHash, language: "en", title: "Notice 1")]),
        PolicyPurpose(
          id: "health", version: 1, title: "Health", description: "Pharmacy products.", dpia: "DPIA-8",
          sensitive: true, minors: .never, asksAge: true, dataCategories: ["pharmacy purchases"],
          recipients: ["Lab <b>"], retentionDays: 90, jurisdictions: ["*": optIn]),
        PolicyPurpose(
          id: "ads", version: 1, title: "Ads", description: "Advertising.", dpia: "DPIA-9",
          dataCategories: ["clicks"], retentionDays: 30, jurisdictions: ["*": optOut]),
      ])
  }

  func tag(_ customer: String) throws -> SubjectTag {
    guard let tag = try vault.tag(for: customer, create: true) else {
      throw LedgerError.damagedVault(path: path)
    }
    return tag
  }

  /// Appends an event of a customer. Grants name the policy and the notice.
  @discardableResult
  func consent(
    _ state: ConsentState, _ customer: String, for purpose: Purpose = recommendations, at ms: Int64,
    delay: Int64 = 0, by key: SigningKey? = nil, _ change: (inout ConsentEvent) -> Void = { _ in }
  ) throws -> UInt64 {
    let isAds = purpose.id == "ads"
    var event = ConsentEvent(
      eventID: try EventID(random.bytes(16)), subject: try tag(customer), purpose: purpose, state: state,
      regime: isAds ? .optOut : .optIn, legalBasis: isAds ? "us-ca:opt-out" : "eu-gdpr:A6-1-a",
      jurisdiction: isAds ? "US-CA" : "DE", channel: "web", method: "toggle", eventTimeMs: ms,
      recorder: "till 3",
      recordID: try EventID(random.bytes(16)), policyHash: policyHash)
    if state.isGrant, purpose.id == "recommendations" {
      event.noticeHash = Self.noticeHash
      event.language = "en"
    }
    change(&event)
    return try append(.consent(event), by: key ?? store, at: ms + delay)
  }

  /// Appends a step of a request.
  @discardableResult
  func step(
    _ action: RequestRecord.Action, _ number: UInt8, _ nature: RequestRecord.Nature, _ law: RequestRecord.Law,
    at ms: Int64, basis: String? = nil, response: String? = nil
  ) throws -> UInt64 {
    let record = RequestRecord(
      eventID: try EventID(random.bytes(16)), requestID: try EventID([UInt8](repeating: number, count: 16)),
      action: action, nature: nature, law: law, manner: "web form", basis: basis, response: response,
      timeMs: ms)
    return try append(.request(record), by: officer, at: ms)
  }

  /// Appends a round's record.
  @discardableResult
  func round(
    _ number: UInt64, from modelIn: UInt8?, to modelOut: UInt8?, at ms: Int64, size: UInt64? = nil,
    epsilon: Double = 1.5, _ change: (inout RoundRecord) -> Void = { _ in }
  ) throws -> UInt64 {
    var record = RoundRecord(
      sessionID: Self.session(number), round: number, taskID: "churn", kind: "training",
      modelIn: modelIn.map { Self.model($0) }, modelOut: modelOut.map { Self.model($0) },
      purpose: Self.recommendations, checkpointSize: size ?? ledger.size, checkpointRoot: ledger.root,
      checkpointAgeSeconds: 4, participants: 5, survivors: 4, dropped: 1, noisedEligible: 1017,
      policyHash: try policyHash.map { try Digest(hex: $0) }, epsilon: epsilon, delta: 1e-6, unit: "user",
      mechanism: "skellam", startedMs: ms - 5000, endedMs: ms, result: .completed, transcriptDigest: nil)
    change(&record)
    return try append(.round(record), by: server, at: ms)
  }

  static func session(_ number: UInt64) -> Digest { Hash.sha256([UInt8(number)]) }
  static func model(_ number: UInt8) -> Digest { Hash.sha256([0xff, number]) }

  /// Answers questions about what was appended so far.
  func reports(
    at ms: Int64, enforcements: [Enforcement] = [], nodeKey: VerifyingKey? = nil,
    witnesses: [ReportedWitness] = [], notices: [String] = [ReportFixture.notice]
  ) throws -> LedgerReports {
    let reader = try LedgerFileReader(directory: path)
    let texts = Dictionary(
      uniqueKeysWithValues: notices.map { (Hash.sha256(Array($0.utf8)), Array($0.utf8)) })
    return try LedgerReports(
      reader: reader, index: try reader.index(),
      sources: LedgerReports.Sources(
        vault: vault, enforcements: enforcements, nodeKey: nodeKey, witnesses: witnesses,
        noticeText: { texts[$0] }), nowMs: ms)
  }
}

extension ReportAnswer {
  /// A cell of a table, or nil if there is no such table, row or column.
  func cell(_ name: String, _ row: Int, _ key: String) -> ReportCell? {
    guard let table = table(name), row < table.rows.count, let column = table.position(key) else {
      return nil
    }
    return table.rows[row][column]
  }

  /// The cells of a column.
  func column(_ name: String, _ key: String) -> [ReportCell] {
    guard let table = table(name), let column = table.position(key) else { return [] }
    return table.rows.map { $0[column] }
  }
}
