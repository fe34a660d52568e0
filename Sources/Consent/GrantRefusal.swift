/// Why the ledger does not take a grant. Each case is something else that the recorder has to mend.
package enum GrantRefusal: Hashable, Sendable, CustomStringConvertible {
  /// The policy has no such purpose.
  case unknownPurpose(String)
  /// The purpose has no impact assessment.
  case inactivePurpose(String)
  /// Another version of the purpose is in force.
  case version(purpose: String, inForce: Int, recorded: Int)
  /// The purpose is prohibited where the customer lives.
  case prohibited(purpose: String, jurisdiction: String)
  /// The record was made under another regime.
  case regime(expected: Regime, recorded: Regime, jurisdiction: String)
  /// The policy does not have this legal basis there.
  case legalBasis(recorded: String, expected: [String])
  /// The notice is not one of the policy's, or none was shown.
  case notice(purpose: String)
  /// The purpose needs a stronger expression of consent.
  case consentType(ConsentType, purpose: String)
  /// The age must be known.
  case ageUnknown(purpose: String)
  /// The purpose is closed to customers below 18.
  case minor(purpose: String)
  /// The customer is too young to agree alone.
  case needsGuardian(age: Int)
  /// A guardian agreed for somebody who can agree alone.
  case needsCustomer(age: Int)
  /// Neither the customer nor somebody who may speak for them.
  case actor(ActorRole)
  /// The grant would last longer than the purpose allows, or for ever.
  case lifetime(maximumDays: Int)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .unknownPurpose(let id): "the policy in force has no purpose \"\(id)\""
    case .inactivePurpose(let id):
      "the purpose \"\(id)\" is not activated: its data protection impact assessment is missing"
    case .version(let id, let inForce, let recorded):
      "version \(inForce) of the purpose \"\(id)\" is in force; the grant names version \(recorded): ask again"
    case .prohibited(let id, let place): "the policy does not permit the purpose \"\(id)\" for \(place)"
    case .regime(let expected, let recorded, let place):
      "the policy asks for \(expected.rawValue) for \(place); the grant was recorded under \(recorded.rawValue)"
    case .legalBasis(let recorded, let expected):
      "the grant names the legal basis \(recorded); the policy has \(expected.joined(separator: " or "))"
    case .notice(let id):
      "the grant for \"\(id)\" names no notice that the policy lists: show a current notice and ask again"
    case .consentType(let type, let id):
      "\(type.rawValue) consent is not enough for the purpose \"\(id)\""
    case .ageUnknown(let id): "the purpose \"\(id)\" asks for the customer's age"
    case .minor(let id): "the purpose \"\(id)\" is closed to customers below 18"
    case .needsGuardian(let age): "below \(age) only a guardian can agree"
    case .needsCustomer(let age): "from \(age) on the customer agrees in person, not a guardian"
    case .actor(let actor): "a grant cannot come from \(actor.rawValue)"
    case .lifetime(let days): "a grant for this purpose must expire within \(days) days"
    }
  }
}

extension Policy {
  /// What the ledger checks at the door: nil if the event is a denial or any other event than a grant (always
  /// taken), or a grant that this policy has room for. The residence is the event's jurisdiction; whether the
  /// event names this policy's hash is for the ledger to compare.
  ///
  /// An opt-in is taken where the policy asks for no more than an opt-out: minors need one there.
  package func refusal(for event: ConsentEvent) -> GrantRefusal? {
    guard event.state.isGrant else { return nil }
    guard let purpose = purpose(event.purpose.id) else { return .unknownPurpose(event.purpose.id) }
    guard purpose.isActive else { return .inactivePurpose(purpose.id) }
    guard purpose.version == event.purpose.version else {
      return .version(purpose: purpose.id, inForce: purpose.version, recorded: event.purpose.version)
    }
    return regimeRefusal(of: event, purpose) ?? formRefusal(of: event, purpose)
      ?? speakerRefusal(of: event, purpose) ?? lifetimeRefusal(of: event, purpose)
  }

  private func residences(of event: ConsentEvent) -> [String] {
    Jurisdiction.place(event.jurisdiction).map { [$0] } ?? []
  }

  private func regimeRefusal(of event: ConsentEvent, _ purpose: PolicyPurpose) -> GrantRefusal? {
    let ruling = ruling(for: purpose, residences: residences(of: event))
    guard ruling.regime != .prohibited else {
      return .prohibited(purpose: purpose.id, jurisdiction: event.jurisdiction)
    }
    let expected = regime(ruling.regime, age: event.ageBand)
    guard event.regime == expected || event.regime == .optIn else {
      return .regime(expected: expected, recorded: event.regime, jurisdiction: event.jurisdiction)
    }
    guard ruling.legalBases.contains(event.legalBasis) else {
      return .legalBasis(recorded: event.legalBasis, expected: ruling.legalBases)
    }
    return nil
  }

  private func formRefusal(of event: ConsentEvent, _ purpose: PolicyPurpose) -> GrantRefusal? {
    if !purpose.notices.isEmpty, !purpose.notices.contains(where: { $0.hash == event.noticeHash }) {
      return .notice(purpose: purpose.id)
    }
    // GDPR Art. 4(11) and recital 32: no consent by silence; Art. 9(2)(a): explicit for special categories.
    guard event.regime == .optIn else { return nil }
    switch event.consentType {
    case .explicit: return nil
    case .expressed: return purpose.sensitive ? .consentType(.expressed, purpose: purpose.id) : nil
    case .implied, .none: return .consentType(event.consentType, purpose: purpose.id)
    }
  }

  private func speakerRefusal(of event: ConsentEvent, _ purpose: PolicyPurpose) -> GrantRefusal? {
    switch event.actor {
    case .controller, .authority, .system: return .actor(event.actor)
    case .customer, .agent, .guardian: break
    }
    if purpose.asksAge, event.ageBand == .unknown { return .ageUnknown(purpose: purpose.id) }
    if purpose.minors == .never, event.ageBand.isBelow(18) == true { return .minor(purpose: purpose.id) }
    let age = consentAge(residences: residences(of: event))
    switch event.ageBand.isBelow(age) {
    case true?: return event.actor == .guardian ? nil : .needsGuardian(age: age)
    case false?: return event.actor == .guardian ? .needsCustomer(age: age) : nil
    case nil: return nil
    }
  }

  private func lifetimeRefusal(of event: ConsentEvent, _ purpose: PolicyPurpose) -> GrantRefusal? {
    guard let days = purpose.grantLifetimeDays else { return nil }
    let begin = min(max(event.eventTimeMs, event.notBeforeMs ?? 0, 0), ConsentEvent.latestTimeMs)
    guard let expiry = event.expiresAtMs, expiry <= begin + Int64(days) * 86_400_000 else {
      return .lifetime(maximumDays: days)
    }
    return nil
  }
}
