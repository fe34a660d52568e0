import Foundation
import Learning

/// Everything that a sweep gave: the content of `results.json`.
package struct SweepResults: Codable, Equatable, Sendable {
  /// The scenario that was run.
  package struct ScenarioFacts: Codable, Equatable, Sendable {
    /// Its name.
    package var name: String
    /// The file, without its directory.
    package var file: String
    /// What it is for.
    package var summary: String?
    /// SHA-256 of the file, hex.
    package var sha256: String
    /// The file's text.
    package var text: String
    /// What its results are compared with.
    package var reference: ScenarioReference?
  }

  /// What computed.
  package struct Environment: Codable, Equatable, Sendable {
    /// Accord's version.
    package var accord: String
    /// The operating system.
    package var system: String
    /// The processor's kind.
    package var architecture: String
    /// Cores.
    package var processors: Int

    /// - Parameter accord: the version of the program.
    package init(accord: String) {
      self.accord = accord
      system = ProcessInfo.processInfo.operatingSystemVersionString
      processors = ProcessInfo.processInfo.processorCount
      #if arch(x86_64)
        architecture = "x86-64"
      #elseif arch(arm64)
        architecture = "arm64"
      #else
        architecture = "other"
      #endif
    }
  }

  /// The records that some runs used.
  package struct DataFacts: Codable, Equatable, Sendable {
    /// Where they come from and how they are spread.
    package var specification: DataSpecification
    /// Nodes.
    package var nodes: Int
    /// Roughly how many records.
    package var records: Int
    /// Columns that are learned from.
    package var columns: Int
    /// The files.
    package var inputs: [ScenarioData.Input]
    /// What the reader should know.
    package var notes: [String]
  }

  /// One run.
  package struct Run: Codable, Equatable, Sendable {
    /// One value per axis, as people read them.
    package var values: [String]
    /// The position of its records in `data`.
    package var data: Int
    /// `RunRecord.digest`.
    package var digest: String
    /// Everything but the records.
    package var setup: RunSetup
    /// What it gave.
    package var outcome: RunOutcome
  }

  /// The version of this layout.
  package var format: Int
  /// The scenario.
  package var scenario: ScenarioFacts
  /// What computed.
  package var environment: Environment
  /// The command line that gives these results again.
  package var command: String
  /// What was swept.
  package var axes: [Scenario.Axis]
  /// The seeds of every point.
  package var seeds: [UInt64]
  /// The sources of records.
  package var data: [DataFacts]
  /// In the order of the points, then of the seeds.
  package var runs: [Run]

  /// The layout that this program reads and writes.
  package static let currentFormat = 1

  /// Puts a finished sweep together.
  ///
  /// - Parameter records: of every run of the plan, in its order.
  package init(plan: SweepPlan, records: [RunRecord], command: String) {
    let scenario = plan.scenario
    format = Self.currentFormat
    self.scenario = ScenarioFacts(
      name: scenario.name, file: (scenario.file as NSString).lastPathComponent, summary: scenario.summary,
      sha256: scenario.digest, text: scenario.text, reference: scenario.reference)
    environment = Environment(accord: plan.version)
    self.command = command
    axes = scenario.axes
    seeds = scenario.seeds
    data = plan.data.map { data in
      DataFacts(
        specification: data.specification, nodes: data.population.nodeCount,
        records: data.population.approximateRecordCount, columns: data.population.schema.columns.count,
        inputs: data.inputs, notes: data.notes)
    }
    runs = zip(plan.runs, records).map { run, record in
      Run(
        values: scenario.points[run.point].values, data: run.data, digest: run.digest, setup: run.setup,
        outcome: record.outcome)
    }
  }

  /// Reads `results.json` of a directory.
  package static func read(directory: String) throws(ScenarioError) -> SweepResults {
    let path = directory + "/results.json"
    guard let bytes = FileManager.default.contents(atPath: path) else {
      throw .noResults(
        directory: directory,
        reason: "there is no results.json; name the --out directory of a sweep that has ended")
    }
    do {
      let results = try ResultsJSON.decoder().decode(SweepResults.self, from: bytes)
      guard results.format == currentFormat else {
        throw ScenarioError.noResults(
          directory: directory, reason: "results.json has format \(results.format); this program reads 1")
      }
      let isWhole = results.runs.allSatisfy {
        results.data.indices.contains($0.data) && $0.values.count == results.axes.count
      }
      guard isWhole, !results.runs.isEmpty else {
        throw ScenarioError.noResults(directory: directory, reason: "results.json is damaged")
      }
      return results
    } catch let error as ScenarioError {
      throw error
    } catch {
      throw .noResults(directory: directory, reason: "results.json cannot be read; run the sweep again")
    }
  }

  /// The content of `results.json`.
  package func json() throws -> [UInt8] {
    Array(try ResultsJSON.encoder(pretty: true).encode(self)) + [10]
  }
}
