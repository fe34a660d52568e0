import ArgumentParser
import Federation
import Foundation
import Privacy
import Storage

/// `accord privacy …`
struct PrivacyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "privacy", abstract: "Account, calibrate and inspect privacy budgets.",
    subcommands: [Account.self, Calibrate.self, Budget.self])

  struct Account: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The epsilon of repeated releases (Rényi accounting).",
      discussion: """
        Examples:
          accord privacy account --sigma 1.1 --sampling 0.00427 --steps 14062 --delta 1e-5
          accord privacy account --skellam --clip 1 --scale 1000 --dimension 1048576 --sigma 1 --delta 1e-6
        """)
    @Option(help: "Noise multiplier: standard deviation over L2 sensitivity (or over clip, with --skellam).")
    var sigma: Double
    @Option(help: "Releases.") var steps = 1
    @Option(help: "Rate of Poisson sampling; 1 for none.") var sampling = 1.0
    @Option(help: "Delta.") var delta = 1e-5
    @Flag(help: "Skellam noise on integers instead of Gaussian noise.") var skellam = false
    @Option(help: "With --skellam: L2 clip norm.") var clip = 1.0
    @Option(help: "With --skellam: grid units per unit.") var scale = 4096.0
    @Option(help: "With --skellam: coordinates.") var dimension = 1
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      var event: PrivacyEvent
      if skellam {
        let clip = try IntegerClip(clipNorm: clip, scale: scale, dimension: dimension)
        let deviation = sigma * self.clip * scale
        event = clip.event(
          variance: deviation * deviation, samplerErrorLog2: SkellamSampler.largestErrorLog2, count: steps)
      } else {
        event = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: sigma), count: steps)
      }
      if sampling < 1 { event.sampling = .poisson(rate: sampling) }
      var accountant = RenyiAccountant()
      try accountant.compose(event)
      let guarantee = try accountant.epsilon(delta: delta)
      let statement = PrivacyStatement(
        epsilon: guarantee.epsilon, delta: delta, unit: .customer, relation: .addRemove,
        mechanism: event.mechanism.name, trustMode: skellam ? .distributed : .central)
      if json { try Console.writeJSON(statement) } else { Console.write("\(statement)") }
    }
  }

  struct Calibrate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The least Skellam noise with which a number of rounds meets a budget.",
      discussion: "Example:\n  accord privacy calibrate --epsilon 8 --rounds 40 --clip 4 --dimension 200")
    @Option(help: "Epsilon.") var epsilon: Double
    @Option(help: "Delta.") var delta = 1e-5
    @Option(help: "Rounds.") var rounds: Int
    @Option(help: "L2 clip norm.") var clip = 1.0
    @Option(help: "Grid units per unit; the one that a federation would use without it.") var scale: Double?
    @Option(help: "Coordinates.") var dimension: Int
    @Flag(help: "Print JSON.") var json = false

    struct Result: Codable {
      let noiseMultiplier: Double
      let variance: Double
      let rounds: Int
      let statement: PrivacyStatement
    }

    func run() throws {
      guard clip > 0, (1...IntegerClip.maximumDimension).contains(dimension) else {
        throw ValidationError(
          "--clip must be positive and --dimension from 1 to \(IntegerClip.maximumDimension)")
      }
      let scale = scale ?? VectorPlan.scale(clipNorm: clip, dimension: dimension, people: 1)
      let clip = try IntegerClip(clipNorm: clip, scale: scale, dimension: dimension)
      func event(_ variance: Double, _ count: Int = 1) -> PrivacyEvent {
        clip.event(variance: variance, samplerErrorLog2: SkellamSampler.largestErrorLog2, count: count)
      }
      let budget = PrivacyBudget(epsilon: epsilon, delta: delta)
      let variance = try SkellamCalibration.calibrateVariance(budget: budget, rounds: rounds) { event($0) }
      var accountant = RenyiAccountant()
      try accountant.compose(event(variance, rounds))
      let reached = try accountant.epsilon(delta: delta)
      let result = Result(
        noiseMultiplier: variance.squareRoot() / (self.clip * scale), variance: variance, rounds: rounds,
        statement: PrivacyStatement(
          epsilon: reached.epsilon, delta: delta, unit: .customer, relation: .addRemove,
          mechanism: "Skellam", trustMode: .distributed))
      if json { return try Console.writeJSON(result) }
      Console.write("noise multiplier \(result.noiseMultiplier), variance \(variance) grid units squared")
      Console.write("\(rounds) rounds: \(result.statement)")
    }
  }

  struct Budget: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What a server's or node's populations have spent, from its files.",
      discussion: "Example:\n  accord privacy budget --data server-data")
    @Option(help: "The data directory of a server or a node.") var data: String
    @Flag(help: "Print JSON.") var json = false

    struct Line: Codable {
      let population: String
      let debits: Int
      let budget: PrivacyBudget
      let spent: PrivacyStatement
    }

    func run() throws {
      let path = data + "/budget.sqlite"
      guard DurableFile.exists(path) else { throw StorageError.missingFile(path: path) }
      let book = try BudgetBook(path: path)
      let lines: [Line] = try book.populations().compactMap { population in
        guard let account = try book.account(population.name),
          let unit = PrivacyUnit(rawValue: population.unit)
        else { return nil }
        let spent = try account.spent()
        return Line(
          population: population.name, debits: try book.debits(of: population.name).count,
          budget: account.budget,
          spent: PrivacyStatement(
            epsilon: spent.epsilon, delta: account.budget.delta, unit: unit, relation: .addRemove,
            mechanism: "Skellam", trustMode: .distributed))
      }
      if json { return try Console.writeJSON(lines) }
      for line in lines {
        Console.write(
          "\(line.population): \(line.spent), budget \(line.budget.epsilon), \(line.debits) debits")
      }
      if lines.isEmpty { Console.write("nothing was spent yet") }
    }
  }
}
