import Foundation

/// Finds the data files of a scenario.
package struct DataLocator: Equatable, Sendable {
  /// The environment variable that names the directory of the public data sets.
  package static let environmentName = "ACCORD_DATA_DIR"

  /// Where the scenario file is.
  package let scenarioDirectory: String
  /// Where the public data sets are, if that is known.
  package let dataDirectory: String?

  /// - Parameters:
  ///   - scenario: the path of the scenario file.
  ///   - dataDirectory: the directory of the public data sets, if it is known.
  package init(scenario: String, dataDirectory: String?) {
    let parent = (scenario as NSString).deletingLastPathComponent
    scenarioDirectory = parent.isEmpty ? "." : parent
    self.dataDirectory = dataDirectory
  }

  /// The directory of the public data sets: what the option says, else the environment, else
  /// `../shared/data` or `data` beside the working directory if one of them is there.
  package static func directory(option: String?, environment: [String: String]) -> String? {
    if let option { return option }
    if let value = environment[environmentName], !value.isEmpty { return value }
    return ["../shared/data", "data"].first { path in
      var isDirectory: ObjCBool = false
      return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }
  }

  /// A data file that is not there.
  package struct Missing: Equatable, Sendable, CustomStringConvertible {
    /// As the scenario has it.
    package let file: String
    /// Where it was looked for.
    package let looked: [String]
    /// Whether the directory of the public data sets is known.
    package let knowsDirectory: Bool
    /// The data set that it belongs to, if it is a public one.
    package let set: DataManifest.DataSet?

    package var description: String {
      var text = "the data file \(file) is missing; looked for \(looked.joined(separator: " and "))."
      if let set {
        text += " It belongs to \(set.title) (\(set.source)); get it from \(set.obtain)."
        text += " Licence: \(set.licence)."
      }
      if !knowsDirectory {
        text += " Set \(DataLocator.environmentName) or --data-dir to the directory of the data sets."
      } else if set != nil {
        text += " `accord data check` then tells whether it is the right one."
      }
      return text
    }
  }

  /// The path of a file that a scenario names: absolute, or beside the scenario, or in the data directory.
  package func path(of file: String) throws(ScenarioError) -> String {
    var candidates = [file]
    if !file.hasPrefix("/") {
      candidates = [scenarioDirectory + "/" + file]
      if let dataDirectory { candidates.append(dataDirectory + "/" + file) }
    }
    for path in candidates where FileManager.default.fileExists(atPath: path) { return path }
    throw .dataMissing(
      Missing(
        file: file, looked: candidates, knowsDirectory: dataDirectory != nil,
        set: DataManifest.standard.set(of: file)))
  }
}
