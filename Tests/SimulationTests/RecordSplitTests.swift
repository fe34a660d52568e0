import Foundation
import Learning
import Testing

@testable import Simulation

/// What is held out, what labels are, and columns of words, from the scenario file to the records.
@Suite struct `Records of a scenario` {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// 40 people with five visits each, the last of which is held out; the label is an amount.
  private func load(_ edit: (String) -> String = { $0 }) throws -> ScenarioData {
    var lines = ["who,shop,note,spent,last"]
    for visit in 0..<200 {
      let person = visit % 40
      lines.append("p\(person),s\(person % 4),\"red no\(visit % 3)\",\(visit * 13 % 50).25,\(visit / 160)")
    }
    _ = try scratch.file(lines.joined(separator: "\n"), name: "visits.csv")
    let text = edit(
      """
      data:
        name: shop
        file: visits.csv
        label: spent
        label_is: number
        subject: who
        text: [note]
        held_out: last
        hold_out: records
        partition: {by: contributor}
      model: {kind: linear, objective: squared-error}
      privacy: {epsilon: inf, clip: none}
      aggregation: off
      """)
    let path = scratch.directory.path + "/a.yaml"
    let scenario = try Scenario.read(text, file: path)
    let data = try #require(scenario.points.first).data
    return try ScenarioData.load(data, DataLocator(scenario: path, dataDirectory: nil))
  }

  private func nodes(_ data: ScenarioData) throws -> [[StoreRecord]] {
    try (0..<data.population.nodeCount).map { try data.population.records(of: $0) }
  }

  @Test func `a contributor may have records on both sides, and it is said`() throws {
    let data = try load()
    let nodes = try nodes(data)
    #expect(nodes.count == 40 && nodes.allSatisfy { $0.count == 5 })
    #expect(nodes.allSatisfy { $0.map(\.isHeldOut) == [false, false, false, false, true] })
    #expect(nodes.allSatisfy { Set($0.map(\.subject)).count == 1 })
    #expect(data.notes.contains { $0.contains("people who are already known") })
    #expect(nodes[1][0].label == 13.25 && nodes[0][1].label == 20.25)
  }

  @Test(
    arguments: [
      "{by: iid, nodes: 7}", "{by: dirichlet, nodes: 7, alpha: 0.3}", "{by: column, column: shop}",
      "{by: column, column: shop, nodes: 2}",
    ])
  func `every partition keeps the records of both sides together`(partition: String) throws {
    let nodes = try nodes(load { $0.replacing("{by: contributor}", with: partition) })
    #expect(nodes.flatMap(\.self).count == 200)
    #expect(nodes.reduce(0) { $0 + Set($1.map(\.subject)).count } == 40)
    #expect(nodes.allSatisfy { node in node.contains { !$0.isHeldOut } && node.contains(where: \.isHeldOut) })
  }

  @Test func `whoever has a held-out record is held out whole unless records are split`() throws {
    // The last visit of every fourth person alone.
    let data = try load {
      $0.replacing("  hold_out: records\n", with: "").replacing("file: visits.csv", with: Self.quarter)
    }
    let records = try nodes(data).flatMap(\.self)
    #expect(records.count == 30 * 5 + 10)
    #expect(records.count(where: \.isHeldOut) == 10)
    let (known, held) = (records.filter { !$0.isHeldOut }, records.filter(\.isHeldOut))
    #expect(Set(known.map(\.subject)).isDisjoint(with: held.map(\.subject)))
    #expect(data.notes.contains("40 training records were left out because their contributors are held out."))
    #expect(data.inputs.map(\.file) == ["visits.csv"])
  }

  private static let quarter = """
    tables: {visits: visits.csv}
      query: |
        SELECT who, shop, note, spent, last = 1 AND who LIKE '%0' OR last = 1 AND who LIKE '%5'
          OR last = 1 AND who IN ('p2', 'p12') AS last
        FROM visits ORDER BY record_number
    """

  @Test func `the held-out column is not learned from, and words stay words`() throws {
    let schema = try load().population.schema
    #expect(schema.columns.map(\.name) == ["shop", "note"])
    #expect(schema.columns.map(\.kind) == [.categorical, .text])
    let plain = try load { $0.replacing("  text: [note]\n", with: "  drop: [note]\n") }
    #expect(plain.population.schema.columns.map(\.name) == ["shop"])
  }

  @Test func `names a held-out cell and a label that cannot be read, with their places`() throws {
    let held = #expect(throws: ScenarioError.self) {
      try load { $0.replacing("held_out: last", with: "held_out: shop") }
    }
    #expect(
      held?.description.contains("record 0 (line 2), column 2 (shop): what is held out must be 0 or 1")
        == true)
    let label = #expect(throws: ScenarioError.self) {
      try load {
        $0.replacing("label: spent", with: "label: note").replacing("text: [note]", with: "drop: [spent]")
      }
    }
    #expect(
      label?.description.contains("record 0 (line 2), column 3 (note): the label is no number, but label_is")
        == true)
    let gone = #expect(throws: ScenarioError.self) {
      try load { $0.replacing("held_out: last", with: "held_out: lst") }
    }
    #expect(gone?.description.contains("did you mean \"last\"?") == true)
    let words = #expect(throws: ScenarioError.self) { try load { $0.replacing("[note]", with: "[notes]") } }
    #expect(words?.description.contains("(a column of words); did you mean \"note\"?") == true)
  }

  @Test func `a failing query is told with the data's name`() throws {
    let error = #expect(throws: ScenarioError.self) {
      try load {
        $0.replacing(
          "file: visits.csv", with: "tables: {visits: visits.csv}\n  query: SELECT spend FROM visits")
      }
    }
    #expect(error?.description == "shop: shop: the query failed: no such column: spend.")
  }

  @Test func `a missing file of a query is named`() throws {
    let text = """
      data: {tables: {a: nowhere.csv}, query: SELECT 1 AS y, label: y, partition: {by: iid, nodes: 1}}
      privacy: {epsilon: 1}
      """
    let scenario = try Scenario.read(text, file: "a.yaml")
    let data = try #require(scenario.points.first).data
    let error = #expect(throws: ScenarioError.self) {
      try ScenarioData.locate(data, DataLocator(scenario: "a.yaml", dataDirectory: nil))
    }
    guard case .dataMissing? = error else {
      Issue.record("another error")
      return
    }
    #expect(data.name == "the query")
  }
}
