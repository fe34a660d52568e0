import Cryptography
import Testing

@testable import SecureAggregation

struct RingKernelTests {
  @Test(arguments: RingWidth.all)
  func `adding a packed vector adds its words modulo 2^32`(ringBits: Int) {
    var random = RandomStream(testSeed: UInt64(ringBits))
    for dimension in Array(0...70) + [1_001, 20_003] {
      let words = (0..<dimension).map { _ in
        UInt32(truncatingIfNeeded: random.word()) & RingWidth.mask(ringBits)
      }
      let start = (0..<dimension).map { _ in UInt32(truncatingIfNeeded: random.word()) }
      let packed = RingKernel.pack(words, ringBits: ringBits)
      var sum = start
      RingKernel.add(packed: packed, ringBits: ringBits, to: &sum)
      let areEqual = sum == zip(start, words).map { $0 &+ $1 }
      #expect(areEqual, "dimension \(dimension)")
    }
  }

  @Test(arguments: RingWidth.all)
  func `the largest words do not spill into their neighbours`(ringBits: Int) {
    for dimension in 1...40 {
      for position in 0..<dimension {
        var words = [UInt32](repeating: 0, count: dimension)
        words[position] = RingWidth.mask(ringBits)
        var sum = [UInt32](repeating: 0, count: dimension)
        RingKernel.add(packed: RingKernel.pack(words, ringBits: ringBits), ringBits: ringBits, to: &sum)
        let areEqual = sum == words
        #expect(areEqual, "dimension \(dimension), position \(position)")
      }
    }
  }
}
