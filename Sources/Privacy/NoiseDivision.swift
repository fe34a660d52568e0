/// How the noise of a sum is divided among the nodes that add it: the one rule that every distributed
/// mechanism uses.
package enum NoiseDivision {
  /// The nodes that are sure to be honest and to survive: T_min − ⌊γ·n⌋.
  ///
  /// `cohort` (n) nodes were chosen, at least `minimumSurvivors` (T_min) of them deliver or the round is
  /// void, and at most a `corruptFraction` (γ) of the cohort adds no noise or tells the server its noise.
  /// The noise of these nodes is all that the accounting relies on; what others add is post-processing.
  ///
  /// Throws: `parameterOutOfRange`; `tooFewHonestSurvivors` if none is left.
  package static func honestSurvivors(
    cohort: Int, minimumSurvivors: Int, corruptFraction: Double
  ) throws(PrivacyError) -> Int {
    guard cohort >= 1 else { throw .parameterOutOfRange(.cohort, value: Double(cohort)) }
    guard minimumSurvivors >= 1, minimumSurvivors <= cohort else {
      throw .parameterOutOfRange(.minimumSurvivors, value: Double(minimumSurvivors))
    }
    guard corruptFraction >= 0, corruptFraction < 1 else {
      throw .parameterOutOfRange(.corruptFraction, value: corruptFraction)
    }
    // 0.29 · 100 is 28.999… in binary: without the allowance a corrupt node would go uncounted.
    let product = corruptFraction * Double(cohort)
    let corrupt = Int((product + product * 1e-12).rounded(.down))
    guard corrupt < minimumSurvivors else {
      throw .tooFewHonestSurvivors(minimumSurvivors: minimumSurvivors, corrupt: corrupt)
    }
    return minimumSurvivors - corrupt
  }

  /// The variance that each node adds, total/(T_min − ⌊γ·n⌋): with the fewest honest survivors the sum still
  /// has all of `totalVariance`, and with more it has more.
  ///
  /// Throws: as `honestSurvivors`, and `parameterOutOfRange` for a variance that is not positive and finite.
  package static func shareVariance(
    totalVariance: Double, cohort: Int, minimumSurvivors: Int, corruptFraction: Double
  ) throws(PrivacyError) -> Double {
    guard totalVariance > 0, totalVariance.isFinite else {
      throw .parameterOutOfRange(.variance, value: totalVariance)
    }
    let honest = try honestSurvivors(
      cohort: cohort, minimumSurvivors: minimumSurvivors, corruptFraction: corruptFraction)
    // Rounded up, so that the shares never add up to less than the total.
    return (totalVariance / Double(honest)).nextUp
  }
}
