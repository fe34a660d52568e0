import Cryptography
import Foundation
import Testing

@testable import Privacy

/// The bound that the guarantee rests on, under friendly and hostile updates.
struct IntegerClipTests {
  /// One update quantised alone.
  private func quantise(
    _ update: [Float], _ clip: IntegerClip, seed: UInt64
  ) -> (sum: [Int64], outcome: IntegerClip.Outcome) {
    var sum = [Int64](repeating: 0, count: clip.dimension)
    var scratch = IntegerClip.Scratch(dimension: clip.dimension)
    var random = RandomStream(testSeed: seed)
    let outcome = clip.quantise(update, scratch: &scratch, random: &random, addingInto: &sum)
    return (sum, outcome)
  }

  private func squares(_ vector: [Int64]) -> Int64 { vector.reduce(0) { $0 + $1 * $1 } }

  private func norm(_ vector: [Int64]) -> Double { Double(squares(vector)).squareRoot() }

  @Test func `a bad norm, scale or dimension is refused`() {
    for bad in [0, -1, .nan, .infinity] {
      #expect(throws: PrivacyError.self) { try IntegerClip(clipNorm: bad, scale: 1, dimension: 1) }
      #expect(throws: PrivacyError.self) { try IntegerClip(clipNorm: 1, scale: bad, dimension: 1) }
    }
    for bad in [0, -1, IntegerClip.maximumDimension + 1] {
      #expect(throws: PrivacyError.self) { try IntegerClip(clipNorm: 1, scale: 1, dimension: bad) }
    }
    #expect(throws: PrivacyError.gridTooFine(scaledClipNorm: 0x1p31, dimension: 1)) {
      try IntegerClip(clipNorm: 1, scale: 0x1p31, dimension: 1)
    }
  }

  @Test func `the bound and the largest coordinate are those of the formula`() throws {
    // s²C² + d/4 + sC + √d/2 = 2500 + 2500 + 50 + 50.
    let usual = try IntegerClip(clipNorm: 0.5, scale: 100, dimension: 10_000)
    #expect(usual.sensitivityL2Squared == 5100)
    #expect(usual.maximumAbsoluteCoordinate == 71)
    #expect(isClose(usual.sensitivityL1, 5100, relative: 1e-12), "√d exceeds Δ₂: Δ₁ is Δ₂²")
    #expect(usual.decode(sum: 250) == 2.5)
    // 0.01 + 0.25 + 0.1 + 0.5 rounds down to 0, which is raised to 1.
    let tiny = try IntegerClip(clipNorm: 0.1, scale: 1, dimension: 1)
    #expect(tiny.sensitivityL2Squared == 1 && tiny.maximumAbsoluteCoordinate == 1)
    let large = try IntegerClip(clipNorm: 1, scale: 0x1p31 - 3, dimension: 1)
    #expect(
      large.maximumAbsoluteCoordinate * large.maximumAbsoluteCoordinate
        <= large.sensitivityL2Squared)
    #expect(large.maximumAbsoluteCoordinate < 1 << 31)
  }

  @Test func `replace-one neighbours differ by twice the clip`() throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 100, dimension: 9)
    let event = clip.event(variance: 5, samplerErrorLog2: -90, relation: .replaceOne, count: 3)
    #expect(
      event
        == PrivacyEvent(
          mechanism: .skellam(
            variance: 5, sensitivityL2Squared: 4 * clip.sensitivityL2Squared,
            sensitivityL1: 2 * clip.sensitivityL1, dimension: 9, samplerErrorLog2: -90),
          count: 3))
    var accountant = RenyiAccountant()
    let huge = try IntegerClip(clipNorm: 1, scale: 0x1p31 - 3, dimension: 1)
    #expect(throws: PrivacyError.self, "4Δ₂² does not fit and must not be cut") {
      try accountant.compose(
        huge.event(variance: 5, samplerErrorLog2: -90, relation: .replaceOne))
    }
  }

  @Test func `the bound holds where rounding often breaks it, and retries are seen`() throws {
    // Every coordinate is 1/2: Σ is binomial with mean 50 and deviation 5, the bound is 60.
    let clip = try IntegerClip(clipNorm: 1, scale: 5, dimension: 100)
    let update = [Float](repeating: 0.1, count: 100)
    var retries = 0
    for seed in 0..<1000 {
      let (sum, outcome) = quantise(update, clip, seed: UInt64(seed))
      #expect(squares(sum) <= clip.sensitivityL2Squared)
      if case .rounded(let attempt) = outcome, attempt > 1 { retries += 1 }
    }
    #expect(retries > 3, "the test would pass without the check: \(retries) retries")
  }

  @Test(arguments: [1, 2, 3, 4095, 4096, 4097, 10_001])
  func `hostile updates stay within the bound`(_ dimension: Int) throws {
    let extreme = Float.greatestFiniteMagnitude
    var spike = [Float](repeating: 0, count: dimension)
    spike[dimension - 1] = -extreme
    let updates: [[Float]] = [
      spike, [Float](repeating: extreme, count: dimension),
      [Float](repeating: .leastNonzeroMagnitude, count: dimension),
      (0..<dimension).map { $0.isMultiple(of: 2) ? extreme : -.leastNonzeroMagnitude },
      (0..<dimension).map { Float($0 % 7) - 3 }, [Float](repeating: -0.0, count: dimension),
    ]
    for scale in [0.001, 0.5, 3, 1000, 1e6, 0x1p31 - 1000] {
      let clip = try IntegerClip(clipNorm: 1, scale: scale, dimension: dimension)
      for (index, update) in updates.enumerated() {
        let (sum, outcome) = quantise(update, clip, seed: UInt64(index))
        #expect(squares(sum) <= clip.sensitivityL2Squared)
        #expect(sum.allSatisfy { abs($0) <= clip.maximumAbsoluteCoordinate })
        #expect(outcome != .notFinite)
      }
    }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity, .signalingNaN])
  func `an update that is not finite contributes nothing`(_ bad: Float) throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 100, dimension: 5000)
    for position in [0, 4095, 4099, 4999] {
      var update = [Float](repeating: 0.01, count: 5000)
      update[position] = bad
      let (sum, outcome) = quantise(update, clip, seed: 3)
      #expect(outcome == .notFinite)
      #expect(sum.allSatisfy { $0 == 0 })
    }
  }

  @Test func `truncation is within the bound for random directions at the norm`() throws {
    var random = RandomStream(testSeed: 8)
    for scale in [0.3, 2, 50, 1e5, 0x1p31 - 200] {
      for dimension in [1, 2, 17, 4100] {
        let clip = try IntegerClip(clipNorm: 1, scale: scale, dimension: dimension)
        let update = (0..<dimension).map { _ in Float(Int32(truncatingIfNeeded: random.word())) }
        let length = update.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
        var rounded = [Int32](repeating: 0, count: dimension)
        let squares = update.withUnsafeBufferPointer { update in
          rounded.withUnsafeMutableBufferPointer {
            IntegerClip.truncate(update, factor: scale / length, into: $0)
          }
        }
        #expect(squares <= clip.sensitivityL2Squared)
        for (x, integer) in zip(update, rounded) {
          #expect(abs(Double(integer)) <= abs(Double(x)) * scale / length)
        }
      }
    }
  }

  @Test func `an update within the norm is not shrunk, a longer one is shrunk to it`() throws {
    let clip = try IntegerClip(clipNorm: 2, scale: 1e6, dimension: 4)
    let short = quantise([1, 0, -1, 0.5], clip, seed: 1)
    #expect(short.sum == [1_000_000, 0, -1_000_000, 500_000], "integers are never moved")
    let long = quantise([30, 0, -40, 0], clip, seed: 1)
    #expect(abs(norm(long.sum) / 1e6 - 2) < 1e-5)
    #expect(abs(long.sum[0] - 1_200_000) <= 1 && abs(long.sum[2] + 1_600_000) <= 1)
  }

  @Test func `rounding is unbiased and moves no coordinate by a whole unit`() throws {
    let clip = try IntegerClip(clipNorm: 100, scale: 1, dimension: 4)
    let update: [Float] = [0.25, -0.75, 7.5, -3]
    var sum = [Int64](repeating: 0, count: 4)
    var scratch = IntegerClip.Scratch(dimension: 4)
    var random = RandomStream(testSeed: 21)
    let count = 20_000
    for _ in 0..<count {
      clip.quantise(update, scratch: &scratch, random: &random, addingInto: &sum)
    }
    for (total, value) in zip(sum, update) {
      let mean = Double(total) / Double(count)
      #expect(abs(mean - Double(value)) < 4 * 0.5 / Double(count).squareRoot())
    }
    #expect(sum[3] == Int64(-3 * count))
    for seed in 0..<50 {
      let single = quantise(update, clip, seed: UInt64(seed)).sum
      #expect(zip(single, update).allSatisfy { abs(Float($0) - $1) < 1 })
    }
  }

  @Test func `contributors add up`() throws {
    let clip = try IntegerClip(clipNorm: 1, scale: 1000, dimension: 10_000)
    var random = RandomStream(testSeed: 2)
    var scratch = IntegerClip.Scratch(dimension: 10_000)
    var sum = [Int64](repeating: 0, count: 10_000)
    var update = [Float](repeating: 0.004, count: 10_000)
    let contributors = 700
    for _ in 0..<contributors {
      let outcome = update.withUnsafeMutableBufferPointer {
        clip.quantise($0, scratch: &scratch, random: &random, addingInto: &sum)
      }
      #expect(outcome != .notFinite)
    }
    let mean = sum.reduce(0.0) { $0 + clip.decode(sum: $1) } / 10_000
    #expect(isClose(mean, 0.004 * Double(contributors), relative: 1e-3))
  }
}
