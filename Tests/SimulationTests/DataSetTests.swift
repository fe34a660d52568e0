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

  @Test func `reads gzip with records over several lines`() throws {
    let read = try TableReader.read(path: DataSets.path("clothing_reviews/clothing_reviews.csv.gz"))
    #expect(read.rows.count == 23_486)
    #expect(read.columns.count == 11)
    #expect(read.columns.first == "column-1")
  }
}
