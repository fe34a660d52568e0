import Learning
import Testing

@testable import Simulation

@Suite struct `Generated populations` {
  @Test func `give the same records at every call and other ones to every node`() throws {
    let population = try GeneratedPopulation(
      seed: 4, nodes: 1_000_000, customersPerNode: 2, nodesPerStore: 10)
    let last = population.records(of: 999_999)
    _ = population.records(of: 3)
    #expect(last == population.records(of: 999_999))
    #expect(last.map(\.subject) == ["n999999-c0", "n999999-c1"])
    #expect(last.map(\.values) != population.records(of: 999_998).map(\.values))
    let other = try GeneratedPopulation(seed: 5, nodes: 1_000_000, customersPerNode: 2, nodesPerStore: 10)
    #expect(last != other.records(of: 999_999))
    #expect(population.approximateRecordCount == 2_000_000)
  }

  @Test func `fit the schema, hold a fifth out and have about a fifth of churn`() throws {
    let population = try GeneratedPopulation(seed: 1, nodes: 3_000, nodesPerStore: 10)
    let records = (0..<3_000).flatMap(population.records)
    #expect(records.allSatisfy { $0.values.count == population.schema.columns.count })
    let heldOut = Double(records.count(where: \.isHeldOut)) / Double(records.count)
    let churned = Double(records.count(where: \.isPositive)) / Double(records.count)
    #expect(abs(heldOut - 0.2) < 0.04)
    #expect((0.15...0.32).contains(churned))
  }

  @Test func `refuse impossible sizes`() {
    #expect(throws: TableError.self) { try GeneratedPopulation(seed: 1, nodes: 0) }
    #expect(throws: TableError.self) { try GeneratedPopulation(seed: 1, nodes: 1, customersPerNode: 0) }
    #expect(throws: TableError.self) { try GeneratedPopulation(seed: 1, nodes: 1, nodesPerStore: 0) }
  }
}
