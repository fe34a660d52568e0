import Consent
import Testing

private func problems(_ change: (inout Policy) -> Void) -> [String] {
  var policy = Make.policy(
    [Make.purpose(lifetimeDays: 365, askAgainDays: 400)], establishment: "US-CA")
  change(&policy)
  return policy.problems().map(\.field)
}

private struct Fault: Sendable, CustomTestStringConvertible {
  let field: String
  let change: @Sendable (inout Policy) -> Void
  var testDescription: String { field }

  init(_ field: String, _ change: @escaping @Sendable (inout Policy) -> Void) {
    self.field = field
    self.change = change
  }
}

private let faults: [Fault] = [
  Fault("id") { $0.id = "EU Retail" }, Fault("id") { $0.id = "" }, Fault("version") { $0.version = 0 },
  Fault("controller.name") { $0.controller.name = "" },
  Fault("controller.address") { $0.controller.address = "a\nb" },
  Fault("controller.contact") { $0.controller.contact = String(repeating: "x", count: 201) },
  Fault("controller.data_protection_officer") { $0.controller.dataProtectionOfficer = "" },
  Fault("controller.representative") { $0.controller.representative = "\u{7f}" },
  Fault("establishment") { $0.establishment = "Germany" }, Fault("establishment") { $0.establishment = "UK" },
  Fault("limits.gdpr_answer_days") { $0.limits.gdprAnswerDays = 32 },
  Fault("limits.gdpr_extension_days") { $0.limits.gdprExtensionDays = 63 },
  Fault("limits.ccpa_answer_days") { $0.limits.ccpaAnswerDays = 46 },
  Fault("limits.ccpa_extension_days") { $0.limits.ccpaExtensionDays = -1 },
  Fault("limits.acknowledge_business_days") { $0.limits.acknowledgeBusinessDays = 11 },
  Fault("limits.opt_out_business_days") { $0.limits.optOutBusinessDays = 16 },
  Fault("limits.withdrawal_seconds") { $0.limits.withdrawalSeconds = 0 },
  Fault("limits.maximum_checkpoint_age_seconds") { $0.limits.maximumCheckpointAgeSeconds = 3601 },
  Fault("limits.ask_again_after_days") { $0.limits.askAgainAfterDays = 364 },
  Fault("limits.request_record_days") { $0.limits.requestRecordDays = 729 },
  Fault("limits.clock_skew_seconds") { $0.limits.clockSkewSeconds = 301 },
  Fault("limits.opt_in_below_age") { $0.limits.optInBelowAge = 15 },
  Fault("consent_ages.DE") { $0.consentAges["DE"] = 12 },
  Fault("consent_ages.Germany") { $0.consentAges["Germany"] = 16 },
  Fault("two_person_actions") { $0.twoPersonActions = [.policy, .policy] },
  Fault("purposes") { $0.purposes = [] }, Fault("purposes") { $0.purposes += $0.purposes },
  Fault("purposes[0].id") { $0.purposes[0].id = "*" },
  Fault("purposes[0].version") { $0.purposes[0].version = 1_000_001 },
  Fault("purposes[0].title") { $0.purposes[0].title = "" },
  Fault("purposes[0].description") { $0.purposes[0].description = String(repeating: "x", count: 1001) },
  Fault("purposes[0].dpia") { $0.purposes[0].dpia = "" },
  Fault("purposes[0].data_categories") { $0.purposes[0].dataCategories = [] },
  Fault("purposes[0].recipients") { $0.purposes[0].recipients = ["a", "a"] },
  Fault("purposes[0].retention_days") { $0.purposes[0].retentionDays = 0 },
  Fault("purposes[0].grant_lifetime_days") { $0.purposes[0].grantLifetimeDays = 0 },
  Fault("purposes[0].ask_again_after_days") { $0.purposes[0].askAgainAfterDays = 30 },
  Fault("purposes[0].jurisdictions") { $0.purposes[0].jurisdictions = [:] },
  Fault("purposes[0].jurisdictions") {
    $0.purposes[0].jurisdictions = ["DE": JurisdictionRule(regime: .optIn, legalBases: ["x"])]
  },
  Fault("purposes[0].jurisdictions.us") {
    $0.purposes[0].jurisdictions["us"] = JurisdictionRule(regime: .optIn, legalBases: ["x"])
  },
  Fault("purposes[0].jurisdictions.EU.legal_bases") {
    $0.purposes[0].jurisdictions["EU"]?.legalBases = []
  },
  Fault("purposes[0].jurisdictions.BR.legal_bases") {
    $0.purposes[0].jurisdictions["BR"]?.legalBases = ["x"]
  },
  Fault("purposes[0].notices") { $0.purposes[0].notices += $0.purposes[0].notices },
  Fault("purposes[0].notices[0].hash") { $0.purposes[0].notices[0].hash = "AB" },
  Fault("purposes[0].notices[0].language") { $0.purposes[0].notices[0].language = "" },
  Fault("purposes[0].notices[0].title") { $0.purposes[0].notices[0].title = "" },
]

@Test func `accepts a policy that is complete`() {
  #expect(problems { _ in }.isEmpty)
}

@Test(arguments: faults)
private func `names the field that is wrong`(fault: Fault) {
  #expect(problems(fault.change) == [fault.field])
}

@Test func `says what is wrong in a sentence that names the field`() {
  var policy = Make.policy()
  policy.limits.ccpaAnswerDays = 60
  let expected = "the policy's limits.ccpa_answer_days is 60 but must be 1 to 45; the law allows no longer"
  #expect(policy.problems().map(\.description) == [expected])
  do throws(ConsentError) {
    try policy.validate()
    Issue.record("a policy that breaks the law was accepted")
  } catch {
    #expect(error.description == expected)
  }
}

@Test func `refuses a policy that no leaf can hold`() throws {
  let purposes = (0..<100).map { number in
    var purpose = Make.purpose("purpose-\(number)")
    purpose.description = String(repeating: "x", count: 600)
    return purpose
  }
  #expect(Make.policy(purposes).problems().map(\.field) == ["document"])
  let bytes = Make.policy(purposes).canonicalBytes
  #expect(throws: ConsentError.self) { try Policy(canonicalBytes: bytes) }
}

@Test func `writes a policy in its one form`() throws {
  var policy = Make.policy([
    Make.purpose(dpia: nil, places: ["US": JurisdictionRule(regime: .optOut, legalBases: ["us/x:opt-out"])])
  ])
  policy.consentAges = ["US": 13, "DE": 16, "US-CA": 13]
  policy.controller.name = "Müller \"& Söhne\" \\"
  let text = String(decoding: policy.canonicalBytes, as: UTF8.self)
  let expected =
    #"{"consent_ages":{"DE":16,"US":13,"US-CA":13},"controller":{"address":"1 High Street","contact":"#
    + #""privacy@example.org","name":"Müller \"& Söhne\" \\"},"establishment":"US-NV","id":"test","#
    + #""later_grant_overrides_gpc":false,"limits":{"acknowledge_business_days":10,"ask_again_after_days":366,"#
    + #""ccpa_answer_days":45,"ccpa_extension_days":45,"clock_skew_seconds":300,"gdpr_answer_days":30,"#
    + #""gdpr_extension_days":60,"maximum_checkpoint_age_seconds":60,"opt_in_below_age":16,"#
    + #""opt_out_business_days":15,"request_record_days":731,"withdrawal_seconds":1},"purposes":[{"#
    + #""asks_age":false,"data_categories":["purchases"],"description":"Predicts who leaves.","id":"churn","#
    + #""jurisdictions":{"US":{"legal_bases":["us/x:opt-out"],"regime":"opt-out"}},"minors":"allowed","#
    + #""notices":[{"hash":"\#(Make.notice)","language":"en","title":"Churn notice"}],"recipients":[],"#
    + #""retention_days":730,"sensitive":false,"title":"Churn","version":2}],"two_person_actions":["#
    + #""policy","erasure","key-rotation"],"version":1}"#
  #expect(text == expected)
  #expect(try Policy(canonicalBytes: policy.canonicalBytes) == policy)
}

@Test(arguments: [
  ("{", "{ "), ("\"id\":\"test\"", "\"id\":\"test\",\"id\":\"test\""),
  ("\"id\":\"test\"", "\"id\":\"t\\u0065st\""),
  ("\"id\":\"test\"", "\"id\":\"test\",\"ib\":1"), ("\"version\":1}", "\"version\":1.0}"),
  ("\"version\":1}", "\"version\":\"1\"}"), ("\"version\":1}", "\"version\":1}\n"),
  ("\"version\":1}", "\"version\":0}"), ("\"version\":1}", "\"version\":true}"),
  ("\"regime\":\"opt-out\"", "\"regime\":\"opt-maybe\""), ("\"sensitive\":false,", ""),
  ("\"minors\":\"allowed\",", "\"minors\":null,"), ("\"recipients\":[]", "\"recipients\":{}"),
])
func `refuses a document that is written differently`(find: String, replacement: String) throws {
  let text = String(decoding: Make.policy().canonicalBytes, as: UTF8.self)
  let first = try #require(text.firstRange(of: find))
  var changed = text
  changed.replaceSubrange(first, with: replacement)
  #expect(throws: ConsentError.self) { try Policy(canonicalBytes: Array(changed.utf8)) }
}

@Test func `names the missing field of a document`() {
  let text = String(decoding: Make.policy().canonicalBytes, as: UTF8.self)
  let without = text.split(separator: "\"sensitive\":false,", omittingEmptySubsequences: false).joined()
  #expect(
    throws: ConsentError.policy(
      field: "purposes[0].sensitive", problem: "is missing or is not what a policy has there")
  ) { try Policy(canonicalBytes: Array(without.utf8)) }
}

@Test func `no mutation of a document traps`() {
  let bytes = Make.policy().canonicalBytes
  var numbers = SeededNumbers(seed: 3)
  var read = 0
  for _ in 0..<300 {
    var changed = bytes
    switch numbers.below(3) {
    case 0: changed[numbers.below(changed.count)] = UInt8(numbers.below(256))
    case 1: changed.removeLast(numbers.below(changed.count))
    default: changed.insert(UInt8(numbers.below(256)), at: numbers.below(changed.count))
    }
    guard let policy = try? Policy(canonicalBytes: changed) else { continue }
    read += 1
    #expect(policy.canonicalBytes == changed)
  }
  #expect(read < 300)
}

@Test func `a policy always needs two people`() {
  var policy = Make.policy()
  policy.twoPersonActions = []
  #expect(policy.needsTwoPeople(.policy) && !policy.needsTwoPeople(.erasure))
  policy.twoPersonActions = [.erasure]
  #expect(policy.needsTwoPeople(.erasure) && !policy.needsTwoPeople(.keyRotation))
}

@Test func `every state of the Union and of the economic area has an age of consent`() {
  #expect(Jurisdiction.memberStates.count == 27 && Jurisdiction.economicAreaStates.count == 30)
  let listed = Set(Jurisdiction.defaultConsentAges.keys)
  #expect(Jurisdiction.economicAreaStates.union(["GB", "US"]) == listed)
  #expect(Jurisdiction.defaultConsentAges.values.allSatisfy { (13...16).contains($0) })
}
