import Learning
import Privacy
import Testing

@testable import Simulation

/// Every kind of model learns what it is for, the same with any number of workers, and is measured by what
/// its predictions are.
@Suite struct `Runs of every kind of model` {
  /// One run with one worker and one with two, which agree.
  private func run(_ setup: RunSetup, _ population: StoredPopulation) throws -> RunOutcome {
    let one = try Toy.run(setup, population, workers: 1)
    let agrees = try Toy.run(setup, population, workers: 2) == one
    #expect(agrees)
    return one
  }

  private func names(_ metrics: RunOutcome.Metrics) -> Set<SweepMetric> {
    Set(SweepMetric.allCases.filter { $0.of(metrics) != nil })
  }

  private static let ofTwoClasses: Set<SweepMetric> = [
    .auc, .accuracy, .logLoss, .averagePrecision, .macroF1, .calibrationError,
  ]
  private static let ofNumbers: Set<SweepMetric> = [.rmse, .mae, .r2]

  private static let trees = TreeSettings(
    trees: 6, maximumDepth: 3, learningRate: 0.5, minimumChildWeight: 0.5)

  @Test func `trees learn what no linear model can, and end when they are grown`() throws {
    let population = try Toy.exclusiveOr()
    let outcome = try run(Toy.setup(.boostedTrees(Self.trees), rounds: 100), population)
    #expect(try #require(outcome.metrics.auc) > 0.95)
    #expect(names(outcome.metrics) == Self.ofTwoClasses)
    #expect(outcome.rounds.count <= Self.trees.maximumRounds && outcome.rounds.count > 6)
    #expect(outcome.rounds.last?.metrics == outcome.metrics && outcome.rounds.last?.model == outcome.model)
    #expect(outcome.cost.clientUpdates == outcome.rounds.count * 12 * 30)
    #expect(outcome.nodes.count == 12 && outcome.metrics.records == 120)
    let linear = try Toy.run(Toy.setup(.logisticRegression, rounds: 20), population)
    #expect(try #require(linear.metrics.auc) < 0.65)
  }

  @Test func `trees stop where the rounds end, and measure what is grown so far`() throws {
    let setup = Toy.setup(.boostedTrees(Self.trees), rounds: 8) { $0.evaluateEvery = 3 }
    let outcome = try Toy.run(setup, try Toy.exclusiveOr())
    #expect(
      outcome.rounds.map { $0.metrics != nil } == [1, 2, 3, 4, 5, 6, 7, 8].map { $0 % 3 == 0 || $0 == 8 })
    #expect(try #require(outcome.metrics.auc) > 0.8)
  }

  @Test func `random trees take noise, one round for a tree`() throws {
    let settings = TreeSettings(trees: 10, maximumDepth: 3, learningRate: 0.5, l2: 5, splitting: .random)
    let setup = Toy.setup(.boostedTrees(settings), rounds: 50) {
      $0.budget.epsilon = 50
      $0.clipNorm = 1
    }
    let outcome = try run(setup, try Toy.exclusiveOr(people: 80))
    #expect(outcome.rounds.count == 11)
    #expect(try #require(outcome.metrics.auc) > 0.7)
    let statement = try #require(outcome.privacy)
    // The budget is planned for the rounds that were asked for; those that were not needed cost nothing.
    #expect(statement.epsilon < 50 && outcome.rounds.last?.epsilon == statement.epsilon)
  }

  @Test func `trees predict amounts`() throws {
    let settings = TreeSettings(
      objective: .squaredError, trees: 10, maximumDepth: 2, learningRate: 0.5, gradientLimit: 10)
    let outcome = try run(Toy.setup(.boostedTrees(settings), rounds: 40), try Toy.amounts())
    #expect(try #require(outcome.metrics.r2) > 0.7)
    #expect(names(outcome.metrics) == Self.ofNumbers)
  }

  @Test func `a network tells three classes apart`() throws {
    let settings = NetworkSettings(hidden: [8], objective: .classes(count: 3))
    let setup = Toy.setup(.network(settings), rounds: 12) {
      $0.algorithm = .fedAvg(epochs: 4, batchSize: 8, learningRate: 0.2)
      $0.unit = .node
    }
    let outcome = try run(setup, try Toy.threeClasses())
    #expect(try #require(outcome.metrics.accuracy) > 0.8)
    #expect(names(outcome.metrics) == [.accuracy, .macroF1, .logLoss])
    let nodes = outcome.nodes.compactMap(\.metrics.accuracy)
    #expect(nodes.count == 10 && abs(nodes.reduce(0, +) / 10 - (outcome.metrics.accuracy ?? 0)) < 1e-9)
  }

  @Test func `a network predicts amounts`() throws {
    let settings = NetworkSettings(hidden: [6], activation: .gelu, objective: .squaredError)
    let setup = Toy.setup(.network(settings), rounds: 15) {
      $0.algorithm = .fedAvg(epochs: 2, batchSize: 8, learningRate: 0.05)
      $0.unit = .node
      $0.quantileBins = 0
    }
    let outcome = try run(setup, try Toy.amounts())
    #expect(try #require(outcome.metrics.r2) > 0.8 && outcome.metrics.rmse ?? 9 < 0.7)
    #expect(names(outcome.metrics) == Self.ofNumbers)
  }

  @Test func `words are learned from`() throws {
    let setup = Toy.setup(.network(NetworkSettings()), rounds: 10) {
      $0.algorithm = .fedAvg(epochs: 2, batchSize: 8, learningRate: 1)
      $0.unit = .node
    }
    let outcome = try run(setup, try Toy.reviews())
    #expect(try #require(outcome.metrics.auc) > 0.9)
    #expect(names(outcome.metrics) == Self.ofTwoClasses)
    // Words that occur have a weight each, not every bucket.
    #expect((20..<500).contains(outcome.parameterCount))
  }

  @Test func `a recommender predicts ratings by tastes that no node shows`() throws {
    let settings = RecommendationSettings(
      factorization: FactorizationSettings(
        feedback: .explicit(lowest: 1, highest: 5), factors: 2, userRegularization: 0.1, initialScale: 0.5),
      items: 30)
    let outcome = try run(Toy.setup(.recommendation(settings), rounds: 30), try Toy.ratings())
    #expect(try #require(outcome.metrics.rmse) < 0.7, "the ratings' standard deviation is 1.2")
    #expect(names(outcome.metrics) == Self.ofNumbers)
    #expect(outcome.metrics.records == 40 * 5 && outcome.nodes.count == 40)
  }

  @Test func `a neural recommender predicts ratings by tastes that no node shows`() throws {
    let settings = NeuralRecommenderSettings(
      feedback: .explicit(lowest: 1, highest: 5), items: 30, factors: 2, hidden: [4],
      userRegularization: 0.1, userBiasRegularization: 0.1, initialScale: 0.5)
    let outcome = try run(
      Toy.setup(.neuralRecommendation(settings), rounds: 60) {
        $0.optimizer = .adam(learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8)
      }, try Toy.ratings())
    #expect(try #require(outcome.metrics.rmse) < 0.7, "the ratings' standard deviation is 1.2")
    #expect(names(outcome.metrics) == Self.ofNumbers)
    #expect(outcome.metrics.records == 40 * 5 && outcome.nodes.count == 40)
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `segments are those that there are`(method: SegmentSettings.Method) throws {
    let setup = Toy.setup(.segments(SegmentSettings(method: method, count: 3)), rounds: 16) {
      $0.quantileBins = 1
    }
    let outcome = try run(setup, try Toy.blobs())
    #expect(try #require(outcome.metrics.silhouette) > 0.8)
    #expect(try #require(outcome.metrics.pairwiseSilhouette) > 0.7)
    #expect(try #require(outcome.metrics.inertia) < 0.2)
    #expect((outcome.metrics.logLikelihood != nil) == (method == .mixture))
    // Without local steps, and nobody adapts them.
    var steps = setup
    steps.algorithm = .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.1)
    #expect(throws: CentralRunError.self) { try Toy.run(steps, Toy.blobs()) }
    var personal = setup
    personal.personalization = .fineTuning(PersonalDescent(epochs: 1, batchSize: 4, learningRate: 0.1))
    #expect(throws: CentralRunError.self) { try Toy.run(personal, Toy.blobs()) }
  }

  @Test func `a recommender ranks what a user will take`() throws {
    let settings = RecommendationSettings(
      factorization: FactorizationSettings(
        feedback: .implicit(unobservedWeight: 0.2, strengthWeight: 0), factors: 2, userRegularization: 0.1,
        initialScale: 0.5), items: 40)
    let outcome = try run(Toy.setup(.recommendation(settings), rounds: 30), try Toy.interactions())
    // Ten of 31 items: by chance a third.
    #expect(try #require(outcome.metrics.recallAt10) > 0.75)
    #expect(names(outcome.metrics) == [.recallAt10, .ndcgAt10])
    #expect(outcome.metrics.records == 40)
  }

  @Test func `labels that are not the model's are refused with a sentence`() throws {
    for (architecture, population) in [
      (ModelArchitecture.logisticRegression, try Toy.threeClasses()),
      (.network(NetworkSettings(objective: .classes(count: 3))), try Toy.amounts()),
      (.boostedTrees(TreeSettings(objective: .poisson)), try Toy.amounts()),
    ] {
      #expect(throws: LearningError.self) { try Toy.run(Toy.setup(architecture, rounds: 1), population) }
    }
  }

  @Test func `trees and recommenders take one gradient and columns that suit them`() throws {
    let steps = Toy.setup(.boostedTrees(Self.trees), rounds: 2) {
      $0.algorithm = .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.1)
    }
    #expect(throws: CentralRunError.self) { try Toy.run(steps, Toy.exclusiveOr()) }
    let recommender = ModelArchitecture.recommendation(
      RecommendationSettings(
        factorization: FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5)), items: 30))
    #expect(throws: LearningError.self) { try Toy.run(Toy.setup(recommender, rounds: 2), Toy.exclusiveOr()) }
    // Trees have no use for words, which is said.
    let deaf = try Toy.run(Toy.setup(.boostedTrees(Self.trees), rounds: 2), Toy.reviews())
    #expect(deaf.notes == ["Trees do not learn from columns of words: review."])
    // An item beyond the catalogue.
    let small = ModelArchitecture.recommendation(
      RecommendationSettings(
        factorization: FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5)), items: 29))
    #expect(throws: LearningError.self) { try Toy.run(Toy.setup(small, rounds: 2), Toy.ratings()) }
  }
}
