#if DEBUG
  /// Reads an input as a script: small numbers, one after the other, zeros behind the end.
  struct ScriptReader {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { position >= bytes.count }

    mutating func byte() -> UInt8 {
      guard position < bytes.count else { return 0 }
      defer { position += 1 }
      return bytes[position]
    }

    /// A number of 0..<bound.
    mutating func number(below bound: Int) -> Int { bound > 0 ? Int(byte()) % bound : 0 }

    /// Eight bytes, little endian.
    mutating func word() -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(byte()) << (8 * UInt64($1)) } }

    mutating func rest() -> [UInt8] {
      defer { position = bytes.count }
      return position < bytes.count ? Array(bytes[position...]) : []
    }
  }

  /// Deterministic mutations, for runs without libFuzzer.
  package struct Mutator {
    private var state: UInt64

    /// A sequence of its own for every seed.
    package init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }

    /// SplitMix64: only spreads mutations, nothing depends on its quality.
    private mutating func next(below bound: Int) -> Int {
      state &+= 0x9e37_79b9_7f4a_7c15
      var word = state
      word = (word ^ word >> 30) &* 0xbf58_476d_1ce4_e5b9
      word = (word ^ word >> 27) &* 0x94d0_49bb_1331_11eb
      return bound > 0 ? Int((word ^ word >> 31) % UInt64(bound)) : 0
    }

    /// One to four changes: bits, bytes, cuts, insertions, repeated and swapped stretches.
    package mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
      var bytes = bytes
      for _ in 0...next(below: 4) {
        let at = next(below: bytes.count)
        switch next(below: 7) {
        case 0 where !bytes.isEmpty: bytes[at] ^= 1 << UInt8(next(below: 8))
        case 1 where !bytes.isEmpty: bytes[at] = UInt8(next(below: 256))
        case 2: bytes.removeSubrange(at..<min(bytes.count, at + 1 + next(below: 8)))
        case 3: bytes.insert(UInt8(next(below: 256)), at: at)
        case 4: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 1 + next(below: 40))], at: at)
        case 5: bytes = Array(bytes.prefix(at))
        default: bytes = Array(bytes[at...] + bytes[..<at])
        }
      }
      return bytes
    }
  }
#endif
