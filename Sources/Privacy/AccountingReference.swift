/// Computations with a known answer, for tests and measurements: the published values of Google's
/// dp-accounting 0.6.0, computed by the code that is deployed.
package enum AccountingReference {
  /// One row.
  package struct Row: Sendable {
    /// What is computed.
    package let name: String
    /// The accountant that computes it.
    package let accountant: AccountantKind
    /// The neighbours.
    package let relation: NeighbouringRelation
    /// What is composed.
    package let events: [PrivacyEvent]
    /// Where epsilon is asked for.
    package let delta: Double
    /// Epsilon.
    package let expected: Double

    /// The computation from nothing to epsilon.
    package func epsilon() throws(PrivacyError) -> Double {
      var accountant = self.accountant.makeAccountant(relation: relation)
      try accountant.compose(all: events)
      return try accountant.epsilon(delta: delta).epsilon
    }
  }

  /// All rows.
  package static var rows: [Row] {
    sampledGaussians + discreteGaussians + [
      Row(
        name: "Gaussian σ=1, 100 of 10000 without replacement, 1000 steps", accountant: .rdp,
        relation: .replaceOne,
        events: [
          PrivacyEvent(
            mechanism: .gaussian(noiseMultiplier: 1),
            sampling: .fixedSizeWithoutReplacement(sampled: 100, population: 10_000), count: 1000)
        ], delta: 1e-5, expected: 3.576111),
      Row(
        name: "Gaussian ρ=0.5", accountant: .zcdp, relation: .addRemove,
        events: [PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 1))], delta: 1e-6,
        expected: 5.221534),
      Row(
        name: "Gaussian ρ=0.025", accountant: .zcdp, relation: .addRemove,
        events: [PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 10), count: 5)], delta: 1e-6,
        expected: 1.014074),
      Row(
        name: "Skellam variance 100, sensitivity 10", accountant: .pld, relation: .addRemove,
        events: [
          PrivacyEvent(
            mechanism: .skellam(
              variance: 100, sensitivityL2Squared: 100, sensitivityL1: 10, dimension: 1,
              samplerErrorLog2: -.infinity))
        ], delta: 1e-6, expected: 4.737543),
    ]
  }

  private static var sampledGaussians: [Row] {
    let values: [(sigma: Double, q: Double, steps: Int, delta: Double, rdp: Double, pld: Double)] = [
      (1, 1, 1, 1e-5, 4.728507, 4.377178), (10, 1, 100, 1e-6, 5.221540, 4.886554),
      (0.5, 1, 1, 1e-5, 10.725510, 9.997256),
      (1.1, 0.004266666666666667, 14062, 1e-5, 2.596556, 2.381686),
      (1, 0.01, 10000, 1e-5, 6.712757, 6.187745), (2, 0.1, 100, 1e-6, 2.914174, 2.675036),
      (0.5, 0.05, 200, 1e-5, 28.269802, 24.742119), (5, 0.5, 1000, 1e-6, 21.334521, 19.663945),
    ]
    return values.flatMap { row in
      [(AccountantKind.rdp, row.rdp), (.pld, row.pld)].map { accountant, expected in
        Row(
          name: "Gaussian σ=\(row.sigma), q=\(row.q), \(row.steps) steps", accountant: accountant,
          relation: .addRemove,
          events: [
            PrivacyEvent(
              mechanism: .gaussian(noiseMultiplier: row.sigma), sampling: .poisson(rate: row.q),
              count: row.steps)
          ], delta: row.delta, expected: expected)
      }
    }
  }

  private static var discreteGaussians: [Row] {
    [(1.0, 1, 1e-5, 4.430238), (10, 100, 1e-6, 4.887102)].map { sigma, steps, delta, expected in
      Row(
        name: "discrete Gaussian σ=\(sigma), \(steps) steps", accountant: .pld, relation: .addRemove,
        events: [
          PrivacyEvent(
            mechanism: .discreteGaussian(
              varianceParameter: sigma * sigma, shares: 1, sensitivityL2Squared: 1, sensitivityL1: 1,
              dimension: 1, samplerErrorLog2: -.infinity), count: steps)
        ], delta: delta, expected: expected)
    }
  }
}
