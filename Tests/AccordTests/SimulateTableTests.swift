import Foundation
import Testing

@testable import accord

/// `accord simulate` and `accord simulate table`, as processes.
@Suite(.serialized) struct SimulateTableTests {
  private static func scenario(goal: String) -> String {
    """
    name: tiny
    data: {generator: retail, seed: 2, nodes: 3, customers_per_node: 20}
    reference: {task: churn, split: a fifth, metric: auc, value: 0.8, model: none, goal: \(goal)}
    training: {rounds: 1}
    privacy: {epsilon: inf}
    aggregation: off
    """
  }

  @Test func `results of a scenario become a row, and a missed goal fails if that is asked for`() async throws
  {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "accord-table-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: directory) }
    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }
    for (name, goal) in [("easy", "0"), ("hard", "1.5")] {
      try Data(Self.scenario(goal: goal).utf8).write(to: URL(fileURLWithPath: path("\(name).yaml")))
      let run = try await ChildProcess.runToEnd(
        ["simulate", path("\(name).yaml"), "--out", path(name), "--workers", "1", "--quiet"])
      #expect(run.code == 0, "\(run.errors)")
    }
    let table = try await ChildProcess.runToEnd(
      ["simulate", "table", path("easy"), path("hard"), "--out", path("page.md")])
    #expect(table.code == 0 && table.errors.isEmpty, "\(table.errors)")
    let page = try String(contentsOfFile: path("page.md"), encoding: .utf8)
    let rows = page.split(separator: "\n").filter { $0.hasPrefix("| tiny |") }
    #expect(rows.count == 2 && rows[0].contains("| yes |") && rows[1].contains("| **no** |"))

    let strict = try await ChildProcess.runToEnd([
      "simulate", "table", path("easy"), path("hard"), "--strict",
    ])
    #expect(strict.code == 1 && strict.errors.contains("below the goal: tiny"), "\(strict.errors)")
    #expect(try await ChildProcess.runToEnd(["simulate", "table", path("easy"), "--strict"]).code == 0)
    let missing = try await ChildProcess.runToEnd(["simulate", "table", path("nowhere")])
    #expect(missing.code == 1 && missing.errors.contains("nowhere"))
    let unwritable = try await ChildProcess.runToEnd(
      ["simulate", "table", path("easy"), "--out", path("no/such/page.md")])
    #expect(unwritable.code == 1 && unwritable.errors.contains("cannot be written"))
  }
}
