import Cryptography
import Foundation
import Testing

@testable import Privacy

/// The table against independent values, and the draws against the table.
struct SkellamSamplerTests {
  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `the table has the reference probabilities`() throws {
    for vector in try AccountingVectors.load().skellam_pmf {
      let sampler = try SkellamSampler(variance: vector.variance)
      #expect(isClose(sampler.probability(of: 0), vector.p0, relative: 1e-11))
      #expect(isClose(sampler.probability(of: 1), vector.p1, relative: 1e-11))
      #expect(isClose(sampler.probability(of: -1), vector.p1, relative: 1e-11))
    }
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `the exact privacy of one draw is the reference's`() throws {
    for vector in try AccountingVectors.load().skellam_exact_1d {
      let sampler = try SkellamSampler(variance: vector.variance)
      let shift = Int(vector.sensitivity)
      func delta(at epsilon: Double) -> Double {
        (-sampler.maximumMagnitude...sampler.maximumMagnitude + shift).reduce(0) { sum, k in
          let excess = sampler.probability(of: k) - exp(epsilon) * sampler.probability(of: k - shift)
          return sum + max(0, excess)
        }
      }
      #expect(delta(at: vector.epsilon - 1e-5) > vector.delta)
      #expect(delta(at: vector.epsilon + 1e-5) < vector.delta)
      // And what the accountant says is no less.
      var accountant = RenyiAccountant()
      try accountant.compose(
        PrivacyEvent(
          mechanism: .skellam(
            variance: vector.variance, sensitivityL2Squared: Int64(shift * shift),
            sensitivityL1: vector.sensitivity, dimension: 1, samplerErrorLog2: sampler.errorLog2)))
      let accounted = try accountant.epsilon(delta: vector.delta).epsilon
      #expect(accounted >= vector.epsilon && accounted < 1.15 * vector.epsilon)
    }
  }

  /// ⌊2^127·P(|K| > j)⌋ by mpmath 1.3 with 80 to 140 digits.
  @Test(arguments: [
    (0x1p-10, 0, "166031871010762980864254186112995141"),
    (0x1p-10, 1, "40531824391274672017236536772869"), (0x1p-10, 5, "6399314118538667"),
    (4, 0, "134921631604829311342562227224916456259"),
    (4, 1, "74095872849835832030192388515002603507"),
    (4, 10, "529321198096415246188963560163283"),
    (137.5, 0, "164347371100473320124940699203505331155"),
    (137.5, 7, "88809832278202855309251859087515479731"), (137.5, 100, "6884932037306565087255"),
    (1e6, 0, "170073306940264744878044041963580993173"),
    (1e6, 1000, "53946416150238228853685531065511323503"),
    (1e6, 3000, "458593964508173710945886494201054046"),
  ])
  func `thresholds are within the stated error`(_ variance: Double, _ j: Int, _ digits: String) throws {
    let exact = try #require(UInt128(digits))
    let table = SkellamTable(variance: variance)
    let difference = max(table.survival[j], exact) - min(table.survival[j], exact)
    // A difference of two thresholds is at most the total-variation distance, in units of 2^-127.
    let allowed = exp2(127 + SkellamTable.errorLog2(variance: variance))
    #expect(Double(difference) <= allowed)
    // In fact far closer: rounding relative to the threshold, and the tail of 2^-110 cut off.
    #expect(Double(difference) <= Double(exact) * 0x1p-95 + 0x1p17)
  }

  @Test func `the stated error is at most 2^-80 over the whole range and adds up over shares`() throws {
    for variance in [0x1p-32, 1, 1e6, 0x1p32] {
      let sampler = try SkellamSampler(variance: variance)
      #expect(sampler.errorLog2 <= SkellamSampler.largestErrorLog2)
      #expect(try sampler.errorLog2(shares: 8) == sampler.errorLog2 + 3)
      #expect(throws: PrivacyError.self) { try sampler.errorLog2(shares: 0) }
    }
  }

  @Test(arguments: [0, -1, .nan, .infinity, 0x1p-33, 0x1.1p32])
  func `a variance out of range is refused`(_ variance: Double) {
    #expect(throws: PrivacyError.self) { try SkellamSampler(variance: variance) }
  }

  @Test func `the error says to lower the scale`() throws {
    let error = #expect(throws: PrivacyError.self) { try SkellamSampler(variance: 1e12) }
    #expect(try #require(error).description.contains("lower the scale"))
  }

  @Test(arguments: [0x1p-10, 4, 1000, 1e6])
  func `the sign is the top bit and changes nothing else`(_ variance: Double) throws {
    let sampler = try SkellamSampler(variance: variance)
    var random = RandomStream(testSeed: 5)
    for _ in 0..<2000 {
      let (high, low) = (random.word() & .max >> 1, random.word())
      let draw = sampler.draw(high: high, low: low)
      #expect(draw >= 0)
      #expect(sampler.draw(high: high | 1 << 63, low: low) == -draw)
    }
  }

  @Test(arguments: [0x1p-10, 4, 1000, 1e6])
  func `a draw changes exactly at the thresholds`(_ variance: Double) throws {
    let sampler = try SkellamSampler(variance: variance)
    let table = SkellamTable(variance: variance)
    #expect(sampler.draw(high: 0, low: 0) == Int64(table.largest))
    #expect(sampler.draw(high: .max >> 1, low: .max) == 0)
    for j in stride(from: 0, to: table.largest, by: max(1, table.largest / 500)) {
      let threshold = table.survival[j]
      let (high, low) = (UInt64(threshold >> 64), UInt64(truncatingIfNeeded: threshold))
      #expect(sampler.draw(high: high, low: low) == Int64(j))
      let before = threshold - 1
      #expect(
        sampler.draw(high: UInt64(before >> 64), low: UInt64(truncatingIfNeeded: before))
          == Int64(j + 1))
    }
  }

  /// How far χ² of the draws against the table is from its mean, in standard deviations. Values are put
  /// into bins a quarter of a standard deviation wide, everything beyond four into two tails.
  private func deviation(_ draws: [Int64], from sampler: SkellamSampler) -> Double {
    let sigma = sampler.variance.squareRoot()
    let width = max(1, Int((sigma / 4).rounded()))
    let reach = Int((4 * sigma / Double(width)).rounded(.up))
    func bin(_ value: Int) -> Int {
      // Bins are centred on multiples of the width, so that they are symmetric around 0.
      let index = Int((Double(value) / Double(width)).rounded(.toNearestOrAwayFromZero))
      return min(max(index, -reach), reach) + reach
    }
    var expected = [Double](repeating: 0, count: 2 * reach + 1)
    for k in -sampler.maximumMagnitude...sampler.maximumMagnitude {
      expected[bin(k)] += sampler.probability(of: k) * Double(draws.count)
    }
    var observed = [Double](repeating: 0, count: 2 * reach + 1)
    for draw in draws { observed[bin(Int(draw))] += 1 }
    var statistic = 0.0
    var used = -1.0
    for (o, e) in zip(observed, expected) where e >= 5 {
      statistic += (o - e) * (o - e) / e
      used += 1
    }
    return (statistic - used) / (2 * used).squareRoot()
  }

  @Test(arguments: [0.25, 4, 100, 2500, 1e6, 1e9])
  func `mean, variance and shape of the draws are right`(_ variance: Double) throws {
    let sampler = try SkellamSampler(variance: variance)
    let count = 100_000
    var draws = [Int64](repeating: 0, count: count)
    var random = RandomStream(testSeed: 11)
    sampler.addNoise(to: &draws, random: &random)
    let mean = draws.reduce(0.0) { $0 + Double($1) } / Double(count)
    let square = draws.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(count)
    #expect(abs(mean) < 4 * (variance / Double(count)).squareRoot())
    // The fourth moment is 3μ² + μ.
    let spread = ((2 * variance * variance + variance) / Double(count)).squareRoot()
    #expect(abs(square - variance) < 4 * spread)
    #expect(deviation(draws, from: sampler) < 4)
  }

  @Test func `the shape test sees a wrong variance`() throws {
    var draws = [Int64](repeating: 0, count: 100_000)
    var random = RandomStream(testSeed: 12)
    try SkellamSampler(variance: 105).addNoise(to: &draws, random: &random)
    #expect(deviation(draws, from: try SkellamSampler(variance: 100)) > 6)
  }

  @Test(arguments: [4, 100, 1e6])
  func `eight shares add up to the whole`(_ variance: Double) throws {
    let share = try SkellamSampler(variance: variance / 8)
    var sums = [Int64](repeating: 0, count: 100_000)
    for node in 0..<8 {
      var random = RandomStream(testSeed: 100 + UInt64(node))
      share.addNoise(to: &sums, random: &random)
    }
    #expect(deviation(sums, from: try SkellamSampler(variance: variance)) < 4)
  }

  @Test func `noise is added, replays from its seed and is fresh in every call`() throws {
    let sampler = try SkellamSampler(variance: 50)
    let base = (0..<3000).map(Int64.init)
    var (a, b) = (base, base)
    var (first, second) = (RandomStream(testSeed: 1), RandomStream(testSeed: 1))
    sampler.addNoise(to: &a, random: &first)
    sampler.addNoise(to: &b, random: &second)
    #expect(a == b && a != base)
    #expect(zip(a, base).allSatisfy { abs($0 - $1) <= Int64(sampler.maximumMagnitude) })
    var c = base
    sampler.addNoise(to: &c, random: &first)
    #expect(c != a)
    // No block repeats another.
    let noise = zip(a, base).map { $0 - $1 }
    #expect(Array(noise[0..<1000]) != Array(noise[1024..<2024]))
    var nothing: [Int64] = []
    sampler.addNoise(to: &nothing, random: &first)
    #expect(nothing.isEmpty)
  }
}
