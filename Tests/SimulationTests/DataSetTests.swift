import Foundation
import Learning
import Testing

@testable import Simulation

/// The public data sets beside the checkout, if they are there.
private enum DataSets {
  static let directory: String? = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let path =
      ProcessInfo.processInfo.environment["ACCORD_DATA_DIR"]
      ?? root.appendingPathComponent("../shared/data").standardized.path
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }()

  static func path(_ name: String) throws -> String { try #require(directory) + "/" + name }
}

@Suite(.enabled(if: DataSets.directory != nil, "no data sets: set ACCORD_DATA_DIR or add ../shared/data"))
struct `Public data sets` {
  @Test func `loads ecommerce_churn with its twin-safe split`() throws {
    let read = try TableReader.read(path: DataSets.path("ecommerce_churn/ecommerce_churn.csv"))
    let rows = try TableReader.readRowNumbers(
      path: DataSets.path("ecommerce_churn/test_rows_grouped.txt"), rowCount: read.rows.count)
    let data = try LabelledTable(read, label: "Churn", subject: "CustomerID", testRows: rows)
    #expect(data.records.count == 5_630)
    #expect(data.records.count { $0.isHeldOut } == 1_126)
    #expect(data.schema.columns.count == 18)
    #expect(data.schema.columns.count { $0.kind == .categorical } == 5)
    #expect(data.setAsideRows == 0 && data.notes.isEmpty)
    #expect(data.records.flatMap(\.values).count { $0 == .missing } == 1_856)
    #expect(abs(Double(data.records.count { $0.isPositive }) / 5_630 - 0.168) < 0.0005)
    let shares = try data.partition(over: 10, seed: 1)
    #expect(shares.map(\.records.count).allSatisfy { abs($0 - 563) <= 1 })
  }

  @Test func `loads online_shoppers with regions as stores`() throws {
    let read = try TableReader.read(
      path: DataSets.path("online_shoppers/online_shoppers_intention.csv"))
    let rows = try TableReader.readRowNumbers(
      path: DataSets.path("online_shoppers/test_rows.txt"), rowCount: read.rows.count)
    let data = try LabelledTable(
      read, label: "Revenue", store: "Region", testRows: rows,
      categorical: ["OperatingSystems", "Browser", "Region", "TrafficType"])
    #expect(data.records.count == 12_330)
    #expect(data.records.count { $0.isHeldOut } == 2_466)
    #expect(data.schema.columns.count == 16)
    #expect(data.positiveLabel == "TRUE")
    #expect(abs(Double(data.records.count { $0.isPositive }) / 12_330 - 0.155) < 0.0005)
    let sizes = try data.partition(over: 9, seed: 0).map(\.records.count)
    #expect(sizes.max() == 4_780 && sizes.min() == 318)
    #expect(throws: TableError.self) { try data.partition(over: 10, seed: 0) }
  }

  /// What `retail-repurchase.yaml` makes of transactions, by SQL.
  private static let retailQuery = """
    WITH lines AS (
      SELECT DISTINCT InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID, Country
      FROM purchases
      WHERE CustomerID IS NOT NULL AND InvoiceNo NOT LIKE 'C%' AND Quantity > 0 AND UnitPrice > 0
    ),
    past AS (
      SELECT CustomerID AS customer,
        julianday('2011-09-01') - julianday(max(InvoiceDate)) AS recency,
        julianday('2011-09-01') - julianday(min(InvoiceDate)) AS tenure,
        ln(1 + count(DISTINCT InvoiceNo)) AS frequency,
        ln(1 + sum(Quantity * UnitPrice)) AS monetary,
        ln(1 + sum(Quantity * UnitPrice) / count(DISTINCT InvoiceNo)) AS average_basket,
        ln(1 + count(DISTINCT StockCode)) AS distinct_items,
        ln(1 + count(*)) AS lines,
        ln(1 + sum(CASE WHEN julianday('2011-09-01') - julianday(InvoiceDate) <= 90
          THEN Quantity * UnitPrice ELSE 0 END)) AS spend_90_days,
        max(Country = 'United Kingdom') AS is_uk
      FROM lines WHERE InvoiceDate < '2011-09-01' GROUP BY CustomerID
    ),
    later AS (
      SELECT CustomerID AS customer, sum(Quantity * UnitPrice) AS spend
      FROM lines WHERE InvoiceDate >= '2011-09-01' GROUP BY CustomerID
    )
    SELECT past.*, ln(1 + coalesce(later.spend, 0)) AS log_spend
    FROM past LEFT JOIN later USING (customer) ORDER BY past.customer
    """

  @Test func `transactions tell the same of online_retail as a query`() throws {
    let scratch = try Scratch()
    let all = try TableReader.read(path: DataSets.path("online_retail/online_retail.csv.gz"))
    // Every tenth customer will do; descriptions have commas.
    let kept = all.columns.indices.filter { all.columns[$0] != "Description" }
    let customer = try #require(all.columns.firstIndex(of: "CustomerID"))
    let rows = all.rows.filter { $0[customer].hasSuffix("7") }.map { row in kept.map { row[$0] } }
    let path = try scratch.file(
      ([kept.map { all.columns[$0] }] + rows).map { $0.joined(separator: ",") }.joined(separator: "\n"))
    func run(_ sql: String) throws -> Table {
      try TableQuery(tables: [.init(name: "purchases", file: path)], sql: sql).run(
        paths: [path], name: "retail")
    }
    let expected = try run(Self.retailQuery)
    let lines = try run(
      """
      SELECT DISTINCT InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID, Country,
        Quantity * UnitPrice AS amount, Country = 'United Kingdom' AS is_uk
      FROM purchases
      WHERE CustomerID IS NOT NULL AND InvoiceNo NOT LIKE 'C%' AND Quantity > 0 AND UnitPrice > 0
      """)
    let features: [TransactionFeature] = [
      .recency, .tenure, .frequency, .monetary, .averageBasket, .distinctItems, .lines, .windowSpend,
    ]
    let asOf: CivilTime = try #require(CivilTime(iso8601: "2011-09-01"))
    let made = try TransactionRecords(
      columns: TransactionColumns(
        subject: "CustomerID", time: "InvoiceDate", amount: "amount", basket: "InvoiceNo", item: "StockCode",
        attributes: ["is_uk"]),
      settings: TransactionSettings(
        features: features, windows: [90], log: features.filter { !$0.isOfDays },
        label: TransactionLabel(kind: .logSpend, horizonDays: 100)),
      asOf: asOf
    ).table(from: lines).table
    #expect(made.columns.dropFirst() == expected.columns.dropFirst())
    #expect(made.rows.count == expected.rows.count && made.rows.count > 300)
    let byCustomer = Dictionary(uniqueKeysWithValues: made.rows.map { ($0[0], $0) })
    let attribute = made.columns.count - 2
    var largest = 0.0
    var otherCountries = 0
    for row in expected.rows {
      let own = try #require(byCustomer[row[0]])
      for column in 1..<row.count where column != attribute {
        let (a, b) = (try #require(Double(own[column])), try #require(Double(row[column])))
        largest = max(largest, abs(a - b))
      }
      if own[attribute] != row[attribute] { otherCountries += 1 }
    }
    // Julian days have a tenth of a millisecond in a double.
    #expect(largest < 1e-8, "\(largest)")
    // The last country instead of any.
    #expect(otherCountries < 10, "\(otherCountries)")
  }

  @Test func `reads gzip with records over several lines`() throws {
    let read = try TableReader.read(path: DataSets.path("clothing_reviews/clothing_reviews.csv.gz"))
    #expect(read.rows.count == 23_486)
    #expect(read.columns.count == 11)
    #expect(read.columns.first == "column-1")
  }
}
