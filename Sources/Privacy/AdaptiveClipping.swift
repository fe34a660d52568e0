import Foundation

/// The clip norm that follows a quantile of the units' norms, at a price in privacy that is accounted
/// (Andrew, Thakkar, McMahan and Ramaswamy 2021, "Differentially Private Learning with Adaptive Clipping").
///
/// Every unit sends one more integer: +`bitScale` if its update was within the clip norm C, −`bitScale` if
/// not. From the noised sum the server estimates the fraction b̄ within C and moves
///
///     C ← C·e^(−η(b̄ − γ)),
///
/// so that C settles where a fraction γ of the updates is not clipped (algorithm 1).
///
/// - **Norm**: the bit, as ±1/2, has sensitivity 1/2 for add/remove neighbours (section 2.2 there).
/// - **Split**: with σ_b the standard deviation of the noise on the number of units, bit and update together
///   cost as much as one Gaussian release of multiplier z if the update's multiplier is
///   z_Δ = (z^-2 − (2σ_b)^-2)^(-1/2) (theorem 1 there).
///
/// The state is a value that can be written down after each round and read back.
package struct AdaptiveClipping: Codable, Sendable, Hashable {
  /// C, in the update's own units.
  package private(set) var clipNorm: Double
  /// The rounds that have moved C.
  package private(set) var rounds: Int
  /// γ: the fraction of updates that are to be within C.
  package let targetQuantile: Double
  /// η: how fast C moves; 0.2 in the paper.
  package let learningRate: Double
  /// The denominator of b̄: the expected number of units, fixed, because the true one is private.
  package let expectedContributors: Int
  /// C stays within these, so that noise cannot drive it to zero or infinity.
  package let minimumClipNorm: Double
  package let maximumClipNorm: Double
  /// The integer that stands for half a unit: the grid of the bit's noise.
  package static let bitScale: Int64 = 1 << 10

  private enum CodingKeys: String, CodingKey {
    case clipNorm, rounds, targetQuantile, learningRate, expectedContributors, minimumClipNorm,
      maximumClipNorm
  }

  /// A state before its first round.
  ///
  /// Throws: `outOfRange`.
  package init(
    clipNorm: Double, targetQuantile: Double = 0.5, learningRate: Double = 0.2,
    expectedContributors: Int, minimumClipNorm: Double = 1e-6, maximumClipNorm: Double = 1e6
  ) throws(MechanismError) {
    self.clipNorm = clipNorm
    rounds = 0
    self.targetQuantile = targetQuantile
    self.learningRate = learningRate
    self.expectedContributors = expectedContributors
    self.minimumClipNorm = minimumClipNorm
    self.maximumClipNorm = maximumClipNorm
    try validate()
  }

  /// Reads a state. Values out of range do not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    clipNorm = try fields.decode(Double.self, forKey: .clipNorm)
    rounds = try fields.decode(Int.self, forKey: .rounds)
    targetQuantile = try fields.decode(Double.self, forKey: .targetQuantile)
    learningRate = try fields.decode(Double.self, forKey: .learningRate)
    expectedContributors = try fields.decode(Int.self, forKey: .expectedContributors)
    minimumClipNorm = try fields.decode(Double.self, forKey: .minimumClipNorm)
    maximumClipNorm = try fields.decode(Double.self, forKey: .maximumClipNorm)
    do throws(MechanismError) { try validate() } catch {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: error.description))
    }
  }

  private func validate() throws(MechanismError) {
    guard minimumClipNorm > 0, maximumClipNorm < .infinity, clipNorm >= minimumClipNorm,
      clipNorm <= maximumClipNorm
    else { throw .outOfRange(.clipNorm, value: clipNorm) }
    guard targetQuantile > 0, targetQuantile < 1 else {
      throw .outOfRange(.quantile, value: targetQuantile)
    }
    guard learningRate > 0, learningRate <= 10 else {
      throw .outOfRange(.learningRate, value: learningRate)
    }
    guard expectedContributors >= 1, rounds >= 0 else {
      throw .outOfRange(.contributors, value: Double(expectedContributors))
    }
  }

  /// One unit's integer for an update of L2 norm `norm`. A norm that is not a number counts as clipped.
  package func encode(norm: Double) -> Int64 { Self.encode(norm: norm, clipNorm: clipNorm) }

  /// One unit's integer for an update of L2 norm `norm` under the clip norm `clipNorm`.
  package static func encode(norm: Double, clipNorm: Double) -> Int64 {
    norm <= clipNorm ? bitScale : -bitScale
  }

  /// The most that one unit's integer can be, for add/remove neighbours.
  package static let sensitivity = StatisticsSensitivity(
    l1: bitScale, l2Squared: bitScale * bitScale, lInfinity: bitScale)

  /// b̄ from the noised sum of the integers: 1/2 + sum/(2·bitScale·n), kept within 0 and 1 (which is
  /// post-processing). Units that did not come count as half within.
  package func fractionWithin(noisedSum: Int64) -> Double {
    let halves = Double(noisedSum) / Double(Self.bitScale)
    return min(max(0.5 + halves / (2 * Double(expectedContributors)), 0), 1)
  }

  /// Moves C after a round whose integers add up, noise included, to `noisedSum`.
  package mutating func update(noisedSum: Int64) {
    let moved = clipNorm * exp(-learningRate * (fractionWithin(noisedSum: noisedSum) - targetQuantile))
    clipNorm = min(max(moved, minimumClipNorm), maximumClipNorm)
    rounds += 1
  }

  /// The variance of the bit's total noise in the integers' units: those are halves of `bitScale`, so σ_b
  /// units are 2·σ_b·bitScale.
  package static func bitVariance(bitNoiseDeviation sigma: Double) -> Double {
    let deviation = 2 * sigma * Double(bitScale)
    return deviation * deviation
  }

  /// The event of one round's bit under Skellam noise of standard deviation σ_b (in units) in all.
  ///
  /// `shares`: the draws that make it up (`NoiseDivision.honestSurvivors`).
  /// Throws: `PrivacyError` for a number of shares below 1 or noise that no table holds.
  package static func event(
    bitNoiseDeviation sigma: Double, shares: Int, relation: NeighbouringRelation = .addRemove
  ) throws(PrivacyError) -> PrivacyEvent {
    let variance = bitVariance(bitNoiseDeviation: sigma)
    let bound = bitScale * relation.sensitivityFactor
    let errorLog2 = try SkellamSampler.errorLog2(
      shareVariance: variance / Double(max(1, shares)), shares: shares)
    return PrivacyEvent(
      mechanism: .skellam(
        variance: variance, sensitivityL2Squared: bound * bound, sensitivityL1: Double(bound),
        dimension: 1, samplerErrorLog2: errorLog2))
  }

  /// z_Δ: the multiplier of the update's noise so that update and bit together cost as much as one release of
  /// multiplier z, given σ_b.
  ///
  /// Throws: `noiseSplitImpossible` unless 2σ_b > z; `outOfRange(.noiseMultiplier)`.
  package static func updateNoiseMultiplier(
    total z: Double, bitNoiseDeviation sigma: Double
  ) throws(MechanismError) -> Double {
    guard z > 0, z.isFinite else { throw .outOfRange(.noiseMultiplier, value: z) }
    guard sigma > 0, sigma.isFinite else { throw .outOfRange(.noiseMultiplier, value: sigma) }
    guard 2 * sigma > z else { throw .noiseSplitImpossible(total: z, bit: sigma) }
    return 1 / (1 / (z * z) - 1 / (4 * sigma * sigma)).squareRoot()
  }
}
