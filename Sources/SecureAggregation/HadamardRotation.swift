package import Cryptography
import Foundation

/// The randomised Hadamard rotation y = H·D·x/√m: D flips signs at random, H is the Walsh-Hadamard matrix
/// of m, the next power of two. It spreads a vector's norm evenly over the coordinates, so that sums need a
/// narrower ring (Suresh, Yu, Kumar, McMahan 2017, section 3; Kairouz, Liu, Steinke 2021, section 2).
///
/// Vectors are clipped, rotated, rounded, summed and rotated back. The rotation is orthonormal: it changes
/// neither an L2 norm, and so no sensitivity, nor what is linear. x is padded with zeros to m coordinates,
/// and all m coordinates of y have to be aggregated and noised, up to twice as many as x has.
///
/// The signs are public; everybody of a session derives them from its identifier. The bound on a
/// coordinate holds for data that do not depend on them. A server that tries many identifiers, or a
/// participant that shapes its input, can break the bound and so make a sum wrap; that costs accuracy and
/// not privacy, since the sum was noised before it was reduced.
package struct HadamardRotation: Sendable {
  /// Coordinates of the vectors that are rotated.
  package let dimension: Int
  /// m, the coordinates of rotated vectors: the smallest power of two that is at least `dimension`.
  package let rotatedDimension: Int
  /// Bit i mod 64 of word ⌊i/64⌋ is set where the sign of coordinate i changes.
  private let flips: [UInt64]

  /// The rotation of a session: its signs are the ChaCha20 key stream under
  /// BLAKE2b("accord/secagg/1/rotation", sid), nonce 0, least significant bit first.
  ///
  /// - Throws: `invalidParameter` for a dimension that is not 1 to `AggregationParameters.maximumDimension`.
  package init(dimension: Int, sessionID: Digest) throws(AggregationError) {
    let allowed = 1...AggregationParameters.maximumDimension
    guard allowed.contains(dimension) else {
      throw .invalidParameter(
        .dimension, value: dimension, minimum: allowed.lowerBound, maximum: allowed.upperBound)
    }
    self.dimension = dimension
    rotatedDimension = HadamardRotation.rotatedDimension(dimension)
    let seed = Hash.blake2b(domain: "accord/secagg/1/rotation", [sessionID.bytes])
    var stream = RandomStream(seed: SecretBytes(copying: seed.bytes))
    var words = [UInt64](repeating: 0, count: (dimension + 63) / 64)
    words.withUnsafeMutableBytes { stream.fill($0) }
    flips = words.map { UInt64(littleEndian: $0) }
  }

  /// The smallest power of two that is at least `dimension`, which is positive.
  package static func rotatedDimension(_ dimension: Int) -> Int {
    precondition(dimension > 0, "a vector has at least one coordinate")
    return 1 << (Int.bitWidth - (dimension - 1).leadingZeroBitCount)
  }

  /// What no coordinate of a rotated vector of norm `sumNorm` exceeds in magnitude, except with
  /// probability at most 2^`log2Failure` over all m coordinates, for signs that do not depend on it.
  ///
  /// A coordinate is Σ ±x_i/√m with independent signs: sub-Gaussian with parameter ‖x‖²/m (Hoeffding
  /// 1963, theorem 2), so 2m·exp(-u²m/(2‖x‖²)) bounds the failure. The sum of n vectors of norm at most C
  /// has norm at most n·C, and its rotation is the sum of the rotations. No coordinate exceeds the norm.
  package static func coordinateBound(
    sumNorm: Double, rotatedDimension: Int, log2Failure: Double
  ) -> Double {
    let m = Double(rotatedDimension)
    let exponent = (log(2 * m) - log2Failure * log(2)) * (1 + 1e-9)
    return sumNorm * min(1, (2 * exponent / m).squareRoot())
  }

  /// Rotates a vector.
  ///
  /// - Parameter vector: `dimension` coordinates. One that is not finite spoils all coordinates of the
  ///   result, which rounding to the grid then refuses.
  /// - Returns: `rotatedDimension` coordinates of the same L2 norm.
  /// - Throws: `wrongInputLength`.
  package func forward(_ vector: [Float]) throws(AggregationError) -> [Float] { try rotated(vector) }

  /// See `forward(_:)`.
  package func forward(_ vector: [Double]) throws(AggregationError) -> [Double] { try rotated(vector) }

  /// Rotates back.
  ///
  /// - Parameter vector: `rotatedDimension` coordinates.
  /// - Returns: `dimension` coordinates; those of the padding, which hold nothing but noise, are dropped.
  /// - Throws: `wrongInputLength`.
  package func inverse(_ vector: [Float]) throws(AggregationError) -> [Float] { try restored(vector) }

  /// See `inverse(_:)`.
  package func inverse(_ vector: [Double]) throws(AggregationError) -> [Double] { try restored(vector) }

  private func rotated<Scalar: RotationScalar>(_ vector: [Scalar]) throws(AggregationError) -> [Scalar] {
    guard vector.count == dimension else {
      throw .wrongInputLength(expected: dimension, actual: vector.count)
    }
    var result = [Scalar](unsafeUninitializedCapacity: rotatedDimension) { target, initialized in
      target.initialize(repeating: 0)
      _ = target.update(fromContentsOf: vector)
      initialized = rotatedDimension
    }
    flipSigns(of: &result)
    transform(&result)
    return result
  }

  private func restored<Scalar: RotationScalar>(_ vector: [Scalar]) throws(AggregationError) -> [Scalar] {
    guard vector.count == rotatedDimension else {
      throw .wrongInputLength(expected: rotatedDimension, actual: vector.count)
    }
    var result = vector
    transform(&result)
    result.removeLast(rotatedDimension - dimension)
    flipSigns(of: &result)
    return result
  }

  private func transform<Scalar: RotationScalar>(_ values: inout [Scalar]) {
    values.withUnsafeMutableBufferPointer { HadamardKernel.transform($0) }
  }

  /// Changes the signs, and scales by 1/√m on the way.
  private func flipSigns<Scalar: RotationScalar>(of values: inout [Scalar]) {
    let factor = 1 / Scalar(rotatedDimension).squareRoot()
    let count = dimension
    values.withUnsafeMutableBufferPointer { values in
      flips.withUnsafeBufferPointer { flips in
        for word in flips.indices {
          let bits = flips[word]
          let start = word &* 64
          for offset in 0..<min(64, count &- start) {
            let sign = Scalar(1 &- 2 &* Int32(truncatingIfNeeded: bits >> UInt64(offset) & 1))
            values[start &+ offset] *= sign * factor
          }
        }
      }
    }
  }
}

/// `Float` and `Double`.
private protocol RotationScalar: BinaryFloatingPoint, SIMDScalar, Codable {}
extension Float: RotationScalar {}
extension Double: RotationScalar {}

/// The fast Walsh-Hadamard transform in place, without scaling: m·log₂(m)/2 butterflies (a, b) → (a + b,
/// a - b). Two levels at a time, and depth first, so that a vector passes through memory once per four-fold
/// of the cache's size instead of once per level.
private enum HadamardKernel {
  /// Vectors up to this many coordinates are transformed level by level: they fit the innermost cache.
  private static let block = 4096

  /// Transforms a power of two of coordinates.
  @inline(__always)
  static func transform<Scalar: RotationScalar>(_ values: UnsafeMutableBufferPointer<Scalar>) {
    guard let base = values.baseAddress, values.count > 1 else { return }
    if values.count < 16 { return plain(base, values.count) }
    recurse(base, values.count)
  }

  /// Every level on its own; for vectors shorter than two registers.
  private static func plain<Scalar: RotationScalar>(_ base: UnsafeMutablePointer<Scalar>, _ count: Int) {
    var half = 1
    while half < count {
      for start in stride(from: 0, to: count, by: 2 * half) {
        for index in start..<start + half {
          let (a, b) = (base[index], base[index + half])
          base[index] = a + b
          base[index + half] = a - b
        }
      }
      half *= 2
    }
  }

  private static func recurse<Scalar: RotationScalar>(_ base: UnsafeMutablePointer<Scalar>, _ count: Int) {
    if count <= block { return levels(base, count) }
    let quarter = count / 4
    for part in 0..<4 { recurse(base + part * quarter, quarter) }
    combineFour(base, quarter)
  }

  private static func levels<Scalar: RotationScalar>(_ base: UnsafeMutablePointer<Scalar>, _ count: Int) {
    for start in stride(from: 0, to: count, by: 8) { eight(base + start) }
    var done = 8
    while done * 4 <= count {
      for start in stride(from: 0, to: count, by: 4 * done) { combineFour(base + start, done) }
      done *= 4
    }
    if done < count {
      for start in stride(from: 0, to: count, by: 2 * done) { combineTwo(base + start, done) }
    }
  }

  /// The first three levels of eight coordinates, in registers.
  @inline(__always)
  private static func eight<Scalar: RotationScalar>(_ p: UnsafeMutablePointer<Scalar>) {
    let (a0, a1, a2, a3) = (p[0] + p[1], p[0] - p[1], p[2] + p[3], p[2] - p[3])
    let (a4, a5, a6, a7) = (p[4] + p[5], p[4] - p[5], p[6] + p[7], p[6] - p[7])
    let (b0, b1, b2, b3) = (a0 + a2, a1 + a3, a0 - a2, a1 - a3)
    let (b4, b5, b6, b7) = (a4 + a6, a5 + a7, a4 - a6, a5 - a7)
    (p[0], p[1], p[2], p[3]) = (b0 + b4, b1 + b5, b2 + b6, b3 + b7)
    (p[4], p[5], p[6], p[7]) = (b0 - b4, b1 - b5, b2 - b6, b3 - b7)
  }

  /// One level: two transformed halves of `length` coordinates, a multiple of 8, become one.
  @inline(__always)
  private static func combineTwo<Scalar: RotationScalar>(_ p: UnsafeMutablePointer<Scalar>, _ length: Int) {
    for index in stride(from: 0, to: length, by: 8) {
      let a = load(p, index)
      let b = load(p, index &+ length)
      store(a + b, p, index)
      store(a - b, p, index &+ length)
    }
  }

  /// Two levels: four transformed quarters of `length` coordinates, a multiple of 8, become one.
  @inline(__always)
  private static func combineFour<Scalar: RotationScalar>(_ p: UnsafeMutablePointer<Scalar>, _ length: Int) {
    for index in stride(from: 0, to: length, by: 8) {
      let a = load(p, index)
      let b = load(p, index &+ length)
      let c = load(p, index &+ 2 &* length)
      let d = load(p, index &+ 3 &* length)
      let (ab, cd) = (a + b, c + d)
      let (aMinusB, cMinusD) = (a - b, c - d)
      store(ab + cd, p, index)
      store(aMinusB + cMinusD, p, index &+ length)
      store(ab - cd, p, index &+ 2 &* length)
      store(aMinusB - cMinusD, p, index &+ 3 &* length)
    }
  }

  @inline(__always)
  private static func load<Scalar: RotationScalar>(
    _ p: UnsafeMutablePointer<Scalar>, _ index: Int
  ) -> SIMD8<Scalar> {
    UnsafeRawPointer(p + index).loadUnaligned(as: SIMD8<Scalar>.self)
  }

  @inline(__always)
  private static func store<Scalar: RotationScalar>(
    _ value: SIMD8<Scalar>, _ p: UnsafeMutablePointer<Scalar>, _ index: Int
  ) {
    UnsafeMutableRawPointer(p + index).storeBytes(of: value, as: SIMD8<Scalar>.self)
  }
}
