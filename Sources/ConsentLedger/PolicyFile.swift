package import Consent
import Yams

/// The YAML that officers write, read strictly into a `Policy` (docs/POLICIES.md has the keys). The file is
/// where people work; what is signed, hashed and stored is the policy's canonical form.
package enum PolicyFile {
  /// No policy file is larger.
  package static let maximumBytes = 200_000

  /// Reads a policy. Unknown, repeated and missing keys, values of another kind, and everything that
  /// `Policy.problems()` finds are refused with the file's name, the line and what is expected.
  /// - Parameter file: the name to put in errors.
  package static func read(_ yaml: String, file: String) throws(PolicyFileError) -> Policy {
    guard yaml.utf8.count <= maximumBytes else {
      throw .tooLarge(file: file, bytes: yaml.utf8.count, maximum: maximumBytes)
    }
    var reader = PolicyFileReader(file: file)
    let policy = try read(compose(yaml, file), &reader)
    if let problem = policy.problems().first { throw locate(problem, reader) }
    return policy
  }

  private static func compose(_ yaml: String, _ file: String) throws(PolicyFileError) -> Node {
    do {
      guard let node = try Yams.compose(yaml: yaml) else {
        throw PolicyFileError.syntax(file: file, line: 1, problem: "it is empty")
      }
      return node
    } catch let error as PolicyFileError {
      throw error
    } catch let error as YamlError {
      switch error {
      case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
        .composer(_, let problem, let mark, _):
        throw .syntax(file: file, line: mark.line, problem: problem)
      case .duplicatedKeysInMapping(let keys, let context):
        throw .duplicateKey(file: file, line: context.mark.line, key: keys.first ?? "a key")
      case .reader(let problem, let offset, _, _):
        let before = yaml.utf8.prefix(offset ?? 0)
        throw .syntax(file: file, line: 1 + before.count { $0 == 10 }, problem: problem)
      default:
        throw .syntax(file: file, line: 1, problem: "its text cannot be read")
      }
    } catch {
      throw .syntax(file: file, line: 1, problem: "its text cannot be read")
    }
  }

  /// The line of the field that is wrong, or of the nearest table around it that the file has.
  private static func locate(_ problem: PolicyProblem, _ reader: PolicyFileReader) -> PolicyFileError {
    var field = Substring(problem.field)
    while !field.isEmpty {
      if let place = reader.places[String(field)] {
        let rest = problem.field.dropFirst(field.count)
        return .invalid(
          file: reader.file, line: place.line, key: place.key + rest, problem: problem.problem)
      }
      let end = field.lastIndex { $0 == "." || $0 == "[" }
      field = end.map { field[..<$0] } ?? ""
    }
    return .invalid(file: reader.file, line: 1, key: problem.field, problem: problem.problem)
  }

  private static func read(
    _ node: Node, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> Policy {
    let table = try reader.table(
      node, at: "", field: "",
      keys: [
        "id", "version", "controller", "establishment", "limits", "consent_ages", "two_person_actions",
        "later_grant_overrides_gpc", "purposes",
      ])
    let id = try reader.word(reader.node(table, "id"), "id", "a word such as eu-retail")
    let version = try reader.integer(table, "version")
    let controller = try readController(table, &reader)
    let establishment = try reader.word(
      reader.node(table, "establishment"), "establishment", "a place such as DE or US-CA")
    var policy = Policy(
      id: id, version: version, controller: controller, establishment: establishment, purposes: [])
    policy.limits = try readLimits(table, &reader)
    try readAges(table, &policy.consentAges, &reader)
    if table.entries["two_person_actions"] != nil {
      policy.twoPersonActions = []
      for entry in try reader.list(table, "two_person_actions") {
        policy.twoPersonActions.append(
          try reader.choice(entry.node, entry.prefix, TwoPersonAction.self))
      }
    }
    if table.entries["later_grant_overrides_gpc"] != nil {
      policy.laterGrantOverridesGlobalPrivacyControl = try reader.truth(table, "later_grant_overrides_gpc")
    }
    for entry in try reader.list(table, "purposes") {
      policy.purposes.append(try readPurpose(entry.node, at: entry.prefix, field: entry.field, &reader))
    }
    return policy
  }

  private static func readController(
    _ table: PolicyFileTable, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> Controller {
    let own = try reader.subtable(
      table, "controller",
      keys: ["name", "address", "contact", "data_protection_officer", "representative"])
    return Controller(
      name: try reader.text(own, "name"), address: try reader.text(own, "address"),
      contact: try reader.text(own, "contact"),
      dataProtectionOfficer: try reader.optionalText(own, "data_protection_officer"),
      representative: try reader.optionalText(own, "representative"))
  }

  private struct Limit {
    let key: String
    let field: String
    let path: WritableKeyPath<PolicyLimits, Int>
    let unit: PolicyFileSpan

    init(
      _ key: String, _ field: String, _ path: WritableKeyPath<PolicyLimits, Int>, _ unit: PolicyFileSpan
    ) {
      self.key = key
      self.field = field
      self.path = path
      self.unit = unit
    }
  }

  /// The spans of `limits`: the key in the file, the field in the policy, the unit.
  private static var spans: [Limit] {
    [
      Limit("gdpr_answer", "gdpr_answer_days", \.gdprAnswerDays, .daysAtMost),
      Limit("gdpr_extension", "gdpr_extension_days", \.gdprExtensionDays, .daysAtMost),
      Limit("ccpa_answer", "ccpa_answer_days", \.ccpaAnswerDays, .daysAtMost),
      Limit("ccpa_extension", "ccpa_extension_days", \.ccpaExtensionDays, .daysAtMost),
      Limit("acknowledge", "acknowledge_business_days", \.acknowledgeBusinessDays, .businessDays),
      Limit("opt_out", "opt_out_business_days", \.optOutBusinessDays, .businessDays),
      Limit("withdrawal", "withdrawal_seconds", \.withdrawalSeconds, .seconds),
      Limit("checkpoint_age", "maximum_checkpoint_age_seconds", \.maximumCheckpointAgeSeconds, .seconds),
      Limit("ask_again_after", "ask_again_after_days", \.askAgainAfterDays, .daysAtLeast),
      Limit("request_records", "request_record_days", \.requestRecordDays, .daysAtLeast),
      Limit("clock_skew", "clock_skew_seconds", \.clockSkewSeconds, .seconds),
    ]
  }

  private static func readLimits(
    _ table: PolicyFileTable, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> PolicyLimits {
    var limits = PolicyLimits()
    guard table.entries["limits"] != nil else { return limits }
    let own = try reader.subtable(table, "limits", keys: spans.map(\.key) + ["opt_in_below_age"])
    for span in spans {
      if let value = try reader.span(own, span.key, field: span.field, span.unit) {
        limits[keyPath: span.path] = value
      }
    }
    if own.entries["opt_in_below_age"] != nil {
      limits.optInBelowAge = try reader.integer(own, "opt_in_below_age")
    }
    return limits
  }

  /// What the file says is laid over the defaults.
  private static func readAges(
    _ table: PolicyFileTable, _ ages: inout [String: Int], _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) {
    guard table.entries["consent_ages"] != nil else { return }
    let own = try reader.subtable(table, "consent_ages")
    for place in own.entries.keys.sorted() { ages[place] = try reader.integer(own, place) }
  }

  private static func readPurpose(
    _ node: Node, at prefix: String, field: String, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> PolicyPurpose {
    let own = try reader.table(
      node, at: prefix, field: field,
      keys: [
        "id", "version", "title", "description", "dpia", "sensitive", "minors", "asks_age",
        "data_categories", "recipients", "retention", "grant_lifetime", "ask_again_after", "jurisdictions",
        "notices",
      ])
    let id = try reader.word(reader.node(own, "id"), own.prefix + "id", "a word such as recommendations")
    guard let retention = try reader.span(own, "retention", field: "retention_days", .daysAtMost) else {
      throw .missingKey(file: reader.file, line: own.line, key: own.prefix + "retention")
    }
    return PolicyPurpose(
      id: id, version: try reader.integer(own, "version"), title: try reader.text(own, "title"),
      description: try reader.text(own, "description"), dpia: try reader.optionalText(own, "dpia"),
      sensitive: try reader.truth(own, "sensitive"),
      minors: try reader.choice(reader.node(own, "minors"), own.prefix + "minors", MinorsRule.self),
      asksAge: try reader.truth(own, "asks_age"), dataCategories: try reader.texts(own, "data_categories"),
      recipients: own.entries["recipients"] == nil ? [] : try reader.texts(own, "recipients"),
      retentionDays: retention, jurisdictions: try readJurisdictions(own, &reader),
      grantLifetimeDays: try reader.span(own, "grant_lifetime", field: "grant_lifetime_days", .daysAtMost),
      askAgainAfterDays: try reader.span(
        own, "ask_again_after", field: "ask_again_after_days", .daysAtLeast),
      notices: try readNotices(own, &reader))
  }

  private static func readJurisdictions(
    _ table: PolicyFileTable, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> [String: JurisdictionRule] {
    let own = try reader.subtable(table, "jurisdictions")
    var rules: [String: JurisdictionRule] = [:]
    for place in own.entries.keys.sorted() {
      let rule = try reader.subtable(own, place, keys: ["regime", "legal_bases"])
      rules[place] = JurisdictionRule(
        regime: try reader.choice(reader.node(rule, "regime"), rule.prefix + "regime", Regime.self),
        legalBases: rule.entries["legal_bases"] == nil ? [] : try reader.texts(rule, "legal_bases"))
    }
    return rules
  }

  private static func readNotices(
    _ table: PolicyFileTable, _ reader: inout PolicyFileReader
  ) throws(PolicyFileError) -> [PolicyNotice] {
    guard table.entries["notices"] != nil else { return [] }
    var notices: [PolicyNotice] = []
    for entry in try reader.list(table, "notices") {
      let own = try reader.table(
        entry.node, at: entry.prefix, field: entry.field, keys: ["hash", "language", "title"])
      notices.append(
        PolicyNotice(
          hash: try reader.word(
            reader.node(own, "hash"), own.prefix + "hash", "64 lower-case hexadecimal digits"),
          language: try reader.word(
            reader.node(own, "language"), own.prefix + "language", "a language such as en or de-AT"),
          title: try reader.text(own, "title")))
    }
    return notices
  }
}
