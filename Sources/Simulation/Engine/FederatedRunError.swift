/// Why a federated run does not start, or cannot go on.
package enum FederatedRunError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A field of the setup that this kind of aggregation cannot run with.
  case setup(field: String, reason: String)
  /// The budget, or the data, did not suffice for a first model.
  case noModel(reason: String)
  /// Session after session ended without a sum.
  case stuck(session: UInt64, reason: String)
  /// A step of a session did not go on: a mistake of ours.
  case incomplete(step: String, session: UInt64)

  package var description: String {
    switch self {
    case .setup(let field, let reason): "\(field) \(reason)"
    case .noModel(let reason): "there is no model to measure: \(reason)"
    case .stuck(let session, let reason):
      "three sessions in a row ended without a sum; session \(session): \(reason)"
    case .incomplete(let step, let session): "session \(session) stopped at step \(step)"
    }
  }
}
