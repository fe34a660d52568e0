import Federation
import Federation
import Learning
import Privacy

/// A run with `aggregation: off`: a trusted server adds the clipped updates and, with a finite ε, Gaussian noise
/// once per round. This is what other simulators measure.
///
/// Features and metrics are computed exactly and are not part of the guarantee; the outcome's notes say so.
///
/// The outcome, but for its cost, is the same for any number of workers and processes: updates are computed one
/// contributor at a time and added up as integers (`ExactSum`). Machines with other processors may differ in the
/// last bits of an update, since OpenBLAS has kernels of its own for each.
package struct CentralRun {
  private let setup: RunSetup
  private let population: any VirtualPopulation
  private let context: RunContext

  /// - Throws: `CentralRunError.invalidSetting`, `LearningError` or `PrivacyError` for a setup that cannot be.
  package init(setup: RunSetup, population: any VirtualPopulation, context: RunContext) throws {
    self.setup = setup
    self.population = population
    self.context = context
    try setup.validateCentral(
      nodeCount: population.nodeCount, recordCount: population.approximateRecordCount)
    try setup.validateAlgorithms(nodeCount: population.nodeCount, ranks: context.reducer.ranks)
    guard context.workers >= 1 else {
      throw CentralRunError.invalidSetting(name: "the number of workers", reason: "it must be at least 1")
    }
  }

  /// Runs all rounds.
  ///
  /// - Throws: `CentralRunError`; what the population, the reducer or the progress handler throws.
  package func run() throws -> RunOutcome {
    let start = ContinuousClock.now
    let pool = WorkerPool(workers: context.workers)
    let size = setup.cohortSize(of: population.nodeCount)
    let data = try CentralData(
      setup: setup, population: population, cohort: size, pool: pool, reducer: context.reducer)
    let model = data.model
    let fitted = ContinuousClock.now
    let heldOut = try data.heldOut(pool: pool)
    try setup.checkVariates(data: data, pool: pool)
    var stopping = try setup.earlyStopping.map {
      CentralStopping(rule: $0, validation: try data.validation(pool: pool), interval: setup.evaluateEvery)
    }
    let privacy = try privacy(cohort: size)
    let training = try CentralTraining(
      setup: setup, model: model, nodeCount: population.nodeCount,
      noise: privacy.map {
        CentralTraining.Noise(
          deviation: $0.deviation, countIsPrivate: setup.unit != .node, cohort: setup.noiseCohort)
      }, pool: pool, reducer: context.reducer)
    var rounds: [RunOutcome.Round] = []
    var evaluation: Duration = .zero
    var zeroed = 0
    let own = try setup.personalization.map { try data.personalModels($0, setup: setup, pool: pool) }
    var personalizing: Duration = .zero
    for number in 1...setup.rounds {
      if let own {
        let begin = ContinuousClock.now
        try own.train(
          round: number, cohort: training.cohort(round: number), global: training.parameters, batches: data,
          pool: pool)
        personalizing += ContinuousClock.now - begin
      }
      let round = try training.run(round: number, batches: data)
      zeroed += round.zeroed
      let begin = ContinuousClock.now
      var metrics: RunOutcome.Metrics?
      if number % setup.evaluateEvery == 0 || number == setup.rounds || training.isFinished {
        metrics = try heldOut.measure(parameters: training.parameters, pool: pool, nodeName: nil).all
      }
      rounds.append(
        RunOutcome.Round(
          round: number, participants: round.nodes, metrics: metrics, privateAUC: nil,
          epsilon: try privacy?.epsilon(rounds: number), model: training.digest))
      let isOver = try stopping?.isOver(after: number, parameters: training.parameters, pool: pool) ?? false
      evaluation += ContinuousClock.now - begin
      try context.progress(number, setup.rounds)
      if training.isFinished || isOver { break }
    }
    let parameters = stopping?.kept ?? training.parameters
    let measured = try heldOut.measure(parameters: parameters, pool: pool, nodeName: population.name)
    let measuring = ContinuousClock.now
    let personal = try own.map {
      try data.measure($0, parameters: parameters, pool: pool)
    }
    personalizing += ContinuousClock.now - measuring
    var seconds = training.seconds
    if personal != nil { seconds["personalize"] = personalizing.inSeconds }
    seconds["features"] = (fitted - start).inSeconds
    seconds["evaluate"] = evaluation.inSeconds
    var metrics = measured.all
    metrics.betterNodes = personal?.betterShare
    return RunOutcome(
      rounds: rounds, metrics: metrics,
      nodes: measured.nodes,
      privacy: try privacy?.statement(rounds: rounds.count),
      model: CentralTraining.digest(of: parameters), parameterCount: parameters.count,
      cost: RunOutcome.Cost(
        seconds: (ContinuousClock.now - start).inSeconds, phaseSeconds: seconds,
        uploadBytesPerRound: 4 * training.longestContribution,
        downloadBytesPerRound: 4 * parameters.count,
        bytesAreCounted: false, clientUpdates: training.updates),
      notes: data.notes + (stopping?.sentences(rounds: setup.rounds) ?? [])
        + training.sentences(rounds: rounds.count)
        + notes(privacy: privacy, zeroed: zeroed, excluded: training.excludedGroups)
        + (personal.map { [$0.sentence] } ?? []),
      personal: personal)
  }

  private func privacy(cohort: Int) throws -> CentralPrivacy? {
    guard setup.budget.epsilon < .infinity, let clipNorm = setup.clipNorm else { return nil }
    let count = setup.unit == .node ? 0 : CentralTraining.countWeight
    return try CentralPrivacy.calibrate(
      budget: setup.budget, unit: setup.unit, sensitivity: clipNorm * (1 + count * count).squareRoot(),
      rounds: setup.rounds, sampled: min(setup.noiseCohort ?? cohort, population.nodeCount),
      population: population.nodeCount, claim: setup.samplingClaim)
  }

  private func notes(privacy: CentralPrivacy?, zeroed: Int, excluded: Int) -> [String] {
    var notes: [String] = []
    if privacy != nil {
      notes.append("Feature statistics and metrics are exact: ε does not cover them.")
    }
    if privacy != nil, let noiseCohort = setup.noiseCohort {
      notes.append(
        "The noise is that of a cohort of \(noiseCohort) nodes, on the mean of the simulated cohort; so is ε."
      )
    }
    if let attack = setup.attack {
      let count = attack.nodes(of: population.nodeCount, seed: setup.seed).count
      notes.append("\(count) of \(population.nodeCount) nodes are poisoned.")
    }
    if excluded > 0 {
      notes.append("\(excluded) sums of groups were longer than honest ones can be and left out.")
    }
    if zeroed > 0 {
      notes.append("\(zeroed) updates were not finite and counted as zeros: lower the learning rate.")
    }
    return notes
  }
}

extension RunSetup {
  /// Refuses what a run without secure aggregation cannot do.
  func validateCentral(nodeCount: Int, recordCount: Int) throws {
    func check(_ isValid: Bool, _ name: String, _ reason: String) throws {
      guard isValid else { throw CentralRunError.invalidSetting(name: name, reason: reason) }
    }
    try architecture.validate()
    try algorithm.validate()
    try check(
      architecture.isDescended || algorithm == .fedSGD, "the local algorithm",
      "trees, segments and recommenders take one step a round: choose fedsgd")
    try optimizer.validate()
    try schedule.validate()
    try personalization?.validate(architecture: architecture)
    if let uncovered = personalization?.uncovered {
      try check(
        budget.epsilon == .infinity, "the personalization", uncovered + ": epsilon must be inf")
    }
    try check(
      personalization?.isFederated != true || earlyStopping == nil, "the personalization",
      "its second federated model would not be that of the best round: leave early stopping out")
    try check(
      attack.map { (0...500).contains($0.permille) && $0.factor <= Attack.largestFactor } ?? true,
      "the attack",
      "allowed are shares of 0 to 0.5 and factors up to 1e6")
    try check(
      attack?.kind != .flipLabels || architecture.objective == .binary, "the attack",
      "labels can be flipped for two classes alone")
    try check(
      groups.map { (1...256).contains($0.count) && ($0.count >= 3 || $0.combination == .mean) } ?? true,
      "the groups", "allowed are 1 to 256, and 3 at least for a median or a trimmed mean")
    try check(
      groups == nil || budget.epsilon == .infinity, "the groups",
      "noise for every group is what aggregation: full would add; without it epsilon must be inf")
    try budget.validate()
    try check(nodeCount >= 1, "the population", "it has no nodes")
    try check(
      (architecture.leastRounds...1_000_000).contains(rounds), "the number of rounds",
      "allowed are \(architecture.leastRounds) to 1000000")
    try check(cohortSize(of: nodeCount) >= 1, "the cohort", "it needs at least one node")
    try check(noiseCohort.map { $0 >= 1 } ?? true, "the noise cohort", "it needs at least one node")
    try check(evaluateEvery >= 1, "the evaluation interval", "it must be at least one round")
    try check(
      (0..<1000).contains(dropoutPermille), "the drop-out rate", "allowed are 0 to 999 thousandths")
    try check(
      (0...NumericEncoding.maximumBins).contains(quantileBins), "the number of quantile bins",
      "allowed are 0 to \(NumericEncoding.maximumBins)")
    try check(
      clipNorm.map { $0 >= 1e-12 && $0 <= 1e12 } ?? (budget.epsilon == .infinity), "the clip norm",
      "it must be between 1e-12 and 1e12, and a finite ε needs one")
    let (contributors, overflow) = (recordCount / max(1, nodeCount) + 1)
      .multipliedReportingOverflow(by: cohortSize(of: nodeCount))
    try check(
      !overflow && contributors <= ExactSum.maximumCount, "the cohort",
      "it may have more than \(ExactSum.maximumCount) contributors, the most that are added up; take fewer nodes"
    )
    try check(
      weightDecay >= 0 && weightDecay * optimizer.learningRate < 1, "the weight decay",
      "it must be at least 0 and below 1 / learning rate")
  }
}
