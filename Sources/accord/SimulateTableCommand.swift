import ArgumentParser
import Foundation
import Simulation

extension SimulateCommand {
  /// `accord simulate table DIR…`
  struct Table: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Results beside the references of their scenarios, as a Markdown page.",
      discussion: """
        Scenarios with a reference (docs/SIMULATION.md) get a row each. `make results` writes docs/RESULTS.md so.

        Example:
          accord simulate table results/churn-trees results/shoppers-trees --out RESULTS.md
        """)
    @Argument(help: "The --out directories of sweeps.") var directories: [String]
    @Option(help: "The file to write; standard output without it.") var out: String?
    @Flag(help: "Fail if a goal is missed.") var strict = false

    func run() throws {
      let table = ReferenceTable(try directories.map { try SweepResults.read(directory: $0) })
      if let out {
        do { try Data(table.markdown.utf8).write(to: URL(fileURLWithPath: out), options: .atomic) } catch {
          throw CommandFailure("\(out) cannot be written; check the directory and its permissions")
        }
      } else {
        Console.writeRaw(table.markdown)
      }
      if strict, !table.missed.isEmpty {
        throw CommandFailure("below the goal: " + table.missed.joined(separator: "; "))
      }
    }
  }
}
