/// How derivatives become coordinates whose norm is at most 1.
///
/// For the objective `binary`, with p the probability of class 1, a row has |g| = p and h = p (1 − p) if its
/// label is 0 (with 1 − p in p's place if it is 1), and the pair (g, b h) has the norm p √(1 + b² (1 − p)²).
/// That is at most 1 for all p if and only if b² ≤ (1 + p) / (p² (1 − p)) for all p, whose least value, at p
/// = 1/φ, is φ⁵ with φ the golden ratio: b = 3.33 < φ^(5/2) = 3.3302 makes the curvature's coordinate as
/// large as it can be without any cost, since the bound is the gradient's alone.
///
/// For other objectives the pair is (0.8 g / G, 0.6 h / H) with both derivatives cut to their limits ±G and
/// H, so that the norm is at most √(0.8² + 0.6²) = 1. G is Huber's delta or `gradientLimit`; H is 1 for
/// squares and Huber, exactly the curvature, and `gradientLimit` for the logarithmic ones.
struct DerivativeScale {
  let gradientLimit: Float
  let curvatureLimit: Float
  /// What a gradient is multiplied by.
  let gradientFactor: Float
  /// What a curvature is multiplied by.
  let curvatureFactor: Float
  /// What a label is cut to in the first round, and divided by.
  let labelLimit: Float

  init(_ settings: TreeSettings) {
    labelLimit = settings.objective == .binary ? 1 : settings.gradientLimit
    switch settings.objective {
    case .binary, .classes:
      (gradientLimit, curvatureLimit) = (1, 0.25)
      (gradientFactor, curvatureFactor) = (1, 3.33)
      return
    case .squaredError, .segments: (gradientLimit, curvatureLimit) = (settings.gradientLimit, 1)
    case .huber(let delta): (gradientLimit, curvatureLimit) = (delta, 1)
    case .poisson, .tweedie:
      (gradientLimit, curvatureLimit) = (settings.gradientLimit, settings.gradientLimit)
    }
    gradientFactor = 0.8 / gradientLimit
    curvatureFactor = 0.6 / curvatureLimit
  }
}

/// What one round asks of every contributor: the derivatives' histograms at the open nodes of the growing
/// tree.
///
/// A vector holds, for every open node, for every column that the tree uses, for every bin, the average over
/// the contributor's records of the pair (gradient, curvature), multiplied by `DerivativeScale` and by
/// 1/√columns. A record is in one node and in one bin of every column, so its part has the norm 1/√columns ·
/// √columns · |pair| ≤ 1, and an average of such vectors has a norm of at most 1, too. Its length is 2 ·
/// (open nodes) · (bins of the columns): with 18 columns of 420 bins together 840 values for the root and
/// 13,440 for 16 nodes.
///
/// A round that needs the nodes' totals alone has one pseudo column of one bin: 2 · (open nodes) values. The
/// first round of all has one value, the label over its limit.
struct TreeRound: Equatable {
  /// The columns whose bins are counted; empty for totals.
  let columns: [Int]
  /// Where each column's bins begin within a node's.
  let offsets: [Int]
  /// The bins of a node, at least 1.
  let binsPerNode: Int
  /// The number of open nodes; 0 in the first round and when nothing is left to do.
  let nodes: Int
  /// Whether labels are asked for.
  let isFirst: Bool

  /// The first round, which asks for labels.
  static let first = TreeRound(columns: [], bins: [], nodes: 0, isFirst: true)

  init(columns: [Int], bins: [Int], nodes: Int, isFirst: Bool = false) {
    self.columns = columns
    var offset = 0
    offsets = bins.map { count in
      defer { offset += count }
      return offset
    }
    binsPerNode = max(offset, 1)
    self.nodes = nodes
    self.isFirst = isFirst
  }

  /// The length of a contributor's vector.
  var length: Int { isFirst ? 1 : 2 * nodes * binsPerNode }

  /// 1/√columns.
  var share: Float { 1 / Float(max(columns.count, 1)).squareRoot() }
}
