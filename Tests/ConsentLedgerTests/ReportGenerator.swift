import Consent
@testable import ConsentLedger
import Cryptography
import Foundation
import MerkleLog

/// A ledger of many events as a chain of stores would make them: seeded, so that two runs give the same log.
struct ReportGenerator {
  static let purposes = ["recommendations", "health", "ads"]
  static let channels = ["web", "app", "store-till", "phone"]
  private(set) var random: RandomStream
  private let subjects: Int
  private var known: [SubjectTag?]
  private var number: UInt64 = 0

  init(subjects: Int, seed: UInt64 = 11) {
    random = RandomStream(testSeed: seed)
    self.subjects = subjects
    known = Array(repeating: nil, count: subjects)
  }

  mutating func draw(_ bound: Int) -> Int {
    let bytes = random.bytes(8)
    return Int(bytes.reduce(UInt64(0)) { $0 << 8 | UInt64($1) } % UInt64(bound))
  }

  private mutating func identifier() throws -> EventID {
    number += 1
    return try EventID(Hash.sha256(withUnsafeBytes(of: number) { Array($0) }).bytes.prefix(16).map { $0 })
  }

  private mutating func tag() throws -> SubjectTag {
    let position = draw(subjects)
    if let tag = known[position] { return tag }
    let tag = try SubjectTag(random.bytes(32))
    known[position] = tag
    return tag
  }

  /// An event at a time; two of three are grants, the rest ends, asks or renews.
  mutating func event(at ms: Int64, policyHash: String, store: Int, of subject: SubjectTag? = nil) throws
    -> ConsentEvent
  {
    let subject = try subject ?? tag()
    // A customer's age is the same in all events; the policy closes the second purpose to minors.
    let isMinor = subject.bytes[0] < 13
    let name = isMinor ? Self.purposes[2 * draw(2)] : Self.purposes[draw(3)]
    let isAds = name == "ads"
    let dice = draw(100)
    let state: ConsentState =
      switch dice {
      case 0..<45: .given
      case 45..<55: .renewed
      case 55..<70: isAds ? .optedOut : .withdrawn
      case 70..<82: .requested
      case 82..<92: .refused
      case 92..<95: .restricted
      case 95..<98: .restrictionLifted
      case 98..<99: .globalPrivacyControl
      default: .erased
      }
    var event = ConsentEvent(
      eventID: try identifier(), subject: subject, purpose: Purpose(id: name, version: 1), state: state,
      regime: isAds ? .optOut : .optIn, legalBasis: isAds ? "us-ca:opt-out" : "eu-gdpr:A6-1-a",
      jurisdiction: isAds ? "US-CA" : ["DE", "FR", "AT"][draw(3)], channel: Self.channels[draw(4)],
      method: "toggle", eventTimeMs: ms - Int64(draw(5000)), recorder: "till \(store)-\(draw(4))",
      recordID: try identifier(), ageBand: isMinor ? .sixteenOrSeventeen : .adult,
      policyHash: policyHash, steps: 1 + draw(4), durationMs: Int64(1000 + draw(20_000)))
    if state.isGrant {
      event.consentType = .explicit
      if name == "recommendations" { event.noticeHash = ReportFixture.noticeHash }
      event.expiresAtMs = ms + Int64(30 + draw(700)) * 86_400_000
    }
    return event
  }
}

extension ReportFixture {
  /// Fills the ledger with `count` consent events over two years, and rounds and requests among them. Returns
  /// the entries that end a permission, as a node would have acted on them.
  func fill(_ count: Int, stores: [SigningKey]) throws -> (enforcements: [Enforcement], endMs: Int64) {
    try enrol()
    let hash = try adopt()
    for (number, key) in stores.enumerated() {
      try append(
        .enrolment(
          EnrolmentRecord(
            nodeKey: key.verifyingKey, name: "branch-\(number)", kind: .store, validFromMs: Self.start)),
        by: operatorKey, at: Self.start)
    }
    var generator = ReportGenerator(subjects: max(1, count * 7 / 20))
    var enforcements: [Enforcement] = []
    let batch = 4096
    let span: Int64 = 730 * Self.day
    var now = Self.start
    var position = ledger.size
    for from in stride(from: 0, to: count, by: batch) {
      let to = min(from + batch, count)
      now = Self.start + span * Int64(to) / Int64(count)
      let store = from / batch % stores.count
      let alice = from == 0 ? try tag("alice") : nil
      var bodies: [EntryBody] = []
      for index in from..<to {
        let event = try generator.event(
          at: now, policyHash: hash, store: store, of: index < 10 ? alice : nil)
        if LedgerReports.endsPermission(event.state), enforcements.count < 100_000 {
          enforcements.append(
            Enforcement(
              index: LeafIndex(position), recordedMs: now, enforcedMs: now + Int64(generator.draw(3000))))
        }
        bodies.append(.consent(event))
        position += 1
      }
      _ = try ledger.append(SignedStatement.sign(bodies, key: stores[store], batchSize: 256), nowMs: now)
      position += try fillRounds(at: now, number: UInt64(from / batch))
    }
    return (enforcements, now)
  }

  /// Eight rounds on top of each other and four requests with two steps. Returns how many entries that makes.
  private func fillRounds(at ms: Int64, number: UInt64) throws -> UInt64 {
    var bodies: [EntryBody] = []
    for step in number * 8..<number * 8 + 8 {
      bodies.append(
        .round(
          RoundRecord(
            sessionID: Hash.sha256(Array("session \(step)".utf8)), round: step, taskID: "churn",
            kind: "training",
            modelIn: Hash.sha256(Array("model \(step)".utf8)),
            modelOut: Hash.sha256(Array("model \(step + 1)".utf8)),
            purpose: Self.recommendations, checkpointSize: ledger.size, checkpointRoot: ledger.root,
            checkpointAgeSeconds: 3, participants: 9, survivors: 8, dropped: 1,
            noisedEligible: 1000 + Int64(step),
            policyHash: try policyHash.map { try Digest(hex: $0) }, epsilon: 0.001 * Double(step),
            delta: 1e-6,
            unit: "user", mechanism: "skellam", startedMs: ms - 1000, endedMs: ms, result: .completed,
            transcriptDigest: nil)))
    }
    _ = try ledger.append(SignedStatement.sign(bodies, key: server), nowMs: ms)
    for request in 0..<4 {
      let id = UInt8(truncatingIfNeeded: request) &+ UInt8(truncatingIfNeeded: number &* 4)
      try step(.received, id, .access, .gdpr, at: ms)
      try step(.completed, id, .access, .gdpr, at: ms, response: "done")
    }
    return 16
  }
}
