import Foundation
import Testing

@testable import Privacy

/// Privacy loss distributions: the transform, the grid, and composition against closed forms.
struct PrivacyLossTests {
  @Test func `the transform is the definition's, in bit-reversed order, and its inverse undoes it`() {
    for logCount in 4...9 {
      let count = 1 << logCount
      let transform = FourierTransform(logCount: logCount)
      let x = (0..<count).map { sin(Double($0 * $0)) }
      let y = (0..<count).map { cos(3 + Double($0 * 7)) }
      var (real, imaginary) = (x, y)
      transform.forward(real: &real, imaginary: &imaginary)
      var largest = 0.0
      for position in 0..<count {
        let frequency = (0..<logCount).reduce(0) { $0 | ((position >> $1) & 1) << (logCount - 1 - $1) }
        var (re, im) = (0.0, 0.0)
        for k in 0..<count {
          let angle = -2 * Double.pi * Double(k * frequency % count) / Double(count)
          re += x[k] * cos(angle) - y[k] * sin(angle)
          im += x[k] * sin(angle) + y[k] * cos(angle)
        }
        largest = max(largest, abs(re - real[position]), abs(im - imaginary[position]))
      }
      #expect(largest < 1e-11, "length \(count)")
      transform.backward(real: &real, imaginary: &imaginary)
      for k in 0..<count {
        largest = max(largest, abs(real[k] / Double(count) - x[k]), abs(imaginary[k] / Double(count) - y[k]))
      }
      #expect(largest < 1e-11, "length \(count)")
    }
  }

  @Test func `two sequences in one transform are convolved each for itself`() {
    let transform = FourierTransform(logCount: 6)
    var pair = SpectrumPair(count: 64)
    (pair.real[1], pair.real[2]) = (0.25, 0.75)
    (pair.imaginary[0], pair.imaginary[5]) = (0.5, 0.5)
    transform.forward(real: &pair.real, imaginary: &pair.imaginary)
    var product = SpectrumPair(
      real: [Double](repeating: 1, count: 64), imaginary: [Double](repeating: 1, count: 64))
    product.multiply(byPower: 3, of: pair)
    transform.backward(real: &product.real, imaginary: &product.imaginary)
    let expectedReal = [3: 1.0, 4: 9, 5: 27, 6: 27].mapValues { $0 / 64 }
    let expectedImaginary = [0: 1.0, 5: 3, 10: 3, 15: 1].mapValues { $0 / 8 }
    for k in 0..<64 {
      #expect(abs(product.real[k] / 64 - expectedReal[k, default: 0]) < 1e-14)
      #expect(abs(product.imaginary[k] / 64 - expectedImaginary[k, default: 0]) < 1e-14)
    }
  }

  /// A Gaussian n times is one of √n the sensitivity: what the grid, the transform and the window make of it
  /// must lie above the closed form, and close to it.
  @Test(arguments: [1, 2, 30, 1000, 30_000])
  func `a composed grid of Gaussians is never below the closed form and hardly above`(_ count: Int) throws {
    for mu in [0.05, 1, 4] {
      let pair = LossPair(gaussian: mu / Double(count).squareRoot(), logTail: -38 - log(Double(count)))
      let release = LossRelease(pair: pair, rate: 1, count: count)
      let composed = try #require(LossComposition.compose([release])?.first)
      for delta in [1e-3, 1e-6, 1e-9] where composed.floor < delta / 2 {
        let exact = GaussianTradeoff.epsilon(mu: mu, delta: delta)
        let epsilon = composed.epsilon(delta: delta)
        #expect(epsilon >= exact * (1 - 1e-9), "μ \(mu), δ \(delta): \(epsilon) below \(exact)")
        // The allowance for rounding is most of it where delta is near it.
        let slack = 1 + 5e-4 + composed.floor / delta
        #expect(epsilon <= exact * slack, "μ \(mu), δ \(delta): \(epsilon) above \(exact)")
        #expect(composed.delta(epsilon: epsilon) <= delta * (1 + 1e-9))
      }
    }
  }

  /// One sampled release: δ(ε) = ∫ max(0, p − e^ε·q), by a fine sum over the output.
  @Test func `both directions of one sampled Gaussian are those of the densities`() throws {
    for (sigma, rate) in [(1.0, 0.01), (0.5, 0.3), (3, 0.9)] {
      let release = LossRelease(
        pair: LossPair(gaussian: 1 / sigma, logTail: -38), rate: rate, count: 1)
      let composed = try #require(LossComposition.compose([release]))
      #expect(composed.count == 2)
      for epsilon in [0.0, 0.002, 0.05, 0.5, 2] {
        var (present, absent) = (0.0, 0.0)
        let step = sigma / 20_000
        var x = -12 * sigma
        while x < 1 + 12 * sigma {
          let q = exp(-x * x / (2 * sigma * sigma)) / (sigma * (2 * Double.pi).squareRoot())
          let p = q * (1 - rate + rate * exp((2 * x - 1) / (2 * sigma * sigma)))
          present += max(0, p - exp(epsilon) * q) * step
          absent += max(0, q - exp(epsilon) * p) * step
          x += step
        }
        for (value, exact) in zip(composed.map { $0.delta(epsilon: epsilon) }, [present, absent]) {
          #expect(value >= exact - 1e-11, "σ \(sigma), q \(rate), ε \(epsilon): \(value), \(exact)")
          #expect(
            value <= exact * (1 + 1e-4) + 1e-8, "σ \(sigma), q \(rate), ε \(epsilon): \(value), \(exact)")
        }
      }
    }
  }

  /// Values of Google's dp-accounting 0.6.0, whose grid of 1e-4 makes them a little too large.
  @Test func `other mechanisms and mixtures agree with the reference`() throws {
    func check(_ name: String, _ events: [PrivacyEvent], _ expected: Double) throws {
      var accountant = PrivacyLossAccountant()
      try accountant.compose(all: events)
      let epsilon = try accountant.epsilon(delta: 1e-6).epsilon
      #expect(isClose(epsilon, expected, relative: 5e-4), "\(name): \(epsilon), not \(expected)")
    }
    try check(
      "Laplace", [PrivacyEvent(mechanism: .laplace(noiseMultiplier: 2), count: 10)], 4.998978093725587)
    try check(
      "sampled Laplace",
      [PrivacyEvent(mechanism: .laplace(noiseMultiplier: 0.5), sampling: .poisson(rate: 0.1), count: 10)],
      3.511339073751154)
    try check(
      "discrete Laplace", [PrivacyEvent(mechanism: .discreteLaplace(scale: 2, sensitivity: 3), count: 5)],
      7.4999892984320224)
    try check(
      "randomized response",
      [
        PrivacyEvent(
          mechanism: .randomizedResponse(epsilon: log(0.775 / 0.075), categories: 4), count: 20)
      ], 46.70783631778551)
    try check("pure", [PrivacyEvent(mechanism: .pureEpsilon(epsilon: 0.3), count: 50)], 11.068653214831315)
    try check(
      "discrete Gaussian",
      [
        PrivacyEvent(
          mechanism: .discreteGaussian(
            varianceParameter: 9, shares: 1, sensitivityL2Squared: 4, sensitivityL1: 2, dimension: 1,
            samplerErrorLog2: -.infinity), count: 10)
      ], 11.725346583411175)
    try check(
      "mixture",
      [
        PrivacyEvent(
          mechanism: .gaussian(noiseMultiplier: 1), sampling: .poisson(rate: 0.01), count: 1000),
        PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 4)),
        PrivacyEvent(mechanism: .laplace(noiseMultiplier: 5), count: 3),
      ], 2.753113323970281)
  }

  /// Two categories, n reports: the loss is (n − 2k)·ε with binomial k, so that delta is a sum.
  @Test func `composed randomized response is the binomial sum, from above`() throws {
    let (base, n) = (0.1, 100)
    var accountant = PrivacyLossAccountant()
    try accountant.compose(PrivacyEvent(mechanism: .pureEpsilon(epsilon: base), count: n))
    let truth = 1 / (1 + exp(-base))
    for epsilon in [0.0, 0.5, 1.33, 3, 5] {
      var exact = 0.0
      var logBinomial = 0.0
      for k in 0...n {
        if k > 0 { logBinomial += log(Double(n - k + 1) / Double(k)) }
        let loss = Double(n - 2 * k) * base
        if loss > epsilon {
          exact +=
            exp(logBinomial + Double(n - k) * log(truth) + Double(k) * log(1 - truth))
            * -expm1(epsilon - loss)
        }
      }
      let delta = try accountant.delta(epsilon: epsilon)
      #expect(delta >= exact * (1 - 1e-12), "ε \(epsilon): \(delta), \(exact)")
      #expect(delta <= exact * (1 + 5e-3) + 1e-11, "ε \(epsilon): \(delta), \(exact)")
    }
  }

  @Test func `Skellam masses are those of the sampler, and the noise is nearly Gaussian when it is much`()
    throws
  {
    let sampler = try SkellamSampler(variance: 4)
    let pair = LossPair(skellam: 4, shift: 2, logTail: -38)
    let worst = pair.atoms.map { abs(log($0.p / $0.q) - $0.loss) }.max() ?? 1
    #expect(worst < 1e-9)
    #expect(abs(pair.atoms.reduce(0) { $0 + $1.q } - 1) < 1e-13)
    let centre = pair.atoms.map(\.q).max() ?? 0
    #expect(isClose(centre, sampler.probability(of: 0), relative: 1e-9))
    func skellam(_ variance: Double, _ shift: Int64) throws -> Double {
      var accountant = PrivacyLossAccountant()
      try accountant.compose(
        PrivacyEvent(
          mechanism: .skellam(
            variance: variance, sensitivityL2Squared: shift * shift, sensitivityL1: Double(shift),
            dimension: 1, samplerErrorLog2: -.infinity)))
      return try accountant.epsilon(delta: 1e-6).epsilon
    }
    let gaussian = GaussianTradeoff.epsilon(mu: 1, delta: 1e-6)
    #expect(isClose(try skellam(1e8, 10_000), gaussian, relative: 1e-3))
    #expect(try skellam(0.01, 1) > 5, "very little noise")
  }

  @Test func `epsilons that nobody could use do not stop the accountant`() throws {
    for multiplier in [1e-6, 1e-3, 1e-2, 0.1, 1e3, 1e6, 1e9] {
      for count in [1, 10_000, 1_000_000_000] {
        for rate in [1e-9, 1e-3, 0.5] {
          var accountant = PrivacyLossAccountant()
          try accountant.compose(
            PrivacyEvent(
              mechanism: .gaussian(noiseMultiplier: multiplier), sampling: .poisson(rate: rate),
              count: count))
          do throws(PrivacyError) {
            let epsilon = try accountant.epsilon(delta: 1e-5).epsilon
            #expect(epsilon >= 0, "σ \(multiplier), q \(rate), \(count) times: \(epsilon)")
          } catch {
            guard case .deltaBelowResolution = error else {
              Issue.record("σ \(multiplier), q \(rate), \(count) times: \(error)")
              continue
            }
          }
        }
      }
    }
  }

  @Test func `a delta near the rounding errors is refused, not answered`() throws {
    var accountant = PrivacyLossAccountant()
    try accountant.compose(
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 2), sampling: .poisson(rate: 0.01), count: 10_000))
    #expect(try accountant.epsilon(delta: 1e-9).epsilon < 10)
    #expect(throws: PrivacyError.self) { try accountant.epsilon(delta: 1e-15) }
  }
}
