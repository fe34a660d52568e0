import Foundation
package import Learning

/// A retail chain of any number of nodes, none of which is in memory: each node's customers are generated when
/// they are asked for, from the seed and the node's number alone, by the formulas of `RetailGenerator`.
///
/// A node is a customer's device (`customersPerNode` 1) or a small store. `nodesPerStore` adjacent nodes share
/// the traits of one store: wealth, mix of categories, online share, lateness and a shift of the churn odds,
/// which here is drawn around 0 and not centred over the chain. A fifth of the customers is held out.
package struct GeneratedPopulation: VirtualPopulation {
  /// The most nodes.
  package static let maximumNodes = 100_000_000

  package let schema: FeatureSchema
  package let nodeCount: Int
  private let seed: UInt64
  private let customersPerNode: Int
  private let nodesPerStore: Int

  /// - Throws: `TableError.sizeOutOfRange` unless nodes are 1 to 100,000,000, customers per node 1 to 20,000 and
  ///   nodes per store at least 1.
  package init(
    seed: UInt64, nodes: Int, customersPerNode: Int = 1, nodesPerStore: Int = 500
  ) throws(TableError) {
    func check(_ value: Int, _ what: String, _ allowed: ClosedRange<Int>) throws(TableError) {
      guard allowed.contains(value) else {
        throw .sizeOutOfRange(what: what, value: value, allowed: allowed)
      }
    }
    try check(nodes, "The number of nodes", 1...Self.maximumNodes)
    try check(
      customersPerNode, "The number of customers per node", 1...RetailGenerator.maximumCustomersPerStore)
    try check(nodesPerStore, "The number of nodes per store", 1...Self.maximumNodes)
    schema = try RetailFeatures.schema()
    nodeCount = nodes
    self.seed = seed
    self.customersPerNode = customersPerNode
    self.nodesPerStore = nodesPerStore
  }

  package var approximateRecordCount: Int { nodeCount * customersPerNode }

  package func name(of node: Int) -> String { "node-\(node + 1)" }

  package func records(of node: Int) -> [StoreRecord] {
    var draws = SeededDraws(seed: seed, purpose: "retail node \(node)")
    let store = RetailGenerator.store(seed: seed, number: node / nodesPerStore, customers: customersPerNode)
    return (0..<customersPerNode).map { number in
      let customer = RetailLife(store: store, draws: &draws)
        .customer(subject: "n\(node)-c\(number)", draws: &draws)
      return StoreRecord(
        subject: customer.subject, values: RetailFeatures.values(of: customer, draws: &draws),
        label: customer.churned, isHeldOut: draws.chance(0.2))
    }
  }
}

extension RetailGenerator {
  /// One store of a chain without an end, from its number alone.
  static func store(seed: UInt64, number: Int, customers: Int) -> RetailStore {
    var draws = SeededDraws(seed: seed, purpose: "retail store of nodes \(number)")
    return RetailStore.drawn(customerCount: customers, churnShift: 0.6 * draws.normal(), draws: &draws)
  }
}

extension RetailStore {
  /// A store whose other traits are drawn.
  static func drawn(customerCount: Int, churnShift: Double, draws: inout SeededDraws) -> RetailStore {
    let mix = RetailLife.baseMix.map { $0 * exp(0.6 * draws.normal()) }
    let sum = mix.reduce(0, +)
    return RetailStore(
      customerCount: customerCount, wealth: exp(0.25 * draws.normal()), categoryMix: mix.map { $0 / sum },
      onlineShare: RetailLife.sigmoid(-0.5 + 0.7 * draws.normal()),
      lateRate: 0.18 * RetailLife.sigmoid(draws.normal()), churnShift: churnShift)
  }
}
