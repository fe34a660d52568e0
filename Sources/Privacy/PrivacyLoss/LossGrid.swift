import Foundation

/// Masses of privacy losses at multiples of a step, and one at infinity.
struct LossGrid: Sendable {
  /// The loss of `masses[i]` is (first + i)·step.
  let first: Int
  var masses: [Double]
  /// The mass of outcomes that prove everything.
  var infinity: Double
}

/// One release as an accountant discretises it: a pair and the rate of Poisson sampling.
///
/// Under sampling at rate q the pair with the unit present is ((1−q)Q + qP, Q), and its loss
/// L = ln(1 − q + q·e^ℓ) grows with ℓ; absent, it is (Q, (1−q)Q + qP) with the loss −L (Zhu, Dong and Wang
/// 2022, theorem 11). Both directions must be composed.
struct LossRelease: Sendable {
  let pair: LossPair
  /// q, 1 without sampling.
  let rate: Double
  /// The number of such releases.
  let count: Int

  /// Whether one direction tells both.
  var isSymmetric: Bool { rate == 1 }

  /// L of a base loss ℓ.
  func sampled(_ loss: Double) -> Double {
    guard rate < 1 else { return loss }
    return loss > 30 ? loss + log(rate + (1 - rate) * exp(-loss)) : log1p(rate * expm1(loss))
  }

  /// ℓ of L; −infinity below the least L there is.
  private func base(_ loss: Double) -> Double {
    guard rate < 1 else { return loss }
    if loss > 30 { return loss + log((1 - (1 - rate) * exp(-loss)) / rate) }
    let ratio = expm1(loss) / rate
    return ratio > -1 ? log1p(ratio) : -.infinity
  }

  /// The least and the largest loss of one release, but for its tails.
  var range: ClosedRange<Double> {
    var lowest = Double.infinity
    var highest = -Double.infinity
    if let density = pair.density {
      lowest = sampled(density.lower)
      highest = sampled(density.upper)
    }
    for atom in pair.atoms {
      let loss = sampled(atom.loss)
      lowest = min(lowest, loss)
      highest = max(highest, loss)
    }
    return min(lowest, highest)...highest
  }

  /// Mass under the pair with the unit present.
  private func mixed(p: Double, q: Double) -> Double { q + rate * (p - q) }

  /// Eight-point Gauss and Legendre on [0, 1].
  private static let eight: [(x: Double, weight: Double)] = {
    let half: [(Double, Double)] = [
      (0.1834346424956498, 0.362683783378362), (0.525532409916329, 0.3137066458778873),
      (0.7966664774136267, 0.2223810344533745), (0.9602898564975363, 0.1012285362903763),
    ]
    var nodes: [(x: Double, weight: Double)] = []
    for (x, weight) in half {
      nodes.append(((1 - x) / 2, weight / 2))
      nodes.append(((1 + x) / 2, weight / 2))
    }
    return nodes
  }()

  /// The pessimistic grid with this step, both directions; nil for the second if it is the first.
  ///
  /// Connect the dots (Doroshenko et al. 2022, "Connect the Dots: Tighter Discrete Approximations of Privacy
  /// Loss Distributions"): a loss between two grid points is divided between them so that its mass under P
  /// and its mass under Q both stay. The hockey-stick divergence is then exact at every grid point and, being
  /// convex in e^ε, is nowhere understated. The shares are integrated directly, so that nothing cancels.
  func grid(step: Double) -> (present: LossGrid, absent: LossGrid?) {
    let (lowest, highest) = (range.lowerBound, range.upperBound)
    let first = Int((lowest / step).rounded(.down))
    let last = max(Int((highest / step).rounded(.down)), first) + 1
    var masses = [Double](repeating: 0, count: last - first + 1)
    for atom in pair.atoms {
      let loss = sampled(atom.loss)
      let bin = min(max(Int((loss / step).rounded(.down)), first), last - 1)
      let upper = -expm1(-min(max(0, loss - Double(bin) * step), step)) / -expm1(-step)
      let mass = mixed(p: atom.p, q: atom.q)
      masses[bin - first] += mass * (1 - upper)
      masses[bin - first + 1] += mass * upper
    }
    if let density = pair.density { addDensity(density, step: step, first: first, to: &masses) }
    let (low, high) = (pair.lowerTail, pair.upperTail)
    var absent: LossGrid?
    if !isSymmetric {
      var reversed = [Double](repeating: 0, count: masses.count)
      for index in masses.indices where masses[index] > 0 {
        reversed[masses.count - 1 - index] = masses[index] * exp(-Double(first + index) * step)
      }
      // Tails that lose little are moved up to a grid point, those that tell much to infinity.
      reversed[1] += high.q
      absent = LossGrid(first: -last, masses: reversed, infinity: low.q)
    }
    masses[1] += mixed(p: low.p, q: low.q)
    return (LossGrid(first: first, masses: masses, infinity: mixed(p: high.p, q: high.q)), absent)
  }

  /// Divides the density among the grid points, bin by bin.
  private func addDensity(
    _ density: LossPair.Density, step: Double, first: Int, to masses: inout [Double]
  ) {
    let whole = -expm1(-step)
    // Two-point Gauss and Legendre: a narrow bin is one in which the density is nearly linear.
    let nodes = [0.5 - 0.5 / 3.0.squareRoot(), 0.5 + 0.5 / 3.0.squareRoot()].map { x in
      (loss: x * step, growth: expm1(x * step), upper: -expm1(-x * step) / whole)
    }
    let (low, high) = (sampled(density.lower), sampled(density.upper))
    let narrow = min(density.scale, 1) * 2e-3
    for index in 0..<(masses.count - 1) {
      let loss = Double(first + index) * step
      let excess = expm1(loss)
      // dℓ/dL, largest at the left end.
      let slope = rate < 1 ? (1 + excess) / (excess + rate) : 1
      guard loss >= low, loss + step <= high, slope > 0, slope * step < narrow, loss < 30 else {
        let ends = (max(loss, low), min(loss + step, high))
        if ends.0 < ends.1 {
          let base = (max(self.base(ends.0), density.lower), min(self.base(ends.1), density.upper))
          addWide(density, from: base.0, to: base.1, left: loss, step: step, index: index, to: &masses)
        }
        continue
      }
      var total = 0.0
      var upper = 0.0
      for node in nodes {
        // e^L − 1, without cancellation.
        let grown = excess + node.growth + excess * node.growth
        let mass: Double
        if rate < 1 {
          let base = log1p(grown / rate)
          mass = density.value(base) * (1 + grown) * (1 + grown) / (grown + rate) * step / 2
        } else {
          mass = density.value(loss + node.loss) * (1 + grown) * step / 2
        }
        total += mass
        upper += mass * node.upper
      }
      masses[index] += total - upper
      masses[index + 1] += upper
    }
  }

  /// A bin that is wide in the base loss: panels of it, eight points each.
  private func addWide(
    _ density: LossPair.Density, from start: Double, to end: Double, left: Double, step: Double, index: Int,
    to masses: inout [Double]
  ) {
    guard start < end else { return }
    let panels = ((end - start) / (min(density.scale, 1) / 2)).rounded(.up)
    let width = (end - start) / panels
    for panel in 0..<Int(panels) {
      for node in Self.eight {
        let base = start + (Double(panel) + node.x) * width
        let loss = sampled(base)
        let mass = density.value(base, tilt: loss) * node.weight * width
        let upper = -expm1(-min(max(0, loss - left), step)) / -expm1(-step)
        masses[index] += mass * (1 - upper)
        masses[index + 1] += mass * upper
      }
    }
  }

  /// A coarse picture of the losses, for bounds of moments: each entry is a group of outcomes with its mass
  /// with the unit present and absent, its least loss and its largest.
  func outline() -> LossOutline {
    var outline = LossOutline()
    if let density = pair.density {
      let panels = min(
        2000, max(16, ((density.upper - density.lower) / (min(density.scale, 1) / 2)).rounded(.up)))
      let width = (density.upper - density.lower) / panels
      for panel in 0..<Int(panels) {
        for node in Self.eight {
          let base = density.lower + (Double(panel) + node.x) * width
          let loss = sampled(base)
          outline.append(
            present: density.value(base, tilt: loss) * node.weight * width,
            absent: density.value(base) * node.weight * width, low: loss, high: loss)
        }
      }
    }
    let group = max(1, pair.atoms.count / 4096)
    for start in stride(from: 0, to: pair.atoms.count, by: group) {
      var (present, absent) = (0.0, 0.0)
      var (low, high) = (Double.infinity, -Double.infinity)
      for atom in pair.atoms[start..<min(start + group, pair.atoms.count)] {
        present += mixed(p: atom.p, q: atom.q)
        absent += atom.q
        low = min(low, sampled(atom.loss))
        high = max(high, sampled(atom.loss))
      }
      outline.append(present: present, absent: absent, low: low, high: high)
    }
    return outline
  }
}

/// Masses and losses for bounds of moment generating functions.
struct LossOutline: Sendable {
  private var present: [Double] = []
  private var absent: [Double] = []
  private var low: [Double] = []
  private var high: [Double] = []

  mutating func append(present: Double, absent: Double, low: Double, high: Double) {
    self.present.append(present)
    self.absent.append(absent)
    self.low.append(low)
    self.high.append(high)
  }

  /// ln E[e^(λL)] of one direction, bounded from above; λ of either sign.
  func logMoment(_ exponent: Double, isPresent: Bool) -> Double {
    let masses = isPresent ? present : absent
    let signed = isPresent ? exponent : -exponent
    let losses = signed > 0 ? high : low
    var largest = -Double.infinity
    for index in masses.indices where masses[index] > 0 { largest = max(largest, signed * losses[index]) }
    guard largest > -.infinity else { return -.infinity }
    var sum = 0.0
    for index in masses.indices { sum += masses[index] * exp(signed * losses[index] - largest) }
    return largest + log(sum)
  }
}
