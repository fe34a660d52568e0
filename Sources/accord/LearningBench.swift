import ArgumentParser
import Foundation
import Simulation

/// `accord bench learning`
struct LearningBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "learning",
    abstract: "Measure how many examples per second private gradient descent takes.",
    discussion: """
      Steps of stochastic gradient descent with 30 features, on one and on all cores: plain, with the gradient of
      every example clipped to a norm of 1, and with clipping and Gaussian noise. Rates are medians over the
      repetitions and include drawing the batch, clipping, noise and the step; "per core-s" is by processor time,
      for machines that have other work. The share of the peak compares the matrix products of a step with large
      square products on as many threads in the same run.

      Examples:
        accord bench learning
        accord bench learning --model perceptron --repetitions 15 --json
      """)
  @Option(name: .customLong("model"), help: "Start of a model's name; may be repeated. By default all.")
  var models: [String] = []
  @Option(help: "Threads; by default one per core.") var workers: Int?
  @Option(help: "Repetitions per figure.") var repetitions = 7
  @Option(help: "Seconds of a repetition, about.") var seconds = 0.2
  @Option(help: "Examples of a step.") var batchSize = 256
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard workers.map({ (1...256).contains($0) }) ?? true else {
      throw ValidationError("--workers must be from 1 to 256")
    }
    guard (1...1_000).contains(repetitions), seconds > 0, seconds <= 60 else {
      throw ValidationError("--repetitions must be from 1 to 1000 and --seconds above 0 and at most 60")
    }
    guard (1...65_536).contains(batchSize) else {
      throw ValidationError("--batch-size must be from 1 to 65536")
    }
  }

  func run() throws {
    var options = LearningBenchmark.Options()
    options.models = models
    // The batch is cut into as many parts as there are threads.
    options.workers = min(workers ?? options.workers, 256)
    options.repetitions = repetitions
    options.seconds = seconds
    options.batchSize = batchSize
    let quiet = json
    let report = try LearningBenchmark(options) { if !quiet { Console.writeError($0) } }.run()
    if json { try Console.writeJSON(report) } else { Console.write(Self.table(report)) }
  }

  private static func table(_ report: LearningBenchmark.Report) -> String {
    func pad(_ text: String, _ width: Int) -> String {
      text.padding(toLength: width, withPad: " ", startingAt: 0)
    }
    let head =
      pad("model", 25) + pad("step", 9)
      + "workers  examples/s        best  per core-s  slowdown (core)  GFLOP/s  of peak (core)"
    let rows = report.speeds.map { speed in
      pad(speed.model, 25) + pad(speed.kind.rawValue, 9)
        + String(
          format: "%7d %11.0f %11.0f %11.0f %9.2f %6.2f %8.1f %7.0f %% %4.0f %%", speed.workers,
          speed.examplesPerSecond, speed.bestExamplesPerSecond, speed.examplesPerCoreSecond, speed.slowdown,
          speed.coreSlowdown, speed.gigaflops, 100 * speed.shareOfPeak, 100 * speed.coreShareOfPeak)
    }
    let peaks = report.peaks.map { peak in
      String(
        format: "square products on %d workers: %.1f GFLOP/s, at best %.1f, per core %.1f", peak.workers,
        peak.gigaflops, peak.bestGigaflops, peak.gigaflopsPerCore)
    }
    let isSame = report.speeds.allSatisfy(\.isSameAsOnOneThread)
    let last =
      "\(report.cores) cores, batches of \(report.options.batchSize); the parameters "
      + (isSame ? "do not depend" : "depend") + " on the number of threads"
    return ([head] + rows + [""] + peaks + [last]).joined(separator: "\n")
  }
}
