import Foundation

/// What the guesses of one game prove about epsilon, whatever the mechanism is.
///
/// Steinke, Nasr and Jagielski 2023, "Privacy Auditing with One (1) Training Run": each of m canaries is
/// included by a fair coin, and r of the coins are guessed from what one run released. If the run is
/// (ε, δ)-differentially private for one canary's presence, then (theorem 5.2)
///
///     P(v or more are right) ≤ f(v) + 2mδ·max_{1 ≤ i ≤ v} (f(v − i) − f(v))/i,
///
/// f(v) = P(W ≥ v), W binomial of r trials with probability e^ε/(1 + e^ε). Nothing is assumed about how the
/// canaries' noises depend on each other, which makes the bound loose: it says nothing beyond ln(r).
package enum OneRunBound {
  /// The probability, at most, of so many right guesses or more if the run was (epsilon, delta)-private.
  ///
  /// Throws: `impossibleGuesses`; `privacy` for an epsilon below 0 or a delta outside [0, 1).
  package static func pValue(
    canaries: Int, guesses: Int, correct: Int, epsilon: Double, delta: Double
  ) throws(AuditError) -> Double {
    guard correct >= 0, correct <= guesses, guesses <= canaries else {
      throw .impossibleGuesses(canaries: canaries, guesses: guesses, correct: correct)
    }
    guard epsilon >= 0 else { throw .privacy(.parameterOutOfRange(.epsilon, value: epsilon)) }
    guard delta >= 0, delta < 1 else { throw .privacy(.parameterOutOfRange(.delta, value: delta)) }
    let law = BinomialLaw(trials: guesses)
    return pValue(law, canaries: canaries, correct: correct, epsilon: epsilon, delta: delta)
  }

  /// The largest epsilon that so many right guesses refute at `delta`: with probability `confidence` the true
  /// epsilon is larger. 0 if they refute none.
  ///
  /// Throws: as `pValue`; `confidenceOutOfRange`.
  package static func epsilon(
    canaries: Int, guesses: Int, correct: Int, delta: Double, confidence: Double
  ) throws(AuditError) -> Double {
    guard confidence > 0, confidence < 1 else { throw .confidenceOutOfRange(confidence) }
    let significance = 1 - confidence
    let unprivate = try pValue(
      canaries: canaries, guesses: guesses, correct: correct, epsilon: 0, delta: delta)
    guard unprivate < significance else { return 0 }
    let law = BinomialLaw(trials: guesses)
    // The p-value grows with epsilon; 64 is beyond what any number of guesses can refute.
    var (refuted, open) = (0.0, 64.0)
    while open - refuted > 1e-6 {
      let middle = (refuted + open) / 2
      let p = pValue(law, canaries: canaries, correct: correct, epsilon: middle, delta: delta)
      if p < significance { refuted = middle } else { open = middle }
    }
    return refuted
  }

  private static func pValue(
    _ law: BinomialLaw, canaries: Int, correct: Int, epsilon: Double, delta: Double
  ) -> Double {
    let probabilities = law.probabilities(logOdds: epsilon)
    let tail = probabilities[correct...].reduce(0, +)
    // The sum up to i is P(v > W ≥ v − i) = f(v − i) − f(v).
    var (steepest, below) = (0.0, 0.0)
    for step in stride(from: 1, through: correct, by: 1) {
      below += probabilities[correct - step]
      steepest = max(steepest, below / Double(step))
    }
    return min(1, tail + 2 * Double(canaries) * delta * steepest)
  }
}

/// The binomial distribution by logarithms of factorials.
struct BinomialLaw {
  private let logFactorials: [Double]

  init(trials: Int) {
    var sum = 0.0
    logFactorials =
      [0]
      + stride(from: 1, through: trials, by: 1).map { k in
        sum += log(Double(k))
        return sum
      }
  }

  /// P(W = 0), P(W = 1), … for a probability of success e^x/(1 + e^x), x ≥ 0.
  func probabilities(logOdds: Double) -> [Double] {
    let logSuccess = -log1p(exp(-logOdds))
    let logFailure = -logOdds + logSuccess
    let trials = logFactorials.count - 1
    return (0...trials).map { k in
      let choices = logFactorials[trials] - logFactorials[k] - logFactorials[trials - k]
      // 0 · −∞ is no success at all, not NaN.
      let failures = trials == k ? 0 : Double(trials - k) * logFailure
      return exp(choices + Double(k) * logSuccess + failures)
    }
  }
}
