/// Why a sampler, a mechanism or a statistics query was refused, or a contribution to one.
package enum MechanismError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A parameter lies outside the range in which the sampler or the mathematics holds.
  case outOfRange(MechanismParameter, value: Double)
  /// A vector has the wrong number of coordinates.
  case wrongDimension(expected: Int, actual: Int)
  /// The values given are of another kind than the query asks for.
  case wrongValues(expected: String, actual: String)
  /// The two noise multipliers of adaptive clipping leave nothing for the update.
  case noiseSplitImpossible(total: Double, bit: Double)
  /// The noised number of records is not above its noise, so nothing can be divided by it.
  case tooFewRecords(estimate: Double, standardError: Double)
  /// The search for heavy hitters is over: it takes no further round.
  case searchFinished

  /// One sentence for people.
  package var description: String {
    switch self {
    case .outOfRange(let parameter, let value):
      "the \(parameter.rawValue) \(value) is out of range; \(parameter.range)"
    case .wrongDimension(let expected, let actual):
      "a vector of \(actual) coordinates was given where \(expected) are expected; check the query's version"
    case .wrongValues(let expected, let actual):
      "the query works on \(expected), not on \(actual); correct the column or the query"
    case .noiseSplitImpossible(let total, let bit):
      """
      a noise multiplier of \(total) in all cannot be reached with \(bit) on the clipping bit; raise the \
      bit's above \(total / 2)
      """
    case .tooFewRecords(let estimate, let standardError):
      """
      the sum has about \(estimate) records with a standard error of \(standardError), too few for a mean or \
      a quantile; ask more contributors or spend more budget
      """
    case .searchFinished:
      "the search for heavy hitters is finished and takes no further round; start a new one"
    }
  }
}

/// A number that a caller supplies, named as in an error.
package enum MechanismParameter: String, Sendable, Hashable {
  case gaussianVariance = "discrete Gaussian variance"
  case laplaceScale = "discrete Laplace scale"
  case poissonMean = "Poisson mean"
  case numerator = "numerator"
  case denominator = "denominator"
  case participationRate = "participation rate"
  case epsilon = "epsilon"
  case categories = "number of categories"
  case category = "category"
  case sensitivity = "sensitivity"
  case dimension = "dimension"
  case clipNorm = "clip norm"
  case quantile = "target quantile"
  case learningRate = "learning rate"
  case contributors = "expected number of contributors"
  case noiseMultiplier = "noise multiplier"
  case bounds = "range of the values"
  case bins = "number of bins"
  case resolution = "resolution"
  case recordsPerContributor = "number of records per contributor"
  case confidence = "confidence"
  case keyBytes = "key length"
  case bitsPerRound = "number of bits per round"
  case prefixes = "number of prefixes"
  case variance = "noise variance"
  case value = "value"

  /// The values that are allowed, as the end of a sentence.
  var range: String {
    switch self {
    case .gaussianVariance:
      "it must be from 2^-32 to 2^32 grid units squared; above it, lower the scale"
    case .laplaceScale: "it must be from 2^-16 to 2^13 grid units; above it, lower the scale"
    case .poissonMean: "it must be from 2^-32 to 2^30"
    case .numerator, .denominator: "it must be positive, and the fraction within the sampler's limits"
    case .participationRate: "it must be a fraction from 0 to 1"
    case .epsilon: "it must be positive and at most 40"
    case .categories: "it must be from 2 to 2^24"
    case .category: "it must be one of the declared categories"
    case .sensitivity, .clipNorm, .learningRate, .noiseMultiplier:
      "it must be positive, finite and fit the other parameters"
    case .dimension: "it must be at least 1 and at most 2^26"
    case .quantile, .confidence: "it must be above 0 and below 1"
    case .contributors: "it must be at least 1"
    case .bounds: "the lower end must be below the upper one, both finite"
    case .bins: "it must be from 1 to 2^20"
    case .resolution: "it must be from 1 to 2^20"
    case .recordsPerContributor: "it must be from 1 to 2^10"
    case .keyBytes: "it must be from 1 to 256 bytes"
    case .bitsPerRound: "it must be from 1 to 8 and divide the key's bits"
    case .prefixes: "it must be from 1 to 2^20, all extensions within 2^24"
    case .variance: "it must be at least 0 and finite"
    case .value: "it must be finite"
    }
  }
}
