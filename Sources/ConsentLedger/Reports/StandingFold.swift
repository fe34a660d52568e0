import Consent
import GRDB

/// A subject's tag as a key that needs no memory of its own.
private struct TagKey: Hashable {
  let words: (UInt64, UInt64, UInt64, UInt64)

  init(_ bytes: [UInt8]) {
    words = bytes.withUnsafeBytes { buffer in
      guard buffer.count == 32 else { return (0, 0, 0, UInt64(buffer.count)) }
      func word(_ position: Int) -> UInt64 { buffer.loadUnaligned(fromByteOffset: position, as: UInt64.self) }
      return (word(0), word(8), word(16), word(24))
    }
  }

  static func == (a: TagKey, b: TagKey) -> Bool { a.words == b.words }
  func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
  }
}

/// How one customer stands for one purpose; those of a customer are linked by `next`.
private struct Standing {
  static let never = Int64.max
  let purpose: Int32
  var next: Int32
  var last: Int8 = -1
  var restricted = false
  var signalled = false
  var isErased = false
  var grant: Int64 = -1
  var circumstance: Int64 = 0
  var begins: Int64 = 0
  var expires = never
  var askAgain = Int64.min

  var counts: Bool { grant >= 0 && !restricted && !signalled }
}

/// Counts by month: an array for the century around now, a table for what lies beyond.
private struct MonthTally {
  private static let span = 1200
  private let first: Int
  private var near: [Int]
  private var far: [Int: Int] = [:]

  init(around month: Int) {
    first = month - Self.span / 2
    near = [Int](repeating: 0, count: Self.span)
  }

  mutating func add(_ count: Int, _ month: Int) {
    if near.indices.contains(month - first) {
      near[month - first] += count
    } else {
      far[month, default: 0] += count
    }
  }

  /// The months whose count is not zero.
  var table: [Int: Int] {
    var table = far.filter { $0.value != 0 }
    for (offset, count) in near.enumerated() where count != 0 { table[first + offset] = count }
    return table
  }
}

struct StandingFold {
  private static let every: Int32 = -1
  private static let states = ConsentState.allCases
  private var result = ConsentStandings()
  private var changes: [MonthTally] = []
  private var expiring: [MonthTally] = []
  private var askable: [MonthTally] = []
  private var inForce: [Int64: (count: Int, first: Int64)] = [:]
  private let policy: Policy?
  private let nowMs: Int64
  private var heads: [TagKey: Int32] = [:]
  private var standings: [Standing] = []
  private var purposeOf: [Int64: Int32] = [:]
  private var waits: [Int64] = []
  /// The tag of the row being read.
  private var subject: [UInt8] = []
  /// The month of the last event, and where it ends: the log's times never decrease.
  private var month = 0
  private var monthEndMs = Int64.min

  init(policy: Policy?, nowMs: Int64) {
    self.policy = policy
    self.nowMs = nowMs
  }

  mutating func readCircumstances(_ db: Database) throws {
    let rows = try Row.fetchAll(
      db,
      sql: """
        SELECT id, purpose, version, regime, consent_type, jurisdiction, age_band, actor FROM circumstance
          ORDER BY purpose, id
        """)
    for row in rows {
      let id: Int64 = try row.decode(atIndex: 0)
      let purpose: String = try row.decode(atIndex: 1)
      guard let regime = Regime(code: try row.decode(atIndex: 3)),
        let type = ConsentType(code: try row.decode(atIndex: 4)),
        let age = AgeBand(code: try row.decode(atIndex: 6)),
        let actor = ActorRole(code: try row.decode(atIndex: 7))
      else { throw LedgerError.malformedEntry("the index holds a code that this program does not know") }
      if purpose == Purpose.every.id {
        purposeOf[id] = Self.every
      } else {
        if result.purposes.last != purpose {
          result.purposes.append(purpose)
          let days = policy?.purpose(purpose)?.askAgainAfterDays ?? policy?.limits.askAgainAfterDays ?? 0
          waits.append(Int64(days) * ReportTime.dayMs)
        }
        purposeOf[id] = Int32(result.purposes.count - 1)
      }
      result.circumstances[id] = ConsentStandings.Circumstance(
        purpose: Purpose(id: purpose, version: try row.decode(atIndex: 2)), regime: regime, consentType: type,
        jurisdiction: try row.decode(atIndex: 5), ageBand: age, actor: actor)
    }
    let count = result.purposes.count
    result.groups = Array(
      repeating: [Int](repeating: 0, count: ConsentStandings.Group.allCases.count), count: count)
    result.endless = [Int](repeating: 0, count: count)
    expiring = Array(repeating: MonthTally(around: ReportTime.month(nowMs)), count: count)
    askable = expiring
    changes = expiring
    result.movements = Array(repeating: [:], count: count)
    let events = try Int.fetchOne(db, sql: "SELECT count(*) FROM event") ?? 0
    heads.reserveCapacity(events / 2)
    standings.reserveCapacity(events)
  }

  /// Takes a row of idx, subject, state, circumstance, recorded, time, expires, not_before, ask_again.
  mutating func add(_ row: RawRows) throws {
    guard let code = row.integer(2).map({ Int($0) }), Self.states.indices.contains(code),
      let index = row.integer(0), let circumstance = row.integer(3), let purpose = purposeOf[circumstance],
      let recorded = row.integer(4), let time = row.integer(5), row.blob(1, into: &subject)
    else { throw LedgerError.malformedEntry("the index holds a code that this program does not know") }
    let state = Self.states[code]
    let isGrant = state.isGrant
    let event = FoldedEvent(
      index: index, state: state, code: Int8(code), circumstance: circumstance, recorded: recorded,
      time: time,
      expires: isGrant ? row.integer(6) : nil, notBefore: isGrant ? row.integer(7) : nil,
      askAgain: isGrant ? nil : row.integer(8))
    advance(to: recorded)
    result.events += 1
    let key = TagKey(subject)
    let head: Int32
    if let known = heads[key] {
      head = known
    } else {
      // The first of a customer's standings is that of events for every purpose; others copy it.
      head = Int32(standings.count)
      standings.append(Standing(purpose: Self.every, next: -1))
      heads[key] = head
      result.subjects += 1
    }
    if state == .erased {
      if !standings[Int(head)].isErased { result.erased += 1 }
      forEach(head) {
        $0.end(event)
        $0.standing.isErased = true
      }
      return
    }
    if purpose == Self.every {
      forEach(head) { $0.apply(event) }
    } else {
      count(event, purpose)
      let position = position(head, purpose)
      change(position) { $0.apply(event) }
    }
  }

  private mutating func advance(to recorded: Int64) {
    guard recorded >= monthEndMs else { return }
    month = ReportTime.month(recorded)
    let next = month + 1
    monthEndMs = ReportTime.day(year: next / 12, month: next % 12 + 1, day: 1) * ReportTime.dayMs
  }

  private mutating func count(_ event: FoldedEvent, _ purpose: Int32) {
    let movement = ConsentStandings.Movement(event.state).rawValue
    result.movements[Int(purpose)][
      month, default: [Int](repeating: 0, count: ConsentStandings.Movement.allCases.count)][movement] += 1
  }

  private mutating func position(_ head: Int32, _ purpose: Int32) -> Int32 {
    var position = head
    while position >= 0 {
      if standings[Int(position)].purpose == purpose { return position }
      position = standings[Int(position)].next
    }
    let every = standings[Int(head)]
    var fresh = Standing(purpose: purpose, next: every.next)
    fresh.last = every.last
    fresh.restricted = every.restricted
    fresh.signalled = every.signalled
    fresh.isErased = every.isErased
    fresh.askAgain = every.askAgain
    standings[Int(head)].next = Int32(standings.count)
    standings.append(fresh)
    return Int32(standings.count - 1)
  }

  private mutating func forEach(_ head: Int32, _ body: (inout FoldedStanding) -> Void) {
    var position = head
    while position >= 0 {
      change(position, body)
      position = standings[Int(position)].next
    }
  }

  /// Changes a standing and keeps the months' counts in step. A grant that runs out leaves when it does,
  /// unless it was ended before.
  private mutating func change(_ position: Int32, _ body: (inout FoldedStanding) -> Void) {
    let old = standings[Int(position)]
    let purpose = Int(old.purpose)
    var folded = FoldedStanding(
      standing: old, wait: purpose >= 0 ? waits[purpose] : 0,
      grantClearsSignal: policy?.laterGrantOverridesGlobalPrivacyControl ?? false)
    body(&folded)
    let new = folded.standing
    standings[Int(position)] = new
    guard purpose >= 0 else { return }
    let recorded = folded.recorded
    if old.counts { leave(purpose, old, max(recorded, old.begins)) }
    if new.counts { enter(purpose, new, old.counts ? recorded : max(recorded, new.begins)) }
  }

  private mutating func leave(_ purpose: Int, _ standing: Standing, _ from: Int64) {
    if standing.expires <= from { return }
    changes[purpose].add(-1, month(of: from))
    if standing.expires != Standing.never {
      changes[purpose].add(1, ReportTime.month(standing.expires))
    }
  }

  private mutating func enter(_ purpose: Int, _ standing: Standing, _ from: Int64) {
    if standing.expires <= from { return }
    changes[purpose].add(1, month(of: from))
    if standing.expires != Standing.never {
      changes[purpose].add(-1, ReportTime.month(standing.expires))
    }
  }

  /// The month of the event being read, or of a time after it.
  private func month(of time: Int64) -> Int { time < monthEndMs ? month : ReportTime.month(time) }

  mutating func finished() -> ConsentStandings {
    let now = ReportTime.month(nowMs)
    for standing in standings where standing.purpose >= 0 && !standing.isErased { close(standing, now) }
    result.changes = changes.map(\.table)
    result.expiring = expiring.map(\.table)
    result.askable = askable.map(\.table)
    for (circumstance, grants) in inForce {
      result.circumstances[circumstance]?.inForce = grants.count
      result.circumstances[circumstance]?.firstGrant = UInt64(grants.first)
    }
    return result
  }

  private mutating func close(_ standing: Standing, _ now: Int) {
    let purpose = Int(standing.purpose)
    let group = group(standing)
    result.groups[purpose][group.rawValue] += 1
    if group == .inForce {
      if standing.expires == Standing.never {
        result.endless[purpose] += 1
      } else {
        expiring[purpose].add(1, ReportTime.month(standing.expires))
      }
      let known = inForce[standing.circumstance] ?? (0, .max)
      inForce[standing.circumstance] = (known.count + 1, min(known.first, standing.grant))
    } else if group != .notYetValid {
      askable[purpose].add(1, standing.askAgain > nowMs ? ReportTime.month(standing.askAgain) : now)
    }
  }

  private func group(_ standing: Standing) -> ConsentStandings.Group {
    if standing.restricted { return .restricted }
    if standing.signalled { return .signal }
    if standing.grant >= 0 {
      if standing.expires <= nowMs { return .runOut }
      return standing.begins > nowMs ? .notYetValid : .inForce
    }
    guard Self.states.indices.contains(Int(standing.last)) else { return .unanswered }
    switch Self.states[Int(standing.last)] {
    case .refused: return .refused
    case .withdrawn: return .withdrawn
    case .objected, .optedOut: return .optedOut
    case .expired: return .runOut
    case .invalidated, .revoked, .superseded: return .endedByOthers
    default: return .unanswered
    }
  }
}

private struct FoldedEvent {
  let index: Int64
  let state: ConsentState
  let code: Int8
  let circumstance: Int64
  let recorded: Int64
  let time: Int64
  let expires: Int64?
  let notBefore: Int64?
  let askAgain: Int64?
}

/// A standing while an event is applied to it.
private struct FoldedStanding {
  var standing: Standing
  let wait: Int64
  let grantClearsSignal: Bool
  var recorded: Int64 = 0

  mutating func apply(_ event: FoldedEvent) {
    recorded = event.recorded
    if let ask = event.askAgain { standing.askAgain = max(standing.askAgain, ask) }
    switch event.state {
    case .requested, .deferred, .requestExpired: break
    case .given: grant(event)
    case .renewed:
      // A renewal confirms a grant that stands; it cannot bring one back.
      if standing.grant >= 0, standing.expires > event.time { grant(event) }
    case .globalPrivacyControl:
      standing.signalled = true
      standing.askAgain = max(standing.askAgain, event.time + wait)
    case .restricted: standing.restricted = true
    case .restrictionLifted: standing.restricted = false
    case .refused, .withdrawn, .objected, .optedOut:
      end(event)
      standing.askAgain = max(standing.askAgain, event.time + wait)
    case .expired, .invalidated, .revoked, .superseded, .erased: end(event)
    }
  }

  mutating func end(_ event: FoldedEvent) {
    recorded = event.recorded
    standing.grant = -1
    standing.expires = Standing.never
    standing.last = event.code
  }

  private mutating func grant(_ event: FoldedEvent) {
    // Events for every purpose cannot grant.
    guard standing.purpose >= 0 else { return }
    standing.grant = event.index
    standing.circumstance = event.circumstance
    standing.begins = event.notBefore ?? 0
    standing.expires = event.expires ?? Standing.never
    standing.last = event.code
    standing.askAgain = .min
    if grantClearsSignal { standing.signalled = false }
  }
}
