import AggregationServer
import Consent
import Cryptography
import EdgeNode
import Federation
import Foundation
import Learning
import Logging
import Privacy
import Simulation
import Testing

@testable import accord

/// What is simulated is what is deployed: the same data, task and streams give the same models.
@Suite(.serialized) struct SimulationAgreementTests {
  /// The records of those who agreed: in each store of a test all but the last customer.
  private func consenting(_ federation: TestFederation) -> StoredPopulation {
    let shares = federation.data.shares.map { share in
      let silent = Set(share.records.map(\.subject)).sorted().last
      return StoreShare(records: share.records.filter { $0.subject != silent })
    }
    return StoredPopulation(schema: federation.data.schema, shares: shares)
  }

  private var setup: RunSetup {
    RunSetup(
      name: "agreement", seed: 23, rounds: 3, architecture: .logisticRegression,
      algorithm: .fedAvg(epochs: 2, batchSize: 4, learningRate: 0.2),
      optimizer: TrainingDefaults.standard.optimizer, quantileBins: 4, evaluationBins: 8, clipNorm: 2,
      budget: PrivacyBudget(epsilon: 8, delta: 1e-5))
  }

  @Test func `a federation of processes and its simulation give the same models`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      let population = consenting(federation)
      var task = try FederatedTask(setup, schema: population.schema, nodeCount: population.nodeCount).task
      // What the customers of a test agreed to; no integer depends on it.
      task.purpose = "churn"
      let streams = SimulatedStreams(seed: setup.seed)
      let daemons = try federation.data.shares.indices.map { index in
        try NodeDaemon(
          path: federation.nodePath(index), sessionRandom: { streams.node(index, session: $0) },
          logger: Logger(label: "node-\(index + 1)") { _ in SwiftLogNoOpLogHandler() })
      }
      let submitted = task
      let status = try await withThrowingTaskGroup(of: Void.self) { group in
        for daemon in daemons { group.addTask { try await daemon.run() } }
        try await federation.submit(submitted)
        let status = try await federation.wait(seconds: 120) {
          $0.tasks.first?.progress.status != .running
        }
        group.cancelAll()
        return status
      }
      let deployed = try #require(status.tasks.first)
      #expect(deployed.progress.status == .completed)
      #expect(deployed.progress.abortedSessions == 0, "a lost session shifts the numbers of all after it")

      let simulated = try [RunSetup.Aggregation.modelled, .full].map { aggregation in
        var setup = setup
        setup.aggregation = aggregation
        return try FederatedRun(
          setup: setup, population: population, context: RunContext(workers: 2)
        ).run()
      }
      #expect(simulated[0].rounds == simulated[1].rounds)
      // Versions 1 and 2 are the statistics; every round makes one more.
      let models = try ServerInspection(directory: federation.serverPath).models()
      let digests = models.filter { $0.artifact.version > 2 }.map { Hash.sha256($0.bytes).hex }
      #expect(digests.count == 3)
      #expect(digests == simulated[0].rounds.map(\.model))
      #expect(deployed.progress.rounds.last?.auc == simulated[0].privateAUC)
      #expect(
        deployed.progress.rounds.dropLast().map(\.auc)
          == simulated[0].rounds.dropFirst().map(\.privateAUC))
    }
  }
}
