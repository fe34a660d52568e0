import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

struct RingTests {
  @Test(arguments: RingWidth.all)
  func `packing and unpacking give the same words at every length`(ringBits: Int) throws {
    var random = RandomStream(testSeed: UInt64(ringBits))
    for dimension in Array(1...33) + [1_000, 4_097] {
      let words = (0..<dimension).map { _ in
        UInt32(truncatingIfNeeded: random.word()) & RingWidth.mask(ringBits)
      }
      let vector = try RingVector(words: words, ringBits: ringBits)
      #expect(vector.packed.count == (dimension * ringBits + 7) / 8)
      #expect(try RingVector(packed: vector.packed, dimension: dimension, ringBits: ringBits) == vector)
      #expect(try RingVector(centred: vector.centred, ringBits: ringBits) == vector)
    }
  }

  @Test(arguments: RingWidth.all)
  func `the packed form is the documented stream of bits`(ringBits: Int) throws {
    var random = RandomStream(testSeed: 5)
    let words = (0..<13).map { _ in UInt32(truncatingIfNeeded: random.word()) & RingWidth.mask(ringBits) }
    let packed = try RingVector(words: words, ringBits: ringBits).packed
    for (index, word) in words.enumerated() {
      for bit in 0..<ringBits {
        let position = index * ringBits + bit
        #expect(packed[position / 8] >> UInt8(position % 8) & 1 == UInt8(word >> UInt32(bit) & 1))
      }
    }
  }

  @Test func `packs known bytes`() throws {
    #expect(
      try RingVector(words: [0x12345, 0x6789A, 0xBCDEF], ringBits: 20).packed
        == [0x45, 0x23, 0xA1, 0x89, 0x67, 0xEF, 0xCD, 0x0B])
    #expect(try RingVector(centred: [-1, 1], ringBits: 24).packed == [0xFF, 0xFF, 0xFF, 1, 0, 0])
  }

  @Test func `refuses wrong lengths, padding, widths and values`() throws {
    #expect(throws: AggregationError.wrongInputLength(expected: 8, actual: 7)) {
      try RingVector(packed: [UInt8](repeating: 0, count: 7), dimension: 3, ringBits: 20)
    }
    #expect(throws: AggregationError.nonZeroPadding) {
      try RingVector(packed: [0, 0, 0, 0, 0, 0, 0, 0x10], dimension: 3, ringBits: 20)
    }
    #expect(throws: AggregationError.inputOutOfRing(index: 1)) {
      try RingVector(words: [0xFFFF, 0x10000], ringBits: 16)
    }
    #expect(throws: AggregationError.inputOutOfRing(index: 0)) {
      try RingVector(centred: [32_768], ringBits: 16)
    }
    #expect(throws: AggregationError.inputOutOfRing(index: 2)) {
      try RingVector(centred: [0, -32_768, -32_769], ringBits: 16)
    }
    #expect(throws: AggregationError.invalidParameter(.ringBits, value: 17, minimum: 16, maximum: 32)) {
      try RingVector(words: [], ringBits: 17)
    }
  }

  @Test(arguments: [1, 16_383, 16_384, 16_385, 65_536, 65_537, 200_003])
  func `the fused mask kernel equals the plain key stream`(dimension: Int) {
    var random = RandomStream(testSeed: UInt64(dimension))
    let streams = (0..<3).map { _ in KeyStream(seed: random.secret(32)) }
    let masks = zip(streams, [true, false, true]).map { Mask(stream: $0, isAdded: $1) }
    var words = [UInt32](repeating: 7, count: dimension)
    MaskKernel.apply(masks, to: &words)

    var expected = [UInt32](repeating: 7, count: dimension)
    var bytes = [UInt8](repeating: 0, count: KeyStream.chunkBytes)
    for chunk in 0...(dimension / 16_384) {
      for (stream, isAdded) in zip(streams, [true, false, true]) {
        bytes.withUnsafeMutableBytes { stream.writeChunk(UInt32(chunk), into: $0) }
        for index in chunk * 16_384..<min((chunk + 1) * 16_384, dimension) {
          let offset = (index - chunk * 16_384) * 4
          let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
          expected[index] = isAdded ? expected[index] &+ word : expected[index] &- word
        }
      }
    }
    #expect(firstDifference(words, expected) == nil)
  }

  @Test func `adding masks and subtracting them leaves nothing`() {
    var random = RandomStream(testSeed: 4)
    let stream = KeyStream(seed: random.secret(32))
    var words = (0..<70_000).map { _ in UInt32(truncatingIfNeeded: random.word()) }
    let before = words
    MaskKernel.apply([Mask(stream: stream, isAdded: true)], to: &words)
    #expect(firstDifference(words, before) != nil)
    MaskKernel.apply([Mask(stream: stream, isAdded: false)], to: &words)
    #expect(firstDifference(words, before) == nil)
  }
}
