import Foundation
import Learning
import Privacy
import Yams

extension ScenarioReader {
  static let topKeys = [
    "name", "description", "data", "model", "training", "features", "evaluation", "privacy", "cohort",
    "aggregation", "dropout", "survivors", "corrupt", "seeds", "sweep",
    "reference", "personalization", "attack", "groups",
  ]

  /// The run that a file with every swept field replaced describes, under seed 1.
  mutating func setup(_ top: ScenarioTable, name: String, naturalUnit: String) -> RunSetup {
    let budget = budget(top)
    let privacy = table(
      top, "privacy",
      known: ["epsilon", "delta", "clip", "unit", "noise_cohort", "sampling", "statistics_share"])
    let training = table(
      top, "training",
      known: ["rounds", "local", "server", "schedule", "weight_decay", "early_stopping", "asynchronous"])
    let features = table(top, "features", known: ["quantile_bins"])
    let evaluation = table(
      top, "evaluation", known: ["every", "bins", "label_bound", "final_share", "validation"])
    let defaults = TrainingDefaults.standard
    let bins = budget.epsilon.isFinite ? defaults.evaluationBins : defaults.exactEvaluationBins
    var setup = RunSetup(
      name: name, rounds: defaults.rounds, cohort: cohort(top), architecture: architecture(top),
      algorithm: training.map { algorithm($0) } ?? defaults.algorithm,
      optimizer: training.map { optimizer($0) } ?? defaults.optimizer, clipNorm: defaults.clipNormL2,
      budget: budget, aggregation: choice(top, "aggregation", or: .modelled))
    setup.rounds = setup.architecture.usualRounds ?? setup.rounds
    setup.clipNorm = setup.architecture.usualClipNorm ?? setup.clipNorm
    if let training {
      setup.rounds = integer(training, "rounds", in: 1...10_000, or: setup.rounds)
      setup.schedule = schedule(training, rounds: setup.rounds)
      let limit = 1 / setup.optimizer.learningRate
      setup.weightDecay = Float(
        number(training, "weight_decay", "at least 0 and below 1 / the server's learning rate", or: 0) {
          $0 >= 0 && Float($0) < limit
        })
    }
    // Distances are measured between numbers: bins would count twice.
    let usualBins = setup.architecture.objective.isSegmentation ? 1 : defaults.quantileBins
    setup.quantileBins =
      features.map { integer($0, "quantile_bins", in: 0...NumericEncoding.maximumBins, or: usualBins) }
      ?? usualBins
    setup.evaluationBins =
      evaluation.map { integer($0, "bins", in: 2...EvaluationLayout.maximumBins, or: bins) } ?? bins
    if setup.architecture.objective.predictsNumbers {
      setup.labelBound =
        evaluation.map { number($0, "label_bound", "a number above 0", or: 1) { $0 > 0 && $0 <= 1e12 } } ?? 1
      if setup.aggregation != .off, evaluation?.entries["label_bound"] == nil {
        note(
          top.entries["evaluation"] ?? top.entries["model"], "evaluation.label_bound",
          "evaluation.label_bound is missing: how large labels and errors may count in private evaluations")
      }
    }
    setup.evaluateEvery = evaluation.map { integer($0, "every", in: 1...10_000, or: 1) } ?? 1
    setup.finalEvaluationShare =
      evaluation.map { own in
        number(own, "final_share", "above 0 and below 1", or: 0.25) { $0 > 0 && $0 < 1 }
      } ?? 0.25
    if let privacy { readPrivacy(privacy, &setup) }
    setup.unit = unit(privacy, natural: naturalUnit)
    readRobustness(top, &setup)
    setup.personalization = personalization(top, setup)
    readAlgorithms(top, training, evaluation, &setup)
    setup.corruptPermille = permille(top, "corrupt", in: 0...333, or: 0)
    setup.dropoutPermille = permille(top, "dropout", in: 0...333, or: 0)
    setup.survivorPermille = permille(top, "survivors", in: 1...1000, or: 1000 - setup.dropoutPermille)
    check(setup, top, privacy, features)
    return setup
  }

  private mutating func budget(_ top: ScenarioTable) -> PrivacyBudget {
    guard require(top, "privacy", "a table with epsilon"), let node = top.entries["privacy"],
      let own = table(node, "privacy")
    else { return PrivacyBudget(epsilon: 1, delta: 1e-5) }
    _ = require(own, "epsilon", "a number above 0, or inf for no noise")
    let epsilon = number(own, "epsilon", "a number above 0, or inf for no noise", or: 1) { $0 > 0 }
    let delta = number(own, "delta", "above 0 and below 0.5", or: 1e-5) { $0 > 0 && $0 < 0.5 }
    return PrivacyBudget(epsilon: epsilon, delta: delta)
  }

  private mutating func readPrivacy(_ own: ScenarioTable, _ setup: inout RunSetup) {
    if word(own.entries["clip"]) == "none" {
      setup.clipNorm = nil
    } else {
      setup.clipNorm = number(
        own, "clip", "a number from 1e-6 to 1e6, or none", or: setup.clipNorm ?? 1
      ) { $0 >= 1e-6 && $0 <= 1e6 }
    }
    if own.entries["noise_cohort"] != nil {
      setup.noiseCohort = integer(own, "noise_cohort", in: 1...1_000_000_000, or: 1)
    }
    setup.samplingClaim = choice(own, "sampling", or: .none)
    if setup.samplingClaim != .none, setup.aggregation != .off, let node = own.entries["sampling"] {
      note(node, "privacy.sampling", "fixed-size is proven for aggregation: off alone; leave it out")
    }
    setup.statisticsShare = number(
      own, "statistics_share", "above 0 and at most 0.5", or: setup.statisticsShare
    ) { $0 > 0 && $0 <= 0.5 }
  }

  private mutating func unit(_ privacy: ScenarioTable?, natural: String) -> PrivacyUnit {
    let fallback = PrivacyUnit(rawValue: natural) ?? .customer
    let unit = privacy.map { choice($0, "unit", or: fallback) } ?? fallback
    if unit == .customer, fallback == .record, let node = privacy?.entries["unit"] {
      note(
        node, "privacy.unit",
        "customer needs a column that says whose a record is; name it under data.subject, or say record")
    }
    return unit
  }

  private mutating func cohort(_ top: ScenarioTable) -> RunSetup.Cohort {
    guard let node = top.entries["cohort"], word(node) != "all" else { return .all }
    guard word(node).flatMap(Self.integer) != nil else {
      note(node, "cohort", "cohort must be all or a number of nodes")
      return .all
    }
    return integer(node, "cohort", in: 1...100_000_000).map { .fixed($0) } ?? .all
  }

  private mutating func algorithm(_ training: ScenarioTable) -> LocalAlgorithm {
    guard let node = training.entries["local"] else { return TrainingDefaults.standard.algorithm }
    if word(node) == "fedsgd" { return .fedSGD }
    guard node.mapping != nil,
      let own = table(
        node, "training.local",
        known: ["name", "algorithm", "epochs", "batch_size", "learning_rate", "proximal", "normalise"])
    else {
      if node.mapping == nil {
        note(
          node, "training.local",
          "training.local must be fedsgd or a table with epochs, batch_size and learning_rate")
      }
      return .fedSGD
    }
    for key in ["epochs", "batch_size", "learning_rate"] { _ = require(own, key, "part of local training") }
    var settings = LocalSettings(
      epochs: integer(own, "epochs", in: 1...LocalAlgorithm.maximumEpochs, or: 1),
      batchSize: integer(own, "batch_size", in: 1...1_000_000, or: 1), learningRate: rate(own))
    let plain = LocalAlgorithm.fedAvg(
      epochs: settings.epochs, batchSize: settings.batchSize, learningRate: settings.learningRate)
    let learningRate = settings.learningRate
    settings.proximal = Float(
      number(own, "proximal", "at least 0 and at most 1 / learning_rate", or: 0) {
        $0 >= 0 && Float($0) * learningRate <= 1
      })
    if own.entries["normalise"] != nil {
      settings.normalise = integer(own, "normalise", in: 1...LocalSettings.maximumSteps, or: 1)
    }
    readVariates(own, &settings)
    return plain.descent == settings ? plain : .local(settings)
  }

  mutating func rate(_ own: ScenarioTable) -> Float {
    Float(number(own, "learning_rate", "above 0 and at most 1e6", or: 1) { $0 > 1e-12 && $0 <= 1e6 })
  }

  private enum ServerRule: String, CaseIterable { case sgd, momentum, adam, yogi, adagrad }
  private enum ScheduleRule: String, CaseIterable {
    case constant, linear
    case inverseSquareRoot = "inverse-square-root"
  }

  private mutating func schedule(_ training: ScenarioTable, rounds: Int) -> LearningRateSchedule {
    guard let own = table(training, "schedule", known: ["rule", "steps", "end", "warmup"]) else {
      return .constant
    }
    let limit = 1...LearningRateSchedule.maximumSteps
    switch choice(own, "rule", or: ScheduleRule.constant) {
    case .constant: return .constant
    case .linear:
      return .linear(
        steps: integer(own, "steps", in: limit, or: rounds),
        end: Float(number(own, "end", "from 0 to 1", or: 0.1) { (0...1).contains($0) }))
    case .inverseSquareRoot:
      return .inverseSquareRoot(warmup: integer(own, "warmup", in: limit, or: max(1, rounds / 20)))
    }
  }

  private mutating func epsilon(_ own: ScenarioTable, or fallback: Double) -> Float {
    Float(number(own, "epsilon", "above 0 and at most 1", or: fallback) { $0 > 1e-30 && $0 <= 1 })
  }

  private mutating func optimizer(_ training: ScenarioTable) -> ServerOptimizer.Kind {
    guard let node = training.entries["server"] else { return TrainingDefaults.standard.optimizer }
    guard
      let own = table(
        node, "training.server", known: ["rule", "learning_rate", "beta", "beta1", "beta2", "epsilon"])
    else { return .sgd(learningRate: 1) }
    _ = require(own, "rule", "one of sgd, momentum, adam, yogi, adagrad")
    _ = require(own, "learning_rate", "the server's step size")
    let rule = choice(own, "rule", or: ServerRule.sgd)
    let used: Set<String> =
      switch rule {
      case .sgd: ["rule", "learning_rate"]
      case .momentum: ["rule", "learning_rate", "beta"]
      case .adam, .yogi: ["rule", "learning_rate", "beta1", "beta2", "epsilon"]
      case .adagrad: ["rule", "learning_rate", "epsilon"]
      }
    for key in own.keys where !used.contains(key) {
      note(
        own.entries[key], own.path(key),
        "\(own.path(key)) means nothing if rule is \(rule.rawValue); leave it out")
    }
    func isBeta(_ value: Double) -> Bool { value >= 0 && Float(value) < 1 }
    func beta(_ key: String, _ fallback: Double) -> Float {
      Float(number(own, key, "at least 0 and below 1", or: fallback, where: isBeta))
    }
    let learningRate = rate(own)
    switch rule {
    case .sgd: return .sgd(learningRate: learningRate)
    case .momentum: return .momentum(learningRate: learningRate, beta: beta("beta", 0.9))
    case .adam:
      return .adam(
        learningRate: learningRate, beta1: beta("beta1", 0.9), beta2: beta("beta2", 0.99),
        epsilon: epsilon(own, or: 1e-8))
    case .yogi:
      return .yogi(
        learningRate: learningRate, beta1: beta("beta1", 0.9), beta2: beta("beta2", 0.99),
        epsilon: epsilon(own, or: 1e-3))
    case .adagrad: return .adagrad(learningRate: learningRate, epsilon: epsilon(own, or: 1e-3))
    }
  }

  /// What is wrong between fields that are right one by one.
  private mutating func check(
    _ setup: RunSetup, _ top: ScenarioTable, _ privacy: ScenarioTable?, _ features: ScenarioTable?
  ) {
    let mode = setup.aggregation.rawValue
    if setup.clipNorm == nil, setup.aggregation != .off || setup.budget.epsilon.isFinite {
      note(
        privacy?.entries["clip"], "privacy.clip",
        "privacy.clip may be none only with aggregation: off and privacy.epsilon: inf; without a bound on "
          + "an update there is no guarantee")
    }
    if setup.quantileBins == 0, setup.aggregation != .off {
      note(
        features?.entries["quantile_bins"], "features.quantile_bins",
        "features.quantile_bins may be 0 (standardised columns) only with aggregation: off, not \(mode)")
    }
    if setup.unit == .node, setup.aggregation != .off {
      note(
        privacy?.entries["unit"], "privacy.unit",
        "privacy.unit may be node only with aggregation: off: deployed nodes clip per contributor")
    }
    if setup.noiseCohort != nil, setup.aggregation == .full {
      note(
        privacy?.entries["noise_cohort"], "privacy.noise_cohort",
        "privacy.noise_cohort cannot be used with aggregation: full, whose nodes draw the real noise")
    }
    if setup.aggregation != .off, case .fixed(1) = setup.cohort {
      note(top.entries["cohort"], "cohort", "cohort must be at least 2 unless aggregation is off")
    }
    if setup.dropoutPermille + setup.survivorPermille > 1000 {
      note(
        top.entries["survivors"] ?? top.entries["dropout"], "survivors",
        "survivors and dropout must be at most 1 together: who is lost cannot finish")
    }
    if setup.survivorPermille <= setup.corruptPermille {
      note(
        top.entries["corrupt"] ?? top.entries["survivors"], "corrupt", "corrupt must be below survivors")
    }
  }
}
