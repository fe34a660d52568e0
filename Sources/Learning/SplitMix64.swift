/// The generator of initial weights and local shuffles (Steele, Lea, Flood: *Fast Splittable Pseudorandom
/// Number Generators*, OOPSLA 2014). Reproducible on every machine; never for secrets or noise.
package struct SplitMix64: RandomNumberGenerator, Sendable {
  private var state: UInt64

  /// Starts the sequence of `seed`.
  package init(seed: UInt64) { state = seed }

  /// The next 64 bits.
  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }

  /// A number of −1 ..< 1, 24 random bits: exact in single precision.
  package mutating func nextSymmetric() -> Float {
    Float(next() >> 40) * 0x1p-23 - 1
  }

  /// Shuffles `values` in place (Fisher and Yates), the same way in every version of Swift's library.
  mutating func shuffle<Element>(_ values: inout [Element]) {
    for last in stride(from: values.count - 1, to: 0, by: -1) {
      let pick = Int(next().multipliedFullWidth(by: UInt64(last + 1)).high)
      values.swapAt(last, pick)
    }
  }
}
