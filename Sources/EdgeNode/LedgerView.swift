package import Consent
package import ConsentLedger
import Federation
import Storage

/// What recording consent needs to know of the log: from the copy that a running node keeps, or from one that
/// is synchronised first when no node runs.
package struct LedgerView: Sendable {
  /// Who may write what, and the policy in force.
  package let rules: @Sendable () throws -> LedgerRules
  /// The events of subjects, in the order of the log.
  package let events: @Sendable ([SubjectTag]) throws -> [SubjectTag: [IndexedEvent]]
  /// How many entries were verified.
  package let size: @Sendable () throws -> UInt64
  /// Verified leaves, verbatim.
  package let leaves: @Sendable ([UInt64]) throws -> [[UInt8]]
  /// Which identifiers stand for an entry of the log already.
  package let known: @Sendable ([EventID]) throws -> Set<EventID>

  /// The copy that this process keeps.
  package init(_ mirror: LedgerMirror) {
    rules = { mirror.rules }
    events = { try mirror.events(for: $0) }
    size = { mirror.size }
    leaves = { try mirror.leaves(at: $0) }
    known = { try mirror.known($0) }
  }

  /// A node's files. If no node runs on them, the copy is brought up to date first and kept for this process.
  package static func open(_ files: NodeFiles, client: FederationClient) async throws -> LedgerView {
    do {
      let lock = try DataDirectory(files.path, kind: .node, create: false)
      let mirror = try files.openMirror()
      try await LedgerSubmission.synchronise(mirror, client: client, clock: client.clock)
      // The directory stays locked as long as somebody uses the view.
      return LedgerView(
        rules: { mirror.rules },
        events: { tags in try withExtendedLifetime(lock) { try mirror.events(for: tags) } },
        size: { mirror.size }, leaves: { try mirror.leaves(at: $0) }, known: { try mirror.known($0) })
    } catch StorageError.inUse {
      // A node runs: it follows the log by itself.
      let directory = files.path
      return LedgerView(
        rules: { try LedgerFileReader(directory: directory).rules() },
        events: { tags in
          let reader = try LedgerFileReader(directory: directory)
          return try reader.events(of: tags, index: try reader.index())
        }, size: { try LedgerFileReader(directory: directory).size },
        leaves: { try LedgerFileReader(directory: directory).leaves(at: $0) },
        known: { try LedgerFileReader(directory: directory).known($0) })
    }
  }

  /// A view of another kind, for tests.
  package init(
    rules: @escaping @Sendable () throws -> LedgerRules,
    events: @escaping @Sendable ([SubjectTag]) throws -> [SubjectTag: [IndexedEvent]],
    size: @escaping @Sendable () throws -> UInt64,
    leaves: @escaping @Sendable ([UInt64]) throws -> [[UInt8]],
    known: @escaping @Sendable ([EventID]) throws -> Set<EventID>
  ) {
    self.rules = rules
    self.events = events
    self.size = size
    self.leaves = leaves
    self.known = known
  }
}
