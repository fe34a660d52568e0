import Foundation
import Testing

@testable import Simulation

@Suite struct `Results beside their references` {
  private func results(
    _ metric: String = "auc", goal: String = "0.75", warning: String = "", name: String = "fake | sweep"
  ) throws -> SweepResults {
    let reference = """
      reference:
        {task: "who | leaves", split: in time, metric: \(metric), value: 0.8, model: a forest,
         goal: \(goal)\(warning)}
      """
    return try FakeSweep.results(
      FakeSweep.text.replacing("name: fake <b>sweep</b>", with: "name: \(name)") + "\n" + reference)
  }

  private func rows(_ table: ReferenceTable) -> [String] {
    table.markdown.split(separator: "\n").map(String.init).filter { $0.hasPrefix("| fake") }
  }

  /// The cells of a row: a bar behind a backslash is no border.
  private func cells(_ row: String) -> [String] {
    row.replacing("\\|", with: "\u{1}").split(separator: "|", omittingEmptySubsequences: false)
      .dropFirst().dropLast().map { String($0).trimmed.replacing("\u{1}", with: "|") }
  }

  @Test func `has a row for each point, with what was reached and what was hoped for`() throws {
    let table = ReferenceTable([try results()])
    let rows = rows(table)
    #expect(rows.count == 6)
    for row in rows { #expect(cells(row).count == 13) }
    let best = cells(rows[5])
    #expect(best[0] == "fake | sweep, 4, inf")
    #expect(best[1] == "who | leaves; in time" && best[2] == "4")
    #expect(best[3] == "customer, no noise, modelled" && best[4] == "AUC")
    #expect(best[5] == "**0.812** (0.811 – 0.813)")
    #expect(best[6] == "0.785 – 0.809" && best[7] == "0.800 (a forest)" && best[8] == "≥ 0.750")
    #expect(best[9] == "yes" && best[10] == "3" && best[11] == "1.2" && best[12] == "0.5")
    let worst = cells(rows[0])
    #expect(worst[3] == "customer, ε = 1.000, δ = 1e-05, modelled" && worst[9] == "**no**")
    #expect(table.markdown.contains("Computed by accord test on "))
    #expect(table.markdown.contains("- fake | sweep, 4, inf: AUC 0.8120, accuracy 0.8020, log loss 0.1880"))
  }

  @Test func `names the points that miss their goal`() throws {
    // AUC: 0.772, 0.760 and 0.672 for ε = ∞, 8 and 1 with a cohort of 2, 0.04 more with 4.
    #expect(
      ReferenceTable([try results()]).missed == ["fake | sweep, 2, 1", "fake | sweep, 4, 1"])
    #expect(ReferenceTable([try results(goal: "0.5")]).missed.isEmpty)
    // For errors less is better, and a goal that is just reached is met.
    let loss = ReferenceTable([try results("logLoss", goal: "0.2")])
    #expect(loss.missed.count == 5)
    #expect(cells(rows(loss)[5])[8] == "≤ 0.200" && cells(rows(loss)[5])[9] == "yes")
    // A measure that the runs do not have.
    let unknown = ReferenceTable([try results("rmse")])
    #expect(unknown.missed.count == 6)
    #expect(cells(rows(unknown)[0])[5] == "–" && cells(rows(unknown)[0])[9] == "**no**")
  }

  @Test func `gives what has no reference a table of its own, and warns where a scenario says so`() throws {
    let plain = try FakeSweep.results()
    #expect(ReferenceTable([plain]).missed.isEmpty && rows(ReferenceTable([plain])).isEmpty)
    let calm = ReferenceTable([plain, try results()])
    #expect(!calm.markdown.contains("Read with care") && rows(calm).count == 6)
    #expect(calm.markdown.contains("\n## fake <b>sweep</b>\n"))
    #expect(calm.markdown.contains("| 4 | inf | **0.812** (0.811 – 0.813) | 0.785 – 0.809 | no guarantee"))
    let warned = ReferenceTable([
      plain, try results(), try results(warning: ", warning: Copies of people.", name: "fake two"),
    ])
    #expect(warned.markdown.contains("## Read with care\n\n- **fake two**: Copies of people.\n"))
    #expect(rows(warned).count == 12)
    let order = try #require(warned.markdown.range(of: "Read with care")).lowerBound
    #expect(order < (try #require(warned.markdown.range(of: "## All measures")).lowerBound))
  }
}
