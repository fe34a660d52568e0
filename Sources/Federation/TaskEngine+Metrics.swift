import Learning
import Privacy

extension TaskEngine {
  /// How much of the earlier rounds' histograms stays in the average when noise is on: the noise of a
  /// round's metrics shrinks to a third. Averaging what was released costs no privacy.
  private static let evaluationDecay = 0.8

  /// Takes the measurement of the model that the last round produced. With noise, a round's metrics are those
  /// of the weighted average over the rounds so far; the final model is measured on its own.
  mutating func recordMetrics(_ sum: ReleasedSum) throws(FederationError) {
    guard sum.descriptor.segments.contains(where: { $0.name == .evaluation }),
      let measured = progress.modelRound?.round
    else { return }
    var (sums, noise) = try values(.evaluation, sum)
    let layout = try task.evaluationLayout()
    var variance = noise * noise
    if sum.descriptor.kind == .training, task.evaluationBudget.epsilon.isFinite {
      let decay = Self.evaluationDecay
      let earlier = progress.evaluationAverage
      let average = sums.indices.map { index in
        (earlier.isEmpty ? 0 : earlier[index]) * decay + sums[index] * (1 - decay)
      }
      progress.evaluationAverage = average
      progress.evaluationWeight = progress.evaluationWeight * decay + (1 - decay)
      sums = average.map { $0 / progress.evaluationWeight }
      if task.earlyStopping != nil {
        var stopping = progress.earlyStopping ?? EarlyStoppingProgress()
        stopping.averageVariance =
          stopping.averageVariance * decay * decay + variance * (1 - decay) * (1 - decay)
        variance = stopping.averageVariance / (progress.evaluationWeight * progress.evaluationWeight)
        progress.earlyStopping = stopping
      }
    }
    let metrics = layout.decode(sum: sums)
    if sum.descriptor.kind == .training {
      observe(metrics, sums: sums, variance: variance, layout: layout)
    }
    guard let index = progress.rounds.firstIndex(where: { $0.round == measured }) else { return }
    progress.rounds[index].loss = metrics.logLoss
    progress.rounds[index].auc = metrics.auc
    progress.rounds[index].accuracy = metrics.accuracy
    progress.rounds[index].rmse = metrics.rmse
    progress.rounds[index].mae = metrics.mae
    progress.rounds[index].r2 = metrics.r2
    progress.rounds[index].silhouette = metrics.silhouette
    progress.rounds[index].segmentShares = metrics.segmentShares
  }
}
