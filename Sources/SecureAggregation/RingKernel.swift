/// Packing to b bits and adding packed vectors. The layout is documented at `RingVector`.
///
/// The loops handle two words at a time as one 64-bit integer, the first word in its lower half. They
/// read and write 8 bytes for the 5 or 6 of a pair and so stop early; the last words go one by one.
enum RingKernel {
  /// Packs words below 2^b.
  static func pack(_ words: [UInt32], ringBits: Int) -> [UInt8] {
    let byteCount = RingVector.packedByteCount(dimension: words.count, ringBits: ringBits)
    return [UInt8](unsafeUninitializedCapacity: byteCount) { bytes, initialized in
      words.withUnsafeBufferPointer {
        pack(
          $0, into: UnsafeMutableRawBufferPointer(start: bytes.baseAddress, count: byteCount),
          ringBits: ringBits)
      }
      initialized = byteCount
    }
  }

  /// Adds a packed vector of `words.count` values, modulo 2^32. The caller checked the length.
  static func add(packed bytes: [UInt8], ringBits: Int, to words: inout [UInt32]) {
    precondition(
      bytes.count == RingVector.packedByteCount(dimension: words.count, ringBits: ringBits),
      "a packed vector has the length of its dimension")
    bytes.withUnsafeBytes { bytes in
      words.withUnsafeMutableBufferPointer { add(bytes, to: $0, ringBits: ringBits) }
    }
  }

  /// Reduces every word modulo 2^b.
  static func reduce(_ words: inout [UInt32], ringBits: Int) {
    guard ringBits < 32 else { return }
    let mask = RingWidth.mask(ringBits)
    words.withUnsafeMutableBufferPointer { words in
      for index in words.indices { words[index] &= mask }
    }
  }

  // MARK: Packing

  private static func pack(
    _ words: UnsafeBufferPointer<UInt32>, into target: UnsafeMutableRawBufferPointer, ringBits: Int
  ) {
    switch ringBits {
    case 16:
      for index in words.indices {
        target.storeBytes(
          of: UInt16(truncatingIfNeeded: words[index]).littleEndian, toByteOffset: index &* 2,
          as: UInt16.self)
      }
    case 20: packPairs(words, into: target, ringBits: 20)
    case 24: packPairs(words, into: target, ringBits: 24)
    default:
      for index in words.indices {
        target.storeBytes(of: words[index].littleEndian, toByteOffset: index &* 4, as: UInt32.self)
      }
    }
  }

  @inline(__always)
  private static func packPairs(
    _ words: UnsafeBufferPointer<UInt32>, into target: UnsafeMutableRawBufferPointer, ringBits: Int
  ) {
    let pairBytes = ringBits / 4
    // A store of 8 bytes overwrites the zeros that the one before it left beyond its pair.
    let pairs = target.count < 8 ? 0 : min(words.count / 2, (target.count - 8) / pairBytes + 1)
    for pair in 0..<pairs {
      let joined = UInt64(words[pair &* 2]) | UInt64(words[pair &* 2 &+ 1]) << UInt64(ringBits)
      target.storeBytes(of: joined.littleEndian, toByteOffset: pair &* pairBytes, as: UInt64.self)
    }
    for byte in pairs * pairBytes..<target.count { target[byte] = 0 }
    for index in pairs * 2..<words.count {
      let bit = index * ringBits
      let shifted = words[index] << UInt32(bit % 8)
      for byte in 0..<(bit % 8 + ringBits + 7) / 8 {
        target[bit / 8 + byte] |= UInt8(truncatingIfNeeded: shifted >> UInt32(8 * byte))
      }
    }
  }

  // MARK: Adding

  private static func add(
    _ bytes: UnsafeRawBufferPointer, to words: UnsafeMutableBufferPointer<UInt32>, ringBits: Int
  ) {
    switch ringBits {
    case 16:
      for index in words.indices {
        words[index] &+= UInt32(
          UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self)))
      }
    case 20: addPairs(bytes, to: words, ringBits: 20)
    case 24: addPairs(bytes, to: words, ringBits: 24)
    default:
      for index in words.indices {
        words[index] &+= UInt32(
          littleEndian: bytes.loadUnaligned(fromByteOffset: index &* 4, as: UInt32.self))
      }
    }
  }

  @inline(__always)
  private static func addPairs(
    _ bytes: UnsafeRawBufferPointer, to words: UnsafeMutableBufferPointer<UInt32>, ringBits: Int
  ) {
    let pairBytes = ringBits / 4
    let low = SIMD2<UInt64>(repeating: 1 << UInt64(ringBits) - 1)
    let high = low &<< 32
    let target = UnsafeMutableRawBufferPointer(words)
    // Two pairs at a time; the second is read up to 8 bytes from its start.
    let readable = bytes.count - pairBytes - 8
    let quads = readable < 0 ? 0 : min(words.count / 4, readable / (2 * pairBytes) + 1)
    for quad in 0..<quads {
      let offset = quad &* 2 &* pairBytes
      let pairs = SIMD2(
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)),
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset &+ pairBytes, as: UInt64.self)))
      // The halves of a 64-bit lane are two 32-bit lanes, the lower one first (little endian).
      let spread = unsafeBitCast(
        pairs & low | (pairs &<< UInt64(32 - ringBits)) & high, to: SIMD4<UInt32>.self)
      let sum = target.loadUnaligned(fromByteOffset: quad &* 16, as: SIMD4<UInt32>.self) &+ spread
      target.storeBytes(of: sum, toByteOffset: quad &* 16, as: SIMD4<UInt32>.self)
    }
    for index in quads * 4..<words.count {
      let bit = index * ringBits
      var value: UInt32 = 0
      for byte in 0..<(bit % 8 + ringBits + 7) / 8 {
        value |= UInt32(bytes[bit / 8 + byte]) << UInt32(8 * byte)
      }
      words[index] &+= value >> UInt32(bit % 8) & (1 << UInt32(ringBits) - 1)
    }
  }
}
