/// Places as the policy and the records name them: ISO 3166-1 (`DE`), ISO 3166-2 (`US-CA`), the groups `EU`
/// and `EEA`, and in policies `*` for everywhere else.
package enum Jurisdiction {
  /// What records say when nobody knows.
  package static let unknown = "unknown"
  /// Everywhere that has no rule of its own; in policies only.
  package static let anywhere = "*"

  /// The member states of the European Union.
  package static let memberStates: Set<String> = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
  ]
  /// The states of the European Economic Area, where the GDPR applies too.
  package static let economicAreaStates = memberStates.union(["IS", "LI", "NO"])

  /// The place in its one form, or nil if it is unknown or no place: `UK` and `EL` are how the European
  /// Commission writes `GB` and `GR`. What is misspelt counts as unknown, so that it can never pick a laxer rule.
  package static func place(_ text: String?) -> String? {
    guard let text, isPlace(text) else { return nil }
    switch text {
    case "UK": return "GB"
    case "EL": return "GR"
    default: return text
    }
  }

  /// Whether the text has the form of a country, a country's part or a group.
  package static func isPlace(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte) }
    switch bytes.count {
    case 2: return bytes.allSatisfy(isLetter)
    case 3: return text == "EEA"
    case 4...6:
      return bytes[..<2].allSatisfy(isLetter) && bytes[2] == 45
        && bytes[3...].allSatisfy { isLetter($0) || (48...57).contains($0) }
    default: return false
    }
  }

  /// The country of a place; a group is its own.
  package static func country(of place: String) -> String {
    place.utf8.count > 3 ? String(place.prefix(2)) : place
  }

  /// The keys under which a table may have an entry for the place, the most particular first.
  package static func keys(for place: String) -> [String] {
    var keys = [place]
    let country = country(of: place)
    if country != place { keys.append(country) }
    if memberStates.contains(country) { keys.append("EU") }
    if economicAreaStates.contains(country) || place == "EU" { keys.append("EEA") }
    keys.append(anywhere)
    return keys
  }

  /// Whether `part` lies inside `place` and is not the same: `US-CA` in `US`, `DE` in `EU`.
  package static func isPart(_ part: String, of place: String) -> Bool {
    guard part != place, part != anywhere else { return false }
    switch place {
    case "EU": return memberStates.contains(country(of: part))
    case "EEA": return part == "EU" || economicAreaStates.contains(country(of: part))
    default: return part.utf8.count > 3 && part.hasPrefix(place)
    }
  }

  /// What a table says about a place: the most particular entry, and the entries of the place's parts, since
  /// somebody of whom only the country is known may live in any of them. Empty if the table says nothing.
  package static func entries<Value>(in table: [String: Value], for place: String) -> [Value] {
    var found: [Value] = []
    if let key = keys(for: place).first(where: { table[$0] != nil }), let value = table[key] {
      found.append(value)
    }
    // Only a country or a group has parts.
    if place.utf8.count <= 3 {
      for (key, value) in table where isPart(key, of: place) { found.append(value) }
    }
    return found
  }

  /// The age of digital consent (GDPR Art. 8 by state; 13 in the United States after COPPA and CCPA
  /// §1798.120(c)). Sources: docs/POLICIES.md. Where a table is silent the GDPR's own 16 counts.
  package static let defaultConsentAges: [String: Int] = [
    "AT": 14, "BE": 13, "BG": 14, "CY": 14, "CZ": 15, "DE": 16, "DK": 15, "EE": 13, "ES": 14, "FI": 13,
    "FR": 15, "GB": 13, "GR": 15, "HR": 16, "HU": 16, "IE": 16, "IS": 13, "IT": 14, "LI": 16, "LT": 14,
    "LU": 16, "LV": 13, "MT": 13, "NL": 16, "NO": 13, "PL": 16, "PT": 13, "RO": 16, "SE": 13, "SI": 15,
    "SK": 16, "US": 13,
  ]
  /// The age of GDPR Art. 8(1), for places that no table names.
  package static let fallbackConsentAge = 16
}

extension Regime {
  /// Prohibited is stricter than opt-in, opt-in than opt-out.
  package var strictness: Int {
    switch self {
    case .optOut: 0
    case .optIn: 1
    case .prohibited: 2
    }
  }
}
