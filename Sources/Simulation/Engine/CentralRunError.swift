/// Why a run with `aggregation: off` was refused or ended.
package enum CentralRunError: Error, Equatable, CustomStringConvertible {
  /// A field of the setup that cannot be.
  case invalidSetting(name: String, reason: String)
  /// No node holds a record for training.
  case nothingToTrainOn
  /// No node that was looked at has a held-out record.
  case nothingHeldOut
  /// More contributors in one round than the integers of an exact sum have room for.
  case tooManyContributors(Int, most: Int)

  package var description: String {
    switch self {
    case .invalidSetting(let name, let reason): "\(name) is unusable: \(reason)"
    case .nothingToTrainOn: "no node holds a record for training: hold fewer records out"
    case .nothingHeldOut: "no record is held out, so nothing can be measured: hold some records out"
    case .tooManyContributors(let count, let most):
      "\(count) contributors are in one round, at most \(most) can be added up: make the cohort smaller"
    }
  }
}
