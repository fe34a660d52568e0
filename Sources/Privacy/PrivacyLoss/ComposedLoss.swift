import Foundation

/// The distribution of the sum of many losses in one direction, ready to be asked.
///
/// δ(ε) = P(∞) + Σ_{L>ε} P(L)·(1 − e^(ε−L)), and an allowance for rounding.
struct ComposedLoss: Sendable {
  private let step: Double
  private let first: Int
  /// Σ_{k≥i} P_k.
  private let tails: [Double]
  /// Σ_{k≥i} P_k·e^(L_(i−1)−L_k): relative to the grid point before.
  private let weighted: [Double]
  /// What delta cannot fall below: the mass at infinity and the allowance for rounding.
  let floor: Double

  /// `masses[i]` is the mass of (first + i)·step.
  init(step: Double, first: Int, masses: [Double], infinity: Double, allowance: Double) {
    self.step = step
    // Losses below 0 count for nothing at an epsilon of at least 0.
    let dropped = min(max(0, 1 - first), masses.count)
    self.first = first + dropped
    floor = infinity + allowance
    let count = masses.count - dropped
    var tails = [Double](repeating: 0, count: count + 1)
    var weighted = tails
    let decay = exp(-step)
    for index in stride(from: count - 1, through: 0, by: -1) {
      let mass = masses[dropped + index]
      tails[index] = tails[index + 1] + mass
      weighted[index] = decay * (weighted[index + 1] + mass)
    }
    self.tails = tails
    self.weighted = weighted
  }

  /// The least delta at `epsilon` ≥ 0, at most 1.
  func delta(epsilon: Double) -> Double {
    // The losses above epsilon start at this index.
    let index = Int(min(max(0, (epsilon / step).rounded(.down) - Double(first) + 1), Double(tails.count - 1)))
    let before = Double(first + index - 1) * step
    let excess = tails[index] - exp(epsilon - before) * weighted[index]
    return min(1, floor + max(0, excess))
  }

  /// The least epsilon ≥ 0 at `delta`, rounded up; infinite if delta is at most the floor.
  func epsilon(delta: Double) -> Double {
    let wanted = delta - floor
    guard wanted > 0 else { return .infinity }
    if self.delta(epsilon: 0) <= delta { return 0 }
    // Delta at the grid point before index i falls with i: the first i at which it is small enough.
    var (tooSmall, enough) = (0, tails.count - 1)
    while enough - tooSmall > 1 {
      let middle = (tooSmall + enough) / 2
      if tails[middle] - weighted[middle] <= wanted { enough = middle } else { tooSmall = middle }
    }
    // Epsilon lies between the grid points before `enough` − 1 and before `enough`: the losses from
    // `tooSmall` on count, each by 1 − e^(ε−L).
    let before = Double(first + tooSmall - 1) * step
    guard weighted[tooSmall] > 0 else { return max(0, before + step) }
    let excess = (tails[tooSmall] - wanted) / weighted[tooSmall]
    return max(0, min(before + log(max(excess, 1)), before + step) * (1 + 1e-14))
  }
}
