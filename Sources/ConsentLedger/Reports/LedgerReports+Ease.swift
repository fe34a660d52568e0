import Consent
import Foundation
import GRDB

/// What customers needed for giving or for withdrawing over one channel.
private struct Effort {
  var steps: [Int64] = []
  var durations: [Int64] = []
  var count = 0
  var first: UInt64?
}

extension LedgerReports {
  // MARK: 4

  /// The median time of withdrawing may exceed that of giving by this factor before it counts as harder:
  /// medians of few customers scatter.
  package static let easeTolerance = 1.1

  /// Is withdrawing as easy as giving (GDPR Art. 7(3)): steps and median time by channel.
  package func ease() throws(LedgerError) -> ReportAnswer {
    let efforts = try efforts()
    var table = ReportTable(
      "channels", "Giving and withdrawing by channel",
      [
        ReportColumn("channel", "channel"), ReportColumn("given", "given"),
        ReportColumn("withdrawn", "withdrawn"), ReportColumn("steps_give", "steps to give, median"),
        ReportColumn("steps_withdraw", "steps to withdraw, median"),
        ReportColumn("seconds_give", "seconds to give, median"),
        ReportColumn("seconds_withdraw", "seconds to withdraw, median"), ReportColumn("verdict", "as easy?"),
      ])
    var harder: [String] = []
    var unmeasured: [String] = []
    var evidence: [UInt64] = []
    for channel in Set(efforts.give.keys).union(efforts.withdraw.keys).sorted() {
      let give = efforts.give[channel] ?? Effort()
      let withdraw = efforts.withdraw[channel] ?? Effort()
      let steps = (Self.median(give.steps), Self.median(withdraw.steps))
      let seconds = (
        Self.median(give.durations).map { $0 / 1000 }, Self.median(withdraw.durations).map { $0 / 1000 }
      )
      let verdict = Self.judge(give, withdraw, steps, seconds)
      if verdict == "no" { harder.append(channel) }
      if verdict.hasPrefix("not") { unmeasured.append(channel) }
      evidence += [give.first, withdraw.first].compactMap { $0 }
      table.append([
        .text(channel), .count(give.count), .count(withdraw.count), Self.cell(steps.0), Self.cell(steps.1),
        Self.cell(seconds.0), Self.cell(seconds.1), .text(verdict),
      ])
    }
    let verdict: ReportVerdict =
      table.rows.isEmpty ? .unknown : harder.isEmpty ? (unmeasured.isEmpty ? .fine : .unknown) : .attention
    let summary =
      switch verdict {
      case .attention: "withdrawing is harder than giving over: \(harder.joined(separator: ", "))"
      case .fine: "withdrawing takes no more steps and no more time than giving, over every channel"
      default:
        table.rows.isEmpty
          ? "nobody has given or withdrawn anything yet"
          : "withdrawing is nowhere harder where it was measured, but not measured over: "
            + unmeasured.joined(separator: ", ")
      }
    return answer(
      .ease, verdict, summary, tables: [table],
      remarks: [
        "Counted are customers, guardians and agents; Global Privacy Control signals are not, since nobody acts.",
        "As easy means: the median steps are no more, and the median time is no more than a tenth above.",
        "Steps and times are what the nodes recorded; try each channel yourself before you rely on them.",
      ], evidence: evidence)
  }

  private static func cell(_ number: Double?) -> ReportCell { number.map { .number($0) } ?? .none }

  private static func judge(
    _ give: Effort, _ withdraw: Effort, _ steps: (Double?, Double?), _ seconds: (Double?, Double?)
  ) -> String {
    if give.count == 0 { return "yes: withdrawing only" }
    if withdraw.count == 0 { return "not known: nobody withdrew here" }
    guard let giveSteps = steps.0, let withdrawSteps = steps.1 else { return "not known: no steps recorded" }
    if withdrawSteps > giveSteps { return "no" }
    if let giveSeconds = seconds.0, let withdrawSeconds = seconds.1,
      withdrawSeconds > giveSeconds * easeTolerance
    {
      return "no"
    }
    return "yes"
  }

  /// The median; the mean of the middle two of an even number.
  static func median(_ values: [Int64]) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    let middle = sorted.count / 2
    return sorted.count % 2 == 1
      ? Double(sorted[middle]) : (Double(sorted[middle - 1]) + Double(sorted[middle])) / 2
  }

  private func efforts() throws(LedgerError) -> (give: [String: Effort], withdraw: [String: Effort]) {
    try query { [size] db in
      let people = [ActorRole.customer, .guardian, .agent].map(\.code)
      var channels: [Int64: Int] = [:]
      var names: [String] = []
      let circumstances = try Row.fetchAll(
        db, sql: "SELECT id, channel FROM circumstance WHERE actor IN (?, ?, ?) ORDER BY channel",
        arguments: StatementArguments(people))
      for row in circumstances {
        let name: String = try row.decode(atIndex: 1)
        if names.last != name { names.append(name) }
        channels[try row.decode(Int64.self, atIndex: 0)] = names.count - 1
      }
      var efforts = Array(repeating: [Effort](repeating: Effort(), count: 2), count: names.count)
      let states = [ConsentState.given, .withdrawn, .objected, .optedOut].map(\.code)
      let rows = try Row.fetchCursor(
        db,
        sql: """
          SELECT circumstance, state, steps, duration, idx FROM event
            WHERE state IN (?, ?, ?, ?) AND idx < ? ORDER BY idx
          """, arguments: StatementArguments(states) + [size])
      while let row = try rows.next() {
        guard let channel = channels[try row.decode(Int64.self, atIndex: 0)] else { continue }
        let direction = try row.decode(Int.self, atIndex: 1) == states[0] ? 0 : 1
        efforts[channel][direction].count += 1
        if let steps = try row.decode(Int64?.self, atIndex: 2) {
          efforts[channel][direction].steps.append(steps)
        }
        if let duration = try row.decode(Int64?.self, atIndex: 3) {
          efforts[channel][direction].durations.append(duration)
        }
        if efforts[channel][direction].first == nil {
          efforts[channel][direction].first = try row.decode(UInt64.self, atIndex: 4)
        }
      }
      var result: (give: [String: Effort], withdraw: [String: Effort]) = ([:], [:])
      for (position, name) in names.enumerated() {
        if efforts[position][0].count > 0 { result.give[name] = efforts[position][0] }
        if efforts[position][1].count > 0 { result.withdraw[name] = efforts[position][1] }
      }
      return result
    }
  }
}
