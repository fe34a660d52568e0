import Consent
import Testing

private let purpose = Purpose(id: "churn", version: 2)

private func decided(
  _ events: [IndexedEvent], _ policy: Policy, _ circumstances: Circumstances = Circumstances(),
  at nowMs: Int64 = Make.now
) -> ConsentDecision {
  decide(events: events, purpose: purpose, policy: policy, circumstances: circumstances, nowMs: nowMs)
}

private let policies = [
  Make.policy(), Make.policy(overridesGPC: true), Make.policy(establishment: "DE"),
  Make.policy([Make.purpose(asksAge: true, notices: [])]),
]

/// Runs a check over random histories of up to `length` events, numbered with gaps so that more fit between.
private func overHistories(
  _ count: Int, length: Int = 8, seed: UInt64, _ check: (inout SeededNumbers, [IndexedEvent], Policy) -> Bool
) -> Int {
  var numbers = SeededNumbers(seed: seed)
  var failures = 0
  for _ in 0..<count {
    let age = numbers.pick(AgeBand.allCases)
    let place = numbers.pick(["DE", "US-CA", "unknown", "JP"])
    let events = (0..<numbers.below(length + 1)).map { position in
      IndexedEvent(
        index: LeafIndex(UInt64(position) * 10 + 10),
        event: RandomEvents.event(&numbers, age: age, place: place))
    }
    if !check(&numbers, events, numbers.pick(policies)) { failures += 1 }
  }
  return failures
}

private let denials: [ConsentState] = [
  .withdrawn, .objected, .optedOut, .restricted, .erased, .globalPrivacyControl,
]

@Test func `one more denial never permits more`() {
  let failures = overHistories(3000, seed: 1) { numbers, events, policy in
    if decided(events, policy).permitted { return true }
    // It says nothing else about the customer: no place, no age.
    var denial = RandomEvents.event(&numbers, age: .unknown, place: "unknown")
    denial.state = numbers.pick(denials)
    denial.notBeforeMs = nil
    denial.expiresAtMs = nil
    let index = LeafIndex(UInt64(numbers.below(10) * 10 + 5))
    return !decided(events + [IndexedEvent(index: index, event: denial)], policy).permitted
  }
  #expect(failures == 0)
}

@Test func `a denial at the end denies`() {
  let failures = overHistories(3000, seed: 2) { numbers, events, policy in
    let event = Make.event(numbers.pick(denials), place: "unknown", age: .unknown)
    return !decided(events + [IndexedEvent(index: 1000, event: event)], policy).permitted
  }
  #expect(failures == 0)
}

@Test func `the order of the array does not matter`() {
  let failures = overHistories(1500, seed: 3) { numbers, events, policy in
    var shuffled = events
    for position in shuffled.indices.reversed() {
      shuffled.swapAt(position, numbers.below(position + 1))
    }
    return decided(shuffled, policy) == decided(events, policy)
  }
  #expect(failures == 0)
}

@Test func `time alone never brings an expired grant back`() {
  let failures = overHistories(1000, seed: 4) { _, events, policy in
    var hasExpired = false
    for step in -3...5 {
      let decision = decided(events, policy, at: Make.now + Int64(step) * Make.day / 2)
      if hasExpired, decision.permitted { return false }
      if decision.reason == .expired { hasExpired = true }
    }
    return true
  }
  #expect(failures == 0)
}

@Test func `an erased customer is never permitted again`() {
  let failures = overHistories(1000, seed: 5) { numbers, events, policy in
    let erased = Make.event(
      .erased, for: numbers.pick([.every, purpose, Purpose(id: "pricing", version: 9)]))
    let index = LeafIndex(UInt64(numbers.below(10) * 10 + 5))
    let all = events + [IndexedEvent(index: index, event: erased)]
    return (0..<3).allSatisfy { !decided(all, policy, at: Make.now + Int64($0) * Make.year).permitted }
  }
  #expect(failures == 0)
}

@Test func `a younger customer is never permitted more`() {
  let bands: [AgeBand] = [.under13, .thirteen, .fourteen, .fifteen, .sixteenOrSeventeen, .adult]
  let failures = overHistories(1500, seed: 6) { numbers, events, policy in
    // Without guardians, who speak for the young only; all as opt-ins, since an opt-in that an opt-out's grant
    // replaces for an adult goes on for a minor, for whom that grant is none.
    let own = events.map { entry in
      var event = entry.event
      event.regime = .optIn
      if event.actor == .guardian { event.actor = .customer }
      return IndexedEvent(index: entry.index, event: event)
    }
    let permitted = bands.map { decided(own, policy, Circumstances(age: $0)).permitted }
    return zip(permitted, permitted.dropFirst()).allSatisfy { !$0 || $1 }
  }
  #expect(failures == 0)
}

@Test func `one more known place never permits more`() {
  let failures = overHistories(1500, seed: 7) { numbers, recorded, policy in
    let events = recorded.map { entry in
      var event = entry.event
      event.regime = .optIn
      return IndexedEvent(index: entry.index, event: event)
    }
    let without = decided(events, policy, Circumstances(residence: "US-CA"))
    let with = decided(
      events, policy,
      Circumstances(residence: "US-CA", collection: numbers.pick(["DE", "FR", "BR", "US-CA", "JP"])))
    let unknown = decided(events, policy, Circumstances(residence: "unknown"))
    return (without.permitted || !with.permitted) && (without.permitted || !unknown.permitted)
  }
  #expect(failures == 0)
}

@Test func `what a decider remembers changes no decision`() {
  var deciders = policies.map { PolicyDecider(policy: $0, purpose: purpose) }
  let failures = overHistories(1500, seed: 9) { numbers, events, policy in
    guard let position = policies.firstIndex(of: policy) else { return false }
    let circumstances = Circumstances(
      residence: numbers.pick([nil, nil, "DE", "FR", "US-CA", "BR"]),
      collection: numbers.pick([nil, nil, "DE", "US-CA", "nowhere"]))
    let remembered = deciders[position].decide(
      events: events, circumstances: circumstances, nowMs: Make.now)
    return remembered == decided(events, policy, circumstances)
  }
  #expect(failures == 0)
}

@Test func `random histories permit and deny for every reason that they can reach`() {
  var reasons: Set<ConsentDecision.Reason> = []
  _ = overHistories(3000, seed: 8) { _, events, policy in
    reasons.insert(decided(events, policy).reason)
    return true
  }
  let elsewhere: Set<ConsentDecision.Reason> = [.ambiguousHistory, .unknownPurpose, .inactivePurpose]
  #expect(reasons.union(elsewhere) == Set(ConsentDecision.Reason.allCases))
}
