/// One thing that is wrong with a policy.
package struct PolicyProblem: Hashable, Sendable, CustomStringConvertible {
  /// The field's path in the document, such as `purposes[1].notices[0].hash`.
  package let field: String
  /// What is wrong and what is expected.
  package let problem: String
  /// A sentence for people.
  package var description: String { "the policy's \(field) \(problem)" }
}

extension Policy {
  /// Throws the first of `problems()`.
  package func validate() throws(ConsentError) {
    if let first = problems().first { throw .policy(field: first.field, problem: first.problem) }
  }

  /// Everything that is wrong with the policy, in the order of the document; empty if it may be proposed.
  package func problems() -> [PolicyProblem] {
    var check = PolicyCheck()
    check.identifier("id", id)
    check.range("version", version, 1...1_000_000)
    check.text("controller.name", controller.name, maximum: 200)
    check.text("controller.address", controller.address, maximum: 500)
    check.text("controller.contact", controller.contact, maximum: 200)
    check.text("controller.data_protection_officer", controller.dataProtectionOfficer, maximum: 200)
    check.text("controller.representative", controller.representative, maximum: 500)
    if Jurisdiction.place(establishment) != establishment {
      check.add("establishment", "must be a place such as DE or US-CA")
    }
    limits.check(&check)
    for (place, age) in consentAges.sorted(by: { $0.key < $1.key }) {
      let field = "consent_ages.\(place)"
      if place == Jurisdiction.anywhere || Jurisdiction.place(place) == place {
        check.range(field, age, 13...18)
      } else {
        check.add(field, "must be named by a place such as DE, US-CA, EU or *")
      }
    }
    check.unique("two_person_actions", twoPersonActions.map(\.rawValue))
    check.count("purposes", purposes.count, 1...100)
    check.unique("purposes", purposes.map(\.id))
    for (position, purpose) in purposes.enumerated() {
      purpose.check(&check, at: "purposes[\(position)]", establishment: establishment, limits: limits)
    }
    if check.problems.isEmpty, canonicalBytes.count > Self.maximumBytes {
      check.add(
        "document", "has \(canonicalBytes.count) bytes; more than \(Self.maximumBytes) do not fit the ledger")
    }
    return check.problems
  }
}

extension PolicyLimits {
  /// A policy may promise more than the law asks for, never less.
  fileprivate func check(_ check: inout PolicyCheck) {
    let law = "; the law allows no longer"
    check.range("limits.gdpr_answer_days", gdprAnswerDays, 1...31, law)
    check.range("limits.gdpr_extension_days", gdprExtensionDays, 0...62, law)
    check.range("limits.ccpa_answer_days", ccpaAnswerDays, 1...45, law)
    check.range("limits.ccpa_extension_days", ccpaExtensionDays, 0...45, law)
    check.range("limits.acknowledge_business_days", acknowledgeBusinessDays, 1...10, law)
    check.range("limits.opt_out_business_days", optOutBusinessDays, 1...15, law)
    check.range("limits.withdrawal_seconds", withdrawalSeconds, 1...3600)
    check.range("limits.maximum_checkpoint_age_seconds", maximumCheckpointAgeSeconds, 1...3600)
    check.range("limits.ask_again_after_days", askAgainAfterDays, 365...3660)
    check.range("limits.request_record_days", requestRecordDays, 730...7320)
    check.range("limits.clock_skew_seconds", clockSkewSeconds, 0...300)
    check.range("limits.opt_in_below_age", optInBelowAge, 16...18)
  }
}

extension PolicyPurpose {
  fileprivate func check(
    _ check: inout PolicyCheck, at path: String, establishment: String, limits: PolicyLimits
  ) {
    check.identifier("\(path).id", id)
    check.range("\(path).version", version, 1...1_000_000)
    check.text("\(path).title", title, maximum: 100)
    check.text("\(path).description", description, maximum: 1000)
    check.text("\(path).dpia", dpia, maximum: 200)
    check.texts("\(path).data_categories", dataCategories, 1...50)
    check.texts("\(path).recipients", recipients, 0...50)
    check.range("\(path).retention_days", retentionDays, 1...36_600)
    if let grantLifetimeDays {
      check.range("\(path).grant_lifetime_days", grantLifetimeDays, 1...36_600)
    }
    if let askAgainAfterDays {
      check.range("\(path).ask_again_after_days", askAgainAfterDays, limits.askAgainAfterDays...36_600)
    }
    checkJurisdictions(&check, at: path, establishment: establishment)
    check.count("\(path).notices", notices.count, 0...100)
    check.unique("\(path).notices", notices.map(\.hash))
    for (position, notice) in notices.enumerated() {
      let field = "\(path).notices[\(position)]"
      if notice.hash.utf8.count != 64 || !notice.hash.utf8.allSatisfy(HexText.isDigit) {
        check.add("\(field).hash", "must be 64 lower-case hexadecimal digits")
      }
      check.text("\(field).language", notice.language, maximum: 35)
      check.text("\(field).title", notice.title, maximum: 100)
    }
  }

  private func checkJurisdictions(_ check: inout PolicyCheck, at path: String, establishment: String) {
    let field = "\(path).jurisdictions"
    check.count(field, jurisdictions.count, 1...300)
    for (place, rule) in jurisdictions.sorted(by: { $0.key < $1.key }) {
      guard place == Jurisdiction.anywhere || Jurisdiction.place(place) == place else {
        check.add("\(field).\(place)", "must be named by a place such as DE, US-CA, EU or *")
        continue
      }
      let bases = "\(field).\(place).legal_bases"
      if rule.regime == .prohibited {
        if !rule.legalBases.isEmpty { check.add(bases, "must be empty: the purpose is prohibited there") }
      } else {
        check.count(bases, rule.legalBases.count, 1...10)
      }
      check.unique(bases, rule.legalBases)
      for (position, basis) in rule.legalBases.enumerated() {
        check.text("\(bases)[\(position)]", basis, maximum: 64)
      }
    }
    if !jurisdictions.isEmpty, Jurisdiction.place(establishment) == establishment,
      Jurisdiction.entries(in: jurisdictions, for: establishment).isEmpty
    {
      check.add(field, "has no rule for the establishment \(establishment), so nobody would be permitted")
    }
  }
}

/// Collects what is wrong.
private struct PolicyCheck {
  private(set) var problems: [PolicyProblem] = []

  mutating func add(_ field: String, _ problem: String) {
    problems.append(PolicyProblem(field: field, problem: problem))
  }

  mutating func range(_ field: String, _ value: Int, _ range: ClosedRange<Int>, _ why: String = "") {
    if !range.contains(value) {
      add(field, "is \(value) but must be \(range.lowerBound) to \(range.upperBound)\(why)")
    }
  }

  mutating func count(_ field: String, _ count: Int, _ range: ClosedRange<Int>) {
    if !range.contains(count) {
      add(field, "has \(count) entries but must have \(range.lowerBound) to \(range.upperBound)")
    }
  }

  mutating func unique(_ field: String, _ values: [String]) {
    var seen: Set<String> = []
    for value in values where !seen.insert(value).inserted { add(field, "names \(value) twice") }
  }

  mutating func text(_ field: String, _ text: String?, maximum: Int) {
    guard let text else { return }
    let bytes = text.utf8
    if bytes.isEmpty || bytes.count > maximum || !bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) {
      add(field, "must be one line of 1 to \(maximum) bytes")
    }
  }

  mutating func texts(_ field: String, _ texts: [String], _ range: ClosedRange<Int>) {
    count(field, texts.count, range)
    unique(field, texts)
    for (position, entry) in texts.enumerated() { text("\(field)[\(position)]", entry, maximum: 100) }
  }

  mutating func identifier(_ field: String, _ text: String) {
    func isLetterOrDigit(_ byte: UInt8) -> Bool { (97...122).contains(byte) || (48...57).contains(byte) }
    let bytes = text.utf8
    guard let first = bytes.first, isLetterOrDigit(first), bytes.count <= 64,
      bytes.allSatisfy({ isLetterOrDigit($0) || $0 == 45 || $0 == 46 || $0 == 95 })
    else {
      add(field, "must be 1 to 64 lower-case letters, digits and hyphens")
      return
    }
  }
}
