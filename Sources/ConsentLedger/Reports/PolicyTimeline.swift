import Consent
import Cryptography

/// Which policy was in force when: what the log's approvals say, in its order.
package struct PolicyTimeline: Sendable {
  /// A policy coming into force.
  package struct Change: Hashable, Sendable {
    /// The approval's position.
    package let index: UInt64
    /// When the ledger took it, ms of UTC since 1970.
    package let recordedMs: Int64
    /// The policy.
    package let policy: LoggedPolicy
  }

  /// The changes, oldest first.
  package let changes: [Change]

  /// Puts a timeline together; the changes are in the order of the log.
  package init(_ changes: [Change]) { self.changes = changes }

  /// The policy in force at the newest entry.
  package var current: LoggedPolicy? { changes.last?.policy }

  /// The policy in force when the entry at `index` was taken.
  package func policy(before index: UInt64) -> LoggedPolicy? { last { $0.index < index } }

  /// The policy in force at a time.
  package func policy(atMs time: Int64) -> LoggedPolicy? { last { $0.recordedMs <= time } }

  /// The policy with this hash, whenever it was in force.
  package func policy(hash: String) -> LoggedPolicy? {
    changes.first { $0.policy.digest.hex == hash }?.policy
  }

  private func last(where holds: (Change) -> Bool) -> LoggedPolicy? {
    var low = 0
    var high = changes.count
    while low < high {
      let middle = (low + high) / 2
      if holds(changes[middle]) { low = middle + 1 } else { high = middle }
    }
    return low == 0 ? nil : changes[low - 1].policy
  }
}

extension LoggedPolicy {
  /// Such as `eu-retail version 3`.
  package var name: String { "\(policy.id) version \(policy.version)" }
}
