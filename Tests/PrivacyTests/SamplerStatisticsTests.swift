import Cryptography
import Foundation
import Testing

@testable import Privacy

/// Draws against the distributions' formulas and against the exact samplers. Seeds are fixed, so a p-value
/// above the limit stays above it.
struct SamplerStatisticsTests {
  private static let smallestP = 1e-3

  private func draws(_ sampler: some TableSampler, _ count: Int, seed: UInt64) -> [Int64] {
    var draws = [Int64](repeating: 0, count: count)
    var random = RandomStream(testSeed: seed)
    sampler.addNoise(to: &draws, random: &random)
    return draws
  }

  /// e^(−k²/(2σ²)) normalised, by its formula.
  private func gaussianProbability(deviation: Double) -> (Int) -> Double {
    let reach = Int(15 * deviation) + 5
    let total = (-reach...reach).reduce(0.0) { $0 + exp(-Double($1 * $1) / (2 * deviation * deviation)) }
    return { exp(-Double($0 * $0) / (2 * deviation * deviation)) / total }
  }

  private func shape(_ draws: [Int64], deviation: Double, _ probability: (Int) -> Double) -> Double {
    GoodnessOfFit.pValue(
      draws, center: 0, reach: max(4, Int(6 * deviation)), width: max(1, Int(deviation / 8)),
      probability: probability)
  }

  @Test func `the p-values are those of tables`() {
    // NIST/SEMATECH e-Handbook, 1.3.6.7.4: upper critical values.
    for (x, degrees, p) in [(3.841, 1, 0.05), (18.307, 10, 0.10 / 2), (135.807, 100, 0.01), (2.706, 1, 0.1)] {
      #expect(isClose(GoodnessOfFit.upperTail(chiSquared: x, degrees: degrees), p, relative: 1e-3))
    }
    #expect(GoodnessOfFit.upperTail(chiSquared: 70, degrees: 100) > 0.98)
  }

  @Test(arguments: [0.4, 1, 4, 16, 64, 256, 1000])
  func `the discrete Gaussian has its shape`(_ deviation: Double) throws {
    let sampler = try DiscreteGaussianSampler(variance: deviation * deviation)
    let sample = draws(sampler, 200_000, seed: 31)
    #expect(shape(sample, deviation: deviation, gaussianProbability(deviation: deviation)) > Self.smallestP)
  }

  @Test(arguments: [1, 4, 16, 64, 256, 1000])
  func `a deviation off by 3 % fails the same tests`(_ deviation: Double) throws {
    let wrong = 1.03 * deviation
    let gaussian = draws(try DiscreteGaussianSampler(variance: wrong * wrong), 200_000, seed: 32)
    #expect(shape(gaussian, deviation: deviation, gaussianProbability(deviation: deviation)) < 1e-6)
    let skellam = draws(try SkellamSampler(variance: wrong * wrong), 200_000, seed: 33)
    let right = try SkellamSampler(variance: deviation * deviation)
    #expect(shape(skellam, deviation: deviation, right.probability(of:)) < 1e-6)
    #expect(!momentsAgree(gaussian, variance: deviation * deviation, excess: 0))
  }

  /// I_k(μ)e^(−μ) by its integral over a period, which the trapezoidal rule has to machine precision.
  private func skellamProbability(variance: Double) -> (Int) -> Double {
    let points = Int(40 * variance.squareRoot()) + 200
    let kernel = (0..<points).map { exp(variance * (cos(2 * Double.pi * Double($0) / Double(points)) - 1)) }
    return { k in
      kernel.enumerated().reduce(0.0) { sum, entry in
        sum + entry.element * cos(2 * Double.pi * Double(k * entry.offset % points) / Double(points))
      } / Double(points)
    }
  }

  @Test(arguments: [0.4, 1, 4, 16, 32])
  func `Skellam noise has its shape`(_ deviation: Double) throws {
    let sampler = try SkellamSampler(variance: deviation * deviation)
    let sample = draws(sampler, 200_000, seed: 34)
    let probability = skellamProbability(variance: deviation * deviation)
    #expect(shape(sample, deviation: deviation, probability) > Self.smallestP)
  }

  @Test(arguments: [0.3, 2, 20, 300])
  func `discrete Laplace noise has its shape`(_ scale: Double) throws {
    let sampler = try DiscreteLaplaceSampler(scale: scale)
    let sample = draws(sampler, 200_000, seed: 35)
    let ratio = exp(-1 / scale)
    let p = GoodnessOfFit.pValue(
      sample, center: 0, reach: max(6, Int(14 * scale)), width: max(1, Int(scale / 4))
    ) { (1 - ratio) / (1 + ratio) * pow(ratio, Double(abs($0))) }
    #expect(p > Self.smallestP)
    let square = sample.reduce(0.0) { $0 + Double($1) * Double($1) } / 200_000
    #expect(isClose(square, sampler.variance, relative: 0.03))
  }

  @Test(arguments: [0.01, 0.5, 0.6931471805599453, 3.7, 100, 12_345.6])
  func `Poisson draws have their shape`(_ mean: Double) throws {
    let sampler = try PoissonSampler(mean: mean)
    let sample = draws(sampler, 200_000, seed: 36)
    let deviation = mean.squareRoot()
    let p = GoodnessOfFit.pValue(
      sample, center: Int(mean), reach: max(4, Int(6 * deviation)), width: max(1, Int(deviation / 8))
    ) { $0 < 0 ? 0 : exp(Double($0) * log(mean) - mean - lgamma(Double($0) + 1)) }
    #expect(p > Self.smallestP)
    #expect(sample.allSatisfy { $0 >= 0 })
  }

  /// Whether the first four moments are within 4.5 standard errors of those of a distribution that is
  /// Gaussian but for its excess kurtosis.
  private func momentsAgree(_ sample: [Int64], variance: Double, excess: Double) -> Bool {
    let (n, sigma) = (Double(sample.count), variance.squareRoot())
    var moments = [0.0, 0, 0, 0]
    for draw in sample {
      let x = Double(draw) / sigma
      moments[0] += x / n
      moments[1] += x * x / n
      moments[2] += x * x * x / n
      moments[3] += x * x * x * x / n
    }
    // Standard errors from Gaussian moments 1, 2, 15 and 105 − 9, with room for a little excess.
    let error = zip(moments, [0, 1, 0, 3 + excess]).map { abs($0 - $1) }
    let limits = [1, 2, 15, 96].map { 4.5 * ($0 * (1 + 3 * excess) / n).squareRoot() }
    return zip(error, limits).allSatisfy { $0 < $1 }
  }

  @Test(arguments: [4, 16, 64, 256, 1000])
  func `four moments are right`(_ deviation: Double) throws {
    let variance = deviation * deviation
    let gaussian = draws(try DiscreteGaussianSampler(variance: variance), 400_000, seed: 37)
    #expect(momentsAgree(gaussian, variance: variance, excess: 0))
    let skellam = draws(try SkellamSampler(variance: variance), 400_000, seed: 38)
    #expect(momentsAgree(skellam, variance: variance, excess: 1 / variance))
  }

  @Test func `consecutive draws are independent`() throws {
    for deviation in [4.0, 256] {
      let variance = deviation * deviation
      let samples = [
        draws(try DiscreteGaussianSampler(variance: variance), 100_000, seed: 39),
        draws(try SkellamSampler(variance: variance), 100_000, seed: 40),
      ]
      for sample in samples {
        for lag in [1, ThresholdTable.block] {
          #expect(pairs(sample, lag: lag, deviation: deviation) > Self.smallestP)
          let products = zip(sample, sample.dropFirst(lag)).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
          #expect(abs(products / (variance * Double(sample.count).squareRoot())) < 4)
        }
      }
      // And the test sees a dependence: one draw in twenty repeats its predecessor.
      var stuck = samples[0]
      for index in stride(from: 20, to: stuck.count, by: 20) { stuck[index] = stuck[index - 1] }
      #expect(pairs(stuck, lag: 1, deviation: deviation) < 1e-9)
    }
  }

  /// The p-value of independence at a lag, over 10 × 10 bins half a deviation wide.
  private func pairs(_ sample: [Int64], lag: Int, deviation: Double) -> Double {
    let bins = sample.map { min(max(Int((Double($0) / deviation * 2).rounded(.down)) + 5, 0), 9) }
    var counts = [Int](repeating: 0, count: 100)
    for index in lag..<bins.count { counts[10 * bins[index - lag] + bins[index]] += 1 }
    return GoodnessOfFit.independence(
      (0..<10).map { row in counts[(10 * row)...].prefix(10).map(Double.init) })
  }

  /// Counts per bin, a quarter of a deviation wide.
  private func histogram(_ sample: [Int64], center: Int, deviation: Double) -> [Double] {
    let width = max(1, Int(deviation / 4))
    var counts = [Double](repeating: 0, count: 81)
    for draw in sample { counts[min(max((Int(draw) - center) / width + 40, 0), 80)] += 1 }
    return counts
  }

  @Test(arguments: [(1, 4), (16, 1), (4096, 1), (9, 7), (1_000_000, 1)] as [(UInt64, UInt64)])
  func `the Gaussian table agrees with the exact sampler`(_ numerator: UInt64, _ denominator: UInt64) throws {
    let variance = Double(numerator) / Double(denominator)
    var exact = ExactSampler(random: RandomStream(testSeed: 41))
    let oracle = try (0..<40_000).map { _ in
      try exact.discreteGaussian(numerator: numerator, denominator: denominator)
    }
    func compare(_ variance: Double) throws -> Double {
      let table = draws(try DiscreteGaussianSampler(variance: variance), 400_000, seed: 42)
      let deviation = variance.squareRoot()
      return GoodnessOfFit.twoSample(
        histogram(oracle, center: 0, deviation: deviation), histogram(table, center: 0, deviation: deviation))
    }
    #expect(try compare(variance) > Self.smallestP)
    #expect(try compare(1.25 * variance) < 1e-3, "the comparison sees a wrong variance")
  }

  @Test func `the other tables agree with their exact samplers`() throws {
    var exact = ExactSampler(random: RandomStream(testSeed: 43))
    let laplace = try (0..<40_000).map { _ in
      try exact.discreteLaplace(scaleNumerator: 7, scaleDenominator: 2)
    }
    let table = draws(try DiscreteLaplaceSampler(scale: 3.5), 200_000, seed: 44)
    #expect(
      GoodnessOfFit.twoSample(
        histogram(laplace, center: 0, deviation: 4), histogram(table, center: 0, deviation: 4))
        > Self.smallestP)
    let poisson = try (0..<40_000).map { _ in try exact.poisson(meanNumerator: 21, meanDenominator: 4) }
    let means = draws(try PoissonSampler(mean: 5.25), 200_000, seed: 45)
    #expect(
      GoodnessOfFit.twoSample(
        histogram(poisson, center: 5, deviation: 4), histogram(means, center: 5, deviation: 4))
        > Self.smallestP)
    let hits = (0..<40_000).reduce(0) { sum, _ in sum + (exact.bernoulli(exponentOf: 5, over: 2) ? 1 : 0) }
    #expect(isClose(Double(hits) / 40_000, exp(-2.5), relative: 0.06))
  }

  @Test func `exact samplers refuse what their integers do not hold`() {
    func refuses(_ draw: (inout ExactSampler) throws(MechanismError) -> Int64) -> Bool {
      var exact = ExactSampler(random: RandomStream(testSeed: 1))
      do throws(MechanismError) {
        _ = try draw(&exact)
        return false
      } catch {
        return true
      }
    }
    #expect(
      refuses { exact throws(MechanismError) in try exact.discreteGaussian(numerator: 0, denominator: 1) })
    #expect(
      refuses { exact throws(MechanismError) in try exact.discreteGaussian(numerator: 1, denominator: 0) })
    #expect(
      refuses { exact throws(MechanismError) in try exact.discreteGaussian(numerator: .max, denominator: 1) })
    #expect(
      refuses { exact throws(MechanismError) in
        try exact.discreteLaplace(scaleNumerator: 1, scaleDenominator: 0)
      })
    #expect(
      refuses { exact throws(MechanismError) in try exact.poisson(meanNumerator: 1 << 40, meanDenominator: 1)
      })
    #expect(
      !refuses { exact throws(MechanismError) in try exact.poisson(meanNumerator: 3, meanDenominator: 1) })
  }

  @Test func `units decide on their own with exactly the rate`() throws {
    for bad in [-1, 1001] { #expect(throws: MechanismError.self) { try ParticipationRate(permille: bad) } }
    #expect(throws: MechanismError.self) { try ParticipationRate(units32: 1 << 32 + 1) }
    var random = RandomStream(testSeed: 46)
    for permille in [0, 1, 137, 999, 1000] {
      let rate = try ParticipationRate(permille: permille)
      let expected = Double(permille) / 1000
      let together = rate.decisions(count: 200_000, random: &random).count { $0 }
      let alone = (0..<5000).count { _ in rate.participates(random: &random) }
      let spread = (expected * (1 - expected)).squareRoot()
      #expect(abs(Double(together) / 200_000 - expected) <= 4 * spread / 200_000.0.squareRoot())
      #expect(abs(Double(alone) / 5000 - expected) <= 4 * spread / 5000.0.squareRoot())
      #expect(rate.probability >= expected && rate.probability <= expected.nextUp)
    }
    #expect(try ParticipationRate(units32: 3).probability == 3 * 0x1p-32)
    #expect(try ParticipationRate(units32: 1 << 31).probability == 0.5)
  }
}
