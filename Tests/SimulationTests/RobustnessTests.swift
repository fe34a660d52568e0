import Federation
import Learning
import Privacy
import Testing

@testable import Simulation

@Suite struct `Poisoned nodes` {
  private func outcome(
    _ attack: Attack? = nil, _ groups: RobustGroups? = nil, workers: Int = 2,
    _ change: (inout RunSetup) -> Void = { _ in }
  ) throws -> RunOutcome {
    let setup = Toy.setup(.logisticRegression, rounds: 12) {
      $0.clipNorm = 1
      $0.attack = attack
      $0.groups = groups
      change(&$0)
    }
    return try Toy.run(setup, Toy.halves(), workers: workers)
  }

  private let scaling = Attack(permille: 100, kind: .scaleUpdates(factor: 1_000))

  @Test func `scaled updates ruin the mean, and hardly the median over groups`() throws {
    let honest = try #require(try outcome().metrics.logLoss)
    let mean = try outcome(scaling)
    #expect(try #require(mean.metrics.logLoss) > 2 * honest)
    #expect(mean.notes == ["3 of 30 nodes are poisoned."])
    for combination in [GroupCombination.median, .trimmedMean] {
      let robust = try outcome(scaling, RobustGroups(count: 15, combination: combination))
      #expect(try #require(robust.metrics.logLoss) < honest + 0.05, "\(combination)")
    }
  }

  @Test func `groups that are longer than honest ones can be are left out`() throws {
    let honest = try #require(try outcome().metrics.logLoss)
    let bounded = try outcome(scaling, RobustGroups(count: 15, combination: .mean))
    #expect(try #require(bounded.metrics.logLoss) < honest + 0.05)
    let note = try #require(bounded.notes.first { $0.contains("left out") })
    let count = try #require(note.split(separator: " ").first.flatMap { Int($0) })
    // One to three groups have a poisoned node, in each of twelve rounds.
    #expect((12...36).contains(count))
    // Nobody is left out when all are honest, nor for want of contributors.
    let calm = try outcome(nil, RobustGroups(count: 40, combination: .mean))
    #expect(calm.notes.isEmpty)
    #expect(abs(try #require(calm.metrics.logLoss) - honest) < 0.02)
  }

  @Test func `flipped labels pull the model over, the more nodes flip`() throws {
    let honest = try #require(try outcome().metrics.auc)
    let some = try outcome(Attack(permille: 200, kind: .flipLabels))
    let half = try outcome(Attack(permille: 500, kind: .flipLabels))
    #expect(some.notes == ["6 of 30 nodes are poisoned."])
    #expect(try #require(some.metrics.logLoss) < #require(half.metrics.logLoss))
    #expect(try #require(half.metrics.auc) < honest - 0.1 && honest > 0.95)
    let median = try outcome(
      Attack(permille: 200, kind: .flipLabels), RobustGroups(count: 15, combination: .median))
    #expect(try #require(median.metrics.logLoss) < #require(some.metrics.logLoss))
  }

  @Test func `everybody is hit the same with any number of workers`() throws {
    for attack in [scaling, Attack(permille: 200, kind: .flipLabels)] {
      for groups in [nil, RobustGroups(count: 7, combination: .median)] {
        let one = try outcome(attack, groups, workers: 1)
        let agrees = try outcome(attack, groups, workers: 3) == one
        #expect(agrees)
      }
    }
    // The poisoned nodes are a matter of the seed.
    let (a, b) = (scaling.nodes(of: 30, seed: 1), scaling.nodes(of: 30, seed: 2))
    #expect(a.count == 3 && b.count == 3 && a != b && a == scaling.nodes(of: 30, seed: 1))
    #expect(scaling.nodes(of: 9, seed: 1).isEmpty)
  }

  @Test func `an attack of nobody and one group change nothing`() throws {
    let plain = try outcome()
    #expect(try outcome(Attack(permille: 0, kind: .flipLabels)).model == plain.model)
    #expect(try outcome(nil, RobustGroups(count: 1, combination: .mean)).metrics.auc == plain.metrics.auc)
  }

  @Test func `trees are poisoned and defended as well`() throws {
    func auc(_ attack: Attack?, _ groups: RobustGroups?) throws -> Double {
      let settings = TreeSettings(trees: 4, maximumDepth: 2, learningRate: 0.5, minimumChildWeight: 0.2)
      return try #require(
        try outcome(attack, groups) {
          $0.architecture = .boostedTrees(settings)
          $0.rounds = 20
        }.metrics.auc)
    }
    let honest = try auc(nil, nil)
    let flipped = Attack(permille: 450, kind: .flipLabels)
    #expect(honest > 0.9)
    #expect(try auc(flipped, nil) < honest - 0.02)
    #expect(try auc(scaling, RobustGroups(count: 10, combination: .mean)) > honest - 0.05)
  }

  @Test func `what cannot be is refused`() throws {
    let population = try Toy.halves(nodes: 4, people: 4)
    func refused(_ change: (inout RunSetup) -> Void) -> Bool {
      let setup = Toy.setup(.logisticRegression, rounds: 1, change)
      do {
        _ = try CentralRun(setup: setup, population: population, context: RunContext(workers: 1))
        return false
      } catch { return error is CentralRunError }
    }
    #expect(!refused { $0.attack = Attack(permille: 500, kind: .flipLabels) })
    #expect(refused { $0.attack = Attack(permille: 501, kind: .flipLabels) })
    #expect(refused { $0.attack = Attack(permille: -1, kind: .flipLabels) })
    #expect(refused { $0.attack = Attack(permille: 1, kind: .scaleUpdates(factor: 2e6)) })
    #expect(
      refused {
        $0.attack = Attack(permille: 1, kind: .flipLabels)
        $0.architecture = .network(NetworkSettings(objective: .squaredError))
      })
    #expect(refused { $0.groups = RobustGroups(count: 0, combination: .mean) })
    #expect(refused { $0.groups = RobustGroups(count: 257, combination: .mean) })
    #expect(refused { $0.groups = RobustGroups(count: 2, combination: .median) })
    #expect(!refused { $0.groups = RobustGroups(count: 2, combination: .mean) })
    #expect(
      refused {
        $0.groups = RobustGroups(count: 3, combination: .median)
        $0.budget.epsilon = 1
        $0.clipNorm = 1
      })
  }
}
