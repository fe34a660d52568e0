package import Learning

/// The nodes of a simulation and what each of them holds. A population may be larger than memory: records
/// are asked for when a node is in a cohort, and every call gives the same ones.
package protocol VirtualPopulation: Sendable {
  /// The columns.
  var schema: FeatureSchema { get }
  /// The number of nodes.
  var nodeCount: Int { get }
  /// Roughly how many records all nodes hold together: what fits into memory is encoded once.
  var approximateRecordCount: Int { get }
  /// A node's name for people: a store, or `node-<n>`.
  func name(of node: Int) -> String
  /// All records of a node, those of one contributor adjacent, training and held-out ones.
  func records(of node: Int) throws -> [StoreRecord]
}

/// A population that is in memory.
package struct StoredPopulation: VirtualPopulation {
  package let schema: FeatureSchema
  private let shares: [StoreShare]
  private let names: [String]

  /// - Parameter names: one for each share; none for `node-1` and so on.
  package init(schema: FeatureSchema, shares: [StoreShare], names: [String] = []) {
    self.schema = schema
    self.shares = shares
    self.names = names
  }

  package var nodeCount: Int { shares.count }
  package var approximateRecordCount: Int { shares.reduce(0) { $0 + $1.records.count } }
  package func name(of node: Int) -> String { node < names.count ? names[node] : "node-\(node + 1)" }
  package func records(of node: Int) -> [StoreRecord] { shares[node].records }
}
