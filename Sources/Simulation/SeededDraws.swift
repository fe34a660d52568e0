import Cryptography
import Foundation

/// Draws of a simulation that replay from a seed: 64-bit words of a `RandomStream`, fetched 512 at a time.
/// The purpose keeps the draws of different uses of one seed apart.
struct SeededDraws {
  private var stream: RandomStream
  private var block: [UInt64] = []
  private var next = 0

  /// Draws for `purpose` under `seed`.
  init(seed: UInt64, purpose: String) {
    let seedBytes = withUnsafeBytes(of: seed.littleEndian) { Array($0) }
    let digest = Hash.blake2b(domain: "accord simulation", [Array(purpose.utf8), seedBytes])
    stream = RandomStream(seed: SecretBytes(copying: digest.bytes))
  }

  /// A uniform 64-bit word.
  mutating func word() -> UInt64 {
    if next == block.count {
      let bytes = stream.bytes(4_096)
      block = bytes.withUnsafeBytes { bytes in
        (0..<512).map { UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * $0, as: UInt64.self)) }
      }
      next = 0
    }
    next += 1
    return block[next - 1]
  }

  /// A uniform integer below `bound`.
  mutating func uniform(below bound: Int) -> Int {
    precondition(bound > 0, "the bound of a uniform draw is positive")
    let bound = UInt64(bound)
    let limit = UInt64.max - UInt64.max % bound
    while true {
      let draw = word()
      if draw < limit { return Int(draw % bound) }
    }
  }

  /// Uniform in [0, 1), a multiple of 2⁻⁵³.
  mutating func unit() -> Double { Double(word() >> 11) * 0x1p-53 }

  /// True with probability `probability`.
  mutating func chance(_ probability: Double) -> Bool { unit() < probability }

  /// Standard normal (Box and Muller; one of the pair is dropped, so that every call takes two words).
  mutating func normal() -> Double {
    let radius = (-2 * log(1 - unit())).squareRoot()
    return radius * cos(2 * .pi * unit())
  }

  /// Exponential with mean 1.
  mutating func exponential() -> Double { -log(1 - unit()) }

  /// An index drawn in proportion to non-negative `weights`, of which at least one is positive.
  mutating func index(weights: [Double]) -> Int {
    var remaining = unit() * weights.reduce(0, +)
    for (index, weight) in weights.enumerated() {
      remaining -= weight
      if remaining < 0 { return index }
    }
    return weights.lastIndex { $0 > 0 } ?? 0
  }

  /// The elements in a uniformly random order (Fisher and Yates).
  mutating func shuffled<Element>(_ elements: [Element]) -> [Element] {
    var elements = elements
    for last in stride(from: elements.count - 1, to: 0, by: -1) {
      elements.swapAt(last, uniform(below: last + 1))
    }
    return elements
  }
}
