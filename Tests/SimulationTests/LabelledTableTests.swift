import Learning
import Testing

@testable import Simulation

@Suite struct `Labelled tables` {
  private func labels(_ values: [String]) throws(TableError) -> LabelledTable {
    try LabelledTable(table(["x", "y"], values.map { ["1", $0] }), label: "y")
  }

  @Test(arguments: [
    ["0", "1"], ["FALSE", "TRUE"], ["no", "Yes"], ["apple", "pear"], ["unknown", "true"], ["0.0", "1.0"],
  ])
  func `knows which of two labels is positive`(values: [String]) throws {
    let read = try labels([values[1], values[0], " \(values[1]) "])
    #expect(read.negativeLabel == values[0])
    #expect(read.positiveLabel == values[1])
    #expect(read.records.map(\.isPositive) == [true, false, true])
  }

  @Test func `refuses labels with one or three values and names them`() {
    #expect(throws: TableError.labelNotBinary(path: "memory.csv", column: "y", values: ["1"])) {
      try labels(["1", "1"])
    }
    let error = #expect(throws: TableError.self) { try labels(["b", "a", "c", "a"]) }
    #expect(error == .labelNotBinary(path: "memory.csv", column: "y", values: ["a", "b", "c"]))
    #expect(error?.description.contains("has \"a\", \"b\", \"c\".") == true)
  }

  @Test(arguments: ["", " ", "NA", "NaN", "null"])
  func `refuses a missing label, subject or store with its record`(cell: String) {
    let rows = [["1", "s", "t", "0"], ["2", "s", "t", "1"]]
    for (column, name, role) in [(1, "who", "subject"), (2, "shop", "store"), (3, "y", "label")] {
      var rows = rows
      rows[1][column] = cell
      let place = TablePlace(record: 1, line: 3, column: column + 1, columnName: name)
      #expect(throws: TableError.cellMissing(path: "memory.csv", place: place, role: role)) {
        try LabelledTable(
          table(["x", "who", "shop", "y"], rows), label: "y", subject: "who", store: "shop")
      }
    }
  }

  @Test func `names a missing column, those that exist and the nearest`() {
    let data = table(["Tenure", "Churn"], [["1", "0"], ["2", "1"]])
    let error = #expect(throws: TableError.self) { try LabelledTable(data, label: "churned") }
    #expect(
      error?.description
        == "memory.csv: there is no column \"churned\" (the label); did you mean \"Churn\"? "
        + "The columns are Tenure, Churn.")
    let distant = #expect(throws: TableError.self) {
      try LabelledTable(data, label: "Churn", subject: "CustomerNumber")
    }
    #expect(distant?.description.contains("did you mean") == false)
    #expect(throws: TableError.self) { try LabelledTable(data, label: "Churn", store: "Region") }
    #expect(throws: TableError.self) { try LabelledTable(data, label: "Churn", categorical: ["City"]) }
  }

  @Test func `refuses one column in two roles and a table without features`() {
    let data = table(["a", "y"], [["1", "0"], ["2", "1"]])
    #expect(throws: TableError.columnInTwoRoles(path: "memory.csv", name: "y")) {
      try LabelledTable(data, label: "y", subject: "y")
    }
    #expect(throws: TableError.noFeatures(path: "memory.csv")) {
      try LabelledTable(data, label: "y", subject: "a")
    }
  }

  @Test func `passes on what the schema refuses`() {
    let long = String(repeating: "n", count: FeatureSchema.maximumNameBytes + 1)
    let error = #expect(throws: TableError.self) {
      try LabelledTable(table([long, "y"], [["1", "0"], ["2", "1"]]), label: "y")
    }
    guard case .unusableSchema(path: "memory.csv", _)? = error else {
      Issue.record("another error")
      return
    }
  }

  @Test func `infers numeric and categorical columns and drops those without values`() throws {
    let columns = ["int", "real", "mixed", "hex", "inf", "gone", "code", "y"]
    let data = table(
      columns,
      [
        ["1", "-2.5e3", "1", "0x10", "1", "", "3", "0"],
        ["NA", "nan", "one", "1", "inf", "null", "4", "1"],
        [" 7 ", ".5", "2", "1", "1", "NA", "", "1"],
      ])
    let read = try LabelledTable(data, label: "y", categorical: ["code"])
    #expect(read.schema.columns.map(\.name) == ["int", "real", "mixed", "hex", "inf", "code"])
    #expect(
      read.schema.columns.map(\.kind)
        == [.numeric, .numeric, .categorical, .categorical, .categorical, .categorical])
    #expect(
      read.records.map(\.values) == [
        [.number(1), .number(-2_500), .text("1"), .text("0x10"), .text("1"), .text("3")],
        [.missing, .missing, .text("one"), .text("1"), .text("inf"), .text("4")],
        [.number(7), .number(0.5), .text("2"), .text("1"), .text("1"), .missing],
      ])
    #expect(read.notes == ["The column \"gone\" has no values and was dropped."])
  }

  @Test func `makes every record its own contributor without a subject column`() throws {
    #expect(try labels(["0", "1", "0"]).records.map(\.subject) == ["record-0", "record-1", "record-2"])
  }

  @Test func `keeps subject, store and label out of the features`() throws {
    let data = table(["who", "x", "shop", "y"], [["7", "1", "2", "0"], ["8", "2", "2", "1"]])
    let read = try LabelledTable(data, label: "y", subject: "who", store: "shop")
    #expect(read.schema.columns.map(\.name) == ["x"])
    #expect(read.records.map(\.subject) == ["7", "8"])
  }

  @Test func `holds a contributor out entirely and counts the records set aside`() throws {
    let data = table(
      ["who", "x", "y"],
      [["a", "0", "0"], ["a", "1", "1"], ["b", "2", "0"], ["a", "3", "1"], ["c", "4", "1"]])
    let read = try LabelledTable(data, label: "y", subject: "who", testRows: [1, 4])
    #expect(read.records.map(\.values) == [[.number(1)], [.number(2)], [.number(4)]])
    #expect(read.records.map(\.isHeldOut) == [true, false, true])
    #expect(read.setAsideRows == 2)
    #expect(read.notes == ["2 training records were left out because their contributors are held out."])
  }

  @Test func `refuses a test row that does not exist`() {
    let data = table(["x", "y"], [["1", "0"], ["2", "1"]])
    #expect(throws: TableError.testRowOutOfRange(path: "memory.csv", row: 2, rowCount: 2)) {
      try LabelledTable(data, label: "y", testRows: [0, 2])
    }
  }

  @Test func `holds out a fifth of the contributors, whole, as the seed says`() throws {
    let rows = (0..<300).map { ["p\($0 % 100)", "\($0)", "\($0 % 2)"] }
    let data = table(["who", "x", "y"], rows)
    func heldOut(_ seed: UInt64) throws -> [Bool] {
      let read = try LabelledTable(data, label: "y", subject: "who", holdOutSeed: seed)
      #expect(read.records.count == 300)
      #expect(read.setAsideRows == 0)
      #expect(Set(read.records.lazy.filter(\.isHeldOut).map(\.subject)).count == 20)
      #expect(read.records.count { $0.isHeldOut } == 60)
      return read.records.map(\.isHeldOut)
    }
    #expect(try heldOut(1) == heldOut(1))
    #expect(try heldOut(1) != heldOut(2))
  }

  @Test func `finds the nearest name but not a distant one`() {
    let names = ["Region", "Revenue", "TrafficType"]
    #expect(TableError.nearestName(to: "revenu", in: names) == "Revenue")
    #expect(TableError.nearestName(to: "traffic_type", in: names) == "TrafficType")
    #expect(TableError.nearestName(to: "Label", in: names) == nil)
  }

  @Test func `shortens long values in errors`() {
    let long = String(repeating: "v", count: 500)
    let error = #expect(throws: TableError.self) { try labels(["a", "b", long]) }
    #expect((error?.description.count ?? .max) < 250)
  }
}
