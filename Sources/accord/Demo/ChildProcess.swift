import Foundation

#if canImport(Glibc)
  import Glibc
#endif

/// A process of this very binary, its output in a log file.
final class ChildProcess: @unchecked Sendable {
  // `Process` is used from one task at a time: the demo's.
  private let process = Process()
  /// What it is called in messages.
  let name: String
  private let logPath: String

  /// Starts `accord ARGUMENTS`.
  init(_ name: String, arguments: [String], logPath: String) throws {
    self.name = name
    self.logPath = logPath
    if !FileManager.default.fileExists(atPath: logPath) {
      _ = FileManager.default.createFile(atPath: logPath, contents: nil)
    }
    let log = try FileHandle(forWritingTo: URL(fileURLWithPath: logPath))
    try log.seekToEnd()
    process.executableURL = try Self.executable()
    process.arguments =
      arguments + ["--with-parent", "\(ProcessInfo.processInfo.processIdentifier)"]
    process.standardOutput = log
    process.standardError = log
    process.standardInput = FileHandle.nullDevice
    try process.run()
  }

  /// Whether it still runs.
  var isRunning: Bool { process.isRunning }

  /// SIGKILL: no chance to clean up.
  func kill() {
    Glibc.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  /// SIGTERM, and SIGKILL after five seconds.
  func stop() async {
    guard process.isRunning else { return }
    process.terminate()
    for _ in 0..<50 where process.isRunning { try? await Task.sleep(for: .milliseconds(100)) }
    if process.isRunning { kill() }
  }

  /// The last line of its log, for messages.
  var lastLine: String {
    let text = (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? ""
    return text.split(separator: "\n").last.map(String.init) ?? "it wrote nothing to \(logPath)"
  }

  /// This very binary. In a test runner, `accord` beside it: tests run what is deployed.
  private static func executable() throws -> URL {
    guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe") else {
      throw CommandFailure("the path of this program cannot be found")
    }
    let url = URL(fileURLWithPath: path)
    if url.lastPathComponent == "accord" { return url }
    let beside = url.deletingLastPathComponent().appendingPathComponent("accord")
    guard FileManager.default.isExecutableFile(atPath: beside.path) else {
      throw CommandFailure("there is no accord binary beside \(path)")
    }
    return beside
  }

  /// Runs `accord ARGUMENTS` to its end: exit code and what it wrote to standard error and output.
  static func runToEnd(_ arguments: [String]) async throws -> (code: Int32, output: String, errors: String) {
    let process = Process()
    process.executableURL = try executable()
    process.arguments = arguments
    let output = Pipe()
    let errors = Pipe()
    process.standardOutput = output
    process.standardError = errors
    process.standardInput = FileHandle.nullDevice
    try process.run()
    // The pipes are read to their end first: a full pipe would stop the process.
    async let outputData = Task.detached { try output.fileHandleForReading.readToEnd() ?? Data() }.value
    async let errorData = Task.detached { try errors.fileHandleForReading.readToEnd() ?? Data() }.value
    let texts = (try await outputData, try await errorData)
    process.waitUntilExit()
    return (
      process.terminationStatus, String(decoding: texts.0, as: UTF8.self),
      String(decoding: texts.1, as: UTF8.self)
    )
  }
}
