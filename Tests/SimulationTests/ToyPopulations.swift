import Learning
import Privacy

@testable import Simulation

/// Small made-up populations, one for each thing that a model can learn.
enum Toy {
  /// Nodes of people with one record each, every fourth of whom is held out.
  static func population(
    nodes: Int, people: Int, columns: [FeatureColumn], seed: UInt64 = 1,
    _ record: (inout SeededDraws, _ node: Int) -> (values: RawRecord, label: Float)
  ) throws -> StoredPopulation {
    let shares = (0..<nodes).map { node in
      var draws = SeededDraws(seed: seed, purpose: "toy node \(node)")
      return StoreShare(
        records: (0..<people).map { person in
          let (values, label) = record(&draws, node)
          return StoreRecord(
            subject: "n\(node)-\(person)", values: values, label: label, isHeldOut: person % 4 == 3)
        })
    }
    return StoredPopulation(schema: try FeatureSchema(columns: columns), shares: shares)
  }

  static let points = [
    FeatureColumn(name: "x", kind: .numeric), FeatureColumn(name: "y", kind: .numeric),
    FeatureColumn(name: "colour", kind: .categorical),
  ]

  /// A point of the square around 0 with a colour.
  private static func point(_ draws: inout SeededDraws) -> (
    x: Double, y: Double, isRed: Bool, values: RawRecord
  ) {
    let (x, y, isRed) = (draws.unit() * 2 - 1, draws.unit() * 2 - 1, draws.chance(0.5))
    return (x, y, isRed, [.number(x), .number(y), isRed ? .text("red") : .text("blue")])
  }

  /// Either right or red, but not both: no linear model knows.
  static func exclusiveOr(nodes: Int = 12, people: Int = 40) throws -> StoredPopulation {
    try population(nodes: nodes, people: people, columns: points) { draws, _ in
      let point = point(&draws)
      return (point.values, (point.x > 0.1) != point.isRed ? 1 : 0)
    }
  }

  /// Three classes: left, or else above or below.
  static func threeClasses() throws -> StoredPopulation {
    try population(nodes: 10, people: 40, columns: points) { draws, _ in
      let point = point(&draws)
      return (point.values, point.x < -0.3 ? 0 : point.y > 0 ? 1 : 2)
    }
  }

  /// Three groups of customers, whose labels mean nothing.
  static func blobs(nodes: Int = 10) throws -> StoredPopulation {
    let columns = Array(points.prefix(2))
    return try population(nodes: nodes, people: 60, columns: columns) { draws, _ in
      let group = draws.uniform(below: 3)
      let (x, y) = [(0.0, 0.0), (6.0, 1.0), (2.0, 7.0)][group]
      return ([.number(x + 0.5 * draws.normal()), .number(y + 0.5 * draws.normal())], 7)
    }
  }

  /// An amount up to 6 that grows with x and with red.
  static func amounts(nodes: Int = 10, people: Int = 40) throws -> StoredPopulation {
    try population(nodes: nodes, people: people, columns: points) { draws, _ in
      let point = point(&draws)
      return (point.values, Float(2 + 2 * point.x + (point.isRed ? 1 : -1) + 0.2 * draws.normal()))
    }
  }

  /// Reviews whose words tell whether somebody is content.
  static func reviews() throws -> StoredPopulation {
    let columns = [
      FeatureColumn(name: "review", kind: .text, text: TextSettings(ngrams: 2, bits: 10)),
      FeatureColumn(name: "x", kind: .numeric),
    ]
    return try population(nodes: 8, people: 40, columns: columns) { draws, _ in
      let isContent = draws.chance(0.5)
      let words = (0..<5).map { _ in
        if draws.chance(0.4) {
          return (isContent ? ["lovely", "perfect", "soft"] : ["scratchy", "returned", "thin"])[
            draws.uniform(below: 3)]
        }
        return ["dress", "the", "colour", "size", "and"][draws.uniform(below: 5)]
      }
      return ([.text(words.joined(separator: " ")), .number(draws.unit())], isContent ? 1 : 0)
    }
  }

  /// Points that are positive to the right of a line, on every node the same.
  static func halves(nodes: Int = 30, people: Int = 24) throws -> StoredPopulation {
    try population(nodes: nodes, people: people, columns: points) { draws, _ in
      let point = point(&draws)
      return (point.values, point.x + 0.5 * point.y + 0.2 * draws.normal() > 0 ? 1 : 0)
    }
  }

  /// The same question with opposite answers on every second node.
  static func opposites() throws -> StoredPopulation {
    try population(nodes: 12, people: 48, columns: points) { draws, node in
      let point = point(&draws)
      return (point.values, (point.x > 0) == node.isMultiple(of: 2) ? 1 : 0)
    }
  }

  /// Users as nodes: `items` of them, a few of which each user has taken, some held out.
  static func users(
    _ count: Int, items: Int, perUser: Int, _ label: (inout SeededDraws, _ user: Int, _ item: Int) -> Float?
  ) throws -> StoredPopulation {
    let shares = (0..<count).map { user in
      var draws = SeededDraws(seed: 3, purpose: "toy user \(user)")
      let taken = draws.shuffled(Array(0..<items)).compactMap { item in
        label(&draws, user, item).map { (item, $0) }
      }.prefix(perUser)
      return StoreShare(
        records: taken.enumerated().map { index, entry in
          StoreRecord(
            subject: "u\(user)", values: [.number(Double(entry.0))], label: entry.1, isHeldOut: index % 4 == 3
          )
        })
    }
    return StoredPopulation(
      schema: try FeatureSchema(columns: [FeatureColumn(name: "item", kind: .numeric)]), shares: shares)
  }

  /// Ratings from 1 to 5: taste agrees with what an item is, or does not.
  static func ratings() throws -> StoredPopulation {
    try users(40, items: 30, perUser: 20) { draws, user, item in
      let agrees = (user % 2 == 0) == (item % 2 == 0)
      return Float(min(5, max(1, (agrees ? 4.2 : 1.8) + 0.2 * Double(item % 3) + 0.2 * draws.normal())))
    }
  }

  /// Even users take even items, odd users odd ones.
  static func interactions() throws -> StoredPopulation {
    try users(40, items: 40, perUser: 12) { _, user, item in user % 2 == item % 2 ? 1 : nil }
  }

  /// A run without noise on all nodes.
  static func setup(
    _ architecture: ModelArchitecture, rounds: Int, _ change: (inout RunSetup) -> Void = { _ in }
  ) -> RunSetup {
    var setup = RunSetup(
      name: "toy", seed: 5, rounds: rounds, architecture: architecture, algorithm: .fedSGD,
      optimizer: .sgd(learningRate: 1), quantileBins: 8, clipNorm: nil,
      budget: PrivacyBudget(epsilon: .infinity, delta: 1e-5), aggregation: .off)
    change(&setup)
    return setup
  }

  static func run(
    _ setup: RunSetup, _ population: any VirtualPopulation, workers: Int = 2
  ) throws -> RunOutcome {
    try CentralRun(setup: setup, population: population, context: RunContext(workers: workers)).run()
      .reproducible
  }
}
