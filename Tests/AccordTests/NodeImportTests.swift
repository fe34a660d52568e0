import Federation
import Foundation
import Learning
import Storage
import Testing

@testable import EdgeNode
@testable import accord

/// `accord node import` of tables and of transactions, as a process.
@Suite(.serialized) struct NodeImportTests {
  private let directory: String

  init() throws {
    directory =
      FileManager.default.temporaryDirectory.appendingPathComponent("accord-import-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    _ = try DataDirectory(directory + "/node", kind: .node, create: true)
  }

  private func file(_ text: String, _ name: String) throws -> String {
    let path = directory + "/" + name
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  private func run(_ file: String, _ options: [String]) async throws -> (code: Int32, errors: String) {
    let result = try await ChildProcess.runToEnd(
      ["node", "import", file, "--data", directory + "/node"] + options)
    return (result.code, result.errors)
  }

  private func store() throws -> LocalStore {
    try LocalStore(DataDirectory(directory + "/node", kind: .node, create: false))
  }

  /// Twenty customers with a receipt in each of three months; every other one buys again in April.
  private static let receipts: String =
    "customer,sold,amount,receipt,sku,city\n"
    + (0..<20).map { customer in
      (1...(customer % 2 == 0 ? 4 : 3)).map { month in
        "c\(customer),2024-0\(month)-1\(customer % 9) 09:30,\(customer + month),\(customer)-\(month),s\(month),Ulm\n"
      }.joined()
    }.joined()

  private static let columns = [
    "--subject", "customer", "--time", "sold", "--amount", "amount", "--basket", "receipt", "--item", "sku",
    "--attribute", "city",
  ]

  @Test func `transactions become a record per customer, with the task's settings in the schema`()
    async throws
  {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let receipts = try file(Self.receipts, "receipts.csv")
    let settings = try file(
      #"{"windows":[30],"label":{"kind":"buys-again","horizonDays":30}}"#, "repurchase.json")
    let result = try await run(
      receipts,
      ["--transactions", settings, "--as-of", "2024-04-01", "--schema-out", directory + "/schema.json"]
        + Self.columns)
    #expect(result.code == 0, "\(result.errors)")
    let expected = try TransactionSettings(
      windows: [30], label: TransactionLabel(kind: .buysAgain, horizonDays: 30))
    let schema = try #require(try store().schema())
    #expect(schema.transactions == expected)
    #expect(schema.columns.map(\.name) == expected.columnNames + ["city"])
    let written = try Data(contentsOf: URL(fileURLWithPath: directory + "/schema.json"))
    #expect(try JSONDecoder().decode(FeatureSchema.self, from: written) == schema)
    let candidates = try store().candidates(.training) + store().candidates(.heldOut)
    #expect(candidates.count == 20)
    // Serving computes the record of a customer from the same lines.
    let lines = try (1...3).map { month in
      Transaction(
        time: try #require(CivilTime(iso8601: "2024-0\(month)-14T09:30")), amount: Double(4 + month),
        basket: "4-\(month)", item: "s\(month)")
    }
    let asOf: CivilTime = try #require(CivilTime(iso8601: "2024-04-01"))
    let served = try schema.record(of: lines, asOf: asOf, attributes: ["city": .text("Ulm")])
    let imported = candidates.first { $0.subjectID == "c4" }?.record
    #expect(imported?.values == served && imported?.label == 1)
    #expect(candidates.first { $0.subjectID == "c5" }?.record.label == 0)
  }

  @Test func `mistakes are answered with one sentence, and the store keeps what it has`() async throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let receipts = try file(Self.receipts, "receipts.csv")
    let settings = try file(#"{"label":{"kind":"spend","horizonDays":30}}"#, "spend.json")
    let wanted = ["--transactions", settings, "--as-of", "2024-04-01"] + Self.columns
    #expect(try await run(receipts, wanted).code == 0)
    let before = try store().counts()
    let cases: [(file: String, options: [String], words: String)] = [
      (receipts, ["--as-of", "2024-04-01", "--label", "amount"], "need --transactions"),
      (receipts, ["--transactions", settings], "needs --as-of"),
      (receipts, ["--transactions", settings, "--as-of", "1.4.2024"] + Self.columns, "--as-of is a date"),
      (receipts, wanted + ["--label", "amount"], "leave out --label"),
      (receipts, ["--subject", "customer"], "--label is missing"),
      (receipts, ["--label", "amount", "--label-is", "number", "--date", "city"], "no date"),
      (receipts, ["--label", "amount", "--label-is", "number", "--date", "sold=soon"], "sold=2024-01-01"),
      (receipts, ["--label", "amount", "--label-is", "number", "--date-hours", "sold"], "--date, too"),
      (try file(Self.receipts.replacing("2024-01-10", with: "10/01/2024"), "bad.csv"), wanted, "no date"),
    ]
    for (file, options, words) in cases {
      let result = try await run(file, options)
      #expect(result.code != 0 && result.errors.contains(words), "\(options): \(result.errors)")
    }
    for text in [#"{"windows":[0],"label":{"kind":"spend","horizonDays":30}}"#, "{}", "[]", "spend"] {
      let settings = try file(text, "bad.json")
      let result = try await run(
        receipts, ["--transactions", settings, "--as-of", "2024-04-01"] + Self.columns)
      #expect(result.code == 1 && !result.errors.isEmpty, "\(text): \(result.errors)")
    }
    #expect(try store().counts() == before)
  }

  @Test func `columns of dates keep their settings in the schema`() async throws {
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let receipts = try file(Self.receipts, "receipts.csv")
    let result = try await run(
      receipts,
      [
        "--label", "amount", "--label-is", "number", "--subject", "customer", "--date", "sold=2024-01-01",
        "--date-hours", "sold",
      ])
    #expect(result.code == 0, "\(result.errors)")
    let reference: CivilTime = try #require(CivilTime(iso8601: "2024-01-01"))
    #expect(
      try store().schema()?.columns.first
        == FeatureColumn(name: "sold", kind: .date, date: DateSettings(reference: reference, hour: true)))
  }
}
