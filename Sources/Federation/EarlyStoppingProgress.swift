import Foundation
package import Learning

/// Early stopping of a task so far: its measurements, and the model that they found best.
package struct EarlyStoppingProgress: Codable, Sendable, Equatable {
  /// The measurements.
  package var state = EarlyStoppingState()
  /// The parameters of the model after `state.bestRound`: binary32, little-endian.
  private var parameters = Data()
  /// Standard deviation of the last measurement, from the noise of its sums to first order; nil before the
  /// first, and where the measure was not defined.
  package var deviation: Double?
  /// Weighted sum of the variances behind `TaskProgress.evaluationAverage`, in contributors squared.
  package var averageVariance = 0.0
  /// The rounds that were done when training ended early; nil if it did not.
  package var endedAfter: Int?

  package init() {}

  /// The parameters that are kept.
  package var bestParameters: [Float] {
    parameters.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map {
        Float(
          bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self)))
      }
    }
  }

  /// Forgets the kept parameters, for those who may not have models.
  package mutating func forgetModel() { parameters = Data() }

  /// Keeps parameters.
  mutating func keep(_ best: [Float]) {
    var data = Data(capacity: 4 * best.count)
    for value in best {
      withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
    }
    parameters = data
  }

  /// What the operator must know, one sentence each.
  package func sentences(_ rule: EarlyStopping, of rounds: Int) -> [String] {
    var sentences: [String] = []
    let metric = rule.metric.rawValue
    if let endedAfter, let round = state.bestRound {
      sentences.append(
        "Training ended after \(endedAfter) of \(rounds) rounds: \(metric) had not improved by more than "
          + "\(rule.minimumImprovement) in \(rule.patience) measurements. The model is that of round \(round)"
          + (endedAfter < rounds ? "; the budget of the other rounds is not spent." : "."))
    }
    if let deviation, deviation > rule.minimumImprovement {
      let shown = Float(String(format: "%.2g", deviation)) ?? Float(deviation)
      sentences.append(
        "The noise of \(metric) has a standard deviation of about \(shown), more than the minimum improvement of "
          + "\(rule.minimumImprovement): chance has a part in when training ends.")
    }
    return sentences
  }
}

extension TaskProgress {
  /// What anybody may see: without models, the optimiser's state and raw sums.
  package var `public`: TaskProgress {
    var progress = self
    progress.optimizer = nil
    progress.evaluationAverage = []
    progress.earlyStopping?.forgetModel()
    return progress
  }

  /// Whether training ended early: the task's model is then the best that was measured, not the last.
  package var hasStoppedEarly: Bool { earlyStopping?.endedAfter != nil }

  /// The report of the round whose model is the task's; nil before the first.
  package var modelRound: RoundReport? {
    guard hasStoppedEarly, let best = earlyStopping?.state.bestRound else { return rounds.last }
    return rounds.first { $0.round == best }
  }
}

extension TaskEngine {
  /// Takes the measurement of the current model, that of the last round so far, before the next step changes it.
  ///
  /// - Parameters:
  ///   - sums: what the metrics were computed of.
  ///   - variance: of the noise on each of its coordinates.
  mutating func observe(
    _ metrics: EvaluationMetrics, sums: [Double], variance: Double, layout: EvaluationLayout
  ) {
    guard let rule = task.earlyStopping, let round = progress.rounds.last?.round else { return }
    var stopping = progress.earlyStopping ?? EarlyStoppingProgress()
    stopping.deviation = layout.deviation(of: rule.metric, sum: sums, noise: variance.squareRoot())
    if stopping.state.take(rule.metric.value(of: metrics), round: round, rule: rule) {
      stopping.keep(artifact.parameters)
    }
    progress.earlyStopping = stopping
  }

  /// The parameters that are the task's from now on, if the last measurement was that which was waited for;
  /// else nil.
  var bestModel: [Float]? {
    guard let rule = task.earlyStopping, let stopping = progress.earlyStopping, stopping.endedAfter == nil,
      stopping.state.isOver(rule)
    else { return nil }
    return stopping.bestParameters
  }
}
