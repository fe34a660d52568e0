import Learning
import Privacy

extension ScenarioReader {
  private enum AlgorithmWord: String, CaseIterable { case fedavg, scaffold }

  /// `algorithm` of local training: SCAFFOLD is local SGD with control variates.
  mutating func readVariates(_ own: ScenarioTable, _ settings: inout LocalSettings) {
    guard choice(own, "algorithm", or: AlgorithmWord.fedavg) == .scaffold else { return }
    settings.controlVariates = true
    _ = require(
      own, "normalise",
      "with algorithm: scaffold the public number of steps that displacements are scaled to, about what a typical "
        + "contributor takes")
    if settings.proximal > 0 {
      note(
        own.entries["proximal"], own.path("proximal"),
        "\(own.path("proximal")) cannot be combined with algorithm: scaffold; leave it out")
    }
  }

  /// `training.early_stopping`, `training.asynchronous` and `evaluation.validation`.
  mutating func readAlgorithms(
    _ top: ScenarioTable, _ training: ScenarioTable?, _ evaluation: ScenarioTable?, _ setup: inout RunSetup
  ) {
    let isCentral = setup.aggregation == .off
    if let evaluation, let node = evaluation.entries["validation"] {
      setup.validationPermille = permille(evaluation, "validation", in: 1...500, or: 100)
      if !isCentral {
        note(
          node, "evaluation.validation",
          "evaluation.validation is for aggregation: off; with \(setup.aggregation.rawValue) early stopping looks at "
            + "the task's own private measurements")
      }
    }
    if let training {
      setup.earlyStopping = earlyStopping(training, evaluation, setup)
      setup.asynchronous = asynchronous(training, top, setup)
    }
    // `none` keeps the same contributors out of training, to be compared with.
    if training?.entries["early_stopping"] == nil, isCentral, let node = evaluation?.entries["validation"] {
      note(
        node, "evaluation.validation",
        "evaluation.validation means nothing without training.early_stopping; leave it out")
    }
    guard setup.algorithm.hasControlVariates else { return }
    let local = training?.entries["local"]
    if !setup.architecture.isDescended {
      note(
        local, "training.local.algorithm",
        "training.local.algorithm: scaffold is for linear models and networks")
    }
    if !isCentral {
      note(
        local, "training.local.algorithm",
        "training.local.algorithm: scaffold is simulated with aggregation: off alone: a node would have to keep a "
          + "control variate of every customer from round to round")
    }
    if setup.attack != nil || setup.groups != nil || setup.asynchronous != nil {
      note(
        local, "training.local.algorithm",
        "training.local.algorithm: scaffold follows the plain mean of a round: leave attack, groups and "
          + "training.asynchronous out")
    }
  }

  private mutating func earlyStopping(
    _ training: ScenarioTable, _ evaluation: ScenarioTable?, _ setup: RunSetup
  ) -> EarlyStopping? {
    guard let node = training.entries["early_stopping"], word(node) != "none",
      let own = table(
        node, "training.early_stopping", known: ["name", "patience", "minimum_improvement", "metric"])
    else { return nil }
    for key in ["patience", "metric"] { _ = require(own, key, "part of early stopping") }
    let known = EarlyStopping.Metric.known(for: setup.architecture.objective)
    let rule = EarlyStopping(
      patience: integer(own, "patience", in: 1...EarlyStopping.maximumPatience, or: 3),
      minimumImprovement: number(own, "minimum_improvement", "from 0 to 1e6", or: 0) {
        (0...1e6).contains($0)
      },
      metric: choice(own, "metric", or: known.first ?? .auc))
    if known.isEmpty {
      note(
        node, "training.early_stopping", "training.early_stopping has no measure of segments; leave it out")
    } else if !known.contains(rule.metric) {
      note(
        own.entries["metric"], own.path("metric"),
        "\(own.path("metric")) must be one of \(known.map(\.rawValue).joined(separator: ", ")) for this model"
      )
    }
    guard setup.aggregation == .off else { return rule }
    if setup.budget.epsilon.isFinite {
      note(
        node, "training.early_stopping",
        "training.early_stopping with aggregation: off looks at exact measurements, which a finite privacy.epsilon "
          + "would not cover; say modelled")
    }
    if evaluation?.entries["validation"] == nil {
      note(
        node, "training.early_stopping",
        "training.early_stopping with aggregation: off needs evaluation.validation, the share of contributors to "
          + "measure on, such as 0.1")
    }
    return rule
  }

  private mutating func asynchronous(
    _ training: ScenarioTable, _ top: ScenarioTable, _ setup: RunSetup
  ) -> AsynchronousRounds? {
    guard let node = training.entries["asynchronous"], word(node) != "none",
      let own = table(
        node, "training.asynchronous",
        known: ["name", "buffer", "concurrency", "speed", "spread", "jitter", "staleness"])
    else { return nil }
    for key in ["buffer", "concurrency"] { _ = require(own, key, "part of asynchronous rounds") }
    var rounds = AsynchronousRounds(
      buffer: integer(own, "buffer", in: 1...10_000_000, or: 1),
      concurrency: integer(own, "concurrency", in: 1...10_000_000, or: 1),
      speed: choice(own, "speed", or: .lognormal), staleness: choice(own, "staleness", or: .inverseSquareRoot)
    )
    rounds.spread = number(own, "spread", "from 0 to 5", or: 1) { (0...5).contains($0) }
    rounds.jitter = number(own, "jitter", "from 0 to 5", or: 0.1) { (0...5).contains($0) }
    if rounds.speed == .constant, let spread = own.entries["spread"] {
      note(
        spread, own.path("spread"), "\(own.path("spread")) means nothing if speed is constant; leave it out")
    }
    if setup.aggregation != .off {
      note(node, "training.asynchronous", "training.asynchronous is simulated with aggregation: off alone")
    }
    if let cohort = top.entries["cohort"], word(cohort) != "all" {
      note(
        cohort, "cohort", "cohort means nothing with training.asynchronous, whose concurrency says who trains"
      )
    }
    if !setup.architecture.isDescended {
      note(
        node, "training.asynchronous",
        "training.asynchronous is for linear models and networks: vectors of other models depend on the "
          + "round")
    }
    let others = ["attack", "groups", "dropout"].filter { key in
      guard let value = word(top.entries[key]) else { return top.entries[key] != nil }
      return value != "none" && Self.number(value) != 0
    }
    for key in others {
      note(top.entries[key], key, "\(key) is of synchronous rounds; leave it or training.asynchronous out")
    }
    if let personalization = setup.personalization {
      if case .fineTuning = personalization {
      } else {
        note(
          top.entries["personalization"], "personalization",
          "personalization with training.asynchronous must be fine-tuning: the other methods train in synchronous "
            + "rounds")
      }
    }
    if setup.samplingClaim != .none {
      note(
        node, "training.asynchronous",
        "training.asynchronous draws no uniformly random cohorts: privacy.sampling must be none")
    }
    return rounds
  }
}
