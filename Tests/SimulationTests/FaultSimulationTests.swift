import Simulation
import Testing

/// A planted mistake, and a run that finds it.
private struct Finding: Sendable, CustomTestStringConvertible {
  let bug: PlantedBug
  let seed: UInt64
  let rounds: Int

  var testDescription: String { bug.rawValue }
}

@Suite struct FaultSimulationTests {
  /// The first seed that finds each mistake among four nodes, and the sessions of its run:
  /// `accord simulate faults --bug NAME --seeds 200 --nodes 4 --rounds 6`.
  fileprivate static let findings: [Finding] = [
    Finding(bug: .debitForgotten, seed: 1, rounds: 1),
    Finding(bug: .debitAtRelease, seed: 1, rounds: 1),
    Finding(bug: .costRefunded, seed: 1, rounds: 6),
    Finding(bug: .nodeDebitForgotten, seed: 1, rounds: 1),
    Finding(bug: .consentNotRechecked, seed: 2, rounds: 6),
    Finding(bug: .denialIgnored, seed: 30, rounds: 6),
    Finding(bug: .ledgerNotSynced, seed: 8, rounds: 6),
    Finding(bug: .checkpointBeforeStaging, seed: 1, rounds: 6),
    Finding(bug: .sessionRowLost, seed: 2, rounds: 6),
    Finding(bug: .sessionForgotten, seed: 11, rounds: 6),
    Finding(bug: .stateRestored, seed: 31, rounds: 6),
    Finding(bug: .sumAppliedTwice, seed: 1, rounds: 6),
    Finding(bug: .duplicateAdded, seed: 1, rounds: 6),
    Finding(bug: .lateInputAdded, seed: 1, rounds: 6),
    Finding(bug: .staleCheckpointBelieved, seed: 4, rounds: 6),
    Finding(bug: .parametersUnchecked, seed: 11, rounds: 6),
    Finding(bug: .replayJoined, seed: 11, rounds: 6),
    Finding(bug: .recoverySkipped, seed: 1, rounds: 6),
    Finding(bug: .useNotRecorded, seed: 1, rounds: 1),
  ]

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `nothing that goes wrong breaks a law`(seed: UInt64) async throws {
    let report = try await FaultRun.run(FaultSetup(seed: seed, rounds: 8, nodes: 5))
    #expect(report.violation == nil, "replay: \(report.setup.command)")
    #expect(report.completed > 1 && report.counts.count > 5)
  }

  @Test(arguments: [3, 7])
  func `small and larger federations hold as well`(nodes: Int) async throws {
    let report = try await FaultRun.run(FaultSetup(seed: 11, rounds: 5, nodes: nodes))
    #expect(report.violation == nil, "replay: \(report.setup.command)")
  }

  @Test(arguments: FaultSimulationTests.findings)
  fileprivate func `a planted mistake is found`(finding: Finding) async throws {
    var setup = FaultSetup(seed: finding.seed, rounds: finding.rounds, nodes: 4, bug: finding.bug)
    let report = try await FaultRun.run(setup)
    #expect(report.violation != nil, "\(finding.bug.sentence): not found")
    // It is the mistake that is found, not something else.
    setup.bug = nil
    #expect(try await FaultRun.run(setup).violation == nil)
  }

  @Test func `every planted mistake has its seed here`() {
    #expect(Set(Self.findings.map(\.bug)) == Set(PlantedBug.allCases))
  }

  @Test func `a fork that everybody holds the proof of ends all, and is no violation`() async throws {
    var setup = FaultSetup(seed: 908, rounds: 8, nodes: 4)
    setup.only = [1, 2, 4, 6, 8]
    setup.keepsTrace = true
    let report = try await FaultRun.run(setup)
    #expect(report.violation == nil)
    #expect(report.trace.contains { $0.contains("too many nodes hold the proof") })
  }

  @Test func `a seed decides everything`() async throws {
    let setup = FaultSetup(seed: 5, rounds: 6, nodes: 4)
    let first = try await FaultRun.run(setup)
    let second = try await FaultRun.run(setup)
    #expect(first.traceDigest == second.traceDigest && first.messages == second.messages)
    var other = setup
    other.seed = 6
    #expect(try await FaultRun.run(other).traceDigest != first.traceDigest)
  }

  @Test func `a violation is shrunk to a shorter replay that breaks the same law`() async throws {
    let finding = try #require(Self.findings.first { $0.bug == .consentNotRechecked })
    let failed = try await FaultRun.run(
      FaultSetup(seed: finding.seed, rounds: finding.rounds, nodes: 4, bug: finding.bug))
    let (shortest, _) = try await FaultShrinker.shrink(failed, limit: 12)
    #expect(shortest.violation?.law == failed.violation?.law)
    #expect(shortest.plan.count < failed.plan.count)
    // The replay is the same run again, line by line.
    var setup = shortest.setup
    setup.keepsTrace = true
    let replay = try await FaultRun.run(setup)
    #expect(replay.traceDigest == shortest.traceDigest && replay.trace == shortest.trace)
  }

  @Test func `the order of threads does not change what is found`() async throws {
    let setup = FaultSetup(seed: 20, rounds: 2, nodes: 3)
    let one = try await FaultSweep(setup: setup, seeds: 4, workers: 1).run()
    let two = try await FaultSweep(setup: setup, seeds: 4, workers: 2).run()
    #expect(one.messages == two.messages && one.counts == two.counts && one.failures == two.failures)
  }
}
