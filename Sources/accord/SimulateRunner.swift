import ArgumentParser
import Foundation
import Simulation

/// Runs one scenario with everything around it: directory, progress, results files.
struct SimulateRunner {
  private let command: SimulateCommand.Run
  private let scenario: Scenario
  private let directory: String
  private let processes: any SumReducer
  /// The first process alone keeps runs, writes results and talks.
  private var isFirst: Bool { processes.rank == 0 }

  init(
    _ command: SimulateCommand.Run, _ scenario: Scenario, _ directory: String, _ processes: any SumReducer
  ) {
    self.command = command
    self.processes = processes
    self.scenario = scenario
    self.directory = directory
  }

  /// The results; nil if only a check was asked for.
  func run() throws -> SweepResults? {
    let dataDirectory = DataLocator.directory(
      option: command.dataDir, environment: ProcessInfo.processInfo.environment)
    let plan = try SweepPlan(
      scenario: scenario, locator: DataLocator(scenario: scenario.file, dataDirectory: dataDirectory),
      version: Accord.configuration.version, refusal: { $0.refusal(by: $1) })
    say(
      "\(scenario.name): \(scenario.points.count) × \(scenario.seeds.count) seeds = "
        + "\(scenario.runCount) runs")
    for data in plan.data {
      let population = data.population
      say(
        "  \(data.specification.name): \(population.approximateRecordCount) records on "
          + "\(population.nodeCount) nodes")
      for note in data.notes { say("  note: \(note)") }
    }
    if command.check {
      if isFirst { Console.write("\(scenario.file): in order") }
      return nil
    }
    let store = isFirst ? try RunStore(directory, overwrite: command.overwrite) : nil
    StopRequest.listen()
    let workers = command.workers ?? ProcessInfo.processInfo.activeProcessorCount
    let bar = SimulateProgress(isQuiet: command.quiet || command.json || !isFirst)
    let runner = SweepRunner(
      plan: plan, store: store, workers: workers, reducer: processes,
      engine: { try simulate($0, population: $1, context: $2) }, isStopped: { StopRequest.wasMade })
    let records: [RunRecord]
    do {
      records = try runner.run { bar.show($0) }
    } catch {
      bar.end()
      throw error
    }
    bar.end()
    guard let store else { return nil }
    let results = SweepResults(plan: plan, records: records, command: command.reproduction)
    try write(results, store)
    if !command.json { Console.write(SimulateTable.text(results, directory: directory)) }
    return results
  }

  private func write(_ results: SweepResults, _ store: RunStore) throws {
    try store.write(Array(ResultsCSV.text(results).utf8), name: "results.csv")
    try store.write(try results.json(), name: "results.json")
    let made = Date().formatted(.iso8601.year().month().day())
    try store.write(Array(ReportPage(results, made: made).html.utf8), name: "report.html")
  }

  private func say(_ text: String) {
    if !command.quiet, !command.json, isFirst { Console.write(text) }
  }
}

/// A bar with the time left: on a terminal one line that is drawn again, otherwise a line now and then.
final class SimulateProgress {
  private let isQuiet: Bool
  private let isLive: Bool
  private var width = 0
  private var lastLine = -Double.infinity
  private var saidKept = false

  init(isQuiet: Bool) {
    self.isQuiet = isQuiet
    isLive = Console.isTerminal
  }

  func show(_ progress: SweepRunner.Progress) {
    guard !isQuiet else { return }
    if !saidKept, progress.kept > 0 {
      Console.write("  \(progress.kept) runs are kept from before")
    }
    saidKept = true
    let isDone = progress.runsDone == progress.runs
    if isLive {
      let filled = Int((progress.fraction * 30).rounded(.down))
      let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 30 - filled)
      let line = "  \(bar) \(Self.text(progress))"
      Console.writeRaw("\r" + line + String(repeating: " ", count: max(0, width - line.count)))
      width = line.count
    } else if isDone || progress.seconds - lastLine >= 5 {
      lastLine = progress.seconds
      Console.write("  " + Self.text(progress))
    }
  }

  /// Leaves the bar's line.
  func end() {
    if isLive, width > 0, !isQuiet { Console.writeRaw("\n") }
    width = 0
  }

  static func text(_ progress: SweepRunner.Progress) -> String {
    var text = String(format: "%3.0f %%", (progress.fraction * 100).rounded(.down))
    text += "  \(progress.runsDone) of \(progress.runs) runs, \(duration(progress.seconds)) so far"
    if progress.runsDone < progress.runs, let left = progress.secondsLeft, progress.seconds > 1 {
      text += ", about \(duration(left)) left"
    }
    return text
  }

  private static func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    switch whole {
    case ..<120: return "\(whole) s"
    case ..<7_200: return "\(whole / 60) min \(whole % 60) s"
    default: return "\(whole / 3_600) h \(whole % 3_600 / 60) min"
    }
  }
}
