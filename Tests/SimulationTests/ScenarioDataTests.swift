import Cryptography
import Foundation
import Learning
import Testing

@testable import Simulation

@Suite struct `Scenario data` {
  @Test(arguments: [
    ("= 1", ["1": true, "1.0": true, "0": false, "one": false]), ("!= No", ["No": false, "Yes": true]),
    (">= 4", ["4": true, "3.5": false, "5": true]), ("> 0", ["0": false, "0.1": true]),
    ("<= 2", ["2": true, "2.1": false]), ("< -1", ["-2": true, "-1": false]),
    ("starts with C", ["C12": true, "12C": false]),
    ("=TRUE", ["TRUE": true, " TRUE ": true, "FALSE": false]),
  ])
  func `decides labels by a rule`(text: String, cells: [String: Bool]) throws {
    let rule = try #require(LabelRule(text))
    for (cell, isPositive) in cells { #expect(rule.isPositive(cell) == isPositive, "\(text) of \(cell)") }
  }

  @Test func `refuses rules that are none and cells that cannot be compared`() {
    for text in ["", "4", ">", "> four", "is 4", "~ 4"] { #expect(LabelRule(text) == nil, "\(text)") }
    #expect(LabelRule(">= 4")?.isPositive("many") == .some(nil))
  }

  /// 240 people, a fifth of them positive, one in four with a second record, in eight shops.
  private func file(_ scratch: Scratch, name: String = "table.csv") throws -> String {
    var lines = ["who,shop,x,id,y"]
    for person in 0..<240 {
      for visit in 0...(person % 4 == 0 ? 1 : 0) {
        lines.append(
          "p\(person),s\(person % 8),\(person * 7 % 31),\(person)-\(visit),\(person % 5 == 0 ? 3 : 1)")
      }
    }
    return try scratch.file(lines.joined(separator: "\n"), name: name)
  }

  private func load(
    _ scratch: Scratch, _ partition: TableData.Partition, edit: (inout TableData) -> Void = { _ in }
  ) throws(ScenarioError) -> ScenarioData {
    var data = TableData(
      file: "table.csv", label: "y", labelKind: .binary, positive: LabelRule(">= 2"), subject: "who",
      categorical: [], text: [], drop: ["id"], dropsIncomplete: false, testRows: nil,
      splitsContributors: false,
      holdOutSeed: 0, partition: partition)
    edit(&data)
    return try ScenarioData.load(
      DataSpecification(name: "people", source: .table(data)),
      DataLocator(scenario: scratch.directory.path + "/a.yaml", dataDirectory: nil))
  }

  private func records(_ data: ScenarioData) throws -> [[StoreRecord]] {
    try (0..<data.population.nodeCount).map { try data.population.records(of: $0) }
  }

  @Test func `makes a node of each contributor and deals held-out people to them`() throws {
    let scratch = try Scratch()
    _ = try file(scratch)
    let nodes = try records(load(scratch, .contributor))
    #expect(nodes.count == 192)
    #expect(nodes.flatMap(\.self).count == 300)
    #expect(nodes.allSatisfy { Set($0.filter { !$0.isHeldOut }.map(\.subject)).count == 1 })
    #expect(nodes.flatMap { $0.filter(\.isHeldOut) }.count > 48)
  }

  @Test func `makes a named node of each value of a column`() throws {
    let scratch = try Scratch()
    _ = try file(scratch)
    let data = try load(scratch, .column("shop", nodes: nil))
    #expect(data.population.nodeCount == 8)
    #expect((0..<8).map(data.population.name(of:)) == (0..<8).map { "s\($0)" })
    #expect(data.population.schema.columns.map(\.name) == ["x"])
    let few = try load(scratch, .column("shop", nodes: 3))
    #expect(few.population.nodeCount == 3 && few.population.name(of: 0) == "node-1")
  }

  @Test func `keeps the records of a contributor adjacent`() throws {
    let rows = ["a", "b", "a", "c", "b"].enumerated().map {
      StoreRecord(subject: $1, values: [.number(Double($0))], label: false, isHeldOut: false)
    }
    let grouped = StoreShare(records: rows).grouped.records
    #expect(grouped.map(\.subject) == ["a", "a", "b", "b", "c"])
    #expect(grouped.map(\.values) == [0, 2, 1, 4, 3].map { [.number($0)] })
  }

  @Test(arguments: [0.001, 0.05, 0.5, 5, 1e6], [2, 7, 40])
  func `spreads by Dirichlet shares, losing and repeating nobody`(alpha: Double, nodes: Int) throws {
    let scratch = try Scratch()
    _ = try file(scratch)
    let spread = try records(load(scratch, .dirichlet(alpha: alpha, nodes: nodes, seed: 3)))
    #expect(spread.count == nodes)
    #expect(spread.flatMap(\.self).count == 300)
    let subjects = spread.map { Set($0.map(\.subject)) }
    #expect(subjects.reduce(0) { $0 + $1.count } == 240)
    #expect(spread.allSatisfy { $0.contains { !$0.isHeldOut } })
    #expect(try records(load(scratch, .dirichlet(alpha: alpha, nodes: nodes, seed: 3))) == spread)
    // With two nodes and a tiny alpha there are only a few ways.
    if nodes > 2 {
      #expect(try records(load(scratch, .dirichlet(alpha: alpha, nodes: nodes, seed: 4))) != spread)
    }
  }

  @Test func `skews labels and sizes the more, the smaller alpha is`() throws {
    let scratch = try Scratch()
    _ = try file(scratch)
    func unevenness(_ alpha: Double) throws -> Double {
      let spreads = try (1...20).map { seed in
        try records(load(scratch, .dirichlet(alpha: alpha, nodes: 6, seed: seed))).map { node in
          Double(node.count { $0.isPositive }) / Double(max(1, node.count))
        }
      }
      return spreads.map { rates in rates.reduce(0) { $0 + abs($1 - 0.2) } / 6 }.reduce(0, +) / 20
    }
    let (even, middle, uneven) = (try unevenness(1000), try unevenness(1), try unevenness(0.1))
    #expect(even < 0.05 && even < middle && middle < uneven && uneven > 0.2)
  }

  @Test func `draws Dirichlet shares with the right mean and variance`() {
    for alpha in [0.2, 1, 6] {
      var draws = SeededDraws(seed: 5, purpose: "test")
      let first = (0..<8_000).map { _ in draws.dirichlet(alpha: alpha, count: 4)[0] }
      let mean = first.reduce(0, +) / 8_000
      let variance = first.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 8_000
      let expected = 0.25 * 0.75 / (4 * alpha + 1)
      #expect(
        abs(mean - 0.25) < 0.01 && abs(variance / expected - 1) < 0.08, "\(alpha): \(mean), \(variance)")
    }
  }

  @Test func `leaves incomplete records out only if asked, test rows keeping their records`() throws {
    let scratch = try Scratch()
    _ = try scratch.file("who,x,y\na,1,0\n,2,1\nb,3,1\nc,4,0\nd,5,1\n")
    _ = try scratch.file("3\n4\n", name: "test.txt")
    func edit(_ drops: Bool) -> (inout TableData) -> Void {
      { data in
        data.drop = []
        data.positive = nil
        data.dropsIncomplete = drops
        data.testRows = "test.txt"
      }
    }
    #expect(throws: ScenarioError.self) { try load(scratch, .iid(nodes: 1, seed: 1), edit: edit(false)) }
    let data = try load(scratch, .iid(nodes: 1, seed: 1), edit: edit(true))
    let kept = try data.population.records(of: 0)
    #expect(kept.map(\.subject) == ["a", "b", "c", "d"])
    #expect(kept.map(\.isHeldOut) == [false, false, true, true])
    #expect(data.notes.contains { $0.hasPrefix("1 records without") })
    #expect(data.inputs.map(\.file) == ["table.csv", "test.txt"] && data.inputs[0].isInManifest == nil)
  }

  @Test func `names a label that is no number and a column that is not there`() throws {
    let scratch = try Scratch()
    _ = try scratch.file("who,x,y\na,1,0\nb,2,many\n")
    let error = #expect(throws: ScenarioError.self) {
      try load(scratch, .iid(nodes: 1, seed: 1)) { $0.drop = [] }
    }
    #expect(error?.description.contains("record 1 (line 3), column 3 (y): the label is no number") == true)
    let missing = #expect(throws: ScenarioError.self) { try load(scratch, .contributor) }
    #expect(missing?.description.contains("no column \"id\" (a column to drop)") == true)
  }

  @Test func `says where a missing public file comes from and how to name the directory`() throws {
    let locator = DataLocator(scenario: "simulations/a.yaml", dataDirectory: nil)
    let error = #expect(throws: ScenarioError.self) {
      try locator.path(of: "online_shoppers/online_shoppers_intention.csv")
    }
    let text = error?.description ?? ""
    for part in ["is missing", "UCI 468", "CC BY 4.0", "github.com/remijul/dataset", "ACCORD_DATA_DIR"] {
      #expect(text.contains(part))
    }
    let other = #expect(throws: ScenarioError.self) { try locator.path(of: "mine.csv") }
    #expect(other?.description.contains("Licence") == false)
  }

  @Test func `finds files beside the scenario first, then in the data directory`() throws {
    let (own, shared) = (try Scratch(), try Scratch())
    _ = try shared.file("shared", name: "t.csv")
    let locator = DataLocator(
      scenario: own.directory.path + "/a.yaml", dataDirectory: shared.directory.path)
    #expect(try locator.path(of: "t.csv") == shared.directory.path + "/t.csv")
    _ = try own.file("own", name: "t.csv")
    #expect(try locator.path(of: "t.csv") == own.directory.path + "/t.csv")
    #expect(try locator.path(of: shared.directory.path + "/t.csv") == shared.directory.path + "/t.csv")
    #expect(DataLocator.directory(option: "a", environment: ["ACCORD_DATA_DIR": "b"]) == "a")
    #expect(DataLocator.directory(option: nil, environment: ["ACCORD_DATA_DIR": "b"]) == "b")
  }
}

@Suite struct `Data manifest` {
  @Test func `knows every file with its size, digest, source and licence`() {
    let manifest = DataManifest.standard
    #expect(manifest.files.count == 29 && manifest.sets.count == 7)
    #expect(manifest.files.allSatisfy { $0.sha256.utf8.count == 64 && $0.bytes > 0 })
    #expect(Set(manifest.files.map(\.path)).count == 29)
    #expect(manifest.files.allSatisfy { manifest.set(of: $0.path) != nil })
    #expect(manifest.sets.allSatisfy { !$0.licence.isEmpty && !$0.source.isEmpty && !$0.obtain.isEmpty })
  }

  @Test func `tells right, changed, missing and extra files apart`() throws {
    let scratch = try Scratch()
    let folder = scratch.directory.appendingPathComponent("toys/sub")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    for name in ["toys/a.csv", "toys/b.csv", "toys/sub/new.txt"] {
      _ = try scratch.file("hello", name: name)
    }
    let digest = Hash.sha256(Array("hello".utf8)).hex
    let set = DataManifest.DataSet(name: "toys", title: "Toys", source: "us", obtain: "here", licence: "CC0")
    let manifest = DataManifest(
      sets: [set],
      files: [
        .init(path: "toys/a.csv", sha256: digest, bytes: 5),
        .init(path: "toys/b.csv", sha256: String(repeating: "0", count: 64), bytes: 5),
        .init(path: "toys/c.csv", sha256: digest, bytes: 5),
      ])
    let findings = manifest.check(directory: scratch.directory.path)
    #expect(findings.map(\.path) == ["toys/a.csv", "toys/b.csv", "toys/c.csv", "toys/sub/new.txt"])
    #expect(findings.map(\.state) == [.right, .changed, .missing, .extra])
    #expect(findings[1].actual == digest)
    #expect(manifest.check(directory: scratch.directory.path, only: ["others"]).isEmpty)
  }
}
