import ArgumentParser
import Foundation
import Simulation
import Synchronization

#if canImport(Glibc)
  import Glibc
#endif

/// `accord simulate …`
struct SimulateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulate",
    abstract: "Measure what a privacy budget costs before anything is deployed.",
    discussion: """
      Runs every point of a scenario's sweep under every seed and writes results.csv, results.json and \
      report.html. Finished runs are kept: the same command goes on where an interrupted one stopped.

      Examples:
        accord simulate simulations/quick.yaml
        accord simulate simulations/churn-privacy-budget.yaml --out results/churn
        accord simulate my.yaml --seeds 1,2,3 --set privacy.epsilon=4 --set cohort=100
        mpirun -n 4 accord simulate my.yaml --mpi --workers 1
        accord simulate compare results/a results/b
        accord simulate faults --seed 1 --seeds 100
      """,
    subcommands: [Run.self, Compare.self, Table.self, SimulateFaultsCommand.self], defaultSubcommand: Run.self
  )

  /// `accord simulate [run] FILE…`
  struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run scenarios.",
      discussion: "Example:\n  accord simulate run simulations/quick.yaml --out results/quick")

    @Argument(help: "Scenario files (docs/SIMULATION.md).") var files: [String]
    @Option(help: "Directory of the results; results/NAME without it. Several files get one each below it.")
    var out: String?
    @Option(help: "Threads; all cores without it. Results do not depend on it.") var workers: Int?
    @Option(help: "Seeds instead of the file's, separated by commas.") var seeds: String?
    @Option(name: .customLong("set"), help: "A field instead of the file's: privacy.epsilon=4. Repeatable.")
    var settings: [String] = []
    @Option(help: "Directory of the public data sets; ACCORD_DATA_DIR without it.") var dataDir: String?
    @Flag(help: "Start afresh: remove the results that are in the directory.") var overwrite = false
    @Flag(help: "Check the scenario, the data and every run, and stop there.") var check = false
    @Flag(
      help: "Share every cohort with the processes that mpirun started (needs a build with the trait MPI).")
    var mpi = false
    @Flag(help: "Print the results as JSON.") var json = false
    @Flag(help: "No progress.") var quiet = false

    func validate() throws {
      if let workers, !(1...1024).contains(workers) {
        throw ValidationError("--workers must be from 1 to 1024")
      }
      _ = try changes()
    }

    func run() throws {
      let processes = mpi ? try MPIProcesses() : nil
      let scenarios = try readAll()
      var results: [SweepResults] = []
      for scenario in scenarios {
        let directory = directory(scenario, of: scenarios.count)
        if let result = try SimulateRunner(self, scenario, directory, processes ?? SingleProcess()).run() {
          results.append(result)
        }
      }
      if json, !check, processes?.rank ?? 0 == 0 { try Console.writeResults(results) }
      try processes?.finish()
    }

    /// Reads all files before any runs; the mistakes of all are told.
    private func readAll() throws -> [Scenario] {
      let changes = try changes()
      var scenarios: [Scenario] = []
      var mistakes: [String] = []
      for file in files {
        do throws(ScenarioError) { scenarios.append(try Scenario.read(path: file, changes: changes)) } catch {
          mistakes.append(error.description)
        }
      }
      guard mistakes.isEmpty else { throw CommandFailure(mistakes.joined(separator: "\n")) }
      let names = scenarios.map(\.name)
      guard Set(names).count == names.count else {
        throw CommandFailure("two of the scenarios have the same name; their results would mix")
      }
      return scenarios
    }

    private func directory(_ scenario: Scenario, of count: Int) -> String {
      let name = scenario.name.map { $0.isLetter || $0.isNumber || "-_.".contains($0) ? $0 : "-" }
      guard let out else { return "results/" + String(name) }
      return count == 1 ? out : out + "/" + String(name)
    }

    private func changes() throws -> Scenario.Changes {
      var changes = Scenario.Changes()
      if let seeds {
        let numbers = seeds.split(separator: ",", omittingEmptySubsequences: false).map { UInt64($0) }
        let known = numbers.compactMap(\.self)
        guard known.count == numbers.count, Set(known).count == known.count, !known.isEmpty,
          known.allSatisfy({ $0 < UInt64(Int.max) })
        else {
          throw ValidationError("--seeds are different whole numbers separated by commas, not “\(seeds)”")
        }
        changes.seeds = known
      }
      for setting in settings {
        guard let sign = setting.firstIndex(of: "="), sign != setting.startIndex else {
          throw ValidationError("--set is a field and a value such as privacy.epsilon=4, not “\(setting)”")
        }
        changes.settings.append(
          (String(setting[..<sign]), String(setting[setting.index(after: sign)...])))
      }
      return changes
    }

    /// The command line that gives the same results again.
    var reproduction: String {
      var words = ["accord", "simulate"] + files
      if let seeds { words += ["--seeds", seeds] }
      for setting in settings { words += ["--set", setting] }
      return words.map { word in
        let isPlain = word.allSatisfy { $0.isLetter || $0.isNumber || "-_./=,:".contains($0) }
        return isPlain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
      }.joined(separator: " ")
    }
  }
}

extension Console {
  /// The results of one scenario, or a list of several.
  static func writeResults(_ results: [SweepResults]) throws {
    let encoder = ResultsJSON.encoder(pretty: true)
    let data = results.count == 1 ? try encoder.encode(results[0]) : try encoder.encode(results)
    write(String(decoding: data, as: UTF8.self))
  }
}

/// Whether the user asked to stop (Ctrl-C): the run under way ends after its round. A second time ends the
/// process at once.
enum StopRequest {
  private static let isAsked = Atomic<Bool>(false)

  static var wasMade: Bool { isAsked.load(ordering: .relaxed) }

  static func listen() {
    // The handler must not be the first to touch the flag: that would initialise it inside a signal.
    isAsked.store(false, ordering: .relaxed)
    for number in [SIGINT, SIGTERM] {
      signal(number) { number in
        StopRequest.isAsked.store(true, ordering: .relaxed)
        signal(number, SIG_DFL)
      }
    }
  }
}
