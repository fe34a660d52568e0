import Consent
import Testing

private let purpose = Purpose(id: "recommendations", version: 2)
private let now: Int64 = 1_790_000_000_000

private func event(
  _ state: ConsentState, _ purpose: Purpose = purpose, regime: Regime = .optIn, expires: Int64? = nil,
  time: Int64 = now - 1000, subject: UInt8 = 1
) -> ConsentEvent {
  Make.event(state, for: purpose, regime: regime, time: time, subject: subject, expires: expires)
}

/// A history in the order of the log, written as one step an event.
private enum Step: Sendable {
  case state(ConsentState)
  case other(ConsentState, Purpose)
  case expiring(ConsentState, Int64)
  case underOptOut(ConsentState)
  case basis(String)
  case beginning(Int64)
}

private func history(_ steps: [Step]) -> [IndexedEvent] {
  steps.enumerated().map { index, step in
    let made =
      switch step {
      case .state(let state): event(state)
      case .other(let state, let purpose): event(state, purpose)
      case .expiring(let state, let expires): event(state, expires: expires, time: expires - 1000)
      case .underOptOut(let state): event(state, regime: .optOut)
      case .basis(let basis): Make.event(.given, for: purpose, basis: basis)
      case .beginning(let time): Make.event(.given, for: purpose, begins: time)
      }
    return IndexedEvent(index: LeafIndex(UInt64(index)), event: made)
  }
}

private struct Row: Sendable, CustomTestStringConvertible {
  let name: String
  let regime: Regime
  let steps: [Step]
  let reason: ConsentDecision.Reason
  let decidedBy: LeafIndex?
  var overridesGPC = false
  var testDescription: String { "\(regime.rawValue): \(name)" }

  init(
    _ name: String, _ regime: Regime, _ steps: [Step], _ reason: ConsentDecision.Reason,
    _ decidedBy: LeafIndex?, overridesGPC: Bool = false
  ) {
    self.name = name
    self.regime = regime
    self.steps = steps
    self.reason = reason
    self.decidedBy = decidedBy
    self.overridesGPC = overridesGPC
  }
}

private let old = Purpose(id: "recommendations", version: 1)
private let other = Purpose(id: "pricing", version: 2)

private let rows: [Row] = [
  Row("silence denies", .optIn, [], .unanswered, nil),
  Row("silence permits", .optOut, [], .permittedByDefault, nil),
  Row("a prohibition denies whatever was said", .prohibited, [.state(.given)], .prohibited, nil),
  Row("a grant permits", .optIn, [.state(.given)], .granted, 0),
  Row("a request is no answer", .optIn, [.state(.requested)], .unanswered, nil),
  Row("a request does not undo a grant", .optIn, [.state(.given), .state(.requested)], .granted, 0),
  Row("a deferral is no answer", .optIn, [.state(.deferred), .state(.requestExpired)], .unanswered, nil),
  Row("a refusal denies", .optIn, [.state(.refused)], .refused, 0),
  Row("a refusal denies silence", .optOut, [.state(.refused)], .refused, 0),
  Row("a refusal after a grant denies", .optIn, [.state(.given), .state(.refused)], .refused, 1),
  Row("a grant after a refusal permits", .optIn, [.state(.refused), .state(.given)], .granted, 1),
  Row("a withdrawal denies", .optIn, [.state(.given), .state(.withdrawn)], .withdrawn, 1),
  Row("a grant after a withdrawal permits", .optIn, [.state(.withdrawn), .state(.given)], .granted, 1),
  Row(
    "a renewal after a withdrawal does not", .optIn,
    [.state(.given), .state(.withdrawn), .state(.renewed)], .withdrawn, 1),
  Row("a renewal confirms a grant", .optIn, [.state(.given), .state(.renewed)], .granted, 1),
  Row("a renewal alone is nothing", .optIn, [.state(.renewed)], .unanswered, nil),
  Row("an objection denies", .optOut, [.state(.objected)], .objected, 0),
  Row("an opt-out denies", .optOut, [.state(.optedOut)], .optedOut, 0),
  Row("opting in again permits", .optOut, [.state(.optedOut), .underOptOut(.given)], .granted, 1),
  Row("an invalidation denies", .optIn, [.state(.given), .state(.invalidated)], .invalidated, 1),
  Row("a revocation denies", .optIn, [.state(.given), .state(.revoked)], .revoked, 1),
  Row("a superseded record denies", .optIn, [.state(.given), .state(.superseded)], .superseded, 1),
  Row("a restriction outlasts a grant", .optIn, [.state(.restricted), .state(.given)], .restricted, 0),
  Row(
    "lifting a restriction restores the grant", .optIn,
    [.state(.given), .state(.restricted), .state(.restrictionLifted)], .granted, 0),
  Row(
    "an erasure is final", .optIn,
    [.state(.erased), .state(.given), .state(.restrictionLifted)], .erased, 0),
  Row("an erasure for another purpose is final too", .optOut, [.other(.erased, other)], .erased, 0),
  Row(
    "erased comes before restricted and withdrawn", .optIn,
    [.state(.erased), .state(.restricted), .state(.withdrawn)], .erased, 0),
  Row(
    "restricted comes before withdrawn", .optIn,
    [.state(.restricted), .state(.withdrawn)], .restricted, 0),
  Row(
    "withdrawn comes before a privacy signal", .optIn,
    [.state(.withdrawn), .state(.globalPrivacyControl)], .withdrawn, 0),
  Row(
    "a privacy signal comes before refused", .optIn,
    [.state(.globalPrivacyControl), .state(.refused)], .globalPrivacyControl, 0),
  Row("expired comes before refused", .optIn, [.state(.expired), .state(.refused)], .expired, 0),
  Row("among equals the latest decides", .optIn, [.state(.objected), .state(.withdrawn)], .withdrawn, 1),
  Row(
    "a privacy signal outlasts a grant", .optOut,
    [.state(.globalPrivacyControl), .state(.given)], .globalPrivacyControl, 0),
  Row(
    "unless the policy says otherwise", .optOut,
    [.state(.globalPrivacyControl), .state(.given)], .granted, 1, overridesGPC: true),
  Row(
    "a later signal denies in any case", .optOut,
    [.state(.given), .state(.globalPrivacyControl)], .globalPrivacyControl, 1, overridesGPC: true),
  Row("a grant ends at its expiry", .optIn, [.expiring(.given, now)], .expired, 0),
  Row("a grant lasts until its expiry", .optIn, [.expiring(.given, now + 1)], .granted, 0),
  Row(
    "a new grant after an expiry permits", .optIn,
    [.expiring(.given, now - 5), .state(.expired), .state(.given)], .granted, 2),
  Row(
    "a renewal cannot bring an expired grant back", .optIn,
    [.expiring(.given, now - 5000), .state(.renewed)], .expired, 0),
  Row("a grant for another purpose is nothing", .optIn, [.other(.given, other)], .unanswered, nil),
  Row(
    "a withdrawal for another purpose is nothing", .optIn,
    [.state(.given), .other(.withdrawn, other)], .granted, 0),
  Row(
    "a withdrawal for every purpose denies", .optIn,
    [.state(.given), .other(.withdrawn, .every)], .withdrawn, 1),
  Row(
    "a grant after it permits its purpose", .optIn,
    [.other(.withdrawn, .every), .state(.given)], .granted, 1),
  Row("a grant for every purpose is nothing", .optIn, [.other(.given, .every)], .unanswered, nil),
  Row("a grant for an earlier version asks again", .optIn, [.other(.given, old)], .purposeChanged, 0),
  Row("a withdrawal of an earlier version holds", .optOut, [.other(.withdrawn, old)], .withdrawn, 0),
  Row(
    "a withdrawal locks the legal basis", .optIn, [.state(.given), .state(.withdrawn), .basis("other")],
    .legalBasisChanged, 2),
  Row(
    "the same legal basis opens it again", .optIn,
    [.state(.given), .state(.withdrawn), .basis("other"), .state(.given)], .granted, 3),
  Row(
    "a withdrawal of nothing locks no legal basis", .optIn, [.state(.withdrawn), .basis("other")],
    .granted, 1),
  Row(
    "a legal basis may change without a withdrawal", .optIn, [.state(.given), .basis("other")], .granted, 1),
  Row(
    "a faulty grant explains a refusal before it", .optIn, [.state(.refused), .other(.given, old)],
    .purposeChanged, 1),
  Row("but not a refusal after it", .optIn, [.other(.given, old), .state(.refused)], .refused, 1),
  Row("nor a restriction", .optIn, [.state(.restricted), .other(.given, old)], .restricted, 0),
  Row(
    "nor a signal that no grant overrides", .optIn,
    [.state(.globalPrivacyControl), .other(.given, old)], .globalPrivacyControl, 0),
  Row("a grant counts from its beginning", .optIn, [.beginning(now)], .granted, 0),
  Row("a grant does not count before", .optIn, [.beginning(now + 1)], .notYetValid, 0),
  Row(
    "a denial stands until the grant begins", .optIn, [.state(.withdrawn), .beginning(now + 1)],
    .notYetValid, 1),
  Row(
    "an earlier grant lasts until the next begins", .optIn, [.state(.given), .beginning(now + 1)],
    .granted, 0),
  Row(
    "between two grants nothing is granted", .optIn, [.expiring(.given, now), .beginning(now + 1)],
    .notYetValid, 1),
  Row("what was recorded under opt-out is no opt-in", .optIn, [.underOptOut(.given)], .unanswered, nil),
]

@Test(arguments: rows)
private func `decides by the table`(row: Row) {
  let decision = decide(
    events: history(row.steps).reversed(), purpose: purpose, regime: row.regime, nowMs: now,
    policy: DecisionRules(laterGrantOverridesGlobalPrivacyControl: row.overridesGPC))
  #expect(decision.reason == row.reason)
  #expect(decision.decidedBy == row.decidedBy)
  #expect(decision.permitted == [.granted, .permittedByDefault].contains(row.reason))
}

@Test func `two events at one index deny`() {
  let events = [
    IndexedEvent(index: 3, event: event(.withdrawn)), IndexedEvent(index: 3, event: event(.given)),
  ]
  let decision = decide(events: events, purpose: purpose, regime: .optIn, nowMs: now)
  #expect(decision == decide(events: events.reversed(), purpose: purpose, regime: .optIn, nowMs: now))
  #expect(decision.reason == .ambiguousHistory && !decision.permitted)
}

@Test func `events of two customers deny`() {
  let events = [
    IndexedEvent(index: 1, event: event(.given)),
    IndexedEvent(index: 2, event: event(.given, subject: 2)),
  ]
  #expect(decide(events: events, purpose: purpose, regime: .optIn, nowMs: now).reason == .ambiguousHistory)
}

@Test func `the clock of the recorder does not order events`() {
  let events = [
    IndexedEvent(index: 1, event: event(.given, time: now + 900_000)),
    IndexedEvent(index: 2, event: event(.withdrawn, time: 0)),
  ]
  #expect(decide(events: events, purpose: purpose, regime: .optIn, nowMs: now).reason == .withdrawn)
}

@Test func `no random history permits after an erasure, a restriction or a withdrawal at its end`() {
  var seed: UInt64 = 7
  func next(_ bound: Int) -> Int {
    seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    return Int(seed >> 33) % bound
  }
  let states = ConsentState.allCases
  for _ in 0..<2000 {
    let steps: [Step] = (0..<next(8)).map { _ in .state(states[next(states.count)]) }
    for last in [ConsentState.erased, .restricted, .withdrawn, .objected, .optedOut, .refused] {
      for regime in Regime.allCases {
        let events = history(steps + [.state(last)])
        #expect(!decide(events: events, purpose: purpose, regime: regime, nowMs: now).permitted)
      }
    }
  }
}
