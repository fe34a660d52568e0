#if canImport(Glibc)
  import Glibc
#endif

@testable import Learning

/// Small random rows of bins: ordered columns with and without missing values, categories, and a constant.
struct TreeData {
  static let shape = FeatureShape(bins: [
    BinnedColumn(count: 8, isOrdered: true, hasMissing: false),
    BinnedColumn(count: 6, isOrdered: true, hasMissing: true),
    BinnedColumn(count: 6, isOrdered: false, hasMissing: false),
    BinnedColumn(count: 5, isOrdered: false, hasMissing: true),
    BinnedColumn(count: 1, isOrdered: true, hasMissing: false),
  ])

  let rows: [[Int]]
  let labels: [Float]
  /// Records per contributor.
  let counts: [Int]
  let objective: Objective

  init(
    seed: UInt64, contributors: Int, shape: FeatureShape = Self.shape, largestCount: Int = 5,
    objective: Objective = .binary
  ) {
    self.objective = objective
    var generator = SplitMix64(seed: seed)
    var noise = TestNoise(seed: seed ^ 0xff)
    func draw(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }
    counts = (0..<contributors).map { _ in 1 + draw(largestCount) }
    let total = counts.reduce(0, +)
    rows = (0..<total).map { _ in shape.bins.map { draw($0.count) } }
    labels = rows.map { row in
      let signal = row.enumerated().reduce(0.0) { sum, cell in
        let (column, bin) = cell
        let effect = shape.bins[column].isOrdered ? Double(bin) - 3 : Double((bin * 7 + column) % 5) - 2
        return sum + effect * (column == 1 && row[0] > 3 ? -1 : 1)
      }
      let outcome = signal + 2 * noise.next()
      switch objective {
      case .binary, .classes: return outcome > 0 ? 1 : 0
      case .squaredError, .huber: return Float(outcome / 4)
      case .poisson: return Float(max(outcome / 2, 0).rounded())
      case .tweedie: return Float(max(outcome / 2, 0))
      case .segments: return 0
      }
    }
  }

  /// The same with other labels.
  init(_ data: TreeData, labels: [Float]) {
    (rows, counts, self.labels, objective) = (data.rows, data.counts, labels, data.objective)
  }

  /// What every record counts: one over its contributor's records.
  var weights: [Double] { counts.flatMap { [Double](repeating: 1 / Double($0), count: $0) } }

  var features: Matrix {
    get throws {
      try Matrix(
        rows: rows.count, columns: rows[0].count, values: rows.flatMap { $0.map { Float($0) } })
    }
  }

  var batch: TrainingBatch {
    get throws {
      try TrainingBatch(
        features: features, labels: labels,
        contributorOffsets: counts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) },
        objective: objective)
    }
  }
}

/// The vectors of one round.
func contributions(
  _ model: BoostedTrees, _ parameters: [Float], _ batch: TrainingBatch, in range: Range<Int>? = nil
) throws -> [[Float]] {
  var vectors: [[Float]] = []
  let worker = try model.makeWorker(algorithm: .fedSGD)
  try parameters.withUnsafeBufferPointer {
    try worker.forEachContribution(
      parameters: $0, batch: batch, contributors: range ?? 0..<batch.contributorCount, seed: 1
    ) { vectors.append(Array($1)) }
  }
  return vectors
}

/// The parameters before every round and at the end.
func grow(
  _ model: BoostedTrees, _ batch: TrainingBatch, seed: UInt64 = 1, noise: Double = 0
) throws -> [[Float]] {
  var history = [model.initialParameters(seed: seed)]
  var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 1)
  var random = TestNoise(seed: seed ^ 0xabc)
  while !model.isFinished(parameters: history[history.count - 1]) {
    var parameters = history[history.count - 1]
    var sum = total(try contributions(model, parameters, batch))
    if noise > 0 { random.add(to: &sum, standardDeviation: noise) }
    let count = Double(batch.contributorCount)
    try model.step(
      mean: sum.map { Float($0 / count) }, contributors: count, optimizer: &optimizer,
      parameters: &parameters)
    try model.check(parameters: parameters)
    history.append(parameters)
  }
  return history
}

/// The trees of well-formed parameters, read without the code under test's walk.
func nodes(_ model: BoostedTrees, _ parameters: [Float]) -> [[TreeNode]] {
  var trees: [[TreeNode]] = []
  var offset = 4
  while offset < parameters.count {
    let count = Int(parameters[offset])
    parameters.withUnsafeBufferPointer { parameters in
      trees.append(
        (0..<count).compactMap {
          TreeNode(
            parameters, at: offset + 1 + 4 * $0, shape: model.shape, largestLeaf: model.settings.largestLeaf)
        })
    }
    offset += 1 + 4 * count
  }
  return trees
}

/// Where a row ends in a tree.
func end(of row: [Int], in tree: [TreeNode], shape: FeatureShape) -> Int {
  var position = 0
  while true {
    let goesLeft: Bool
    switch tree[position] {
    case .open, .leaf: return position
    case .unordered(let column, let left): goesLeft = left.contains(row[column])
    case .ordered(let column, let last, let missingLeft):
      let isMissing = shape.bins[column].hasMissing && row[column] == shape.bins[column].count - 1
      goesLeft = isMissing ? missingLeft : row[column] <= last
    }
    let splits = tree[..<position].count(where: \.isSplit)
    position = 2 * splits + (goesLeft ? 1 : 2)
  }
}

/// Gradient boosting as a textbook has it: whole columns, recursion, doubles, no histograms, no rounds.
struct ReferenceBoosting {
  let settings: TreeSettings
  let shape: FeatureShape
  let data: TreeData

  /// The scores of the data's rows after all trees.
  func scores() -> [Double] {
    let weights = data.weights
    let mean = zip(weights, data.labels).reduce(0) { $0 + $1.0 * Double($1.1) } / weights.reduce(0, +)
    var scores = [Double](repeating: start(mean), count: data.rows.count)
    for _ in 0..<settings.trees {
      let derivatives = zip(scores, data.labels).map { score, label -> (g: Double, h: Double) in
        var gradient: Float = 0
        let value = Float(score)
        let curvature = withUnsafePointer(to: value) {
          settings.objective.gradient(
            scores: UnsafeBufferPointer(start: $0, count: 1), label: label, into: &gradient)
        }
        return (Double(gradient), Double(curvature))
      }
      split(Array(scores.indices), depth: 0, derivatives, weights, &scores)
    }
    return scores
  }

  private func start(_ mean: Double) -> Double {
    switch settings.objective {
    case .binary, .classes: Double(log(Float(mean / (1 - mean))))
    case .squaredError, .huber, .segments: mean
    case .poisson, .tweedie: Double(log(Float(mean)))
    }
  }

  private typealias Sums = (g: Double, h: Double)

  private func sums(_ rows: [Int], _ derivatives: [Sums], _ weights: [Double]) -> Sums {
    rows.reduce((0, 0)) { ($0.0 + weights[$1] * derivatives[$1].g, $0.1 + weights[$1] * derivatives[$1].h) }
  }

  private func split(
    _ rows: [Int], depth: Int, _ derivatives: [Sums], _ weights: [Double], _ scores: inout [Double]
  ) {
    let (l2, least) = (Double(settings.l2), Double(settings.minimumChildWeight))
    let whole = sums(rows, derivatives, weights)
    var best: (gain: Double, left: [Int], right: [Int])?
    if depth < settings.maximumDepth {
      for column in shape.bins.indices {
        for left in candidates(column, rows, derivatives, weights) {
          let left = (inside: rows.filter { left.contains(data.rows[$0][column]) }, set: left)
          let right = rows.filter { !left.set.contains(data.rows[$0][column]) }
          let (a, b) = (sums(left.inside, derivatives, weights), sums(right, derivatives, weights))
          guard !left.inside.isEmpty, !right.isEmpty, a.h >= least, b.h >= least else { continue }
          let gain =
            (a.g * a.g / (a.h + l2) + b.g * b.g / (b.h + l2) - whole.g * whole.g / (whole.h + l2)) / 2
          if gain > Double(settings.minimumGain) + 1e-7, gain > (best?.gain ?? 0) + 1e-7 {
            best = (gain, left.inside, right)
          }
        }
      }
    }
    if let best {
      split(best.left, depth: depth + 1, derivatives, weights, &scores)
      split(best.right, depth: depth + 1, derivatives, weights, &scores)
    } else {
      let largest = Double(settings.largestLeaf)
      let leaf = Double(-settings.learningRate) * whole.g / (whole.h + l2)
      for row in rows { scores[row] += min(max(leaf, -largest), largest) }
    }
  }

  /// The sets of bins that may go left.
  private func candidates(
    _ column: Int, _ rows: [Int], _ derivatives: [Sums], _ weights: [Double]
  ) -> [Set<Int>] {
    let bins = shape.bins[column]
    guard bins.isOrdered else {
      let groups = Dictionary(grouping: rows) { data.rows[$0][column] }
      let ratios = groups.mapValues { rows in
        let all = sums(rows, derivatives, weights)
        return all.g / (all.h + Double(settings.l2))
      }
      let order = ratios.keys.sorted { (ratios[$0]!, $0) < (ratios[$1]!, $1) }
      return order.indices.dropLast().map { Set(order[...$0]) }
    }
    let ordered = bins.count - (bins.hasMissing ? 1 : 0)
    var result: [Set<Int>] = []
    for last in 0..<ordered {
      result.append(Set(0...last))
      if bins.hasMissing { result.append(Set(0...last).union([ordered])) }
    }
    return result
  }
}
