/// Why a graph or a partition into groups has no safe parameters. Every case says what to change.
package enum GraphParameterError: Error, Equatable, Sendable {
  /// A fraction of the cohort, in thousandths.
  package enum Fraction: String, Sendable {
    case corrupt = "corrupt fraction"
    case dropout = "drop-out fraction"
    case chosenDropout = "fraction that the server may drop by choice"
  }

  /// The cohort has no graph of this kind.
  case cohortOutOfRange(count: Int, minimum: Int, maximum: Int)
  /// A fraction lies outside the range that the protocol allows.
  case fractionOutOfRange(Fraction, permille: Int, maximum: Int)
  /// With that many drop-outs the signatures of a quorum do not come together.
  case quorumUnreachable(cohort: Int, alive: Int, quorum: Int)
  /// No degree below the cohort's size meets the privacy, correctness and separation bounds.
  case noSparseGraph(cohort: Int, corruptPermille: Int, dropoutPermille: Int, chosenDropoutPermille: Int)
  /// Nobody can have so many, or so few, distinct neighbours.
  case degreeOutOfRange(degree: Int, maximum: Int)
  /// A threshold that no holder, or more than all of them, would meet.
  case thresholdOutOfRange(threshold: Int, maximum: Int)
  /// A number of groups that cannot be.
  case groupCountOutOfRange(count: Int, maximum: Int)
  /// So many of a group's members may be corrupt that its noise and its threshold protect nobody.
  case groupTooSmall(group: Int, count: Int, corruptLimit: Int, needed: Int)
}

extension GraphParameterError: CustomStringConvertible {
  /// A sentence for people.
  package var description: String {
    switch self {
    case .cohortOutOfRange(let count, let minimum, let maximum):
      "a cohort of \(count) is impossible: it must have \(minimum) to \(maximum) participants"
    case .fractionOutOfRange(let fraction, let permille, let maximum):
      "the \(fraction.rawValue) is \(permille) thousandths but must be 0 to \(maximum)"
    case .quorumUnreachable(let cohort, let alive, let quorum):
      "of \(cohort) participants \(alive) stay, fewer than the \(quorum) signatures that a quorum needs; "
        + "assume fewer drop-outs or fewer corrupt participants"
    case .noSparseGraph(let cohort, let corrupt, let dropout, let chosen):
      "no sparse graph of \(cohort) participants is safe with \(corrupt) thousandths corrupt, \(dropout) "
        + "dropping out and up to \(chosen) dropped by choice; use the complete graph, enlarge the cohort "
        + "or assume less"
    case .degreeOutOfRange(let degree, let maximum):
      "the degree is \(degree) but must be 1 to \(maximum), the other participants"
    case .thresholdOutOfRange(let threshold, let maximum):
      "the threshold is \(threshold) but must be 1 to \(maximum), the degree"
    case .groupCountOutOfRange(let count, let maximum):
      "\(count) groups are impossible: this cohort allows 1 to \(maximum)"
    case .groupTooSmall(let group, let count, let limit, let needed):
      "group \(group) has \(count) participants, of whom \(limit) may be corrupt, but needs \(needed); "
        + "use fewer groups or a larger cohort"
    }
  }
}
