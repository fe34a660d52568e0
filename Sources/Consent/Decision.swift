/// One event and where it stands in the log.
package struct IndexedEvent: Hashable, Sendable {
  /// The entry's position.
  package let index: LeafIndex
  /// What the entry says.
  package let event: ConsentEvent

  /// Pairs an event with its position.
  package init(index: LeafIndex, event: ConsentEvent) {
    self.index = index
    self.event = event
  }
}

/// What the controller configures about the rules.
package struct ConsentPolicy: Hashable, Sendable {
  /// Whether a grant for the purpose that stands later in the log overrides a Global Privacy Control signal.
  package let laterGrantOverridesGlobalPrivacyControl: Bool

  /// The default is the strict reading.
  package init(laterGrantOverridesGlobalPrivacyControl: Bool = false) {
    self.laterGrantOverridesGlobalPrivacyControl = laterGrantOverridesGlobalPrivacyControl
  }
}

/// Whether one customer's data may be used for one purpose now, and why.
package struct ConsentDecision: Hashable, Sendable {
  /// Why. The raw value stands in evidence records.
  package enum Reason: String, Hashable, Sendable, CaseIterable {
    /// A grant is in force.
    case granted
    /// Nothing was said and the regime permits silence. Not consent.
    case permittedByDefault = "permitted-by-default"
    /// The regime forbids the purpose.
    case prohibited
    /// The customer was erased.
    case erased
    /// Processing is restricted.
    case restricted
    /// The grant was taken back.
    case withdrawn
    /// The customer objected.
    case objected
    /// The customer opted out.
    case optedOut = "opted-out"
    /// An authority invalidated the consent.
    case invalidated
    /// The controller revoked it.
    case revoked
    /// Another record took its place and no grant followed.
    case superseded
    /// A Global Privacy Control signal stands.
    case globalPrivacyControl = "global-privacy-control"
    /// The grant ran out.
    case expired
    /// The customer said no.
    case refused
    /// The grant is for another version of the purpose: ask again.
    case purposeChanged = "purpose-changed"
    /// The customer has not agreed to this purpose.
    case unanswered
    /// The history is no history: two events at one index, or events of two customers. Ties deny.
    case ambiguousHistory = "ambiguous-history"
  }

  /// Whether the data may be used.
  package let permitted: Bool
  /// Why.
  package let reason: Reason
  /// The event that decided, or nil if no event did.
  package let decidedBy: LeafIndex?

  static func permit(_ reason: Reason, _ index: LeafIndex?) -> ConsentDecision {
    ConsentDecision(permitted: true, reason: reason, decidedBy: index)
  }
  static func deny(_ reason: Reason, _ index: LeafIndex?) -> ConsentDecision {
    ConsentDecision(permitted: false, reason: reason, decidedBy: index)
  }
}

/// The version of the rules below; stands in evidence records so that an old decision can be repeated.
package let consentRulesVersion = 1

/// Decides from the events of one customer (design "Rules of decision", rules 2, 3 and 5).
///
/// The order is the log's index, never a clock. A grant (`given`) clears the denials before it that the
/// customer can clear, and only for the version of the purpose that it names; a restriction ends only
/// when it is lifted, a Global Privacy Control signal only if the policy says so, an erasure never. What
/// stands is weighed: erased > restricted > withdrawn, objected, opted out (and the controller's and
/// authorities' endings) > Global Privacy Control > expired > refused > given. Expiry is evaluated here,
/// at reading: a grant no longer counts at its expiry time.
///
/// - Parameters:
///   - events: the customer's events, for any purposes, in any order.
///   - nowMs: the time of the decision, milliseconds of UTC since 1970.
package func decide(
  events: [IndexedEvent], purpose: Purpose, regime: Regime, nowMs: Int64,
  policy: ConsentPolicy = ConsentPolicy()
) -> ConsentDecision {
  guard regime != .prohibited else { return .deny(.prohibited, nil) }
  let ordered = events.sorted { $0.index < $1.index }
  for (earlier, later) in zip(ordered, ordered.dropFirst()) {
    guard earlier.index != later.index, earlier.event.subject == later.event.subject else {
      return .deny(.ambiguousHistory, later.index)
    }
  }
  var history = History(purpose: purpose, regime: regime, policy: policy)
  for entry in ordered { history.read(entry) }
  return history.decision(nowMs: nowMs)
}

/// What stands after reading a history in order.
private struct History {
  let purpose: Purpose
  let regime: Regime
  let policy: ConsentPolicy
  private var standing: [(rank: Int, reason: ConsentDecision.Reason, index: LeafIndex)] = []
  private var grant: IndexedEvent?
  private var otherVersion: LeafIndex?

  init(purpose: Purpose, regime: Regime, policy: ConsentPolicy) {
    self.purpose = purpose
    self.regime = regime
    self.policy = policy
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
    case .globalPrivacyControl: standing.append((3, .globalPrivacyControl, entry.index))
    case .withdrawn: end(entry, rank: 4, .withdrawn)
    case .objected: end(entry, rank: 4, .objected)
    case .optedOut: end(entry, rank: 4, .optedOut)
    case .invalidated: end(entry, rank: 4, .invalidated)
    case .revoked: end(entry, rank: 4, .revoked)
    case .superseded: end(entry, rank: 4, .superseded)
    case .restricted: standing.append((5, .restricted, entry.index))
    case .restrictionLifted: standing.removeAll { $0.reason == .restricted }
    case .erased: standing.append((6, .erased, entry.index))
    }
  }

  private mutating func readGrant(_ entry: IndexedEvent) {
    // `every` never grants, and what was recorded as "did not opt out" is no opt-in.
    guard entry.event.purpose.id == purpose.id, regime != .optIn || entry.event.regime == .optIn else {
      return
    }
    guard entry.event.purpose.version == purpose.version else {
      otherVersion = entry.index
      return
    }
    grant = entry
    standing.removeAll { denial in
      switch denial.reason {
      case .erased, .restricted: false
      case .globalPrivacyControl: policy.laterGrantOverridesGlobalPrivacyControl
      default: true
      }
    }
  }

  private mutating func readRenewal(_ entry: IndexedEvent) {
    // A renewal confirms a grant that stands; it cannot bring one back.
    guard let standing = grant, entry.event.purpose == purpose else { return }
    guard regime != .optIn || entry.event.regime == .optIn else { return }
    if let expiry = standing.event.expiresAtMs, expiry <= entry.event.eventTimeMs { return }
    grant = entry
  }

  private mutating func end(_ entry: IndexedEvent, rank: Int, _ reason: ConsentDecision.Reason) {
    grant = nil
    standing.append((rank, reason, entry.index))
  }

  func decision(nowMs: Int64) -> ConsentDecision {
    var denials = standing
    if let grant, let expiry = grant.event.expiresAtMs, expiry <= nowMs {
      denials.append((2, .expired, grant.index))
    }
    // The strongest decides; among equals the latest, because it is what the customer said last.
    if let strongest = denials.max(by: { ($0.rank, $0.index) < ($1.rank, $1.index) }) {
      return .deny(strongest.reason, strongest.index)
    }
    if let grant { return .permit(.granted, grant.index) }
    switch regime {
    case .optOut: return .permit(.permittedByDefault, nil)
    case .optIn:
      return otherVersion.map { .deny(.purposeChanged, $0) } ?? .deny(.unanswered, nil)
    case .prohibited: return .deny(.prohibited, nil)
    }
  }
}
