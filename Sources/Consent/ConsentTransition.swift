/// Where one customer stands for one purpose, as recorders see it: what the state machine starts from.
package struct ConsentStanding: Hashable, Sendable {
  /// The state that the last answer or ending left; nil if there is none (unknown, or permitted by default).
  /// A request, a deferral or a signal does not hide a grant that stands below it.
  package var state: ConsentState?
  /// Whether the customer was erased, for whatever purpose.
  package var isErased: Bool
  /// Whether processing is restricted.
  package var isRestricted: Bool
  /// The customer must not be asked before this time, ms of UTC; nil if nothing says so.
  package var askAgainAtMs: Int64?

  /// Stands as told.
  package init(
    state: ConsentState? = nil, isErased: Bool = false, isRestricted: Bool = false, askAgainAtMs: Int64? = nil
  ) {
    self.state = state
    self.isErased = isErased
    self.isRestricted = isRestricted
    self.askAgainAtMs = askAgainAtMs
  }

  /// Reads the standing from a customer's events, in any order. After a no the waiting time is the purpose's, or
  /// else the policy's, counted from the event's own time, or what the event says if that is later.
  package init(events: [IndexedEvent], purpose: Purpose, policy: Policy) {
    self.init()
    let limit = policy.purpose(purpose.id)?.askAgainAfterDays ?? policy.limits.askAgainAfterDays
    for entry in events.sorted(by: { $0.index < $1.index }) {
      let event = entry.event
      guard event.state == .erased || event.purpose.covers(purpose) else { continue }
      read(event, waitingMs: Int64(limit) * 86_400_000)
    }
  }

  private mutating func read(_ event: ConsentEvent, waitingMs: Int64) {
    var wait = event.askAgainAtMs
    switch event.state {
    case .erased: isErased = true
    case .restricted: isRestricted = true
    case .restrictionLifted: isRestricted = false
    case .given, .renewed:
      state = event.state
      askAgainAtMs = nil
    case .requested, .deferred, .requestExpired, .globalPrivacyControl:
      if state?.isGrant != true { state = event.state }
    case .refused, .withdrawn, .expired, .invalidated, .revoked, .superseded, .objected, .optedOut:
      state = event.state
    }
    if ConsentTransition.isNo(event.state) {
      let time = min(max(event.eventTimeMs, 0), ConsentEvent.latestTimeMs)
      wait = max(wait ?? 0, time + waitingMs)
    }
    if let wait { askAgainAtMs = max(askAgainAtMs ?? 0, wait) }
  }
}

/// Why a recorder may not record a state after another.
package enum TransitionRefusal: Hashable, Sendable, CustomStringConvertible {
  /// Nothing follows an erasure.
  case erased
  /// The customer said no or asked for time, and must not be asked again yet.
  case tooEarly(askAgainAtMs: Int64)
  /// A restricted customer is not asked.
  case restricted
  /// Asking again although the answer is yes and nothing has changed.
  case alreadyGranted
  /// The state does not follow from where the customer stands.
  case impossible(from: ConsentState?, to: ConsentState)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .erased: "the customer was erased: nothing can be recorded any more"
    case .tooEarly(let time): "the customer must not be asked again before \(time) (ms of UTC since 1970)"
    case .restricted: "processing is restricted: lift the restriction before asking"
    case .alreadyGranted: "the customer has agreed and nothing has changed: there is nothing to ask"
    case .impossible(let from, let to):
      "\(to.rawValue) cannot follow \(from?.rawValue ?? "no answer at all")"
    }
  }
}

/// The state machine of consent (design "Record"; W3C DPV consent statuses): what recorders may record next.
/// Decisions do not need it, they read any history; it keeps histories sensible and customers unbothered.
package enum ConsentTransition {
  /// Whether the state is a no after which a customer is left alone for the waiting time.
  static func isNo(_ state: ConsentState) -> Bool {
    switch state {
    case .refused, .withdrawn, .objected, .optedOut, .globalPrivacyControl: true
    default: false
    }
  }

  /// Whether `to` may be recorded; `refusal` says why not.
  package static func isAllowed(
    from standing: ConsentStanding, to next: ConsentState, ownInitiative: Bool = false,
    materialChange: Bool = false, nowMs: Int64
  ) -> Bool {
    refusal(
      from: standing, to: next, ownInitiative: ownInitiative, materialChange: materialChange, nowMs: nowMs)
      == nil
  }

  /// Nil if `to` may be recorded now. What takes permission away (a no, a withdrawal, an objection, an opt-out,
  /// a signal, a restriction, an erasure) may always be recorded but after an erasure.
  ///
  /// - Parameters:
  ///   - ownInitiative: the customer came to agree without being asked.
  ///   - materialChange: the notice or the purpose's version changed since the grant that stands.
  package static func refusal(
    from standing: ConsentStanding, to next: ConsentState, ownInitiative: Bool = false,
    materialChange: Bool = false, nowMs: Int64
  ) -> TransitionRefusal? {
    if standing.isErased || standing.state == .erased { return .erased }
    let impossible = TransitionRefusal.impossible(from: standing.state, to: next)
    let isGranted = standing.state?.isGrant == true
    switch next {
    case .refused, .withdrawn, .objected, .optedOut, .globalPrivacyControl, .restricted, .erased:
      return nil
    case .requested:
      if standing.isRestricted || standing.state == .restricted { return .restricted }
      if isGranted { return materialChange ? nil : .alreadyGranted }
      if standing.state == .requested { return impossible }
      return waiting(standing, nowMs)
    case .given:
      // An open request is being answered; the waiting time was over when it was made.
      if ownInitiative || isGranted || standing.state == .requested { return nil }
      return waiting(standing, nowMs)
    case .renewed, .expired, .invalidated, .revoked, .superseded:
      return isGranted ? nil : impossible
    case .deferred:
      return isGranted || standing.state == .requested ? nil : impossible
    case .requestExpired:
      return isGranted || standing.state == .requested || standing.state == .deferred ? nil : impossible
    case .restrictionLifted:
      return standing.isRestricted || standing.state == .restricted ? nil : impossible
    }
  }

  private static func waiting(_ standing: ConsentStanding, _ nowMs: Int64) -> TransitionRefusal? {
    guard let time = standing.askAgainAtMs, nowMs < time else { return nil }
    return .tooEarly(askAgainAtMs: time)
  }
}
