import Cryptography
import Foundation
import Yams

/// A scenario file, read and checked: every run that it asks for.
package struct Scenario: Equatable, Sendable {
  /// A field that is swept and what it takes.
  package struct Axis: Codable, Equatable, Sendable {
    /// The dotted path, such as `privacy.epsilon`.
    package let path: String
    /// The values as people read them.
    package let values: [String]
  }

  /// One combination of the swept values; a run for every seed.
  package struct Point: Equatable, Sendable {
    /// One value per axis, as people read them.
    package let values: [String]
    /// The records.
    package let data: DataSpecification
    /// Everything else, under seed 1.
    package let setup: RunSetup
  }

  /// How the command line changes a scenario.
  package struct Changes: Equatable, Sendable {
    /// Replaces the seeds.
    package var seeds: [UInt64]?
    /// Dotted paths and YAML values.
    package var settings: [(path: String, yaml: String)] = []

    package init(seeds: [UInt64]? = nil, settings: [(path: String, yaml: String)] = []) {
      self.seeds = seeds
      self.settings = settings
    }

    package static func == (left: Changes, right: Changes) -> Bool {
      left.seeds == right.seeds
        && left.settings.map { "\($0.path)=\($0.yaml)" } == right.settings.map { "\($0.path)=\($0.yaml)" }
    }
  }

  /// The file as it was named.
  package let file: String
  /// SHA-256 of the file, hex.
  package let digest: String
  /// The file's text.
  package let text: String
  /// The name that results carry.
  package let name: String
  /// What the scenario is for, in the author's words.
  package let summary: String?
  /// The swept fields, in the order of the file.
  package let axes: [Axis]
  /// All points: the cross product of the axes, the last one running fastest.
  package let points: [Point]
  /// The seeds of every point.
  package let seeds: [UInt64]
  /// What results are compared with.
  package let reference: ScenarioReference?

  /// The largest scenario file.
  package static let maximumBytes = 200_000
  /// The most runs of a scenario.
  package static let maximumRuns = 20_000

  /// The number of runs.
  package var runCount: Int { points.count * seeds.count }

  /// Reads a file.
  ///
  /// - Throws: `ScenarioError.invalid` with every mistake and its line.
  package static func read(path: String, changes: Changes = Changes()) throws(ScenarioError) -> Scenario {
    let bytes: Data
    do { bytes = try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
      throw .unreadable(file: path, reason: "the scenario cannot be read; check the path")
    }
    guard bytes.count <= maximumBytes else {
      throw .unreadable(file: path, reason: "a scenario has at most \(maximumBytes) bytes")
    }
    guard let text = String(data: bytes, encoding: .utf8) else {
      throw .unreadable(file: path, reason: "the scenario is not UTF-8; save the file as UTF-8")
    }
    return try read(text, file: path, changes: changes)
  }

  /// Reads a text.
  ///
  /// - Parameter file: the name to put in mistakes.
  package static func read(
    _ text: String, file: String, changes: Changes = Changes()
  ) throws(ScenarioError) -> Scenario {
    var reader = ScenarioReader(file: file)
    var root = try ScenarioYAML.compose(text, file: file)
    reader.apply(changes.settings, to: &root)
    guard let top = reader.table(root, "", known: ScenarioReader.topKeys) else {
      throw .invalid(reader.problems)
    }
    let name = reader.text(top, "name", maximum: 64) ?? ScenarioReader.stem(file)
    let summary = reader.text(top, "description")
    let seeds = changes.seeds ?? reader.seedList(top)
    let reference = reader.reference(top)
    let axes = reader.axes(top)
    let count = axes.reduce(1) { min(maximumRuns + 1, $0 * max(1, $1.nodes.count)) } * max(1, seeds.count)
    guard count <= maximumRuns else {
      reader.note(
        top.entries["sweep"] ?? top.entries["seeds"], "sweep",
        "sweep and seeds together ask for more than \(ScenarioReader.grouped(maximumRuns)) runs")
      throw .invalid(reader.problems)
    }
    let points = reader.points(root, axes: axes, name: name)
    let problems = reader.problems.sorted { $0.line < $1.line }
    guard problems.isEmpty else { throw .invalid(problems) }
    return Scenario(
      file: file, digest: Hash.sha256(Array(text.utf8)).hex, text: text, name: name, summary: summary,
      axes: axes.map { Axis(path: $0.path, values: $0.labels) }, points: points, seeds: seeds,
      reference: reference)
  }
}

/// YAML as nodes that know their lines.
enum ScenarioYAML {
  static func compose(_ yaml: String, file: String) throws(ScenarioError) -> Node {
    func problem(_ line: Int, _ text: String) -> ScenarioError {
      .invalid([ScenarioProblem(place: "\(file):\(line)", line: line, text: text)])
    }
    do {
      guard let node = try Yams.compose(yaml: yaml) else { throw problem(1, "the file is empty") }
      return node
    } catch let error as ScenarioError {
      throw error
    } catch let error as YamlError {
      switch error {
      case .scanner(_, let text, let mark, _), .parser(_, let text, let mark, _),
        .composer(_, let text, let mark, _):
        throw problem(mark.line, "this is not YAML: \(text)")
      case .duplicatedKeysInMapping(let keys, let context):
        throw problem(context.mark.line, "\(keys.first ?? "a key") stands twice in one table, first here")
      case .reader(let text, let offset, _, _):
        throw problem(1 + yaml.utf8.prefix(offset ?? 0).count { $0 == 10 }, "this is not YAML: \(text)")
      default: throw problem(1, "the text cannot be read as YAML")
      }
    } catch {
      throw problem(1, "the text cannot be read as YAML")
    }
  }
}
