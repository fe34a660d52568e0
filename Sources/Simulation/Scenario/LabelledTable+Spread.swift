import Foundation

extension LabelledTable {
  /// Shares and the names of their nodes.
  struct Nodes {
    let shares: [StoreShare]
    let names: [String]
  }

  /// Spreads the contributors as a scenario asks. Every contributor is on exactly one node, no record is lost or
  /// repeated, and every node has somebody to train on.
  func spread(_ partition: TableData.Partition) throws(TableError) -> Nodes {
    switch partition {
    case .iid(let nodes, let seed): Nodes(shares: try self.partition(over: nodes, seed: seed), names: [])
    case .column(_, let nodes?): Nodes(shares: try self.partition(over: nodes, seed: 0), names: [])
    case .column(let column, nil): try spreadByStore(column)
    case .dirichlet(let alpha, let nodes, let seed):
      Nodes(shares: try spreadUnevenly(alpha: alpha, nodes: nodes, seed: seed), names: [])
    case .contributor: spreadByContributor()
    }
  }

  /// One node per store, in the lexicographic order of their names; contributors of several stores belong to
  /// the one with most of their records.
  private func spreadByStore(_ column: String) throws(TableError) -> Nodes {
    let homes = homeStores(stores ?? [])
    let names = Set(homes.values).sorted()
    guard names.count <= Self.maximumNodes else {
      throw .sizeOutOfRange(
        what: "The number of nodes", value: names.count, allowed: 1...Self.maximumNodes)
    }
    let position = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
    var shares = [[StoreRecord]](repeating: [], count: names.count)
    for record in records {
      if let home = homes[record.subject], let node = position[home] { shares[node].append(record) }
    }
    if let node = shares.firstIndex(where: { $0.allSatisfy(\.isHeldOut) }) {
      throw .nodeWithoutTraining(path: path, node: node, stores: [names[node]])
    }
    return Nodes(shares: shares.map(StoreShare.init(records:)), names: names)
  }

  /// One node per contributor with training records, in the order of the table. Held-out contributors, who
  /// are other people, are dealt to these nodes in turn: their records measure the model, no more.
  private func spreadByContributor() -> Nodes {
    var nodeOf: [String: Int] = [:]
    for record in records where !record.isHeldOut && nodeOf[record.subject] == nil {
      nodeOf[record.subject] = nodeOf.count
    }
    let count = nodeOf.count
    var guests = 0
    for record in records where record.isHeldOut && nodeOf[record.subject] == nil && count > 0 {
      nodeOf[record.subject] = guests % count
      guests += 1
    }
    var shares = [[StoreRecord]](repeating: [], count: count)
    for record in records {
      if let node = nodeOf[record.subject] { shares[node].append(record) }
    }
    return Nodes(shares: shares.map(StoreShare.init(records:)), names: [])
  }

  /// Label-skewed nodes (Hsu, Qi and Brown, *Measuring the Effects of Non-Identical Data Distribution for
  /// Federated Visual Classification*, 2019, with the nodes' sizes left free as in Yurochkin et al., ICML
  /// 2019): for each label, shares of the nodes are drawn from Dirichlet(α, …, α) and its contributors, in a
  /// shuffled order, are cut into these shares; held-out contributors by the same shares, so that a node is
  /// measured on what it looks like. A contributor's label is that of most of their records, positive if
  /// equal. A node left without anybody to train on takes a contributor from the node with most.
  func spreadUnevenly(alpha: Double, nodes: Int, seed: UInt64) throws(TableError) -> [StoreShare] {
    guard (1...Self.maximumNodes).contains(nodes) else {
      throw .sizeOutOfRange(what: "The number of nodes", value: nodes, allowed: 1...Self.maximumNodes)
    }
    var votes: [String: (balance: Int, isHeldOut: Bool)] = [:]
    for record in records {
      votes[record.subject, default: (0, true)].balance += record.isPositive ? 1 : -1
      // Who is on both sides counts as somebody to train on.
      if !record.isHeldOut { votes[record.subject]?.isHeldOut = false }
    }
    var draws = SeededDraws(seed: seed, purpose: "dirichlet partition")
    var training = [[String]](repeating: [], count: nodes)
    var nodeOf: [String: Int] = [:]
    for isPositive in [false, true] {
      let members = votes.filter { ($0.value.balance >= 0) == isPositive }.keys.sorted()
      let shares = draws.dirichlet(alpha: alpha, count: nodes)
      for isHeldOut in [false, true] {
        let group = draws.shuffled(members.filter { votes[$0]?.isHeldOut == isHeldOut })
        for (node, part) in Self.cut(group, into: shares).enumerated() {
          if isHeldOut { for subject in part { nodeOf[subject] = node } } else { training[node] += part }
        }
      }
    }
    let total = training.reduce(0) { $0 + $1.count }
    guard total >= nodes else { throw .tooFewSubjects(path: path, subjects: total, nodes: nodes) }
    Self.fillEmpty(&training)
    for (node, subjects) in training.enumerated() { for subject in subjects { nodeOf[subject] = node } }
    var shares = [[StoreRecord]](repeating: [], count: nodes)
    for record in records {
      if let node = nodeOf[record.subject] { shares[node].append(record) }
    }
    return shares.map(StoreShare.init(records:))
  }

  /// Consecutive parts in proportion to `shares`, which sum to 1.
  static func cut(_ members: [String], into shares: [Double]) -> [ArraySlice<String>] {
    var sum = 0.0
    var start = 0
    return shares.indices.map { index in
      sum += shares[index]
      let end =
        index == shares.count - 1
        ? members.count : min(members.count, max(start, Int((sum * Double(members.count)).rounded())))
      defer { start = end }
      return members[start..<end]
    }
  }

  private static func fillEmpty(_ nodes: inout [[String]]) {
    // Largest first; a node gives until it is as small as the next, so few are taken from each.
    while let empty = nodes.firstIndex(where: \.isEmpty) {
      let largest = nodes.indices.reduce(0) { nodes[$1].count > nodes[$0].count ? $1 : $0 }
      guard let moved = nodes[largest].popLast() else { return }
      nodes[empty].append(moved)
    }
  }
}

extension SeededDraws {
  /// The logarithm of a Gamma(shape, 1) draw (Marsaglia and Tsang 2000; shapes below 1 by their boost), in
  /// logarithms because draws of small shapes underflow.
  mutating func logGamma(shape: Double) -> Double {
    if shape < 1 { return logGamma(shape: shape + 1) + log(1 - unit()) / shape }
    let d = shape - 1.0 / 3
    let c = 1 / (9 * d).squareRoot()
    while true {
      let x = normal()
      let root = 1 + c * x
      guard root > 0 else { continue }
      let v = root * root * root
      if log(1 - unit()) < 0.5 * x * x + d - d * v + d * log(v) { return log(d * v) }
    }
  }

  /// A draw from the symmetric Dirichlet distribution: `count` shares that sum to 1.
  mutating func dirichlet(alpha: Double, count: Int) -> [Double] {
    let logarithms = (0..<count).map { _ in logGamma(shape: alpha) }
    let highest = logarithms.max() ?? 0
    let weights = logarithms.map { exp($0 - highest) }
    let sum = weights.reduce(0, +)
    return weights.map { $0 / sum }
  }
}
