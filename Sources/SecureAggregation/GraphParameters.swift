import Foundation

/// Degree and threshold of a neighbour graph, and the failure probabilities that they reach
/// (Bell et al. 2020, section 4, with out-neighbours that the clients draw themselves).
///
/// The probabilities are union bounds over the whole cohort, as powers of two; -∞ stands for what cannot
/// happen at all.
package struct GraphParameters: Sendable, Hashable {
  /// What the server may do.
  package enum Adversary: String, Sendable, CaseIterable {
    /// Everything: it also chooses who is dropped, after it has seen the graph.
    case server
    /// It follows the protocol in the roster and in who is dropped, so that drop-outs do not depend on
    /// the graph, and deviates afterwards.
    case semiMalicious = "semi-malicious"
  }

  /// The cohorts for which parameters can be asked.
  package static let cohorts = 2...(1 << 20)
  /// The largest corrupt and the largest drop-out fraction, in thousandths: below one third.
  package static let maximumPermille = 333
  /// The largest fraction that the server may drop by choice, in thousandths.
  package static let maximumChosenPermille = 500

  /// log2 of the bounds that `search` meets, per cohort.
  package static let privacyTarget = -41.0
  /// See `privacyTarget`; how often the sum may be lost although drop-outs stay within the assumption.
  package static let correctnessTarget = -20.0

  /// The size of the roster, n.
  package let cohort: Int
  /// Out-neighbours of every participant, k; for the complete graph n, the own share included.
  package let degree: Int
  /// Shares that reconstruct a secret, t.
  package let threshold: Int
  /// The most participants that may choose one as their neighbour: k + 8·√k, rounded down.
  package let inDegreeCap: Int
  /// Signatures on one survivor list that a step needs: ⌊(n + ⌊gamma·n⌋)/2⌋ + 1.
  package let quorum: Int
  /// The least T_min under which the separation bound holds: n less those who may be dropped by choice.
  /// For the complete graph the threshold, since it cannot be separated.
  package let survivorFloor: Int
  /// log2 of the probability that some client has t corrupt out-neighbours, who could then reconstruct
  /// its secrets on their own.
  package let log2PrivacyFailure: Double
  /// log2 of the probability that some client keeps fewer than t out-neighbours although no more than
  /// delta·n drop out: its secrets, and with them the sum, are lost.
  package let log2CorrectnessFailure: Double
  /// log2 of the probability that the server can unmask a sum that lacks more than `isolatable` of the
  /// honest survivors.
  package let log2SeparationFailure: Double
  /// The most honest survivors that a sum may lack although nobody dropped more than was assumed: a few
  /// can be cut off by a server that keeps their shares from those whom they drew. Noise is calibrated as
  /// if they were not there. Zero on the complete graph.
  package let isolatable: Int

  /// The complete graph (Bonawitz et al. 2017): t = ⌊2n/3⌋ + 1. Nothing is left to chance: fewer than a
  /// third are corrupt and fewer than a third drop out, so the failures are impossible.
  ///
  /// - Throws: `cohortOutOfRange`, `fractionOutOfRange`, `quorumUnreachable`.
  package static func complete(
    cohort: Int, corruptPermille: Int, dropoutPermille: Int
  ) throws(GraphParameterError) -> GraphParameters {
    let counts = try Counts(
      cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
      chosenDropoutPermille: 0)
    let threshold = 2 * cohort / 3 + 1
    return GraphParameters(
      cohort: cohort, degree: cohort, threshold: threshold, inDegreeCap: cohort, quorum: counts.quorum,
      survivorFloor: threshold, log2PrivacyFailure: -.infinity, log2CorrectnessFailure: -.infinity,
      log2SeparationFailure: -.infinity, isolatable: 0)
  }

  /// The sparse graph of the smallest even degree that meets, with A = ⌊gamma·n⌋ corrupt:
  ///
  /// - privacy: n · Pr[Hyp(n-1, A, k) ≥ t] ≤ 2^-41,
  /// - correctness: n · Pr[Hyp(n-1, n-⌊delta·n⌋-1, k) < t + 1] ≤ 2^-20,
  /// - separation into two parts: Σ_s a_s·(1 - s/(n-1))^(kR) ≤ 2^-41 over s = t - c + 1 … ⌊H/2⌋,
  ///   H = n - A - D, D those that the server drops by choice, R = H - s,
  ///   a_s = C(n-A, s)·C(n-A-s, D)·(1 - R/(n-1))^(ks),
  /// - separation of one set: Σ_s min(a_s, b_s) ≤ 2^-41 over s = t - c + 1 … H - 1 - ρ with ρ ≤ H/10,
  ///   b_s = C(n-A, s)·Pr[Hyp(n-1, s-1, k) ≥ t - c]^s.
  ///
  /// The threshold is the largest that correctness allows, the hardest to reach for the corrupt, and at
  /// least 2, since one share alone would be the secret. Where the conditions leave room for interpretation:
  ///
  /// - The neighbours of an honest, living client are drawn from the n - 1 others, hence the populations;
  ///   the tails over n in the design are smaller, so they are met too.
  /// - Correctness asks for t + 1 living out-neighbours, one share more than t, so that one corrupt share
  ///   can be told apart from the consistent ones.
  /// - c, "the privacy quantile", is the most corrupt out-neighbours that anybody has: the smallest c with
  ///   n · Pr[Hyp(n-1, A, k) > c] ≤ 2^-41.
  /// - A set S of honest survivors is separated if the server can remove all masks from its sum. A hostile
  ///   server need not deliver a share: whoever did not get it does not mask, so a draw protects the one
  ///   who made it and not the one who was drawn. S is therefore separated as soon as its own draws stay
  ///   within S, the corrupt and those who are dropped: no more than D honest ones (a_s, for each set of D;
  ///   fewer are contained in one of them). The first separation bound, which is the design's, counts the
  ///   draws of the others as well and alone does not hold against such a server; it is kept as a margin.
  ///   The second would be met by smaller graphs (66/39 instead of 116/79 for n = 10,000).
  /// - Besides, everybody in S saw t living out-neighbours, at most c of them corrupt and all others in S
  ///   (b_s), so |S| ≥ t - c + 1.
  /// - A set of almost all, s ≥ H - ρ, cannot be excluded: the few that are missing were drawn by so few
  ///   that the server may drop these. It is as if they had dropped out as well, so noise must be
  ///   calibrated for ρ more of them. ρ is the smallest number for which the sum over s stays below 2^-41.
  ///
  /// With `.semiMalicious` the server delivers every share, and who is dropped does not depend on the
  /// graph. Then draws protect both ends, the union of the first bound runs over S alone among the H that
  /// remain, C(H, s) instead of C(n-A, s)·C(n-A-s, D), and ρ = 0.
  ///
  /// Takes O(n + k²) time. The degrees are tried one by one: safety is not monotone in k, because t and c
  /// are integers.
  ///
  /// - Parameters:
  ///   - cohort: n.
  ///   - corruptPermille: gamma in thousandths, 0 to 333.
  ///   - dropoutPermille: delta in thousandths, 0 to 333.
  ///   - chosenDropoutPermille: those whom the server may drop by choice, in thousandths; at least delta
  ///     is assumed in any case. Holds only if clients insist on T_min ≥ `survivorFloor`.
  ///   - adversary: What the server may do.
  /// - Throws: `cohortOutOfRange`, `fractionOutOfRange`, `quorumUnreachable`, `noSparseGraph`.
  package static func search(
    cohort: Int, corruptPermille: Int, dropoutPermille: Int, chosenDropoutPermille: Int = 300,
    adversary: Adversary = .server
  ) throws(GraphParameterError) -> GraphParameters {
    let chosen = max(chosenDropoutPermille, dropoutPermille)
    let counts = try Counts(
      cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
      chosenDropoutPermille: chosen)
    let candidates = GraphCandidates(counts: counts, adversary: adversary)
    for degree in stride(from: 2, through: cohort - 1, by: 2) {
      if let found = candidates.parameters(degree: degree) { return found }
    }
    throw .noSparseGraph(
      cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
      chosenDropoutPermille: chosen)
  }

  /// The failure probabilities of a given sparse graph, whatever they are: what a participant checks when
  /// it is told degree and threshold, with the cohort that came together.
  ///
  /// The bounds are those of `search`, but correctness is reported for the threshold itself. A bound of 1
  /// or more is reported as 0.
  ///
  /// - Parameters: see `search`; degree from 1 to n - 1, threshold from 1 to the degree.
  /// - Throws: `degreeOutOfRange`, `thresholdOutOfRange`, and what `search` throws but `noSparseGraph`.
  package static func evaluate(
    cohort: Int, degree: Int, threshold: Int, corruptPermille: Int, dropoutPermille: Int,
    chosenDropoutPermille: Int = 300, adversary: Adversary = .server
  ) throws(GraphParameterError) -> GraphParameters {
    let counts = try Counts(
      cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
      chosenDropoutPermille: max(chosenDropoutPermille, dropoutPermille))
    guard (1..<cohort).contains(degree) else {
      throw .degreeOutOfRange(degree: degree, maximum: cohort - 1)
    }
    guard (1...degree).contains(threshold) else {
      throw .thresholdOutOfRange(threshold: threshold, maximum: degree)
    }
    return GraphCandidates(counts: counts, adversary: adversary)
      .evaluated(degree: degree, threshold: threshold)
  }

  /// Whether nothing is revealed but the sum, except with probability 2^-40 for the whole cohort: privacy
  /// and separation stay within 2^-41 each.
  package var protectsPrivacy: Bool {
    log2PrivacyFailure <= GraphParameters.privacyTarget
      && log2SeparationFailure <= GraphParameters.privacyTarget
  }

  /// ⌊k + 8·√k⌋, at most all others: eight standard deviations above the mean in-degree.
  static func inDegreeCap(degree: Int, cohort: Int) -> Int {
    min(cohort - 1, Int(Double(degree) + 8 * Double(degree).squareRoot()))
  }

  /// Numbers of participants, from fractions that were checked.
  struct Counts: Sendable {
    let cohort: Int
    let corrupt: Int
    let alive: Int
    let chosenDropout: Int
    let quorum: Int

    init(
      cohort: Int, corruptPermille: Int, dropoutPermille: Int, chosenDropoutPermille: Int
    ) throws(GraphParameterError) {
      let cohorts = GraphParameters.cohorts
      guard cohorts.contains(cohort) else {
        throw .cohortOutOfRange(
          count: cohort, minimum: cohorts.lowerBound, maximum: cohorts.upperBound)
      }
      func count(
        _ fraction: GraphParameterError.Fraction, _ permille: Int, _ maximum: Int
      ) throws(GraphParameterError) -> Int {
        guard (0...maximum).contains(permille) else {
          throw .fractionOutOfRange(fraction, permille: permille, maximum: maximum)
        }
        return cohort * permille / 1000
      }
      self.cohort = cohort
      corrupt = try count(.corrupt, corruptPermille, GraphParameters.maximumPermille)
      alive = cohort - (try count(.dropout, dropoutPermille, GraphParameters.maximumPermille))
      chosenDropout = try count(
        .chosenDropout, chosenDropoutPermille, GraphParameters.maximumChosenPermille)
      quorum = (cohort + corrupt) / 2 + 1
      guard alive >= quorum else {
        throw .quorumUnreachable(cohort: cohort, alive: alive, quorum: quorum)
      }
    }
  }
}

/// The three conditions of `GraphParameters.search`, for one degree after the other.
private struct GraphCandidates {
  let counts: GraphParameters.Counts
  let adversary: GraphParameters.Adversary
  let factorials: LogFactorials
  let privacyBound: Double
  let correctnessBound: Double
  let separationBound: Double

  init(counts: GraphParameters.Counts, adversary: GraphParameters.Adversary) {
    self.counts = counts
    self.adversary = adversary
    factorials = LogFactorials(upTo: counts.cohort)
    // One part in 10^9 less than the targets covers the rounding of the logarithms.
    let target = GraphParameters.privacyTarget * (1 + 1e-9) * log(2)
    separationBound = target
    privacyBound = target - log(Double(counts.cohort))
    correctnessBound =
      GraphParameters.correctnessTarget * (1 + 1e-9) * log(2) - log(Double(counts.cohort))
  }

  /// The parameters with this degree, or nil if it is not safe.
  func parameters(degree: Int) -> GraphParameters? {
    let corrupt = law(marked: counts.corrupt, degree: degree)
    let alive = law(marked: counts.alive - 1, degree: degree)
    let mostCorrupt = corrupt.upperQuantile(privacyBound)
    let threshold = alive.lowerQuantile(correctnessBound) - 1
    guard threshold > mostCorrupt, threshold > 1 else { return nil }
    let found = evaluated(degree: degree, threshold: threshold)
    return found.protectsPrivacy ? found : nil
  }

  /// The failure probabilities of one pair.
  func evaluated(degree: Int, threshold: Int) -> GraphParameters {
    let cohort = counts.cohort
    let corrupt = law(marked: counts.corrupt, degree: degree)
    let alive = law(marked: counts.alive - 1, degree: degree)
    let mostCorrupt = corrupt.upperQuantile(privacyBound)
    let needed = max(0, threshold - mostCorrupt)
    var separation = (value: symmetricSeparation(degree: degree, smallest: needed + 1), isolatable: 0)
    if adversary == .server, separation.value <= separationBound {
      let one = oneSidedSeparation(degree: degree, needed: needed)
      separation = (max(separation.value, one.value), one.isolatable)
    }
    let log2Cohort = log2(Double(cohort))
    return GraphParameters(
      cohort: cohort, degree: degree, threshold: threshold,
      inDegreeCap: GraphParameters.inDegreeCap(degree: degree, cohort: cohort), quorum: counts.quorum,
      survivorFloor: cohort - counts.chosenDropout,
      log2PrivacyFailure: min(0, corrupt.logUpperTail(threshold) / log(2) + log2Cohort),
      log2CorrectnessFailure: min(0, alive.logLowerTail(threshold - 1) / log(2) + log2Cohort),
      log2SeparationFailure: min(0, separation.value / log(2)), isolatable: separation.isolatable)
  }

  private func law(marked: Int, degree: Int) -> Hypergeometric {
    Hypergeometric(
      population: counts.cohort - 1, marked: marked, draws: degree, factorials: factorials)
  }

  /// ln of the union bound over separated sets against a server that suppresses shares, and how many
  /// honest survivors the largest set that cannot be excluded lacks. Each member of a set needs `needed`
  /// out-neighbours within it. +∞ if sets that lack more than a tenth cannot be excluded.
  private func oneSidedSeparation(degree: Int, needed: Int) -> (value: Double, isolatable: Int) {
    let honest = counts.cohort - counts.corrupt
    let living = honest - counts.chosenDropout
    let smallest = needed + 1
    guard smallest < living else { return (-.infinity, 0) }
    let others = Double(counts.cohort - 1)
    let mandatory = living - 1 - living / 10
    var sum = LogSum()
    for size in smallest..<living {
      let sets = factorials.choose(honest, size)
      var term =
        sets + factorials.choose(honest - size, counts.chosenDropout)
        + Double(degree * size) * log1p(-Double(living - size) / others)
      // The second bound costs more and is only asked for where the first does not settle it.
      if term > separationBound - 20 {
        term = min(term, sets + Double(size) * law(marked: size - 1, degree: degree).logUpperTail(needed))
      }
      var next = sum
      next.add(term)
      guard next.value <= separationBound else {
        return size > mandatory ? (sum.value, living - size) : (.infinity, living)
      }
      sum = next
    }
    return (sum.value, 0)
  }

  /// ln of the union bound over separated parts of at least `smallest` members, draws protecting both ends;
  /// +∞ as soon as one term exceeds the target.
  private func symmetricSeparation(degree: Int, smallest: Int) -> Double {
    let honest = counts.cohort - counts.corrupt
    let dropped = min(counts.chosenDropout, honest - 2 * smallest)
    guard dropped >= 0 else { return -.infinity }
    let living = honest - dropped
    let others = Double(counts.cohort - 1)
    let choices = adversary == .server ? factorials.choose(honest, dropped) : 0
    var sum = LogSum()
    for size in smallest...living / 2 {
      let rest = living - size
      let term =
        choices + factorials.choose(living, size) + Double(degree * size) * log1p(-Double(rest) / others)
        + Double(degree * rest) * log1p(-Double(size) / others)
      if term > separationBound { return .infinity }
      sum.add(term)
    }
    return sum.value
  }
}
