/// What the controller may do with customers' data, for what, under which law, and how fast it answers them:
/// the document that two officers put into force (protocol/CONSENT-LEDGER.md, section 4; docs/POLICIES.md).
///
/// A policy is a value without behaviour of its own: `decide(events:purpose:policy:circumstances:nowMs:)` reads
/// it, `refusal(for:)` guards the ledger's door with it. Its hash is the SHA-256 of `canonicalBytes`.
package struct Policy: Codable, Hashable, Sendable {
  /// A short identifier such as `eu-retail`.
  package var id: String
  /// The version of the document, from 1.
  package var version: Int
  /// Who is responsible, for the record of processing (GDPR Art. 30(1)(a)).
  package var controller: Controller
  /// Where the controller is established, such as `DE` or `US-CA`.
  package var establishment: String
  /// Time limits and service levels.
  package var limits: PolicyLimits
  /// Below this age in years only a guardian can consent, by place (GDPR Art. 8; CCPA §1798.120(c)).
  package var consentAges: [String: Int]
  /// What two officers have to approve. A policy always needs two; it is listed or not.
  package var twoPersonActions: [TwoPersonAction]
  /// Whether a grant for the purpose that stands later in the log overrides a Global Privacy Control signal.
  package var laterGrantOverridesGlobalPrivacyControl: Bool
  /// For what data are processed.
  package var purposes: [PolicyPurpose]

  /// Puts a policy together; `validate()` checks it.
  package init(
    id: String, version: Int, controller: Controller, establishment: String,
    limits: PolicyLimits = PolicyLimits(), consentAges: [String: Int] = Jurisdiction.defaultConsentAges,
    twoPersonActions: [TwoPersonAction] = TwoPersonAction.allCases,
    laterGrantOverridesGlobalPrivacyControl: Bool = false, purposes: [PolicyPurpose]
  ) {
    self.id = id
    self.version = version
    self.controller = controller
    self.establishment = establishment
    self.limits = limits
    self.consentAges = consentAges
    self.twoPersonActions = twoPersonActions
    self.laterGrantOverridesGlobalPrivacyControl = laterGrantOverridesGlobalPrivacyControl
    self.purposes = purposes
  }

  enum CodingKeys: String, CodingKey {
    case id, version, controller, establishment, limits, purposes
    case consentAges = "consent_ages"
    case twoPersonActions = "two_person_actions"
    case laterGrantOverridesGlobalPrivacyControl = "later_grant_overrides_gpc"
  }

  /// The purpose with this identifier, in whatever version the policy has it.
  package func purpose(_ id: String) -> PolicyPurpose? { purposes.first { $0.id == id } }

  /// Whether the action takes two officers. A new policy always does.
  package func needsTwoPeople(_ action: TwoPersonAction) -> Bool {
    action == .policy || twoPersonActions.contains(action)
  }

  /// The rules of the engine that this policy configures.
  package var rules: DecisionRules {
    DecisionRules(laterGrantOverridesGlobalPrivacyControl: laterGrantOverridesGlobalPrivacyControl)
  }
}

/// Who decides on purposes and means (GDPR Art. 4(7), Art. 30(1)(a)).
package struct Controller: Codable, Hashable, Sendable {
  /// The company's name.
  package var name: String
  /// Its postal address in one line.
  package var address: String
  /// How to reach it: an address for electronic mail or a telephone number.
  package var contact: String
  /// How to reach the data protection officer (Art. 37), if there is one.
  package var dataProtectionOfficer: String?
  /// The representative in the Union (Art. 27), for controllers outside it.
  package var representative: String?

  /// Names a controller.
  package init(
    name: String, address: String, contact: String, dataProtectionOfficer: String? = nil,
    representative: String? = nil
  ) {
    self.name = name
    self.address = address
    self.contact = contact
    self.dataProtectionOfficer = dataProtectionOfficer
    self.representative = representative
  }

  enum CodingKeys: String, CodingKey {
    case name, address, contact, representative
    case dataProtectionOfficer = "data_protection_officer"
  }
}

/// What takes two officers. The raw value is the approval's `action`.
package enum TwoPersonAction: String, Codable, Hashable, Sendable, CaseIterable {
  /// Putting a policy into force.
  case policy
  /// Erasing a customer.
  case erasure
  /// Replacing a key.
  case keyRotation = "key-rotation"
}

/// Time limits and service levels; the defaults are the law's longest or this project's design.
package struct PolicyLimits: Codable, Hashable, Sendable {
  /// A request under the GDPR is answered within one month (Art. 12(3)).
  package var gdprAnswerDays = 30
  /// It may be extended by two months (Art. 12(3)).
  package var gdprExtensionDays = 60
  /// A request under the CCPA is answered within 45 days (regulations §7021(b)).
  package var ccpaAnswerDays = 45
  /// It may be extended by 45 days (§7021(b)).
  package var ccpaExtensionDays = 45
  /// A request under the CCPA is acknowledged within 10 business days (§7021(a)).
  package var acknowledgeBusinessDays = 10
  /// An opt-out acts within 15 business days (§7026(f)); here see `withdrawalSeconds`.
  package var optOutBusinessDays = 15
  /// A withdrawal or opt-out denies on the node that took it within this time.
  package var withdrawalSeconds = 1
  /// No training on a checkpoint that is older: a withdrawal denies everywhere within this time.
  package var maximumCheckpointAgeSeconds = 60
  /// Twelve months pass before a customer who said no is asked again (§1798.135(c)(4)), a leap year's days.
  package var askAgainAfterDays = 366
  /// Records of requests are kept for 24 months (§7101(a)), a leap year among them.
  package var requestRecordDays = 731
  /// How far ahead of the ledger a recorder's clock may be.
  package var clockSkewSeconds = 300
  /// Below this age silence permits nothing, even where the regime is opt-out (CCPA §1798.120(c)).
  package var optInBelowAge = 16

  /// The defaults.
  package init() {}

  enum CodingKeys: String, CodingKey {
    case gdprAnswerDays = "gdpr_answer_days"
    case gdprExtensionDays = "gdpr_extension_days"
    case ccpaAnswerDays = "ccpa_answer_days"
    case ccpaExtensionDays = "ccpa_extension_days"
    case acknowledgeBusinessDays = "acknowledge_business_days"
    case optOutBusinessDays = "opt_out_business_days"
    case withdrawalSeconds = "withdrawal_seconds"
    case maximumCheckpointAgeSeconds = "maximum_checkpoint_age_seconds"
    case askAgainAfterDays = "ask_again_after_days"
    case requestRecordDays = "request_record_days"
    case clockSkewSeconds = "clock_skew_seconds"
    case optInBelowAge = "opt_in_below_age"
  }
}
