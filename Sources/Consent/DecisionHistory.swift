/// What a grant must meet for a policy, beside naming the purpose in its version.
struct GrantConditions {
  /// The notices that count; empty for any.
  let notices: [PolicyNotice]
  /// The customer's age as far as it is known.
  let age: AgeBand
  /// Below this age only a guardian can consent.
  let consentAge: Int

  /// What is wrong with the grant, if anything.
  func fault(of event: ConsentEvent) -> ConsentDecision.Reason? {
    if !notices.isEmpty, !notices.contains(where: { $0.hash == event.noticeHash }) { return .noticeChanged }
    return speaker(of: event)
  }

  /// Who may agree depends on the age now and on the age when they agreed: what a guardian granted for a child
  /// lasts when the child comes of age (EDPB Guidelines 05/2020, section 7.1), what a child granted alone
  /// never counts, and nobody grants for somebody who is old enough.
  private func speaker(of event: ConsentEvent) -> ConsentDecision.Reason? {
    switch event.actor {
    case .controller, .authority, .system: return .wrongActor
    case .customer, .agent, .guardian: break
    }
    let isGuardian = event.actor == .guardian
    if age.isBelow(consentAge) == true { return isGuardian ? nil : .underAge }
    let then = event.ageBand == .unknown ? age : event.ageBand
    switch then.isBelow(consentAge) {
    case true?: return isGuardian ? nil : .underAge
    case false?: return isGuardian ? .wrongActor : nil
    case nil: return nil
    }
  }
}

/// What stands after reading one customer's history in order, at one time.
struct DecisionHistory {
  private struct Denial {
    let rank: Int
    let reason: ConsentDecision.Reason
    let index: LeafIndex
  }

  private struct Grant {
    let index: LeafIndex
    let expiresAtMs: Int64?

    init(_ entry: IndexedEvent) {
      index = entry.index
      expiresAtMs = entry.event.expiresAtMs
    }
  }

  private let purpose: Purpose
  private let regime: Regime
  private let rules: DecisionRules
  private let conditions: GrantConditions?
  private let nowMs: Int64
  private var standing: [Denial] = []
  private var grant: Grant?
  /// The latest grant that does not count, and why.
  private var unmet: (reason: ConsentDecision.Reason, index: LeafIndex)?
  /// The legal basis that the last grant before here named, whether it counted or not.
  private var namedBasis: String?
  /// The legal bases that the customer withdrew from (rule 4). Never emptied, and filled from the records as
  /// they stand, so that one more withdrawal can only deny more.
  private var withdrawnBases: Set<String> = []

  init(
    purpose: Purpose, regime: Regime, rules: DecisionRules, conditions: GrantConditions? = nil, nowMs: Int64
  ) {
    self.purpose = purpose
    self.regime = regime
    self.rules = rules
    self.conditions = conditions
    self.nowMs = nowMs
  }

  mutating func read(_ entry: IndexedEvent) {
    // Erasure is of the person, whatever purpose the event names.
    guard entry.event.state == .erased || entry.event.purpose.covers(purpose) else { return }
    switch entry.event.state {
    case .requested, .deferred, .requestExpired: break
    case .given: readGrant(entry)
    case .renewed: readRenewal(entry)
    case .refused: end(entry, rank: 1, .refused)
    case .expired: end(entry, rank: 2, .expired)
    case .globalPrivacyControl: deny(entry, rank: 3, .globalPrivacyControl)
    case .withdrawn:
      if let namedBasis { withdrawnBases.insert(namedBasis) }
      end(entry, rank: 4, .withdrawn)
    case .objected: end(entry, rank: 4, .objected)
    case .optedOut: end(entry, rank: 4, .optedOut)
    case .invalidated: end(entry, rank: 4, .invalidated)
    case .revoked: end(entry, rank: 4, .revoked)
    case .superseded: end(entry, rank: 4, .superseded)
    case .restricted: deny(entry, rank: 5, .restricted)
    case .restrictionLifted: standing.removeAll { $0.reason == .restricted }
    case .erased: deny(entry, rank: 6, .erased)
    }
  }

  private mutating func readGrant(_ entry: IndexedEvent) {
    guard names(entry.event) else { return }
    if let fault = fault(of: entry.event) {
      unmet = (fault, entry.index)
      return
    }
    grant = Grant(entry)
    standing.removeAll(where: isClearable)
  }

  private mutating func readRenewal(_ entry: IndexedEvent) {
    guard names(entry.event) else { return }
    // A renewal confirms a grant that stands; it cannot bring one back.
    guard let standing = grant else { return }
    if let expiry = standing.expiresAtMs, expiry <= entry.event.eventTimeMs { return }
    if let fault = fault(of: entry.event) {
      unmet = (fault, entry.index)
      return
    }
    grant = Grant(entry)
  }

  /// Whether the event agrees to this purpose in any version; remembers the legal basis on which it does.
  private mutating func names(_ event: ConsentEvent) -> Bool {
    // `every` never grants.
    guard event.purpose.id == purpose.id else { return false }
    namedBasis = event.legalBasis
    // What was recorded as "did not opt out" is no opt-in.
    return regime != .optIn || event.regime == .optIn
  }

  private func fault(of event: ConsentEvent) -> ConsentDecision.Reason? {
    if event.purpose.version != purpose.version { return .purposeChanged }
    if withdrawnBases.contains(where: { $0 != event.legalBasis }) { return .legalBasisChanged }
    if let fault = conditions?.fault(of: event) { return fault }
    if let begin = event.notBeforeMs, begin > nowMs { return .notYetValid }
    return nil
  }

  private func isClearable(_ denial: Denial) -> Bool {
    switch denial.reason {
    case .erased, .restricted: false
    case .globalPrivacyControl: rules.laterGrantOverridesGlobalPrivacyControl
    default: true
    }
  }

  private mutating func deny(_ entry: IndexedEvent, rank: Int, _ reason: ConsentDecision.Reason) {
    standing.append(Denial(rank: rank, reason: reason, index: entry.index))
  }

  private mutating func end(_ entry: IndexedEvent, rank: Int, _ reason: ConsentDecision.Reason) {
    grant = nil
    deny(entry, rank: rank, reason)
  }

  /// What follows from everything that was read.
  var decision: ConsentDecision {
    var denials = standing
    if let grant, let expiry = grant.expiresAtMs, expiry <= nowMs {
      denials.append(Denial(rank: 2, reason: .expired, index: grant.index))
    }
    if denials.isEmpty {
      if let grant { return .permit(.granted, grant.index) }
      // Silence is what a grant that does not count amounts to.
      if regime == .optOut { return .permit(.permittedByDefault, nil) }
    }
    // A grant that came after all that denies, and would have cleared it had it counted: what it lacks is what
    // has to be mended, so that is the reason.
    if let unmet, denials.allSatisfy({ isClearable($0) && $0.index < unmet.index }) {
      return .deny(unmet.reason, unmet.index)
    }
    // The strongest decides; among equals the latest, because it is what the customer said last.
    if let strongest = denials.max(by: { ($0.rank, $0.index) < ($1.rank, $1.index) }) {
      return .deny(strongest.reason, strongest.index)
    }
    return .deny(.unanswered, nil)
  }
}
