import Federation
import Foundation
import Privacy

/// The demo's report: written as JSON with `--json`, shown as text at the end.
struct DemoReport: Codable, Sendable {
  /// How the task ended.
  struct TaskOutcome: Codable, Sendable {
    var id: String
    var status: String
    var rounds: Int
    var sessionsAborted: Int
  }

  /// The guarantee, with everything that belongs to it.
  struct PrivacyReport: Codable, Sendable {
    /// What a customer has spent at most: each is in one population, so the larger of the two.
    var epsilon: EpsilonValue
    var delta: Double
    var unit: String
    var neighbouringRelation: String
    var mechanism: String
    var trustMode: String
    /// Epsilon of each population.
    var populations: [String: EpsilonValue]
    /// The fewest honest nodes whose noise the guarantee counts on.
    var noiseFromNodes: Int
  }

  struct ModelReport: Codable, Sendable {
    var sha256: String
    var digest: String
    var parameters: Int
    var features: Int
    var architecture: String
  }

  struct LedgerReport: Codable, Sendable {
    var size: UInt64
    var root: String
    var verified: Bool
    var firstProblem: String?
  }

  struct ConsentReport: Codable, Sendable {
    /// Customers whose consent is in force at the end.
    var given: Int
    var refused: Int
    var unanswered: Int
    var withdrawn: Int
    /// Customers whose records were used in a session bound to a ledger checkpoint that holds their
    /// withdrawal. Must be 0.
    var usedAfterWithdrawal: Int
    /// The round after which the withdrawals were recorded.
    var withdrawnAfterRound: Int
  }

  /// A round in which nodes were killed.
  struct DropReport: Codable, Sendable {
    var round: Int
    var session: UInt64
    var killed: [String]
    /// Whether the released sum is, integer by integer, the sum of what the survivors put in.
    var exactSumOfSurvivors: Bool
    /// The first round in which all nodes were back.
    var rejoinedInRound: Int?
  }

  struct DataReport: Codable, Sendable {
    var name: String
    var nodes: Int
    var records: Int
    var contributors: Int
    var heldOut: Int
  }

  var data: DataReport
  var task: TaskOutcome
  var rounds: [RoundReport]
  var privacy: PrivacyReport
  var model: ModelReport
  var ledger: LedgerReport
  var consent: ConsentReport
  var drop: DropReport?
  var seconds: Double = 0

  /// The report for people.
  func text(directory: String, json: String?) -> String {
    let last = rounds.last
    var lines = ["", "Accord demo: \(data.name), \(data.contributors) contributors on \(data.nodes) nodes"]
    lines.append(
      "  model     AUC \(DemoTable.number(last?.auc, 3)), accuracy \(DemoTable.number(last?.accuracy, 3)), "
        + "log loss \(DemoTable.number(last?.loss, 3)) on held-out records")
    lines.append(
      "            \(model.architecture), \(model.parameters) parameters, SHA-256 \(model.sha256.prefix(16))…"
    )
    lines.append(
      "  privacy   ε = \(DemoTable.epsilon(privacy.epsilon.value)) at δ = \(privacy.delta) per \(privacy.unit) "
        + "(\(privacy.neighbouringRelation), \(privacy.mechanism), \(privacy.trustMode))")
    if privacy.epsilon.value.isFinite {
      lines.append(
        "            holds if at least \(privacy.noiseFromNodes) honest nodes finish each round")
    }
    lines.append(
      "  consent   \(consent.given) in force, \(consent.refused) refused, \(consent.unanswered) unanswered, "
        + "\(consent.withdrawn) withdrawn after round \(consent.withdrawnAfterRound), "
        + "\(consent.usedAfterWithdrawal) used after withdrawal")
    lines.append(
      "  ledger    \(ledger.size) entries, root \(ledger.root.prefix(16))…, "
        + (ledger.verified ? "verified from its file" : "DOES NOT VERIFY: \(ledger.firstProblem ?? "")"))
    if let drop {
      lines.append(
        "  drop-out  \(drop.killed.joined(separator: ", ")) killed in round \(drop.round): sum of the others "
          + (drop.exactSumOfSurvivors ? "exact" : "NOT EXACT")
          + (drop.rejoinedInRound.map { ", all back in round \($0)" } ?? ", not back"))
    }
    lines.append(
      "  task      \(task.status), \(task.rounds) rounds, \(task.sessionsAborted) aborted sessions, "
        + "\(DemoTable.number(seconds, 1)) s in all")
    lines.append("")
    lines.append("What to look at next:")
    lines.append("  accord ledger verify --data \(directory)/server")
    lines.append("  accord report withdrawals --data \(directory)/node-1")
    lines.append("  accord report audit --data \(directory)/node-1 --out \(directory)/audit")
    lines.append("  accord privacy budget --data \(directory)/server")
    lines.append("  accord model show demo-churn --data \(directory)/server")
    lines.append("  accord node status --data \(directory)/node-1")
    if let json { lines.append("  \(json) holds this report as JSON") }
    lines.append("Everything is in \(directory); delete it when you are done.")
    return lines.joined(separator: "\n")
  }
}

/// Rounds as a table.
enum DemoTable {
  static let header = "round  nodes  dropped  eligible   loss    AUC    accuracy  epsilon  seconds"

  /// What the epsilon of the table means: unit, neighbouring relation, mechanism, trust mode; and whether
  /// the metrics are noised.
  static func caption(_ task: TaskSpecification) -> String {
    let statement = PrivacyStatement(
      epsilon: task.trainingBudget.epsilon, delta: task.trainingBudget.delta, unit: task.unit,
      relation: .addRemove, mechanism: task.trainingBudget.epsilon.isFinite ? "Skellam" : "no noise",
      trustMode: .distributed)
    let metrics =
      task.evaluationBudget.epsilon.isFinite
      ? "metrics are noised, and smoothed over rounds except the last" : "metrics are exact"
    return "budget: \(statement); \(metrics)"
  }

  /// A round as a row.
  static func row(_ round: RoundReport) -> String {
    func pad(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(0, width - text.count)) + text
    }
    return [
      pad("\(round.round)", 5), pad("\(round.participants)", 5), pad("\(round.dropped)", 7),
      pad(number(round.eligible, 0), 8), pad(number(round.loss, 3), 6), pad(number(round.auc, 3), 6),
      pad(number(round.accuracy, 3), 8), pad(epsilon(round.epsilon.value), 7),
      pad(number(round.seconds, 2), 7),
    ].joined(separator: "  ")
  }

  /// A number with fixed digits, or a dash.
  static func number(_ value: Double?, _ digits: Int) -> String {
    guard let value, value.isFinite else { return "–" }
    return String(format: "%.\(digits)f", value)
  }

  /// An epsilon, rounded up.
  static func epsilon(_ value: Double) -> String {
    value.isFinite ? String(format: "%.3f", (value * 1000).rounded(.up) / 1000) : "inf"
  }
}
