import ArgumentParser
import ConsentLedger
import Cryptography
import Foundation
import Storage

/// `accord ledger …`
struct LedgerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledger", abstract: "Verify the consent ledger from its files, trusting nobody.",
    subcommands: [Verify.self, Checkpoint.self])

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Recompute every hash, signature and derived table of the log.",
      discussion: """
        Exit code 0 if everything holds, 1 if not, naming the first bad entry.

        Example:
          accord ledger verify --data server-data --json
        """)
    @Option(help: "The server's data directory.") var data: String
    @Flag(help: "Print JSON.") var json = false

    struct Report: Codable {
      let verified: Bool
      let size: UInt64
      let root: String
      let origin: String
      let consents: Int
      let enrolments: Int
      let rounds: Int
      let firstProblem: String?
    }

    func run() throws {
      guard DurableFile.exists(data + "/VERSION") else { throw StorageError.notADataDirectory(path: data) }
      let result = LedgerVerifier.verify(directory: data)
      let report = Report(
        verified: result.verified, size: result.size, root: result.root.hex, origin: result.origin,
        consents: result.counts.consents, enrolments: result.counts.enrolments,
        rounds: result.counts.rounds, firstProblem: result.firstProblem)
      if json { try Console.writeJSON(report) }
      guard result.verified else {
        throw CommandFailure("the ledger does NOT verify: \(result.firstProblem ?? "unknown reason")")
      }
      if !json {
        Console.write("the ledger of \(report.origin) verifies")
        Console.write("  \(report.size) entries, root \(report.root)")
        Console.write(
          "  \(report.consents) consent events, \(report.enrolments) enrolments, \(report.rounds) sessions")
      }
    }
  }

  struct Checkpoint: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the newest signed checkpoint (C2SP signed note).",
      discussion: "Example:\n  accord ledger checkpoint --data server-data")
    @Option(help: "The server's data directory.") var data: String

    func run() throws { Console.writeRaw(try LedgerVerifier.newestCheckpoint(directory: data)) }
  }
}
