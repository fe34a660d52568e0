/// What an audit found.
package struct AuditReport: Codable, Sendable, Hashable {
  /// One game.
  package struct Game: Codable, Sendable, Hashable {
    /// Canaries, each present with probability 1/2.
    package let canaries: Int
    /// Guesses; about the other canaries the auditor abstained.
    package let guesses: Int
    /// Right guesses.
    package let correct: Int

    /// Right guesses over guesses.
    package var accuracy: Double { guesses == 0 ? 0 : Double(correct) / Double(guesses) }
  }

  /// Lower bounds of epsilon. Together they fail with probability 1 − `confidence` at most.
  package struct Bound: Codable, Sendable, Hashable {
    /// The confidence of both together.
    package let confidence: Double
    /// From the whole run, whatever the mechanism is.
    package let wholeRun: Double
    /// From the rounds, each against the curve that its noise should have.
    package let roundByRound: Double

    /// The larger one.
    package var epsilon: Double { max(wholeRun, roundByRound) }
  }

  /// What an audit can say.
  package enum Verdict: String, Codable, Sendable, Hashable {
    /// The guesses do not contradict the claim.
    case consistent
    /// At 99 % confidence the mechanism does not keep the proven epsilon.
    case exceeds
  }

  /// The proven upper bound.
  package let provenEpsilon: Double
  /// Its delta.
  package let delta: Double
  /// What proved it.
  package let accountant: AccountantKind
  /// Canaries that were in every round or in none.
  package let wholeRun: Game
  /// Canaries whose coin was tossed in every round.
  package let rounds: [Game]
  /// Lower bounds at 95 %.
  package let at95: Bound
  /// Lower bounds at 99 %.
  package let at99: Bound
  /// How likely the rounds' guesses are, at most, under the claim.
  package let pValue: Double
  /// What that should be about if the noise had half the standard deviation: above 0.005 an audit of this size
  /// would miss it.
  package let plannedPValue: Double

  /// The conclusion at 99 %.
  package var verdict: Verdict { at99.epsilon > provenEpsilon ? .exceeds : .consistent }
}
