import Foundation

/// An event whose parameters lie where the mathematics holds, whatever accountant composes it.
struct CheckedEvent: Sendable {
  /// How units were picked, a rate of 1 being no sampling.
  enum Sampling: Sendable {
    case none
    case poisson(rate: Double)
    case withoutReplacement(rate: Double)
  }

  let mechanism: PrivacyMechanism
  let sampling: Sampling
  /// The number of releases, at least 1.
  let count: Int
  /// The total-variation distance, of one release, between the noise drawn and the noise accounted for.
  let samplerError: Double

  /// Throws: an unknown mechanism or sampling, a sampling of the other relation, a parameter out of range,
  /// an event that `accountant` has no theorem for.
  init(
    _ event: PrivacyEvent, relation: NeighbouringRelation, accountant: AccountantKind
  ) throws(PrivacyError) {
    guard event.count >= 1 else { throw .parameterOutOfRange(.count, value: Double(event.count)) }
    sampling = try Self.checked(event.sampling, relation: relation)
    if case .unsupported(let name) = event.mechanism { throw .unsupportedMechanism(name: name) }
    mechanism = event.mechanism
    count = event.count
    samplerError = try Self.checkedParameters(event.mechanism)
    guard !covered(by: accountant) else { return }
    let others = AccountantKind.allCases.filter { covered(by: $0) }
    if accountant == .rdp, case .poisson = sampling {
      throw .samplingNotSupported(mechanism: mechanism.name, accountants: others)
    }
    throw .notCovered(
      mechanism: mechanism.name, sampling: event.sampling.name, accountant: accountant, others: others)
  }

  private static func checked(
    _ sampling: PrivacySampling, relation: NeighbouringRelation
  ) throws(PrivacyError) -> Sampling {
    switch sampling {
    case .none: return .none
    case .unsupported(let name): throw .unsupportedSampling(name: name)
    case .poisson(let rate):
      guard rate > 0, rate <= 1 else { throw .parameterOutOfRange(.samplingRate, value: rate) }
      if rate == 1 { return .none }
      guard relation == .addRemove else {
        throw .samplingNeedsRelation(sampling: sampling.name, relation: .addRemove)
      }
      return .poisson(rate: rate)
    case .fixedSizeWithoutReplacement(let sampled, let population):
      guard sampled >= 1, sampled <= population else {
        throw .parameterOutOfRange(.sampled, value: Double(sampled))
      }
      guard relation == .replaceOne else {
        throw .samplingNeedsRelation(sampling: sampling.name, relation: .replaceOne)
      }
      return sampled == population ? .none : .withoutReplacement(rate: Double(sampled) / Double(population))
    }
  }

  /// Refuses parameters out of range; returns the sampler's error of one release.
  private static func checkedParameters(_ mechanism: PrivacyMechanism) throws(PrivacyError) -> Double {
    func positive(_ value: Double, _ parameter: PrivacyParameter) throws(PrivacyError) {
      guard value > 0, value.isFinite else { throw .parameterOutOfRange(parameter, value: value) }
    }
    func onGrid(
      _ squared: Int64, _ l1: Double, _ dimension: Int, _ errorLog2: Double
    ) throws(PrivacyError) -> Double {
      guard dimension >= 1, dimension <= IntegerClip.maximumDimension else {
        throw .parameterOutOfRange(.dimension, value: Double(dimension))
      }
      guard errorLog2 <= 0 else { throw .parameterOutOfRange(.samplerErrorLog2, value: errorLog2) }
      guard squared > 0 else {
        throw .parameterOutOfRange(.sensitivityL2Squared, value: Double(squared))
      }
      // No vector's L1 norm is below its L2 norm.
      guard l1.isFinite, l1 >= Double(squared).squareRoot() * (1 - 1e-12) else {
        throw .parameterOutOfRange(.sensitivityL1, value: l1)
      }
      return Double(dimension) * exp2(errorLog2)
    }
    switch mechanism {
    case .gaussian(let multiplier), .laplace(let multiplier): try positive(multiplier, .noiseMultiplier)
    case .matrixGaussian(let multiplier, let sensitivity):
      try positive(multiplier, .noiseMultiplier)
      try positive(sensitivity, .sensitivity)
      try positive(multiplier / sensitivity, .noiseMultiplier)
    case .skellam(let variance, let squared, let l1, let dimension, let errorLog2):
      try positive(variance, .variance)
      return try onGrid(squared, l1, dimension, errorLog2)
    case .discreteGaussian(let variance, let shares, let squared, let l1, let dimension, let errorLog2):
      try positive(variance, .variance)
      guard shares >= 1 else { throw .parameterOutOfRange(.shares, value: Double(shares)) }
      return try onGrid(squared, l1, dimension, errorLog2)
    case .discreteLaplace(let scale, let sensitivity):
      try positive(scale, .scale)
      try positive(Double(sensitivity), .sensitivity)
    case .randomizedResponse(let epsilon, let categories):
      try positive(epsilon, .randomizerEpsilon)
      guard categories >= 2 else { throw .parameterOutOfRange(.categories, value: Double(categories)) }
    case .pureEpsilon(let epsilon): try positive(epsilon, .randomizerEpsilon)
    case .none, .unsupported: break
    }
    return 0
  }

  /// Whether the accountant has a theorem for this mechanism under this sampling.
  func covered(by accountant: AccountantKind) -> Bool {
    // Without noise epsilon is infinite; that needs no theorem.
    if case .none = mechanism { return true }
    switch (accountant, sampling) {
    case (.rdp, .none): return true
    case (.rdp, .poisson), (.rdp, .withoutReplacement):
      if case .gaussian = mechanism { return true }
      return false
    case (.zcdp, .none):
      // The bound of Skellam noise holds at integer orders only, which is not zCDP.
      if case .skellam = mechanism { return false }
      return true
    case (.pld, .none): return hasLossPair
    case (.pld, .poisson):
      // The rows of one run of the matrix mechanism are one release; no sampling of them is analysed here.
      if case .matrixGaussian = mechanism { return false }
      return hasLossPair
    case (.zcdp, .poisson), (.zcdp, .withoutReplacement), (.pld, .withoutReplacement): return false
    }
  }

  /// Whether a pair of distributions is known that dominates every pair of neighbours. For integer noise
  /// on a vector none is: only its coordinates are log-concave, and the worst direction is unknown.
  private var hasLossPair: Bool {
    switch mechanism {
    case .gaussian, .matrixGaussian, .laplace, .randomizedResponse, .pureEpsilon, .none: true
    case .discreteLaplace(_, let sensitivity): sensitivity <= LossPair.largestShift
    case .skellam(let variance, _, _, let dimension, _):
      dimension == 1 && variance <= LossPair.largestVariance
    case .discreteGaussian(let variance, let shares, _, _, let dimension, _):
      // The sum of several discrete Gaussians is only close to one, hence the term in tau of the theorem.
      dimension == 1 && shares == 1 && variance <= LossPair.largestVariance
    case .unsupported: false
    }
  }
}
