/// What a scenario's result is compared with: a figure that somebody reached by other means.
package struct ScenarioReference: Codable, Equatable, Sendable {
  /// The measure.
  package var metric: String
  /// What was reached: the median over seeds should come near.
  package var value: Double
  /// By what, such as "gradient boosting, centralised".
  package var model: String
  /// The least (for errors the most) that the scenario must reach.
  package var goal: Double
  /// The task in a few words.
  package var task: String
  /// How records were held out, in a few words.
  package var split: String
  /// What the reader of a comparison must be told; nil for nothing.
  package var warning: String?

  /// The measure; nil if results know none of the name.
  package var sweepMetric: SweepMetric? { SweepMetric(rawValue: metric) }
}

extension ScenarioReader {
  /// The `reference` of a scenario; nil without one.
  mutating func reference(_ top: ScenarioTable) -> ScenarioReference? {
    guard
      let own = table(
        top, "reference", known: ["task", "split", "metric", "value", "model", "goal", "warning"])
    else { return nil }
    for key in ["task", "split", "metric", "value", "model", "goal"] {
      _ = require(own, key, "part of what results are compared with")
    }
    let metric = choice(own, "metric", or: SweepMetric.auc)
    return ScenarioReference(
      metric: metric.rawValue, value: number(own, "value", "a number", or: 0) { $0.isFinite },
      model: text(own, "model", maximum: 200) ?? "",
      goal: number(own, "goal", "a number", or: 0) { $0.isFinite },
      task: text(own, "task", maximum: 200) ?? "", split: text(own, "split", maximum: 200) ?? "",
      warning: text(own, "warning", maximum: 1_000))
  }
}
