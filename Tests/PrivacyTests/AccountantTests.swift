import Foundation
import Testing

@testable import Privacy

/// All accountants against the reference, what they cover, and how they agree.
struct AccountantTests {
  private func epsilon(
    _ kind: AccountantKind, _ events: [PrivacyEvent], delta: Double,
    relation: NeighbouringRelation = .addRemove
  ) throws -> Double {
    var accountant = kind.makeAccountant(relation: relation)
    try accountant.compose(all: events)
    return try accountant.epsilon(delta: delta).epsilon
  }

  private func discreteGaussian(
    sigma: Double, shares: Int = 1, squared: Int64 = 1, l1: Double = 1, dimension: Int = 1, count: Int = 1
  ) -> PrivacyEvent {
    PrivacyEvent(
      mechanism: .discreteGaussian(
        varianceParameter: sigma * sigma, shares: shares, sensitivityL2Squared: squared, sensitivityL1: l1,
        dimension: dimension, samplerErrorLog2: -.infinity), count: count)
  }

  @Test func `the committed known answers hold`() throws {
    for row in AccountingReference.rows {
      let value = try row.epsilon()
      let tolerance = row.accountant == .pld ? 1e-3 : 1e-4
      #expect(isClose(value, row.expected, relative: tolerance), "\(row.accountant) \(row.name): \(value)")
      // The reference's grid makes its own values a little too large, by at most this much.
      #expect(value >= row.expected * (1 - 2e-4), "\(row.accountant) \(row.name): \(value)")
    }
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `every epsilon of the vectors is reproduced`() throws {
    let vectors = try AccountingVectors.load()
    for row in vectors.poisson_subsampled_gaussian {
      let event = PrivacyEvent(
        mechanism: .gaussian(noiseMultiplier: row.sigma), sampling: .poisson(rate: row.q),
        count: row.steps)
      let rdp = try epsilon(.rdp, [event], delta: row.delta)
      let pld = try epsilon(.pld, [event], delta: row.delta)
      #expect(isClose(rdp, row.rdp, relative: 1e-4), "σ \(row.sigma), q \(row.q): \(rdp)")
      #expect(isClose(pld, row.pld, relative: 1e-3), "σ \(row.sigma), q \(row.q): \(pld)")
      #expect(pld < rdp)
    }
    for row in vectors.discrete_gaussian_pld {
      let value = try epsilon(
        .pld, [discreteGaussian(sigma: row.sigma, count: row.steps)], delta: row.delta)
      #expect(isClose(value, row.epsilon, relative: 1e-3), "σ \(row.sigma): \(value)")
    }
    for row in vectors.skellam_exact_1d {
      let event = PrivacyEvent(
        mechanism: .skellam(
          variance: row.variance, sensitivityL2Squared: Int64(row.sensitivity * row.sensitivity),
          sensitivityL1: row.sensitivity, dimension: 1, samplerErrorLog2: -.infinity))
      let value = try epsilon(.pld, [event], delta: row.delta)
      #expect(isClose(value, row.epsilon, relative: 1e-5), "\(value)")
    }
    for row in vectors.zcdp_tight {
      let accountant = try ConcentratedAccountant(rho: row.rho)
      let value = try accountant.epsilon(delta: row.delta).epsilon
      #expect(isClose(value, row.epsilon, relative: 1e-6), "ρ \(row.rho): \(value)")
      #expect(isClose(try accountant.delta(epsilon: value), row.delta, relative: 1e-6))
    }
    for row in vectors.fixed_size_without_replacement_replace_one {
      var accountant = RenyiAccountant(orders: (2...256).map(Double.init), relation: .replaceOne)
      try accountant.compose(
        PrivacyEvent(
          mechanism: .gaussian(noiseMultiplier: row.sigma),
          sampling: .fixedSizeWithoutReplacement(sampled: row.batch, population: row.population),
          count: row.steps))
      let value = try accountant.epsilon(delta: row.delta).epsilon
      #expect(isClose(value, row.epsilon, relative: 1e-6), "\(value)")
    }
  }

  @Test func `an optimal Gaussian is calibrated to the analytic value`() throws {
    for (target, delta, sigma) in [(1.0, 1e-5, 3.7306316), (4, 1e-6, 1.1935186)] {
      let result = try Calibration.noise(forBudget: PrivacyBudget(epsilon: target, delta: delta)) {
        [PrivacyEvent(mechanism: .gaussian(noiseMultiplier: $0))]
      }
      #expect(isClose(result.value, sigma, relative: 2e-6), "\(result)")
      #expect(result.epsilon <= target && result.epsilon > target * (1 - 1e-5))
    }
  }

  /// Divergences of the definitions, summed over all outcomes or integrated.
  @Test func `divergences of pure mechanisms are those of their distributions`() throws {
    func divergence(_ mechanism: PrivacyMechanism, _ order: Double) throws -> Double {
      let event = try CheckedEvent(
        PrivacyEvent(mechanism: mechanism), relation: .addRemove, accountant: .rdp)
      return try RenyiDivergence(event).divergence(order: order)
    }
    for order in [1.1, 2, 3.5, 10, 60] {
      for (scale, shift) in [(2.0, 3), (0.7, 1), (5, 4)] {
        func mass(_ k: Int) -> Double { tanh(0.5 / scale) * exp(-Double(abs(k)) / scale) }
        let sum = (-400...400).reduce(0.0) {
          $0 + exp(order * log(mass($1 - shift)) + (1 - order) * log(mass($1)))
        }
        let exact = log(sum) / (order - 1)
        let value = try divergence(.discreteLaplace(scale: scale, sensitivity: Int64(shift)), order)
        #expect(isClose(value, exact, relative: 1e-9), "α \(order), scale \(scale): \(value), \(exact)")
      }
      let (truth, rest) = (exp(1.0) / (exp(1.0) + 3), 1 / (exp(1.0) + 3))
      let sum = pow(truth, order) * pow(rest, 1 - order) + pow(rest, order) * pow(truth, 1 - order) + 2 * rest
      #expect(
        isClose(
          try divergence(.randomizedResponse(epsilon: 1, categories: 4), order), log(sum) / (order - 1),
          relative: 1e-9))
      // Laplace with b = 2 by the midpoint rule, whose kinks lie between cells.
      let step = 1e-3
      var integral = 0.0
      for cell in -60_000..<60_000 {
        let x = (Double(cell) + 0.5) * step
        integral += exp(-order * abs(x - 1) / 2 + (order - 1) * abs(x) / 2) / 4 * step
      }
      let value = try divergence(.laplace(noiseMultiplier: 2), order)
      #expect(isClose(value, log(integral) / (order - 1), relative: 1e-4), "α \(order): \(value)")
    }
  }

  @Test func `the sum of discrete Gaussians costs what the theorem says`() throws {
    // τ of 4 shares with σ² = 0.5 by hand: 10·(e^(−π²/2) + e^(−2π²/3) + e^(−3π²/4)).
    let pi2 = Double.pi * Double.pi
    let tau = 10 * (exp(-pi2 / 2) + exp(-2 * pi2 / 3) + exp(-3 * pi2 / 4))
    let bound = DiscreteGaussianDivergence(
      varianceParameter: 0.5, shares: 4, sensitivityL2Squared: 9, sensitivityL1: 5, dimension: 3)
    #expect(isClose(bound.tau, tau, relative: 1e-12))
    let s = 2.0.squareRoot()
    let choices = [
      9 / 2.0 + tau * 3, 9 / 2.0 + 2 * 5 / s * tau + tau * tau * 3,
      (3 / s + 3.0.squareRoot() * tau) * (3 / s + 3.0.squareRoot() * tau),
    ]
    let expected = min(7 * 9 / 4.0 + tau * 3, 3.5 * choices[1], 3.5 * choices[2])
    #expect(isClose(bound.divergence(order: 7), expected, relative: 1e-12))
    #expect(bound.divergence(order: 1.5) <= 1.5 * bound.concentration)
    // One share is exact: ρ = Δ²/2σ².
    let one = DiscreteGaussianDivergence(
      varianceParameter: 2, shares: 1, sensitivityL2Squared: 9, sensitivityL1: 5, dimension: 3)
    #expect(one.tau == 0 && isClose(one.concentration, 2.25, relative: 1e-12))
  }

  @Test func `what an accountant has no theorem for it refuses, naming those that have one`() throws {
    func refusal(_ kind: AccountantKind, _ event: PrivacyEvent, _ relation: NeighbouringRelation = .addRemove)
      -> PrivacyError?
    {
      var accountant = kind.makeAccountant(relation: relation)
      do throws(PrivacyError) {
        try accountant.compose(event)
        return nil
      } catch { return error }
    }
    let skellam = try IntegerClip(clipNorm: 1, scale: 10, dimension: 4).event(
      variance: 100, samplerErrorLog2: -90)
    let sampled = PrivacyEvent(
      mechanism: .gaussian(noiseMultiplier: 1), sampling: .poisson(rate: 0.5))
    let fixed = PrivacyEvent(
      mechanism: .gaussian(noiseMultiplier: 1),
      sampling: .fixedSizeWithoutReplacement(sampled: 1, population: 2))
    #expect(
      refusal(.pld, skellam)
        == .notCovered(mechanism: "Skellam", sampling: "no sampling", accountant: .pld, others: [.rdp]))
    #expect(refusal(.rdp, skellam) == nil)
    #expect(
      refusal(.zcdp, sampled)
        == .notCovered(
          mechanism: "Gaussian", sampling: "Poisson sampling", accountant: .zcdp, others: [.rdp, .pld]))
    #expect(
      refusal(.pld, fixed, .replaceOne)
        == .notCovered(
          mechanism: "Gaussian", sampling: "fixed-size sampling without replacement", accountant: .pld,
          others: [.rdp]))
    for kind in AccountantKind.allCases {
      #expect(
        refusal(kind, fixed)
          == .samplingNeedsRelation(
            sampling: "fixed-size sampling without replacement", relation: .replaceOne))
      #expect(
        refusal(kind, sampled, .replaceOne)
          == .samplingNeedsRelation(sampling: "Poisson sampling", relation: .addRemove))
      let unknown = PrivacyEvent(mechanism: .unsupported(name: "x"))
      #expect(refusal(kind, unknown) == .unsupportedMechanism(name: "x"))
      var accountant = kind.makeAccountant()
      #expect(throws: PrivacyError.eventRefused(position: 2, reason: .unsupportedMechanism(name: "x"))) {
        try accountant.compose(all: [PrivacyEvent(mechanism: .laplace(noiseMultiplier: 9)), unknown])
      }
    }
    let laplace = PrivacyEvent(mechanism: .laplace(noiseMultiplier: 1), sampling: .poisson(rate: 0.5))
    let text = refusal(.rdp, laplace)?.description ?? ""
    #expect(text.contains("use the pld accountant"), "\(text)")
  }

  @Test func `no accountant takes a value out of range, and delta is answered by none outside its range`() {
    let bad: [PrivacyMechanism] = [
      .laplace(noiseMultiplier: 0), .laplace(noiseMultiplier: .nan), .pureEpsilon(epsilon: -1),
      .matrixGaussian(noiseMultiplier: 1, sensitivity: 0), .discreteLaplace(scale: 1, sensitivity: 0),
      .discreteLaplace(scale: -1, sensitivity: 1), .randomizedResponse(epsilon: 1, categories: 1),
      .randomizedResponse(epsilon: .infinity, categories: 2), .gaussian(noiseMultiplier: -1),
      discreteGaussian(sigma: 0).mechanism, discreteGaussian(sigma: 1, shares: 0).mechanism,
      discreteGaussian(sigma: 1, squared: 4, l1: 1).mechanism,
    ]
    for kind in AccountantKind.allCases {
      for mechanism in bad {
        var accountant = kind.makeAccountant()
        #expect(throws: PrivacyError.self, "\(kind) \(mechanism)") {
          try accountant.compose(PrivacyEvent(mechanism: mechanism))
        }
        #expect(throws: PrivacyError.self) {
          try accountant.compose(PrivacyEvent(mechanism: .none, count: 0))
        }
      }
      let empty = kind.makeAccountant()
      for delta in [0, 1, -1, .nan] {
        #expect(throws: PrivacyError.self) { try empty.epsilon(delta: delta) }
      }
      for epsilon in [-1, .infinity, .nan] {
        #expect(throws: PrivacyError.self) { try empty.delta(epsilon: epsilon) }
      }
    }
  }

  @Test func `nothing costs nothing and a release without noise everything, for every accountant`() throws {
    for kind in AccountantKind.allCases {
      #expect(try epsilon(kind, [], delta: 1e-6) == 0)
      #expect(try epsilon(kind, [PrivacyEvent(mechanism: .none)], delta: 1e-6) == .infinity)
      var accountant = kind.makeAccountant()
      #expect(try accountant.delta(epsilon: 0) == 0)
      try accountant.compose(PrivacyEvent(mechanism: .none))
      #expect(try accountant.delta(epsilon: 3) == 1)
    }
  }

  @Test func `a matrix mechanism's run is one Gaussian of the sensitivity of C`() throws {
    let run = PrivacyEvent(mechanism: .matrixGaussian(noiseMultiplier: 3.6180404, sensitivity: 1.80902022))
    let gaussian = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 3.6180404 / 1.80902022))
    for kind in AccountantKind.allCases {
      #expect(
        isClose(
          try epsilon(kind, [run], delta: 1e-6), try epsilon(kind, [gaussian], delta: 1e-6),
          relative: 1e-12))
    }
  }

  @Test func `a sampler's error raises epsilon in every accountant`() throws {
    for kind in AccountantKind.allCases {
      var event = discreteGaussian(sigma: 2)
      let exact = try epsilon(kind, [event], delta: 1e-6)
      event.mechanism = .discreteGaussian(
        varianceParameter: 4, shares: 1, sensitivityL2Squared: 1, sensitivityL1: 1, dimension: 1,
        samplerErrorLog2: -26)
      #expect(try epsilon(kind, [event], delta: 1e-6) > exact)
      event.count = 1000
      #expect(try epsilon(kind, [event], delta: 1e-6) == .infinity)
    }
  }
}
