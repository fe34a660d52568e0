import Dispatch
import Federation
import Foundation
import Learning
import Privacy
import Synchronization
import Testing

@testable import Simulation

@Suite struct `Early stopping of a simulated run` {
  private static let rule = EarlyStopping(patience: 2, minimumImprovement: 0.5, metric: .auc)

  private static func setup(_ change: (inout RunSetup) -> Void = { _ in }) -> RunSetup {
    Toy.setup(.logisticRegression, rounds: 12) {
      $0.earlyStopping = rule
      $0.validationPermille = 250
      change(&$0)
    }
  }

  @Test func `ends training and keeps the best model of those measured`() throws {
    let population = try Toy.halves()
    let outcome = try Toy.run(Self.setup(), population)
    #expect(outcome.rounds.count == 3)
    #expect(outcome.rounds.map(\.model).contains(outcome.model))
    #expect(outcome.notes.contains { $0.contains("Training ended after 3 of 12 rounds") })
    let patient = try Toy.run(Self.setup { $0.earlyStopping?.patience = 100 }, population)
    #expect(patient.rounds.count == 12 && patient.rounds.last?.model == patient.model)
    #expect(patient.rounds.prefix(3).map(\.model) == outcome.rounds.map(\.model))
    let rare = try Toy.run(Self.setup { $0.evaluateEvery = 3 }, population)
    #expect(rare.rounds.count == 9, "two measurements without improvement after the first, every third round")
  }

  @Test func `validation contributors do not train, whoever the contributor is`() throws {
    let population = try Toy.halves()
    for unit in [PrivacyUnit.customer, .record, .node] {
      let setup = Self.setup { $0.unit = unit }
      let pool = WorkerPool(workers: 2)
      let data = try CentralData(
        setup: setup, population: population, cohort: 30, pool: pool, reducer: SingleProcess())
      var (training, validation, mixed) = (0, 0, 0)
      for node in 0..<population.nodeCount {
        let (trains, validates) = (
          try data.training(of: node)?.labels.count ?? 0, try data.validation(of: node)?.labels.count ?? 0
        )
        #expect(trains + validates == 18, "three quarters of 24 people are not held out")
        training += trains
        validation += validates
        mixed += trains > 0 && validates > 0 ? 1 : 0
      }
      #expect(abs(Double(validation) / Double(training + validation) - 0.25) < (unit == .node ? 0.2 : 0.07))
      #expect(unit == .node ? mixed == 0 : mixed > 20)
    }
    // All records of a customer are on one side.
    let split = ValidationSplit(seed: 1, permille: 500, unit: .customer)
    let records = (0..<60).map {
      StoreRecord(subject: "c\($0 / 3)", values: [], label: true, isHeldOut: false)
    }
    let (training, validation) = split.parts(of: records, node: 4)
    #expect(training.count + validation.count == 60 && !validation.isEmpty)
    #expect(Set(training.map(\.subject)).isDisjoint(with: validation.map(\.subject)))
  }

  @Test func `does not depend on workers`() throws {
    let population = try Toy.halves()
    let (one, three) = (
      try Toy.run(Self.setup(), population, workers: 1), try Toy.run(Self.setup(), population, workers: 3)
    )
    let agrees = one == three
    #expect(agrees)
  }

  private func says(_ refusal: String, _ words: String) { #expect(refusal.contains(words)) }

  @Test func `refuses a guarantee that does not cover it, and nobody to measure on`() throws {
    let population = try Toy.halves()
    func refusal(_ change: (inout RunSetup) -> Void) -> String {
      Self.setup(change).refusal(by: population) ?? ""
    }
    #expect(refusal { _ in }.isEmpty)
    #expect(
      refusal {
        $0.budget.epsilon = 4
        $0.clipNorm = 1
      }.contains("modelled"))
    #expect(refusal { $0.validationPermille = nil }.contains("evaluation.validation"))
    says(refusal { $0.earlyStopping?.metric = .rmse }, "auc")
    #expect(refusal { $0.validationPermille = 0 }.contains("validation share"))
  }

  @Test func `modelled runs stop as the task's engine does`() throws {
    let population = try FederatedFixture.population()
    let setup = FederatedFixture.setup {
      $0.rounds = 9
      $0.earlyStopping = Self.rule
    }
    let outcome = try FederatedFixture.run(setup, population).reproducible
    #expect(outcome.rounds.count == 4 && outcome.rounds.last?.model == outcome.model)
    #expect(outcome.notes.contains { $0.contains("Training ended after 4 of 9 rounds") })
    #expect(outcome.notes.contains { $0.contains("held-out people") })
    #expect(try #require(outcome.privacy).epsilon < 8)
    let other = try FederatedFixture.run(setup, population, workers: 1).reproducible
    let agrees = outcome == other
    #expect(agrees)
    #expect(throws: FederatedRunError.self) {
      try FederatedFixture.run(FederatedFixture.setup { $0.validationPermille = 100 }, population)
    }
  }
}

@Suite struct `SCAFFOLD in a simulated run` {
  private static func setup(
    _ corrected: Bool, rounds: Int, _ change: (inout RunSetup) -> Void = { _ in }
  ) -> RunSetup {
    Toy.setup(.network(NetworkSettings(objective: .squaredError)), rounds: rounds) {
      $0.algorithm = .local(
        LocalSettings(
          epochs: 60, batchSize: 1000, learningRate: 0.1, normalise: 60,
          controlVariates: corrected ? true : nil))
      $0.unit = .node
      $0.quantileBins = 0
      change(&$0)
    }
  }

  /// Nodes whose records are spread differently and whose lines have different slopes.
  private static func population() throws -> StoredPopulation {
    try Toy.population(
      nodes: 8, people: 40,
      columns: [FeatureColumn(name: "x", kind: .numeric), FeatureColumn(name: "y", kind: .numeric)]
    ) { draws, node in
      let (wide, slope) = (node.isMultiple(of: 2) ? 1.5 : 0.3, Double(node % 4) - 1.5)
      let (x, y) = ((draws.unit() * 2 - 1) * wide, (draws.unit() * 2 - 1) * (1.8 - wide))
      return ([.number(x), .number(y)], Float(slope * x + (1 - slope) * y + 0.05 * draws.normal()))
    }
  }

  /// The length of the gradient of the mean over nodes, where training ended.
  private func distance(_ setup: RunSetup, _ population: StoredPopulation) throws -> Double {
    let pool = WorkerPool(workers: 2)
    let data = try CentralData(
      setup: setup, population: population, cohort: 8, pool: pool, reducer: SingleProcess())
    let training = try CentralTraining(
      setup: setup, model: data.model, nodeCount: 8, noise: nil, pool: pool, reducer: SingleProcess())
    for round in 1...setup.rounds { _ = try training.run(round: round, batches: data) }
    var sum = [Double](repeating: 0, count: training.parameters.count)
    for node in 0..<8 {
      let batch = try #require(try data.training(of: node))
      try LocalTrainer(model: data.model, algorithm: .fedSGD).forEachUpdate(
        parameters: training.parameters, batch: batch, seed: 1
      ) { _, update in
        for index in update.indices { sum[index] += Double(update[index]) / 8 }
      }
    }
    return sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }

  @Test func `reaches the optimum of all nodes, where averaging ends elsewhere`() throws {
    let population = try Self.population()
    let averaged = try distance(Self.setup(false, rounds: 80), population)
    let corrected = try distance(Self.setup(true, rounds: 80), population)
    #expect(averaged > 0.02, "\(averaged)")
    #expect(corrected < 0.1 * averaged, "\(corrected) against \(averaged)")
    let half = try distance(Self.setup(true, rounds: 160) { $0.cohort = .fixed(4) }, population)
    #expect(half < 0.2 * averaged, "\(half) against \(averaged)")
  }

  @Test func `does not depend on workers, also with clipping, noise and drop-outs`() throws {
    let population = try Self.population()
    let setup = Self.setup(true, rounds: 4) {
      $0.cohort = .fixed(5)
      $0.clipNorm = 0.5
      $0.budget.epsilon = 5
      $0.dropoutPermille = 200
    }
    let (one, three) = (
      try Toy.run(setup, population, workers: 1), try Toy.run(setup, population, workers: 3)
    )
    let agrees = one == three
    #expect(agrees)
    var plain = setup
    plain.algorithm = Self.setup(false, rounds: 4).algorithm
    let averaged = try Toy.run(plain, population)
    #expect(averaged.rounds[0].model == one.rounds[0].model, "variates start at 0")
    #expect(averaged.rounds[1].model != one.rounds[1].model)
  }

  @Test func `refuses what has no place for control variates`() throws {
    let population = try Self.population()
    func refusal(_ change: (inout RunSetup) -> Void) -> String {
      Self.setup(true, rounds: 2, change).refusal(by: population) ?? ""
    }
    #expect(refusal { _ in }.isEmpty)
    #expect(refusal { $0.groups = RobustGroups(count: 3, combination: .median) }.contains("control variates"))
    #expect(
      refusal {
        $0.aggregation = .modelled
        $0.clipNorm = 1
        $0.unit = .customer
        $0.quantileBins = 4
        $0.labelBound = 3
      }.contains("control variate of every customer"))
    struct Pair: SumReducer {
      let rank = 0
      let ranks = 2
      func allReduce(_ sums: inout [Int64]) {}
    }
    #expect(throws: CentralRunError.self) {
      try CentralRun(
        setup: Self.setup(true, rounds: 2), population: population,
        context: RunContext(workers: 1, reducer: Pair()))
    }
  }
}

@Suite struct `Asynchronous rounds` {
  private static func setup(
    _ rounds: AsynchronousRounds?, steps: Int = 6, _ change: (inout RunSetup) -> Void = { _ in }
  ) -> RunSetup {
    Toy.setup(.logisticRegression, rounds: steps) {
      $0.algorithm = .fedAvg(epochs: 1, batchSize: 4, learningRate: 0.3)
      $0.clipNorm = 1
      $0.asynchronous = rounds
      change(&$0)
    }
  }

  @Test func `of all nodes at one pace are synchronous rounds`() throws {
    let population = try Toy.halves()
    let all = AsynchronousRounds(buffer: 30, concurrency: 30, speed: .constant, jitter: 0)
    let (asynchronous, synchronous) = (
      try Toy.run(Self.setup(all), population), try Toy.run(Self.setup(nil), population)
    )
    #expect(asynchronous.rounds.map(\.model) == synchronous.rounds.map(\.model))
    #expect(asynchronous.notes.contains { $0.contains("0.0 steps old on average and 0 at most") })
    #expect(asynchronous.notes.contains { $0.contains("6 steps took 6.0 times") })
  }

  @Test(arguments: [Double.infinity, 4])
  func `do not depend on workers or processes`(epsilon: Double) throws {
    let population = try Toy.halves()
    let setup = Self.setup(AsynchronousRounds(buffer: 4, concurrency: 12, spread: 1.5), steps: 8) {
      $0.budget.epsilon = epsilon
    }
    let one = try Toy.run(setup, population, workers: 1)
    #expect(Set(one.rounds.map(\.model)).count == 8)
    let other = try Toy.run(setup, population, workers: 3)
    let agrees = one == other
    #expect(agrees)
    let meeting = Meeting(ranks: 2)
    let results = Mutex<[Int: RunOutcome]>([:])
    let threads = DispatchGroup()
    for rank in 0..<2 {
      threads.enter()
      Thread.detachNewThread {
        defer { threads.leave() }
        let outcome = try? CentralRun(
          setup: setup, population: population,
          context: RunContext(workers: 1, reducer: MeetingReducer(rank: rank, meeting: meeting))
        ).run().reproducible
        results.withLock { $0[rank] = outcome }
      }
    }
    threads.wait()
    let same = results.withLock { $0[0] == one && $0[1] == one }
    #expect(same)
  }

  @Test func `learn although updates are old`() throws {
    let population = try Toy.halves()
    let setup = Self.setup(AsynchronousRounds(buffer: 5, concurrency: 20, spread: 1), steps: 40)
    let outcome = try Toy.run(setup, population)
    #expect(try #require(outcome.metrics.auc) > 0.9)
    #expect(outcome.rounds.allSatisfy { $0.participants == 5 })
  }

  @Test func `have nobody twice in flight or in a buffer, and slow nodes arrive seldom`() {
    for (nodes, concurrency) in [(40, 30), (40, 40), (1000, 50)] {
      let settings = AsynchronousRounds(buffer: 8, concurrency: concurrency, spread: 1.2)
      var schedule = ArrivalSchedule(settings: settings, nodeCount: nodes, seed: 3)
      var arrivals: [Int: Int] = [:]
      var (last, oldest) = (0.0, 0)
      for version in 0..<300 {
        let buffer = schedule.nextBuffer(version: version)
        #expect(buffer.count == 8 && Set(buffer.map(\.node)).count == 8)
        #expect(schedule.now >= last && buffer.allSatisfy { $0.version <= version })
        #expect(schedule.versionsInFlight.allSatisfy { $0 <= version })
        for (node, began) in buffer {
          arrivals[node, default: 0] += 1
          oldest = max(oldest, version - began)
        }
        last = schedule.now
      }
      #expect(arrivals.values.reduce(0, +) == 2_400 && oldest > 2)
      if nodes == 40 {
        let counts = (0..<nodes).map { arrivals[$0] ?? 0 }
        #expect((counts.max() ?? 0) > 4 * max(1, counts.min() ?? 0))
      }
      #expect(schedule.synchronous.concurrency >= schedule.synchronous.buffer)
      #expect(schedule.now < schedule.synchronous.buffer, "nobody waits for the slowest")
    }
  }

  @Test func `clip first, then weigh: a step is never longer than the bound`() throws {
    let population = try DensePopulation(nodes: 20, records: 10, features: 5, seed: 2)
    let model = Model(architecture: .logisticRegression, inputs: 5)
    func weights(_ staleness: AsynchronousRounds.Staleness) throws -> [Double] {
      let setup = Self.setup(
        AsynchronousRounds(buffer: 1, concurrency: 15, spread: 2, staleness: staleness), steps: 30
      ) {
        $0.clipNorm = 1e-3
        $0.unit = .node
      }
      let training = try CentralTraining(
        setup: setup, model: model, nodeCount: 20, noise: nil, pool: WorkerPool(workers: 1),
        reducer: SingleProcess())
      return try (1...30).map { step in
        let before = training.parameters
        _ = try training.run(round: step, batches: population)
        return zip(training.parameters, before).reduce(0.0) {
          $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1)
        }.squareRoot() / 1e-3
      }
    }
    // With one arrival a step, the step's length is the weight.
    for length in try weights(.constant) { #expect(abs(length - 1) < 1e-3) }
    let lengths = try weights(.inverseSquareRoot)
    #expect(lengths.allSatisfy { $0 < 1.001 } && lengths.contains { $0 < 0.5 })
    #expect(
      lengths.allSatisfy { length in
        let staleness = 1 / (length * length) - 1
        return abs(staleness - staleness.rounded()) < 0.01 * (1 + staleness)
      })
  }

  @Test func `keep only the models that nodes in flight began with`() throws {
    let asynchronous = AsynchronousTraining(
      settings: AsynchronousRounds(buffer: 3, concurrency: 6, spread: 0.5), nodeCount: 50, seed: 1)
    var largest = 0
    for step in 1...200 {
      _ = try asynchronous.arrivals(step: step, parameters: [1, 2]) { UInt64($0) }
      largest = max(largest, asynchronous.keptVersions)
    }
    #expect(largest <= 6 && largest > 1)
  }

  private func says(_ refusal: String, _ words: String) { #expect(refusal.contains(words)) }

  @Test func `refuse what is of synchronous rounds`() throws {
    let population = try Toy.halves()
    let rounds = AsynchronousRounds(buffer: 4, concurrency: 12)
    func refusal(_ change: (inout RunSetup) -> Void) -> String {
      Self.setup(rounds, steps: 2, change).refusal(by: population) ?? ""
    }
    #expect(refusal { _ in }.isEmpty)
    says(refusal { $0.asynchronous?.concurrency = 31 }, "number of nodes, 30")
    says(refusal { $0.asynchronous?.buffer = 0 }, "at least one node")
    says(refusal { $0.asynchronous?.spread = .nan }, "spread")
    #expect(refusal { $0.cohort = .fixed(5) }.contains("cohort"))
    #expect(refusal { $0.dropoutPermille = 100 }.contains("dropout"))
    #expect(refusal { $0.groups = RobustGroups(count: 3, combination: .mean) }.contains("groups"))
    #expect(
      refusal {
        $0.samplingClaim = .fixedSize
        $0.budget.epsilon = 4
      }.contains("privacy.sampling"))
    #expect(
      refusal {
        $0.architecture = .boostedTrees(TreeSettings())
        $0.algorithm = .fedSGD
      }.contains("linear models"))
    #expect(refusal { $0.aggregation = .modelled }.contains("asynchronous"))
  }
}
