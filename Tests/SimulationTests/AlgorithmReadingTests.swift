import Learning
import Testing

@testable import Simulation

@Suite struct `Algorithms in scenario files` {
  private static let plain = """
    name: plain
    data:
      file: shop.csv
      label: bought
      subject: customer
      partition: {by: iid, nodes: 10}
    training:
      rounds: 5
      local: LOCAL
      early_stopping: STOPPING
      asynchronous: ASYNCHRONOUS
    evaluation: {EVALUATION}
    privacy: {epsilon: EPSILON, clip: 1}
    aggregation: AGGREGATION
    """

  private func text(
    local: String = "fedsgd", stopping: String = "none", asynchronous: String = "none",
    evaluation: String = "every: 1", epsilon: String = "inf", aggregation: String = "off", rest: String = ""
  ) -> String {
    let fields = [
      ("LOCAL", local), ("STOPPING", stopping), ("ASYNCHRONOUS", asynchronous), ("EVALUATION", evaluation),
      ("EPSILON", epsilon), ("AGGREGATION", aggregation),
    ]
    return fields.reduce(Self.plain) { $0.replacing($1.0, with: $1.1) } + "\n" + rest
  }

  private func setup(_ text: String) throws -> RunSetup {
    try #require(Scenario.read(text, file: "a.yaml").points.first).setup
  }

  private func problems(_ text: String) -> [ScenarioProblem] {
    do { _ = try Scenario.read(text, file: "a.yaml") } catch {
      if case .invalid(let problems) = error { return problems }
    }
    return []
  }

  private static let stopping = "{patience: 3, minimum_improvement: 0.001, metric: auc}"
  private static let scaffold =
    "{algorithm: scaffold, epochs: 5, batch_size: 8, learning_rate: 0.1, normalise: 20}"

  @Test func `reads early stopping, SCAFFOLD and asynchronous rounds`() throws {
    let stopping = try setup(text(stopping: Self.stopping, evaluation: "validation: 0.125"))
    #expect(stopping.earlyStopping == EarlyStopping(patience: 3, minimumImprovement: 0.001, metric: .auc))
    #expect(stopping.validationPermille == 125)
    let modelled = try setup(text(stopping: Self.stopping, epsilon: "4", aggregation: "modelled"))
    #expect(modelled.earlyStopping?.patience == 3 && modelled.validationPermille == nil)
    let scaffold = try setup(text(local: Self.scaffold))
    #expect(
      scaffold.algorithm
        == .local(
          LocalSettings(epochs: 5, batchSize: 8, learningRate: 0.1, normalise: 20, controlVariates: true)))
    let named = try setup(
      text(local: "{name: plain, algorithm: fedavg, epochs: 5, batch_size: 8, learning_rate: 0.1}"))
    #expect(named.algorithm == .fedAvg(epochs: 5, batchSize: 8, learningRate: 0.1))
    let asynchronous = try setup(text(asynchronous: "{buffer: 4, concurrency: 9}")).asynchronous
    #expect(asynchronous == AsynchronousRounds(buffer: 4, concurrency: 9))
    let other = try setup(
      text(
        asynchronous:
          "{buffer: 1, concurrency: 1, speed: half-normal, spread: 2, jitter: 0, staleness: constant}")
    ).asynchronous
    #expect(
      other
        == AsynchronousRounds(
          buffer: 1, concurrency: 1, speed: .halfNormal, spread: 2, jitter: 0, staleness: .constant))
    let none = try setup(text())
    #expect(none.earlyStopping == nil && none.asynchronous == nil && none.validationPermille == nil)
  }

  @Test func `names the line of what cannot be combined`() {
    let mistakes: [(text: String, line: Int, says: String)] = [
      (text(stopping: Self.stopping), 10, "evaluation.validation"),
      (text(stopping: Self.stopping, evaluation: "validation: 0.1", epsilon: "4"), 10, "say modelled"),
      (text(stopping: "{patience: 0, metric: auc}", evaluation: "validation: 0.1"), 10, "patience"),
      (text(stopping: "{patience: 1, metric: rmse}", evaluation: "validation: 0.1"), 10, "auc, accuracy"),
      (text(stopping: "{metric: auc}", evaluation: "validation: 0.1"), 10, "patience is missing"),
      (
        text(evaluation: "validation: 0.1").replacing("  early_stopping: none\n", with: ""), 11,
        "means nothing"
      ),
      (
        text(stopping: Self.stopping, evaluation: "validation: 0.1", aggregation: "modelled"), 12,
        "private measurements"
      ),
      (
        text(local: "{algorithm: scaffold, epochs: 1, batch_size: 1, learning_rate: 1}"), 9,
        "normalise is missing"
      ),
      (text(local: Self.scaffold.replacing("}", with: ", proximal: 1}")), 9, "proximal"),
      (text(local: Self.scaffold, aggregation: "modelled"), 9, "every customer"),
      (text(local: Self.scaffold, rest: "groups: {number: 3}"), 9, "plain mean"),
      (text(local: Self.scaffold, asynchronous: "{buffer: 1, concurrency: 2}"), 9, "plain mean"),
      (text(asynchronous: "{buffer: 1}"), 11, "concurrency is missing"),
      (text(asynchronous: "{buffer: 1, concurrency: 2}", aggregation: "modelled"), 11, "aggregation: off"),
      (text(asynchronous: "{buffer: 1, concurrency: 2}", rest: "cohort: 4"), 15, "cohort means nothing"),
      (text(asynchronous: "{buffer: 1, concurrency: 2}", rest: "dropout: 0.1"), 15, "synchronous"),
      (text(asynchronous: "{buffer: 1, concurrency: 2, speed: constant, spread: 1}"), 11, "means nothing"),
      (text(asynchronous: "{buffer: 1, concurrency: 2}", rest: "model: {kind: trees}"), 11, "linear models"),
    ]
    for mistake in mistakes {
      let found = problems(mistake.text)
      #expect(
        found.contains { $0.line == mistake.line && $0.description.contains(mistake.says) },
        "\(mistake.says): \(found.map(\.description))")
    }
  }
}
