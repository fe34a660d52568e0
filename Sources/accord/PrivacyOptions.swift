import ArgumentParser
import Foundation
import Privacy

/// The mechanisms that the command line can describe.
enum MechanismName: String, ExpressibleByArgument, CaseIterable {
  case gaussian, matrix, skellam, laplace
  case discreteGaussian = "discrete-gaussian"
  case discreteLaplace = "discrete-laplace"
  case randomizedResponse = "randomized-response"
  case pure
}

/// Neighbouring relations as they are typed.
enum NeighbouringName: String, ExpressibleByArgument, CaseIterable {
  case addRemove = "add-remove"
  case replaceOne = "replace-one"

  var relation: NeighbouringRelation { self == .addRemove ? .addRemove : .replaceOne }
}

extension AccountantKind: ExpressibleByArgument {}
extension PrivacyUnit: ExpressibleByArgument {}
extension TrustMode: ExpressibleByArgument {}

/// One mechanism, its sampling, and how it is accounted: what all `privacy` subcommands share.
struct MechanismOptions: ParsableArguments {
  @Option(
    help: """
      gaussian, discrete-gaussian, skellam, laplace, discrete-laplace, randomized-response, pure or matrix.
      """)
  var mechanism: MechanismName?
  @Option(help: "Neighbours: add-remove, or replace-one with twice the sensitivity.")
  var neighbouring = NeighbouringName.addRemove
  @Option(help: "Accountant: pld, rdp or zcdp; the tightest that covers the mechanism without it.")
  var accountant: AccountantKind?
  @Option(help: "Delta.") var delta = 1e-5
  @Option(help: "Whose contribution is hidden: customer, record or node.") var unit = PrivacyUnit.customer
  @Option(help: "Who adds the noise: distributed, local or central.") var trust: TrustMode?
  @Option(help: "Largest norm of one contribution, for noise on integers.") var clip = 1.0
  @Option(help: "Grid units per unit, for noise on integers; without it the data are integers already.")
  var scale: Double?
  @Option(help: "Coordinates, for noise on integers.") var dimension = 1
  @Option(help: "Parties that add a share of discrete Gaussian noise.") var shares = 1
  @Option(help: "Sensitivity: of C (matrix), or in integers (discrete-laplace).") var sensitivity = 1.0
  @Option(help: "Epsilon of one report (randomized-response, pure).") var reportEpsilon: Double?
  @Option(help: "Categories of a report (randomized-response).") var categories = 2
  @Option(help: "Units drawn for each release, without replacement; needs --population.")
  var sampleSize: Int?
  @Option(help: "Units to draw from.") var population: Int?

  func validate() throws {
    if (sampleSize == nil) != (population == nil) {
      throw ValidationError("--sample-size and --population go together")
    }
    if mechanism == .randomizedResponse || mechanism == .pure, reportEpsilon == nil {
      throw ValidationError("this mechanism has no noise multiplier; give --report-epsilon")
    }
  }

  var trustMode: TrustMode {
    if let trust { return trust }
    switch mechanism {
    case .skellam: return .distributed
    case .discreteGaussian: return shares > 1 ? .distributed : .central
    case .randomizedResponse: return .local
    default: return .central
    }
  }

  /// Whether the noise is a multiple of the sensitivity.
  var hasNoiseMultiplier: Bool { mechanism != .randomizedResponse && mechanism != .pure }

  /// `steps` releases with noise of `multiplier` times the clip norm, sampled at `rate`.
  func event(multiplier: Double, steps: Int, rate: Double, scale: Double? = nil) throws(PrivacyError)
    -> PrivacyEvent
  {
    let factor = Double(neighbouring.relation.sensitivityFactor)
    let mechanism: PrivacyMechanism =
      switch self.mechanism ?? .gaussian {
      case .gaussian: .gaussian(noiseMultiplier: multiplier / factor)
      case .matrix: .matrixGaussian(noiseMultiplier: multiplier / factor, sensitivity: sensitivity)
      case .laplace: .laplace(noiseMultiplier: multiplier / factor)
      case .discreteLaplace:
        .discreteLaplace(
          scale: multiplier * sensitivity, sensitivity: try whole(sensitivity * factor, .sensitivity))
      case .randomizedResponse:
        .randomizedResponse(epsilon: reportEpsilon ?? .nan, categories: categories)
      case .pure: .pureEpsilon(epsilon: reportEpsilon ?? .nan)
      case .skellam, .discreteGaussian: try integerMechanism(multiplier, scale ?? self.scale)
      }
    var sampling = PrivacySampling.none
    if let sampleSize, let population {
      sampling = .fixedSizeWithoutReplacement(sampled: sampleSize, population: population)
    } else if rate != 1 {
      sampling = .poisson(rate: rate)
    }
    return PrivacyEvent(mechanism: mechanism, sampling: sampling, count: steps)
  }

  private func whole(
    _ value: Double, _ parameter: PrivacyParameter
  ) throws(PrivacyError) -> Int64 {
    guard value >= 1, value < 0x1p62, let integer = Int64(exactly: value.rounded(.down)) else {
      throw .parameterOutOfRange(parameter, value: value)
    }
    return integer
  }

  /// Noise on integers: data rounded to a grid, whose bound includes the rounding, or integers as they are.
  private func integerMechanism(
    _ multiplier: Double, _ scale: Double?
  ) throws(PrivacyError) -> PrivacyMechanism {
    let factor = neighbouring.relation.sensitivityFactor
    let deviation = multiplier * clip * (scale ?? 1)
    let squared: Int64
    let l1: Double
    if let scale {
      let grid = try IntegerClip(clipNorm: clip, scale: scale, dimension: dimension)
      squared = grid.sensitivityL2Squared
      l1 = grid.sensitivityL1
    } else {
      squared = try whole(clip * clip, .clipNorm)
      let l2 = Double(squared).squareRoot()
      l1 = l2 * min(Double(max(1, dimension)).squareRoot(), l2)
    }
    let (scaled, overflow) = squared.multipliedReportingOverflow(by: factor * factor)
    guard !overflow else { throw .parameterOutOfRange(.sensitivityL2Squared, value: Double(squared)) }
    if mechanism == .skellam {
      return .skellam(
        variance: deviation * deviation, sensitivityL2Squared: scaled, sensitivityL1: l1 * Double(factor),
        dimension: dimension, samplerErrorLog2: SkellamSampler.largestErrorLog2)
    }
    return .discreteGaussian(
      varianceParameter: deviation * deviation / Double(max(1, shares)), shares: shares,
      sensitivityL2Squared: scaled, sensitivityL1: l1 * Double(factor), dimension: dimension,
      samplerErrorLog2: DiscreteGaussianSampler.largestErrorLog2 + log2(Double(max(1, shares))))
  }

  /// The accountant that was asked for, or the tightest that covers these events; with what they amount to.
  func accountant(for events: [PrivacyEvent]) throws(PrivacyError) -> any PrivacyAccountant {
    try Self.accountant(accountant, events, neighbouring.relation)
  }

  static func accountant(
    _ kind: AccountantKind?, _ events: [PrivacyEvent], _ relation: NeighbouringRelation
  ) throws(PrivacyError) -> any PrivacyAccountant {
    func composed(_ kind: AccountantKind) throws(PrivacyError) -> any PrivacyAccountant {
      var accountant = kind.makeAccountant(relation: relation)
      // A position helps only where there are several.
      if events.count == 1 { try accountant.compose(events[0]) } else { try accountant.compose(all: events) }
      return accountant
    }
    if let kind { return try composed(kind) }
    do throws(PrivacyError) { return try composed(.pld) } catch {
      switch error {
      case .notCovered, .eventRefused(_, .notCovered): return try composed(.rdp)
      default: throw error
      }
    }
  }
}

/// What a number of releases amounts to, as JSON: the statement's fields and what it was computed from.
struct AccountedResult: Encodable {
  var statement: PrivacyStatement
  var noiseMultiplier: Double?
  var samplingProbability: Double?
  var steps: Int?
  var events: [PrivacyEvent]

  private enum Key: String, CodingKey { case noiseMultiplier, samplingProbability, steps, events }

  func encode(to encoder: any Encoder) throws {
    try statement.encode(to: encoder)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encodeIfPresent(noiseMultiplier, forKey: .noiseMultiplier)
    try fields.encodeIfPresent(samplingProbability, forKey: .samplingProbability)
    try fields.encodeIfPresent(steps, forKey: .steps)
    try fields.encode(events, forKey: .events)
  }
}
