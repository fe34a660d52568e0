import Foundation

/// How many guesses a game makes: decided from the claimed noise alone, before anything is released, so that
/// the choice needs no correction.
enum GuessPlan {
  private static let fractions = [1, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05, 0.03, 0.02]

  /// The share of right guesses among the most extreme `fraction` of scores that are normal around ±separation/2.
  static func accuracy(separation: Double, fraction: Double) -> Double {
    func above(_ x: Double) -> Double { 0.5 * erfc(x / 2.0.squareRoot()) }
    let half = separation / 2
    var (low, high) = (0.0, 40.0)
    for _ in 0..<80 {
      let middle = (low + high) / 2
      if above(middle - half) + above(middle + half) > fraction { low = middle } else { high = middle }
    }
    let right = above(low - half)
    return right / (right + above(low + half))
  }

  /// The number of guesses, even, for which `value` of (guesses, right ones) is largest, `deviations` standard
  /// deviations below what is expected at this separation.
  static func guesses(
    canaries: Int, separation: Double, deviations: Double,
    value: (_ guesses: Int, _ correct: Int) throws(AuditError) -> Double
  ) throws(AuditError) -> (guesses: Int, value: Double) {
    var best: (guesses: Int, value: Double)?
    for fraction in fractions {
      let guesses = max(2, Int(Double(canaries) * fraction) / 2 * 2)
      let rate = accuracy(separation: separation, fraction: fraction)
      let expected = Double(guesses) * rate
      let spread = (Double(guesses) * rate * (1 - rate)).squareRoot()
      let correct = min(guesses, max(0, Int(expected - deviations * spread)))
      let reached = try value(guesses, correct)
      if best.map({ reached > $0.value }) ?? true { best = (guesses, reached) }
    }
    return best ?? (2, 0)
  }

  /// Guesses "present" for the highest scores and "absent" for as many of the lowest, and counts the right ones.
  static func correct(scores: [Double], present: [Bool], guesses: Int) -> Int {
    // Ties, which integers have, are broken by position: that is a guess too.
    let order = scores.indices.sorted { (scores[$0], $0) < (scores[$1], $1) }
    let half = guesses / 2
    return order.prefix(half).count { !present[$0] } + order.suffix(half).count { present[$0] }
  }
}
