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
package struct DecisionRules: Hashable, Sendable {
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
    /// The grant is for another version of the purpose, or another version is in force: ask again.
    case purposeChanged = "purpose-changed"
    /// The grant was given on a notice that no longer counts: ask again.
    case noticeChanged = "notice-changed"
    /// The grant rests on another legal basis than the one that was withdrawn from.
    case legalBasisChanged = "legal-basis-changed"
    /// The customer is too young for this purpose, or too young to have agreed alone.
    case underAge = "under-age"
    /// The purpose asks for the customer's age and nobody knows it.
    case ageUnknown = "age-unknown"
    /// Somebody agreed who cannot agree for this customer.
    case wrongActor = "wrong-actor"
    /// The grant has not begun.
    case notYetValid = "not-yet-valid"
    /// The policy does not have this purpose.
    case unknownPurpose = "unknown-purpose"
    /// The purpose has no impact assessment, so it is not activated.
    case inactivePurpose = "inactive-purpose"
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

  /// A decision that was kept, read back. It permits nothing: batches come from `admit` alone.
  package init(permitted: Bool, reason: Reason, decidedBy: LeafIndex?) {
    self.permitted = permitted
    self.reason = reason
    self.decidedBy = decidedBy
  }

  /// The same decision where silence is not taken for an answer.
  package var withoutSilence: ConsentDecision {
    reason == .permittedByDefault ? .deny(.unanswered, decidedBy) : self
  }

  static func permit(_ reason: Reason, _ index: LeafIndex?) -> ConsentDecision {
    ConsentDecision(permitted: true, reason: reason, decidedBy: index)
  }
  static func deny(_ reason: Reason, _ index: LeafIndex?) -> ConsentDecision {
    ConsentDecision(permitted: false, reason: reason, decidedBy: index)
  }
}

/// The version of the rules; stands in evidence records so that an old decision can be repeated.
package let consentRulesVersion = 2

/// Decides from the events of one customer under a regime (design "Rules of decision", rules 2 to 5): the engine
/// below `decide(events:purpose:policy:circumstances:nowMs:)`, for callers that know the regime.
///
/// The order is the log's index, never a clock. A grant (`given`) clears the denials before it that the
/// customer can clear, and only for the version of the purpose that it names; a restriction ends only
/// when it is lifted, a Global Privacy Control signal only if the rules say so, an erasure never. What
/// stands is weighed: erased > restricted > withdrawn, objected, opted out (and the controller's and
/// authorities' endings) > Global Privacy Control > expired > refused > given. Beginning and expiry are
/// evaluated here, at reading: a grant counts from its first millisecond and no longer at its expiry time.
///
/// - Parameters:
///   - events: the customer's events, for any purposes, in any order.
///   - nowMs: the time of the decision, milliseconds of UTC since 1970.
package func decide(
  events: [IndexedEvent], purpose: Purpose, regime: Regime, nowMs: Int64,
  policy: DecisionRules = DecisionRules()
) -> ConsentDecision {
  guard regime != .prohibited else { return .deny(.prohibited, nil) }
  switch ordered(events) {
  case .tie(let index): return .deny(.ambiguousHistory, index)
  case .order(let ordered):
    var history = DecisionHistory(purpose: purpose, regime: regime, rules: policy, nowMs: nowMs)
    for position in ordered.indices { history.read(ordered[position]) }
    return history.decision
  }
}

/// One customer's events in the log's order, or the position at which they cannot be ordered.
enum OrderedEvents {
  case order([IndexedEvent])
  case tie(LeafIndex)
}

/// Sorts by index; two events at one index, or of two customers, are no history (rule 5: ties deny).
func ordered(_ events: [IndexedEvent]) -> OrderedEvents {
  var ordered = events
  // Histories come from the log in its order: sorting them again would copy every event.
  if !events.indices.dropFirst().allSatisfy({ events[$0 - 1].index < events[$0].index }) {
    ordered.sort { $0.index < $1.index }
  }
  for position in ordered.indices.dropFirst() {
    guard ordered[position - 1].index != ordered[position].index,
      ordered[position - 1].event.subject == ordered[position].event.subject
    else { return .tie(ordered[position].index) }
  }
  return .order(ordered)
}
