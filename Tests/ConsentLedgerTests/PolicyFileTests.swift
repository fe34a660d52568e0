import Consent
import ConsentLedger
import Cryptography
import Testing

/// The least that a policy file has to say.
private let least = """
  id: small
  version: 3
  controller:
    name: Shop
    address: 1 High Street
    contact: privacy@example.org
  establishment: NO
  purposes:
    - id: churn
      version: 2
      title: Churn
      description: >
        Predicts who
        leaves.
      sensitive: false
      minors: never
      asks_age: false
      data_categories: [purchases]
      retention: 24 months
      jurisdictions:
        NO: {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
        "*": {regime: prohibited}
  """

private func failure(_ yaml: String) -> PolicyFileError? {
  do throws(PolicyFileError) {
    _ = try PolicyFile.read(yaml, file: "policy.yaml")
    return nil
  } catch {
    return error
  }
}

private func failure(replacing find: String, by replacement: String) throws -> String {
  let place = try #require(least.firstRange(of: find))
  var changed = least
  changed.replaceSubrange(place, with: replacement)
  return try #require(failure(changed), "\(replacement) was accepted").description
}

@Test func `reads the least that a policy says and fills in the defaults`() throws {
  let policy = try PolicyFile.read(least, file: "policy.yaml")
  let expected = Policy(
    id: "small", version: 3,
    controller: Controller(name: "Shop", address: "1 High Street", contact: "privacy@example.org"),
    establishment: "NO",
    purposes: [
      PolicyPurpose(
        id: "churn", version: 2, title: "Churn", description: "Predicts who leaves.", dpia: nil,
        minors: .never, dataCategories: ["purchases"], retentionDays: 730,
        jurisdictions: [
          "NO": JurisdictionRule(regime: .optIn, legalBases: ["eu-gdpr:A6-1-a"]),
          "*": JurisdictionRule(regime: .prohibited, legalBases: []),
        ])
    ])
  #expect(policy == expected)
  #expect(policy.limits == PolicyLimits())
  #expect(try Policy(canonicalBytes: policy.canonicalBytes) == policy)
}

@Test func `reads everything that a policy can say`() throws {
  let more =
    least.replacing(
      "establishment: NO",
      with: """
        establishment: NO
        limits: {gdpr_answer: 2 weeks, gdpr_extension: 1 month, ccpa_answer: 30 days, ccpa_extension: 0 days,
          acknowledge: 1 business day, opt_out: 5 business days, withdrawal: 2 seconds, checkpoint_age: 5 minutes,
          ask_again_after: 2 years, request_records: 25 months, clock_skew: 1 second, opt_in_below_age: 18}
        consent_ages: {NO: 15, "*": 18}
        two_person_actions: [erasure]
        later_grant_overrides_gpc: true
        """
    ).replacing(
      "contact: privacy@example.org",
      with: """
        contact: privacy@example.org
          data_protection_officer: Kari
          representative: "1905"
        """
    ) + """

          dpia: D-1
          recipients: [printer]
          grant_lifetime: 1 year
          ask_again_after: 3 years
          notices:
            - {hash: \(String(repeating: "12", count: 32)), language: no, title: "No"}
      """
  let policy = try PolicyFile.read(more, file: "policy.yaml")
  var limits = PolicyLimits()
  limits.gdprAnswerDays = 14
  limits.gdprExtensionDays = 30
  limits.ccpaAnswerDays = 30
  limits.ccpaExtensionDays = 0
  limits.acknowledgeBusinessDays = 1
  limits.optOutBusinessDays = 5
  limits.withdrawalSeconds = 2
  limits.maximumCheckpointAgeSeconds = 300
  limits.askAgainAfterDays = 731
  limits.requestRecordDays = 731 + 31
  limits.clockSkewSeconds = 1
  limits.optInBelowAge = 18
  #expect(policy.limits == limits)
  #expect(policy.consentAges["NO"] == 15 && policy.consentAges["*"] == 18 && policy.consentAges["DE"] == 16)
  #expect(policy.twoPersonActions == [.erasure] && policy.laterGrantOverridesGlobalPrivacyControl)
  #expect(policy.controller.dataProtectionOfficer == "Kari" && policy.controller.representative == "1905")
  let purpose = try #require(policy.purposes.first)
  #expect(purpose.dpia == "D-1" && purpose.recipients == ["printer"] && purpose.grantLifetimeDays == 365)
  #expect(purpose.askAgainAfterDays == 1096)
  #expect(
    purpose.notices == [
      PolicyNotice(hash: String(repeating: "12", count: 32), language: "no", title: "No")
    ])
}

@Test(arguments: [
  ("version: 3", "version: three", "policy.yaml:2: version must be a whole number"),
  ("version: 3", "version: \"3\"", "policy.yaml:2: version must be a whole number"),
  ("version: 3", "version: 0x3", "policy.yaml:2: version must be a whole number"),
  ("version: 3", "version: 0", "policy.yaml:2: version is 0 but must be 1 to 1000000"),
  ("version: 3\n", "", "policy.yaml:1: version is missing"),
  ("version: 3", "version: 3\nversion: 4", "policy.yaml:2: version stands twice in one table"),
  ("version: 3", "version: 3\n\"version\": 4", "policy.yaml:2: version stands twice in one table"),
  (
    "  name: Shop", "  nam: Shop",
    "policy.yaml:4: controller.nam is no key of a policy; expected here: name, address, contact, "
      + "data_protection_officer, representative"
  ),
  (
    "name: Shop", "name: 2024",
    "policy.yaml:4: controller.name must be a text; if it looks like a number, a date, yes or no, put it in "
      + "quotes"
  ),
  (
    "name: Shop", "name: [a]",
    "policy.yaml:4: controller.name must be a text; if it looks like a number, a date, yes or no, put it in "
      + "quotes"
  ),
  (
    "establishment: NO", "establishment: Norway",
    "policy.yaml:7: establishment must be a place such as DE or US-CA"
  ),
  ("establishment: NO", "establishment:", "policy.yaml:7: establishment must be a place such as DE or US-CA"),
  (
    "establishment: NO", "establishment: NO\nlimits: {gdpr_answer: 2 months}",
    "policy.yaml:8: limits.gdpr_answer is 60 but must be 1 to 31; the law allows no longer"
  ),
  (
    "establishment: NO", "establishment: NO\nlimits: {gdpr_answer: soon}",
    "policy.yaml:8: limits.gdpr_answer must be a span of time such as 45 days, 2 weeks, 24 months or 1 year"
  ),
  (
    "establishment: NO", "establishment: NO\nlimits: {acknowledge: 10 days}",
    "policy.yaml:8: limits.acknowledge must be a number of business days such as 10 business days"
  ),
  (
    "establishment: NO", "establishment: NO\nlimits: {clock_skew: 5}",
    "policy.yaml:8: limits.clock_skew must be a span of time such as 60 seconds, 5 minutes or 1 hour"
  ),
  (
    "establishment: NO", "establishment: NO\nconsent_ages: {DE: 12}",
    "policy.yaml:8: consent_ages.DE is 12 but must be 13 to 18"
  ),
  (
    "establishment: NO", "establishment: NO\nconsent_ages:\n  NO: 13\n  \"NO\": 15",
    "policy.yaml:10: consent_ages.NO stands twice in one table"
  ),
  (
    "establishment: NO", "establishment: NO\ntwo_person_actions: [party]",
    "policy.yaml:8: two_person_actions[0] must be one of policy, erasure, key-rotation"
  ),
  (
    "minors: never", "minors: perhaps",
    "policy.yaml:16: purposes[0].minors must be one of never, allowed"
  ),
  ("sensitive: false", "sensitive: no", "policy.yaml:15: purposes[0].sensitive must be true or false"),
  ("asks_age: false\n", "\n", "policy.yaml:9: purposes[0].asks_age is missing"),
  ("[purchases]", "purchases", "policy.yaml:18: purposes[0].data_categories must be a list"),
  (
    "[purchases]", "[a, 1]",
    "policy.yaml:18: purposes[0].data_categories[1] must be a text; if it looks like a number, a date, yes or "
      + "no, put it in quotes"
  ),
  ("[purchases]", "[a, a]", "policy.yaml:18: purposes[0].data_categories names a twice"),
  ("24 months", "0 days", "policy.yaml:19: purposes[0].retention is 0 but must be 1 to 36600"),
  ("retention: 24 months", "recipients: []", "policy.yaml:9: purposes[0].retention is missing"),
  (
    "regime: prohibited", "regime: forbidden",
    "policy.yaml:22: purposes[0].jurisdictions.*.regime must be one of opt-in, opt-out, prohibited"
  ),
  (
    "regime: prohibited", "regime: opt-out",
    "policy.yaml:22: purposes[0].jurisdictions.*.legal_bases has 0 entries but must have 1 to 10"
  ),
  (
    "id: churn", "id: Churn",
    "policy.yaml:9: purposes[0].id must be 1 to 64 lower-case letters, digits and hyphens"
  ),
  (
    "description: >", "description: |",
    "policy.yaml:12: purposes[0].description must be one line of 1 to 1000 bytes"
  ),
])
func `names the line and what is expected`(find: String, replacement: String, sentence: String) throws {
  #expect(try failure(replacing: find, by: replacement) == sentence)
}

@Test(arguments: ["", "a: [", "a: b: c", "- a", "&x {a: *x}", "*y", "? [a]\n: b", "\u{1}", "a: 1\n---\nb: 2"])
func `refuses what is no table of YAML`(yaml: String) {
  #expect(failure(yaml)?.description.hasPrefix("policy.yaml:") == true)
}

@Test func `refuses a file that is too large`() {
  let yaml = String(repeating: "#", count: PolicyFile.maximumBytes + 1)
  #expect(failure(yaml) == .tooLarge(file: "policy.yaml", bytes: 200_001, maximum: 200_000))
}

@Test func `no truncation or change of a byte of a file traps`() {
  let bytes = Array(least.utf8)
  var accepted = 0
  for length in 0..<bytes.count {
    if failure(String(decoding: bytes.prefix(length), as: UTF8.self)) == nil { accepted += 1 }
    var changed = bytes
    changed[length] = [0, 0x3a, 0x2d, 0x5b, 0x22, 0xff][length % 6]
    _ = failure(String(decoding: changed, as: UTF8.self))
  }
  // Without the last rule, or with a part of its indentation, it is a policy still.
  #expect(accepted < 10)
}

@Test(arguments: PolicyTemplates.all.map(\.name))
func `a template is a policy whose notices are the texts that it ships`(name: String) throws {
  let template = try #require(PolicyTemplates.all.first { $0.name == name })
  let policy = try PolicyFile.read(template.yaml, file: name)
  #expect(policy.problems().isEmpty && policy.canonicalBytes.count < Policy.maximumBytes)
  #expect(
    policy.purposes.map(\.id) == ["churn", "recommendations", "customer-value", "segments", "sentiment"])
  #expect(!policy.purposes.contains { !$0.isActive })
  #expect(
    policy.purposes.flatMap(\.notices).map(\.hash)
      == template.notices.map { Hash.sha256(Array($0.utf8)).hex })
}

private func template(_ name: String) throws -> Policy {
  let template = try #require(PolicyTemplates.all.first { $0.name == name })
  return try PolicyFile.read(template.yaml, file: name)
}

private func reason(
  _ policy: Policy, _ id: String, _ place: String, _ age: AgeBand
) -> ConsentDecision.Reason {
  decide(
    events: [], purpose: Purpose(id: id, version: 1), policy: policy,
    circumstances: Circumstances(residence: place, age: age), nowMs: 0
  ).reason
}

@Test func `the template for the Union permits nothing by silence`() throws {
  let policy = try template("eu-retail")
  for purpose in policy.purposes {
    for place in ["DE", "FR", "NO", "GB", "US-CA", "unknown"] {
      #expect(reason(policy, purpose.id, place, .adult) == .unanswered)
    }
  }
  #expect(reason(policy, "recommendations", "DE", .unknown) == .ageUnknown)
  #expect(reason(policy, "churn", "DE", .fifteen) == .underAge)
}

@Test func `the template for California permits adults by silence, but not minors nor sensitive purposes`()
  throws
{
  let policy = try template("california-retail")
  for id in ["churn", "recommendations", "customer-value", "segments"] {
    #expect(reason(policy, id, "US-CA", .adult) == .permittedByDefault)
    #expect(reason(policy, id, "US-CA", .fifteen) == .unanswered)
    #expect(reason(policy, id, "DE", .adult) == .unanswered)
    #expect(reason(policy, id, "unknown", .adult) == .unanswered)
  }
  #expect(reason(policy, "sentiment", "US-CA", .adult) == .unanswered)
  #expect(reason(policy, "sentiment", "US-CA", .sixteenOrSeventeen) == .underAge)
  #expect(!policy.laterGrantOverridesGlobalPrivacyControl)
}
