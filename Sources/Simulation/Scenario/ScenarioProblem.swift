/// One mistake in a scenario file, or in what the command line says about it.
package struct ScenarioProblem: Equatable, Hashable, Sendable, CustomStringConvertible {
  /// Where: `file:line`, or the option of the command line.
  package let place: String
  /// The line, from 1; 0 for an option of the command line.
  package let line: Int
  /// What is wrong and what is allowed.
  package let text: String

  /// A mistake.
  package init(place: String, line: Int, text: String) {
    self.place = place
    self.line = line
    self.text = text
  }

  package var description: String { "\(place): \(text)" }
}

/// Why a scenario cannot be run, or its results not be read. Every description is for people.
package enum ScenarioError: Error, Equatable, Sendable, CustomStringConvertible {
  /// The file cannot be read or is too large.
  case unreadable(file: String, reason: String)
  /// The file has mistakes; all of them, in the order of their lines.
  case invalid([ScenarioProblem])
  /// A data file is not where the scenario says.
  case dataMissing(DataLocator.Missing)
  /// The data do not suit what the scenario wants from them.
  case unsuitable(data: String, reason: String)
  /// The directory for the results cannot be used.
  case output(directory: String, reason: String)
  /// A directory of results cannot be read.
  case noResults(directory: String, reason: String)
  /// A run failed.
  case runFailed(run: String, reason: String)
  /// The sweep was stopped; what is done is kept.
  case interrupted(done: Int, of: Int, directory: String)

  package var description: String {
    switch self {
    case .unreadable(let file, let reason): "\(file): \(reason)"
    case .invalid(let problems): problems.map(\.description).joined(separator: "\n")
    case .dataMissing(let missing): missing.description
    case .unsuitable(let data, let reason): "\(data): \(reason)"
    case .output(let directory, let reason): "\(directory): \(reason)"
    case .noResults(let directory, let reason): "\(directory): \(reason)"
    case .runFailed(let run, let reason): "\(run): \(reason)"
    case .interrupted(let done, let total, let directory):
      "stopped: \(done) of \(total) runs are done and kept in \(directory)/runs; the same command goes on "
        + "from there"
    }
  }
}
