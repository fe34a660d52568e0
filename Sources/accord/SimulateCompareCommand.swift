import ArgumentParser
import Foundation
import Simulation

extension SimulateCommand {
  /// `accord simulate compare A B`
  struct Compare: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "What differs between two sweeps, and what of it is more than the seeds' noise.",
      discussion: """
        Points with the same swept values are compared. A difference counts as more than noise if Welch's t \
        test on the seeds, corrected for the number of points (Holm), has p < 0.05.

        Examples:
          accord simulate compare results/a results/b
          accord simulate compare results/a results/b --metric accuracy --csv
        """)
    @Argument(help: "The --out directory of a sweep.") var first: String
    @Argument(help: "The --out directory of another.") var second: String
    @Option(
      help:
        "One of auc, accuracy, logLoss, averagePrecision, macroF1, calibrationError, rmse, mae, r2, recallAt10, ndcgAt10, betterNodes, silhouette, pairwiseSilhouette, inertia, logLikelihood; the main one of the results."
    ) var metric: String?
    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Print CSV.") var csv = false

    func validate() throws {
      if json, csv { throw ValidationError("--json and --csv exclude each other") }
      if let metric, SweepMetric(rawValue: metric) == nil {
        throw ValidationError(
          "--metric is one of \(SweepMetric.allCases.map(\.rawValue).joined(separator: ", ")), not “\(metric)”"
        )
      }
    }

    func run() throws {
      let comparison = SweepComparison(
        try SweepResults.read(directory: first), try SweepResults.read(directory: second),
        metric: metric.flatMap(SweepMetric.init))
      guard !comparison.points.isEmpty else {
        throw CommandFailure(
          "no point of \(first) is in \(second): their swept values differ; compare sweeps of one scenario")
      }
      if json {
        let encoder = ResultsJSON.encoder(pretty: true)
        return Console.write(String(decoding: try encoder.encode(comparison), as: UTF8.self))
      }
      Console.writeRaw(csv ? comparison.csv : comparison.table)
    }
  }
}
