/// Looks for the shortest replay of a violation: fewer sessions, fewer nodes, fewer planned events, as long as the
/// same law is broken.
package enum FaultShrinker {
  /// The shortest replay that was found within `limit` runs, and how many runs it took.
  package static func shrink(_ failed: FaultReport, limit: Int = 150) async throws -> (FaultReport, runs: Int)
  {
    guard let law = failed.violation?.law else { return (failed, 0) }
    var search = Search(best: failed, law: law, left: limit)
    // What comes after the session that failed does not matter.
    try await search.consider { $0.rounds = min($0.rounds, max(1, failed.sessions)) }
    try await search.removeEvents()
    for rounds in [1, 2, 3, 5, 8, 12] where rounds < search.best.setup.rounds {
      if try await search.consider({ $0.rounds = rounds }) { break }
    }
    while search.best.setup.nodes > FaultSetup.nodeCounts.lowerBound,
      try await search.consider({ $0.nodes -= 1 })
    {}
    try await search.removeEvents()
    var setup = search.best.setup
    setup.keepsTrace = true
    return (try await FaultRun.run(setup), limit - search.left + 1)
  }

  private struct Search {
    var best: FaultReport
    let law: String
    var left: Int

    /// Tries a change; keeps it if the same law is broken.
    @discardableResult
    mutating func consider(_ change: (inout FaultSetup) -> Void) async throws -> Bool {
      var setup = best.setup
      change(&setup)
      guard setup != best.setup, left > 0 else { return false }
      left -= 1
      let report = try await FaultRun.run(setup)
      guard report.violation?.law == law else { return false }
      best = report
      return true
    }

    /// Leaves out ever smaller parts of the plan (Zeller and Hildebrandt 2002, "ddmin").
    mutating func removeEvents() async throws {
      var kept = best.plan.map(\.index)
      var size = max(1, kept.count / 2)
      while left > 0, !kept.isEmpty {
        var start = 0
        var hasRemoved = false
        while start < kept.count, left > 0 {
          var fewer = kept
          fewer.removeSubrange(start..<min(start + size, kept.count))
          let only = Set(fewer)
          if try await consider({ $0.only = only }) {
            kept = fewer
            hasRemoved = true
          } else {
            start += size
          }
        }
        if size == 1, !hasRemoved { return }
        size = max(1, size / 2)
      }
    }
  }
}

extension FaultSetup {
  /// The command that runs exactly this.
  package var command: String {
    var words = ["accord simulate faults --seed \(seed) --rounds \(rounds) --nodes \(nodes)"]
    if let only {
      words.append("--only \(only.isEmpty ? "none" : only.sorted().map(String.init).joined(separator: ","))")
    }
    if let bug { words.append("--bug \(bug.rawValue)") }
    return words.joined(separator: " ") + " --trace"
  }
}
