import AggregationServer
import ArgumentParser
import Cryptography
import Foundation

/// `accord server …`
struct ServerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "server", abstract: "The aggregation server with the consent ledger.",
    subcommands: [Run.self])

  struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run the server until it is told to stop (SIGTERM or Ctrl-C).",
      discussion: """
        The first start makes keys, the TLS certificate and trust.json, which operators hand to nodes.
        Later starts need only --data: the rest is remembered.

        Examples:
          accord keys generate --out operator.key
          accord server run --data server-data --federation shops.example/consent \\
            --operator-key $(accord keys show operator.key) --host 127.0.0.1 --port 8443
          accord server run --data server-data
        """)

    @Option(help: "Data directory; made if it does not exist.") var data: String
    @Option(help: "Name or address that nodes connect to.") var host: String?
    @Option(help: "Port; 0 lets the system choose.") var port: Int?
    @Option(help: "Name of the federation: the consent log's origin.") var federation: String?
    @Option(help: "The operator's public key, 64 hexadecimal digits.") var operatorKey: String?
    @Option(help: "Milliseconds to wait for missing nodes once enough are there.")
    var gatherMs: UInt64 = 1500
    @Option(help: .hidden) var withParent: Int32?
    @OptionGroup var logging: LogOptions

    func validate() throws {
      if let port, !(0...65_535).contains(port) { throw ValidationError("--port must be from 0 to 65535") }
    }

    func run() async throws {
      ParentWatch.start(withParent)
      let settings = try ServerSettings.resolve(
        directory: data, host: host, port: port, federation: federation,
        operatorKey: try operatorKey.map { try VerifyingKey(hex: $0) })
      let application = try ServerApplication(
        ServerConfiguration(
          directory: data, host: settings.host, port: settings.port, federation: settings.federation,
          operatorKey: try VerifyingKey(hex: settings.operatorKey), gatherMilliseconds: gatherMs),
        logger: try logging.logger("accord.server"))
      try await application.run(
        onReady: { url in Console.writeError("accord: serving \(url)") },
        onStopping: {
          Task.detached {
            try? await Task.sleep(for: .milliseconds(500))
            Foundation.exit(0)
          }
        })
    }
  }
}
