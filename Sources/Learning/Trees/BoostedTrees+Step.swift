#if canImport(Glibc)
  import Glibc
#endif

extension BoostedTrees {
  /// Decides every open node: splits it or makes it a leaf; begins the next tree when none is left open.
  ///
  /// The first step sets the initial score by the mean label. Sums are the means times `contributors` (at
  /// least 1); with noise they may be anything finite, and the result still passes `check`. The optimiser is
  /// not used. A finished ensemble stays as it is.
  package func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError) {
    let ensemble = try ensemble(parameters)
    let round = round(of: ensemble)
    guard mean.count == round.length else {
      throw .wrongCount(what: "the mean of a round of trees", expected: round.length, actual: mean.count)
    }
    guard mean.allSatisfy(\.isFinite), contributors.isFinite else {
      throw .nonFiniteValue(what: "the sum of a round of trees")
    }
    guard round.length > 0 else { return }
    if round.isFirst {
      parameters[3] = initialScore(mean: mean[0], contributors: min(max(contributors, 1), 1e15))
      beginTree(0, seed: ensemble.seed, &parameters)
      return
    }
    let nodes = decided(
      ensemble, round, mean: mean, contributors: min(max(contributors, 1), 1e15), parameters)
    parameters.replaceSubrange(
      ensemble.lastTreeOffset..., with: [Float(nodes.count)] + nodes.flatMap(\.numbers))
    if !nodes.contains(.open), ensemble.treeCount < settings.trees {
      beginTree(ensemble.treeCount, seed: ensemble.seed, &parameters)
    }
  }

  /// The constant that fits labels of this mean best; for classes it stays half a contributor away from
  /// certainty.
  private func initialScore(mean: Float, contributors: Double) -> Float {
    let limit = settings.largestInitialScore
    let label = mean * DerivativeScale(settings).labelLimit
    let score: Float
    switch objective {
    case .binary, .classes:
      let margin = Float(0.5 / (contributors + 1))
      let share = min(max(label, margin), 1 - margin)
      score = log(share / (1 - share))
    case .squaredError, .huber, .segments: score = label
    case .poisson, .tweedie: score = log(max(label, settings.gradientLimit * 1e-6))
    }
    return min(max(score, -limit), limit)
  }

  /// Appends a tree: an open root, or all of a random tree with open leaves.
  private func beginTree(_ tree: Int, seed: UInt64, _ parameters: inout [Float]) {
    parameters[2] = Float(tree + 1)
    var nodes = [TreeNode.open]
    if settings.splitting == .random {
      var generator = generator(of: tree, seed: seed)
      nodes = randomTree(&generator)
    }
    parameters.append(Float(nodes.count))
    for node in nodes { parameters += node.numbers }
  }

  /// The nodes of the last tree after a round.
  private func decided(
    _ ensemble: TreeEnsemble, _ round: TreeRound, mean: [Float], contributors: Double, _ parameters: [Float]
  ) -> [TreeNode] {
    var nodes = lastTree(ensemble, parameters)
    let scale = DerivativeScale(settings)
    let search = SplitSearch(settings)
    let gradientUnit = contributors / Double(scale.gradientFactor * round.share)
    let curvatureUnit = contributors / Double(scale.curvatureFactor * round.share)
    for (opening, node) in ensemble.openNodes.enumerated() {
      let first = 2 * opening * round.binsPerNode
      let histogram = (0..<round.binsPerNode).map { bin in
        DerivativeSums(
          gradient: Double(mean[first + 2 * bin]) * gradientUnit,
          curvature: Double(mean[first + 2 * bin + 1]) * curvatureUnit)
      }
      guard !round.columns.isEmpty else {
        nodes[node] = leaf(histogram[0])
        continue
      }
      let total = SplitSearch.total(histogram: histogram, offsets: round.offsets)
      guard let split = search.best(histogram: histogram, round: round, shape: shape, total: total) else {
        nodes[node] = leaf(total)
        continue
      }
      nodes[node] = split.node
      // Sums of a level's children are known, so that no round is spent on leaves.
      for child in [split.left, split.right] {
        let isOpen =
          ensemble.openDepth + 1 < settings.maximumDepth
          && child.curvature >= 2 * Double(settings.minimumChildWeight)
        nodes.append(isOpen ? .open : leaf(child))
      }
    }
    return nodes
  }

  /// The nodes of the tree that `ensemble` has read last from these parameters.
  private func lastTree(_ ensemble: TreeEnsemble, _ parameters: [Float]) -> [TreeNode] {
    parameters.withUnsafeBufferPointer { parameters in
      stride(from: ensemble.lastTreeOffset + 1, to: parameters.count, by: TreeNode.width).compactMap {
        TreeNode(parameters, at: $0, shape: shape, largestLeaf: settings.largestLeaf)
      }
    }
  }

  /// The constant that a node's sums ask for: −G / (H + λ), times the learning rate, cut to the largest leaf.
  func leaf(_ sums: DerivativeSums) -> TreeNode {
    let denominator = max(sums.curvature, 0) + Double(settings.l2)
    guard denominator > 0 else { return .leaf(0) }
    let limit = Double(settings.largestLeaf)
    let value = Double(-settings.learningRate) * sums.gradient / denominator
    return .leaf(min(max(Float(min(max(value, -limit), limit)), -settings.largestLeaf), settings.largestLeaf))
  }

  /// A tree whose splits are drawn: a column, then a threshold that the splits above it leave open, or for
  /// categories a random half of those that they leave.
  private func randomTree(_ generator: inout SplitMix64) -> [TreeNode] {
    let columns = drawColumns(&generator)
    var nodes: [TreeNode] = []
    // What bins of every column can reach a node.
    var reaching = [(depth: 0, bins: shape.bins.map { BinSet(below: $0.count) })]
    var position = 0
    while position < reaching.count {
      let (depth, bins) = reaching[position]
      // Wide tables and deep trees: only the sets of nodes that are still to come are kept.
      reaching[position].bins = []
      position += 1
      let candidates = columns.filter { bins[$0].count >= 2 }
      guard depth < settings.maximumDepth, !candidates.isEmpty else {
        nodes.append(.open)
        continue
      }
      let column = candidates[generator.draw(below: candidates.count)]
      let node = randomSplit(of: column, reaching: bins[column], &generator)
      guard let left = node.split(shape: shape)?.left else { continue }
      nodes.append(node)
      for side in [left, left.complement] {
        var bins = bins
        bins[column] = bins[column].intersection(side)
        reaching.append((depth + 1, bins))
      }
    }
    return nodes
  }

  /// A random split that leaves at least one of the bins, of which there are two or more, on either side.
  private func randomSplit(
    of column: Int, reaching bins: BinSet, _ generator: inout SplitMix64
  ) -> TreeNode {
    let shape = shape.bins[column]
    var members = (0..<shape.count).filter(bins.contains)
    guard shape.isOrdered else {
      generator.shuffle(&members)
      var left = BinSet()
      for bin in members.prefix(members.count / 2) { left.insert(bin) }
      return .unordered(column: column, left: left)
    }
    let hasMissing = shape.hasMissing && members.last == shape.count - 1
    let ordered = hasMissing ? members.dropLast() : members[...]
    // One ordered bin and the missing one: they are parted.
    guard ordered.count >= 2 else {
      return .ordered(column: column, last: shape.count - 2, missingLeft: false)
    }
    let last = ordered[ordered.startIndex + generator.draw(below: ordered.count - 1)]
    return .ordered(
      column: column, last: last, missingLeft: shape.hasMissing && generator.draw(below: 2) == 1)
  }
}

extension SplitMix64 {
  /// A number of 0 ..< `count`, nearly uniform: the same in every version of Swift's library.
  fileprivate mutating func draw(below count: Int) -> Int {
    Int(next().multipliedFullWidth(by: UInt64(count)).high)
  }
}
