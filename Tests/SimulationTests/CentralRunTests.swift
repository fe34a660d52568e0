import Foundation
import Learning
import Privacy
import Synchronization
import Testing

@testable import Simulation

@Suite struct `Runs with a trusted server` {
  static func population(nodes: Int = 30) throws -> GeneratedPopulation {
    try GeneratedPopulation(seed: 2, nodes: nodes, customersPerNode: 12, nodesPerStore: 3)
  }

  static func setup(
    epsilon: Double = .infinity, rounds: Int = 3, cohort: RunSetup.Cohort = .fixed(11), clipNorm: Double? = 2,
    unit: PrivacyUnit = .customer
  ) -> RunSetup {
    RunSetup(
      name: "test", seed: 5, rounds: rounds, cohort: cohort,
      architecture: .multiLayerPerceptron(hidden: [6]),
      algorithm: .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.1),
      optimizer: .adam(learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8), clipNorm: clipNorm,
      budget: PrivacyBudget(epsilon: epsilon, delta: 1e-5), unit: unit, aggregation: .off)
  }

  private func outcome(
    _ setup: RunSetup, workers: Int = 1, reducer: any SumReducer = SingleProcess(),
    population: any VirtualPopulation
  ) throws -> RunOutcome {
    var outcome = try CentralRun(
      setup: setup, population: population, context: RunContext(workers: workers, reducer: reducer)
    ).run()
    outcome.cost.seconds = 0
    outcome.cost.phaseSeconds = [:]
    return outcome
  }

  @Test(arguments: [Double.infinity, 3])
  func `do not depend on the number of workers`(epsilon: Double) throws {
    let setup = Self.setup(epsilon: epsilon)
    let population = try Self.population()
    let one = try outcome(setup, population: population)
    #expect(one.rounds.count == 3 && Set(one.rounds.map(\.model)).count == 3)
    #expect(one.rounds.last?.model == one.model)
    for workers in [2, 3] {
      let other = try outcome(setup, workers: workers, population: population)
      let agrees = other == one
      #expect(agrees)
    }
    var reseeded = setup
    reseeded.seed = 6
    #expect(try outcome(reseeded, population: population).model != one.model)
  }

  @Test(arguments: [2, 3])
  func `do not depend on the number of processes`(ranks: Int) throws {
    let setup = Self.setup(epsilon: 3)
    let population = try Self.population()
    let alone = try outcome(setup, population: population)
    let meeting = Meeting(ranks: ranks)
    let results = Mutex<[Int: RunOutcome]>([:])
    let threads = DispatchGroup()
    for rank in 0..<ranks {
      threads.enter()
      Thread.detachNewThread {
        defer { threads.leave() }
        let outcome = try? self.outcome(
          setup, reducer: Rank(rank: rank, meeting: meeting), population: population)
        results.withLock { $0[rank] = outcome }
      }
    }
    threads.wait()
    for rank in 0..<ranks {
      let agrees = results.withLock { $0[rank] } == alone
      #expect(agrees, "process \(rank)")
    }
  }

  @Test func `learn, and measure all nodes with held-out records`() throws {
    let setup = Self.setup(rounds: 15, cohort: .all, clipNorm: nil)
    let outcome = try outcome(setup, population: Self.population(nodes: 120))
    let auc = try #require(outcome.metrics.auc)
    #expect(auc > 0.75)
    #expect(outcome.privacy == nil && outcome.notes.isEmpty)
    #expect(outcome.nodes.reduce(0) { $0 + $1.metrics.records } == outcome.metrics.records)
    #expect(outcome.cost.clientUpdates > 120 * 6 * 15)
    #expect(outcome.rounds.allSatisfy { $0.metrics != nil && $0.epsilon == nil && $0.participants == 120 })
  }

  @Test func `a population that is not kept gives the same models`() throws {
    // One round of a small cohort uses each node less than once, so nothing is encoded ahead.
    let population = try Self.population(nodes: 40)
    let lazily = try outcome(Self.setup(rounds: 3, cohort: .fixed(10)), population: population)
    let ahead = try outcome(Self.setup(rounds: 5, cohort: .fixed(10)), population: population)
    #expect(lazily.rounds.map(\.model) == ahead.rounds.prefix(3).map(\.model))
  }

  @Test func `noise follows the budget and is told with it`() throws {
    let population = try Self.population()
    let private3 = try outcome(Self.setup(epsilon: 3, cohort: .all), population: population)
    let statement = try #require(private3.privacy)
    #expect(statement.epsilon <= 3 && statement.epsilon > 2.99)
    #expect(statement.trustMode == .central && statement.relation == .addRemove)
    let spent = private3.rounds.compactMap(\.epsilon)
    #expect(spent.count == 3 && spent == spent.sorted() && spent[2] == statement.epsilon)
    #expect(private3.notes.count == 1)
    let open = try outcome(Self.setup(cohort: .all), population: population)
    #expect(open.model != private3.model)
  }

  @Test func `a noise cohort as large as the cohort changes nothing, also with drop-outs`() throws {
    let population = try Self.population()
    for dropouts in [0, 300] {
      var setup = Self.setup(epsilon: 3, cohort: .fixed(10))
      setup.dropoutPermille = dropouts
      let own = try outcome(setup, population: population)
      setup.noiseCohort = 10
      #expect(try outcome(setup, population: population).model == own.model)
    }
  }

  @Test func `runs of a sweep are measured on the same people`() throws {
    let population = try GeneratedPopulation(
      seed: 3, nodes: CentralData.evaluationNodes + 20, customersPerNode: 1)
    let few = try outcome(Self.setup(rounds: 1, cohort: .fixed(5)), population: population)
    var setup = Self.setup(rounds: 1, cohort: .fixed(9))
    setup.seed = 77
    let more = try outcome(setup, population: population)
    #expect(few.metrics.records == more.metrics.records && few.nodes.map(\.node) == more.nodes.map(\.node))
    #expect(few.notes.contains { $0.contains("the same in every run") })
  }

  @Test func `a cohort with more contributors than can be added up is refused before it runs`() throws {
    let population = try GeneratedPopulation(seed: 3, nodes: 20_000_000, customersPerNode: 1)
    #expect(throws: CentralRunError.self) {
      try CentralRun(
        setup: Self.setup(rounds: 1, cohort: .all), population: population, context: RunContext(workers: 1))
    }
  }

  @Test func `secret cohorts of a large population need less noise`() throws {
    func plan(_ sampled: Int, _ claim: RunSetup.SamplingClaim) throws -> CentralPrivacy {
      try CentralPrivacy.calibrate(
        budget: PrivacyBudget(epsilon: 2, delta: 1e-6), unit: .customer, sensitivity: 1.5, rounds: 20,
        sampled: sampled, population: 10_000, claim: claim)
    }
    let all = try plan(10_000, .none)
    let few = try plan(100, .fixedSize)
    // What is claimed decides the relation, not what needs less noise: a sweep has one.
    #expect(
      try plan(100, .none).deviation == all.deviation && plan(9_000, .fixedSize).relation == .replaceOne)
    #expect(few.deviation < all.deviation / 2 && few.relation == .replaceOne && all.relation == .addRemove)
    for plan in [all, few] {
      #expect(try plan.epsilon(rounds: 20) <= 2)
      #expect(try plan.epsilon(rounds: 20) > 1.99)
      #expect(try plan.statement(rounds: 20).epsilon == plan.epsilon(rounds: 20))
    }
    #expect(try few.statement(rounds: 20).mechanism == "Gaussian, fixed-size sampling without replacement")
  }

  @Test func `refuse what cannot be`() throws {
    let population = try Self.population()
    func refused(_ change: (inout RunSetup) -> Void) -> Bool {
      var setup = Self.setup()
      change(&setup)
      return (try? CentralRun(setup: setup, population: population, context: RunContext(workers: 1))) == nil
    }
    #expect(!refused { _ in })
    #expect(refused { $0.rounds = 0 })
    #expect(refused { $0.cohort = .fixed(0) })
    #expect(refused { $0.clipNorm = 0 })
    #expect(
      refused {
        $0.clipNorm = nil; $0.budget.epsilon = 1
      })
    #expect(refused { $0.quantileBins = NumericEncoding.maximumBins + 1 })
    #expect(refused { $0.noiseCohort = 0 })
    #expect(refused { $0.dropoutPermille = 1000 })
    #expect(refused { $0.evaluateEvery = 0 })
    #expect(refused { $0.weightDecay = 100 })
  }

  /// Lets a process of a test add up with the others.
  struct Rank: SumReducer {
    let rank: Int
    let meeting: Meeting
    var ranks: Int { meeting.ranks }
    func allReduce(_ sums: inout [Int64]) { sums = meeting.add(sums) }
  }

  /// Where the processes of a test, which are threads, add up.
  final class Meeting: @unchecked Sendable {
    // All fields are read and written under the condition's lock.
    let ranks: Int
    private let condition = NSCondition()
    private var sum: [Int64] = []
    private var result: [Int64] = []
    private var arrived = 0
    private var turn = 0

    init(ranks: Int) { self.ranks = ranks }

    func add(_ values: [Int64]) -> [Int64] {
      condition.lock()
      defer { condition.unlock() }
      sum = arrived == 0 ? values : zip(sum, values).map { $0 + $1 }
      arrived += 1
      if arrived == ranks {
        (result, arrived, turn) = (sum, 0, turn + 1)
        condition.broadcast()
      } else {
        let mine = turn
        while turn == mine { condition.wait() }
      }
      return result
    }
  }
}
