/// A vector over the ring Z_2^b, b being 16, 20, 24 or 32 bits. Values are kept as unsigned words below
/// 2^b; read as centred numbers they stand for -2^(b-1)…2^(b-1)-1 (two's complement).
///
/// Packed form: the b-bit values one after the other in a stream of bits in which bit k is bit k mod 8 of
/// byte ⌊k/8⌋ (little endian); the unused bits of the last byte are zero. So 16, 24 and 32 bits are plain
/// little-endian integers of 2, 3 and 4 bytes, and at 20 bits two values share five bytes.
package struct RingVector: Sendable, Equatable {
  /// b.
  package let ringBits: Int
  /// The values, each below 2^b.
  package let words: [UInt32]

  /// Checks and wraps words.
  ///
  /// - Throws: `invalidParameter` for a width that is none, `inputOutOfRing` for the first word ≥ 2^b.
  package init(words: [UInt32], ringBits: Int) throws(AggregationError) {
    try RingWidth.check(ringBits)
    let mask = RingWidth.mask(ringBits)
    var union: UInt32 = 0
    for word in words { union |= word }
    if union & ~mask != 0 {
      throw .inputOutOfRing(index: words.firstIndex { $0 & ~mask != 0 } ?? 0)
    }
    self.words = words
    self.ringBits = ringBits
  }

  /// Encodes signed numbers.
  ///
  /// - Throws: `inputOutOfRing` for the first value outside -2^(b-1)…2^(b-1)-1.
  package init(centred values: [Int64], ringBits: Int) throws(AggregationError) {
    try RingWidth.check(ringBits)
    let half = Int64(1) << (ringBits - 1)
    if let index = values.firstIndex(where: { $0 < -half || $0 >= half }) {
      throw .inputOutOfRing(index: index)
    }
    let mask = RingWidth.mask(ringBits)
    words = values.map { UInt32(truncatingIfNeeded: $0) & mask }
    self.ringBits = ringBits
  }

  /// Reads the packed form.
  ///
  /// - Throws: `wrongInputLength` (bytes) or `nonZeroPadding`.
  package init(packed bytes: [UInt8], dimension: Int, ringBits: Int) throws(AggregationError) {
    try RingWidth.check(ringBits)
    try RingVector.checkPacked(bytes, dimension: dimension, ringBits: ringBits)
    var words = [UInt32](repeating: 0, count: dimension)
    RingKernel.add(packed: bytes, ringBits: ringBits, to: &words)
    self.words = words
    self.ringBits = ringBits
  }

  init(trusted words: [UInt32], ringBits: Int) {
    self.words = words
    self.ringBits = ringBits
  }

  /// The values as signed numbers, centred around zero.
  package var centred: [Int64] {
    let shift = UInt32(32 - ringBits)
    return words.map { Int64(Int32(bitPattern: $0 << shift) >> Int32(shift)) }
  }

  /// The packed form.
  package var packed: [UInt8] { RingKernel.pack(words, ringBits: ringBits) }

  /// Bytes of the packed form: ⌈dimension·b/8⌉.
  package static func packedByteCount(dimension: Int, ringBits: Int) -> Int {
    (dimension * ringBits + 7) / 8
  }

  static func checkPacked(_ bytes: [UInt8], dimension: Int, ringBits: Int) throws(AggregationError) {
    let expected = packedByteCount(dimension: dimension, ringBits: ringBits)
    guard bytes.count == expected else {
      throw .wrongInputLength(expected: expected, actual: bytes.count)
    }
    let used = dimension * ringBits % 8
    if used != 0, let last = bytes.last, last >> UInt8(used) != 0 { throw .nonZeroPadding }
  }
}
