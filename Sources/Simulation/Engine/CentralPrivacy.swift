import Privacy

/// What a trusted server's Gaussian noise proves, and how much of it a budget asks for.
///
/// Contributions are clipped to an L2 norm S and the noise is added once to their sum. Two proofs exist; the setup
/// says which is claimed, so that the points of a sweep have the same relation:
///
/// - nothing is claimed from sampling (as the deployed modes do, and the default; an absent node's place in a cohort
///   counts as empty): add/remove neighbours, sensitivity S, the closed form for Gaussians
///   (`PrivacyLossAccountant`);
/// - cohorts are secret uniformly random subsets of fixed size: replace-one neighbours, sensitivity 2·S,
///   Wang, Balle and Kasiviswanathan 2019 (`WithoutReplacementGaussian`).
struct CentralPrivacy: Sendable {
  /// Standard deviation of the noise on every coordinate of the sum.
  let deviation: Double
  /// Which data sets are neighbours.
  let relation: NeighbouringRelation
  private let accountant: AccountantKind
  private let event: PrivacyEvent
  private let budget: PrivacyBudget
  private let unit: PrivacyUnit

  /// The least noise for a finite budget.
  ///
  /// - Parameters:
  ///   - sensitivity: S.
  ///   - sampled: nodes of a cohort, of the `population`.
  static func calibrate(
    budget: PrivacyBudget, unit: PrivacyUnit, sensitivity: Double, rounds: Int, sampled: Int, population: Int,
    claim: RunSetup.SamplingClaim = .none
  ) throws(PrivacyError) -> CentralPrivacy {
    let plain = try Calibration.noise(forBudget: budget, accountant: .pld) {
      [PrivacyEvent(mechanism: .gaussian(noiseMultiplier: $0), count: rounds)]
    }
    let whole = CentralPrivacy(
      deviation: plain.value * sensitivity, relation: .addRemove, accountant: .pld,
      event: PrivacyEvent(mechanism: .gaussian(noiseMultiplier: plain.value)), budget: budget, unit: unit)
    guard claim == .fixedSize else { return whole }
    let sampling = PrivacySampling.fixedSizeWithoutReplacement(sampled: sampled, population: population)
    let amplified = try Calibration.noise(
      forBudget: budget, accountant: .rdp, relation: .replaceOne, range: 0.1...max(plain.value * 4, 1),
      events: {
        [PrivacyEvent(mechanism: .gaussian(noiseMultiplier: $0), sampling: sampling, count: rounds)]
      })
    return CentralPrivacy(
      deviation: amplified.value * 2 * sensitivity, relation: .replaceOne, accountant: .rdp,
      event: PrivacyEvent(mechanism: .gaussian(noiseMultiplier: amplified.value), sampling: sampling),
      budget: budget, unit: unit)
  }

  /// ε of so many rounds at the budget's δ.
  func epsilon(rounds: Int) throws -> Double {
    guard rounds > 0, let events = event.repeated(rounds) else { return 0 }
    var accountant = accountant.makeAccountant(relation: relation)
    try accountant.compose(events)
    return try accountant.epsilon(delta: budget.delta).epsilon
  }

  /// What so many rounds guarantee.
  func statement(rounds: Int) throws -> PrivacyStatement {
    PrivacyStatement(
      epsilon: try epsilon(rounds: rounds), delta: budget.delta, unit: unit, relation: relation,
      mechanism: event.sampling == .none
        ? event.mechanism.name : "\(event.mechanism.name), \(event.sampling.name)", trustMode: .central,
      accountant: accountant)
  }
}
