import Consent
import Testing

private let open = Make.policy([
  Make.purpose(), Make.purpose("scores", sensitive: true, asksAge: true, lifetimeDays: 30),
  Make.purpose("draft", dpia: nil), Make.purpose("adults", minors: .never),
])

private func refusal(
  _ event: ConsentEvent, _ change: (inout ConsentEvent) -> Void = { _ in }
) -> GrantRefusal? {
  var event = event
  change(&event)
  return open.refusal(for: event)
}

private func grant(_ id: String = "churn", _ place: String = "DE") -> ConsentEvent {
  Make.event(.given, for: Purpose(id: id, version: 2), place: place)
}

private func grantToScores() -> ConsentEvent {
  Make.event(
    .given, for: Purpose(id: "scores", version: 2), type: .explicit, expires: Make.now - 1000 + 30 * Make.day)
}

@Test func `takes grants that the policy has room for`() {
  #expect(refusal(grant()) == nil)
  #expect(refusal(grant()) { $0.state = .renewed } == nil)
  #expect(refusal(grantToScores()) == nil)
  #expect(refusal(grant("adults")) == nil)
  let optOut = refusal(grant("churn", "US-CA")) {
    $0.regime = .optOut
    $0.legalBasis = "us-ca:opt-out"
  }
  #expect(optOut == nil)
  let optIn = refusal(grant("churn", "US-CA")) {
    $0.legalBasis = "us-ca:opt-in"
    $0.ageBand = .fifteen
  }
  #expect(optIn == nil)
  #expect(refusal(grant("churn", "FR")) { $0.ageBand = .fifteen } == nil)
  let byGuardian = refusal(grant()) {
    $0.ageBand = .fifteen
    $0.actor = .guardian
  }
  #expect(byGuardian == nil)
}

@Test func `refuses grants for what the policy does not have`() {
  #expect(refusal(grant("pricing")) == .unknownPurpose("pricing"))
  #expect(refusal(grant("draft")) == .inactivePurpose("draft"))
  #expect(
    refusal(grant()) { $0.purpose = Purpose(id: "churn", version: 1) }
      == .version(purpose: "churn", inForce: 2, recorded: 1))
  #expect(refusal(grant("churn", "BR")) == .prohibited(purpose: "churn", jurisdiction: "BR"))
  #expect(
    refusal(grant("churn", "unknown")) == .prohibited(purpose: "churn", jurisdiction: "unknown"))
  #expect(
    refusal(grant()) { $0.regime = .optOut }
      == .regime(expected: .optIn, recorded: .optOut, jurisdiction: "DE"))
  #expect(
    refusal(grant()) { $0.legalBasis = "eu-gdpr:A6-1-f" }
      == .legalBasis(recorded: "eu-gdpr:A6-1-f", expected: ["eu-gdpr:A6-1-a"]))
  #expect(refusal(grant()) { $0.noticeHash = nil } == .notice(purpose: "churn"))
  #expect(refusal(grant()) { $0.noticeHash = Make.staleNotice } == .notice(purpose: "churn"))
}

@Test func `refuses an opt-out's grant of a minor`() {
  let refused = refusal(grant("churn", "US-CA")) {
    $0.regime = .optOut
    $0.legalBasis = "us-ca:opt-out"
    $0.ageBand = .fourteen
  }
  #expect(refused == .regime(expected: .optIn, recorded: .optOut, jurisdiction: "US-CA"))
}

@Test func `refuses grants by who cannot give them`() {
  for actor in [ActorRole.controller, .authority, .system] {
    #expect(refusal(grant()) { $0.actor = actor } == .actor(actor))
  }
  #expect(refusal(grant()) { $0.ageBand = .fifteen } == .needsGuardian(age: 16))
  #expect(refusal(grant("churn", "FR")) { $0.ageBand = .fourteen } == .needsGuardian(age: 15))
  #expect(refusal(grant()) { $0.actor = .guardian } == .needsCustomer(age: 16))
  #expect(refusal(grantToScores()) { $0.ageBand = .unknown } == .ageUnknown(purpose: "scores"))
  #expect(refusal(grant("adults")) { $0.ageBand = .sixteenOrSeventeen } == .minor(purpose: "adults"))
}

@Test func `refuses consent that is too weak or lasts too long`() {
  #expect(refusal(grant()) { $0.consentType = .implied } == .consentType(.implied, purpose: "churn"))
  #expect(
    refusal(grantToScores()) { $0.consentType = .expressed } == .consentType(.expressed, purpose: "scores"))
  #expect(refusal(grantToScores()) { $0.expiresAtMs = nil } == .lifetime(maximumDays: 30))
  #expect(
    refusal(grantToScores()) { $0.expiresAtMs = $0.expiresAtMs.map { $0 + 1 } } == .lifetime(maximumDays: 30))
}

@Test func `takes everything else, whatever it says`() {
  for state in ConsentState.allCases where !state.isGrant {
    let event = Make.event(
      state, for: .every, regime: .prohibited, basis: "nonsense", place: "BR", actor: .system, age: .under13,
      notice: nil)
    #expect(open.refusal(for: event) == nil)
  }
}

@Test func `what the door takes from an adult the decision permits`() {
  for place in ["DE", "FR", "US-CA", "JP", "BR", "unknown"] {
    for regime in Regime.allCases {
      for basis in ["eu-gdpr:A6-1-a", "us-ca:opt-out", "us-ca:opt-in", "other:opt-out"] {
        for age in AgeBand.allCases {
          for actor in ActorRole.allCases {
            let event = Make.event(
              .given, regime: regime, basis: basis, place: place, actor: actor, age: age)
            guard open.refusal(for: event) == nil else { continue }
            let decision = decide(
              events: Make.log([event]), purpose: event.purpose, policy: open, nowMs: Make.now)
            #expect(decision.reason == .granted, "\(place) \(regime) \(basis) \(age) \(actor)")
          }
        }
      }
    }
  }
}

@Test func `says what to mend in sentences`() {
  let refusals: [GrantRefusal] = [
    .unknownPurpose("p"), .inactivePurpose("p"), .version(purpose: "p", inForce: 2, recorded: 1),
    .prohibited(purpose: "p", jurisdiction: "BR"),
    .regime(expected: .optIn, recorded: .optOut, jurisdiction: "DE"),
    .legalBasis(recorded: "a", expected: ["b", "c"]), .notice(purpose: "p"),
    .consentType(.implied, purpose: "p"), .ageUnknown(purpose: "p"), .minor(purpose: "p"),
    .needsGuardian(age: 16), .needsCustomer(age: 16), .actor(.system), .lifetime(maximumDays: 30),
  ]
  let sentences = refusals.map(\.description)
  #expect(Set(sentences).count == refusals.count && sentences.allSatisfy { $0.count > 20 })
  #expect(sentences[5] == "the grant names the legal basis a; the policy has b or c")
}
