import ArgumentParser
import Foundation
import Simulation

/// `accord bench ledger`
struct LedgerBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledger", abstract: "Measure the consent ledger: appending, proofs, verification.",
    discussion: """
      Statements are signed before the clock starts, because their authors sign elsewhere; the ledger checks form,
      rules and signatures inside it, and acknowledges what is durable. All figures are medians over the
      repetitions. A log of 10 million entries takes about 15 GB of disk while it is measured.

      Examples:
        accord bench ledger --entries 100000
        accord bench ledger --entries 10000000 --repetitions 1 --json
      """)
  @Option(help: "Entries of the log that is verified.") var entries = 1_000_000
  @Option(help: "Repetitions per figure.") var repetitions = 3
  @Option(help: "Statements under one signature.") var batch = 64
  @Option(help: "Callers at the same time.") var callers = 64
  @Option(help: "Threads of the verifier.") var cores = 2
  @Option(help: "Where to put the files for the time of the run; by default a temporary directory.")
  var directory: String?
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard (1_000...100_000_000).contains(entries), (1...100).contains(repetitions) else {
      throw ValidationError("--entries must be from 1000 to 100000000 and --repetitions from 1 to 100")
    }
    guard (1...256).contains(batch), (1...1024).contains(callers), (1...256).contains(cores) else {
      throw ValidationError("--batch and --cores must be from 1 to 256 and --callers from 1 to 1024")
    }
  }

  func run() async throws {
    let parent = directory ?? FileManager.default.temporaryDirectory.path
    let path = parent + "/accord-bench-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    var options = LedgerBenchmark.Options(directory: path)
    options.entries = entries
    options.repetitions = repetitions
    options.signedTogether = batch
    options.callers = callers
    options.cores = cores
    let quiet = json
    var benchmark = LedgerBenchmark(options) { if !quiet { Console.writeError($0) } }
    let report = try await benchmark.run()
    if json { try Console.writeJSON(report) } else { Console.write(Self.table(report)) }
    guard report.firstProblem == nil else {
      throw CommandFailure("the ledger does NOT verify: \(report.firstProblem ?? "")")
    }
  }

  private static func table(_ report: LedgerBenchmark.Report) -> String {
    func line(_ name: String, _ value: String) -> String {
      "  " + name.padding(toLength: 44, withPad: " ", startingAt: 0) + value
    }
    return [
      "\(report.durability) (PRAGMA synchronous reads \(report.synchronousLevel))",
      "\(report.cores) cores, medians of \(report.repetitions), \(report.signedTogether) statements a signature",
      line(
        "appends of \(report.appendSize) entries",
        String(format: "%.0f entries/s", report.batchedAppendsPerSecond)),
      line(
        "appends of one entry by \(report.callers) callers",
        String(
          format: "%.0f entries/s, acknowledged in %.1f ms (p50), %.1f ms (p99)",
          report.concurrentAppendsPerSecond, report.acknowledgementP50Ms, report.acknowledgementP99Ms)),
      line(
        "inclusion proofs of \(report.proofLength) hashes",
        String(format: "%.0f verified/s and core", report.proofsPerSecondAndCore)),
      line(
        "filling a log of \(report.verifiedEntries) entries",
        String(
          format: "%.1f s (%.0f entries/s), %.0f MB", report.fillSeconds, report.fillPerSecond,
          Double(report.databaseBytes) / 1e6)),
      line(
        "verifying it on \(report.verificationCores) cores",
        String(
          format: "%.2f s, %.2f core-s, %.2f µs of a core an entry", report.verificationSeconds,
          report.verificationCoreSeconds, report.verificationMicrosecondsPerEntry)),
    ].joined(separator: "\n")
  }
}
