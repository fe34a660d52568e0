/// Any field name, so that fields nobody expects are seen.
private struct FieldName: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }
  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }
}

extension KeyedDecodingContainer<FieldName> {
  /// The first field that is not among `known`. An event with a field that we do not understand may
  /// mean something weaker than what we would read, so it must not pass for the event that we know.
  fileprivate func unexpectedField(known: Set<String>) -> String? {
    allKeys.map(\.stringValue).filter { !known.contains($0) }.min()
  }
}

/// The form of both enums: `{"kind": "gaussian", "noiseMultiplier": 1.1}`.
extension PrivacyMechanism: Codable {
  /// Reads a mechanism; an unknown kind, or a known kind with an unknown field, becomes `unsupported`.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: FieldName.self)
    let kind = try fields.decode(String.self, forKey: FieldName("kind"))
    let known: Set<String>
    switch kind {
    case "gaussian": known = ["kind", "noiseMultiplier"]
    case "skellam":
      known = [
        "kind", "variance", "sensitivityL2Squared", "sensitivityL1", "dimension", "samplerErrorLog2",
      ]
    case "none": known = ["kind"]
    case "unsupported":
      self = .unsupported(name: try fields.decode(String.self, forKey: FieldName("name")))
      return
    default:
      self = .unsupported(name: kind)
      return
    }
    if let field = fields.unexpectedField(known: known) {
      self = .unsupported(name: "\(kind) with \(field)")
    } else if kind == "gaussian" {
      self = .gaussian(noiseMultiplier: try fields.decode(Double.self, forKey: FieldName("noiseMultiplier")))
    } else if kind == "none" {
      self = .none
    } else {
      self = .skellam(
        variance: try fields.decode(Double.self, forKey: FieldName("variance")),
        sensitivityL2Squared: try fields.decode(Int64.self, forKey: FieldName("sensitivityL2Squared")),
        sensitivityL1: try fields.decode(Double.self, forKey: FieldName("sensitivityL1")),
        dimension: try fields.decode(Int.self, forKey: FieldName("dimension")),
        samplerErrorLog2: try fields.decode(
          ExtendedReal.self, forKey: FieldName("samplerErrorLog2")
        ).value)
    }
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: FieldName.self)
    switch self {
    case .gaussian(let noiseMultiplier):
      try fields.encode("gaussian", forKey: FieldName("kind"))
      try fields.encode(noiseMultiplier, forKey: FieldName("noiseMultiplier"))
    case .skellam(let variance, let l2Squared, let l1, let dimension, let errorLog2):
      try fields.encode("skellam", forKey: FieldName("kind"))
      try fields.encode(variance, forKey: FieldName("variance"))
      try fields.encode(l2Squared, forKey: FieldName("sensitivityL2Squared"))
      try fields.encode(l1, forKey: FieldName("sensitivityL1"))
      try fields.encode(dimension, forKey: FieldName("dimension"))
      try fields.encode(ExtendedReal(value: errorLog2), forKey: FieldName("samplerErrorLog2"))
    case .none:
      try fields.encode("none", forKey: FieldName("kind"))
    case .unsupported(let name):
      try fields.encode("unsupported", forKey: FieldName("kind"))
      try fields.encode(name, forKey: FieldName("name"))
    }
  }
}

extension PrivacySampling: Codable {
  /// Reads a sampling; an unknown kind, or a known kind with an unknown field, becomes `unsupported`.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: FieldName.self)
    let kind = try fields.decode(String.self, forKey: FieldName("kind"))
    switch kind {
    case "none":
      let extra = fields.unexpectedField(known: ["kind"])
      self = extra.map { .unsupported(name: "none with \($0)") } ?? .none
    case "poisson":
      let rate = try fields.decode(Double.self, forKey: FieldName("rate"))
      let extra = fields.unexpectedField(known: ["kind", "rate"])
      self = extra.map { .unsupported(name: "poisson with \($0)") } ?? .poisson(rate: rate)
    case "unsupported":
      self = .unsupported(name: try fields.decode(String.self, forKey: FieldName("name")))
    default:
      self = .unsupported(name: kind)
    }
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: FieldName.self)
    switch self {
    case .none:
      try fields.encode("none", forKey: FieldName("kind"))
    case .poisson(let rate):
      try fields.encode("poisson", forKey: FieldName("kind"))
      try fields.encode(rate, forKey: FieldName("rate"))
    case .unsupported(let name):
      try fields.encode("unsupported", forKey: FieldName("kind"))
      try fields.encode(name, forKey: FieldName("name"))
    }
  }
}

extension PrivacyEvent {
  /// Reads an event; one with a field that we do not know becomes an event of an unsupported mechanism.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: FieldName.self)
    mechanism = try fields.decode(PrivacyMechanism.self, forKey: FieldName("mechanism"))
    sampling = try fields.decode(PrivacySampling.self, forKey: FieldName("sampling"))
    count = try fields.decode(Int.self, forKey: FieldName("count"))
    if let field = fields.unexpectedField(known: ["mechanism", "sampling", "count"]) {
      mechanism = .unsupported(name: "\(mechanism.name) event with \(field)")
    }
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: FieldName.self)
    try fields.encode(mechanism, forKey: FieldName("mechanism"))
    try fields.encode(sampling, forKey: FieldName("sampling"))
    try fields.encode(count, forKey: FieldName("count"))
  }
}

/// A real number or an infinity, in formats that have no infinity: "inf" and "-inf".
struct ExtendedReal: Codable {
  let value: Double

  init(value: Double) { self.value = value }

  init(from decoder: any Decoder) throws {
    let single = try decoder.singleValueContainer()
    guard let text = try? single.decode(String.self) else {
      value = try single.decode(Double.self)
      return
    }
    switch text {
    case "inf": value = .infinity
    case "-inf": value = -.infinity
    default:
      throw DecodingError.dataCorruptedError(
        in: single, debugDescription: "expected a number, \"inf\" or \"-inf\"")
    }
  }

  func encode(to encoder: any Encoder) throws {
    var single = encoder.singleValueContainer()
    if value.isInfinite {
      try single.encode(value > 0 ? "inf" : "-inf")
    } else {
      try single.encode(value)
    }
  }
}
