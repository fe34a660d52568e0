import Federation
import Learning
import Privacy
import Testing

@testable import Simulation

/// Other models than linear ones on the state machines that are deployed.
@Suite struct `Federated runs of other models` {
  private static let trees = ModelArchitecture.boostedTrees(
    TreeSettings(trees: 3, maximumDepth: 2, learningRate: 0.5, minimumChildWeight: 0.5))

  private func setup(
    _ architecture: ModelArchitecture, rounds: Int, _ change: (inout RunSetup) -> Void = { _ in }
  ) -> RunSetup {
    Toy.setup(architecture, rounds: rounds) {
      $0.aggregation = .modelled
      $0.evaluationBins = 8
      $0.clipNorm = 1
      change(&$0)
    }
  }

  private func expectAgreement(_ setup: RunSetup, _ population: StoredPopulation) throws -> RunOutcome {
    let modelled = try FederatedFixture.run(setup, population)
    var real = setup
    real.aggregation = .full
    let full = try FederatedFixture.run(real, population)
    #expect(modelled.model == full.model && modelled.rounds == full.rounds)
    #expect(modelled.metrics == full.metrics && modelled.nodes == full.nodes)
    #expect(modelled.privacy == full.privacy)
    let again = try FederatedFixture.run(setup, population, workers: 1).reproducible == modelled.reproducible
    #expect(again, "one worker gives the same as two")
    return modelled
  }

  @Test func `trees grow the same with all messages, and end the run when they are grown`() throws {
    let outcome = try expectAgreement(setup(Self.trees, rounds: 40), try Toy.halves(nodes: 3, people: 60))
    #expect(outcome.rounds.count <= 7 && outcome.rounds.count > 3)
    #expect(try #require(outcome.metrics.auc) > 0.8, "\(outcome.metrics)")
    #expect(outcome.metrics.rmse == nil && outcome.privateAUC != nil)
  }

  @Test func `trees grow as those of a trusted server without noise`() throws {
    let population = try Toy.halves(nodes: 4, people: 60)
    let federated = try FederatedFixture.run(setup(Self.trees, rounds: 40), population)
    let central = try Toy.run(setup(Self.trees, rounds: 40) { $0.aggregation = .off }, population)
    let (a, b) = (try #require(federated.metrics.auc), try #require(central.metrics.auc))
    #expect(abs(a - b) < 0.05, "\(a), \(b)")
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `segments are found with all messages, whatever the labels`(method: SegmentSettings.Method) throws {
    let segments = setup(.segments(SegmentSettings(method: method, count: 3)), rounds: 14) {
      $0.quantileBins = 1
    }
    let outcome = try expectAgreement(segments, try Toy.blobs(nodes: 4))
    #expect(try #require(outcome.metrics.silhouette) > 0.8, "\(outcome.metrics)")
    #expect(outcome.metrics.auc == nil && outcome.privateAUC == nil)
    let noisy = setup(.segments(SegmentSettings(method: method, count: 3)), rounds: 14) {
      $0.quantileBins = 1
      $0.budget.epsilon = 200
    }
    #expect(try #require(FederatedFixture.run(noisy, Toy.blobs(nodes: 4)).privacy).epsilon <= 200)
  }

  @Test func `noise reaches trees as well`() throws {
    let noisy = setup(Self.trees, rounds: 7) { $0.budget.epsilon = 20 }
    let outcome = try expectAgreement(noisy, try Toy.halves(nodes: 3, people: 60))
    #expect(try #require(outcome.privacy).epsilon <= 20)
  }

  @Test func `a network of numbers is measured within the bound on labels`() throws {
    let numbers = setup(.network(NetworkSettings(hidden: [4], objective: .squaredError)), rounds: 40) {
      $0.labelBound = 6
      $0.clipNorm = 8
      $0.optimizer = .adam(learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8)
    }
    let population = try Toy.amounts(nodes: 3, people: 60)
    let outcome = try expectAgreement(numbers, population)
    #expect(try #require(outcome.metrics.r2) > 0.3, "\(outcome.metrics)")
    #expect(outcome.metrics.auc == nil && outcome.privateAUC == nil)
    for bound in [nil, 0, Double.infinity] {
      var other = numbers
      other.labelBound = bound
      #expect(throws: FederationError.self) { try FederatedFixture.run(other, population) }
    }
    #expect(throws: FederationError.self) {
      try FederatedFixture.run(setup(Self.trees, rounds: 2) { $0.labelBound = 6 }, population)
    }
  }

  @Test func `a recommender trains without statistics`() throws {
    let settings = RecommendationSettings(
      factorization: FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5), factors: 2), items: 30)
    let outcome = try FederatedFixture.run(
      setup(.recommendation(settings), rounds: 3) {
        $0.labelBound = 5
        $0.clipNorm = 4
      }, try Toy.ratings())
    #expect(outcome.rounds.count == 3 && Set(outcome.rounds.map(\.model)).count == 3)
    #expect(outcome.metrics.rmse != nil)
  }
}
