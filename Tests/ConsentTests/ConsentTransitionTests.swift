import Consent
import Testing

/// What may follow what, at a time when the waiting is over and nobody came on their own initiative: one line
/// for each state that stands, one mark for each state that would follow. `+` may follow, `-` may not.
///
/// The columns: requested, given, renewed, refused, deferred, request-expired, withdrawn, expired, invalidated,
/// revoked, superseded, restricted, restriction-lifted, objected, opted-out, global-privacy-control, erased.
private let table: [(from: ConsentState?, marks: String)] = [
  (nil, "++-+--+----+-++++"),
  (.requested, "-+-++++----+-++++"),
  (.given, "-++++++++++" + "+-++++"),
  (.renewed, "-++++++++++" + "+-++++"),
  (.refused, "++-+--+----+-++++"),
  (.deferred, "++-+-++----+-++++"),
  (.requestExpired, "++-+--+----+-++++"),
  (.withdrawn, "++-+--+----+-++++"),
  (.expired, "++-+--+----+-++++"),
  (.invalidated, "++-+--+----+-++++"),
  (.revoked, "++-+--+----+-++++"),
  (.superseded, "++-+--+----+-++++"),
  (.restricted, "-+-+--+----+" + "+++++"),
  (.restrictionLifted, "++-+--+----+-++++"),
  (.objected, "++-+--+----+-++++"),
  (.optedOut, "++-+--+----+-++++"),
  (.globalPrivacyControl, "++-+--+----+-++++"),
  (.erased, "-----------------"),
]

private let columns: [ConsentState] = [
  .requested, .given, .renewed, .refused, .deferred, .requestExpired, .withdrawn, .expired, .invalidated,
  .revoked, .superseded, .restricted, .restrictionLifted, .objected, .optedOut, .globalPrivacyControl,
  .erased,
]

private func marks(_ standing: ConsentStanding, own: Bool = false, change: Bool = false) -> String {
  columns.map { next in
    ConsentTransition.isAllowed(
      from: standing, to: next, ownInitiative: own, materialChange: change, nowMs: Make.now) ? "+" : "-"
  }.joined()
}

@Test func `the table names every state`() {
  #expect(Set(columns) == Set(ConsentState.allCases) && columns.count == 17)
  #expect(Set(table.compactMap(\.from)) == Set(ConsentState.allCases) && table.count == 18)
}

@Test(arguments: table)
private func `the state machine follows the table`(row: (from: ConsentState?, marks: String)) {
  #expect(marks(ConsentStanding(state: row.from)) == row.marks)
  // A waiting time that is over, to the millisecond, is none.
  #expect(marks(ConsentStanding(state: row.from, askAgainAtMs: Make.now)) == row.marks)
  // Nobody waits to agree on their own initiative.
  #expect(marks(ConsentStanding(state: row.from), own: true) == row.marks)
}

@Test(arguments: table)
private func `before its time nobody is asked again`(row: (from: ConsentState?, marks: String)) {
  let waiting = ConsentStanding(state: row.from, askAgainAtMs: Make.now + 1)
  let isGranted = row.from?.isGrant == true
  var expected = Array(row.marks)
  expected[0] = "-"
  if !isGranted, row.from != .requested { expected[1] = "-" }
  #expect(marks(waiting) == String(expected))
  if row.from != .erased { expected[1] = "+" }
  #expect(marks(waiting, own: true) == String(expected))
}

@Test(arguments: table)
private func `a restriction can be lifted and forbids asking`(row: (from: ConsentState?, marks: String)) {
  var expected = Array(row.marks)
  expected[0] = "-"
  if row.from != .erased { expected[12] = "+" }
  #expect(marks(ConsentStanding(state: row.from, isRestricted: true)) == String(expected))
}

@Test(arguments: table)
private func `nothing follows an erasure`(row: (from: ConsentState?, marks: String)) {
  let none = String(repeating: "-", count: 17)
  #expect(marks(ConsentStanding(state: row.from, isErased: true), own: true, change: true) == none)
}

@Test func `a material change asks those who agreed`() {
  let standing = ConsentStanding(state: .given)
  #expect(marks(standing, change: true) == "+" + marks(standing).dropFirst())
  let waiting = ConsentStanding(state: .withdrawn, askAgainAtMs: Make.now + 1)
  #expect(marks(waiting, change: true).first == "-")
}

@Test func `says why in sentences`() {
  func why(_ standing: ConsentStanding, _ next: ConsentState) -> TransitionRefusal? {
    ConsentTransition.refusal(from: standing, to: next, nowMs: 5)
  }
  #expect(why(ConsentStanding(state: .refused, askAgainAtMs: 9), .requested) == .tooEarly(askAgainAtMs: 9))
  #expect(why(ConsentStanding(isErased: true), .given) == .erased)
  #expect(why(ConsentStanding(isRestricted: true), .requested) == .restricted)
  #expect(why(ConsentStanding(state: .renewed), .requested) == .alreadyGranted)
  let impossible = why(ConsentStanding(), .renewed)
  #expect(impossible?.description == "renewed cannot follow no answer at all")
}

@Test func `reads where a customer stands from the events`() {
  let purpose = Purpose(id: "churn", version: 2)
  let policy = Make.policy([Make.purpose(askAgainDays: 400)])
  func standing(_ events: [ConsentEvent]) -> ConsentStanding {
    ConsentStanding(events: Make.log(events).reversed(), purpose: purpose, policy: policy)
  }
  let time = Make.now - 1000
  #expect(standing([]) == ConsentStanding())
  #expect(standing([Make.event(.given)]) == ConsentStanding(state: .given))
  #expect(standing([Make.event(.given), Make.event(.requested)]).state == .given)
  #expect(standing([Make.event(.given), Make.event(.globalPrivacyControl)]).state == .given)
  #expect(standing([Make.event(.requested), Make.event(.deferred)]).state == .deferred)
  #expect(
    standing([Make.event(.given), Make.event(.withdrawn)])
      == ConsentStanding(state: .withdrawn, askAgainAtMs: time + 400 * Make.day))
  let later = time + 500 * Make.day
  #expect(standing([Make.event(.refused, askAgain: later)]).askAgainAtMs == later)
  #expect(standing([Make.event(.refused, askAgain: 5)]).askAgainAtMs == time + 400 * Make.day)
  #expect(standing([Make.event(.deferred, askAgain: later)]).askAgainAtMs == later)
  #expect(standing([Make.event(.refused), Make.event(.given)]) == ConsentStanding(state: .given))
  #expect(standing([Make.event(.restricted), Make.event(.given)]).isRestricted)
  #expect(!standing([Make.event(.restricted), Make.event(.restrictionLifted)]).isRestricted)
  #expect(standing([Make.event(.withdrawn, for: .every)]).state == .withdrawn)
  let other = Purpose(id: "pricing", version: 2)
  #expect(standing([Make.event(.withdrawn, for: other)]) == ConsentStanding())
  #expect(standing([Make.event(.erased, for: other)]).isErased)
  #expect(
    ConsentStanding(events: Make.log([Make.event(.refused)]), purpose: purpose, policy: Make.policy())
      .askAgainAtMs == time + 366 * Make.day)
}
