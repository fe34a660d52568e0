import Testing

@testable import Simulation

@Suite struct `Partitions` {
  /// 90 people with 1 to 5 records each, in seven stores of very different sizes.
  private func people(store: Bool = false, testRows: Set<Int>? = nil) throws -> LabelledTable {
    var rows: [[String]] = []
    for person in 0..<90 {
      let shop = ["a", "a", "a", "b", "b", "c", "d", "e", "f", "g"][person % 10]
      for visit in 0...(person % 5) {
        rows.append(["p\(person)", shop, "\(visit)", "\((person + visit) % 2)"])
      }
    }
    return try LabelledTable(
      table(["who", "shop", "x", "y"], rows), label: "y", subject: "who", store: store ? "shop" : nil,
      testRows: testRows)
  }

  /// Every record exactly once, every contributor on one node, every node with somebody to train on.
  private func check(_ shares: [StoreShare], of data: LabelledTable) {
    func keys(_ records: [StoreRecord]) -> [String] { records.map { "\($0)" }.sorted() }
    #expect(keys(shares.flatMap(\.records)) == keys(data.records))
    let subjects = shares.map { Set($0.records.map(\.subject)) }
    #expect(subjects.reduce(0) { $0 + $1.count } == Set(data.records.map(\.subject)).count)
    #expect(shares.allSatisfy { !$0.trainingSubjects.isEmpty })
    for share in shares { #expect(Set(share.trainingSubjects).isDisjoint(with: share.heldOutSubjects)) }
  }

  @Test(arguments: [1, 2, 3, 7, 72], [UInt64(0), 1, 99])
  func `deals contributors evenly, each to one node`(nodes: Int, seed: UInt64) throws {
    let data = try people()
    let shares = try data.partition(over: nodes, seed: seed)
    #expect(shares.count == nodes)
    check(shares, of: data)
    for counts in [shares.map(\.trainingSubjects.count), shares.map(\.heldOutSubjects.count)] {
      #expect((counts.max() ?? 0) - (counts.min() ?? 0) <= 1)
    }
  }

  @Test func `depends on the seed and on nothing else`() throws {
    let data = try people()
    #expect(try data.partition(over: 4, seed: 5) == data.partition(over: 4, seed: 5))
    #expect(try data.partition(over: 4, seed: 5) != data.partition(over: 4, seed: 6))
  }

  @Test(arguments: [1, 2, 4, 7])
  func `keeps stores whole and sizes even`(nodes: Int) throws {
    let data = try people(store: true)
    let shares = try data.partition(over: nodes, seed: 0)
    check(shares, of: data)
    let all = try people(store: true).partition(over: 7, seed: 0).map(\.records.count)
    #expect(all.sorted(by: >) == all)
    // Greedy placement: no node exceeds the average by more than the largest store.
    let sizes = shares.map(\.records.count)
    let largest = all.max() ?? 0
    #expect((sizes.max() ?? 0) <= sizes.reduce(0, +) / nodes + largest)
    if nodes == 2 { #expect((sizes.max() ?? 0) - (sizes.min() ?? 0) <= 30) }
  }

  @Test func `puts a contributor of several stores where most of their records are`() throws {
    let rows =
      [["p", "a"], ["p", "b"], ["p", "b"], ["q", "a"], ["r", "b"], ["s", "a"], ["s", "b"]]
      .enumerated().map { $1 + ["\($0)", "\($0 % 2)"] }
    let data = try LabelledTable(
      table(["who", "shop", "x", "y"], rows), label: "y", subject: "who", store: "shop", testRows: [])
    let shares = try data.partition(over: 2, seed: 0)
    #expect(shares.map(\.trainingSubjects) == [["p", "r"], ["q", "s"]])
    check(shares, of: data)
  }

  @Test func `refuses more nodes than stores, contributors or the limit`() throws {
    #expect(throws: TableError.tooFewStores(path: "memory.csv", stores: 7, nodes: 8)) {
      try people(store: true).partition(over: 8, seed: 0)
    }
    #expect(throws: TableError.tooFewSubjects(path: "memory.csv", subjects: 72, nodes: 73)) {
      try people().partition(over: 73, seed: 0)
    }
    for nodes in [-1, 0, 10_001] {
      let error = #expect(throws: TableError.self) { try people().partition(over: nodes, seed: 0) }
      #expect(error?.description == "The number of nodes must be 1 to 10000, not \(nodes).")
    }
  }

  @Test func `refuses a node without anybody to train on`() throws {
    let rows = [["a", "1", "0"], ["a", "2", "1"], ["b", "3", "0"], ["b", "4", "1"]]
    let data = try LabelledTable(
      table(["shop", "x", "y"], rows), label: "y", store: "shop", testRows: [2, 3])
    #expect(throws: TableError.nodeWithoutTraining(path: "memory.csv", node: 1, stores: ["b"])) {
      try data.partition(over: 2, seed: 0)
    }
    #expect(try data.partition(over: 1, seed: 0).map(\.records.count) == [4])
  }
}
