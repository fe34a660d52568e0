/// Packing to b bits and adding packed vectors. The layout is documented at `RingVector`.
enum RingKernel {
  /// Packs words below 2^b.
  static func pack(_ words: [UInt32], ringBits: Int) -> [UInt8] {
    let byteCount = RingVector.packedByteCount(dimension: words.count, ringBits: ringBits)
    return [UInt8](unsafeUninitializedCapacity: byteCount) { bytes, initialized in
      words.withUnsafeBufferPointer { words in
        let target = UnsafeMutableRawBufferPointer(bytes)
        switch ringBits {
        case 16:
          for index in words.indices {
            target.storeBytes(
              of: UInt16(truncatingIfNeeded: words[index]).littleEndian, toByteOffset: index &* 2,
              as: UInt16.self)
          }
        case 20: pack20(words, into: target)
        case 24:
          for index in words.indices {
            let word = words[index]
            let offset = index &* 3
            target[offset] = UInt8(truncatingIfNeeded: word)
            target[offset &+ 1] = UInt8(truncatingIfNeeded: word >> 8)
            target[offset &+ 2] = UInt8(truncatingIfNeeded: word >> 16)
          }
        default:
          for index in words.indices {
            target.storeBytes(of: words[index].littleEndian, toByteOffset: index &* 4, as: UInt32.self)
          }
        }
      }
      initialized = byteCount
    }
  }

  private static func pack20(_ words: UnsafeBufferPointer<UInt32>, into target: UnsafeMutableRawBufferPointer)
  {
    let pairs = words.count / 2
    for pair in 0..<pairs {
      let first = words[pair &* 2]
      let second = words[pair &* 2 &+ 1]
      let offset = pair &* 5
      target.storeBytes(of: (first | second << 20).littleEndian, toByteOffset: offset, as: UInt32.self)
      target[offset &+ 4] = UInt8(truncatingIfNeeded: second >> 12)
    }
    if words.count % 2 == 1, let last = words.last {
      target[pairs * 5] = UInt8(truncatingIfNeeded: last)
      target[pairs * 5 + 1] = UInt8(truncatingIfNeeded: last >> 8)
      target[pairs * 5 + 2] = UInt8(truncatingIfNeeded: last >> 16)
    }
  }

  /// Adds a packed vector of `words.count` values, modulo 2^32. The caller checked the length.
  static func add(packed bytes: [UInt8], ringBits: Int, to words: inout [UInt32]) {
    precondition(
      bytes.count == RingVector.packedByteCount(dimension: words.count, ringBits: ringBits),
      "a packed vector has the length of its dimension")
    bytes.withUnsafeBytes { bytes in
      words.withUnsafeMutableBufferPointer { words in
        switch ringBits {
        case 16:
          for index in words.indices {
            words[index] &+= UInt32(
              UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self)))
          }
        case 20: add20(bytes, to: words)
        case 24: add24(bytes, to: words)
        default:
          for index in words.indices {
            words[index] &+= UInt32(
              littleEndian: bytes.loadUnaligned(fromByteOffset: index &* 4, as: UInt32.self))
          }
        }
      }
    }
  }

  private static func add20(_ bytes: UnsafeRawBufferPointer, to words: UnsafeMutableBufferPointer<UInt32>) {
    let pairs = words.count / 2
    for pair in 0..<pairs {
      let offset = pair &* 5
      let low = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      let high = UInt32(bytes[offset &+ 4])
      words[pair &* 2] &+= low & 0xF_FFFF
      words[pair &* 2 &+ 1] &+= low >> 20 | high << 12
    }
    if words.count % 2 == 1 { words[words.count - 1] &+= three(bytes, pairs * 5) & 0xF_FFFF }
  }

  private static func add24(_ bytes: UnsafeRawBufferPointer, to words: UnsafeMutableBufferPointer<UInt32>) {
    let quads = words.count / 4
    for quad in 0..<quads {
      let offset = quad &* 12
      let first = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
      let second = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset &+ 4, as: UInt32.self))
      let third = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset &+ 8, as: UInt32.self))
      words[quad &* 4] &+= first & 0xFF_FFFF
      words[quad &* 4 &+ 1] &+= (first >> 24 | second << 8) & 0xFF_FFFF
      words[quad &* 4 &+ 2] &+= (second >> 16 | third << 16) & 0xFF_FFFF
      words[quad &* 4 &+ 3] &+= third >> 8
    }
    for index in quads * 4..<words.count { words[index] &+= three(bytes, index * 3) }
  }

  private static func three(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt32 {
    UInt32(bytes[offset]) | UInt32(bytes[offset + 1]) << 8 | UInt32(bytes[offset + 2]) << 16
  }

  /// Reduces every word modulo 2^b.
  static func reduce(_ words: inout [UInt32], ringBits: Int) {
    guard ringBits < 32 else { return }
    let mask = RingWidth.mask(ringBits)
    words.withUnsafeMutableBufferPointer { words in
      for index in words.indices { words[index] &= mask }
    }
  }
}
