import Foundation
import Testing

@testable import Privacy

/// The accountants against Google's dp-accounting, and the theorems against direct computation.
struct RenyiAccountantTests {
  private func epsilon(
    _ events: [PrivacyEvent], delta: Double, orders: [Double] = RenyiAccountant.orders
  ) throws -> PrivacyGuarantee {
    var accountant = RenyiAccountant(orders: orders)
    for event in events { try accountant.compose(event) }
    return try accountant.epsilon(delta: delta)
  }

  private func sampled(sigma: Double, q: Double, steps: Int) -> PrivacyEvent {
    PrivacyEvent(
      mechanism: .gaussian(noiseMultiplier: sigma), sampling: .poisson(rate: q), count: steps)
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `sampled Gaussian epsilons match the reference`() throws {
    for vector in try AccountingVectors.load().poisson_subsampled_gaussian {
      let result = try epsilon(
        [sampled(sigma: vector.sigma, q: vector.q, steps: vector.steps)], delta: vector.delta)
      #expect(
        isClose(result.epsilon, vector.rdp, relative: 1e-4),
        "σ \(vector.sigma), q \(vector.q): \(result) against \(vector.rdp)")
    }
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `log moments match the reference to ten digits`() throws {
    for vector in try AccountingVectors.load().subsampled_gaussian_log_a {
      let moment = SampledGaussian(rate: vector.q, noiseMultiplier: vector.sigma).logMoment(
        order: vector.alpha)
      #expect(
        isClose(moment, vector.log_a, relative: 1e-9), "α \(vector.alpha): \(moment), \(vector.log_a)")
    }
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `divergences match the golden list`() throws {
    let golden = try AccountingVectors.load().rdp_golden
    let mechanism = SampledGaussian(rate: golden.q, noiseMultiplier: golden.sigma)
    for (order, expected) in zip(golden.orders, golden.rdp) {
      let divergence = Double(golden.steps) * mechanism.divergence(order: order)
      #expect(
        isClose(divergence, expected, relative: 1e-8), "α \(order): \(divergence), \(expected)")
    }
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `Skellam sensitivities, divergence and epsilon match the reference`() throws {
    for vector in try AccountingVectors.load().skellam_rdp {
      let clip = try IntegerClip(clipNorm: vector.clip, scale: vector.scale, dimension: vector.d)
      let delta2 = Double(clip.sensitivityL2Squared).squareRoot()
      #expect(isClose(delta2, vector.delta2, relative: 1e-7))
      #expect(isClose(clip.sensitivityL1, vector.delta1, relative: 1e-7))
      let sigma = vector.scale * vector.sigma_total
      let skellam = try SkellamDivergence(
        variance: sigma * sigma, sensitivityL2Squared: clip.sensitivityL2Squared,
        sensitivityL1: clip.sensitivityL1)
      #expect(isClose(skellam.divergence(order: 8), vector.rdp_at_8, relative: 1e-7))
      let event = clip.event(
        variance: sigma * sigma, samplerErrorLog2: -.infinity, count: vector.steps)
      let result = try epsilon([event], delta: vector.delta)
      #expect(isClose(result.epsilon, vector.epsilon, relative: 1e-6), "\(result)")
    }
  }

  @Test func `fractional orders matter where epsilon is large`() throws {
    let event = sampled(sigma: 0.5, q: 0.05, steps: 200)
    let all = try epsilon([event], delta: 1e-5)
    #expect(isClose(all.epsilon, 28.2698, relative: 1e-4))
    let order = try #require(all.order)
    #expect(order != order.rounded())
    let integers = RenyiAccountant.orders.filter { $0 == $0.rounded() }
    let without = try epsilon([event], delta: 1e-5, orders: integers)
    #expect(isClose(without.epsilon, 35.28, relative: 1e-3))
  }

  @Test func `large orders reach tiny epsilons`() throws {
    let event = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 30_000))
    let result = try epsilon([event], delta: 1e-6)
    #expect(result.epsilon < 3e-4)
    let dpAccountingOrders = RenyiAccountant.orders.filter { $0 <= 1024 }
    #expect(try epsilon([event], delta: 1e-6, orders: dpAccountingOrders).epsilon > 20 * result.epsilon)
  }

  @Test func `fractional moments bound direct integration from above, closely`() {
    for rate in [0.001, 0.05, 0.5, 0.9] {
      for sigma in [0.5, 1.0, 4.0] {
        for order in [1.1, 1.5, 2.5, 3.7, 7.3] {
          let mechanism = SampledGaussian(rate: rate, noiseMultiplier: sigma)
          let direct = integratedMoment(rate: rate, sigma: sigma, order: order)
          let bound = exp(mechanism.logMoment(order: order))
          let comment: Comment = "q \(rate), σ \(sigma), α \(order): \(bound) against \(direct)"
          #expect(bound >= direct * (1 - 1e-11), comment)
          #expect(bound <= direct * 1.25, comment)
          // Integers by the same yardstick, where there is no slack.
          let integer = order.rounded(.up)
          let exact = integratedMoment(rate: rate, sigma: sigma, order: integer)
          #expect(isClose(exp(mechanism.logMoment(order: integer)), exact, relative: 1e-10), comment)
        }
      }
    }
  }

  /// E[((1 − q) + q·e^((2z − 1)/2σ²))^α] for z of N(0, σ²), by the trapezoidal rule.
  private func integratedMoment(rate: Double, sigma: Double, order: Double) -> Double {
    let step = sigma / 64
    let upper = Int(((order + 12 * sigma) / step).rounded(.up))
    let lower = -Int((12 * sigma / step).rounded(.up))
    var sum = 0.0
    for index in lower...upper {
      let z = Double(index) * step
      let ratio = (1 - rate) + rate * exp((2 * z - 1) / (2 * sigma * sigma))
      sum += exp(-z * z / (2 * sigma * sigma) + order * log(ratio))
    }
    return sum * step / (sigma * (2 * Double.pi).squareRoot())
  }

  @Test func `a sampled divergence lies between its neighbours of integer order`() {
    for (rate, sigma) in [(0.01, 0.6), (0.3, 1.0), (0.7, 5.0)] {
      let mechanism = SampledGaussian(rate: rate, noiseMultiplier: sigma)
      for order in RenyiAccountant.orders where order <= SampledGaussian.largestSampledOrder {
        let divergence = mechanism.divergence(order: order)
        let upper = mechanism.divergence(order: order.rounded(.up))
        #expect(divergence <= upper * (1 + 1e-12), "q \(rate), σ \(sigma), α \(order)")
        #expect(divergence <= order / (2 * sigma * sigma))
        guard order > 2 else { continue }
        let lower = mechanism.divergence(order: order.rounded(.down))
        #expect(divergence >= lower * (1 - 1e-12), "q \(rate), σ \(sigma), α \(order)")
      }
    }
  }

  /// Values of mpmath 1.3 at 30 digits.
  @Test func `the logarithm of erfc holds far into both tails`() {
    let expected: [(x: Double, value: Double)] = [
      (-30, 0.69314718055994530942), (-1.5, 0.67605450273396056397), (0, 0),
      (0.3, -0.3984300514400852726), (5, -27.200889545537434422),
      (9.99, -102.67899829776833588), (10.01, -103.08097878073202595),
      (26, -679.83119976319423026), (30, -903.97411711064387808),
      (100, -10005.177585122664333), (1000, -1_000_007.4801207219062),
    ]
    for (x, value) in expected {
      #expect(abs(SampledGaussian.logErfc(x) - value) <= 1e-14 * max(1, abs(value)), "x = \(x)")
    }
  }

  @Test func `an unknown mechanism or sampling is refused, never ignored`() {
    var accountant = RenyiAccountant()
    let unknown = PrivacyEvent(mechanism: .unsupported(name: "laplace"))
    #expect(throws: PrivacyError.unsupportedMechanism(name: "laplace")) {
      try accountant.compose(unknown)
    }
    let sampling = PrivacyEvent(
      mechanism: .gaussian(noiseMultiplier: 1), sampling: .unsupported(name: "shuffled"))
    #expect(throws: PrivacyError.unsupportedSampling(name: "shuffled")) {
      try accountant.compose(sampling)
    }
  }

  @Test func `Skellam noise under Poisson sampling is refused`() throws {
    var accountant = RenyiAccountant()
    var event = try IntegerClip(clipNorm: 1, scale: 10, dimension: 4).event(
      variance: 100, samplerErrorLog2: -90)
    try accountant.compose(event)
    event.sampling = .poisson(rate: 0.1)
    #expect(throws: PrivacyError.samplingNotSupported(mechanism: "Skellam")) {
      try accountant.compose(event)
    }
  }

  @Test func `parameters out of range are refused and leave the accountant as it was`() throws {
    var accountant = RenyiAccountant()
    try accountant.compose(PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 2)))
    let before = try accountant.epsilon(delta: 1e-6)
    let bad: [PrivacyEvent] = [
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 0)),
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: -1)),
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: .nan)),
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: .infinity)),
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 1), count: 0),
      PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 1), count: -3),
      sampled(sigma: 1, q: 0, steps: 1), sampled(sigma: 1, q: 1.5, steps: 1),
      sampled(sigma: 1, q: .nan, steps: 1),
      skellam(variance: 0), skellam(variance: .nan), skellam(l2Squared: 0), skellam(l2Squared: -1),
      skellam(l1: 1), skellam(l1: .infinity), skellam(dimension: 0), skellam(errorLog2: 1),
      skellam(errorLog2: .nan),
    ]
    for event in bad {
      #expect(throws: PrivacyError.self, "\(event)") { try accountant.compose(event) }
    }
    #expect(try accountant.epsilon(delta: 1e-6) == before)
    for delta in [0, -1e-6, 1, .nan, .infinity] {
      #expect(throws: PrivacyError.self) { try accountant.epsilon(delta: delta) }
    }
  }

  private func skellam(
    variance: Double = 100, l2Squared: Int64 = 100, l1: Double = 20, dimension: Int = 4,
    errorLog2: Double = -90
  ) -> PrivacyEvent {
    PrivacyEvent(
      mechanism: .skellam(
        variance: variance, sensitivityL2Squared: l2Squared, sensitivityL1: l1,
        dimension: dimension, samplerErrorLog2: errorLog2))
  }

  @Test func `the sampler's error raises epsilon and, where it eats delta, ends the guarantee`() throws {
    let delta = 1e-6
    let exact = try epsilon([skellam(errorLog2: -.infinity)], delta: delta).epsilon
    let usual = try epsilon([skellam(errorLog2: -90)], delta: delta).epsilon
    #expect(usual >= exact && usual - exact < 1e-6)
    let coarse = try epsilon([skellam(errorLog2: -36)], delta: delta)
    #expect(coarse.epsilon > exact + 1e-5)
    // The result is consistent: at its own epsilon, what is left of delta gives no larger epsilon.
    let left = delta - (1 + exp(coarse.epsilon)) * 4 * exp2(-36)
    let atLeft = try epsilon([skellam(errorLog2: -.infinity)], delta: left).epsilon
    #expect(atLeft <= coarse.epsilon && coarse.epsilon - atLeft < 1e-9)
    #expect(try epsilon([skellam(errorLog2: -20)], delta: delta).epsilon == .infinity)
    // Errors add up over releases.
    var many = skellam(errorLog2: -45)
    many.count = 1_000_000
    #expect(try epsilon([many], delta: delta).epsilon == .infinity)
  }

  @Test func `an event without noise makes epsilon infinite for good, and nothing costs nothing`() throws {
    #expect(try epsilon([], delta: 1e-6).epsilon == 0)
    let result = try epsilon(
      [PrivacyEvent(mechanism: .none), PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 9))],
      delta: 1e-6)
    #expect(result.epsilon == .infinity && result.order == nil)
  }

  @Test func `composition adds up and does not depend on the order of events`() throws {
    let a = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 3), count: 7)
    let b = skellam()
    let ab = try epsilon([a, b], delta: 1e-6).epsilon
    let ba = try epsilon([b, a], delta: 1e-6).epsilon
    #expect(isClose(ab, ba, relative: 1e-12))
    let single = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 3))
    let sevenTimes = try epsilon(Array(repeating: single, count: 7) + [b], delta: 1e-6).epsilon
    #expect(isClose(ab, sevenTimes, relative: 1e-12))
    // Seven releases at σ = 3 are one at 3/√7.
    let merged = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 3 / 7.0.squareRoot()))
    #expect(
      isClose(
        try epsilon([a], delta: 1e-6).epsilon, try epsilon([merged], delta: 1e-6).epsilon,
        relative: 1e-12))
  }

  /// The theorem's bound against the divergence computed from the probabilities themselves.
  @Test func `the Skellam bound holds for the exact distribution`() throws {
    for (variance, shift) in [(100.0, 10), (25, 3), (400, 20), (64, 16)] {
      let sampler = try SkellamSampler(variance: variance)
      let bound = try SkellamDivergence(
        variance: variance, sensitivityL2Squared: Int64(shift * shift), sensitivityL1: Double(shift))
      for order in 2...12 {
        var sum = 0.0
        for k in -sampler.maximumMagnitude...sampler.maximumMagnitude {
          let p = sampler.probability(of: k)
          let q = sampler.probability(of: k - shift)
          if p > 0, q > 0 { sum += exp(Double(order) * log(p) - Double(order - 1) * log(q)) }
        }
        let exact = log(sum) / Double(order - 1)
        #expect(exact <= bound.divergence(order: Double(order)), "μ \(variance), Δ \(shift), α \(order)")
        // At low orders, and shifts small against the variance, there is little slack.
        guard order <= 4, Double(shift) * 5 <= variance else { continue }
        #expect(exact >= 0.9 * bound.divergence(order: Double(order)), "μ \(variance), Δ \(shift)")
      }
    }
  }
}
