/// The sums of derivatives over the records at a node or of a part of it, in contributors. With noise they
/// may be anything.
struct DerivativeSums: Equatable {
  var gradient = 0.0
  var curvature = 0.0

  static func + (left: Self, right: Self) -> Self {
    Self(gradient: left.gradient + right.gradient, curvature: left.curvature + right.curvature)
  }
  static func - (left: Self, right: Self) -> Self {
    Self(gradient: left.gradient - right.gradient, curvature: left.curvature - right.curvature)
  }
  static func * (sums: Self, factor: Double) -> Self {
    Self(gradient: sums.gradient * factor, curvature: sums.curvature * factor)
  }

  /// Twice what the best constant takes off the quadratically approximated loss: G² / (H + λ).
  func score(l2: Double) -> Double {
    let denominator = max(curvature, 0) + l2
    return denominator > 0 ? gradient * gradient / denominator : 0
  }
}

/// A split and what it divides a node into.
struct FoundSplit: Equatable {
  let node: TreeNode
  let gain: Double
  let left: DerivativeSums
  let right: DerivativeSums
}

/// Finds the split of a node that lowers the quadratically approximated loss most.
struct SplitSearch {
  let l2: Double
  let minimumChildWeight: Double
  let minimumGain: Double

  init(_ settings: TreeSettings) {
    l2 = Double(settings.l2)
    minimumChildWeight = Double(settings.minimumChildWeight)
    minimumGain = Double(settings.minimumGain)
  }

  /// The sums of the whole node. Every column's bins add up to them; where noise makes them differ, the least
  /// variance has their average weighted by one over the number of bins.
  static func total(histogram: [DerivativeSums], offsets: [Int]) -> DerivativeSums {
    var sum = DerivativeSums()
    var weights = 0.0
    for column in offsets.indices {
      let end = column + 1 < offsets.count ? offsets[column + 1] : histogram.count
      let weight = 1 / Double(end - offsets[column])
      sum = sum + histogram[offsets[column]..<end].reduce(DerivativeSums(), +) * weight
      weights += weight
    }
    return sum * (1 / weights)
  }

  /// The best split of a node, nil if none is allowed. Of equal ones, the first column's, and in it the first
  /// in the order of its candidates.
  ///
  /// - Parameters:
  ///   - histogram: the node's bins.
  ///   - total: its sums.
  func best(
    histogram: [DerivativeSums], round: TreeRound, shape: FeatureShape, total: DerivativeSums
  ) -> FoundSplit? {
    var best: FoundSplit?
    for (position, column) in round.columns.enumerated() {
      let first = round.offsets[position]
      var bins = Array(histogram[first..<first + shape.bins[column].count])
      // The column's own deviation from the common total, which is noise alone, is shared out among its bins.
      let excess = (total - bins.reduce(DerivativeSums(), +)) * (1 / Double(bins.count))
      for bin in bins.indices { bins[bin] = bins[bin] + excess }
      if shape.bins[column].isOrdered {
        searchOrdered(column, bins, hasMissing: shape.bins[column].hasMissing, total, &best)
      } else {
        searchUnordered(column, bins, total, &best)
      }
    }
    return best
  }

  /// Every threshold, with the missing values on either side, and the missing values against all others.
  private func searchOrdered(
    _ column: Int, _ bins: [DerivativeSums], hasMissing: Bool, _ total: DerivativeSums,
    _ best: inout FoundSplit?
  ) {
    let ordered = bins.count - (hasMissing ? 1 : 0)
    var left = DerivativeSums()
    for last in 0..<ordered {
      left = left + bins[last]
      if last < ordered - 1 || hasMissing {
        offer(.ordered(column: column, last: last, missingLeft: false), left, total, &best)
      }
      if hasMissing, last < ordered - 1 {
        offer(.ordered(column: column, last: last, missingLeft: true), left + bins[ordered], total, &best)
      }
    }
  }

  /// Categories in the order of their best constants, cut at every place: for λ = 0 the best of all subsets
  /// is among these (Fisher, *On Grouping for Maximum Homogeneity*, 1958). Categories that no record at the
  /// node has go with the heavier side.
  private func searchUnordered(
    _ column: Int, _ bins: [DerivativeSums], _ total: DerivativeSums, _ best: inout FoundSplit?
  ) {
    let least = max(total.curvature, 0) * 1e-6
    let seen = bins.indices.filter { bins[$0].curvature > least }
    let ratios = bins.map { $0.gradient / (max($0.curvature, 0) + max(l2, .leastNormalMagnitude)) }
    let order = seen.sorted { (ratios[$0], $0) < (ratios[$1], $1) }
    let unseen = bins.indices.filter { bins[$0].curvature <= least }
    let rest = unseen.reduce(DerivativeSums()) { $0 + bins[$1] }
    var left = DerivativeSums()
    var set = BinSet()
    for bin in order.dropLast() {
      left = left + bins[bin]
      set.insert(bin)
      let isHeavier = 2 * left.curvature > total.curvature
      var full = set
      if isHeavier { for bin in unseen { full.insert(bin) } }
      offer(.unordered(column: column, left: full), isHeavier ? left + rest : left, total, &best)
    }
  }

  private func offer(
    _ node: @autoclosure () -> TreeNode, _ left: DerivativeSums, _ total: DerivativeSums,
    _ best: inout FoundSplit?
  ) {
    let right = total - left
    // A child without curvature has no records but for noise.
    guard left.curvature >= minimumChildWeight, right.curvature >= minimumChildWeight,
      left.curvature > 0, right.curvature > 0
    else { return }
    let gain = (left.score(l2: l2) + right.score(l2: l2) - total.score(l2: l2)) / 2
    guard gain > minimumGain, gain > best?.gain ?? 0 else { return }
    best = FoundSplit(node: node(), gain: gain, left: left, right: right)
  }
}
