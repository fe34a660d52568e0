import ArgumentParser
import Foundation
import Simulation

/// `accord bench simulation`
struct SimulationBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulation", abstract: "Measure how many client updates a simulation computes per second.",
    discussion: """
      The task is the one that other simulators are measured on: 1,000 nodes of 50 records and 30 features,
      cohorts of 100, one local epoch of batches of 10, learning rate 0.1, a trusted server; with and without
      clipping and Gaussian noise, on one and on all cores. Rates are medians over the repetitions, from the
      start of the first round to the end of the last; "per core" is by processor time, for machines that have
      other work. --scale adds a run over a million nodes that are generated when they are needed.

      Examples:
        accord bench simulation
        accord bench simulation --scale --json
      """)
  @Option(name: .customLong("model"), help: "Start of a model's name; may be repeated. By default all.")
  var models: [String] = []
  @Option(help: "Threads; by default one per core.") var workers: Int?
  @Option(help: "Repetitions per figure.") var repetitions = 7
  @Option(help: "Seconds of a repetition, about.") var seconds = 0.4
  @Flag(help: "Run the large population too.") var scale = false
  @Option(help: "Nodes of the large population.") var nodes = 1_000_000
  @Option(help: "Cohort of the large population.") var cohort = 10_000
  @Option(help: "Rounds of the large population.") var rounds = 20
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard workers.map({ (1...1_024).contains($0) }) ?? true else {
      throw ValidationError("--workers must be from 1 to 1024")
    }
    guard (1...1_000).contains(repetitions), seconds > 0, seconds <= 60 else {
      throw ValidationError("--repetitions must be from 1 to 1000 and --seconds above 0 and at most 60")
    }
    guard (1...GeneratedPopulation.maximumNodes).contains(nodes), (1...nodes).contains(cohort),
      (1...1_000_000).contains(rounds)
    else {
      throw ValidationError(
        "--nodes must be from 1 to \(GeneratedPopulation.maximumNodes), --cohort at most as many, and --rounds "
          + "from 1 to 1000000")
    }
  }

  func run() throws {
    var options = SimulationBenchmark.Options()
    options.models = models
    if let workers { options.workers = workers }
    options.repetitions = repetitions
    options.seconds = seconds
    options.scale = scale
    options.scaleNodes = nodes
    options.scaleCohort = cohort
    options.scaleRounds = rounds
    let quiet = json
    let report = try SimulationBenchmark(options) { if !quiet { Console.writeError($0) } }.run()
    if json { try Console.writeJSON(report) } else { Console.write(Self.table(report)) }
  }

  private static func table(_ report: SimulationBenchmark.Report) -> String {
    func pad(_ text: String, _ width: Int) -> String {
      text.padding(toLength: width, withPad: " ", startingAt: 0)
    }
    let head =
      pad("model", 26) + pad("noise", 7) + "workers   updates/s        best  per core-s  first round"
    let rows = report.speeds.map { speed in
      pad(speed.model, 26) + pad(speed.isPrivate ? "yes" : "no", 7)
        + String(
          format: "%7d %11.0f %11.0f %11.0f %10.4f s", speed.workers, speed.clientUpdatesPerSecond,
          speed.bestClientUpdatesPerSecond, speed.clientUpdatesPerCoreSecond, speed.firstRoundSeconds)
    }
    let phases = report.speeds.map { speed in
      pad(speed.model, 26) + pad(speed.isPrivate ? "yes" : "no", 7) + String(format: "%7d  ", speed.workers)
        + speed.phaseSecondsPerRound.sorted { $0.key < $1.key }
        .map { "\($0.key) " + String(format: "%.1f", $0.value * 1e6) }.joined(separator: ", ")
    }
    var lines = [head] + rows + ["", "microseconds of a round"] + phases
    lines.append("")
    lines.append(
      String(
        format:
          "%d cores; from the process's start to the end of its first round %.2f s; memory %.1f MB, at its "
          + "peak %.1f MB", report.cores, report.processToFirstRoundSeconds,
        Double(report.residentMemoryBytes) / 1e6, Double(report.peakMemoryBytes) / 1e6))
    if let scale = report.scale {
      lines.append(
        String(
          format: "%d nodes, cohorts of %d, %d rounds on %d workers: %.2f s, at its peak %.1f MB, AUC %.4f",
          scale.nodes, scale.cohort, scale.rounds, scale.workers, scale.seconds,
          Double(scale.peakMemoryBytes) / 1e6, scale.auc ?? .nan))
    }
    return lines.joined(separator: "\n")
  }
}
