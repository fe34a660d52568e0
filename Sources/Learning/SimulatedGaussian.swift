/// Normal numbers from a seed, for simulations and measurements only: what is deployed adds integer noise of
/// a cryptographic generator (`DistributedMechanism`).
///
/// Bits of xorwow (Marsaglia: *Xorshift RNGs*, Journal of Statistical Software 8(14), 2003), eight generators
/// side by side, to pairs of normal numbers in single precision (Box and Muller 1958) up to 6.6 standard
/// deviations. Every block of 1,024 numbers has a seed of its own, so that threads can share a vector.
package struct SimulatedGaussian: Sendable {
  /// Numbers with a common seed: a range to fill begins at a multiple of it.
  package static let block = 1_024
  private let seed: UInt64

  /// The numbers of a seed.
  package init(seed: UInt64) { self.seed = seed }

  /// Fills `values` with the numbers from position `first` on of vector number `vector`, of standard
  /// deviation `deviation`.
  ///
  /// - Parameter first: a multiple of `block`; other vectors and positions have independent numbers.
  package func fill(
    _ values: UnsafeMutableBufferPointer<Float>, deviation: Float, vector: Int, first: Int = 0
  ) {
    precondition(first % Self.block == 0, "a range of noise begins at the beginning of a block")
    guard let base = values.baseAddress else { return }
    for start in stride(from: 0, to: values.count, by: Self.block) {
      var bits = VectorBits(
        seed: seed, vector: UInt64(truncatingIfNeeded: vector),
        block: UInt64(truncatingIfNeeded: (first + start) / Self.block))
      let end = min(start + Self.block, values.count)
      var index = start
      while index + 16 <= end {
        let (a, b) = bits.normals(deviation)
        let (c, d) = bits.normals(deviation)
        VectorKernels.store(a, base + index)
        VectorKernels.store(b, base + index + 4)
        VectorKernels.store(c, base + index + 8)
        VectorKernels.store(d, base + index + 12)
        index += 16
      }
      while index < end {
        let (a, b) = bits.normals(deviation)
        for lane in 0..<min(8, end - index) { values[index + lane] = lane < 4 ? a[lane] : b[lane - 4] }
        index += 8
      }
    }
  }
}

/// Eight generators, four of radii and four of angles.
private struct VectorBits {
  private typealias Words = SIMD4<UInt32>
  private var radius: State
  private var angle: State

  init(seed: UInt64, vector: UInt64, block: UInt64) {
    // Each argument goes through a round of mixing, so that near ones give unrelated seeds.
    var generator = SplitMix64(seed: seed)
    generator = SplitMix64(seed: generator.next() ^ vector)
    generator = SplitMix64(seed: generator.next() ^ block)
    radius = State(&generator)
    angle = State(&generator)
  }

  /// No rotations: compilers for processors without vector rotations take the lanes apart.
  private struct State {
    var words: (Words, Words, Words, Words, Words)
    var weyl: Words

    init(_ generator: inout SplitMix64) {
      func words() -> Words {
        let (x, y) = (generator.next(), generator.next())
        return Words(
          UInt32(truncatingIfNeeded: x), UInt32(truncatingIfNeeded: x >> 32),
          UInt32(truncatingIfNeeded: y), UInt32(truncatingIfNeeded: y >> 32))
      }
      // A state of zeros alone would stay there.
      self.words = (words(), words(), words(), words(), words() | 1)
      weyl = words()
    }

    @inline(__always)
    mutating func next() -> Words {
      let old = words.0 ^ (words.0 &>> 2)
      let last = words.4
      let new = (last ^ (last &<< 4)) ^ (old ^ (old &<< 1))
      words = (words.1, words.2, words.3, last, new)
      weyl &+= 362_437
      return new &+ weyl
    }
  }

  /// Eight normal numbers.
  @inline(__always)
  mutating func normals(_ deviation: Float) -> (VectorKernels.Lanes, VectorKernels.Lanes) {
    // 31 bits between 0 and 1, never 0.
    let whole = unsafeBitCast(radius.next() &>> 1, to: SIMD4<Int32>.self)
    let uniform = (VectorKernels.Lanes(whole) + 0.5) * 0x1p-31
    let length = VectorKernels.squareRoot(of: VectorKernels.logarithm(of: uniform) * -2) * deviation
    // An angle of −π/4 ..< π/4 from the upper bits; the two low ones put it into one of four quarters.
    let word = angle.next()
    let turn = VectorKernels.Lanes(unsafeBitCast(word & ~3, to: SIMD4<Int32>.self)) * (0x1p-31 * .pi / 4)
    let (sine, cosine) = VectorKernels.sineAndCosine(of: turn)
    let isSwapped = (word & 1) .== 1
    let sign = (word & 2) &<< 30
    let signed = unsafeBitCast(
      unsafeBitCast(length, to: Words.self) ^ sign, to: VectorKernels.Lanes.self)
    return (
      signed * cosine.replacing(with: sine, where: isSwapped),
      signed * sine.replacing(with: cosine, where: isSwapped)
    )
  }
}

extension VectorKernels {
  /// ln x for normal numbers x > 0, to within three units in the last place (the Cephes library's `logf`).
  @inline(__always)
  static func logarithm(of x: Lanes) -> Lanes {
    let bits = unsafeBitCast(x, to: SIMD4<Int32>.self)
    // x = 2ⁿ · (1 + m), 1 + m from √½ to √2.
    let exponent = (bits &- 0x3f35_04f3) &>> 23
    let m = unsafeBitCast(bits &- (exponent &<< 23), to: Lanes.self) - 1
    var polynomial = m * 7.037_683_6e-2 - 1.151_461e-1
    polynomial = polynomial * m + 1.167_699_9e-1
    polynomial = polynomial * m - 1.242_014_1e-1
    polynomial = polynomial * m + 1.424_932_3e-1
    polynomial = polynomial * m - 1.666_805_7e-1
    polynomial = polynomial * m + 2.000_071_5e-1
    polynomial = polynomial * m - 2.499_999_4e-1
    polynomial = polynomial * m + 3.333_333_1e-1
    let square = m * m
    let n = Lanes(exponent)
    let low = polynomial * m * square + n * -2.121_944_4e-4 - square * 0.5
    return m + low + n * 0.693_359_375
  }

  /// √x for x = 0 and normal x > 0, to within three units in the last place: Newton's method for 1 / √x from
  /// a guess of the exponent. The library's `squareRoot` takes the lanes apart.
  @inline(__always)
  static func squareRoot(of x: Lanes) -> Lanes {
    let guess = 0x5f37_59df &- (unsafeBitCast(x, to: SIMD4<UInt32>.self) &>> 1)
    let half = x * 0.5
    var root = unsafeBitCast(guess, to: Lanes.self)
    root *= 1.5 - half * root * root
    root *= 1.5 - half * root * root
    root *= 1.5 - half * root * root
    return x * root
  }

  /// Sine and cosine for −π/4 … π/4, to within two units in the last place (the Cephes library's `sinf`,
  /// `cosf`).
  @inline(__always)
  static func sineAndCosine(of x: Lanes) -> (sine: Lanes, cosine: Lanes) {
    let square = x * x
    let odd = (square * -1.951_529_6e-4 + 8.332_161e-3) * square - 1.666_665_5e-1
    let even = (square * 2.443_315_7e-5 - 1.388_731_6e-3) * square + 4.166_664_6e-2
    return (odd * square * x + x, even * square * square - square * 0.5 + 1)
  }
}
