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
  /// The fields of each kind, as they are named in JSON.
  private static let fieldNames: [String: [String]] = [
    "gaussian": ["noiseMultiplier"],
    "matrixGaussian": ["noiseMultiplier", "sensitivity"],
    "skellam": ["variance", "sensitivityL2Squared", "sensitivityL1", "dimension", "samplerErrorLog2"],
    "discreteGaussian": [
      "varianceParameter", "shares", "sensitivityL2Squared", "sensitivityL1", "dimension",
      "samplerErrorLog2",
    ],
    "laplace": ["noiseMultiplier"],
    "discreteLaplace": ["scale", "sensitivity"],
    "randomizedResponse": ["epsilon", "categories"],
    "pureEpsilon": ["epsilon"],
    "none": [],
  ]

  /// Reads a mechanism; an unknown kind, or a known kind with an unknown field, becomes `unsupported`.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: FieldName.self)
    let kind = try fields.decode(String.self, forKey: FieldName("kind"))
    func real(_ name: String) throws -> Double { try fields.decode(Double.self, forKey: FieldName(name)) }
    func integer(_ name: String) throws -> Int { try fields.decode(Int.self, forKey: FieldName(name)) }
    func wide(_ name: String) throws -> Int64 { try fields.decode(Int64.self, forKey: FieldName(name)) }
    func extended(_ name: String) throws -> Double {
      try fields.decode(ExtendedReal.self, forKey: FieldName(name)).value
    }
    guard let known = Self.fieldNames[kind] else {
      self = .unsupported(
        name: kind == "unsupported" ? try fields.decode(String.self, forKey: FieldName("name")) : kind)
      return
    }
    if let field = fields.unexpectedField(known: Set(known + ["kind"])) {
      self = .unsupported(name: "\(kind) with \(field)")
      return
    }
    switch kind {
    case "gaussian": self = .gaussian(noiseMultiplier: try real("noiseMultiplier"))
    case "matrixGaussian":
      self = .matrixGaussian(
        noiseMultiplier: try real("noiseMultiplier"), sensitivity: try real("sensitivity"))
    case "skellam":
      self = .skellam(
        variance: try real("variance"), sensitivityL2Squared: try wide("sensitivityL2Squared"),
        sensitivityL1: try real("sensitivityL1"), dimension: try integer("dimension"),
        samplerErrorLog2: try extended("samplerErrorLog2"))
    case "discreteGaussian":
      self = .discreteGaussian(
        varianceParameter: try real("varianceParameter"), shares: try integer("shares"),
        sensitivityL2Squared: try wide("sensitivityL2Squared"),
        sensitivityL1: try real("sensitivityL1"), dimension: try integer("dimension"),
        samplerErrorLog2: try extended("samplerErrorLog2"))
    case "laplace": self = .laplace(noiseMultiplier: try real("noiseMultiplier"))
    case "discreteLaplace":
      self = .discreteLaplace(scale: try real("scale"), sensitivity: try wide("sensitivity"))
    case "randomizedResponse":
      self = .randomizedResponse(epsilon: try real("epsilon"), categories: try integer("categories"))
    case "pureEpsilon": self = .pureEpsilon(epsilon: try real("epsilon"))
    default: self = .none
    }
  }

  /// Writes the form that `init(from:)` reads.
  package func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: FieldName.self)
    func put(_ name: String, _ value: some Encodable) throws {
      try fields.encode(value, forKey: FieldName(name))
    }
    switch self {
    case .gaussian(let noiseMultiplier):
      try put("kind", "gaussian")
      try put("noiseMultiplier", noiseMultiplier)
    case .matrixGaussian(let noiseMultiplier, let sensitivity):
      try put("kind", "matrixGaussian")
      try put("noiseMultiplier", noiseMultiplier)
      try put("sensitivity", sensitivity)
    case .skellam(let variance, let l2Squared, let l1, let dimension, let errorLog2):
      try put("kind", "skellam")
      try put("variance", variance)
      try put("sensitivityL2Squared", l2Squared)
      try put("sensitivityL1", l1)
      try put("dimension", dimension)
      try put("samplerErrorLog2", ExtendedReal(value: errorLog2))
    case .discreteGaussian(let variance, let shares, let l2Squared, let l1, let dimension, let errorLog2):
      try put("kind", "discreteGaussian")
      try put("varianceParameter", variance)
      try put("shares", shares)
      try put("sensitivityL2Squared", l2Squared)
      try put("sensitivityL1", l1)
      try put("dimension", dimension)
      try put("samplerErrorLog2", ExtendedReal(value: errorLog2))
    case .laplace(let noiseMultiplier):
      try put("kind", "laplace")
      try put("noiseMultiplier", noiseMultiplier)
    case .discreteLaplace(let scale, let sensitivity):
      try put("kind", "discreteLaplace")
      try put("scale", scale)
      try put("sensitivity", sensitivity)
    case .randomizedResponse(let epsilon, let categories):
      try put("kind", "randomizedResponse")
      try put("epsilon", epsilon)
      try put("categories", categories)
    case .pureEpsilon(let epsilon):
      try put("kind", "pureEpsilon")
      try put("epsilon", epsilon)
    case .none:
      try put("kind", "none")
    case .unsupported(let name):
      try put("kind", "unsupported")
      try put("name", name)
    }
  }
}

extension PrivacySampling: Codable {
  /// Reads a sampling; an unknown kind, or a known kind with an unknown field, becomes `unsupported`.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: FieldName.self)
    let kind = try fields.decode(String.self, forKey: FieldName("kind"))
    func unexpected(_ known: String...) -> PrivacySampling? {
      fields.unexpectedField(known: Set(known + ["kind"])).map { .unsupported(name: "\(kind) with \($0)") }
    }
    switch kind {
    case "none": self = unexpected() ?? .none
    case "poisson":
      let rate = try fields.decode(Double.self, forKey: FieldName("rate"))
      self = unexpected("rate") ?? .poisson(rate: rate)
    case "fixedSizeWithoutReplacement":
      let sampled = try fields.decode(Int.self, forKey: FieldName("sampled"))
      let population = try fields.decode(Int.self, forKey: FieldName("population"))
      self =
        unexpected("sampled", "population")
        ?? .fixedSizeWithoutReplacement(sampled: sampled, population: population)
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
    case .fixedSizeWithoutReplacement(let sampled, let population):
      try fields.encode("fixedSizeWithoutReplacement", forKey: FieldName("kind"))
      try fields.encode(sampled, forKey: FieldName("sampled"))
      try fields.encode(population, forKey: FieldName("population"))
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
