import Learning
import Privacy
import Synchronization
import Testing

@testable import Simulation

/// Small federations that the tests of federated runs share.
enum FederatedFixture {
  /// A few stores of a few customers each.
  static func population(
    stores: Int = 4, customers: Int = 30, seed: UInt64 = 7
  ) throws -> StoredPopulation {
    let data = try RetailGenerator(seed: seed, stores: stores, customersPerStore: customers).generate()
    return StoredPopulation(schema: data.schema, shares: data.shares)
  }

  static func setup(_ change: (inout RunSetup) -> Void = { _ in }) -> RunSetup {
    var setup = RunSetup(
      name: "test", seed: 11, rounds: 3, architecture: .logisticRegression, algorithm: .fedSGD,
      optimizer: .sgd(learningRate: 1), quantileBins: 4, evaluationBins: 8, clipNorm: 2,
      budget: PrivacyBudget(epsilon: 8, delta: 1e-5), aggregation: .modelled)
    change(&setup)
    return setup
  }

  static func run(
    _ setup: RunSetup, _ population: any VirtualPopulation, workers: Int = 2,
    reducer: any SumReducer = SingleProcess()
  ) throws -> RunOutcome {
    try FederatedRun(
      setup: setup, population: population, context: RunContext(workers: workers, reducer: reducer)
    ).run()
  }
}

extension RunOutcome {
  /// Everything but what depends on the machine.
  var reproducible: RunOutcome {
    var copy = self
    copy.cost.seconds = 0
    copy.cost.phaseSeconds = [:]
    return copy
  }
}
