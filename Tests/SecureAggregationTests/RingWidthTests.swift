import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

struct RingWidthTests {
  @Test func `chooses the narrowest ring that holds the bound with a bit to spare`() throws {
    #expect(try RingWidth.required(maximumAbsoluteSum: 0) == 16)
    for (bits, next) in zip(RingWidth.all, RingWidth.all.dropFirst()) {
      let limit = Int64(1) << (bits - 2)
      #expect(try RingWidth.required(maximumAbsoluteSum: limit - 1) == bits)
      #expect(try RingWidth.required(maximumAbsoluteSum: limit) == next)
    }
    #expect(try RingWidth.required(maximumAbsoluteSum: (1 << 30) - 1) == 32)
    for beyond in [Int64(1) << 30, 1 << 31, .max] {
      #expect(throws: AggregationError.ringTooNarrow(neededMagnitude: beyond)) {
        try RingWidth.required(maximumAbsoluteSum: beyond)
      }
    }
    for negative in [Int64(-1), .min] {
      #expect(throws: AggregationError.invalidBound) {
        try RingWidth.required(maximumAbsoluteSum: negative)
      }
    }
  }

  @Test func `noise widens the ring, and a ring that could wrap is refused`() throws {
    #expect(try RingWidth.choose(contributionBound: 16_383, noiseVariance: 0, dimension: 1) == 16)
    #expect(try RingWidth.choose(contributionBound: 16_383, noiseVariance: 1, dimension: 1) == 20)
    // Nine standard deviations of 2,000 on top of 1,000 do not fit 2^14.
    #expect(try RingWidth.choose(contributionBound: 1_000, noiseVariance: 4e6, dimension: 1_000_000) == 20)
    #expect(try RingWidth.choose(contributionBound: 1_000, noiseVariance: 1e6, dimension: 1_000_000) == 16)
    #expect(throws: AggregationError.self) {
      try RingWidth.choose(contributionBound: 0, noiseVariance: 1e18, dimension: 1)
    }
    #expect(throws: AggregationError.self) {
      try RingWidth.choose(contributionBound: .max, noiseVariance: 1, dimension: 1)
    }
    for (bound, variance, dimension) in [
      (Int64(-1), 1.0, 1), (1, -1, 1), (1, .infinity, 1), (1, .nan, 1), (1, 1, 0),
    ] {
      #expect(throws: AggregationError.invalidBound) {
        try RingWidth.choose(contributionBound: bound, noiseVariance: variance, dimension: dimension)
      }
    }
    #expect(try RingWidth.choose(contributionBound: 5, noiseVariance: 1e-300, dimension: 1) == 16)
  }

  @Test(arguments: [0.01, 1, 40, 400], [1, 100_000])
  func `the tail bound holds for the exact Skellam law and is not far from it`(
    variance: Double, dimension: Int
  ) throws {
    let tail = Int(try RingWidth.noiseTail(variance: variance, dimension: dimension))
    let target = pow(2.0, -40) / Double(dimension)
    #expect(exactTail(beyond: tail, variance: variance) <= target)
    #expect(exactTail(beyond: tail * 3 / 4, variance: variance) > target)
  }

  /// Pr[|N| > x] of the difference of two Poisson variables of mean variance/2, summed term by term.
  private func exactTail(beyond x: Int, variance: Double) -> Double {
    let mean = variance / 2
    let terms = 1_500
    let logs = (0..<terms).map { -mean + Double($0) * log(mean) - lgamma(Double($0) + 1) }
    var probability = 0.0
    for difference in (x + 1)..<terms {
      for low in 0..<(terms - difference) {
        let exponent = logs[low] + logs[low + difference]
        if exponent > -120 { probability += exp(exponent) }
      }
    }
    return 2 * probability
  }

  @Test func `random plans keep the bound within half of the narrowest ring that holds it`() throws {
    var random = RandomStream(testSeed: 2)
    func power(_ range: ClosedRange<Double>) -> Double {
      let unit = Double(random.word() >> 11) * 0x1p-53
      return exp2(range.lowerBound + unit * (range.upperBound - range.lowerBound))
    }
    var refused = 0
    for _ in 0..<2_000 {
      let contributions = Int(power(0...20))
      let (clip, scale, variance) = (power(-6...6), power(0...20), power(-10...50))
      let dimension = Int(power(0...24))
      let rotated = random.word() % 2 == 0
      func plan(_ contributions: Int, _ variance: Double, _ rotated: Bool) throws -> RingWidth.Plan {
        try RingWidth.choose(
          contributions: contributions, clipNorm: clip, scale: scale, noiseVariance: variance,
          dimension: dimension, rotated: rotated)
      }
      guard let chosen = try? plan(contributions, variance, rotated) else {
        refused += 1
        continue
      }
      let half = Int64(1) << (chosen.ringBits - 2)
      #expect(chosen.maximumAbsoluteSum < half)
      if let narrower = RingWidth.all.last(where: { $0 < chosen.ringBits }) {
        #expect(chosen.maximumAbsoluteSum >= Int64(1) << (narrower - 2))
      }
      #expect(chosen.dimension >= dimension && chosen.dimension < 2 * dimension + 1)
      // Less noise, fewer contributions: never a larger bound.
      #expect(try plan(contributions, variance / 2, rotated).maximumAbsoluteSum <= chosen.maximumAbsoluteSum)
      #expect(
        try plan(max(1, contributions / 2), variance, rotated).maximumAbsoluteSum
          <= chosen.maximumAbsoluteSum)
      if !rotated {
        // The deterministic part alone.
        #expect(Double(chosen.maximumAbsoluteSum) >= Double(contributions) * clip * scale)
      }
    }
    #expect(refused > 100 && refused < 1_900)
  }

  @Test func `a rotation makes do with 16 bits where the worst case needs 24`() throws {
    func plan(_ rotated: Bool) throws -> RingWidth.Plan {
      try RingWidth.choose(
        contributions: 1_000, clipNorm: 1, scale: 1_024, noiseVariance: 10_000, dimension: 1 << 20,
        rotated: rotated)
    }
    #expect(try plan(false).ringBits == 24)
    #expect(try plan(true).ringBits == 16)
    // Few coordinates have nothing to spread a norm over: the worst case stays the bound.
    let small = try RingWidth.choose(
      contributions: 10, clipNorm: 1, scale: 100, noiseVariance: 0, dimension: 4, rotated: true)
    #expect(small.maximumAbsoluteSum == 10 * 101)
  }

  @Test func `the exact bound of one contribution`() throws {
    // 16,382 grid units of clip norm and one of rounding fill half of 16 bits.
    func bits(_ scale: Double) throws -> Int {
      try RingWidth.choose(
        contributions: 1, clipNorm: 1, scale: scale, noiseVariance: 0, dimension: 5
      ).ringBits
    }
    #expect(try bits(16_382.5) == 16)
    #expect(try bits(16_383.5) == 20)
  }

  @Test func `extreme values are refused and do not trap`() {
    let large: [Double] = [.greatestFiniteMagnitude, .infinity, .nan, -1, 0, 1e300, 0x1p62, 1]
    for contributions in [Int.min, -1, 0, 1, .max] {
      for clip in large {
        for variance in large {
          for dimension in [Int.min, 0, 1, 1 << 28, .max] {
            for rotated in [false, true] {
              let chosen = try? RingWidth.choose(
                contributions: contributions, clipNorm: clip, scale: 1, noiseVariance: variance,
                dimension: dimension, rotated: rotated)
              if chosen != nil {
                #expect(contributions == 1 && clip == 1 && variance <= 1 && variance >= 0)
              }
            }
          }
        }
      }
    }
    #expect(throws: AggregationError.invalidBound) {
      try RingWidth.maximumAbsoluteSum(
        contributionBound: 0, noiseVariance: 1, dimension: 1, log2Failure: 1)
    }
  }

  /// What the spare bit is for.
  @Test func `a uniform sum leaves the bound in at least half of its coordinates`() throws {
    var random = RandomStream(testSeed: 3)
    for (bound, variance) in [(Int64(16_383), 0.0), (262_143, 0), (5_000, 1e6), (1_000_000, 4e9)] {
      let maximum = try RingWidth.maximumAbsoluteSum(
        contributionBound: bound, noiseVariance: variance, dimension: 4_000)
      let bits = try RingWidth.choose(
        contributionBound: bound, noiseVariance: variance, dimension: 4_000)
      let words = (0..<4_000).map { _ in UInt32(truncatingIfNeeded: random.word()) & RingWidth.mask(bits) }
      let values = try RingVector(words: words, ringBits: bits).centred
      let outside = values.count { $0.magnitude > maximum }
      // Half of 4,000 less five standard deviations.
      #expect(outside >= 1_840)
    }
  }
}
