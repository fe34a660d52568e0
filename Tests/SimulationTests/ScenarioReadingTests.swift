import Foundation
import Learning
import Privacy
import Testing

@testable import Simulation

/// A scenario that is in order, to spoil in one place or another.
let plainScenario = """
  name: plain
  data:
    file: shop.csv
    label: bought
    subject: customer
    partition: {by: iid, nodes: 10}
  training:
    rounds: 5
    local: fedsgd
    server: {rule: sgd, learning_rate: 1}
  privacy:
    epsilon: 4
    clip: 1
  cohort: 8
  """

@Suite struct `Scenario files` {
  private func problems(_ text: String, _ changes: Scenario.Changes = .init()) -> [ScenarioProblem] {
    do {
      _ = try Scenario.read(text, file: "a.yaml", changes: changes)
      return []
    } catch {
      guard case .invalid(let problems) = error else { return [] }
      return problems
    }
  }

  private func problems(_ old: String, _ new: String) -> [String] {
    #expect(plainScenario.contains(old))
    return problems(plainScenario.replacing(old, with: new)).map(\.description)
  }

  @Test func `reads a plain file with every default`() throws {
    let scenario = try Scenario.read(plainScenario, file: "a.yaml")
    #expect(scenario.name == "plain" && scenario.axes.isEmpty && scenario.seeds == [1])
    let point = try #require(scenario.points.first)
    #expect(scenario.points.count == 1)
    #expect(
      point.setup.rounds == 5 && point.setup.cohort == .fixed(8) && point.setup.aggregation == .modelled)
    #expect(point.setup.budget == PrivacyBudget(epsilon: 4, delta: 1e-5))
    #expect(point.setup.unit == .customer && point.setup.clipNorm == 1 && point.setup.evaluationBins == 18)
    #expect(point.setup.optimizer == .sgd(learningRate: 1) && point.setup.algorithm == .fedSGD)
    #expect(point.data.name == "shop")
    guard case .table(let table) = point.data.source else {
      Issue.record("not a table")
      return
    }
    #expect(table.partition == .iid(nodes: 10, seed: 1) && table.positive == nil && !table.dropsIncomplete)
  }

  @Test func `reads local training with and without what holds it back`() throws {
    func algorithm(_ rest: String) throws -> LocalAlgorithm? {
      let local = "local: {epochs: 2, batch_size: 4, learning_rate: 0.5\(rest)}"
      let text = plainScenario.replacing("local: fedsgd", with: local)
      return try Scenario.read(text, file: "a.yaml").points.first?.setup.algorithm
    }
    let plain = LocalAlgorithm.fedAvg(epochs: 2, batchSize: 4, learningRate: 0.5)
    #expect(try algorithm("") == plain && algorithm(", proximal: 0") == plain)
    let settings = LocalSettings(
      epochs: 2, batchSize: 4, learningRate: 0.5, proximal: 2, normalise: 10)
    #expect(try algorithm(", proximal: 2, normalise: 10") == .local(settings))
  }

  @Test func `takes a record as the unit where no column names the contributor`() throws {
    let text = plainScenario.replacing("  subject: customer\n", with: "")
    #expect(try Scenario.read(text, file: "a.yaml").points[0].setup.unit == .record)
    let claimed = text.replacing("clip: 1", with: "unit: customer")
    #expect(throws: ScenarioError.self) { try Scenario.read(claimed, file: "a.yaml") }
  }

  static let mistakes: [(old: String, new: String, line: Int, says: String)] = [
    ("rounds: 5", "rounds: 0", 8, "training.rounds must be a whole number from 1 to 10,000, not 0"),
    ("rounds: 5", "rounds: five", 8, "not five"), ("rounds: 5", "ruonds: 5", 8, "did you mean rounds?"),
    ("rounds: 5", "rounds: 5\n  rounds: 6", 8, "stands twice"),
    ("cohort: 8", "cohort: some", 14, "cohort must be all or a number of nodes"),
    ("cohort: 8", "cohort: 1", 14, "cohort must be at least 2 unless aggregation is off"),
    ("cohort: 8", "cohorte: 8", 14, "did you mean cohort?"),
    (
      "epsilon: 4", "epsilon: -1", 12, "privacy.epsilon must be a number above 0, or inf for no noise, not -1"
    ),
    ("epsilon: 4", "epsilon: 0x4", 12, "not 0x4"),
    ("epsilon: 4", "delta: 1e-5", 12, "privacy.epsilon is missing"),
    ("epsilon: 4", "epsilon: 4\n  delta: 0.5", 13, "above 0 and below 0.5"),
    ("clip: 1", "clip: none", 13, "only with aggregation: off"), ("clip: 1", "clip: 0", 13, "or none, not 0"),
    ("clip: 1", "sampling: fixed-size", 13, "aggregation: off alone"),
    ("clip: 1", "unit: node", 13, "only with aggregation: off"),
    ("clip: 1", "unit: client", 13, "must be one of customer, record, node, not client"),
    ("clip: 1", "statistics_share: 0.6", 13, "at most 0.5"),
    (
      "rule: sgd", "rule: sdg", 10,
      "must be one of sgd, momentum, adam, yogi, adagrad, not sdg; did you mean sgd?"
    ),
    ("rounds: 5", "rounds: 5\n  schedule: {rule: cosine}", 9, "one of constant, linear, inverse-square-root"),
    ("rule: sgd", "rule: adagrad, beta: 0.9", 10, "training.server.beta means nothing if rule is adagrad"),
    ("rule: sgd", "beta: 0.9, rule: sgd", 10, "training.server.beta means nothing if rule is sgd"),
    ("learning_rate: 1}", "learning_rate: 0}", 10, "above 0"),
    ("local: fedsgd", "local: fedavg", 9, "must be fedsgd or a table"),
    ("local: fedsgd", "local: {epochs: 1, batch_size: 4}", 9, "training.local.learning_rate is missing"),
    (
      "local: fedsgd", "local: {epochs: 1, batch_size: 4, learning_rate: 0.5, proximal: 2.1}", 9,
      "at most 1 / learning_rate"
    ),
    (
      "local: fedsgd", "local: {epochs: 1, batch_size: 4, learning_rate: 0.5, normalise: 0}", 9,
      "from 1 to 1,000,000"
    ),
    ("by: iid", "by: random", 6, "must be one of iid, column, dirichlet, contributor"),
    ("by: iid", "by: contributor", 6, "data.partition.nodes means nothing if by is contributor"),
    ("by: iid", "by: dirichlet", 6, "data.partition.alpha is missing"),
    ("by: iid", "by: column", 6, "data.partition.column is missing"),
    ("nodes: 10", "nodes: 10001", 6, "from 1 to 10,000, not 10001"),
    ("label: bought", "positive: '= 1'", 3, "data.label is missing"),
    ("label: bought", "label: bought\n  positive: maybe", 5, "must be a comparison"),
    ("label: bought", "label: bought\n  positive: '> many'", 5, "must be a comparison"),
    ("file: shop.csv", "generator: retail", 4, "data.label is no key of a scenario"),
    ("file: shop.csv", "file: shop.csv\n  generator: retail", 3, "both file and generator"),
    ("file: shop.csv", "fiel: shop.csv", 3, "did you mean file?"),
    ("name: plain", "name: [a]", 1, "name must be a text"),
    ("name: plain", "sweep: 3", 1, "sweep must be a table"),
    ("name: plain", "sweep: {privacy.epsilon: 3}", 1, "must be a list"),
    ("name: plain", "sweep: {privacy.epsilon: []}", 1, "must not be empty"),
    ("name: plain", "sweep: {privacy.epsilon: [1, 1]}", 1, "has 1 twice"),
    ("name: plain", "sweep: {seeds: [1, 2]}", 1, "no field that can be swept"),
    ("name: plain", "sweep: {privacy.epsilom: [1, 2]}", 1, "did you mean epsilon?"),
    (
      "name: plain", "sweep: {cohort.size: [1, 2]}", 1,
      "cohort.size cannot be set: cohort is not a table here"
    ),
    ("name: plain", "sweep: {privacy.clip: [1], privacy: [{epsilon: 2}]}", 1, "put it before"),
    ("name: plain", "seeds: []", 1, "must not be empty"), ("name: plain", "seeds: [1, 1]", 1, "twice"),
    ("name: plain", "dropout: 0.5", 1, "dropout must be a fraction from 0.0 to 0.333"),
    ("name: plain", "dropout: 0.1\nsurvivors: 0.95", 2, "at most 1 together"),
    ("name: plain", "survivors: 0.2\ncorrupt: 0.3", 2, "corrupt must be below survivors"),
    ("name: plain", "aggregation: none", 1, "must be one of full, modelled, off, not none"),
    ("name: plain", "features: {quantile_bins: 0}", 1, "only with aggregation: off"),
    ("name: plain", "model: deep", 1, "model must be logistic, a table"),
    ("name: plain", "model: {hidden: [0]}", 1, "from 1 to 8,192"),
    ("name: plain", "model: {hidden: []}", 1, "1 to 8 layers"),
    ("name: plain", "evaluation: {bins: 1}", 1, "from 2 to 4,096"),
    ("name: plain", "name: 'a", 14, "not YAML"),
    ("label: bought", "label: bought\n  label_is: numeric", 5, "must be one of binary, number, not numeric"),
    ("label: bought", "label: bought\n  label_is: number\n  positive: '= 1'", 6, "if label_is is number"),
    ("label: bought", "label: bought\n  hold_out: records", 5, "needs test_rows or held_out"),
    ("label: bought", "label: bought\n  hold_out: people", 5, "must be one of contributors, records"),
    ("label: bought", "label: bought\n  test_rows: a.txt\n  held_out: h", 6, "keep one"),
    ("label: bought", "label: bought\n  query: SELECT 1", 5, "needs tables, the files that it reads"),
    ("file: shop.csv", "tables: {t: shop.csv}", 3, "data.query is missing"),
    ("file: shop.csv", "tables: [shop.csv]\n  query: SELECT 1", 3, "must name files: {purchases: "),
    ("file: shop.csv", "tables: {t: {fil: a.csv}}\n  query: SELECT 1", 3, "did you mean file?"),
    ("file: shop.csv", "tables: {t: shop.csv}\n  query: DROP TABLE t", 4, "must begin with SELECT or WITH"),
    ("file: shop.csv", "tables: {t: shop.csv}\n  query: SELECT random()", 4, "must not use random()"),
    ("file: shop.csv", "file: a.csv\n  tables: {t: shop.csv}", 3, "both file and tables; keep one"),
  ]

  /// What is wrong with models, training and robustness, in place of the file's first line.
  static let modelMistakes: [(new: String, line: Int, says: String)] = [
    ("model: {kind: tree}", 1, "one of linear, network, trees, recommendation, "),
    ("model: {kind: tree}", 1, "did you mean trees?"),
    ("model: {kind: segments}", 1, "model.count is missing: the number of segments"),
    ("model: {kind: segments, count: 1}", 1, "model.count must be a whole number from 2 to 256"),
    ("model: {kind: neural-recommendation, items: 5}", 1, "model.feedback is missing"),
    ("model: {kind: trees, hidden: [3]}", 1, "model.hidden means nothing if kind is trees"),
    ("model: {kind: trees, dept: 3}", 1, "did you mean depth?"),
    ("model: {kind: trees, objective: classes, classes: 3}", 1, "trees predict one number"),
    ("model: {kind: trees, trees: 0}", 1, "model.trees must be a whole number from 1 to 4,096"),
    ("model: {kind: network}", 1, "model.hidden is missing: the units of each hidden layer"),
    ("model: {kind: network, hidden: [4], dropout: 0.95}", 1, "model.dropout must be from 0 to 0.9"),
    ("model: {kind: network, hidden: [4], activation: tanh}", 1, "must be one of relu, gelu, not tanh"),
    ("model: {kind: linear, objective: classes}", 1, "model.classes is missing: the number of classes"),
    ("model: {kind: linear, delta: 2}", 1, "model.delta is for objective: huber; leave it out"),
    ("model: {kind: linear, objective: huber}", 1, "evaluation.label_bound is missing"),
    ("model: {kind: recommendation, items: 5}", 1, "model.feedback is missing: ratings or interactions"),
    ("model: {kind: recommendation, feedback: ratings}", 1, "model.items is missing"),
    ("attack: {share: 0.1, kind: flip-labels}", 1, "attack is simulated with aggregation: off alone"),
    ("groups: {number: 3}", 1, "groups is simulated with aggregation: off alone"),
    ("aggregation: off\nattack: {kind: flip-labels}", 2, "attack.share is missing"),
    ("aggregation: off\nattack: {share: 0.1, kind: flip-labels, factor: 3}", 2, "means nothing if kind is"),
    ("aggregation: off\nattack: {share: 0.6, kind: flip-labels}", 2, "a fraction from 0.0 to 0.5"),
    ("aggregation: off\nattack: {share: 0.1, kind: scale-updates, factor: 1}", 2, "above 1 and at most 1e6"),
    ("aggregation: off\ngroups: {combination: mean}", 2, "groups.number is missing"),
    ("aggregation: off\ngroups: {number: 3, combination: mode}", 2, "one of mean, median, trimmed-mean"),
    ("personalization: {method: fine-tuning}", 1, "is simulated with aggregation: off alone"),
    (
      "aggregation: off\npersonalization: {method: fine-tuning, epochs: 1, batch_size: 4}", 2,
      "personalization.learning_rate is missing"
    ),
    (
      "aggregation: off\npersonalization: {method: ditto, epochs: 1, batch_size: 4, learning_rate: 1}", 2,
      "personalization.proximal is missing: the pull towards the global model"
    ),
    (
      "aggregation: off\npersonalization: {method: ifca, epochs: 1, batch_size: 4, learning_rate: 1, clusters: 2}",
      2, "its second federated model would spend a budget of its own"
    ),
    (
      "aggregation: off\npersonalization: {method: apfl, epochs: 1, batch_size: 4, learning_rate: 1, clusters: 2}",
      2, "personalization.clusters means nothing if method is apfl"
    ),
    (
      "aggregation: off\npersonalization: {method: fine-tuning, epochs: 1, batch_size: 4, learning_rate: 1, "
        + "part: body}", 2, "a linear model has one layer: choose all"
    ),
    ("reference: {task: a}", 1, "reference.goal is missing"),
    ("reference: {metric: aucc}", 1, "did you mean auc?"),
  ]

  @Test(arguments: modelMistakes.indices)
  func `names a mistake in a model with its line`(index: Int) {
    let (new, line, says) = Self.modelMistakes[index]
    let found = problems("name: plain", new)
    let matches = found.contains { $0.hasPrefix("a.yaml:\(line): ") && $0.contains(says) }
    #expect(matches, "\(new): \(found)")
  }

  @Test(arguments: mistakes.indices)
  func `names a mistake with its line and what is allowed`(index: Int) {
    let (old, new, line, says) = Self.mistakes[index]
    let found = problems(old, new)
    let matches = found.contains { $0.hasPrefix("a.yaml:\(line): ") && $0.contains(says) }
    #expect(matches, "\(new): \(found)")
  }

  @Test func `reports all mistakes of a file in the order of their lines, each once`() {
    let text =
      plainScenario.replacing("rounds: 5", with: "rounds: 0").replacing("epsilon: 4", with: "epsilon: -1")
      .replacing("label: bought", with: "lable: bought")
      + "\nsweep: {cohort: [2, 4, x], privacy.clip: [1, 2]}\n"
    let found = problems(text)
    #expect(found.map(\.line) == [3, 4, 8, 12, 15])
    #expect(found.last?.text.contains("cohort must be all or a number") == true)
  }

  @Test func `resolves a sweep to its cross product, the last field fastest`() throws {
    let text =
      plainScenario + """

        seeds: [3, 5]
        sweep:
          data:
            - {name: one, file: a.csv, label: y, partition: {by: iid, nodes: 10}}
            - {file: sub/b.csv.gz, label: y, subject: s, partition: {by: contributor}}
          cohort: [4, all]
          privacy.epsilon: [0.5, inf]
          training.local: [fedsgd, {epochs: 1, batch_size: 2, learning_rate: 0.1}]
        """
    let scenario = try Scenario.read(text, file: "a.yaml")
    #expect(scenario.points.count == 16 && scenario.runCount == 32)
    #expect(scenario.axes.map(\.path) == ["data", "cohort", "privacy.epsilon", "training.local"])
    #expect(scenario.axes[0].values == ["one", "b"])
    #expect(scenario.points[0].values == ["one", "4", "0.5", "fedsgd"])
    #expect(scenario.points[15].values == ["b", "all", "inf", "epochs 1, batch_size 2, learning_rate 0.1"])
    #expect(scenario.points[0].setup.unit == .record && scenario.points[15].setup.unit == .customer)
    #expect(scenario.points[15].setup.cohort == .all)
    #expect(scenario.points[15].setup.budget.epsilon == .infinity)
    #expect(scenario.points[15].setup.evaluationBins == 256)
    #expect(
      scenario.points[15].setup.algorithm == .fedAvg(epochs: 1, batchSize: 2, learningRate: 0.1))
    #expect(Set(scenario.points.map(\.values)).count == 16)
  }

  @Test func `sets an inner field within every value of a swept table`() throws {
    let text =
      plainScenario + """

        sweep:
          data:
            - {name: one, file: a.csv, label: y, partition: {by: iid, nodes: 10}}
            - {name: two, file: b.csv, label: y, partition: {by: iid, nodes: 10}}
          data.partition.nodes: [20, 30]
        """
    let scenario = try Scenario.read(text, file: "a.yaml")
    let nodes = scenario.points.map { point -> Int in
      guard case .table(let table) = point.data.source, case .iid(let nodes, _) = table.partition else {
        return 0
      }
      return nodes
    }
    #expect(nodes == [20, 30, 20, 30])
  }

  @Test func `counts seeds from 1 and refuses more runs than the limit`() throws {
    let scenario = try Scenario.read(plainScenario + "\nseeds: 4", file: "a.yaml")
    #expect(scenario.seeds == [1, 2, 3, 4])
    let clips = (1...30).map(String.init).joined(separator: ", ")
    let many = plainScenario + "\nseeds: 1000\nsweep: {privacy.clip: [\(clips)]}"
    #expect(problems(many).map(\.text).first?.contains("more than 20,000 runs") == true)
  }

  @Test func `lets the command line replace fields, swept ones too`() throws {
    let text = plainScenario + "\nsweep: {privacy.epsilon: [1, 2], cohort: [4, 8]}"
    var changes = Scenario.Changes(seeds: [9])
    changes.settings = [
      ("privacy.epsilon", "0.5"), ("model.hidden", "[8]"), ("sweep.training.rounds", "[1, 2]"),
    ]
    let scenario = try Scenario.read(text, file: "a.yaml", changes: changes)
    #expect(scenario.seeds == [9])
    #expect(scenario.axes.map(\.path) == ["cohort", "training.rounds"])
    #expect(scenario.points.allSatisfy { $0.setup.budget.epsilon == 0.5 })
    #expect(scenario.points[0].setup.architecture == .multiLayerPerceptron(hidden: [8]))
  }

  @Test func `names the option where the command line is wrong`() {
    for (path, value, says) in [
      ("privacy.epsilon", "zero", "privacy.epsilon must be"),
      ("privacy.epsilom", "1", "did you mean epsilon?"),
      ("cohort.size", "3", "cohort is not a table"), ("privacy.clip", "[", "not YAML"),
    ] {
      let found = problems(plainScenario, .init(settings: [(path, value)]))
      let isNamed = found.contains { $0.place == "--set \(path)=\(value)" && $0.text.contains(says) }
      #expect(isNamed, "\(found)")
    }
  }

  @Test func `refuses files that are missing, too large, not text or empty`() throws {
    let scratch = try Scratch()
    #expect(throws: ScenarioError.self) { try Scenario.read(path: "/nowhere.yaml") }
    for bytes in [[], [0xFF, 0xFE, 0x00], [UInt8](repeating: 0x20, count: 200_001), Array("- a".utf8)] {
      let path = try scratch.file(bytes, name: "x.yaml")
      #expect(throws: ScenarioError.self) { try Scenario.read(path: path) }
    }
  }

  @Test func `never traps on mutated files`() {
    let text =
      Array(
        (plainScenario + "\nsweep:\n  privacy.epsilon: [1, inf]\n  data.partition: [{by: contributor}]\n")
          .utf8)
    var draws = SeededDraws(seed: 4, purpose: "mutations")
    for _ in 0..<400 {
      var bytes = text
      for _ in 0...draws.uniform(below: 3) {
        bytes[draws.uniform(below: bytes.count)] = UInt8(32 + draws.uniform(below: 95))
      }
      _ = try? Scenario.read(String(decoding: bytes, as: UTF8.self), file: "a.yaml")
    }
  }

  @Test func `keeps every ready scenario in order`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("simulations")
    let files = try FileManager.default.contentsOfDirectory(atPath: root.path).filter {
      $0.hasSuffix(".yaml")
    }
    #expect(files.count >= 9)
    for file in files {
      let scenario = try Scenario.read(path: root.appendingPathComponent(file).path)
      #expect(scenario.name + ".yaml" == file && scenario.summary != nil)
      let manifest = Set(DataManifest.standard.files.map(\.path))
      for point in scenario.points {
        guard case .table(let table) = point.data.source else { continue }
        #expect(table.files.allSatisfy(manifest.contains), "\(file): \(table.files)")
      }
    }
  }
}
