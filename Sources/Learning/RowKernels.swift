/// The loops of `ClippedGradients` between its matrix products: four rows at a time, four columns each, so
/// that four sums are under way and all are reduced together. Rows up to the next multiple of four are
/// computed along.
///
/// Squared norms are sums of squares in single precision over at most 256 columns, which are then added in
/// double precision: within 68 roundings of single precision, 4e-6, of the exact square unless squares
/// overflow (then it is not finite) or vanish.
extension VectorKernels {
  /// Columns between two additions in double precision.
  private static let block = 256

  @inline(__always)
  static func load(_ pointer: UnsafePointer<Double>) -> SIMD4<Double> {
    UnsafeRawPointer(pointer).loadUnaligned(as: SIMD4<Double>.self)
  }

  @inline(__always)
  private static func store(_ lanes: SIMD4<Double>, _ pointer: UnsafeMutablePointer<Double>) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: lanes, as: SIMD4<Double>.self)
  }

  /// The sums of the lanes of four vectors.
  @inline(__always)
  private static func reduce(_ a: Lanes, _ b: Lanes, _ c: Lanes, _ d: Lanes) -> Lanes {
    let ab = a.evenHalf + a.oddHalf
    let cd = c.evenHalf + c.oddHalf
    let (be, de) = (b.evenHalf + b.oddHalf, d.evenHalf + d.oddHalf)
    return Lanes(ab[0], be[0], cd[0], de[0]) + Lanes(ab[1], be[1], cd[1], de[1])
  }

  /// Calls `body` with where each vector of four rows begins, replaces the vectors by what it returns if
  /// `isWritten`, and adds the squares of that to `squares`.
  @inline(__always)
  private static func forEachVector(
    of matrix: PaddedRows, rows: Int, squares: UnsafeMutablePointer<Double>?, isWritten: Bool,
    _ body: (_ row: Int, _ offset: Int, _ lanes: Lanes) -> Lanes
  ) {
    let stride = matrix.stride
    for row in Swift.stride(from: 0, to: rows, by: 4) {
      let a = matrix.row(row)
      let (b, c, d) = (a + stride, a + 2 * stride, a + 3 * stride)
      var total = SIMD4<Double>.zero
      var start = 0
      while start < stride {
        let end = min(start + block, stride)
        var (sumA, sumB, sumC, sumD) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        for index in Swift.stride(from: start, to: end, by: width) {
          let x = body(row, index, load(a + index))
          let y = body(row + 1, index, load(b + index))
          let z = body(row + 2, index, load(c + index))
          let w = body(row + 3, index, load(d + index))
          if isWritten {
            store(x, a + index)
            store(y, b + index)
            store(z, c + index)
            store(w, d + index)
          }
          if squares != nil {
            sumA += x * x
            sumB += y * y
            sumC += z * z
            sumD += w * w
          }
        }
        if squares != nil { total += SIMD4<Double>(reduce(sumA, sumB, sumC, sumD)) }
        start = end
      }
      if let squares { store(total, squares + row) }
    }
  }

  /// target = source, for `count` values.
  @inline(__always)
  static func copy(_ source: UnsafePointer<Float>, count: Int, to target: UnsafeMutablePointer<Float>) {
    var index = 0
    while index + width <= count {
      store(load(source + index), target + index)
      index += width
    }
    while index < count {
      target[index] = source[index]
      index += 1
    }
  }

  /// squares[r] = ‖row r‖²
  static func addSquares(of matrix: PaddedRows, rows: Int, to squares: UnsafeMutablePointer<Double>) {
    forEachVector(of: matrix, rows: rows, squares: squares, isWritten: false) { _, _, lanes in lanes }
  }

  /// Replaces negative values by 0; squares[r] = ‖row r‖² of the result. A NaN stays.
  static func rectify(_ matrix: PaddedRows, rows: Int, squares: UnsafeMutablePointer<Double>?) {
    if let squares {
      forEachVector(of: matrix, rows: rows, squares: squares, isWritten: true) { _, _, lanes in
        lanes.replacing(with: 0, where: lanes .< 0)
      }
    } else {
      forEachVector(of: matrix, rows: rows, squares: nil, isWritten: true) { _, _, lanes in
        lanes.replacing(with: 0, where: lanes .< 0)
      }
    }
  }

  /// deltas[r] = 0 where the activation is not above 0; squares[r] = ‖row r‖² of the result.
  static func rectifyGradient(
    _ deltas: PaddedRows, activations: PaddedRows, rows: Int, squares: UnsafeMutablePointer<Double>?
  ) {
    let (active, stride) = (activations.values, activations.stride)
    if let squares {
      forEachVector(of: deltas, rows: rows, squares: squares, isWritten: true) { row, index, lanes in
        lanes.replacing(with: 0, where: load(active + row * stride + index) .<= 0)
      }
    } else {
      forEachVector(of: deltas, rows: rows, squares: nil, isWritten: true) { row, index, lanes in
        lanes.replacing(with: 0, where: load(active + row * stride + index) .<= 0)
      }
    }
  }

  /// deltas[r] = factors[r] · vector where activations[r] is above 0, else 0; squares[r] = ‖row r‖² of the
  /// result.
  static func rectifiedOuterProduct(
    factors: UnsafePointer<Float>, vector: UnsafePointer<Float>, activations: PaddedRows, rows: Int,
    into deltas: PaddedRows, squares: UnsafeMutablePointer<Double>?
  ) {
    let (active, stride) = (activations.values, activations.stride)
    if let squares {
      forEachVector(of: deltas, rows: rows, squares: squares, isWritten: true) { row, index, _ in
        (load(vector + index) * factors[row])
          .replacing(with: 0, where: load(active + row * stride + index) .<= 0)
      }
    } else {
      forEachVector(of: deltas, rows: rows, squares: nil, isWritten: true) { row, index, _ in
        (load(vector + index) * factors[row])
          .replacing(with: 0, where: load(active + row * stride + index) .<= 0)
      }
    }
  }

  /// Multiplies each row by its factor.
  static func scale(_ matrix: PaddedRows, rows: Int, by factors: UnsafePointer<Float>) {
    forEachVector(of: matrix, rows: rows, squares: nil, isWritten: true) { row, _, lanes in
      lanes * factors[row]
    }
  }

  /// Rectifies the rows if asked; then results[r] = row r · weights and squares[r] = ‖row r‖².
  ///
  /// - Parameter weights: as long as a padded row.
  static func products(
    _ matrix: PaddedRows, rows: Int, weights: UnsafePointer<Float>, rectify: Bool,
    into results: UnsafeMutablePointer<Float>, squares: UnsafeMutablePointer<Double>?
  ) {
    switch (rectify, squares) {
    case (true, let squares?): products(matrix, rows, weights, true, results, squares)
    case (true, nil): products(matrix, rows, weights, true, results, nil)
    case (false, let squares?): products(matrix, rows, weights, false, results, squares)
    case (false, nil): products(matrix, rows, weights, false, results, nil)
    }
  }

  @inline(__always)
  private static func products(
    _ matrix: PaddedRows, _ rows: Int, _ weights: UnsafePointer<Float>, _ rectify: Bool,
    _ results: UnsafeMutablePointer<Float>, _ squares: UnsafeMutablePointer<Double>?
  ) {
    // Two rows at a time would wait for additions; four leave registers for four products and four squares.
    for row in Swift.stride(from: 0, to: rows, by: 4) {
      var (a, b, c, d) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
      let first = PaddedSlice(matrix, row)
      var total = SIMD4<Double>.zero
      var start = 0
      while start < matrix.stride {
        let end = min(start + block, matrix.stride)
        var (sumA, sumB, sumC, sumD) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        for index in Swift.stride(from: start, to: end, by: width) {
          let weight = load(weights + index)
          let x = first.read(0, index, rectify)
          a += x * weight
          let y = first.read(1, index, rectify)
          b += y * weight
          let z = first.read(2, index, rectify)
          c += z * weight
          let w = first.read(3, index, rectify)
          d += w * weight
          if squares != nil {
            sumA += x * x
            sumB += y * y
            sumC += z * z
            sumD += w * w
          }
        }
        if squares != nil { total += SIMD4<Double>(reduce(sumA, sumB, sumC, sumD)) }
        start = end
      }
      store(reduce(a, b, c, d), results + row)
      if let squares { store(total, squares + row) }
    }
  }

  /// Four rows of a matrix.
  private struct PaddedSlice {
    let start: UnsafeMutablePointer<Float>
    let stride: Int

    @inline(__always)
    init(_ matrix: PaddedRows, _ row: Int) {
      start = matrix.row(row)
      stride = matrix.stride
    }

    @inline(__always)
    func read(_ row: Int, _ index: Int, _ rectify: Bool) -> Lanes {
      let place = start + row * stride + index
      let lanes = load(place)
      guard rectify else { return lanes }
      let rectified = lanes.replacing(with: 0, where: lanes .< 0)
      store(rectified, place)
      return rectified
    }
  }

  /// sum = Σ factors[r] · row r, as long as a padded row.
  static func sum(
    _ matrix: PaddedRows, rows: Int, factors: UnsafePointer<Float>, into sum: UnsafeMutablePointer<Float>
  ) {
    let stride = matrix.stride
    var index = 0
    while index < stride {
      let values = matrix.values + index
      if index + 4 * width <= stride {
        var (a, b, c, d) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
        for row in 0..<rows {
          let (source, factor) = (values + row * stride, factors[row])
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
      } else {
        var lanes = Lanes.zero
        for row in 0..<rows { lanes += load(values + row * stride) * factors[row] }
        store(lanes, sum + index)
        index += width
      }
    }
  }
}
