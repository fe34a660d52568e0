import Cryptography
import Foundation
import Testing

@testable import Privacy

/// The bound of one run, against brute force and against mechanisms of known epsilon.
struct OneRunBoundTests {
  /// P(W ≥ v) by adding up all 2^r outcomes.
  private func bruteForce(_ r: Int, _ v: Int, _ q: Double) -> Double {
    (0..<1 << r).reduce(0.0) { sum, outcome in
      let successes = outcome.nonzeroBitCount
      return successes < v ? sum : sum + pow(q, Double(successes)) * pow(1 - q, Double(r - successes))
    }
  }

  @Test func `without delta the p-value is the binomial tail`() throws {
    for (r, v) in [(1, 1), (5, 3), (10, 10), (12, 7), (12, 0)] {
      for epsilon in [0, 0.3, 1, 4] {
        let p = try OneRunBound.pValue(canaries: 20, guesses: r, correct: v, epsilon: epsilon, delta: 0)
        #expect(isClose(p, bruteForce(r, v, 1 / (1 + exp(-epsilon))), relative: 1e-10))
      }
    }
  }

  @Test func `delta adds twice the canaries times the steepest rise of the tail`() throws {
    let (m, r, v, delta) = (30, 10, 9, 1e-4)
    let q = 1 / (1 + exp(-1.5))
    let tail = bruteForce(r, v, q)
    let steepest = (1...v).map { (bruteForce(r, v - $0, q) - tail) / Double($0) }.max() ?? 0
    let p = try OneRunBound.pValue(canaries: m, guesses: r, correct: v, epsilon: 1.5, delta: delta)
    #expect(isClose(p, tail + 2 * Double(m) * delta * steepest, relative: 1e-10))
    #expect(try OneRunBound.pValue(canaries: m, guesses: r, correct: v, epsilon: 1.5, delta: 0.5) == 1)
  }

  @Test func `the bound of a perfect game is the closed form`() throws {
    // q^r = 1 − confidence, so e^ε = q/(1 − q) with q = 0.05^(1/r).
    let q = pow(0.05, 1.0 / 200)
    let bound = try OneRunBound.epsilon(
      canaries: 1000, guesses: 200, correct: 200, delta: 0, confidence: 0.95)
    #expect(isClose(bound, log(q / (1 - q)), relative: 1e-5))
    #expect(
      try OneRunBound.epsilon(canaries: 1000, guesses: 200, correct: 100, delta: 0, confidence: 0.95) == 0)
    let loose = try OneRunBound.epsilon(
      canaries: 1000, guesses: 200, correct: 200, delta: 1e-5, confidence: 0.95)
    #expect(loose < bound)
  }

  @Test func `for randomized response the bound is too large no more often than it says`() throws {
    var random = RandomStream(testSeed: 5)
    for epsilon in [0.5, 2.0] {
      let threshold = UInt64(Double(1 << 32) / (1 + exp(-epsilon)))
      var (failures, close) = (0, 0)
      for _ in 0..<400 {
        let correct = (0..<250).count { _ in random.word() >> 32 < threshold }
        let bound = try OneRunBound.epsilon(
          canaries: 250, guesses: 250, correct: correct, delta: 0, confidence: 0.9)
        if bound > epsilon { failures += 1 }
        if bound > 0.4 * epsilon { close += 1 }
      }
      // 40 are expected at most; 58 is three standard deviations more.
      #expect(failures <= 58, "\(failures) of 400 at epsilon \(epsilon)")
      // It is the worst case of the theorem, so the bound is nearly exact.
      #expect(failures >= 10, "\(failures) of 400 at epsilon \(epsilon)")
      #expect(close > 300)
    }
  }

  @Test func `outcomes that no game has are refused`() {
    for (m, r, v) in [(10, 11, 5), (10, 5, 6), (10, 5, -1)] {
      #expect(throws: AuditError.impossibleGuesses(canaries: m, guesses: r, correct: v)) {
        try OneRunBound.pValue(canaries: m, guesses: r, correct: v, epsilon: 1, delta: 0)
      }
      #expect(throws: AuditError.impossibleGuesses(canaries: m, guesses: r, correct: v)) {
        try TradeOffCurve([(1, 1e-5)]).pValue(canaries: m, guesses: r, correct: v)
      }
    }
    #expect(throws: AuditError.confidenceOutOfRange(1)) {
      try OneRunBound.epsilon(canaries: 10, guesses: 5, correct: 5, delta: 0, confidence: 1)
    }
  }
}

/// The bound from a whole curve of guarantees.
struct TradeOffCurveTests {
  @Test func `the inverse is the largest of its lines`() {
    let pairs = [(0.2, 0.3), (1.0, 0.05), (2.5, 1e-3), (6, 1e-7), (Double.infinity, 1e-12)]
    let curve = TradeOffCurve(pairs.map { (epsilon: $0.0, delta: $0.1) })
    for y in stride(from: 0.0, through: 1, by: 0.001) {
      let expected = pairs.filter(\.0.isFinite).reduce(0.0) {
        max($0, (y - $1.1) * exp(-$1.0), 1 - $1.1 - exp($1.0) * (1 - y))
      }
      #expect(abs(curve.inverse(y) - expected) < 1e-12)
    }
  }

  @Test func `one canary may be guessed as often as the curve allows, and no more`() throws {
    // The best guess of one fair coin under (ε, δ) is right with probability (e^ε + δ)/(e^ε + 1).
    for (epsilon, delta) in [(0.0, 0.2), (1, 0), (2, 0.01)] {
      let p = try TradeOffCurve([(epsilon, delta)]).pValue(canaries: 1, guesses: 1, correct: 1)
      #expect(isClose(p, (exp(epsilon) + delta) / (exp(epsilon) + 1), relative: 0.012))
    }
  }

  @Test func `independent randomized responses are refuted no more often than stated`() throws {
    // P(v or more) of independent canaries is a probability that the curve allows.
    let epsilon = 1.0
    let curve = TradeOffCurve([(epsilon, 0)])
    let law = BinomialLaw(trials: 100).probabilities(logOdds: epsilon)
    for v in [60, 73, 80, 85, 90, 100] {
      let tail = law[v...].reduce(0, +)
      let p = try curve.pValue(canaries: 100, guesses: 100, correct: v)
      #expect(p >= tail * 0.999)
      #expect(v < 85 || p < 0.2, "\(p) for \(v)")
    }
  }

  @Test func `more right guesses and more noise are both easier to refute`() throws {
    let strict = TradeOffCurve([(1, 1e-5)])
    let loose = TradeOffCurve([(2, 1e-5)])
    var last = 1.0
    for v in stride(from: 100, through: 200, by: 10) {
      let p = try strict.pValue(canaries: 500, guesses: 200, correct: v)
      #expect(p <= last)
      #expect(try p <= loose.pValue(canaries: 500, guesses: 200, correct: v))
      last = p
    }
    #expect(last < 1e-4)
  }

  @Test func `p-values are combined by Fisher's method`() {
    // P(χ²₄ > −2 ln(0.01·0.2)).
    #expect(isClose(CombinedEvidence.pValue([0.01, 0.2]), 0.002 * (1 - log(0.002)), relative: 1e-12))
    #expect(isClose(CombinedEvidence.pValue([0.3]), 0.3, relative: 1e-12))
    #expect(CombinedEvidence.pValue([1, 1, 1]) == 1)
  }
}

/// The games, played against the mechanism that is deployed.
struct PrivacyAuditTests {
  private static let budget = PrivacyBudget(epsilon: 8, delta: 1e-5)
  private static let rounds = 10
  private static let canaries = 600

  private struct Setting {
    var noise = DistributedNoise.skellam
    var shape = PrivacyAudit.Shape.single
    var dimension = 1200
    var cohort = DistributedRelease.Cohort(nodes: 8, minimumSurvivors: 8, contributors: 1)
  }

  /// The variance is calibrated once; the seeds share it.
  private static let variance: Double? = {
    try? SkellamCalibration.variance(
      forBudget: budget, clip: IntegerClip(clipNorm: 1, scale: 2048, dimension: 1200), rounds: rounds,
      shares: 8)
  }()

  private func audit(
    seed: UInt64, fault: AuditFault? = nil, _ setting: Setting = Setting()
  ) throws -> AuditReport {
    let clip = try IntegerClip(clipNorm: 1, scale: 2048, dimension: setting.dimension)
    let shares = try NoiseDivision.honestSurvivors(
      cohort: setting.cohort.nodes, minimumSurvivors: setting.cohort.minimumSurvivors,
      corruptFraction: setting.cohort.corruptFraction)
    let noise = setting.noise
    let claim = PrivacyAudit.Claim(
      variance: try #require(Self.variance), rounds: Self.rounds, delta: Self.budget.delta
    ) { noise.event(clip: clip, variance: $0, shares: shares) }
    var random = RandomStream(testSeed: seed)
    var run = try DistributedRelease(
      noise: noise, totalVariance: claim.variance, clip: clip, cohort: setting.cohort, fault: fault,
      random: &random)
    return try PrivacyAudit(claim: claim, canaries: Self.canaries, shape: setting.shape)
      .play(&run, random: &random)
  }

  @Test(arguments: UInt64(1)...20)
  func `a correct run never exceeds the proven epsilon`(_ seed: UInt64) throws {
    let report = try audit(seed: seed)
    #expect(report.provenEpsilon <= 8 && report.provenEpsilon > 7.9)
    #expect(report.verdict == .consistent, "\(report.at99)")
    #expect(report.at99.epsilon <= report.at95.epsilon)
    // It is an audit, not a formality: canaries are found, and the bounds are far from nothing.
    #expect(report.at99.wholeRun > 1, "\(report.at99)")
    #expect(report.at99.roundByRound > 1, "\(report.at99)")
  }

  @Test(arguments: UInt64(1)...20)
  func `half the noise is flagged`(_ seed: UInt64) throws {
    let report = try audit(seed: seed, fault: .halfNoise)
    #expect(report.verdict == .exceeds, "\(report.at99), p = \(report.pValue)")
    #expect(report.plannedPValue < 0.005)
  }

  @Test(arguments: [AuditFault.noClip, .reusedNoise], UInt64(1)...3)
  func `updates that are not clipped and noise that comes back are flagged`(
    _ fault: AuditFault, _ seed: UInt64
  ) throws {
    let report = try audit(seed: seed, fault: fault)
    #expect(report.verdict == .exceeds, "\(report.at99)")
  }

  @Test(arguments: UInt64(1)...3)
  func `a share over the whole cohort is flagged where only few are sure to be honest`(_ seed: UInt64) throws
  {
    // 8 chosen, 4 deliver, 2 of them corrupt: 2 shares of an eighth each are a quarter of the noise.
    var setting = Setting()
    setting.cohort = DistributedRelease.Cohort(
      nodes: 8, minimumSurvivors: 4, corruptFraction: 0.25, contributors: 1)
    #expect(try audit(seed: seed, setting).verdict == .consistent)
    #expect(try audit(seed: seed, fault: .wrongShareCount, setting).verdict == .exceeds)
  }

  @Test func `noise that all nodes share is not visible in the sum`() throws {
    // Eight equal shares have eight times the variance of eight independent ones.
    let report = try audit(seed: 1, fault: .sharedNoise)
    #expect(report.verdict == .consistent)
    #expect(try report.at99.epsilon < audit(seed: 1).at99.epsilon)
  }

  @Test(arguments: [DistributedNoise.skellam, .discreteGaussian], PrivacyAudit.Shape.allCases)
  func `both distributions and both shapes of canaries play`(
    _ noise: DistributedNoise, _ shape: PrivacyAudit.Shape
  ) throws {
    var setting = Setting()
    setting.noise = noise
    setting.shape = shape
    if shape == .spread { setting.dimension = 4800 }
    #expect(try audit(seed: 2, setting).verdict == .consistent)
    #expect(try audit(seed: 2, fault: .halfNoise, setting).verdict == .exceeds)
  }

  @Test func `an audit replays from its seed`() throws {
    #expect(try audit(seed: 4) == audit(seed: 4))
    #expect(try audit(seed: 4).rounds != audit(seed: 5).rounds)
  }

  @Test func `games that cannot be played are refused`() throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 64, dimension: 39)
    let claim = PrivacyAudit.Claim(variance: 100, rounds: 1, delta: 1e-5) {
      DistributedNoise.skellam.event(clip: clip, variance: $0, shares: 1)
    }
    #expect(throws: AuditError.tooFewCanaries(canaries: 19, minimum: 20)) {
      try PrivacyAudit(claim: claim, canaries: 19)
    }
    var random = RandomStream(testSeed: 1)
    var run = try DistributedRelease(
      noise: .skellam, totalVariance: 100, clip: clip,
      cohort: .init(nodes: 2, minimumSurvivors: 2), random: &random)
    #expect(throws: AuditError.tooManyCanaries(canaries: 20, dimension: 39)) {
      try PrivacyAudit(claim: claim, canaries: 20).play(&run, random: &random)
    }
  }
}
