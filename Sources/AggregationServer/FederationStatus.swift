package import Federation

/// What the server tells anybody who asks how it is doing. Nothing in it is about a single node's data.
package struct FederationStatus: Codable, Sendable {
  /// The session under way.
  package struct Session: Codable, Sendable {
    /// Its number.
    package var number: UInt64
    /// What it does.
    package var kind: SessionKind
    /// Training round, 0 outside training.
    package var round: Int
    /// The step it is in.
    package var phase: String
    /// Nodes of the cohort, once known.
    package var cohort: Int
    /// Nodes the step still waits for.
    package var awaited: Int
    /// Milliseconds since it began.
    package var elapsedMilliseconds: UInt64
  }

  /// A task and where it stands.
  package struct Task: Codable, Sendable {
    /// Its name.
    package var id: String
    /// What the operator asked for.
    package var specification: FederationTask
    /// Where it stands.
    package var progress: TaskProgress
    /// Digest of the current artifact (a model, or what a statistics task found), hexadecimal.
    package var model: String
    /// Spent per population: epsilon at the task's delta.
    package var spent: [String: EpsilonValue]
    /// What a statistics task found so far; nil for a training task.
    package var statistics: StatisticsReport?
  }

  /// The federation's name.
  package var federation: String
  /// Enrolled nodes.
  package var enrolled: Int
  /// Nodes that are waiting for a session now.
  package var waiting: Int
  /// The session under way, if any.
  package var session: Session?
  /// All tasks, oldest first.
  package var tasks: [Task]
  /// Leaves in the consent log.
  package var ledgerSize: UInt64
}
