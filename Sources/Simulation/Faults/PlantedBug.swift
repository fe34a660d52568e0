/// Mistakes that a host could make. Each is made by the simulated hosts only, around the deployed parts; the
/// simulator has to find every one of them, or it would not find the like in earnest.
package enum PlantedBug: String, Sendable, CaseIterable {
  /// The server says that a budget was debited and writes nothing.
  case debitForgotten
  /// The server debits when it releases the sum, not before uploads are asked for.
  case debitAtRelease
  /// A session that is aborted gets its cost back.
  case costRefunded
  /// A node uploads without debiting its own budget.
  case nodeDebitForgotten
  /// A node does not ask the gate again before it masks and uploads.
  case consentNotRechecked
  /// The server takes inputs whose consent was checked before a withdrawal that it has acknowledged.
  case denialIgnored
  /// The ledger acknowledges what is not durable yet.
  case ledgerNotSynced
  /// The ledger lets a checkpoint out before its entries are staged.
  case checkpointBeforeStaging
  /// The server's session row is not durable, so that a number is used again after a crash.
  case sessionRowLost
  /// A node forgets at a crash that it joined a session.
  case sessionForgotten
  /// A node goes back to a copy of its session's state that it kept from before it signed the survivors.
  case stateRestored
  /// After a restart the server adds the sum of a session that it had added before.
  case sumAppliedTwice
  /// The server adds an input that arrives twice twice.
  case duplicateAdded
  /// The server adds an input that arrives after the list of survivors was closed.
  case lateInputAdded
  /// A node takes any checkpoint for a fresh one.
  case staleCheckpointBelieved
  /// A node does not compare a session's parameters with its policy and the task.
  case parametersUnchecked
  /// A node joins sessions of any number.
  case replayJoined
  /// The server does not write sessions that a crash cut off into the ledger.
  case recoverySkipped
  /// A node does not record in its vault whose records it uses.
  case useNotRecorded

  /// What the list says of it.
  package var sentence: String {
    switch self {
    case .debitForgotten: "the server does not write a debit that it reports"
    case .debitAtRelease: "the server debits when it releases, not before uploads"
    case .costRefunded: "an aborted session gets its cost back"
    case .nodeDebitForgotten: "a node uploads without its own debit"
    case .consentNotRechecked: "a node does not ask the gate again before the upload"
    case .denialIgnored: "the server ignores withdrawals newer than an input's check"
    case .ledgerNotSynced: "the ledger acknowledges before entries are durable"
    case .checkpointBeforeStaging: "a checkpoint leaves the ledger before its entries are staged"
    case .sessionRowLost: "a session's row is lost in a crash and its number used again"
    case .sessionForgotten: "a node forgets in a crash which session it joined"
    case .stateRestored: "a node returns to a copy of its state from before its signature"
    case .sumAppliedTwice: "a restart adds a sum a second time"
    case .duplicateAdded: "an input that arrives twice is added twice"
    case .lateInputAdded: "an input that arrives too late is added"
    case .staleCheckpointBelieved: "a node takes a stale checkpoint for fresh"
    case .parametersUnchecked: "a node does not check parameters against its policy"
    case .replayJoined: "a node joins a session number again"
    case .recoverySkipped: "sessions cut off by a crash never get into the ledger"
    case .useNotRecorded: "a node does not record whose records it uses"
    }
  }
}
