import Learning

/// Early stopping of a run with `aggregation: off`: exact measurements of contributors who do not train.
struct CentralStopping {
  private let rule: EarlyStopping
  private let validation: any ModelEvaluation
  private let interval: Int
  private var state = EarlyStoppingState()
  private var best: [Float] = []
  private var endedAfter: Int?

  /// - Parameter interval: rounds from one measurement to the next.
  init(rule: EarlyStopping, validation: any ModelEvaluation, interval: Int) {
    self.rule = rule
    self.validation = validation
    self.interval = interval
  }

  /// Measures the model after a round if it is time to.
  ///
  /// - Returns: whether training ends.
  mutating func isOver(after round: Int, parameters: [Float], pool: WorkerPool) throws -> Bool {
    guard round % interval == 0 else { return false }
    let metrics = try validation.measure(parameters: parameters, pool: pool, nodeName: nil).all
    if state.take(rule.metric.value(of: metrics), round: round, rule: rule) { best = parameters }
    guard state.isOver(rule) else { return false }
    endedAfter = round
    return true
  }

  /// The best parameters; nil if training did not end early.
  var kept: [Float]? { endedAfter == nil ? nil : best }

  /// What came of it, as sentences.
  func sentences(rounds: Int) -> [String] {
    guard let endedAfter, let round = state.bestRound else { return [] }
    return [
      "Training ended after \(endedAfter) of \(rounds) rounds: \(rule.metric.rawValue) on the validation "
        + "contributors had not improved by more than \(rule.minimumImprovement) in \(rule.patience) measurements. "
        + "The model is that of round \(round)."
    ]
  }
}

extension CentralData {
  /// The records of the validation contributors, of all nodes or of a sample of them if there are many.
  func validation(pool: WorkerPool) throws -> any ModelEvaluation {
    let nodes = CohortSampler(seed: 0x7661_6c69_6461_7465, nodeCount: nodeCount)
      .cohort(round: 0, size: Self.evaluationNodes)
    let batches = try pool.map(nodes.count) { index in [try validation(of: nodes[index])] }.flatMap { $0 }
    do { return try HeldOutRecords(nodes: nodes, batches: batches, model: model) } catch {
      guard case CentralRunError.nothingHeldOut = error else { throw error }
      throw CentralRunError.invalidSetting(
        name: "the validation share", reason: "no contributor was drawn for it; make it larger")
    }
  }
}
