import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

/// Tasks for every kind of model: what they say, what travels, and what is refused.
@Suite struct ModelKindTests {
  static let trees = TreeSettings(trees: 3, maximumDepth: 2, learningRate: 0.5, minimumChildWeight: 0.2)

  static let recommendation = RecommendationSettings(
    factorization: FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5), factors: 2), items: 6)

  private static let classifiers: [ModelArchitecture] = [
    .logisticRegression, .multiLayerPerceptron(hidden: [4]), .network(NetworkSettings()),
    .network(NetworkSettings(hidden: [4], activation: .gelu, dropout: 0.25, objective: .classes(count: 3))),
    .boostedTrees(trees), .boostedTrees(TreeSettings(columnShare: 0.5, splitting: .random)),
    .segments(SegmentSettings(count: 3)), .segments(SegmentSettings(method: .mixture, count: 2)),
  ]
  private static let regressors: [ModelArchitecture] = [
    .network(NetworkSettings(objective: .squaredError)),
    .network(NetworkSettings(objective: .huber(delta: 2))),
    .network(NetworkSettings(objective: .poisson)),
    .boostedTrees(TreeSettings(objective: .tweedie(power: 1.5))),
    .recommendation(recommendation),
    .neuralRecommendation(
      NeuralRecommenderSettings(feedback: .explicit(lowest: 1, highest: 5), items: 6, factors: 2, hidden: [3])
    ),
    .recommendation(
      RecommendationSettings(
        factorization: FactorizationSettings(feedback: .implicit(unobservedWeight: 0.2, strengthWeight: 1)),
        items: 9)),
  ]

  /// The one column of a recommender.
  private static func items() throws -> FeatureSchema {
    try FeatureSchema(columns: [FeatureColumn(name: "item", kind: .numeric)])
  }

  @Test func `a task of every architecture survives its JSON, and their digests differ`() throws {
    var digests: Set<Digest> = []
    let items = try Self.items()
    for (architectures, bound) in [(Self.classifiers, Double?.none), (Self.regressors, 20)] {
      for architecture in architectures {
        let task = try Fixture.task {
          $0.rounds = 20
          $0.architecture = architecture
          $0.labelBound = bound
          if architecture.layout == .items { $0.schema = items }
        }
        let bytes = try task.canonicalBytes()
        let read = try TaskSpecification.decode(bytes)
        #expect(read == task, "\(architecture)")
        #expect(try read.canonicalBytes() == bytes, "\(architecture)")
        digests.insert(TaskSpecification.digest(of: bytes))
      }
    }
    #expect(digests.count == Self.classifiers.count + Self.regressors.count)
  }

  @Test func `what nodes are sent is there before a session is planned`() throws {
    for (architectures, bound) in [(Self.classifiers, Double?.none), (Self.regressors, 20)] {
      for architecture in architectures {
        let isItems = architecture.layout == .items
        let items = try Self.items()
        var engine = TaskEngine(
          task: try Fixture.task {
            $0.rounds = 20
            $0.architecture = architecture
            $0.labelBound = bound
            if isItems { $0.schema = items }
          })
        try engine.task.validate()
        let before = engine.artifact
        let plan = try #require(try engine.nextSession(spent: [:], cohort: 8))
        #expect(engine.artifact == before, "\(architecture)")
        #expect((plan.kind == .training) == isItems && (before.model != nil) == isItems)
      }
    }
    expectRefusal("schema") {
      try Fixture.task {
        $0.architecture = .recommendation(Self.recommendation)
        $0.labelBound = 4
      }.validate()
    }
  }

  @Test func `schedules and optimisers survive their JSON as well`() throws {
    let schedules: [LearningRateSchedule?] = [
      nil, .constant, .linear(steps: 9, end: 0.1), .inverseSquareRoot(warmup: 3),
    ]
    let optimizers: [ServerOptimizer.Kind] = [
      .yogi(learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-3),
      .adagrad(learningRate: 0.1, epsilon: 1e-3),
    ]
    for schedule in schedules {
      for optimizer in optimizers {
        let task = try Fixture.task {
          $0.schedule = schedule
          $0.optimizer = optimizer
        }
        #expect(try TaskSpecification.decode(task.canonicalBytes()) == task)
      }
    }
    expectRefusal("schedule") { try Fixture.task { $0.schedule = .linear(steps: 0, end: 0.1) }.validate() }
  }

  @Test func `a bound on labels is for models of numbers, which need one`() throws {
    for architecture in Self.classifiers {
      expectRefusal("labelBound", "only for models that predict numbers") {
        try Fixture.task {
          $0.architecture = architecture
          $0.labelBound = 1
        }.validate()
      }
    }
    for architecture in Self.regressors {
      expectRefusal("labelBound", "is missing") {
        try Fixture.task { $0.architecture = architecture }.validate()
      }
      for bound in [0, -1, Double.nan, .infinity] {
        expectRefusal("labelBound") {
          try Fixture.task {
            $0.architecture = architecture
            $0.labelBound = bound
          }.validate()
        }
      }
    }
  }

  @Test func `impossible settings are refused in a task`() throws {
    let impossible: [ModelArchitecture] = [
      .boostedTrees(TreeSettings(trees: 0)), .boostedTrees(TreeSettings(objective: .classes(count: 3))),
      .boostedTrees(TreeSettings(learningRate: .nan)), .network(NetworkSettings(hidden: [0])),
      .network(NetworkSettings(dropout: 1)), .network(NetworkSettings(objective: .classes(count: 2_000))),
      .recommendation(RecommendationSettings(factorization: recommendationFactors(0), items: 5)),
      .recommendation(RecommendationSettings(factorization: recommendationFactors(2), items: 0)),
    ]
    for architecture in impossible {
      expectRefusal("architecture") {
        try Fixture.task {
          $0.architecture = architecture
          $0.labelBound = architecture.objective.isClassification ? nil : 1
        }.validate()
      }
    }
  }

  @Test func `trees and recommenders take one gradient`() throws {
    for architecture in [ModelArchitecture.boostedTrees(Self.trees), .recommendation(Self.recommendation)] {
      expectRefusal("algorithm", "must be fedSGD") {
        try Fixture.task {
          $0.architecture = architecture
          $0.labelBound = architecture.objective.isClassification ? nil : 5
          $0.algorithm = .fedAvg(epochs: 1, batchSize: 8, learningRate: 0.1)
        }.validate()
      }
    }
  }

  private func recommendationFactors(_ count: Int) -> FactorizationSettings {
    FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5), factors: count)
  }

  // MARK: Artifacts

  /// The artifacts of a run that grows trees, one for every session.
  static func grownStages() throws -> [ModelArtifact] {
    var federation = try TreesTaskTests.federation()
    var stages = [federation.engine.artifact]
    while try federation.runSession() != .over { stages.append(federation.engine.artifact) }
    return stages
  }

  private func recommender() throws -> ModelArtifact {
    let schema = try FeatureSchema(columns: [FeatureColumn(name: "item", kind: .numeric)])
    let pipeline = try FeaturePipeline.items(schema: schema)
    let architecture = ModelArchitecture.recommendation(Self.recommendation)
    let model = try Model(architecture: architecture, pipeline: pipeline)
    return ModelArtifact(
      task: "films", version: 1, architecture: architecture, stage: .model(pipeline),
      parameters: model.initialParameters(seed: 4))
  }

  @Test func `artifacts of trees and recommenders survive their encoding`() throws {
    let stages = try Self.grownStages()
    #expect(Set(stages.map(\.parameters.count)).count > 3, "trees grow")
    for artifact in try stages + [recommender()] {
      let bytes = try artifact.encode()
      #expect(try ModelArtifact.decode(bytes) == artifact)
      #expect(try ModelArtifact.decode(bytes).encode() == bytes)
    }
  }

  @Test func `parameters that are no model are refused`() throws {
    func refuse(_ artifact: ModelArtifact, _ change: (inout [Float]) -> Void) {
      var changed = artifact
      change(&changed.parameters)
      expectRefusal("the model artifact cannot be used") { _ = try ModelArtifact.decode(changed.encode()) }
    }
    let grown = try #require(try Self.grownStages().last)
    refuse(grown) { $0.append(0) }
    refuse(grown) { $0.removeLast() }
    refuse(grown) { $0.removeAll() }
    refuse(grown) { $0[0] = -1 }
    refuse(grown) { $0[2] = Float(Self.trees.trees + 1) }
    refuse(grown) { $0[2] = 0.5 }
    refuse(grown) { $0[4] += 1 }
    let films = try recommender()
    refuse(films) { $0.append(0) }
    refuse(films) { $0.removeLast() }
    refuse(films) { $0[0] = 0.5 }
    refuse(films) { $0[1] = -.greatestFiniteMagnitude }
    // Rows of another layout than the model's.
    var foreign = films
    foreign.architecture = .boostedTrees(Self.trees)
    expectRefusal("the model artifact cannot be used") { _ = try ModelArtifact.decode(foreign.encode()) }
  }

  @Test func `mutated parameters are refused or safe to compute with`() throws {
    var random = RandomStream(testSeed: 12)
    var read = 0
    let stages = try Self.grownStages().filter { $0.model != nil } + [recommender()]
    let values: [Float] = [0, 1, -1, 2, 3, 0.5, 1e9, -1e9, 255, 16_777_216]
    for artifact in stages {
      for _ in 0..<150 {
        var mutated = artifact
        for _ in 0...random.uniform(below: 2) {
          let place = Int(random.uniform(below: UInt64(artifact.parameters.count)))
          mutated.parameters[place] = values[Int(random.uniform(below: UInt64(values.count)))]
        }
        guard let decoded = try? ModelArtifact.decode(mutated.encode()) else { continue }
        read += 1
        let (pipeline, model) = try #require(decoded.model)
        let isFilm = pipeline.schema.columns.count == 1
        let row: RawRecord = isFilm ? [.number(3)] : [.number(12), .missing, .text("online")]
        let features = try pipeline.encode([row], as: decoded.architecture.layout)
        #expect(try model.scores(parameters: decoded.parameters, features: features).count == 1)
        #expect(model.contributionLength(parameters: decoded.parameters) >= 0)
      }
    }
    #expect(read > 100)
  }
}
