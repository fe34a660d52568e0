import Cryptography
import Foundation
import Testing

@testable import Privacy

/// Noise that is divided, noise that one party adds, and what each claims.
struct MechanismTests {
  private func meanSquare(_ values: [Int64]) -> Double {
    values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(values.count)
  }

  @Test(arguments: DistributedNoise.allCases)
  func `the shares of the fewest honest survivors make up the whole noise`(_ noise: DistributedNoise) throws {
    // 12 chosen, 9 deliver, ⌊0.25·12⌋ = 3 of them corrupt: 6 shares.
    let mechanism = try DistributedMechanism(
      noise: noise, totalVariance: 5400, cohort: 12, minimumSurvivors: 9, corruptFraction: 0.25)
    #expect(mechanism.shares == 6)
    #expect(isClose(mechanism.shareVariance, 900, relative: 1e-12))
    var sum = [Int64](repeating: 0, count: 60_000)
    for node in 0..<6 {
      var random = RandomStream(testSeed: 70 + UInt64(node))
      mechanism.addShare(to: &sum, random: &random)
    }
    // Divided by 12, 9 or 7 the variance would be off by a seventh or more.
    #expect(isClose(meanSquare(sum), 5400, relative: 0.03))
    #expect(isClose(mechanism.errorLog2, mechanism.sampler.errorLog2 + log2(6), relative: 1e-12))
  }

  @Test func `both distributions are divided by the same rule`() throws {
    for (cohort, survivors, corrupt) in [(100, 80, 0.29), (10, 8, 0.19), (3, 3, 0)] {
      let share = try NoiseDivision.shareVariance(
        totalVariance: 1000, cohort: cohort, minimumSurvivors: survivors, corruptFraction: corrupt)
      for noise in DistributedNoise.allCases {
        let mechanism = try DistributedMechanism(
          noise: noise, totalVariance: 1000, cohort: cohort, minimumSurvivors: survivors,
          corruptFraction: corrupt)
        #expect(mechanism.shareVariance == share)
        #expect(mechanism.shareVariance * Double(mechanism.shares) >= 1000)
      }
      #expect(
        try SkellamCalibration.noiseShare(
          totalVariance: 1000, cohort: cohort, minimumSurvivors: survivors, corruptFraction: corrupt)
          == share)
    }
  }

  @Test func `tau is the sum of the paper and vanishes for Skellam noise and wide Gaussians`() throws {
    // 10·(e^(−π²/2) + e^(−2π²/3) + e^(−3π²/4)) at σ² = 1/2 for 4 shares.
    let expected = 10 * (exp(-4.934802200544679) + exp(-6.579736267392906) + exp(-7.402203300817019))
    #expect(isClose(DistributedMechanism.tau(shareVariance: 0.5, shares: 4), expected, relative: 1e-12))
    #expect(DistributedMechanism.tau(shareVariance: 0.5, shares: 1) == 0)
    #expect(DistributedMechanism.tau(shareVariance: 100, shares: 200) < 1e-300)
    let skellam = try DistributedMechanism(
      noise: .skellam, totalVariance: 1, cohort: 4, minimumSurvivors: 4, corruptFraction: 0)
    #expect(skellam.tau == 0)
  }

  @Test func `noise that cannot be divided or drawn is refused`() {
    for noise in DistributedNoise.allCases {
      #expect(throws: PrivacyError.tooFewHonestSurvivors(minimumSurvivors: 5, corrupt: 5)) {
        try DistributedMechanism(
          noise: noise, totalVariance: 1, cohort: 10, minimumSurvivors: 5, corruptFraction: 0.5)
      }
      #expect(throws: PrivacyError.self) {
        try DistributedMechanism(
          noise: noise, totalVariance: 0x1p40, cohort: 10, minimumSurvivors: 5, corruptFraction: 0)
      }
    }
  }

  /// max over k of ln P(k)/P(k − shift).
  private func largestLoss(_ sampler: some TableSampler, shift: Int, reach: Int) -> Double {
    (-reach...reach).reduce(0) { loss, k in
      max(loss, abs(log(sampler.probability(of: k) / sampler.probability(of: k - shift))))
    }
  }

  @Test func `Laplace noise has exactly the pure epsilon that is claimed`() throws {
    let mechanism = try AdditiveMechanism.central(noise: .discreteLaplace(scale: 10), bound: 3)
    #expect(mechanism.cost == .pure(epsilon: (0.3).nextUp))
    let loss = largestLoss(try DiscreteLaplaceSampler(scale: 10), shift: 3, reach: 100)
    #expect(isClose(loss, 0.3, relative: 1e-9))
    let local = try AdditiveMechanism.local(noise: .discreteLaplace(scale: 10), bound: 3)
    #expect(local.cost == .pure(epsilon: (0.6).nextUp), "a node's vector is exchanged")
  }

  @Test func `Gaussian noise has the Rényi divergence that is claimed`() throws {
    let mechanism = try AdditiveMechanism.central(
      noise: .discreteGaussian(variance: 20), bound: 9, relation: .addRemove)
    guard case .zeroConcentrated(let rho) = mechanism.cost else {
      Issue.record("the cost is a rho")
      return
    }
    #expect(isClose(rho, 9.0 / 40, relative: 1e-12))
    let sampler = try DiscreteGaussianSampler(variance: 20)
    for order in [1.5, 2, 4] {
      let sum = (-45...45).reduce(0.0) { sum, k in
        sum + pow(sampler.probability(of: k), order) * pow(sampler.probability(of: k - 3), 1 - order)
      }
      let divergence = log(sum) / (order - 1)
      #expect(divergence <= order * rho * (1 + 1e-9) && divergence > 0.99 * order * rho)
    }
    let replaced = try AdditiveMechanism.central(
      noise: .discreteGaussian(variance: 20), bound: 9, relation: .replaceOne)
    let local = try AdditiveMechanism.local(noise: .discreteGaussian(variance: 20), bound: 9)
    #expect(replaced.sensitivity == 36 && local.sensitivity == 36)
    #expect(local.trustMode == .local && replaced.trustMode == .central)
  }

  @Test func `central and local noise is added in full`() throws {
    for noise in [IntegerNoise.discreteGaussian(variance: 400), .discreteLaplace(scale: 14)] {
      var values = [Int64](repeating: 1000, count: 50_000)
      var random = RandomStream(testSeed: 3)
      let mechanism = try AdditiveMechanism.local(noise: noise, bound: 1)
      mechanism.addNoise(to: &values, random: &random)
      #expect(isClose(meanSquare(values.map { $0 - 1000 }), mechanism.variance, relative: 0.05))
      #expect(mechanism.errorLog2 < -80)
    }
    for bound in [0, -1, Int64.max] {
      #expect(throws: MechanismError.self) {
        try AdditiveMechanism.local(noise: .discreteLaplace(scale: 1), bound: bound)
      }
    }
  }

  @Test func `the integer bound holds where a norm within C becomes too long on the grid`() throws {
    // The floating-point norm is C exactly, but rounding every half up gives Σ = 100 against 60: a check of the
    // norm before rounding would let it pass.
    let clip = try IntegerClip(clipNorm: 1, scale: 5, dimension: 100)
    let update = [Float](repeating: 0.1, count: 100)
    let norm = update.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    #expect(norm <= clip.clipNorm * (1 + 1e-7))
    let roundedUp = update.reduce(Int64(0)) { $0 + Int64((Double($1) * 5).rounded(.up)) }
    #expect(roundedUp > clip.sensitivityL2Squared, "the vector is adversarial: \(roundedUp)")
    var scratch = IntegerClip.Scratch(dimension: 100)
    var random = RandomStream(testSeed: 9)
    var (isWithin, retries) = (true, 0)
    for _ in 0..<4000 {
      var sum = [Int64](repeating: 0, count: 100)
      let outcome = clip.quantise(update, scratch: &scratch, random: &random, addingInto: &sum)
      isWithin = isWithin && sum.reduce(0) { $0 + $1 * $1 } <= clip.sensitivityL2Squared
      if outcome != .rounded(attempt: 1) { retries += 1 }
    }
    #expect(isWithin)
    #expect(retries > 20, "the bound was tested \(retries) times")
  }
}

/// Responses of one person each.
struct FrequencyOracleTests {
  private func check(_ oracle: some FrequencyOracle, asked epsilon: Double) throws {
    #expect(oracle.epsilon <= epsilon && isClose(oracle.epsilon, epsilon, relative: 1e-9))
    // 4000 people: 40 % in category 0, 25 % in the last one, the rest spread over the others.
    let (n, k) = (4000, oracle.categories)
    let truth = (0..<n).map { $0 * 20 / n < 8 ? 0 : $0 * 20 / n < 13 ? k - 1 : 1 + $0 % max(1, k - 2) }
    var counts = [Double](repeating: 0, count: k)
    for category in truth { counts[category] += 1 }
    let repeats = 40
    var (errors, squares) = ([Double](repeating: 0, count: k), [Double](repeating: 0, count: k))
    var predicted = [Double](repeating: 0, count: k)
    for seed in 0..<repeats {
      var random = RandomStream(testSeed: UInt64(seed))
      var sums = [Int64](repeating: 0, count: k)
      for category in truth {
        let bits = try oracle.respond(category: category, random: &random)
        for index in 0..<k { sums[index] += bits[index] }
      }
      for (index, estimate) in try oracle.estimate(sums: sums, respondents: n).enumerated() {
        let error = estimate.value - counts[index]
        errors[index] += error / Double(repeats)
        squares[index] += error * error / Double(repeats)
        predicted[index] += estimate.standardError * estimate.standardError / Double(repeats)
      }
    }
    for index in 0..<k {
      #expect(abs(errors[index]) < 4 * (predicted[index] / Double(repeats)).squareRoot(), "unbiased")
      // χ² with 40 degrees of freedom over 40 is between 0.35 and 2.1 but for 1e-4.
      #expect(squares[index] > 0.35 * predicted[index] && squares[index] < 2.1 * predicted[index])
    }
  }

  @Test(arguments: [0.5, 1, 3])
  func `randomized response is unbiased with the stated error`(_ epsilon: Double) throws {
    try check(try RandomizedResponse(categories: 5, epsilon: epsilon), asked: epsilon)
  }

  @Test(arguments: [0.5, 1, 3])
  func `unary encoding is unbiased with the stated error`(_ epsilon: Double) throws {
    try check(try UnaryEncoding(categories: 5, epsilon: epsilon), asked: epsilon)
  }

  @Test func `epsilon is the logarithm of the largest ratio of probabilities`() throws {
    let response = try RandomizedResponse(categories: 7, epsilon: 1.25)
    let (p, q) = (response.keepProbability, response.otherProbability)
    #expect(isClose(log(p / q), 1.25, relative: 1e-12) && isClose(p + 6 * q, 1, relative: 1e-12))
    let unary = try UnaryEncoding(categories: 7, epsilon: 1.25)
    let (one, other) = (unary.keepProbability, unary.otherProbability)
    #expect(isClose(log(one * (1 - other) / ((1 - one) * other)), 1.25, relative: 1e-12))
    // Wang et al.: 4e^ε/(e^ε − 1)² per respondent, at a count of 0.
    let error = try unary.estimate(sums: [Int64](repeating: 0, count: 7), respondents: 100)[0].standardError
    let expected = (100 * 4 * exp(1.25) / (expm1(1.25) * expm1(1.25))).squareRoot()
    #expect(isClose(error, expected, relative: 1e-9))
  }

  @Test func `parameters and categories out of range are refused`() throws {
    for (categories, epsilon) in [(1, 1.0), (3, 0), (3, -1), (3, .nan), (3, 41), (1 << 25, 1)] {
      #expect(throws: MechanismError.self) {
        try RandomizedResponse(categories: categories, epsilon: epsilon)
      }
      #expect(throws: MechanismError.self) { try UnaryEncoding(categories: categories, epsilon: epsilon) }
    }
    let oracle = try RandomizedResponse(categories: 3, epsilon: 1)
    for category in [-1, 3] {
      #expect(throws: MechanismError.outOfRange(.category, value: Double(category))) {
        var random = RandomStream(testSeed: 1)
        _ = try oracle.respond(category: category, random: &random)
      }
    }
    #expect(throws: MechanismError.wrongDimension(expected: 3, actual: 2)) {
      try oracle.estimate(sums: [1, 2], respondents: 5)
    }
    #expect(throws: MechanismError.self) { try oracle.estimate(sums: [1, 2, 3], respondents: 0) }
  }
}

/// The clip norm that follows a quantile.
struct AdaptiveClippingTests {
  /// Norms of 1000 units: e^x for x from −3 to 3 evenly, so the quantile γ is e^(6γ − 3).
  private let norms = (0..<1000).map { exp(6 * (Double($0) + 0.5) / 1000 - 3) }

  private func run(
    _ state: inout AdaptiveClipping, rounds: Int, deviation: Double?, random: inout RandomStream
  ) throws {
    let sampler = try deviation.map {
      try SkellamSampler(variance: AdaptiveClipping.bitVariance(bitNoiseDeviation: $0))
    }
    for _ in 0..<rounds {
      var sum = [norms.reduce(0) { $0 + state.encode(norm: $1) }]
      sampler?.addNoise(to: &sum, random: &random)
      state.update(noisedSum: sum[0])
    }
  }

  @Test(arguments: [0.1, 0.5, 0.9])
  func `the norm settles at the quantile with and without noise`(_ quantile: Double) throws {
    for deviation in [nil, 25.0] {
      for start in [1e-3, 1e3] {
        var state = try AdaptiveClipping(
          clipNorm: start, targetQuantile: quantile, expectedContributors: 1000)
        var random = RandomStream(testSeed: 50)
        try run(&state, rounds: 400, deviation: deviation, random: &random)
        let reached = log(state.clipNorm)
        #expect(abs(reached - (6 * quantile - 3)) < (deviation == nil ? 0.02 : 0.2), "\(reached)")
        #expect(state.rounds == 400)
      }
    }
  }

  @Test func `a round moves the norm by the formula and noise cannot drive it out of its bounds`() throws {
    var state = try AdaptiveClipping(
      clipNorm: 2, targetQuantile: 0.5, learningRate: 0.2, expectedContributors: 10, minimumClipNorm: 1,
      maximumClipNorm: 3)
    #expect(
      state.encode(norm: 2) == 1024 && state.encode(norm: 2.1) == -1024 && state.encode(norm: .nan) == -1024)
    // 9 of 10 within: 8 more than not.
    #expect(isClose(state.fractionWithin(noisedSum: 8 * 1024), 0.9, relative: 1e-12))
    state.update(noisedSum: 8 * 1024)
    #expect(isClose(state.clipNorm, 2 * exp(-0.08), relative: 1e-12))
    for _ in 0..<100 { state.update(noisedSum: .max) }
    #expect(state.clipNorm == 1)
    for _ in 0..<100 { state.update(noisedSum: .min) }
    #expect(state.clipNorm == 3)
  }

  @Test func `the state survives a restart and a bad one does not decode`() throws {
    var state = try AdaptiveClipping(clipNorm: 1, expectedContributors: 1000)
    var random = RandomStream(testSeed: 51)
    try run(&state, rounds: 7, deviation: 10, random: &random)
    var copy = try JSONDecoder().decode(AdaptiveClipping.self, from: JSONEncoder().encode(state))
    #expect(copy == state)
    var other = random
    try run(&state, rounds: 5, deviation: 10, random: &random)
    try run(&copy, rounds: 5, deviation: 10, random: &other)
    #expect(copy == state && copy.rounds == 12)
    let text = String(decoding: try JSONEncoder().encode(state), as: UTF8.self)
    let bad = text.replacing("\"targetQuantile\":0.5", with: "\"targetQuantile\":1.5")
    #expect(bad != text)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(AdaptiveClipping.self, from: Data(bad.utf8))
    }
    #expect(throws: MechanismError.self) { try AdaptiveClipping(clipNorm: 0, expectedContributors: 1) }
    #expect(throws: MechanismError.self) { try AdaptiveClipping(clipNorm: 1, expectedContributors: 0) }
  }

  @Test func `bit and update together cost what one release of the whole multiplier costs`() throws {
    let (z, sigma) = (1.5, 20.0)
    let update = try AdaptiveClipping.updateNoiseMultiplier(total: z, bitNoiseDeviation: sigma)
    #expect(
      update > z && isClose(1 / (update * update) + 1 / (4 * sigma * sigma), 1 / (z * z), relative: 1e-12))
    var (split, whole) = (RenyiAccountant(), RenyiAccountant())
    try split.compose(PrivacyEvent(mechanism: .gaussian(noiseMultiplier: update), count: 50))
    var bit = try AdaptiveClipping.event(bitNoiseDeviation: sigma, shares: 1)
    bit.count = 50
    try split.compose(bit)
    try whole.compose(PrivacyEvent(mechanism: .gaussian(noiseMultiplier: z), count: 50))
    let (a, b) = (try split.epsilon(delta: 1e-6).epsilon, try whole.epsilon(delta: 1e-6).epsilon)
    #expect(isClose(a, b, relative: 1e-3), "\(a), \(b)")
    #expect(throws: MechanismError.noiseSplitImpossible(total: 1.5, bit: 0.75)) {
      try AdaptiveClipping.updateNoiseMultiplier(total: 1.5, bitNoiseDeviation: 0.75)
    }
    #expect(throws: PrivacyError.self) { try AdaptiveClipping.event(bitNoiseDeviation: 1, shares: 0) }
  }
}
