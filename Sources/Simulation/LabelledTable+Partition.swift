extension LabelledTable {
  /// The most nodes of a partition.
  package static let maximumNodes = 10_000

  /// Spreads the records over `nodes` nodes; every contributor is on exactly one, no record is lost or
  /// repeated, and every node has somebody to train on.
  ///
  /// With a store column, stores stay whole and go, the largest first, to the node with the fewest records so
  /// far (`seed` then changes nothing). A contributor of several stores belongs to the one with most of their
  /// records (of equals, the first in lexicographic order). Without it, contributors are shuffled with `seed`
  /// and dealt in turn, those for training first, so that each kind is spread evenly.
  ///
  /// - Throws: `TableError` if there are fewer stores, or fewer contributors for training, than nodes.
  package func partition(over nodes: Int, seed: UInt64) throws(TableError) -> [StoreShare] {
    guard (1...Self.maximumNodes).contains(nodes) else {
      throw .sizeOutOfRange(what: "The number of nodes", value: nodes, allowed: 1...Self.maximumNodes)
    }
    let nodeOf: [String: Int] =
      if let stores {
        try assignStores(stores, nodes: nodes)
      } else {
        try dealSubjects(nodes: nodes, seed: seed)
      }
    var shares = [[StoreRecord]](repeating: [], count: nodes)
    for record in records {
      if let node = nodeOf[record.subject] { shares[node].append(record) }
    }
    return shares.map(StoreShare.init(records:))
  }

  private func dealSubjects(nodes: Int, seed: UInt64) throws(TableError) -> [String: Int] {
    let training = Set(records.lazy.filter { !$0.isHeldOut }.map(\.subject))
    // Who is on both sides is dealt once.
    let heldOut = Set(records.lazy.filter(\.isHeldOut).map(\.subject)).subtracting(training)
    guard training.count >= nodes else {
      throw .tooFewSubjects(path: path, subjects: training.count, nodes: nodes)
    }
    var draws = SeededDraws(seed: seed, purpose: "partition")
    // Sorted first: the order of a set differs from run to run.
    let dealt = draws.shuffled(training.sorted()) + draws.shuffled(heldOut.sorted())
    return Dictionary(uniqueKeysWithValues: dealt.enumerated().map { ($1, $0 % nodes) })
  }

  private func assignStores(_ stores: [String], nodes: Int) throws(TableError) -> [String: Int] {
    let homes = homeStores(stores)
    var sizes: [String: Int] = [:]
    for record in records {
      if let home = homes[record.subject] { sizes[home, default: 0] += 1 }
    }
    guard sizes.count >= nodes else {
      throw .tooFewStores(path: path, stores: sizes.count, nodes: nodes)
    }
    var load = [Int](repeating: 0, count: nodes)
    var nodeOf: [String: Int] = [:]
    for (store, size) in sizes.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
      let node = load.indices.reduce(0) { load[$1] < load[$0] ? $1 : $0 }
      nodeOf[store] = node
      load[node] += size
    }
    let trained = Set(
      records.lazy.filter { !$0.isHeldOut }.compactMap { homes[$0.subject] }.compactMap { nodeOf[$0] })
    if let node = load.indices.first(where: { !trained.contains($0) }) {
      let members = nodeOf.filter { $0.value == node }.keys.sorted()
      throw .nodeWithoutTraining(path: path, node: node, stores: members)
    }
    return homes.compactMapValues { nodeOf[$0] }
  }

  /// The store each contributor belongs to.
  func homeStores(_ stores: [String]) -> [String: String] {
    var counts: [String: [String: Int]] = [:]
    for (record, store) in zip(records, stores) {
      counts[record.subject, default: [:]][store, default: 0] += 1
    }
    return counts.compactMapValues { counts in
      counts.min { ($1.value, $0.key) < ($0.value, $1.key) }?.key
    }
  }
}
