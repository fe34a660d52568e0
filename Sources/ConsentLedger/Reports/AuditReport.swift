import Consent
package import Cryptography
import Foundation
import MerkleLog
import Storage

/// All answers about the whole log on one basis, for the page, the JSON file and the tables of an audit.
package struct AuditReport: Sendable, Encodable {
  /// A public key of the log.
  package struct Key: Hashable, Sendable, Codable {
    /// What it signs.
    package let name: String
    /// Its text form.
    package let key: String
  }

  /// A question that this report cannot answer, and how to ask it.
  package struct HowTo: Hashable, Sendable, Codable {
    /// Which question.
    package let question: ReportQuestion
    /// The command.
    package let command: String
  }

  /// What everything is based on.
  package let basis: ReportBasis
  /// The controller's name in the policy in force.
  package let controller: String?
  /// The signed checkpoint.
  package let checkpointNote: String
  /// The log's public keys.
  package let keys: [Key]
  /// The answers, in the order of the questions.
  package let answers: [ReportAnswer]
  /// The questions about one customer.
  package let howTo: [HowTo]
  /// The pictures.
  package let charts: [ReportChart]

  private enum CodingKeys: String, CodingKey { case basis, controller, checkpointNote, keys, answers, howTo }

  /// Asks everything.
  /// - Parameters:
  ///   - since: a kept checkpoint's note; without one, question 8 is left to `accord report history`.
  ///   - models: how many of the newest models are followed back.
  package init(_ reports: LedgerReports, since: String? = nil, models: Int = 3) throws(LedgerError) {
    let signed = reports.reader.checkpoint
    let verifiers = reports.reader.verifiers
    var keys = [
      Key(name: "Log key", key: verifiers.log.description),
      Key(name: "Freshness key", key: verifiers.freshness.description),
    ]
    if let key = reports.rules.operatorKey { keys.append(Key(name: "Operator", key: key.hex)) }
    self.keys = keys
    basis = reports.basis
    controller = reports.timeline.current?.policy.controller.name
    checkpointNote = signed.noteText
    var answers = [
      try reports.overview(), try reports.recorder(), try reports.ease(), try reports.withdrawals(),
    ]
    for model in try Self.newestModels(reports, limit: models) { answers.append(try reports.model(model)) }
    if let since { answers.append(try reports.history(since: since)) }
    answers += [
      try reports.expiry(), try reports.minors(), try reports.requests(), try reports.processing(),
    ]
    self.answers = answers
    howTo = Self.instructions(hasHistory: since != nil)
    charts = Self.charts(answers, reports)
  }

  /// The newest model of each of the latest tasks that made one: it covers the task's earlier ones.
  private static func newestModels(_ reports: LedgerReports, limit: Int) throws(LedgerError) -> [String] {
    var models: [String] = []
    var tasks: Set<String> = []
    for round in try reports.allRounds().reversed() where models.count < limit {
      guard let model = round.modelOut?.hex, tasks.insert(round.task).inserted else { continue }
      models.append(model)
    }
    return models
  }

  private static func instructions(hasHistory: Bool) -> [HowTo] {
    var howTo = [
      HowTo(
        question: .consent,
        command:
          "accord report consent --data STORE --subject ID --purpose PURPOSE --at 2026-01-31 --prove DIR"),
      HowTo(question: .shown, command: "accord report shown --data STORE --subject ID"),
      HowTo(question: .recorder, command: "accord report recorder --data STORE --subject ID"),
      HowTo(question: .rounds, command: "accord report rounds --data STORE --subject ID"),
      HowTo(question: .model, command: "accord report model DIGEST --data DIR"),
    ]
    if !hasHistory {
      howTo.append(HowTo(question: .history, command: "accord report history --data DIR --since CHECKPOINT"))
    }
    return howTo + [HowTo(question: .expiry, command: "accord report expiry --data STORE --subject ID")]
  }

  private static func charts(_ answers: [ReportAnswer], _ reports: LedgerReports) -> [ReportChart] {
    func table(_ question: ReportQuestion, _ name: String) -> ReportTable? {
      answers.first { $0.question == question }?.table(name)
    }
    var charts: [ReportChart] = []
    if let months = table(.overview, "months") {
      charts.append(months.chart("months", unit: "grants", category: "month", style: .areas))
    }
    if let movements = table(.overview, "movements") {
      charts.append(movements.chart("movements", unit: "events", category: "month", style: .bars))
    }
    if let histogram = table(.withdrawals, "histogram"), !histogram.rows.isEmpty {
      charts.append(latencyChart(histogram, reports))
    }
    if let expiring = table(.expiry, "expiring"), expiring.columns.count > 1 {
      charts.append(expiring.chart("expiring", unit: "grants", category: "month", style: .bars))
    }
    if let ageing = table(.requests, "ageing") {
      charts.append(ageing.chart("ageing", unit: "open requests", category: "age", style: .bars))
    }
    if let rounds = table(.overview, "eligibility"), !rounds.rows.isEmpty {
      charts.append(
        rounds.chart(
          "eligibility", title: "Customers with consent by session (noised)", unit: "customers",
          category: "round",
          series: ["eligible"], style: .line))
    }
    if let witnesses = table(.overview, "witnesses"), !witnesses.rows.isEmpty {
      charts.append(
        witnesses.chart(
          "witnesses", title: "Age of the witnesses' last signatures", unit: "seconds", category: "witness",
          series: ["age_seconds"], style: .bars, limit: 40))
    }
    return charts
  }

  private static func latencyChart(_ histogram: ReportTable, _ reports: LedgerReports) -> ReportChart {
    let limits = reports.timeline.current?.policy.limits
    let seconds = limits.map { Double($0.maximumCheckpointAgeSeconds) }
    let after = histogram.rows.indices.last { row in
      if case .number(let upTo) = histogram.cell(row, "up_to_seconds"), let seconds { return upTo <= seconds }
      return false
    }
    let marker = after.flatMap { row in
      seconds.map { (after: row + 1, text: "limit everywhere: \(ReportCell.short($0)) s") }
    }
    return histogram.chart(
      "latency", title: "Withdrawals by the time until they acted", unit: "withdrawals, by seconds up to",
      category: "up_to_seconds", style: .bars, marker: marker)
  }

  /// How many rows all tables have.
  package var rows: Int { answers.reduce(0) { $0 + $1.tables.reduce(0) { $0 + $1.rows.count } } }

  /// Writes `audit.html`, `audit.json`, the checkpoint and one CSV file a table into a directory.
  /// - Returns: SHA-256 of every file by name, for the manifest.
  package func write(to directory: String) throws(LedgerError) -> [String: Digest] {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch { throw .storage(.noDirectory(path: directory)) }
    var files = ["audit.html": try AuditPage(audit: self).html(), "checkpoint": checkpointNote]
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    do { files["audit.json"] = String(decoding: try encoder.encode(self), as: UTF8.self) + "\n" } catch {
      throw .malformedDocument("a figure of the audit cannot be written as JSON")
    }
    for answer in answers {
      for table in answer.tables { files[answer.fileName(table)] = table.csv }
    }
    var digests: [String: Digest] = [:]
    for (name, text) in files.sorted(by: { $0.key < $1.key }) {
      try LedgerReports.write(text, to: directory + "/" + name)
      digests[name] = Hash.sha256(Array(text.utf8))
    }
    return digests
  }
}

extension ReportAnswer {
  /// What tells the answer from others to the same question: the first digits of the model.
  var label: String {
    guard question == .model, let model = filters.first(where: { $0.name == "model" }) else {
      return question.rawValue
    }
    return "model-\(model.value.prefix(16))"
  }

  /// The file of a table within an audit.
  func fileName(_ table: ReportTable) -> String { "\(label)-\(table.name).csv" }
}
