import ArgumentParser
import Foundation
import Logging

#if canImport(Glibc)
  import Glibc
#endif

/// The command line: one binary, a subcommand per job. Exit codes: 0 done, 1 refused or failed with the
/// reason on standard error, 2 wrong usage.
struct Accord: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "accord",
    abstract: "Privacy-preserving federated learning for retail, bound to consent.",
    discussion: """
      Examples:
        accord demo
        accord demo --data customers.csv --label Churn --subject CustomerID --epsilon 8
        accord ledger verify --data server-data
      """,
    version: "accord 0.5.0 (protocol 2)",
    subcommands: [
      DemoCommand.self, ServerCommand.self, NodeCommand.self, KeysCommand.self, TaskCommand.self,
      ModelCommand.self, PolicyCommand.self, OfficerCommand.self, ConsentCommand.self,
      SubjectCommand.self, RequestCommand.self, LedgerCommand.self, ReportCommand.self,
      PrivacyCommand.self, SecureAggregationCommand.self, SimulateCommand.self, DataCommand.self,
      BenchCommand.self,
    ])
}

/// A failure that is already a sentence.
struct CommandFailure: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

@main
enum Main {
  static func main() async {
    // A peer that hangs up must end a connection, not the process.
    signal(SIGPIPE, SIG_IGN)
    do {
      var command = try Accord.parseAsRoot()
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      exit(report(error))
    }
  }

  /// Prints the reason and returns the exit code.
  private static func report(_ error: any Error) -> Int32 {
    switch Accord.exitCode(for: error) {
    case .success:
      Console.write(Accord.fullMessage(for: error))
      return 0
    case .validationFailure:
      Console.writeError(Accord.fullMessage(for: error))
      return 2
    default:
      if let code = error as? ExitCode { return code.rawValue }
      Console.writeError("accord: \(Self.sentence(error))")
      return 1
    }
  }

  private static func sentence(_ error: any Error) -> String {
    if type(of: error) is NSError.Type { return (error as NSError).localizedDescription }
    return "\(error)"
  }
}

/// Standard output and standard error.
enum Console {
  /// A line on standard output.
  static func write(_ line: String) {
    writeRaw(line + "\n")
  }
  /// Text on standard output as it is.
  static func writeRaw(_ text: String) {
    // Whoever reads (`| head`) may have seen enough: that is no failure of ours.
    do { try FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) } catch { exit(0) }
  }
  /// A line on standard error.
  static func writeError(_ line: String) {
    try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8))
  }
  /// Whether a person is watching standard output.
  static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

  /// JSON with sorted keys.
  static func writeJSON(_ value: some Encodable) throws {
    write(String(decoding: try json(value), as: UTF8.self))
  }
  static func json(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return try encoder.encode(value)
  }
}

/// Options that many subcommands share.
struct LogOptions: ParsableArguments {
  @Option(help: "Least important log level that is printed: debug, info, notice, warning, error.")
  var logLevel: String = "info"

  func logger(_ label: String) throws -> Logger {
    guard let level = Logger.Level(rawValue: logLevel) else {
      throw ValidationError("unknown log level “\(logLevel)”; use debug, info, notice, warning or error")
    }
    var logger = Logger(label: label) { StreamLogHandler.standardError(label: $0) }
    logger.logLevel = level
    return logger
  }
}

/// Now, in milliseconds of UTC since 1970.
func nowMilliseconds() -> UInt64 { UInt64(Date().timeIntervalSince1970 * 1000) }

/// Reads a file or explains why not.
func readFile(_ path: String) throws -> [UInt8] {
  do { return Array(try Data(contentsOf: URL(fileURLWithPath: path))) } catch {
    throw CommandFailure("cannot read \(path): \((error as NSError).localizedDescription)")
  }
}
