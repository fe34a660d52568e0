import ArgumentParser
import Foundation
import Privacy
import Storage

/// `accord privacy budget …`
struct PrivacyBudgetCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "budget", abstract: "What a server's or node's populations have spent.",
    subcommands: [Totals.self, Show.self], defaultSubcommand: Totals.self)

  /// Which files to read.
  struct Source: ParsableArguments {
    @Option(help: "The data directory of a server or a node.") var data: String
    @Flag(help: "Print JSON.") var json = false

    func book() throws -> BudgetBook {
      let path = data + "/budget.sqlite"
      guard DurableFile.exists(path) else { throw StorageError.missingFile(path: path) }
      return try BudgetBook(path: path)
    }
  }

  /// What a population has spent.
  struct Line: Codable {
    let population: String
    let debits: Int
    let budget: PrivacyBudget
    let spent: PrivacyStatement
  }

  static func lines(_ book: BudgetBook) throws -> [Line] {
    try book.populations().compactMap { population in
      guard let account = try book.account(population.name),
        let unit = PrivacyUnit(rawValue: population.unit)
      else { return nil }
      return Line(
        population: population.name, debits: try book.debits(of: population.name).count,
        budget: account.budget, spent: try statement(account, unit: unit))
    }
  }

  static func statement(_ account: BudgetAccount, unit: PrivacyUnit) throws -> PrivacyStatement {
    let names = Set(account.events.map(\.mechanism.name)).sorted()
    return PrivacyStatement(
      epsilon: try account.spent().epsilon, delta: account.budget.delta, unit: unit, relation: .addRemove,
      mechanism: names.isEmpty ? "Skellam" : names.joined(separator: " and "), trustMode: .distributed,
      accountant: .rdp)
  }

  /// `accord privacy budget --data DIR`
  struct Totals: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "The totals, one line per population.",
      discussion: "Example:\n  accord privacy budget --data server-data")
    @OptionGroup var source: Source

    func run() throws {
      let lines = try PrivacyBudgetCommand.lines(source.book())
      if source.json { return try Console.writeJSON(lines) }
      for line in lines {
        Console.write(
          "\(line.population): \(line.spent), budget \(line.budget.epsilon), \(line.debits) debits")
      }
      if lines.isEmpty { Console.write("nothing was spent yet") }
    }
  }

  /// `accord privacy budget show --data DIR`
  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Every debit: what was spent on which task, session and sum.",
      discussion: """
        Epsilon is what everything up to and with the debit amounts to: epsilons of releases do not add up.

        Examples:
          accord privacy budget show --data server-data
          accord privacy budget show --data node-data --task churn --json
        """)
    @OptionGroup var source: Source
    @Option(help: "Only the debits of this task; epsilon still counts all.") var task: String?

    /// One debit.
    struct Entry: Codable {
      let task: String
      let session: UInt64
      let segment: String
      let timeMs: Int64
      let event: PrivacyEvent
      let spentAfter: PrivacyStatement
    }

    /// One population.
    struct Population: Codable {
      let population: String
      let budget: PrivacyBudget
      let spent: PrivacyStatement
      let remaining: Double?
      let debits: [Entry]
    }

    func run() throws {
      let populations = try Self.populations(source.book(), task: task)
      if source.json { return try Console.writeJSON(populations) }
      for population in populations { Console.write(Self.table(population)) }
      if populations.isEmpty { Console.write("nothing was spent yet") }
    }

    static func populations(_ book: BudgetBook, task: String?) throws -> [Population] {
      try book.populations().compactMap { declared in
        guard let total = try book.account(declared.name), let unit = PrivacyUnit(rawValue: declared.unit)
        else { return nil }
        var events: [PrivacyEvent] = []
        var entries: [Entry] = []
        for debit in try book.debits(of: declared.name) {
          let event = try JSONDecoder().decode(PrivacyEvent.self, from: Data(debit.eventJSON.utf8))
          events.append(event)
          guard task == nil || task == debit.task else { continue }
          let after = try BudgetAccount(budget: total.budget, spent: events)
          entries.append(
            Entry(
              task: debit.task, session: debit.round,
              // The id is "<session id>/<segment>".
              segment: String(debit.id.split(separator: "/").last ?? ""), timeMs: debit.timeMs, event: event,
              spentAfter: try statement(after, unit: unit)))
        }
        let remaining = try total.remaining()
        return Population(
          population: declared.name, budget: total.budget, spent: try statement(total, unit: unit),
          remaining: remaining.isFinite ? remaining : nil, debits: entries)
      }
    }

    private static func table(_ population: Population) -> String {
      func column(_ text: String, _ width: Int) -> String {
        text.count >= width ? text + " " : text.padding(toLength: width, withPad: " ", startingAt: 0)
      }
      let head =
        column("time (UTC)", 22) + column("task", 18) + column("session", 9) + column("sum", 12)
        + column("epsilon so far", 16) + "event"
      let rows = population.debits.map { entry in
        let time = Date(timeIntervalSince1970: Double(entry.timeMs) / 1000).ISO8601Format()
        return column(time, 22) + column(entry.task, 18) + column("\(entry.session)", 9)
          + column(entry.segment, 12) + column(String(format: "%.4f", entry.spentAfter.epsilon), 16)
          + describe(entry.event)
      }
      let left = population.remaining.map { String(format: ", %.4f left", $0) } ?? ""
      let title = "\(population.population): \(population.spent), budget \(population.budget.epsilon)\(left)"
      return ([title] + (rows.isEmpty ? ["  no debits"] : [head] + rows)).joined(separator: "\n  ")
    }

    private static func describe(_ event: PrivacyEvent) -> String {
      let times = event.count == 1 ? "" : " × \(event.count)"
      switch event.mechanism {
      case .skellam(let variance, let squared, _, let dimension, _):
        let ratio = (variance / Double(squared)).squareRoot()
        return String(format: "Skellam, noise multiplier %.3f, %d coordinates", ratio, dimension) + times
      default: return event.mechanism.name + times
      }
    }
  }
}
