import ArgumentParser
import Foundation
import Simulation

/// `accord data …`
struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "The public data sets that the scenarios use.",
    discussion: """
      Examples:
        accord data list
        accord data check --dir ../shared/data
      """,
    subcommands: [List.self, Check.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sources, licences and SHA-256 of all files.",
      discussion: "Example:\n  accord data list --json")
    @Flag(help: "Print JSON.") var json = false

    private struct Listing: Encodable {
      let sets: [DataManifest.DataSet]
      let files: [DataManifest.File]
    }

    func run() throws {
      let manifest = DataManifest.standard
      if json { return try Console.writeJSON(Listing(sets: manifest.sets, files: manifest.files)) }
      for set in manifest.sets {
        Console.write("\(set.name): \(set.title)")
        Console.write("  source   \(set.source)")
        Console.write("  from     \(set.obtain)")
        Console.write("  licence  \(set.licence)")
        for file in manifest.files where file.set == set.name {
          Console.write("  \(file.sha256)  \(file.path)  (\(file.bytes) bytes)")
        }
      }
    }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Compare the files of the data directory with the manifest.",
      discussion: """
        Exit code 1 if a file is missing or changed; files that the manifest does not know are named.

        Examples:
          accord data check
          accord data check ecommerce_churn online_shoppers --dir ../shared/data
        """)
    @Argument(help: "Data sets; all without it.") var sets: [String] = []
    @Option(
      name: [.customLong("dir"), .customLong("data-dir")],
      help: "The data directory; ACCORD_DATA_DIR without it.")
    var dir: String?
    @Flag(help: "Print JSON.") var json = false

    func validate() throws {
      let known = DataManifest.standard.sets.map(\.name)
      for name in sets where !known.contains(name) {
        throw ValidationError("there is no data set “\(name)”; there are: \(known.joined(separator: ", "))")
      }
    }

    func run() throws {
      let environment = ProcessInfo.processInfo.environment
      guard let directory = DataLocator.directory(option: dir, environment: environment) else {
        throw CommandFailure(
          "no data directory is known; set \(DataLocator.environmentName) or --dir (accord data list tells "
            + "where the files come from)")
      }
      let manifest = DataManifest.standard
      let findings = manifest.check(directory: directory, only: sets)
      let wrong = findings.filter { $0.state != .right && $0.state != .extra }
      if json {
        try Console.writeJSON(findings)
      } else {
        for finding in findings { Console.write(Self.line(finding, manifest)) }
        let right = findings.count { $0.state == .right }
        Console.write("\(right) of \(right + wrong.count) files in \(directory) are those of the manifest")
      }
      if !wrong.isEmpty { throw ExitCode(1) }
    }

    private static func line(_ finding: DataManifest.Finding, _ manifest: DataManifest) -> String {
      let obtain = manifest.set(of: finding.path).map { "; get it from \($0.obtain)" } ?? ""
      return switch finding.state {
      case .right: "right    \(finding.path)"
      case .missing: "MISSING  \(finding.path)\(obtain)"
      case .changed:
        "CHANGED  \(finding.path): SHA-256 is \(finding.actual ?? "") instead of \(finding.expected ?? "")"
          + obtain
      case .unreadable: "CHANGED  \(finding.path) cannot be read; check its permissions"
      case .extra: "extra    \(finding.path) (not in the manifest)"
      }
    }
  }
}
