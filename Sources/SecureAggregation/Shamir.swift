import Cryptography

/// Shamir's secret sharing over GF(l), l the order of the ristretto255 group: a secret is the value at 0
/// of a random polynomial of degree t-1, a share its value at a non-zero x.
enum Shamir {
  /// Splits a secret into one share per x-coordinate, any `threshold` of which recover it.
  static func split(
    _ secret: Scalar, threshold: Int, xs: [Int], using random: inout RandomStream
  ) -> [Scalar] {
    precondition(threshold >= 1 && threshold <= xs.count, "a threshold lies between 1 and the holders")
    precondition(xs.allSatisfy { $0 > 0 } && Set(xs).count == xs.count, "x are non-zero and distinct")
    var coefficients = [secret]
    for _ in 1..<threshold { coefficients.append(Scalar(using: &random)) }
    return Scalar.evaluate(coefficients, at: xs.map { UInt64($0) })
  }

  /// The value of a polynomial, constant coefficient first (Horner).
  static func evaluate(_ coefficients: [Scalar], at x: Scalar) -> Scalar {
    guard var value = coefficients.last else { return Scalar(0) }
    for coefficient in coefficients.dropLast().reversed() { value = value * x + coefficient }
    return value
  }

  /// The inverses of non-zero scalars, at the price of one inversion.
  static func inverses(_ scalars: [Scalar]) -> [Scalar] {
    Scalar.inverses(scalars, times: Scalar(1))
  }
}

/// Lagrange coefficients at 0 for one set of holders, shared by all secrets that the same holders reveal.
struct LagrangeWeights: Sendable {
  /// The x-coordinates, in the order of the weights.
  let xs: [Int]
  private let weights: [Scalar]

  /// For distinct, non-zero x-coordinates below 2^32: w_i = Π_j x_j / (x_i·Π_{j≠i} (x_j - x_i)).
  init(xs: [Int]) {
    precondition(xs.allSatisfy { $0 > 0 } && Set(xs).count == xs.count, "x are non-zero and distinct")
    self.xs = xs
    let numerator = Scalar.product(of: LagrangeWeights.condensed(xs.map { UInt64($0) }))
    let denominators = xs.map { x in
      var isNegative = false
      let differences = xs.compactMap { other -> UInt64? in
        guard other != x else { return nil }
        if other < x { isNegative.toggle() }
        return UInt64(abs(other - x))
      }
      let product = Scalar.product(of: LagrangeWeights.condensed([UInt64(x)] + differences))
      return isNegative ? Scalar(0) - product : product
    }
    weights = Scalar.inverses(denominators, times: numerator)
  }

  /// Fewer numbers with the same product: as many factors in each as 64 bits hold.
  private static func condensed(_ factors: [UInt64]) -> [UInt64] {
    var condensed: [UInt64] = []
    var running: UInt64 = 1
    for factor in factors {
      let (product, overflow) = running.multipliedReportingOverflow(by: factor)
      if overflow {
        condensed.append(running)
        running = factor
      } else {
        running = product
      }
    }
    return condensed + [running]
  }

  /// The secret of which these are the shares, in the order of the x-coordinates.
  func secret(of shares: [Scalar]) -> Scalar { Scalar.weightedSum(weights, shares) }
}
