import Consent

/// A second opinion on the rules, written to be obviously right rather than fast: it asks of every entry
/// whether it counts, by looking back, where the engine reads once from front to back.
struct DecisionOracle {
  let log: [ConsentEvent]
  let id = "churn"
  let version = 2
  /// The regime of the place, before the age is looked at.
  let regime: Regime
  /// The age in years below which a guardian speaks.
  let guardianBelow: Int
  /// The customer's least age; nil if unknown.
  let years: Int?
  let asksAge: Bool
  let adultsOnly: Bool
  let notices: [String]
  let signalCanBeOverridden: Bool
  let now: Int64

  typealias Answer = (reason: String, by: Int?)

  func answer() -> Answer {
    if regime == .prohibited { return ("prohibited", nil) }
    if asksAge && years == nil { return ("age-unknown", nil) }
    if adultsOnly, let years, years < 18 { return ("under-age", lastWithAge) }
    let standing = log.indices.filter { denies($0) && !isCleared($0, upTo: log.count) }
    let grant = grantInForce(upTo: log.count)
    let runOut = grant.map { (log[$0].expiresAtMs ?? .max) <= now } ?? false
    if standing.isEmpty && !runOut {
      if let grant { return ("granted", grant) }
      if !needsYes { return ("permitted-by-default", nil) }
    }
    // A faulty yes explains the denial if everything else that denies came before it and gives way to a yes.
    let faulty = log.indices.last { fault($0) != nil && isAgreement($0) }
    if let faulty, standing.allSatisfy({ $0 < faulty && givesWay($0) }), !runOut || grant! < faulty {
      return (fault(faulty)!, faulty)
    }
    var best: (rank: Int, at: Int, name: String)?
    for at in standing where best == nil || rank(at) >= best!.rank {
      best = (rank(at), at, log[at].state.rawValue)
    }
    if runOut, let grant, best == nil || best!.rank < 2 || (best!.rank == 2 && best!.at < grant) {
      best = (2, grant, "expired")
    }
    return best.map { ($0.name, $0.at) } ?? ("unanswered", nil)
  }

  private var lastWithAge: Int? { log.indices.last { log[$0].ageBand != .unknown } }
  private var needsYes: Bool { regime == .optIn || (years ?? 99) < 16 }

  private func concerns(_ at: Int) -> Bool {
    log[at].state == .erased || log[at].purpose.id == "*" || log[at].purpose.id == id
  }

  private func rank(_ at: Int) -> Int {
    let ranks = [
      "erased": 6, "restricted": 5, "withdrawn": 4, "objected": 4, "opted-out": 4, "invalidated": 4,
      "revoked": 4, "superseded": 4, "global-privacy-control": 3, "expired": 2, "refused": 1,
    ]
    return ranks[log[at].state.rawValue] ?? 0
  }

  private func denies(_ at: Int) -> Bool { concerns(at) && rank(at) > 0 }

  private func givesWay(_ at: Int) -> Bool {
    switch log[at].state.rawValue {
    case "erased", "restricted": false
    case "global-privacy-control": signalCanBeOverridden
    default: true
    }
  }

  private func isCleared(_ at: Int, upTo end: Int) -> Bool {
    (at + 1..<max(end, at + 1)).contains { later in
      if log[at].state == .restricted { return log[later].state == .restrictionLifted && concerns(later) }
      return log[later].state == .given && isGood(later) && givesWay(at)
    }
  }

  /// A yes to this purpose that was asked for in the right way; whether it counts is another question.
  private func isAgreement(_ at: Int) -> Bool {
    let event = log[at]
    guard event.purpose.id == id, !(needsYes && event.regime != .optIn) else { return false }
    if event.state == .given { return true }
    // A renewal is a yes only while there is something to renew.
    guard event.state == .renewed, let before = grantInForce(upTo: at) else { return false }
    return (log[before].expiresAtMs ?? .max) > event.eventTimeMs
  }

  private func isGood(_ at: Int) -> Bool { isAgreement(at) && fault(at) == nil }

  private func grantInForce(upTo end: Int) -> Int? {
    guard let last = (0..<end).last(where: { isGood($0) }) else { return nil }
    let ends: Set<Int> = [1, 2, 4]
    return (last..<end).contains { concerns($0) && ends.contains(rank($0)) } ? nil : last
  }

  private func fault(_ at: Int) -> String? {
    let event = log[at]
    guard event.state == .given || event.state == .renewed, event.purpose.id == id else { return nil }
    if event.purpose.version != version { return "purpose-changed" }
    for earlier in 0..<at where log[earlier].state == .withdrawn && concerns(earlier) {
      let yes = (0..<earlier).last {
        log[$0].purpose.id == id && (log[$0].state == .given || log[$0].state == .renewed)
      }
      if let yes, log[yes].legalBasis != event.legalBasis { return "legal-basis-changed" }
    }
    if !notices.isEmpty, !notices.contains(event.noticeHash ?? "none") { return "notice-changed" }
    if [.controller, .authority, .system].contains(event.actor) { return "wrong-actor" }
    let isChildNow = (years ?? 99) < guardianBelow
    let yearsThen = event.ageBand.lowestAge ?? years
    let wasChild = yearsThen.map { $0 < guardianBelow }
    if event.actor != .guardian, isChildNow || wasChild == true { return "under-age" }
    if event.actor == .guardian, !isChildNow, wasChild == false { return "wrong-actor" }
    if (event.notBeforeMs ?? 0) > now { return "not-yet-valid" }
    return nil
  }
}
