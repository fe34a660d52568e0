import Cryptography
import Foundation
import Testing

@testable import Privacy

/// What a plan guarantees, and which plans are refused.
struct MatrixMechanismPlanTests {
  private func shape(
    _ factor: MatrixFactor, steps: Int = 2000, dimension: Int = 1_000_000,
    contributionL2Squared: Int64 = 1 << 40, fractionBits: Int = 16
  ) throws -> CorrelatedNoiseShape {
    try CorrelatedNoiseShape(
      factor: factor, steps: steps, participation: Participation(maximum: 5, minimumSeparation: 400),
      dimension: dimension, contributionL2Squared: contributionL2Squared, fractionBits: fractionBits)
  }

  @Test func `independent noise costs what as many Gaussian releases cost`() throws {
    let plan = try CorrelatedNoisePlan(shape: shape(.toeplitz(.independent)), noiseMultiplier: 2)
    // Five participations: √5 times the sensitivity of one.
    let expected = 5.0.squareRoot() * 0x1p20 * 0x1p16
    #expect(isClose(plan.sensitivity, expected, relative: 1e-9))
    #expect(plan.sensitivity >= expected)
    #expect(plan.noiseMultiplier >= 2 * (1 - 1e-15))
    #expect(plan.noiseMultiplier < 2 * (1 + 1e-9))
    #expect(isClose(plan.rho, 1.0 / 8, relative: 1e-9))
    #expect(plan.rho >= plan.sensitivity * plan.sensitivity / (2 * plan.variance))
    #expect(plan.variance == plan.variance.rounded())
    #expect(plan.draws == 2_000_000_000)
    let deviation = 2 * 5.0.squareRoot() * 0x1p20
    let last = try #require(plan.prefixStandardDeviations().last)
    #expect(isClose(last, deviation * 2000.0.squareRoot(), relative: 1e-6))
  }

  @Test func `rounding of buffers is charged to the sensitivity`() throws {
    let participation = try Participation(maximum: 5, minimumSeparation: 400)
    let factor = MatrixFactor.buffered(
      try .optimized(buffers: 3, steps: 2000, participation: participation))
    let plan = try CorrelatedNoisePlan(shape: shape(factor), noiseMultiplier: 1)
    let exact = try plan.shape.loss().sensitivity * 0x1p36
    let drift = plan.layout.roundingDifference * (1e6 * 1999).squareRoot()
    #expect(plan.layout.roundingDifference > 1)
    #expect(plan.layout.roundingDifference < 1.1)
    #expect(isClose(plan.sensitivity, exact + drift, relative: 1e-12))
    #expect(plan.sensitivity < exact * 1.000_001)
    #expect(plan.noiseMultiplier >= 1 - 1e-15)
  }

  @Test func `rounding coefficients keeps a factor nearly as good`() throws {
    for (bits, tolerance) in [(8, 0.01), (16, 1e-4)] {
      let shape = try CorrelatedNoiseShape(
        factor: .toeplitz(.optimal(steps: 1024)), steps: 1024, dimension: 10,
        contributionL2Squared: 1, fractionBits: bits)
      let loss = try shape.loss()
      #expect(isClose(loss.rmsLoss, 3.10978991, relative: tolerance), "\(bits): \(loss.rmsLoss)")
      guard case .toeplitz(let factor) = shape.factor else { return }
      let whole = factor.coefficients.allSatisfy {
        let scaled = $0 * Double(1 << bits)
        return scaled == scaled.rounded()
      }
      #expect(whole)
    }
  }

  @Test func `plans that do not fit are refused`() throws {
    let once = MatrixFactor.toeplitz(.independent)
    #expect(throws: MatrixMechanismError.fractionBitsOutOfRange(31)) {
      try shape(once, fractionBits: 31)
    }
    #expect(throws: MatrixMechanismError.dimensionOutOfRange(0)) {
      try shape(once, dimension: 0)
    }
    #expect(throws: MatrixMechanismError.contributionOutOfRange(0)) {
      try shape(once, contributionL2Squared: 0)
    }
    #expect(throws: MatrixMechanismError.stepsOutOfRange(0)) { try shape(once, steps: 0) }
    #expect(throws: MatrixMechanismError.sensitivityNotProven(index: 2)) {
      try shape(.toeplitz(ToeplitzFactor(coefficients: [1, 0.1, 0.2])))
    }
    for variance in [0, -1, .infinity, .nan] as [Double] {
      #expect(throws: MatrixMechanismError.self) {
        try CorrelatedNoisePlan(shape: shape(once), variance: variance)
      }
    }
    #expect(throws: MatrixMechanismError.self) {
      try CorrelatedNoisePlan(shape: shape(once), noiseMultiplier: 0)
    }
    for factor in [once, .buffered(try BufferedFactor(decays: [0.999], weights: [0.1]))] {
      let error = #expect(throws: MatrixMechanismError.self) {
        try CorrelatedNoisePlan(shape: shape(factor, fractionBits: 30), noiseMultiplier: 1e6)
      }
      guard case .noiseTooLarge(let bits) = error else {
        Issue.record("refused for another reason: \(String(describing: error))")
        continue
      }
      #expect(bits >= 62)
    }
    let full = try shape(.toeplitz(.optimal(steps: 2000)), dimension: 2_000_000)
    #expect(throws: MatrixMechanismError.stateTooLarge(bytes: 8 * 1999 * 2_000_000)) {
      try CorrelatedNoisePlan(shape: full, noiseMultiplier: 1)
    }
  }

  @Test func `a plan survives encoding, and only a valid one`() throws {
    let factor = MatrixFactor.toeplitz(try .optimizedBanded(bands: 5, steps: 100))
    let plan = try CorrelatedNoisePlan(shape: shape(factor, steps: 100), noiseMultiplier: 3)
    let encoded = try JSONEncoder().encode(plan)
    #expect(try JSONDecoder().decode(CorrelatedNoisePlan.self, from: encoded) == plan)
    var fields = try #require(JSONSerialization.jsonObject(with: encoded) as? [String: Any])
    fields["variance"] = -1
    let damaged = try JSONSerialization.data(withJSONObject: fields)
    #expect(throws: MatrixMechanismError.self) {
      try JSONDecoder().decode(CorrelatedNoisePlan.self, from: damaged)
    }
  }

  @Test func `wide variances are split exactly into narrow ones`() throws {
    for variance in [0.5, 0x1p32, 0x1p32 + 1, 0x1p33, 12_345_678_901_234, 0x1p52 - 1, 0x1p56] {
      let parts = try WideNoise(variance: variance)
      let factor = Double(parts.factor)
      #expect(parts.fineVariance + factor * factor * parts.coarseVariance == variance)
      #expect(parts.fineVariance > 0 && parts.fineVariance <= WideNoise.largestNarrowVariance)
      #expect(parts.coarseVariance >= 0 && parts.coarseVariance <= WideNoise.largestNarrowVariance)
      guard parts.coarseVariance > 0 else { continue }
      #expect(parts.fineVariance / variance * parts.coarseVariance >= 64)
    }
    for variance in [0, -1, .nan, 0x1p57] as [Double] {
      #expect(throws: MatrixMechanismError.self) { try WideNoise(variance: variance) }
    }
  }

  @Test func `two discrete Gaussians far apart add up to a wide one in every probability`() {
    // The theorem at s² near 1.5, where the error bound is 4e−13, and at 1, where it is 6e−9.
    func mass(_ variance: Double, _ x: Int) -> Double { exp(-Double(x * x) / (2 * variance)) }
    for (fine, coarse, factor) in [(25.0, 30.0, 4), (4.5, 9.0, 2)] {
      let variance = fine + Double(factor * factor) * coarse
      let ratios = (-60...60).map { x in
        (-80...80).reduce(0) { $0 + mass(fine, x - factor * $1) * mass(coarse, $1) } / mass(variance, x)
      }
      let s2 = fine * coarse / variance
      let bound = 2.1 * exp(-2 * Double.pi * Double.pi * s2)
      let constant = (2 * Double.pi * s2).squareRoot()
      let worst = ratios.map { abs($0 / constant - 1) }.max() ?? 1
      #expect(worst <= bound + 1e-12, "\(worst), \(bound)")
    }
  }

  @Test func `wide noise is fine noise plus a multiple of coarse noise`() throws {
    let parts = try WideNoise(variance: 0x1p40)
    let source = IntegerNoiseSource(
      name: "parts", variance: 0x1p40, parts: parts, fine: { $1[0] = 3 }, coarse: { $1[0] = 5 })
    var buffer: [Int64] = [0]
    var random = RandomStream(testSeed: 1)
    buffer.withUnsafeMutableBufferPointer { source.draw(&random, $0) }
    #expect(buffer == [3 + 5 * parts.factor])
  }
}
