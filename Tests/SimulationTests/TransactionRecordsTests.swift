import Foundation
import Learning
import Testing

@testable import Simulation

@Suite struct `Records from transactions` {
  private static let receipts = """
    who,when,paid,receipt,sku,shop,test
    a,2024-01-01 10:00,10,1,x,north,0
    b,2024-01-02,5,2,y,south,1
    a,2024-01-01 10:01,20,1,y,north,0
    a,2024-02-10T12:00:00Z,7,3,x,east,0
    c,2024-03-01,50,4,x,south,0
    a,2024-03-05,9,5,z,west,0
    b,2024-01-05,-5,6,y,,1
    b,19783,1,7,y,,1

    """

  private static func records(
    features: [TransactionFeature] = [.recency, .frequency, .monetary, .gapMean, .windowSpend],
    kind: TransactionLabel.Kind = .buysAgain, asOf: String = "2024-03-01", attributes: [String] = ["shop"],
    item: String? = nil
  ) throws -> TransactionRecords {
    let asOf: CivilTime = try #require(CivilTime(iso8601: asOf))
    return try TransactionRecords(
      columns: TransactionColumns(
        subject: "who", time: "when", amount: "paid", basket: "receipt", item: item, attributes: attributes),
      settings: TransactionSettings(
        features: features, windows: [30], label: TransactionLabel(kind: kind, horizonDays: 10)),
      asOf: asOf)
  }

  private func refusal(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "nothing was refused"
    } catch { return "\(error)" }
  }

  @Test func `makes one record of each customer who has bought`() throws {
    let made = try Self.records().table(from: Scratch().read(Self.receipts), heldOut: "test")
    #expect(
      made.table.columns == [
        "who", "recency", "frequency", "monetary", "gap_mean", "spend_30_days", "shop", "buys_again", "test",
      ])
    // 19783 is 2024-03-01, which is no longer past.
    let gap = 40.0 + 2 / 24.0
    #expect(
      made.table.rows == [
        ["a", "19.5", "2.0", "37.0", "\(gap)", "7.0", "east", "1.0", "0"],
        ["b", "59.0", "1.0", "0.0", "", "0.0", "south", "1.0", "1"],
      ])
    #expect(made.table.lines == [2, 3])
    #expect(
      made.notes == [
        "1 customers without a purchase before 2024-03-01 were left out.",
        "The last transaction is of 2024-03-05, the horizon ends at 2024-03-11: labels may lack what is not known yet.",
      ])
  }

  @Test func `the schema carries the settings, and columns without a value stay`() throws {
    let records = try Self.records(kind: .spend)
    let table = try Scratch().read(
      Self.receipts.replacing("a,2024-02-10T12:00:00Z,7,3", with: "a,2024-02-10,7,1"))
    let made = try records.table(from: table)
    let read = try LabelledTable(
      made.table, label: records.label, labelKind: .number, subject: "who", transactions: records.settings)
    #expect(read.schema.transactions == records.settings)
    #expect(read.schema.columns.map(\.name) == records.settings.columnNames + ["shop"])
    // Nobody has two baskets.
    #expect(read.records.map { $0.values[3] } == [.missing, .missing])
    #expect(read.records.map(\.label) == [9, 1])
    let plain = try LabelledTable(made.table, label: records.label, labelKind: .number, subject: "who")
    #expect(plain.schema != read.schema && plain.notes.count == 1)
  }

  @Test func `records are those that serving computes`() throws {
    let records = try Self.records()
    let made = try records.table(from: Scratch().read(Self.receipts))
    let read = try LabelledTable(
      made.table, label: records.label, labelKind: .number, subject: "who", transactions: records.settings)
    let lines = try [
      ("2024-02-10T12:00", 7.0, "3"), ("2024-01-01T10:00", 10, "1"), ("2024-01-01T10:01", 20, "1"),
    ]
    .map { Transaction(time: try #require(CivilTime(iso8601: $0)), amount: $1, basket: $2) }
    let served = try read.schema.record(
      of: lines, asOf: records.asOf, attributes: ["shop": .text("east")])
    #expect(served == read.records.first { $0.subject == "a" }?.values)
  }

  @Test func `says which cell is wrong`() throws {
    func refused(_ old: String, _ new: String) throws -> String {
      let table = try Scratch().read(Self.receipts.replacing(old, with: new))
      return refusal { _ = try Self.records().table(from: table) }
    }
    let date = try refused("2024-01-02", "02.01.2024")
    #expect(date.contains("record 1 (line 3), column 2 (when)") && date.contains("no date"), "\(date)")
    let amount = try refused("2024-01-01 10:01,20", "2024-01-01 10:01,EUR 20")
    #expect(
      amount.contains("record 2 (line 4), column 3 (paid)") && amount.contains("no number"), "\(amount)")
    let missing = try refused("a,2024-03-05", ",2024-03-05")
    #expect(missing.contains("record 5 (line 7)") && missing.contains("customer is missing"), "\(missing)")
    let column = try refused("receipt", "receipts")
    #expect(column.contains("\"receipt\" (the basket") && column.contains("did you mean"), "\(column)")
    let table = try Scratch().read(Self.receipts.replacing("shop", with: "recency"))
    #expect(
      refusal { _ = try Self.records(attributes: ["recency"]).table(from: table) }.contains(
        "made of the transactions"))
    let early = try Self.records(asOf: "2023-01-01")
    let receipts = try Scratch().read(Self.receipts)
    #expect(refusal { _ = try early.table(from: receipts) }.contains("before 2023-01-01"))
  }

  @Test func `leaves incomplete rows out if asked`() throws {
    let table = try Scratch().read(
      Self.receipts.replacing("a,2024-02-10T12:00:00Z,7", with: "a,2024-02-10T12:00:00Z,"))
    let made = try Self.records().table(from: table, dropsIncomplete: true)
    #expect(made.table.rows[0][2] == "1.0")
    #expect(made.notes[0] == "1 transactions without a customer, time or amount were left out.")
  }

  @Test func `items need a column, and who learns segments no label`() throws {
    #expect(
      refusal { _ = try Self.records(features: [.distinctItems, .windowSpend]) }.contains("distinct_items"))
    let made = try Self.records(features: [.distinctItems, .windowSpend], item: "sku")
      .table(from: Scratch().read(Self.receipts))
    #expect(made.table.rows.map { $0[1] } == ["2.0", "1.0"])
    let settings = try TransactionSettings(features: [.recency], windows: [])
    let columns = TransactionColumns(subject: "who", time: "when", amount: "paid")
    let asOf = try #require(CivilTime(iso8601: "2024-03-01"))
    let unlabelled = try TransactionRecords(columns: columns, settings: settings, asOf: asOf)
      .table(from: Scratch().read(Self.receipts)).table
    #expect(unlabelled.columns == ["who", "recency"] && unlabelled.rows.allSatisfy { $0.count == 2 })
    let table = try LabelledTable(
      unlabelled, label: nil, subject: "who", transactions: settings)
    #expect(table.records.allSatisfy { $0.label == 0 } && table.schema.columns.map(\.name) == ["recency"])
  }

  @Test func `segments alone do without a label`() throws {
    let both = "    horizon: 10\n    label: buys-again\n"
    #expect(problems(both, "").contains { $0.contains("data.transactions.label is missing") })
    #expect(
      problems("    horizon: 10\n", "").contains { $0.contains("data.transactions.horizon is missing") })
    let data = try table(
      Self.scenario.replacing(both, with: "")
        + "\nmodel: {kind: segments, count: 2}\ntraining: {local: fedsgd}\n")
    #expect(data.label == nil && data.transactions?.settings.label == nil)
  }

  // MARK: Scenarios

  private static let scenario = """
    name: plain
    data:
      file: receipts.csv
      transactions:
        subject: who
        date: when
        amount: paid
        basket: receipt
        as_of: 2024-03-01
        horizon: 10
        label: buys-again
      partition: {by: iid, nodes: 1}
    privacy: {epsilon: inf, clip: none}
    aggregation: off
    """

  private func problems(_ old: String, _ new: String) -> [String] {
    #expect(Self.scenario.contains(old))
    do {
      _ = try Scenario.read(Self.scenario.replacing(old, with: new), file: "a.yaml")
      return []
    } catch {
      guard case .invalid(let problems) = error else { return [] }
      return problems.map(\.description)
    }
  }

  private func table(_ text: String) throws -> TableData {
    let point = try #require(try Scenario.read(text, file: "a.yaml").points.first)
    guard case .table(let table) = point.data.source else { throw CancellationError() }
    return table
  }

  @Test func `a scenario says how records are made`() throws {
    let data = try table(Self.scenario)
    let transactions = try #require(data.transactions)
    #expect(data.label == "buys_again" && data.subject == "who" && data.labelKind == .number)
    #expect(transactions.asOf.description == "2024-03-01")
    #expect(transactions.settings.windows == [30, 90, 365] && transactions.settings.log.isEmpty)
    #expect(transactions.settings.features == TransactionFeature.allCases.filter { $0 != .distinctItems })
    let more = try #require(
      try table(
        Self.scenario.replacing(
          "    label:", with: "    log: true\n    item: sku\n    windows: []\n    attributes: [x]\n    label:"
        ).replacing("by: iid, nodes: 1", with: "by: column, column: shop")
      ).transactions)
    #expect(more.columns.attributes == ["x", "shop"])
    #expect(more.settings.features == TransactionFeature.allCases.filter { !$0.isOfWindows })
    #expect(more.settings.log == [.frequency, .monetary, .averageBasket, .distinctItems, .lines])
    let few = try #require(
      try table(
        Self.scenario.replacing(
          "    label:", with: "    features: [recency, lines]\n    windows: []\n    log: [lines]\n    label:")
      )
      .transactions)
    #expect(few.settings.features == [.recency, .lines] && few.settings.log == [.lines])
  }

  @Test func `mistakes are named with their lines`() {
    #expect(
      problems("as_of: 2024-03-01", "as_of: 01.03.2024").first?.contains(
        "a.yaml:9: data.transactions.as_of must be a date") == true)
    #expect(
      problems("horizon: 10", "horizon: 0").first?.contains("a.yaml:10: data.transactions.horizon") == true)
    #expect(
      problems("label: buys-again", "label: buys").first?.contains(
        "a.yaml:11: data.transactions.label must be one of buys-again") == true)
    #expect(problems("    amount: paid\n", "").first?.contains("data.transactions.amount is missing") == true)
    #expect(
      problems("amount: paid", "price: paid").contains {
        $0.contains("a.yaml:7: data.transactions.price is no key")
      })
    #expect(
      problems("    label:", "    windows: [90, x]\n    label:").first?.contains(
        "a.yaml:11: data.transactions.windows") == true)
    #expect(problems("    label:", "    windows: [90, 30]\n    label:").first?.contains("ascending") == true)
    #expect(
      problems("    label:", "    features: [recency, wealth]\n    windows: []\n    label:").first?.contains(
        "a.yaml:11: data.transactions.features must be of recency") == true)
    #expect(
      problems("    label:", "    log: [distinct_items]\n    label:").first?.contains(
        "logarithms of features that it has") == true)
    for key in [
      "label: y", "label_is: number", "subject: who", "drop: [x]", "test_rows: f.txt",
      "hold_out: contributors", "positive: '= 1'",
    ] {
      #expect(
        problems("  partition:", "  \(key)\n  partition:").contains {
          $0.contains("a.yaml:12") && $0.contains("means nothing with transactions")
        }, "\(key)")
    }
    #expect(
      problems("  partition:", "  dates: {joined: {reference: soon}}\n  partition:").first?.contains(
        "a.yaml:12: data.dates.joined.reference must be a date") == true)
    #expect(
      problems("  partition:", "  dates: {joined: {hour: maybe}}\n  partition:").first?.contains(
        "must be true or false") == true)
  }

  @Test func `a scenario learns from what its transactions tell`() throws {
    let scratch = try Scratch()
    _ = try scratch.file(Self.receipts, name: "receipts.csv")
    var data = try table(Self.scenario.replacing("    label:", with: "    attributes: [shop]\n    label:"))
    data.heldOutColumn = "test"
    let loaded = try ScenarioData.load(
      DataSpecification(name: "receipts", source: .table(data)),
      DataLocator(scenario: scratch.directory.path + "/a.yaml", dataDirectory: nil))
    #expect(loaded.population.schema.transactions == data.transactions?.settings)
    let records = try loaded.population.records(of: 0)
    #expect(records.map(\.subject) == ["a", "b"] && records.map(\.isHeldOut) == [false, true])
    #expect(loaded.notes.contains { $0.contains("without a purchase") })
  }

  // MARK: Dates

  @Test func `columns of dates are read as such`() throws {
    let data = try Scratch().read(
      "joined,seen,y\n2024-01-01,2024-01-01,0\nNA,,1\n19723.5,2024-02-03 04:05,1\n")
    let reference: CivilTime = try #require(CivilTime(iso8601: "2024-01-01"))
    let settings = DateSettings(reference: reference, hour: true)
    let read = try LabelledTable(
      data, label: "y",
      dates: [DateColumn(name: "joined", settings: .standard), DateColumn(name: "seen", settings: settings)])
    #expect(
      read.schema.columns == [
        FeatureColumn(name: "joined", kind: .date), FeatureColumn(name: "seen", kind: .date, date: settings),
      ])
    #expect(
      read.records.map(\.values) == [
        [.text("2024-01-01"), .text("2024-01-01")], [.missing, .missing],
        [.number(19_723.5), .text("2024-02-03 04:05")],
      ])
    #expect(try LabelledTable(data, label: "y").schema.columns.map(\.kind) == [.categorical, .categorical])
  }

  @Test func `what is no date is refused with its place`() throws {
    let data = try Scratch().read("joined,y\n2024-01-01,0\n2024-02-30,1\n")
    let sentence = refusal { _ = try LabelledTable(data, label: "y", dates: [DateColumn(name: "joined")]) }
    #expect(sentence.contains("record 1 (line 3), column 1 (joined)") && sentence.contains("no date"))
    let twice = refusal {
      _ = try LabelledTable(data, label: "y", text: ["joined"], dates: [DateColumn(name: "joined")])
    }
    #expect(twice.contains("one of these only"))
    #expect(
      refusal { _ = try LabelledTable(data, label: "y", dates: [DateColumn(name: "Joined")]) }.contains(
        "did you mean"))
  }

  @Test func `a scenario names columns of dates, with settings or without`() throws {
    let plain = try table(plainScenario.replacing("  subject:", with: "  dates: [joined]\n  subject:"))
    #expect(plain.dates == [DateColumn(name: "joined")])
    let text = "  dates: {joined: {reference: 2024-01-01, day_of_week: false, hour: true}}\n  subject:"
    let reference: CivilTime = try #require(CivilTime(iso8601: "2024-01-01"))
    #expect(
      try table(plainScenario.replacing("  subject:", with: text)).dates
        == [
          DateColumn(
            name: "joined", settings: DateSettings(reference: reference, dayOfWeek: false, hour: true))
        ])
    // What is not said is not written: earlier runs keep their digests.
    let absent = String(decoding: try JSONEncoder().encode(table(plainScenario)), as: UTF8.self)
    #expect(!absent.contains("dates") && !absent.contains("transactions"))
  }
}
