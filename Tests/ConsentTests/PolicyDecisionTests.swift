import Consent
import Testing

private let churn = Purpose(id: "churn", version: 2)

private struct Row: Sendable, CustomTestStringConvertible {
  let name: String
  let events: [ConsentEvent]
  let reason: ConsentDecision.Reason
  let decidedBy: LeafIndex?
  var policy: Policy
  var circumstances: Circumstances
  var asked: Purpose
  var testDescription: String { name }

  init(
    _ name: String, _ events: [ConsentEvent], _ reason: ConsentDecision.Reason, _ decidedBy: LeafIndex?,
    policy: Policy = Make.policy(), circumstances: Circumstances = Circumstances(), asked: Purpose = churn
  ) {
    self.name = name
    self.events = events
    self.reason = reason
    self.decidedBy = decidedBy
    self.policy = policy
    self.circumstances = circumstances
    self.asked = asked
  }
}

private func given(
  _ place: String = "DE", age: AgeBand = .adult, actor: ActorRole = .customer, regime: Regime = .optIn,
  time: Int64 = Make.now - 1000, basis: String = "eu-gdpr:A6-1-a", notice: String? = Make.notice
) -> ConsentEvent {
  Make.event(
    .given, regime: regime, basis: basis, place: place, time: time, actor: actor, age: age, notice: notice)
}

private func said(
  _ state: ConsentState, _ place: String = "DE", age: AgeBand = .adult, time: Int64 = Make.now - 1000
) -> ConsentEvent {
  Make.event(state, place: place, time: time, age: age)
}

private let purposeRows: [Row] = [
  Row(
    "a purpose that the policy lacks", [given()], .unknownPurpose, nil, asked: Purpose(id: "x", version: 1)),
  Row(
    "a version that the policy has left", [given()], .purposeChanged, nil,
    asked: Purpose(id: "churn", version: 1)),
  Row(
    "a version that the policy has not reached", [given()], .purposeChanged, nil,
    asked: Purpose(id: "churn", version: 3)),
  Row(
    "a purpose without an assessment", [given()], .inactivePurpose, nil,
    policy: Make.policy([Make.purpose(dpia: nil)])),
  Row("a notice that is no longer listed asks again", [given(notice: Make.staleNotice)], .noticeChanged, 0),
  Row("no notice asks again", [given(notice: nil)], .noticeChanged, 0),
  Row(
    "no notice is fine where none is listed", [given(notice: nil)], .granted, 0,
    policy: Make.policy([Make.purpose(notices: [])])),
  Row(
    "any listed notice counts", [given(notice: Make.staleNotice)], .granted, 0,
    policy: Make.policy([Make.purpose(notices: [Make.notice, Make.staleNotice])])),
  Row("a grant on a current notice mends it", [given(notice: Make.staleNotice), given()], .granted, 1),
  Row(
    "a stale grant after a current one changes nothing", [given(), given(notice: Make.staleNotice)],
    .granted, 0),
  Row(
    "a stale grant does not undo a withdrawal",
    [given(), said(.withdrawn), given(notice: Make.staleNotice)], .noticeChanged, 2),
  Row(
    "another legal basis does not undo a withdrawal",
    [given(), said(.withdrawn), given(basis: "eu-gdpr:A6-1-f")], .legalBasisChanged, 2),
  Row(
    "a stale notice leaves silence where silence permits",
    [given("US-CA", notice: Make.staleNotice)], .permittedByDefault, nil),
]

private let placeRows: [Row] = [
  Row("silence in Germany", [said(.requested)], .unanswered, nil),
  Row("silence in California", [said(.requested, "US-CA")], .permittedByDefault, nil),
  Row("silence in Texas", [said(.requested, "US-TX")], .permittedByDefault, nil),
  Row("a grant in Brazil", [given("BR")], .prohibited, nil),
  Row("silence somewhere", [], .prohibited, nil),
  Row("a grant somewhere", [given("unknown")], .prohibited, nil),
  Row("silence in a place that is misspelt", [said(.requested, "us-ca")], .prohibited, nil),
  Row("silence in an unnamed part of the Union", [said(.requested, "EU")], .unanswered, nil),
  Row(
    "silence in the economic area, part of which is the Union", [said(.requested, "EEA")], .unanswered, nil),
  Row("Norway is not in the Union", [said(.requested, "NO")], .permittedByDefault, nil),
  Row("the Commission's name of Greece", [said(.requested, "EL")], .unanswered, nil),
  Row(
    "the caller knows better", [said(.requested)], .permittedByDefault, nil,
    circumstances: Circumstances(residence: "US-CA")),
  Row(
    "the caller knows of Germany", [said(.requested, "US-CA")], .unanswered, nil,
    circumstances: Circumstances(residence: "DE")),
  Row(
    "the caller says that nobody knows", [said(.requested, "US-CA")], .prohibited, nil,
    circumstances: Circumstances(residence: "unknown")),
  Row(
    "collected in Germany", [said(.requested, "US-CA")], .unanswered, nil,
    circumstances: Circumstances(collection: "DE")),
  Row("collected in Brazil", [given()], .prohibited, nil, circumstances: Circumstances(collection: "BR")),
  Row(
    "collected nowhere known", [said(.requested, "US-CA")], .permittedByDefault, nil,
    circumstances: Circumstances(collection: "unknown")),
  Row(
    "established in Germany", [said(.requested, "US-CA")], .unanswered, nil,
    policy: Make.policy(establishment: "DE")),
  Row("established in Brazil", [given()], .prohibited, nil, policy: Make.policy(establishment: "BR")),
  Row(
    "two residences, the stricter counts", [said(.requested), said(.requested, "US-CA")], .unanswered, nil),
  Row("in either order", [said(.requested, "US-CA"), said(.requested)], .unanswered, nil),
  Row(
    "a country of which a part opts in", [said(.requested, "US")], .unanswered, nil,
    policy: Make.policy([
      Make.purpose(places: [
        "US": JurisdictionRule(regime: .optOut, legalBases: ["us:opt-out"]),
        "US-WA": JurisdictionRule(regime: .optIn, legalBases: ["us-wa:opt-in"]),
      ])
    ])),
  Row(
    "a place without a rule", [given("JP")], .prohibited, nil,
    policy: Make.policy([
      Make.purpose(places: [
        "US": JurisdictionRule(regime: .optOut, legalBases: ["us:opt-out"])
      ])
    ])),
  Row(
    "the most particular rule", [said(.requested, "FR")], .permittedByDefault, nil,
    policy: Make.policy([
      Make.purpose(places: [
        "FR": JurisdictionRule(regime: .optOut, legalBases: ["eu-gdpr:A6-1-f"]),
        "EU": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"]),
        "*": JurisdictionRule(regime: .optOut, legalBases: ["other:opt-out"]),
      ])
    ])),
]

/// At which age, in which place and through whom a single grant counts.
private let ageRows: [Row] = [
  ("DE", AgeBand.fifteen, ActorRole.customer, ConsentDecision.Reason.underAge),
  ("DE", .fifteen, .guardian, .granted), ("DE", .sixteenOrSeventeen, .customer, .granted),
  ("DE", .sixteenOrSeventeen, .guardian, .wrongActor), ("DE", .adult, .guardian, .wrongActor),
  ("DE", .under13, .customer, .underAge), ("DE", .under13, .guardian, .granted),
  ("DE", .fifteen, .agent, .underAge), ("DE", .adult, .agent, .granted),
  ("DE", .adult, .controller, .wrongActor), ("DE", .adult, .system, .wrongActor),
  ("DE", .adult, .authority, .wrongActor), ("DE", .unknown, .customer, .granted),
  ("DE", .unknown, .guardian, .granted), ("FR", .fifteen, .customer, .granted),
  ("FR", .fourteen, .customer, .underAge), ("FR", .fourteen, .guardian, .granted),
  ("AT", .fourteen, .customer, .granted), ("AT", .thirteen, .customer, .underAge),
  ("BE", .thirteen, .customer, .granted), ("BE", .under13, .customer, .underAge),
  ("DK", .fourteen, .customer, .underAge), ("DK", .fifteen, .customer, .granted),
  ("IE", .fifteen, .customer, .underAge), ("ES", .fourteen, .customer, .granted),
  ("IT", .thirteen, .customer, .underAge), ("NL", .fifteen, .guardian, .granted),
  ("PL", .fifteen, .customer, .underAge), ("SE", .thirteen, .customer, .granted),
  ("GR", .fourteen, .customer, .underAge), ("CZ", .fifteen, .customer, .granted),
  ("SI", .fourteen, .customer, .underAge), ("EU", .fifteen, .customer, .underAge),
  ("US-CA", .thirteen, .customer, .granted), ("US-CA", .fifteen, .customer, .granted),
  ("US-CA", .under13, .customer, .underAge), ("US-CA", .under13, .guardian, .granted),
  ("US-CA", .thirteen, .guardian, .wrongActor), ("GB", .thirteen, .customer, .granted),
  ("JP", .fifteen, .customer, .underAge), ("NO", .thirteen, .customer, .granted),
].map { place, age, actor, reason in
  Row("\(actor.rawValue) for \(age.rawValue) in \(place)", [given(place, age: age, actor: actor)], reason, 0)
}

private let asking = Make.policy([Make.purpose(asksAge: true)])
private let adults = Make.policy([Make.purpose(minors: .never)])

private let minorRows: [Row] = [
  Row("silence of a Californian of 15", [said(.requested, "US-CA", age: .fifteen)], .unanswered, nil),
  Row(
    "silence of a Californian of 16", [said(.requested, "US-CA", age: .sixteenOrSeventeen)],
    .permittedByDefault, nil),
  Row(
    "silence of a Californian of unknown age", [said(.requested, "US-CA", age: .unknown)],
    .permittedByDefault, nil),
  Row("what a minor did not opt out of", [given("US-CA", age: .fourteen, regime: .optOut)], .unanswered, nil),
  Row("unknown age where it is asked for", [given(age: .unknown)], .ageUnknown, nil, policy: asking),
  Row(
    "silence of unknown age where it is asked for", [], .ageUnknown, nil, policy: asking,
    circumstances: Circumstances(residence: "US-CA")),
  Row(
    "the caller knows the age", [given(age: .unknown)], .granted, 0, policy: asking,
    circumstances: Circumstances(age: .adult)),
  Row(
    "a later event tells the age", [given(age: .unknown), said(.requested, age: .adult)], .granted, 0,
    policy: asking),
  Row("a later event tells that it is a child", [given(), said(.requested, age: .fourteen)], .underAge, 0),
  Row("a minor where none is wanted", [given(age: .sixteenOrSeventeen)], .underAge, 0, policy: adults),
  Row(
    "a guardian where no minor is wanted", [given(age: .under13, actor: .guardian)], .underAge, 0,
    policy: adults),
  Row("an adult where no minor is wanted", [given()], .granted, 0, policy: adults),
  Row(
    "unknown age where no minor is wanted but nobody asks", [given(age: .unknown)], .granted, 0,
    policy: adults),
  Row(
    "the caller knows of a minor", [given()], .underAge, nil, policy: adults,
    circumstances: Circumstances(age: .fifteen)),
  Row(
    "a guardian's grant lasts when the child grows up",
    [
      given(age: .fifteen, actor: .guardian, time: Make.now - 4 * Make.year),
      said(.requested, age: .adult, time: Make.now),
    ], .granted, 0),
  Row(
    "a child's own grant does not",
    [given(age: .fifteen, time: Make.now - 4 * Make.year), said(.requested, age: .adult, time: Make.now)],
    .underAge, 0),
  Row(
    "nobody grows up in a day: the younger age counts",
    [
      said(.requested, age: .fourteen, time: Make.now - Make.day),
      given(age: .adult, time: Make.now),
    ], .underAge, 1),
  Row(
    "but in four years", [said(.requested, age: .fourteen, time: Make.now - 4 * Make.year), given()],
    .granted, 1),
  Row(
    "nor from 13 to 16 by way of 15",
    [
      said(.requested, age: .thirteen, time: Make.now - Make.year),
      said(.requested, age: .fifteen, time: Make.now - Make.year / 2),
      given(age: .sixteenOrSeventeen, time: Make.now),
    ], .underAge, 2),
  Row(
    "a younger age that is named later counts",
    [given(time: Make.now - Make.day), said(.requested, age: .under13)], .underAge, 0),
  Row("a parent's withdrawal", [given(), Make.event(.withdrawn, actor: .guardian)], .withdrawn, 1),
  Row("nobody's withdrawal is too young", [given(), said(.withdrawn, age: .under13)], .withdrawn, 1),
]

@Test(arguments: purposeRows + placeRows + ageRows + minorRows)
private func `decides by the policy`(row: Row) {
  let decision = decide(
    events: Make.log(row.events).reversed(), purpose: row.asked, policy: row.policy,
    circumstances: row.circumstances, nowMs: Make.now)
  #expect(decision.reason == row.reason)
  #expect(decision.decidedBy == row.decidedBy)
  #expect(decision.permitted == [.granted, .permittedByDefault].contains(row.reason))
}

@Test func `two events at one index deny under a policy too`() {
  let events = [IndexedEvent(index: 4, event: given()), IndexedEvent(index: 4, event: said(.withdrawn))]
  let decision = decide(events: events, purpose: churn, policy: Make.policy(), nowMs: Make.now)
  #expect(decision.reason == .ambiguousHistory && !decision.permitted && decision.decidedBy == 4)
}

@Test func `times at the ends of what fits in a record do not trap`() {
  for time in [Int64.min, 0, Int64.max] {
    var event = given(age: .fifteen, time: time)
    event.notBeforeMs = time
    event.expiresAtMs = time
    _ = decide(events: Make.log([event]), purpose: churn, policy: asking, nowMs: time)
    _ = Make.policy([Make.purpose(lifetimeDays: 36_600)]).refusal(for: event)
    _ = ConsentStanding(
      events: Make.log([Make.event(.refused, time: time)]), purpose: churn, policy: asking)
  }
}

@Test func `the gate admits by the policy and by what the node knows`() {
  func candidate(_ byte: UInt8, _ events: [ConsentEvent], _ circumstances: Circumstances) -> Candidate<Int> {
    var own = events
    for position in own.indices { own[position].subject = Make.tag(byte) }
    return Candidate(
      subjectID: "c\(byte)", tag: Make.tag(byte), events: Make.log(own), records: [1],
      circumstances: circumstances)
  }
  let batch = admit(
    [
      candidate(1, [given()], Circumstances()), candidate(2, [said(.withdrawn)], Circumstances()),
      candidate(3, [], Circumstances(residence: "US-CA")), candidate(4, [], Circumstances(residence: "DE")),
      Candidate(subjectID: "c5", tag: Make.tag(5), events: Make.log([given()]), records: [1]),
      Candidate(subjectID: "c6", tag: nil, events: [], records: [1]),
    ], purpose: churn, policy: Make.policy(), nowMs: Make.now)
  #expect(batch.subjects.map(\.subjectID) == ["c1", "c3"])
  #expect(batch.deniedCount == 4)
}

@Test func `the gate takes silence for nothing where it is told to`() {
  let candidates = [
    Candidate(
      subjectID: "c1", tag: Make.tag(1), events: [], records: [1],
      circumstances: Circumstances(residence: "US-CA")),
    Candidate(subjectID: "c2", tag: Make.tag(1), events: Make.log([given()]), records: [1]),
  ]
  func admitted(_ acceptsSilence: Bool) -> [String] {
    admit(
      candidates, purpose: churn, policy: Make.policy(), acceptsSilence: acceptsSilence, nowMs: Make.now
    ).subjects.map(\.subjectID)
  }
  #expect(admitted(true) == ["c1", "c2"])
  #expect(admitted(false) == ["c2"])
}
