import Foundation
import Learning
import Privacy
import Yams

extension ScenarioReader {
  static let topKeys = [
    "name", "description", "data", "model", "training", "features", "evaluation", "privacy", "cohort",
    "aggregation", "dropout", "survivors", "corrupt", "seeds", "sweep",
  ]

  /// The run that a file with every swept field replaced describes, under seed 1.
  mutating func setup(_ top: ScenarioTable, name: String, naturalUnit: String) -> RunSetup {
    let budget = budget(top)
    let privacy = table(
      top, "privacy",
      known: ["epsilon", "delta", "clip", "unit", "noise_cohort", "sampling", "statistics_share"])
    let training = table(
      top, "training", known: ["rounds", "local", "server", "weight_decay"])
    let features = table(top, "features", known: ["quantile_bins"])
    let evaluation = table(top, "evaluation", known: ["every", "bins", "final_share"])
    let defaults = TrainingDefaults.standard
    let bins = budget.epsilon.isFinite ? defaults.evaluationBins : defaults.exactEvaluationBins
    var setup = RunSetup(
      name: name, rounds: defaults.rounds, cohort: cohort(top), architecture: architecture(top),
      algorithm: training.map { algorithm($0) } ?? defaults.algorithm,
      optimizer: training.map { optimizer($0) } ?? defaults.optimizer, clipNorm: defaults.clipNormL2,
      budget: budget, aggregation: choice(top, "aggregation", or: .modelled))
    if let training {
      setup.rounds = integer(training, "rounds", in: 1...10_000, or: setup.rounds)
      let limit = 1 / setup.optimizer.learningRate
      setup.weightDecay = Float(
        number(training, "weight_decay", "at least 0 and below 1 / the server's learning rate", or: 0) {
          $0 >= 0 && Float($0) < limit
        })
    }
    setup.quantileBins =
      features.map {
        integer($0, "quantile_bins", in: 0...NumericEncoding.maximumBins, or: defaults.quantileBins)
      }
      ?? defaults.quantileBins
    setup.evaluationBins =
      evaluation.map { integer($0, "bins", in: 2...EvaluationLayout.maximumBins, or: bins) } ?? bins
    setup.evaluateEvery = evaluation.map { integer($0, "every", in: 1...10_000, or: 1) } ?? 1
    setup.finalEvaluationShare =
      evaluation.map { own in
        number(own, "final_share", "above 0 and below 1", or: 0.25) { $0 > 0 && $0 < 1 }
      } ?? 0.25
    if let privacy { readPrivacy(privacy, &setup) }
    setup.unit = unit(privacy, natural: naturalUnit)
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
        own, "clip", "a number above 0 and at most 1e6, or none", or: setup.clipNorm ?? 1
      ) { $0 > 0 && $0 <= 1e6 }
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

  private mutating func architecture(_ top: ScenarioTable) -> ModelArchitecture {
    guard let node = top.entries["model"], word(node) != "logistic" else { return .logisticRegression }
    guard node.mapping != nil else {
      note(node, "model", "model must be logistic or a table with hidden: [units, …]")
      return .logisticRegression
    }
    guard let own = table(node, "model", known: ["hidden"]),
      require(own, "hidden", "the units of each hidden layer"), let layers = own.entries["hidden"]
    else { return .logisticRegression }
    let units = list(layers, "model.hidden").compactMap {
      integer($0, "model.hidden", in: 1...ModelArchitecture.maximumUnits)
    }
    guard (1...ModelArchitecture.maximumLayers).contains(units.count) else {
      note(layers, "model.hidden", "model.hidden must list 1 to \(ModelArchitecture.maximumLayers) layers")
      return .logisticRegression
    }
    return .multiLayerPerceptron(hidden: units)
  }

  private mutating func algorithm(_ training: ScenarioTable) -> LocalAlgorithm {
    guard let node = training.entries["local"] else { return TrainingDefaults.standard.algorithm }
    if word(node) == "fedsgd" { return .fedSGD }
    guard node.mapping != nil,
      let own = table(node, "training.local", known: ["epochs", "batch_size", "learning_rate"])
    else {
      if node.mapping == nil {
        note(
          node, "training.local",
          "training.local must be fedsgd or a table with epochs, batch_size and learning_rate")
      }
      return .fedSGD
    }
    for key in ["epochs", "batch_size", "learning_rate"] { _ = require(own, key, "part of local training") }
    return .fedAvg(
      epochs: integer(own, "epochs", in: 1...LocalAlgorithm.maximumEpochs, or: 1),
      batchSize: integer(own, "batch_size", in: 1...1_000_000, or: 1), learningRate: rate(own))
  }

  private mutating func rate(_ own: ScenarioTable) -> Float {
    Float(number(own, "learning_rate", "above 0 and at most 1e6", or: 1) { $0 > 1e-12 && $0 <= 1e6 })
  }

  private enum ServerRule: String, CaseIterable { case sgd, momentum, adam }

  private mutating func optimizer(_ training: ScenarioTable) -> ServerOptimizer.Kind {
    guard let node = training.entries["server"] else { return TrainingDefaults.standard.optimizer }
    guard
      let own = table(
        node, "training.server", known: ["rule", "learning_rate", "beta", "beta1", "beta2", "epsilon"])
    else { return .sgd(learningRate: 1) }
    _ = require(own, "rule", "one of sgd, momentum, adam")
    _ = require(own, "learning_rate", "the server's step size")
    let rule = choice(own, "rule", or: ServerRule.sgd)
    let used: Set<String> =
      switch rule {
      case .sgd: ["rule", "learning_rate"]
      case .momentum: ["rule", "learning_rate", "beta"]
      case .adam: ["rule", "learning_rate", "beta1", "beta2", "epsilon"]
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
        epsilon: Float(number(own, "epsilon", "above 0 and at most 1", or: 1e-8) { $0 > 1e-30 && $0 <= 1 }))
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
