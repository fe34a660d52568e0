import Cryptography

/// Decoding of Shamir shares as a Reed-Solomon code, after Gao 2003 ("A new algorithm for decoding
/// Reed-Solomon codes"): interpolate all shares, run Euclid against the polynomial that vanishes at all x,
/// stop half-way, divide.
enum ShareDecoder {
  /// The polynomial of degree below `threshold` that agrees with all but at most
  /// ⌊(count - threshold)/2⌋ of the points, constant coefficient first, or nil if there is none.
  ///
  /// The x are distinct and positive. Runs in O(count²); the time depends on the shares, which are no
  /// secret of the one who decodes them.
  static func decode(_ points: [(x: Int, y: Scalar)], threshold: Int) -> [Scalar]? {
    guard points.count >= threshold, threshold > 0 else { return nil }
    guard let (vanishing, interpolant) = interpolate(points) else { return nil }
    var older = vanishing
    var newer = trimmed(interpolant)
    var olderFactor: [Scalar] = []
    var newerFactor = [Scalar(1)]
    // Degrees are counts minus one: stop once deg < (count + threshold)/2.
    while 2 * (newer.count - 1) >= points.count + threshold {
      guard let (quotient, remainder) = divide(older, by: newer) else { return nil }
      (older, newer) = (newer, remainder)
      (olderFactor, newerFactor) = (newerFactor, subtract(olderFactor, multiply(quotient, newerFactor)))
    }
    guard let (polynomial, rest) = divide(newer, by: trimmed(newerFactor)), rest.isEmpty,
      polynomial.count <= threshold
    else { return nil }
    return polynomial + (polynomial.count..<threshold).map { _ in Scalar(0) }
  }

  /// The product of all (x - x_i), and the interpolant through all points (Newton's divided differences).
  private static func interpolate(_ points: [(x: Int, y: Scalar)]) -> (vanishing: [Scalar], [Scalar])? {
    let largest = points.reduce(1) { max($0, $1.x) }
    let small = (1...largest).map { Scalar(UInt64($0)) }
    let inverses = Shamir.inverses(small)
    var differences = points.map(\.y)
    for order in 1..<max(1, points.count) {
      for index in stride(from: points.count - 1, through: order, by: -1) {
        let distance = points[index].x - points[index - order].x
        guard distance != 0 else { return nil }
        let slope = (differences[index] - differences[index - 1]) * inverses[abs(distance) - 1]
        differences[index] = distance > 0 ? slope : Scalar(0) - slope
      }
    }
    var basis = [Scalar(1)]
    var interpolant = [Scalar](repeating: Scalar(0), count: points.count)
    for (index, point) in points.enumerated() {
      for (power, coefficient) in basis.enumerated() {
        interpolant[power] = interpolant[power] + differences[index] * coefficient
      }
      basis = multiply(basis, [Scalar(0) - Scalar(UInt64(point.x)), Scalar(1)])
    }
    return (basis, interpolant)
  }

  private static func trimmed(_ polynomial: [Scalar]) -> [Scalar] {
    var polynomial = polynomial
    while let last = polynomial.last, last.isZero { polynomial.removeLast() }
    return polynomial
  }

  private static func subtract(_ a: [Scalar], _ b: [Scalar]) -> [Scalar] {
    trimmed(
      (0..<max(a.count, b.count)).map { index in
        (index < a.count ? a[index] : Scalar(0)) - (index < b.count ? b[index] : Scalar(0))
      })
  }

  private static func multiply(_ a: [Scalar], _ b: [Scalar]) -> [Scalar] {
    guard !a.isEmpty, !b.isEmpty else { return [] }
    var product = [Scalar](repeating: Scalar(0), count: a.count + b.count - 1)
    for (i, left) in a.enumerated() {
      for (j, right) in b.enumerated() { product[i + j] = product[i + j] + left * right }
    }
    return product
  }

  private static func divide(
    _ dividend: [Scalar], by divisor: [Scalar]
  ) -> (quotient: [Scalar], remainder: [Scalar])? {
    guard let lead = divisor.last, let inverse = try? lead.inverted() else { return nil }
    var remainder = dividend
    guard remainder.count >= divisor.count else { return ([], trimmed(remainder)) }
    var quotient = [Scalar](repeating: Scalar(0), count: remainder.count - divisor.count + 1)
    for shift in quotient.indices.reversed() {
      let factor = remainder[shift + divisor.count - 1] * inverse
      quotient[shift] = factor
      for (power, coefficient) in divisor.enumerated() {
        remainder[shift + power] = remainder[shift + power] - factor * coefficient
      }
    }
    return (trimmed(quotient), trimmed(remainder))
  }
}
