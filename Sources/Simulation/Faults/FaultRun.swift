package import Cryptography
import Foundation

/// What is run.
package struct FaultSetup: Sendable, Hashable {
  /// Decides everything.
  package var seed: UInt64
  /// Sessions with faults; one without follows.
  package var rounds: Int
  /// Nodes, from 3 to 9.
  package var nodes: Int
  /// The planned events that happen, by index; nil for all.
  package var only: Set<Int>?
  /// A mistake to plant.
  package var bug: PlantedBug?
  /// Whether the trace's lines are kept.
  package var keepsTrace: Bool

  package init(
    seed: UInt64, rounds: Int = 20, nodes: Int = 5, only: Set<Int>? = nil, bug: PlantedBug? = nil,
    keepsTrace: Bool = false
  ) {
    self.seed = seed
    self.rounds = rounds
    self.nodes = nodes
    self.only = only
    self.bug = bug
    self.keepsTrace = keepsTrace
  }

  /// The numbers of nodes that can be simulated.
  package static let nodeCounts = 3...9
}

/// What came of a run.
package struct FaultReport: Sendable {
  /// What was run.
  package let setup: FaultSetup
  /// The law that was broken, if one was.
  package let violation: FaultViolation?
  /// The same exactly for runs that went the same way.
  package let traceDigest: Digest
  /// What happened, if it was kept.
  package let trace: [String]
  /// How often each kind of event happened.
  package let counts: [FaultEvent.Kind: Int]
  /// Sessions announced, and completed.
  package let sessions: Int
  package let completed: Int
  /// Messages sent, and processes that were started again.
  package let messages: Int
  package let restarts: Int
  /// How long the run took in virtual time, milliseconds.
  package let virtualMs: UInt64
  /// The plan, as far as it was to happen.
  package let plan: [FaultEvent]
}

/// Runs one seed.
package enum FaultRun {
  /// Where runs keep their files: in memory if the machine has such a directory.
  package static var temporaryDirectory: String {
    let shared = "/dev/shm"
    return FileManager.default.isWritableFile(atPath: shared)
      ? shared : FileManager.default.temporaryDirectory.path
  }

  /// Runs the setup in a directory of its own, which goes with it. Throws only what is no finding, such as a
  /// full disk.
  package static func run(_ setup: FaultSetup) async throws -> FaultReport {
    let base = temporaryDirectory + "/accord-faults-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: base, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: base) }
    let world = try FaultWorld(setup: setup, federation: FaultFederation(nodes: setup.nodes), base: base)
    var violation: FaultViolation?
    do { try await world.run() } catch let error as FaultViolation {
      violation = error
      world.note("VIOLATION \(error)")
    }
    return FaultReport(
      setup: setup, violation: violation, traceDigest: world.trace.digest(), trace: world.trace.lines,
      counts: world.counts, sessions: world.attempts, completed: world.completed, messages: world.messages,
      restarts: world.restarts, virtualMs: world.now, plan: world.plan)
  }
}
