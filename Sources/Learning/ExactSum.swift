/// A sum of vectors that does not depend on the order of the additions, on the number of threads or on that
/// of processes: values are rounded to a fixed grid and added up as integers.
///
/// With the bound B on a coordinate, the grid has the step 2⁻³⁸ · B′, B′ being the least power of two that is
/// at least B: each addition is off by at most half of it, so the mean of any number of vectors is off by at
/// most 1.9e-12 · B′ in every coordinate. Up to `maximumCount` vectors of any values within the bound cannot
/// overflow.
///
/// One thread uses an object at a time.
package final class ExactSum {
  /// The most vectors of a sum, over all threads and processes.
  package static let maximumCount = 1 << 24
  /// A bound for updates that are not clipped. Coordinates beyond it are cut off: training has diverged.
  package static let unclippedBound: Float = 256

  /// The coordinates of a vector.
  package let count: Int
  /// The bound on the absolute value of a coordinate.
  package let bound: Float
  /// Vectors that were added, zeroed ones included.
  package private(set) var added = 0
  /// Vectors that held a NaN or an infinity and were counted as zeros.
  package private(set) var zeroed = 0
  private let scale: Double
  private let sums: UnsafeMutablePointer<Int64>

  /// An empty sum.
  ///
  /// - Parameter bound: positive, at least 2⁻⁶⁴ and at most 2⁶⁴.
  package init(count: Int, bound: Float) {
    precondition(bound >= 0x1p-64 && bound <= 0x1p64, "the bound of an exact sum is within 2^±64")
    self.count = count
    self.bound = bound
    let exponent = bound.significand == 1 ? bound.exponent : bound.exponent + 1
    scale = Double(sign: .plus, exponent: 38 - Int(exponent), significand: 1)
    sums = .allocate(capacity: max(count, 1))
    sums.initialize(repeating: 0, count: max(count, 1))
  }

  deinit { sums.deallocate() }

  /// Starts a new sum.
  package func reset() {
    sums.update(repeating: 0, count: count)
    added = 0
    zeroed = 0
  }

  /// Adds a vector. Coordinates beyond the bound are cut off at it; a vector with a NaN or an infinity counts
  /// as zeros.
  package func add(_ vector: UnsafeBufferPointer<Float>) {
    guard let values = start(vector) else { return }
    let isInside = VectorKernels.addOnGrid(values, count: count, scale: scale, limit: bound, to: sums)
    if !isInside { correct(vector) }
  }

  /// Takes a vector out again, without a trace since these are integers, and adds what it counts as.
  private func correct(_ vector: UnsafeBufferPointer<Float>) {
    let isFinite = vector.allSatisfy(\.isFinite)
    zeroed += isFinite ? 0 : 1
    for index in 0..<count {
      sums[index] &-= VectorKernels.gridValue(vector[index], scale: scale)
      guard isFinite else { continue }
      sums[index] &+= VectorKernels.gridValue(min(max(vector[index], -bound), bound), scale: scale)
    }
  }

  /// Scales a vector down to an L2 norm of at most `limit` (up to rounding), never up, and adds it. A vector
  /// with a NaN or an infinity counts as zeros.
  ///
  /// - Parameter limit: positive, at most the bound.
  /// - Returns: the norm before, infinity for a vector that was zeroed. It is as private as the vector.
  @discardableResult
  package func addClipped(_ vector: UnsafeBufferPointer<Float>, to limit: Float) -> Float {
    precondition(limit > 0 && limit <= bound, "a clip norm is positive and within the bound of the sum")
    guard let values = start(vector) else { return 0 }
    let norm = VectorKernels.squaredNorm(values, count: count).squareRoot()
    guard norm.isFinite else {
      zeroed += 1
      return .infinity
    }
    let factor = norm > Double(limit) ? Double(limit) / norm : 1
    _ = VectorKernels.addOnGrid(values, count: count, scale: scale * factor, limit: bound, to: sums)
    return Float(norm)
  }

  /// Clips a vector like `addClipped` if there is a limit, and adds it times a weight of 0 to 1. With weight 1 the
  /// integers are those of `addClipped` or `add`.
  package func add(_ vector: UnsafeBufferPointer<Float>, clippedTo limit: Float?, weight: Double) {
    precondition(weight >= 0 && weight <= 1, "a weighted vector is not longer than the vector")
    guard weight != 1 else {
      if let limit { addClipped(vector, to: limit) } else { add(vector) }
      return
    }
    precondition(
      limit.map { $0 > 0 && $0 <= bound } ?? true, "a clip norm is positive and within the bound of the sum")
    guard let values = start(vector) else { return }
    let norm = VectorKernels.squaredNorm(values, count: count).squareRoot()
    guard norm.isFinite else {
      zeroed += 1
      return
    }
    if let limit {
      let factor = norm > Double(limit) ? Double(limit) / norm : 1
      _ = VectorKernels.addOnGrid(
        values, count: count, scale: scale * factor * weight, limit: bound, to: sums)
    } else {
      for index in 0..<count {
        sums[index] &+= VectorKernels.gridValue(min(max(values[index], -bound), bound), scale: scale * weight)
      }
    }
  }

  /// `addClipped` if there is a limit, else `add`, of a vector that is 0 but at the positions of `support`,
  /// each of which is named once. Without clipping the integers are the same; with it, norms may differ by
  /// 1e-6 of themselves.
  package func add(_ vector: UnsafeBufferPointer<Float>, support: [Int32], clippedTo limit: Float?) {
    precondition(
      limit.map { $0 > 0 && $0 <= bound } ?? true, "a clip norm is positive and within the bound of the sum")
    guard let values = start(vector) else { return }
    var squares = 0.0
    for index in support { squares += Double(values[Int(index)]) * Double(values[Int(index)]) }
    guard squares.isFinite else {
      zeroed += 1
      return
    }
    guard let limit else {
      for index in support {
        let value = min(max(values[Int(index)], -bound), bound)
        sums[Int(index)] &+= VectorKernels.gridValue(value, scale: scale)
      }
      return
    }
    let norm = squares.squareRoot()
    let factor = norm > Double(limit) ? Double(limit) / norm : 1
    for index in support {
      sums[Int(index)] &+= VectorKernels.gridValue(values[Int(index)], scale: scale * factor)
    }
  }

  /// Adds another sum on the same grid.
  package func add(_ other: ExactSum) {
    precondition(other.count == count && other.bound == bound, "only sums on the same grid can be added")
    for index in 0..<count { sums[index] += other.sums[index] }
    added += other.added
    zeroed += other.zeroed
  }

  /// The integers: the sum in steps of the grid.
  package var integers: [Int64] { Array(UnsafeBufferPointer(start: sums, count: count)) }

  /// What an integer of the sum means.
  package func value(of integer: Int64) -> Double { Double(integer) / scale }

  /// The values of integers of this grid (a sum over all processes), plus noise, over a divisor.
  ///
  /// - Parameter noise: at least as many values.
  package func means(
    of integers: [Int64], noise: UnsafeBufferPointer<Double>?, divisor: Double
  ) -> [Float] {
    precondition(integers.count == count && noise.map { $0.count >= count } ?? true, "one length for all")
    guard let noise else { return integers.map { Float(Double($0) / scale / divisor) } }
    return integers.indices.map { Float((Double(integers[$0]) / scale + noise[$0]) / divisor) }
  }

  private func start(_ vector: UnsafeBufferPointer<Float>) -> UnsafePointer<Float>? {
    precondition(vector.count == count, "the vectors of a sum have one length")
    precondition(added < Self.maximumCount, "more vectors than the integers have room for")
    added += 1
    return vector.baseAddress
  }
}

extension VectorKernels {
  private typealias Pair = SIMD2<Double>
  private typealias Integers = SIMD2<Int64>

  /// Σ values² to within 1e-6 of itself: not finite if a value is not.
  static func squaredNorm(_ values: UnsafePointer<Float>, count: Int) -> Double {
    let fast = squaredNormOfBlocks(values, count: count)
    // Squares of larger or smaller values leave the range of single precision.
    if fast > 1e-24, fast < 1e30 { return fast }
    var sum = 0.0
    for index in 0..<count { sum += Double(values[index]) * Double(values[index]) }
    return sum
  }

  /// Adds squares in single precision for 256 values at a time, and the blocks in double precision.
  private static func squaredNormOfBlocks(_ values: UnsafePointer<Float>, count: Int) -> Double {
    var total = 0.0
    var index = 0
    while index + 4 * width <= count {
      let end = min(index + 256, count)
      var (a, b, c, d) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
      while index + 4 * width <= end {
        let (w, x) = (load(values + index), load(values + index + 4))
        let (y, z) = (load(values + index + 8), load(values + index + 12))
        a += w * w
        b += x * x
        c += y * y
        d += z * z
        index += 4 * width
      }
      let lanes = (a + b) + (c + d)
      total += Double(lanes[0] + lanes[2]) + Double(lanes[1] + lanes[3])
    }
    while index < count {
      total += Double(values[index]) * Double(values[index])
      index += 1
    }
    return total
  }

  /// sums += scale · values, rounded to whole numbers, ties to even.
  ///
  /// - Returns: whether all |values| were at most `limit`; if not, what was added is `gridValue`
  ///   all the same, but it means nothing.
  static func addOnGrid(
    _ values: UnsafePointer<Float>, count: Int, scale: Double, limit: Float,
    to sums: UnsafeMutablePointer<Int64>
  ) -> Bool {
    // Adding 1.5 · 2⁵² rounds a number below 2⁵¹ to a whole one, which is then in the low bits.
    let magic = Pair(repeating: 0x1.8p52)
    let offset = Integers(repeating: Int64(bitPattern: (0x1.8p52).bitPattern))
    var outside = SIMDMask<SIMD4<Int32>>(repeating: false)
    let raw = UnsafeMutableRawPointer(sums)
    var index = 0
    while index + width <= count {
      let lanes = load(values + index)
      outside = outside .| .!(magnitude(lanes) .<= limit)
      let low = unsafeBitCast(Pair(lanes.lowHalf) * scale + magic, to: Integers.self) &- offset
      let high = unsafeBitCast(Pair(lanes.highHalf) * scale + magic, to: Integers.self) &- offset
      let target = raw + index * 8
      target.storeBytes(of: target.loadUnaligned(as: Integers.self) &+ low, as: Integers.self)
      let next = target + 16
      next.storeBytes(of: next.loadUnaligned(as: Integers.self) &+ high, as: Integers.self)
      index += width
    }
    var inside = !any(outside)
    while index < count {
      inside = inside && abs(values[index]) <= limit
      sums[index] &+= gridValue(values[index], scale: scale)
      index += 1
    }
    return inside
  }

  /// scale · value rounded to a whole number, ties to even, if its absolute value is below 2⁵¹; unspecified,
  /// but always the same, if not.
  @inline(__always)
  static func gridValue(_ value: Float, scale: Double) -> Int64 {
    Int64(bitPattern: (Double(value) * scale + 0x1.8p52).bitPattern &- (0x1.8p52).bitPattern)
  }

  @inline(__always)
  private static func magnitude(_ lanes: Lanes) -> Lanes {
    unsafeBitCast(unsafeBitCast(lanes, to: SIMD4<UInt32>.self) & 0x7fff_ffff, to: Lanes.self)
  }
}
