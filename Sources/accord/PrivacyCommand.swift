import ArgumentParser
import Foundation
import Privacy
import Storage

/// `accord privacy …`
struct PrivacyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "privacy", abstract: "Account, calibrate, plot and inspect privacy budgets.",
    subcommands: [
      PrivacyAccountCommand.self, PrivacyCalibrateCommand.self, PrivacyCurveCommand.self, Budget.self,
    ])

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
            mechanism: "Skellam", trustMode: .distributed, accountant: .rdp))
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
