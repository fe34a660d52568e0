/// Why a privacy computation was refused. Every case means: do not release.
package enum PrivacyError: Error, Hashable, Sendable, CustomStringConvertible {
  /// An event's mechanism is unknown to this program.
  case unsupportedMechanism(name: String)
  /// An event's sampling is unknown to this program.
  case unsupportedSampling(name: String)
  /// The accountant has no theorem for this mechanism under Poisson sampling; `accountants` have one.
  case samplingNotSupported(mechanism: String, accountants: [AccountantKind] = [])
  /// The accountant has no theorem for this mechanism under this sampling; `others` have one.
  case notCovered(
    mechanism: String, sampling: String, accountant: AccountantKind, others: [AccountantKind])
  /// The sampling is analysed for the other neighbouring relation only.
  case samplingNeedsRelation(sampling: String, relation: NeighbouringRelation)
  /// Rounding errors of the accountant come too close to delta for a proof.
  case deltaBelowResolution(delta: Double, resolution: Double)
  /// An event of a list was refused, with its position from 1.
  indirect case eventRefused(position: Int, reason: PrivacyError)
  /// A file of events is malformed; `place` is where (`events[2].mechanism.noiseMultiplier`).
  case malformedEventList(place: String, reason: String)
  /// No value of the searched parameter meets the budget.
  case targetUnreachable(PrivacyParameter, from: Double, to: Double, budget: PrivacyBudget)
  /// A parameter lies outside the range in which the mathematics holds.
  case parameterOutOfRange(PrivacyParameter, value: Double)
  /// The release would cost more than is left. Nothing was debited.
  case budgetExhausted(spent: Double, wouldBe: Double, budget: PrivacyBudget)
  /// What is already planned costs as much as the budget or more, so no noise is enough for the rest.
  case budgetUnreachable(fixed: Double, budget: PrivacyBudget)
  /// Noise cannot be calibrated for an infinite budget: record the mechanism `none` instead.
  case infiniteBudgetNeedsNoNoise
  /// No variance in the searched range meets the budget.
  case calibrationFailed(budget: PrivacyBudget)
  /// The table sampler cannot draw noise of this variance.
  case varianceOutOfRange(variance: Double, minimum: Double, maximum: Double)
  /// The clip norm on the grid is too large for 32-bit coordinates and 64-bit sums of squares.
  case gridTooFine(scaledClipNorm: Double, dimension: Int)
  /// Too few honest nodes are sure to survive for the noise to be there.
  case tooFewHonestSurvivors(minimumSurvivors: Int, corrupt: Int)

  /// One sentence for people.
  package var description: String {
    switch self {
    case .unsupportedMechanism(let name):
      "the privacy mechanism \"\(name)\" is unknown to this version; update before releasing anything"
    case .unsupportedSampling(let name):
      "the sampling \"\(name)\" is unknown to this version; update before releasing anything"
    case .samplingNotSupported(let mechanism, let accountants):
      """
      no guarantee for \(mechanism) under Poisson sampling is built in; \
      \(Self.advice(accountants, otherwise: "account it without sampling"))
      """
    case .notCovered(let mechanism, let sampling, let accountant, let others):
      """
      the \(accountant.rawValue) accountant has no theorem for \(mechanism) with \(sampling); \
      \(Self.advice(others, otherwise: "no other accountant here has one either"))
      """
    case .samplingNeedsRelation(let sampling, let relation):
      """
      the guarantee of \(sampling) is for \(relation.rawValue) neighbours only; \
      account it under that relation or without sampling
      """
    case .deltaBelowResolution(let delta, let resolution):
      """
      the delta \(delta) is too close to the accountant's rounding errors of \(resolution); \
      raise delta or use the rdp accountant
      """
    case .eventRefused(let position, let reason): "event \(position) of the list: \(reason)"
    case .malformedEventList(let place, let reason): "the event list is malformed at \(place): \(reason)"
    case .targetUnreachable(let parameter, let from, let to, let budget):
      """
      no \(parameter.rawValue) from \(from) to \(to) meets epsilon \(budget.epsilon) at delta \
      \(budget.delta); change the target or the other parameters
      """
    case .parameterOutOfRange(let parameter, let value):
      "the \(parameter.rawValue) \(value) is out of range; \(parameter.range)"
    case .budgetExhausted(let spent, let wouldBe, let budget):
      """
      the privacy budget is exhausted: epsilon \(spent) of \(budget.epsilon) is spent at delta \
      \(budget.delta), and this release would make it \(wouldBe)
      """
    case .budgetUnreachable(let fixed, let budget):
      """
      the releases already planned cost epsilon \(fixed) of \(budget.epsilon) at delta \(budget.delta); \
      raise the budget or plan fewer
      """
    case .infiniteBudgetNeedsNoNoise:
      "an infinite budget has no noise to calibrate; record the mechanism \"none\" instead"
    case .calibrationFailed(let budget):
      """
      no noise variance meets epsilon \(budget.epsilon) at delta \(budget.delta) closely; \
      check the clip norm, the scale and the number of rounds
      """
    case .varianceOutOfRange(let variance, let minimum, let maximum):
      """
      Skellam noise of variance \(variance) cannot be drawn, only from \(minimum) to \(maximum) grid \
      units squared; \(variance > maximum ? "lower" : "raise") the scale
      """
    case .gridTooFine(let norm, let dimension):
      """
      a clip norm of \(norm) grid units in \(dimension) dimensions does not fit 32-bit coordinates; \
      lower the scale
      """
    case .tooFewHonestSurvivors(let minimumSurvivors, let corrupt):
      """
      of \(minimumSurvivors) surviving nodes \(corrupt) may be corrupt, so nobody is sure to add noise; \
      raise the minimum of survivors
      """
    }
  }
}

extension PrivacyError {
  /// The end of a sentence that says which accountants would do.
  private static func advice(_ accountants: [AccountantKind], otherwise: String) -> String {
    guard !accountants.isEmpty else { return otherwise }
    return "use the \(accountants.map(\.rawValue).joined(separator: " or ")) accountant"
  }
}

/// A number that a caller supplies, named as in an error.
package enum PrivacyParameter: String, Sendable, Hashable {
  case noiseMultiplier = "noise multiplier"
  case variance = "noise variance"
  case sensitivityL2Squared = "squared L2 sensitivity"
  case sensitivityL1 = "L1 sensitivity"
  case dimension = "dimension"
  case samplerErrorLog2 = "sampler error (log2)"
  case samplingRate = "sampling rate"
  case count = "number of releases"
  case rounds = "number of rounds"
  case delta = "delta"
  case epsilon = "epsilon"
  case clipNorm = "clip norm"
  case scale = "scale"
  case cohort = "cohort size"
  case minimumSurvivors = "minimum number of survivors"
  case corruptFraction = "corrupt fraction"
  case shares = "number of noise shares"
  case sampled = "number of units sampled"
  case sensitivity = "sensitivity"
  case randomizerEpsilon = "epsilon of one report"
  case categories = "number of categories"
  case rho = "rho of zCDP"

  /// The values that are allowed, as the end of a sentence.
  var range: String {
    switch self {
    case .noiseMultiplier, .variance, .clipNorm, .scale, .sensitivity, .randomizerEpsilon:
      "it must be positive and finite"
    case .sampled: "it must be at least 1 and at most the population"
    case .categories: "it must be at least 2"
    case .rho: "it must be at least 0 and finite"
    case .sensitivityL2Squared, .sensitivityL1: "it must be positive, finite and fit the other one"
    case .dimension: "it must be between 1 and \(IntegerClip.maximumDimension)"
    case .samplerErrorLog2: "it must be at most 0 and not NaN"
    case .samplingRate: "it must be above 0 and at most 1"
    case .count, .rounds, .cohort, .shares: "it must be at least 1 and not overflow"
    case .delta: "it must be above 0 and below 1"
    case .epsilon: "it must be positive; infinity is allowed"
    case .minimumSurvivors: "it must be between 1 and the cohort size"
    case .corruptFraction: "it must be at least 0 and below 1"
    }
  }
}
