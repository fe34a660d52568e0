import Federation
import Foundation
import Learning
import Privacy
import Synchronization
import Testing

@testable import Simulation

@Suite struct FederatedRunTests {
  private func expectAgreement(
    _ population: StoredPopulation, _ change: (inout RunSetup) -> Void
  ) throws {
    let modelled = try FederatedFixture.run(FederatedFixture.setup(change), population)
    let full = try FederatedFixture.run(
      FederatedFixture.setup {
        change(&$0)
        $0.aggregation = .full
      }, population)
    #expect(modelled.model == full.model)
    #expect(modelled.rounds == full.rounds)
    #expect(modelled.metrics == full.metrics)
    #expect(modelled.nodes == full.nodes)
    #expect(modelled.privacy == full.privacy)
    #expect(modelled.privateAUC == full.privateAUC)
    #expect(modelled.cost.clientUpdates == full.cost.clientUpdates)
    #expect(full.cost.bytesAreCounted && !modelled.cost.bytesAreCounted)
    // On the complete graph an index of 0, which is not written, makes all the difference between nodes.
    let tolerance = population.nodeCount > 200 ? 0.03 : 0.001
    func expectNear(_ estimated: Int, _ counted: Int) {
      #expect(abs(Double(estimated) / Double(counted) - 1) < tolerance, "\(estimated) for \(counted) bytes")
    }
    expectNear(modelled.cost.uploadBytesPerRound, full.cost.uploadBytesPerRound)
    expectNear(modelled.cost.downloadBytesPerRound, full.cost.downloadBytesPerRound)
  }

  @Test func `all messages and modelled sums give the same models`() throws {
    try expectAgreement(try FederatedFixture.population()) { _ in }
  }

  @Test func `so they do with drop-outs, colluding nodes and a cohort that is drawn`() throws {
    try expectAgreement(try FederatedFixture.population(stores: 9, customers: 12)) {
      $0.rounds = 2
      $0.cohort = .fixed(7)
      $0.survivorPermille = 800
      $0.dropoutPermille = 150
      $0.corruptPermille = 150
      $0.algorithm = .fedAvg(epochs: 2, batchSize: 4, learningRate: 0.1)
    }
  }

  @Test func `so they do without noise`() throws {
    try expectAgreement(try FederatedFixture.population()) {
      $0.rounds = 2
      $0.budget.epsilon = .infinity
    }
  }

  @Test(arguments: [RunSetup.Aggregation.modelled, .full])
  func `the number of workers changes nothing`(aggregation: RunSetup.Aggregation) throws {
    let population = try FederatedFixture.population()
    let setup = FederatedFixture.setup {
      $0.aggregation = aggregation
      $0.rounds = 2
    }
    let one = try FederatedFixture.run(setup, population, workers: 1).reproducible
    for workers in [2, 3] {
      #expect(try FederatedFixture.run(setup, population, workers: workers).reproducible == one)
    }
  }

  @Test(arguments: [RunSetup.Aggregation.modelled, .full])
  func `several processes get what one gets`(aggregation: RunSetup.Aggregation) throws {
    let population = try FederatedFixture.population(stores: 5, customers: 12)
    let setup = FederatedFixture.setup {
      $0.aggregation = aggregation
      $0.rounds = 2
    }
    let alone = try FederatedFixture.run(setup, population).reproducible
    let meeting = Meeting(ranks: 2)
    let outcomes = try NodeWork(workers: 2).map("train", 2) { rank in
      try FederatedFixture.run(
        setup, population, workers: 1, reducer: MeetingReducer(rank: rank, meeting: meeting)
      ).reproducible
    }
    #expect(outcomes == [alone, alone])
    #expect((meeting.reductions > 0) == (aggregation == .modelled))
  }

  @Test func `seeds differ and repeat`() throws {
    let population = try FederatedFixture.population()
    let first = try FederatedFixture.run(FederatedFixture.setup(), population)
    #expect(try FederatedFixture.run(FederatedFixture.setup(), population).model == first.model)
    let other = try FederatedFixture.run(FederatedFixture.setup { $0.seed = 12 }, population)
    #expect(other.model != first.model)
  }

  @Test func `the budget covers the whole run and is reported as it grows`() throws {
    let outcome = try FederatedFixture.run(
      FederatedFixture.setup { $0.rounds = 4 }, try FederatedFixture.population())
    let epsilons = outcome.rounds.compactMap(\.epsilon)
    #expect(epsilons.count == 4)
    #expect(zip(epsilons, epsilons.dropFirst()).allSatisfy { $0 < $1 })
    let statement = try #require(outcome.privacy)
    #expect(statement.epsilon <= 8 && statement.epsilon >= epsilons[3])
    #expect(statement.mechanism == "Skellam" && statement.trustMode == .distributed)
    #expect(outcome.rounds.map(\.round) == [1, 2, 3, 4])
    #expect(outcome.rounds.allSatisfy { $0.participants == 4 && $0.metrics?.records == 25 })
    #expect(outcome.rounds[0].privateAUC == nil)
    #expect(outcome.rounds.last?.model == outcome.model)
    #expect(outcome.rounds.last?.metrics == outcome.metrics)
    #expect(outcome.nodes.map(\.node) == [0, 1, 2, 3])
    #expect(outcome.nodes.reduce(0) { $0 + $1.metrics.records } == 25)
  }

  @Test func `without noise nothing is guaranteed and the model is good`() throws {
    let outcome = try FederatedFixture.run(
      FederatedFixture.setup {
        $0.budget.epsilon = .infinity
        $0.rounds = 10
        $0.evaluateEvery = 4
      }, try FederatedFixture.population(customers: 100))
    #expect(outcome.privacy == nil)
    #expect(outcome.rounds.allSatisfy { $0.epsilon == nil })
    #expect(try #require(outcome.metrics.auc) > 0.8)
    #expect(outcome.rounds.filter { $0.metrics != nil }.map(\.round) == [4, 8, 10])
  }

  @Test func `a budget that suffices for statistics alone leaves an untrained model and says so`() throws {
    let outcome = try FederatedFixture.run(
      FederatedFixture.setup {
        $0.budget.epsilon = 0.2
        $0.statisticsShare = 0.5
        $0.rounds = 10_000
      }, try FederatedFixture.population())
    #expect(outcome.rounds.isEmpty)
    #expect(outcome.notes.contains { $0.contains("Training stopped after 0 of 10000 rounds") })
    #expect(try #require(outcome.privacy).epsilon <= 0.2)
  }

  @Test func `a budget too small for statistics is an error that says why`() throws {
    let population = try FederatedFixture.population()
    let setup = FederatedFixture.setup { $0.budget.epsilon = 1e-5 }
    #expect {
      try FederatedFixture.run(setup, population)
    } throws: { error in
      guard case .noModel(let reason)? = error as? FederatedRunError else { return false }
      return reason.contains("budget")
    }
  }

  @Test func `a noise cohort has less noise at the same guarantee, and is named`() throws {
    let population = try FederatedFixture.population(customers: 100)
    func run(_ noiseCohort: Int?) throws -> RunOutcome {
      try FederatedFixture.run(
        FederatedFixture.setup {
          $0.rounds = 8
          $0.budget.epsilon = 0.5
          $0.noiseCohort = noiseCohort
        }, population)
    }
    let (own, large) = (try run(nil), try run(400))
    #expect(try #require(large.metrics.auc) > (try #require(own.metrics.auc)))
    #expect(try #require(large.metrics.auc) > 0.7)
    #expect(try #require(large.privacy).epsilon <= 0.5)
    #expect(large.notes.contains { $0.contains("cohort of 400") })
    #expect(own.notes.isEmpty)
  }

  @Test func `progress is told and may end the run`() throws {
    struct Enough: Error {}
    let population = try FederatedFixture.population()
    let calls = Mutex([Int]())
    let context = RunContext(workers: 1) { done, of in
      #expect(of == 3)
      calls.withLock { $0.append(done) }
      if done == 2 { throw Enough() }
    }
    let run = try FederatedRun(setup: FederatedFixture.setup(), population: population, context: context)
    #expect(throws: Enough.self) { try run.run() }
    #expect(calls.withLock { $0 } == [1, 2])
  }

  @Test func `what cannot be run is refused with its field`() throws {
    let population = try FederatedFixture.population()
    func expectRefusal(_ field: String, _ change: (inout RunSetup) -> Void) {
      #expect {
        try FederatedFixture.run(FederatedFixture.setup(change), population)
      } throws: { error in "\(error)".contains(field) }
    }
    expectRefusal("cohort") { $0.cohort = .fixed(5) }
    expectRefusal("cohort") { $0.cohort = .fixed(1) }
    expectRefusal("aggregation") { $0.aggregation = .off }
    expectRefusal("clipNorm") { $0.clipNorm = nil }
    expectRefusal("quantileBins") { $0.quantileBins = 0 }
    expectRefusal("noiseCohort") { $0.noiseCohort = 3 }
    expectRefusal("noiseCohort") { $0.noiseCohort = 1 << 20 }
    expectRefusal("noiseCohort") {
      $0.noiseCohort = 100
      $0.aggregation = .full
    }
    expectRefusal("unit") { $0.unit = .node }
    expectRefusal("dropoutPermille") { $0.dropoutPermille = 300 }
    expectRefusal("survivorPermille") { $0.survivorPermille = 0 }
  }
}

/// Processes that meet to add up vectors: threads of a test.
final class Meeting: Sendable {
  private struct State {
    var arrived = 0
    var generation = 0
    var total: [Int64] = []
    var result: [Int64] = []
  }

  let ranks: Int
  private let condition = NSCondition()
  private let state = Mutex(State())

  init(ranks: Int) { self.ranks = ranks }

  var reductions: Int { state.withLock { $0.generation } }

  func add(_ sums: [Int64]) -> [Int64] {
    condition.lock()
    defer { condition.unlock() }
    let generation = state.withLock { state in
      state.total = state.total.isEmpty ? sums : zip(state.total, sums).map(&+)
      state.arrived += 1
      if state.arrived == ranks {
        (state.result, state.total, state.arrived) = (state.total, [], 0)
        state.generation += 1
        condition.broadcast()
        return state.generation
      }
      return state.generation + 1
    }
    while state.withLock({ $0.generation }) < generation { condition.wait() }
    return state.withLock { $0.result }
  }
}

struct MeetingReducer: SumReducer {
  let rank: Int
  let meeting: Meeting
  var ranks: Int { meeting.ranks }
  func allReduce(_ sums: inout [Int64]) { sums = meeting.add(sums) }
}
