import ArgumentParser
import Cryptography
import Federation
import Foundation
import SecureAggregation
import Simulation

/// `accord bench …`
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Measure the product on this machine.",
    subcommands: [
      SecureAggregationBench.self, PrivacyBench.self, LedgerBench.self, WithdrawalBench.self,
      SimulationBench.self, LearningBench.self,
    ])

  struct SecureAggregationBench: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "secure-aggregation",
      abstract: "Run one secure aggregation with real participants and time every step.",
      discussion: """
        Every participant and the server run in this process, with all messages and all checks. The two
        ratios compare the whole masking step and the whole unmasking with the bare key stream, expanded in
        the same run on the same cores.

        Examples:
          accord bench secure-aggregation --clients 1000 --dimension 1000000 --late-dropouts 0.05
          accord bench secure-aggregation --clients 200 --dimension 100000 --suite aes256-ctr --json
        """)
    @Option(help: "Participants.") var clients = 1_000
    @Option(help: "Coordinates of every input.") var dimension = 100_000
    @Option(help: "Fraction of the participants that drops between sharing and uploading.")
    var lateDropouts = 0.05
    @Option(help: "Fraction of the participants that is assumed to be corrupt.") var corrupt = 0.1
    @Option(help: "Fraction of drop-outs that the graph survives; at least the late ones.") var dropout = 0.1
    @Option(help: "Key-stream suite: chacha20 or aes256-ctr.") var suite = KeyStreamSuite.chacha20.rawValue
    @Option(help: "Width of the ring: 16, 20, 24 or 32 bits.") var ringBits = 32
    @Option(help: "Seed of keys, inputs and drop-outs.") var seed: UInt64 = 1
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
      guard (2...100_000).contains(clients) else {
        throw ValidationError("--clients must be from 2 to 100000")
      }
      guard (1...AggregationParameters.maximumDimension).contains(dimension) else {
        throw ValidationError("--dimension must be from 1 to \(AggregationParameters.maximumDimension)")
      }
      guard lateDropouts >= 0, lateDropouts <= 0.333, corrupt >= 0, corrupt <= 0.333, dropout >= 0,
        dropout <= 0.333
      else { throw ValidationError("--late-dropouts, --corrupt and --dropout must be from 0 to 0.333") }
      guard KeyStreamSuite(rawValue: suite) != nil else {
        throw ValidationError(
          "--suite must be " + KeyStreamSuite.allCases.map(\.rawValue).joined(separator: " or "))
      }
      guard RingWidth.all.contains(ringBits), 1 << (ringBits - 1) >= clients else {
        throw ValidationError("--ring-bits must be 16, 20, 24 or 32, and wide enough for a bit of everybody")
      }
    }

    func run() throws {
      var options = SecureAggregationBenchmark.Options()
      options.clients = clients
      options.dimension = dimension
      options.lateDropouts = lateDropouts
      options.corruptPermille = Int((corrupt * 1000).rounded())
      options.dropoutPermille = Int((dropout * 1000).rounded())
      options.suite = suite
      options.ringBits = ringBits
      options.seed = seed
      let quiet = json
      var benchmark = try SecureAggregationBenchmark(
        options, size: { ($0 as? any WireRepresentable)?.wireBytes.count ?? 0 },
        progress: { if !quiet { Console.writeError($0) } })
      let report = try benchmark.run()
      if json { try Console.writeJSON(report) } else { Console.write(Self.table(report)) }
      guard report.exact else { throw CommandFailure("the sum is wrong: this is a bug in Accord") }
    }

    private static func table(_ report: SecureAggregationBenchmark.Report) -> String {
      func line(_ step: SecureAggregationBenchmark.Step) -> String {
        "  " + step.name.padding(toLength: 30, withPad: " ", startingAt: 0)
          + String(format: "%10.3f s %10.3f core-s", step.seconds, step.coreSeconds)
      }
      func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }
      func stream(
        _ name: String, _ bytes: Int, _ bare: Double, _ ratio: Double, _ expansion: Double
      ) -> String {
        "key stream of the \(name): \(megabytes(bytes)), bare "
          + String(
            format: "%.3f s, ratio %.3f (expand and add alone %.3f)", bare, ratio, expansion)
      }
      let head =
        "\(report.graph) graph, k = \(report.degree), t = \(report.threshold); "
        + "\(report.survivors) survivors, \(report.dropped) dropped late; sum exact: \(report.exact)"
      return
        ([head, "clients, all together"] + report.client.map(line) + ["server"] + report.server.map(line)
        + [
          stream(
            "clients", report.clientKeyStreamBytes, report.clientBareSeconds, report.clientRatio,
            report.clientExpansionRatio),
          stream(
            "server", report.serverKeyStreamBytes, report.serverBareSeconds, report.serverRatio,
            report.serverExpansionRatio),
          String(format: "server: %.2f core-s in all, memory ", report.serverCoreSeconds)
            + megabytes(report.serverMemoryBytes)
            + "; process at its peak " + megabytes(report.peakMemoryBytes),
          "bytes per client: \(report.bytesSentPerClient) sent, \(report.bytesReceivedPerClient) received "
            + "(masked input \(report.packedInputBytes))",
        ]).joined(separator: "\n")
    }
  }
}
