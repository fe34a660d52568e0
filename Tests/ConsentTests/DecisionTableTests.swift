import Consent
import Testing

/// Where a customer may live in the table, and the age below which a guardian speaks there.
private let places: [(name: String, guardianBelow: Int)] = [
  ("DE", 16), ("FR", 15), ("AT", 14), ("GB", 13), ("US-CA", 13), ("BR", 16), ("unknown", 16),
]

/// The same regime everywhere, so that place and regime vary independently.
private struct Variant: Hashable {
  let regime: Regime
  var asksAge = false
  var minors = MinorsRule.allowed
  var overridesGPC = false
}

private let policies: [Variant: Policy] = {
  var made: [Variant: Policy] = [:]
  for regime in Regime.allCases {
    for asksAge in [false, true] {
      for minors in MinorsRule.allCases {
        for overridesGPC in [false, true] {
          let variant = Variant(
            regime: regime, asksAge: asksAge, minors: minors, overridesGPC: overridesGPC)
          made[variant] = policy(variant)
        }
      }
    }
  }
  return made
}()

private func policy(_ variant: Variant) -> Policy {
  let regime = variant.regime
  let bases = regime == .prohibited ? [] : ["eu-gdpr:A6-1-a"]
  let rule = JurisdictionRule(regime: regime, legalBases: bases)
  return Make.policy(
    [Make.purpose(minors: variant.minors, asksAge: variant.asksAge, places: ["*": rule])],
    overridesGPC: variant.overridesGPC)
}

private func agrees(
  _ events: [ConsentEvent], place: (name: String, guardianBelow: Int), _ variant: Variant, age: AgeBand
) -> String? {
  guard let policy = policies[variant] else { return "no policy for \(variant)" }
  let decision = decide(
    events: Make.log(events), purpose: Purpose(id: "churn", version: 2),
    policy: policy, nowMs: Make.now)
  let oracle = DecisionOracle(
    log: events, regime: variant.regime, guardianBelow: place.guardianBelow, years: age.lowestAge,
    asksAge: variant.asksAge, adultsOnly: variant.minors == .never, notices: [Make.notice],
    signalCanBeOverridden: variant.overridesGPC, now: Make.now)
  let expected = oracle.answer()
  let permits = ["granted", "permitted-by-default"].contains(expected.reason)
  if decision.reason.rawValue == expected.reason, decision.permitted == permits,
    decision.decidedBy == expected.by.map({ LeafIndex(UInt64($0)) })
  {
    return nil
  }
  return
    "\(events.map { "\($0.state.rawValue)/\($0.actor.rawValue)" }) in \(place.name) under \(variant.regime.rawValue)"
    + " at \(age.rawValue): \(decision.reason.rawValue) by \(decision.decidedBy?.description ?? "nobody"),"
    + " expected \(expected.reason) by \(expected.by?.description ?? "nobody")"
}

@Test(arguments: Regime.allCases, AgeBand.allCases)
func `every state in every place agrees with the naive reading`(regime: Regime, age: AgeBand) {
  var cells = 0
  var differences: [String] = []
  for place in places {
    for state in ConsentState.allCases {
      for actor in ActorRole.allCases {
        for asksAge in [false, true] {
          for minors in MinorsRule.allCases {
            let event = Make.event(state, regime: .optIn, place: place.name, actor: actor, age: age)
            cells += 1
            if let difference = agrees(
              [event], place: place, Variant(regime: regime, asksAge: asksAge, minors: minors), age: age)
            {
              differences.append(difference)
            }
          }
        }
      }
    }
  }
  #expect(cells == 7 * 17 * 6 * 2 * 2)
  #expect(differences.isEmpty, "\(differences.prefix(3))")
}

@Test(arguments: Regime.allCases, AgeBand.allCases)
func `every pair of states agrees with the naive reading`(regime: Regime, age: AgeBand) {
  var differences: [String] = []
  for place in places.prefix(1) + places.suffix(1) {
    for first in ConsentState.allCases {
      for second in ConsentState.allCases {
        for actor in [ActorRole.customer, .guardian] {
          let events = [
            Make.event(first, place: place.name, actor: actor, age: age),
            Make.event(second, place: place.name, actor: actor, age: age),
          ]
          let overrides = (first == .globalPrivacyControl) == (actor == .customer)
          if let difference = agrees(
            events, place: place, Variant(regime: regime, overridesGPC: overrides), age: age)
          {
            differences.append(difference)
          }
        }
      }
    }
  }
  #expect(differences.isEmpty, "\(differences.prefix(3))")
}

@Test(arguments: Regime.allCases)
func `long random histories agree with the naive reading`(regime: Regime) {
  var numbers = SeededNumbers(seed: 11)
  var differences: [String] = []
  var granted = 0
  for _ in 0..<2000 {
    let age = numbers.pick(AgeBand.allCases)
    let place = numbers.pick(places)
    let events = (0..<numbers.below(8)).map { _ in
      RandomEvents.event(&numbers, age: age, place: place.name)
    }
    // Whose residence nobody named counts as unknown.
    let known = events.isEmpty ? (name: "unknown", guardianBelow: 16) : place
    let namedAge = events.contains { $0.ageBand == age } ? age : .unknown
    let overrides = numbers.below(2) == 0
    if let difference = agrees(
      events, place: known, Variant(regime: regime, overridesGPC: overrides), age: namedAge)
    {
      differences.append(difference)
    }
    if events.contains(where: \.state.isGrant) { granted += 1 }
  }
  #expect(granted > 500)
  #expect(differences.isEmpty, "\(differences.count): \(differences.prefix(3))")
}

/// Random events about one customer that favour the interesting states and faults.
enum RandomEvents {
  static func event(
    _ numbers: inout SeededNumbers, age: AgeBand = .adult, place: String = "DE"
  ) -> ConsentEvent {
    let grants: [ConsentState] = [.given, .given, .given, .given, .renewed, .renewed]
    let state = numbers.pick(ConsentState.allCases + grants + grants)
    let purpose = numbers.pick([
      Purpose(id: "churn", version: 2), Purpose(id: "churn", version: 2), Purpose(id: "churn", version: 2),
      Purpose(id: "churn", version: 1), Purpose(id: "pricing", version: 2), .every,
    ])
    var event = Make.event(
      state, for: purpose, regime: numbers.pick([.optIn, .optIn, .optOut]),
      basis: numbers.pick(["eu-gdpr:A6-1-a", "eu-gdpr:A6-1-a", "eu-gdpr:A9-2-a"]), place: place,
      actor: numbers.pick([.customer, .customer, .guardian, .agent, .system]),
      age: numbers.pick([age, age, .unknown]),
      notice: numbers.pick([Make.notice, Make.notice, Make.notice, Make.staleNotice, nil]))
    if state.isGrant {
      event.notBeforeMs = numbers.pick([nil, nil, Make.now, Make.now + Make.day])
      event.expiresAtMs = numbers.pick([nil, nil, Make.now - 500, Make.now, Make.now + 2 * Make.day])
    }
    return event
  }
}
