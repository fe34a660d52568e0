/// The parameters of boosted trees, read, checked and laid out for evaluation.
///
/// The flat vector begins with four numbers: the seed's low and high 24 bits, the number of trees begun (0:
/// the initial score is not known yet) and the initial score. Then every tree has its number of nodes and its
/// nodes (`TreeNode`, four numbers each) in breadth-first order, the root first: the two children of the k-th
/// split (from 0) are the nodes 2k + 1 and 2k + 2, so there is nothing to point with and nothing that could
/// form a cycle. Only the last tree may have open nodes, and it has some until the last tree of all is grown.
struct TreeEnsemble {
  /// The numbers before the first tree.
  static let headerWidth = 4

  /// One node as evaluation needs it. A leaf is its own left child, for every bin.
  struct Node {
    var left: BinSet
    var column: Int32
    /// The left child's position; the right one's is the next.
    var child: Int32
  }

  /// What random choices start from.
  let seed: UInt64
  /// The score before the first tree.
  let initialScore: Float
  /// The trees begun.
  let treeCount: Int
  /// Where the last tree's number of nodes stands in the parameters.
  let lastTreeOffset: Int
  /// The open nodes of the last tree, as positions within the tree, ascending.
  let openNodes: [Int]
  /// The depth of the open nodes where they have a common one.
  let openDepth: Int
  /// All nodes of all trees.
  private let nodes: [Node]
  /// What a finished tree adds for a row that ends in a node.
  private let values: [Float]
  /// Where each tree begins among the nodes, and its depth.
  private let trees: [(start: Int, depth: Int)]

  /// Reads parameters from anywhere.
  ///
  /// Everything is checked: lengths, whole numbers, columns, bins, finite and bounded leaves, that every node
  /// has one parent before it, depths, and where open nodes may be.
  init(
    parameters: UnsafeBufferPointer<Float>, settings: TreeSettings, shape: FeatureShape
  ) throws(LearningError) {
    guard parameters.count >= Self.headerWidth, let low = UInt64(exactly: parameters[0]),
      let high = UInt64(exactly: parameters[1]), low < 1 << 24, high < 1 << 24,
      let count = Int(exactly: parameters[2]), (0...settings.trees).contains(count),
      abs(parameters[3]) <= settings.largestInitialScore
    else { throw Self.malformed("its first \(Self.headerWidth) numbers are malformed") }
    seed = high << 24 | low
    initialScore = parameters[3]
    treeCount = count
    var reader = Reader(parameters: parameters, settings: settings, shape: shape)
    for tree in 0..<count { try reader.readTree(number: tree, isLast: tree == count - 1) }
    guard reader.offset == parameters.count else { throw Self.malformed("numbers follow its last tree") }
    guard count == 0 || count == settings.trees || !reader.open.isEmpty else {
      throw Self.malformed("its last tree is grown but the next one is not begun")
    }
    lastTreeOffset = reader.lastTreeOffset
    openNodes = reader.open
    openDepth = reader.openDepth
    nodes = reader.nodes
    values = reader.values
    trees = reader.trees
  }

  static func malformed(_ reason: String) -> LearningError {
    .invalidSetting(name: "a tree ensemble", reason: reason)
  }

  /// The trees whose leaves are decided.
  var finishedTrees: Int { openNodes.isEmpty ? treeCount : treeCount - 1 }

  /// Adds the initial score and the finished trees' leaves of every row to `scores`, tree after tree, so that
  /// a tree stays in the cache.
  ///
  /// - Parameters:
  ///   - bins: row after row, `columns` bins each, within the shape.
  ///   - scores: one per row, overwritten.
  func score(
    bins: UnsafePointer<UInt8>, rows: Int, columns: Int, into scores: UnsafeMutablePointer<Float>
  ) {
    scores.update(repeating: initialScore, count: rows)
    values.withUnsafeBufferPointer { values in
      for tree in 0..<finishedTrees {
        let first = trees[tree].start
        forEachEnd(of: tree, bins: bins, rows: rows, columns: columns) { row, node in
          scores[row] += values[first + node]
        }
      }
    }
  }

  /// Hands the node of the last tree where each row ends, a position within the tree, to `body`.
  func forEachEnd(
    bins: UnsafePointer<UInt8>, rows: Int, columns: Int, _ body: (Int, Int) -> Void
  ) {
    guard treeCount > 0 else { return }
    forEachEnd(of: treeCount - 1, bins: bins, rows: rows, columns: columns, body)
  }

  @inline(__always)
  private func forEachEnd(
    of tree: Int, bins: UnsafePointer<UInt8>, rows: Int, columns: Int, _ body: (Int, Int) -> Void
  ) {
    let (start, depth) = trees[tree]
    nodes.withUnsafeBufferPointer { nodes in
      let nodes = nodes.baseAddress! + start
      for row in 0..<rows {
        let row = (number: row, cells: bins + row * columns)
        var node = 0
        // Always as many steps as the tree is deep: leaves lead to themselves, and no branch is mispredicted.
        for _ in 0..<depth {
          let bin = Int(row.cells[Int(nodes[node].column)])
          node = Int(nodes[node].child) + (nodes[node].left.contains(bin) ? 0 : 1)
        }
        body(row.number, node)
      }
    }
  }

  /// Walks through the parameters.
  private struct Reader {
    let parameters: UnsafeBufferPointer<Float>
    let settings: TreeSettings
    let shape: FeatureShape
    var offset = TreeEnsemble.headerWidth
    var lastTreeOffset = TreeEnsemble.headerWidth
    var nodes: [Node] = []
    var values: [Float] = []
    var trees: [(start: Int, depth: Int)] = []
    var open: [Int] = []
    var openDepth = 0

    init(parameters: UnsafeBufferPointer<Float>, settings: TreeSettings, shape: FeatureShape) {
      self.parameters = parameters
      self.settings = settings
      self.shape = shape
      nodes.reserveCapacity(parameters.count / TreeNode.width)
      values.reserveCapacity(parameters.count / TreeNode.width)
    }

    mutating func readTree(number: Int, isLast: Bool) throws(LearningError) {
      lastTreeOffset = offset
      guard offset < parameters.count, let count = Int(exactly: parameters[offset]), count >= 1,
        count <= (parameters.count - offset - 1) / TreeNode.width
      else { throw TreeEnsemble.malformed("the number of nodes of tree \(number) is malformed") }
      let start = nodes.count
      var depths = [0]
      for position in 0..<count {
        // Every split so far has added two; a node beyond has no parent.
        guard position < depths.count else {
          throw TreeEnsemble.malformed("tree \(number) has nodes without a parent")
        }
        let index = offset + 1 + position * TreeNode.width
        guard
          let node = TreeNode(parameters, at: index, shape: shape, largestLeaf: settings.largestLeaf),
          isLast || node != .open, !node.isSplit || depths[position] < settings.maximumDepth
        else { throw TreeEnsemble.malformed("node \(position) of tree \(number) is malformed") }
        values.append(0)
        if let split = node.split(shape: shape) {
          nodes.append(Node(left: split.left, column: Int32(split.column), child: Int32(depths.count)))
          depths += [depths[position] + 1, depths[position] + 1]
        } else {
          nodes.append(Node(left: .all, column: 0, child: Int32(position)))
          if case .leaf(let value) = node { values[start + position] = value } else { open.append(position) }
        }
      }
      guard depths.count == count else { throw TreeEnsemble.malformed("tree \(number) lacks nodes") }
      try checkOpenNodes(number: number, depths: depths)
      trees.append((start, depths[count - 1]))
      offset += 1 + count * TreeNode.width
    }

    /// With the best splits, open nodes are those of the lowest level, so that their children come last; with
    /// random ones, all leaves of a tree are open or none.
    private mutating func checkOpenNodes(number: Int, depths: [Int]) throws(LearningError) {
      guard let first = open.first else { return }
      openDepth = depths[first]
      switch settings.splitting {
      case .best:
        guard openDepth == depths[depths.count - 1], openDepth < settings.maximumDepth else {
          throw TreeEnsemble.malformed("tree \(number) has an open node above or below its lowest level")
        }
      case .random:
        guard open.count == (depths.count + 1) / 2 else {
          throw TreeEnsemble.malformed("tree \(number) has open nodes beside leaves")
        }
      }
    }
  }
}
