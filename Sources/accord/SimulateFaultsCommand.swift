import ArgumentParser
import Foundation
import Simulation

/// `accord simulate faults`
struct SimulateFaultsCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "faults",
    abstract: "Run server, nodes, ledger and storage in one process and let everything go wrong.",
    discussion: """
      Messages are lost, doubled, reordered and delayed; processes and machines stop at any write; nodes and the
      server attack. After every step the laws are checked (docs/FAULTS.md). A seed decides everything.

      Examples:
        accord simulate faults --seed 1 --seeds 1000 --rounds 20
        accord simulate faults --seed 17 --rounds 20 --trace
        accord simulate faults --seed 1 --seeds 200 --bug denialIgnored
      """)
  @Option(help: "The first seed.") var seed: UInt64 = 1
  @Option(help: "How many seeds, one after another.") var seeds = 1
  @Option(help: "Sessions with faults in each run; one without follows.") var rounds = 20
  @Option(help: "Nodes, 3 to 9.") var nodes = 5
  @Option(help: "Runs at a time; 0 for one on each core.") var workers = 0
  @Option(help: "Only these planned events happen: their numbers, comma separated, or none.") var only:
    String?
  @Option(help: "Plants a mistake in the simulated hosts, which has to be found.") var bug: String?
  @Flag(help: "List the mistakes that can be planted.") var listBugs = false
  @Flag(inversion: .prefixedNo, help: "Look for the shortest replay of a violation.") var shrink = true
  @Flag(help: "Print what happened.") var trace = false
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard FaultSetup.nodeCounts.contains(nodes) else {
      throw ValidationError(
        "--nodes is \(FaultSetup.nodeCounts.lowerBound) to \(FaultSetup.nodeCounts.upperBound)")
    }
    guard (1...10_000).contains(rounds) else { throw ValidationError("--rounds is 1 to 10000") }
    guard (1...10_000_000).contains(seeds) else { throw ValidationError("--seeds is 1 to 10000000") }
    guard (0...256).contains(workers) else { throw ValidationError("--workers is 0 to 256") }
    guard !trace || seeds == 1 else { throw ValidationError("--trace is for one seed") }
    _ = try planted()
    _ = try kept()
  }

  private func planted() throws -> PlantedBug? {
    guard let bug else { return nil }
    guard let planted = PlantedBug(rawValue: bug) else {
      throw ValidationError("there is no bug named \(bug); see --list-bugs")
    }
    return planted
  }

  private func kept() throws -> Set<Int>? {
    guard let only, only != "none" else { return only.map { _ in [] } }
    let numbers = only.split(separator: ",").map { Int($0) }
    guard !numbers.contains(nil) else {
      throw ValidationError("--only takes numbers, comma separated, or none")
    }
    return Set(numbers.compactMap { $0 })
  }

  func run() async throws {
    if listBugs {
      for bug in PlantedBug.allCases { Console.write("\(bug.rawValue): \(bug.sentence)") }
      return
    }
    let setup = FaultSetup(
      seed: seed, rounds: rounds, nodes: nodes, only: try kept(), bug: try planted(), keepsTrace: trace)
    let planned = Set(FaultPlan(seed: seed, rounds: rounds, nodes: nodes).events.map(\.index))
    if let unknown = setup.only?.subtracting(planned).min() {
      throw ValidationError(
        "seed \(seed) with \(rounds) rounds and \(nodes) nodes plans no event \(unknown); it has \(planned.count) events"
      )
    }
    let count = workers > 0 ? workers : ProcessInfo.processInfo.activeProcessorCount
    let began = ContinuousClock.now
    let showsProgress = !json && seeds > 1 && Console.isTerminal
    let total = seeds
    let summary = try await FaultSweep(setup: setup, seeds: seeds, workers: count).run { summary in
      if showsProgress {
        Console.writeRaw("\r\(summary.runs) of \(total) seeds, \(summary.sessions) sessions")
      }
    }
    if showsProgress { Console.writeRaw("\r\u{1b}[K") }
    let elapsed = (ContinuousClock.now - began) / .seconds(1)
    if trace, seeds == 1 { try await FaultRun.run(setup).trace.forEach(Console.write) }
    let found = try await replay(summary)
    if json {
      try Console.writeJSON(FaultResult(summary, found: found, seconds: elapsed))
    } else {
      show(summary, found: found, seconds: elapsed)
    }
    if found != nil { throw ExitCode(1) }
  }

  /// The shortest replay of the violation; a run that was asked for event by event is not shrunk.
  private func replay(_ summary: FaultSweep.Summary) async throws -> FaultReport? {
    guard let failure = summary.failure else { return nil }
    return shrink && only == nil ? try await FaultShrinker.shrink(failure).0 : failure
  }

  private func show(_ summary: FaultSweep.Summary, found: FaultReport?, seconds: Double) {
    let faults = summary.counts.map { ($0.key.rawValue, $0.value) }.sorted { $0.0 < $1.0 }
    let virtual = Double(summary.virtualMs) / 3_600_000
    let speed = seconds * 1000 / Double(max(summary.sessions, 1))
    Console.write(
      "\(summary.runs) seeds, \(summary.sessions) sessions (\(summary.completed) completed), "
        + "\(summary.messages) messages, \(summary.restarts) restarts")
    Console.write("what happened: " + faults.map { "\($0.0) \($0.1)" }.joined(separator: ", "))
    Console.write(
      String(format: "%.1f virtual hours in %.1f s, %.1f ms a session", virtual, seconds, speed))
    guard let found, let violation = found.violation else { return Console.write("no violation") }
    Console.writeError("VIOLATION in seed \(found.setup.seed): \(violation)")
    if !trace {
      Console.writeError("replay of \(found.plan.count) events in \(found.sessions) sessions")
      for event in found.plan.prefix(40) { Console.writeError("  \(event.sentence)") }
      for line in found.trace.suffix(40) { Console.writeError(line) }
    }
    Console.writeError("replay: \(found.setup.command)")
  }
}

/// What a program reads.
private struct FaultResult: Encodable {
  struct Violation: Encodable {
    let seed: UInt64
    let law: String
    let detail: String
    let replay: String
    let events: [String]
  }

  let seeds: Int
  let sessions: Int
  let completed: Int
  let messages: Int
  let restarts: Int
  let seconds: Double
  let virtualSeconds: Double
  let faults: [String: Int]
  let violation: Violation?

  init(_ summary: FaultSweep.Summary, found: FaultReport?, seconds: Double) {
    seeds = summary.runs
    sessions = summary.sessions
    completed = summary.completed
    messages = summary.messages
    restarts = summary.restarts
    self.seconds = seconds
    virtualSeconds = Double(summary.virtualMs) / 1000
    faults = Dictionary(uniqueKeysWithValues: summary.counts.map { ($0.key.rawValue, $0.value) })
    violation = found.flatMap { report in
      report.violation.map {
        Violation(
          seed: report.setup.seed, law: $0.law, detail: $0.detail, replay: report.setup.command,
          events: report.plan.map(\.sentence))
      }
    }
  }
}
