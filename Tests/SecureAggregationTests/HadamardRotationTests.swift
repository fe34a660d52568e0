import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

struct HadamardRotationTests {
  private static let session = Hash.blake2b(Array("session".utf8))

  private func gaussian(_ count: Int, seed: UInt64) -> [Double] {
    var random = RandomStream(testSeed: seed)
    func unit() -> Double { (Double(random.word() >> 11) + 0.5) * 0x1p-53 }
    return (0..<count).map { _ in (-2 * log(unit())).squareRoot() * cos(2 * .pi * unit()) }
  }

  private func norm(_ vector: [Double]) -> Double { vector.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  @Test(arguments: [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 100, 1_000, 4_096, 5_000, 8_192, 20_000, 40_000])
  func `keeps norms and is undone by its inverse`(dimension: Int) throws {
    let rotation = try HadamardRotation(dimension: dimension, sessionID: Self.session)
    let padded = rotation.rotatedDimension
    #expect(padded >= dimension && padded < 2 * dimension && padded.nonzeroBitCount == 1)
    let vector = gaussian(dimension, seed: UInt64(dimension))
    let rotated = try rotation.forward(vector)
    #expect(rotated.count == padded)
    #expect(abs(norm(rotated) / norm(vector) - 1) < 1e-12)
    let back = try rotation.inverse(rotated)
    #expect(back.count == dimension)
    #expect(zip(back, vector).allSatisfy { abs($0 - $1) < 1e-12 })
    let single = vector.map { Float($0) }
    let singleBack = try rotation.inverse(try rotation.forward(single))
    #expect(zip(singleBack, single).allSatisfy { abs($0 - $1) < 2e-5 })
  }

  /// The definition: entry (j, i) is (-1)^popcount(i & j)·sign_i/√m.
  @Test(arguments: [1, 2, 4, 8, 16, 32, 64, 4_096, 8_192, 16_384])
  func `equals the Walsh-Hadamard matrix`(dimension: Int) throws {
    let rotation = try HadamardRotation(dimension: dimension, sessionID: Self.session)
    let seed = Hash.blake2b(domain: "accord/secagg/1/rotation", [Self.session.bytes])
    var stream = RandomStream(seed: SecretBytes(copying: seed.bytes))
    let bytes = stream.bytes((dimension + 63) / 64 * 8)
    let root = Double(dimension).squareRoot()
    var random = RandomStream(testSeed: 6)
    for _ in 0..<4 {
      let column = Int(random.uniform(below: UInt64(dimension)))
      var unit = [Double](repeating: 0, count: dimension)
      unit[column] = 1
      let rotated = try rotation.forward(unit)
      let flip = bytes[column / 8] >> UInt8(column % 8) & 1 == 1
      let agrees = rotated.indices.allSatisfy { row in
        let isNegative = ((row & column).nonzeroBitCount % 2 == 1) != flip
        return abs(rotated[row] - (isNegative ? -1 : 1) / root) < 1e-14
      }
      #expect(agrees)
    }
  }

  @Test func `is linear, so sums may be rotated back instead of vectors`() throws {
    let rotation = try HadamardRotation(dimension: 5_000, sessionID: Self.session)
    let (a, b) = (gaussian(5_000, seed: 1), gaussian(5_000, seed: 2))
    let sum = zip(try rotation.forward(a), try rotation.forward(b)).map { $0 + 3 * $1 }
    let back = try rotation.inverse(sum)
    #expect(zip(back, zip(a, b)).allSatisfy { abs($0 - ($1.0 + 3 * $1.1)) < 1e-11 })
  }

  @Test func `signs follow from the session and are fair`() throws {
    let size = 1 << 16
    func signs(_ session: Digest) throws -> [Bool] {
      // The first row of H is constant: rotating each unit vector would read off its sign; one inverse of
      // the first rotated unit vector reads all.
      let rotation = try HadamardRotation(dimension: size, sessionID: session)
      var first = [Double](repeating: 0, count: size)
      first[0] = 1
      return try rotation.inverse(first).map { $0 < 0 }
    }
    let one = try signs(Self.session)
    let other = try signs(Hash.blake2b([1]))
    #expect(one == (try signs(Self.session)))
    // Six standard deviations of 128.
    #expect(abs(one.count { $0 } - size / 2) < 768)
    #expect(abs(zip(one, other).count { $0 == $1 } - size / 2) < 768)
  }

  /// The bound at a probability that can be observed: the failure bound is exceeded at most that often, and
  /// 0.6 of it would be exceeded far more often.
  @Test(arguments: [64, 1_024])
  func `coordinates exceed their bound as rarely as promised`(dimension: Int) throws {
    let trials = 800
    let target = -4.0
    let bound = HadamardRotation.coordinateBound(
      sumNorm: 1, rotatedDimension: dimension, log2Failure: target)
    // All of the norm in 32 coordinates, as unlike a Gaussian as the bound must bear.
    var vector = [Double](repeating: 0, count: dimension)
    for index in 0..<32 { vector[index * dimension / 32] = 32.0.squareRoot() / 32 }
    var exceeded = 0
    var nearly = 0
    for trial in 0..<trials {
      let session = Hash.blake2b(Array("\(trial)".utf8))
      let rotated = try HadamardRotation(dimension: dimension, sessionID: session).forward(vector)
      let largest = rotated.reduce(0) { max($0, abs($1)) }
      if largest > bound { exceeded += 1 }
      if largest > bound * 0.6 { nearly += 1 }
    }
    #expect(Double(exceeded) <= Double(trials) * exp2(target))
    #expect(Double(nearly) > Double(trials) * exp2(target))
  }

  @Test func `a sum of clipped vectors stays within the planned ring`() throws {
    let (contributions, dimension, scale) = (50, 4_000, 200.0)
    let plan = try RingWidth.choose(
      contributions: contributions, clipNorm: 1, scale: scale, noiseVariance: 0, dimension: dimension,
      rotated: true)
    let rotation = try HadamardRotation(dimension: dimension, sessionID: Self.session)
    #expect(plan.dimension == rotation.rotatedDimension)
    // Everybody contributes the same spike: the worst that the norm allows.
    var spike = [Double](repeating: 0, count: dimension)
    spike[17] = 1
    let one = try rotation.forward(spike).map { ($0 * scale).rounded(.awayFromZero) }
    let largest = one.reduce(0) { max($0, abs($1)) } * Double(contributions)
    #expect(largest <= Double(plan.maximumAbsoluteSum))
    // Without the rotation the same sum is out of this plan's reach.
    #expect(Double(contributions) * scale > Double(plan.maximumAbsoluteSum))
  }

  @Test func `refuses wrong lengths and dimensions`() throws {
    let rotation = try HadamardRotation(dimension: 5, sessionID: Self.session)
    #expect(throws: AggregationError.wrongInputLength(expected: 5, actual: 8)) {
      try rotation.forward([Float](repeating: 0, count: 8))
    }
    #expect(throws: AggregationError.wrongInputLength(expected: 8, actual: 5)) {
      try rotation.inverse([Double](repeating: 0, count: 5))
    }
    for dimension in [Int.min, 0, AggregationParameters.maximumDimension + 1, .max] {
      #expect(throws: AggregationError.self) {
        try HadamardRotation(dimension: dimension, sessionID: Self.session)
      }
    }
  }
}
