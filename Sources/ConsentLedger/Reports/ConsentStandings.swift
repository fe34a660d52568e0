package import Consent
import Cryptography
import Dispatch
import Foundation
import GRDB
import Synchronization

/// How consent stands and stood: one pass over the index's events in the order of the log.
///
/// It follows the rules of decision as far as they need no more than one customer's states: a grant stands
/// until something ends it, restricts it, erases the customer or it runs out. What else the policy asks of a
/// grant (notice, version, age, legal basis) is judged by circumstances or, for one customer, by `decide`.
package struct ConsentStandings: Sendable {
  /// The texts that events share, a row of the index's `circumstance`.
  package struct Circumstance: Sendable {
    /// For what; `*` for every purpose.
    package let purpose: Purpose
    /// Under which rule.
    package let regime: Regime
    /// How it was expressed.
    package let consentType: ConsentType
    /// Where the customer lives.
    package let jurisdiction: String
    /// How old the customer is.
    package let ageBand: AgeBand
    /// Who spoke.
    package let actor: ActorRole
    /// The customers whose grant with these texts is in force now.
    package internal(set) var inForce = 0
    /// The first of these grants.
    package internal(set) var firstGrant: UInt64?
  }

  /// How a customer stands for a purpose, as tables show it.
  package enum Group: Int, Sendable, CaseIterable {
    case inForce, notYetValid, runOut, refused, withdrawn, optedOut, endedByOthers, restricted, signal,
      unanswered

    /// The column's heading.
    package var title: String {
      switch self {
      case .inForce: "in force"
      case .notYetValid: "not begun"
      case .runOut: "run out"
      case .refused: "refused"
      case .withdrawn: "withdrawn"
      case .optedOut: "objected or opted out"
      case .endedByOthers: "ended by others"
      case .restricted: "restricted"
      case .signal: "privacy signal"
      case .unanswered: "no answer"
      }
    }
  }

  /// What was recorded in a month.
  package enum Movement: Int, Sendable, CaseIterable {
    case asked, granted, refused, ended, runOut, other

    init(_ state: ConsentState) {
      switch state {
      case .requested, .deferred, .requestExpired: self = .asked
      case .given, .renewed: self = .granted
      case .refused: self = .refused
      case .withdrawn, .objected, .optedOut, .globalPrivacyControl: self = .ended
      case .expired: self = .runOut
      case .invalidated, .revoked, .superseded, .restricted, .restrictionLifted, .erased: self = .other
      }
    }
  }

  /// The purposes that events name, sorted.
  package internal(set) var purposes: [String] = []
  /// Customers by purpose and group.
  package internal(set) var groups: [[Int]] = []
  /// Grants in force now that run out, by purpose and month.
  package internal(set) var expiring: [[Int: Int]] = []
  /// Grants in force now that do not run out, by purpose.
  package internal(set) var endless: [Int] = []
  /// Customers without consent who may be asked again from a month on, by purpose; past months are now.
  package internal(set) var askable: [[Int: Int]] = []
  /// How the number of grants in force changed, by purpose and month.
  package internal(set) var changes: [[Int: Int]] = []
  /// Recorded events by purpose, month and movement.
  package internal(set) var movements: [[Int: [Int]]] = []
  /// By the index's circumstance.
  package internal(set) var circumstances: [Int64: Circumstance] = [:]
  /// Customers with events, erased ones among them.
  package internal(set) var subjects = 0
  /// Erased customers.
  package internal(set) var erased = 0
  /// Events.
  package internal(set) var events = 0

  /// Reads the index below `size`: large ones in parts, each with its own customers, on all cores.
  static func read(
    _ index: LedgerIndex, size: Int64, policy: Policy?, nowMs: Int64, parts wanted: Int? = nil
  ) throws(LedgerError) -> ConsentStandings {
    // One snapshot for the texts: what events below `size` refer to is in it.
    let (fold, events) = try index.read { db in
      var fold = StandingFold(policy: policy, nowMs: nowMs)
      try fold.readCircumstances(db)
      return (fold, try Int.fetchOne(db, sql: "SELECT count(*) FROM event") ?? 0)
    }
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let count = wanted ?? (events < 100_000 ? 1 : min(4, max(1, cores)))
    let parts = Mutex([Result<ConsentStandings, LedgerError>?](repeating: nil, count: count))
    DispatchQueue.concurrentPerform(iterations: count) { part in
      let result: Result<ConsentStandings, LedgerError>
      do throws(LedgerError) {
        result = .success(try read(part, of: count, fold, index, size: size))
      } catch { result = .failure(error) }
      parts.withLock { $0[part] = result }
    }
    var whole: ConsentStandings?
    for part in parts.withLock({ $0 }) {
      guard let part = try part?.get() else { continue }
      if whole == nil { whole = part } else { whole?.add(part) }
    }
    return whole ?? ConsentStandings()
  }

  /// The customers whose tags begin with a byte of the part.
  private static func read(
    _ part: Int, of count: Int, _ prototype: StandingFold, _ index: LedgerIndex, size: Int64
  ) throws(LedgerError) -> ConsentStandings {
    let lower = Hex.encode([UInt8(part * 256 / count)])
    let upper = part + 1 == count ? "" : " AND subject < x'\(Hex.encode([UInt8((part + 1) * 256 / count)]))'"
    return try index.read { db in
      var fold = prototype
      // Row objects would take longer than all the rest.
      let rows = try RawRows(
        db,
        """
        SELECT idx, subject, state, circumstance, recorded, time, expires, not_before, ask_again FROM event
          WHERE idx < ? AND subject >= x'\(lower)'\(upper) ORDER BY idx
        """, [size])
      while try rows.next() { try fold.add(rows) }
      return fold.finished()
    }
  }

  /// Adds the counts of other customers.
  private mutating func add(_ other: ConsentStandings) {
    subjects += other.subjects
    erased += other.erased
    events += other.events
    for purpose in purposes.indices {
      for group in groups[purpose].indices { groups[purpose][group] += other.groups[purpose][group] }
      endless[purpose] += other.endless[purpose]
      expiring[purpose].merge(other.expiring[purpose]) { $0 + $1 }
      askable[purpose].merge(other.askable[purpose]) { $0 + $1 }
      changes[purpose].merge(other.changes[purpose]) { $0 + $1 }
      changes[purpose] = changes[purpose].filter { $0.value != 0 }
      movements[purpose].merge(other.movements[purpose]) { zip($0, $1).map { $0 + $1 } }
    }
    for (id, circumstance) in other.circumstances {
      circumstances[id]?.inForce += circumstance.inForce
      let first = [circumstances[id]?.firstGrant, circumstance.firstGrant].compactMap { $0 }.min()
      circumstances[id]?.firstGrant = first
    }
  }
}
