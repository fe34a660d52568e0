import ArgumentParser
import Foundation
import Learning
import Simulation

/// Columns of a table of transactions, and what is made of them.
struct TransactionOptions: ParsableArguments {
  @Option(
    help: """
      The rows are transactions: make one record per customer, as this JSON file says. It holds what the task has at \
      schema.transactions; {"label": {"kind": "buys-again", "horizonDays": 100}} is enough with --item; without, name the features.
      """)
  var transactions: String?
  @Option(help: "Features look back from this date, the label ahead: 2024-03-31, or with a time.")
  var asOf: String?
  @Option(help: "Column with the time of a transaction.") var time: String?
  @Option(help: "Column with its amount; below 0 for money that went back.") var amount: String?
  @Option(help: "Column with its receipt or order; else the purchases of a day are a basket.")
  var basket: String?
  @Option(help: "Column with what was bought.") var item: String?
  @Option(help: "Columns of which the customer's last value before --as-of is a feature.")
  var attribute: [String] = []

  func validate() throws {
    let others = [asOf, time, amount, basket, item].compactMap(\.self) + attribute
    guard transactions != nil || others.isEmpty else {
      throw ValidationError(
        "--as-of, --time, --amount, --basket, --item and --attribute need --transactions")
    }
    guard transactions == nil || (asOf != nil && time != nil && amount != nil) else {
      throw ValidationError("--transactions needs --as-of, --time and --amount")
    }
    if let asOf, CivilTime(iso8601: asOf) == nil {
      throw ValidationError("--as-of is a date such as 2024-03-31, not “\(asOf)”")
    }
  }

  /// One record per customer of the transactions in `file`; nil without `--transactions`.
  func read(
    _ file: String, _ table: TableOptions
  ) throws -> (table: LabelledTable, notes: [String])? {
    guard let transactions, let time, let amount, let asOf = asOf.flatMap(CivilTime.init(iso8601:))
    else { return nil }
    guard let subject = table.subject else {
      throw CommandFailure("--transactions needs --subject, the column that names the customer")
    }
    guard table.label == nil, table.testRows == nil else {
      throw CommandFailure(
        "with --transactions leave out --label and --test-rows: the label is in \(transactions), and a record is "
          + "made of many rows")
    }
    let settings = try Self.settings(transactions)
    guard (settings.label == nil) == table.unlabelled else {
      throw CommandFailure(
        table.unlabelled
          ? "\(transactions) has a label: leave out --unlabelled"
          : "\(transactions): label is missing: what is to be predicted (or --unlabelled, for segments)")
    }
    let records = try TransactionRecords(
      columns: TransactionColumns(
        subject: subject, time: time, amount: amount, basket: basket, item: item,
        attributes: TableOptions.list(attribute)),
      settings: settings, asOf: asOf)
    let made = try records.table(from: try TableReader.read(path: file))
    return (try table.labelled(made.table, records), made.notes)
  }

  private static func settings(_ path: String) throws -> TransactionSettings {
    do {
      return try JSONDecoder().decode(TransactionSettings.self, from: Data(readFile(path)))
    } catch let error as LearningError {
      throw CommandFailure("\(path): \(error)")
    } catch let error as DecodingError {
      throw CommandFailure("\(path): this is no file for --transactions: \(Self.sentence(error))")
    }
  }

  private static func sentence(_ error: DecodingError) -> String {
    switch error {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context),
      .valueNotFound(_, let context):
      let path = context.codingPath.map(\.stringValue).joined(separator: ".")
      return (path.isEmpty ? "" : "at \(path): ") + context.debugDescription
    @unknown default: return "it cannot be read"
    }
  }
}
