/// The loops of training that are too short for OpenBLAS, whose calls cost as much as a small product: four
/// lanes at a time, with explicit accumulators.
///
/// The order of the additions depends on the lengths alone, so the same numbers give the same result wherever
/// they lie and whoever computes them.
enum VectorKernels {
  typealias Lanes = SIMD4<Float>
  static let width = 4

  /// The rows of a matrix that may lie anywhere.
  typealias RowPointers = UnsafePointer<UnsafePointer<Float>>

  /// `count` rounded up to whole vectors.
  static func padded(_ count: Int) -> Int { (count + width - 1) & ~(width - 1) }

  /// `count` zeros, rounded up to whole vectors.
  static func allocate(_ count: Int) -> UnsafeMutablePointer<Float> {
    let buffer = UnsafeMutablePointer<Float>.allocate(capacity: padded(max(count, 1)))
    buffer.initialize(repeating: 0, count: padded(max(count, 1)))
    return buffer
  }

  @inline(__always)
  static func load(_ pointer: UnsafePointer<Float>) -> Lanes {
    UnsafeRawPointer(pointer).loadUnaligned(as: Lanes.self)
  }

  @inline(__always)
  static func store(_ lanes: Lanes, _ pointer: UnsafeMutablePointer<Float>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: lanes, as: Lanes.self)
  }

  /// The lanes of the last vector of `count` ≥ 4 values that the vectors before it do not hold.
  @inline(__always)
  static func tailMask(_ count: Int) -> SIMDMask<SIMD4<Int32>> {
    SIMD4<Int32>(0, 1, 2, 3) .>= SIMD4(repeating: Int32(width - count % width))
  }

  /// Reads a value of every cache line, so that the lines arrive together: shuffled rows would be waited for
  /// one after the other. Nothing for values that do not fit into the nearest cache.
  @inline(never)
  @discardableResult
  static func fetch(_ values: UnsafePointer<Float>, count: Int) -> UInt32 {
    guard count <= 6_144 else { return 0 }
    var bits: UInt32 = 0
    for index in stride(from: 0, to: count, by: 16) { bits |= values[index].bitPattern }
    return bits
  }

  // MARK: Products with a vector

  /// results[r] = bias + row r · weights, for `count` rows of `length` values.
  static func products(
    rows: RowPointers, count: Int, length: Int, weights: UnsafePointer<Float>, bias: Float,
    into results: UnsafeMutablePointer<Float>
  ) {
    guard length >= width else {
      for row in 0..<count {
        var sum = bias
        for index in 0..<length { sum += rows[row][index] * weights[index] }
        results[row] = sum
      }
      return
    }
    let mask = tailMask(length)
    let tail = length % width == 0 ? nil : length - width
    var row = 0
    while row + 4 <= count {
      let (a, b, c, d) = (rows[row], rows[row + 1], rows[row + 2], rows[row + 3])
      var (sumA, sumB, sumC, sumD) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
      var index = 0
      while index + width <= length {
        let weight = load(weights + index)
        sumA += load(a + index) * weight
        sumB += load(b + index) * weight
        sumC += load(c + index) * weight
        sumD += load(d + index) * weight
        index += width
      }
      if let tail {
        let weight = Lanes.zero.replacing(with: load(weights + tail), where: mask)
        sumA += load(a + tail) * weight
        sumB += load(b + tail) * weight
        sumC += load(c + tail) * weight
        sumD += load(d + tail) * weight
      }
      let first = Lanes(sumA[0], sumB[0], sumC[0], sumD[0]) + Lanes(sumA[2], sumB[2], sumC[2], sumD[2])
      let second = Lanes(sumA[1], sumB[1], sumC[1], sumD[1]) + Lanes(sumA[3], sumB[3], sumC[3], sumD[3])
      store(first + second + bias, results + row)
      row += 4
    }
    while row < count {
      var sum = Lanes.zero
      var index = 0
      while index + width <= length {
        sum += load(rows[row] + index) * load(weights + index)
        index += width
      }
      if let tail {
        sum += load(rows[row] + tail) * Lanes.zero.replacing(with: load(weights + tail), where: mask)
      }
      results[row] = (sum[0] + sum[2]) + (sum[1] + sum[3]) + bias
      row += 1
    }
  }

  /// sum += Σ factors[r] · row r, for `count` rows of `length` values.
  static func addProducts(
    rows: RowPointers, factors: UnsafePointer<Float>, count: Int, length: Int,
    to sum: UnsafeMutablePointer<Float>
  ) {
    var index = 0
    while index + 4 * width <= length {
      var (a, b) = (load(sum + index), load(sum + index + 4))
      var (c, d) = (load(sum + index + 8), load(sum + index + 12))
      for row in 0..<count {
        let (source, factor) = (rows[row] + index, factors[row])
        a += load(source) * factor
        b += load(source + 4) * factor
        c += load(source + 8) * factor
        d += load(source + 12) * factor
      }
      store(a, sum + index)
      store(b, sum + index + 4)
      store(c, sum + index + 8)
      store(d, sum + index + 12)
      index += 4 * width
    }
    while index + width <= length {
      var lanes = load(sum + index)
      for row in 0..<count { lanes += load(rows[row] + index) * factors[row] }
      store(lanes, sum + index)
      index += width
    }
    guard index < length else { return }
    guard length >= width else {
      for position in index..<length {
        for row in 0..<count { sum[position] += rows[row][position] * factors[row] }
      }
      return
    }
    let tail = length - width
    let before = load(sum + tail)
    var lanes = before
    for row in 0..<count { lanes += load(rows[row] + tail) * factors[row] }
    store(before.replacing(with: lanes, where: tailMask(length)), sum + tail)
  }

  // MARK: Layers

  /// Adds `bias` to each of `rows` rows and, if asked, replaces negative values by 0. A NaN stays.
  static func addBias(
    _ bias: UnsafePointer<Float>, to values: UnsafeMutablePointer<Float>, rows: Int, columns: Int,
    rectify: Bool
  ) {
    for row in 0..<rows {
      let target = values + row * columns
      var index = 0
      while index + width <= columns {
        let lanes = load(target + index) + load(bias + index)
        store(rectify ? lanes.replacing(with: 0, where: lanes .< 0) : lanes, target + index)
        index += width
      }
      while index < columns {
        let value = target[index] + bias[index]
        target[index] = rectify && value < 0 ? 0 : value
        index += 1
      }
    }
  }

  /// Sets `values` to 0 where the activation is not above 0: the derivative of ReLU.
  static func rectifyGradient(
    _ values: UnsafeMutablePointer<Float>, activations: UnsafePointer<Float>, count: Int
  ) {
    var index = 0
    while index + width <= count {
      let lanes = load(values + index)
      store(lanes.replacing(with: 0, where: load(activations + index) .<= 0), values + index)
      index += width
    }
    while index < count {
      if activations[index] <= 0 { values[index] = 0 }
      index += 1
    }
  }

  /// results[r][i] = factors[r] · vector[i] where activations[r][i] is above 0, else 0.
  static func rectifiedOuterProduct(
    factors: UnsafePointer<Float>, vector: UnsafePointer<Float>, activations: UnsafePointer<Float>,
    rows: Int, columns: Int, into results: UnsafeMutablePointer<Float>
  ) {
    for row in 0..<rows {
      let (target, active, factor) = (results + row * columns, activations + row * columns, factors[row])
      var index = 0
      while index + width <= columns {
        let lanes = load(vector + index) * factor
        store(lanes.replacing(with: 0, where: load(active + index) .<= 0), target + index)
        index += width
      }
      while index < columns {
        target[index] = active[index] <= 0 ? 0 : vector[index] * factor
        index += 1
      }
    }
  }

  /// sum += scale · the sum of `rows` rows of `columns` values.
  static func addColumnSums(
    of values: UnsafePointer<Float>, rows: Int, columns: Int, scale: Float,
    to sum: UnsafeMutablePointer<Float>
  ) {
    var index = 0
    while index + width <= columns {
      var lanes = Lanes.zero
      for row in 0..<rows { lanes += load(values + row * columns + index) }
      store(load(sum + index) + lanes * scale, sum + index)
      index += width
    }
    while index < columns {
      var total: Float = 0
      for row in 0..<rows { total += values[row * columns + index] }
      sum[index] += total * scale
      index += 1
    }
  }

  /// differences[i] = left[i] − right[i]
  static func subtract(
    _ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, count: Int,
    into differences: UnsafeMutablePointer<Float>
  ) {
    var index = 0
    while index + width <= count {
      store(load(left + index) - load(right + index), differences + index)
      index += width
    }
    while index < count {
      differences[index] = left[index] - right[index]
      index += 1
    }
  }

  /// values *= factor
  static func scale(_ values: UnsafeMutablePointer<Float>, count: Int, by factor: Float) {
    var index = 0
    while index + width <= count {
      store(load(values + index) * factor, values + index)
      index += width
    }
    while index < count {
      values[index] *= factor
      index += 1
    }
  }

  // MARK: The logistic loss

  /// deltas[r] = scale · (σ(logits[r]) − labels[r]): the derivative of the log loss. All buffers have room
  /// for `count` rounded up to whole vectors. A NaN stays.
  static func logisticDeltas(
    logits: UnsafePointer<Float>, labels: UnsafePointer<Float>, count: Int, scale: Float,
    into deltas: UnsafeMutablePointer<Float>
  ) {
    for index in stride(from: 0, to: count, by: width) {
      store((sigmoid(load(logits + index)) - load(labels + index)) * scale, deltas + index)
    }
  }

  /// 1 / (1 + e^−x), without overflow and to within 2⁻²² of itself (for x above −87, where it is 1.6e-38).
  @inline(__always)
  static func sigmoid(_ x: Lanes) -> Lanes {
    let negative = x .< 0
    let power = exponential(of: x.replacing(with: -x, where: .!negative))
    let share = 1 / (1 + power)
    let result = share.replacing(with: power * share, where: negative)
    return result.replacing(with: x, where: x .!= x)
  }

  /// e^x for x ≤ 0: x = n·ln 2 + r with |r| ≤ ln 2 / 2, a polynomial for e^r (the Cephes library's `expf`)
  /// and n added to the exponent. Below −87 it stays at e^−87.
  @inline(__always)
  static func exponential(of exponent: Lanes) -> Lanes {
    let x = exponent.replacing(with: -87, where: exponent .< -87)
    // Adding 1.5 · 2²³ rounds to a whole number, which is then in the low bits.
    let shifted = x * 1.442_695_04 + 12_582_912
    let whole = shifted - 12_582_912
    let rest = (x - whole * 0.693_359_375) - whole * -2.121_944_4e-4
    var polynomial = rest * 1.987_569_1e-4 + 1.398_199_9e-3
    polynomial = polynomial * rest + 8.333_452e-3
    polynomial = polynomial * rest + 4.166_579_6e-2
    polynomial = polynomial * rest + 1.666_666_5e-1
    polynomial = polynomial * rest + 5.000_000_1e-1
    let power = polynomial * (rest * rest) + rest + 1
    let bits = unsafeBitCast(shifted, to: SIMD4<Int32>.self) &- 0x4b40_0000
    return unsafeBitCast(
      unsafeBitCast(power, to: SIMD4<Int32>.self) &+ (bits &<< 23), to: Lanes.self)
  }
}
