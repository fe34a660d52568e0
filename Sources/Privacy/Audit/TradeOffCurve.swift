import Foundation

/// A guarantee at every delta at once, as a bound on how well presence and absence can be told apart:
/// whatever has probability x in the one case has at most probability g(x) in the other.
///
/// The (ε, δ) pairs that an accountant proves give g(x) ≤ min{e^ε·x + δ, 1 − e^(−ε)·(1 − δ − x)}, the trade-off
/// function of Dong, Roth and Su 2019 ("Gaussian Differential Privacy", proposition 3.3, g = 1 − f). What is
/// kept is its inverse, the upper envelope of straight lines.
package struct TradeOffCurve: Sendable {
  private struct Line {
    let slope: Double
    let intercept: Double
    func value(_ y: Double) -> Double { slope * y + intercept }
  }

  /// The envelope by increasing slope.
  private let lines: [Line]
  /// Where each line but the last gives way to the next.
  private let ends: [Double]

  /// The deltas at which an accountant is asked: four to a decade from 1e-12, and close to 1.
  private static let deltas =
    (1...48).map { pow(10, -Double($0) / 4) } + [0.7, 0.8, 0.9]

  /// The curve of everything that `accountant` composed.
  ///
  /// Throws: whatever it refuses at every delta.
  package init(_ accountant: any PrivacyAccountant) throws(PrivacyError) {
    let summary = try accountant.summary()
    var pairs: [(epsilon: Double, delta: Double)] = []
    for delta in Self.deltas { pairs.append((try summary.epsilon(delta: delta).epsilon, delta)) }
    self.init(pairs)
  }

  /// The curve of (ε, δ) pairs that all hold. Infinite epsilons say nothing.
  package init(_ pairs: [(epsilon: Double, delta: Double)]) {
    var all = [Line(slope: 0, intercept: 0)]
    for (epsilon, delta) in pairs where epsilon.isFinite && epsilon < 600 {
      let growth = exp(max(0, epsilon))
      all.append(Line(slope: 1 / growth, intercept: -delta / growth))
      all.append(Line(slope: growth, intercept: 1 - delta - growth))
    }
    all.sort { ($0.slope, $0.intercept) < ($1.slope, $1.intercept) }
    var hull: [Line] = []
    for line in all {
      if let last = hull.last, last.slope == line.slope { hull.removeLast() }
      while hull.count >= 2,
        Self.crossing(hull[hull.count - 2], line) <= Self.crossing(hull[hull.count - 2], hull[hull.count - 1])
      { hull.removeLast() }
      hull.append(line)
    }
    lines = hull
    ends = zip(hull, hull.dropFirst()).map { Self.crossing($0, $1) }
  }

  private static func crossing(_ flat: Line, _ steep: Line) -> Double {
    (flat.intercept - steep.intercept) / (steep.slope - flat.slope)
  }

  /// The least x with g(x) ≥ y.
  func inverse(_ y: Double) -> Double {
    var (low, high) = (0, ends.count)
    while low < high {
      let middle = (low + high) / 2
      if ends[middle] < y { low = middle + 1 } else { high = middle }
    }
    return max(0, lines[low].value(y))
  }

  /// The probability, at most, of so many right guesses or more in a game of `canaries` canaries whose run has
  /// this curve for each one's presence.
  ///
  /// Mahloujifar, Melis and Chaudhuri 2024, "Auditing f-Differential Privacy in One Run". Flipping canary i's
  /// coin turns "i right, c − 1 others right" into "i wrong, c − 1 others right", so with p_c = P(c right), for
  /// every c, Σ_{j ≥ c} (j/m)·p_j ≤ g(Σ_{j ≥ c−1} ((r − j)/m)·p_j), g being concave. From P(v or more) = τ, all
  /// of it at v (the least demanding place), this forces mass on v − 1, v − 2, …; a τ that forces more than all
  /// there is is refuted. The least refuted τ, found by bisection, is the p-value. Canaries may depend on each
  /// other in any way.
  ///
  /// Throws: `impossibleGuesses`.
  package func pValue(canaries: Int, guesses: Int, correct: Int) throws(AuditError) -> Double {
    guard correct >= 0, correct <= guesses, guesses <= canaries, canaries > 0 else {
      throw .impossibleGuesses(canaries: canaries, guesses: guesses, correct: correct)
    }
    func refutes(_ tail: Double) -> Bool {
      forcesTooMuch(tail, canaries: canaries, guesses: guesses, correct: correct)
    }
    guard refutes(1) else { return 1 }
    // Below e^-60 nothing is claimed.
    var (open, refuted) = (-60.0, 0.0)
    while refuted - open > 0.01 {
      let middle = (open + refuted) / 2
      if refutes(exp(middle)) { refuted = middle } else { open = middle }
    }
    return exp(refuted)
  }

  private func forcesTooMuch(_ tail: Double, canaries: Int, guesses: Int, correct: Int) -> Bool {
    let all = Double(guesses) / Double(canaries)
    var right = tail * Double(correct) / Double(canaries)
    var wrong = tail * Double(guesses - correct) / Double(canaries)
    // The margin is far above the rounding of a few thousand additions.
    let limit = all * (1 + 1e-9)
    for count in stride(from: correct, to: 0, by: -1) {
      let needed = max(wrong, inverse(right))
      right += Double(count - 1) / Double(guesses - count + 1) * (needed - wrong)
      wrong = needed
      if right + wrong > limit { return true }
    }
    return false
  }
}

/// Puts p-values of successive releases together.
enum CombinedEvidence {
  /// Fisher's method: −Σ ln p_i of n p-values, each valid whatever the earlier ones were, is at most a sum of n
  /// exponential variables.
  static func pValue(_ values: [Double]) -> Double {
    let sum = -values.reduce(0) { $0 + log(max($1, 1e-300)) }
    var (term, total) = (1.0, 0.0)
    for k in values.indices {
      total += term
      term *= sum / Double(k + 1)
    }
    return min(1, exp(-sum) * total)
  }
}
