import Learning
import Privacy
import Testing

@testable import Simulation

@Suite struct `Personal models` {
  private func setup(_ change: (inout RunSetup) -> Void = { _ in }) -> RunSetup {
    Toy.setup(.logisticRegression, rounds: 6) {
      $0.personalization = .fineTuning(PersonalDescent(epochs: 10, batchSize: 8, learningRate: 0.5))
      change(&$0)
    }
  }

  @Test func `are better where nodes mean different things by their labels`() throws {
    let outcome = try Toy.run(setup(), Toy.opposites())
    let personal = try #require(outcome.personal)
    #expect(try #require(personal.global.accuracy) < 0.65)
    #expect(try #require(personal.personal.accuracy) > 0.85)
    #expect(personal.nodes == 12 && personal.betterNodes >= 10 && personal.worseNodes <= 2)
    #expect(personal.choices.values.reduce(0, +) == 12)
    #expect(outcome.metrics.betterNodes == personal.betterShare)
    #expect(outcome.metrics.auc != nil && personal.global.records == 12 * 12)
    #expect(outcome.notes == [personal.sentence])
    #expect(
      personal.sentence.hasPrefix(
        "Own models have a lower loss than the global one on \(personal.betterNodes) of 12"))
    let agrees = try Toy.run(setup(), Toy.opposites(), workers: 1) == outcome
    #expect(agrees)
  }

  @Test func `leave the global model as it is`() throws {
    let without = try Toy.run(setup { $0.personalization = nil }, Toy.opposites())
    let with = try Toy.run(setup(), Toy.opposites())
    #expect(with.model == without.model && with.rounds == without.rounds && without.personal == nil)
    #expect(without.metrics.betterNodes == nil)
  }

  @Test func `give way to the global model where it knows better`() throws {
    // Nodes that agree with each other, and steps far too large for one of them.
    let population = try Toy.halves(nodes: 30, people: 36)
    let wild = setup {
      $0.rounds = 30
      $0.personalization = .fineTuning(PersonalDescent(epochs: 20, batchSize: 2, learningRate: 20))
    }
    let personal = try #require(try Toy.run(wild, population).personal)
    #expect(personal.choices["0 %", default: 0] > 10)
    #expect(try #require(personal.personal.accuracy) > 0.75)
    // Too few records to choose by: half of the way.
    let tiny = try #require(try Toy.run(wild, Toy.halves(nodes: 30, people: 12)).personal)
    #expect(tiny.choices == ["50 %": 30])
  }

  @Test(arguments: [12, 40])
  func `are the global one where local steps diverge`(people: Int) throws {
    let diverging = setup {
      $0.architecture = .network(NetworkSettings(hidden: [4], objective: .squaredError))
      $0.personalization = .fineTuning(PersonalDescent(epochs: 30, batchSize: 1, learningRate: 1_000))
      $0.clipNorm = 1
    }
    let personal = try #require(try Toy.run(diverging, Toy.amounts(people: people)).personal)
    #expect(personal.choices == ["0 %": 10] && personal.personal == personal.global)
    #expect(personal.betterNodes == 0 && personal.worseNodes == 0)
  }

  @Test func `are for dense models alone, and their settings are checked`() throws {
    let population = try Toy.opposites()
    let trees = setup { $0.architecture = .boostedTrees(TreeSettings(trees: 1, maximumDepth: 1)) }
    let error = #expect(throws: CentralRunError.self) {
      try CentralRun(setup: trees, population: population, context: RunContext(workers: 1))
    }
    #expect(error?.description.contains("local steps are those of linear models and networks") == true)
    let idle = setup {
      $0.personalization = .fineTuning(PersonalDescent(epochs: 0, batchSize: 1, learningRate: 1))
    }
    #expect(throws: LearningError.self) {
      try CentralRun(setup: idle, population: population, context: RunContext(workers: 1))
    }
  }

  /// Every method, with settings that suit the toy.
  static let methods: [(name: String, method: Personalization)] = [
    ("fine-tuning", .fineTuning(PersonalDescent(epochs: 10, batchSize: 8, learningRate: 0.5))),
    ("ditto", .ditto(PersonalDescent(epochs: 4, batchSize: 8, learningRate: 0.5, proximal: 0.05))),
    (
      "apfl",
      .interpolation(PersonalDescent(epochs: 4, batchSize: 8, learningRate: 1), initialShare: 0.5)
    ),
    (
      "fedper",
      .sharedBody(PersonalDescent(epochs: 6, batchSize: 8, learningRate: 0.5), headEpochs: nil)
    ),
    (
      "fedrep", .sharedBody(PersonalDescent(epochs: 3, batchSize: 8, learningRate: 0.5), headEpochs: 6)
    ),
    ("ifca", .clusters(PersonalDescent(epochs: 3, batchSize: 8, learningRate: 0.5), count: 2)),
  ]

  @Test(arguments: methods.indices)
  func `of every method are better where nodes disagree, on any number of workers`(index: Int) throws {
    let method = Self.methods[index].method
    let setup = setup {
      $0.architecture = .network(NetworkSettings(hidden: [6]))
      $0.rounds = 12
      $0.personalization = method
    }
    let outcome = try Toy.run(setup, Toy.opposites())
    let personal = try #require(outcome.personal)
    #expect(try #require(personal.global.accuracy) < 0.7)
    #expect(try #require(personal.personal.accuracy) > 0.8, "\(Self.methods[index].name)")
    #expect(personal.betterNodes >= 9 && personal.nodes == 12)
    let again = try Toy.run(setup, Toy.opposites(), workers: 1) == outcome
    #expect(again)
    let without = try Toy.run(setup.with { $0.personalization = nil }, Toy.opposites())
    #expect(without.model == outcome.model)
  }

  @Test(arguments: [
    Personalization.ditto(
      PersonalDescent(epochs: 2, batchSize: 8, learningRate: 0.5, part: .head, proximal: 0.01)),
    .interpolation(
      PersonalDescent(epochs: 2, batchSize: 8, learningRate: 0.5, part: .head), initialShare: 1),
  ])
  func `with a head of their own have the global body of the last round`(method: Personalization) throws {
    // A global model that learns, over many rounds: own heads on its body know what it knows.
    let setup = setup {
      $0.architecture = .network(NetworkSettings(hidden: [6]))
      $0.rounds = 40
      $0.algorithm = .fedAvg(epochs: 2, batchSize: 8, learningRate: 0.5)
      $0.personalization = method
    }
    let personal = try #require(try Toy.run(setup, Toy.exclusiveOr()).personal)
    let (global, own) = (try #require(personal.global.accuracy), try #require(personal.personal.accuracy))
    #expect(global > 0.8 && own > global - 0.06, "\(global), \(own)")
  }

  @Test func `balanced refuse labels that are no class, instead of counting them`() throws {
    #expect(throws: LearningError.self) {
      try PersonalSettings.classShares(of: [0, 1, 9], objective: .classes(count: 3))
    }
    #expect(throws: LearningError.self) {
      try PersonalSettings.classShares(of: [1e30], objective: .classes(count: 3))
    }
    let shares = try PersonalSettings.classShares(of: [0, 0, 2], objective: .classes(count: 3))
    #expect(shares.map { ($0 * 6).rounded() } == [3, 1, 2])
  }

  @Test func `of clusters are those of the nodes' own kind`() throws {
    let setup = setup {
      $0.rounds = 15
      $0.personalization = .clusters(PersonalDescent(epochs: 3, batchSize: 8, learningRate: 0.5), count: 2)
    }
    let personal = try #require(try Toy.run(setup, Toy.opposites()).personal)
    // Six nodes of each kind.
    #expect(personal.choices == ["cluster 1": 6, "cluster 2": 6])
  }

  @Test func `that would spend a second budget, and impossible settings, are refused`() throws {
    let population = try Toy.opposites()
    func refusal(_ method: Personalization, _ change: (inout RunSetup) -> Void = { _ in }) -> String? {
      let setup = setup {
        $0.architecture = .network(NetworkSettings(hidden: [4]))
        $0.personalization = method
        change(&$0)
      }
      do {
        _ = try CentralRun(setup: setup, population: population, context: RunContext(workers: 1))
        return nil
      } catch { return "\(error)" }
    }
    let descent = PersonalDescent(epochs: 1, batchSize: 4, learningRate: 0.1)
    let private1: (inout RunSetup) -> Void = {
      $0.budget.epsilon = 1
      $0.clipNorm = 1
    }
    #expect(refusal(.sharedBody(descent, headEpochs: 1)) == nil)
    #expect(refusal(.sharedBody(descent, headEpochs: 1), private1)?.contains("budget of its own") == true)
    #expect(refusal(.clusters(descent, count: 2), private1)?.contains("budget of its own") == true)
    #expect(refusal(.fineTuning(descent), private1) == nil)
    #expect(refusal(.clusters(descent, count: 1))?.contains("2 to 16") == true)
    #expect(refusal(.ditto(descent))?.contains("no Ditto") == true)
    #expect(refusal(.interpolation(descent, initialShare: 0))?.contains("initial share") == true)
    #expect(refusal(.sharedBody(descent, headEpochs: 0))?.contains("epochs") == true)
    let linear: (inout RunSetup) -> Void = { $0.architecture = .logisticRegression }
    #expect(refusal(.sharedBody(descent, headEpochs: nil), linear)?.contains("hidden layers") == true)
    var balanced = descent
    balanced.isBalanced = true
    #expect(refusal(.fineTuning(balanced)) == nil)
    #expect(refusal(.fineTuning(balanced), private1)?.contains("exact shares of classes") == true)
    #expect(
      refusal(.sharedBody(descent, headEpochs: 1)) {
        $0.earlyStopping = EarlyStopping(patience: 3, minimumImprovement: 0, metric: .auc)
        $0.validationPermille = 200
      }?.contains("best round") == true)
    #expect(
      refusal(.fineTuning(balanced)) {
        $0.architecture = .network(NetworkSettings(objective: .squaredError))
      }?.contains("balancing is for classes") == true)
  }
}

extension RunSetup {
  fileprivate func with(_ change: (inout RunSetup) -> Void) -> RunSetup {
    var copy = self
    change(&copy)
    return copy
  }
}
