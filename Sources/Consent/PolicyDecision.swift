/// What the caller knows about a customer from elsewhere than the log. What it leaves open comes from the
/// customer's own events.
package struct Circumstances: Hashable, Sendable {
  /// Where the customer lives, such as `DE` or `US-CA`; nil to take it from the events.
  package var residence: String?
  /// Where the data were collected, such as the store's place; events do not name it.
  package var collection: String?
  /// The customer's age; nil to take it from the events.
  package var age: AgeBand?

  /// Knows what it is told.
  package init(residence: String? = nil, collection: String? = nil, age: AgeBand? = nil) {
    self.residence = residence
    self.collection = collection
    self.age = age
  }
}

extension AgeBand {
  /// Whether everybody in the band is younger than `age`; nil if the band is unknown. Exact for 13 to 16 and
  /// 18; a 17 counts all of 16–17 as younger.
  package func isBelow(_ age: Int) -> Bool? { lowestAge.map { $0 < age } }

  /// The first whole age above the band; nil if it has none.
  var firstAgeAbove: Int? {
    switch self {
    case .unknown, .adult: nil
    case .under13: 13
    case .thirteen: 14
    case .fourteen: 15
    case .fifteen: 16
    case .sixteenOrSeventeen: 18
    }
  }
}

/// What a customer's own events say about the customer.
struct SubjectFacts {
  /// Every place that an event named as the residence. Several count together, the strictest of them: a till
  /// with a wrong setting must not turn an opt-in into an opt-out. A caller who knows better says so in
  /// `Circumstances.residence`.
  var residences: Set<String> = []
  /// The age that counts, and the event that named it.
  var age: AgeBand = .unknown
  var ageIndex: LeafIndex?
  /// The customer was not born before this, by what was believed so far, ms of UTC.
  private var bornAfterMs = Int64.min

  private static let yearMs: Int64 = 31_556_952_000

  /// Reads events in the log's order. The latest event that names an age counts, unless the customer could not
  /// have grown that old since an earlier one: of two ages that contradict each other the younger counts.
  init(_ ordered: [IndexedEvent], circumstances: Circumstances) {
    for position in ordered.indices {
      if let place = Jurisdiction.place(ordered[position].event.jurisdiction) { residences.insert(place) }
      readAge(ordered[position])
    }
    if let known = circumstances.residence { residences = Jurisdiction.place(known).map { [$0] } ?? [] }
    if let known = circumstances.age {
      age = known
      ageIndex = nil
    }
  }

  private mutating func readAge(_ entry: IndexedEvent) {
    let band = entry.event.ageBand
    guard let lowest = band.lowestAge else { return }
    let timeMs = min(max(entry.event.eventTimeMs, 0), ConsentEvent.latestTimeMs)
    // One day's grace for leap years.
    let bornBefore = timeMs - Int64(lowest) * Self.yearMs + 86_400_000
    guard bornBefore >= bornAfterMs else { return }
    age = band
    ageIndex = entry.index
    if let above = band.firstAgeAbove {
      bornAfterMs = max(bornAfterMs, timeMs - Int64(above) * Self.yearMs)
    }
  }
}

/// Decides whether one customer's data may be used for a purpose now (design "Rules of decision"; all six).
///
/// First what no answer of the customer's can change: the purpose must be in the policy, activated and in the
/// version asked for; the strictest regime of residence, establishment and place of collection must not prohibit
/// it; the events must have an order; the age must fit. Below `limits.optInBelowAge` an opt-out becomes an
/// opt-in. Then the history decides as `decide(events:purpose:regime:nowMs:policy:)` describes, in which a grant
/// counts only if it was given on a listed notice, by somebody who may speak for the customer, not on another
/// legal basis than one that was withdrawn from, and not before it begins.
///
/// - Parameters:
///   - events: the customer's events, for any purposes, in any order.
///   - purpose: for what, in the version that the caller was built for.
///   - circumstances: what the caller knows better than the events.
///   - nowMs: the time of the decision, milliseconds of UTC since 1970.
package func decide(
  events: [IndexedEvent], purpose: Purpose, policy: Policy, circumstances: Circumstances = Circumstances(),
  nowMs: Int64
) -> ConsentDecision {
  var decider = PolicyDecider(policy: policy, purpose: purpose)
  return decider.decide(events: events, circumstances: circumstances, nowMs: nowMs)
}

/// Decides about many customers for one purpose as
/// `decide(events:purpose:policy:circumstances:nowMs:)` does, weighing each combination of places once.
package struct PolicyDecider {
  private struct Places: Hashable {
    let residences: Set<String>
    let collection: String?
  }

  private let policy: Policy
  private let purpose: Purpose
  private let entry: PolicyPurpose?
  private let rules: DecisionRules
  private var weighed: [Places: (regime: Regime, consentAge: Int)] = [:]

  /// A decider for the purpose in the version that the caller was built for.
  package init(policy: Policy, purpose: Purpose) {
    self.policy = policy
    self.purpose = purpose
    entry = policy.purpose(purpose.id)
    rules = policy.rules
  }

  /// The decision about one customer.
  package mutating func decide(
    events: [IndexedEvent], circumstances: Circumstances = Circumstances(), nowMs: Int64
  ) -> ConsentDecision {
    guard let entry else { return .deny(.unknownPurpose, nil) }
    guard entry.isActive else { return .deny(.inactivePurpose, nil) }
    guard entry.version == purpose.version else { return .deny(.purposeChanged, nil) }
    let history: [IndexedEvent]
    switch ordered(events) {
    case .tie(let index): return .deny(.ambiguousHistory, index)
    case .order(let sorted): history = sorted
    }
    let facts = SubjectFacts(history, circumstances: circumstances)
    let place = weigh(
      Places(residences: facts.residences, collection: circumstances.collection), for: entry)
    guard place.regime != .prohibited else { return .deny(.prohibited, nil) }
    if entry.asksAge, facts.age == .unknown { return .deny(.ageUnknown, nil) }
    if entry.minors == .never, facts.age.isBelow(18) == true { return .deny(.underAge, facts.ageIndex) }
    var reading = DecisionHistory(
      purpose: purpose, regime: policy.regime(place.regime, age: facts.age), rules: rules,
      conditions: GrantConditions(notices: entry.notices, age: facts.age, consentAge: place.consentAge),
      nowMs: nowMs)
    for position in history.indices { reading.read(history[position]) }
    return reading.decision
  }

  private mutating func weigh(
    _ places: Places, for entry: PolicyPurpose
  ) -> (regime: Regime, consentAge: Int) {
    if let known = weighed[places] { return known }
    let ruling = policy.ruling(for: entry, residences: places.residences, collection: places.collection)
    let result = (ruling.regime, policy.consentAge(residences: places.residences))
    weighed[places] = result
    return result
  }
}

extension Policy {
  /// The regime for somebody of that age: silence of a minor permits nothing (CCPA §1798.120(c), read strictly
  /// for every place).
  func regime(_ regime: Regime, age: AgeBand) -> Regime {
    regime == .optOut && age.isBelow(limits.optInBelowAge) == true ? .optIn : regime
  }
}
