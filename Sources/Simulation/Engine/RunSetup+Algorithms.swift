import Learning
import Privacy

extension RunSetup {
  /// The most bytes that contributors' control variates may take.
  static let mostVariateBytes = 2 << 30

  /// Refuses early stopping, SCAFFOLD and asynchronous rounds where a run with `aggregation: off` cannot do them.
  func validateAlgorithms(nodeCount: Int, ranks: Int) throws {
    func check(_ isValid: Bool, _ name: String, _ reason: String) throws {
      guard isValid else { throw CentralRunError.invalidSetting(name: name, reason: reason) }
    }
    if let earlyStopping {
      try earlyStopping.validate(objective: architecture.objective)
      try check(
        budget.epsilon == .infinity, "early stopping",
        "with aggregation: off its measurements are exact, and a finite epsilon would not cover them; use "
          + "modelled")
      try check(
        validationPermille != nil, "early stopping", "evaluation.validation is missing: whom it measures on")
      try check(
        earlyStopping.patience.multipliedReportingOverflow(by: evaluateEvery).partialValue
          >= architecture.roundsPerChange, "early stopping",
        "it must be patient for at least \(architecture.roundsPerChange) rounds: so many make a tree")
      try check(
        architecture.layout != .items, "early stopping",
        "with aggregation: off it measures record by record, and recommenders are measured user by user")
    }
    try check(
      validationPermille.map { (1...500).contains($0) } ?? true, "the validation share",
      "allowed are 0.001 to 0.5")
    if algorithm.hasControlVariates {
      try check(
        architecture.isDescended, "SCAFFOLD",
        "it is for linear models and networks; choose another algorithm")
      try check(
        attack == nil && groups == nil && asynchronous == nil, "SCAFFOLD",
        "control variates follow the plain mean of a round: leave attack, groups and asynchronous out")
      try check(
        ranks == 1, "SCAFFOLD",
        "contributors' control variates are in the memory of one process; run it on one")
    }
    guard let asynchronous else { return }
    try check(
      architecture.isDescended, "asynchronous training",
      "it is for linear models and networks: vectors of other models depend on the round")
    try check(
      (1...nodeCount).contains(asynchronous.buffer) && (1...nodeCount).contains(asynchronous.concurrency),
      "asynchronous training", "buffer and concurrency are from 1 to the number of nodes, \(nodeCount)")
    try check(
      [asynchronous.spread, asynchronous.jitter].allSatisfy { (0...5).contains($0) },
      "asynchronous training", "spread and jitter are from 0 to 5")
    try check(
      attack == nil && groups == nil && dropoutPermille == 0, "asynchronous training",
      "attack, groups and dropout are of synchronous rounds; leave them out")
    let isAfterwards = if case .fineTuning? = personalization { true } else { personalization == nil }
    try check(
      isAfterwards, "asynchronous training",
      "personal models of this method are trained in synchronous rounds; only fine-tuning comes afterwards")
    try check(
      samplingClaim == .none, "asynchronous training",
      "who arrives is no uniformly random cohort: privacy.sampling must be none")
    try check(
      cohort == .all, "asynchronous training", "its concurrency says who takes part; leave the cohort out")
  }

  /// Refuses control variates that do not fit into memory.
  func checkVariates(data: CentralData, pool: WorkerPool) throws {
    guard algorithm.hasControlVariates else { return }
    let most = Self.mostVariateBytes / (4 * max(1, data.model.parameterCount))
    // A population that is larger than memory is not counted through.
    let contributors = data.nodeCount > most ? data.nodeCount : try data.contributorCount(pool: pool)
    guard contributors <= most else {
      throw CentralRunError.invalidSetting(
        name: "SCAFFOLD",
        reason:
          "control variates of \(contributors) contributors with \(data.model.parameterCount) parameters "
          + "each are more than 2 GB; take a smaller model or fewer contributors")
    }
  }
}
