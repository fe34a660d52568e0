import Foundation

package import Cryptography

/// Plays canary games against a run and compares what they prove about epsilon with what is claimed.
///
/// Canaries are white-box: made-up contributors whose updates point in directions of their own, longer than the
/// clip allows and with a sign that changes from round to round. Two games share one run.
/// - **Whole run**: a canary is in every round or in none. `OneRunBound` gives a lower bound of the run's
///   (ε, δ) that assumes nothing, and is loose for that.
/// - **Round by round**: other canaries, whose coins are tossed anew in every round. The claimed epsilon is a
///   composition of rounds each of which, whatever happened before, has a certain `TradeOffCurve`; each round
///   is tested against that curve and the rounds' p-values are combined. What is refuted is then that the
///   noise of a round is what it is said to be. Expressed as epsilon: that of the run with the most noise that
///   is not refuted.
///
/// The verdict takes the larger of the two bounds, each at half the failure probability.
package struct PrivacyAudit: Sendable {
  /// What is claimed and how it is tested.
  package struct Claim: Sendable {
    /// The event of one round under noise of a given total variance.
    package var event: @Sendable (_ variance: Double) -> PrivacyEvent
    /// The total variance that is claimed, grid units squared.
    package var variance: Double
    /// Rounds.
    package var rounds: Int
    /// Where epsilon is asked for.
    package var delta: Double
    /// The neighbours: a canary that is present or not.
    package let relation = NeighbouringRelation.addRemove

    package init(
      variance: Double, rounds: Int, delta: Double,
      event: @escaping @Sendable (_ variance: Double) -> PrivacyEvent
    ) {
      self.event = event
      self.variance = variance
      self.rounds = rounds
      self.delta = delta
    }

    /// The proven epsilon of the whole run.
    package func epsilon(varianceFactor: Double = 1) throws(PrivacyError) -> Double {
      try accountant(rounds: rounds, varianceFactor).epsilon(delta: delta).epsilon
    }

    fileprivate func accountant(
      rounds: Int, _ factor: Double
    ) throws(PrivacyError) -> RenyiAccountant {
      guard let events = event(variance * factor).repeated(rounds) else {
        throw .parameterOutOfRange(.rounds, value: Double(rounds))
      }
      var accountant = RenyiAccountant(relation: relation)
      try accountant.compose(events)
      return accountant
    }
  }

  /// The shape of a canary.
  package enum Shape: String, Codable, Sendable, Hashable, CaseIterable {
    /// One coordinate.
    case single
    /// A block of coordinates with random signs.
    case spread
  }

  /// A game needs this many canaries.
  package static let minimumCanaries = 20
  /// How much longer than the clip allows canaries are.
  static let excess: Float = 4

  private let claim: Claim
  private let canaries: Int
  private let shape: Shape

  /// An audit with `canaries` canaries in each of the two games.
  ///
  /// Throws: `tooFewCanaries`.
  package init(claim: Claim, canaries: Int, shape: Shape = .single) throws(AuditError) {
    guard canaries >= Self.minimumCanaries else {
      throw .tooFewCanaries(canaries: canaries, minimum: Self.minimumCanaries)
    }
    self.claim = claim
    self.canaries = canaries
    self.shape = shape
  }

  /// Plays both games in one run and draws the conclusion.
  ///
  /// Throws: `tooManyCanaries` if the update has not two coordinates a canary; what the run throws.
  package func play(
    _ run: inout some AuditedRelease, random: inout RandomStream
  ) throws(AuditError) -> AuditReport {
    let clip = run.clip
    guard 2 * canaries <= clip.dimension else {
      throw .tooManyCanaries(canaries: canaries, dimension: clip.dimension)
    }
    let plans = try plan(clip)
    let flock = Flock(clip: clip, count: 2 * canaries, shape: shape, random: &random)
    let lasting = (0..<canaries).map { _ in random.word() & 1 == 1 }
    var lastingScores = [Double](repeating: 0, count: canaries)
    var tally = RoundTally()
    var history: [Double]?
    for round in 0..<claim.rounds {
      let passing = (0..<canaries).map { _ in random.word() & 1 == 1 }
      let signs = flock.signs(round: round, rounds: claim.rounds)
      let present = (lasting + passing).enumerated().filter(\.element).map(\.offset)
      let sum = try run.release(canaries: present.map { flock.update($0, sign: signs[$0]) })
      var seen = zip(sum.noised, sum.known).map { Double($0) - $1 }
      for index in 0..<canaries {
        lastingScores[index] += flock.score(index, signs[index], seen)
      }
      let innocent = seen
      if let history { flock.subtract(history, from: &seen, beyond: canaries) }
      let scores = (canaries..<2 * canaries).map { flock.score($0, signs[$0], seen) }
      tally.add(scores, passing, guesses: plans.passing.guesses)
      history = flock.removing(present.filter { $0 >= canaries }, signs, from: innocent)
    }
    let correct = GuessPlan.correct(scores: lastingScores, present: lasting, guesses: plans.lasting.guesses)
    return try conclude(
      AuditReport.Game(
        canaries: canaries, guesses: plans.lasting.guesses, correct: correct), tally, plans)
  }

  // MARK: Plan and conclusion

  private typealias Plans = (
    lasting: (guesses: Int, value: Double), passing: (guesses: Int, value: Double)
  )

  private func plan(_ clip: IntegerClip) throws(AuditError) -> Plans {
    let separation = clip.scale * clip.clipNorm / claim.variance.squareRoot()
    let curve = try curve(varianceFactor: 1)
    let delta = claim.delta
    let count = canaries
    let lasting = try GuessPlan.guesses(
      canaries: count, separation: separation * Double(claim.rounds).squareRoot(), deviations: 0
    ) { (guesses, correct) throws(AuditError) in
      try OneRunBound.epsilon(
        canaries: count, guesses: guesses, correct: correct, delta: delta, confidence: 0.995)
    }
    // For the noise of half the deviation that an audit should find.
    let passing = try GuessPlan.guesses(canaries: count, separation: 2 * separation, deviations: 0.5) {
      (guesses, correct) throws(AuditError) in
      -log(try curve.pValue(canaries: count, guesses: guesses, correct: correct))
    }
    return (lasting, passing)
  }

  private func curve(varianceFactor: Double) throws(AuditError) -> TradeOffCurve {
    do { return try TradeOffCurve(claim.accountant(rounds: 1, varianceFactor)) } catch {
      throw .privacy(error)
    }
  }

  private func pValue(_ tally: RoundTally, varianceFactor: Double) throws(AuditError) -> Double {
    let curve = try curve(varianceFactor: varianceFactor)
    var values: [Double] = []
    for game in tally.games {
      values.append(
        try curve.pValue(canaries: canaries, guesses: game.guesses, correct: game.correct))
    }
    return CombinedEvidence.pValue(values)
  }

  /// The epsilon of the run with the most noise that the rounds do not refute, 0 if they refute none.
  private func refutedEpsilon(_ tally: RoundTally, significance: Double) throws(AuditError) -> Double {
    // In powers of two of the variance: more noise is more private, and easier to refute.
    var (open, refuted) = (-12.0, 12.0)
    guard try pValue(tally, varianceFactor: exp2(refuted)) < significance else { return 0 }
    while refuted - open > 0.01 {
      let middle = (open + refuted) / 2
      if try pValue(tally, varianceFactor: exp2(middle)) < significance {
        refuted = middle
      } else {
        open = middle
      }
    }
    do { return try claim.epsilon(varianceFactor: exp2(refuted)) } catch { throw .privacy(error) }
  }

  private func conclude(
    _ whole: AuditReport.Game, _ tally: RoundTally, _ plans: Plans
  ) throws(AuditError) -> AuditReport {
    func lower(_ confidence: Double) throws(AuditError) -> AuditReport.Bound {
      let half = (1 - confidence) / 2
      let wholeRun = try OneRunBound.epsilon(
        canaries: whole.canaries, guesses: whole.guesses, correct: whole.correct, delta: claim.delta,
        confidence: 1 - half)
      return AuditReport.Bound(
        confidence: confidence, wholeRun: wholeRun,
        roundByRound: try refutedEpsilon(tally, significance: half))
    }
    let proven: Double
    do { proven = try claim.epsilon() } catch { throw .privacy(error) }
    let planned = [Double](repeating: exp(-plans.passing.value), count: claim.rounds)
    return AuditReport(
      provenEpsilon: proven, delta: claim.delta, accountant: .rdp, wholeRun: whole, rounds: tally.games,
      at95: try lower(0.95), at99: try lower(0.99),
      pValue: try pValue(tally, varianceFactor: 1),
      plannedPValue: CombinedEvidence.pValue(planned))
  }
}

/// The games of the rounds.
private struct RoundTally {
  private(set) var games: [AuditReport.Game] = []

  mutating func add(_ scores: [Double], _ present: [Bool], guesses: Int) {
    games.append(
      AuditReport.Game(
        canaries: scores.count, guesses: guesses,
        correct: GuessPlan.correct(scores: scores, present: present, guesses: guesses)))
  }
}
