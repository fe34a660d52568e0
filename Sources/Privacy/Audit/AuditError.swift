/// Why an audit cannot be played.
package enum AuditError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The mechanism or its accounting was refused.
  case privacy(PrivacyError)
  /// There are no two disjoint directions per canary: both games need their own.
  case tooManyCanaries(canaries: Int, dimension: Int)
  /// A game of fewer canaries proves nothing.
  case tooFewCanaries(canaries: Int, minimum: Int)
  /// Counts of guesses that no game has.
  case impossibleGuesses(canaries: Int, guesses: Int, correct: Int)
  /// A confidence outside (0, 1).
  case confidenceOutOfRange(Double)
  /// The federation that is audited failed.
  case release(String)

  /// One sentence for people.
  package var description: String {
    switch self {
    case .privacy(let error): error.description
    case .tooManyCanaries(let canaries, let dimension):
      """
      \(canaries) canaries need \(2 * canaries) coordinates of their own, the update has \(dimension); \
      use at most \(dimension / 2)
      """
    case .tooFewCanaries(let canaries, let minimum):
      "\(canaries) canaries cannot show anything; use at least \(minimum)"
    case .impossibleGuesses(let canaries, let guesses, let correct):
      "\(correct) of \(guesses) guesses about \(canaries) canaries is no outcome of a game"
    case .confidenceOutOfRange(let confidence):
      "the confidence \(confidence) is out of range; it must be above 0 and below 1"
    case .release(let reason): "the federation that is audited failed: \(reason)"
    }
  }
}
