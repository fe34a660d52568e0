/// Whether data of customers below 18 may be used.
package enum MinorsRule: String, Codable, Hashable, Sendable, CaseIterable {
  /// Never below 18, whoever agrees.
  case never
  /// With the consent that the law asks for at their age.
  case allowed
}

/// What a purpose may rest on in one place.
package struct JurisdictionRule: Codable, Hashable, Sendable {
  /// Opt-in, opt-out or prohibited.
  package var regime: Regime
  /// The legal bases that a record may name there, such as `eu-gdpr:A6-1-a`; the first is the usual one. Empty
  /// only under a prohibition.
  package var legalBases: [String]

  /// A regime and its legal bases.
  package init(regime: Regime, legalBases: [String]) {
    self.regime = regime
    self.legalBases = legalBases
  }

  enum CodingKeys: String, CodingKey {
    case regime
    case legalBases = "legal_bases"
  }
}

/// A text that customers are shown before they agree. A material change of the text is a change of its hash:
/// grants given on a hash that is no longer listed ask again.
package struct PolicyNotice: Codable, Hashable, Sendable {
  /// SHA-256 of the text's UTF-8, 64 hexadecimal digits.
  package var hash: String
  /// The text's language (BCP 47).
  package var language: String
  /// What people call it.
  package var title: String

  /// Names a notice.
  package init(hash: String, language: String, title: String) {
    self.hash = hash
    self.language = language
    self.title = title
  }
}

/// One thing that data are processed for (GDPR Art. 30(1)(b)–(f)).
package struct PolicyPurpose: Codable, Hashable, Sendable {
  /// A short identifier such as `recommendations`.
  package var id: String
  /// The version of the description, from 1: a new one asks everybody again.
  package var version: Int
  /// What people call it.
  package var title: String
  /// What happens to the data, in a sentence or two.
  package var description: String
  /// Where the data protection impact assessment (GDPR Art. 35) is filed. Without it the purpose is inactive:
  /// it is described but denied to everybody.
  package var dpia: String?
  /// Whether it uses or infers special categories (GDPR Art. 9) or sensitive information (CCPA §1798.140(ae)).
  package var sensitive: Bool
  /// Whether data of customers below 18 may be used.
  package var minors: MinorsRule
  /// Whether the age must be known: if so, an unknown age denies.
  package var asksAge: Bool
  /// What data are used.
  package var dataCategories: [String]
  /// Who else receives them; empty if nobody does.
  package var recipients: [String]
  /// How long the data are kept for this purpose.
  package var retentionDays: Int
  /// The regime and legal bases by place; a place without an entry, nor one for its country or group, nor `*`,
  /// is prohibited.
  package var jurisdictions: [String: JurisdictionRule]
  /// How long a grant lasts at most; nil if it lasts until it is taken back.
  package var grantLifetimeDays: Int?
  /// How long a customer who said no is left alone; nil for the policy's `askAgainAfterDays`.
  package var askAgainAfterDays: Int?
  /// The notices that count for this version; empty if none is asked for.
  package var notices: [PolicyNotice]

  /// Puts a purpose together; `Policy.validate()` checks it.
  package init(
    id: String, version: Int, title: String, description: String, dpia: String?, sensitive: Bool = false,
    minors: MinorsRule = .allowed, asksAge: Bool = false, dataCategories: [String],
    recipients: [String] = [], retentionDays: Int, jurisdictions: [String: JurisdictionRule],
    grantLifetimeDays: Int? = nil, askAgainAfterDays: Int? = nil, notices: [PolicyNotice] = []
  ) {
    self.id = id
    self.version = version
    self.title = title
    self.description = description
    self.dpia = dpia
    self.sensitive = sensitive
    self.minors = minors
    self.asksAge = asksAge
    self.dataCategories = dataCategories
    self.recipients = recipients
    self.retentionDays = retentionDays
    self.jurisdictions = jurisdictions
    self.grantLifetimeDays = grantLifetimeDays
    self.askAgainAfterDays = askAgainAfterDays
    self.notices = notices
  }

  enum CodingKeys: String, CodingKey {
    case id, version, title, description, dpia, sensitive, minors, recipients, jurisdictions, notices
    case asksAge = "asks_age"
    case dataCategories = "data_categories"
    case retentionDays = "retention_days"
    case grantLifetimeDays = "grant_lifetime_days"
    case askAgainAfterDays = "ask_again_after_days"
  }

  /// The purpose as records name it.
  package var reference: Purpose { Purpose(id: id, version: version) }
  /// Whether it was assessed and may be used.
  package var isActive: Bool { dpia != nil }
}

/// What counts for one customer and purpose after all the places that matter were weighed (rule 1).
package struct JurisdictionRuling: Hashable, Sendable {
  /// The strictest regime of those places.
  package let regime: Regime
  /// The rules with that regime.
  private let rules: [JurisdictionRule]
  /// Their legal bases, sorted.
  package var legalBases: [String] { Set(rules.flatMap(\.legalBases)).sorted() }

  fileprivate init(strictestOf rules: [JurisdictionRule]) {
    let regime = rules.map(\.regime).max { $0.strictness < $1.strictness } ?? .prohibited
    self.regime = regime
    self.rules = rules.filter { $0.regime == regime }
  }
}

extension Policy {
  /// Weighs residence, establishment and place of collection: the strictest regime counts. No known residence
  /// stands for every place that the purpose has a rule for.
  package func ruling(
    for purpose: PolicyPurpose, residences: some Collection<String>, collection: String? = nil
  ) -> JurisdictionRuling {
    var rules: [JurisdictionRule] = []
    func weigh(_ place: String) {
      let found = Jurisdiction.entries(in: purpose.jurisdictions, for: place)
      // Where the policy says nothing nobody has thought about the law: closed.
      rules += found.isEmpty ? [JurisdictionRule(regime: .prohibited, legalBases: [])] : found
    }
    if residences.isEmpty { rules += purpose.jurisdictions.values }
    for place in residences { weigh(place) }
    weigh(establishment)
    if let collection = Jurisdiction.place(collection) { weigh(collection) }
    return JurisdictionRuling(strictestOf: rules)
  }

  /// Below this age only a guardian can consent for somebody who lives there; the highest age of several
  /// places, and of all places if none is known.
  package func consentAge(residences: some Collection<String>) -> Int {
    guard !residences.isEmpty else {
      return max(Jurisdiction.fallbackConsentAge, consentAges.values.max() ?? 0)
    }
    return residences.map { place in
      Jurisdiction.entries(in: consentAges, for: place).max() ?? Jurisdiction.fallbackConsentAge
    }.max() ?? Jurisdiction.fallbackConsentAge
  }
}
